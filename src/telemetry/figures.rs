//! What happened lately, source by source: counters, latencies, last moments. For the admin port,
//! which samples them into its history. To count is a few relaxed additions: no lock, no
//! allocation. The sources are those of the rules, so that a stranger makes none.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Timestamp;
use crate::message::SourceName;
use crate::telemetry::series::SourceSeries;

/// What became of a callback or of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A new event is durable.
    Accepted,
    /// It was there before.
    Duplicate,
    /// The verifier said no, or the source's rule for conflicts.
    Rejected,
    /// A guard or the listener said no, or it could not be made durable.
    Refused,
    Delivered,
    /// An attempt that was not taken.
    Failed,
    /// Accepted, or not stored, beside another event with the same key.
    Conflict,
}

impl Count {
    pub const ALL: [Count; 7] = [
        Count::Accepted,
        Count::Duplicate,
        Count::Rejected,
        Count::Refused,
        Count::Delivered,
        Count::Failed,
        Count::Conflict,
    ];
}

/// Buckets of a histogram: from 64 µs on, four to each doubling, up to some 18 minutes.
pub const BUCKETS: usize = 96;

fn bucket(took: Duration) -> usize {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let Some(octave) = us.checked_ilog2().and_then(|log| log.checked_sub(6)) else {
        return 0;
    };
    let quarter = (us >> (octave + 4)) & 3;
    (1 + octave as usize * 4 + quarter as usize).min(BUCKETS - 1)
}

/// In the middle of what the bucket holds, in milliseconds.
fn middle(bucket: usize) -> f64 {
    let Some(above) = bucket.checked_sub(1) else {
        return 0.032;
    };
    let (octave, quarter) = (above / 4, above % 4);
    let lower = 64.0 * (1u64 << octave.min(40)) as f64;
    lower * (1.0 + (quarter as f64 + 0.5) / 4.0) / 1000.0
}

/// What was counted up to a moment, or between two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    values: [u64; Count::ALL.len()],
    acknowledge: [u64; BUCKETS],
    delivery: [u64; BUCKETS],
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            values: [0; Count::ALL.len()],
            acknowledge: [0; BUCKETS],
            delivery: [0; BUCKETS],
        }
    }
}

impl Counts {
    pub fn of(&self, what: Count) -> u64 {
        self.values.get(what as usize).copied().unwrap_or_default()
    }

    /// In milliseconds; none when nothing was counted. `share` is from 0 to 1.
    pub fn acknowledge(&self, share: f64) -> Option<f64> {
        quantile(&self.acknowledge, share)
    }

    /// The same of attempts that were taken.
    pub fn delivery(&self, share: f64) -> Option<f64> {
        quantile(&self.delivery, share)
    }

    fn all(&self) -> impl Iterator<Item = &u64> {
        self.values
            .iter()
            .chain(&self.acknowledge)
            .chain(&self.delivery)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.values
            .iter_mut()
            .chain(&mut self.acknowledge)
            .chain(&mut self.delivery)
    }

    pub fn add(&mut self, other: &Counts) {
        for (mine, more) in self.all_mut().zip(other.all()) {
            *mine += more;
        }
    }

    /// What came after `before`.
    #[must_use]
    pub fn since(&self, before: &Counts) -> Counts {
        let mut since = self.clone();
        for (mine, before) in since.all_mut().zip(before.all()) {
            *mine = mine.saturating_sub(*before);
        }
        since
    }

    pub fn is_empty(&self) -> bool {
        self.all().all(|n| *n == 0)
    }
}

fn quantile(buckets: &[u64; BUCKETS], share: f64) -> Option<f64> {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
    let mut seen = 0;
    let found = buckets.iter().position(|n| {
        seen += n;
        seen >= rank
    });
    Some(middle(found.unwrap_or(BUCKETS - 1)))
}

/// The counters of one source.
#[derive(Debug)]
struct Cells {
    values: [AtomicU64; Count::ALL.len()],
    acknowledge: [AtomicU64; BUCKETS],
    delivery: [AtomicU64; BUCKETS],
    /// Milliseconds since 1970; 0: never.
    last_accepted: AtomicU64,
    last_rejected: AtomicU64,
    gaps: Gaps,
}

