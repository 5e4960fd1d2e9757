//! What the plain store holds, and what each operation does to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::inbox::store::plain::Op;
use crate::inbox::store::{
    Acceptance, Attempt, Audit, Claim, Counted, Deed, DeedKind, EventVersion, Expected, Expired,
    Filter, LaneStats, Lease, NewEvent, Next, OnConflict, Operated, Operation, Page, PaymentFacts,
    Picked, PlannedOrder, Row, State, Stats, StoreError, StoredEvent,
};
use crate::message::{DELIVERIES, DestinationName, EventId, LaneName, SourceName};

/// Rows that one page may have.
const PAGE_MAX: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Inner {
    events: BTreeMap<EventId, Known>,
    entries: BTreeMap<EventId, Entry>,
    last: u32,
    grants: u64,
    deeds: Vec<Deed>,
    pub(super) closed: bool,
    /// Errors that the next calls of an operation give.
    pub(super) faults: HashMap<Op, VecDeque<StoreError>>,
    pub(super) damaged: BTreeSet<EventId>,
}

/// An event.
#[derive(Debug)]
struct Known {
    event: StoredEvent,
    claim: Claim,
    version: Option<EventVersion>,
    /// Where it goes.
    wanted: BTreeSet<DestinationName>,
    /// Its key, and its business key, were taken by another content.
    conflicts: [bool; 2],
}

impl Known {
    /// The key at a level, and what must be equal with it.
    fn claim(&self, level: usize) -> Option<(&[u8], [u8; 32])> {
        claim_of(&self.claim, level)
    }
}

fn claim_of(claim: &Claim, level: usize) -> Option<(&[u8], [u8; 32])> {
    if level == 0 {
        return Some((&claim.key, claim.body));
    }
    let business = claim.business.as_ref()?;
    Some((&business.key, business.content))
}

/// A delivery.
#[derive(Debug)]
struct Entry {
    lane: LaneName,
    order: Option<PlannedOrder>,
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

    /// It stands in the way of those behind it.
    fn blocks(&self) -> bool {
        match self.state {
            State::Owed => true,
            State::Dead => self.order.as_ref().is_some_and(|order| order.hold),
            State::Delivered | State::Discarded | State::Filtered | State::Superseded => false,
        }
    }

    fn ended(&mut self, state: State, reason: String) {
        self.state = state;
        self.reason = reason;
        self.lease = None;
    }
}

impl Inner {
    fn row_of(&self, id: EventId, entry: &Entry) -> Option<Row> {
        let event = &self.events.get(&id.event())?.event;
        let last_error = entry
            .attempts
            .last()
            .map_or(String::new(), |attempt| attempt.error.clone());
        Some(Row {
            id,
            source: event.source.clone(),
            destination: entry.lane.destination.clone(),
            provider: event.provider.clone(),
            event_key: event.event_key.clone(),
            event_type: event.event_type.clone(),
            received_at: event.received_at,
            state: entry.state,
            attempts: entry.attempts.len() as u32,
            due: (entry.state == State::Owed).then_some(entry.due),
            reason: if entry.reason.is_empty() {
                last_error
            } else {
                entry.reason.clone()
            },
            conflict: event.conflict_of.is_some(),
            body_bytes: event.body.len() as u32,
            payment: event.payment.clone(),
        })
    }

    pub(super) fn accept(&mut self, event: NewEvent) -> Acceptance {
        let (mut event, claim, plan) = event.into_parts();
        let mut conflicts = [false; 2];
        let mut of = None;
        for (level, conflict) in conflicts.iter_mut().enumerate() {
            let Some((key, content)) = claim_of(&claim, level) else {
                continue;
            };
            let mut same = self
                .events
                .iter()
                .rev()
                .filter(|(_, known)| known.claim(level).is_some_and(|(k, _)| k == key));
            let holder = same.clone().find(|(_, known)| !known.conflicts[level]);
            let equal = |known: &Known| known.claim(level).is_some_and(|(_, c)| c == content);
            let exact = holder
                .filter(|(_, known)| equal(known))
                .or_else(|| same.find(|(_, known)| known.conflicts[level] && equal(known)));
            match (exact, holder) {
                (Some((id, _)), _) if of.is_none() => return Acceptance::Duplicate(*id),
                (Some(_), _) => *conflict = true,
                (None, Some((other, _))) => {
                    match claim.on_conflict {
                        OnConflict::KeepBoth => {}
                        OnConflict::FirstWins => return Acceptance::Dropped { of: *other },
                        OnConflict::Reject => return Acceptance::Refused { of: *other },
                    }
                    of = of.or(Some(*other));
                    *conflict = true;
                }
                (None, None) => {}
            }
        }
        self.last += 1;
        let tag = Sha256::digest(&claim.key)
            .iter()
            .fold(0, |tag, byte| (tag << 8) | u64::from(*byte));
        let id = EventId {
            segment: 1,
            offset: self.last * DELIVERIES,
            tag,
        };
        event.conflict_of = of;
        let at = event.received_at;
        let wanted = plan.deliveries.iter().filter(|planned| planned.wanted);
        let wanted = wanted.map(|planned| planned.destination.clone()).collect();
        for (number, planned) in plan.deliveries.into_iter().enumerate() {
            let entry = Entry {
                lane: LaneName::new(&event.source, &planned.destination),
                order: planned.order,
                state: if planned.wanted {
                    State::Owed
                } else {
                    State::Filtered
                },
                due: at,
                since: at,
                round: 0,
                lease: None,
                attempts: Vec::new(),
                reason: String::new(),
            };
            self.entries.insert(id.of_delivery(number as u32), entry);
        }
        let known = Known {
            event,
            claim,
            version: plan.version,
            wanted,
            conflicts,
        };
        self.events.insert(id, known);
        match of {
            Some(of) => Acceptance::Conflict { id, of },
            None => Acceptance::New(id),
        }
    }

