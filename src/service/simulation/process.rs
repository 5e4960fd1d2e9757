//! One life of the gateway: pipelines, store and relay as `service` puts them together, without ports
//! and threads. It is stopped, killed, or loses its power.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use crate::clock::{Clock, Timestamp};
use crate::guard::Guards;
use crate::inbox::accept::Inbox;
use crate::inbox::store::embedded::{Embedded, EmbeddedConfig, OpenError};
use crate::inbox::store::faulty::FaultyDisk;
use crate::inbox::store::{Filter, Row, Store};
use crate::listener::address::AddressSet;
use crate::listener::caps::ByteBudget;
use crate::listener::{Body, Handler, Head, Incoming};
use crate::message::{Answer, EventId, LaneName};
use crate::pipeline::{self, Loaded, Pipeline};
use crate::random::SeededRandom;
use crate::refusals::Refusals;
use crate::relay::{Relay, Route};
use crate::rule::{Rule, RuleSet};
use crate::service::simulation::places::Way;
use crate::service::simulation::sources::verifier;
use crate::service::simulation::watched::Watched;
use crate::service::simulation::world::{World, fault, millis, say, secs};
use crate::telemetry::Metrics;

pub const CORES: usize = 2;

/// What a process is started with.
#[derive(Clone)]
pub struct Start {
    pub disk: FaultyDisk,
    pub directory: PathBuf,
    pub index: bool,
}

pub struct Process {
    world: Arc<World>,
    disk: FaultyDisk,
    pub store: Arc<dyn Store>,
    embedded: Arc<Embedded>,
    pub relay: Arc<Relay>,
    shared: Arc<pipeline::Shared>,
    pipelines: Vec<Rc<Pipeline>>,
    bodies: Arc<ByteBudget>,
    /// A sync failed: the process must end.
    fatal: Arc<AtomicBool>,
    workers: Vec<(watch::Sender<bool>, JoinHandle<()>)>,
    writer: JoinHandle<()>,
    callers: RefCell<Vec<JoinHandle<()>>>,
}

/// What `prepare` makes of files, of rules.
fn loaded(rules: &[Arc<Rule>], metrics: &Metrics, before: Option<&Loaded>) -> (Loaded, Vec<Route>) {
    let verifiers: HashMap<_, _> = rules
        .iter()
        .map(|rule| (rule.name.clone(), verifier(rule)))
        .collect();
    let routes = rules.iter().flat_map(|rule| {
        rule.relay.destinations().map(|to| Route {
            rule: rule.clone(),
            to: Arc::new(to.clone()),
            sign_with: None,
            tls: None,
        })
    });
    let rules = RuleSet {
        rules: rules.to_vec(),
        digest: [0; 32],
        files: Vec::new(),
    };
    let trusted = AddressSet::new(&[]);
    let guards = Guards::new(&rules, trusted, metrics.clone(), before.map(|b| &b.guards));
    let routes = routes.collect();
    let loaded = Loaded {
        rules,
        guards,
        verifiers,
    };
    (loaded, routes)
}

