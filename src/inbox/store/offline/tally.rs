//! What is in an open store, counted.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::inbox::store::embedded::Embedded;
use crate::inbox::store::{State, StoreError};

/// Events of one source, by how they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub owed: u64,
    pub delivered: u64,
    pub dead: u64,
    pub discarded: u64,
}

impl Counts {
    pub fn all(self) -> u64 {
        self.owed + self.delivered + self.dead + self.discarded
    }

    fn count(&mut self, state: State) {
        match state {
            State::Owed => self.owed += 1,
            State::Delivered => self.delivered += 1,
            State::Dead => self.dead += 1,
            State::Discarded => self.discarded += 1,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub sources: BTreeMap<String, Counts>,
    /// When the oldest and the newest of the events were received.
    pub received: Option<(Timestamp, Timestamp)>,
}

impl Embedded {
    /// Looks at every row; nobody else may be using the store.
    pub fn tally(&self) -> Result<Tally, StoreError> {
        let names = self.shared.sources.all();
        let numbers: Vec<u32> = self
            .shared
            .catalog
            .lock()
            .segments
            .keys()
            .copied()
            .collect();
        let mut tally = Tally::default();
        for number in numbers {
            for row in self.shared.rows_of(number)? {
                let name = names
                    .get(row.source as usize)
                    .map_or("?", |name| name.as_str());
                match tally.sources.get_mut(name) {
                    Some(counts) => counts.count(row.stands.state),
                    None => {
                        let mut counts = Counts::default();
                        counts.count(row.stands.state);
                        tally.sources.insert(name.to_owned(), counts);
                    }
                }
                let at = row.received_at;
                let (from, to) = tally.received.unwrap_or((at, at));
                tally.received = Some((from.min(at), to.max(at)));
            }
        }
        Ok(tally)
    }
}
