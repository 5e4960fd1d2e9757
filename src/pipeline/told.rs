//! What is said only so often.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::message::SourceName;

/// Lines on callbacks of one source that became no event, in one second. Whoever floods a port must
/// not fill the disk or bury what else is said; figures and refusals count them all.
const LINES: u32 = 10;

/// What was said lately.
#[derive(Default)]
pub struct Told {
    /// Which sources something was said of that is said once a minute.
    minute: Mutex<HashMap<SourceName, Timestamp>>,
    /// By source; none: requests that no source was found for.
    lines: Mutex<HashMap<Option<SourceName>, Lines>>,
}

#[derive(Default)]
struct Lines {
    second: u64,
    written: u32,
    unsaid: u64,
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
        let lines = lines.entry(source.cloned()).or_default();
        if lines.second != now.as_secs() {
            lines.second = now.as_secs();
            lines.written = 0;
        }
        if lines.written == LINES {
            lines.unsaid += 1;
            return None;
        }
        lines.written += 1;
        Some(std::mem::take(&mut lines.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_ten_lines_a_second_and_a_number() {
        let told = Told::default();
        let (shop, other) = (SourceName::new("shop"), SourceName::new("other"));
        let at = Timestamp::from_secs;
        let said = |source, now| {
            let lines = (0..1000).filter_map(|_| told.may_log(source, now));
            lines.collect::<Vec<u64>>()
        };
        assert_eq!(said(Some(&shop), at(5)), [0; 10]);
        assert_eq!(said(None, at(5)), [0; 10]);
        assert_eq!(told.may_log(Some(&other), at(5)), Some(0));
        assert_eq!(told.may_log(Some(&shop), at(6)), Some(990));
        assert_eq!(told.may_log(Some(&shop), at(6)), Some(0));
        // Also by a clock that goes back.
        assert_eq!(told.may_log(None, at(4)), Some(990));
    }
}
