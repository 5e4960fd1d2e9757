//! One core's share of the relay: looks at sources when they are woken or fall due, and has the
//! attempts under way as tasks of its own runtime.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clock::Timestamp;
use crate::inbox::store::{Lease, Picked, StoreError};
use crate::message::{DestinationName, EventId, LaneName, SourceName};
use crate::relay::client::Transport;
use crate::relay::delivery::{Delivery, Ended, LEASE_MARGIN, backoff};
use crate::relay::lane::{Permit, Signals, Taken, Waker};
use crate::relay::throttle::Which;
use crate::relay::{Active, Relay, Table};
use crate::rule::AnswerMode;
use crate::telemetry::field;

/// No source goes without a look for longer: so a wall clock that steps, a lease that ran out on
/// another core, or a wake-up that never came cost at most this.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Deliveries that one question to the store asks for.
const BATCH: usize = 32;

/// Smallest pause after the store said that something is due and then gave nothing.
const EARLY: Duration = Duration::from_millis(10);

/// Runs on one core. Made by [`Relay::worker`].
pub struct Worker {
    relay: Arc<Relay>,
    transport: Arc<dyn Transport>,
    signals: Arc<Signals>,
    /// The routes as this worker saw them last.
    table: Arc<Table>,
    views: HashMap<LaneName, View>,
    attempts: JoinSet<Ended>,
    tidied: Instant,
    /// When the clock was last looked after.
    minded: Option<Instant>,
}

/// What this worker remembers of a source.
struct View {
    look_at: Instant,
    /// Errors of the store in a row.
    failures: u32,
    /// Times in a row that the store named a moment in the past and then had nothing.
    early: u32,
}

impl Worker {
    pub(super) fn new(
        relay: Arc<Relay>,
        transport: Arc<dyn Transport>,
        signals: Arc<Signals>,
    ) -> Self {
        Worker {
            relay,
            transport,
            signals,
            // None yet, so that the first turn looks at every source: what is owed from before
            // this process began has no one to wake us for it.
            table: Arc::default(),
            views: HashMap::new(),
            attempts: JoinSet::new(),
            tidied: Instant::now(),
            minded: None,
        }
    }

    /// For the pipeline of the same core.
    pub fn waker(&self) -> Waker {
        Waker {
            signals: self.signals.clone(),
            answers: self.relay.answers.clone(),
        }
    }

