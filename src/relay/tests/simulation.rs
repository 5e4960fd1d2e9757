//! Whole scenarios from a seed: several cores and sources, destinations that are slow, die, cannot
//! be reached or refuse; crashes, a clock that steps, a store that fails now and then, panics,
//! reloads. A seed that fails fails again.
//!
//! `CALLSEAL_SEEDS=100000` runs so many; `CALLSEAL_SEED=4711` runs that one alone, and says what it
//! did.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::inbox::store::plain::Op;
use crate::inbox::store::{State, Store, StoreError, Unavailable};
use crate::message::{EventId, LaneName, SourceName};
use crate::random::{Random, SeededRandom};
use crate::relay::AttemptError;
use crate::relay::tests::stage::{Reply, Stage, millis, route, rule, secs};
use crate::rule::{BreakerRule, Jitter, Rate, Rule};

/// Enough for every kind of trouble to meet every other, and few enough for each build: some ten
/// seconds of one core.
const SEEDS: u64 = if cfg!(debug_assertions) { 1000 } else { 5000 };
const SOURCES: [&str; 3] = ["north", "south", "east"];
const CORES: usize = 3;
const EVENTS: usize = 24;
const LIMIT_MAX: usize = 4;
/// Longer than any pause, outage, lease and step of the clock together takes.
const END: Duration = secs(4 * 3600);

struct Dice(SeededRandom);

impl Dice {
    fn below(&self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }

