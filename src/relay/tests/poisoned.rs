//! A destination that stumbles over some events for ever and takes all others, in virtual time: the
//! others must not wait for them. And one that takes nothing, which must be left alone.

use std::time::Duration;

use tokio::time::sleep;

use crate::inbox::store::{State, Store};
use crate::message::{EventId, SourceName};
use crate::random::{Random, SeededRandom};
use crate::relay::AttemptError;
use crate::relay::tests::stage::{Reply, Stage, millis, rule, secs};
use crate::rule::{Jitter, Rule};

/// As a source file without a word on it.
fn usual(first: Duration, max: Duration) -> Rule {
    let mut rule = rule("shop");
    rule.relay.main.adaptive = true;
    rule.relay.main.retry.first = first;
    rule.relay.main.retry.max = max;
    rule.relay.main.retry.jitter = Jitter::Full;
    rule
}

fn ways() -> [Reply; 6] {
    [
        Reply::Status(503),
        Reply::Status(500),
        Reply::RetryAfter(429, "1"),
        Reply::Slow(secs(2), 504),
        Reply::Hang,
        Reply::Fail(AttemptError::ClosedEarly),
    ]
}

/// One that takes long to fail has a place for as long, and in the beginning there are two: until
/// there are enough, what hangs for ten seconds holds others up for up to a minute.
fn most(poison: &Reply) -> Duration {
    match poison {
        Reply::Hang => secs(60),
        Reply::Slow(..) => secs(30),
        _ => secs(10),
    }
}

/// Sends `count` events, each this long after the one before; a third of them is poisoned. How long
/// the slowest of the others took to be sent.
async fn slowest(
    stage: &Stage,
    count: u32,
    every: Duration,
    poison: &Reply,
    seed: u64,
) -> Duration {
    let dice = SeededRandom::new(seed);
    let mut good: Vec<(EventId, Duration)> = Vec::new();
    for _ in 0..count {
        let id = stage.accept("shop").await;
        if dice.next_u64().is_multiple_of(3) {
            stage.scripted.poison(id, poison.clone());
        } else {
            good.push((id, stage.elapsed()));
        }
        let core = (dice.next_u64() % stage.wakers.len() as u64) as usize;
        stage.wakers[core].wake(&SourceName::new("shop"));
        sleep(every).await;
    }
    sleep(secs(60)).await;
    let seen = stage.scripted.seen();
    let mut slowest = Duration::ZERO;
    for (id, accepted) in good {
        let row = stage.row(id).await;
        assert_eq!(
            (row.state, row.attempts),
            (State::Delivered, 1),
            "{poison:?}"
        );
        let sent = seen.iter().find(|s| s.event == id.to_string());
        slowest = slowest.max(sent.unwrap().since - accepted);
    }
    slowest
}

#[tokio::test(start_paused = true)]
async fn events_that_fail_for_ever_hold_the_others_up_for_seconds_at_most() {
    let mut late = Vec::new();
    for (n, poison) in ways().into_iter().enumerate() {
        for seed in 0..2 {
            let stage = Stage::with_workers(vec![usual(secs(1), secs(20))], 2);
            stage.scripted.always("shop", Reply::Slow(millis(50), 200));
            let seed = 100 * n as u64 + seed;
            let took = slowest(&stage, 150, millis(700), &poison, seed).await;
            if took > most(&poison) {
                late.push((poison.clone(), seed, took));
            }
        }
    }
    assert!(late.is_empty(), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn nor_where_there_are_hundreds_of_them_to_every_other() {
    let mut late = Vec::new();
    for (n, poison) in ways().into_iter().enumerate() {
        let stage = Stage::with_workers(vec![usual(secs(1), secs(5))], 2);
        stage.scripted.always("shop", Reply::Slow(millis(50), 200));
        for n in 0..60 {
            let id = stage.accept("shop").await;
            if n % 2 > 0 {
                stage.scripted.poison(id, poison.clone());
            }
            stage.wakers[0].wake(&SourceName::new("shop"));
            sleep(secs(2)).await;
        }
        sleep(secs(60)).await;
        let seed = 7 + n as u64;
        let took = slowest(&stage, 12, secs(90), &poison, seed).await;
        if took > most(&poison) {
            late.push((poison, took));
        }
    }
    assert!(late.is_empty(), "{late:?}");
}

/// Attempts in ten minutes on a destination that takes nothing, while events keep coming.
async fn tries(answer: Reply, every: Duration) -> (Stage, usize) {
    let stage = Stage::with_workers(vec![usual(secs(5), secs(3600))], 2);
    stage.scripted.always("shop", Reply::Slow(millis(50), 200));
    for _ in 0..30 {
        stage.accept_and_wake("shop").await;
        sleep(every).await;
    }
    let before = stage.scripted.seen().len();
    stage.scripted.always("shop", answer);
    let end = stage.elapsed() + secs(600);
    while stage.elapsed() < end {
        stage.accept_and_wake("shop").await;
        sleep(every).await;
    }
    let tries = stage.scripted.seen().len() - before;
    (stage, tries)
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_takes_nothing_is_left_alone() {
    for (answer, most) in [
        (Reply::Status(503), 120),
        (Reply::Status(500), 120),
        (Reply::Hang, 120),
        (Reply::Fail(AttemptError::ConnectRefused), 40),
    ] {
        let (stage, tries) = tries(answer.clone(), secs(2)).await;
        // Of 300 events: what it took to see it, and three a minute from then on.
        assert!((15..most).contains(&tries), "{answer:?}: {tries}");
        stage.scripted.always("shop", Reply::Slow(millis(50), 200));
        let back = stage.elapsed();
        while stage.store.stats().owed > 0 && stage.elapsed() < back + secs(7200) {
            sleep(secs(1)).await;
        }
        assert_eq!(stage.store.stats().owed, 0);
        // What was never tried goes out within the pause and the ramp.
        let last = stage.scripted.seen().into_iter().filter(|s| s.attempt == 1);
        let last = last.map(|s| s.since).max().unwrap();
        assert!(last < back + secs(180), "{answer:?}: {:?}", last - back);
    }
}

/// After a restart nothing is known, and all that is owed has failed before.
#[tokio::test(start_paused = true)]
async fn nor_is_one_bothered_with_what_failed_before() {
    let mut rule = usual(secs(1), secs(10));
    rule.relay.main.breaker = None;
    let mut stage = Stage::with_workers(vec![rule], 2);
    stage.scripted.always("shop", Reply::Status(503));
    for _ in 0..60 {
        stage.accept_and_wake("shop").await;
    }
    sleep(secs(120)).await;
    stage.crash(vec![usual(secs(1), secs(10))], 2).await;
    let before = stage.scripted.seen().len();
    sleep(secs(900)).await;
    let tries = stage.scripted.seen().len() - before;
    assert!((30..100).contains(&tries), "{tries}");
    stage.scripted.always("shop", Reply::Status(200));
    sleep(secs(180)).await;
    assert_eq!(stage.store.stats().owed, 0);
}
