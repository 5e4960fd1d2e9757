//! What happened since the start, step by step: so much of the last hour, day and week as fits into
//! a bounded memory. Steps in which nothing happened take no room; a busy source takes 150 KB.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::message::SourceName;
use crate::telemetry::figures::{Count, Counts, Figures};

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

/// What was owed and dead at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub owed: u64,
    pub dead: u64,
}

/// One step of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    counts: [u32; Count::ALL.len()],
    pub owed: u32,
    pub dead: u32,
    /// p50 and p99, in milliseconds; NaN when nothing was measured.
    acknowledge: [f32; 2],
    delivery: [f32; 2],
}

impl Point {
    fn new(counts: &Counts, gauges: Gauges) -> Self {
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let ms = |found: Option<f64>| found.map_or(f32::NAN, |ms| ms as f32);
        Point {
            counts: Count::ALL.map(|what| small(counts.of(what))),
            owed: small(gauges.owed),
            dead: small(gauges.dead),
            acknowledge: [0.5, 0.99].map(|share| ms(counts.acknowledge(share))),
            delivery: [0.5, 0.99].map(|share| ms(counts.delivery(share))),
        }
    }

    /// Nothing happened, and what is owed is as it was.
    fn quiet(owed: u32, dead: u32) -> Self {
        Point {
            owed,
            dead,
            acknowledge: [f32::NAN; 2],
            delivery: [f32::NAN; 2],
            ..Point::default()
        }
    }

    pub fn of(&self, what: Count) -> u32 {
        self.counts.get(what as usize).copied().unwrap_or_default()
    }

    /// p50 and p99 in milliseconds.
    pub fn acknowledge(&self) -> [Option<f32>; 2] {
        self.acknowledge.map(|ms| (!ms.is_nan()).then_some(ms))
    }

    pub fn delivery(&self) -> [Option<f32>; 2] {
        self.delivery.map(|ms| (!ms.is_nan()).then_some(ms))
    }
}

/// The steps of one window that are over, without those in which nothing happened.
#[derive(Debug, Default)]
struct Level {
    points: VecDeque<(u64, Point)>,
    /// What stood in the counters when the step under way began.
    before: Counts,
}

impl Level {
    fn push(&mut self, window: Window, step: u64, point: Point) {
        let (owed, dead) = self.last_gauges();
        let happened = point.counts.iter().any(|n| *n > 0);
        if happened || (point.owed, point.dead) != (owed, dead) {
            self.points.push_back((step, point));
        }
        while let Some((first, _)) = self.points.front()
            && first + window.steps < step
            // The last one says what is owed since.
            && self.points.len() > 1
        {
            self.points.pop_front();
        }
    }

    fn last_gauges(&self) -> (u32, u32) {
        self.points.back().map_or((0, 0), |(_, p)| (p.owed, p.dead))
    }
}

/// The windows of one source, or of all.
#[derive(Debug, Default)]
struct Series {
    levels: [Level; WINDOWS.len()],
}

