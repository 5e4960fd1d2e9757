//! What the store costs, measured; `docs/durability.md` has the figures. Only the inbox and these
//! tests can make an event, so they are not under `benches/`. Ignored by default; nothing is asserted:
//!
//! ```sh
//! cargo test --release --lib measure -- --ignored --nocapture --test-threads 1
//! ```
//!
//! The data goes under `target/measure`, or where CALLSEAL_MEASURE says.
#![allow(clippy::disallowed_methods)]

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Barrier, Condvar, Mutex};
use std::time::Instant;

use tokio::sync::oneshot;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::inbox::store::offline::import::{Import, Importer};
use crate::inbox::store::offline::lines::{AttemptLine, Claimed, DeliveryLine, Event, StepLine};
use crate::random::Random;

const BODY: usize = 1_500;

fn place(name: &str) -> PathBuf {
    let base = std::env::var("CALLSEAL_MEASURE").unwrap_or_else(|_| "target/measure".into());
    let path = Path::new(&base).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn real(directory: &Path, clock: &ManualClock) -> Embedded {
    let config = EmbeddedConfig {
        directory: directory.to_owned(),
        low_water_bytes: 0,
        ballast_bytes: 0,
        clock_leap: 0,
        segment_bytes: number("CALLSEAL_SEGMENT", 64 << 20) as u32,
        ..EmbeddedConfig::default()
    };
    let (clock, random) = (Arc::new(clock.clone()), Arc::new(SeededRandom::new(7)));
    let open = Embedded::open(config, clock, random, Metrics::new(), Arc::new(|| {}));
    open.unwrap()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().unwrap())
}

/// Runs `callers` on two threads, each with a runtime of its own as in the gateway, until each has
/// done its share of `total`; what each call took, and how long all took. What they call with is
/// made on their own thread, as a request is read on its own core, and before the clock runs.
fn called<F, Fut, T>(
    name: &str,
    callers: usize,
    total: usize,
    make: impl Fn(usize) -> T + Clone + Send + 'static,
    call: F,
) -> (Vec<Duration>, Duration)
where
    F: Fn(T) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
    T: 'static,
{
    let threads = 2.min(callers);
    let ready = Arc::new(Barrier::new(threads + 1));
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let (make, call, ready) = (make.clone(), call.clone(), Arc::clone(&ready));
            let work = move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let each = total / callers;
                let mine = (0..callers)
                    .filter(|caller| caller % 2 == thread || callers == 1)
                    .map(|caller| (0..each).map(|n| make(caller * each + n)).collect())
                    .collect::<Vec<Vec<T>>>();
                ready.wait();
                tokio::task::LocalSet::new().block_on(&runtime, async move {
                    let tasks: Vec<_> = mine
                        .into_iter()
                        .map(|with| {
                            let call = call.clone();
                            tokio::task::spawn_local(async move {
                                let mut took = Vec::with_capacity(each);
                                for with in with {
                                    let one = Instant::now();
                                    call(with).await;
                                    took.push(one.elapsed());
                                }
                                took
                            })
                        })
                        .collect();
                    let mut all = Vec::new();
                    for task in tasks {
                        all.extend(task.await.unwrap());
                    }
                    all
                })
            };
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .unwrap()
        })
        .collect();
    ready.wait();
    let began = Instant::now();
    let mut took: Vec<Duration> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    let all = began.elapsed();
    took.sort_unstable();
    (took, all)
}

#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn figures((took, all): &(Vec<Duration>, Duration)) -> Figures {
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    Figures {
        per_second: took.len() as f64 / all.as_secs_f64(),
        p50: at(0.5),
        p99: at(0.99),
    }
}

type Offered = (Arc<[u8]>, oneshot::Sender<()>);

/// The least that a group commit must do: callers hand over bytes, one thread appends what is
/// there to a preallocated file with one write and one fdatasync, and wakes them.
struct Raw {
    /// What waits, and that nothing more will come.
    waiting: Mutex<(Vec<Offered>, bool)>,
    ready: Condvar,
}

