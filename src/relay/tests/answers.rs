//! What a provider hears of the application where the source wants it so, in virtual time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::inbox::store::{Attempt, Deed, DeedKind, Operated, State, Store};
use crate::message::{EventId, SourceName};
use crate::relay::AttemptError;
use crate::relay::tests::stage::{Reply, Stage, millis, route, rule, secs};
use crate::rule::{AnswerMode, Rate, Rule};

const WITHIN: Duration = secs(3);

fn answering() -> Rule {
    let mut rule = rule("shop");
    rule.answer = AnswerMode::Destination { within: WITHIN };
    rule
}

/// What the provider of this event hears on one core, and after how long.
async fn heard(stage: &Stage, core: usize, id: EventId, new: bool) -> (Option<Attempt>, Duration) {
    let (shop, began) = (SourceName::new("shop"), Instant::now());
    let waker = &stage.wakers[core];
    let heard = waker
        .heard(&*stage.store, (&shop, id), new, began + WITHIN)
        .await;
    (heard, began.elapsed())
}

fn status(heard: (Option<Attempt>, Duration)) -> (Option<u16>, Duration) {
    (heard.0.and_then(|attempt| attempt.status), heard.1)
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_heard_when_it_comes_in_time_and_by_whoever_comes_later_too() {
    let stage = Stage::new(vec![answering()]);
    stage.scripted.always("shop", Reply::Slow(secs(1), 201));
    let id = stage.accept("shop").await;
    assert_eq!(
        status(heard(&stage, 0, id, true).await),
        (Some(201), secs(1))
    );
    assert_eq!(
        status(heard(&stage, 0, id, false).await),
        (Some(201), Duration::ZERO)
    );
    // What did not take it is not heard, not even as long as another attempt is to come.
    stage.scripted.always("shop", Reply::Status(503));
    let id = stage.accept("shop").await;
    assert_eq!(status(heard(&stage, 0, id, true).await).0, None);
    assert_eq!(
        status(heard(&stage, 0, id, false).await),
        (None, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_late_is_heard_by_who_comes_while_it_is_under_way() {
    let stage = Stage::new(vec![answering()]);
    stage.scripted.always("shop", Reply::Slow(secs(5), 200));
    let id = stage.accept("shop").await;
    assert_eq!(status(heard(&stage, 0, id, true).await), (None, WITHIN));
    sleep(secs(1)).await;
    assert_eq!(
        status(heard(&stage, 0, id, false).await),
        (Some(200), secs(1))
    );
    // The same where the provider hung up.
    let id = stage.accept("shop").await;
    let gone = tokio::time::timeout(secs(1), heard(&stage, 0, id, true));
    assert!(gone.await.is_err());
    sleep(secs(3)).await;
    assert_eq!(
        status(heard(&stage, 0, id, false).await),
        (Some(200), secs(1))
    );
    assert_eq!(stage.scripted.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn another_core_may_be_faster_in_every_way() {
    let stage = Stage::with_workers(vec![answering()], 2);
    stage.scripted.always("shop", Reply::Slow(millis(1), 200));
    // It is done with it before anyone listens.
    let id = stage.accept("shop").await;
    stage.wakers[1].wake(&SourceName::new("shop"));
    sleep(millis(10)).await;
    assert_eq!(stage.row(id).await.state, State::Delivered);
    assert_eq!(status(heard(&stage, 0, id, true).await).0, Some(200));
    // The duplicate asks before the first does.
    let id = stage.accept("shop").await;
    let (second, first) = tokio::join!(heard(&stage, 1, id, false), heard(&stage, 0, id, true));
    assert_eq!((status(first).0, status(second).0), (Some(200), Some(200)));
    assert_eq!(stage.scripted.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_all_places_are_taken_the_provider_waits_for_one() {
    let mut rule = answering();
    rule.relay.main.concurrency = 1;
    let stage = Stage::with_workers(vec![rule], 2);
    stage.scripted.always("shop", Reply::Slow(millis(900), 200));
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(stage.accept("shop").await);
    }
    let (a, b, c, d) = tokio::join!(
        heard(&stage, 0, ids[0], true),
        heard(&stage, 1, ids[1], true),
        heard(&stage, 0, ids[2], true),
        heard(&stage, 1, ids[3], true),
    );
    let all = [a, b, c, d].map(|heard| status(heard).0);
    // The fourth would be answered after 3.6 seconds.
    assert_eq!(all, [Some(200), Some(200), Some(200), None]);
    assert_eq!(stage.scripted.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_in_vain_does_not_wait() {
    let none = (None, Duration::ZERO);
    // No place within the time.
    let mut rule = answering();
    let one = std::num::NonZeroU32::MIN;
    rule.relay.main.rate = Some(Rate {
        count: one,
        period: secs(60),
        burst: one,
    });
    let stage = Stage::new(vec![rule]);
    let (first, second) = (stage.accept("shop").await, stage.accept("shop").await);
    assert_eq!(status(heard(&stage, 0, first, true).await).0, Some(200));
    assert_eq!(status(heard(&stage, 0, second, true).await), none);
    // Left alone.
    let stage = Stage::new(vec![answering()]);
    let refused = Reply::Fail(AttemptError::ConnectRefused);
    stage.scripted.always("shop", refused);
    for _ in 0..5 {
        stage.accept_and_wake("shop").await;
    }
    sleep(millis(10)).await;
    let id = stage.accept("shop").await;
    assert_eq!(status(heard(&stage, 0, id, true).await), none);
    assert_eq!(stage.scripted.seen().len(), 5);
    // Paused.
    let stage = Stage::new(vec![answering()]);
    let pause = Deed {
        at: stage.now(),
        by: "operator[0]".into(),
        kind: DeedKind::Pause,
        source: Some(SourceName::new("shop")),
        destination: None,
        event: None,
        detail: String::new(),
        count: 0,
        outcome: "done".into(),
    };
    stage.store.record(pause).await.unwrap();
    let id = stage.accept("shop").await;
    assert_eq!(status(heard(&stage, 0, id, true).await), none);
    // Gone from the rules.
    let stage = Stage::new(vec![]);
    let id = stage.accept("shop").await;
    assert_eq!(status(heard(&stage, 0, id, true).await), none);
}

#[tokio::test(start_paused = true)]
async fn neither_a_reload_nor_a_stop_takes_the_answer_from_who_waits() {
    let mut stage = Stage::new(vec![answering()]);
    stage.scripted.always("shop", Reply::Slow(secs(2), 200));
    for gone in [true, false] {
        let id = stage.accept("shop").await;
        let meanwhile = async {
            sleep(secs(1)).await;
            match gone {
                true => stage.relay.set_routes(vec![]),
                false => {
                    stage.stop.send_replace(true);
                }
            }
        };
        let (heard, ()) = tokio::join!(heard(&stage, 0, id, true), meanwhile);
        assert_eq!(status(heard), (Some(200), secs(2)));
        stage.relay.set_routes(vec![route(answering())]);
        sleep(millis(10)).await;
    }
    stage.workers.remove(0).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_redrive_does_not_change_what_a_duplicate_hears() {
    let stage = Stage::new(vec![answering()]);
    stage
        .scripted
        .script("shop", [Reply::Status(201), Reply::Status(503)]);
    let id = stage.accept("shop").await;
    assert_eq!(status(heard(&stage, 0, id, true).await).0, Some(201));
    let redriven = stage.store.redrive(id, stage.now()).await;
    assert_eq!(redriven, Ok(Operated::Done));
    stage.relay.wake(&SourceName::new("shop"));
    sleep(millis(10)).await;
    assert_eq!(stage.attempts(id).await.len(), 2);
    assert_eq!(status(heard(&stage, 0, id, false).await).0, Some(201));
}