#[derive(Debug, Default)]
struct Inner {
    /// By window: the step under way.
    current: [u64; WINDOWS.len()],
    /// None: what belongs to no source.
    sources: BTreeMap<Option<SourceName>, Series>,
    all: Series,
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
                level.push(*window, *step, Point::new(&since, gauge));
                level.before = counts.clone();
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
            level.push(*window, *step, Point::new(&sum, gauge));
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
        let last = *inner.current.get(number)?;
        let first = (last + 1).saturating_sub(window.steps);
        let began = self.started.as_secs() / window.step;
        let mut stored = level.points.iter().peekable();
        let mut gauge = (0, 0);
        let points = (first..=last).map(|step| {
            while let Some((_, before)) = stored.next_if(|(at, _)| *at < step) {
                gauge = (before.owed, before.dead);
            }
            if step < began {
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
    /// What was counted of all sources in the step under way.
    fn under_way(&self, level: usize, figures: &Figures) -> Counts {
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
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000_200 + secs)
    }

    fn shop() -> SourceName {
        SourceName::new("shop")
    }

    fn accept(figures: &Figures, times: usize, ms: u64) {
        for _ in 0..times {
            figures.on(Some(&shop()), |shop| {
                shop.callback(Count::Accepted, Duration::from_millis(ms), at(0));
            });
        }
    }

    fn figures() -> Figures {
        let figures = Figures::default();
        figures.set([(shop(), Vec::new())]);
        figures
    }

    fn gauges(owed: u64) -> impl Fn(Option<&SourceName>) -> Gauges {
        move |_| Gauges { owed, dead: 0 }
    }

    fn shown(history: &History, figures: &Figures, secs: u64) -> Vec<Option<u32>> {
        let shown = history.show(WINDOWS[0], None, at(secs), figures, Gauges::default());
        let points = shown.unwrap().points;
        assert_eq!(points.len(), 360);
        let of = |p: Option<Point>| p.map(|p| p.of(Count::Accepted));
        points.into_iter().map(of).collect()
    }

    #[test]
    fn steps_hold_what_happened_in_them() {
        let (history, figures) = (History::new(at(0)), figures());
        accept(&figures, 3, 2);
        history.sample(at(5), &figures, gauges(1));
        let seen = shown(&history, &figures, 5);
        assert_eq!((seen[358], seen[359]), (None, Some(3)), "as it happens");
        history.sample(at(10), &figures, gauges(1));
        history.sample(at(21), &figures, gauges(1));
        accept(&figures, 1, 2);
        history.sample(at(30), &figures, gauges(4));
        let seen = shown(&history, &figures, 30);
        assert_eq!(seen[355], None);
        assert_eq!(seen[356..], [Some(3), Some(0), Some(1), Some(0)]);
        let all = history.show(WINDOWS[0], None, at(30), &figures, Gauges::default());
        let all = all.unwrap();
        assert_eq!(
            (all.from, all.to),
            (at(30).minus(Duration::from_secs(3590)), at(30))
        );
        let owed: Vec<u32> = all.points[356..].iter().flatten().map(|p| p.owed).collect();
        assert_eq!(owed, [1, 1, 4, 0]);
        let ms = all.points[356].unwrap().acknowledge();
        assert!(
            ms.iter().all(|ms| (1.7..2.3).contains(&ms.unwrap())),
            "{ms:?}"
        );
        assert_eq!(all.points[357].unwrap().acknowledge(), [None, None]);
        // The longer windows have not ended a step yet, and show the one under way.
        let day = history.show(
            WINDOWS[1],
            Some(&shop()),
            at(30),
            &figures,
            Gauges::default(),
        );
        let last = day.unwrap().points.last().copied().flatten().unwrap();
        assert_eq!(last.of(Count::Accepted), 4);
        let stranger = SourceName::new("stranger");
        let none = history.show(
            WINDOWS[0],
            Some(&stranger),
            at(30),
            &figures,
            Gauges::default(),
        );
        assert!(none.is_none());
    }

    #[test]
    fn a_week_is_bounded_and_quiet_steps_cost_nothing() {
        let (history, figures) = (History::new(at(0)), figures());
        let mut secs = 0;
        for step in 0..3_000u64 {
            secs += if step < 1000 { 10 } else { 600 };
            if step < 1000 || step % 2 == 0 {
                accept(&figures, 1, 1);
            }
            history.sample(at(secs), &figures, gauges(0));
        }
        let inner = history.lock();
        for (window, level) in WINDOWS.iter().zip(&inner.all.levels) {
            assert!(level.points.len() as u64 <= window.steps + 1, "{window:?}");
        }
        assert!(inner.all.levels[0].points.len() < 10);
        assert!(inner.recent.len() <= RECENT);
    }

    #[test]
    fn the_last_five_minutes_and_no_more() {
        let (history, figures) = (History::new(at(0)), figures());
        accept(&figures, 5, 1);
        let (recent, over) = history.recent(at(2), &figures);
        assert_eq!(
            (recent.of(Count::Accepted), over),
            (5, Duration::from_secs(2))
        );
        for step in 1..=40 {
            history.sample(at(step * 10), &figures, gauges(0));
        }
        accept(&figures, 2, 1);
        let (recent, over) = history.recent(at(405), &figures);
        assert_eq!(
            (recent.of(Count::Accepted), over),
            (2, Duration::from_secs(305))
        );
        // A source that is gone takes nothing away from what is counted later.
        figures.set([]);
        history.sample(at(410), &figures, gauges(0));
        figures
            .nobody()
            .callback(Count::Refused, Duration::ZERO, at(411));
        assert_eq!(history.recent(at(411), &figures).0.of(Count::Refused), 1);
    }
}
