//! Checkpoints: sealed segments and what happened since go into the index, in an order in which a
//! crash between any two writes costs nothing.
//!
//! A checkpoint says "every segment below N is in here, with everything that the journal says of
//! its events up to N". A start loads that and replays the journal from N. Rows may be newer than
//! that, never older: replaying a step that a row knows already changes nothing, since every step
//! carries all of what it leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::blocks::{self, StoredRow, StoredSegment, stored_claims};
use super::catalog::{
    Block, Inner, Kept, OVERLAY_MAX, RowState, Rows, Stands, block_before, is_open,
};
use super::index::{Index, IndexError, Write, key};
use super::record::{Kind, Meta, Place, Step};
use super::segment::{Found, SegmentFile, Walk};
use super::shared::Shared;
use crate::message::DELIVERIES;

/// Blocks in one batch: a batch is in memory twice.
const BATCH: usize = 256;

/// Brings the index up to date. On an error the index must not be used any more.
pub fn checkpoint(shared: &Shared, index: &Index) -> Result<(), IndexError> {
    let garbage = std::mem::take(&mut shared.catalog.lock().garbage);
    for number in garbage {
        let mut write = Write::default();
        for key in index.keys_of(number)? {
            write.remove(key);
        }
        index.apply(write)?;
    }
    let mut built = Vec::new();
    while let Some((number, rows, kept)) = next_sealed(shared) {
        built.push(write_segment(shared, index, number, &rows, &kept)?);
        if built.len() >= 8 {
            break;
        }
    }
    let patched = write_overlay(shared, index, &built)?;
    let next = finish(shared, index, &built, &patched)?;
    index.sync()?;
    let mut write = Write::default();
    write.checkpoint(&shared.identity.id, next);
    index.apply(write)?;
    index.sync()?;
    publish(shared, built, patched);
    Ok(())
}

/// True while there is a sealed segment, or much of an overlay, that is not in the index.
pub fn due(shared: &Shared) -> bool {
    let inner = shared.catalog.lock();
    inner.overlay.len() >= OVERLAY_MAX
        || !inner.garbage.is_empty()
        || inner
            .segments
            .values()
            .any(|s| s.sealed && matches!(s.rows, Rows::Memory { .. }))
}

/// The oldest sealed segment that is in memory only, with a copy of its rows and what else the
/// index keeps. From here on what happens to them is noted in the overlay, too.
fn next_sealed(shared: &Shared) -> Option<(u32, Vec<RowState>, Kept)> {
    let mut inner = shared.catalog.lock();
    for (number, segment) in &mut inner.segments {
        if let Rows::Memory { rows, indexing } = &mut segment.rows
            && segment.sealed
            && !*indexing
        {
            *indexing = true;
            return Some((*number, rows.clone(), segment.kept.clone()));
        }
    }
    None
}

/// A segment that was written to the index in this checkpoint.
struct Built {
    number: u32,
    blocks: Vec<Block>,
    claims: u32,
    versions: u32,
    words: u32,
}

fn write_segment(
    shared: &Shared,
    index: &Index,
    number: u32,
    rows: &[RowState],
    kept: &Kept,
) -> Result<Built, IndexError> {
    let mut built = Built {
        number,
        blocks: Vec::new(),
        claims: 0,
        versions: 0,
        words: 0,
    };
    for batch in rows.chunks(blocks::ROWS * BATCH) {
        let mut write = Write::default();
        for rows in batch.chunks(blocks::ROWS) {
            built
                .blocks
                .extend(put_rows(shared, &mut write, number, rows.iter().copied()));
        }
        index.apply(write)?;
    }
    for (part, batch) in (0u32..).zip(kept.claims.chunks(blocks::CLAIMS * BATCH)) {
        let mut write = Write::default();
        for (n, chunk) in (part * BATCH as u32..).zip(batch.chunks(blocks::CLAIMS)) {
            let key = key::two(key::CLAIMS, number, n);
            write.put(key, blocks::encode_claims(chunk));
        }
        index.apply(write)?;
    }
    let words = shared.words.within(number);
    let versions = &kept.versions;
    let mut write = Write::default();
    for (part, chunk) in (0u32..).zip(versions.chunks(blocks::VERSIONS)) {
        write.put(
            key::two(key::VERSIONS, number, part),
            blocks::encode_versions(chunk),
        );
    }
    for (part, chunk) in (0u32..).zip(words.chunks(blocks::REFS)) {
        write.put(
            key::two(key::WORDS, number, part),
            blocks::encode_refs(chunk),
        );
    }
    index.apply(write)?;
    built.claims = u32::try_from(kept.claims.len()).unwrap_or(u32::MAX);
    built.versions = u32::try_from(versions.len()).unwrap_or(u32::MAX);
    built.words = u32::try_from(words.len()).unwrap_or(u32::MAX);
    Ok(built)
}