impl Default for Cells {
    fn default() -> Self {
        Cells {
            values: [const { AtomicU64::new(0) }; Count::ALL.len()],
            acknowledge: [const { AtomicU64::new(0) }; BUCKETS],
            delivery: [const { AtomicU64::new(0) }; BUCKETS],
            last_accepted: AtomicU64::new(0),
            last_rejected: AtomicU64::new(0),
            gaps: Gaps::default(),
        }
    }
}

/// How long it usually is from one event to the next. Two cores that learn at once may forget one
/// gap: it is an estimate.
#[derive(Debug, Default)]
struct Gaps {
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
const QUIET_MIN: Duration = Duration::from_secs(15 * 60);

impl Gaps {
    fn learn(&self, gap: u64) {
        let seen = self.seen.fetch_add(1, Relaxed) + 1;
        let weight = seen.min(WEIGHT);
        let usual = self.usual.load(Relaxed);
        let next = (usual.saturating_mul(weight - 1)).saturating_add(gap) / weight;
        self.usual.store(next, Relaxed);
        let kept = (1.0 - gap as f64 / FADES_MS).max(0.0);
        let faded = (self.longest.load(Relaxed) as f64 * kept) as u64;
        self.longest.store(faded.max(gap.min(LONGEST_MS)), Relaxed);
    }
}

/// One key of a source.
#[derive(Clone, Debug)]
struct KeyUse {
    label: String,
    last: Arc<AtomicU64>,
}

/// What is known of one source since this process began. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct SourceFigures {
    cells: Arc<Cells>,
    keys: Vec<KeyUse>,
    series: Arc<SourceSeries>,
}

fn moment(cell: &AtomicU64) -> Option<Timestamp> {
    match cell.load(Relaxed) {
        0 => None,
        millis => Some(Timestamp::from_millis(millis)),
    }
}

impl SourceFigures {
    /// What Prometheus sees of the same source.
    pub fn series(&self) -> &SourceSeries {
        &self.series
    }

    fn count(&self, what: Count) {
        if let Some(cell) = self.cells.values.get(what as usize) {
            cell.fetch_add(1, Relaxed);
        }
    }

    /// A callback was answered.
    pub fn callback(&self, what: Count, took: Duration, now: Timestamp) {
        self.count(what);
        // What is refused is quick: a scanner would make the rest look so.
        if matches!(what, Count::Accepted | Count::Duplicate)
            && let Some(cell) = self.cells.acknowledge.get(bucket(took))
        {
            cell.fetch_add(1, Relaxed);
        }
        match what {
            Count::Accepted => self.accepted_at(now),
            Count::Rejected => self.cells.last_rejected.store(now.as_millis(), Relaxed),
            Count::Duplicate
            | Count::Refused
            | Count::Delivered
            | Count::Failed
            | Count::Conflict => {}
        }
    }

    pub fn conflict(&self) {
        self.count(Count::Conflict);
    }

    /// An event came in at this moment. Also for what the store remembers of an earlier process.
    pub fn accepted_at(&self, now: Timestamp) {
        // By a clock that went back that may be before the last one.
        let before = self.cells.last_accepted.swap(now.as_millis(), Relaxed);
        if before != 0 && before <= now.as_millis() {
            self.cells.gaps.learn(now.as_millis() - before);
        }
    }

    /// An attempt ended.
    pub fn attempt(&self, taken: bool, took: Duration) {
        if !taken {
            return self.count(Count::Failed);
        }
        self.count(Count::Delivered);
        if let Some(cell) = self.cells.delivery.get(bucket(took)) {
            cell.fetch_add(1, Relaxed);
        }
    }

