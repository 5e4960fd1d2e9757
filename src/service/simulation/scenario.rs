//! A scenario: providers that call and call again, things that go wrong, and then an end at which all
//! is well.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use crate::inbox::store::faulty::{Counted, Fault, FaultyDisk};
use crate::inbox::store::{Deed, DeedKind, Operation, State};
use crate::message::{Answer, EventId, LaneName};
use crate::rule::{OnConflict, OnDead, Rule};
use crate::service::simulation::callbacks::{Callback, Kind, forgery};
use crate::service::simulation::model::Policy;
use crate::service::simulation::places::spell;
use crate::service::simulation::process::{Process, Start};
use crate::service::simulation::sources::{self, Source};
use crate::service::simulation::world::{World, fault, millis, say, secs};

/// Longer than any pause, outage, lease and step of the clock together takes.
const END: std::time::Duration = secs(3 * 3600);

/// The machine that the gateway runs on, and who calls it.
struct Site {
    world: Arc<World>,
    sources: Vec<Source>,
    /// As the rule files say now; at the end, all of them.
    rules: RefCell<Vec<Arc<Rule>>>,
    start: RefCell<Start>,
    process: RefCell<Option<Process>>,
    callers: RefCell<Vec<JoinHandle<()>>>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Told,
    Killed,
    PowerCut,
}

pub async fn scenario(world: &Arc<World>, directory: PathBuf, index: bool) {
    let dice = &world.dice;
    let sources = sources::sources(dice);
    for source in &sources {
        let policy = Policy {
            on_conflict: source.rule.inbox.on_conflict,
            overtaken: source.rule.relay.supersede.as_ref().map(|rule| rule.then),
        };
        let name = source.rule.name.clone();
        world.know(|model| model.policies.insert(name, policy));
        for to in source.rule.relay.destinations() {
            let lane = LaneName::new(&source.rule.name, &to.name);
            world.places().all.entry(lane).or_default().rate = to.rate;
        }
    }
    world.places().glitches = true;
    let site = Rc::new(Site {
        world: world.clone(),
        rules: RefCell::new(sources.iter().map(|s| Arc::new(s.rule.clone())).collect()),
        sources,
        start: RefCell::new(Start {
            disk: FaultyDisk::new(),
            directory,
            index,
        }),
        process: RefCell::default(),
        callers: RefCell::default(),
    });
    for _ in 0..dice.from(10, 40) {
        site.keep_running().await;
        site.arrival();
        site.trouble().await;
        sleep(millis(dice.from(0, 1200))).await;
        if !world.faults().is_empty() {
            break;
        }
    }
    site.heal().await;
    site.drain().await;
    site.last_look().await;
}

impl Site {
    /// A callback, or something that would like to be one.
    fn arrival(self: &Rc<Self>) {
        let dice = &self.world.dice;
        let scheme = dice.one_of(&self.sources).scheme;
        let number = self.world.model().callbacks.len();
        let earlier: Vec<Callback> = {
            let model = self.world.model();
            let all = model.callbacks.iter();
            all.filter(|c| c.kind == Kind::Genuine).cloned().collect()
        };
        let of = match dice.below(10) {
            0..6 => None,
            _ if earlier.is_empty() => None,
            _ => Some(dice.one_of(&earlier)),
        };
        let callback = match (of, dice.below(4)) {
            // The provider is impatient.
            (Some(of), 0 | 1) => return self.sends(of.number),
            (Some(of), 2) if of.scheme.names_events() => {
                self.world
                    .know(|model| model.callbacks[of.number].contested = true);
                of.contradicting(dice, number)
            }
            (Some(of), _) => of.twin(dice, number),
            (None, 0) => {
                let kind = Kind::Forged(forgery(dice, scheme));
                Callback::fresh(dice, number, scheme, kind)
            }
            (None, _) => Callback::fresh(dice, number, scheme, Kind::Genuine),
        };
        say!(
            self.world,
            "callback {number} of {}: {} {} {:?}",
            callback.source,
            callback.id,
            callback.thing,
            callback.kind
        );
        self.world.know(|model| model.callback(callback));
        self.sends(number);
    }

    fn sends(self: &Rc<Self>, n: usize) {
        let caller = spawn_local(self.clone().deliver(n));
        self.callers.borrow_mut().push(caller);
    }

