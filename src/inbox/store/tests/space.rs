//! Space: what a full disk stops and what it does not, how it recovers, and how space is given
//! back.

use std::path::Path;

use super::crash::wait_for;
use super::*;

fn config_on(ballast: u64, low_water: u64) -> EmbeddedConfig {
    let mut config = config(Path::new("/sim/data"));
    config.index = false;
    config.ballast_bytes = ballast;
    config.low_water_bytes = low_water;
    config
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

/// Fills the store until it refuses; the ids that were taken.
async fn fill(store: &Embedded, from: usize) -> Vec<EventId> {
    let mut ids = Vec::new();
    for n in from.. {
        match store
            .accept(event(&format!("k{n}"), &"x".repeat(4000), at(0)))
            .await
        {
            Ok(Acceptance::New(id)) => ids.push(id),
            Err(StoreError::Unavailable(Unavailable::DiskLow)) => return ids,
            other => panic!("{other:?}"),
        }
        assert!(n < 10_000);
    }
    ids
}

#[tokio::test]
async fn below_the_mark_nothing_is_accepted_until_space_is_back() {
    let disk = FaultyDisk::new();
    disk.set_capacity(Some(40 * u64::from(SEGMENT)));
    let store = open_on_with(&disk, config_on(0, u64::from(SEGMENT)), 1, &Arc::default()).unwrap();
    let id = accept(&store, "a", "1").await;
    wait_for(|| store.stats().accepting).await;
    // Someone else fills the disk.
    disk.set_capacity(Some(disk.used() + u64::from(SEGMENT) / 2));
    wait_for(|| !store.stats().accepting).await;
    let low = Err(StoreError::Unavailable(Unavailable::DiskLow));
    assert_eq!(store.accept(event("b", "1", at(0))).await, low);
    // What is known is still known, and what is owed can be delivered.
    assert_eq!(
        store.accept(event("a", "1", at(0))).await,
        Ok(Acceptance::Duplicate(id))
    );
    let lease = store
        .lease(&lane(), at(1), at(9), 1)
        .await
        .unwrap()
        .remove(0);
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    assert_eq!(
        store
            .list(&Filter::default(), None, 9)
            .await
            .unwrap()
            .rows
            .len(),
        1
    );
    assert!(!store.stats().failed);
    disk.set_capacity(Some(40 * u64::from(SEGMENT)));
    wait_for(|| store.stats().accepting).await;
    accept(&store, "b", "1").await;
}

#[tokio::test]
async fn a_full_disk_stops_events_and_not_what_is_under_way() {
    let disk = FaultyDisk::new();
    let segment = u64::from(SEGMENT);
    disk.set_capacity(Some(6 * segment));
    let store = open_on_with(&disk, config_on(segment, 0), 1, &Arc::default()).unwrap();
    wait_for(|| disk.paths().contains(&"/sim/data/ballast".into())).await;
    let ids = fill(&store, 0).await;
    assert!(ids.len() > 40, "{}", ids.len());
    wait_for(|| !store.stats().accepting).await;
    // All of it can be delivered, with more steps than the rest of the segment has room for.
    let mut settled = 0;
    while let Some(lease) = store.lease(&lane(), at(1), at(9), 1).await.unwrap().pop() {
        for number in 1..20 {
            let lost = Lease {
                grant: lease.grant.wrapping_add(1 << 40),
                ..lease.clone()
            };
            let late = store
                .settle(lost, attempt(number, None, "timeout"), Next::Delivered)
                .await;
            assert_eq!(late, Err(StoreError::LeaseLost));
        }
        store
            .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
            .await
            .unwrap();
        settled += 1;
        if settled == 20 {
            break;
        }
    }
    assert!(
        !disk.paths().contains(&"/sim/data/ballast".into()),
        "the ballast was needed"
    );
    assert!(
        store
            .accept(event("more", &"x".repeat(4000), at(0)))
            .await
            .is_err()
    );
    // Space is back: it goes on, and there is ballast again.
    disk.set_capacity(Some(60 * segment));
    wait_for(|| store.stats().accepting && disk.paths().contains(&"/sim/data/ballast".into()))
        .await;
    accept(&store, "more", &"x".repeat(4000)).await;
    drop(store);
    let store = open_on_with(
        &disk.after_power_cut(1),
        config_on(segment, 0),
        2,
        &Arc::default(),
    )
    .unwrap();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(
            store.read(*id).await.unwrap().unwrap().event_key,
            format!("k{n}")
        );
    }
    let delivered = Filter {
        state: Some(State::Delivered),
        ..Filter::default()
    };
    assert_eq!(
        store.list(&delivered, None, 500).await.unwrap().rows.len(),
        20
    );
}

