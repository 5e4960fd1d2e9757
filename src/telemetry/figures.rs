//! What happened lately, source by source: counters, latencies, last moments. For the admin port,
//! which samples them into its history. To count is a few relaxed additions: no lock, no
//! allocation. The sources are those of the rules, so that a stranger makes none.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::Timestamp;
use crate::message::SourceName;
use crate::telemetry::series::SourceSeries;

mod counts;
mod gaps;

pub use counts::{BUCKETS, Count, Counts, NUMBERS, middle};
pub use gaps::Habit;

use counts::bucket;
use gaps::Gaps;

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
    /// The next gap spans a time in which the gateway may not have run.
    resumed: AtomicBool,
    looked_up: AtomicBool,
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
            resumed: AtomicBool::new(false),
            looked_up: AtomicBool::new(false),
        }
    }
}

/// One key of a source.
#[derive(Clone, Debug)]
struct KeyUse {
    label: String,
    last: Arc<AtomicU64>,
}

/// What is known of one source. Counts are since this process began; the last moments and the usual
/// gap are those of earlier ones, too. Cloning shares it.
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

    /// An event came in at this moment.
    pub fn accepted_at(&self, now: Timestamp) {
        if self.cells.resumed.load(Relaxed) {
            // The time without a gateway is no habit of the source.
            self.cells.resumed.store(false, Relaxed);
            self.cells.last_accepted.store(now.as_millis(), Relaxed);
            return;
        }
        self.came_at(now);
    }

    /// What the store remembers of an earlier process, in order.
    pub fn remember(&self, moments: impl IntoIterator<Item = Timestamp>) {
        moments.into_iter().for_each(|at| self.came_at(at));
        self.cells.resumed.store(true, Relaxed);
    }

    fn came_at(&self, now: Timestamp) {
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
        self.cells.gaps.usual()
    }

    /// When it is to be called quiet, if nothing comes: long after the usual gap, and after the
    /// longest of the last weeks.
    pub fn quiet_from(&self) -> Option<Timestamp> {
        let silence = self.cells.gaps.silence()?;
        Some(self.last_accepted()?.plus(silence))
    }

    /// Whether this process has accepted anything of it.
    pub fn heard(&self) -> bool {
        let accepted = self.cells.values.get(Count::Accepted as usize);
        accepted.is_some_and(|cell| cell.load(Relaxed) > 0)
    }

    /// Whether this is the first time that somebody asks: who looks up in the store what it knows of
    /// a source does so once.
    pub fn first_look(&self) -> bool {
        !self.cells.looked_up.swap(true, Relaxed)
    }

    /// What outlives this process.
    pub fn known(&self) -> Known {
        Known {
            last_accepted: self.last_accepted(),
            last_rejected: self.last_rejected(),
            habit: self.cells.gaps.habit(),
        }
    }

    /// What an earlier process knew; before anything comes in. A clock that was ahead then wrote later
    /// moments than `now`.
    pub fn take_on(&self, known: &Known, now: Timestamp) {
        let millis = |at: Option<Timestamp>| at.map_or(0, |at| at.min(now).as_millis());
        let Cells {
            last_accepted,
            last_rejected,
            gaps,
            resumed,
            ..
        } = &*self.cells;
        last_accepted.store(millis(known.last_accepted), Relaxed);
        last_rejected.store(millis(known.last_rejected), Relaxed);
        gaps.take_on(known.habit);
        resumed.store(true, Relaxed);
        if let Some(at) = known.last_accepted {
            self.series.remembered(at.min(now));
        }
    }
}

/// What is known of a source beyond the life of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub last_accepted: Option<Timestamp>,
    pub last_rejected: Option<Timestamp>,
    pub habit: Habit,
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
mod tests;
