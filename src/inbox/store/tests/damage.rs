//! Flipped bits, torn ends and hostile bodies: damage costs at most the record that it hit, and
//! altered bytes never come out.

use std::path::{Path, PathBuf};

use super::*;
use crate::inbox::store::record::FrameHead;
use crate::inbox::store::segment::HEADER;

pub(super) fn segment(number: u32) -> PathBuf {
    PathBuf::from(format!("/sim/data/journal/{number:010}.seg"))
}

pub(super) fn small() -> EmbeddedConfig {
    let mut config = config(Path::new("/sim/data"));
    config.index = false;
    config.segment_bytes = 64 << 10;
    config
}

pub(super) fn open_small(disk: &FaultyDisk) -> Embedded {
    open_on_with(disk, small(), 7, &Arc::default()).unwrap()
}

/// What a store says of an event; `None` where it says that it is damaged or not there.
async fn said(store: &Embedded, id: EventId) -> (Option<StoredEvent>, Option<Row>, Vec<Attempt>) {
    let read = match store.read(id).await {
        Ok(read) => read,
        Err(StoreError::Damaged { id: named }) if named == id => None,
        Err(e) => panic!("{e:?}"),
    };
    let row = match store.row(id).await {
        Ok(row) => row,
        Err(StoreError::Damaged { id: named }) if named == id => None,
        Err(e) => panic!("{e:?}"),
    };
    (read, row, store.attempts(id).await.unwrap())
}