    /// Delivers until `stop` becomes true (or its sender is gone), then begins nothing new and
    /// returns once the attempts under way are written down, at the latest after `drain`. What is
    /// cut off then stays owed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, drain: Duration) {
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = self.turn() => {}
            }
        }
        self.drain(Instant::now() + drain).await;
    }

    /// Looks at what is to be looked at, then waits for a reason to look again. May be dropped at
    /// any await: leases that are lost so run out.
    async fn turn(&mut self) {
        while let Some(ended) = self.attempts.try_join_next() {
            self.ended(ended);
        }
        let now = Instant::now();
        let minded = |at: Instant| now.saturating_duration_since(at) < LOOK_MAX;
        if !self.minded.is_some_and(minded) {
            self.minded = Some(now);
            self.relay.mind_the_clock().await;
        }
        let table = self.relay.table.load_full();
        let reloaded = !Arc::ptr_eq(&table, &self.table);
        if reloaded {
            self.views.retain(|name, _| table.contains_key(name));
            self.table = table.clone();
        }
        for (lane, id) in self.signals.urgent() {
            if !self.urgent(&table, &lane, id).await {
                self.relay.answers.tell(id, &None);
            }
        }
        let woken = self.signals.take();
        let now = Instant::now();
        if reloaded || self.next_look(now) <= now {
            for (name, active) in table.iter() {
                let due = self.views.get(name).is_none_or(|view| view.look_at <= now);
                if due || reloaded || woken.contains(&name.source) {
                    self.look(name, active).await;
                }
            }
        } else {
            for source in &woken {
                for (name, active) in of_source(&table, source) {
                    self.look(name, active).await;
                }
            }
        }
        self.wait().await;
    }

    /// Begins an attempt whose provider waits. False when there will be none soon.
    async fn urgent(&mut self, table: &Table, lane: &LaneName, id: EventId) -> bool {
        let Some(active) = table.get(lane).filter(|_| self.relay.store_writes()) else {
            return false;
        };
        let mut taken = active.lane.take(1, &self.signals);
        let Some(permit) = taken.permits.pop() else {
            // One of those under way ends, or the rate allows it, perhaps in time.
            let AnswerMode::Destination { within } = active.route.rule.answer else {
                return false;
            };
            let soon = |at| at <= Instant::now() + within;
            return !taken.left_alone && taken.again.is_none_or(soon);
        };
        let now = self.relay.clock.now();
        let until = now.plus(active.route.to.timeout).plus(LEASE_MARGIN);
        match self.relay.store.lease_one(id, now, until).await {
            Ok(Picked::Leased(lease)) => {
                self.begin(active, lease, permit);
                true
            }
            // Another core was faster, and will tell.
            Ok(Picked::UnderWay) => true,
            Ok(Picked::NotNow) => false,
            Err(error) => {
                self.store_failed(lane, &error);
                false
            }
        }
    }

    async fn wait(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.tidied) >= LOOK_MAX {
            self.tidied = now;
            self.transport.tidy();
        }
        let until = self.next_look(now);
        // In an order that does not depend on chance, so that a simulation can be run again.
        tokio::select! {
            biased;
            () = self.signals.notified() => {}
            Some(ended) = self.attempts.join_next() => self.ended(ended),
            () = sleep_until(until) => {}
        }
    }

    fn next_look(&self, now: Instant) -> Instant {
        let latest = now + LOOK_MAX;
        let looks = self.views.values().map(|view| view.look_at);
        looks.min().map_or(latest, |at| at.min(latest))
    }

    /// Begins as many attempts of a source as its permits allow, and notes when to look again.
    async fn look(&mut self, name: &LaneName, active: &Arc<Active>) {
        let pause = loop {
            if !self.relay.store_writes() {
                break LOOK_MAX;
            }
            let taken = active.lane.take(BATCH, &self.signals);
            let again = taken.again.map(|at| {
                let pause = at.saturating_duration_since(Instant::now());
                pause.min(LOOK_MAX)
            });
            let asked = taken.permits.len();
            if asked == 0 {
                break again.unwrap_or(LOOK_MAX);
            }
            let leases = match self.lease(name, active, &taken).await {
                Ok(leases) => leases,
                Err(error) => break self.store_failed(name, &error),
            };
            let (leased, only) = (leases.len(), taken.which == Which::FreshOnly);
            for (lease, permit) in leases.into_iter().zip(taken.permits) {
                self.begin(active, lease, permit);
            }
            if only && leased == 0 {
                // Who comes new wakes us.
                break again.unwrap_or(LOOK_MAX);
            }
            if leased < asked {
                break self.until_due(name, leased > 0).await;
            }
        };
        self.view(name).look_at = Instant::now() + pause;
    }

    async fn lease(
        &self,
        name: &LaneName,
        active: &Active,
        taken: &Taken,
    ) -> Result<Vec<Lease>, StoreError> {
        let store = &self.relay.store;
        let now = self.relay.clock.now();
        let until = now.plus(active.route.to.timeout).plus(LEASE_MARGIN);
        let asked = taken.permits.len();
        let (fresh, from) = match taken.which {
            Which::Any => (asked.saturating_sub(taken.again_at_most), 0.0),
            // Anywhere among them: those that the application stumbles over may lie together.
            Which::FreshFirst | Which::FreshOnly => (asked, self.relay.random.next_unit()),
        };
        let mut leases = match fresh {
            0 => Vec::new(),
            some => store.lease_fresh(name, now, until, some, from).await?,
        };
        let rest = asked.saturating_sub(leases.len());
        if rest > 0 && taken.which != Which::FreshOnly {
            match store.lease(name, now, until, rest).await {
                Ok(more) => leases.extend(more),
                // Those that we have must not wait until their leases run out.
                Err(error) if leases.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(leases)
    }

    fn begin(&mut self, active: &Arc<Active>, lease: Lease, mut permit: Permit) {
        if lease.attempt > 1 {
            permit.again();
        }
        let delivery = Delivery {
            relay: self.relay.clone(),
            transport: self.transport.clone(),
            active: active.clone(),
            lease,
            permit,
        };
        self.attempts.spawn(delivery.run());
    }

    /// All that was due is leased: how long until more is.
    async fn until_due(&mut self, name: &LaneName, leased: bool) -> Duration {
        let due = match self.relay.store.next_due(name).await {
            Ok(due) => due,
            Err(error) => return self.store_failed(name, &error),
        };
        let now = self.relay.clock.now();
        let view = self.view(name);
        view.failures = 0;
        match due {
            Some(at) if at <= now => {
                view.early = if leased {
                    0
                } else {
                    view.early.saturating_add(1)
                };
                EARLY.saturating_mul(1 << view.early.min(10)).min(LOOK_MAX)
            }
            Some(at) => {
                view.early = 0;
                at.since(now).min(LOOK_MAX)
            }
            None => LOOK_MAX,
        }
    }

    fn store_failed(&mut self, name: &LaneName, error: &StoreError) -> Duration {
        let view = self.view(name);
        let pause = backoff(view.failures);
        view.failures = view.failures.saturating_add(1);
        tracing::warn!(
            { field::SOURCE } = %name.source,
            { field::DESTINATION } = %name.destination,
            { field::REASON } = error.code(),
            "the store does not say what is due: {error}"
        );
        pause
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(Ended {
                lane,
                retry_at: Some(at),
            }) => self.look_at(&lane, at),
            Ok(Ended { retry_at: None, .. }) => {}
            // Its permit came back as it unwound, and its lease runs out.
            // What the panic says is not ours to log: it may quote what it choked on.
            Err(error) if error.is_panic() => tracing::error!("an attempt panicked"),
            Err(_) => {}
        }
    }

    /// A delivery falls due at `at`: look then, if not before.
    fn look_at(&mut self, lane: &LaneName, at: Timestamp) {
        let pause = at.since(self.relay.clock.now()).min(LOOK_MAX);
        let look_at = Instant::now() + pause;
        if let Some(view) = self.views.get_mut(lane) {
            view.look_at = view.look_at.min(look_at);
        }
    }

    fn view(&mut self, name: &LaneName) -> &mut View {
        let fresh = || View {
            look_at: Instant::now(),
            failures: 0,
            early: 0,
        };
        self.views.entry(name.clone()).or_insert_with(fresh)
    }

    async fn drain(mut self, end: Instant) {
        while let Ok(Some(ended)) = timeout_at(end, self.attempts.join_next()).await {
            self.ended(ended);
        }
        let cut = self.attempts.len();
        if cut > 0 {
            tracing::warn!("{cut} attempts were still under way at the end; they stay owed");
        }
    }
}

/// All lanes of a source, which lie together in the table.
fn of_source<'t>(
    table: &'t Table,
    source: &'t SourceName,
) -> impl Iterator<Item = (&'t LaneName, &'t Arc<Active>)> {
    let first = LaneName::new(source, &DestinationName::new(""));
    table
        .range(first..)
        .take_while(move |(name, _)| name.source == *source)
}
