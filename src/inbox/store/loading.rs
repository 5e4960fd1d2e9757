//! What an index says, taken over at a start.

use std::sync::Arc;

use super::State;
use super::catalog::{Rows, is_open};
use super::claims::Taken;
use super::index::{Index, IndexError};
use super::owed::Open;
use super::record::{Place, Word};
use super::replay::Replay;
use super::segment::FrameRead;

impl Replay {
    /// Takes over what the index knows; from which segment on the journal must be replayed.
    pub(super) fn load(&mut self, index: Arc<Index>) -> Result<u32, IndexError> {
        let shared = Arc::clone(&self.shared);
        let next = index
            .checkpoint(&shared.identity.id)?
            .ok_or(IndexError::Broken("it has no checkpoint"))?;
        for lane in index.lanes()? {
            shared.lanes.number(&lane);
        }
        let stored = index.segments()?;
        {
            let inner = shared.catalog.lock();
            let known = |number: &u32| stored.iter().any(|(n, _)| n == number);
            if !inner
                .segments
                .range(..next)
                .all(|(number, _)| known(number))
            {
                return Err(IndexError::Broken("a segment is missing in it"));
            }
            if inner
                .segments
                .last_key_value()
                .is_none_or(|(last, _)| *last < next)
            {
                return Err(IndexError::Broken("it knows more than the journal"));
            }
        }
        // No more than the segments have room for, whatever the index says.
        let claims = stored
            .iter()
            .map(|(_, s)| s.claims.min(s.end / 32) as usize)
            .sum();
        self.claims.expect(claims);
        for (number, segment) in stored {
            let Some(file) = shared.catalog.file(number).filter(|_| number < next) else {
                // Removed just before the last stop.
                shared.catalog.lock().garbage.push(number);
                continue;
            };
            if file.header.mark != segment.mark {
                return Err(IndexError::Broken("it speaks of another segment"));
            }
            let blocks = index.blocks(number, &segment)?;
            let refs = index.refs(number, &segment)?;
            let mut opens: Vec<Open> = Vec::new();
            for block in blocks.iter().filter(|block| block.open > 0) {
                opens.extend(
                    index
                        .rows(number, block.first)?
                        .into_iter()
                        .filter_map(|row| row.to_open(number)),
                );
            }
            index.claims(number, &segment, |claim| {
                let place = Place {
                    segment: number,
                    offset: claim.offset,
                };
                self.claims.load(
                    &claim.hash,
                    Taken {
                        place,
                        check: claim.check,
                    },
                );
            })?;
            for stored in index.versions(number, &segment)? {
                let at = Place {
                    segment: number,
                    offset: stored.offset,
                };
                shared
                    .versions
                    .put(stored.version, stored.lane, at.with_tag(stored.tag));
            }
            for offset in index.words(number, &segment)? {
                let at = Place {
                    segment: number,
                    offset,
                };
                if let FrameRead::Good(_, payload) = file.read_frame(offset)?
                    && let Some(word) = Word::decode(&payload)
                {
                    shared.words.put(at, &word);
                }
            }
            // Whether one of them is a conflict is not stored; looking twice costs little.
            self.conflicts = true;
            let mut inner = shared.catalog.lock();
            if let Some(live) = inner.segments.get_mut(&number) {
                live.bytes = file.file.length()?;
                live.end = segment.end;
                live.sealed = true;
                live.summary = segment.summary;
                live.summary.refs = refs.into_iter().collect();
                live.rows = Rows::Indexed(blocks);
                live.owed = opens
                    .iter()
                    .filter(|o| o.delivery.state == State::Owed)
                    .count() as u32;
            }
            drop(inner);
            shared
                .owed
                .put(opens.into_iter().filter(|o| is_open(o.delivery.state)));
        }
        self.claims.loaded();
        // References to what is gone say nothing.
        let mut inner = shared.catalog.lock();
        let numbers: Vec<u32> = inner.segments.keys().copied().collect();
        for segment in inner.segments.values_mut() {
            segment
                .summary
                .refs
                .retain(|r| numbers.binary_search(r).is_ok());
        }
        drop(inner);
        shared.set_index(Some(index));
        self.in_index = false;
        Ok(next)
    }
}
