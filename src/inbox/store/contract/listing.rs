//! What is shown, and what goes.

use super::*;

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

    let order = of(|f| f.order = Some("A-k3".into()));
    assert_eq!(keys(&*store, &order).await, ["k3"]);
    assert_eq!(store.count(&order, None).await.unwrap().count, 1);
    assert_eq!(
        keys(&*store, &of(|f| f.order = Some("a-k3".into()))).await,
        [""; 0]
    );
    let stripe = of(|f| f.provider = Some("stripe".into()));
    assert_eq!(keys(&*store, &stripe).await.len(), 11);
    let nobody = of(|f| f.provider = Some("nobody".into()));
    assert_eq!(keys(&*store, &nobody).await, [""; 0]);
    // The transaction is `ch_K3`.
    for text in ["ch_k3", "CH_K3", "a-K3"] {
        let filter = Filter {
            text: Some(text.into()),
            ..Filter::default()
        };
        assert_eq!(keys(&*store, &filter).await, ["k3"], "{text}");
    }
    assert_eq!(
        keys(&*store, &of(|f| f.text = Some("REFUND".into())))
            .await
            .len(),
        5
    );
    assert_eq!(store.lane_stats(&lane()).owed, 6);
    assert_eq!(store.lane_stats(&lane()).oldest_owed, Some(at(0)));

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
    assert_eq!(
        keys(&*store, &of(|f| f.reason = Some("gone".into()))).await,
        ["k2"]
    );
    assert_eq!(
        keys(&*store, &of(|f| f.text = Some("Gon".into()))).await,
        ["k2"]
    );
    let figures = LaneStats {
        owed: 4,
        dead: 1,
        oldest_owed: Some(at(4)),
    };
    assert_eq!(store.lane_stats(&lane()), figures);
    let nowhere = LaneName::main(&SourceName::new("nobody"));
    assert_eq!(store.lane_stats(&nowhere), LaneStats::default());
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
