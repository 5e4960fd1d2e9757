//! Checking and mending a store that no gateway has open.

use std::path::Path;

use super::damage::{end_of, open_small, segment, small, small_journal};
use super::*;
use crate::inbox::store::offline::Offline;
use crate::inbox::store::offline::check::{Findings, Harm, Lost};
use crate::inbox::store::segment::HEADER;

pub(super) const DIRECTORY: &str = "/sim/data";

fn offline(disk: &FaultyDisk) -> Offline {
    Offline::lock_on(Arc::new(disk.clone()), Path::new(DIRECTORY)).unwrap()
}

fn check(disk: &FaultyDisk) -> Findings {
    offline(disk).check(&mut |_| {}).unwrap()
}

/// Every kind of record, and everything that an event can have.
async fn busy_journal() -> (FaultyDisk, Vec<EventId>, usize) {
    let disk = FaultyDisk::new();
    let store = open_small(&disk);
    let mut ids = Vec::new();
    for (n, key) in ["a", "b"].into_iter().enumerate() {
        let (event, mut claim, _) = event(key, "1", at(0)).into_parts();
        claim.business = Some(BusinessClaim {
            key: b"order 1".to_vec(),
            content: [n as u8; 32],
        });
        let mut plan =
            contract::plan([contract::to("main", Some("x")), contract::to("risk", None)]);
        plan.deliveries[1].wanted = false;
        plan.version = Some(EventVersion {
            key: b"v".to_vec(),
            stamp: n as i128,
        });
        let accepted = store.accept(NewEvent::new(event, claim, plan)).await;
        ids.push(accepted.unwrap().id());
    }
    let mut lease = store.lease(&lane(), at(1), at(9), 9).await.unwrap();
    store.supersede(lease.remove(0), ids[1]).await.unwrap();
    let mut lease = store.lease(&lane(), at(1), at(9), 9).await.unwrap();
    let mut tried = attempt(1, Some(200), "");
    tried.response = Some(Response::default());
    let done = store.settle(lease.remove(0), tried, Next::Delivered).await;
    done.unwrap();
    let by = Some("operator[0]".to_owned());
    let risk = ids[0].of_delivery(1);
    let done = store.operate(risk, Operation::Redrive, at(2), by).await;
    assert_eq!(done, Ok(Operated::Done));
    store.close().await.unwrap();
    let end = end_of(&disk);
    (disk, ids, end)
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
    let (busy, _, _) = busy_journal().await;
    let found = check(&busy);
    assert_eq!(found.damage, []);
    assert_eq!((found.events, found.steps, found.words), (2, 3, 1));
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
    for (disk, ids, end) in [small_journal().await, busy_journal().await] {
        every_flipped_bit(&disk, &ids, end);
    }
}

fn every_flipped_bit(disk: &FaultyDisk, ids: &[EventId], end: usize) {
    let mut named = 0;
    let bytes = (0..120)
        .chain(4000..4220)
        .chain(8180..HEADER as usize)
        .chain(HEADER as usize..end + 64);
    for byte in bytes {
        let bit = (byte % 8) as u8;
        disk.flip(&segment(1), byte, bit);
        let found = check(disk);
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
                assert!(ids.contains(&of.event()));
                named += 1;
            }
            Some(Lost::Word) => named += 1,
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
    let (small, _, small_end) = small_journal().await;
    let (busy, _, busy_end) = busy_journal().await;
    for (disk, end) in [(small, small_end), (busy, busy_end)] {
        every_seventh_byte(&disk, end).await;
    }
}

async fn every_seventh_byte(disk: &FaultyDisk, end: usize) {
    let events = check(disk).events;
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
        assert!(store.report().events >= events - 1, "byte {byte}");
        all_rows(&store).await;
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
