//! What every store must do, whatever is behind it. One line runs it all on a backend:
//!
//! ```ignore
//! contract_tests!(embedded, || async { (store, whatever_must_live_as_long) });
//! ```

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::message::Headers;

/// A store to test, and what must live as long as it (a directory).
pub(crate) type Bench = (Arc<dyn Store>, Box<dyn Any + Send>);

pub(crate) const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + secs)
}

pub(crate) fn source() -> SourceName {
    SourceName::new("shop")
}

/// An event of `shop`: `key` is its idempotency key and event id.
pub(crate) fn event(key: &str, body: &str, received_at: Timestamp) -> NewEvent {
    event_of("shop", key, "payment", body.as_bytes(), received_at)
}

pub(crate) fn event_of(
    source: &str,
    key: &str,
    event_type: &str,
    body: &[u8],
    received_at: Timestamp,
) -> NewEvent {
    use sha2::Digest;
    let mut headers = Headers::new();
    headers.push("content-type", "application/json");
    headers.push("x-id", Bytes::copy_from_slice(key.as_bytes()));
    let stored = StoredEvent {
        source: SourceName::new(source),
        provider: "stripe".into(),
        received_at,
        peer: "192.0.2.7".parse().unwrap(),
        method: "POST".into(),
        target: "/stripe?x=1".into(),
        headers,
        body: Bytes::copy_from_slice(body),
        event_key: key.into(),
        event_type: event_type.into(),
        verified: "hmac-sha256 keys[0]".into(),
        conflict_of: None,
    };
    let claim = Claim {
        key: format!("{source}\0{key}").into_bytes(),
        body: sha2::Sha256::digest(body).into(),
        keep: KEEP,
    };
    NewEvent::new(stored, claim)
}

pub(crate) fn attempt(number: u32, status: Option<u16>, error: &str) -> Attempt {
    Attempt {
        number,
        started_at: at(1000 + u64::from(number)),
        took: Duration::from_millis(12),
        status,
        error: error.into(),
    }
}

async fn new_id(store: &dyn Store, event: NewEvent) -> EventId {
    match store.accept(event).await {
        Ok(Acceptance::New(id)) => id,
        other => panic!("expected New, got {other:?}"),
    }
}

async fn lease_one(store: &dyn Store, now: Timestamp) -> Lease {
    let mut leases = store
        .lease(&source(), now, now.plus(Duration::from_secs(30)), 1)
        .await
        .unwrap();
    assert_eq!(leases.len(), 1, "one delivery is due");
    leases.remove(0)
}

async fn row(store: &dyn Store, id: EventId) -> Row {
    store.row(id).await.unwrap().expect("the row is there")
}

pub(crate) async fn accepted_comes_back_byte_for_byte((store, _keep): Bench) {
    let new = event_of("shop", "a", "payment", b"{\"\xff\0\":1}", at(0));
    let expected = new.event().clone();
    let id = new_id(&*store, new).await;
    assert_eq!(store.read(id).await, Ok(Some(expected.clone())));
    let shown = row(&*store, id).await;
    let row = Row {
        id,
        source: source(),
        provider: "stripe".into(),
        event_key: "a".into(),
        event_type: "payment".into(),
        received_at: at(0),
        state: State::Owed,
        attempts: 0,
        due: Some(at(0)),
        reason: String::new(),
        conflict: false,
        body_bytes: expected.body.len() as u32,
    };
    assert_eq!(shown, row);
    assert_eq!(store.stats().owed, 1);
    assert_eq!(store.stats().oldest_owed, Some(at(0)));
    assert!(store.stats().accepting);
    // Empty and large bodies, and many headers.
    let large = event_of("shop", "large", "t", &vec![7; 50_000], at(1));
    let expected = large.event().clone();
    let id = new_id(&*store, large).await;
    assert_eq!(store.read(id).await, Ok(Some(expected)));
    let id = new_id(&*store, event("empty", "", at(2))).await;
    assert_eq!(store.read(id).await.unwrap().unwrap().body.len(), 0);
}

