//! Reading: events, rows, lists, attempts. What a row shows is read from the journal; memory and
//! index only say where, and how it stands.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{RowState, Rows, Stands, is_open, text_hash};
use super::payment;
use super::record::{self, Kind, Place, Step};
use super::segment::{FrameRead, MetaRead};
use super::shared::{Shared, reading};
use super::{Attempt, Audit, Counted, Filter, Page, Row, State, StoreError, StoredEvent};
use crate::message::{DestinationName, EventId, SourceName};

/// Rows that one call looks at, at most.
const LOOK_MAX: usize = 20_000;
/// Rows that one call reads from the journal and finds not to fit, at most. Few in tests, so that
/// they come to this end.
const READ_MAX: usize = if cfg!(test) { 40 } else { 4_000 };
/// Rows of a segment in memory that are looked at under one hold of the lock.
const AT_ONCE: usize = 2_000;
pub const LIST_MAX: usize = 500;

impl Shared {
    pub fn read_event(&self, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        let Some(file) = self.catalog.file(id.segment) else {
            return Ok(None);
        };
        let place = Place::of(id);
        match file.read_frame(place.event().offset).map_err(reading)? {
            FrameRead::Good(head, payload) => match head.kind {
                Kind::Step | Kind::Word => Ok(None),
                Kind::Accepted => match record::decode_accepted(&payload, head.subject) {
                    Some((meta, event)) => {
                        let there = meta.tag == id.tag && meta.delivery(id).is_some();
                        Ok(there.then_some(event))
                    }
                    None => Err(StoreError::Damaged { id }),
                },
            },
            FrameRead::BadPayload(head) => match head.kind {
                Kind::Accepted => Err(StoreError::Damaged { id }),
                Kind::Step | Kind::Word => Ok(None),
            },
            // It may have been an event once: then something still speaks of it.
            FrameRead::NoFrame if self.owed.get(place).is_some_and(|open| open.tag == id.tag) => {
                Err(StoreError::Damaged { id })
            }
            FrameRead::NoFrame => match self.find(place)? {
                Some(_) => Err(StoreError::Damaged { id }),
                None => Ok(None),
            },
        }
    }

    pub fn row_of(&self, id: EventId) -> Result<Option<Row>, StoreError> {
        let place = Place::of(id);
        let Some(found) = self.find(place)? else {
            return Ok(None);
        };
        match self.show(id.segment, &found)? {
            Some(row) => Ok((row.id.tag == id.tag).then_some(row)),
            None => Err(StoreError::Damaged { id }),
        }
    }

    /// Every attempt that can be read, oldest first.
    pub fn attempts_of(&self, id: EventId) -> Result<Vec<Attempt>, StoreError> {
        let Some(found) = self.find(Place::of(id))? else {
            return Ok(Vec::new());
        };
        match self
            .catalog
            .file(id.segment)
            .map(|file| file.read_meta(id.event().offset))
        {
            Some(Ok(MetaRead::Good(meta, _))) if meta.tag != id.tag => return Ok(Vec::new()),
            Some(Err(e)) => return Err(reading(e)),
            Some(Ok(MetaRead::Good(..) | MetaRead::Damaged | MetaRead::NoEvent)) | None => {}
        }
        let mut attempts = Vec::new();
        let mut at = found.stands.last;
        while let Some(place) = at {
            let Some(step) = self.step(place)? else { break };
            // The chain only ever leads back.
            at = step.delivery.last.filter(|before| *before < place);
            attempts.extend(step.attempt().cloned());
        }
        attempts.reverse();
        Ok(attempts)
    }

