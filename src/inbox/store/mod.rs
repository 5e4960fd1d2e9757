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
use crate::message::{DestinationName, EventId, Headers, LaneName, SourceName};

pub mod disk;
pub mod record;
pub mod segment;
pub mod claims;
pub mod taken;
pub mod keyring;
pub mod order;
pub mod owed;
pub mod catalog;
pub mod blocks;
pub mod index;
pub mod room;
pub mod versions;
pub mod words;
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

    /// Up to `max` deliveries of a lane that are due at `now`, earliest due first. Each is
    /// leased: no one else is given it before `until`, or before it is settled. Of deliveries that
    /// are in order with each other only the first is given, and the next once that is delivered
    /// or discarded (or dead, unless dead letters hold it). A lane that is paused gives nothing.
    fn lease<'a>(
        &'a self,
        lane: &'a LaneName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Pending<'a, Result<Vec<Lease>, StoreError>>;

    /// This one delivery, if it could be leased now: it is due, it is its turn, and nobody has it.
    fn lease_one(
        &self,
        id: EventId,
        now: Timestamp,
        until: Timestamp,
    ) -> Pending<'_, Result<Picked, StoreError>>;

    /// When the next delivery of a lane falls due (a lease that runs out counts). None: nothing
    /// is owed, or the lane is paused. A hint for timers: it may be early, never late.
    fn next_due<'a>(
        &'a self,
        lane: &'a LaneName,
    ) -> Pending<'a, Result<Option<Timestamp>, StoreError>>;

    /// The event of a delivery, byte for byte. None when it is not (or no longer) there.
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

    /// An operator's word on one delivery. With `by`, it stands in the audit, in the same commit.
    fn operate(
        &self,
        id: EventId,
        word: Operation,
        now: Timestamp,
        by: Option<String>,
    ) -> Pending<'_, Result<Operated, StoreError>>;

    /// [`Operation::Redrive`], without an entry in the audit.
    fn redrive(&self, id: EventId, now: Timestamp) -> Pending<'_, Result<Operated, StoreError>> {
        self.operate(id, Operation::Redrive, now, None)
    }

    /// [`Operation::Discard`], without an entry in the audit.
    fn discard(
        &self,
        id: EventId,
        now: Timestamp,
        reason: String,
    ) -> Pending<'_, Result<Operated, StoreError>> {
        self.operate(id, Operation::Discard { reason }, now, None)
    }

    /// Writes down what an operator did, for the audit. [`DeedKind::Pause`] and
    /// [`DeedKind::Resume`] take effect with it: they stop and restart the lane that the deed
    /// names, or with no destination all lanes of the source. Its number.
    fn record(&self, deed: Deed) -> Pending<'_, Result<u64, StoreError>>;

    /// What operators did, newest first, at most `limit` entries, beginning before the number
    /// `after`.
    fn audit(&self, after: Option<u64>, limit: usize) -> Pending<'_, Result<Audit, StoreError>>;

    /// True when nothing of this lane is leased until it is resumed.
    fn paused(&self, lane: &LaneName) -> bool;

    /// How many rows fit, of those that are looked at in one call; where to go on counting, none at
    /// the end.
    fn count<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventId>,
    ) -> Pending<'a, Result<Counted, StoreError>>;

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

    /// The latest event about the same as that of `id`, when it has a higher stamp
    /// ([`EventVersion`]).
    fn overtaken(&self, id: EventId) -> Pending<'_, Result<Option<EventId>, StoreError>>;

    /// Ends a lease without an attempt: a later event says it all.
    fn supersede(&self, lease: Lease, by: EventId) -> Pending<'_, Result<(), StoreError>>;

    /// Every attempt of a delivery, oldest first.
    fn attempts(&self, id: EventId) -> Pending<'_, Result<Vec<Attempt>, StoreError>>;

    /// Gives back what is settled and older than its `keep`.
    fn expire(&self, now: Timestamp) -> Pending<'_, Result<Expired, StoreError>>;

    /// Figures for metrics and readiness; cheap.
    fn stats(&self) -> Stats;

    /// What is owed and dead of one lane; cheap.
    fn lane_stats(&self, lane: &LaneName) -> LaneStats;

    /// Makes everything durable and stops. Calls after it give [`StoreError::Closed`].
    fn close(&self) -> Pending<'_, Result<(), StoreError>>;
}

