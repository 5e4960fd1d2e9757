//! What all cores share about one source: how many attempts may be under way at once. And how a
//! worker is told to look at a source.
//!
//! No wake-up is lost: whoever finds no permit leaves a mark, and whoever gives a permit back
//! while the mark stands wakes its own worker for that source.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::message::SourceName;

/// One source, over all cores and over reloads.
#[derive(Debug)]
pub struct Lane {
    source: SourceName,
    gate: Mutex<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    limit: usize,
    used: usize,
    /// Someone wanted more permits than there were.
    wanted: bool,
}

impl Lane {
    pub fn new(source: SourceName) -> Self {
        Lane {
            source,
            gate: Mutex::default(),
        }
    }

    /// A lower limit than what is under way takes effect as attempts end.
    pub fn set_limit(&self, limit: usize) {
        // A limit of nothing would be a pause that no one can see.
        self.gate().limit = limit.max(1);
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
            self.signals.wake(&self.lane.source);
        }
    }
}

/// Which sources a worker shall look at.
#[derive(Debug, Default)]
pub struct Signals {
    woken: Mutex<HashSet<SourceName>>,
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
pub struct Waker(pub(super) Arc<Signals>);

impl Waker {
    pub fn wake(&self, source: &SourceName) {
        self.0.wake(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(limit: usize) -> (Arc<Lane>, Arc<Signals>) {
        let lane = Arc::new(Lane::new(SourceName::new("shop")));
        lane.set_limit(limit);
        (lane, Arc::new(Signals::default()))
    }

    #[test]
    fn there_are_never_more_permits_than_the_limit() {
        let (lane, signals) = lane(3);
        let first = lane.take(2, &signals);
        assert_eq!((first.len(), lane.take(9, &signals).len()), (2, 1));
        lane.set_limit(1);
        assert_eq!(lane.take(9, &signals).len(), 0);
        lane.set_limit(5);
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
}
