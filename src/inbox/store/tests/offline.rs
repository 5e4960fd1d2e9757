//! Checking, mending, exporting and importing a store that no gateway has open.

use std::path::Path;

use super::damage::{open_small, segment, small, small_journal};
use super::*;
use crate::inbox::store::offline::Offline;
use crate::inbox::store::offline::check::{Findings, Harm, Lost};
use crate::inbox::store::offline::import::{Flaw, Import, Lines, inspect};
use crate::inbox::store::offline::lines::{self, BadLine, Record};
use crate::inbox::store::open::{self, Parts};
use crate::inbox::store::segment::HEADER;

const DIRECTORY: &str = "/sim/data";

fn offline(disk: &FaultyDisk) -> Offline {
    Offline::lock_on(Arc::new(disk.clone()), Path::new(DIRECTORY)).unwrap()
}

fn check(disk: &FaultyDisk) -> Findings {
    offline(disk).check(&mut |_| {}).unwrap()
}

#[tokio::test]
async fn a_sound_store_has_nothing_to_find() {
    let (disk, _, end) = small_journal().await;
    let before = disk.content(&segment(1));
    let found = check(&disk);
    assert_eq!((found.damage.as_slice(), found.torn_bytes), (&[][..], 0));
    assert_eq!((found.segments, found.events, found.steps), (1, 3, 3));
    assert_eq!(
        disk.content(&segment(1)),
        before,
        "checking changes nothing"
    );
    assert!(end > 0);
    // It is locked meanwhile.
    let held = offline(&disk);
    assert!(matches!(
        open_on_with(&disk, small(), 1, &Arc::default()),
        Err(OpenError::Locked { .. })
    ));
    drop(held);
    open_small(&disk);
}

/// Any bit, be it in a header, a record, the padding behind it, or free space.
#[tokio::test]
async fn every_flipped_bit_is_found_and_named() {
    let (disk, ids, end) = small_journal().await;
    let mut named = 0;
    let bytes = (0..120)
        .chain(4000..4220)
        .chain(8180..HEADER as usize)
        .chain(HEADER as usize..end + 64);
    for byte in bytes {
        let bit = (byte % 8) as u8;
        disk.flip(&segment(1), byte, bit);
        let found = check(&disk);
        disk.flip(&segment(1), byte, bit);
        let [damage] = found.damage.as_slice() else {
            panic!("byte {byte}: {:?}", found.damage);
        };
        let (from, to) = (damage.from as usize, damage.to as usize);
        assert!((from..to).contains(&byte), "byte {byte}: {damage:?}");
        assert_eq!(found.torn_bytes, 0, "byte {byte}");
        match &damage.lost {
            Some(Lost::Event { id, source, .. }) => {
                assert!(ids.contains(id) && id.offset as usize == from);
                assert_eq!(source, "shop");
                named += 1;
            }
            Some(Lost::Step { of }) => {
                assert!(ids.contains(of));
                named += 1;
            }
            None => {}
        }
        let in_header = byte < HEADER as usize;
        assert_eq!(damage.harm == Harm::HeaderCopy, in_header, "byte {byte}");
        assert_eq!(damage.harm.loses(), damage.harm == Harm::Record);
    }
    assert!(named > (end - HEADER as usize) / 3, "{named}");
}

#[tokio::test]
async fn after_a_clean_stop_the_last_record_is_not_taken_for_a_torn_one() {
    let (disk, ids, end) = small_journal().await;
    let lost = disk.copy();
    lost.flip(&segment(1), end - 3, 1);
    let found = check(&lost);
    assert_eq!(found.damage.len(), 1);
    assert_eq!(found.damage[0].lost, Some(Lost::Step { of: ids[1] }));
    // Nor by the next start, which keeps it for whoever looks into it.
    let before = lost.content(&segment(1));
    let store = open_small(&lost);
    assert_eq!(store.report().damage.len(), 1);
    assert_eq!(store.report().torn_bytes, 0);
    let after = accept(&store, "after", "1").await;
    assert!(after.offset as usize >= end);
    drop(store);
    assert_eq!(lost.content(&segment(1))[..end], before[..end]);
    assert_eq!(check(&lost).damage.len(), 1);
    assert_eq!(
        open_small(&lost)
            .read(after)
            .await
            .unwrap()
            .unwrap()
            .event_key,
        "after"
    );
}

