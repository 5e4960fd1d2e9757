//! What a store is after it was closed, or not closed, and opened again; with its index, without
//! it, and with one that is not its own.

use super::*;
use crate::inbox::store::embedded::IndexUse;

/// A life with everything in it: several segments, every state, a conflict, steps of old events.
async fn live(store: &Embedded, from: usize, to: usize) {
    for n in from..to {
        let body = "b".repeat(100 + (n * 37) % 3000);
        accept(store, &format!("k{n}"), &body).await;
        if n % 10 == 3 {
            let other = store.accept(event(&format!("k{n}"), "other", at(0))).await;
            assert!(matches!(other, Ok(Acceptance::Conflict { .. })));
        }
        if n % 4 == 1 {
            for (i, lease) in store
                .lease(&lane(), at(n as u64), at(1_000_000), 3)
                .await
                .unwrap()
                .into_iter()
                .enumerate()
            {
                let next = match (n + i) % 4 {
                    0 => Next::Retry {
                        at: at(n as u64 + 50),
                    },
                    1 => Next::Dead {
                        reason: "gone".into(),
                    },
                    _ => Next::Delivered,
                };
                store
                    .settle(lease, attempt(1, Some(500), "status"), next)
                    .await
                    .unwrap();
            }
        }
        if n % 25 == 24 {
            let page = store
                .list(
                    &Filter {
                        state: Some(State::Dead),
                        ..Filter::default()
                    },
                    None,
                    2,
                )
                .await
                .unwrap();
            for row in page.rows {
                assert_eq!(
                    store.redrive(row.id, at(n as u64)).await,
                    Ok(Operated::Done)
                );
            }
        }
    }
}

struct Picture {
    rows: Vec<Row>,
    events: Vec<Option<StoredEvent>>,
    attempts: Vec<Vec<Attempt>>,
    stats: (u64, u64, Option<Timestamp>, u64),
}

async fn picture(store: &Embedded) -> Picture {
    let rows = all_rows(store).await;
    let mut events = Vec::new();
    let mut attempts = Vec::new();
    for row in &rows {
        assert_eq!(store.row(row.id).await.unwrap().as_ref(), Some(row));
        events.push(store.read(row.id).await.unwrap());
        attempts.push(store.attempts(row.id).await.unwrap());
    }
    let stats = store.stats();
    Picture {
        rows,
        events,
        attempts,
        stats: (stats.owed, stats.dead, stats.oldest_owed, stats.claims),
    }
}

/// The same store, seen again: the same picture, the same duplicates, and the leases out again.
async fn same(store: &Embedded, before: &Picture) {
    let now = picture(store).await;
    assert_eq!(now.rows.len(), before.rows.len());
    for (now, before) in now.rows.iter().zip(&before.rows) {
        assert_eq!(now, before);
    }
    assert!(now.events == before.events, "bodies");
    assert_eq!(now.attempts, before.attempts);
    assert_eq!(now.stats, before.stats);
    for (row, read) in before.rows.iter().zip(&before.events) {
        let read = read.as_ref().unwrap();
        let body = std::str::from_utf8(&read.body).unwrap();
        assert_eq!(
            store.accept(event(&row.event_key, body, at(0))).await,
            Ok(Acceptance::Duplicate(row.id))
        );
        assert_eq!(read.conflict_of.is_some(), row.conflict);
    }
    let owed = before
        .rows
        .iter()
        .filter(|row| row.state == State::Owed)
        .count();
    let due = store
        .lease(&lane(), at(900_000), at(900_001), 100_000)
        .await
        .unwrap();
    assert_eq!(due.len(), owed);
    for lease in due {
        let row = before.rows.iter().find(|row| row.id == lease.id).unwrap();
        assert_eq!(lease.attempt, row.attempts + 1);
    }
}

