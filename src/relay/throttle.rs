//! How much a destination gets at present: its concurrency, its rate and its breaker together.
//! Pure: times and random numbers are arguments. What all cores share of it is in its lane.

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
    limit: Adaptive,
    window: Window,
    breaker: Breaker,
}

/// What was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub count: usize,
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
        let (most, limit, again) = match self.breaker.go(now) {
            Go::All => (most, self.limit.limit(), None),
            // Those that hang from before the outage do not keep us from seeing its end.
            Go::Probe => (most.min(1), self.limit.ceiling(), None),
            Go::Held => (0, 0, None),
            Go::Wait(until) => (0, 0, Some(until)),
        };
        let room = limit.saturating_sub(self.used);
        let count = most.min(room).min(self.window.free(now));
        if count > 0 && self.breaker.go(now) == Go::Probe {
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
            (1.., _) => None,
        };
        let grant = Grant {
            epoch: self.limit.epoch(),
            generation: self.breaker.generation(),
        };
        Granted {
            count,
            grant,
            again,
        }
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
            }
            Health::Overloaded | Health::Unreachable => self.limit.overloaded(grant.epoch),
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

    /// An attempt is over, or was not needed; `begun` when its request went out, and `told` when
    /// there was a report.
    pub fn end(&mut self, grant: Grant, (begun, told): (bool, bool), now: Instant) {
        self.used = self.used.saturating_sub(1);
        if !begun {
            self.window.release();
        }
        if !told {
            self.breaker.probe_lost(grant.generation, now);
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