    /// A seal (`hmac-sha256 keys[0]`) was found good.
    pub fn sealed(&self, seal: &str, now: Timestamp) {
        let used = self.keys.iter().find(|key| {
            let before = seal.strip_suffix(key.label.as_str());
            before.is_some_and(|before| before.ends_with(' '))
        });
        if let Some(key) = used {
            key.last.fetch_max(now.as_millis(), Relaxed);
        }
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        let cells = self
            .cells
            .values
            .iter()
            .chain(&self.cells.acknowledge)
            .chain(&self.cells.delivery);
        for (mine, cell) in counts.all_mut().zip(cells) {
            *mine = cell.load(Relaxed);
        }
        counts
    }

    pub fn last_accepted(&self) -> Option<Timestamp> {
        moment(&self.cells.last_accepted)
    }

    pub fn last_rejected(&self) -> Option<Timestamp> {
        moment(&self.cells.last_rejected)
    }

    /// When the key of this label last made a good signature.
    pub fn key_used(&self, label: &str) -> Option<Timestamp> {
        let key = self.keys.iter().find(|key| key.label == label)?;
        moment(&key.last)
    }

    /// From one event to the next, usually; none while too few were seen.
    pub fn usual_gap(&self) -> Option<Duration> {
        let gaps = &self.cells.gaps;
        let known = gaps.seen.load(Relaxed) >= ENOUGH;
        known.then(|| Duration::from_millis(gaps.usual.load(Relaxed)))
    }

    /// When it is to be called quiet, if nothing comes: long after the usual gap, and after the
    /// longest of the last weeks.
    pub fn quiet_from(&self) -> Option<Timestamp> {
        let usual = self.usual_gap()?;
        let longest = Duration::from_millis(self.cells.gaps.longest.load(Relaxed));
        let silence = (usual * 10).max(longest + longest / 2).max(QUIET_MIN);
        Some(self.last_accepted()?.plus(silence))
    }
}

/// All sources of the rules, and what belongs to none.
#[derive(Debug, Default)]
pub struct Figures {
    sources: ArcSwap<HashMap<SourceName, SourceFigures>>,
    nobody: SourceFigures,
}

impl Figures {
    /// With the series of what belongs to no source.
    pub fn new(nobody: SourceSeries) -> Self {
        Figures {
            sources: ArcSwap::default(),
            nobody: SourceFigures {
                series: Arc::new(nobody),
                ..SourceFigures::default()
            },
        }
    }

    /// As [`crate::telemetry::Metrics::watch_over`], with series that are shown nowhere.
    #[cfg(test)]
    pub fn set(&self, sources: impl IntoIterator<Item = (SourceName, Vec<String>)>) {
        self.exchange(sources, |_| SourceSeries::default());
    }

    /// The sources in force from now on, each with the labels of its keys. One that stays keeps its
    /// figures.
    pub(super) fn exchange(
        &self,
        sources: impl IntoIterator<Item = (SourceName, Vec<String>)>,
        begin: impl Fn(&SourceName) -> SourceSeries,
    ) {
        let before = self.sources.load();
        let kept = sources.into_iter().map(|(name, labels)| {
            let old = before.get(&name).cloned().unwrap_or_else(|| SourceFigures {
                series: Arc::new(begin(&name)),
                ..SourceFigures::default()
            });
            old.series.keys(&labels);
            let key = |label: String| {
                let known = old.keys.iter().find(|key| key.label == label);
                known.cloned().unwrap_or_else(|| KeyUse {
                    label,
                    last: Arc::default(),
                })
            };
            let figures = SourceFigures {
                keys: labels.into_iter().map(key).collect(),
                cells: old.cells,
                series: old.series,
            };
            (name, figures)
        });
        let kept: HashMap<SourceName, SourceFigures> = kept.collect();
        let gone = before.iter().filter(|(name, _)| !kept.contains_key(*name));
        gone.for_each(|(_, figures)| figures.series.end());
        self.sources.store(Arc::new(kept));
    }

    /// The figures of a source, or those of nobody. For the hot path.
    pub fn on(&self, source: Option<&SourceName>, note: impl FnOnce(&SourceFigures)) {
        let sources = self.sources.load();
        let found = source.and_then(|source| sources.get(source));
        note(found.unwrap_or(&self.nobody));
    }

    pub fn of(&self, source: &SourceName) -> Option<SourceFigures> {
        self.sources.load().get(source).cloned()
    }