#[tokio::test]
async fn what_is_damaged_is_set_aside_and_the_rest_stays() {
    let (disk, ids, end) = small_journal().await;
    for byte in (HEADER as usize..end).step_by(7) {
        let broken = disk.copy();
        broken.flip(&segment(1), byte, 2);
        let bad = broken.content(&segment(1));
        let repaired = offline(&broken).repair(&mut |_| {}).unwrap();
        assert_eq!(repaired.damage.len(), 1, "byte {byte}");
        if let [path] = repaired.set_aside.as_slice() {
            let damage = &repaired.damage[0];
            let bytes = &bad[damage.from as usize..damage.to as usize];
            assert_eq!(broken.content(path), bytes, "byte {byte}");
        } else {
            assert_eq!(repaired.damage[0].harm, Harm::Padding, "byte {byte}");
        }
        assert_eq!(check(&broken).damage, [], "byte {byte}");
        let store = open_small(&broken);
        assert_eq!(store.report().damage, [], "byte {byte}");
        let left = all_rows(&store).await.len();
        assert!(left >= ids.len() - 1, "byte {byte}");
    }
}

#[tokio::test]
async fn a_header_is_written_anew_from_its_copy_or_from_the_first_record() {
    let (disk, ids, _) = small_journal().await;
    let whole = disk.content(&segment(1));
    for bytes in [&[0][..], &[4096], &[0, 4096]] {
        let broken = disk.copy();
        for byte in bytes {
            broken.flip(&segment(1), *byte, 0);
        }
        let repaired = offline(&broken).repair(&mut |_| {}).unwrap();
        assert_eq!(
            (repaired.headers.as_slice(), repaired.beyond.as_slice()),
            (&[1][..], &[][..])
        );
        assert_eq!(
            broken.content(&segment(1))[HEADER as usize..],
            whole[HEADER as usize..]
        );
        assert_eq!(check(&broken).damage, []);
        let store = open_small(&broken);
        assert!(store.read(ids[0]).await.unwrap().is_some());
    }
    // Without either there is nothing to go by, and nothing is touched.
    let broken = disk.copy();
    for byte in [0, 4096, HEADER as usize] {
        broken.flip(&segment(1), byte, 0);
    }
    let before = broken.content(&segment(1));
    let repaired = offline(&broken).repair(&mut |_| {}).unwrap();
    assert_eq!(repaired.beyond, [1]);
    assert_eq!(broken.content(&segment(1)), before);
}

fn exported(store: &Embedded) -> Vec<u8> {
    let mut out = Vec::new();
    store.export(&mut out, &mut |_| {}).unwrap();
    out
}

fn events_in(export: &[u8]) -> Vec<Import> {
    let mut lines = Lines::new(export);
    let mut events = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        if let (Record::Event(event), _) = line.read.unwrap() {
            events.push(Import::new(*event).unwrap());
        }
    }
    events
}

/// A new store that knows keys as the exported one did, with all of it taken in.
fn imported(export: &[u8]) -> Embedded {
    let disk = FaultyDisk::new();
    let head = inspect(export).unwrap().head.unwrap();
    let keys = head.keys().unwrap();
    let parts = Parts {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(ManualClock::at(at(0))),
        random: Arc::new(SeededRandom::new(77)),
    };
    assert!(open::found(&parts, Path::new(DIRECTORY), keys[0]).unwrap());
    assert!(!open::found(&parts, Path::new(DIRECTORY), keys[0]).unwrap());
    let mut store = open_on(&disk, 78, &Arc::default()).unwrap();
    store.know_keys(&keys).unwrap();
    for answer in store.import(&events_in(export)) {
        assert!(matches!(
            answer,
            Ok(Acceptance::New(_) | Acceptance::Conflict { .. })
        ));
    }
    store
}

