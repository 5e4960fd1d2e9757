//! What is where: the live segments, the rows of the list, and how each event stands.
//!
//! The rows of a segment are in memory until the segment is sealed and indexed; from then on they
//! are in the index, in blocks, and only a directory of the blocks stays here. What happens to an
//! indexed row afterwards is kept in the overlay until the next checkpoint writes it into its
//! block; so what is read here is true at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::State;
use super::blocks::{StoredClaim, StoredVersion};
use super::record::{Meta, Place};
use super::segment::SegmentFile;
use super::shared::NewRow;
use crate::clock::Timestamp;

/// What the list filters by. The texts themselves are read from the journal for the rows that are
/// shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowState {
    pub offset: u32,
    /// Number of the lane in the store's list of names.
    pub lane: u32,
    pub type_hash: u32,
    pub key_hash: u32,
    pub provider_hash: u32,
    /// Of the order number; 0 where there is none.
    pub order_hash: u32,
    pub received_at: Timestamp,
    pub stands: Stands,
}

/// How a delivery stands, and its last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stands {
    pub state: State,
    pub last: Option<Place>,
}

impl RowState {
    pub fn of<T: AsRef<str>>(meta: &Meta<T>, offset: u32, lane: u32, state: State) -> Self {
        RowState {
            offset,
            lane,
            type_hash: text_hash(meta.event_type.as_ref()),
            key_hash: text_hash(meta.event_key.as_ref()),
            provider_hash: text_hash(meta.provider.as_ref()),
            order_hash: (meta.payment.as_ref())
                .and_then(|payment| payment.order.as_ref())
                .map_or(0, |order| text_hash(order.as_ref())),
            received_at: meta.received_at,
            stands: Stands { state, last: None },
        }
    }
}

/// Tells texts apart well enough to skip most rows; what is shown is compared exactly.
pub fn text_hash(text: &str) -> u32 {
    crc32fast::hash(text.as_bytes())
}

pub fn is_open(state: State) -> bool {
    match state {
        State::Owed | State::Dead => true,
        State::Delivered | State::Discarded | State::Filtered | State::Superseded => false,
    }
}

/// Overlay entries from which on a checkpoint is worth its while between two segments.
pub const OVERLAY_MAX: usize = 20_000;

/// A block of rows in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Offset of its first row.
    pub first: u32,
    pub rows: u16,
    /// How many of them are owed or dead.
    pub open: u16,
    /// Of the block as it was last written to the index.
    pub crc: u32,
}

pub enum Rows {
    /// In the order of their offsets. With `indexing`, they are just being written to the index:
    /// changes go into the overlay too.
    Memory {
        rows: Vec<RowState>,
        indexing: bool,
    },
    Indexed(Vec<Block>),
}

/// What is known of a segment as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub events: u32,
    /// Deliveries of these events.
    pub rows: u32,
    /// The latest moment until which one of its events must be kept.
    pub keep_until: Timestamp,
    /// The least `keep` of its events.
    pub least_keep: Option<Duration>,
    /// Least and greatest time of reception.
    pub received: Option<(Timestamp, Timestamp)>,
    /// Segments of the events whose steps lie in this one. It may only go when they are gone:
    /// else a delivery would look owed again to whoever reads the journal from its beginning.
    pub refs: BTreeSet<u32>,
}

impl Summary {
    pub fn add_event(&mut self, received_at: Timestamp, keep: Duration) {
        self.events += 1;
        self.keep_until = self.keep_until.max(received_at.plus(keep));
        self.least_keep = Some(self.least_keep.map_or(keep, |least| least.min(keep)));
        let (from, to) = self.received.unwrap_or((received_at, received_at));
        self.received = Some((from.min(received_at), to.max(received_at)));
    }
}

/// What the index keeps of a segment's events besides their rows.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub claims: Vec<StoredClaim>,
    pub versions: Vec<StoredVersion>,
}

impl Kept {
    pub fn version(&mut self, event: &NewRow) {
        self.versions
            .extend(event.version.map(|version| StoredVersion {
                version,
                lane: event.row.lane,
                offset: event.place().event().offset,
                tag: event.tag,
            }));
    }
}

pub struct Segment {
    pub file: Arc<SegmentFile>,
    /// Size of the file.
    pub bytes: u64,
    /// End of what is durable in it.
    pub end: u32,
    pub sealed: bool,
    pub summary: Summary,
    pub rows: Rows,
    /// Of the events whose rows are in memory, for the index: else it would have to read the whole
    /// segment again.
    pub kept: Kept,
    pub owed: u32,
    /// Something in it was damaged: its file keeps its length, for whoever looks into it.
    pub damaged: bool,
}

impl Segment {
    pub fn new(file: Arc<SegmentFile>, bytes: u64, end: u32) -> Self {
        Segment {
            file,
            bytes,
            end,
            sealed: false,
            summary: Summary::default(),
            rows: Rows::Memory {
                rows: Vec::new(),
                indexing: false,
            },
            kept: Kept::default(),
            owed: 0,
            damaged: false,
        }
    }
}