    /// The row as people see it; none when what was accepted there is damaged or gone.
    fn show(&self, segment: u32, row: &RowState) -> Result<Option<Row>, StoreError> {
        let place = Place {
            segment,
            offset: row.offset,
        };
        let Some(file) = self.catalog.file(segment) else {
            return Ok(None);
        };
        let MetaRead::Good(meta, conflict_of) =
            file.read_meta(place.event().offset).map_err(reading)?
        else {
            return Ok(None);
        };
        let Stands { state, last } = row.stands;
        let step: Option<Step> = match last {
            Some(last) => self.step(last)?,
            None => None,
        };
        let open = if is_open(state) {
            self.owed.get(place)
        } else {
            None
        };
        // Also where the last step is damaged.
        let known = open.as_ref().map(|open| open.delivery.attempts);
        let attempts = known.or(step.as_ref().map(|step| step.delivery.attempts));
        let due = match state {
            State::Owed => Some(match (&open, &step) {
                (Some(open), _) => open.delivery.due,
                (None, Some(step)) => step.delivery.due,
                (None, None) => meta.received_at,
            }),
            State::Delivered
            | State::Dead
            | State::Discarded
            | State::Filtered
            | State::Superseded => None,
        };
        let destination = meta
            .delivery(place.with_tag(meta.tag))
            .map_or_else(DestinationName::main, |planned| {
                DestinationName::new(&planned.destination)
            });
        Ok(Some(Row {
            id: place.with_tag(meta.tag),
            source: SourceName::new(&meta.source),
            destination,
            provider: meta.provider,
            event_key: meta.event_key,
            event_type: meta.event_type,
            received_at: meta.received_at,
            state,
            attempts: attempts.unwrap_or(0),
            due,
            reason: step.map(|step| step.reason).unwrap_or_default(),
            conflict: conflict_of.is_some(),
            body_bytes: meta.body_bytes,
            payment: meta.payment,
        }))
    }

    /// All rows of a segment, as they stand. For the writer, since only it changes how they do.
    pub fn rows_of(&self, segment: u32) -> Result<Vec<RowState>, StoreError> {
        let (blocks, overlay): (_, BTreeMap<Place, Stands>) = {
            let inner = self.catalog.lock();
            let Some(found) = inner.segments.get(&segment) else {
                return Ok(Vec::new());
            };
            let blocks = match &found.rows {
                Rows::Memory { rows, .. } => return Ok(rows.clone()),
                Rows::Indexed(blocks) => blocks.clone(),
            };
            let at = |offset| Place { segment, offset };
            let overlay = inner.overlay.range(at(0)..=at(u32::MAX));
            (blocks, overlay.map(|(at, stands)| (*at, *stands)).collect())
        };
        let mut rows = Vec::new();
        for block in blocks {
            rows.extend(self.rows(segment, block.first)?.into_iter().map(|stored| {
                let place = Place {
                    segment,
                    offset: stored.row.offset,
                };
                RowState {
                    stands: overlay.get(&place).copied().unwrap_or(stored.row.stands),
                    ..stored.row
                }
            }));
        }
        Ok(rows)
    }

    pub fn list_rows(
        &self,
        filter: &Filter,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(LIST_MAX);
        let Some(wanted) = Wanted::of(self, filter) else {
            return Ok(Page::default());
        };
        let mut scan = Scan {
            shared: self,
            at: after.map(Place::of),
            looked: 0,
        };
        let mut rows = Vec::new();
        let mut next = None;
        let mut read = 0;
        if limit == 0 {
            return Ok(Page::default());
        }
        while let Some(chunk) = scan.chunk(&wanted)? {
            for (segment, found) in chunk {
                let Some(row) = self.show(segment, &found)? else {
                    continue;
                };
                if !filter.fits_texts(&row) {
                    read += 1;
                    if read >= READ_MAX {
                        return Ok(Page {
                            rows,
                            next: Some(row.id),
                        });
                    }
                    continue;
                }
                if rows.len() == limit {
                    // There is one more: the next page begins after the last of this.
                    next = rows.last().map(|row: &Row| row.id);
                    return Ok(Page { rows, next });
                }
                rows.push(row);
            }
            if scan.looked >= LOOK_MAX {
                next = scan.at.map(|place| place.with_tag(0));
                break;
            }
        }
        Ok(Page { rows, next })
    }
}

impl Shared {
    /// As many as one call looks at. Texts are compared exactly, for which rows are read; without
    /// any, nothing is.
    pub fn count_rows(
        &self,
        filter: &Filter,
        after: Option<EventId>,
    ) -> Result<Counted, StoreError> {
        let Some(wanted) = Wanted::of(self, filter) else {
            return Ok(Counted::default());
        };
        let mut scan = Scan {
            shared: self,
            at: after.map(Place::of),
            looked: 0,
        };
        let mut counted = Counted::default();
        let mut read = 0;
        while let Some(chunk) = scan.chunk(&wanted)? {
            if !filter.reads() {
                counted.count += chunk.len() as u64;
            }
            for (segment, found) in chunk.iter().filter(|_| filter.reads()) {
                let row = self.show(*segment, found)?;
                counted.count += u64::from(row.is_some_and(|row| filter.fits_texts(&row)));
                read += 1;
                if read >= READ_MAX {
                    let place = Place {
                        segment: *segment,
                        offset: found.offset,
                    };
                    counted.next = Some(place.with_tag(0));
                    return Ok(counted);
                }
            }
            if scan.looked >= COUNT_MAX {
                counted.next = scan.at.map(|place| place.with_tag(0));
                break;
            }
        }
        Ok(counted)
    }

