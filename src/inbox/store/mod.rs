//! The store: verified events on stable storage, what is owed of them, and nothing else.
//!
//! [`Store`] is the contract; `embedded` (a journal, and sled as its index) keeps it. The same
//! test suite runs against every backend.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::message::{EventId, Headers, SourceName};

pub mod disk;
pub mod record;
pub mod segment;
pub mod claims;
pub mod keyring;
pub mod owed;
pub mod catalog;
pub mod blocks;
pub mod index;
pub mod room;
pub mod shared;
pub mod checkpoint;
pub mod ending;
pub mod open;
pub mod reading;
pub mod queue;
pub mod pace;
pub mod writer;
pub mod commit;
pub mod steps;
pub mod load;
pub mod embedded;
pub mod offline;
#[cfg(test)]
pub mod plain;
#[cfg(test)]
pub(crate) mod contract;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod tests;

/// What a store's methods return: they may wait for a disk or a database.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The contract of every backend.
///
/// # What is durable when
///
/// `accept`, `settle`, `redrive` and `discard` return only when what they did is on stable storage: a
/// power cut one instant later loses nothing. When they return an error, nothing may be concluded
/// from it but what the error says.
///
/// # What may be wrong, and what it costs
///
/// * [`Acceptance::Duplicate`] for an event that was never accepted **loses money**: it must never
///   be said before the original is durable.
/// * [`Acceptance::New`] for an event that was accepted before costs a second delivery.
/// * A lease granted twice costs a second attempt; a lease never granted loses the delivery.
pub trait Store: Send + Sync + 'static {
    /// Claims the event's idempotency key and appends the event, both or neither.
    ///
    /// After [`StoreError::Unknown`] the caller may offer the same event again: it hears
    /// `Duplicate` if the first did succeed.
    fn accept(&self, event: NewEvent) -> Pending<'_, Result<Acceptance, StoreError>>;

    /// Up to `max` deliveries of `source` that are due at `now`, earliest due first. Each is
    /// leased: no one else is given it before `until`, or before it is settled.
    fn lease<'a>(
        &'a self,
        source: &'a SourceName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Pending<'a, Result<Vec<Lease>, StoreError>>;

    /// When the next delivery of `source` falls due (a lease that runs out counts). None: nothing
    /// is owed. A hint for timers: it may be early, never late.
    fn next_due<'a>(
        &'a self,
        source: &'a SourceName,
    ) -> Pending<'a, Result<Option<Timestamp>, StoreError>>;

    /// The event itself, byte for byte. None when it is not (or no longer) there.
    fn read(&self, id: EventId) -> Pending<'_, Result<Option<StoredEvent>, StoreError>>;

    /// Ends a lease: writes down the attempt and what follows from it. A lease that ran out and
    /// was granted anew to someone else, or whose delivery an operator has ended meanwhile, gives
    /// [`StoreError::LeaseLost`]; the attempt is written down all the same.
    fn settle(
        &self,
        lease: Lease,
        attempt: Attempt,
        next: Next,
    ) -> Pending<'_, Result<(), StoreError>>;

    /// Makes a delivery that ended (delivered, dead, discarded) owed again, due at `now`; its retry policy
    /// starts anew. One that is owed becomes due at once.
    fn redrive(&self, id: EventId, now: Timestamp) -> Pending<'_, Result<Operated, StoreError>>;

    /// Ends an owed or dead delivery by an operator's word.
    fn discard(
        &self,
        id: EventId,
        now: Timestamp,
        reason: String,
    ) -> Pending<'_, Result<Operated, StoreError>>;

    /// Newest first, at most `limit` rows (at most 500), beginning after `after`. May return fewer rows
    /// than there are and still a cursor, when a filter made it look at very many.
    fn list<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventId>,
        limit: usize,
    ) -> Pending<'a, Result<Page, StoreError>>;

    /// One row of the list. None when it is not (or no longer) there.
    fn row(&self, id: EventId) -> Pending<'_, Result<Option<Row>, StoreError>>;

    /// Every attempt on an event, oldest first.
    fn attempts(&self, id: EventId) -> Pending<'_, Result<Vec<Attempt>, StoreError>>;

    /// Gives back what is settled and older than its `keep`.
    fn expire(&self, now: Timestamp) -> Pending<'_, Result<Expired, StoreError>>;

    /// Figures for metrics and readiness; cheap.
    fn stats(&self) -> Stats;

    /// Makes everything durable and stops. Calls after it give [`StoreError::Closed`].
    fn close(&self) -> Pending<'_, Result<(), StoreError>>;
}

