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

pub(super) fn silence(now: Timestamp, source: &Source) -> Option<Duration> {
    Some(now.since(source.last_accepted?))
}

pub(super) fn quiet(view: &View<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, source) in &view.now.sources {
        let at = view.now.at;
        let usual = |ago| view.history.usual(name, at, ago);
        let busy = usual(DAY).is_some_and(|n| n >= view.t.quiet)
            && usual(7 * DAY).is_none_or(|n| n >= view.t.quiet);
        if let Some(last) = source.last_accepted
            && at.since(last) > HOUR
            && busy
        {
            let then = usual(DAY).unwrap_or_default();
            found.push(Finding {
                source: Some(name.clone()),
                ..gateway(format!(
                    "nothing was accepted since {last}; the same hour yesterday brought {then}"
                ))
            });
        }
    }
    found
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
