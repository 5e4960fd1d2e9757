//! Which event of those about the same is the latest, for sources that ask for it. One entry for
//! each thing that events are about, for as long as the latest of them is there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record::{Place, Version};
use crate::message::EventId;

#[derive(Clone, Copy, Debug)]
struct Latest {
    stamp: i128,
    id: EventId,
}

#[derive(Default)]
pub struct Versions(Mutex<HashMap<u64, Latest>>);

impl Versions {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Latest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, version: Version, id: EventId) {
        let latest = Latest {
            stamp: version.stamp,
            id,
        };
        match self.lock().entry(version.key) {
            Entry::Vacant(free) => {
                free.insert(latest);
            }
            Entry::Occupied(mut taken) => {
                // Of two with the same stamp the first stays: neither overtakes the other.
                if taken.get().stamp < latest.stamp {
                    taken.insert(latest);
                }
            }
        }
    }

    /// The latest event about the same, when it is later.
    pub fn after(&self, version: Version) -> Option<EventId> {
        let latest = self.lock().get(&version.key).copied()?;
        (latest.stamp > version.stamp).then_some(latest.id)
    }

    /// There is an event about it.
    pub fn known(&self, key: u64) -> bool {
        self.lock().contains_key(&key)
    }

    pub fn forget(&self, gone: impl Fn(u32) -> bool) {
        let mut latest = self.lock();
        latest.retain(|_, latest| !gone(Place::of(latest.id).segment));
        if latest.capacity() > 4 * latest.len() + 64 {
            latest.shrink_to_fit();
        }
    }
}
