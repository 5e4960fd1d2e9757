//! The breaker, state by state.

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
    for n in 0..50 {
        let generation = bench.breaker.generation();
        let health = if n < 2 {
            Health::Overloaded
        } else {
            Health::Stumbled
        };
        assert_eq!(bench.note_of(generation, health, n % 2), None);
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
        let Some(Change::StillOpen { pause: next }) = bench.note(Health::Unreachable) else {
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
    bench.breaker.probe_lost(before);
    assert_eq!(bench.go(), Go::Held);
    bench.breaker.probe_lost(probe);
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

/// What had failed before fails again, and nothing else is known: the others are still tried.
#[test]
fn events_that_always_fail_keep_nobody_waiting() {
    let mut bench = Bench::new(3);
    bench.note(Health::Good);
    for _ in 0..90 {
        assert_eq!(
            bench.note(Health::Stumbled),
            None,
            "something went well just now"
        );
    }
    bench.now += QUIET;
    assert_eq!(
        (bench.note(Health::Stumbled), bench.note(Health::Stumbled)),
        (None, None)
    );
    assert!(matches!(
        bench.note(Health::Stumbled),
        Some(Change::Opened { .. })
    ));
    let mut pauses = 0;
    for _ in 0..39 {
        let Go::Fresh(until) = bench.go() else {
            panic!("what was never tried must not wait: {:?}", bench.go());
        };
        bench.now = until - bench.start;
        assert_eq!(bench.go(), Go::Probe);
        bench.breaker.probe();
        pauses += usize::from(bench.note(Health::Stumbled).is_some());
    }
    assert_eq!(pauses, 39 / PROBES as usize);
    // Such a one fails as well: the next a moment later, and after three of them a first pause.
    for n in 1..=PROBES {
        assert!(matches!(bench.go(), Go::Fresh(_)));
        bench.breaker.probe();
        let change = bench.note(Health::Overloaded);
        let Go::Wait(until) = bench.go() else {
            panic!("{:?}", bench.go());
        };
        let pause = until - (bench.start + bench.now);
        match (n, change) {
            (PROBES, Some(Change::StillOpen { pause: told })) => {
                assert!(pause == told && pause <= Duration::from_secs(4));
            }
            (_, None) => assert_eq!(pause, BETWEEN),
            (_, change) => panic!("{change:?}"),
        }
        bench.now += pause;
    }
    bench.breaker.probe();
    assert!(matches!(
        bench.note(Health::Good),
        Some(Change::Closed { .. })
    ));
}

/// Five in a row happen now and then where a third of all fails; a destination that takes
/// nothing fails more than that.
#[test]
fn it_opens_only_when_most_of_the_latest_failed() {
    let mut bench = Bench::new(5);
    for _ in 0..14 {
        bench.note(Health::Good);
    }
    let mut failed = 0;
    while bench.note(Health::Overloaded).is_none() {
        failed += 1;
        assert_eq!(bench.go(), Go::All);
    }
    // The last of sixteen out of twenty.
    assert_eq!(failed, 15);
    let mut bench = Bench::new(5);
    bench.note(Health::Good);
    bench.now += QUIET;
    let row: Vec<bool> = (0..5)
        .map(|_| bench.note(Health::Failing).is_some())
        .collect();
    assert_eq!(row, [false, false, false, false, true]);
}

proptest! {
    /// Whatever attempts say and whenever: at most one probe at a time, nothing before its
    /// time, and always a way on.
    #[test]
    fn it_never_gets_stuck(steps in proptest::collection::vec((0u8..9, 0u64..90), 0..300)) {
        let mut bench = Bench::new(2);
        let mut under_way: Vec<(Generation, bool)> = Vec::new();
        for (doing, pause) in steps {
            bench.now += Duration::from_secs(pause);
            match doing {
                0..=2 => match bench.go() {
                    Go::All => under_way.push((bench.breaker.generation(), false)),
                    Go::Probe | Go::Fresh(_) => {
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
                    bench.breaker.probe_lost(generation);
                },
                _ => if let Some((generation, _)) = under_way.pop() {
                    let health = [
                        Health::Good,
                        Health::Failing,
                        Health::Overloaded,
                        Health::Unreachable,
                        Health::Stumbled,
                    ];
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
