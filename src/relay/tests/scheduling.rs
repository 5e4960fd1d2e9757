//! When attempts are made, in virtual time: wake-ups, retries, limits, neighbours.

use std::time::Duration;

use tokio::time::sleep;

use crate::clock::Clock;
use crate::inbox::store::State;
use crate::relay::AttemptError;
use crate::relay::tests::stage::{Reply, Stage, millis, rule, secs};

#[tokio::test(start_paused = true)]
async fn an_accepted_event_goes_out_without_waiting_for_a_timer() {
    let stage = Stage::new(vec![rule("shop")]);
    sleep(millis(333)).await;
    let id = stage.accept_and_wake("shop").await;
    sleep(millis(1)).await;
    assert_eq!(stage.scripted.times(), [millis(333)]);
    let row = stage.row(id).await;
    assert_eq!(
        (row.state, row.attempts, row.reason.as_str()),
        (State::Delivered, 1, "")
    );
    assert_eq!(stage.attempts(id).await[0].status, Some(200));
    let text = stage.metrics.encode();
    assert!(
        text.contains(
            r#"callseal_attempts_total{source="shop",destination="main",verdict="delivered"} 1"#
        ),
        "{text}"
    );
    assert!(
        text.contains(r#"callseal_attempt_seconds_count{source="shop",destination="main"} 1"#),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_that_never_came_costs_at_most_a_second() {
    let stage = Stage::new(vec![rule("shop")]);
    sleep(millis(10)).await;
    let id = stage.accept("shop").await;
    sleep(millis(1001)).await;
    assert_eq!(stage.row(id).await.state, State::Delivered);
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_from_before_goes_out_at_once() {
    let stage = Stage::new(vec![rule("shop")]);
    for _ in 0..100 {
        stage.accept("shop").await;
    }
    sleep(millis(1)).await;
    assert_eq!(stage.scripted.times(), vec![Duration::ZERO; 100]);
}

#[tokio::test(start_paused = true)]
async fn retries_come_when_the_policy_says_and_end_when_it_says() {
    let mut rule = rule("shop");
    rule.relay.main.retry.max = secs(60);
    rule.relay.main.retry.give_up_after = secs(600);
    let stage = Stage::new(vec![rule]);
    stage.scripted.always("shop", Reply::Status(500));
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(3600)).await;
    // 5, 10, 20, 40 s, then a minute each; the last at the very end of the policy.
    let expected = [
        0, 5, 15, 35, 75, 135, 195, 255, 315, 375, 435, 495, 555, 600,
    ]
    .map(secs);
    assert_eq!(stage.scripted.times(), expected);
    let row = stage.row(id).await;
    assert_eq!(
        (row.state, row.reason.as_str(), row.attempts),
        (State::Dead, "gave_up:status_5xx", 14)
    );
    assert_eq!(stage.errors(id).await, vec!["status_5xx"; 14]);
    let numbers: Vec<u32> = stage
        .scripted
        .seen()
        .iter()
        .map(|seen| seen.attempt)
        .collect();
    assert_eq!(numbers, (1..=14).collect::<Vec<u32>>());
}

#[tokio::test(start_paused = true)]
async fn a_pause_shorter_than_the_look_around_is_kept_to_the_millisecond() {
    let mut rule = rule("shop");
    rule.relay.main.retry.first = millis(7);
    rule.relay.main.retry.factor = 3.0;
    let stage = Stage::new(vec![rule]);
    stage.scripted.script("shop", vec![Reply::Status(503); 4]);
    stage.accept_and_wake("shop").await;
    sleep(secs(2)).await;
    assert_eq!(stage.scripted.times(), [0, 7, 28, 91, 280].map(millis));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_a_lower_bound_in_both_forms() {
    let stage = Stage::new(vec![rule("shop")]);
    stage.scripted.script(
        "shop",
        [
            Reply::RetryAfter(503, "100"),
            Reply::RetryAfter(429, "Thu, 01 Jan 2026 00:05:00 GMT"),
            // Shorter than the policy's own pause of 20 s.
            Reply::RetryAfter(503, "3"),
            // Longer than anything: an hour.
            Reply::RetryAfter(503, "31536000"),
        ],
    );
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(5000)).await;
    assert_eq!(stage.scripted.times(), [0, 100, 300, 320, 3920].map(secs));
    assert_eq!(stage.row(id).await.state, State::Delivered);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_ends_at_its_timeout() {
    let stage = Stage::new(vec![rule("shop")]);
    stage
        .scripted
        .script("shop", [Reply::Hang, Reply::Status(202)]);
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(30)).await;
    assert_eq!(stage.scripted.times(), [0, 15].map(secs));
    let attempts = stage.attempts(id).await;
    assert_eq!(
        (
            attempts[0].error.as_str(),
            attempts[0].status,
            attempts[0].took
        ),
        ("timeout", None, secs(10))
    );
    assert_eq!(
        (attempts[1].error.as_str(), attempts[1].status),
        ("", Some(202))
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_are_under_way_than_the_limit_over_all_workers_and_no_permit_lies_idle() {
    let mut rule = rule("shop");
    rule.relay.main.concurrency = 4;
    let stage = Stage::with_workers(vec![rule], 3);
    stage.scripted.always("shop", Reply::Slow(millis(100), 200));
    for n in 0..200 {
        stage.accept("shop").await;
        stage.wakers[n % 3].wake(&crate::message::SourceName::new("shop"));
    }
    while stage.scripted.seen().len() < 200 {
        sleep(millis(1)).await;
    }
    assert_eq!(stage.scripted.most("shop"), 4);
    // 50 rounds of 100 ms, the last of which has just begun: had a single wake-up been lost, a
    // second would be missing.
    assert!(stage.elapsed() <= millis(4905), "{:?}", stage.elapsed());
    sleep(millis(200)).await;
    assert_eq!(
        stage.relay.under_way(&crate::message::LaneName::main(
            &crate::message::SourceName::new("shop")
        )),
        Some(0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stuck_source_does_not_hold_another() {
    let mut stuck = rule("stuck");
    stuck.relay.main.concurrency = 2;
    let stage = Stage::new(vec![stuck, rule("shop")]);
    stage.scripted.always("stuck", Reply::Hang);
    for _ in 0..50 {
        stage.accept_and_wake("stuck").await;
    }
    for n in 0..100u64 {
        let id = stage.accept_and_wake("shop").await;
        sleep(millis(10)).await;
        assert_eq!(stage.row(id).await.state, State::Delivered, "{n}");
    }
    assert_eq!(stage.scripted.most("stuck"), 2);
}

#[tokio::test(start_paused = true)]
async fn one_poisoned_event_does_not_hold_the_others_of_its_source() {
    let mut rule = rule("shop");
    rule.relay.main.concurrency = 1;
    let stage = Stage::new(vec![rule]);
    stage.scripted.script("shop", [Reply::Status(500)]);
    let poisoned = stage.accept_and_wake("shop").await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(stage.accept_and_wake("shop").await);
    }
    sleep(millis(1)).await;
    for other in others {
        assert_eq!(stage.row(other).await.state, State::Delivered);
    }
    assert_eq!(stage.row(poisoned).await.state, State::Owed);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_back_makes_no_pause_longer() {
    let mut rule = rule("shop");
    rule.relay.main.retry.first = secs(60);
    let mut stage = Stage::new(vec![rule.clone()]);
    stage.clock.jump(secs(400_000));
    stage
        .scripted
        .script("shop", vec![Reply::Status(503), Reply::Status(200)]);
    let retried = stage.accept_and_wake("shop").await;
    sleep(secs(10)).await;
    assert_eq!(stage.row(retried).await.attempts, 1);
    stage.clock.jump_back(secs(400_000));
    sleep(secs(49)).await;
    assert_eq!(stage.row(retried).await.state, State::Owed);
    sleep(secs(2)).await;
    assert_eq!(stage.row(retried).await.state, State::Delivered);

    // On its way into the store while the clock was set back: received by the clock of before.
    stage.clock.jump(secs(400_000));
    let late = stage.accept("shop").await;
    stage.clock.jump_back(secs(400_000));
    sleep(secs(2)).await;
    assert_eq!(stage.row(late).await.state, State::Delivered);

    // Set back while there was no process.
    stage.clock.jump(secs(400_000));
    let fresh = stage.accept("shop").await;
    stage.clock.jump_back(secs(400_000));
    stage.crash(vec![rule], 2).await;
    sleep(secs(2)).await;
    assert_eq!(stage.row(fresh).await.state, State::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_ahead_costs_at_most_a_second() {
    let stage = Stage::new(vec![rule("shop")]);
    stage.scripted.script(
        "shop",
        [
            Reply::Fail(AttemptError::ConnectRefused),
            Reply::RetryAfter(503, "3000"),
        ],
    );
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(6)).await;
    let due = stage.row(id).await.due.unwrap();
    assert!(due > stage.clock.now().plus(secs(2900)));
    stage.clock.jump(secs(3000));
    sleep(millis(1001)).await;
    assert_eq!(stage.row(id).await.state, State::Delivered);
    assert_eq!(
        stage.errors(id).await,
        ["connect_refused", "status_5xx", ""]
    );
}