#[tokio::test]
async fn after_a_clean_close_all_is_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert_eq!(
        store.report().index,
        IndexUse::Rebuilt("it was not there".into())
    );
    live(&store, 0, 300).await;
    let before = picture(&store).await;
    assert!(store.stats().journal_segments > 3);
    store.close().await.unwrap();
    let store = open(directory.path());
    assert_eq!(store.report().index, IndexUse::Loaded);
    assert!(
        store.report().replayed_events < before.rows.len() as u64 / 2,
        "{:?}",
        store.report()
    );
    assert_eq!(store.report().events, before.rows.len() as u64);
    assert_eq!(store.report().damage, []);
    same(&store, &before).await;
    // And it goes on.
    live(&store, 300, 400).await;
}

#[tokio::test]
async fn dropped_without_a_close_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..6 {
        let store = open(directory.path());
        live(&store, round * 60, (round + 1) * 60).await;
        let before = picture(&store).await;
        drop(store);
        let store = open(directory.path());
        assert_eq!(store.report().torn_bytes, 0);
        same(&store, &before).await;
    }
}

#[tokio::test]
async fn the_index_can_be_lost_broken_or_another_ones() {
    let directory = tempfile::tempdir().unwrap();
    let index = directory.path().join("index");
    let store = open(directory.path());
    live(&store, 0, 250).await;
    let before = picture(&store).await;
    store.close().await.unwrap();

    // Lost.
    std::fs::remove_dir_all(&index).unwrap();
    let store = open(directory.path());
    assert_eq!(
        store.report().index,
        IndexUse::Rebuilt("it was not there".into())
    );
    same(&store, &before).await;
    store.close().await.unwrap();

    // Garbage, whole and in parts.
    for file in ["db", "conf"] {
        std::fs::write(index.join(file), b"garbage".repeat(10_000)).unwrap();
        let store = open(directory.path());
        assert!(
            matches!(store.report().index, IndexUse::Rebuilt(_)),
            "{file}"
        );
        same(&store, &before).await;
        store.close().await.unwrap();
    }
    std::fs::remove_dir_all(&index).unwrap();
    std::fs::write(&index, b"a file").unwrap();
    let store = open(directory.path());
    assert!(matches!(store.report().index, IndexUse::Rebuilt(_)));
    same(&store, &before).await;
    store.close().await.unwrap();

    // Another store's.
    let other_directory = tempfile::tempdir().unwrap();
    let other = open_with(config(other_directory.path()), 77).unwrap();
    live(&other, 0, 200).await;
    other.close().await.unwrap();
    std::fs::remove_dir_all(&index).unwrap();
    std::fs::rename(other_directory.path().join("index"), &index).unwrap();
    let store = open(directory.path());
    let IndexUse::Rebuilt(why) = &store.report().index else {
        panic!("{:?}", store.report())
    };
    assert!(why.contains("another store"), "{why}");
    same(&store, &before).await;
    store.close().await.unwrap();

    // And a torn snapshot, which keeps sled from opening.
    std::fs::write(index.join("snap.0000.generating"), b"torn").unwrap();
    let store = open(directory.path());
    assert_eq!(store.report().index, IndexUse::Loaded);
    same(&store, &before).await;
}

#[tokio::test]
async fn an_index_with_flipped_bytes_is_never_believed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    live(&store, 0, 250).await;
    let before = picture(&store).await;
    store.close().await.unwrap();
    let db = directory.path().join("index/db");
    let good = std::fs::read(&db).unwrap();
    for seed in 0..12u64 {
        let mut bad = good.clone();
        let used = bad.iter().rposition(|b| *b != 0).unwrap();
        let at = (seed as usize * 7919 * 13) % used;
        for byte in &mut bad[at..(at + 700).min(used)] {
            *byte ^= 0x55;
        }
        std::fs::write(&db, &bad).unwrap();
        let store = open(directory.path());
        same(&store, &before).await;
        store.close().await.unwrap();
        let _ = std::fs::remove_dir_all(directory.path().join("index"));
        std::fs::create_dir_all(directory.path().join("index")).unwrap();
    }
}