pub(crate) async fn a_duplicate_names_the_first((store, _keep): Bench) {
    let first = new_id(&*store, event("a", "1", at(0))).await;
    let other = new_id(&*store, event("b", "1", at(0))).await;
    assert_ne!(first, other);
    assert_eq!(
        store.accept(event("a", "1", at(9))).await,
        Ok(Acceptance::Duplicate(first))
    );
    // The key of another source is another key.
    let elsewhere = event_of("other", "a", "payment", b"1", at(0));
    assert!(matches!(
        store.accept(elsewhere).await,
        Ok(Acceptance::New(_))
    ));
    // Also after it was delivered.
    let lease = lease_one(&*store, at(1)).await;
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    assert_eq!(
        store.accept(event("a", "1", at(9))).await,
        Ok(Acceptance::Duplicate(first))
    );
    assert_eq!(store.stats().owed, 2);
}

pub(crate) async fn the_same_key_with_another_body_is_kept_and_flagged((store, _keep): Bench) {
    let first = new_id(&*store, event("a", "1", at(0))).await;
    let conflict = match store.accept(event("a", "2", at(1))).await {
        Ok(Acceptance::Conflict { id, of }) if of == first => id,
        other => panic!("expected a conflict with {first}, got {other:?}"),
    };
    let read = store.read(conflict).await.unwrap().unwrap();
    assert_eq!((&read.body[..], read.conflict_of), (&b"2"[..], Some(first)));
    assert!(row(&*store, conflict).await.conflict);
    assert!(!row(&*store, first).await.conflict);
    assert_eq!(
        store.accept(event("a", "1", at(2))).await,
        Ok(Acceptance::Duplicate(first))
    );
    assert_eq!(
        store.accept(event("a", "2", at(3))).await,
        Ok(Acceptance::Duplicate(conflict))
    );
    // A third body conflicts with the first again.
    assert!(
        matches!(store.accept(event("a", "3", at(4))).await, Ok(Acceptance::Conflict { of, .. }) if of == first)
    );
    assert_eq!(store.stats().owed, 3);
}

pub(crate) async fn leases_go_out_once_and_come_back((store, _keep): Bench) {
    assert_eq!(store.next_due(&source()).await, Ok(None));
    assert_eq!(store.lease(&source(), at(9), at(10), 9).await, Ok(vec![]));
    let a = new_id(&*store, event("a", "1", at(2))).await;
    let b = new_id(&*store, event("b", "1", at(1))).await;
    let c = new_id(&*store, event("c", "1", at(5))).await;
    assert_eq!(store.next_due(&source()).await, Ok(Some(at(1))));
    assert_eq!(store.next_due(&SourceName::new("nobody")).await, Ok(None));
    assert_eq!(
        store
            .lease(&SourceName::new("nobody"), at(9), at(10), 9)
            .await,
        Ok(vec![])
    );

    let leases = store.lease(&source(), at(3), at(30), 9).await.unwrap();
    assert_eq!(
        leases.iter().map(|l| l.id).collect::<Vec<_>>(),
        [b, a],
        "earliest due first; c is not due"
    );
    let first = &leases[0];
    assert_eq!(
        (first.attempt, first.round, first.since, first.until),
        (1, 0, at(1), at(30))
    );
    assert_eq!(store.lease(&source(), at(4), at(30), 9).await, Ok(vec![]));
    assert_eq!(store.lease(&source(), at(6), at(31), 0).await, Ok(vec![]));
    assert_eq!(
        store.lease(&source(), at(6), at(31), 9).await.unwrap()[0].id,
        c
    );
    // A lease that runs out counts as due.
    assert_eq!(store.next_due(&source()).await, Ok(Some(at(30))));
    let again = store.lease(&source(), at(30), at(60), 1).await.unwrap();
    assert_eq!(again.len(), 1);
    assert!([a, b].contains(&again[0].id));
    assert!(leases.iter().all(|l| l.grant != again[0].grant));
}

