//! What is taken in, and what is taken for the same.

use super::*;

pub(crate) async fn accepted_comes_back_byte_for_byte((store, _keep): Bench) {
    let new = event_of("shop", "a", "payment", b"{\"\xff\0\":1}", at(0));
    let expected = new.event().clone();
    let id = new_id(&*store, new).await;
    assert_eq!(store.read(id).await, Ok(Some(expected.clone())));
    let shown = row(&*store, id).await;
    let row = Row {
        id,
        source: source(),
        destination: DestinationName::main(),
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
        payment: expected.payment.clone(),
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
