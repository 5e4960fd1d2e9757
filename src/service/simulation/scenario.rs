//! A scenario: providers that call and call again, things that go wrong, and then an end at which all
//! is well.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::inbox::store::faulty::{Counted, Fault, FaultyDisk};
use crate::inbox::store::{DeedKind, Operation, State};
use crate::message::LaneName;
use crate::rule::{OnDead, Rule};
use crate::service::simulation::model::Policy;
use crate::service::simulation::process::{Process, Start};
use crate::service::simulation::sources::{self, Source};
use crate::service::simulation::world::{World, fault, millis, say, secs};

/// Longer than any pause, outage, lease and step of the clock together takes.
const END: std::time::Duration = secs(3 * 3600);

/// The machine that the gateway runs on, and who calls it.
pub(super) struct Site {
    pub(super) world: Arc<World>,
    pub(super) sources: Vec<Source>,
    /// As the rule files say now; at the end, all of them.
    pub(super) rules: RefCell<Vec<Arc<Rule>>>,
    pub(super) start: RefCell<Start>,
    pub(super) process: RefCell<Option<Process>>,
    pub(super) callers: RefCell<Vec<JoinHandle<()>>>,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
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
            business: source.rule.inbox.business.is_some(),
            ordered: source
                .rule
                .relay
                .destinations()
                .filter(|to| to.order_by.is_some())
                .map(|to| (to.name.clone(), to.on_dead == OnDead::Hold))
                .collect(),
            opened: false,
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

    pub(super) async fn end(&self, ending: Ending) {
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
        let rows = self.process.borrow().as_ref().map(Process::rows);
        let Some(rows) = rows else { return };
        let rows = rows.await;
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
        let audit = process.store.audit(None, None, 10_000).await;
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