impl Process {
    pub async fn start(
        world: &Arc<World>,
        start: &Start,
        rules: &[Arc<Rule>],
    ) -> Result<Process, OpenError> {
        let fatal = Arc::new(AtomicBool::new(false));
        let said = fatal.clone();
        let metrics = Metrics::new();
        let config = EmbeddedConfig {
            directory: start.directory.clone(),
            segment_bytes: 64 << 10,
            ballast_bytes: 64 << 10,
            low_water_bytes: 96 << 10,
            index_cache_bytes: 1 << 20,
            index: start.index,
            ..EmbeddedConfig::default()
        };
        let random = || Arc::new(SeededRandom::new(world.dice.number()));
        let embedded = Arc::new(Embedded::open_by_hand(
            Arc::new(start.disk.clone()),
            config,
            world.clock.clone(),
            random(),
            metrics.clone(),
            Arc::new(move || said.store(true, Ordering::SeqCst)),
        )?);
        let number = world.next_process();
        let report = embedded.report();
        if !report.unreadable.is_empty() {
            fault!(
                world,
                "segments that cannot be read: {:?}",
                report.unreadable
            );
        }
        let watched = Arc::new(Watched {
            world: world.clone(),
            store: embedded.clone(),
        });
        let store: Arc<dyn Store> = watched;
        let relay = Relay::new(
            store.clone(),
            world.clock.clone(),
            random(),
            metrics.clone(),
        );
        let (loaded, routes) = loaded(rules, &metrics, None);
        relay.set_routes(routes);
        let shared = Arc::new(pipeline::Shared {
            loaded: ArcSwap::from_pointee(loaded),
            inbox: Inbox::new(store.clone()),
            clock: world.clock.clone(),
            random: random(),
            metrics,
            refusals: Refusals::new(1000),
            told: Default::default(),
            reloaded: ArcSwap::from_pointee(pipeline::Reloaded {
                at: world.clock.now(),
                error: None,
                warnings: Vec::new(),
                waiting: Vec::new(),
            }),
        });
        let writer = spawn_local(write(world.clone(), embedded.clone()));
        let mut process = Process {
            world: world.clone(),
            disk: start.disk.clone(),
            store,
            embedded,
            relay,
            shared,
            pipelines: Vec::new(),
            bodies: ByteBudget::new(1 << 20),
            fatal,
            workers: Vec::new(),
            writer,
            callers: RefCell::default(),
        };
        process.look_over().await;
        process.begin(number);
        Ok(process)
    }

    /// As each core's thread does it.
    fn begin(&mut self, number: usize) {
        for _ in 0..CORES {
            let way = Way {
                world: self.world.clone(),
                process: number,
            };
            let worker = self.relay.worker_over(Arc::new(way));
            let pipeline = Pipeline::new(self.shared.clone(), worker.waker());
            self.pipelines.push(pipeline);
            let (stop, stopped) = watch::channel(false);
            let running = spawn_local(worker.run(stopped, secs(5)));
            self.workers.push((stop, running));
        }
        // As the admin port's thread does it: at once, and then every minute.
        let (store, clock) = (self.store.clone(), self.world.clock.clone());
        self.spawn(async move {
            loop {
                let _ = store.expire(clock.now()).await;
                sleep(secs(60)).await;
            }
        });
        say!(self.world, "process {number} runs");
    }

    /// Holds what a start has found against what must be there.
    async fn look_over(&self) {
        let rows = self.rows().await;
        if self.must_end() {
            // What it can still read says nothing.
            return;
        }
        let unknown: Vec<EventId> = {
            let model = self.world.model();
            let firsts = rows.iter().map(|row| row.id).filter(|id| id.event() == *id);
            firsts.filter(|id| !model.events.contains_key(id)).collect()
        };
        for id in unknown {
            let event = self.store.read(id).await.ok().flatten();
            let Some(event) = event else {
                match self.must_end() {
                    true => return,
                    false => fault!(self.world, "{id} is listed and cannot be read"),
                }
                continue;
            };
            let own: Vec<&Row> = rows.iter().filter(|row| row.id.event() == id).collect();
            self.world.know(|model| {
                match model.genuine(&event.source, &event.body) {
                    Some(n) => {
                        self.world.met("an event that only a start has found");
                        model.adopted(id, n, &own);
                    }
                    None => model.broken.push(format!("{id}: bytes that nobody signed")),
                };
            });
        }
        let paused = |lane: &LaneName| self.store.paused(lane);
        self.world.know(|model| model.found(&rows, paused));
    }

    /// Every delivery there is, oldest first.
    pub fn rows(&self) -> impl Future<Output = Vec<Row>> + use<> {
        let (store, world) = (self.store.clone(), self.world.clone());
        let may_fail = (self.fatal.clone(), self.disk.clone());
        async move {
            let failed = || may_fail.0.load(Ordering::SeqCst) || may_fail.1.is_dead();
            list(&*store, &world, failed).await
        }
    }

    /// A sync failed, or the power is gone.
    pub fn must_end(&self) -> bool {
        self.fatal.load(Ordering::SeqCst) || self.disk.is_dead()
    }

