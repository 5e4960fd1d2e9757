//! Tests of the embedded store: the contract on it, and what it does when the process, the power or
//! the disk fails it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::contract::{self, Bench, at, attempt, contract_tests, event, lane};
use super::embedded::{Embedded, EmbeddedConfig, IndexUse, OpenError};
use super::faulty::FaultyDisk;
use super::*;
use crate::clock::ManualClock;
use crate::message::SourceName;
use crate::random::SeededRandom;
use crate::telemetry::Metrics;

mod crash;
mod damage;
mod exporting;
mod keeping;
mod measure;
mod model;
mod offline;
mod old;
mod power;
mod reopen;
mod space;
mod taking;

/// Small, so that tests come by the end of a segment often.
const SEGMENT: u32 = 128 << 10;

fn config(directory: &std::path::Path) -> EmbeddedConfig {
    EmbeddedConfig {
        directory: directory.to_owned(),
        segment_bytes: SEGMENT,
        ballast_bytes: 0,
        low_water_bytes: 0,
        index_cache_bytes: 1 << 20,
        tick: Duration::from_millis(5),
        clock_leap: 0,
        ..EmbeddedConfig::default()
    }
}

fn open_with(config: EmbeddedConfig, seed: u64) -> Result<Embedded, OpenError> {
    let clock = Arc::new(ManualClock::at(at(0)));
    Embedded::open(
        config,
        clock,
        Arc::new(SeededRandom::new(seed)),
        Metrics::new(),
        Arc::new(|| {}),
    )
}

fn open(directory: &std::path::Path) -> Embedded {
    open_with(config(directory), 1).unwrap()
}

/// A store on a simulated disk, without an index on the real one.
fn open_on(disk: &FaultyDisk, seed: u64, fatal: &Arc<AtomicU32>) -> Result<Embedded, OpenError> {
    let mut config = config("/sim/data".as_ref());
    config.index = false;
    open_on_with(disk, config, seed, fatal)
}

fn open_on_with(
    disk: &FaultyDisk,
    config: EmbeddedConfig,
    seed: u64,
    fatal: &Arc<AtomicU32>,
) -> Result<Embedded, OpenError> {
    let clock = Arc::new(ManualClock::at(at(0)));
    let fatal = Arc::clone(fatal);
    let on_fatal = Arc::new(move || {
        fatal.fetch_add(1, Ordering::SeqCst);
    });
    Embedded::open_on(
        Arc::new(disk.clone()),
        config,
        clock,
        Arc::new(SeededRandom::new(seed)),
        Metrics::new(),
        on_fatal,
    )
}

async fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (Arc::new(store), Box::new(directory))
}

contract_tests!(embedded, bench);

async fn bench_without_index() -> Bench {
    let store = open_on(&FaultyDisk::new(), 1, &Arc::default()).unwrap();
    (Arc::new(store), Box::new(()))
}

contract_tests!(without_an_index, bench_without_index);

/// Everything a list shows, newest first.
async fn all_rows(store: &Embedded) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(&Filter::default(), after, 100).await.unwrap();
        rows.extend(page.rows);
        match page.next {
            Some(next) => after = Some(next),
            None => return rows,
        }
    }
}

async fn accept(store: &Embedded, key: &str, body: &str) -> EventId {
    match store.accept(event(key, body, at(0))).await {
        Ok(Acceptance::New(id)) => id,
        other => panic!("{key}: {other:?}"),
    }
}