/// A verified event on its way in. Only the inbox makes one, and only from a `Verified`
/// (`inbox/accept.rs`); the store adds the id.
#[derive(Clone, Debug)]
pub struct NewEvent {
    event: StoredEvent,
    claim: Claim,
    plan: Plan,
}

impl NewEvent {
    /// For the inbox and for the store's own tests: whoever else could call this could store
    /// what was never verified.
    pub(in crate::inbox) fn new(event: StoredEvent, claim: Claim, plan: Plan) -> Self {
        NewEvent { event, claim, plan }
    }

    pub fn event(&self) -> &StoredEvent {
        &self.event
    }

    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn into_parts(self) -> (StoredEvent, Claim, Plan) {
        (self.event, self.claim, self.plan)
    }
}

/// What follows from an event: its deliveries, and what it overtakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// From one to eight, with different destinations.
    pub deliveries: Vec<PlannedDelivery>,
    /// None: it neither overtakes nor is overtaken.
    pub version: Option<EventVersion>,
}

impl Plan {
    /// To `main`, in no order.
    pub fn main() -> Self {
        Plan {
            deliveries: vec![PlannedDelivery {
                destination: DestinationName::main(),
                wanted: true,
                order: None,
            }],
            version: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedDelivery {
    pub destination: DestinationName,
    /// False: the destination's condition does not let it through.
    pub wanted: bool,
    pub order: Option<PlannedOrder>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOrder {
    /// Deliveries of a lane with the same value go out one after the other. The store hashes it
    /// with a key of its own.
    pub value: Vec<u8>,
    /// A dead letter holds those behind it.
    pub hold: bool,
}

/// Of the events of a source with the same key, the one with the highest stamp is the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventVersion {
    pub key: Vec<u8>,
    pub stamp: i128,
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
    /// A second key, of what the event is about.
    pub business: Option<BusinessClaim>,
    pub on_conflict: OnConflict,
}

/// What makes two callbacks one for the merchant, whatever the provider calls them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessClaim {
    /// Source, and the values of the key, unambiguously joined.
    pub key: Vec<u8>,
    /// Digest of what must be equal for two events with this key to be the same.
    pub content: [u8; 32],
}

/// What becomes of an event whose key is taken by another content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It is accepted too, and flagged.
    #[default]
    KeepBoth,
    /// It is answered like a duplicate, and not stored.
    FirstWins,
    /// It is rejected, and not stored.
    Reject,
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
    /// The first event with the same idempotency or business key and another content. Set by the
    /// store.
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
    /// Another content has its key, is on stable storage, and wins ([`OnConflict::FirstWins`]).
    /// Nothing of this one is stored.
    Dropped { of: EventId },
    /// As `Dropped`, and to be told so ([`OnConflict::Reject`]).
    Refused { of: EventId },
}

impl Acceptance {
    /// The event that is now durable.
    pub fn id(self) -> EventId {
        match self {
            Acceptance::New(id)
            | Acceptance::Conflict { id, .. }
            | Acceptance::Duplicate(id)
            | Acceptance::Dropped { of: id }
            | Acceptance::Refused { of: id } => id,
        }
    }
}

/// Why an event was not stored, by its source's own rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstored {
    Dropped,
    Refused,
}

impl Unstored {
    /// Stable code for log, metric and admin port.
    pub fn code(self) -> &'static str {
        match self {
            Unstored::Dropped => "conflict_dropped",
            Unstored::Refused => "conflict_rejected",
        }
    }
}

