//! Accepted -> delivered: takes what the inbox owes to its destination, until the destination has it.
//!
//! What all cores share about a source and one of its destinations is a [`lane::Lane`]; each core
//! runs a [`Worker`]
//! with connections of its own. A worker leases deliveries from the store, and for each reads the
//! event, makes one attempt and settles. Only ids are in memory between attempts: a backlog of a
//! million events costs the relay nothing.
//!
//! 1. An event was accepted: the pipeline of that core calls [`Waker::wake`]. Or a delivery falls
//!    due: the worker's timer.
//! 2. The worker takes as many permits of the lane as it can, and leases so many deliveries.
//! 3. Each delivery: read the event, build the request (`request`), send it (`client`), decide what
//!    follows (`retry`), settle.
//! 4. The permit comes back; if anyone went without, this worker looks again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::connect::Tls;
use crate::inbox::store::Store;
use crate::message::{LaneName, SourceName};
use crate::random::Random;
use crate::relay::answers::Answers;
use crate::relay::client::{HttpClient, Transport};
use crate::relay::lane::{Lane, Signals, View};
use crate::relay::target::Target;
use crate::rule::{Destination, Rule};
use crate::secret::Secret;
use crate::telemetry::Metrics;

pub mod error;
pub mod retry;
pub mod fields;
pub mod trace;
pub mod sign;
pub mod request;
pub mod target;
pub mod pool;
pub mod mux;
pub mod client;
pub mod http2;
pub mod health;
pub mod rate;
pub mod limit;
pub mod breaker;
pub mod throttle;
pub mod lane;
pub mod answers;
mod delivery;
pub mod worker;
#[cfg(test)]
mod tests;

pub use error::AttemptError;
pub use lane::Waker;
pub use worker::Worker;

/// One destination of a source, and what the relay needs for it.
#[derive(Clone, Debug)]
pub struct Route {
    pub rule: Arc<Rule>,
    /// One of the rule's.
    pub to: Arc<Destination>,
    /// Key of the signature on the hop to the application, loaded and decoded
    /// ([`sign::key_from_secret`]).
    pub sign_with: Option<Secret>,
    /// Trust and certificate of the destination's own, loaded ([`target::load_tls`]).
    pub tls: Option<Arc<Tls>>,
}

impl Route {
    pub fn lane(&self) -> LaneName {
        LaneName::new(&self.rule.name, &self.to.name)
    }
}

/// A route and what all cores share about its lane.
#[derive(Debug)]
struct Active {
    route: Route,
    target: Target,
    lane: Arc<Lane>,
}

type Table = BTreeMap<LaneName, Arc<Active>>;

/// What every worker shares.
pub struct Relay {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    metrics: Metrics,
    tls: Arc<Tls>,
    table: ArcSwap<Table>,
    /// Lanes outlive a reload; also those of sources that are gone, while attempts are under way or
    /// count for the rate, so that a source that comes back exceeds neither its limit nor its rate.
    lanes: Mutex<HashMap<LaneName, Arc<Lane>>>,
    workers: Mutex<Vec<Weak<Signals>>>,
    /// Attempts that were made and that the store cannot write down. While there are any, nothing
    /// is leased: it could not be written down either, and would go out again and again.
    unwritten: AtomicUsize,
    answers: Arc<Answers>,
    seen: Mutex<Option<Seen>>,
}

/// The wall clock beside one that never goes back.
#[derive(Clone, Copy)]
struct Seen {
    wall: Timestamp,
    at: Instant,
    /// When it was found to have gone back, or might have; none when that is long ago.
    went_back: Option<Instant>,
}

/// A wall clock that went back by less was adjusted; nothing waits noticeably longer for it.
const WENT_BACK: Duration = Duration::from_secs(2);
/// Longer than a callback is under way, from its head to the store.
const AFTER: Duration = Duration::from_secs(120);

/// Held by an attempt that cannot be written down.
struct Unwritten<'r>(&'r Relay);