#[tokio::test]
async fn an_older_index_is_caught_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    live(&store, 0, 120).await;
    store.close().await.unwrap();
    let old = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let _ = std::fs::remove_dir_all(to);
        let status = std::process::Command::new("cp")
            .arg("-r")
            .arg(from)
            .arg(to)
            .status()
            .unwrap();
        assert!(status.success());
    };
    copy(&directory.path().join("index"), &old.path().join("index"));
    let store = open(directory.path());
    live(&store, 120, 300).await;
    let before = picture(&store).await;
    store.close().await.unwrap();
    copy(&old.path().join("index"), &directory.path().join("index"));
    let store = open(directory.path());
    assert_eq!(store.report().index, IndexUse::Loaded);
    assert!(store.report().replayed_events > 100);
    same(&store, &before).await;
}

#[tokio::test]
async fn an_index_that_breaks_at_work_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    live(&store, 0, 250).await;
    let before = picture(&store).await;
    store
        .shared_for_tests()
        .checkpoint
        .ring(|work| work.rebuild = true);
    // While it is being made, whoever asks for a row hears the truth or an error.
    for _ in 0..200 {
        match store.row(before.rows[before.rows.len() - 1].id).await {
            Ok(row) => assert_eq!(row.as_ref(), before.rows.last()),
            Err(e) => assert!(matches!(e, StoreError::Io { .. }), "{e:?}"),
        }
    }
    store.shared_for_tests().checkpoint.wait_done();
    same(&store, &before).await;
    store.close().await.unwrap();
    let store = open(directory.path());
    assert_eq!(store.report().index, IndexUse::Loaded);
    same(&store, &before).await;
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let id = accept(&store, "a", "1").await;
    match open_with(config(directory.path()), 2) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{:?}", other.err()),
    }
    assert!(store.read(id).await.unwrap().is_some());
    drop(store);
    open(directory.path());
}

#[tokio::test]
async fn a_store_of_a_later_version_or_of_nobody_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    accept(&store, "a", "1").await;
    store.close().await.unwrap();
    let id = directory.path().join("store.id");
    let segment = directory.path().join("journal/0000000001.seg");
    let (good_id, good) = (
        std::fs::read(&id).unwrap(),
        std::fs::read(&segment).unwrap(),
    );

    // The id file can be lost: the segments know.
    std::fs::remove_file(&id).unwrap();
    let store = open(directory.path());
    assert_eq!(store.stats().owed, 1);
    store.close().await.unwrap();
    assert_eq!(std::fs::read(&id).unwrap()[..80], good_id[..80]);

    let mut newer = good.clone();
    for copy in [0, 4096] {
        newer[copy + 16] = 9;
    }
    std::fs::write(&segment, &newer).unwrap();
    assert!(matches!(
        open_with(config(directory.path()), 2),
        Err(OpenError::Newer { format: 9, .. })
    ));

    // Both headers gone: the only segment there is cannot be read.
    let mut broken = good.clone();
    broken[20] ^= 1;
    broken[4096 + 20] ^= 1;
    std::fs::write(&segment, &broken).unwrap();
    assert!(matches!(
        open_with(config(directory.path()), 2),
        Err(OpenError::Unreadable { .. })
    ));

    // One of the two is enough.
    let mut broken = good.clone();
    broken[20] ^= 1;
    std::fs::write(&segment, &broken).unwrap();
    let store = open(directory.path());
    assert_eq!(store.stats().owed, 1);
    store.close().await.unwrap();

    let elsewhere = tempfile::tempdir().unwrap();
    open_with(config(elsewhere.path()), 99)
        .unwrap()
        .close()
        .await
        .unwrap();
    std::fs::copy(
        elsewhere.path().join("journal/0000000001.seg"),
        directory.path().join("journal/0000000001.seg"),
    )
    .unwrap();
    assert!(matches!(
        open_with(config(directory.path()), 2),
        Err(OpenError::Foreign { .. })
    ));

    let mut tiny = config(directory.path());
    tiny.segment_bytes = 4096;
    assert!(matches!(open_with(tiny, 2), Err(OpenError::Setting(_))));
}

