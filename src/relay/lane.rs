//! What all cores share about one source and one of its destinations: how much it gets at present
//! (`throttle`). And how a worker is told to look at a source.
//!
//! No wake-up is lost: whoever finds no permit leaves a mark, and whoever gives a permit back
//! while the mark stands wakes its own worker for that source. Where it is time that is waited
//! for, whoever goes without is told until when.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::message::{EventId, LaneName, SourceName};
use crate::random::Random;
use crate::relay::answers::Answers;
use crate::relay::breaker::Change;
use crate::relay::health::Health;
use crate::relay::throttle::{Grant, Report, Throttle, Which};
use crate::rule::Destination;
use crate::telemetry::series::LaneSeries;
use crate::telemetry::{DestinationLabel, Metrics, field};

fn series(name: &LaneName, metrics: &Metrics) -> LaneSeries {
    let label = DestinationLabel::new(&name.source, &name.destination);
    LaneSeries::new(metrics, label)
}

/// One source and one destination, over all cores and over reloads.
#[derive(Debug)]
pub struct Lane {
    name: LaneName,
    gate: Mutex<Gate>,
    last: Mutex<Last>,
    /// No rule names it at present.
    hidden: AtomicBool,
    series: ArcSwap<LaneSeries>,
}

#[derive(Debug, Default)]
struct Gate {
    throttle: Throttle,
    /// Someone wanted more permits than there were.
    wanted: bool,
}

/// How the last attempts went, since this process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Last {
    pub delivered_at: Option<Timestamp>,
    pub failed_at: Option<Timestamp>,
    /// Stable code of the last failure; empty before the first.
    pub error: &'static str,
}

/// What an operator sees of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Attempts under way, of at most so many.
    pub under_way: usize,
    pub limit: usize,
    /// 0 closed, 1 one delivery is tried, 2 open.
    pub breaker: i64,
    pub last: Last,
}

/// Permits, or how long to wait for one.
#[derive(Debug, Default)]
pub struct Taken {
    pub permits: Vec<Permit>,
    pub which: Which,
    /// Of these, places for deliveries that failed before while others wait.
    pub again_at_most: usize,
    /// The destination is left alone at present.
    pub left_alone: bool,
    /// None where a permit has to come back first.
    pub again: Option<Instant>,
}

impl Lane {
    pub fn new(name: LaneName, metrics: &Metrics) -> Self {
        let series = ArcSwap::from_pointee(series(&name, metrics));
        Lane {
            name,
            gate: Mutex::default(),
            last: Mutex::default(),
            hidden: AtomicBool::new(false),
            series,
        }
    }

    /// What the rule says from now on. A lower limit than what is under way takes effect as
    /// attempts end.
    pub fn set(&self, to: &Destination, wall: Timestamp, metrics: &Metrics) {
        if self.hidden.swap(false, Ordering::Relaxed) {
            self.series.store(Arc::new(series(&self.name, metrics)));
        }
        let mut gate = self.gate();
        gate.throttle.set(to, wall);
        self.show(&gate.throttle);
    }

