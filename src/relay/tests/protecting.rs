//! How a destination is spared, in virtual time: rate, concurrency that follows it, breaker.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::Clock;
use crate::inbox::store::{State, Store};
use crate::message::{LaneName, SourceName};
use crate::relay::AttemptError;
use crate::relay::tests::stage::{Reply, START, Stage, millis, route, rule, secs};
use crate::rule::{BreakerRule, OnStatus, Rate, Rule};

fn rated(count: u32, period: Duration) -> Rule {
    let count = NonZeroU32::new(count).unwrap();
    let mut rule = rule("shop");
    rule.relay.main.rate = Some(Rate {
        count,
        period,
        burst: count,
    });
    rule
}

/// The most moments that any period holds, wherever it begins.
fn most_within(times: &[Duration], period: Duration) -> usize {
    let within = |at: usize| {
        let from = times[at];
        times[at..]
            .iter()
            .take_while(|t| **t - from < period)
            .count()
    };
    (0..times.len()).map(within).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn no_second_holds_more_than_the_rate_over_all_cores() {
    let stage = Stage::with_workers(vec![rated(7, secs(1))], 3);
    stage.scripted.always("shop", Reply::Slow(millis(40), 200));
    for n in 0..100 {
        stage.accept("shop").await;
        stage.wakers[n % 3].wake(&SourceName::new("shop"));
        sleep(millis(11)).await;
    }
    sleep(secs(20)).await;
    let times = stage.scripted.times();
    assert_eq!(times.len(), 100);
    assert_eq!(most_within(&times, secs(1)), 7);
    // And no less than it: fourteen full seconds, and what a look costs.
    let took = *times.last().unwrap();
    assert!(took <= secs(16), "{took:?}");
}

/// A source that a reload takes away and the next one brings back (an editor that saves by turns).
#[tokio::test(start_paused = true)]
async fn a_rate_holds_over_reloads_without_the_source() {
    let rule = rated(2, secs(10));
    let stage = Stage::new(vec![rule.clone()]);
    for _ in 0..6 {
        stage.accept_and_wake("shop").await;
    }
    for _ in 0..3 {
        sleep(secs(1)).await;
        stage.relay.set_routes(Vec::new());
        sleep(secs(1)).await;
        stage.relay.set_routes(vec![route(rule.clone())]);
    }
    sleep(secs(60)).await;
    let times = stage.scripted.times();
    assert_eq!(times.len(), 6);
    assert_eq!(most_within(&times, secs(10)), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_for_retries_too_and_a_permit_that_was_not_used_costs_nothing() {
    let stage = Stage::new(vec![rated(2, secs(10))]);
    stage.scripted.always("shop", Reply::Status(500));
    for _ in 0..30 {
        stage.accept_and_wake("shop").await;
    }
    sleep(secs(300)).await;
    let times = stage.scripted.times();
    assert_eq!(most_within(&times, secs(10)), 2);
    assert!(times.len() >= 10, "{}", times.len());
    let stage = Stage::new(vec![rated(2, secs(3600))]);
    sleep(secs(100)).await;
    let first = stage.accept_and_wake("shop").await;
    sleep(secs(100)).await;
    let second = stage.accept_and_wake("shop").await;
    sleep(millis(1)).await;
    for id in [first, second] {
        assert_eq!(stage.row(id).await.state, State::Delivered);
    }
    let third = stage.accept_and_wake("shop").await;
    sleep(secs(3400)).await;
    assert_eq!(stage.row(third).await.state, State::Owed);
    sleep(secs(101)).await;
    assert_eq!(stage.scripted.times(), [100, 200, 3700].map(secs));
}

fn adaptive(concurrency: usize) -> Rule {
    let mut rule = rule("shop");
    rule.relay.main.adaptive = true;
    rule.relay.main.concurrency = concurrency;
    rule
}

fn shown(stage: &Stage, name: &str) -> String {
    let line = format!("callseal_destination_{name}{{source=\"shop\",destination=\"main\"}} ");
    let text = stage.metrics.encode();
    let found = text.lines().find_map(|l| l.strip_prefix(&line));
    found.unwrap_or(&text).to_owned()
}

#[tokio::test(start_paused = true)]
async fn concurrency_begins_small_grows_while_it_goes_well_and_halves_when_it_is_too_much() {
    let mut rule = adaptive(8);
    rule.relay.main.breaker = None;
    let stage = Stage::new(vec![rule]);
    stage.scripted.always("shop", Reply::Slow(secs(1), 200));
    for _ in 0..400 {
        stage.accept("shop").await;
    }
    sleep(millis(1100)).await;
    assert_eq!(stage.scripted.most("shop"), 3);
    sleep(secs(10)).await;
    assert_eq!(
        (stage.scripted.most("shop"), shown(&stage, "limit").as_str()),
        (8, "8")
    );
    // All eight that are under way are refused: that is one piece of news, not eight.
    stage
        .scripted
        .script("shop", vec![Reply::Slow(secs(1), 503); 8]);
    sleep(millis(2100)).await;
    let under_way = stage
        .relay
        .under_way(&LaneName::main(&SourceName::new("shop")));
    assert_eq!((under_way, shown(&stage, "limit").as_str()), (Some(4), "4"));
}

#[tokio::test(start_paused = true)]
async fn answers_that_become_slow_by_their_number_stop_the_growth() {
    let stage = Stage::new(vec![adaptive(64)]);
    stage.scripted.always("shop", Reply::Slow(millis(100), 200));
    for _ in 0..3000 {
        stage.accept("shop").await;
    }
    sleep(secs(2)).await;
    let before: usize = shown(&stage, "limit").parse().unwrap();
    stage.scripted.always("shop", Reply::Slow(millis(400), 200));
    sleep(millis(1300)).await;
    let after: usize = shown(&stage, "limit").parse().unwrap();
    assert!(after <= before + 1, "{before} {after}");
}

fn breaking(failures: u32) -> Rule {
    let mut rule = rule("shop");
    rule.relay.main.breaker = Some(BreakerRule {
        failures,
        first: secs(10),
        max: secs(40),
    });
    rule
}

#[tokio::test(start_paused = true)]
async fn while_the_breaker_is_open_one_delivery_is_tried_and_the_others_spend_nothing() {
    let mut rule = breaking(3);
    rule.relay.main.concurrency = 1;
    rule.relay.main.retry.give_up_after = secs(600);
    let stage = Stage::with_workers(vec![rule], 3);
    stage
        .scripted
        .always("shop", Reply::Fail(AttemptError::ConnectRefused));
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(stage.accept_and_wake("shop").await);
    }
    sleep(millis(1)).await;
    assert_eq!(
        (
            stage.scripted.seen().len(),
            shown(&stage, "breaker").as_str()
        ),
        (3, "2")
    );
    // Six times longer than anything is tried for.
    sleep(secs(3600)).await;
    let times = stage.scripted.times();
    // At least half of the longest pause between two, and never two at once.
    assert!(times.len() <= 3 + 3600 / 20 + 4, "{}", times.len());
    assert!(times.len() >= 3600 / 42, "{}", times.len());
    assert!(
        times[3..]
            .windows(2)
            .all(|pair| pair[1] - pair[0] >= secs(5))
    );
    let mut attempts = 0;
    for id in &ids {
        let row = stage.row(*id).await;
        assert_eq!(row.state, State::Owed);
        attempts += row.attempts as usize;
    }
    assert_eq!(attempts, times.len());
    stage.scripted.always("shop", Reply::Status(200));
    sleep(secs(60)).await;
    for id in &ids {
        let row = stage.row(*id).await;
        assert_eq!(row.state, State::Delivered, "{row:?}");
    }
    assert_eq!(shown(&stage, "breaker"), "0");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_a_destination_gets_one_at_first_and_more_as_it_goes_well() {
    let mut rule = breaking(3);
    rule.relay.main.adaptive = true;
    rule.relay.main.concurrency = 16;
    let stage = Stage::new(vec![rule]);
    stage.scripted.always("shop", Reply::Status(503));
    for _ in 0..300 {
        stage.accept("shop").await;
    }
    sleep(secs(300)).await;
    let before = stage.scripted.seen().len();
    stage.scripted.always("shop", Reply::Slow(secs(1), 200));
    while stage.scripted.seen().len() == before {
        sleep(millis(10)).await;
    }
    assert_eq!(
        (shown(&stage, "breaker"), shown(&stage, "limit")),
        ("1".into(), "1".into())
    );
    // The probe, then one at a time, two, three …
    let mut begun = Vec::new();
    for _ in 0..5 {
        let seen = stage.scripted.seen().len();
        sleep(millis(1000)).await;
        begun.push(stage.scripted.seen().len() - seen);
    }
    assert_eq!(begun, [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_opens_nothing_and_one_poisoned_event_neither() {
    let stage = Stage::new(vec![breaking(2)]);
    stage.scripted.always("shop", Reply::Status(422));
    for _ in 0..20 {
        stage.accept_and_wake("shop").await;
    }
    sleep(secs(30)).await;
    assert_eq!(shown(&stage, "breaker"), "0");
    let mut rule = breaking(2);
    rule.relay.main.retry.max = secs(5);
    let stage = Stage::new(vec![rule]);
    stage.scripted.always("shop", Reply::Status(500));
    stage.accept_and_wake("shop").await;
    sleep(secs(101)).await;
    assert_eq!(
        (
            stage.scripted.seen().len(),
            shown(&stage, "breaker").as_str()
        ),
        (21, "0")
    );
    stage.accept_and_wake("shop").await;
    sleep(secs(1)).await;
    assert_eq!(shown(&stage, "breaker"), "2");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_followed_by_another() {
    let stage = Stage::new(vec![breaking(1)]);
    let refused = Reply::Fail(AttemptError::ConnectRefused);
    stage.scripted.script("shop", [refused, Reply::Panic]);
    for _ in 0..3 {
        stage.accept_and_wake("shop").await;
        sleep(millis(1)).await;
    }
    sleep(secs(60)).await;
    assert_eq!(
        (stage.store.stats().owed, shown(&stage, "breaker").as_str()),
        (0, "0")
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_of_pauses_and_statuses_are_kept_to() {
    let mut rule = rule("shop");
    rule.relay.main.retry.after = vec![secs(2), secs(30)];
    rule.relay.main.retry.on_status = vec![
        (422, 422, OnStatus::Dead),
        (503, 503, OnStatus::RetryAfter(secs(60))),
    ];
    let stage = Stage::new(vec![rule]);
    let replies = [500, 500, 500, 503, 302, 422].map(Reply::Status);
    stage.scripted.script("shop", replies);
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(1000)).await;
    assert_eq!(stage.scripted.times(), [0, 2, 32, 62, 122, 152].map(secs));
    let row = stage.row(id).await;
    assert_eq!(
        (row.state, row.reason.as_str()),
        (State::Dead, "status_4xx")
    );
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_gone_leaves_no_series() {
    let stage = Stage::new(vec![rule("shop")]);
    assert_eq!(shown(&stage, "limit"), "16");
    stage.relay.set_routes(vec![]);
    assert!(
        !stage
            .metrics
            .encode()
            .contains("callseal_destination_limit{")
    );
    stage.relay.set_routes(vec![route(rule("shop"))]);
    assert_eq!(shown(&stage, "breaker"), "0");
    assert_eq!(stage.clock.now(), START);
}

/// Its lane is kept, since an attempt is under way there; its series are not, also when that ends.
#[tokio::test(start_paused = true)]
async fn a_destination_that_is_gone_while_it_answers_leaves_no_series() {
    let stage = Stage::new(vec![rule("shop")]);
    stage.scripted.always("shop", Reply::Slow(secs(5), 503));
    stage.accept_and_wake("shop").await;
    sleep(secs(1)).await;
    let mine = || stage.metrics.encode().contains("source=\"shop\"");
    assert!(mine());
    stage.relay.set_routes(vec![]);
    assert!(!mine());
    sleep(secs(60)).await;
    assert!(!mine(), "{}", stage.metrics.encode());
    stage.relay.set_routes(vec![route(rule("shop"))]);
    assert_eq!(shown(&stage, "limit"), "16");
    sleep(secs(60)).await;
    let text = stage.metrics.encode();
    let line = "callseal_attempts_total{source=\"shop\",destination=\"main\",verdict=\"retry\"} ";
    let counted = text.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    assert_ne!(counted, "0");
}
