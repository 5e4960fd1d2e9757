//! What stays when segments go: dead letters that hold others, what operators did, and everything
//! while the clock is wrong.

use super::crash::wait_for;
use super::*;

fn days(days: u64) -> Timestamp {
    at(0).plus(Duration::from_secs(days * 24 * 3600))
}

/// Fills more than a segment with events that are delivered at once.
async fn fill(store: &Embedded, day: u64) {
    for n in 0..50 {
        let new = event(&format!("{day}-{n}"), &"x".repeat(3000), days(day));
        assert!(matches!(store.accept(new).await, Ok(Acceptance::New(_))));
    }
    loop {
        let until = days(day).plus(Duration::from_secs(60));
        let leases = store.lease(&lane(), days(day), until, 50).await.unwrap();
        if leases.is_empty() {
            return;
        }
        for lease in leases {
            let tried = attempt(1, Some(200), "");
            store.settle(lease, tried, Next::Delivered).await.unwrap();
        }
    }
}

async fn lease_all(store: &Embedded, day: u64) -> Vec<EventId> {
    let leases = store.lease(&lane(), days(day), days(day), 9).await.unwrap();
    leases.into_iter().map(|lease| lease.id).collect()
}

/// It holds those behind it until somebody redrives or discards it, however long that takes.
#[tokio::test]
async fn a_dead_letter_that_holds_others_does_not_expire() {
    let disk = FaultyDisk::new();
    let store = open_on(&disk, 1, &Arc::default()).unwrap();
    let held = |key: &str, day| {
        let mut delivery = contract::to("main", Some("order"));
        delivery.order.as_mut().unwrap().hold = true;
        contract::planned(event(key, "1", days(day)), contract::plan([delivery]))
    };
    let first = contract::new_id(&store, held("first", 0)).await;
    let lease = contract::lease_one(&store, at(0)).await;
    let reason = "gone".to_owned();
    let dead = Next::Dead { reason };
    let tried = attempt(1, Some(410), "gone");
    store.settle(lease, tried, dead).await.unwrap();
    fill(&store, 0).await;
    let second = contract::new_id(&store, held("second", 29)).await;
    store.expire(days(30)).await.unwrap();
    assert_eq!(lease_all(&store, 30).await, []);
    assert!(store.read(first).await.unwrap().is_some());
    drop(store);
    let store = open_on(&disk.copy(), 2, &Arc::default()).unwrap();
    store.expire(days(60)).await.unwrap();
    assert_eq!(lease_all(&store, 60).await, []);
    let done = store.discard(first, days(60), "enough".into()).await;
    assert_eq!(done, Ok(Operated::Done));
    assert_eq!(lease_all(&store, 60).await, [second]);
    store.expire(days(60)).await.unwrap();
    assert_eq!(store.read(first).await, Ok(None));
    assert!(store.read(second).await.unwrap().is_some());
}

fn deed(kind: DeedKind, source: &str) -> Deed {
    Deed {
        at: at(0),
        kind,
        ..model::resumed(SourceName::new(source), None)
    }
}

async fn audit(store: &Embedded) -> Vec<(u64, DeedKind)> {
    let page = store.audit(None, None, 100).await.unwrap();
    let kinds = page.entries.into_iter();
    kinds.map(|(number, deed)| (number, deed.kind)).collect()
}

/// From one segment to the next for 400 days; a pause for as long as it is in force.
#[tokio::test]
async fn the_audit_is_carried_forward_for_400_days() {
    let disk = FaultyDisk::new();
    let store = open_on(&disk, 1, &Arc::default()).unwrap();
    let done = [
        deed(DeedKind::Pause, "other"),
        deed(DeedKind::RedriveMany, "shop"),
    ];
    for deed in done {
        store.record(deed).await.unwrap();
    }
    let all = [(2, DeedKind::RedriveMany), (1, DeedKind::Pause)];
    for (day, expected) in [(100, &all[..]), (399, &all), (420, &all[1..])] {
        fill(&store, day - 50).await;
        fill(&store, day).await;
        assert!(store.expire(days(day)).await.unwrap().events > 0);
        assert_eq!(audit(&store).await, expected, "day {day}");
        let again = open_on(&disk.copy(), day, &Arc::default()).unwrap();
        assert_eq!(audit(&again).await, expected, "day {day}");
        let paused = |source: &str| again.paused(&LaneName::main(&SourceName::new(source)));
        assert!(paused("other") && !paused("shop"));
    }
}

