//! Imports that fail half way, and exports with numbers that no clock and no counter has.

use super::exporting::{exported, import, imported, records_in, take_in};
use super::*;
use crate::inbox::store::faulty::{Counted, Fault};
use crate::inbox::store::offline::import::{Import, Importer};
use crate::inbox::store::offline::lines::{self, Record};

/// From then on only the journal is written to.
fn next_segment_is_ready(store: &Embedded) {
    while !store.shared_for_tests().room.ready() {
        std::thread::yield_now();
    }
}

/// An event whose group could not be written is not there, even when what happened to it has gone
/// on in the next segment.
#[test]
fn an_event_that_could_not_be_written_is_not_said_to_be_there() {
    let store = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    crash::block_on(async {
        accept(&store, "large", &"x".repeat(100_000)).await;
        for n in 1..=6u32 {
            let lease = contract::lease_one(&store, at(100 * u64::from(n))).await;
            let tried = attempt(n, Some(500), &"e".repeat(4000));
            let next = Next::Retry { at: at(10) };
            store.settle(lease, tried, next).await.unwrap();
        }
    });
    let (events, _) = records_in(&exported(&store));
    let mut failed = 0;
    for nth in 1..=4 {
        let disk = FaultyDisk::new();
        let other = open_on(&disk, 6, &Arc::default()).unwrap();
        next_segment_is_ready(&other);
        disk.plan(nth, Fault::Eio, Counted::Writes);
        let said = import(&other, &events).remove(0);
        disk.forget_plan();
        failed += usize::from(said.is_err());
        let rows = crash::block_on(all_rows(&other));
        assert!(said.is_err() || rows.len() == 1, "write {nth}: {said:?}");
        // Done again, it is there, with all that happened to it.
        assert!(import(&other, &events)[0].is_ok());
        let rows = crash::block_on(all_rows(&other));
        assert_eq!((rows.len(), rows[0].attempts), (1, 6), "write {nth}");
    }
    assert!(failed > 0);
}

/// What is paused here stays so, also when an import ends between a resumption and what is said
/// against it.
#[test]
fn an_import_that_is_cut_off_resumes_nothing() {
    let deed = |kind, by: &str| Deed {
        kind,
        by: by.into(),
        ..model::resumed(SourceName::new("shop"), None)
    };
    let theirs = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    crash::block_on(theirs.record(deed(DeedKind::Resume, "theirs"))).unwrap();
    let export = exported(&theirs);
    let (_, deeds) = records_in(&export);
    for nth in 1..=3 {
        let disk = FaultyDisk::new();
        let store = open_on(&disk, 6, &Arc::default()).unwrap();
        next_segment_is_ready(&store);
        crash::block_on(store.record(deed(DeedKind::Pause, "ours"))).unwrap();
        disk.plan_from(nth, Fault::Eio, Counted::Writes);
        let mut importer = Importer::new(&store, Default::default()).unwrap();
        let _ = importer.deed(&deeds[0]);
        disk.forget_plan();
        take_in(&store, &export);
        assert!(store.paused(&lane()), "write {nth}");
        drop(store);
        let store = open_on(&disk.copy(), 7, &Arc::default()).unwrap();
        assert!(store.paused(&lane()), "write {nth}");
        let page = crash::block_on(store.audit(None, None, 9)).unwrap();
        let by: Vec<&str> = page.entries.iter().map(|(_, d)| d.by.as_str()).collect();
        assert_eq!(by, ["import", "theirs", "ours"], "write {nth}");
    }
}

/// Every number as large as it can be: nothing overflows, now or after a restart.
#[test]
fn enormous_numbers_break_nothing() {
    let theirs = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    crash::block_on(async {
        for key in ["a", "b"] {
            let plan = contract::plan([contract::to("main", Some("x"))]);
            let new = contract::planned(event(key, "1", at(0)), plan);
            contract::new_id(&theirs, new).await;
        }
        let lease = contract::lease_one(&theirs, at(1)).await;
        let next = Next::Retry { at: at(10) };
        let tried = attempt(1, Some(500), "status");
        theirs.settle(lease, tried, next).await.unwrap();
    });
    let export = exported(&theirs);
    let text = String::from_utf8(export.clone()).unwrap();
    let mut events = Vec::new();
    for line in text.lines() {
        if let (Record::Event(mut event), _) = lines::read(line.as_bytes()).unwrap() {
            event.received_ms = u64::MAX;
            event.keep_ms = u64::MAX;
            for step in &mut event.deliveries[0].steps {
                (step.at_ms, step.since_ms, step.due_ms) = (u64::MAX, u64::MAX, u64::MAX);
                (step.attempts, step.round) = (u32::MAX, u32::MAX);
                let attempt = step.attempt.as_mut().unwrap();
                (attempt.number, attempt.started_ms) = (u32::MAX, u64::MAX);
                (attempt.took_ns, attempt.status) = (u64::MAX, Some(u16::MAX));
            }
            events.push(Import::new(*event).unwrap());
        }
    }
    let disk = FaultyDisk::new();
    let store = open_on(&disk, 6, &Arc::default()).unwrap();
    let ids: Vec<EventId> = import(&store, &events)
        .into_iter()
        .map(|said| said.unwrap().id())
        .collect();
    crash::block_on(async {
        store.expire(Timestamp::MAX).await.unwrap();
        store.redrive(ids[0], at(1)).await.unwrap();
        let leases = store.lease(&lane(), at(1), Timestamp::MAX, 9).await;
        let lease = leases.unwrap().remove(0);
        assert_eq!((lease.id, lease.attempt), (ids[0], u32::MAX));
        let tried = attempt(u32::MAX, None, "timeout");
        let next = Next::Retry { at: Timestamp::MAX };
        store.settle(lease, tried, next).await.unwrap();
    });
    let before = crash::block_on(all_rows(&store));
    drop(store);
    let store = open_on(&disk.copy(), 7, &Arc::default()).unwrap();
    assert_eq!(crash::block_on(all_rows(&store)), before);
    assert_eq!(before[1].attempts, u32::MAX);
    crash::block_on(store.expire(Timestamp::MAX)).unwrap();
    let again = imported(&exported(&store));
    assert_eq!(crash::block_on(all_rows(&again)).len(), 2);
}