    fn one_of<T: Clone>(&self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn coin(&self) -> bool {
        self.below(2) == 0
    }
}

fn rules(dice: &Dice, rate: Rate) -> Vec<Rule> {
    let one = |name: &&str| {
        let mut rule = rule(name);
        let to = &mut rule.relay.main;
        to.concurrency = 1 + dice.below(LIMIT_MAX);
        to.adaptive = dice.coin();
        to.rate = Some(rate);
        to.breaker = dice.coin().then(|| BreakerRule {
            failures: 1 + dice.below(5) as u32,
            first: secs(1 + dice.below(10) as u64),
            max: secs(30),
        });
        to.retry.jitter = Jitter::Full;
        to.retry.max = secs(30);
        if dice.coin() {
            to.retry.after = vec![secs(1), secs(10)];
        }
        // Nothing is given up: what is lost is lost by a fault of ours.
        to.retry.give_up_after = secs(400 * 24 * 3600);
        rule
    };
    SOURCES.iter().map(one).collect()
}

fn reply(dice: &Dice) -> Reply {
    dice.one_of(&[
        Reply::Status(500),
        Reply::Status(404),
        Reply::Status(302),
        Reply::Status(200),
        Reply::Slow(millis(300), 200),
        Reply::Slow(secs(9), 503),
        Reply::Slow(secs(11), 200),
        Reply::Fail(AttemptError::ConnectRefused),
        Reply::Fail(AttemptError::ClosedEarly),
        Reply::RetryAfter(429, "7"),
        Reply::Hang,
        Reply::Panic,
    ])
}

/// How a destination is for a while.
fn spell(dice: &Dice) -> Reply {
    dice.one_of(&[
        Reply::Status(200),
        Reply::Status(200),
        // Dead: nobody listens, or the name is gone.
        Reply::Fail(AttemptError::ConnectRefused),
        Reply::Fail(AttemptError::Dns),
        // A partition: nothing comes back.
        Reply::Hang,
        Reply::Fail(AttemptError::ConnectTimeout),
        Reply::Slow(secs(8), 200),
        Reply::Status(503),
    ])
}

fn fault(dice: &Dice) -> (Op, StoreError) {
    let op = dice.one_of(&[Op::Lease, Op::NextDue, Op::Read, Op::Settle]);
    let io = StoreError::Io {
        doing: "a simulation",
        kind: ErrorKind::Other,
    };
    (
        op,
        dice.one_of(&[io, StoreError::Unavailable(Unavailable::QueueFull)]),
    )
}

/// One thing goes wrong, or not.
async fn trouble(dice: &Dice, stage: &mut Stage, rate: Rate, told: bool) {
    let say = |what: &dyn std::fmt::Debug| {
        if told {
            println!("{:?}: {what:?}", stage.elapsed());
        }
    };
    match dice.below(16) {
        0 => {
            say(&"reload");
            let rules = rules(dice, rate);
            stage
                .relay
                .set_routes(rules.into_iter().map(route).collect());
        }
        1 | 2 => {
            let (op, error) = fault(dice);
            say(&(op, &error));
            stage.store.fail(op, [error]);
        }
        3 => {
            say(&"crash");
            let rules = rules(dice, rate);
            stage.crash(rules, CORES).await;
        }
        4 => {
            let by = secs(1 + dice.below(600) as u64);
            say(&("clock ahead", by));
            stage.clock.jump(by);
        }
        5 => {
            let by = secs(1 + dice.below(60) as u64);
            say(&("clock back", by));
            stage.clock.jump_back(by);
        }
        6..=9 => {
            let (source, spell) = (dice.one_of(&SOURCES), spell(dice));
            say(&(source, &spell));
            stage.scripted.always(source, spell);
        }
        _ => {}
    }
}

async fn scenario(seed: u64, told: bool) {
    let dice = Dice(SeededRandom::new(seed));
    let count = NonZeroU32::new(1 + dice.below(6) as u32).unwrap();
    // One for the whole scenario: a longer period would not know what began before it.
    let rate = Rate {
        count,
        period: millis(100 + 400 * dice.below(6) as u64),
        burst: count,
    };
    let mut stage = Stage::with_workers(rules(&dice, rate), CORES);
    for source in SOURCES {
        let some = dice.below(20);
        stage
            .scripted
            .script(source, (0..some).map(|_| reply(&dice)));
    }
    let mut events: Vec<EventId> = Vec::new();
    for _ in 0..EVENTS {
        let source = dice.one_of(&SOURCES);
        events.push(stage.accept(source).await);
        // Now and then the wake-up does not come.
        if dice.below(8) > 0 {
            stage.wakers[dice.below(CORES)].wake(&SourceName::new(source));
        }
        trouble(&dice, &mut stage, rate, told).await;
        sleep(millis(dice.below(2000) as u64)).await;
    }
    // All is well again.
    for source in SOURCES {
        stage.scripted.always(source, Reply::Status(200));
    }
    let end = stage.elapsed() + END;
    let names = SOURCES.map(|source| LaneName::main(&SourceName::new(source)));
    // A second attempt on what was delivered meanwhile may still hang: the clock stepped.
    let idle = |stage: &Stage| {
        let mut under_way = names.iter().map(|name| stage.relay.under_way(name));
        under_way.all(|under_way| under_way == Some(0))
    };
    while (stage.store.stats().owed > 0 || !idle(&stage)) && stage.elapsed() < end {
        sleep(secs(5)).await;
    }
    check(seed, &stage, &events, rate).await;
}

async fn check(seed: u64, stage: &Stage, events: &[EventId], rate: Rate) {
    for id in events {
        let row = stage.row(*id).await;
        assert_eq!(row.state, State::Delivered, "seed {seed}: {row:?}");
    }
    for source in SOURCES {
        assert!(
            stage.scripted.most(source) <= LIMIT_MAX,
            "seed {seed}: {source}"
        );
        assert_eq!(
            stage
                .relay
                .under_way(&LaneName::main(&SourceName::new(source))),
            Some(0),
            "seed {seed}"
        );
    }
    let mut begun: HashMap<(&str, usize), Vec<Duration>> = HashMap::new();
    let seen = stage.scripted.seen();
    for one in &seen {
        let process = (one.source.as_str(), one.process);
        begun.entry(process).or_default().push(one.since);
    }
    for (process, moments) in begun {
        for (at, first) in moments.iter().enumerate() {
            let within = moments[at..]
                .iter()
                .take_while(|m| **m - *first < rate.period);
            let most = rate.count.get() as usize;
            assert!(
                within.count() <= most,
                "seed {seed}: the rate of {process:?}"
            );
        }
    }
}

fn run(seed: u64, told: bool) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(scenario(seed, told));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_happens_everything_is_delivered_and_no_permit_is_lost() {
    if let Some(seed) = number("CALLSEAL_SEED") {
        return run(seed, true);
    }
    let seeds = number("CALLSEAL_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            if let Err(panic) = std::panic::catch_unwind(|| run(seed, false)) {
                println!("CALLSEAL_SEED={seed} runs it alone, and says what it does");
                std::panic::resume_unwind(panic);
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
