//! So many in a minute for each name, by the clock that is handed in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// Names that are remembered before those are dropped that have nothing used up.
const SWEEP_ABOVE: usize = 1024;

/// A bucket for each name: full at first, filled again evenly over a minute.
#[derive(Debug)]
pub struct Budget {
    /// Time that fills in one.
    each: Duration,
    /// When the bucket of a name is full again.
    full: Mutex<HashMap<String, Timestamp>>,
}

impl Budget {
    /// `per_minute` above 60,000 counts as that; zero as one.
    pub fn new(per_minute: u32) -> Self {
        Budget {
            each: MINUTE / per_minute.clamp(1, 60_000),
            full: Mutex::default(),
        }
    }

    /// Takes one. False when none is left; then nothing is taken.
    pub fn take(&self, name: &str, now: Timestamp) -> bool {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if full.len() > SWEEP_ABOVE {
            full.retain(|_, at| spent(*at, now) > Duration::ZERO);
        }
        let used = full.get(name).map_or(Duration::ZERO, |at| spent(*at, now));
        if used + self.each > MINUTE {
            return false;
        }
        let at = now.plus(used + self.each);
        match full.get_mut(name) {
            Some(known) => *known = at,
            None => drop(full.insert(name.to_owned(), at)),
        }
        true
    }
}

/// What is used up of a bucket that is full again at `full`. More than a minute cannot be: the
/// clock was set back, and nobody should wait for it to catch up.
fn spent(full: Timestamp, now: Timestamp) -> Duration {
    Some(full.since(now))
        .filter(|used| *used <= MINUTE)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, name: &str, now: Timestamp) -> usize {
        (0..1000).take_while(|_| budget.take(name, now)).count()
    }

    #[test]
    fn a_minute_holds_so_many_and_fills_evenly() {
        let budget = Budget::new(60);
        let start = Timestamp::from_secs(1_000_000);
        assert_eq!(taken(&budget, "a", start), 60);
        assert_eq!(taken(&budget, "b", start), 60);
        assert_eq!(
            taken(&budget, "a", start.plus(Duration::from_millis(999))),
            0
        );
        assert_eq!(taken(&budget, "a", start.plus(Duration::from_secs(3))), 3);
        assert_eq!(
            taken(&budget, "a", start.plus(Duration::from_secs(600))),
            60
        );
    }

    #[test]
    fn a_clock_that_is_set_back_blocks_nobody() {
        let budget = Budget::new(7);
        assert_eq!(taken(&budget, "a", Timestamp::from_secs(1_000_000)), 7);
        assert_eq!(taken(&budget, "a", Timestamp::from_secs(900_000)), 7);
        assert_eq!(taken(&budget, "a", Timestamp::from_secs(900_000)), 0);
    }

    #[test]
    fn names_that_are_over_are_forgotten() {
        let budget = Budget::new(60);
        for name in 0..5000u64 {
            budget.take(&name.to_string(), Timestamp::from_secs(name * 60));
        }
        assert!(budget.full.lock().unwrap().len() <= SWEEP_ABOVE + 1);
    }
}
