//! The one thread that writes the journal: it decides what is a duplicate, gives every record its
//! place, and makes a group of them durable at a time.
//!
//! A group is what arrived while the last one was being synced; no timer is involved. Only after
//! the sync does anything of it become visible: leases, rows, answers. A group whose write fails is
//! undone in memory, and its place is written over; a group whose sync fails ends the store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::catalog::Segment;
use super::claims::{Claims, Taken, check_of};
use super::owed::{Granted, Open};
use super::pace::Pace;
use super::queue::{Answered, Command, End, Heard, Offer, Outcome, Queue, Reply, answer};
use super::record::{ClaimHashes, FrameHead, Kind, Place};
use super::segment::{MetaRead, SegmentFile};
use super::shared::{NewRow, Shared, Stepped};
use super::{StoreError, Unavailable};
use crate::message::EventId;
use crate::telemetry::Metrics;

/// Bytes of one group, so that a flood of large events does not make the first of them wait long.
const GROUP_BYTES: usize = 8 << 20;

pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    pub(super) metrics: Metrics,
    pub(super) on_fatal: Arc<dyn Fn() + Send + Sync>,
    pub(super) claims: Claims,
    /// There may be claims of conflicting events.
    pub(super) conflicts: bool,
    /// How far the clock is believed when segments are to expire.
    pub(super) pace: Pace,
    pub(super) began: Instant,
    /// The index made no headway while this waited for it: it is not waited for any more.
    pub(super) index_late: bool,
    /// Numbers of the segments that are there; a claim in another one holds no longer.
    pub(super) live: HashSet<u32>,
    /// Where to go on forgetting claims of removed segments.
    pub(super) sweep: Option<usize>,

    pub(super) file: Arc<SegmentFile>,
    pub(super) file_bytes: u32,
    /// The segment was made out of the ballast: no event may use up what it is there for.
    pub(super) steps_only: bool,
    /// Where the next group begins; everything before is durable.
    pub(super) head: u32,
    /// Up to here a write that failed may have left something behind the head.
    pub(super) dirty_to: u32,

    pub(super) group: Group,
}

/// What waits for the next sync.
#[derive(Default)]
pub struct Group {
    pub bytes: Vec<u8>,
    pub accepted: Vec<NewRow>,
    /// Keys that were taken, to be given back if the write fails.
    pub claimed: Vec<([u8; 16], Place)>,
    pub steps: Vec<Stepped>,
    /// How deliveries stand after the steps of this group, and the leases that still hold.
    pub staged: HashMap<Place, (Open, Option<Granted>)>,
    pub outcomes: Vec<Outcome>,
}