    /// An attempt ended; `error` is empty when it was taken.
    pub fn ended(&self, error: &'static str, now: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if error.is_empty() {
            last.delivered_at = Some(now);
        } else {
            last.failed_at = Some(now);
            last.error = error;
        }
    }

    pub fn view(&self) -> View {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = self.gate();
        View {
            under_way: gate.throttle.used(),
            limit: gate.throttle.limit(),
            breaker: gate.throttle.breaker().gauge(),
            last,
        }
    }

    /// Permits that are out.
    pub fn used(&self) -> usize {
        self.gate().throttle.used()
    }

    /// It must be kept though the rules have no such destination any more: one that comes back would
    /// get more than its limit, or than its rate.
    pub fn in_use(&self) -> bool {
        self.gate().throttle.in_use(Instant::now())
    }

    /// Up to `most` permits, which wake `signals` when they come back and someone wants them.
    pub fn take(self: &Arc<Self>, most: usize, signals: &Arc<Signals>) -> Taken {
        let mut gate = self.gate();
        // Inside the lock: so the moments are in order over all cores.
        let now = Instant::now();
        let granted = gate.throttle.take(most, now);
        if granted.count == 0 {
            gate.wanted = true;
        }
        self.show(&gate.throttle);
        drop(gate);
        let permit = || Permit {
            lane: self.clone(),
            signals: signals.clone(),
            grant: granted.grant,
            begun: None,
            told: false,
            again: false,
        };
        Taken {
            permits: (0..granted.count).map(|_| permit()).collect(),
            which: granted.which,
            again_at_most: granted.again_at_most,
            left_alone: granted.left_alone,
            again: granted.again,
        }
    }

    /// How much of the time from `since` to `now` deliveries were held back.
    pub fn held(&self, since: Timestamp, now: Timestamp) -> Duration {
        self.gate().throttle.breaker().held(since, now)
    }

    /// Takes its series out of the metrics: the rules have no such destination any more. What is
    /// still under way there is counted for nobody.
    pub fn hide(&self, metrics: &Metrics) {
        if !self.hidden.swap(true, Ordering::Relaxed) {
            self.series.load().end(metrics);
        }
    }

    /// What is counted of its attempts.
    pub fn series(&self) -> Arc<LaneSeries> {
        self.series.load_full()
    }

    /// For the metrics, while nobody else changes it.
    fn show(&self, throttle: &Throttle) {
        let series = self.series.load();
        let limit = i64::try_from(throttle.limit()).unwrap_or(i64::MAX);
        series.limit.set(limit);
        series.breaker.set(throttle.breaker().gauge());
    }

    fn say(&self, change: Change) {
        let (source, destination) = (&self.name.source, &self.name.destination);
        match change {
            Change::Opened { pause } => tracing::warn!(
                { field::SOURCE } = %source,
                { field::DESTINATION } = %destination,
                "the destination fails: its deliveries wait, and in {pause:.1?} one is tried"
            ),
            Change::StillOpen { pause } => tracing::info!(
                { field::SOURCE } = %source,
                { field::DESTINATION } = %destination,
                "the destination still fails; in {pause:.1?} one delivery is tried"
            ),
            Change::Closed { after } => tracing::info!(
                { field::SOURCE } = %source,
                { field::DESTINATION } = %destination,
                "the destination is back after {after:.1?}"
            ),
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to have one attempt under way. Comes back however its holder ends: done, dropped or
/// panicked.
#[derive(Debug)]
pub struct Permit {
    lane: Arc<Lane>,
    signals: Arc<Signals>,
    grant: Grant,
    /// When the request went out.
    begun: Option<Instant>,
    told: bool,
    /// For a delivery that failed before.
    again: bool,
}

impl Permit {
    /// The delivery that it is used for failed before.
    pub fn again(&mut self) {
        if !self.again {
            self.again = true;
            self.lane.gate().throttle.again();
        }
    }

    /// The request goes out now: this is the moment that the rate counts.
    pub fn begin(&mut self) {
        let mut gate = self.lane.gate();
        let now = Instant::now();
        if self.begun.replace(now).is_none() {
            gate.throttle.begin(now);
        }
    }

    /// What the attempt says of its destination.
    pub fn report(
        &mut self,
        delivery: EventId,
        health: Health,
        wall: Timestamp,
        random: &dyn Random,
    ) {
        let mut gate = self.lane.gate();
        let now = Instant::now();
        let begun = self.begun.unwrap_or(now);
        let report = Report {
            delivery,
            health,
            begun,
        };
        let change = gate
            .throttle
            .report(self.grant, report, (now, wall), random);
        self.told = true;
        self.lane.show(&gate.throttle);
        drop(gate);
        if let Some(change) = change {
            self.lane.say(change);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut gate = self.lane.gate();
        let ended = (self.begun.is_some(), self.told);
        gate.throttle.end(self.grant, ended, self.again);
        let wake = gate.throttle.has_room() && std::mem::take(&mut gate.wanted);
        drop(gate);
        if wake {
            self.signals.wake(&self.lane.name.source);
        }
    }
}

/// Which sources a worker shall look at.
#[derive(Debug, Default)]
pub struct Signals {
    woken: Mutex<BTreeSet<SourceName>>,
    /// Deliveries whose provider waits for the application.
    urgent: Mutex<Vec<(LaneName, EventId)>>,
    notify: Notify,
}

impl Signals {
    pub fn wake(&self, source: &SourceName) {
        let mut woken = self.woken();
        if !woken.contains(source) {
            woken.insert(source.clone());
            drop(woken);
            self.notify.notify_one();
        }
    }

    pub fn urge(&self, lane: LaneName, id: EventId) {
        self.urgent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((lane, id));
        self.notify.notify_one();
    }

    pub fn urgent(&self) -> Vec<(LaneName, EventId)> {
        let mut urgent = self.urgent.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *urgent)
    }

    /// Not for a source, but for what the worker sees by itself: the routes are others now.
    pub fn nudge(&self) {
        self.notify.notify_one();
    }

    /// Returns once something was told since this last returned.
    pub async fn notified(&self) {
        self.notify.notified().await;
    }

    pub fn take(&self) -> BTreeSet<SourceName> {
        std::mem::take(&mut *self.woken())
    }

    fn woken(&self) -> MutexGuard<'_, BTreeSet<SourceName>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells one worker that an event of a source was accepted. Cheap: for the hot path.
#[derive(Clone, Debug)]
pub struct Waker {
    pub(super) signals: Arc<Signals>,
    pub(super) answers: Arc<Answers>,
}

impl Waker {
    pub fn wake(&self, source: &SourceName) {
        self.signals.wake(source);
    }

    /// The provider waits: this delivery before all others, on this core, if it may be tried now.
    pub fn urge(&self, lane: LaneName, id: EventId) {
        self.signals.urge(lane, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::DestinationName;

    fn limited(limit: usize) -> Destination {
        let address = crate::relay::tests::stage::destination(1);
        Destination {
            concurrency: limit,
            adaptive: false,
            ..Destination::new(DestinationName::main(), address)
        }
    }

    fn lane(limit: usize) -> (Arc<Lane>, Arc<Signals>) {
        let name = LaneName::main(&SourceName::new("shop"));
        let lane = Lane::new(name, &Metrics::new());
        lane.set(&limited(limit), Timestamp::default(), &Metrics::new());
        (Arc::new(lane), Arc::new(Signals::default()))
    }

    #[test]
    fn there_are_never_more_permits_than_the_limit() {
        let (lane, signals) = lane(3);
        let first = lane.take(2, &signals).permits;
        let rest = lane.take(9, &signals).permits;
        assert_eq!((first.len(), rest.len()), (2, 1));
        drop(rest);
        lane.set(&limited(1), Timestamp::default(), &Metrics::new());
        assert_eq!(lane.take(9, &signals).permits.len(), 0);
        lane.set(&limited(5), Timestamp::default(), &Metrics::new());
        let more = lane.take(9, &signals).permits;
        assert_eq!((more.len(), lane.used()), (3, 5));
        drop((first, more));
        assert!(!lane.in_use());
    }

    #[test]
    fn a_permit_that_comes_back_wakes_only_when_one_is_wanted() {
        let (lane, mine) = lane(1);
        let other = Arc::new(Signals::default());
        drop(lane.take(1, &mine));
        assert!(mine.take().is_empty());
        let held = lane.take(1, &mine);
        assert!(lane.take(1, &other).permits.is_empty());
        drop(held);
        // Whoever gives it back looks again, and so the one that went without is served.
        assert_eq!(mine.take().len(), 1);
        assert!(other.take().is_empty());
    }

    #[test]
    fn a_panic_gives_the_permit_back() {
        let (lane, signals) = lane(1);
        let permits = lane.take(1, &signals);
        let result = std::thread::spawn(move || {
            let _permits = permits;
            panic!("an attempt that panics");
        })
        .join();
        assert!(result.is_err() && !lane.in_use());
    }
}