    /// As a provider does it: again and again until it hears success.
    async fn deliver(self: Rc<Self>, n: usize) {
        let (world, dice) = (&self.world, &self.world.dice);
        let callback = world.model().callbacks[n].clone();
        let earlier = dice.one_in(4);
        for tries in 0.. {
            let now = world.clock.right().as_secs();
            let call = {
                let process = self.process.borrow();
                process
                    .as_ref()
                    .map(|p| p.call(callback.request(now, earlier)))
            };
            let patience = match dice.one_in(12) {
                true => millis(dice.from(0, 90)),
                false => secs(12),
            };
            let answer = match call {
                Some(call) => call.answer(patience).await,
                None => None,
            };
            let status = answer.as_ref().map(|answer| answer.status.as_u16());
            say!(world, "callback {n} hears {status:?}");
            if let Some(answer) = &answer {
                world.know(|model| model.answered(n, answer));
                self.check_answer(&callback, answer);
                if answer.status.is_success() {
                    return;
                }
            }
            let may_be_refused = {
                let model = world.model();
                let policy = model.policies[&callback.source];
                model.callbacks[n].contested && policy.on_conflict == OnConflict::Reject
            };
            let forged = callback.kind != Kind::Genuine;
            if tries >= 2 && forged || tries >= 8 && may_be_refused {
                return;
            }
            sleep(millis(dice.from(300, 5000))).await;
        }
    }

    /// What is said to be the application's answer is that of this event's application.
    fn check_answer(&self, callback: &Callback, answer: &Answer) {
        let Some(id) = answer.body.strip_prefix(b"taken ") else {
            return;
        };
        let id: EventId = std::str::from_utf8(id).unwrap().parse().unwrap();
        let model = self.world.model();
        let other = model
            .events
            .get(&id)
            .map(|event| &model.callbacks[event.callback]);
        let fits = other.is_none_or(|o| o.order == callback.order || o.id == callback.id);
        let n = callback.number;
        drop(model);
        self.world.met("an answer of the application");
        let lane = LaneName::main(&callback.source);
        if !fits || !self.world.places().heard(&lane, id, |status| status < 300) {
            fault!(
                self.world,
                "callback {n} heard an answer that nobody gave it"
            );
        }
    }

    /// One thing goes wrong, or not.
    async fn trouble(self: &Rc<Self>) {
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

    fn disk(&self) -> FaultyDisk {
        self.start.borrow().disk.clone()
    }

    /// Somebody at the admin port; gone with the process.
    fn operator<F: Future<Output = ()> + 'static>(&self, does: impl FnOnce(&Process) -> F) {
        if let Some(process) = &*self.process.borrow() {
            let work = does(process);
            process.spawn(work);
        }
    }

