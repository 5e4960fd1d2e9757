//! The way to the writer: what callers want done, waiting for the next group commit.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::catalog::Segment;
use super::claims::HashedClaims;
use super::load::Loaded;
use super::record::{ClaimHashes, Meta, Place, Word};
use super::shared::NewRow;
use super::{
    Attempt, Deed, Expected, Lease, Next, OnConflict, Operated, Operation, StoreError, Unavailable,
};
use crate::clock::Timestamp;
use crate::message::EventId;

pub type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

pub enum Command {
    Accept(Box<Offer>, Reply<Heard>),
    Settle(Box<(Lease, Attempt, Next)>, Reply<()>),
    /// The lease ends: a later event says it all.
    Supersede(Box<(Lease, EventId)>, Reply<()>),
    Operate(Box<Asked>, Reply<Operated>),
    Record(Box<Deed>, Reply<u64>),
    /// Takes expired segments out of sight; the caller removes their files.
    Expire(Timestamp, Reply<Vec<Segment>>),
    /// An event of another store, with its history.
    Load(Box<Loaded>, Reply<Heard>),
    /// What an operator did there, and what is said here after it.
    LoadWord(Box<(Word, Option<Deed>)>, Reply<u64>),
}

/// An operator's word on a delivery.
pub struct Asked {
    pub id: EventId,
    pub word: Operation,
    pub now: Timestamp,
    /// Who it goes into the audit under.
    pub by: Option<String>,
    /// How it must stand.
    pub expected: Option<Expected>,
}

/// An event on its way into the journal, encoded by the caller.
pub struct Offer {
    pub payload: Vec<u8>,
    pub payload_crc: u32,
    /// What the event takes in a segment.
    pub span: u32,
    pub claims: HashedClaims,
    /// The same under the keys of stores whose events were imported.
    pub former: Vec<HashedClaims>,
    pub on_conflict: OnConflict,
    pub tag: u64,
    /// Its deliveries. Their place is not known yet.
    pub rows: Vec<NewRow>,
    /// Claims that hold no longer: what they stand for was found damaged. All of them, since a key
    /// and the key with this body may lead to two places.
    pub instead_of: Vec<Place>,
}

impl Offer {
    /// What it is known by at a level, under the store's own key first.
    pub fn hashes(&self, business: bool) -> impl Iterator<Item = &ClaimHashes> {
        let all = std::iter::once(&self.claims).chain(&self.former);
        all.filter_map(move |claimed| claimed.at(business))
    }

    /// The event with this meta is the same, by its own key or by its business key.
    pub fn is_known_as(&self, meta: &Meta, business: bool) -> bool {
        let there = if business {
            meta.business
        } else {
            Some(meta.claim)
        };
        there.is_some_and(|there| self.hashes(business).any(|hashes| *hashes == there))
    }
}

/// What the writer says of an offer. It knows where a duplicate's original lies, not its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    New(EventId),
    Conflict {
        id: EventId,
        of: EventId,
    },
    /// `business`: it is its business key that says so.
    Duplicate {
        place: Place,
        business: bool,
    },
    Dropped {
        of: EventId,
    },
    Refused {
        of: EventId,
    },
}

/// What is heard of an offer. It goes back to whoever made it: memory is given back cheaply where it
/// was taken, and the writer, for whom everybody waits, has less to do.
pub struct Heard {
    pub answered: Answered,
    pub offer: Box<Offer>,
}

/// Bounded for events, which can be refused with "try again". Steps of deliveries are bounded by
/// the leases that are out, and always get in.
pub struct Queue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
    max_events: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct Waiting {
    commands: Vec<Command>,
    events: usize,
    bytes: usize,
    end: Option<End>,
    /// The writer is asleep.
    idle: bool,
}

/// How the writer's work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What is in the queue is done first.
    Drain,
    /// As in a crash: nothing more is done.
    Abandon,
}

impl Queue {
    pub fn new(max_events: usize, max_bytes: usize) -> Self {
        Queue {
            waiting: Mutex::default(),
            ready: Condvar::new(),
            max_events,
            max_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, command: Command) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.end.is_some() {
            return Err(StoreError::Closed);
        }
        if let Command::Accept(offer, _) = &command {
            // One event gets in whatever its size.
            let full = waiting.bytes + offer.payload.len() > self.max_bytes && waiting.events > 0;
            if waiting.events >= self.max_events || full {
                return Err(StoreError::Unavailable(Unavailable::QueueFull));
            }
            waiting.events += 1;
            waiting.bytes += offer.payload.len();
        }
        waiting.commands.push(command);
        if waiting.idle {
            waiting.idle = false;
            self.ready.notify_one();
        }
        Ok(())
    }

    pub fn end(&self, how: End) {
        let mut waiting = self.lock();
        waiting.end = Some(how);
        if how == End::Abandon {
            // Whoever waits for an answer hears that there will be none.
            waiting.commands.clear();
        }
        drop(waiting);
        self.ready.notify_all();
    }

    /// Everything that waits, into `batch` (which is empty). With `wait`, sleeps until there is
    /// something. False when the writer's work has ended.
    pub fn drain(&self, batch: &mut Vec<Command>, wait: bool) -> bool {
        let mut waiting = self.lock();
        loop {
            match waiting.end {
                Some(End::Abandon) => return false,
                Some(End::Drain) if waiting.commands.is_empty() => return false,
                Some(End::Drain) | None => {}
            }
            if !waiting.commands.is_empty() || !wait {
                waiting.events = 0;
                waiting.bytes = 0;
                std::mem::swap(&mut waiting.commands, batch);
                return true;
            }
            waiting.idle = true;
            waiting = self
                .ready
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Who waits for a group, and what it is told when the group is durable.
pub enum Outcome {
    Accept(Reply<Heard>, Heard),
    Settle(Reply<()>, Result<(), StoreError>),
    Operate(Reply<Operated>, Operated),
    Record(Reply<u64>, u64),
}

impl Outcome {
    pub fn tell(self, failure: Option<&StoreError>) {
        match (self, failure) {
            (Outcome::Accept(reply, heard), None) => answer(reply, Ok(heard)),
            (Outcome::Settle(reply, result), None) => answer(reply, result),
            (Outcome::Operate(reply, operated), None) => answer(reply, Ok(operated)),
            (Outcome::Record(reply, number), None) => answer(reply, Ok(number)),
            (Outcome::Record(reply, _), Some(e)) => answer(reply, Err(e.clone())),
            (Outcome::Accept(reply, _), Some(e)) => answer(reply, Err(e.clone())),
            (Outcome::Settle(reply, _), Some(e)) => answer(reply, Err(e.clone())),
            (Outcome::Operate(reply, _), Some(e)) => answer(reply, Err(e.clone())),
        }
    }
}

/// Whoever asked may have gone away; what was done stays done.
pub fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    let _ = reply.send(result);
}