    /// Whose turn it is, by the value that the deliveries of a lane are in order by: one that is
    /// under way keeps it, else it is the first.
    fn turns(&self, lane: &LaneName) -> HashMap<&[u8], EventId> {
        let mut turns: HashMap<&[u8], (EventId, bool)> = HashMap::new();
        for (id, entry) in &self.entries {
            if let Some(order) = &entry.order
                && entry.lane == *lane
                && entry.blocks()
            {
                let leased = entry.lease.is_some();
                let turn = turns.entry(&order.value).or_insert((*id, leased));
                if leased && !turn.1 {
                    *turn = (*id, true);
                }
            }
        }
        turns
            .into_iter()
            .map(|(value, (id, _))| (value, id))
            .collect()
    }

    fn free(&self, lane: &LaneName) -> Vec<(Timestamp, EventId)> {
        if !self.paused_by(lane).is_empty() {
            return Vec::new();
        }
        let turns = self.turns(lane);
        let turn = |id: &EventId, entry: &Entry| match &entry.order {
            None => true,
            Some(order) => turns.get(order.value.as_slice()) == Some(id),
        };
        self.entries
            .iter()
            .filter(|(id, entry)| entry.lane == *lane && turn(id, entry))
            .filter_map(|(id, entry)| Some((entry.free_at()?, *id)))
            .collect()
    }

    pub(super) fn lease(
        &mut self,
        lane: &LaneName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
        fresh_from: Option<f64>,
    ) -> Vec<Lease> {
        let mut due = self.free(lane);
        let tried = |id: &EventId| {
            self.entries
                .get(id)
                .is_some_and(|entry| !entry.attempts.is_empty())
        };
        due.retain(|(at, id)| *at <= now && !(fresh_from.is_some() && tried(id)));
        due.sort_by_key(|(_, id)| (self.entries.get(id).map(|entry| entry.due), *id));
        if let (Some(from), Some(first)) = (fresh_from, due.iter().map(|(at, _)| *at).min()) {
            let from = first.plus(now.since(first).mul_f64(from.clamp(0.0, 1.0)));
            due.sort_by_key(|(at, _)| *at < from);
        }
        due.truncate(max);
        let mut leases = Vec::with_capacity(due.len());
        for (_, id) in due {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            self.grants += 1;
            entry.lease = Some((self.grants, until));
            leases.push(Lease {
                id,
                attempt: entry.attempts.len() as u32 + 1,
                round: entry.round,
                since: entry.since,
                until,
                grant: self.grants,
            });
        }
        leases
    }

    pub(super) fn lease_one(&mut self, id: EventId, now: Timestamp, until: Timestamp) -> Picked {
        let Some(entry) = self.entries.get(&id) else {
            return Picked::NotNow;
        };
        if entry.lease.is_some_and(|(_, until)| until > now) {
            return Picked::UnderWay;
        }
        let lane = entry.lane.clone();
        if !self
            .free(&lane)
            .iter()
            .any(|(at, free)| *free == id && *at <= now)
        {
            return Picked::NotNow;
        }
        self.grants += 1;
        let grant = self.grants;
        let Some(entry) = self.entries.get_mut(&id) else {
            return Picked::NotNow;
        };
        entry.lease = Some((grant, until));
        Picked::Leased(Lease {
            id,
            attempt: entry.attempts.len() as u32 + 1,
            round: entry.round,
            since: entry.since,
            until,
            grant,
        })
    }