    fn reload(&self) {
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

    fn pauses(&self, kind: DeedKind) {
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
    fn operates(&self, word: Operation) {
        let ids: Vec<EventId> = self.world.model().deliveries.keys().copied().collect();
        if !ids.is_empty() {
            let id = self.world.dice.one_of(&ids);
            self.operator(|process| process.operate(id, word));
        }
    }

    /// Whoever starts the gateway starts it again.
    async fn keep_running(&self) {
        let (world, dice) = (&self.world, &self.world.dice);
        let must_end = self
            .process
            .borrow()
            .as_ref()
            .is_some_and(Process::must_end);
        if must_end {
            // Within a second.
            sleep(millis(dice.from(0, 900))).await;
            let ending = match self.disk().is_dead() || dice.one_in(3) {
                true => Ending::PowerCut,
                false => Ending::Killed,
            };
            self.end(ending).await;
        }
        while self.process.borrow().is_none() {
            sleep(millis(dice.from(0, 3000))).await;
            let disk = self.disk();
            if dice.one_in(4) {
                disk.plan(dice.from(1, 300), Fault::PowerCut, Counted::All);
            }
            let rules = self.rules.borrow().clone();
            let start = Start {
                disk: disk.clone(),
                ..self.start.borrow().clone()
            };
            match Process::start(world, &start, &rules).await {
                Ok(process) => *self.process.borrow_mut() = Some(process),
                Err(_) if disk.is_dead() => {
                    say!(world, "the power goes while it starts");
                    world.met("a power cut while starting");
                    self.start.borrow_mut().disk = disk.after_power_cut(dice.number());
                }
                Err(error) => {
                    fault!(world, "the store does not open: {error:?}");
                    return;
                }
            }
        }
    }

    async fn end(&self, ending: Ending) {
        let world = &self.world;
        let process = self.process.borrow_mut().take();
        let Some(process) = process else { return };
        say!(world, "the end: {ending:?}");
        world.met(match ending {
            Ending::Told => "a stop",
            Ending::Killed => "a kill",
            Ending::PowerCut => "a power cut",
        });
        match ending {
            Ending::Told => process.stop().await,
            Ending::Killed | Ending::PowerCut => process.kill().await,
        }
        let mut start = self.start.borrow_mut();
        start.disk = match ending {
            Ending::PowerCut => start.disk.after_power_cut(world.dice.number()),
            // A disk without power does not write the last words of a process either.
            _ if start.disk.is_dead() => start.disk.after_power_cut(world.dice.number()),
            Ending::Told | Ending::Killed => start.disk.after_kill(),
        };
        if start.index && world.dice.one_in(3) {
            say!(world, "the index is thrown away");
            world.met("an index that is gone");
            let _ = std::fs::remove_dir_all(start.directory.join("index"));
        }
    }

    /// From now on nothing goes wrong, and operators do what they are there for.
    async fn heal(&self) {
        let world = &self.world;
        say!(world, "all is well again");
        world.clock.step_to(0);
        {
            let mut places = world.places();
            places.glitches = false;
            for place in places.all.values_mut() {
                place.spell = None;
            }
        }
        *self.rules.borrow_mut() = self
            .sources
            .iter()
            .map(|s| Arc::new(s.rule.clone()))
            .collect();
        self.disk().forget_plan();
        self.disk().set_capacity(None);
        // A start may still meet what was planned for it.
        while world.faults().is_empty() {
            self.keep_running().await;
            self.disk().forget_plan();
            let fine = self
                .process
                .borrow()
                .as_ref()
                .is_some_and(|p| !p.must_end());
            if fine {
                break;
            }
        }
        if let Some(process) = &*self.process.borrow() {
            process.reload(&self.rules.borrow());
        }
        for source in &self.sources {
            let names = source
                .rule
                .relay
                .destinations()
                .map(|to| Some(to.name.clone()));
            for destination in std::iter::once(None).chain(names) {
                let source = source.rule.name.clone();
                self.operator(|process| process.record(DeedKind::Resume, source, destination));
            }
        }
    }

    async fn drain(&self) {
        let world = &self.world;
        let end = world.elapsed() + END;
        for round in 0.. {
            sleep(secs(2)).await;
            self.callers
                .borrow_mut()
                .retain(|caller| !caller.is_finished());
            if self.is_done() || world.elapsed() > end || !world.faults().is_empty() {
                break;
            }
            if round % 5 == 4 {
                self.see_to_dead_letters().await;
            }
        }
        if !self.is_done() && world.faults().is_empty() {
            let owed = self.process.borrow().as_ref().map(|p| p.store.stats().owed);
            let callers = self.callers.borrow().len();
            fault!(
                world,
                "{owed:?} are still owed, {callers} providers still call"
            );
        }
    }

    fn is_done(&self) -> bool {
        let process = self.process.borrow();
        let owed = process.as_ref().map(|process| process.store.stats().owed);
        let idle = self.callers.borrow().is_empty() && self.world.places().under_way() == 0;
        idle && owed == Some(0)
    }

    /// What holds others is redriven or discarded.
    async fn see_to_dead_letters(&self) {
        let rows = match &*self.process.borrow() {
            Some(process) => process.rows(),
            None => return,
        }
        .await;
        for row in rows.into_iter().filter(|row| row.state == State::Dead) {
            let mut all = self.sources.iter().map(|source| &source.rule);
            let rule = all.find(|rule| rule.name == row.source);
            let to = rule.and_then(|rule| rule.relay.destination(&row.destination));
            if to.is_some_and(|to| to.on_dead == OnDead::Hold) {
                let word = match self.world.dice.one_in(2) {
                    true => Operation::Redrive,
                    false => Operation::Discard {
                        reason: "it held others".to_owned(),
                    },
                };
                self.operator(|process| process.operate(row.id, word));
            }
        }
    }

    /// Once more from the disk; and then everything must be as it was promised.
    async fn last_look(&self) {
        let world = &self.world;
        if !world.faults().is_empty() {
            return;
        }
        let ending = world
            .dice
            .one_of(&[Ending::Told, Ending::Killed, Ending::PowerCut]);
        self.end(ending).await;
        let rules = self.rules.borrow().clone();
        let start = self.start.borrow().clone();
        let process = match Process::start(world, &start, &rules).await {
            Ok(process) => process,
            Err(error) => return fault!(world, "the store does not open: {error:?}"),
        };
        let rows = process.rows().await;
        if rows.iter().any(|row| row.state == State::Filtered) {
            world.met("filtered");
        }
        for row in rows.iter().filter(|row| row.id.event() == row.id) {
            let event = process.store.read(row.id).await.ok().flatten();
            let event = event.map(|event| world.model().genuine(&event.source, &event.body));
            let was = world
                .model()
                .events
                .get(&row.id)
                .map(|event| event.callback);
            if was.is_none() || event != Some(was) {
                fault!(world, "{} is no longer what was accepted", row.id);
            }
        }
        let audit = process.store.audit(None, 10_000).await;
        let deeds = world.model().deeds;
        if !audit.is_ok_and(|audit| audit.entries.len() >= deeds) {
            fault!(world, "the audit has lost some of {deeds} entries");
        }
        world.know(|model| {
            let places = world.places();
            model.check_acknowledged();
            model.check_deliveries(
                &rows,
                |lane, id| places.heard(lane, id, |status| status < 300),
                |lane, id| places.heard(lane, id, |status| status == 410),
            );
        });
        if process.store.stats().owed != 0 {
            fault!(world, "something is owed after a start");
        }
        for lane in world.places().all.keys() {
            if process.relay.under_way(lane).is_some_and(|n| n > 0) {
                fault!(world, "{lane} has permits out");
            }
        }
        process.kill().await;
    }
}

impl Process {
    /// As the admin port does it.
    fn record(
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

    fn operate(&self, id: EventId, word: Operation) -> impl Future<Output = ()> + use<> {
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