impl Acceptance {
    pub fn unstored(self) -> Option<Unstored> {
        match self {
            Acceptance::New(_) | Acceptance::Conflict { .. } | Acceptance::Duplicate(_) => None,
            Acceptance::Dropped { .. } => Some(Unstored::Dropped),
            Acceptance::Refused { .. } => Some(Unstored::Refused),
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

/// What came of asking for one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picked {
    Leased(Lease),
    /// Somebody else has it.
    UnderWay,
    /// Ended, not due, not its turn, paused, or not there.
    NotNow,
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
    /// What the destination said besides, where it answered.
    pub response: Option<Response>,
}

/// An answer of a destination, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Selected fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body.
    pub body: Bytes,
    /// The body went on.
    pub cut: bool,
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

/// An operator's word on a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Makes a delivery that ended (in whatever way) owed again, due at once; its retry policy
    /// starts anew. One that is owed becomes due at once.
    Redrive,
    /// Ends an owed or dead delivery.
    Discard { reason: String },
}

/// Something that an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    pub at: Timestamp,
    /// What the admin port calls the token that was used.
    pub by: String,
    pub kind: DeedKind,
    pub source: Option<SourceName>,
    pub destination: Option<DestinationName>,
    /// The delivery, where it was one.
    pub event: Option<EventId>,
    /// The filter of many, or the reason given.
    pub detail: String,
    /// How many deliveries it was about.
    pub count: u64,
    /// What came of it, as a stable code (`done`, `not_found`, …).
    pub outcome: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeedKind {
    Redrive,
    Discard,
    Pause,
    Resume,
    RedriveMany,
    DiscardMany,
}

impl DeedKind {
    pub const ALL: [DeedKind; 6] = [
        DeedKind::Redrive,
        DeedKind::Discard,
        DeedKind::Pause,
        DeedKind::Resume,
        DeedKind::RedriveMany,
        DeedKind::DiscardMany,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            DeedKind::Redrive => "redrive",
            DeedKind::Discard => "discard",
            DeedKind::Pause => "pause",
            DeedKind::Resume => "resume",
            DeedKind::RedriveMany => "redrive_many",
            DeedKind::DiscardMany => "discard_many",
        }
    }
}

/// A page of the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Newest first, each with its number.
    pub entries: Vec<(u64, Deed)>,
    /// Where the next page begins; none at the end.
    pub next: Option<u64>,
}

/// How long entries of the audit are kept.
pub const AUDIT_KEEP: Duration = Duration::from_secs(400 * 86_400);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub count: u64,
    pub next: Option<EventId>,
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
    /// Its destination's condition did not let it through.
    Filtered,
    /// A later event said it all, so that it was not sent.
    Superseded,
}

impl State {
    pub const ALL: [State; 6] = [
        State::Owed,
        State::Delivered,
        State::Dead,
        State::Discarded,
        State::Filtered,
        State::Superseded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Owed => "owed",
            State::Delivered => "delivered",
            State::Dead => "dead",
            State::Discarded => "discarded",
            State::Filtered => "filtered",
            State::Superseded => "superseded",
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

/// Which deliveries to list. Every part that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub source: Option<SourceName>,
    pub destination: Option<DestinationName>,
    pub state: Option<State>,
    pub event_type: Option<String>,
    /// The provider's event id, exactly.
    pub event_key: Option<String>,
    /// Received at this moment or later.
    pub from: Option<Timestamp>,
    /// Received before this moment.
    pub to: Option<Timestamp>,
}

/// One delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The delivery's; [`EventId::event`] is its event's.
    pub id: EventId,
    pub source: SourceName,
    pub destination: DestinationName,
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

/// Of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    pub owed: u64,
    pub dead: u64,
    pub oldest_owed: Option<Timestamp>,
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

impl Operated {
    /// Stable code, for the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Operated::Done => "done",
            Operated::NotFound => "not_found",
            Operated::NotApplicable(_) => "not_applicable",
        }
    }
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
