//! What operators did: where it stands in the journal, and which lanes are paused by it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record::{Place, Word};
use super::{AUDIT_KEEP, Deed, DeedKind};
use crate::clock::Timestamp;
use crate::message::{DestinationName, EventId, LaneName, SourceName};

#[derive(Default)]
pub struct Words(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// By number: where, from when, and about which event.
    entries: BTreeMap<u64, (Place, Timestamp, Option<EventId>)>,
    /// What is paused, and by which entry. Without a destination: the whole source.
    paused: HashMap<(SourceName, Option<DestinationName>), u64>,
    /// By source and destination: the last entry about its pauses, so that one that is read again, or out of
    /// order, changes nothing.
    heard: HashMap<(SourceName, Option<DestinationName>), u64>,
    last: u64,
}

impl Words {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next entry. Only the writer makes any.
    pub fn next_number(&self) -> u64 {
        self.lock().last.saturating_add(1)
    }

    /// An entry is durable. One that was carried forward is the same at another place.
    pub fn put(&self, place: Place, word: &Word) {
        let mut table = self.lock();
        let Word { number, deed } = word;
        table.last = table.last.max(*number);
        let about = deed.event.map(EventId::event);
        table.entries.insert(*number, (place, deed.at, about));
        if let Some(source) = &deed.source {
            table.hear(*number, deed, source);
        }
    }

    pub fn paused(&self, lane: &LaneName) -> bool {
        let table = self.lock();
        if table.paused.is_empty() {
            return false;
        }
        let of = |destination| {
            let key = (lane.source.clone(), destination);
            table.paused.contains_key(&key)
        };
        of(None) || of(Some(lane.destination.clone()))
    }

    /// The entry by which exactly this is paused: a lane, or without a destination a source.
    pub fn paused_by(
        &self,
        source: &SourceName,
        destination: Option<&DestinationName>,
    ) -> Option<u64> {
        let key = (source.clone(), destination.cloned());
        self.lock().paused.get(&key).copied()
    }

    /// Where entries stand that are older than `after`, newest first, and where the next page begins.
    pub fn page(&self, after: Option<u64>, limit: usize) -> (Vec<(u64, Place)>, Option<u64>) {
        let table = self.lock();
        let entries = table.entries.range(..after.unwrap_or(u64::MAX));
        let mut newest = entries.rev().map(|(number, (place, ..))| (*number, *place));
        let page: Vec<_> = newest.by_ref().take(limit).collect();
        let next = page.last().map(|(number, _)| *number);
        let more = newest.next().is_some();
        (page, next.filter(|_| more))
    }

    /// As `page`, of those about one event. Looks at so many entries at a time.
    pub fn page_of(
        &self,
        event: EventId,
        after: Option<u64>,
        limit: usize,
    ) -> (Vec<(u64, Place)>, Option<u64>) {
        const LOOK_MAX: usize = 20_000;
        let table = self.lock();
        let mut page = Vec::new();
        let entries = table.entries.range(..after.unwrap_or(u64::MAX)).rev();
        let mut last = None;
        for (looked, (number, (place, _, about))) in entries.enumerate() {
            if looked == LOOK_MAX || page.len() == limit {
                return (page, last);
            }
            last = Some(*number);
            if *about == Some(event.event()) {
                page.push((*number, *place));
            }
        }
        (page, None)
    }

    /// Where every entry stands.
    pub fn all(&self) -> Vec<(u64, Place)> {
        self.page(None, usize::MAX).0
    }

    /// Offsets of the entries that stand in a segment.
    pub fn within(&self, segment: u32) -> Vec<u32> {
        let table = self.lock();
        let places = table.entries.values().map(|(place, ..)| place);
        let within = places.filter(|place| place.segment == segment);
        let mut offsets: Vec<u32> = within.map(|place| place.offset).collect();
        offsets.sort_unstable();
        offsets
    }

    /// What must be written down anew before these segments go; what is too old is forgotten. The
    /// last word about a lane's pause stays: an earlier one may stand in a segment that is kept.
    pub fn leaving(&self, segments: &[u32], now: Timestamp) -> Vec<(u64, Place)> {
        let mut table = self.lock();
        let Table { entries, heard, .. } = &mut *table;
        let mut leaving = Vec::new();
        entries.retain(|number, (place, at, _)| {
            if segments.binary_search(&place.segment).is_err() {
                return true;
            }
            let wanted = at.plus(AUDIT_KEEP) > now || heard.values().any(|last| last == number);
            if wanted {
                leaving.push((*number, *place));
            }
            wanted
        });
        leaving
    }
}

impl Table {
    fn hear(&mut self, number: u64, deed: &Deed, source: &SourceName) {
        match deed.kind {
            DeedKind::Pause | DeedKind::Resume => {}
            DeedKind::Redrive
            | DeedKind::Discard
            | DeedKind::RedriveMany
            | DeedKind::DiscardMany
            | DeedKind::Unmask
            | DeedKind::ReadBody
            | DeedKind::Reload
            | DeedKind::SignIn => return,
        }
        let key = (source.clone(), deed.destination.clone());
        let heard = self.heard.entry(key.clone()).or_default();
        if *heard > number {
            return;
        }
        *heard = number;
        match deed.kind {
            DeedKind::Pause => {
                self.paused.insert(key, number);
            }
            _ => {
                self.paused.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_number_after_the_last_one() {
        let words = Words::default();
        let place = Place {
            segment: 1,
            offset: 8192,
        };
        let deed = Deed {
            at: Timestamp::MAX,
            by: String::new(),
            kind: DeedKind::Pause,
            source: Some(SourceName::new("shop")),
            destination: None,
            event: None,
            detail: String::new(),
            count: u64::MAX,
            outcome: String::new(),
        };
        let number = u64::MAX;
        words.put(place, &Word { number, deed });
        assert_eq!(words.next_number(), u64::MAX);
        assert_eq!(words.leaving(&[1], Timestamp::MAX), [(u64::MAX, place)]);
    }
}