pub(crate) async fn settling_decides_what_follows((store, _keep): Bench) {
    let id = new_id(&*store, event("a", "1", at(0))).await;
    let lease = lease_one(&*store, at(1)).await;
    let retry = Next::Retry { at: at(60) };
    store
        .settle(lease, attempt(1, None, "timeout"), retry)
        .await
        .unwrap();
    let shown = row(&*store, id).await;
    assert_eq!(
        (shown.state, shown.attempts, shown.due),
        (State::Owed, 1, Some(at(60)))
    );
    assert_eq!(shown.reason, "timeout");
    assert_eq!(store.next_due(&source()).await, Ok(Some(at(60))));
    assert_eq!(store.lease(&source(), at(59), at(90), 9).await, Ok(vec![]));

    let lease = lease_one(&*store, at(60)).await;
    assert_eq!((lease.attempt, lease.round, lease.since), (2, 1, at(0)));
    let dead = Next::Dead {
        reason: "gone".into(),
    };
    store
        .settle(lease, attempt(2, Some(410), "status"), dead)
        .await
        .unwrap();
    let shown = row(&*store, id).await;
    assert_eq!(
        (shown.state, shown.attempts, shown.due),
        (State::Dead, 2, None)
    );
    assert_eq!(shown.reason, "gone");
    assert_eq!((store.stats().owed, store.stats().dead), (0, 1));
    assert_eq!(store.next_due(&source()).await, Ok(None));

    let other = new_id(&*store, event("b", "1", at(100))).await;
    let lease = lease_one(&*store, at(100)).await;
    store
        .settle(lease, attempt(1, Some(204), ""), Next::Delivered)
        .await
        .unwrap();
    let shown = row(&*store, other).await;
    assert_eq!(
        (shown.state, shown.attempts, shown.due),
        (State::Delivered, 1, None)
    );
    assert_eq!(shown.reason, "");
    assert_eq!(
        store.attempts(id).await.unwrap(),
        [attempt(1, None, "timeout"), attempt(2, Some(410), "status")]
    );
    assert_eq!(
        store.attempts(other).await.unwrap(),
        [attempt(1, Some(204), "")]
    );
    assert_eq!(
        store.lease(&source(), at(9999), at(99999), 9).await,
        Ok(vec![])
    );
}

