//! The contract in its plainest form: everything in one map in memory, every question answered by
//! looking at all of it. For tests, which run the same suite on it as on the real backends, and
//! which use it where no disk is wanted. Durable only in the sense that nothing here forgets.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::inbox::store::{
    Acceptance, Attempt, Claim, Expired, Filter, Lease, NewEvent, Next, Operated, Page, Pending,
    Row, State, Stats, Store, StoreError, StoredEvent,
};
use crate::message::{EventId, SourceName};

/// Rows that one page may have.
const PAGE_MAX: usize = 500;

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

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<EventId, Entry>,
    /// Every event that was accepted under a key, first to last.
    claims: HashMap<Vec<u8>, Vec<EventId>>,
    last: u32,
    grants: u64,
    closed: bool,
    /// Errors that the next calls of an operation give.
    faults: HashMap<Op, VecDeque<StoreError>>,
    damaged: BTreeSet<EventId>,
}

#[derive(Debug)]
struct Entry {
    event: StoredEvent,
    claim: Claim,
    state: State,
    due: Timestamp,
    since: Timestamp,
    round: u32,
    /// Who may settle, and until when no one else is given it.
    lease: Option<(u64, Timestamp)>,
    attempts: Vec<Attempt>,
    reason: String,
}

impl Entry {
    /// When someone may be given this delivery.
    fn free_at(&self) -> Option<Timestamp> {
        let leased_until = self.lease.map_or(Timestamp::default(), |(_, until)| until);
        (self.state == State::Owed).then_some(self.due.max(leased_until))
    }

    fn row(&self, id: EventId) -> Row {
        let last_error = self
            .attempts
            .last()
            .map_or(String::new(), |attempt| attempt.error.clone());
        Row {
            id,
            source: self.event.source.clone(),
            provider: self.event.provider.clone(),
            event_key: self.event.event_key.clone(),
            event_type: self.event.event_type.clone(),
            received_at: self.event.received_at,
            state: self.state,
            attempts: self.attempts.len() as u32,
            due: (self.state == State::Owed).then_some(self.due),
            reason: if self.reason.is_empty() {
                last_error
            } else {
                self.reason.clone()
            },
            conflict: self.event.conflict_of.is_some(),
            body_bytes: self.event.body.len() as u32,
        }
    }

    fn ended(&mut self, state: State, reason: String) {
        self.state = state;
        self.reason = reason;
        self.lease = None;
    }
}

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

impl Inner {
    fn accept(&mut self, event: NewEvent) -> Acceptance {
        let (mut event, claim) = event.into_parts();
        let known = self.claims.entry(claim.key.clone()).or_default();
        let same = known.iter().find(|id| {
            self.entries
                .get(id)
                .is_some_and(|entry| entry.claim.body == claim.body)
        });
        if let Some(id) = same {
            return Acceptance::Duplicate(*id);
        }
        self.last += 1;
        let tag = Sha256::digest(&claim.key)
            .iter()
            .fold(0, |tag, byte| (tag << 8) | u64::from(*byte));
        let id = EventId {
            segment: 1,
            offset: self.last,
            tag,
        };
        let of = known.first().copied();
        known.push(id);
        event.conflict_of = of;
        let at = event.received_at;
        let entry = Entry {
            event,
            claim,
            state: State::Owed,
            due: at,
            since: at,
            round: 0,
            lease: None,
            attempts: Vec::new(),
            reason: String::new(),
        };
        self.entries.insert(id, entry);
        match of {
            Some(of) => Acceptance::Conflict { id, of },
            None => Acceptance::New(id),
        }
    }

    fn lease(
        &mut self,
        source: &SourceName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Vec<Lease> {
        let mut due: Vec<_> = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| {
                entry.event.source == *source && entry.free_at().is_some_and(|at| at <= now)
            })
            .collect();
        due.sort_by_key(|(id, entry)| (entry.due, **id));
        due.truncate(max);
        let mut leases = Vec::with_capacity(due.len());
        for (id, entry) in due {
            self.grants += 1;
            entry.lease = Some((self.grants, until));
            leases.push(Lease {
                id: *id,
                attempt: entry.attempts.len() as u32 + 1,
                round: entry.round,
                since: entry.since,
                until,
                grant: self.grants,
            });
        }
        leases
    }

    fn settle(&mut self, lease: &Lease, attempt: Attempt, next: Next) -> Result<(), StoreError> {
        let entry = self
            .entries
            .get_mut(&lease.id)
            .ok_or(StoreError::LeaseLost)?;
        entry.attempts.push(attempt);
        if entry.state != State::Owed || entry.lease.is_none_or(|(grant, _)| grant != lease.grant) {
            return Err(StoreError::LeaseLost);
        }
        match next {
            Next::Delivered => entry.ended(State::Delivered, String::new()),
            Next::Dead { reason } => entry.ended(State::Dead, reason),
            Next::Retry { at } => {
                entry.due = at;
                entry.round += 1;
                entry.lease = None;
            }
        }
        Ok(())
    }

