//! Power cuts and kills at any operation, in lives that begin where the last one ended.

use std::collections::BTreeMap;
use std::path::Path;

use super::crash::{Known, block_on};
use super::*;
use crate::inbox::store::embedded::IndexUse;
use crate::inbox::store::faulty::{Counted, Fault};
use crate::random::Random;

/// How a seed's lives go.
#[derive(Clone, Copy)]
struct Plan {
    segment_bytes: u32,
    largest_body: u64,
    rounds: u64,
}

const SMALL: Plan = Plan {
    segment_bytes: SEGMENT,
    largest_body: 60_000,
    rounds: 16,
};

/// Three lives, each ended at some operation by a power cut or a kill, be it while starting. With
/// an `index`, that is torn, too.
async fn lives(seed: u64, plan: Plan, index: Option<&Path>) {
    let random = SeededRandom::new(seed);
    let mut disk = FaultyDisk::new();
    let mut known = Known::default();
    let fatal = Arc::default();
    let mut config = config(index.unwrap_or(Path::new("/sim/data")));
    config.index = index.is_some();
    config.segment_bytes = plan.segment_bytes;
    let mut before = index.map(Files::of).unwrap_or_default();
    for life in 0..3 {
        let span = if random.next_u64().is_multiple_of(3) {
            40
        } else {
            400
        };
        disk.plan(1 + random.next_u64() % span, Fault::PowerCut, Counted::All);
        if let Ok(store) = open_on_with(&disk, config.clone(), random.next_u64(), &fatal) {
            for _ in 0..plan.rounds {
                if !known.work(&store, &random, plan.largest_body).await {
                    break;
                }
            }
        }
        disk.forget_plan();
        let what = format!("seed {seed}, life {life}");
        if random.next_u64().is_multiple_of(3) {
            // Killed, and started again; and then the power goes, too.
            disk = disk.after_kill();
            let store = open_on_with(&disk, config.clone(), random.next_u64(), &fatal)
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            known.check(&store, &what).await;
        }
        disk = disk.after_power_cut(random.next_u64());
        if let Some(index) = index {
            before.tear(index, &random);
        }
        let store = open_on_with(&disk, config.clone(), random.next_u64(), &fatal)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(store.report().unreadable, [0u32; 0], "{what}");
        if index.is_some() {
            assert_ne!(store.report().index, IndexUse::Without, "{what}");
        }
        known.check(&store, &what).await;
        if let Some(index) = index {
            before = Files::of(index);
        }
    }
}

/// What lies in the index's directory.
#[derive(Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn of(directory: &Path) -> Files {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(directory.join("index"))
            .into_iter()
            .flatten()
        {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = entry.file_name().into_string().unwrap();
                files.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
        Files(files)
    }

    /// Makes of the directory what a power cut could, and worse: files are missing, cut off, older,
    /// or a mixture of pages that were written, were not, or are torn.
    fn tear(&self, directory: &Path, random: &SeededRandom) {
        let index = directory.join("index");
        if random.next_u64().is_multiple_of(4) {
            return;
        }
        for (name, mut bytes) in Files::of(directory).0 {
            let path = index.join(&name);
            let old = self.0.get(&name).map_or(&[][..], |old| old);
            match random.next_u64() % 6 {
                0 => std::fs::remove_file(&path).unwrap(),
                1 => {
                    let kept = random.next_u64() as usize % (bytes.len() + 1);
                    std::fs::write(&path, &bytes[..kept]).unwrap();
                }
                2 => std::fs::write(&path, old).unwrap(),
                3 | 4 => {
                    for (n, page) in bytes.chunks_mut(4096).enumerate() {
                        let old = old.get(n * 4096..).unwrap_or_default();
                        let torn = match random.next_u64() % 4 {
                            0 => page.len(),
                            1 => 512 * (random.next_u64() as usize % 8),
                            _ => 0,
                        };
                        for (at, byte) in page.iter_mut().enumerate().take(torn) {
                            *byte = old.get(at).copied().unwrap_or_default();
                        }
                    }
                    std::fs::write(&path, &bytes).unwrap();
                }
                _ => {}
            }
        }
        if index.is_dir() && random.next_u64().is_multiple_of(2) {
            // What keeps sled from ever opening again.
            let length = random.next_u64() as usize % 200;
            std::fs::write(
                index.join("snap.000000000000a1b2.generating"),
                vec![7; length],
            )
            .unwrap();
        }
        if random.next_u64().is_multiple_of(9) {
            std::fs::remove_dir_all(&index).unwrap_or_default();
        }
    }
}

/// CALLSEAL_SEEDS for a longer search; a failure names its seed.
fn seeds(default: u64) -> u64 {
    std::env::var("CALLSEAL_SEEDS").map_or(default, |seeds| seeds.parse().unwrap())
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    for seed in 0..seeds(1000) {
        block_on(lives(seed, SMALL, None));
    }
}

#[test]
fn power_cuts_with_a_torn_index_lose_nothing_either() {
    // Where files are memory, the many syncs of the index cost nothing.
    let memory = Path::new("/dev/shm");
    for seed in 0..seeds(1000) {
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        block_on(lives(seed, SMALL, Some(directory.path())));
    }
}

#[test]
fn power_cuts_with_bodies_of_4_mib() {
    let plan = Plan {
        segment_bytes: 10 << 20,
        largest_body: 4 << 20,
        rounds: 12,
    };
    for seed in 1000..1004 {
        block_on(lives(seed, plan, None));
    }
}

/// A sync fails, the process leaves, and the next one finds in the memory of the system what never
/// reached the disk, where it counts as written. Whatever that process says is there must be.
#[test]
fn what_is_found_after_a_failed_sync_is_made_durable_before_it_is_believed() {
    let fatal = Arc::default();
    let mut found = 0;
    for nth in 1..40 {
        let disk = FaultyDisk::new();
        let store = open_on(&disk, 1, &fatal).unwrap();
        block_on(accept(&store, "before", "1"));
        disk.plan(nth, Fault::Eio, Counted::Syncs);
        for n in 0..6 {
            let body = "x".repeat(20_000 * n);
            let _ = block_on(store.accept(event(&format!("k{n}"), &body, at(0))));
        }
        drop(store);
        let disk = disk.after_kill();
        let Ok(store) = open_on(&disk, 2, &fatal) else {
            continue;
        };
        let said = block_on(all_rows(&store));
        drop(store);
        let store = open_on(&disk.after_power_cut(nth), 3, &fatal).unwrap();
        assert_eq!(block_on(all_rows(&store)), said, "{nth}");
        found += said.len();
    }
    assert!(found > 100, "{found}");
}
