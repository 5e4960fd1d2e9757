//! The journal read again at a start, from where the index ends; without it (or with one that does
//! not fit) from its beginning.

use std::io;
use std::sync::Arc;

use smallvec::SmallVec;

use super::State;
use super::blocks::{StoredClaim, stored_claims};
use super::catalog::{Segment, is_open};
use super::checkpoint;
use super::claims::Taken;
use super::disk::{self, DiskFile};
use super::index::{Index, IndexError, index_path};
use super::open::{EmbeddedConfig, Opened};
use super::owed::Open;
use super::record::{Conflicts, Kind, Meta, Place, Step, Word};
use super::report::{IndexUse, OpenError, Report, io_error};
use super::segment::{FORMAT, Found, Gap, HEADER, SegmentFile, Tail, Walk};
use super::shared::{Shared, Stepped};
use super::taken::Claims;

/// Loads the index and replays the journal from where it ends; without it (or with one that does
/// not fit) the whole journal.
pub(super) fn replay(
    config: &EmbeddedConfig,
    new_shared: &dyn Fn() -> Arc<Shared>,
    files: &[Arc<SegmentFile>],
    ending: Option<Place>,
    lock: Arc<dyn DiskFile>,
) -> Result<Opened, OpenError> {
    let path = index_path(&config.directory);
    let mut why = "it was not there".to_owned();
    if config.index && path.exists() {
        let mut replay = Replay::new(new_shared(), files, ending);
        replay.in_index = true;
        let loaded = Index::open(&path, config.index_cache_bytes)
            .and_then(|index| replay.load(Arc::new(index)))
            .and_then(|next| replay.journal(files, next));
        match loaded {
            Ok(()) => return replay.finish(files, lock, IndexUse::Loaded),
            Err(IndexError::Io(error)) if !replay.in_index => {
                // The journal itself could not be read: no other index would help.
                return Err(OpenError::Io {
                    doing: "reading the journal in",
                    path: config.directory.clone(),
                    error,
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "the index cannot be used: it is made anew from the journal");
                why = e.to_string();
            }
        }
    }
    let mut replay = Replay::new(new_shared(), files, ending);
    let mut used = IndexUse::Without;
    if config.index {
        let fresh = Index::wipe(&path)
            .map_err(IndexError::Io)
            .and_then(|()| Index::open(&path, config.index_cache_bytes));
        match fresh {
            Ok(index) => {
                replay.shared.set_index(Some(Arc::new(index)));
                used = IndexUse::Rebuilt(why);
            }
            Err(e) => tracing::error!(error = %e, "no index can be made: going on without"),
        }
    }
    match replay.journal(files, 0) {
        Ok(()) => replay.finish(files, lock, used),
        Err(IndexError::Io(error)) if !replay.in_index => Err(OpenError::Io {
            doing: "reading the journal in",
            path: config.directory.clone(),
            error,
        }),
        Err(e) => {
            tracing::error!(error = %e, "the new index cannot be used: going on without");
            let mut replay = Replay::new(new_shared(), files, ending);
            replay.journal(files, 0).map_err(|e| OpenError::Io {
                doing: "reading the journal in",
                path: config.directory.clone(),
                error: io::Error::other(e.to_string()),
            })?;
            replay.finish(files, lock, IndexUse::Without)
        }
    }
}

/// The last commit, and only that, may be in the memory of the system and not on the disk: its
/// process was killed before the sync, or the sync failed (then the system believes that nothing is
/// left to be done, and a sync alone would not do it either). From here on it is called durable, so
/// it is written and synced once more.
fn write_anew(file: &dyn DiskFile, from: u32, end: u32) -> io::Result<()> {
    let mut piece = vec![0; (end.saturating_sub(from) as usize).min(1 << 20)];
    let (mut at, end) = (u64::from(from), u64::from(end));
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        let piece = piece.get_mut(..want).unwrap_or_default();
        let read = disk::read_up_to(file, piece, at)?;
        if read == 0 {
            break;
        }
        disk::write_all_at(file, piece.get(..read).unwrap_or_default(), at)?;
        at += read as u64;
    }
    file.sync_data()
}

