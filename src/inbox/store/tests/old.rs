//! A journal that version 1 of the format wrote, as it was left (`tests/v1`): read, gone on with,
//! and not to be understood by the program that wrote it from then on.

use std::path::Path;

use super::*;
use crate::inbox::store::contract::event_of;

const ID: &[u8] = include_bytes!("v1/store.id");
const SEGMENT_1: &[u8] = include_bytes!("v1/0000000001.seg");

/// The segment's zeros behind its end are not in the repository.
fn lay_out(directory: &Path) {
    let journal = directory.join("journal");
    std::fs::create_dir_all(&journal).unwrap();
    std::fs::write(directory.join("store.id"), ID).unwrap();
    let mut segment = SEGMENT_1.to_vec();
    segment.resize(64 << 10, 0);
    std::fs::write(journal.join("0000000001.seg"), segment).unwrap();
}

async fn state(store: &Embedded, id: &str) -> (State, u32, String) {
    let row = store.row(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(row.destination, DestinationName::main());
    (row.state, row.attempts, row.reason)
}

const DELIVERED: &str = "evt_0000002000400af8z2nj6mb29x";
const DEAD: &str = "evt_00000020004886d6yneyrbrypg";
const DISCARDED: &str = "evt_00000020004e8cvyzwva2fzfek";
const REDRIVEN: &str = "evt_00000020004kwaepk92qkvpqmq";
const OWED: &str = "evt_00000020004tw62vhc4a0tdw66";
const CONFLICT: &str = "evt_00000020004yw22nba3a0xjsdz";
const OTHER: &str = "evt_000000200053064d5c85cqxhb5";

async fn all_is_there(store: &Embedded) {
    let of = |state: State, attempts: u32, reason: &str| (state, attempts, reason.to_owned());
    assert_eq!(state(store, DELIVERED).await, of(State::Delivered, 2, ""));
    assert_eq!(state(store, DEAD).await, of(State::Dead, 1, "gone"));
    assert_eq!(
        state(store, DISCARDED).await,
        of(State::Discarded, 0, "not ours")
    );
    for id in [REDRIVEN, OWED, CONFLICT, OTHER] {
        assert_eq!(state(store, id).await, of(State::Owed, 0, ""), "{id}");
    }
    let attempts = store.attempts(DELIVERED.parse().unwrap()).await.unwrap();
    assert_eq!(
        attempts,
        [attempt(1, None, "timeout"), attempt(2, Some(200), "")]
    );
    let read = store
        .read(CONFLICT.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.conflict_of, Some(OWED.parse().unwrap()));
    let read = store.read(OTHER.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (read.source.as_str(), &read.body[..]),
        ("other", &[0xff, 0, 7][..])
    );
    // The keys are as taken as they were.
    for (key, body, id) in [
        ("delivered", "{\"a\":1}", DELIVERED),
        ("owed", "5", OWED),
        ("owed", "5 otherwise", CONFLICT),
    ] {
        let id = id.parse().unwrap();
        assert_eq!(
            store.accept(event(key, body, at(9))).await,
            Ok(Acceptance::Duplicate(id))
        );
    }
}

#[tokio::test]
async fn a_journal_of_version_1_is_read_and_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    lay_out(directory.path());
    let new = {
        let store = open(directory.path());
        assert_eq!(store.report().damage, []);
        assert_eq!((store.report().segments, store.report().events), (2, 7));
        all_is_there(&store).await;
        // Nothing is added to the old segment.
        let new = accept(&store, "new", "1").await;
        assert_eq!(new.segment, 2);
        let lease = store.lease(&lane(), at(30), at(60), 9).await.unwrap();
        assert_eq!(lease.len(), 4);
        store
            .settle(lease[0].clone(), attempt(1, Some(200), ""), Next::Delivered)
            .await
            .unwrap();
        store.redrive(lease[0].id, at(31)).await.unwrap();
        new
    };
    let written = std::fs::read(directory.path().join("journal/0000000001.seg")).unwrap();
    let (before, zeros) = SEGMENT_1.split_at(written.len().min(SEGMENT_1.len()));
    assert_eq!(&written[..before.len()], before);
    assert!(zeros.iter().all(|b| *b == 0));
    // Again, from the journal and from an index.
    for index in [false, true] {
        let store = open(directory.path());
        assert!(store.read(new).await.unwrap().is_some());
        assert_eq!(store.stats().owed, 5);
        if index {
            assert_eq!(store.report().index, IndexUse::Loaded);
        }
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_crash_of_version_1_cut_off_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    lay_out(directory.path());
    let path = directory.path().join("journal/0000000001.seg");
    let mut torn = std::fs::read(&path).unwrap();
    torn[11_000..11_100].fill(7);
    std::fs::write(&path, torn).unwrap();
    let store = open(directory.path());
    assert_eq!(store.report().damage, []);
    assert!(store.report().torn_bytes > 0);
    all_is_there(&store).await;
    drop(store);
    let left = std::fs::read(&path).unwrap();
    assert!(left.iter().skip(11_000).all(|b| *b == 0));
    let store = open(directory.path());
    assert_eq!(store.report().torn_bytes, 0);
}

#[tokio::test]
async fn an_event_of_now_is_not_version_1() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store
        .accept(event_of("shop", "a", "t", b"1", at(0)))
        .await
        .unwrap();
    drop(store);
    let segment = std::fs::read(directory.path().join("journal/0000000001.seg")).unwrap();
    // The format stands behind 16 bytes of magic: the program of then refuses it as newer.
    assert_eq!(segment[16..20], 2u32.to_le_bytes());
}
