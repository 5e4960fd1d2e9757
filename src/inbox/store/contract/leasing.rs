//! Leases, and what follows from attempts.

use super::*;

pub(crate) async fn leases_go_out_once_and_come_back((store, _keep): Bench) {
    assert_eq!(store.next_due(&lane()).await, Ok(None));
    assert_eq!(store.lease(&lane(), at(9), at(10), 9).await, Ok(vec![]));
    let a = new_id(&*store, event("a", "1", at(2))).await;
    let b = new_id(&*store, event("b", "1", at(1))).await;
    let c = new_id(&*store, event("c", "1", at(5))).await;
    assert_eq!(store.next_due(&lane()).await, Ok(Some(at(1))));
    assert_eq!(
        store
            .next_due(&LaneName::main(&SourceName::new("nobody")))
            .await,
        Ok(None)
    );
    assert_eq!(
        store
            .lease(
                &LaneName::main(&SourceName::new("nobody")),
                at(9),
                at(10),
                9
            )
            .await,
        Ok(vec![])
    );

    let leases = store.lease(&lane(), at(3), at(30), 9).await.unwrap();
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
    assert_eq!(store.lease(&lane(), at(4), at(30), 9).await, Ok(vec![]));
    assert_eq!(store.lease(&lane(), at(6), at(31), 0).await, Ok(vec![]));
    assert_eq!(
        store.lease(&lane(), at(6), at(31), 9).await.unwrap()[0].id,
        c
    );
    // A lease that runs out counts as due.
    assert_eq!(store.next_due(&lane()).await, Ok(Some(at(30))));
    let again = store.lease(&lane(), at(30), at(60), 1).await.unwrap();
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
    assert_eq!(store.next_due(&lane()).await, Ok(Some(at(60))));
    assert_eq!(store.lease(&lane(), at(59), at(90), 9).await, Ok(vec![]));

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
    assert_eq!(store.next_due(&lane()).await, Ok(None));

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
        store.lease(&lane(), at(9999), at(99999), 9).await,
        Ok(vec![])
    );
}