fn damaged(gap: &Gap) {
    tracing::error!(
        segment = gap.segment,
        from = gap.from,
        to = gap.to,
        "a part of the journal is damaged: what was recorded there is lost (`callseal store verify` says what)"
    );
}

pub(super) struct Replay {
    pub(super) shared: Arc<Shared>,
    pub(super) claims: Claims,
    pub(super) conflicts: bool,
    report: Report,
    tail: Tail,
    /// Where the last commit of the segment that was read last begins.
    last_commit: u32,
    /// Everything before was durable once.
    ending: Option<Place>,
    /// What is going on concerns the index: an error in it is no error of the journal.
    pub(super) in_index: bool,
}

impl Replay {
    fn new(shared: Arc<Shared>, files: &[Arc<SegmentFile>], ending: Option<Place>) -> Self {
        {
            let mut inner = shared.catalog.lock();
            for file in files {
                inner
                    .segments
                    .insert(file.number(), Segment::new(Arc::clone(file), 0, HEADER));
            }
        }
        Replay {
            shared,
            claims: Claims::default(),
            conflicts: false,
            report: Report::default(),
            tail: Tail {
                end: HEADER,
                dirty_to: HEADER,
            },
            last_commit: HEADER,
            ending,
            in_index: false,
        }
    }

    fn journal(&mut self, files: &[Arc<SegmentFile>], next: u32) -> Result<(), IndexError> {
        let shared = Arc::clone(&self.shared);
        let newest = files.last().map_or(0, |f| f.number());
        for file in files.iter().filter(|f| f.number() >= next) {
            let gaps = self.report.damage.len();
            self.segment(file)?;
            let bytes = file.file.length()?;
            let sealed = file.number() != newest;
            self.up_to_the_ending(file, bytes);
            let Tail { end, dirty_to } = self.tail;
            // The end of the log of an older version, behind which this one goes on in a segment of
            // its own: what a crash had cut off there was never acknowledged.
            let last_of_old = file.header.format < FORMAT
                && files
                    .iter()
                    .find(|next| next.number() > file.number())
                    .is_some_and(|next| next.header.format == FORMAT);
            if sealed && last_of_old && dirty_to > end {
                self.report.torn_bytes += u64::from(dirty_to - end);
                disk::write_zeros(&*file.file, u64::from(end), u64::from(dirty_to))?;
                file.file.sync_data()?;
            } else if sealed && dirty_to > end {
                self.report.damage.push(Gap {
                    segment: file.number(),
                    from: end,
                    to: dirty_to,
                    zeros: false,
                });
            }
            if let Some(live) = shared.catalog.lock().segments.get_mut(&file.number()) {
                live.bytes = bytes;
                live.end = self.tail.end;
                live.sealed = sealed;
                live.damaged = self.report.damage.len() > gaps;
            }
            if sealed && let Some(index) = shared.index() {
                self.in_index = true;
                checkpoint::checkpoint(&shared, &index)?;
                self.in_index = false;
            }
        }
        Ok(())
    }

    /// What was durable once and is not there now is no torn commit: the log goes on behind it.
    fn up_to_the_ending(&mut self, file: &SegmentFile, bytes: u64) {
        let Some(ending) = self.ending.filter(|e| e.segment == file.number()) else {
            return;
        };
        let Tail { end, dirty_to } = self.tail;
        if ending.offset > end && u64::from(ending.offset) <= bytes {
            let gap = Gap {
                segment: file.number(),
                from: end,
                to: ending.offset,
                zeros: false,
            };
            damaged(&gap);
            self.report.damage.push(gap);
            self.tail = Tail {
                end: ending.offset,
                dirty_to: dirty_to.max(ending.offset),
            };
            self.last_commit = ending.offset;
        }
    }

