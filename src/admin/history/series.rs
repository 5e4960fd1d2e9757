//! The steps of a window: what is kept of each, and which are over.

use std::collections::VecDeque;

use super::{WINDOWS, Window};
use crate::telemetry::figures::{Count, Counts, middle};

/// What was owed and dead at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub owed: u64,
    pub dead: u64,
}

/// One step of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    pub(super) counts: [u32; Count::ALL.len()],
    pub owed: u32,
    pub dead: u32,
    /// p50 and p99: the bucket and one; 0 when nothing was measured.
    pub(super) acknowledge: [u8; 2],
    pub(super) delivery: [u8; 2],
}

pub(super) fn small(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// p50 and p99.
const SHARES: [f64; 2] = [0.5, 0.99];

impl Point {
    pub(super) fn new(counts: &Counts, gauges: Gauges) -> Self {
        let above = |bucket: Option<usize>| match bucket {
            Some(bucket) => u8::try_from(bucket + 1).unwrap_or(u8::MAX),
            None => 0,
        };
        Point {
            counts: Count::ALL.map(|what| small(counts.of(what))),
            owed: small(gauges.owed),
            dead: small(gauges.dead),
            acknowledge: SHARES.map(|share| above(counts.acknowledge_bucket(share))),
            delivery: SHARES.map(|share| above(counts.delivery_bucket(share))),
        }
    }

    /// Nothing happened, and what is owed is as it was.
    pub(super) fn quiet(owed: u32, dead: u32) -> Self {
        Point {
            owed,
            dead,
            ..Point::default()
        }
    }

    pub fn of(&self, what: Count) -> u32 {
        self.counts.get(what as usize).copied().unwrap_or_default()
    }

    /// p50 and p99 in milliseconds.
    pub fn acknowledge(&self) -> [Option<f32>; 2] {
        self.acknowledge.map(ms)
    }

    pub fn delivery(&self) -> [Option<f32>; 2] {
        self.delivery.map(ms)
    }
}

fn ms(above: u8) -> Option<f32> {
    let bucket = above.checked_sub(1)?;
    Some(middle(usize::from(bucket)) as f32)
}

/// The steps of one window that are over, without those in which nothing happened.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) points: VecDeque<(u64, Point)>,
    /// What stood in the counters when the step under way began.
    pub(super) before: Counts,
    /// What an earlier process counted in the step under way.
    pub(super) carried: Option<Box<Counts>>,
}

impl Level {
    pub(super) fn push(&mut self, window: Window, step: u64, point: Point) {
        let (owed, dead) = self.last_gauges();
        let happened = point.counts.iter().any(|n| *n > 0);
        if happened || (point.owed, point.dead) != (owed, dead) {
            self.points.push_back((step, point));
        }
        // The last one before the window says what was owed until the next.
        while (self.points.get(1))
            .is_some_and(|(second, _)| second.saturating_add(window.steps) <= step)
        {
            self.points.pop_front();
        }
    }

    fn last_gauges(&self) -> (u32, u32) {
        self.points.back().map_or((0, 0), |(_, p)| (p.owed, p.dead))
    }

    /// The step that this process counted `since` in, with what an earlier one did.
    pub(super) fn whole(&self, since: &Counts) -> Counts {
        let mut whole = since.clone();
        if let Some(carried) = &self.carried {
            whole.add(carried);
        }
        whole
    }
}

/// The windows of one source, or of all.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) levels: [Level; WINDOWS.len()],
}