/// Where the row of a place is to be found.
pub enum Whereabouts {
    /// No live segment has it.
    Nowhere,
    Here(RowState),
    /// In the block that begins at this offset; the overlay says how it stands.
    Indexed {
        first: u32,
        overlay: Option<Stands>,
    },
}

#[derive(Default)]
pub struct Inner {
    pub segments: BTreeMap<u32, Segment>,
    pub overlay: BTreeMap<Place, Stands>,
    /// Removed segments that the index still speaks of.
    pub garbage: Vec<u32>,
}

/// An event's step, as the catalog needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub place: Place,
    /// Its state before; any ended one will do when it was not open.
    pub was: State,
    pub now: Stands,
}

#[derive(Default)]
pub struct Catalog(Mutex<Inner>);

impl Catalog {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn file(&self, segment: u32) -> Option<Arc<SegmentFile>> {
        self.lock()
            .segments
            .get(&segment)
            .map(|s| Arc::clone(&s.file))
    }
}

impl Inner {
    /// Deliveries of events that were accepted into a segment, and what these claim.
    pub fn accepted(&mut self, segment: u32, events: &[NewRow], claims: &[StoredClaim]) {
        let Some(segment) = self.segments.get_mut(&segment) else {
            return;
        };
        for event in events {
            if event.first {
                segment.summary.add_event(event.row.received_at, event.keep);
            }
            segment.summary.rows += 1;
            segment.owed += u32::from(event.row.stands.state == State::Owed);
            segment.kept.version(event);
        }
        segment.kept.claims.extend_from_slice(claims);
        if let Rows::Memory { rows, .. } = &mut segment.rows {
            rows.extend(events.iter().map(|event| event.row));
        }
    }

    pub fn stepped(&mut self, change: Change) {
        let Place {
            segment: number,
            offset,
        } = change.place;
        if let Some(last) = change.now.last
            && let Some(holder) = self.segments.get_mut(&last.segment)
            && last.segment != number
        {
            holder.summary.refs.insert(number);
        }
        let Some(segment) = self.segments.get_mut(&number) else {
            return;
        };
        match (change.was, change.now.state) {
            (State::Owed, State::Owed) => {}
            (State::Owed, _) => segment.owed = segment.owed.saturating_sub(1),
            (_, State::Owed) => segment.owed += 1,
            (
                State::Delivered
                | State::Dead
                | State::Discarded
                | State::Filtered
                | State::Superseded,
                _,
            ) => {}
        }
        match &mut segment.rows {
            Rows::Memory { rows, indexing } => {
                if let Ok(at) = rows.binary_search_by_key(&offset, |row| row.offset)
                    && let Some(row) = rows.get_mut(at)
                {
                    row.stands = change.now;
                    if *indexing {
                        self.overlay.insert(change.place, change.now);
                    }
                }
            }
            Rows::Indexed(blocks) => {
                if let Some(block) = block_of(blocks, offset) {
                    match (is_open(change.was), is_open(change.now.state)) {
                        (true, false) => block.open = block.open.saturating_sub(1),
                        (false, true) => block.open = block.open.saturating_add(1),
                        (true, true) | (false, false) => {}
                    }
                    self.overlay.insert(change.place, change.now);
                }
            }
        }
    }

    pub fn whereabouts(&self, place: Place) -> Whereabouts {
        let Some(segment) = self.segments.get(&place.segment) else {
            return Whereabouts::Nowhere;
        };
        match &segment.rows {
            Rows::Memory { rows, .. } => rows
                .binary_search_by_key(&place.offset, |row| row.offset)
                .ok()
                .and_then(|at| rows.get(at))
                .map_or(Whereabouts::Nowhere, |row| Whereabouts::Here(*row)),
            Rows::Indexed(blocks) => match block_before(blocks, place.offset) {
                Some(block) => Whereabouts::Indexed {
                    first: block.first,
                    overlay: self.overlay.get(&place).copied(),
                },
                None => Whereabouts::Nowhere,
            },
        }
    }

    /// Which sealed segments hold nothing any more that someone may still want, oldest first.
    /// `holds`: a dead letter in it holds others.
    pub fn expired(&self, now: Timestamp, holds: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut gone: BTreeSet<u32> = BTreeSet::new();
        for (number, segment) in &self.segments {
            let done = segment.sealed
                && segment.owed == 0
                && segment.summary.keep_until <= now
                && !holds(*number);
            // `refs` point backwards only, so what they need is decided already.
            let free = segment
                .summary
                .refs
                .iter()
                .all(|r| gone.contains(r) || !self.segments.contains_key(r));
            if done && free {
                gone.insert(*number);
            }
        }
        gone.into_iter().collect()
    }

