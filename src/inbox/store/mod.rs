//! The store: verified events on stable storage, what is owed of them, and nothing else.
//!
//! [`Store`] is the contract; `embedded` (a journal, and sled as its index) keeps it. The same
//! test suite runs against every backend.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::message::{DestinationName, EventId, LaneName};

pub mod event;
pub mod delivery;
pub mod audit;
pub mod listing;
pub mod fault;
pub mod disk;
pub mod payment;
pub mod record;
pub mod segment;
pub mod claims;
pub mod taken;
pub mod keyring;
pub mod order;
pub mod slots;
pub mod table;
pub mod owed;
pub mod catalog;
pub mod blocks;
pub mod index;
pub mod room;
pub mod versions;
pub mod words;
pub mod shared;
pub mod checkpoint;
pub mod upkeep;
pub mod ending;
pub mod report;
pub mod identity;
pub mod replay;
pub mod loading;
pub mod open;
pub mod reading;
pub mod queue;
pub mod pace;
pub mod writer;
pub mod commit;
pub mod steps;
pub mod load;
pub mod embedded;
pub mod offering;
pub mod calls;
pub mod offline;
#[cfg(test)]
pub mod plain;
#[cfg(test)]
pub(crate) mod contract;
#[cfg(test)]
pub(crate) mod faulty;
#[cfg(test)]
pub(crate) mod hands;
#[cfg(test)]
mod tests;

pub use audit::{AUDIT_KEEP, Audit, Deed, DeedKind};
pub use delivery::{Attempt, Expected, Lease, Next, Operated, Operation, Picked, Response, State};
pub use event::{
    Acceptance, BusinessClaim, Claim, EventVersion, OnConflict, Plan, PlannedDelivery,
    PlannedOrder, StoredEvent, Unstored,
};
pub use fault::{StoreError, Unavailable};
pub use listing::{Counted, Expired, Filter, LaneStats, Page, Row, Stats};
pub use payment::PaymentFacts;

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

    /// As `lease`, of deliveries that were never tried. `from` says which come first: 0 the earliest
    /// due, 0.5 those from the middle of the time between the earliest and now on, and so forth; the
    /// earlier ones come last.
    fn lease_fresh<'a>(
        &'a self,
        lane: &'a LaneName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
        from: f64,
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

    /// The clock was found to have gone back by `by`, to `now`: what was to fall due later is due
    /// so much earlier, and what was never tried is due now. Says how many. In memory only; after
    /// a restart, when nobody knows by how much, it is asked for with zero: what was never tried
    /// cannot be meant to wait.
    fn clock_went_back(
        &self,
        now: Timestamp,
        by: Duration,
    ) -> Pending<'_, Result<usize, StoreError>>;

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
    /// A delivery that does not stand as `expected` is left alone: [`Operated::NotApplicable`].
    fn operate_expected(
        &self,
        id: EventId,
        word: Operation,
        now: Timestamp,
        by: Option<String>,
        expected: Option<Expected>,
    ) -> Pending<'_, Result<Operated, StoreError>>;

    /// An operator's word on one delivery, however it stands.
    fn operate(
        &self,
        id: EventId,
        word: Operation,
        now: Timestamp,
        by: Option<String>,
    ) -> Pending<'_, Result<Operated, StoreError>> {
        self.operate_expected(id, word, now, by, None)
    }

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
    /// `after`; with `event`, only to one of its deliveries. May give fewer entries than there are
    /// and still a cursor, when it had to look at very many.
    fn audit(
        &self,
        event: Option<EventId>,
        after: Option<u64>,
        limit: usize,
    ) -> Pending<'_, Result<Audit, StoreError>>;

    /// True when nothing of this lane is leased until it is resumed.
    fn paused(&self, lane: &LaneName) -> bool;

    /// The numbers of the words by which it is paused, as in the audit: that about the whole source
    /// first, then that about the lane. Each has its own end.
    fn paused_by(&self, lane: &LaneName) -> Vec<u64>;

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
    /// ([`EventVersion`]), of those that this delivery's destination wants, too.
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
