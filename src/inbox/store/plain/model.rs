//! What the plain store holds, and what each operation does to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::inbox::store::plain::Op;
use crate::inbox::store::{
    Acceptance, Attempt, Claim, Expired, Filter, Lease, NewEvent, Next, Operated, Page, Row, State,
    Stats, StoreError, StoredEvent,
};
use crate::message::{EventId, SourceName};

/// Rows that one page may have.
const PAGE_MAX: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Inner {
    entries: BTreeMap<EventId, Entry>,
    /// Every event that was accepted under a key, first to last.
    claims: HashMap<Vec<u8>, Vec<EventId>>,
    last: u32,
    grants: u64,
    pub(super) closed: bool,
    /// Errors that the next calls of an operation give.
    pub(super) faults: HashMap<Op, VecDeque<StoreError>>,
    pub(super) damaged: BTreeSet<EventId>,
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

impl Inner {
    pub(super) fn accept(&mut self, event: NewEvent) -> Acceptance {
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

    pub(super) fn lease(
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

    pub(super) fn next_due(&self, source: &SourceName) -> Option<Timestamp> {
        let of_source = self
            .entries
            .values()
            .filter(|entry| entry.event.source == *source);
        of_source.filter_map(Entry::free_at).min()
    }

    pub(super) fn read(&self, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        if self.damaged.contains(&id) {
            return Err(StoreError::Damaged { id });
        }
        Ok(self.entries.get(&id).map(|entry| entry.event.clone()))
    }

    pub(super) fn attempts(&self, id: EventId) -> Vec<Attempt> {
        self.entries
            .get(&id)
            .map_or(Vec::new(), |entry| entry.attempts.clone())
    }

    pub(super) fn row(&self, id: EventId) -> Option<Row> {
        self.entries.get(&id).map(|entry| entry.row(id))
    }

    pub(super) fn settle(
        &mut self,
        lease: &Lease,
        attempt: Attempt,
        next: Next,
    ) -> Result<(), StoreError> {
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

    pub(super) fn redrive(&mut self, id: EventId, now: Timestamp) -> Operated {
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

    pub(super) fn discard(&mut self, id: EventId, reason: String) -> Operated {
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

    pub(super) fn list(&self, filter: &Filter, after: Option<EventId>, limit: usize) -> Page {
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

    pub(super) fn expire(&mut self, now: Timestamp) -> Expired {
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

    pub(super) fn stats(&self) -> Stats {
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
        && filter.to.is_none_or(|to| row.received_at < to)
}
