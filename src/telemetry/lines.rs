//! Log lines of a kind of which a stranger can cause as many as he likes.

use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;

/// Lines in one second. Whoever floods a port must not fill the disk or bury what else is said;
/// figures and refusals count them all.
const LINES: u32 = 10;

/// Lines of one kind, of one source.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    second: u64,
    written: u32,
    unsaid: u64,
}

impl Lines {
    /// None: no line is to be written. Else of how many before it there was none.
    pub fn may_write(&self, now: Timestamp) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let lines = Lines::default();
        let at = Timestamp::from_secs;
        let said = |now| {
            let said = (0..1000).filter_map(|_| lines.may_write(now));
            said.collect::<Vec<u64>>()
        };
        assert_eq!(said(at(5)), [0; 10]);
        assert_eq!(lines.may_write(at(6)), Some(990));
        assert_eq!(lines.may_write(at(6)), Some(0));
        // Also by a clock that goes back.
        assert_eq!(lines.may_write(at(4)), Some(0));
    }
}
