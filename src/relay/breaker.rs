//! Leaves a destination alone that fails: after so many failures in a row nothing is sent for a
//! while, then one delivery is tried, and what comes of it decides.
//!
//! While it is open deliveries simply wait: none of their attempts is spent, and the time does not
//! count against the moment at which they are given up (`Breaker::held`). A restart forgets it.

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

/// The pause after a probe that says nothing of the destination.
const STUMBLED: Duration = Duration::from_secs(1);

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    All,
    /// One delivery, to see how the destination is.
    Probe,
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
    /// `round` probes have failed.
    Open {
        until: Instant,
        round: u32,
    },
    Probing {
        round: u32,
    },
}

#[derive(Debug)]
pub struct Breaker {
    rule: Option<BreakerRule>,
    state: State,
    generation: u64,
    /// Failures in a row.
    failures: u32,
    /// The deliveries that they were of.
    failed: Vec<EventId>,
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
            failures: 0,
            failed: Vec::new(),
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
            State::Open { until, .. } if now < until => Go::Wait(until),
            State::Open { .. } => Go::Probe,
            State::Probing { .. } => Go::Held,
        }
    }

    /// For an attempt that begins now.
    pub fn generation(&self) -> Generation {
        Generation(self.generation)
    }

    /// The one delivery is on its way.
    pub fn probe(&mut self) {
        if let State::Open { round, .. } = self.state {
            self.enter(State::Probing { round });
        }
    }

    /// The probe ended without saying anything about the destination: another one, at once.
    pub fn probe_lost(&mut self, generation: Generation, now: Instant) {
        if let (State::Probing { round }, true) = (self.state, generation == self.generation()) {
            self.enter(State::Open { until: now, round });
        }
    }

    /// The probe was an event that failed before: soon another one, and the pause does not grow.
    /// Else events that always fail would keep all others waiting.
    fn probe_stumbled(&mut self, now: Instant) {
        if let State::Probing { round } = self.state {
            let until = now + STUMBLED;
            self.enter(State::Open { until, round });
        }
    }

    /// An attempt on `delivery` ended.
    ///
    /// A delivery that fails again and again counts once: an event that the application stumbles
    /// over does not hold the others. A destination that cannot even be reached counts each time.
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
        let failed = match health {
            Health::Good => false,
            Health::Failing | Health::Overloaded | Health::Unreachable => true,
            Health::Stumbled => {
                self.probe_stumbled(now);
                return None;
            }
            Health::Unknown => {
                self.probe_lost(generation, now);
                return None;
            }
        };
        match (self.state, failed) {
            (State::Closed, false) => {
                self.forget();
                None
            }
            (State::Closed, true) => {
                self.count(health, delivery, rule.failures);
                if self.failures < rule.failures {
                    return None;
                }
                self.since = Some(wall);
                let pause = self.open(rule, 0, now, random);
                Some(Change::Opened { pause })
            }
            (State::Probing { .. }, false) => Some(Change::Closed {
                after: self.close(wall),
            }),
            (State::Probing { round }, true) => {
                let pause = self.open(rule, round.saturating_add(1), now, random);
                Some(Change::StillOpen { pause })
            }
            // No attempt begins in this state.
            (State::Open { .. }, _) => None,
        }
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
            State::Probing { .. } => 1,
            State::Open { .. } => 2,
        }
    }

    fn count(&mut self, health: Health, delivery: EventId, most: u32) {
        if health == Health::Unreachable {
            self.failures = self.failures.saturating_add(1);
        } else if !self.failed.contains(&delivery) && self.failed.len() < most as usize {
            self.failed.push(delivery);
            self.failures = self.failures.saturating_add(1);
        }
    }

    fn forget(&mut self) {
        self.failures = 0;
        self.failed.clear();
    }

    fn open(
        &mut self,
        rule: BreakerRule,
        round: u32,
        now: Instant,
        random: &dyn Random,
    ) -> Duration {
        let grown = rule
            .first
            .saturating_mul(1u32.checked_shl(round).unwrap_or(u32::MAX));
        // From half of it to all of it: several gateways do not come back at the same moment.
        let pause = grown.min(rule.max).mul_f64(0.5 + random.next_unit() / 2.0);
        self.enter(State::Open {
            until: now + pause,
            round,
        });
        pause
    }

    fn close(&mut self, wall: Timestamp) -> Duration {
        self.forget();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;
    use proptest::prelude::*;

    const WALL: Timestamp = Timestamp::from_secs(1_000_000);

    fn delivery(n: u64) -> EventId {
        EventId {
            segment: 1,
            offset: 8,
            tag: n,
        }
    }

    /// A breaker, and a clock of each kind that go together.
    struct Bench {
        breaker: Breaker,
        start: Instant,
        now: Duration,
        random: SeededRandom,
        next: u64,
    }

    impl Bench {
        fn new(failures: u32) -> Self {
            let mut breaker = Breaker::default();
            let rule = BreakerRule {
                failures,
                first: Duration::from_secs(4),
                max: Duration::from_secs(60),
            };
            breaker.set(Some(rule), WALL);
            Bench {
                breaker,
                start: Instant::now(),
                now: Duration::ZERO,
                random: SeededRandom::new(3),
                next: 0,
            }
        }

        fn note(&mut self, health: Health) -> Option<Change> {
            self.next += 1;
            let generation = self.breaker.generation();
            self.note_of(generation, health, self.next)
        }

        fn note_of(&mut self, generation: Generation, health: Health, n: u64) -> Option<Change> {
            let times = (self.start + self.now, WALL.plus(self.now));
            self.breaker
                .note(generation, health, delivery(n), times, &self.random)
        }

        fn go(&self) -> Go {
            self.breaker.go(self.start + self.now)
        }
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_not_for_what_the_application_refuses() {
        let mut bench = Bench::new(3);
        for health in [
            Health::Failing,
            Health::Unreachable,
            Health::Good,
            Health::Overloaded,
            Health::Failing,
            Health::Unknown,
        ] {
            assert_eq!((bench.note(health), bench.go()), (None, Go::All));
        }
        assert!(matches!(
            bench.note(Health::Failing),
            Some(Change::Opened { .. })
        ));
        assert!(matches!(bench.go(), Go::Wait(_)));
        assert_eq!(bench.breaker.gauge(), 2);
    }

    #[test]
    fn one_event_that_fails_for_ever_does_not_hold_the_others() {
        let mut bench = Bench::new(3);
        for _ in 0..50 {
            let generation = bench.breaker.generation();
            assert_eq!(bench.note_of(generation, Health::Failing, 1), None);
            assert_eq!(bench.note_of(generation, Health::Overloaded, 2), None);
        }
        assert_eq!(bench.go(), Go::All);
        // Nobody there is nobody there, whoever asks.
        let mut bench = Bench::new(3);
        let generation = bench.breaker.generation();
        for n in 0..3 {
            let change = bench.note_of(generation, Health::Unreachable, 1);
            assert_eq!(change.is_some(), n == 2);
        }
    }

    #[test]
    fn pauses_grow_and_a_probe_that_succeeds_closes_it() {
        let mut bench = Bench::new(1);
        let Some(Change::Opened { mut pause }) = bench.note(Health::Unreachable) else {
            panic!("it did not open");
        };
        for longest in [4u64, 8, 16, 32, 60, 60, 60].map(Duration::from_secs) {
            assert!(
                pause >= longest / 2 && pause <= longest,
                "{pause:?} of {longest:?}"
            );
            bench.now += pause - Duration::from_millis(1);
            assert!(matches!(bench.go(), Go::Wait(_)));
            bench.now += Duration::from_millis(1);
            assert_eq!(bench.go(), Go::Probe);
            bench.breaker.probe();
            assert_eq!((bench.go(), bench.breaker.gauge()), (Go::Held, 1));
            let Some(Change::StillOpen { pause: next }) = bench.note(Health::Overloaded) else {
                panic!("it closed");
            };
            pause = next;
        }
        bench.now += pause;
        bench.breaker.probe();
        let down = bench.now.as_millis();
        let Some(Change::Closed { after }) = bench.note(Health::Good) else {
            panic!("it stayed open");
        };
        assert_eq!(after.as_millis(), down);
        assert_eq!((bench.go(), bench.breaker.gauge()), (Go::All, 0));
    }

    #[test]
    fn who_began_before_says_nothing_and_a_probe_that_is_lost_is_made_again() {
        let mut bench = Bench::new(2);
        let before = bench.breaker.generation();
        bench.note(Health::Failing);
        assert!(bench.note(Health::Failing).is_some());
        assert_eq!(bench.note_of(before, Health::Good, 90), None);
        assert_eq!(bench.note_of(before, Health::Failing, 91), None);
        bench.now += Duration::from_secs(4);
        bench.breaker.probe();
        let probe = bench.breaker.generation();
        assert_eq!(bench.note_of(before, Health::Good, 92), None);
        assert_eq!(bench.go(), Go::Held);
        bench.breaker.probe_lost(before, bench.start);
        assert_eq!(bench.go(), Go::Held);
        bench.breaker.probe_lost(probe, bench.start + bench.now);
        assert_eq!(bench.go(), Go::Probe);
        bench.breaker.probe();
        assert_eq!(bench.note(Health::Unknown), None);
        assert_eq!(bench.go(), Go::Probe);
    }

    #[test]
    fn the_time_that_deliveries_were_held_is_known() {
        let at = |secs| WALL.plus(Duration::from_secs(secs));
        let mut bench = Bench::new(1);
        bench.now = Duration::from_secs(100);
        bench.note(Health::Failing);
        let held = |bench: &Bench, since, now| bench.breaker.held(at(since), at(now)).as_secs();
        assert_eq!((held(&bench, 0, 160), held(&bench, 150, 160)), (60, 10));
        bench.now = Duration::from_secs(200);
        bench.breaker.probe();
        bench.note(Health::Good);
        assert_eq!((held(&bench, 0, 900), held(&bench, 150, 900)), (100, 50));
        assert_eq!((held(&bench, 200, 900), held(&bench, 0, 120)), (0, 20));
        bench.now = Duration::from_secs(300);
        bench.note(Health::Failing);
        // Taken out of the rules: it is closed, and what was is remembered.
        bench.breaker.set(None, at(310));
        assert_eq!((bench.go(), held(&bench, 0, 900)), (Go::All, 110));
        assert_eq!(bench.note(Health::Failing), None);
    }

    #[test]
    fn events_that_always_fail_keep_nobody_waiting() {
        let mut bench = Bench::new(2);
        for _ in 0..20 {
            assert_eq!(bench.note(Health::Stumbled), None);
        }
        assert_eq!(bench.breaker.gauge(), 0);
        bench.note(Health::Failing);
        assert!(bench.note(Health::Failing).is_some());
        let now = bench.start + bench.now + Duration::from_secs(60);
        for turn in 0..5u32 {
            let now = now + 2 * STUMBLED * turn;
            assert_eq!(bench.breaker.go(now), Go::Probe);
            bench.breaker.probe();
            let (generation, of) = (bench.breaker.generation(), delivery(7));
            let noted =
                bench
                    .breaker
                    .note(generation, Health::Stumbled, of, (now, WALL), &bench.random);
            assert_eq!(noted, None);
            assert_eq!(bench.breaker.go(now), Go::Wait(now + STUMBLED));
        }
    }

    proptest! {
        /// Whatever attempts say and whenever: at most one probe at a time, nothing before its
        /// time, and always a way on.
        #[test]
        fn it_never_gets_stuck(steps in proptest::collection::vec((0u8..8, 0u64..90), 0..300)) {
            let mut bench = Bench::new(2);
            let mut under_way: Vec<(Generation, bool)> = Vec::new();
            for (doing, pause) in steps {
                bench.now += Duration::from_secs(pause);
                match doing {
                    0..=2 => match bench.go() {
                        Go::All => under_way.push((bench.breaker.generation(), false)),
                        Go::Probe => {
                            bench.breaker.probe();
                            prop_assert!(under_way.iter().all(|(_, probe)| !probe));
                            under_way.push((bench.breaker.generation(), true));
                        }
                        Go::Held => prop_assert!(under_way.iter().any(|(_, probe)| *probe)),
                        Go::Wait(until) => prop_assert!(
                            until - (bench.start + bench.now) <= Duration::from_secs(60)
                        ),
                    },
                    3 => if let Some((generation, _)) = under_way.pop() {
                        let now = bench.start + bench.now;
                        bench.breaker.probe_lost(generation, now);
                    },
                    _ => if let Some((generation, _)) = under_way.pop() {
                        let health = [Health::Good, Health::Failing, Health::Overloaded, Health::Unreachable];
                        bench.next += 1;
                        let n = bench.next;
                        bench.note_of(generation, health[usize::from(doing) - 4], n);
                    },
                }
                let held = bench.breaker.held(WALL, WALL.plus(bench.now));
                prop_assert!(held <= bench.now);
            }
        }
    }
}
