//! Several deliveries of one event, and those that go out in order.

use super::*;

fn lane_to(destination: &str) -> LaneName {
    LaneName::new(&source(), &DestinationName::new(destination))
}

async fn lease_at(store: &dyn Store, lane: &LaneName, now: Timestamp) -> Vec<Lease> {
    let until = now.plus(Duration::from_secs(30));
    store.lease(lane, now, until, 9).await.unwrap()
}

fn ids(leases: &[Lease]) -> Vec<EventId> {
    leases.iter().map(|lease| lease.id).collect()
}

fn dead() -> Next {
    Next::Dead {
        reason: "gone".into(),
    }
}

pub(crate) async fn each_destination_has_a_delivery_of_its_own((store, _keep): Bench) {
    let mut filtered = to("risk", None);
    filtered.wanted = false;
    let plan = plan([to("main", None), to("ledger", None), filtered]);
    let new = planned(event("a", "1", at(0)), plan);
    let expected = new.event().clone();
    let id = new_id(&*store, new).await;
    let each = [0, 1, 2].map(|n| id.of_delivery(n));
    assert_eq!(each[0], id);
    for delivery in each {
        assert_eq!(delivery.event(), id);
        assert_eq!(store.read(delivery).await, Ok(Some(expected.clone())));
    }
    // One that the event does not have.
    for n in 3..8 {
        let none = id.of_delivery(n);
        assert_eq!(store.read(none).await, Ok(None));
        assert_eq!(store.row(none).await, Ok(None));
        assert_eq!(store.redrive(none, at(1)).await, Ok(Operated::NotFound));
    }
    let mut states = Vec::new();
    for delivery in each {
        let row = row(&*store, delivery).await;
        states.push((row.destination.to_string(), row.state, row.due));
    }
    assert_eq!(
        states,
        [
            ("main".into(), State::Owed, Some(at(0))),
            ("ledger".into(), State::Owed, Some(at(0))),
            ("risk".into(), State::Filtered, None),
        ]
    );
    assert_eq!(store.stats().owed, 2);
    assert_eq!(store.next_due(&lane_to("risk")).await, Ok(None));

    // One that fails does not hold another.
    let lease = lease_at(&*store, &lane_to("main"), at(1)).await.remove(0);
    let retry = Next::Retry { at: at(600) };
    store
        .settle(lease, attempt(1, Some(500), "status"), retry)
        .await
        .unwrap();
    let lease = lease_at(&*store, &lane_to("ledger"), at(1)).await.remove(0);
    assert_eq!((lease.id, lease.attempt), (each[1], 1));
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    assert_eq!(row(&*store, each[0]).await.state, State::Owed);
    assert_eq!(row(&*store, each[1]).await.state, State::Delivered);
    assert_eq!(store.attempts(each[0]).await.unwrap().len(), 1);
    assert_eq!(
        store.attempts(each[1]).await.unwrap(),
        [attempt(1, Some(200), "")]
    );
    // What was filtered is there for an operator.
    assert_eq!(
        store.discard(each[2], at(2), "x".into()).await,
        Ok(Operated::NotApplicable(State::Filtered))
    );
    assert_eq!(store.redrive(each[2], at(3)).await, Ok(Operated::Done));
    assert_eq!(
        ids(&lease_at(&*store, &lane_to("risk"), at(3)).await),
        [each[2]]
    );
    // It is one event all the same.
    assert_eq!(
        store.accept(event("a", "1", at(9))).await,
        Ok(Acceptance::Duplicate(id))
    );
    let filter = Filter {
        destination: Some(DestinationName::new("ledger")),
        ..Filter::default()
    };
    let page = store.list(&filter, None, 9).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    assert_eq!(page.rows[0].id, each[1]);
    let counted = store.count(&Filter::default(), None).await.unwrap();
    assert_eq!((counted.count, counted.next), (3, None));
}

pub(crate) async fn an_event_with_nothing_but_filtered_deliveries_is_kept((store, _keep): Bench) {
    let mut filtered = to("main", None);
    filtered.wanted = false;
    let id = new_id(&*store, planned(event("a", "1", at(0)), plan([filtered]))).await;
    assert_eq!(store.stats().owed, 0);
    assert_eq!(lease_at(&*store, &lane(), at(9)).await, []);
    assert!(store.read(id).await.unwrap().is_some());
    let later = at(0).plus(KEEP).plus(Duration::from_secs(2 * 24 * 3600));
    store.expire(later).await.unwrap();
    store.expire(later).await.unwrap();
    assert_eq!(store.read(id).await, Ok(None));
}

async fn ordered(store: &dyn Store, key: &str, value: &str, hold: bool, n: u64) -> EventId {
    let mut delivery = to("main", Some(value));
    if let Some(order) = &mut delivery.order {
        order.hold = hold;
    }
    new_id(store, planned(event(key, "1", at(n)), plan([delivery]))).await
}

