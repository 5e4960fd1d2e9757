//! The contract in its plainest form: everything in one map in memory, every question answered by
//! looking at all of it. For tests, which run the same suite on it as on the real backends, and
//! which use it where no disk is wanted. Durable only in the sense that nothing here forgets.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::inbox::store::{
    Acceptance, Attempt, Audit, Claim, Counted, Deed, Expected, Expired, Filter, LaneStats, Lease,
    NewEvent, Next, OnConflict, Operated, Operation, Page, Pending, Picked, Plan, Row, Stats,
    Store, StoreError, StoredEvent,
};
use crate::message::{EventId, LaneName};

mod model;

use model::Inner;

/// An operation that a test can make fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Accept,
    Lease,
    NextDue,
    Read,
    Settle,
}

#[derive(Debug, Default)]
pub struct PlainStore(Mutex<Inner>);

impl PlainStore {
    pub fn new() -> Self {
        PlainStore::default()
    }

    /// The next calls of `op` give these errors, one each, and change nothing.
    pub fn fail(&self, op: Op, errors: impl IntoIterator<Item = StoreError>) {
        self.inner().faults.entry(op).or_default().extend(errors);
    }

    /// From now on the bytes of this event do not fit their checksum.
    pub fn damage(&self, id: EventId) {
        self.inner().damaged.insert(id);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` once it is awaited, unless the store is closed or a test wants it to fail.
    fn answer<'a, T: Send + 'a>(
        &'a self,
        op: Option<Op>,
        work: impl FnOnce(&mut Inner) -> Result<T, StoreError> + Send + 'a,
    ) -> Pending<'a, Result<T, StoreError>> {
        Box::pin(async move {
            let mut inner = self.inner();
            if inner.closed {
                return Err(StoreError::Closed);
            }
            match op.and_then(|op| inner.faults.get_mut(&op).and_then(VecDeque::pop_front)) {
                Some(error) => Err(error),
                None => work(&mut inner),
            }
        })
    }
}

impl Store for PlainStore {
    fn accept(&self, event: NewEvent) -> Pending<'_, Result<Acceptance, StoreError>> {
        self.answer(Some(Op::Accept), move |inner| Ok(inner.accept(event)))
    }

    fn lease<'a>(
        &'a self,
        lane: &'a LaneName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Pending<'a, Result<Vec<Lease>, StoreError>> {
        self.answer(Some(Op::Lease), move |inner| {
            Ok(inner.lease(lane, now, until, max, None))
        })
    }

    fn lease_fresh<'a>(
        &'a self,
        lane: &'a LaneName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
        from: f64,
    ) -> Pending<'a, Result<Vec<Lease>, StoreError>> {
        self.answer(Some(Op::Lease), move |inner| {
            Ok(inner.lease(lane, now, until, max, Some(from)))
        })
    }

    fn lease_one(
        &self,
        id: EventId,
        now: Timestamp,
        until: Timestamp,
    ) -> Pending<'_, Result<Picked, StoreError>> {
        self.answer(Some(Op::Lease), move |inner| {
            Ok(inner.lease_one(id, now, until))
        })
    }

    fn next_due<'a>(
        &'a self,
        lane: &'a LaneName,
    ) -> Pending<'a, Result<Option<Timestamp>, StoreError>> {
        self.answer(Some(Op::NextDue), move |inner| Ok(inner.next_due(lane)))
    }

    fn clock_went_back(
        &self,
        now: Timestamp,
        by: Duration,
    ) -> Pending<'_, Result<usize, StoreError>> {
        self.answer(None, move |inner| Ok(inner.clock_went_back(now, by)))
    }

    fn read(&self, id: EventId) -> Pending<'_, Result<Option<StoredEvent>, StoreError>> {
        self.answer(Some(Op::Read), move |inner| inner.read(id))
    }

    fn settle(
        &self,
        lease: Lease,
        attempt: Attempt,
        next: Next,
    ) -> Pending<'_, Result<(), StoreError>> {
        self.answer(Some(Op::Settle), move |inner| {
            inner.settle(&lease, attempt, next)
        })
    }

    fn operate_expected(
        &self,
        id: EventId,
        word: Operation,
        now: Timestamp,
        by: Option<String>,
        expected: Option<Expected>,
    ) -> Pending<'_, Result<Operated, StoreError>> {
        self.answer(None, move |inner| {
            Ok(inner.operate(id, word, now, by, expected))
        })
    }

    fn record(&self, deed: Deed) -> Pending<'_, Result<u64, StoreError>> {
        self.answer(None, move |inner| Ok(inner.record(deed)))
    }

    fn audit(
        &self,
        event: Option<EventId>,
        after: Option<u64>,
        limit: usize,
    ) -> Pending<'_, Result<Audit, StoreError>> {
        self.answer(None, move |inner| Ok(inner.audit(event, after, limit)))
    }

    fn paused(&self, lane: &LaneName) -> bool {
        !self.inner().paused_by(lane).is_empty()
    }

    fn paused_by(&self, lane: &LaneName) -> Vec<u64> {
        self.inner().paused_by(lane)
    }

    fn overtaken(&self, id: EventId) -> Pending<'_, Result<Option<EventId>, StoreError>> {
        self.answer(None, move |inner| Ok(inner.overtaken(id)))
    }

    fn supersede(&self, lease: Lease, by: EventId) -> Pending<'_, Result<(), StoreError>> {
        self.answer(Some(Op::Settle), move |inner| inner.supersede(&lease, by))
    }

    fn count<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventId>,
    ) -> Pending<'a, Result<Counted, StoreError>> {
        self.answer(None, move |inner| Ok(inner.count(filter, after)))
    }

    fn list<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventId>,
        limit: usize,
    ) -> Pending<'a, Result<Page, StoreError>> {
        self.answer(None, move |inner| Ok(inner.list(filter, after, limit)))
    }

    fn row(&self, id: EventId) -> Pending<'_, Result<Option<Row>, StoreError>> {
        self.answer(None, move |inner| Ok(inner.row(id)))
    }

    fn attempts(&self, id: EventId) -> Pending<'_, Result<Vec<Attempt>, StoreError>> {
        self.answer(None, move |inner| Ok(inner.attempts(id)))
    }

    fn expire(&self, now: Timestamp) -> Pending<'_, Result<Expired, StoreError>> {
        self.answer(None, move |inner| Ok(inner.expire(now)))
    }

    fn stats(&self) -> Stats {
        self.inner().stats()
    }

    fn lane_stats(&self, lane: &LaneName) -> LaneStats {
        self.inner().lane_stats(lane)
    }

    fn close(&self) -> Pending<'_, Result<(), StoreError>> {
        self.answer(None, |inner| {
            inner.closed = true;
            Ok(())
        })
    }
}

/// An event for the tests of the stages after the inbox, which cannot make one themselves.
pub fn verified_event(event: StoredEvent, key: &[u8]) -> NewEvent {
    verified_event_to(event, key, Plan::main())
}

/// As `verified_event`, with deliveries of its own.
pub fn verified_event_to(event: StoredEvent, key: &[u8], plan: Plan) -> NewEvent {
    let body = Sha256::digest(&event.body).into();
    let claim = Claim {
        key: key.to_vec(),
        body,
        keep: Duration::from_secs(7 * 24 * 3600),
        business: None,
        on_conflict: OnConflict::KeepBoth,
    };
    NewEvent::new(event, claim, plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::store::State;
    use crate::message::{Headers, SourceName};
    use bytes::Bytes;

    fn event(body: &'static str) -> StoredEvent {
        StoredEvent {
            source: SourceName::new("shop"),
            provider: "stripe".into(),
            received_at: Timestamp::from_secs(100),
            peer: [192, 0, 2, 1].into(),
            method: "POST".into(),
            target: "/shop".into(),
            headers: Headers::new(),
            body: Bytes::from_static(body.as_bytes()),
            event_key: "e1".into(),
            event_type: "paid".into(),
            verified: "hmac-sha256 keys[0]".into(),
            conflict_of: None,
            payment: None,
        }
    }

    #[tokio::test]
    async fn a_duplicate_names_the_original_and_another_body_is_a_conflict() {
        let store = PlainStore::new();
        let first = store
            .accept(verified_event(event("a"), b"k"))
            .await
            .unwrap();
        let Acceptance::New(id) = first else {
            panic!("{first:?}")
        };
        assert_eq!(
            store.accept(verified_event(event("a"), b"k")).await,
            Ok(Acceptance::Duplicate(id))
        );
        let second = store
            .accept(verified_event(event("b"), b"k"))
            .await
            .unwrap();
        assert!(matches!(second, Acceptance::Conflict { of, .. } if of == id));
        assert_eq!(
            store.accept(verified_event(event("b"), b"k")).await,
            Ok(Acceptance::Duplicate(second.id()))
        );
        assert_eq!(
            store.read(second.id()).await.unwrap().unwrap().conflict_of,
            Some(id)
        );
    }

    #[tokio::test]
    async fn a_lease_is_held_by_one_and_can_run_out() {
        let store = PlainStore::new();
        let source = LaneName::main(&SourceName::new("shop"));
        let id = store
            .accept(verified_event(event("a"), b"k"))
            .await
            .unwrap()
            .id();
        let at = Timestamp::from_secs;
        let lost = store
            .lease(&source, at(100), at(110), 9)
            .await
            .unwrap()
            .remove(0);
        assert_eq!(store.lease(&source, at(109), at(120), 9).await, Ok(vec![]));
        assert_eq!(store.next_due(&source).await, Ok(Some(at(110))));
        let held = store
            .lease(&source, at(110), at(120), 9)
            .await
            .unwrap()
            .remove(0);
        let attempt = Attempt {
            number: 1,
            started_at: at(100),
            took: Duration::ZERO,
            status: Some(200),
            error: String::new(),
            response: None,
        };
        assert_eq!(
            store.settle(lost, attempt.clone(), Next::Delivered).await,
            Err(StoreError::LeaseLost)
        );
        assert_eq!(store.row(id).await.unwrap().unwrap().state, State::Owed);
        assert_eq!(store.settle(held, attempt, Next::Delivered).await, Ok(()));
        assert_eq!(
            store.row(id).await.unwrap().unwrap().state,
            State::Delivered
        );
        assert_eq!(store.attempts(id).await.unwrap().len(), 2);
        assert_eq!(store.next_due(&source).await, Ok(None));
    }
}

#[cfg(test)]
mod contract_of_plain {
    use std::sync::Arc;

    use super::PlainStore;
    use crate::inbox::store::contract::{Bench, contract_tests};

    contract_tests!(plain, || async {
        let bench: Bench = (Arc::new(PlainStore::new()), Box::new(()));
        bench
    });
}