#[tokio::test]
async fn a_store_opens_on_a_full_disk() {
    let disk = FaultyDisk::new();
    disk.set_capacity(Some(4 * u64::from(SEGMENT)));
    let store = open_on_with(&disk, config_on(0, 0), 1, &Arc::default()).unwrap();
    let ids = fill(&store, 0).await;
    drop(store);
    disk.set_capacity(Some(disk.used()));
    let store = open_on_with(
        &disk.after_power_cut(1),
        config_on(0, 0),
        2,
        &Arc::default(),
    )
    .unwrap();
    for id in ids {
        assert!(store.read(id).await.unwrap().is_some());
    }
    let lease = store
        .lease(&lane(), at(1), at(9), 1)
        .await
        .unwrap()
        .remove(0);
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_event_larger_than_a_segment_is_refused_and_costs_nothing() {
    let store = open_on(&FaultyDisk::new(), 1, &Arc::default()).unwrap();
    let large = event("large", &"x".repeat(SEGMENT as usize), at(0));
    assert_eq!(
        store.accept(large).await,
        Err(StoreError::Unavailable(Unavailable::TooLarge))
    );
    assert_eq!(store.stats().journal_segments, 1);
    // The largest that is taken does fit.
    let mut length = SEGMENT as usize;
    let id = loop {
        length -= 64;
        match store
            .accept(event("large", &"x".repeat(length), at(0)))
            .await
        {
            Ok(Acceptance::New(id)) => break id,
            Err(StoreError::Unavailable(Unavailable::TooLarge)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(length > SEGMENT as usize * 3 / 4);
    assert_eq!(store.read(id).await.unwrap().unwrap().body.len(), length);
}

/// Delivers everything that is owed.
async fn deliver_all(store: &Embedded, now: Timestamp) {
    loop {
        let leases = store
            .lease(&lane(), now, now.plus(Duration::from_secs(60)), 50)
            .await
            .unwrap();
        if leases.is_empty() {
            return;
        }
        for lease in leases {
            store
                .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn space_is_given_back_and_stays_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut sizes = Vec::new();
    for cycle in 0..5u64 {
        let now = at(0).plus(days(10 * cycle));
        for n in 0..150 {
            let new = event(&format!("c{cycle}-{n}"), &"x".repeat(2000), now);
            assert!(matches!(store.accept(new).await, Ok(Acceptance::New(_))));
        }
        deliver_all(&store, now).await;
        let expired = store.expire(now).await.unwrap();
        if cycle > 0 {
            assert!(expired.events > 100, "{expired:?}");
            assert!(expired.bytes > 200_000);
        }
        wait_for(|| {
            !std::fs::read_dir(directory.path().join("journal"))
                .unwrap()
                .flatten()
                .any(|e| {
                    e.file_name().to_string_lossy().ends_with(".seg")
                        && e.metadata().is_ok_and(|m| m.len() == 0)
                })
        })
        .await;
        sizes.push(store.stats().journal_segments);
    }
    assert!(sizes[4] <= sizes[1] + 1, "{sizes:?}");
    wait_for(|| store.stats().claims < 400).await;
    let files = std::fs::read_dir(directory.path().join("journal"))
        .unwrap()
        .count() as u64;
    assert!(files <= store.stats().journal_segments + 1);
    let rows = all_rows(&store).await;
    store.close().await.unwrap();
    let store = open(directory.path());
    assert_eq!(all_rows(&store).await, rows);
    assert_eq!(store.report().index, IndexUse::Loaded);
    // A key of the first cycle is free, one of the last is not.
    let now = at(0).plus(days(40));
    let first = store.accept(event("c0-1", &"x".repeat(2000), now)).await;
    assert!(matches!(first, Ok(Acceptance::New(_))), "{first:?}");
    let last = store.accept(event("c4-149", &"x".repeat(2000), now)).await;
    assert!(matches!(last, Ok(Acceptance::Duplicate(_))), "{last:?}");
}

#[tokio::test]
async fn a_segment_goes_only_with_the_events_that_it_tells_of() {
    let disk = FaultyDisk::new();
    let store = open_on(&disk, 1, &Arc::default()).unwrap();
    // One owed event in the first segment, and a segment full of others behind it.
    let stuck = accept(&store, "stuck", "1").await;
    let lease = store
        .lease(&lane(), at(1), at(9), 1)
        .await
        .unwrap()
        .remove(0);
    store
        .settle(
            lease,
            attempt(1, None, "timeout"),
            Next::Retry {
                at: at(0).plus(days(30)),
            },
        )
        .await
        .unwrap();
    for n in 0..120 {
        accept(&store, &format!("k{n}"), &"x".repeat(3000)).await;
    }
    deliver_all(&store, at(5)).await;
    let before = store.stats();
    store.expire(at(0).plus(days(9))).await.unwrap();
    assert!(store.read(stuck).await.unwrap().is_some());
    assert_eq!(store.stats().owed, 1);
    assert!(
        store.stats().journal_segments < before.journal_segments,
        "the others went"
    );
    assert_eq!(store.attempts(stuck).await.unwrap().len(), 1);
    // Whoever reads the journal from its beginning sees no delivered event as owed.
    drop(store);
    let store = open_on(&disk.copy(), 2, &Arc::default()).unwrap();
    assert_eq!(store.stats().owed, 1);
    deliver_all(&store, at(0).plus(days(31))).await;
    store.expire(at(0).plus(days(40))).await.unwrap();
    assert_eq!(store.read(stuck).await, Ok(None));
    assert_eq!(store.stats().journal_segments, 1);
}

#[tokio::test]
async fn a_full_queue_is_said_so() {
    let mut config = config_on(0, 0);
    config.queue_events = 4;
    let store = open_on_with(&FaultyDisk::new(), config, 1, &Arc::default()).unwrap();
    let store = Arc::new(store);
    // Far more at once than the writer takes in one go.
    let mut tasks = Vec::new();
    for n in 0..400 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            (n, store.accept(event(&format!("k{n}"), "1", at(0))).await)
        }));
    }
    let mut taken = 0;
    for task in tasks {
        match task.await.unwrap() {
            (_, Ok(Acceptance::New(_))) => taken += 1,
            (_, Err(StoreError::Unavailable(Unavailable::QueueFull))) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(taken > 0);
    assert_eq!(store.stats().owed, taken);
    accept(&store, "after", "1").await;
}

/// A file that cannot be removed holds up those behind it: with what they tell of its events gone,
/// a restart would take delivered events for owed ones.
#[tokio::test]
async fn a_segment_that_cannot_be_removed_keeps_those_behind_it() {
    let disk = FaultyDisk::new();
    let store = open_on(&disk, 1, &Arc::default()).unwrap();
    for n in 0..45 {
        accept(&store, &format!("k{n}"), &"x".repeat(3000)).await;
    }
    // What is done with the events of the first lies in the second, which goes some days later.
    deliver_all(&store, at(5)).await;
    let young = event("young", "1", at(0).plus(days(5)));
    store.accept(young).await.unwrap();
    deliver_all(&store, at(5).plus(days(5))).await;
    let first = Path::new("/sim/data/journal/0000000001.seg");
    disk.keep(Some(first.to_owned()));
    for day in [10, 20] {
        store.expire(at(0).plus(days(day))).await.unwrap();
    }
    assert_eq!(store.stats().journal_segments, 1);
    assert!(disk.paths().contains(&first.to_owned()));
    let crashed = open_on(&disk.copy(), 2, &Arc::default()).unwrap();
    assert_eq!(crashed.stats().owed, 0, "all of it was delivered");
    // When it can be removed again, all of it goes.
    disk.keep(None);
    store.expire(at(0).plus(days(20))).await.unwrap();
    let segments = disk.paths();
    let segments = segments
        .iter()
        .filter(|p| p.extension() == Some("seg".as_ref()));
    assert_eq!(segments.count(), 1);
}

/// A delivery to a destination that is gone is owed for ever. Every segment tells of some events of
/// the one before it: those must not all stay for it.
#[tokio::test]
async fn one_delivery_that_is_owed_for_ever_does_not_hold_the_journal() {
    for index in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new();
        let mut config = config(directory.path());
        config.index = index;
        let store = open_on_with(&disk, config.clone(), 1, &Arc::default()).unwrap();
        let stuck = accept(&store, "stuck", "1").await;
        let lease = store.lease(&lane(), at(1), at(9), 1).await.unwrap();
        let gone = Next::Retry { at: Timestamp::MAX };
        store
            .settle(lease[0].clone(), attempt(1, None, "timeout"), gone)
            .await
            .unwrap();
        let mut most = 0;
        for day in 0..60 {
            let now = at(9).plus(days(day));
            for n in 0..12 {
                let new = event(&format!("{day}-{n}"), &"x".repeat(3000), now);
                store.accept(new).await.unwrap();
            }
            // Yesterday's, too: their steps lie in another segment than they do.
            let until = now.plus(Duration::from_secs(60));
            let leases = store.lease(&lane(), now, until, 12).await.unwrap();
            for lease in leases {
                store
                    .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
                    .await
                    .unwrap();
            }
            if day % 2 == 0 {
                let new = event(&format!("{day}-late"), &"x".repeat(3000), now);
                store.accept(new).await.unwrap();
            }
            store.expire(now).await.unwrap();
            most = most.max(store.stats().journal_segments);
        }
        assert!(most < 15, "{most} segments");
        let owed = store.stats().owed;
        let rows = all_rows(&store).await;
        // Whoever reads the journal from its beginning sees the same.
        drop(store);
        config.index = false;
        let store = open_on_with(&disk.copy(), config, 2, &Arc::default()).unwrap();
        assert_eq!(store.stats().owed, owed);
        assert_eq!(all_rows(&store).await, rows);
        assert_eq!(store.row(stuck).await.unwrap().unwrap().attempts, 1);
        assert_eq!(store.attempts(stuck).await.unwrap().len(), 1);
    }
}
