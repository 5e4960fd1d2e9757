//! The rate cap of a destination: never more attempts begun within any period than the rule says.
//!
//! Exact, not a bucket: the moment of each attempt of the last period is kept (at most 10,000,
//! `rule::compile`), so that no window of that length, wherever it is laid, holds more than the
//! count. A place is reserved when a permit is given, and its moment is that at which the request
//! really goes out; so an attempt that was slow to begin does not come close to the next ones.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::rule::Rate;

/// The attempts of the last period.
#[derive(Debug, Default)]
pub struct Window {
    /// Count and period; none: no limit.
    rate: Option<(usize, Duration)>,
    /// When attempts began, in order; none older than the period.
    begun: VecDeque<Instant>,
    /// Attempts that may begin at any moment.
    reserved: usize,
}

impl Window {
    /// What is in the window stays in it.
    pub fn set(&mut self, rate: Option<Rate>) {
        self.rate = rate.map(|rate| (rate.count.get() as usize, rate.period));
        if self.rate.is_none() {
            self.begun = VecDeque::new();
        }
    }

    /// Attempts that may begin now.
    pub fn free(&mut self, now: Instant) -> usize {
        let Some((count, period)) = self.rate else {
            return usize::MAX;
        };
        let over = |begun: &Instant| now.saturating_duration_since(*begun) >= period;
        while self.begun.front().is_some_and(over) {
            self.begun.pop_front();
        }
        count.saturating_sub(self.begun.len() + self.reserved)
    }

    /// Some attempt of the last period counts still, or one may begin at any moment.
    pub fn counts(&self, now: Instant) -> bool {
        let recent = self.rate.zip(self.begun.back());
        let recent =
            recent.is_some_and(|((_, period), last)| now.saturating_duration_since(*last) < period);
        recent || self.reserved > 0
    }

    /// When the next place comes free by itself; none while all are only reserved.
    pub fn next(&self) -> Option<Instant> {
        let (_, period) = self.rate?;
        self.begun.front().map(|begun| *begun + period)
    }

    pub fn reserve(&mut self, count: usize) {
        self.reserved += count;
    }

    /// A reserved attempt does not begin.
    pub fn release(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// A reserved attempt begins.
    pub fn begin(&mut self, now: Instant) {
        self.release();
        if self.rate.is_some() {
            // In order also if clocks of two cores were not quite equal: the later one counts.
            let last = self.begun.back().copied().unwrap_or(now);
            self.begun.push_back(now.max(last));
        }
    }

    /// Moments that are kept: what this costs in memory.
    pub fn kept(&self) -> usize {
        self.begun.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    fn window(count: u32, period: Duration) -> Window {
        let mut window = Window::default();
        let count = NonZeroU32::new(count).unwrap();
        window.set(Some(Rate {
            count,
            period,
            burst: count,
        }));
        window
    }

    #[test]
    fn a_place_is_free_again_exactly_a_period_after_it_was_used() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut window = window(2, second);
        assert_eq!(window.free(start), 2);
        window.reserve(2);
        assert_eq!((window.free(start), window.next()), (0, None));
        window.begin(start);
        // The other one is slow: it keeps its place for as long as that takes.
        let late = start + Duration::from_secs(9);
        assert_eq!(window.free(late), 1);
        window.begin(late);
        window.reserve(1);
        window.release();
        assert_eq!(window.free(late), 1);
        window.reserve(1);
        window.begin(late);
        assert_eq!(window.next(), Some(late + second));
        assert_eq!(window.free(late + second - Duration::from_nanos(1)), 0);
        assert_eq!(window.free(late + second), 2);
    }

    #[test]
    fn without_a_rate_nothing_is_kept() {
        let mut window = Window::default();
        for _ in 0..100 {
            window.reserve(1);
            window.begin(Instant::now());
        }
        assert_eq!(
            (window.free(Instant::now()), window.kept()),
            (usize::MAX, 0)
        );
    }

    proptest! {
        /// Whoever asks whenever, whether they begin at once, late or never.
        #[test]
        fn no_period_holds_more_than_the_count(
            count in 1u32..8, period in 1u64..500,
            steps in proptest::collection::vec((0u64..200, 0u8..4, 1usize..9), 1..200),
        ) {
            let period = Duration::from_millis(period);
            let mut window = window(count, period);
            let (mut now, mut reserved, mut begun) = (Instant::now(), 0usize, Vec::new());
            for (pause, doing, many) in steps {
                now += Duration::from_millis(pause);
                match doing {
                    0 | 1 => {
                        let some = window.free(now).min(many);
                        window.reserve(some);
                        reserved += some;
                    }
                    2 => for _ in 0..many.min(reserved) {
                        window.begin(now);
                        begun.push(now);
                        reserved -= 1;
                    },
                    _ => for _ in 0..many.min(reserved) {
                        window.release();
                        reserved -= 1;
                    },
                }
                prop_assert!(window.kept() <= count as usize);
            }
            for (at, first) in begun.iter().enumerate() {
                let within = begun[at..].iter().take_while(|other| **other - *first < period);
                prop_assert!(within.count() <= count as usize);
            }
        }
    }
}