pub(crate) async fn a_lost_lease_changes_nothing_but_is_written_down((store, _keep): Bench) {
    let id = new_id(&*store, event("a", "1", at(0))).await;
    let late = lease_one(&*store, at(1)).await;
    let current = lease_one(&*store, late.until).await;
    assert_ne!(late.grant, current.grant);
    assert_eq!(
        store
            .settle(late.clone(), attempt(1, None, "timeout"), Next::Delivered)
            .await,
        Err(StoreError::LeaseLost)
    );
    assert_eq!(row(&*store, id).await.state, State::Owed);
    // The lease of the other one still holds.
    assert_eq!(
        store
            .lease(
                &source(),
                current.until.minus(Duration::from_secs(1)),
                at(999),
                9
            )
            .await,
        Ok(vec![])
    );
    store
        .settle(current.clone(), attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    assert_eq!(
        store.attempts(id).await.unwrap(),
        [attempt(1, None, "timeout"), attempt(1, Some(200), "")]
    );
    assert_eq!(row(&*store, id).await.state, State::Delivered);
    // Nor can one lease be ended twice.
    assert_eq!(
        store
            .settle(
                current,
                attempt(2, Some(500), "status"),
                Next::Retry { at: at(5) }
            )
            .await,
        Err(StoreError::LeaseLost)
    );
    assert_eq!(row(&*store, id).await.state, State::Delivered);
    assert_eq!(store.stats().owed, 0);
    // A lease that has run out, but that nobody else was given, still holds.
    new_id(&*store, event("b", "1", at(0))).await;
    let lease = lease_one(&*store, at(1)).await;
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
}

pub(crate) async fn an_operator_has_the_last_word((store, _keep): Bench) {
    let id = new_id(&*store, event("a", "1", at(0))).await;
    // Discarded under way: the attempt's outcome no longer counts.
    let lease = lease_one(&*store, at(1)).await;
    assert_eq!(
        store.discard(id, at(2), "not ours".into()).await,
        Ok(Operated::Done)
    );
    assert_eq!(
        store
            .settle(
                lease,
                attempt(1, Some(500), "status"),
                Next::Retry { at: at(9) }
            )
            .await,
        Err(StoreError::LeaseLost)
    );
    let shown = row(&*store, id).await;
    assert_eq!(
        (shown.state, shown.reason.as_str(), shown.due),
        (State::Discarded, "not ours", None)
    );
    assert_eq!(store.attempts(id).await.unwrap().len(), 1);
    assert_eq!(
        store.discard(id, at(3), "again".into()).await,
        Ok(Operated::NotApplicable(State::Discarded))
    );
    assert_eq!(store.stats().owed, 0);

    assert_eq!(store.redrive(id, at(50)).await, Ok(Operated::Done));
    assert_eq!(row(&*store, id).await.due, Some(at(50)));
    let lease = lease_one(&*store, at(50)).await;
    assert_eq!(
        (lease.id, lease.round, lease.since),
        (id, 0, at(50)),
        "the policy starts anew"
    );
    store
        .settle(lease, attempt(2, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    assert_eq!(
        store.discard(id, at(60), "x".into()).await,
        Ok(Operated::NotApplicable(State::Delivered))
    );
    assert_eq!(row(&*store, id).await.state, State::Delivered);
    // Delivered can be redriven as well.
    assert_eq!(store.redrive(id, at(70)).await, Ok(Operated::Done));
    let lease = lease_one(&*store, at(70)).await;
    store
        .settle(
            lease,
            attempt(3, None, "timeout"),
            Next::Retry { at: at(500) },
        )
        .await
        .unwrap();
    // One that is owed is due at once.
    assert_eq!(store.redrive(id, at(80)).await, Ok(Operated::Done));
    assert_eq!(store.next_due(&source()).await, Ok(Some(at(80))));
    let lease = lease_one(&*store, at(80)).await;
    store
        .settle(
            lease,
            attempt(4, None, "timeout"),
            Next::Dead {
                reason: "gave_up".into(),
            },
        )
        .await
        .unwrap();
    assert_eq!(store.stats().dead, 1);
    assert_eq!(
        store.discard(id, at(90), "enough".into()).await,
        Ok(Operated::Done)
    );
    assert_eq!((store.stats().dead, store.stats().owed), (0, 0));
}

pub(crate) async fn what_is_not_there_is_not_found((store, _keep): Bench) {
    let id = new_id(&*store, event("a", "1", at(0))).await;
    let strangers = [
        EventId {
            tag: id.tag ^ 1,
            ..id
        },
        EventId {
            offset: id.offset + 8,
            ..id
        },
        EventId {
            offset: id.offset + 1,
            ..id
        },
        EventId { offset: 0, ..id },
        EventId {
            offset: u32::MAX,
            ..id
        },
        EventId {
            segment: id.segment + 1,
            ..id
        },
        EventId {
            segment: 0,
            offset: 0,
            tag: 0,
        },
    ];
    for id in strangers {
        assert_eq!(store.read(id).await, Ok(None), "{id}");
        assert_eq!(store.row(id).await, Ok(None), "{id}");
        assert_eq!(store.attempts(id).await, Ok(vec![]), "{id}");
        assert_eq!(
            store.redrive(id, at(1)).await,
            Ok(Operated::NotFound),
            "{id}"
        );
        assert_eq!(
            store.discard(id, at(1), String::new()).await,
            Ok(Operated::NotFound),
            "{id}"
        );
    }
    assert_eq!(row(&*store, id).await.state, State::Owed);
}

async fn keys(store: &dyn Store, filter: &Filter) -> Vec<String> {
    let mut after = None;
    let mut keys = Vec::new();
    loop {
        let page = store.list(filter, after, 3).await.unwrap();
        assert!(page.rows.len() <= 3);
        keys.extend(page.rows.into_iter().map(|row| row.event_key));
        match page.next {
            Some(next) => after = Some(next),
            None => return keys,
        }
    }
}

pub(crate) async fn the_list_is_newest_first_and_filters((store, _keep): Bench) {
    assert_eq!(
        store.list(&Filter::default(), None, 10).await,
        Ok(Page::default())
    );
    for n in 0..10u64 {
        let (from, what) = if n % 2 == 0 {
            ("shop", "payment")
        } else {
            ("other", "refund")
        };
        new_id(&*store, event_of(from, &format!("k{n}"), what, b"1", at(n))).await;
    }
    let all: Vec<String> = (0..10).rev().map(|n| format!("k{n}")).collect();
    assert_eq!(keys(&*store, &Filter::default()).await, all);
    let page = store.list(&Filter::default(), None, 4).await.unwrap();
    assert_eq!(page.rows.len(), 4);
    // What comes in meanwhile does not move the next page.
    new_id(&*store, event("k10", "1", at(10))).await;
    let next = store.list(&Filter::default(), page.next, 4).await.unwrap();
    assert_eq!(
        next.rows
            .iter()
            .map(|r| r.event_key.as_str())
            .collect::<Vec<_>>(),
        ["k5", "k4", "k3", "k2"]
    );

    let of = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    let shop = of(|f| f.source = Some(source()));
    assert_eq!(
        keys(&*store, &shop).await,
        ["k10", "k8", "k6", "k4", "k2", "k0"]
    );
    assert_eq!(
        keys(&*store, &of(|f| f.source = Some(SourceName::new("nobody")))).await,
        [""; 0]
    );
    assert_eq!(
        keys(&*store, &of(|f| f.event_type = Some("refund".into()))).await,
        ["k9", "k7", "k5", "k3", "k1"]
    );
    assert_eq!(
        keys(&*store, &of(|f| f.event_key = Some("k3".into()))).await,
        ["k3"]
    );
    assert_eq!(
        keys(
            &*store,
            &of(|f| (f.from, f.to) = (Some(at(3)), Some(at(6))))
        )
        .await,
        ["k5", "k4", "k3"]
    );

    let lease = lease_one(&*store, at(0)).await;
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    let lease = lease_one(&*store, at(2)).await;
    store
        .settle(
            lease,
            attempt(1, Some(410), ""),
            Next::Dead {
                reason: "gone".into(),
            },
        )
        .await
        .unwrap();
    assert_eq!(
        keys(&*store, &of(|f| f.state = Some(State::Delivered))).await,
        ["k0"]
    );
    assert_eq!(
        keys(&*store, &of(|f| f.state = Some(State::Dead))).await,
        ["k2"]
    );
    assert_eq!(
        keys(&*store, &of(|f| f.state = Some(State::Discarded))).await,
        [""; 0]
    );
    let owed = of(|f| (f.state, f.source) = (Some(State::Owed), Some(source())));
    assert_eq!(keys(&*store, &owed).await, ["k10", "k8", "k6", "k4"]);
}

pub(crate) async fn only_what_is_settled_and_old_expires((store, _keep): Bench) {
    let delivered = new_id(&*store, event("delivered", "1", at(0))).await;
    let lease = lease_one(&*store, at(0)).await;
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    let later = at(0).plus(KEEP).plus(Duration::from_secs(2 * 24 * 3600));
    // Owed: nothing of it may go, however old.
    let owed = new_id(&*store, event("owed", "1", at(1))).await;
    store.expire(later).await.unwrap();
    assert!(store.read(owed).await.unwrap().is_some());
    assert_eq!(
        store.accept(event("owed", "1", at(5))).await,
        Ok(Acceptance::Duplicate(owed))
    );
    // A dead letter older than its keep goes as well.
    let lease = lease_one(&*store, at(1)).await;
    store
        .settle(
            lease,
            attempt(1, Some(410), ""),
            Next::Dead {
                reason: "gone".into(),
            },
        )
        .await
        .unwrap();
    store.expire(at(100)).await.unwrap();
    assert!(store.read(owed).await.unwrap().is_some(), "too young");
    assert_eq!(
        store.accept(event("owed", "1", at(5))).await,
        Ok(Acceptance::Duplicate(owed))
    );
    store.expire(later).await.unwrap();
    store.expire(later).await.unwrap();
    for id in [delivered, owed] {
        assert_eq!(store.read(id).await, Ok(None));
        assert_eq!(store.row(id).await, Ok(None));
        assert_eq!(store.redrive(id, later).await, Ok(Operated::NotFound));
    }
    assert_eq!(
        store.list(&Filter::default(), None, 10).await,
        Ok(Page::default())
    );
    assert_eq!(store.stats().dead, 0);
    // The key is free again.
    let again = new_id(&*store, event("delivered", "1", later)).await;
    assert_ne!(again, delivered);
    assert_eq!(store.stats().owed, 1);
}

pub(crate) async fn a_storm_of_one_event_is_one_event((store, _keep): Bench) {
    for round in 0..20 {
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(
                    async move { store.accept(event(&format!("k{round}"), "1", at(0))).await },
                )
            })
            .collect();
        let mut new = Vec::new();
        let mut named = HashSet::new();
        for task in tasks {
            let acceptance = task.await.unwrap().unwrap();
            named.insert(acceptance.id());
            if let Acceptance::New(id) = acceptance {
                new.push(id);
            }
        }
        assert_eq!(new.len(), 1, "exactly one is new");
        assert_eq!(named.len(), 1, "all name the same event");
        assert!(store.read(new[0]).await.unwrap().is_some());
    }
    assert_eq!(store.stats().owed, 20);
}

pub(crate) async fn a_storm_of_many_loses_none((store, _keep): Bench) {
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            let store = Arc::clone(&store);
            let body = "x".repeat(n * 7);
            tokio::spawn(
                async move { (n, store.accept(event(&format!("k{n}"), &body, at(0))).await) },
            )
        })
        .collect();
    let mut ids = HashSet::new();
    for task in tasks {
        let (n, acceptance) = task.await.unwrap();
        let Ok(Acceptance::New(id)) = acceptance else {
            panic!("{acceptance:?}")
        };
        assert!(ids.insert(id));
        let read = store.read(id).await.unwrap().unwrap();
        assert_eq!((read.event_key, read.body.len()), (format!("k{n}"), n * 7));
    }
    // Everyone gets other work.
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut done = Vec::new();
                loop {
                    let leases = store.lease(&source(), at(1), at(60), 5).await.unwrap();
                    if leases.is_empty() {
                        return done;
                    }
                    for lease in leases {
                        done.push(lease.id);
                        store
                            .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
                            .await
                            .unwrap();
                    }
                }
            })
        })
        .collect();
    let mut done = Vec::new();
    for worker in workers {
        done.extend(worker.await.unwrap());
    }
    assert_eq!(done.len(), 300);
    assert_eq!(done.into_iter().collect::<HashSet<_>>(), ids);
    assert_eq!(store.stats().owed, 0);
}