    fn segment(&mut self, file: &SegmentFile) -> Result<(), IndexError> {
        let mut walk = Walk::new(file)?;
        self.last_commit = HEADER;
        while let Some(found) = walk.next_found()? {
            match found {
                Found::Gap(gap) => {
                    if gap.zeros {
                        // A page of a commit that the power cut off: nothing acknowledged.
                        self.report.torn_bytes += u64::from(gap.to - gap.from);
                    } else {
                        damaged(&gap);
                        self.report.damage.push(gap);
                    }
                }
                Found::Frame {
                    offset,
                    head,
                    payload,
                } => {
                    let at = Place {
                        segment: file.number(),
                        offset,
                    };
                    if head.first_of_commit {
                        self.last_commit = offset;
                    }
                    match head.kind {
                        Kind::Accepted => {
                            if let Ok(Some(meta)) = Meta::from_payload(&payload) {
                                self.accepted(at, &meta, head.conflicts);
                            }
                        }
                        Kind::Word => {
                            if let Some(word) = Word::decode(&payload) {
                                self.report.replayed_steps += 1;
                                self.shared.words.put(at, &word);
                            }
                        }
                        Kind::Step => {
                            if let (Some(id), Some(step)) = (head.subject, Step::decode(&payload)) {
                                self.step(at, Place::of(id), id.tag, &step)?;
                            }
                        }
                    }
                }
            }
        }
        self.tail = walk.tail();
        Ok(())
    }

    fn accepted(&mut self, at: Place, meta: &Meta, conflicts: Conflicts) {
        self.report.replayed_events += 1;
        self.conflicts |= conflicts.key || conflicts.business;
        let claims: SmallVec<[StoredClaim; 2]> =
            stored_claims(at.offset, meta, conflicts).collect();
        for StoredClaim { hash, check, .. } in &claims {
            let taken = Taken {
                place: at,
                check: *check,
            };
            self.claims.put(hash, taken);
        }
        let rows = self.shared.rows_of_meta(at, meta);
        self.shared
            .committed(at.segment, at.offset, (&rows, &claims), &[]);
    }

    fn step(&mut self, at: Place, place: Place, tag: u64, step: &Step) -> Result<(), IndexError> {
        self.report.replayed_steps += 1;
        let known = self.shared.owed.get(place);
        let mut delivery = step.delivery;
        delivery.last = Some(at);
        let (lane, order) = match known {
            Some(open) => (open.lane, open.order),
            None if is_open(delivery.state) => {
                self.in_index = true;
                let row = self
                    .shared
                    .find(place)
                    .map_err(|_| IndexError::Broken("a row cannot be read"))?;
                self.in_index = false;
                // Its segment is gone, or what was accepted there is damaged.
                let Some(row) = row else { return Ok(()) };
                (row.lane, self.shared.order_of(place))
            }
            // It was ended before and is now: nobody asks for its lane.
            None => (0, None),
        };
        let was = known.map_or(State::Delivered, |open| open.delivery.state);
        let open = Open {
            place,
            tag,
            lane,
            order,
            delivery,
        };
        self.shared.committed(
            at.segment,
            at.offset,
            (&[], &[]),
            &[Stepped {
                open,
                was,
                keep_lease: false,
            }],
        );
        Ok(())
    }

    /// Makes the end of the log clean: what lies behind it must never come back.
    fn finish(
        mut self,
        files: &[Arc<SegmentFile>],
        lock: Arc<dyn DiskFile>,
        index: IndexUse,
    ) -> Result<Opened, OpenError> {
        let Some(active) = files.last().map(Arc::clone) else {
            return Err(OpenError::Setting("a store has at least one segment"));
        };
        let Tail { end, dirty_to } = self.tail;
        if dirty_to > end {
            self.report.torn_bytes += u64::from(dirty_to - end);
            tracing::warn!(
                segment = active.number(),
                from = end,
                to = dirty_to,
                "the end of the journal was cut off in the middle of a commit: nothing of it was acknowledged, unless the disk has altered what was written"
            );
            disk::write_zeros(&*active.file, u64::from(end), u64::from(dirty_to)).map_err(
                io_error("clearing the end of the journal in", &self.shared.journal),
            )?;
        }
        write_anew(&*active.file, self.last_commit, end).map_err(io_error(
            "making the end of the journal durable in",
            &self.shared.journal,
        ))?;
        self.report.index = index;
        let active_bytes = active.file.length().map_err(io_error(
            "asking the length of a segment in",
            &self.shared.journal,
        ))?;
        Ok(Opened {
            shared: self.shared,
            claims: self.claims,
            conflicts: self.conflicts,
            active,
            active_bytes,
            end,
            lock,
            latest: None,
            former_keys: Vec::new(),
            report: self.report,
        })
    }
}