    /// What belongs to no source.
    pub fn nobody(&self) -> &SourceFigures {
        &self.nobody
    }

    pub fn all(&self) -> Vec<(SourceName, SourceFigures)> {
        let sources = self.sources.load();
        let each = sources.iter();
        each.map(|(name, figures)| (name.clone(), figures.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_an_eighth() {
        for us in [64u64, 100, 127, 128, 999, 5_000, 1_000_000, 60_000_000] {
            let figures = SourceFigures::default();
            for _ in 0..100 {
                figures.attempt(true, Duration::from_micros(us));
            }
            let found = figures.counts().delivery(0.99).unwrap() * 1000.0;
            let off = (found - us as f64).abs() / us as f64;
            assert!(off <= 0.13, "{us} µs as {found}");
        }
        assert_eq!(bucket(Duration::ZERO), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        assert_eq!(Counts::default().acknowledge(0.5), None);
    }

    #[test]
    fn half_lie_below_the_median() {
        let figures = SourceFigures::default();
        let now = Timestamp::from_secs(1);
        for ms in 1..=100 {
            figures.callback(Count::Accepted, Duration::from_millis(ms), now);
        }
        let counts = figures.counts();
        let median = counts.acknowledge(0.5).unwrap();
        let high = counts.acknowledge(0.99).unwrap();
        assert!((44.0..57.0).contains(&median), "{median}");
        assert!((88.0..115.0).contains(&high), "{high}");
        assert_eq!(counts.of(Count::Accepted), 100);
        assert!(counts.since(&counts).is_empty());
    }

    #[test]
    fn a_habit_is_learnt_and_its_end_is_noticed() {
        let figures = SourceFigures::default();
        for minute in 0..30 {
            assert_eq!(figures.usual_gap().is_some(), minute > 8);
            figures.accepted_at(Timestamp::from_secs(1_000_000 + minute * 60));
        }
        assert_eq!(figures.usual_gap(), Some(Duration::from_secs(60)));
        let last = Timestamp::from_secs(1_000_000 + 29 * 60);
        assert_eq!(figures.quiet_from(), Some(last.plus(QUIET_MIN)));
        // A night of eight hours is remembered: the next one is no news.
        figures.accepted_at(last.plus(Duration::from_secs(8 * 3600)));
        for minute in 1..200 {
            figures.accepted_at(last.plus(Duration::from_secs(8 * 3600 + minute * 60)));
        }
        let last = figures.last_accepted().unwrap();
        let quiet = figures.quiet_from().unwrap().since(last);
        assert!(quiet > Duration::from_secs(9 * 3600), "{quiet:?}");
        // The clock goes back: nothing is learnt of it, and that is when the last one came.
        let usual = figures.usual_gap();
        figures.accepted_at(Timestamp::from_secs(5));
        assert_eq!(figures.last_accepted(), Some(Timestamp::from_secs(5)));
        assert_eq!(figures.usual_gap(), usual);
    }

    #[test]
    fn a_source_that_stays_keeps_its_figures() {
        let figures = Figures::default();
        let shop = SourceName::new("shop");
        let labels = || vec!["keys[0]".to_owned(), "keys[1]".to_owned()];
        figures.set([(shop.clone(), labels())]);
        let now = Timestamp::from_secs(9);
        figures.on(Some(&shop), |shop| {
            shop.callback(Count::Accepted, Duration::ZERO, now);
            shop.sealed("hmac-sha256 keys[1]", now);
        });
        figures.on(Some(&SourceName::new("stranger")), |nobody| {
            nobody.callback(Count::Refused, Duration::ZERO, now);
        });
        figures.set([(shop.clone(), labels())]);
        let kept = figures.of(&shop).unwrap();
        assert_eq!(kept.counts().of(Count::Accepted), 1);
        assert_eq!(kept.key_used("keys[1]"), Some(now));
        assert_eq!(kept.key_used("keys[0]"), None);
        assert_eq!(figures.nobody().counts().of(Count::Refused), 1);
        assert_eq!(figures.all().len(), 1);
    }
}