    pub fn reload(&self, rules: &[Arc<Rule>]) {
        let before = self.shared.loaded.load_full();
        let (loaded, routes) = loaded(rules, &self.shared.metrics, Some(&before));
        self.shared.loaded.store(Arc::new(loaded));
        self.relay.set_routes(routes);
    }

    /// A request on some core's connection. Dropping what comes back is hanging up.
    pub fn call(&self, (head, body): (Head, bytes::Bytes)) -> Call {
        let world = self.world.clone();
        let pipeline = self.pipelines[world.dice.below(CORES)].clone();
        let share = self.bodies.share();
        let (answer, answered) = oneshot::channel();
        let (there, back) = (world.dice.from(0, 30), world.dice.from(0, 30));
        let caller = spawn_local(async move {
            sleep(millis(there)).await;
            let body = Body::whole(body, share);
            let said = pipeline.handle(Incoming { head, body }).await;
            sleep(millis(back)).await;
            let _ = answer.send(said);
        });
        let handle = caller.abort_handle();
        let mut callers = self.callers.borrow_mut();
        callers.retain(|caller| !caller.is_finished());
        callers.push(caller);
        Call { answered, handle }
    }

    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// Something else that the process does, for as long as it lives.
    pub fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.callers.borrow_mut().push(spawn_local(work));
    }

    /// The process ends without a word.
    pub async fn kill(mut self) {
        let mut tasks: Vec<_> = std::mem::take(&mut *self.callers.borrow_mut());
        tasks.extend(self.workers.drain(..).map(|(_, worker)| worker));
        self.writer.abort();
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        self.gone().await;
    }

    /// As the process stops when it is told to: callbacks, deliveries, the store.
    pub async fn stop(mut self) {
        let callers = std::mem::take(&mut *self.callers.borrow_mut());
        let mut left = 20;
        // One of them never ends.
        while left > 0 && callers.iter().filter(|c| !c.is_finished()).count() > 1 {
            sleep(millis(100)).await;
            left -= 1;
        }
        for caller in callers {
            caller.abort();
            let _ = caller.await;
        }
        for (stop, worker) in self.workers.drain(..) {
            let _ = stop.send(true);
            let _ = worker.await;
        }
        if let Err(error) = self.store.close().await
            && !self.must_end()
        {
            fault!(self.world, "the store did not close: {error}");
        }
        self.writer.abort();
        self.gone().await;
    }

    /// Nothing of it is left.
    async fn gone(self) {
        let store = Arc::downgrade(&self.embedded);
        let world = self.world.clone();
        let _ = self.writer.await;
        drop((
            self.pipelines,
            self.shared,
            self.relay,
            self.store,
            self.embedded,
        ));
        for _ in 0..100 {
            if store.strong_count() == 0 {
                return;
            }
            yield_now().await;
        }
        fault!(
            world,
            "something holds the store of a process that has ended"
        );
    }
}

/// A request under way.
pub struct Call {
    answered: oneshot::Receiver<Answer>,
    handle: tokio::task::AbortHandle,
}

impl Call {
    /// None when the connection ended, or the provider waited no longer.
    pub async fn answer(mut self, patience: Duration) -> Option<Answer> {
        timeout(patience, &mut self.answered).await.ok()?.ok()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// The disk, which takes a while for everything.
async fn write(world: Arc<World>, store: Arc<Embedded>) {
    loop {
        world.bell.notified().await;
        let pause = match world.dice.one_in(40) {
            true => world.dice.from(300, 3000),
            false => world.dice.from(1, 12),
        };
        sleep(millis(pause)).await;
        store.turn();
    }
}

async fn list(store: &dyn Store, world: &World, failed: impl Fn() -> bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let (filter, mut after) = (Filter::default(), None);
    loop {
        match store.list(&filter, after, 500).await {
            Ok(page) => {
                rows.extend(page.rows);
                after = page.next;
            }
            Err(error) => {
                if !failed() {
                    fault!(world, "the deliveries cannot be listed: {error}");
                }
                break;
            }
        }
        if after.is_none() {
            break;
        }
    }
    rows.reverse();
    rows
}
