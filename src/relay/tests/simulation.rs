//! Whole scenarios from a seed: several cores and sources, bad destinations, a store that fails
//! now and then, panics, reloads. A seed that fails fails again.

use std::io::ErrorKind;

use tokio::time::sleep;

use crate::inbox::store::plain::Op;
use crate::inbox::store::{State, Store, StoreError, Unavailable};
use crate::message::{EventId, SourceName};
use crate::random::{Random, SeededRandom};
use crate::relay::AttemptError;
use crate::relay::tests::stage::{Reply, Stage, millis, route, rule, secs};
use crate::rule::{Jitter, Rule};

const SEEDS: u64 = 80;
const SOURCES: [&str; 3] = ["north", "south", "east"];
const CORES: usize = 3;
const EVENTS: usize = 40;
const LIMIT_MAX: usize = 4;

struct Dice(SeededRandom);

impl Dice {
    fn below(&self, end: usize) -> usize {
        (self.0.next_u64() % end as u64) as usize
    }

    fn one_of<T: Clone>(&self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

fn rules(dice: &Dice) -> Vec<Rule> {
    let one = |name: &&str| {
        let mut rule = rule(name);
        rule.relay.main.concurrency = 1 + dice.below(LIMIT_MAX);
        rule.relay.main.retry.jitter = Jitter::Full;
        rule.relay.main.retry.max = secs(30);
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

async fn scenario(seed: u64) {
    let dice = Dice(SeededRandom::new(seed));
    let stage = Stage::with_workers(rules(&dice), CORES);
    for source in SOURCES {
        stage.scripted.script(source, (0..30).map(|_| reply(&dice)));
    }
    let mut events: Vec<EventId> = Vec::new();
    for _ in 0..EVENTS {
        let source = dice.one_of(&SOURCES);
        events.push(stage.accept(source).await);
        // Now and then the wake-up does not come.
        if dice.below(8) > 0 {
            stage.wakers[dice.below(CORES)].wake(&SourceName::new(source));
        }
        match dice.below(10) {
            0 => stage
                .relay
                .set_routes(rules(&dice).into_iter().map(route).collect()),
            1 | 2 => {
                let (op, error) = fault(&dice);
                stage.store.fail(op, [error]);
            }
            _ => {}
        }
        sleep(millis(dice.below(700) as u64)).await;
    }
    for _ in 0..360 {
        if stage.store.stats().owed == 0 {
            break;
        }
        sleep(secs(10)).await;
    }
    for id in events {
        let row = stage.row(id).await;
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
                .under_way(&crate::message::LaneName::main(&SourceName::new(source))),
            Some(0),
            "seed {seed}"
        );
    }
}

#[test]
fn whatever_happens_everything_is_delivered_and_no_permit_is_lost() {
    for seed in 0..SEEDS {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(scenario(seed));
    }
}
