//! What is in an open store, counted.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::inbox::store::embedded::Embedded;
use crate::inbox::store::{State, StoreError};
use crate::message::{DELIVERIES, LaneName};

/// Deliveries of one lane, by how they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub owed: u64,
    pub delivered: u64,
    pub dead: u64,
    pub discarded: u64,
    pub filtered: u64,
    pub superseded: u64,
}

impl Counts {
    pub fn all(self) -> u64 {
        self.owed + self.delivered + self.dead + self.discarded + self.filtered + self.superseded
    }

    fn count(&mut self, state: State) {
        match state {
            State::Owed => self.owed += 1,
            State::Delivered => self.delivered += 1,
            State::Dead => self.dead += 1,
            State::Discarded => self.discarded += 1,
            State::Filtered => self.filtered += 1,
            State::Superseded => self.superseded += 1,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events of each source.
    pub sources: BTreeMap<String, u64>,
    pub lanes: BTreeMap<LaneName, Counts>,
    /// Lanes to which nothing goes until an operator resumes them.
    pub paused: Vec<LaneName>,
    /// Entries of the audit.
    pub deeds: u64,
    /// When the oldest and the newest of the events were received.
    pub received: Option<(Timestamp, Timestamp)>,
}

impl Embedded {
    /// Looks at every row; nobody else may be using the store.
    pub fn tally(&self) -> Result<Tally, StoreError> {
        let shared = &self.shared;
        let names = shared.lanes.all();
        let numbers: Vec<u32> = shared.catalog.lock().segments.keys().copied().collect();
        let mut tally = Tally {
            deeds: shared.words.all().len() as u64,
            ..Tally::default()
        };
        for number in numbers {
            for row in shared.rows_of(number)? {
                let Some(lane) = names.get(row.lane as usize) else {
                    continue;
                };
                if row.offset.is_multiple_of(DELIVERIES) {
                    let source = lane.source.as_str().to_owned();
                    *tally.sources.entry(source).or_default() += 1;
                }
                let counts = tally.lanes.entry(lane.clone()).or_default();
                counts.count(row.stands.state);
                let at = row.received_at;
                let (from, to) = tally.received.unwrap_or((at, at));
                tally.received = Some((from.min(at), to.max(at)));
            }
        }
        let lanes = tally.lanes.keys();
        tally.paused = lanes
            .filter(|lane| shared.words.paused(lane))
            .cloned()
            .collect();
        Ok(tally)
    }
}