/// All but the ids.
async fn same(one: &Embedded, other: &Embedded) {
    let (rows, others) = (all_rows(one).await, all_rows(other).await);
    assert_eq!(rows.len(), others.len());
    for (a, b) in rows.iter().zip(&others) {
        let blank = |row: &Row| Row {
            id: rows[0].id,
            conflict: false,
            ..row.clone()
        };
        assert_eq!(blank(a), blank(b));
        assert_eq!(one.attempts(a.id).await, other.attempts(b.id).await);
        let blank = |event: StoredEvent| StoredEvent {
            conflict_of: None,
            ..event
        };
        let read = one.read(a.id).await.unwrap().unwrap();
        let again = other.read(b.id).await.unwrap().unwrap();
        assert_eq!(blank(read), blank(again));
    }
    let (a, b) = (one.stats(), other.stats());
    assert_eq!(
        (a.owed, a.dead, a.oldest_owed),
        (b.owed, b.dead, b.oldest_owed)
    );
}

/// Whatever a store has lived through: what comes out goes in, and is the same.
#[test]
fn what_is_exported_comes_back() {
    for seed in 500..512 {
        let disk = FaultyDisk::new();
        let open = |n| open_on(&disk, n, &Arc::default()).unwrap();
        let store = crash::block_on(model::live(seed, 300, open, || {}));
        let export = exported(&store);
        let inspected = inspect(&export[..]).unwrap();
        assert_eq!(inspected.flaws, []);
        let other = imported(&export);
        crash::block_on(same(&store, &other));
        // Once more changes nothing.
        for answer in other.import(&events_in(&export)) {
            assert!(matches!(answer, Ok(Acceptance::Duplicate(_))), "{answer:?}");
        }
        crash::block_on(same(&store, &other));
        // Nor does a restart; and it exports the same events.
        let again = exported(&other);
        assert_eq!(events_in(&again).len(), events_in(&export).len());
        // Whatever comes again is known.
        let rows = crash::block_on(all_rows(&other));
        for row in rows {
            let event = crash::block_on(other.read(row.id)).unwrap().unwrap();
            let new = contract::event_of(
                event.source.as_str(),
                &event.event_key,
                &event.event_type,
                &event.body,
                at(0),
            );
            let answer = crash::block_on(other.accept(new));
            assert!(
                matches!(answer, Ok(Acceptance::Duplicate(_))),
                "seed {seed}: {answer:?}"
            );
        }
    }
}

/// Into a store that has events of its own, and another key.
#[test]
fn imported_events_are_known_again_beside_the_stores_own() {
    let theirs = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    let disk = FaultyDisk::new();
    let mut ours = open_on(&disk, 6, &Arc::default()).unwrap();
    crash::block_on(async {
        for key in ["a", "b", "c"] {
            accept(&theirs, key, key).await;
        }
        let lease = theirs
            .lease(&source(), at(1), at(9), 1)
            .await
            .unwrap()
            .remove(0);
        theirs
            .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
            .await
            .unwrap();
        accept(&ours, "own", "1").await;
    });
    let export = exported(&theirs);
    let keys = inspect(&export[..]).unwrap().head.unwrap().keys().unwrap();
    ours.know_keys(&keys).unwrap();
    // As if it had been cut off after two.
    let events = events_in(&export);
    assert_eq!(ours.import(&events[..2]).len(), 2);
    let answers = ours.import(&events);
    assert!(matches!(answers[0], Ok(Acceptance::Duplicate(_))));
    assert!(matches!(answers[2], Ok(Acceptance::New(_))));
    drop(ours);
    let ours = open_on(&disk, 7, &Arc::default()).unwrap();
    crash::block_on(async {
        assert_eq!(all_rows(&ours).await.len(), 4);
        assert_eq!(ours.stats().owed, 3);
        for key in ["a", "b", "c"] {
            let again = ours.accept(event(key, key, at(0))).await;
            assert!(
                matches!(again, Ok(Acceptance::Duplicate(_))),
                "{key}: {again:?}"
            );
            let other = ours.accept(event(key, "other", at(0))).await;
            assert!(
                matches!(other, Ok(Acceptance::Conflict { .. })),
                "{key}: {other:?}"
            );
            let again = ours.accept(event(key, "other", at(0))).await;
            assert!(
                matches!(again, Ok(Acceptance::Duplicate(_))),
                "{key}: {again:?}"
            );
        }
        assert!(matches!(
            ours.accept(event("own", "1", at(0))).await,
            Ok(Acceptance::Duplicate(_))
        ));
    });
}