pub(crate) async fn a_clock_that_went_back_lets_nobody_wait_longer((store, _keep): Bench) {
    let retried = new_id(&*store, event("a", "1", at(5000))).await;
    let lease = lease_one(&*store, at(5000)).await;
    store
        .settle(
            lease,
            attempt(1, None, "timeout"),
            Next::Retry { at: at(5060) },
        )
        .await
        .unwrap();
    let fresh = new_id(&*store, event("b", "1", at(5001))).await;
    let leased = new_id(&*store, event("c", "1", at(4990))).await;
    assert_eq!(lease_one(&*store, at(4995)).await.id, leased);
    let first = planned(event("d1", "1", at(5002)), plan([to("main", Some("d"))]));
    let first = new_id(&*store, first).await;
    let second = planned(event("d2", "1", at(5003)), plan([to("main", Some("d"))]));
    let second = new_id(&*store, second).await;
    let early = new_id(&*store, event("e", "1", at(900))).await;
    let due = async |id| row(&*store, id).await.due;

    // Nothing is known of by how much: only what was never tried.
    assert_eq!(store.clock_went_back(at(4000), Duration::ZERO).await, Ok(4));
    assert_eq!(store.clock_went_back(at(4000), Duration::ZERO).await, Ok(0));
    assert_eq!(due(retried).await, Some(at(5060)));
    // By 4,000 seconds: the retry's pause is what it was.
    let by = Duration::from_secs(4000);
    assert_eq!(store.clock_went_back(at(1010), by).await, Ok(5));
    assert_eq!(due(retried).await, Some(at(1060)));
    assert_eq!(due(fresh).await, Some(at(1010)));
    assert_eq!(due(early).await, Some(at(900)));
    assert_eq!(store.next_due(&lane()).await, Ok(Some(at(900))));

    let leases = store.lease(&lane(), at(1010), at(1100), 9).await.unwrap();
    let ids: Vec<_> = leases.iter().map(|lease| lease.id).collect();
    assert_eq!(ids, [early, fresh, first], "one lease is out, one waits");
    let leases = store.lease(&lane(), at(1060), at(1200), 9).await.unwrap();
    assert_eq!(leases.iter().map(|l| l.id).collect::<Vec<_>>(), [retried]);
    // Whose turn comes later does not wait either.
    assert_eq!(
        store
            .operate(
                first,
                Operation::Discard { reason: "".into() },
                at(1061),
                None
            )
            .await,
        Ok(Operated::Done)
    );
    let leases = store.lease(&lane(), at(1062), at(1200), 9).await.unwrap();
    assert_eq!(leases.iter().map(|l| l.id).collect::<Vec<_>>(), [second]);
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
                &lane(),
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

pub(crate) async fn one_delivery_can_be_asked_for((store, _keep): Bench) {
    let a = new_id(&*store, event("a", "1", at(0))).await;
    let b = new_id(&*store, event("b", "1", at(5))).await;
    let pick = |id: EventId, now: u64| store.lease_one(id, at(now), at(now + 30));
    assert_eq!(pick(b, 4).await, Ok(Picked::NotNow), "not due");
    let Ok(Picked::Leased(lease)) = pick(b, 5).await else {
        panic!("it is due");
    };
    assert_eq!((lease.id, lease.attempt, lease.until), (b, 1, at(35)));
    assert_eq!(pick(b, 6).await, Ok(Picked::UnderWay));
    let others = store.lease(&lane(), at(6), at(60), 9).await.unwrap();
    assert_eq!(others.iter().map(|l| l.id).collect::<Vec<_>>(), [a]);
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    assert_eq!(pick(b, 7).await, Ok(Picked::NotNow));
    let stranger = EventId {
        tag: a.tag ^ 1,
        ..a
    };
    assert_eq!(pick(stranger, 100).await, Ok(Picked::NotNow));
    // Only whose turn it is.
    let order = || plan([to("main", Some("x"))]);
    let first = new_id(&*store, planned(event("c", "1", at(0)), order())).await;
    let second = new_id(&*store, planned(event("d", "1", at(0)), order())).await;
    assert_eq!(pick(second, 9).await, Ok(Picked::NotNow));
    assert!(matches!(pick(first, 9).await, Ok(Picked::Leased(_))));
    assert_eq!(pick(second, 9).await, Ok(Picked::NotNow));
}

pub(crate) async fn what_was_never_tried_can_be_asked_for((store, _keep): Bench) {
    let a = new_id(&*store, event("a", "1", at(0))).await;
    let b = new_id(&*store, event("b", "1", at(2))).await;
    let fresh = async |now: u64| -> Vec<EventId> {
        let leases = store
            .lease_fresh(&lane(), at(now), at(now + 30), 9, 0.0)
            .await;
        leases.unwrap().iter().map(|lease| lease.id).collect()
    };
    let retry = |at| Next::Retry { at };
    let lease = lease_one(&*store, at(1)).await;
    assert_eq!(lease.id, a);
    store
        .settle(lease, attempt(1, Some(503), "status_5xx"), retry(at(1)))
        .await
        .unwrap();
    // The earlier one was tried; the other is not due yet, and under way once it was given.
    assert_eq!(fresh(1).await, []);
    assert_eq!(fresh(2).await, [b]);
    assert_eq!(fresh(3).await, []);
    let both = store.lease(&lane(), at(32), at(60), 9).await.unwrap();
    assert_eq!(both.iter().map(|l| l.id).collect::<Vec<_>>(), [a, b]);
    // An attempt that came to nothing is none.
    assert_eq!(fresh(60).await, [b]);
    let c = new_id(&*store, event("c", "1", at(61))).await;
    let one = store
        .lease_fresh(&lane(), at(89), at(99), 1, 0.0)
        .await
        .unwrap();
    assert_eq!(one.iter().map(|l| l.id).collect::<Vec<_>>(), [c]);
    let rest = store.lease(&lane(), at(90), at(99), 9).await.unwrap();
    assert_eq!(rest.iter().map(|l| l.id).collect::<Vec<_>>(), [a, b]);
    // A redrive does not make it one that was never tried.
    let Some(lease) = rest.into_iter().find(|lease| lease.id == a) else {
        panic!("it was given");
    };
    let dead = Next::Dead {
        reason: "gone".into(),
    };
    store
        .settle(lease, attempt(2, Some(410), "gone"), dead)
        .await
        .unwrap();
    assert_eq!(store.redrive(a, at(91)).await, Ok(Operated::Done));
    assert_eq!(fresh(92).await, []);
    assert_eq!(lease_one(&*store, at(92)).await.id, a);
    // From the middle on, and then the others.
    let mut ids = Vec::new();
    for (key, due) in [("d", 100), ("e", 110), ("f", 119)] {
        ids.push(new_id(&*store, event(key, "1", at(due))).await);
    }
    let some = store.lease_fresh(&lane(), at(120), at(150), 1, 0.4).await;
    assert_eq!(some.unwrap()[0].id, ids[1]);
    let rest = store.lease_fresh(&lane(), at(120), at(150), 9, 0.6).await;
    let rest: Vec<EventId> = rest.unwrap().iter().map(|lease| lease.id).collect();
    assert_eq!((rest[0], rest.contains(&ids[0])), (ids[2], true));
}