    pub(super) fn next_due(&self, lane: &LaneName) -> Option<Timestamp> {
        self.free(lane).into_iter().map(|(at, _)| at).min()
    }

    pub(super) fn clock_went_back(&mut self, now: Timestamp, by: Duration) -> usize {
        let mut found = 0;
        for entry in self.entries.values_mut() {
            let earlier = match entry.attempts.is_empty() {
                true => now,
                false => entry.due.minus(by).max(now),
            };
            if entry.state == State::Owed && earlier < entry.due {
                entry.due = earlier;
                found += 1;
            }
        }
        found
    }

    pub(super) fn read(&self, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        if self.damaged.contains(&id.event()) {
            return Err(StoreError::Damaged { id });
        }
        if !self.entries.contains_key(&id) {
            return Ok(None);
        }
        Ok(self
            .events
            .get(&id.event())
            .map(|known| known.event.clone()))
    }

    pub(super) fn attempts(&self, id: EventId) -> Vec<Attempt> {
        self.entries
            .get(&id)
            .map_or(Vec::new(), |entry| entry.attempts.clone())
    }

    pub(super) fn row(&self, id: EventId) -> Option<Row> {
        self.row_of(id, self.entries.get(&id)?)
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

    pub(super) fn supersede(&mut self, lease: &Lease, by: EventId) -> Result<(), StoreError> {
        let entry = self
            .entries
            .get_mut(&lease.id)
            .ok_or(StoreError::LeaseLost)?;
        if entry.state != State::Owed || entry.lease.is_none_or(|(grant, _)| grant != lease.grant) {
            return Err(StoreError::LeaseLost);
        }
        entry.ended(State::Superseded, by.to_string());
        Ok(())
    }

    pub(super) fn overtaken(&self, id: EventId) -> Option<EventId> {
        let own = self.events.get(&id.event())?;
        let version = own.version.as_ref()?;
        let destination = &self.entries.get(&id)?.lane.destination;
        let about_the_same = self.events.iter().filter_map(|(id, known)| {
            let other = known.version.as_ref()?;
            let same = known.event.source == own.event.source
                && other.key == version.key
                && known.wanted.contains(destination);
            same.then_some((other.stamp, std::cmp::Reverse(*id)))
        });
        let (stamp, latest) = about_the_same.max()?;
        (stamp > version.stamp).then_some(latest.0)
    }

    pub(super) fn operate(
        &mut self,
        id: EventId,
        word: Operation,
        now: Timestamp,
        by: Option<String>,
        expected: Option<Expected>,
    ) -> Operated {
        let entry = self.entries.get(&id);
        let unexpected = entry.zip(expected).and_then(|(entry, expected)| {
            let as_expected = expected.is(entry.state, entry.attempts.len() as u32);
            (!as_expected).then_some(entry.state)
        });
        let lane = self.entries.get(&id).map(|entry| entry.lane.clone());
        let (kind, detail) = match &word {
            Operation::Redrive => (DeedKind::Redrive, String::new()),
            Operation::Discard { reason } => (DeedKind::Discard, reason.clone()),
        };
        let operated = match (unexpected, word) {
            (Some(state), _) => Operated::NotApplicable(state),
            (None, Operation::Redrive) => self.redrive(id, now),
            (None, Operation::Discard { reason }) => self.discard(id, reason),
        };
        if let Some(by) = by {
            self.record(Deed {
                at: now,
                by,
                kind,
                source: lane.as_ref().map(|lane| lane.source.clone()),
                destination: lane.map(|lane| lane.destination),
                event: Some(id),
                detail,
                count: u64::from(operated == Operated::Done),
                outcome: operated.as_str().into(),
            });
        }
        operated
    }

    fn redrive(&mut self, id: EventId, now: Timestamp) -> Operated {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Operated::NotFound;
        };
        match entry.state {
            State::Owed => entry.due = entry.due.min(now),
            State::Delivered
            | State::Dead
            | State::Discarded
            | State::Filtered
            | State::Superseded => {
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
            State::Delivered | State::Discarded | State::Filtered | State::Superseded => {
                Operated::NotApplicable(entry.state)
            }
        }
    }

    pub(super) fn record(&mut self, deed: Deed) -> u64 {
        self.deeds.push(deed);
        self.deeds.len() as u64
    }

    pub(super) fn audit(&self, event: Option<EventId>, after: Option<u64>, limit: usize) -> Audit {
        let before = after.map_or(usize::MAX, |after| after as usize - 1);
        let mut entries: Vec<(u64, Deed)> = (1..)
            .zip(&self.deeds)
            .take(before)
            .filter(|(_, deed)| {
                event.is_none_or(|event| deed.event.is_some_and(|of| of.event() == event.event()))
            })
            .map(|(number, deed)| (number, deed.clone()))
            .collect();
        entries.reverse();
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|(number, _)| *number);
        Audit { entries, next }
    }

