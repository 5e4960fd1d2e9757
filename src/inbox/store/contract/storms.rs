//! Many at once, and the end.

use std::collections::HashSet;

use super::*;

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
                    let leases = store.lease(&lane(), at(1), at(60), 5).await.unwrap();
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
        store.lease(&lane(), at(1), at(2), 1).await,
        Err(StoreError::Closed)
    );
    assert_eq!(store.redrive(id, at(1)).await, Err(StoreError::Closed));
    assert!(!store.stats().accepting);
}