    /// Segments that only stay for what they tell of the events in older ones, which are past their
    /// time, too, and stay for something that is still owed. By each of those older ones: who stays
    /// for it. Without an end to this, one delivery that is owed for ever would hold every later
    /// segment: each tells of some events of the one before it.
    pub fn held_up(
        &self,
        now: Timestamp,
        holds: impl Fn(u32) -> bool,
    ) -> BTreeMap<u32, BTreeSet<u32>> {
        let mut held_up: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let mut gone: BTreeSet<u32> = BTreeSet::new();
        for (number, segment) in &self.segments {
            let wanted = segment.owed > 0 || segment.summary.keep_until > now;
            if !segment.sealed || wanted || holds(*number) {
                continue;
            }
            let needed: Vec<(&u32, &Segment)> = segment
                .summary
                .refs
                .iter()
                .filter(|r| !gone.contains(r))
                .filter_map(|r| self.segments.get_key_value(r))
                .collect();
            // What its owner still wants to look at keeps all of its history.
            if needed.iter().all(|(_, s)| s.summary.keep_until <= now) {
                gone.insert(*number);
                for (older, _) in needed {
                    held_up.entry(*older).or_default().insert(*number);
                }
            }
        }
        held_up
    }

    /// Takes segments out: from now on nothing finds what is in them.
    pub fn remove(&mut self, numbers: &[u32]) -> Vec<Segment> {
        let mut removed = Vec::new();
        for number in numbers {
            if let Some(segment) = self.segments.remove(number) {
                self.garbage.push(*number);
                removed.push(segment);
            }
            let from = Place {
                segment: *number,
                offset: 0,
            };
            let to = Place {
                segment: *number,
                offset: u32::MAX,
            };
            let stale: Vec<Place> = self
                .overlay
                .range(from..=to)
                .map(|(place, _)| *place)
                .collect();
            for place in stale {
                self.overlay.remove(&place);
            }
        }
        for segment in self.segments.values_mut() {
            for number in numbers {
                segment.summary.refs.remove(number);
            }
        }
        removed
    }

    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|s| s.bytes).sum()
    }
}

/// The block that would hold the row at `offset`.
pub fn block_before(blocks: &[Block], offset: u32) -> Option<&Block> {
    let after = blocks.partition_point(|block| block.first <= offset);
    blocks.get(after.checked_sub(1)?)
}

fn block_of(blocks: &mut [Block], offset: u32) -> Option<&mut Block> {
    let after = blocks.partition_point(|block| block.first <= offset);
    blocks.get_mut(after.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::store::disk::{Disk, How, RealDisk};
    use crate::inbox::store::segment::{FORMAT, Header, Identity};

    fn segment(number: u32, keep_until: u64, refs: &[u32]) -> (u32, Segment) {
        let dir = tempfile::tempdir().unwrap();
        let header = Header {
            format: FORMAT,
            number,
            identity: Identity {
                id: [0; 16],
                key: [0; 32],
            },
            created_at: Timestamp::default(),
            mark: 1,
        };
        let file = RealDisk.open(&dir.path().join("s"), How::Fresh).unwrap();
        let mut segment = Segment::new(Arc::new(SegmentFile { header, file }), 0, 0);
        segment.sealed = true;
        segment.summary.keep_until = Timestamp::from_secs(keep_until);
        segment.summary.refs = refs.iter().copied().collect();
        (number, segment)
    }

    #[test]
    fn a_segment_outlives_the_events_whose_steps_it_holds() {
        let mut inner = Inner {
            segments: [
                segment(1, 100, &[]),
                segment(2, 10, &[1]),
                segment(3, 10, &[2]),
                segment(4, 10, &[]),
            ]
            .into_iter()
            .collect(),
            ..Inner::default()
        };
        // 1 must be kept, so 2 with its steps, and so 3 with those of 2.
        assert_eq!(inner.expired(Timestamp::from_secs(50), |_| false), [4]);
        // 2 waits for one that is kept; 3 only for one that is not.
        assert_eq!(
            inner.held_up(Timestamp::from_secs(50), |_| false),
            [(2, [3].into())].into()
        );
        assert_eq!(
            inner.held_up(Timestamp::from_secs(100), |_| false),
            [].into()
        );
        assert_eq!(
            inner.expired(Timestamp::from_secs(100), |_| false),
            [1, 2, 3, 4]
        );
        inner.segments.get_mut(&2).unwrap().owed = 1;
        assert_eq!(inner.expired(Timestamp::from_secs(100), |_| false), [1, 4]);
        assert_eq!(
            inner.held_up(Timestamp::from_secs(100), |_| false),
            [(2, [3].into())].into()
        );
        inner.remove(&[1, 4]);
        inner.segments.get_mut(&2).unwrap().owed = 0;
        assert_eq!(inner.expired(Timestamp::from_secs(100), |_| false), [2, 3]);
    }
}