    pub fn audit_page(
        &self,
        event: Option<EventId>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Audit, StoreError> {
        let limit = limit.clamp(1, LIST_MAX);
        let (places, next) = match event {
            Some(event) => self.words.page_of(event, after, limit),
            None => self.words.page(after, limit),
        };
        let mut audit = Audit {
            next,
            ..Audit::default()
        };
        for (number, place) in places {
            // One that was carried forward meanwhile is found at its new place the next time.
            if let Some(word) = self.word(place)?.filter(|word| word.number == number) {
                audit.entries.push((number, word.deed));
            }
        }
        Ok(audit)
    }

    /// The latest event about the same as this one that goes to the same destination, when it is
    /// later.
    pub fn overtaken_by(&self, id: EventId) -> Result<Option<EventId>, StoreError> {
        let Some(file) = self.catalog.file(id.segment) else {
            return Ok(None);
        };
        match file.read_meta(id.event().offset).map_err(reading)? {
            MetaRead::Good(meta, _) if meta.tag == id.tag => {
                let version = meta.version.zip(meta.delivery(id));
                Ok(version.and_then(|(version, planned)| {
                    let lane = self.lanes.number_of(&meta.source, &planned.destination);
                    self.versions.after(version, lane)
                }))
            }
            MetaRead::Good(..) | MetaRead::Damaged | MetaRead::NoEvent => Ok(None),
        }
    }
}

/// Rows that one call counts, at most.
const COUNT_MAX: usize = 200_000;

struct Wanted<'a> {
    filter: &'a Filter,
    /// Numbers of lanes; none: all.
    lanes: Option<BTreeSet<u32>>,
    type_hash: Option<u32>,
    key_hash: Option<u32>,
    provider_hash: Option<u32>,
    order_hash: Option<u32>,
}

impl<'a> Wanted<'a> {
    /// None when nothing can fit: no event came from there.
    fn of(shared: &Shared, filter: &'a Filter) -> Option<Self> {
        let (source, destination) = (filter.source.as_ref(), filter.destination.as_ref());
        let lanes = if source.is_some() || destination.is_some() {
            let lanes = shared.lanes.fitting(source, destination);
            if lanes.is_empty() {
                return None;
            }
            Some(lanes)
        } else {
            None
        };
        Some(Wanted {
            filter,
            lanes,
            type_hash: filter.event_type.as_deref().map(text_hash),
            key_hash: filter.event_key.as_deref().map(text_hash),
            provider_hash: filter.provider.as_deref().map(text_hash),
            order_hash: filter.order.as_deref().map(payment::cut).map(text_hash),
        })
    }
}

impl Wanted<'_> {
    fn fits(&self, row: &RowState) -> bool {
        self.lanes
            .as_ref()
            .is_none_or(|lanes| lanes.contains(&row.lane))
            && self
                .filter
                .state
                .is_none_or(|state| state == row.stands.state)
            && self.type_hash.is_none_or(|hash| hash == row.type_hash)
            && self.key_hash.is_none_or(|hash| hash == row.key_hash)
            && (self.provider_hash).is_none_or(|hash| hash == row.provider_hash)
            && self.order_hash.is_none_or(|hash| hash == row.order_hash)
            && self.filter.from.is_none_or(|from| row.received_at >= from)
            && self.filter.to.is_none_or(|to| row.received_at < to)
    }

    /// Only open rows are wanted: blocks without one need not be read.
    fn open_only(&self) -> bool {
        self.filter.state.is_some_and(is_open)
    }
}

/// Goes back through the rows, newest first.
struct Scan<'a> {
    shared: &'a Shared,
    /// Rows before this place are still to be looked at; none: all.
    at: Option<Place>,
    looked: usize,
}