/// A verified event on its way in. Only the inbox makes one, and only from a `Verified`
/// (`inbox/accept.rs`); the store adds the id.
#[derive(Clone, Debug)]
pub struct NewEvent {
    event: StoredEvent,
    claim: Claim,
}

impl NewEvent {
    /// For the inbox and for the store's own tests: whoever else could call this could store
    /// what was never verified.
    pub(in crate::inbox) fn new(event: StoredEvent, claim: Claim) -> Self {
        NewEvent { event, claim }
    }

    pub fn event(&self) -> &StoredEvent {
        &self.event
    }

    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    pub fn into_parts(self) -> (StoredEvent, Claim) {
        (self.event, self.claim)
    }
}

/// What makes two callbacks one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Source, and the values of the idempotency key, unambiguously joined. The store hashes it
    /// with a key of its own.
    pub key: Vec<u8>,
    /// SHA-256 of what the event says, as far as that is verified: the same key with another
    /// content is a conflict. Not always that of the body: a form can be written in several ways.
    pub body: [u8; 32],
    /// How long the claim, the event and its body are kept.
    pub keep: Duration,
}

/// An event as it was received and verified. The store gives back every byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub source: SourceName,
    /// Name of the provider file.
    pub provider: String,
    pub received_at: Timestamp,
    pub peer: IpAddr,
    pub method: String,
    /// Path and query as on the wire.
    pub target: String,
    pub headers: Headers,
    pub body: Bytes,
    /// The provider's own id of the event, as text for people; may be empty.
    pub event_key: String,
    /// The provider's event type; may be empty.
    pub event_type: String,
    /// How it was verified, e.g. `hmac-sha256 keys[0]`; `none` when the source says so.
    pub verified: String,
    /// The first event with the same idempotency key and another body. Set by the store.
    pub conflict_of: Option<EventId>,
}

/// What became of an offered event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is on stable storage and owed to its destination.
    New(EventId),
    /// As `New`; but an event with the same key and another body was there before.
    Conflict { id: EventId, of: EventId },
    /// It was accepted before, and that acceptance is on stable storage.
    Duplicate(EventId),
}

impl Acceptance {
    /// The event that is now durable.
    pub fn id(self) -> EventId {
        match self {
            Acceptance::New(id) | Acceptance::Conflict { id, .. } | Acceptance::Duplicate(id) => id,
        }
    }
}

/// The right to try one delivery, until a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: EventId,
    /// Number of the attempt that this lease is for, from 1, counted since acceptance.
    pub attempt: u32,
    /// Pauses taken since acceptance or the last redrive; the retry policy's n.
    pub round: u32,
    /// Acceptance, or the last redrive: the retry policy gives up counted from here.
    pub since: Timestamp,
    pub until: Timestamp,
    /// Tells this grant of the lease from another of the same delivery.
    pub grant: u64,
}

/// One HTTP try, written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub number: u32,
    pub started_at: Timestamp,
    pub took: Duration,
    /// Status of the answer; none when there was none.
    pub status: Option<u16>,
    /// Stable code of what went wrong (`connect_refused`, `timeout`, …); empty when taken.
    pub error: String,
}

/// What follows from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The destination took it.
    Delivered,
    /// Try again.
    Retry { at: Timestamp },
    /// Given up, with a stable code (`gave_up`, `gone`).
    Dead { reason: String },
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// To be delivered: waiting, under way, or between two attempts.
    Owed,
    Delivered,
    /// A dead letter.
    Dead,
    Discarded,
}

