//! Leaves a destination alone that fails, and finds out when it is back.
//!
//! What is to be told apart is a destination that takes nothing and one that stumbles over some
//! events, perhaps for ever, and takes all others. So what counts is above all how deliveries fare
//! that were never tried before: of one that has failed before nobody knows whether it is the
//! event's fault. Those count only when nothing has gone well for a while (`QUIET`).
//!
//! While it is open deliveries simply wait: none of their attempts is spent, and the time does not
//! count against the moment at which they are given up (`Breaker::held`). A restart forgets it.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::message::EventId;
use crate::random::Random;
use crate::relay::health::Health;
use crate::rule::BreakerRule;

/// Outages that are remembered, for the deliveries that waited through them.
const PAST: usize = 64;

/// When nothing has gone well for so long, deliveries that failed before count too.
const QUIET: Duration = Duration::from_secs(60);

/// It opens only when this much of the latest results were failures, of so many times `failures`
/// results: a destination that stumbles over a third of all events fails five times in a row now
/// and then.
const SHARE: (usize, usize) = (4, 5);
const RESULTS: usize = 4;

/// Deliveries that are tried one after the other, with a short pause between them, before it is
/// believed that the destination still fails and the pause grows. Where nobody is there at all one
/// is enough.
const PROBES: u32 = 3;
const BETWEEN: Duration = Duration::from_secs(1);

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    All,
    /// One delivery, to see how the destination is; one that was never tried, if there is one.
    Probe,
    /// The same, but only one that was never tried. Any other may be tried at that moment.
    Fresh(Instant),
    /// Nothing; the probe is under way.
    Held,
    /// Nothing before that.
    Wait(Instant),
}

/// Something to tell an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It fails, and is left alone for so long.
    Opened { pause: Duration },
    /// It still fails.
    StillOpen { pause: Duration },
    /// It is back, after so long.
    Closed { after: Duration },
}

/// Which attempts count: those that began in another state say nothing about this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open(Outage),
    Probing(Outage),
}

/// How it goes on while it is open: for all deliveries, and for those that were never tried. What
/// failed before must not keep the others waiting, so each of both has its own pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outage {
    all: Track,
    fresh: Track,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    /// Nothing is tried before that.
    until: Instant,
    /// Pauses that were taken.
    round: u32,
    /// Deliveries that failed since the last one.
    failed: u32,
}

impl Track {
    fn new(now: Instant) -> Self {
        Track {
            until: now,
            round: 0,
            failed: 0,
        }
    }

    fn pause(&mut self, rule: BreakerRule, now: Instant, random: &dyn Random) -> Duration {
        let doubled = 1u32.checked_shl(self.round).unwrap_or(u32::MAX);
        let grown = rule.first.saturating_mul(doubled).min(rule.max);
        // From half of it to all of it: several gateways do not come back at the same moment.
        let pause = grown.mul_f64(0.5 + random.next_unit() / 2.0);
        self.until = now + pause;
        self.round = self.round.saturating_add(1);
        self.failed = 0;
        pause
    }

    /// A delivery failed; true when that is enough of them.
    fn fail(&mut self, rule: BreakerRule, now: Instant) -> bool {
        self.failed += 1;
        self.until = self.until.max(now + BETWEEN.min(rule.first));
        self.failed >= PROBES
    }
}

/// What happened lately, while it is closed.
#[derive(Debug, Default)]
struct Record {
    /// The latest results that count; true for a failure.
    results: VecDeque<bool>,
    /// Failures in a row.
    row: u32,
    /// Those of them that say something by themselves: of deliveries that were never tried, or
    /// since nobody was there.
    telling: u32,
    /// Times in a row that nobody was there.
    unreachable: u32,
    /// The deliveries of this row: each counts once, but where nobody was there.
    of: VecDeque<EventId>,
    /// When something went well.
    good: Option<Instant>,
}

impl Record {
    fn push(&mut self, failed: bool, most: usize) {
        self.results.push_back(failed);
        while self.results.len() > most {
            self.results.pop_front();
        }
    }

    fn good(&mut self, rule: BreakerRule, now: Instant) {
        (self.row, self.telling, self.unreachable) = (0, 0, 0);
        self.of.clear();
        self.good = Some(now);
        self.push(false, most(rule));
    }

    /// False when it does not count.
    fn failed(&mut self, rule: BreakerRule, health: Health, of: EventId, now: Instant) -> bool {
        self.unreachable = match health {
            Health::Unreachable => self.unreachable.saturating_add(1),
            _ => 0,
        };
        let known = self.of.contains(&of) && health != Health::Unreachable;
        if known || (health == Health::Stumbled && !self.quiet(now)) {
            return false;
        }
        self.of.push_back(of);
        if self.of.len() > most(rule) {
            self.of.pop_front();
        }
        self.telling += u32::from(health != Health::Stumbled);
        self.row = self.row.saturating_add(1);
        self.push(true, most(rule));
        true
    }

    /// True when there is no doubt.
    fn fails(&self, rule: BreakerRule, now: Instant) -> bool {
        let failed = self.results.iter().filter(|failed| **failed).count();
        let most = failed * SHARE.1 >= self.results.len() * SHARE.0;
        self.unreachable >= rule.failures
            || (self.row >= rule.failures && (most || self.quiet(now)))
    }

