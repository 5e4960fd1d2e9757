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

use super::blocks::StoredClaim;
use super::catalog::Segment;
use super::claims::{Taken, check_of};
use super::owed::{Granted, Open};
use super::pace::Pace;
use super::queue::{Answered, Command, End, Heard, Offer, Outcome, Queue, Reply, answer};
use super::record::{ClaimHashes, Conflicts, FrameHead, Kind, Place, Word};
use super::segment::{MetaRead, SegmentFile};
use super::shared::{NewRow, Shared, Stepped};
use super::taken::Claims;
use super::{OnConflict, StoreError, Unavailable};
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
    /// What these claim.
    pub claims: Vec<StoredClaim>,
    /// Keys that were taken, and who had them, to be given back if the write fails.
    pub claimed: Vec<([u8; 16], Place, Option<Taken>)>,
    pub steps: Vec<Stepped>,
    pub words: Vec<(Place, Word)>,
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
        while self.turn(&mut batch, self.sweep.is_none()) {}
        guard.armed = false;
    }

    /// Everything that waits becomes durable. With `wait`, sleeps until there is something. False
    /// when the work has ended.
    pub(super) fn turn(&mut self, batch: &mut Vec<Command>, wait: bool) -> bool {
        if !self.queue.drain(batch, wait) {
            return false;
        }
        self.warm(batch);
        for command in batch.drain(..) {
            self.handle(command);
            if self.group.bytes.len() >= GROUP_BYTES {
                self.commit();
            }
        }
        self.commit();
        self.forget_some();
        true
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Accept(offer, reply) => self.accept(offer, reply),
            Command::Settle(what, reply) => {
                let (lease, attempt, next) = *what;
                self.settle(lease, attempt, next, reply);
            }
            Command::Supersede(what, reply) => self.supersede(what.0, what.1, reply),
            Command::Operate(asked, reply) => self.operate(*asked, reply),
            Command::Record(deed, reply) => self.record(*deed, reply),
            Command::Expire(now, reply) => self.expire(now, reply),
            Command::Load(loaded, reply) => self.load(*loaded, reply),
            Command::LoadWord(what, reply) => self.load_word(what.0, what.1, reply),
        }
    }

    fn accept(&mut self, offer: Box<Offer>, reply: Reply<Heard>) {
        let (answered, known) = match self.place(&offer, Writer::judge) {
            Ok(Placed::New(answered)) => (answered, None),
            Ok(Placed::Known(place, answered)) => (answered, Some(place)),
            Err(e) => return answer(reply, Err(e)),
        };
        let heard = Heard { answered, offer };
        if known.is_some_and(|place| !self.in_group(place)) {
            // What is durable already needs no sync.
            return answer(reply, Ok(heard));
        }
        // Only with the group is it known that the other one is durable.
        self.group.outcomes.push(Outcome::Accept(reply, heard));
    }

    /// Looks up the keys of all that waits, one right after the other: what the processor must fetch
    /// from memory for each, it then fetches for several at once, and finds at hand later.
    fn warm(&self, batch: &[Command]) {
        if batch.len() < 4 {
            return;
        }
        let offers = batch.iter().filter_map(|command| match command {
            Command::Accept(offer, _) => Some(offer),
            Command::Load(loaded, _) => Some(&loaded.offer),
            Command::Settle(..)
            | Command::Supersede(..)
            | Command::Operate(..)
            | Command::Record(..)
            | Command::LoadWord(..)
            | Command::Expire(..) => None,
        });
        let keys = offers.flat_map(|offer| {
            let business = offer.claims.business.as_ref();
            std::iter::once(&offer.claims.own).chain(business)
        });
        let read = keys.fold(0u8, |read, k| read.wrapping_add(self.claims.touch(&k.key)));
        std::hint::black_box(read);
    }

    /// Claims the keys and puts the event at the end of the group, or says what is there.
    pub(super) fn place(
        &mut self,
        offer: &Offer,
        judge: impl Fn(&Writer, &Offer) -> Judged,
    ) -> Result<Placed, StoreError> {
        let unavailable = |why| Err(StoreError::Unavailable(why));
        let (conflicts, conflict_of) = loop {
            if self.shared.failed() {
                return unavailable(Unavailable::WriteFailed);
            }
            let (conflicts, conflict_of) = match judge(self, offer) {
                Judged::Known(place, answered) => return Ok(Placed::Known(place, answered)),
                Judged::Accept(conflicts, of) => (conflicts, of),
            };
            if !self.shared.room.above_low_water() {
                return unavailable(Unavailable::DiskLow);
            }
            // The end of a segment is left to what follows from deliveries.
            if self.fits(offer.span, self.reserve()) {
                break (conflicts, conflict_of);
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
            conflicts,
            subject: conflict_of,
        };
        let place = self.append(&head, &offer.payload);
        self.conflicts |= conflicts.key || conflicts.business;
        let business = offer.claims.business.as_ref();
        let taken = std::iter::once((&offer.claims.own, conflicts.key))
            .chain(business.map(|hashes| (hashes, conflicts.business)));
        for (hashes, conflict) in taken {
            let hash = if conflict {
                hashes.key_and_body
            } else {
                hashes.key
            };
            let check = check_of(hashes);
            let before = self.claims.put(&hash, Taken { place, check });
            self.group.claimed.push((hash, place, before));
            self.group.claims.push(StoredClaim {
                hash,
                check,
                offset: place.offset,
            });
        }
        self.group.accepted.extend(offer.rows.iter().map(|new| {
            let mut new = *new;
            new.segment = place.segment;
            new.row.offset += place.offset;
            new
        }));
        let id = place.with_tag(offer.tag);
        Ok(Placed::New(match conflict_of {
            None => Answered::New(id),
            Some(of) => Answered::Conflict { id, of },
        }))
    }

    /// What is known of an offer's keys: of its own first, and of its business key when its own is
    /// new.
    fn judge(&self, offer: &Offer) -> Judged {
        let mut conflicts = Conflicts::default();
        let mut of = None;
        for business in [false, true] {
            match self.judge_level(offer, business) {
                Verdict::New => {}
                Verdict::Duplicate(place) if of.is_none() => {
                    return Judged::Known(place, Answered::Duplicate { place, business });
                }
                // An event of its own by its id, and known by its business key: then that key is
                // as taken as it was.
                Verdict::Duplicate(_) => conflicts.business = true,
                Verdict::Conflict(other) => {
                    match offer.on_conflict {
                        OnConflict::KeepBoth => {}
                        OnConflict::FirstWins => {
                            let answered = Answered::Dropped { of: other };
                            return Judged::Known(Place::of(other), answered);
                        }
                        OnConflict::Reject => {
                            let answered = Answered::Refused { of: other };
                            return Judged::Known(Place::of(other), answered);
                        }
                    }
                    of = of.or(Some(other));
                    if business {
                        conflicts.business = true;
                    } else {
                        conflicts.key = true;
                    }
                }
            }
        }
        Judged::Accept(conflicts, of)
    }

    /// Under whatever key it may have been hashed: it may have come from a store with another one.
    fn judge_level(&self, offer: &Offer, business: bool) -> Verdict {
        let mut so_far = Verdict::New;
        for hashes in offer.hashes(business) {
            match (self.judge_one(offer, hashes), &so_far) {
                (duplicate @ Verdict::Duplicate(_), _) => return duplicate,
                (conflict @ Verdict::Conflict(_), Verdict::New) => so_far = conflict,
                (Verdict::Conflict(_) | Verdict::New, _) => {}
            }
        }
        so_far
    }

    /// What is known of an event that another store has accepted. Only its own key says that it is
    /// there; whatever else holds one of its keys here, it is taken in, as it was there.
    pub(super) fn judge_loaded(
        &self,
        offer: &Offer,
        mut conflicts: Conflicts,
        mut of: Option<EventId>,
    ) -> Judged {
        let mut taken = [false; 2];
        for (business, taken) in [false, true].into_iter().zip(&mut taken) {
            let hashes = offer.claims.at(business);
            match hashes.map(|hashes| self.judge_one(offer, hashes)) {
                None | Some(Verdict::New) => {}
                Some(Verdict::Duplicate(place)) if !business => {
                    return Judged::Known(place, Answered::Duplicate { place, business });
                }
                Some(Verdict::Duplicate(_)) => *taken = true,
                Some(Verdict::Conflict(other)) => {
                    of = of.or(Some(other));
                    *taken = true;
                }
            }
        }
        let [key, business] = taken;
        conflicts.key |= key;
        conflicts.business |= business;
        Judged::Accept(conflicts, of)
    }

    fn judge_one(&self, offer: &Offer, hashes: &ClaimHashes) -> Verdict {
        let valid = |taken: &Taken| {
            self.live.contains(&taken.place.segment) && !offer.instead_of.contains(&taken.place)
        };
        let exact = || self.claims.get(&hashes.key_and_body).filter(valid);
        match self.claims.get(&hashes.key).filter(valid) {
            Some(taken) if taken.check == check_of(hashes) => Verdict::Duplicate(taken.place),
            Some(taken) => match (exact(), self.holder(taken.place, hashes)) {
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

    /// The tag of the event at a place, when it really has this key: memory knows shortened hashes.
    fn holder(&self, place: Place, hashes: &ClaimHashes) -> Option<u64> {
        if self.in_group(place) {
            let mut claimed = self.group.claimed.iter();
            return claimed
                .any(|(hash, at, _)| *at == place && *hash == hashes.key)
                .then(|| self.tag_at(place))
                .flatten();
        }
        match self
            .shared
            .catalog
            .file(place.segment)?
            .read_meta(place.offset)
        {
            Ok(MetaRead::Good(meta, _)) => {
                let business = meta.business.is_some_and(|own| own.key == hashes.key);
                (meta.claim.key == hashes.key || business).then_some(meta.tag)
            }
            Ok(MetaRead::Damaged | MetaRead::NoEvent) | Err(_) => None,
        }
    }

    pub(super) fn tag_at(&self, place: Place) -> Option<u64> {
        if self.in_group(place) {
            return self
                .group
                .accepted
                .iter()
                .find(|row| row.row.offset == place.event().offset)
                .map(|row| row.tag);
        }
        match self
            .shared
            .catalog
            .file(place.segment)?
            .read_meta(place.event().offset)
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
                .sweep(from, 1, |segment| live.contains(&segment));
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

/// What became of an offer.
pub(super) enum Placed {
    New(Answered),
    /// It was not stored, because of what lies at this place.
    Known(Place, Answered),
}

pub(super) enum Judged {
    /// With which claims in conflict, and with which event.
    Accept(Conflicts, Option<EventId>),
    /// Not to be stored, because of what lies at this place.
    Known(Place, Answered),
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
