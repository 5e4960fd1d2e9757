//! What goes wrong inside: a store that fails, events that cannot be sent, panics.

use std::io::ErrorKind;

use tokio::time::sleep;

use crate::inbox::store::plain::Op;
use crate::inbox::store::{State, StoreError, Unavailable};
use crate::message::SourceName;
use crate::relay::tests::stage::{Reply, Stage, millis, rule, secs};

const IO: StoreError = StoreError::Io {
    doing: "a test",
    kind: ErrorKind::Other,
};

#[tokio::test(start_paused = true)]
async fn a_damaged_event_is_a_dead_letter_and_is_never_sent() {
    let stage = Stage::new(vec![rule("shop")]);
    let id = stage.accept("shop").await;
    stage.store.damage(id);
    let good = stage.accept_and_wake("shop").await;
    sleep(millis(1)).await;
    let row = stage.row(id).await;
    assert_eq!((row.state, row.reason.as_str()), (State::Dead, "damaged"));
    assert_eq!(stage.row(good).await.state, State::Delivered);
    assert_eq!(stage.scripted.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_410_is_a_dead_letter_at_once() {
    let stage = Stage::new(vec![rule("shop")]);
    stage.scripted.script("shop", [Reply::Status(410)]);
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(100)).await;
    let row = stage.row(id).await;
    assert_eq!(
        (row.state, row.reason.as_str(), row.attempts),
        (State::Dead, "gone", 1)
    );
    assert_eq!(stage.attempts(id).await[0].status, Some(410));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_lease_is_asked_again() {
    let stage = Stage::new(vec![rule("shop")]);
    sleep(millis(1)).await;
    stage.store.fail(Op::Lease, [IO, IO, IO]);
    stage.store.fail(Op::NextDue, [IO]);
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(2)).await;
    assert_eq!(stage.row(id).await.state, State::Delivered);
    assert_eq!(stage.scripted.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_settle_is_asked_again_without_a_second_attempt() {
    let stage = Stage::new(vec![rule("shop")]);
    stage.store.fail(
        Op::Settle,
        [StoreError::Unavailable(Unavailable::QueueFull), IO, IO],
    );
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(60)).await;
    assert_eq!(stage.row(id).await.state, State::Delivered);
    assert_eq!(stage.scripted.seen().len(), 1);
    assert_eq!(stage.attempts(id).await[0].took, secs(0));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_cannot_be_written_down_is_repeated_when_its_lease_runs_out() {
    let stage = Stage::new(vec![rule("shop")]);
    stage.store.fail(Op::Settle, vec![IO; 14]);
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(120)).await;
    assert_eq!(stage.row(id).await.state, State::Delivered);
    let seen = stage.scripted.seen();
    assert_eq!((seen.len(), seen[0].attempt, seen[1].attempt), (2, 1, 1));
    assert_eq!(seen[0].event, seen[1].event);
}

/// A disk that is full, or has become read-only, for half an hour: what was delivered is not
/// delivered anew each time that its lease runs out, and nothing else is begun.
#[tokio::test(start_paused = true)]
async fn a_store_that_writes_nothing_repeats_nothing() {
    let stage = Stage::new(vec![rule("shop"), rule("other")]);
    let full = StoreError::Unavailable(Unavailable::WriteFailed);
    stage.store.fail(Op::Settle, vec![full; 360]);
    let first = stage.accept_and_wake("shop").await;
    sleep(secs(60)).await;
    let second = stage.accept_and_wake("other").await;
    sleep(secs(1500)).await;
    assert_eq!(stage.scripted.seen().len(), 1);
    sleep(secs(600)).await;
    for id in [first, second] {
        let row = stage.row(id).await;
        assert_eq!((row.state, row.attempts), (State::Delivered, 1));
    }
    assert_eq!(stage.scripted.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_read_for_a_while_costs_no_attempt() {
    let stage = Stage::new(vec![rule("shop")]);
    stage.store.fail(Op::Read, [IO, IO, IO]);
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(5)).await;
    assert_eq!(
        (stage.row(id).await.state, stage.row(id).await.attempts),
        (State::Delivered, 1)
    );
    // For longer than anyone waits: nothing is written down, and the lease runs out.
    stage.store.fail(Op::Read, vec![IO; 5]);
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(30)).await;
    assert_eq!(
        (stage.row(id).await.state, stage.row(id).await.attempts),
        (State::Owed, 0)
    );
    sleep(secs(15)).await;
    assert_eq!(
        (stage.row(id).await.state, stage.row(id).await.attempts),
        (State::Delivered, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_not_fought_over() {
    let stage = Stage::new(vec![rule("shop")]);
    stage.scripted.script("shop", [Reply::Slow(secs(5), 500)]);
    let id = stage.accept_and_wake("shop").await;
    sleep(secs(1)).await;
    let discarded = crate::inbox::store::Store::discard(
        &*stage.store,
        id,
        crate::clock::Timestamp::MAX,
        "no".into(),
    );
    discarded.await.unwrap();
    sleep(secs(60)).await;
    assert_eq!(
        (stage.row(id).await.state, stage.scripted.seen().len()),
        (State::Discarded, 1)
    );
    assert_eq!(
        stage
            .relay
            .under_way(&crate::message::LaneName::main(&SourceName::new("shop"))),
        Some(0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_neither_the_permit_nor_the_delivery() {
    let mut rule = rule("shop");
    rule.relay.main.concurrency = 1;
    let stage = Stage::new(vec![rule]);
    stage.scripted.script("shop", [Reply::Panic]);
    let unlucky = stage.accept_and_wake("shop").await;
    let next = stage.accept_and_wake("shop").await;
    sleep(millis(1)).await;
    assert_eq!(stage.row(next).await.state, State::Delivered);
    assert_eq!(stage.row(unlucky).await.state, State::Owed);
    sleep(secs(41)).await;
    assert_eq!(stage.row(unlucky).await.state, State::Delivered);
}
