//! How far the clock of the machine is believed when something is to be given up for good.
//!
//! A clock that is set far ahead, be it for a minute, would let every settled event and every
//! idempotency key go at once, and what providers send again would be delivered again. So expiry has
//! a time of its own: it begins at the latest moment that the journal knows of, never passes the
//! clock, and goes towards it at most [`FASTER`] times as fast as time goes by. After a week in which
//! a gateway stood still, that is seven hours in which a little more is kept.

use std::time::Duration;

use crate::clock::Timestamp;

pub const FASTER: u32 = 24;

pub struct Pace {
    at: Timestamp,
    faster: u32,
    /// Since the beginning, by a clock that nobody sets.
    seen: Duration,
}

impl Pace {
    /// `begin`: the latest moment that is known, or none when nothing is. `faster`: how many times
    /// as fast as time it may go; 0: the clock is believed whatever it says.
    pub fn new(begin: Option<Timestamp>, faster: u32) -> Self {
        Pace {
            at: begin.unwrap_or(Timestamp::MAX),
            faster,
            seen: Duration::ZERO,
        }
    }

    /// What is believed of `now`, so long after the beginning.
    pub fn believe(&mut self, now: Timestamp, elapsed: Duration) -> Timestamp {
        let since = elapsed.saturating_sub(self.seen);
        self.seen = self.seen.max(elapsed);
        if self.faster == 0 {
            return now;
        }
        self.at = self.at.plus(since.saturating_mul(self.faster)).min(now);
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: u64) -> Timestamp {
        Timestamp::from_secs(hours * 3600)
    }

    #[test]
    fn a_clock_that_leaps_is_followed_slowly() {
        let mut pace = Pace::new(Some(at(1000)), FASTER);
        // As time goes by.
        assert_eq!(pace.believe(at(1001), HOUR), at(1001));
        // A leap of forty years.
        let leap = at(1001 + 350_000);
        assert_eq!(pace.believe(leap, HOUR), at(1001));
        assert_eq!(pace.believe(leap, HOUR * 2), at(1001 + 24));
        // It is set right again: nothing beyond the clock, ever.
        assert_eq!(pace.believe(at(1003), HOUR * 3), at(1003));
        assert_eq!(pace.believe(at(900), HOUR * 4), at(900));
        assert_eq!(pace.believe(at(9000), HOUR * 4), at(900));
        assert_eq!(Pace::new(Some(at(1)), 0).believe(leap, HOUR), leap);
    }

    #[test]
    fn after_a_week_of_rest_it_catches_up_within_hours() {
        let mut pace = Pace::new(Some(at(1000)), FASTER);
        let now = at(1000 + 24 * 7);
        assert_eq!(pace.believe(now, Duration::ZERO), at(1000));
        assert_eq!(pace.believe(now, HOUR * 7), now);
    }

    #[test]
    fn with_nothing_to_go_by_the_clock_is_where_it_begins() {
        let mut pace = Pace::new(None, FASTER);
        assert_eq!(pace.believe(at(1000), Duration::ZERO), at(1000));
        assert_eq!(pace.believe(at(9000), HOUR), at(1000 + 24));
    }
}