fn raw(directory: &Path, callers: usize, total: usize, frame: usize) -> Figures {
    let file = std::fs::File::create(directory.join("raw")).unwrap();
    let size = (total * frame) as u64;
    let zeros = vec![0; 1 << 20];
    for at in (0..size).step_by(1 << 20) {
        file.write_all_at(&zeros, at).unwrap();
    }
    file.sync_all().unwrap();
    let raw = Arc::new(Raw {
        waiting: Mutex::default(),
        ready: Condvar::new(),
    });
    let writing = Arc::clone(&raw);
    let writing = move || {
        let (mut bytes, mut at) = (Vec::new(), 0);
        loop {
            let mut waiting = writing.waiting.lock().unwrap();
            while waiting.0.is_empty() && !waiting.1 {
                waiting = writing.ready.wait(waiting).unwrap();
            }
            let batch = std::mem::take(&mut waiting.0);
            drop(waiting);
            if batch.is_empty() {
                return;
            }
            bytes.clear();
            for (frame, _) in &batch {
                bytes.extend_from_slice(frame);
            }
            file.write_all_at(&bytes, at).unwrap();
            file.sync_data().unwrap();
            at += bytes.len() as u64;
            for (_, told) in batch {
                let _ = told.send(());
            }
        }
    };
    let named = std::thread::Builder::new().name("raw writer".into());
    let writer = named.spawn(writing).unwrap();
    let bytes: Arc<[u8]> = vec![7u8; frame].into();
    let asking = Arc::clone(&raw);
    let done = called(
        "raw",
        callers,
        total,
        |_| (),
        move |()| {
            let (raw, bytes) = (Arc::clone(&asking), Arc::clone(&bytes));
            async move {
                let (tell, told) = oneshot::channel();
                raw.waiting.lock().unwrap().0.push((bytes, tell));
                raw.ready.notify_one();
                told.await.unwrap();
            }
        },
    );
    raw.waiting.lock().unwrap().1 = true;
    raw.ready.notify_one();
    writer.join().unwrap();
    std::fs::remove_file(directory.join("raw")).unwrap();
    figures(&done)
}

/// Reading and verifying are others' business.
fn event(n: usize, body: &[u8]) -> NewEvent {
    let key = format!("evt_{n:012}");
    contract::event_of("shop", &key, "payment", body, at(0))
}

fn accepts(store: &Arc<Embedded>, from: usize, callers: usize, total: usize) -> Figures {
    let body = [b'x'; BODY];
    let store = Arc::clone(store);
    let make = move |n| event(from + n, &body);
    let done = called("callers", callers, total, make, move |event| {
        let store = Arc::clone(&store);
        async move {
            let accepted = store.accept(event).await;
            assert!(matches!(accepted, Ok(Acceptance::New(_))), "{accepted:?}");
        }
    });
    figures(&done)
}