    pub(super) fn paused_by(&self, lane: &LaneName) -> Vec<u64> {
        let last = |destination: Option<&DestinationName>| {
            let mut deeds = (1_u64..).zip(&self.deeds).collect::<Vec<_>>().into_iter();
            let (number, deed) = deeds.rfind(|(_, deed)| {
                deed.source.as_ref() == Some(&lane.source)
                    && deed.destination.as_ref() == destination
                    && matches!(deed.kind, DeedKind::Pause | DeedKind::Resume)
            })?;
            (deed.kind == DeedKind::Pause).then_some(number)
        };
        let both = [last(None), last(Some(&lane.destination))];
        both.into_iter().flatten().collect()
    }

    pub(super) fn list(&self, filter: &Filter, after: Option<EventId>, limit: usize) -> Page {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut rows: Vec<Row> = self
            .entries
            .iter()
            .rev()
            .filter(|(id, _)| after.is_none_or(|after| **id < after))
            .filter_map(|(id, entry)| self.row_of(*id, entry))
            .filter(|row| fits(filter, row))
            .take(limit + 1)
            .collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.id);
        Page { rows, next }
    }

    pub(super) fn count(&self, filter: &Filter, after: Option<EventId>) -> Counted {
        let entries = self.entries.iter();
        let rows = entries
            .filter(|(id, _)| after.is_none_or(|after| **id < after))
            .filter_map(|(id, entry)| self.row_of(*id, entry))
            .filter(|row| fits(filter, row));
        Counted {
            count: rows.count() as u64,
            next: None,
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) -> Expired {
        let mut expired = Expired::default();
        let owed: BTreeSet<EventId> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.state == State::Owed)
            .map(|(id, _)| id.event())
            .collect();
        self.events.retain(|id, known| {
            let old = known.event.received_at.plus(known.claim.keep) < now;
            let keep = owed.contains(id) || !old;
            if !keep {
                expired.events += 1;
                expired.bytes += known.event.body.len() as u64;
            }
            keep
        });
        let events = &self.events;
        self.entries
            .retain(|id, _| events.contains_key(&id.event()));
        expired
    }

    pub(super) fn lane_stats(&self, lane: &LaneName) -> LaneStats {
        let of = |state: State| {
            let entries = self.entries.values();
            entries.filter(move |entry| entry.state == state && entry.lane == *lane)
        };
        LaneStats {
            owed: of(State::Owed).count() as u64,
            dead: of(State::Dead).count() as u64,
            oldest_owed: of(State::Owed).map(|entry| entry.since).min(),
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let of = |state: State| {
            self.entries
                .values()
                .filter(move |entry| entry.state == state)
        };
        Stats {
            owed: of(State::Owed).count() as u64,
            oldest_owed: of(State::Owed).map(|entry| entry.since).min(),
            dead: of(State::Dead).count() as u64,
            claims: self.events.len() as u64,
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
    fn is<T: PartialEq>(wanted: &Option<T>, is: &T) -> bool {
        wanted.as_ref().is_none_or(|wanted| wanted == is)
    }
    let paid = |text: fn(&PaymentFacts) -> &Option<String>| {
        row.payment.as_ref().and_then(|p| text(p).as_ref())
    };
    is::<SourceName>(&filter.source, &row.source)
        && is::<DestinationName>(&filter.destination, &row.destination)
        && is(&filter.state, &row.state)
        && is(&filter.event_type, &row.event_type)
        && is(&filter.event_key, &row.event_key)
        && is(&filter.provider, &row.provider)
        && is(&filter.reason, &row.reason)
        && filter
            .order
            .as_ref()
            .is_none_or(|order| paid(|p| &p.order) == Some(order))
        && filter.text.as_ref().is_none_or(|text| {
            let text = text.to_ascii_lowercase();
            [
                Some(&row.event_key),
                Some(&row.event_type),
                Some(&row.reason),
                Some(&row.id.to_string()),
                paid(|p| &p.order),
                paid(|p| &p.transaction),
            ]
            .iter()
            .flatten()
            .any(|is| is.to_ascii_lowercase().contains(&text))
        })
        && filter.from.is_none_or(|from| from <= row.received_at)
        && filter.to.is_none_or(|to| row.received_at < to)
}