#[tokio::test]
async fn due_times_outlive_a_crash_and_leases_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let a = accept(&store, "a", "1").await;
    let b = accept(&store, "b", "1").await;
    let lease = store
        .lease(&lane(), at(1), at(60), 1)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(lease.id, a);
    store
        .settle(
            lease,
            attempt(1, None, "timeout"),
            Next::Retry { at: at(500) },
        )
        .await
        .unwrap();
    let leased = store.lease(&lane(), at(1), at(60), 9).await.unwrap();
    assert_eq!(leased.len(), 1);
    drop(store);
    let store = open_with(config(directory.path()), 5).unwrap();
    let again = store.lease(&lane(), at(2), at(90), 9).await.unwrap();
    assert_eq!(
        again.iter().map(|l| l.id).collect::<Vec<_>>(),
        [b],
        "what was under way is due again"
    );
    assert_eq!(store.next_due(&lane()).await, Ok(Some(at(90))));
    let later = store.lease(&lane(), at(500), at(900), 9).await.unwrap();
    assert_eq!(
        later
            .iter()
            .map(|l| (l.id, l.attempt, l.round))
            .collect::<Vec<_>>(),
        [(b, 1, 0), (a, 2, 1)]
    );
    // The lease of the process that died holds no longer.
    let old = leased.into_iter().next().unwrap();
    assert_eq!(
        store
            .settle(old, attempt(1, Some(200), ""), Next::Delivered)
            .await,
        Err(StoreError::LeaseLost)
    );
}

/// The default is a directory `data` under the working directory: its name is in there.
#[tokio::test]
async fn the_directories_above_a_new_store_are_synced() {
    for (directory, above) in [
        ("data", &["."][..]),
        ("a/b/data", &["a/b", "a", "."]),
        ("/a/b/data", &["/a/b", "/a", "/"]),
    ] {
        let disk = FaultyDisk::new();
        let mut config = config(directory.as_ref());
        config.index = false;
        let store = open_on_with(&disk, config, 1, &Arc::default()).unwrap();
        drop(store);
        for above in above {
            assert!(disk.synced_dirs().contains(&above.into()), "{above}");
        }
    }
}

/// The writer waits for the index when it is far ahead of it; not for one that will never come.
#[tokio::test]
async fn the_end_of_the_index_thread_is_not_the_end_of_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let mut config = config(directory.path());
    config.segment_bytes = 64 << 10;
    let store = open_on_with(&disk, config, 1, &Arc::default()).unwrap();
    disk.panic_in_set_len();
    let work = async {
        for n in 0..200 {
            accept(&store, &format!("k{n}"), &"x".repeat(6000)).await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, work).await.unwrap();
    assert!(store.stats().journal_segments > 15);
    assert_eq!(all_rows(&store).await.len(), 200);
}

/// Nor for one that hangs; and when it goes on, it catches up.
#[tokio::test]
async fn an_index_that_hangs_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let mut config = config(directory.path());
    config.segment_bytes = 64 << 10;
    let store = open_on_with(&disk, config, 1, &Arc::default()).unwrap();
    disk.hang_in_set_len(true);
    for n in 0..200 {
        accept(&store, &format!("k{n}"), &"x".repeat(6000)).await;
    }
    assert!(store.stats().journal_segments > 15);
    assert_eq!(all_rows(&store).await.len(), 200);
    disk.hang_in_set_len(false);
    crash::wait_for(|| !checkpoint::due(store.shared_for_tests())).await;
    assert_eq!(all_rows(&store).await.len(), 200);
}