impl<'r> Unwritten<'r> {
    fn new(relay: &'r Relay) -> Self {
        relay.unwritten.fetch_add(1, Ordering::SeqCst);
        Unwritten(relay)
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.0.unwritten.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Relay {
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
    ) -> Arc<Relay> {
        Relay::with_tls(store, clock, random, metrics, Tls::native())
    }

    /// As `new`, with other trust in destinations than the machine's own roots.
    pub fn with_tls(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
        tls: Tls,
    ) -> Arc<Relay> {
        Arc::new(Relay {
            store,
            clock,
            random,
            metrics,
            tls: Arc::new(tls),
            table: ArcSwap::default(),
            lanes: Mutex::default(),
            workers: Mutex::default(),
            unwritten: AtomicUsize::new(0),
            answers: Arc::default(),
            seen: Mutex::default(),
        })
    }

    /// Pauses are kept as moments of the wall clock. Where that was set back they would last longer
    /// by as much, so they are put right. Every worker asks now and then.
    async fn mind_the_clock(&self) {
        let (now, by) = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            // In this order: a process that is stopped in between sees a clock that goes ahead.
            let at = Instant::now();
            let now = self.clock.now();
            let by = seen.as_ref().map(|seen| {
                let expected = seen.wall.plus(at.saturating_duration_since(seen.at));
                expected.since(now)
            });
            // None at the start: nobody knows whether it did while there was no process.
            let by = by.filter(|by| *by >= WENT_BACK).unwrap_or_default();
            let before = seen.as_ref();
            let went_back = match before.is_none() || by > Duration::ZERO {
                true => Some(at),
                false => before.and_then(|seen| seen.went_back),
            };
            // What was on its way into the store then was received by the clock of before.
            let went_back = went_back.filter(|then| at.saturating_duration_since(*then) < AFTER);
            *seen = Some(Seen {
                wall: now,
                at,
                went_back,
            });
            if went_back.is_none() {
                return;
            }
            (now, by)
        };
        // What fails here fails for the deliveries as well, and is told there.
        let found = self.store.clock_went_back(now, by).await.unwrap_or(0);
        if found > 0 {
            tracing::warn!(
                seconds = by.as_secs(),
                deliveries = found,
                "the clock went back: deliveries that would have waited for it go out at their time"
            );
        }
    }

    /// Replaces all routes at once. Attempts under way end as they began; what is owed to a source
    /// that is gone stays in the store, and goes out when the source comes back. Reads the
    /// machine's roots from disk the first time a destination is https.
    pub fn set_routes(&self, routes: Vec<Route>) {
        if routes
            .iter()
            .any(|route| route.to.forward.https && route.tls.is_none())
        {
            self.tls.prepare();
        }
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|name, lane| {
            let named = routes.iter().any(|route| route.lane() == *name);
            if !named {
                lane.hide(&self.metrics);
            }
            named || lane.in_use()
        });
        let mut table = Table::new();
        for route in routes {
            let name = route.lane();
            let lane = lanes
                .entry(name.clone())
                .or_insert_with(|| Arc::new(Lane::new(name.clone(), &self.metrics)));
            lane.set(&route.to, self.clock.now(), &self.metrics);
            table.insert(
                name,
                Arc::new(Active {
                    target: Target::new(&route.to, route.tls.clone()),
                    route,
                    lane: lane.clone(),
                }),
            );
        }
        self.table.store(Arc::new(table));
        drop(lanes);
        self.each_worker(Signals::nudge);
    }

    /// A worker for the core that calls this. It does nothing before [`Worker::run`].
    pub fn worker(self: &Arc<Self>) -> Worker {
        self.worker_over(Arc::new(HttpClient::new(self.tls.clone())))
    }

    /// As `worker`, over another way to reach destinations.
    pub fn worker_over(self: &Arc<Self>, transport: Arc<dyn Transport>) -> Worker {
        let signals = Arc::new(Signals::default());
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|worker| worker.strong_count() > 0);
        workers.push(Arc::downgrade(&signals));
        Worker::new(self.clone(), transport, signals)
    }

    /// Something of this source fell due without passing a pipeline: an operator's redrive. Costs
    /// every core a look.
    pub fn wake(&self, source: &SourceName) {
        self.each_worker(|signals| signals.wake(source));
    }

    /// Attempts of this lane under way on all cores; none for one that is not there.
    pub fn under_way(&self, lane: &LaneName) -> Option<usize> {
        self.view(lane).map(|view| view.under_way)
    }

    /// How a lane is doing over all cores; none for one that is not there.
    pub fn view(&self, lane: &LaneName) -> Option<View> {
        self.table.load().get(lane).map(|active| active.lane.view())
    }

    /// The store writes what is settled, as far as is known.
    fn store_writes(&self) -> bool {
        self.unwritten.load(Ordering::SeqCst) == 0
    }

    fn each_worker(&self, tell: impl Fn(&Signals)) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|signals| tell(&signals));
    }
}