/// What to look at next, decided under the lock.
enum Step1 {
    Rows(Vec<(u32, RowState)>),
    Block {
        segment: u32,
        first: u32,
        overlay: Vec<(u32, Stands)>,
        before: Option<u32>,
    },
}

impl Scan<'_> {
    /// Some more rows that fit, perhaps none; `None` at the end.
    fn chunk(&mut self, wanted: &Wanted<'_>) -> Result<Option<Vec<(u32, RowState)>>, StoreError> {
        match self.step(wanted) {
            None => Ok(None),
            Some(Step1::Rows(rows)) => Ok(Some(rows)),
            Some(Step1::Block {
                segment,
                first,
                overlay,
                before,
            }) => {
                let stored = match self.shared.rows(segment, first) {
                    Ok(stored) => stored,
                    // Removed meanwhile: nothing to show of it.
                    Err(_) if self.shared.catalog.file(segment).is_none() => Vec::new(),
                    Err(e) => return Err(e),
                };
                self.looked += stored.len();
                let rows = stored
                    .into_iter()
                    .rev()
                    .filter(|s| before.is_none_or(|before| s.row.offset < before));
                let rows = rows.map(|stored| {
                    let changed = overlay
                        .iter()
                        .find(|(offset, _)| *offset == stored.row.offset);
                    let stands = changed.map_or(stored.row.stands, |(_, stands)| *stands);
                    (
                        segment,
                        RowState {
                            stands,
                            ..stored.row
                        },
                    )
                });
                Ok(Some(rows.filter(|(_, row)| wanted.fits(row)).collect()))
            }
        }
    }

    fn step(&mut self, wanted: &Wanted<'_>) -> Option<Step1> {
        let inner = self.shared.catalog.lock();
        let mut at = self.at.unwrap_or(Place {
            segment: u32::MAX,
            offset: u32::MAX,
        });
        loop {
            let (number, segment) = inner.segments.range(..=at.segment).next_back()?;
            if *number != at.segment {
                at = Place {
                    segment: *number,
                    offset: u32::MAX,
                };
            }
            let skip = match segment.summary.received {
                None => true,
                Some((first, last)) => {
                    wanted.filter.from.is_some_and(|from| last < from)
                        || wanted.filter.to.is_some_and(|to| first >= to)
                        || (wanted.filter.state == Some(State::Owed) && segment.owed == 0)
                }
            };
            let found = if skip {
                None
            } else {
                self.look(&inner.overlay, *number, segment, at.offset, wanted)
            };
            if found.is_some() {
                return found;
            }
            // Nothing more in this one. Segment 0 does not exist.
            at = Place {
                segment: number.checked_sub(1)?,
                offset: u32::MAX,
            };
            self.at = Some(at);
        }
    }

    fn look(
        &mut self,
        overlay: &BTreeMap<Place, Stands>,
        number: u32,
        segment: &super::catalog::Segment,
        before: u32,
        wanted: &Wanted<'_>,
    ) -> Option<Step1> {
        match &segment.rows {
            Rows::Memory { rows, .. } => {
                let end = rows.partition_point(|row| row.offset < before);
                let from = end.saturating_sub(AT_ONCE);
                let seen = rows.get(from..end).filter(|seen| !seen.is_empty())?;
                self.looked += seen.len();
                self.at = seen.first().map(|row| Place {
                    segment: number,
                    offset: row.offset,
                });
                let fit = seen
                    .iter()
                    .rev()
                    .filter(|row| wanted.fits(row))
                    .map(|row| (number, *row));
                Some(Step1::Rows(fit.collect()))
            }
            Rows::Indexed(blocks) => {
                let end = blocks.partition_point(|block| block.first < before);
                let block = blocks
                    .get(..end)?
                    .iter()
                    .rev()
                    .find(|block| !wanted.open_only() || block.open > 0)?;
                let next = blocks.get(end).map_or(u32::MAX, |block| block.first);
                self.at = Some(Place {
                    segment: number,
                    offset: block.first,
                });
                let from = Place {
                    segment: number,
                    offset: block.first,
                };
                let to = Place {
                    segment: number,
                    offset: next,
                };
                Some(Step1::Block {
                    segment: number,
                    first: block.first,
                    overlay: overlay
                        .range(from..=to)
                        .map(|(place, stands)| (place.offset, *stands))
                        .collect(),
                    before: (before != u32::MAX).then_some(before),
                })
            }
        }
    }
}
