//! Reading: events, rows, lists, attempts. What a row shows is read from the journal; memory and
//! index only say where, and how it stands.

use std::collections::BTreeMap;

use super::catalog::{RowState, Rows, Stands, is_open, text_hash};
use super::record::{self, Kind, Place, Step};
use super::segment::{FrameRead, MetaRead};
use super::shared::{Shared, reading};
use super::{Attempt, Filter, Page, Row, State, StoreError, StoredEvent};
use crate::message::{EventId, SourceName};

/// Rows that one call looks at, at most.
const LOOK_MAX: usize = 20_000;
/// Rows of a segment in memory that are looked at under one hold of the lock.
const AT_ONCE: usize = 2_000;
pub const LIST_MAX: usize = 500;

impl Shared {
    pub fn read_event(&self, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        let Some(file) = self.catalog.file(id.segment) else {
            return Ok(None);
        };
        let place = Place::of(id);
        match file.read_frame(id.offset).map_err(reading)? {
            FrameRead::Good(head, payload) => match head.kind {
                Kind::Step => Ok(None),
                Kind::Accepted => match record::decode_accepted(&payload, head.subject) {
                    Some((meta, event)) => Ok((meta.tag == id.tag).then_some(event)),
                    None => Err(StoreError::Damaged { id }),
                },
            },
            FrameRead::BadPayload(head) => match head.kind {
                Kind::Accepted => Err(StoreError::Damaged { id }),
                Kind::Step => Ok(None),
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
            .map(|file| file.read_meta(id.offset))
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
        let MetaRead::Good(meta, conflict_of) = file.read_meta(row.offset).map_err(reading)? else {
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
        let attempts = step.as_ref().map_or(0, |step| step.delivery.attempts);
        let due = match state {
            State::Owed => Some(match (&open, &step) {
                (Some(open), _) => open.delivery.due,
                (None, Some(step)) => step.delivery.due,
                (None, None) => meta.received_at,
            }),
            State::Delivered | State::Dead | State::Discarded => None,
        };
        Ok(Some(Row {
            id: place.with_tag(meta.tag),
            source: SourceName::new(&meta.source),
            provider: meta.provider,
            event_key: meta.event_key,
            event_type: meta.event_type,
            received_at: meta.received_at,
            state,
            attempts,
            due,
            reason: step.map(|step| step.reason).unwrap_or_default(),
            conflict: conflict_of.is_some(),
            body_bytes: meta.body_bytes,
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
        let source = match &filter.source {
            // A source that no event came from.
            Some(name) => match self.sources.known(name) {
                Some(number) => Some(number),
                None => return Ok(Page::default()),
            },
            None => None,
        };
        let wanted = Wanted {
            filter,
            source,
            type_hash: filter.event_type.as_deref().map(text_hash),
            key_hash: filter.event_key.as_deref().map(text_hash),
        };
        let mut scan = Scan {
            shared: self,
            at: after.map(Place::of),
            looked: 0,
        };
        let mut rows = Vec::new();
        let mut next = None;
        if limit == 0 {
            return Ok(Page::default());
        }
        while let Some(chunk) = scan.chunk(&wanted)? {
            for (segment, found) in chunk {
                let Some(row) = self.show(segment, &found)? else {
                    continue;
                };
                let exact = filter
                    .event_type
                    .as_ref()
                    .is_none_or(|t| *t == row.event_type)
                    && filter
                        .event_key
                        .as_ref()
                        .is_none_or(|k| *k == row.event_key);
                if !exact {
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

struct Wanted<'a> {
    filter: &'a Filter,
    source: Option<u32>,
    type_hash: Option<u32>,
    key_hash: Option<u32>,
}

impl Wanted<'_> {
    fn fits(&self, row: &RowState) -> bool {
        self.source.is_none_or(|source| source == row.source)
            && self
                .filter
                .state
                .is_none_or(|state| state == row.stands.state)
            && self.type_hash.is_none_or(|hash| hash == row.type_hash)
            && self.key_hash.is_none_or(|hash| hash == row.key_hash)
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