impl Writer {
    pub fn run(mut self) {
        // If this thread ends by a bug, nobody may go on as if there were a store.
        let mut guard = FatalGuard {
            armed: true,
            shared: Arc::clone(&self.shared),
            queue: Arc::clone(&self.queue),
            on_fatal: Arc::clone(&self.on_fatal),
        };
        let mut batch = Vec::new();
        while self.queue.drain(&mut batch, self.sweep.is_none()) {
            self.warm(&batch);
            for command in batch.drain(..) {
                self.handle(command);
                if self.group.bytes.len() >= GROUP_BYTES {
                    self.commit();
                }
            }
            self.commit();
            self.forget_some();
        }
        guard.armed = false;
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Accept(offer, reply) => self.accept(offer, reply),
            Command::Settle(what, reply) => {
                let (lease, attempt, next) = *what;
                self.settle(lease, attempt, next, reply);
            }
            Command::Redrive(id, now, reply) => self.redrive(id, now, reply),
            Command::Discard(id, now, reason, reply) => self.discard(id, now, reason, reply),
            Command::Expire(now, reply) => self.expire(now, reply),
            Command::Load(loaded, reply) => self.load(*loaded, reply),
        }
    }

    fn accept(&mut self, offer: Box<Offer>, reply: Reply<Heard>) {
        match self.place(&offer) {
            // What is durable already needs no sync.
            Ok(answered @ Answered::Duplicate(place)) if !self.in_group(place) => {
                answer(reply, Ok(Heard { answered, offer }));
            }
            Ok(answered) => {
                let heard = Heard { answered, offer };
                self.group.outcomes.push(Outcome::Accept(reply, heard));
            }
            Err(e) => answer(reply, Err(e)),
        }
    }

    /// Looks up the keys of all that waits, one right after the other: what the processor must fetch
    /// from memory for each, it then fetches for several at once, and finds at hand later.
    fn warm(&self, batch: &[Command]) {
        if batch.len() < 4 {
            return;
        }
        let keys = batch.iter().filter_map(|command| match command {
            Command::Accept(offer, _) => Some(&offer.hashes.key),
            Command::Load(loaded, _) => Some(&loaded.offer.hashes.key),
            Command::Settle(..)
            | Command::Redrive(..)
            | Command::Discard(..)
            | Command::Expire(..) => None,
        });
        std::hint::black_box(keys.filter(|key| self.claims.get(key).is_some()).count());
    }

    /// Claims the key and puts the event at the end of the group, or says what is there.
    pub(super) fn place(&mut self, offer: &Offer) -> Result<Answered, StoreError> {
        let unavailable = |why| Err(StoreError::Unavailable(why));
        let (hash, conflict_of) = loop {
            if self.shared.failed() {
                return unavailable(Unavailable::WriteFailed);
            }
            let (hash, conflict_of) = match self.judge(offer) {
                Verdict::Duplicate(place) => return Ok(Answered::Duplicate(place)),
                Verdict::New => (offer.hashes.key, None),
                Verdict::Conflict(of) => (offer.hashes.key_and_body, Some(of)),
            };
            if !self.shared.room.above_low_water() {
                return unavailable(Unavailable::DiskLow);
            }
            // The end of a segment is left to what follows from deliveries.
            if self.fits(offer.span, self.reserve()) {
                break (hash, conflict_of);
            }
            self.commit();
            self.rotate(false).map_err(StoreError::Unavailable)?;
            if !self.fits(offer.span, self.reserve()) {
                return unavailable(Unavailable::TooLarge);
            }
        };
        let head = FrameHead {
            length: u32::try_from(offer.payload.len()).unwrap_or(u32::MAX),
            payload_crc: offer.payload_crc,
            kind: Kind::Accepted,
            first_of_commit: self.group.bytes.is_empty(),
            subject: conflict_of,
        };
        let place = self.append(&head, &offer.payload);
        self.conflicts |= conflict_of.is_some();
        self.claims.put(
            &hash,
            Taken {
                place,
                check: check_of(&offer.hashes),
            },
        );
        self.group.claimed.push((hash, place));
        let mut row = offer.row;
        row.offset = place.offset;
        self.group.accepted.push(NewRow {
            segment: place.segment,
            tag: offer.tag,
            row,
            keep: offer.keep,
        });
        let id = place.with_tag(offer.tag);
        Ok(match conflict_of {
            None => Answered::New(id),
            Some(of) => Answered::Conflict { id, of },
        })
    }

    fn judge(&self, offer: &Offer) -> Verdict {
        match self.judge_by(&offer.hashes, offer) {
            // It may have come from a store with another key.
            Verdict::New => offer
                .former
                .iter()
                .map(|hashes| self.judge_by(hashes, offer))
                .find(|verdict| !matches!(verdict, Verdict::New))
                .unwrap_or(Verdict::New),
            known => known,
        }
    }

    fn judge_by(&self, hashes: &ClaimHashes, offer: &Offer) -> Verdict {
        let valid = |taken: &Taken| {
            self.live.contains(&taken.place.segment) && !offer.instead_of.contains(&taken.place)
        };
        let exact = || self.claims.get(&hashes.key_and_body).filter(valid);
        match self.claims.get(&hashes.key).filter(valid) {
            Some(taken) if taken.check == check_of(hashes) => Verdict::Duplicate(taken.place),
            Some(taken) => match (exact(), self.tag_at(taken.place)) {
                (Some(exact), _) => Verdict::Duplicate(exact.place),
                (None, Some(tag)) => Verdict::Conflict(taken.place.with_tag(tag)),
                // What it would conflict with is damaged: it is as good as not there.
                (None, None) => Verdict::New,
            },
            // The first with this key may be gone while one that conflicted with it is not.
            None if self.conflicts => {
                exact().map_or(Verdict::New, |exact| Verdict::Duplicate(exact.place))
            }
            None => Verdict::New,
        }
    }

    /// True for what is written down but not yet durable.
    pub(super) fn in_group(&self, place: Place) -> bool {
        place.segment == self.file.number() && place.offset >= self.head
    }

    pub(super) fn tag_at(&self, place: Place) -> Option<u64> {
        if self.in_group(place) {
            return self
                .group
                .accepted
                .iter()
                .find(|row| row.row.offset == place.offset)
                .map(|row| row.tag);
        }
        match self
            .shared
            .catalog
            .file(place.segment)?
            .read_meta(place.offset)
        {
            Ok(MetaRead::Good(meta, _)) => Some(meta.tag),
            Ok(MetaRead::Damaged | MetaRead::NoEvent) | Err(_) => None,
        }
    }

    pub(super) fn reserve(&self) -> u32 {
        if self.steps_only {
            return self.file_bytes;
        }
        (self.file_bytes / 16).min(1 << 20)
    }

    pub(super) fn fits(&self, span: u32, reserve: u32) -> bool {
        let end = u64::from(self.head)
            + self.group.bytes.len() as u64
            + u64::from(span)
            + u64::from(reserve);
        end <= u64::from(self.file_bytes)
    }

    /// Puts a frame at the end of the group, where it must have been found to fit.
    pub(super) fn append(&mut self, head: &FrameHead, payload: &[u8]) -> Place {
        let bytes = &mut self.group.bytes;
        let offset = self.head + u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&head.encode(self.file.header.mark, offset));
        bytes.extend_from_slice(payload);
        bytes.resize(
            bytes.len().next_multiple_of(super::record::ALIGN as usize),
            0,
        );
        Place {
            segment: self.file.number(),
            offset,
        }
    }

    /// Forgets a few of the claims whose segments are gone.
    fn forget_some(&mut self) {
        if let Some(from) = self.sweep {
            let live = &self.live;
            self.sweep = self
                .claims
                .sweep(from, 64, |segment| live.contains(&segment));
        }
        self.shared
            .flags
            .claims
            .store(self.claims.count() as u64, Ordering::Relaxed);
    }

    /// Goes on in a new segment. Nothing may wait for a sync.
    pub(super) fn use_segment(&mut self, file: SegmentFile, bytes: u64, steps_only: bool) {
        let file = Arc::new(file);
        let number = file.number();
        {
            let mut inner = self.shared.catalog.lock();
            if let Some(old) = inner.segments.get_mut(&self.file.number()) {
                old.sealed = true;
                old.end = self.head;
            }
            let segment = Segment::new(Arc::clone(&file), bytes, super::segment::HEADER);
            inner.segments.insert(number, segment);
        }
        self.live.insert(number);
        self.file = file;
        self.file_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.head = super::segment::HEADER;
        self.dirty_to = 0;
        self.steps_only = steps_only;
        self.shared.checkpoint.ring(|work| work.checkpoint = true);
    }
}

enum Verdict {
    New,
    Conflict(EventId),
    Duplicate(Place),
}

struct FatalGuard {
    armed: bool,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    on_fatal: Arc<dyn Fn() + Send + Sync>,
}

impl Drop for FatalGuard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        self.queue.end(End::Abandon);
        self.shared.flags.failed.store(true, Ordering::SeqCst);
        tracing::error!("the journal's writer has stopped by a bug: nothing is accepted any more");
        (self.on_fatal)();
    }
}