pub(crate) async fn those_in_order_go_one_after_the_other((store, _keep): Bench) {
    let a1 = ordered(&*store, "a1", "a", false, 5).await;
    let a2 = ordered(&*store, "a2", "a", false, 0).await;
    let a3 = ordered(&*store, "a3", "a", false, 1).await;
    let b1 = ordered(&*store, "b1", "b", false, 2).await;
    let free = new_id(&*store, event("free", "1", at(3))).await;
    // As they were accepted, whenever they were received; and one order never holds another.
    assert_eq!(store.next_due(&lane()).await, Ok(Some(at(2))));
    assert_eq!(ids(&lease_at(&*store, &lane(), at(4)).await), [b1, free]);
    let first = lease_at(&*store, &lane(), at(5)).await;
    assert_eq!(ids(&first), [a1]);
    assert_eq!(lease_at(&*store, &lane(), at(6)).await, []);
    // Waiting for the next attempt it keeps its turn.
    let retry = Next::Retry { at: at(100) };
    store
        .settle(first[0].clone(), attempt(1, None, "timeout"), retry)
        .await
        .unwrap();
    assert_eq!(ids(&lease_at(&*store, &lane(), at(40)).await), [b1, free]);
    let first = lease_at(&*store, &lane(), at(100)).await;
    assert!(ids(&first).contains(&a1) && !ids(&first).contains(&a2));
    let lease = first.iter().find(|lease| lease.id == a1).unwrap().clone();
    store
        .settle(lease, attempt(2, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    let next = lease_at(&*store, &lane(), at(101)).await;
    assert_eq!(ids(&next), [a2]);
    // What an operator ends frees the next.
    assert_eq!(
        store.discard(a2, at(102), "x".into()).await,
        Ok(Operated::Done)
    );
    let third = lease_at(&*store, &lane(), at(102)).await;
    assert_eq!(ids(&third), [a3]);
    // One that is redriven comes first again, but never beside the one that is under way.
    assert_eq!(store.redrive(a1, at(103)).await, Ok(Operated::Done));
    assert_eq!(lease_at(&*store, &lane(), at(104)).await, []);
    let retry = Next::Retry { at: at(105) };
    store
        .settle(third[0].clone(), attempt(1, None, "timeout"), retry)
        .await
        .unwrap();
    assert_eq!(ids(&lease_at(&*store, &lane(), at(105)).await), [a1]);
}

pub(crate) async fn a_dead_letter_holds_those_behind_it_where_it_shall((store, _keep): Bench) {
    for hold in [false, true] {
        let value = if hold { "held" } else { "goes on" };
        let key = |n: u32| format!("{value} {n}");
        let first = ordered(&*store, &key(1), value, hold, 0).await;
        let second = ordered(&*store, &key(2), value, hold, 0).await;
        let lease = lease_at(&*store, &lane(), at(1)).await.remove(0);
        assert_eq!(lease.id, first);
        store
            .settle(lease, attempt(1, Some(410), "gone"), dead())
            .await
            .unwrap();
        if !hold {
            let lease = lease_at(&*store, &lane(), at(2)).await.remove(0);
            assert_eq!(lease.id, second);
            store
                .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
                .await
                .unwrap();
            continue;
        }
        assert_eq!(store.next_due(&lane()).await, Ok(None));
        assert_eq!(lease_at(&*store, &lane(), at(2)).await, []);
        // Redriven and dead again: held again. Discarded: free.
        assert_eq!(store.redrive(first, at(3)).await, Ok(Operated::Done));
        let lease = lease_at(&*store, &lane(), at(3)).await.remove(0);
        assert_eq!(lease.id, first);
        store
            .settle(lease, attempt(2, Some(410), "gone"), dead())
            .await
            .unwrap();
        assert_eq!(lease_at(&*store, &lane(), at(4)).await, []);
        assert_eq!(
            store.discard(first, at(5), "enough".into()).await,
            Ok(Operated::Done)
        );
        assert_eq!(ids(&lease_at(&*store, &lane(), at(6)).await), [second]);
    }
}

pub(crate) async fn lanes_and_sources_have_orders_of_their_own((store, _keep): Bench) {
    let both = || plan([to("main", Some("a")), to("ledger", Some("a"))]);
    let first = new_id(&*store, planned(event("1", "1", at(0)), both())).await;
    let second = new_id(&*store, planned(event("2", "1", at(0)), both())).await;
    let main = lease_at(&*store, &lane(), at(1)).await;
    assert_eq!(ids(&main), [first]);
    let lease = lease_at(&*store, &lane_to("ledger"), at(1)).await.remove(0);
    assert_eq!(lease.id, first.of_delivery(1));
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    assert_eq!(
        ids(&lease_at(&*store, &lane_to("ledger"), at(2)).await),
        [second.of_delivery(1)]
    );
    assert_eq!(lease_at(&*store, &lane(), at(2)).await, []);
}

pub(crate) async fn an_answer_is_written_down((store, _keep): Bench) {
    let id = new_id(&*store, event("a", "1", at(0))).await;
    let lease = lease_one(&*store, at(1)).await;
    let tried = Attempt {
        response: Some(Response {
            headers: vec![("content-type".into(), "text/plain".into())],
            body: Bytes::from_static(b"no\xff"),
            cut: true,
        }),
        ..attempt(1, Some(422), "status")
    };
    store.settle(lease, tried.clone(), dead()).await.unwrap();
    assert_eq!(store.attempts(id).await, Ok(vec![tried]));
}