/// Durable acceptances beside the bare group commit of as many bytes, alternating in one run.
#[test]
#[ignore = "a measurement"]
fn measure_accepts() {
    let directory = place("accepts");
    let store = Arc::new(real(&directory, &ManualClock::at(at(0))));
    let mut from = 0;
    println!(
        "callers      raw/s  p50       p99        store/s  p50       p99       ratio  p99 ratio"
    );
    let only = number("CALLSEAL_CALLERS", 0) as usize;
    for (callers, total) in [(1, 600), (8, 8_000), (64, 32_000), (256, 64_000)] {
        if only != 0 && only != callers {
            continue;
        }
        let (mut raws, mut stores) = (Vec::new(), Vec::new());
        for _ in 0..number("CALLSEAL_ROUNDS", 5) {
            // What the store writes for such an event.
            raws.push(raw(&directory, callers, total, BODY + 320));
            stores.push(accepts(&store, from, callers, total));
            from += total;
        }
        let median = |figures: &mut Vec<Figures>| {
            figures.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
            figures[figures.len() / 2]
        };
        let (raw, store) = (median(&mut raws), median(&mut stores));
        println!(
            "{callers:>7} {:>10.0}  {:<8.0?}  {:<8.0?} {:>10.0}  {:<8.0?}  {:<8.0?}  {:>5.2}  {:>5.2}",
            raw.per_second,
            raw.p50,
            raw.p99,
            store.per_second,
            store.p50,
            store.p99,
            store.per_second / raw.per_second,
            store.p99.as_secs_f64() / raw.p99.as_secs_f64(),
        );
    }
    drop(store);
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A small event as it comes from an export: delivered at the first attempt, or owed.
fn import(n: u64, received_at: Timestamp, keep: Duration, delivered: bool) -> Import {
    let random = SeededRandom::new(n);
    let hash = || format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
    let received_ms = received_at.as_millis();
    let step = StepLine {
        what: "attempt".into(),
        at_ms: received_ms,
        reason: String::new(),
        state: "delivered".into(),
        attempts: 1,
        round: 0,
        since_ms: received_ms,
        due_ms: received_ms,
        attempt: Some(AttemptLine {
            number: 1,
            started_ms: received_ms,
            took_ns: 1,
            status: Some(200),
            error: String::new(),
            response: None,
        }),
    };
    let place = EventId {
        segment: 1,
        offset: 8192,
        tag: n,
    };
    let event = Event {
        id: place.to_string(),
        source: "shop".into(),
        provider: "stripe".into(),
        received_ms,
        keep_ms: keep.as_millis() as u64,
        peer: "192.0.2.7".parse().unwrap(),
        method: "POST".into(),
        target: "/".into(),
        headers: Vec::new(),
        body: "e30=".into(),
        event_key: format!("evt_{n}"),
        event_type: "t".into(),
        verified: "hmac-sha256 keys[0]".into(),
        conflict_of: None,
        payment: None,
        claim: Claimed {
            key: hash(),
            key_and_body: hash(),
            conflict: false,
        },
        business: None,
        version: None,
        deliveries: vec![DeliveryLine {
            destination: "main".into(),
            began: "owed".into(),
            order: None,
            steps: delivered.then_some(step).into_iter().collect(),
        }],
    };
    Import::new(event).unwrap()
}

fn take_in(store: &Embedded, from: u64, to: u64, delivered: bool) {
    let mut importer = Importer::new(store, Default::default()).unwrap();
    let mut n = from;
    while n < to {
        let batch: Vec<Import> = (n..to.min(n + 4000))
            .map(|n| import(n, at(n / 1000), KEEP, delivered))
            .collect();
        n += batch.len() as u64;
        for answer in importer.events(&batch) {
            answer.unwrap();
        }
    }
}

const KEEP: Duration = Duration::from_secs(3600);

/// Of this process, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

fn disk_bytes(directory: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let meta = entry.metadata().unwrap();
        bytes += match meta.is_dir() {
            true => disk_bytes(&entry.path()),
            false => meta.len(),
        };
    }
    bytes
}

