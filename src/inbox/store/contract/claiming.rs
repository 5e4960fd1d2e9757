//! The second key, conflicts, versions; and what operators did.

use super::*;

fn keyed(event: NewEvent, key: &str, content: u8, on_conflict: OnConflict) -> NewEvent {
    let (event, mut claim, plan) = event.into_parts();
    claim.business = Some(BusinessClaim {
        key: key.as_bytes().to_vec(),
        content: [content; 32],
    });
    claim.on_conflict = on_conflict;
    NewEvent::new(event, claim, plan)
}

pub(crate) async fn a_business_key_makes_one_of_two_deliveries((store, _keep): Bench) {
    let keep = OnConflict::KeepBoth;
    let first = new_id(&*store, keyed(event("d1", "1", at(0)), "order 1", 1, keep)).await;
    // Another delivery of the provider that says the same of the same order.
    let again = keyed(event("d2", "told again", at(1)), "order 1", 1, keep);
    assert_eq!(store.accept(again).await, Ok(Acceptance::Duplicate(first)));
    // The provider's own id counts, too, also without the second key.
    assert_eq!(
        store.accept(event("d1", "1", at(2))).await,
        Ok(Acceptance::Duplicate(first))
    );
    // Another content of the same order: kept and flagged, and found again.
    let other = keyed(event("d3", "3", at(3)), "order 1", 2, keep);
    let second = match store.accept(other).await {
        Ok(Acceptance::Conflict { id, of }) if of == first => id,
        other => panic!("{other:?}"),
    };
    let read = store.read(second).await.unwrap().unwrap();
    assert_eq!(read.conflict_of, Some(first));
    for (key, body) in [("d3", "3"), ("d4", "4")] {
        let again = keyed(event(key, body, at(4)), "order 1", 2, keep);
        assert_eq!(store.accept(again).await, Ok(Acceptance::Duplicate(second)));
    }
    // The key of another order, and no key at all.
    new_id(&*store, keyed(event("d5", "5", at(5)), "order 2", 1, keep)).await;
    new_id(&*store, event("d6", "6", at(6))).await;
    assert_eq!(store.stats().owed, 4);
}

pub(crate) async fn a_conflict_goes_as_the_source_wants((store, _keep): Bench) {
    let keep = OnConflict::KeepBoth;
    let first = new_id(&*store, keyed(event("d1", "1", at(0)), "order 1", 1, keep)).await;
    // By the business key, and by the provider's own id.
    for (key, content) in [("d2", 2), ("d1", 1)] {
        let with = |policy| keyed(event(key, "other", at(1)), "order 1", content, policy);
        assert_eq!(
            store.accept(with(OnConflict::FirstWins)).await,
            Ok(Acceptance::Dropped { of: first })
        );
        assert_eq!(
            store.accept(with(OnConflict::Reject)).await,
            Ok(Acceptance::Refused { of: first })
        );
    }
    // Nothing of them was stored, and none of their keys is taken.
    assert_eq!(store.stats().owed, 1);
    let other = keyed(event("d2", "2", at(2)), "order 2", 1, OnConflict::Reject);
    new_id(&*store, other).await;
    // A storm of one and the other: one of them is first, and then it stays so.
    let tasks: Vec<_> = (0..40u8)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let offer = event(&format!("s{n}"), &n.to_string(), at(3));
                let offer = keyed(offer, "order 3", n % 2, OnConflict::FirstWins);
                (n % 2, store.accept(offer).await.unwrap())
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    let new = |(_, acceptance): &&(u8, Acceptance)| matches!(acceptance, Acceptance::New(_));
    assert_eq!(outcomes.iter().filter(new).count(), 1);
    let (content, winner) = outcomes.iter().find(new).unwrap();
    for (which, acceptance) in &outcomes {
        let expected = match acceptance {
            Acceptance::New(id) => Acceptance::New(*id),
            _ if which == content => Acceptance::Duplicate(winner.id()),
            _ => Acceptance::Dropped { of: winner.id() },
        };
        assert_eq!(*acceptance, expected);
    }
}

