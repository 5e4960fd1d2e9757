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