impl State {
    pub const ALL: [State; 4] = [State::Owed, State::Delivered, State::Dead, State::Discarded];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Owed => "owed",
            State::Delivered => "delivered",
            State::Dead => "dead",
            State::Discarded => "discarded",
        }
    }
}

/// What came of an operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operated {
    Done,
    /// Nothing with this id, or no longer.
    NotFound,
    /// It already stands so (a delivered event cannot be discarded).
    NotApplicable(State),
}

/// Which events to list. Every part that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub source: Option<SourceName>,
    pub state: Option<State>,
    pub event_type: Option<String>,
    /// The provider's event id, exactly.
    pub event_key: Option<String>,
    /// Received at this moment or later.
    pub from: Option<Timestamp>,
    /// Received before this moment.
    pub to: Option<Timestamp>,
}

/// One event in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: EventId,
    pub source: SourceName,
    pub provider: String,
    pub event_key: String,
    pub event_type: String,
    pub received_at: Timestamp,
    pub state: State,
    pub attempts: u32,
    /// When the next attempt is due, while owed.
    pub due: Option<Timestamp>,
    /// Why it is dead or discarded, or the error of the last attempt; may be empty.
    pub reason: String,
    pub conflict: bool,
    pub body_bytes: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// Where the next page begins; none at the end.
    pub next: Option<EventId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub events: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub owed: u64,
    pub oldest_owed: Option<Timestamp>,
    pub dead: u64,
    pub claims: u64,
    pub journal_bytes: u64,
    pub journal_segments: u64,
    /// Group commits so far, and what they took together.
    pub syncs: u64,
    pub sync_time: Duration,
    /// False: no event is accepted now (disk below the low-water mark, failed, closed).
    pub accepting: bool,
    /// True once the store can never accept again in this process (a sync failed).
    pub failed: bool,
}

/// Why the store could not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Nothing was stored; try again later. Disk full, too much waiting.
    Unavailable(Unavailable),
    /// A sync failed: it may or may not be on disk. The process must end.
    Unknown,
    /// The lease had run out or was ended by someone else.
    LeaseLost,
    /// What is stored there does not fit its checksum.
    Damaged {
        id: EventId,
    },
    Io {
        doing: &'static str,
        kind: std::io::ErrorKind,
    },
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    DiskLow,
    WriteFailed,
    QueueFull,
    /// Larger than a journal segment can hold.
    TooLarge,
}

impl StoreError {
    /// Stable code for log, metric and admin port.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Unavailable(Unavailable::DiskLow) => "disk_low",
            StoreError::Unavailable(Unavailable::WriteFailed) => "write_failed",
            StoreError::Unavailable(Unavailable::QueueFull) => "queue_full",
            StoreError::Unavailable(Unavailable::TooLarge) => "too_large",
            StoreError::Unknown => "sync_failed",
            StoreError::LeaseLost => "lease_lost",
            StoreError::Damaged { .. } => "damaged",
            StoreError::Io { .. } => "io",
            StoreError::Closed => "closed",
        }
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Unavailable(Unavailable::DiskLow) => f.write_str(
                "the disk is below its low-water mark: nothing is accepted until space returns",
            ),
            StoreError::Unavailable(Unavailable::WriteFailed) => {
                f.write_str("the journal could not be written")
            }
            StoreError::Unavailable(Unavailable::QueueFull) => {
                f.write_str("too many events wait for the disk")
            }
            StoreError::Unavailable(Unavailable::TooLarge) => {
                f.write_str("the event is larger than a journal segment")
            }
            StoreError::Unknown => {
                f.write_str("a sync failed: whether the event is on disk is unknown")
            }
            StoreError::LeaseLost => f.write_str("the lease had run out or was ended"),
            StoreError::Damaged { id } => {
                write!(f, "{id} is damaged on disk: its checksum does not fit")
            }
            StoreError::Io { doing, kind } => write!(f, "{doing}: {kind}"),
            StoreError::Closed => f.write_str("the store is closed"),
        }
    }
}

impl std::error::Error for StoreError {}