pub(crate) async fn the_latest_about_the_same_is_known((store, _keep): Bench) {
    let about = |key: &str, what: &str, stamp: i128| {
        let (event, claim, mut plan) = event(key, "1", at(0)).into_parts();
        plan.version = Some(EventVersion {
            key: what.as_bytes().to_vec(),
            stamp,
        });
        NewEvent::new(event, claim, plan)
    };
    let first = new_id(&*store, about("1", "a", 10)).await;
    assert_eq!(store.overtaken(first).await, Ok(None));
    // The same moment overtakes nothing, an earlier one neither.
    let same = new_id(&*store, about("2", "a", 10)).await;
    let older = new_id(&*store, about("3", "a", -5)).await;
    assert_eq!(store.overtaken(first).await, Ok(None));
    assert_eq!(store.overtaken(same).await, Ok(None));
    assert_eq!(store.overtaken(older).await, Ok(Some(first)));
    let latest = new_id(&*store, about("4", "a", i128::MAX)).await;
    new_id(&*store, about("5", "b", i128::MAX)).await;
    for id in [first, same, older] {
        assert_eq!(store.overtaken(id).await, Ok(Some(latest)));
    }
    assert_eq!(store.overtaken(latest).await, Ok(None));
    let without = new_id(&*store, event("6", "1", at(0))).await;
    assert_eq!(store.overtaken(without).await, Ok(None));

    // A lease can end so, without an attempt; an operator can still have it sent.
    let leases = store.lease(&lane(), at(1), at(30), 1).await.unwrap();
    assert_eq!(leases[0].id, first);
    store.supersede(leases[0].clone(), latest).await.unwrap();
    let shown = row(&*store, first).await;
    assert_eq!((shown.state, shown.attempts), (State::Superseded, 0));
    assert_eq!(shown.reason, latest.to_string());
    assert_eq!(
        store.supersede(leases[0].clone(), latest).await,
        Err(StoreError::LeaseLost)
    );
    assert_eq!(
        store.discard(first, at(2), "x".into()).await,
        Ok(Operated::NotApplicable(State::Superseded))
    );
    assert_eq!(store.redrive(first, at(2)).await, Ok(Operated::Done));
    assert_eq!(row(&*store, first).await.state, State::Owed);
}

pub(crate) async fn what_a_destination_does_not_want_overtakes_nothing_there(
    (store, _keep): Bench,
) {
    let about = |key: &str, stamp: i128, ledger: bool| {
        let mut plan = plan([to("main", None), to("ledger", None)]);
        plan.deliveries[1].wanted = ledger;
        plan.version = Some(EventVersion {
            key: b"a".to_vec(),
            stamp,
        });
        planned(event(key, "1", at(0)), plan)
    };
    let refund = new_id(&*store, about("1", 5, true)).await;
    let note = new_id(&*store, about("2", 10, false)).await;
    assert_eq!(store.overtaken(refund).await, Ok(Some(note)));
    assert_eq!(store.overtaken(refund.of_delivery(1)).await, Ok(None));
    let later = new_id(&*store, about("3", 7, true)).await;
    assert_eq!(store.overtaken(refund).await, Ok(Some(note)));
    assert_eq!(
        store.overtaken(refund.of_delivery(1)).await,
        Ok(Some(later))
    );
    assert_eq!(store.overtaken(later.of_delivery(1)).await, Ok(None));
}

fn deed(kind: DeedKind, destination: Option<&str>) -> Deed {
    Deed {
        at: at(7),
        by: "operator[0]".into(),
        kind,
        source: Some(source()),
        destination: destination.map(DestinationName::new),
        event: None,
        detail: "a reason".into(),
        count: 3,
        outcome: "done".into(),
    }
}

