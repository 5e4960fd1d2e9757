//! What all cores share about one source and one of its destinations: how many attempts may be
//! under way at once, and how many may begin in a period. And how a worker is told to look at a
//! source.
//!
//! No wake-up is lost: whoever finds no permit leaves a mark, and whoever gives a permit back
//! while the mark stands wakes its own worker for that source.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::message::{EventId, LaneName, SourceName};
use crate::relay::answers::{Answers, Listening};
use crate::rule::Rate;

/// One source and one destination, over all cores and over reloads.
#[derive(Debug)]
pub struct Lane {
    name: LaneName,
    gate: Mutex<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    limit: usize,
    used: usize,
    /// Someone wanted more permits than there were.
    wanted: bool,
    rate: Option<Rate>,
    /// With a rate: when the attempts of the last period began, oldest first; at most as many as
    /// may begin in one.
    begun: VecDeque<Instant>,
}

impl Lane {
    pub fn new(name: LaneName) -> Self {
        Lane {
            name,
            gate: Mutex::default(),
        }
    }

    /// A lower limit than what is under way takes effect as attempts end.
    pub fn set_limit(&self, limit: usize, rate: Option<Rate>) {
        let mut gate = self.gate();
        // A limit of nothing would be a pause that no one can see.
        gate.limit = limit.max(1);
        gate.rate = rate;
        if rate.is_none() {
            gate.begun = VecDeque::new();
        }
    }

    /// How many of `most` attempts may begin now, which are counted as begun. When none: how long
    /// until one may. No period, wherever it starts, sees more than its rate.
    pub fn begin(&self, most: usize) -> Result<usize, Duration> {
        let mut gate = self.gate();
        let Some(rate) = gate.rate else {
            return Ok(most);
        };
        let now = Instant::now();
        while let Some(first) = gate.begun.front().copied() {
            if now.saturating_duration_since(first) < rate.period {
                break;
            }
            gate.begun.pop_front();
        }
        let free = (rate.count.get() as usize).saturating_sub(gate.begun.len());
        match gate.begun.front() {
            Some(first) if free == 0 => Err(rate.period - now.saturating_duration_since(*first)),
            _ => {
                let count = most.min(free);
                gate.begun.extend(std::iter::repeat_n(now, count));
                Ok(count)
            }
        }
    }

    /// So many of those that were counted as begun did not begin.
    pub fn not_begun(&self, count: usize) {
        let mut gate = self.gate();
        let left = gate.begun.len().saturating_sub(count);
        gate.begun.truncate(left);
    }

    /// Permits that are out.
    pub fn used(&self) -> usize {
        self.gate().used
    }

    pub fn in_use(&self) -> bool {
        self.used() > 0
    }

    /// Up to `most` permits, which wake `signals` when they come back and someone wants them.
    pub fn take(self: &Arc<Self>, most: usize, signals: &Arc<Signals>) -> Vec<Permit> {
        let mut gate = self.gate();
        let count = most.min(gate.limit.saturating_sub(gate.used));
        gate.used += count;
        if count == 0 {
            gate.wanted = true;
        }
        drop(gate);
        (0..count)
            .map(|_| Permit {
                lane: self.clone(),
                signals: signals.clone(),
            })
            .collect()
    }

    /// All permits are out and there may be more to do: the next one to come back wakes.
    /// False when there are permits again by now.
    pub fn want(&self) -> bool {
        let mut gate = self.gate();
        gate.wanted = gate.used >= gate.limit;
        gate.wanted
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
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut gate = self.lane.gate();
        gate.used = gate.used.saturating_sub(1);
        let wake = gate.used < gate.limit && std::mem::take(&mut gate.wanted);
        drop(gate);
        if wake {
            self.signals.wake(&self.lane.name.source);
        }
    }
}

/// Which sources a worker shall look at.
#[derive(Debug, Default)]
pub struct Signals {
    woken: Mutex<HashSet<SourceName>>,
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

    pub fn take(&self) -> HashSet<SourceName> {
        std::mem::take(&mut *self.woken())
    }

    fn woken(&self) -> MutexGuard<'_, HashSet<SourceName>> {
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

    /// What the application says of an event, from now on.
    pub fn listen(&self, id: EventId) -> Listening {
        self.answers.listen(id)
    }

    /// True when somebody else waits for the same.
    pub fn awaited(&self, listening: &Listening) -> bool {
        self.answers.awaited(listening)
    }

    /// The provider waits: this delivery before all others, on this core, if it may be tried now.
    pub fn urge(&self, lane: LaneName, id: EventId) {
        self.signals.urge(lane, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(limit: usize) -> (Arc<Lane>, Arc<Signals>) {
        let lane = Arc::new(Lane::new(LaneName::main(&SourceName::new("shop"))));
        lane.set_limit(limit, None);
        (lane, Arc::new(Signals::default()))
    }

    #[test]
    fn there_are_never_more_permits_than_the_limit() {
        let (lane, signals) = lane(3);
        let first = lane.take(2, &signals);
        assert_eq!((first.len(), lane.take(9, &signals).len()), (2, 1));
        lane.set_limit(1, None);
        assert_eq!(lane.take(9, &signals).len(), 0);
        lane.set_limit(5, None);
        let more = lane.take(9, &signals);
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
        assert!(lane.take(1, &other).is_empty());
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

    #[tokio::test(start_paused = true)]
    async fn no_period_sees_more_than_the_rate_wherever_it_starts() {
        let (lane, _) = lane(1000);
        lane.set_limit(1000, crate::rule::value::rate("10/s").ok());
        let mut begun: Vec<Instant> = Vec::new();
        for turn in 0..400u64 {
            match lane.begin(3) {
                Ok(count) => {
                    // One of three turns finds less to do than it asked for.
                    let idle = usize::from(turn % 3 == 0 && count > 0);
                    lane.not_begun(idle);
                    begun.extend(std::iter::repeat_n(Instant::now(), count - idle));
                }
                Err(pause) => assert!(!pause.is_zero() && pause <= Duration::from_secs(1)),
            }
            tokio::time::advance(Duration::from_millis(7 + turn * 13 % 90)).await;
        }
        for first in &begun {
            let end = *first + Duration::from_secs(1);
            let inside = begun.iter().filter(|at| *at >= first && **at < end);
            assert!(inside.count() <= 10);
        }
        let took = begun.last().unwrap().duration_since(begun[0]).as_secs() as usize;
        assert!(begun.len() >= took * 8, "{} in {took} s", begun.len());
    }
}