/// The segment with the pause stays for something that is owed, the one with its end does not.
#[tokio::test]
async fn what_was_resumed_stays_so_after_400_days() {
    let disk = FaultyDisk::new();
    let store = open_on(&disk, 1, &Arc::default()).unwrap();
    let stuck = accept(&store, "stuck", "1").await;
    let lease = contract::lease_one(&store, at(1)).await;
    let next = Next::Retry { at: Timestamp::MAX };
    let tried = attempt(1, None, "timeout");
    store.settle(lease, tried, next).await.unwrap();
    store.record(deed(DeedKind::Pause, "shop")).await.unwrap();
    for n in 0..50 {
        accept(&store, &format!("k{n}"), &"x".repeat(3000)).await;
    }
    store.record(deed(DeedKind::Resume, "shop")).await.unwrap();
    fill(&store, 1).await;
    for day in [402, 420] {
        fill(&store, day).await;
        store.expire(days(day)).await.unwrap();
        assert!(!store.paused(&lane()));
    }
    drop(store);
    let store = open_on(&disk.copy(), 2, &Arc::default()).unwrap();
    assert!(store.read(stuck).await.unwrap().is_some());
    assert!(!store.paused(&lane()), "it was resumed");
}

/// An event that was received while the clock was ahead is in the journal, and is no proof of the
/// time.
#[tokio::test]
async fn a_restart_while_the_clock_is_ahead_gives_nothing_up() {
    let disk = FaultyDisk::new();
    let mut config = config("/sim/data".as_ref());
    config.index = false;
    config.clock_leap = 24;
    let open = |n| open_on_with(&disk, config.clone(), n, &Arc::default()).unwrap();
    let store = open(1);
    let first = accept(&store, "first", "1").await;
    fill(&store, 0).await;
    store.expire(days(1)).await.unwrap();
    let ahead = days(40 * 365);
    let new = event("ahead", "1", ahead);
    store.accept(new).await.unwrap();
    drop(store);
    let store = open(2);
    store.expire(ahead).await.unwrap();
    assert!(store.read(first).await.unwrap().is_some());
    let again = store.accept(event("first", "1", ahead)).await;
    assert_eq!(again, Ok(Acceptance::Duplicate(first)));
}

/// Entries of the audit must be written down anew before their segments go: on a full disk, where
/// that is what gives space back.
#[tokio::test]
async fn a_full_disk_does_not_keep_the_audit_from_being_carried() {
    let disk = FaultyDisk::new();
    let segment = u64::from(SEGMENT);
    disk.set_capacity(Some(6 * segment));
    let mut config = config("/sim/data".as_ref());
    config.index = false;
    config.ballast_bytes = segment;
    let store = open_on_with(&disk, config, 1, &Arc::default()).unwrap();
    wait_for(|| disk.paths().contains(&"/sim/data/ballast".into())).await;
    store
        .record(deed(DeedKind::RedriveMany, "shop"))
        .await
        .unwrap();
    let low = Err(StoreError::Unavailable(Unavailable::DiskLow));
    for n in 0.. {
        let new = event(&format!("k{n}"), &"x".repeat(4000), at(0));
        let said = store.accept(new).await;
        if said == low {
            break;
        }
        assert!(matches!(said, Ok(Acceptance::New(_))), "{said:?}");
    }
    let leases = store.lease(&lane(), at(1), at(9), 1000).await.unwrap();
    for lease in leases {
        let tried = attempt(1, Some(200), "");
        store.settle(lease, tried, Next::Delivered).await.unwrap();
    }
    let expired = store.expire(days(9)).await.unwrap();
    assert!(expired.events > 0, "{expired:?}");
    assert_eq!(audit(&store).await, [(1, DeedKind::RedriveMany)]);
    wait_for(|| store.stats().accepting).await;
    accept(&store, "again", "1").await;
}
