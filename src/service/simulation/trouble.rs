//! What goes wrong, and what operators do.

use std::rc::Rc;
use std::sync::Arc;

use crate::inbox::store::faulty::{Counted, Fault, FaultyDisk};
use crate::inbox::store::{Deed, DeedKind, Operation};
use crate::message::{EventId, LaneName};
use crate::rule::Rule;
use crate::service::simulation::places::spell;
use crate::service::simulation::process::Process;
use crate::service::simulation::scenario::{Ending, Site};
use crate::service::simulation::sources;
use crate::service::simulation::world::{say, secs};

impl Site {
    /// One thing goes wrong, or not.
    pub(super) async fn trouble(self: &Rc<Self>) {
        let (world, dice) = (&self.world, &self.world.dice);
        match dice.below(36) {
            0 => self.end(Ending::Killed).await,
            1 => self.end(Ending::PowerCut).await,
            2 => self.end(Ending::Told).await,
            3 => {
                let nth = dice.from(1, 60);
                say!(world, "the power goes at operation {nth}");
                self.disk().plan(nth, Fault::PowerCut, Counted::All);
            }
            4 => {
                let nth = dice.from(1, 5);
                say!(world, "sync {nth} fails");
                self.disk().plan(nth, Fault::Eio, Counted::Syncs);
            }
            5 => {
                let fault = dice.one_of(&[Fault::Eio, Fault::Short, Fault::Interrupted]);
                say!(world, "a write meets {fault:?}");
                self.disk().plan(dice.from(1, 5), fault, Counted::Writes);
            }
            24 => {
                let disk = self.disk();
                let room = dice.from(0, 200_000);
                say!(world, "the disk has room for {room} bytes");
                disk.set_capacity(Some(disk.used() + room));
            }
            25 | 26 => self.disk().set_capacity(None),
            6 | 7 => {
                let most = dice.one_of(&[2_000, 60_000, 600_000]);
                let skew = dice.from(0, 2 * most) as i64 - most as i64;
                say!(world, "the clock is {skew} ms ahead");
                world.clock.step_to(skew);
            }
            8..=13 => {
                let lanes: Vec<LaneName> = world.places().all.keys().cloned().collect();
                let (lane, mood) = (dice.one_of(&lanes), spell(world));
                say!(world, "{lane} is {mood:?}");
                world.places().all.get_mut(&lane).unwrap().spell = mood;
            }
            14 => {
                let mood = spell(world);
                say!(world, "all are {mood:?}");
                for place in world.places().all.values_mut() {
                    place.spell = mood;
                }
            }
            15 | 16 => self.reload(),
            17 | 18 => self.pauses(DeedKind::Pause),
            19 | 20 => self.pauses(DeedKind::Resume),
            21 => self.operates(Operation::Redrive),
            22 => self.operates(Operation::Discard {
                reason: "by hand".to_owned(),
            }),
            23 => {
                let now = dice.from(0, 9);
                say!(world, "expiry, {now} days on");
                self.operator(move |process| {
                    let now = process.now().plus(secs(now * 86_400));
                    let store = process.store.clone();
                    async move { drop(store.expire(now).await) }
                });
            }
            _ => {}
        }
    }

    pub(super) fn disk(&self) -> FaultyDisk {
        self.start.borrow().disk.clone()
    }

    /// Somebody at the admin port; gone with the process.
    pub(super) fn operator<F: Future<Output = ()> + 'static>(
        &self,
        does: impl FnOnce(&Process) -> F,
    ) {
        if let Some(process) = &*self.process.borrow() {
            let work = does(process);
            process.spawn(work);
        }
    }

    pub(super) fn reload(&self) {
        let dice = &self.world.dice;
        let one = dice.below(self.sources.len());
        let leave_out = self.sources.len() > 1 && dice.one_in(4);
        let rules = self.sources.iter().enumerate().filter_map(|(n, source)| {
            let mut rule = source.rule.clone();
            if n == one {
                if leave_out {
                    return None;
                }
                sources::vary(dice, &mut rule);
                let keep = dice.below(rule.relay.more.len() + 1);
                rule.relay.more.truncate(keep);
                if let Some(ledger) = rule.relay.more.first_mut().filter(|_| dice.one_in(2)) {
                    ledger.when = None;
                    let name = source.rule.name.clone();
                    self.world.know(|model| {
                        model
                            .policies
                            .entry(name)
                            .and_modify(|policy| policy.opened = true);
                    });
                }
            }
            Some(Arc::new(rule))
        });
        let rules: Vec<Arc<Rule>> = rules.collect();
        say!(self.world, "reload of {one}, {} sources", rules.len());
        if let Some(process) = &*self.process.borrow() {
            process.reload(&rules);
        }
        *self.rules.borrow_mut() = rules;
    }

    pub(super) fn pauses(&self, kind: DeedKind) {
        let dice = &self.world.dice;
        let source = &dice.one_of(&self.sources).rule;
        let all: Vec<_> = source
            .relay
            .destinations()
            .map(|to| to.name.clone())
            .collect();
        let destination = (!dice.one_in(3)).then(|| dice.one_of(&all));
        say!(self.world, "{kind:?} of {} to {destination:?}", source.name);
        let source = source.name.clone();
        self.operator(|process| process.record(kind, source, destination));
    }

    /// Some delivery of all that are known.
    pub(super) fn operates(&self, word: Operation) {
        let ids: Vec<EventId> = self.world.model().deliveries.keys().copied().collect();
        if !ids.is_empty() {
            let id = self.world.dice.one_of(&ids);
            self.operator(|process| process.operate(id, word));
        }
    }
}

impl Process {
    /// As the admin port does it.
    pub(super) fn record(
        &self,
        kind: DeedKind,
        source: crate::message::SourceName,
        destination: Option<crate::message::DestinationName>,
    ) -> impl Future<Output = ()> + use<> {
        let deed = Deed {
            at: self.now(),
            by: "operator[0]".to_owned(),
            kind,
            source: Some(source.clone()),
            destination,
            event: None,
            detail: String::new(),
            count: 0,
            outcome: "done".to_owned(),
        };
        let (store, relay) = (self.store.clone(), self.relay.clone());
        async move {
            if store.record(deed).await.is_ok() {
                relay.wake(&source);
            }
        }
    }

    pub(super) fn operate(&self, id: EventId, word: Operation) -> impl Future<Output = ()> + use<> {
        let (store, relay, now) = (self.store.clone(), self.relay.clone(), self.now());
        async move {
            let _ = store
                .operate(id, word, now, Some("operator[0]".to_owned()))
                .await;
            if let Ok(Some(row)) = store.row(id).await {
                relay.wake(&row.source);
            }
        }
    }
}
