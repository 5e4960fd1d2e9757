//! How much a destination gets at present: its concurrency, its rate and its breaker together.
//! Pure: times and random numbers are arguments. What all cores share of it is in its lane.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::message::EventId;
use crate::random::Random;
use crate::relay::breaker::{Breaker, Change, Generation, Go};
use crate::relay::health::Health;
use crate::relay::limit::{Adaptive, Epoch};
use crate::relay::rate::Window;
use crate::rule::Destination;

/// The state of one destination.
#[derive(Debug, Default)]
pub struct Throttle {
    used: usize,
    /// Those of them that are on deliveries which failed before.
    again: usize,
    /// Whose turn it is where there is one place for both.
    turn: bool,
    /// How the latest went that were tried for the first time, or went well; true for a failure.
    latest: VecDeque<bool>,
    limit: Adaptive,
    window: Window,
    breaker: Breaker,
}

/// Who refuses for want of room does so at once. One that takes long to fail shows that there were
/// too many at once only when most of the latest failed: it may be the event that takes so long.
const SLOW: Duration = Duration::from_secs(1);
const LATEST: usize = 8;

/// Which deliveries may be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// Any, but of those that failed before at most so many as long as others wait: they may take
    /// long to fail, and must not take all places.
    #[default]
    Any,
    /// One that was never tried, if there is one.
    FreshFirst,
    /// One that was never tried.
    FreshOnly,
}

/// What was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub count: usize,
    pub which: Which,
    /// Of these, places for deliveries that failed before while others wait.
    pub again_at_most: usize,
    /// The destination is left alone at present.
    pub left_alone: bool,
    /// To be shown with each of these attempts.
    pub grant: Grant,
    /// When it is worth asking again, where that is known. Otherwise an attempt has to end first.
    pub again: Option<Instant>,
}

/// Under which state an attempt was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    epoch: Epoch,
    generation: Generation,
}

/// What came of an attempt that began.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub delivery: EventId,
    pub health: Health,
    pub begun: Instant,
}

impl Throttle {
    pub fn set(&mut self, to: &Destination, wall: Timestamp) {
        self.limit.set(to.concurrency, to.adaptive);
        self.window.set(to.rate);
        self.breaker.set(to.breaker, wall);
    }

    /// Up to `most` attempts, each of which must be given back by `end`.
    pub fn take(&mut self, most: usize, now: Instant) -> Granted {
        let (most, limit, which, again) = match self.breaker.go(now) {
            Go::All => (most, self.limit.limit(), Which::Any, None),
            // Those that hang from before the outage do not keep us from seeing its end.
            Go::Probe => (most.min(1), self.limit.ceiling(), Which::FreshFirst, None),
            Go::Fresh(until) => {
                let ceiling = self.limit.ceiling();
                (most.min(1), ceiling, Which::FreshOnly, Some(until))
            }
            Go::Held => (0, 0, Which::Any, None),
            Go::Wait(until) => (0, 0, Which::Any, Some(until)),
        };
        let left_alone = self.breaker.gauge() != 0;
        let room = limit.saturating_sub(self.used);
        let count = most.min(room).min(self.window.free(now));
        if count > 0 && which != Which::Any {
            self.breaker.probe();
        }
        self.used += count;
        self.window.reserve(count);
        if self.used >= self.limit.limit() {
            self.limit.filled();
        }
        let again = match (count, room) {
            (0, 1..) if most > 0 => self.window.next(),
            (0, _) => again,
            (1.., _) if which == Which::FreshOnly => again,
            (1.., _) => None,
        };
        let grant = Grant {
            epoch: self.limit.epoch(),
            generation: self.breaker.generation(),
        };
        let again_at_most = match self.limit.limit() {
            0 | 1 => {
                self.turn ^= count > 0;
                usize::from(self.turn)
            }
            many => many / 2,
        };
        Granted {
            count,
            which,
            again_at_most: again_at_most.saturating_sub(self.again),
            left_alone,
            grant,
            again,
        }
    }

    /// One of the attempts that were granted is on a delivery which failed before.
    pub fn again(&mut self) {
        self.again += 1;
    }

    /// The request goes out now.
    pub fn begin(&mut self, now: Instant) {
        self.window.begin(now);
    }

    pub fn report(
        &mut self,
        grant: Grant,
        report: Report,
        (now, wall): (Instant, Timestamp),
        random: &dyn Random,
    ) -> Option<Change> {
        match report.health {
            Health::Good => {
                let took = now.saturating_duration_since(report.begun);
                self.limit.answered(grant.epoch, took);
                self.remember(false);
            }
            Health::Overloaded | Health::Unreachable => {
                self.remember(true);
                let took = now.saturating_duration_since(report.begun);
                if took < SLOW || self.most_fail() {
                    self.limit.overloaded(grant.epoch);
                }
            }
            Health::Failing | Health::Stumbled | Health::Unknown => {}
        }
        let change = self.breaker.note(
            grant.generation,
            report.health,
            report.delivery,
            (now, wall),
            random,
        );
        if let Some(Change::Opened { .. } | Change::Closed { .. }) = change {
            self.limit.restart();
        }
        change
    }

    fn remember(&mut self, failed: bool) {
        self.latest.push_back(failed);
        if self.latest.len() > LATEST {
            self.latest.pop_front();
        }
    }

    fn most_fail(&self) -> bool {
        let failed = self.latest.iter().filter(|failed| **failed).count();
        failed * 4 >= self.latest.len() * 3
    }

    /// An attempt is over, or was not needed; `begun` when its request went out, and `told` when
    /// there was a report; `again` as it was told.
    pub fn end(&mut self, grant: Grant, (begun, told): (bool, bool), again: bool) {
        self.used = self.used.saturating_sub(1);
        self.again = self.again.saturating_sub(usize::from(again));
        if !begun {
            self.window.release();
        }
        if !told {
            self.breaker.probe_lost(grant.generation);
        }
    }

    /// Attempts under way, or about to be.
    pub fn used(&self) -> usize {
        self.used
    }

    /// What comes back now must find it as it is: something is under way, or counts for the rate.
    pub fn in_use(&self, now: Instant) -> bool {
        self.used > 0 || self.window.counts(now)
    }

    /// More may be under way.
    pub fn has_room(&self) -> bool {
        self.used < self.limit.limit()
    }

    pub fn limit(&self) -> usize {
        self.limit.limit()
    }

    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Moments that are kept: what the rate costs in memory.
    pub fn kept(&self) -> usize {
        self.window.kept()
    }
}
