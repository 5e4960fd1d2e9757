//! What is said only so often.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::message::SourceName;
use crate::telemetry::lines::Lines;

/// What was said lately.
#[derive(Default)]
pub struct Told {
    /// Which sources something was said of that is said once a minute.
    minute: Mutex<HashMap<SourceName, Timestamp>>,
    /// By source; none: requests that no source was found for.
    lines: Mutex<HashMap<Option<SourceName>, Lines>>,
}

impl Told {
    pub(super) fn may_tell(&self, source: &SourceName, now: Timestamp) -> bool {
        let mut told = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let recently = told
            .get(source)
            .is_some_and(|at| now >= *at && now.since(*at) < Duration::from_secs(60));
        if !recently {
            told.insert(source.clone(), now);
        }
        !recently
    }

    /// Whether a line may be written, and of how many before it there was none.
    pub(super) fn may_log(&self, source: Option<&SourceName>, now: Timestamp) -> Option<u64> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(source.cloned()).or_default().may_write(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_lines_of_its_own() {
        let told = Told::default();
        let (shop, other) = (SourceName::new("shop"), SourceName::new("other"));
        let now = Timestamp::from_secs(5);
        let said = |source| (0..1000).filter_map(|_| told.may_log(source, now)).count();
        assert_eq!(
            (said(Some(&shop)), said(None), said(Some(&other))),
            (10, 10, 10)
        );
    }
}
