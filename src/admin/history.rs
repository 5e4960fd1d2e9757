//! What happened, step by step: so much of the last hour, day and week as fits into a bounded memory.
//! Steps in which nothing happened take no room; a busy source takes 150 KB. What an earlier process
//! saw is taken on ([`kept`]); of the time in between nothing is known, and nothing is shown.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::message::SourceName;
use crate::telemetry::figures::{Counts, Figures};

pub mod kept;
mod series;

pub use series::{Gauges, Point};

use series::Series;

/// A window that can be asked for: its step in seconds, and how many steps it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub name: &'static str,
    pub step: u64,
    pub steps: u64,
}

pub const WINDOWS: [Window; 3] = [
    Window {
        name: "1h",
        step: 10,
        steps: 360,
    },
    Window {
        name: "24h",
        step: 60,
        steps: 1440,
    },
    Window {
        name: "7d",
        step: 600,
        steps: 1008,
    },
];

/// Steps of the shortest window that `recent` looks at: five minutes.
const RECENT: usize = 30;

#[derive(Debug, Default)]
struct Inner {
    /// By window: the step under way.
    current: [u64; WINDOWS.len()],
    /// None: what belongs to no source.
    sources: BTreeMap<Option<SourceName>, Series>,
    all: Series,
    /// By window: the steps in which earlier processes ran, from and to, in order.
    ran: [Vec<(u64, u64)>; WINDOWS.len()],
    /// Of all sources, the last steps of the shortest window.
    recent: VecDeque<Counts>,
}

#[derive(Debug)]
pub struct History {
    started: Timestamp,
    inner: Mutex<Inner>,
}

/// What is shown of a window.
#[derive(Debug)]
pub struct Shown {
    pub window: Window,
    /// The beginning of the first step, and the end of the last.
    pub from: Timestamp,
    pub to: Timestamp,
    /// None: the gateway did not run then.
    pub points: Vec<Option<Point>>,
}

