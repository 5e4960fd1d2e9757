//! How long it usually is from one event of a source to the next, and when a silence is news.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How long it usually is from one event to the next. Two cores that learn at once may forget one
/// gap: it is an estimate.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    seen: AtomicU64,
    /// A running mean, in milliseconds.
    usual: AtomicU64,
    /// The longest of lately, in milliseconds: it fades within weeks.
    longest: AtomicU64,
}

/// A gap counts for so much of the mean.
const WEIGHT: u64 = 16;
/// What the longest gap is forgotten over.
const FADES_MS: f64 = 7.0 * 86_400_000.0;
/// An outage is no habit.
const LONGEST_MS: u64 = 86_400_000;
/// Gaps that must have been seen before anything is said of them.
const ENOUGH: u64 = 8;
/// A source is not quiet before that.
pub(super) const QUIET_MIN: Duration = Duration::from_secs(15 * 60);

impl Gaps {
    pub(super) fn learn(&self, gap: u64) {
        let seen = self.seen.fetch_add(1, Relaxed).saturating_add(1);
        let weight = seen.min(WEIGHT);
        let usual = self.usual.load(Relaxed);
        let next = (usual.saturating_mul(weight - 1)).saturating_add(gap) / weight;
        self.usual.store(next, Relaxed);
        let kept = (1.0 - gap as f64 / FADES_MS).max(0.0);
        let faded = (self.longest.load(Relaxed) as f64 * kept) as u64;
        self.longest.store(faded.max(gap.min(LONGEST_MS)), Relaxed);
    }

    /// From one event to the next, usually; none while too few were seen.
    pub(super) fn usual(&self) -> Option<Duration> {
        let known = self.seen.load(Relaxed) >= ENOUGH;
        known.then(|| Duration::from_millis(self.usual.load(Relaxed)))
    }

    /// How long a silence is one: long after the usual gap, and after the longest of the last weeks.
    pub(super) fn silence(&self) -> Option<Duration> {
        let longest = Duration::from_millis(self.longest.load(Relaxed));
        let usual = self.usual()?.saturating_mul(10);
        Some(usual.max(longest + longest / 2).max(QUIET_MIN))
    }

    pub(super) fn habit(&self) -> Habit {
        Habit {
            seen: self.seen.load(Relaxed),
            usual: self.usual.load(Relaxed),
            longest: self.longest.load(Relaxed),
        }
    }

    /// What an earlier process had learnt.
    pub(super) fn take_on(&self, habit: Habit) {
        self.seen.store(habit.seen, Relaxed);
        self.usual.store(habit.usual, Relaxed);
        self.longest.store(habit.longest.min(LONGEST_MS), Relaxed);
    }
}

/// What was learnt of the gaps of a source; times are milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habit {
    pub seen: u64,
    pub usual: u64,
    pub longest: u64,
}
