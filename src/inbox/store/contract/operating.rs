//! An operator's words.

use super::*;

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
    assert_eq!(store.next_due(&lane()).await, Ok(Some(at(80))));
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

pub(crate) async fn what_does_not_stand_as_expected_is_left_alone((store, _keep): Bench) {
    let id = new_id(&*store, event("a", "1", at(0))).await;
    let discard = || Operation::Discard {
        reason: "given up".into(),
    };
    let say = async |word, state, attempts, by: Option<&str>| {
        let expected = Some(Expected { state, attempts });
        let by = by.map(str::to_owned);
        let done = store.operate_expected(id, word, at(5), by, expected);
        done.await.unwrap()
    };
    // It was dead when it was picked, and is owed again.
    let done = say(discard(), State::Dead, None, Some("operator[1]")).await;
    assert_eq!(done, Operated::NotApplicable(State::Owed));
    assert_eq!(row(&*store, id).await.state, State::Owed);
    let audit = store.audit(Some(id), None, 9).await.unwrap();
    assert_eq!(audit.entries[0].1.outcome, "not_applicable");
    // What was left alone can be leased, as before.
    let lease = lease_one(&*store, at(5)).await;
    let dead = Next::Dead {
        reason: "gone".into(),
    };
    let gone = attempt(1, Some(410), "gone");
    store
        .settle(lease, gone.clone(), dead.clone())
        .await
        .unwrap();
    // It died, was redriven and died again: another than the one that was picked.
    store.redrive(id, at(6)).await.unwrap();
    let lease = lease_one(&*store, at(6)).await;
    store.settle(lease, gone, dead).await.unwrap();
    let done = say(Operation::Redrive, State::Dead, Some(1), None).await;
    assert_eq!(done, Operated::NotApplicable(State::Dead));
    assert_eq!(row(&*store, id).await.state, State::Dead);
    let done = say(discard(), State::Dead, Some(2), None).await;
    assert_eq!(done, Operated::Done);
    let done = say(Operation::Redrive, State::Delivered, None, None).await;
    assert_eq!(done, Operated::NotApplicable(State::Discarded));
    let done = say(Operation::Redrive, State::Discarded, Some(2), None).await;
    assert_eq!(done, Operated::Done);
    let stranger = EventId {
        tag: id.tag ^ 1,
        ..id
    };
    let expected = Some(Expected {
        state: State::Owed,
        attempts: None,
    });
    let done = store.operate_expected(stranger, discard(), at(7), None, expected);
    assert_eq!(done.await, Ok(Operated::NotFound));
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