/// Three events, one of them with a history, and where the log ends.
pub(super) async fn small_journal() -> (FaultyDisk, Vec<EventId>, usize) {
    let disk = FaultyDisk::new();
    let store = open_small(&disk);
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        ids.push(accept(&store, key, &format!("{{\"amount\":\"{key}00\"}}")).await);
    }
    let lease = store
        .lease(&lane(), at(1), at(9), 1)
        .await
        .unwrap()
        .remove(0);
    store
        .settle(
            lease,
            attempt(1, None, "timeout"),
            Next::Retry { at: at(2) },
        )
        .await
        .unwrap();
    let lease = store
        .lease(&lane(), at(3), at(9), 9)
        .await
        .unwrap()
        .into_iter()
        .find(|l| l.id == ids[0])
        .unwrap();
    store
        .settle(lease, attempt(2, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    store.discard(ids[1], at(4), "test".into()).await.unwrap();
    store.close().await.unwrap();
    let end = end_of(&disk);
    (disk, ids, end)
}

/// Where the first segment's log ends.
pub(super) fn end_of(disk: &FaultyDisk) -> usize {
    let content = disk.content(&segment(1));
    content.iter().rposition(|b| *b != 0).unwrap() + 1
}

#[tokio::test]
async fn a_flipped_bit_costs_at_most_its_record() {
    let (disk, ids, end) = small_journal().await;
    let whole = open_small(&disk.copy());
    let mut good = Vec::new();
    for id in &ids {
        good.push(said(&whole, *id).await);
    }
    let mut costs = 0;
    // Of the header, what is not padding; then everything.
    let bytes = (0..120).chain(4090..4220).chain(HEADER as usize..end);
    for byte in bytes {
        let broken = disk.copy();
        broken.flip(&segment(1), byte, (byte % 8) as u8);
        let store = open_small(&broken);
        let mut hit = 0;
        for (id, (event, row, attempts)) in ids.iter().zip(&good) {
            let (now_event, now_row, now_attempts) = said(&store, *id).await;
            assert!(
                now_event.is_none() || now_event == *event,
                "byte {byte}: altered"
            );
            let same = now_event == *event && now_row == *row && now_attempts == *attempts;
            hit += usize::from(!same);
            // An event that is there is listed, and one that is listed is there.
            assert_eq!(now_event.is_some(), now_row.is_some(), "byte {byte}");
        }
        assert!(hit <= 1, "byte {byte} cost {hit} events");
        if byte < HEADER as usize {
            assert_eq!(hit, 0, "byte {byte} of the header");
        }
        costs += hit;
        // Whatever was hit can come again, and there is room for more.
        for key in ["a", "b", "c", "d"] {
            let again = store
                .accept(event(key, &format!("{{\"amount\":\"{key}00\"}}"), at(9)))
                .await;
            assert!(
                matches!(again, Ok(Acceptance::New(_) | Acceptance::Duplicate(_))),
                "byte {byte}: {again:?}"
            );
        }
    }
    // Padding between records costs nothing; nearly all else does.
    assert!(costs > (end - HEADER as usize) * 8 / 10, "{costs}");
}

/// A disk that alters what it holds while the store runs.
#[tokio::test]
async fn damage_under_a_running_store_is_noticed_on_reading() {
    let (disk, ids, _) = small_journal().await;
    let store = open_small(&disk);
    let (start, end) = (ids[1].offset as usize, ids[2].offset as usize);
    for byte in start..end {
        disk.flip(&segment(1), byte, 3);
        let (read, row, _) = said(&store, ids[1]).await;
        // The zeros up to the next multiple of eight belong to nobody.
        assert!(read.is_none() || byte >= end - 8, "byte {byte}");
        // A row is shown as long as what it shows is good.
        if let Some(row) = row {
            assert_eq!((row.event_key.as_str(), row.state), ("b", State::Discarded));
        }
        disk.flip(&segment(1), byte, 3);
    }
    assert!(said(&store, ids[1]).await.0.is_some());
    disk.flip(&segment(1), start + 60, 0);
    assert_eq!(
        store.read(ids[1]).await,
        Err(StoreError::Damaged { id: ids[1] })
    );
    assert_eq!(
        store
            .list(&Filter::default(), None, 9)
            .await
            .unwrap()
            .rows
            .len(),
        2
    );
}

/// The provider sends again what the disk has spoiled: that must not be taken for a duplicate.
#[tokio::test]
async fn a_duplicate_of_a_damaged_event_takes_its_place() {
    let (disk, ids, _) = small_journal().await;
    let store = open_small(&disk);
    let body = "{\"amount\":\"c00\"}";
    assert_eq!(
        store.accept(event("c", body, at(9))).await,
        Ok(Acceptance::Duplicate(ids[2]))
    );
    disk.flip(&segment(1), ids[2].offset as usize + 50, 0);
    let again = match store.accept(event("c", body, at(9))).await {
        Ok(Acceptance::New(id)) => id,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        &store.read(again).await.unwrap().unwrap().body[..],
        body.as_bytes()
    );
    assert_eq!(
        store.accept(event("c", body, at(9))).await,
        Ok(Acceptance::Duplicate(again))
    );
    // Neither does anything conflict with what cannot be read.
    let disk = disk.copy();
    drop(store);
    disk.flip(&segment(1), again.offset as usize + 50, 0);
    let store = open_small(&disk);
    assert!(matches!(
        store.accept(event("c", "other", at(9))).await,
        Ok(Acceptance::New(_))
    ));
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_reported() {
    let (disk, ids, end) = small_journal().await;
    let journal = disk.content(&segment(1));
    // A further event, of which every possible prefix arrived.
    let store = open_small(&disk);
    let more = accept(&store, "more", &"x".repeat(500)).await;
    let last = accept(&store, "last", "1").await;
    // A crash: after a clean stop it would be damage.
    drop(store);
    let full = disk.content(&segment(1));
    for cut in (more.offset as usize..last.offset as usize - 8).step_by(11) {
        let torn = disk.copy();
        let mut bytes = full[..cut].to_vec();
        bytes.resize(journal.len(), 0);
        write(&torn, &segment(1), &bytes);
        let store = open_small(&torn);
        assert_eq!(store.stats().owed, 1, "only c");
        assert_eq!(store.report().replayed_events, 3);
        assert_eq!(store.report().damage, []);
        let none_left = full[more.offset as usize..cut].iter().all(|b| *b == 0);
        assert_eq!(store.report().torn_bytes > 0, !none_left);
        assert_eq!(store.read(more).await, Ok(None));
        // What comes now lies there, and nothing of the old comes back.
        let now = accept(&store, "now", "1").await;
        assert_eq!(now.offset, more.offset);
        drop(store);
        let store = open_small(&torn);
        assert_eq!(store.report().replayed_events, 4);
        assert_eq!(
            (store.report().torn_bytes, store.report().damage.len()),
            (0, 0)
        );
        assert!(store.read(ids[0]).await.unwrap().is_some());
    }
    assert!(end <= more.offset as usize + 8);
}

/// Old frames that lie behind the end must not be found again when the log grows up to them.
#[tokio::test]
async fn a_page_that_never_arrived_is_no_damage() {
    let (disk, _, _) = small_journal().await;
    let store = open_small(&disk);
    let lost = accept(&store, "lost", &"x".repeat(9000)).await;
    let kept = accept(&store, "kept", "1").await;
    store.close().await.unwrap();
    let mut bytes = disk.content(&segment(1));
    bytes[lost.offset as usize..kept.offset as usize].fill(0);
    let torn = disk.copy();
    write(&torn, &segment(1), &bytes);
    let store = open_small(&torn);
    assert_eq!(store.report().damage, []);
    assert_eq!(
        store.report().torn_bytes,
        u64::from(kept.offset - lost.offset)
    );
    assert!(store.read(kept).await.unwrap().is_some());
    assert_eq!(store.read(lost).await, Ok(None));

    // The same with something left in it is damage, and named.
    bytes[lost.offset as usize + 4000] = 1;
    let torn = disk.copy();
    write(&torn, &segment(1), &bytes);
    let store = open_small(&torn);
    let damage = &store.report().damage;
    assert_eq!(damage.len(), 1);
    assert_eq!(
        (damage[0].segment, damage[0].from, damage[0].to),
        (1, lost.offset, kept.offset)
    );
}

/// A body that carries a copy of a frame, as good as an attacker can make it: with the mark of
/// another segment, at the right place, or read from another store.
#[tokio::test]
async fn a_body_cannot_contain_a_record() {
    let (disk, ids, _) = small_journal().await;
    let other = disk.content(&segment(1));
    let frame = &other[ids[0].offset as usize..ids[1].offset as usize];
    let fresh = FaultyDisk::new();
    let store = open_on_with(&fresh, small(), 99, &Arc::default()).unwrap();
    let mut hostile = Vec::new();
    for shift in 0..8 {
        hostile.extend_from_slice(&[0; 8][..shift]);
        hostile.extend_from_slice(frame);
        for offset in (HEADER..HEADER + 4096).step_by(8) {
            let head = FrameHead {
                conflicts: Default::default(),
                length: 16,
                payload_crc: crc32fast::hash(&[0; 16]),
                kind: record::Kind::Accepted,
                first_of_commit: true,
                subject: None,
            };
            hostile.extend_from_slice(&head.encode(0, offset)[..]);
            hostile.truncate(hostile.len().min(20_000));
        }
    }
    let first = match store.accept(event_bytes("evil", &hostile)).await {
        Ok(Acceptance::New(id)) => id,
        other => panic!("{other:?}"),
    };
    let second = accept(&store, "good", "1").await;
    store.close().await.unwrap();
    // Even when the head of the hostile event is damaged, and its body is searched for records.
    let broken = fresh.copy();
    broken.flip(&segment(1), first.offset as usize + 9, 1);
    let store = open_on_with(&broken, small(), 99, &Arc::default()).unwrap();
    assert_eq!(
        all_rows(&store)
            .await
            .iter()
            .map(|r| r.id)
            .collect::<Vec<_>>(),
        [second]
    );
    assert_eq!(store.report().damage.len(), 1);
    let store = open_on_with(&fresh.copy(), small(), 99, &Arc::default()).unwrap();
    assert_eq!(all_rows(&store).await.len(), 2);
}

/// A record of this very segment, copied into a body: it is none at another place.
#[tokio::test]
async fn nor_a_copy_of_a_record_of_its_own_segment() {
    let (disk, ids, _) = small_journal().await;
    let own = disk.content(&segment(1));
    let frame = own[ids[0].offset as usize..ids[1].offset as usize].to_vec();
    let store = open_small(&disk);
    let evil = match store.accept(event_bytes("evil", &frame.repeat(9))).await {
        Ok(Acceptance::New(id)) => id,
        other => panic!("{other:?}"),
    };
    accept(&store, "good", "1").await;
    store.close().await.unwrap();
    disk.flip(&segment(1), evil.offset as usize + 9, 1);
    let store = open_small(&disk.copy());
    let keys: Vec<_> = all_rows(&store)
        .await
        .into_iter()
        .map(|r| r.event_key)
        .collect();
    assert_eq!(keys, ["good", "c", "b", "a"]);
}

fn event_bytes(key: &str, body: &[u8]) -> NewEvent {
    contract::event_of("shop", key, "payment", body, at(0))
}

fn write(disk: &FaultyDisk, path: &Path, bytes: &[u8]) {
    use crate::inbox::store::disk::{Disk, How, write_all_at};
    let file = disk.open(path, How::Existing).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file.sync_data().unwrap();
}

/// A key can lead to two places: the event that came first, and one with this very body that
/// conflicted with an earlier first. With both of them spoiled the event is still taken.
#[tokio::test]
async fn a_duplicate_of_two_damaged_events_takes_their_place() {
    let disk = FaultyDisk::new();
    let store = open_small(&disk);
    let id_of = |accepted: Result<Acceptance, StoreError>| accepted.unwrap().id();
    let first = id_of(store.accept(event("k", "other", at(0))).await);
    let conflict = id_of(store.accept(event("k", "body", at(0))).await);
    // The first goes, so that the next with this key is none that conflicts.
    disk.flip(&segment(1), first.offset as usize + 50, 0);
    disk.flip(&segment(1), conflict.offset as usize + 50, 0);
    let third = id_of(store.accept(event("k", "body", at(0))).await);
    disk.flip(&segment(1), third.offset as usize + 50, 0);
    for _ in 0..2 {
        let again = tokio::time::timeout(
            Duration::from_secs(20),
            store.accept(event("k", "body", at(0))),
        );
        let again = again.await.expect("it comes to an end").unwrap();
        assert!(
            matches!(again, Acceptance::New(_) | Acceptance::Conflict { .. }),
            "{again:?}"
        );
        let offset = again.id().offset as usize;
        disk.flip(&segment(1), offset + 50, 0);
    }
}
