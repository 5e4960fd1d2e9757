//! How the table of conditions looks at a snapshot and at what was before.

use std::time::Duration;

use super::Finding;
use crate::clock::Timestamp;
use crate::settings::Thresholds;
use crate::watch::snapshot::{History, Lane, Snapshot, Source};

const QUARTER: Duration = Duration::from_secs(15 * 60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a condition is judged by.
pub(super) struct View<'v> {
    pub t: &'v Thresholds,
    pub now: &'v Snapshot,
    pub history: &'v History,
}

pub(super) fn gateway(detail: String) -> Finding {
    Finding {
        detail,
        ..Finding::default()
    }
}

/// A source that is busy is missed sooner than one that is not: silent for so long, where the same
/// time a day before and a week before brought at least `quiet`.
pub(super) const SILENCES: [(Duration, &str, &str); 3] = [
    (HOUR, "1h", "an hour"),
    (Duration::from_secs(6 * 3600), "6h", "six hours"),
    (DAY, "1d", "a day"),
];

/// One that brings fewer a day is missed after a week, when the week before brought at least so many.
pub(super) const A_WEEK: u64 = 5;
pub(super) const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) fn quiet(view: &View<'_>) -> Vec<Finding> {
    let each = view.now.sources.iter().filter_map(|(name, source)| {
        let last = source.last_accepted?;
        let silence = view.now.at.since(last);
        let silence = silence.saturating_sub(view.history.down(last, view.now.at));
        let usual = |within, ago| view.history.usual(name, view.now.at, within, ago);
        let silences = SILENCES.iter().filter(|(within, _, _)| silence > *within);
        let mut silences = silences.map(|(within, _, said)| (*within, *said));
        let missed = silences.find_map(|(within, said)| {
            let then = usual(within, DAY).filter(|n| *n >= view.t.quiet)?;
            let busy = usual(within, WEEK).is_none_or(|n| n >= view.t.quiet);
            busy.then(|| format!("for {said}; the same time a day before brought {then}"))
        });
        let missed = missed.or_else(|| {
            let before = (silence > WEEK).then(|| usual(WEEK, WEEK)).flatten();
            let before = before.filter(|n| *n >= A_WEEK)?;
            Some(format!("for a week; the week before brought {before}"))
        })?;
        Some(Finding {
            source: Some(name.clone()),
            ..gateway(format!("nothing was accepted since {last}, {missed}"))
        })
    });
    each.collect()
}

impl View<'_> {
    pub(super) fn ends_soon(&self, at: Timestamp) -> bool {
        at < self.now.at.plus(self.t.certificate)
    }

    pub(super) fn each_source(
        &self,
        judge: impl Fn(&Source, &Source) -> Option<String>,
        window: Duration,
    ) -> Vec<Finding> {
        let before = self.history.before(self.now.at, window);
        let each = self.now.sources.iter().filter_map(|(name, now)| {
            let before = before.and_then(|before| before.sources.get(name));
            // One that a reload took away and brought back counts from zero.
            let before =
                before.filter(|before| before.events <= now.events && before.failed <= now.failed);
            let detail = judge(&before.copied().unwrap_or_default(), now)?;
            Some(Finding {
                source: Some(name.clone()),
                ..gateway(detail)
            })
        });
        each.collect()
    }

    pub(super) fn each_lane(&self, judge: impl Fn(&Lane, &Lane) -> Option<String>) -> Vec<Finding> {
        self.each_lane_within(QUARTER, judge)
    }

    pub(super) fn each_lane_within(
        &self,
        window: Duration,
        judge: impl Fn(&Lane, &Lane) -> Option<String>,
    ) -> Vec<Finding> {
        let before = self.history.before(self.now.at, window);
        let each = self.now.lanes.iter().filter_map(|(name, now)| {
            let before = before.and_then(|before| before.lanes.get(name));
            let before = before
                .filter(|before| before.delivered <= now.delivered && before.failed <= now.failed);
            let detail = judge(&before.copied().unwrap_or_default(), now)?;
            Some(Finding {
                source: Some(name.0.clone()),
                destination: Some(name.1.clone()),
                ..gateway(detail)
            })
        });
        each.collect()
    }
}