    fn redrive(&mut self, id: EventId, now: Timestamp) -> Operated {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Operated::NotFound;
        };
        match entry.state {
            State::Owed => entry.due = entry.due.min(now),
            State::Delivered | State::Dead | State::Discarded => {
                entry.state = State::Owed;
                entry.due = now;
                entry.since = now;
                entry.round = 0;
                entry.reason.clear();
            }
        }
        Operated::Done
    }

    fn discard(&mut self, id: EventId, reason: String) -> Operated {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Operated::NotFound;
        };
        match entry.state {
            State::Owed | State::Dead => {
                entry.ended(State::Discarded, reason);
                Operated::Done
            }
            State::Delivered | State::Discarded => Operated::NotApplicable(entry.state),
        }
    }

    fn list(&self, filter: &Filter, after: Option<EventId>, limit: usize) -> Page {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut rows: Vec<Row> = self
            .entries
            .iter()
            .rev()
            .filter(|(id, _)| after.is_none_or(|after| **id < after))
            .map(|(id, entry)| entry.row(*id))
            .filter(|row| fits(filter, row))
            .take(limit + 1)
            .collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.id);
        Page { rows, next }
    }

    fn expire(&mut self, now: Timestamp) -> Expired {
        let mut expired = Expired::default();
        let old = |entry: &Entry| {
            let settled = matches!(
                entry.state,
                State::Delivered | State::Discarded | State::Dead
            );
            settled && entry.event.received_at.plus(entry.claim.keep) < now
        };
        self.entries.retain(|_, entry| {
            let keep = !old(entry);
            if !keep {
                expired.events += 1;
                expired.bytes += entry.event.body.len() as u64;
            }
            keep
        });
        let entries = &self.entries;
        self.claims.retain(|_, ids| {
            ids.retain(|id| entries.contains_key(id));
            !ids.is_empty()
        });
        expired
    }

    fn stats(&self) -> Stats {
        let owed = || {
            self.entries
                .values()
                .filter(|entry| entry.state == State::Owed)
        };
        Stats {
            owed: owed().count() as u64,
            oldest_owed: owed().map(|entry| entry.since).min(),
            dead: self
                .entries
                .values()
                .filter(|entry| entry.state == State::Dead)
                .count() as u64,
            claims: self.claims.values().map(|ids| ids.len() as u64).sum(),
            journal_bytes: 0,
            journal_segments: 0,
            syncs: 0,
            sync_time: Duration::ZERO,
            accepting: !self.closed,
            failed: false,
        }
    }
}

fn fits(filter: &Filter, row: &Row) -> bool {
    filter
        .source
        .as_ref()
        .is_none_or(|source| *source == row.source)
        && filter.state.is_none_or(|state| state == row.state)
        && filter
            .event_type
            .as_ref()
            .is_none_or(|kind| *kind == row.event_type)
        && filter
            .event_key
            .as_ref()
            .is_none_or(|key| *key == row.event_key)
        && filter.from.is_none_or(|from| from <= row.received_at)
        && filter.to.is_none_or(|to| row.received_at <= to)
}

impl Store for PlainStore {
    fn accept(&self, event: NewEvent) -> Pending<'_, Result<Acceptance, StoreError>> {
        self.answer(Some(Op::Accept), move |inner| Ok(inner.accept(event)))
    }

    fn lease<'a>(
        &'a self,
        source: &'a SourceName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Pending<'a, Result<Vec<Lease>, StoreError>> {
        self.answer(Some(Op::Lease), move |inner| {
            Ok(inner.lease(source, now, until, max))
        })
    }

    fn next_due<'a>(
        &'a self,
        source: &'a SourceName,
    ) -> Pending<'a, Result<Option<Timestamp>, StoreError>> {
        self.answer(Some(Op::NextDue), move |inner| {
            let of_source = inner
                .entries
                .values()
                .filter(|entry| entry.event.source == *source);
            Ok(of_source.filter_map(Entry::free_at).min())
        })
    }

    fn read(&self, id: EventId) -> Pending<'_, Result<Option<StoredEvent>, StoreError>> {
        self.answer(Some(Op::Read), move |inner| {
            if inner.damaged.contains(&id) {
                return Err(StoreError::Damaged { id });
            }
            Ok(inner.entries.get(&id).map(|entry| entry.event.clone()))
        })
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

    fn redrive(&self, id: EventId, now: Timestamp) -> Pending<'_, Result<Operated, StoreError>> {
        self.answer(None, move |inner| Ok(inner.redrive(id, now)))
    }

    fn discard(
        &self,
        id: EventId,
        _now: Timestamp,
        reason: String,
    ) -> Pending<'_, Result<Operated, StoreError>> {
        self.answer(None, move |inner| Ok(inner.discard(id, reason)))
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
        self.answer(None, move |inner| {
            Ok(inner.entries.get(&id).map(|entry| entry.row(id)))
        })
    }

    fn attempts(&self, id: EventId) -> Pending<'_, Result<Vec<Attempt>, StoreError>> {
        self.answer(None, move |inner| {
            Ok(inner
                .entries
                .get(&id)
                .map_or(Vec::new(), |entry| entry.attempts.clone()))
        })
    }

    fn expire(&self, now: Timestamp) -> Pending<'_, Result<Expired, StoreError>> {
        self.answer(None, move |inner| Ok(inner.expire(now)))
    }

    fn stats(&self) -> Stats {
        self.inner().stats()
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
    let body = Sha256::digest(&event.body).into();
    let claim = Claim {
        key: key.to_vec(),
        body,
        keep: Duration::from_secs(7 * 24 * 3600),
    };
    NewEvent::new(event, claim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Headers;
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
        let source = SourceName::new("shop");
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