    /// Nothing has gone well for a while.
    fn quiet(&self, now: Instant) -> bool {
        let quiet = |good| now.saturating_duration_since(good) >= QUIET;
        self.good.is_none_or(quiet)
    }
}

fn most(rule: BreakerRule) -> usize {
    (rule.failures as usize).saturating_mul(RESULTS)
}

#[derive(Debug)]
pub struct Breaker {
    rule: Option<BreakerRule>,
    state: State,
    generation: u64,
    record: Record,
    /// Since when it is not closed.
    since: Option<Timestamp>,
    /// Outages that are over, the earliest first.
    past: VecDeque<(Timestamp, Timestamp)>,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker {
            rule: None,
            state: State::Closed,
            generation: 0,
            record: Record::default(),
            since: None,
            past: VecDeque::new(),
        }
    }
}

impl Breaker {
    /// Without a rule it is closed for good.
    pub fn set(&mut self, rule: Option<BreakerRule>, wall: Timestamp) {
        if rule.is_none() && self.state != State::Closed {
            self.close(wall);
        }
        self.rule = rule;
    }

    pub fn go(&self, now: Instant) -> Go {
        match self.state {
            State::Closed => Go::All,
            State::Open(outage) if now >= outage.all.until => Go::Probe,
            State::Open(outage) if now >= outage.fresh.until => Go::Fresh(outage.all.until),
            State::Open(outage) => Go::Wait(outage.all.until.min(outage.fresh.until)),
            State::Probing(_) => Go::Held,
        }
    }

    /// For an attempt that begins now.
    pub fn generation(&self) -> Generation {
        Generation(self.generation)
    }

    /// The one delivery is on its way.
    pub fn probe(&mut self) {
        if let State::Open(outage) = self.state {
            self.enter(State::Probing(outage));
        }
    }

    /// The probe ended without saying anything about the destination, or there was none: another
    /// one may go as this one might.
    pub fn probe_lost(&mut self, generation: Generation) {
        if let (State::Probing(outage), true) = (self.state, generation == self.generation()) {
            self.enter(State::Open(outage));
        }
    }

    /// An attempt on `delivery` ended.
    pub fn note(
        &mut self,
        generation: Generation,
        health: Health,
        delivery: EventId,
        (now, wall): (Instant, Timestamp),
        random: &dyn Random,
    ) -> Option<Change> {
        let rule = self.rule?;
        if generation != self.generation() {
            return None;
        }
        if health == Health::Unknown {
            self.probe_lost(generation);
            return None;
        }
        match (self.state, health) {
            (State::Closed, Health::Good) => {
                self.record.good(rule, now);
                None
            }
            (State::Closed, _) => {
                let counts = self.record.failed(rule, health, delivery, now);
                if !counts || !self.record.fails(rule, now) {
                    return None;
                }
                let mut outage = Outage {
                    all: Track::new(now),
                    fresh: Track::new(now),
                };
                let pause = outage.all.pause(rule, now, random);
                // When only such failed as had failed before, the others are still tried.
                if self.record.telling > 0 {
                    outage.fresh = outage.all;
                }
                self.since = Some(wall);
                self.enter(State::Open(outage));
                Some(Change::Opened { pause })
            }
            (State::Probing(_), Health::Good) => {
                let after = self.close(wall);
                self.record.good(rule, now);
                Some(Change::Closed { after })
            }
            (State::Probing(outage), _) => self.probed(outage, health, rule, now, random),
            // No attempt begins in this state.
            (State::Open(_), _) => None,
        }
    }

    /// The probe failed.
    fn probed(
        &mut self,
        mut outage: Outage,
        health: Health,
        rule: BreakerRule,
        now: Instant,
        random: &dyn Random,
    ) -> Option<Change> {
        let nobody = health == Health::Unreachable;
        let tells = health != Health::Stumbled;
        let (all, fresh) = (
            outage.all.fail(rule, now) || nobody,
            tells && (outage.fresh.fail(rule, now) || nobody),
        );
        let pause = match (all, fresh) {
            (_, true) => {
                let pause = outage.fresh.pause(rule, now, random);
                outage.all = Track {
                    until: outage.all.until.max(outage.fresh.until),
                    failed: 0,
                    round: outage.all.round.max(outage.fresh.round),
                };
                Some(pause)
            }
            (true, false) => Some(outage.all.pause(rule, now, random)),
            (false, false) => None,
        };
        self.enter(State::Open(outage));
        pause.map(|pause| Change::StillOpen { pause })
    }

    /// How much of the time from `since` to `now` deliveries were held back.
    pub fn held(&self, since: Timestamp, now: Timestamp) -> Duration {
        let open = self.since.map(|from| (from, now));
        self.past
            .iter()
            .copied()
            .chain(open)
            .map(|(from, to)| to.min(now).since(from.max(since)))
            .sum()
    }

    /// 0 closed, 1 one probe is under way, 2 open.
    pub fn gauge(&self) -> i64 {
        match self.state {
            State::Closed => 0,
            State::Probing(_) => 1,
            State::Open(_) => 2,
        }
    }

    fn close(&mut self, wall: Timestamp) -> Duration {
        self.record = Record::default();
        self.enter(State::Closed);
        let Some(since) = self.since.take() else {
            return Duration::ZERO;
        };
        if self.past.len() >= PAST {
            self.past.pop_front();
        }
        self.past.push_back((since, wall));
        wall.since(since)
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}
