//! The whole gateway from a seed, in virtual time: real providers' signatures, the real pipeline, the
//! real store on a disk that fails and loses its power, the real relay; applications, providers and
//! operators that behave as they do. A seed that fails fails again, in every detail.
//!
//! `CALLSEAL_SEEDS=100000` runs so many; `CALLSEAL_SEED=4711` runs that one alone, and says what it
//! did.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::LocalSet;

use crate::service::simulation::world::World;

mod callbacks;
mod model;
mod places;
mod process;
mod providers;
mod scenario;
mod sources;
mod trouble;
mod verdict;
mod watched;
mod world;

/// Some forty seconds of one core.
const SEEDS: u64 = if cfg!(debug_assertions) { 800 } else { 4000 };

/// So many scenarios for one with an index, which has files of its own.
const WITH_INDEX: u64 = 16;

struct Ran {
    digest: u64,
    faults: Vec<String>,
    met: BTreeMap<&'static str, u64>,
}

/// What a run of some hundred seeds must have met, so that it is not a run about nothing.
const MEETS: [&str; 22] = [
    "a new event",
    "a duplicate",
    "a conflict that was kept",
    "a conflict that was dropped",
    "a conflict that was refused",
    "an event that only a start has found",
    "an answer of the application",
    "an urgent delivery",
    "an operator's word about pauses",
    "a full disk",
    "a failed sync",
    "a stop",
    "a kill",
    "a power cut",
    "a power cut while starting",
    "an index that is gone",
    "owed",
    "delivered",
    "dead",
    "discarded",
    "filtered",
    "superseded",
];

fn run(seed: u64, told: bool) -> Ran {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let index = seed % WITH_INDEX == WITH_INDEX - 1;
    // Where files are memory, the many syncs of the index cost nothing.
    let memory = Path::new("/dev/shm");
    let directory = index.then(|| match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    });
    let path = directory
        .as_ref()
        .map_or(Path::new("/simulated"), |d| d.path());
    LocalSet::new().block_on(&runtime, async {
        let world = World::new(seed, told);
        scenario::scenario(&world, path.to_owned(), index).await;
        Ran {
            digest: world.digest(),
            faults: world.faults(),
            met: world.all_met(),
        }
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn assert_whole(seed: u64, ran: &Ran) {
    assert!(
        ran.faults.is_empty(),
        "CALLSEAL_SEED={seed} cargo test --lib service::simulation::whatever -- --nocapture\n{}",
        ran.faults.join("\n")
    );
}

#[test]
fn whatever_happens_the_gateway_keeps_its_promises() {
    if let Some(seed) = number("CALLSEAL_SEED") {
        return assert_whole(seed, &run(seed, true));
    }
    let seeds = number("CALLSEAL_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(number("CALLSEAL_FROM").unwrap_or(0));
    let end = next.load(Ordering::Relaxed) + seeds;
    let met: Mutex<BTreeMap<&str, u64>> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let ran = run(seed, false);
            assert_whole(seed, &ran);
            for (what, times) in ran.met {
                *met.lock().unwrap().entry(what).or_default() += times;
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    let met = met.into_inner().unwrap();
    println!("{seeds} seeds: {met:?}");
    let missing = MEETS.iter().filter(|what| !met.contains_key(*what));
    let missing: Vec<&&str> = missing.collect();
    assert!(seeds < 300 || missing.is_empty(), "never met: {missing:?}");
}

/// Without this no seed could be looked at again.
#[test]
fn the_same_seed_does_the_same_again() {
    for seed in 0..32 {
        assert_eq!(
            run(seed, false).digest,
            run(seed, false).digest,
            "seed {seed}"
        );
    }
}