/// An import that was cut off between an event and what happened to it.
#[test]
fn missing_steps_are_taken_in_later() {
    let store = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    crash::block_on(async {
        accept(&store, "a", "1").await;
        for n in 1..=3u32 {
            let lease = store
                .lease(&source(), at(100 * u64::from(n)), at(9999), 1)
                .await
                .unwrap()
                .remove(0);
            let next = match n {
                3 => Next::Dead {
                    reason: "gave_up".into(),
                },
                _ => Next::Retry { at: at(10) },
            };
            store
                .settle(lease, attempt(n, Some(500), "status"), next)
                .await
                .unwrap();
        }
    });
    let export = exported(&store);
    let text = String::from_utf8(export.clone()).unwrap();
    let line = text.lines().nth(1).unwrap();
    let (Record::Event(event), _) = lines::read(line.as_bytes()).unwrap() else {
        panic!("{line}");
    };
    for there in 0..=3 {
        let mut part = event.clone();
        part.steps.truncate(there);
        let part = [Import::new(*part).unwrap()];
        let other = imported(&exported(
            &open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap(),
        ));
        assert!(matches!(other.import(&part)[0], Ok(Acceptance::New(_))));
        assert!(matches!(
            other.import(&events_in(&export))[0],
            Ok(Acceptance::Duplicate(_))
        ));
        crash::block_on(same(&store, &other));
        // What went on differently here stays so.
        let mut else_where = event.clone();
        else_where.steps[2].due_ms += 1;
        else_where.steps.push(else_where.steps[0].clone());
        other.import(&[Import::new(*else_where).unwrap()]);
        crash::block_on(same(&store, &other));
    }
}

#[test]
fn a_damaged_line_is_named() {
    let store = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    crash::block_on(async {
        for key in ["a", "b", "c"] {
            accept(&store, key, key).await;
        }
    });
    let export = exported(&store);
    assert_eq!(inspect(&export[..]).unwrap().flaws, []);
    let ends: Vec<usize> = (0..export.len())
        .filter(|at| export[*at] == b'\n')
        .collect();
    // A byte of the third line.
    let mut bad = export.clone();
    bad[ends[1] + 200] ^= 1;
    let inspected = inspect(&bad[..]).unwrap();
    let why = BadLine::Sum;
    assert_eq!(inspected.flaws[0], Flaw::Line { number: 3, why });
    assert_eq!(inspected.flaws[1], Flaw::Other { says: 3, found: 2 });
    assert_eq!(inspected.events, 2);
    // A line that is missing, doubled, or elsewhere.
    let line = |n: usize| &export[ends[n - 1] + 1..=ends[n]];
    let first = &export[..=ends[0]];
    let other = |lines: &[&[u8]]| {
        inspect(&[&[first], lines].concat().concat()[..])
            .unwrap()
            .flaws
    };
    assert_eq!(other(&[line(1), line(2), line(3), line(4)]), []);
    let says = |found| [Flaw::Other { says: 3, found }];
    assert_eq!(other(&[line(1), line(3), line(4)]), says(2));
    assert_eq!(
        other(&[line(1), line(1), line(2), line(3), line(4)]),
        says(4)
    );
    assert_eq!(other(&[line(2), line(1), line(3), line(4)]), says(3));
    assert_eq!(other(&[line(1), line(2), line(3)]), [Flaw::NoEnd]);
    // Cut off at any byte.
    for cut in 0..export.len() {
        assert_ne!(inspect(&export[..cut]).unwrap().flaws, [], "{cut}");
    }
    assert_eq!(
        inspect(&b""[..]).unwrap().flaws,
        [Flaw::NoHead, Flaw::NoEnd]
    );
}