pub(crate) async fn what_operators_do_is_in_the_audit((store, _keep): Bench) {
    assert_eq!(store.audit(None, None, 9).await, Ok(Audit::default()));
    let id = new_id(&*store, event("a", "1", at(0))).await;
    let by = || Some("operator[1]".to_owned());
    let discard = Operation::Discard {
        reason: "not ours".into(),
    };
    let discarded = store.operate(id, discard.clone(), at(1), by()).await;
    assert_eq!(discarded, Ok(Operated::Done));
    let again = store.operate(id, discard, at(2), by()).await;
    assert_eq!(again, Ok(Operated::NotApplicable(State::Discarded)));
    let redriven = store.operate(id, Operation::Redrive, at(3), by()).await;
    assert_eq!(redriven, Ok(Operated::Done));
    // What nobody answers for is not in it.
    store.redrive(id, at(4)).await.unwrap();
    let number = store.record(deed(DeedKind::RedriveMany, None)).await;
    assert_eq!(number, Ok(4));

    let page = store.audit(None, None, 2).await.unwrap();
    assert_eq!(page.next, Some(3));
    let other = new_id(&*store, event("b", "1", at(0))).await;
    assert_eq!(
        store.audit(Some(other), None, 9).await,
        Ok(Audit::default())
    );
    let mut about = Vec::new();
    let mut after = None;
    loop {
        let page = store
            .audit(Some(id.of_delivery(1)), after, 2)
            .await
            .unwrap();
        about.extend(page.entries.into_iter().map(|(number, _)| number));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(about, [3, 2, 1]);
    let rest = store.audit(None, page.next, 9).await.unwrap();
    assert_eq!(rest.next, None);
    let all: Vec<(u64, Deed)> = page.entries.into_iter().chain(rest.entries).collect();
    let told: Vec<_> = all
        .iter()
        .map(|(number, deed)| (*number, deed.kind, deed.outcome.as_str(), deed.count))
        .collect();
    assert_eq!(
        told,
        [
            (4, DeedKind::RedriveMany, "done", 3),
            (3, DeedKind::Redrive, "done", 1),
            (2, DeedKind::Discard, "not_applicable", 0),
            (1, DeedKind::Discard, "done", 1),
        ]
    );
    assert_eq!(all[0].1, deed(DeedKind::RedriveMany, None));
    let expected = Deed {
        at: at(1),
        by: "operator[1]".into(),
        kind: DeedKind::Discard,
        source: Some(source()),
        destination: Some(DestinationName::main()),
        event: Some(id),
        detail: "not ours".into(),
        count: 1,
        outcome: "done".into(),
    };
    assert_eq!(all[3].1, expected);
}

pub(crate) async fn a_lane_that_is_paused_gives_nothing((store, _keep): Bench) {
    let both = plan([to("main", None), to("ledger", None)]);
    new_id(&*store, planned(event("a", "1", at(0)), both)).await;
    let ledger = LaneName::new(&source(), &DestinationName::new("ledger"));
    let due = |lane: LaneName| {
        let store = Arc::clone(&store);
        async move {
            let paused = store.paused(&lane);
            let due = store.next_due(&lane).await.unwrap();
            let leased = store.lease(&lane, at(1), at(2), 0).await.unwrap();
            assert_eq!((due.is_none(), leased.len()), (paused, 0));
            assert_eq!(store.paused_by(&lane).is_empty(), !paused);
            paused
        }
    };
    let alone = store.record(deed(DeedKind::Pause, Some("ledger")));
    let alone = alone.await.unwrap();
    assert!(due(ledger.clone()).await && !due(lane()).await);
    assert_eq!(store.paused_by(&ledger), [alone]);
    assert_eq!(store.lease(&ledger, at(1), at(2), 9).await, Ok(vec![]));
    // Accepting goes on.
    new_id(&*store, event("b", "1", at(1))).await;
    // The whole source, and its end: what was paused by itself stays so.
    let whole = store.record(deed(DeedKind::Pause, None)).await.unwrap();
    assert!(due(ledger.clone()).await && due(lane()).await);
    assert_eq!(store.paused_by(&ledger), [whole, alone]);
    assert_eq!(store.paused_by(&lane()), [whole]);
    store.record(deed(DeedKind::Resume, None)).await.unwrap();
    assert!(due(ledger.clone()).await && !due(lane()).await);
    store
        .record(deed(DeedKind::Resume, Some("ledger")))
        .await
        .unwrap();
    assert!(!due(ledger.clone()).await);
    assert_eq!(
        store.lease(&ledger, at(1), at(2), 9).await.unwrap().len(),
        1
    );
}