/// Puts one block of rows. The open ones with all that a start needs; when a row is open but what
/// is owed no longer knows it, something has happened to it since, and the overlay has that.
fn put_rows(
    shared: &Shared,
    write: &mut Write,
    number: u32,
    rows: impl Iterator<Item = RowState>,
) -> Option<Block> {
    let mut rows: Vec<RowState> = rows.collect();
    let open = rows.iter().filter(|row| is_open(row.stands.state));
    let mut opens = shared.owed.get_all(open.map(|row| Place {
        segment: number,
        offset: row.offset,
    }));
    let stored: Vec<StoredRow> = rows
        .drain(..)
        .map(|mut row| {
            let open = opens.next_if(|(place, _)| place.offset == row.offset);
            let open = open.and_then(|(_, open)| open);
            if let Some(open) = open {
                row.stands = Stands {
                    state: open.delivery.state,
                    last: open.delivery.last,
                };
            }
            StoredRow::new(row, open)
        })
        .collect();
    let first = stored.first()?.row.offset;
    let crc = write.put(
        key::two(key::ROWS, number, first),
        blocks::encode_rows(&stored),
    );
    let open = stored.iter().filter(|row| row.open.is_some()).count();
    Some(Block {
        first,
        rows: u16::try_from(stored.len()).unwrap_or(u16::MAX),
        open: u16::try_from(open).unwrap_or(u16::MAX),
        crc,
    })
}

/// What was written of the overlay.
#[derive(Default)]
struct Patched {
    entries: Vec<(Place, Stands)>,
    /// Blocks that were written anew, by segment and first offset.
    blocks: BTreeMap<(u32, u32), Block>,
}

/// Writes changed rows of indexed segments (those of this checkpoint among them) into their blocks.
fn write_overlay(shared: &Shared, index: &Index, built: &[Built]) -> Result<Patched, IndexError> {
    let mut patched = Patched::default();
    let mut dirty: BTreeMap<(u32, u32), Vec<(Place, Stands)>> = BTreeMap::new();
    {
        let inner = shared.catalog.lock();
        for (place, stands) in &inner.overlay {
            let fresh = built
                .iter()
                .find(|b| b.number == place.segment)
                .map(|b| &b.blocks[..]);
            let blocks = fresh.or_else(|| indexed(&inner, place.segment));
            if let Some(block) = blocks.and_then(|blocks| block_before(blocks, place.offset)) {
                dirty
                    .entry((place.segment, block.first))
                    .or_default()
                    .push((*place, *stands));
            }
        }
    }
    let mut write = Write::default();
    for (n, ((segment, first), changes)) in dirty.into_iter().enumerate() {
        let rows = index.rows(segment, first)?;
        let rows = rows.into_iter().map(|stored| {
            let place = Place {
                segment,
                offset: stored.row.offset,
            };
            let changed = changes
                .iter()
                .find(|(p, _)| *p == place)
                .map(|(_, stands)| *stands);
            RowState {
                stands: changed.unwrap_or(stored.row.stands),
                ..stored.row
            }
        });
        if let Some(block) = put_rows(shared, &mut write, segment, rows) {
            patched.blocks.insert((segment, first), block);
        }
        patched.entries.extend(changes);
        if n % BATCH == BATCH - 1 {
            index.apply(std::mem::take(&mut write))?;
        }
    }
    index.apply(write)?;
    Ok(patched)
}

