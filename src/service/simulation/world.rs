//! What a scenario's parts share: chance, clocks, what is known, and what went wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock::{Clock, TimerClock, Timestamp};
use crate::random::{Random, SeededRandom};
use crate::service::simulation::model::Model;
use crate::service::simulation::places::Places;

/// 2026-01-01T00:00:00Z
pub const START: Timestamp = Timestamp::from_secs(1_767_225_600);

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// All chance of a scenario. One thread draws, so the order is always the same.
pub struct Dice(SeededRandom);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(SeededRandom::new(seed))
    }

    pub fn number(&self) -> u64 {
        self.0.next_u64()
    }

    pub fn below(&self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub fn from(&self, least: u64, most: u64) -> u64 {
        least + self.number() % (most - least + 1)
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.number().is_multiple_of(n)
    }

    pub fn one_of<T: Clone>(&self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// The gateway's wall clock: it goes with the timers, and is wrong now and then.
pub struct SimClock {
    timer: TimerClock,
    skew_ms: AtomicI64,
    /// How often it was put ahead.
    jumps: AtomicUsize,
}

impl SimClock {
    /// What the providers' clocks say.
    pub fn right(&self) -> Timestamp {
        self.timer.now()
    }

    pub fn step_to(&self, skew_ms: i64) {
        if skew_ms > self.skew_ms.swap(skew_ms, Ordering::SeqCst) {
            self.jumps.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub fn jumps(&self) -> usize {
        self.jumps.load(Ordering::SeqCst)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let skew = self.skew_ms.load(Ordering::SeqCst);
        Timestamp::from_millis(self.right().as_millis().saturating_add_signed(skew))
    }
}

pub struct World {
    pub dice: Dice,
    pub clock: Arc<SimClock>,
    began: Instant,
    /// So many were started.
    process: AtomicUsize,
    /// Rung when something waits for the disk.
    pub bell: Notify,
    told: bool,
    digest: AtomicU64,
    faults: Mutex<Vec<String>>,
    met: Mutex<BTreeMap<&'static str, u64>>,
    model: Mutex<Model>,
    places: Mutex<Places>,
}

impl World {
    pub fn new(seed: u64, told: bool) -> Arc<World> {
        Arc::new(World {
            dice: Dice::new(seed),
            clock: Arc::new(SimClock {
                timer: TimerClock::starting_at(START),
                skew_ms: AtomicI64::new(0),
                jumps: AtomicUsize::new(0),
            }),
            began: Instant::now(),
            process: AtomicUsize::new(0),
            bell: Notify::new(),
            told,
            digest: AtomicU64::new(0xcbf2_9ce4_8422_2325),
            faults: Mutex::default(),
            met: Mutex::default(),
            model: Mutex::default(),
            places: Mutex::default(),
        })
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap()
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn next_process(&self) -> usize {
        self.process.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Part of the scenario's course: what must come out the same of the same seed.
    pub fn say(&self, what: std::fmt::Arguments<'_>) {
        let line = format!("{:>10.3} {what}", self.elapsed().as_secs_f64());
        let mut digest = self.digest.load(Ordering::SeqCst);
        for byte in line.bytes() {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        self.digest.store(digest, Ordering::SeqCst);
        if self.told {
            println!("{line}");
        }
    }

    /// Something came about that a run of many seeds must have met.
    pub fn met(&self, what: &'static str) {
        *self.met.lock().unwrap().entry(what).or_default() += 1;
    }

    pub fn all_met(&self) -> BTreeMap<&'static str, u64> {
        self.met.lock().unwrap().clone()
    }

    /// A promise was broken.
    pub fn fault(&self, what: String) {
        self.say(format_args!("BROKEN: {what}"));
        self.faults.lock().unwrap().push(what);
    }

    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    pub fn digest(&self) -> u64 {
        self.digest.load(Ordering::SeqCst)
    }
}

/// The same as [`World::fault`], with a format.
macro_rules! fault {
    ($world:expr, $($what:tt)*) => { $world.fault(format!($($what)*)) };
}

/// The same as [`World::say`], with a format.
macro_rules! say {
    ($world:expr, $($what:tt)*) => { $world.say(format_args!($($what)*)) };
}

pub(super) use {fault, say};
