//! What must be so: a plain record of what the gateway was given, what it promised, and what it did.
//! The store's answers go through here (`watched`), and so do the requests that applications see
//! (`places`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::inbox::store::{Acceptance, Claim, Deed, DeedKind, Lease, NewEvent, Plan, Row, State};
use crate::message::{Answer, DestinationName, EventId, LaneName, SourceName};
use crate::rule::OnConflict;
use crate::rule::relay::Overtaken;
use crate::service::simulation::callbacks::{Callback, Kind};
use crate::service::simulation::sources::{LARGE, PLACES};

/// What a source's rule says, as far as that stays the same; from the rule, and not from what the
/// gateway makes of it.
#[derive(Clone)]
pub struct Policy {
    pub on_conflict: OnConflict,
    pub overtaken: Option<Overtaken>,
    /// Events of one order are one.
    pub business: bool,
    /// Destinations whose deliveries go in order, and whether a dead letter holds those behind it.
    pub ordered: BTreeMap<DestinationName, bool>,
    /// `ledger` has had no condition for a while.
    pub opened: bool,
}

type About = (SourceName, &'static str);

/// An event that the store has.
#[derive(Debug)]
pub struct Event {
    pub callback: usize,
    claim: Claim,
    /// What it is about, and how new it is.
    pub(super) version: Option<(About, u64)>,
}

#[derive(Debug)]
pub struct Delivery {
    pub lane: LaneName,
    /// The value, and whether a dead letter holds those behind it.
    order: Option<(&'static str, bool)>,
    pub(super) wanted: bool,
    /// How it durably stands; none when two things were done to it at once.
    known: Option<State>,
    /// What is being done to it.
    pending: Vec<State>,
    /// Leased, and nothing has come of it yet: its attempt may hang, or have panicked.
    under_way: bool,
}

/// Counted also for events whose acceptance nobody has heard of yet.
#[derive(Debug, Default)]
pub struct Doings {
    pub leases: u32,
    pub requests: u32,
    pub redrives: u32,
    pub discards: u32,
    /// When it was leased last, a later event about the same was known.
    pub overtaken: bool,
}

#[derive(Default)]
pub struct Model {
    pub callbacks: Vec<Callback>,
    pub policies: BTreeMap<SourceName, Policy>,
    pub(super) genuine: BTreeMap<(SourceName, Bytes), usize>,
    pub(super) offered: BTreeMap<usize, Vec<(Claim, Plan)>>,
    pub events: BTreeMap<EventId, Event>,
    pub deliveries: BTreeMap<EventId, Delivery>,
    pub(super) doings: BTreeMap<EventId, Doings>,
    /// Callbacks whose providers heard success.
    pub(super) acknowledged: BTreeSet<usize>,
    /// Callbacks that were said to be the same as these events.
    pub(super) said: Vec<(usize, EventId)>,
    /// Of the events of a source about the same, the highest stamp.
    /// By destination: what one does not want overtakes nothing there.
    pub(super) newest: BTreeMap<(About, DestinationName), u64>,
    pub(super) pauses: BTreeMap<(SourceName, Option<DestinationName>), bool>,
    /// Words about pauses of which nobody has heard yet.
    pub(super) pausing: usize,
    /// After some were never heard of, all that is known is what came later.
    pub(super) pauses_unsure: bool,
    pub(super) rejections: BTreeMap<SourceName, Answer>,
    /// What operators were told is done: so many entries the audit has at least.
    pub deeds: usize,
    pub broken: Vec<String>,
}

macro_rules! broken {
    ($model:expr, $($what:tt)*) => { $model.broken.push(format!($($what)*)) };
}

impl Model {
    pub fn callback(&mut self, callback: Callback) {
        if callback.kind == Kind::Genuine {
            let key = (callback.source.clone(), callback.body.clone());
            self.genuine.insert(key, callback.number);
        }
        self.callbacks.push(callback);
    }

    /// The callback of a source with exactly these bytes, if its provider has signed it.
    pub fn genuine(&self, source: &SourceName, body: &Bytes) -> Option<usize> {
        self.genuine.get(&(source.clone(), body.clone())).copied()
    }

    pub fn doings(&mut self, id: EventId) -> &mut Doings {
        self.doings.entry(id).or_default()
    }

    /// Something is to be stored; which callback it is.
    pub fn offered(&mut self, new: &NewEvent) -> Option<usize> {
        let event = new.event();
        let found = self.genuine(&event.source, &event.body);
        match found {
            Some(n) => {
                let all = self.offered.entry(n).or_default();
                all.push((new.claim().clone(), new.plan().clone()));
            }
            None => broken!(self, "{}: stored though nobody signed it", event.event_key),
        }
        found
    }

    pub fn accepted(&mut self, n: usize, (claim, plan): (Claim, Plan), acceptance: Acceptance) {
        let policy = self.policies[&self.callbacks[n].source].clone();
        match acceptance {
            Acceptance::New(id) => {
                let own = &self.callbacks[n];
                let mut events = self.events.iter();
                let same = events.find(|(_, event)| {
                    let other = &self.callbacks[event.callback];
                    let named = own.scheme.names_events() && other.id == own.id;
                    let same_order = policy.business && other.order == own.order;
                    other.source == own.source && (named || same_order)
                });
                if let Some((other, _)) = same {
                    let other = *other;
                    broken!(
                        self,
                        "{id} is new though {other} is the same or contradicts it"
                    );
                }
                let mut events = self.events.iter();
                if let Some((other, _)) = events.find(|(_, e)| e.claim.key == claim.key) {
                    let other = *other;
                    broken!(self, "{id} is new though {other} has its key");
                }
                self.begin_event(id, n, claim, plan);
                self.not_overtaken_in_order(id);
            }
            Acceptance::Conflict { id, .. } => {
                if policy.on_conflict != OnConflict::KeepBoth {
                    broken!(self, "{id} was accepted against {:?}", policy.on_conflict);
                }
                self.begin_event(id, n, claim, plan);
                self.not_overtaken_in_order(id);
            }
            Acceptance::Duplicate(of) | Acceptance::Dropped { of } | Acceptance::Refused { of } => {
                self.said.push((n, of));
            }
        }
    }

    fn begin_event(&mut self, id: EventId, n: usize, claim: Claim, plan: Plan) {
        let mut events = self.events.iter();
        if let Some((other, _)) = events.find(|(_, event)| event.callback == n) {
            let other = *other;
            broken!(self, "callback {n} was accepted as {other} and as {id}");
        }
        let own = self.callbacks[n].clone();
        let policy = self.policies[&own.source].clone();
        let about = (own.source.clone(), own.thing);
        let version = policy.overtaken.map(|_| (about, own.created));
        for (number, planned) in (0..).zip(plan.deliveries) {
            if let (Some((about, stamp)), true) = (&version, planned.wanted) {
                let key = (about.clone(), planned.destination.clone());
                let newest = self.newest.entry(key).or_insert(*stamp);
                *newest = (*newest).max(*stamp);
            }
            let conditional = planned.destination.as_str() == PLACES[1];
            let kept_back = conditional && own.amount >= LARGE;
            if planned.wanted == kept_back && !(kept_back && policy.opened) {
                broken!(
                    self,
                    "{id} to {}: its condition was misread",
                    planned.destination
                );
            }
            let hold = policy.ordered.get(&planned.destination);
            let delivery = Delivery {
                lane: LaneName::new(&own.source, &planned.destination),
                order: hold.map(|hold| (own.thing, *hold)),
                wanted: planned.wanted,
                known: Some(match planned.wanted {
                    true => State::Owed,
                    false => State::Filtered,
                }),
                pending: Vec::new(),
                under_way: false,
            };
            self.deliveries.insert(id.of_delivery(number), delivery);
        }
        let event = Event {
            callback: n,
            claim,
            version,
        };
        self.events.insert(id, event);
    }

    /// Nobody behind it has gone out before its acceptance was heard of.
    fn not_overtaken_in_order(&mut self, id: EventId) {
        let mut wrong = Vec::new();
        for (id, delivery) in self.deliveries.range(id..=id.of_delivery(7)) {
            let mut behind = self.deliveries.range(id..).filter(|(other, d)| {
                let leased = self.doings.get(other).is_some_and(|d| d.leases > 0);
                *other > id && leased && d.lane == delivery.lane && same_order(d, delivery)
            });
            if let (true, Some((other, _))) = (delivery.wanted, behind.next()) {
                wrong.push(format!("{other} went out before {id}, in the same order"));
            }
        }
        self.broken.extend(wrong);
    }

    /// A start has found this event, of which nobody had heard.
    pub fn adopted(&mut self, id: EventId, n: usize, rows: &[&Row]) {
        let fits = |plan: &Plan| {
            plan.deliveries.len() == rows.len()
                && plan.deliveries.iter().zip(rows).all(|(planned, row)| {
                    let began = planned.wanted || row.state != State::Owed || row.attempts > 0;
                    planned.destination == row.destination && began
                })
        };
        let mut offered = self.offered.get(&n).into_iter().flatten();
        match offered.find(|(_, plan)| fits(plan)).cloned() {
            Some((claim, plan)) => {
                self.begin_event(id, n, claim, plan);
                for row in rows {
                    if let Some(delivery) = self.deliveries.get_mut(&row.id) {
                        delivery.known = Some(row.state);
                    }
                }
            }
            None => broken!(self, "{id} is there and was never offered so"),
        }
    }

    /// A later event about the same goes to this destination.
    pub(super) fn newer(&self, event: &Event, to: &DestinationName) -> bool {
        event.version.as_ref().is_some_and(|(about, stamp)| {
            let newest = self.newest.get(&(about.clone(), to.clone()));
            newest.is_some_and(|newest| newest > stamp)
        })
    }

    /// A lease was granted.
    pub fn leased(&mut self, lease: &Lease) {
        let id = lease.id;
        let Some(delivery) = self.deliveries.get(&id) else {
            self.doings(id).leases += 1;
            return;
        };
        let event = &self.events[&id.event()];
        let overtaken = self.newer(event, &delivery.lane.destination);
        let mut wrong = Vec::new();
        if let (Some(state), true) = (delivery.known, delivery.pending.is_empty())
            && state != State::Owed
        {
            wrong.push(format!("{id} was leased though it is {}", state.as_str()));
        }
        if self.pausing == 0 {
            let (source, to) = (&delivery.lane.source, &delivery.lane.destination);
            let paused = |to: Option<DestinationName>| {
                let found = self.pauses.get(&(source.clone(), to));
                found.copied().unwrap_or(false)
            };
            if paused(None) || paused(Some(to.clone())) {
                wrong.push(format!("{id} was leased though its lane is paused"));
            }
        }
        for (other, before) in self.deliveries.range(..id) {
            let blocks = match before.known {
                Some(State::Owed) => true,
                Some(State::Dead) => before.order.as_ref().is_some_and(|(_, hold)| *hold),
                _ => false,
            };
            // One that was redriven meanwhile waits until this one has come to an end, also when
            // its lease runs out and it is leased anew.
            let sure = before.pending.is_empty() && !delivery.under_way;
            if blocks && sure && before.lane == delivery.lane && same_order(before, delivery) {
                wrong.push(format!("{id} was leased before {other}, in the same order"));
            }
        }
        self.broken.extend(wrong);
        if let Some(delivery) = self.deliveries.get_mut(&id) {
            delivery.under_way = true;
        }
        let doings = self.doings(id);
        doings.leases += 1;
        doings.overtaken = overtaken;
    }

    /// Something that would leave a delivery so is on its way to the disk.
    pub fn begin(&mut self, id: EventId, state: State) {
        if let Some(delivery) = self.deliveries.get_mut(&id) {
            if !delivery.pending.is_empty() {
                delivery.known = None;
            }
            delivery.pending.push(state);
        }
    }

    /// It is durable, or (false) did not happen.
    pub fn end(&mut self, id: EventId, state: State, done: bool) {
        if let Some(delivery) = self.deliveries.get_mut(&id) {
            let alone = delivery.pending.len() == 1;
            delivery.under_way &= !done;
            if let Some(at) = delivery.pending.iter().position(|s| *s == state) {
                delivery.pending.remove(at);
            }
            if done {
                // Of two at once it is not known which came first.
                delivery.known = (alone && delivery.known.is_some()).then_some(state);
            }
        }
    }

    pub fn begin_deed(&mut self) {
        self.pausing += 1;
    }

    pub fn end_deed(&mut self, deed: &Deed, done: bool) {
        self.pausing -= usize::from(done);
        self.deeds += usize::from(done);
        if let (true, Some(source)) = (done, &deed.source) {
            let key = (source.clone(), deed.destination.clone());
            self.pauses.insert(key, deed.kind == DeedKind::Pause);
        }
    }

    /// A start has read the journal: everything durable is as it was, and what was on its way came
    /// to be or did not.
    pub fn found(&mut self, rows: &[Row], pauses: impl Fn(&LaneName) -> bool) {
        let mut there = BTreeSet::new();
        let mut wrong = Vec::new();
        for row in rows {
            there.insert(row.id);
            let Some(delivery) = self.deliveries.get_mut(&row.id) else {
                wrong.push(format!("{} is there and its event is not", row.id));
                continue;
            };
            let (known, pending) = (delivery.known, std::mem::take(&mut delivery.pending));
            let fits = known.is_none_or(|known| known == row.state) || pending.contains(&row.state);
            if !fits {
                let (id, is) = (row.id, row.state.as_str());
                wrong.push(format!("{id} was durably {known:?} and is {is}"));
            }
            delivery.known = Some(row.state);
            delivery.under_way = false;
        }
        for id in self.deliveries.keys().filter(|id| !there.contains(id)) {
            wrong.push(format!("{id} is gone"));
        }
        if std::mem::take(&mut self.pausing) > 0 {
            self.pauses.clear();
            self.pauses_unsure = true;
        }
        let lanes: BTreeSet<&LaneName> = self.deliveries.values().map(|d| &d.lane).collect();
        for lane in lanes {
            let of = |to| self.pauses.get(&(lane.source.clone(), to)).copied();
            let paused = [None, Some(lane.destination.clone())].map(of);
            let known = paused.contains(&Some(true));
            if known != pauses(lane) && (known || !self.pauses_unsure) {
                wrong.push(format!("{lane} has forgotten whether it is paused"));
            }
        }
        self.broken.extend(wrong);
    }

    /// A provider has heard an answer.
    pub fn answered(&mut self, n: usize, answer: &Answer) {
        let callback = &self.callbacks[n];
        let source = callback.source.clone();
        match answer.status.as_u16() {
            200..=299 if callback.kind == Kind::Genuine => {
                self.acknowledged.insert(n);
            }
            200..=299 => broken!(self, "callback {n} is {:?} and was taken", callback.kind),
            // The source is not there, or nothing can be taken in.
            404 | 503 => {}
            _ => match self.rejections.get(&source) {
                Some(first) if first == answer => {}
                Some(first) => {
                    let first = first.clone();
                    broken!(self, "rejections differ: {first:?} and {answer:?}");
                }
                None => {
                    self.rejections.insert(source, answer.clone());
                }
            },
        }
    }
}

fn same_order(one: &Delivery, other: &Delivery) -> bool {
    match (&one.order, &other.order) {
        (Some((one, _)), Some((other, _))) => one == other,
        _ => false,
    }
}