fn indexed(inner: &Inner, segment: u32) -> Option<&[Block]> {
    match &inner.segments.get(&segment)?.rows {
        Rows::Indexed(blocks) => Some(blocks),
        Rows::Memory { .. } => None,
    }
}

/// Writes directories and summaries, and says from which segment on the journal must be replayed.
fn finish(
    shared: &Shared,
    index: &Index,
    built: &[Built],
    patched: &Patched,
) -> Result<u32, IndexError> {
    let mut write = Write::default();
    let touched: BTreeSet<u32> = built
        .iter()
        .map(|b| b.number)
        .chain(patched.blocks.keys().map(|(segment, _)| *segment))
        .collect();
    let mut next = u32::MAX;
    {
        let inner = shared.catalog.lock();
        for (number, segment) in &inner.segments {
            let in_index = matches!(segment.rows, Rows::Indexed(_))
                || built.iter().any(|b| b.number == *number);
            if !in_index {
                next = next.min(*number);
            }
        }
        for number in touched {
            let Some(segment) = inner.segments.get(&number) else {
                continue;
            };
            let fresh = built.iter().find(|b| b.number == number);
            let blocks = match (fresh, &segment.rows) {
                (Some(built), _) => &built.blocks,
                (None, Rows::Indexed(blocks)) => blocks,
                (None, Rows::Memory { .. }) => continue,
            };
            let blocks: Vec<Block> = blocks
                .iter()
                .map(|block| {
                    patched
                        .blocks
                        .get(&(number, block.first))
                        .copied()
                        .unwrap_or(*block)
                })
                .collect();
            for (part, chunk) in (0u32..).zip(blocks.chunks(blocks::BLOCKS)) {
                write.put(
                    key::two(key::BLOCKS, number, part),
                    blocks::encode_blocks(chunk),
                );
            }
            if let Some(built) = fresh {
                let refs: Vec<u32> = segment.summary.refs.iter().copied().collect();
                for (part, chunk) in (0u32..).zip(refs.chunks(blocks::REFS)) {
                    write.put(
                        key::two(key::REFS, number, part),
                        blocks::encode_refs(chunk),
                    );
                }
                let stored = StoredSegment {
                    mark: segment.file.header.mark,
                    end: segment.end,
                    summary: segment.summary.clone(),
                    refs: u32::try_from(refs.len()).unwrap_or(u32::MAX),
                    claims: built.claims,
                    blocks: u32::try_from(blocks.len()).unwrap_or(u32::MAX),
                    versions: built.versions,
                    words: built.words,
                };
                write.put(
                    key::one(key::SEGMENT, number),
                    blocks::encode_segment(&stored),
                );
            }
        }
    }
    for (number, lane) in (0u32..).zip(shared.lanes.all()) {
        let name = format!("{}\0{}", lane.source, lane.destination);
        write.put(key::one(key::LANE, number), name.into_bytes());
    }
    index.apply(write)?;
    Ok(next)
}

/// From now on readers find these rows in the index.
fn publish(shared: &Shared, built: Vec<Built>, patched: Patched) {
    let mut inner = shared.catalog.lock();
    for built in built {
        let Some(segment) = inner.segments.get_mut(&built.number) else {
            continue;
        };
        let mut blocks = built.blocks;
        if let Rows::Memory { rows, .. } = &segment.rows {
            // How many are open is as of now, not as of when the block was written.
            let mut rows = rows.iter();
            for block in &mut blocks {
                let open = rows
                    .by_ref()
                    .take(usize::from(block.rows))
                    .filter(|row| is_open(row.stands.state));
                block.open = u16::try_from(open.count()).unwrap_or(u16::MAX);
            }
        }
        segment.rows = Rows::Indexed(blocks);
        segment.kept = Kept::default();
    }
    for ((number, first), written) in patched.blocks {
        if let Some(segment) = inner.segments.get_mut(&number)
            && let Rows::Indexed(blocks) = &mut segment.rows
            && let Ok(at) = blocks.binary_search_by_key(&first, |block| block.first)
            && let Some(block) = blocks.get_mut(at)
        {
            block.crc = written.crc;
        }
    }
    for (place, stands) in patched.entries {
        // What changed once more meanwhile stays.
        if inner.overlay.get(&place) == Some(&stands) {
            inner.overlay.remove(&place);
        }
    }
}