pub(crate) async fn after_closing_nothing_goes((store, _keep): Bench) {
    let id = new_id(&*store, event("a", "1", at(0))).await;
    store.close().await.unwrap();
    assert_eq!(
        store.accept(event("b", "1", at(0))).await,
        Err(StoreError::Closed)
    );
    assert_eq!(store.read(id).await, Err(StoreError::Closed));
    assert_eq!(
        store.lease(&source(), at(1), at(2), 1).await,
        Err(StoreError::Closed)
    );
    assert_eq!(store.redrive(id, at(1)).await, Err(StoreError::Closed));
    assert!(!store.stats().accepting);
}

/// Runs the whole contract on a backend: a name for the module, and what makes a fresh [`Bench`].
macro_rules! contract_tests {
    ($name:ident, $bench:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::inbox::store::contract::contract_tests!(@each $bench;
                accepted_comes_back_byte_for_byte,
                a_duplicate_names_the_first,
                the_same_key_with_another_body_is_kept_and_flagged,
                leases_go_out_once_and_come_back,
                settling_decides_what_follows,
                a_lost_lease_changes_nothing_but_is_written_down,
                an_operator_has_the_last_word,
                what_is_not_there_is_not_found,
                the_list_is_newest_first_and_filters,
                only_what_is_settled_and_old_expires,
                a_storm_of_one_event_is_one_event,
                a_storm_of_many_loses_none,
                after_closing_nothing_goes,
            );
        }
    };
    (@each $bench:expr; $($test:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let bench: $crate::inbox::store::contract::Bench = ($bench)().await;
                $crate::inbox::store::contract::$test(bench).await;
            }
        )*
    };
}
pub(crate) use contract_tests;
