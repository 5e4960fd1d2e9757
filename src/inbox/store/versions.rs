//! Which event of those about the same is the latest, for sources that ask for it. One entry for
//! each thing that events are about and each lane that it goes to, for as long as the latest of them
//! is there.
//!
//! Each lane has its own latest: an event that a destination's condition does not let through says
//! nothing there, and must not keep an earlier one from it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record::Version;
use crate::message::EventId;

#[derive(Clone, Copy, Debug)]
struct Latest {
    stamp: i128,
    id: EventId,
}

/// Hash of what events are about, and number of the lane.
type Thing = (u64, u32);

#[derive(Default)]
struct Table {
    latest: HashMap<Thing, Latest>,
    /// Who is the latest when that one goes: later accepted, with stamps that fall, and at most one
    /// of a segment. For few things is there anyone.
    next: HashMap<Thing, Vec<Latest>>,
}

#[derive(Default)]
pub struct Versions(Mutex<Table>);

impl Versions {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event that goes to a lane. They come in the order of their ids.
    pub fn put(&self, version: Version, lane: u32, id: EventId) {
        let new = Latest {
            stamp: version.stamp,
            id,
        };
        let thing = (version.key, lane);
        let mut table = self.lock();
        let Table { latest, next } = &mut *table;
        let latest = match latest.entry(thing) {
            Entry::Vacant(free) => {
                free.insert(new);
                return;
            }
            Entry::Occupied(taken) => taken.into_mut(),
        };
        // Of two with the same stamp the first stays: neither overtakes the other.
        if latest.stamp < new.stamp {
            *latest = new;
            next.remove(&thing);
            return;
        }
        // What lies in one segment goes together.
        if latest.id.segment == id.segment {
            return;
        }
        let next = next.entry(thing).or_default();
        while next.last().is_some_and(|last| last.stamp < new.stamp) {
            next.pop();
        }
        if next.last().is_none_or(|last| last.id.segment != id.segment) {
            next.push(new);
        }
    }

    /// The latest event about the same that goes to this lane, when it is later.
    pub fn after(&self, version: Version, lane: u32) -> Option<EventId> {
        let latest = self.lock().latest.get(&(version.key, lane)).copied()?;
        (latest.stamp > version.stamp).then_some(latest.id)
    }

    /// There is an event about it that goes to this lane.
    pub fn known(&self, key: u64, lane: u32) -> bool {
        self.lock().latest.contains_key(&(key, lane))
    }

    pub fn forget(&self, gone: impl Fn(u32) -> bool) {
        let mut table = self.lock();
        let Table { latest, next } = &mut *table;
        next.retain(|_, next| {
            next.retain(|one| !gone(one.id.segment));
            !next.is_empty()
        });
        latest.retain(|thing, latest| {
            if !gone(latest.id.segment) {
                return true;
            }
            let Some(others) = next.get_mut(thing) else {
                return false;
            };
            *latest = others.remove(0);
            if others.is_empty() {
                next.remove(thing);
            }
            true
        });
        if latest.capacity() > 4 * latest.len() + 64 {
            latest.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_latest_goes_the_next_one_is() {
        let versions = Versions::default();
        let version = |stamp| Version { key: 7, stamp };
        let id = |segment, offset| EventId {
            segment,
            offset,
            tag: 1,
        };
        for (segment, offset, stamp) in [(1, 8, 10), (2, 8, 5), (2, 16, 7), (2, 24, 6), (3, 8, 7)] {
            versions.put(version(stamp), 0, id(segment, offset));
        }
        let latest = || versions.after(version(i128::MIN), 0);
        assert_eq!(latest(), Some(id(1, 8)));
        assert_eq!(versions.after(version(i128::MIN), 1), None);
        versions.forget(|segment| segment == 1);
        assert_eq!(latest(), Some(id(2, 16)));
        versions.forget(|segment| segment == 2);
        assert_eq!(latest(), Some(id(3, 8)));
        versions.put(version(9), 0, id(4, 8));
        versions.forget(|segment| segment <= 4);
        assert_eq!(latest(), None);
        assert!(versions.lock().next.is_empty() && !versions.known(7, 0));
    }
}