/// After the index was lost in the middle of the work: the rows of the sealed segments are made
/// again from the journal, into memory, from where the next checkpoint takes them.
pub fn rows_from_journal(shared: &Shared) -> std::io::Result<()> {
    let files: Vec<(u32, Arc<SegmentFile>)> = shared
        .catalog
        .lock()
        .segments
        .iter()
        .map(|(n, s)| (*n, Arc::clone(&s.file)))
        .collect();
    let mut rows: BTreeMap<u32, Vec<RowState>> = BTreeMap::new();
    let mut kept: BTreeMap<u32, Kept> = BTreeMap::new();
    for (number, file) in &files {
        let mut walk = Walk::new(file)?;
        while let Some(found) = walk.next_found()? {
            let Found::Frame {
                offset,
                head,
                payload,
            } = found
            else {
                continue;
            };
            match head.kind {
                Kind::Accepted => {
                    if let Ok(Some(meta)) = Meta::from_payload(&payload) {
                        let at = Place {
                            segment: *number,
                            offset,
                        };
                        let kept = kept.entry(*number).or_default();
                        kept.claims
                            .extend(stored_claims(offset, &meta, head.conflicts));
                        let rows = rows.entry(*number).or_default();
                        for new in shared.rows_of_meta(at, &meta) {
                            kept.version(&new);
                            rows.push(new.row);
                        }
                    }
                }
                Kind::Word => {}
                Kind::Step => {
                    let step = Step::decode(&payload);
                    if let (Some(id), Some(step)) = (head.subject, step)
                        && let Some(rows) = rows.get_mut(&id.segment)
                        && let Ok(at) = rows.binary_search_by_key(&id.offset, |row| row.offset)
                        && let Some(row) = rows.get_mut(at)
                    {
                        let last = Some(Place {
                            segment: *number,
                            offset,
                        });
                        row.stands = Stands {
                            state: step.delivery.state,
                            last,
                        };
                    }
                }
            }
        }
    }
    let mut inner = shared.catalog.lock();
    let overlay = std::mem::take(&mut inner.overlay);
    for (number, mut made) in rows {
        let Some(segment) = inner.segments.get_mut(&number) else {
            continue;
        };
        match &mut segment.rows {
            Rows::Memory { indexing, .. } => *indexing = false,
            Rows::Indexed(_) => {
                for row in &mut made {
                    // What happened while this was read is newer than what was read.
                    let place = Place {
                        segment: number,
                        offset: row.offset,
                    };
                    if let Some(stands) = overlay.get(&place) {
                        row.stands = *stands;
                    }
                }
                let events = made.iter().filter(|row| row.offset % DELIVERIES == 0);
                segment.summary.events = u32::try_from(events.count()).unwrap_or(u32::MAX);
                segment.summary.rows = u32::try_from(made.len()).unwrap_or(u32::MAX);
                segment.kept = kept.remove(&number).unwrap_or_default();
                segment.rows = Rows::Memory {
                    rows: made,
                    indexing: false,
                };
            }
        }
    }
    // Segments without a readable event.
    for segment in inner.segments.values_mut() {
        match &mut segment.rows {
            Rows::Memory { indexing, .. } => *indexing = false,
            Rows::Indexed(_) => {
                segment.rows = Rows::Memory {
                    rows: Vec::new(),
                    indexing: false,
                }
            }
        }
    }
    Ok(())
}