/// What an acceptance costs with ever more keys and with ever more owed; memory; a restart.
#[test]
#[ignore = "a measurement"]
fn measure_growth() {
    let directory = place("growth");
    let clock = ManualClock::at(at(0));
    let mut store = Arc::new(real(&directory, &clock));
    let most = number("CALLSEAL_KEYS", 10_000_000);
    let (mut there, mut fresh) = (0, 0);
    let mut one = |store: &Arc<Embedded>, what: String| {
        let mut all: Vec<f64> = (0..5)
            .map(|_| {
                fresh += 16_000;
                let raw = raw(&directory, 64, 16_000, BODY + 320).per_second;
                accepts(store, fresh, 64, 16_000).per_second / raw
            })
            .collect();
        all.sort_by(f64::total_cmp);
        println!(
            "{what}: {:.2} of raw, resident {} MiB, on disk {} MiB",
            all[2],
            resident(),
            disk_bytes(&directory) >> 20
        );
    };
    for keys in [10_000, 100_000, 1_000_000, 10_000_000] {
        if keys > most {
            break;
        }
        let began = Instant::now();
        take_in(&store, there, keys, true);
        let rate = (keys - there) as f64 / began.elapsed().as_secs_f64();
        there = keys;
        println!("({rate:.0} imported a second)");
        one(&store, format!("{keys} keys"));
    }
    for owed in [100_000, 1_000_000] {
        take_in(&store, there, there + owed, false);
        there += owed;
        one(&store, format!("{} owed", store.stats().owed));
    }
    for how in ["after a clean stop", "after a crash"] {
        if how == "after a clean stop" {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(store.close()).unwrap();
        }
        drop(store);
        let began = Instant::now();
        store = Arc::new(real(&directory, &clock));
        println!(
            "restart {how}: {:.2?}, resident {} MiB; {}",
            began.elapsed(),
            resident(),
            store.report()
        );
    }
    drop(store);
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A restart, in a process of its own, of what `measure_growth` would leave: memory without what a
/// long life has left over.
#[test]
#[ignore = "a measurement"]
fn measure_restart() {
    let directory = place("restart");
    let clock = ManualClock::at(at(0));
    let keys = number("CALLSEAL_KEYS", 10_000_000);
    let exe = std::env::current_exe().unwrap();
    if std::env::var("CALLSEAL_CHILD").is_err() {
        let store = real(&directory, &clock);
        take_in(&store, 0, keys, true);
        take_in(&store, keys, keys + keys / 10, false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(store.close()).unwrap();
        drop(store);
        let child = std::process::Command::new(exe)
            .args(["measure_reopen", "--ignored", "--nocapture"])
            .env("CALLSEAL_CHILD", &directory)
            .status()
            .unwrap();
        assert!(child.success());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

/// The second process of `measure_restart`.
#[test]
#[ignore = "a part of a measurement"]
fn measure_reopen() {
    let Ok(directory) = std::env::var("CALLSEAL_CHILD") else {
        return;
    };
    let before = resident();
    let began = Instant::now();
    let store = real(Path::new(&directory), &ManualClock::at(at(0)));
    let took = began.elapsed();
    let stats = store.stats();
    println!(
        "{} keys, {} owed: ready after {took:.2?}, resident {} MiB ({before} before); {}",
        stats.claims,
        stats.owed,
        resident(),
        store.report()
    );
}

/// A million events come and go, five times: what stays on the disk, and in memory.
#[test]
#[ignore = "a measurement"]
fn measure_cycles() {
    let directory = place("cycles");
    let clock = ManualClock::at(at(0));
    let store = real(&directory, &clock);
    let events = number("CALLSEAL_EVENTS", 1_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for cycle in 0..5 {
        let began = Instant::now();
        take_in(&store, cycle * events, (cycle + 1) * events, true);
        let most = disk_bytes(&directory);
        let now = at((cycle + 1) * events / 1000).plus(KEEP * 2);
        clock.set(now);
        // The first seals what was written to last, the next removes it.
        for _ in 0..2 {
            runtime.block_on(store.expire(now)).unwrap();
            std::thread::sleep(Duration::from_secs(1));
        }
        println!(
            "cycle {cycle}: {} MiB at most, {} MiB after expiry, {} keys, resident {} MiB, {:.1?}",
            most >> 20,
            disk_bytes(&directory) >> 20,
            store.stats().claims,
            resident(),
            began.elapsed()
        );
    }
    drop(store);
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A backlog is delivered by a destination that takes no time.
#[test]
#[ignore = "a measurement"]
fn measure_drain() {
    let directory = place("drain");
    let clock = ManualClock::at(at(0));
    let store = Arc::new(real(&directory, &clock));
    let owed = number("CALLSEAL_EVENTS", 200_000) as usize;
    take_in(&store, 0, owed as u64, false);
    clock.set(at(100_000));
    for callers in [1, 16, 64] {
        let total = (owed / 4).min(callers * 2_000);
        let drained = Arc::clone(&store);
        let done = called(
            "callers",
            callers,
            total,
            |_| (),
            move |()| {
                let store = Arc::clone(&drained);
                async move {
                    let now = SystemClock.now();
                    let lease = store.lease(&lane(), now, now.plus(KEEP), 1).await;
                    let lease = lease.unwrap().remove(0);
                    let read = store.read(lease.id).await.unwrap();
                    assert!(read.is_some());
                    let taken = attempt(lease.attempt, Some(200), "");
                    store.settle(lease, taken, Next::Delivered).await.unwrap();
                }
            },
        );
        let Figures {
            per_second,
            p50,
            p99,
        } = figures(&done);
        println!(
            "{callers:>3} at a time: {per_second:>8.0} delivered a second, p50 {p50:.0?}, p99 {p99:.0?}"
        );
    }
    drop(store);
    std::fs::remove_dir_all(&directory).unwrap();
}