impl History {
    pub fn new(started: Timestamp) -> Self {
        let inner = Inner {
            current: WINDOWS.map(|window| started.as_secs() / window.step),
            ..Inner::default()
        };
        History {
            started,
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the steps that are over. To be called more often than the shortest step lasts. `gauges`
    /// says what is owed, of a source or of all.
    pub fn sample(
        &self,
        now: Timestamp,
        figures: &Figures,
        gauges: impl Fn(Option<&SourceName>) -> Gauges,
    ) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let over: Vec<usize> = (WINDOWS.iter().zip(&inner.current).enumerate())
            // A clock that went back: the step goes on until it has come forward again.
            .filter(|(_, (window, current))| now.as_secs() / window.step > **current)
            .map(|(level, _)| level)
            .collect();
        if over.is_empty() {
            return;
        }
        let sources = figures.all();
        inner.sources.retain(|name, _| {
            let known = |name: &SourceName| sources.iter().any(|(source, _)| source == name);
            name.as_ref().is_none_or(known)
        });
        let each = sources
            .iter()
            .map(|(name, figures)| (Some(name.clone()), figures.counts()));
        let nobody = (None, figures.nobody().counts());
        let mut sums = [const { None::<Counts> }; WINDOWS.len()];
        for (name, counts) in each.chain([nobody]) {
            let gauge = name
                .as_ref()
                .map_or_else(Gauges::default, |name| gauges(Some(name)));
            let series = inner.sources.entry(name).or_default();
            for level in &over {
                let (Some(window), Some(level), Some(step), Some(sum)) = (
                    WINDOWS.get(*level),
                    series.levels.get_mut(*level),
                    inner.current.get(*level),
                    sums.get_mut(*level),
                ) else {
                    continue;
                };
                let since = counts.since(&level.before);
                let whole = level.whole(&since);
                level.push(*window, *step, Point::new(&whole, gauge));
                level.before = counts.clone();
                level.carried = None;
                sum.get_or_insert_default().add(&since);
            }
        }
        let gauge = gauges(None);
        for (number, sum) in sums.into_iter().enumerate() {
            let (Some(sum), Some(window), Some(level), Some(step)) = (
                sum,
                WINDOWS.get(number),
                inner.all.levels.get_mut(number),
                inner.current.get_mut(number),
            ) else {
                continue;
            };
            let whole = level.whole(&sum);
            level.push(*window, *step, Point::new(&whole, gauge));
            level.carried = None;
            *step = now.as_secs() / window.step;
            if number == 0 {
                inner.recent.push_back(sum);
                if inner.recent.len() > RECENT {
                    inner.recent.pop_front();
                }
            }
        }
    }

    /// A window up to now, the step under way included. None for a source that there is not.
    pub fn show(
        &self,
        window: Window,
        source: Option<&SourceName>,
        now: Timestamp,
        figures: &Figures,
        gauges: Gauges,
    ) -> Option<Shown> {
        let number = WINDOWS.iter().position(|w| *w == window)?;
        let inner = self.lock();
        let empty = Series::default();
        let (series, since) = match source {
            Some(name) => {
                let counts = figures.of(name)?.counts();
                let series = inner.sources.get(&Some(name.clone())).unwrap_or(&empty);
                let since = counts.since(&series.levels.get(number)?.before);
                (series, since)
            }
            None => (&inner.all, inner.under_way(number, figures)),
        };
        let level = series.levels.get(number)?;
        let since = level.whole(&since);
        let last = *inner.current.get(number)?;
        let first = (last + 1).saturating_sub(window.steps);
        let began = self.started.as_secs() / window.step;
        let ran = inner.ran.get(number)?;
        let ran_in = |step: u64| {
            let after = ran.partition_point(|(from, _)| *from <= step);
            let run = after.checked_sub(1).and_then(|at| ran.get(at));
            step >= began || run.is_some_and(|(_, to)| step <= *to)
        };
        let mut stored = level.points.iter().peekable();
        let mut gauge = (0, 0);
        let points = (first..=last).map(|step| {
            while let Some((_, before)) = stored.next_if(|(at, _)| *at < step) {
                gauge = (before.owed, before.dead);
            }
            if !ran_in(step) {
                return None;
            }
            if step == last {
                return Some(Point::new(&since, gauges));
            }
            if let Some((_, point)) = stored.next_if(|(at, _)| *at == step) {
                gauge = (point.owed, point.dead);
                return Some(*point);
            }
            Some(Point::quiet(gauge.0, gauge.1))
        });
        let points = points.collect();
        Some(Shown {
            window,
            from: Timestamp::from_secs(first * window.step),
            to: now,
            points,
        })
    }

    /// Everything of the last five minutes, and how long they were: less after a start.
    pub fn recent(&self, now: Timestamp, figures: &Figures) -> (Counts, Duration) {
        let inner = self.lock();
        let mut sum = inner.under_way(0, figures);
        for counts in &inner.recent {
            sum.add(counts);
        }
        let [step, ..] = inner.current;
        let over = inner.recent.len() as u64;
        let from = Timestamp::from_secs((step - over.min(step)) * WINDOWS[0].step);
        let from = from.max(self.started);
        (sum, now.since(from).max(Duration::from_secs(1)))
    }
}

impl Inner {
    /// What this process counted of all sources in the step under way.
    pub(super) fn under_way(&self, level: usize, figures: &Figures) -> Counts {
        let mut sum = Counts::default();
        let none = Counts::default();
        let before = |name: &Option<SourceName>| {
            let series = self.sources.get(name);
            let level = series.and_then(|series| series.levels.get(level));
            level.map_or(&none, |level| &level.before)
        };
        for (name, figures) in figures.all() {
            sum.add(&figures.counts().since(before(&Some(name))));
        }
        sum.add(&figures.nobody().counts().since(before(&None)));
        sum
    }
}

#[cfg(test)]
mod tests;
