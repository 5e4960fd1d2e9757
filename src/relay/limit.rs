//! How many attempts a destination gets at once, as it is doing: one more when a whole round of
//! them went well, half as many when it is too much (AIMD, as TCP finds its window).

use std::time::Duration;

/// Attempts at once in the beginning: few enough for an application that has just started.
pub const START: usize = 2;

/// A round may take so much longer than usual (as a factor, and on top of it), and still more at
/// once are tried. What takes longer is held up by its own number.
const SLOWER: f64 = 1.5;
const SLACK: Duration = Duration::from_millis(5);

/// Which attempts know of the latest change: those that began before it tell nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

/// Between one and the ceiling.
#[derive(Debug)]
pub struct Adaptive {
    /// False: always the ceiling.
    on: bool,
    ceiling: usize,
    limit: usize,
    epoch: u64,
    /// The round under way: answers, and how long they took together.
    answers: usize,
    took: Duration,
    /// All that were allowed were under way at once: without that a round says nothing about more.
    full: bool,
    /// How long an answer takes usually: the shortest mean of a round, drifting up.
    usual: Option<Duration>,
}

impl Default for Adaptive {
    fn default() -> Self {
        Adaptive {
            on: true,
            ceiling: 1,
            limit: START,
            epoch: 0,
            answers: 0,
            took: Duration::ZERO,
            full: false,
            usual: None,
        }
    }
}

impl Adaptive {
    pub fn set(&mut self, ceiling: usize, on: bool) {
        // A limit of nothing would be a pause that no one can see.
        self.ceiling = ceiling.max(1);
        self.on = on;
    }

    /// Attempts that may be under way at once; at least one.
    pub fn limit(&self) -> usize {
        match self.on {
            true => self.limit.min(self.ceiling),
            false => self.ceiling,
        }
    }

    pub fn ceiling(&self) -> usize {
        self.ceiling
    }

    /// For an attempt that begins now.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// As many as allowed are under way.
    pub fn filled(&mut self) {
        self.full = true;
    }

    /// The destination answered, whatever it said.
    pub fn answered(&mut self, epoch: Epoch, took: Duration) {
        if epoch != self.epoch() {
            return;
        }
        self.answers += 1;
        self.took = self.took.saturating_add(took);
        if self.answers < self.limit() {
            return;
        }
        let mean = self.took / u32::try_from(self.answers).unwrap_or(u32::MAX).max(1);
        let usual = self.usual.unwrap_or(mean);
        let quick = mean <= usual.mul_f64(SLOWER) + SLACK;
        self.usual = Some(match mean.checked_sub(usual) {
            // Slower for good is the new usual, after a few rounds.
            Some(slower) => usual + slower / 8,
            None => mean,
        });
        if quick && self.full {
            self.limit = (self.limit + 1).min(self.ceiling);
        }
        self.round();
    }

    /// Too much for the destination. Attempts that began together and fail together halve once.
    pub fn overloaded(&mut self, epoch: Epoch) {
        if epoch == self.epoch() {
            self.limit = (self.limit() / 2).max(1);
            self.epoch += 1;
            self.round();
        }
    }

    /// After an outage: from one on.
    pub fn restart(&mut self) {
        self.limit = 1;
        self.epoch += 1;
        self.round();
    }

    fn round(&mut self) {
        (self.answers, self.took, self.full) = (0, Duration::ZERO, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUICK: Duration = Duration::from_millis(20);

    fn adaptive(ceiling: usize) -> Adaptive {
        let mut adaptive = Adaptive::default();
        adaptive.set(ceiling, true);
        adaptive
    }

    /// A whole round with all allowed attempts under way.
    fn round(adaptive: &mut Adaptive, took: Duration) {
        adaptive.filled();
        for _ in 0..adaptive.limit() {
            adaptive.answered(adaptive.epoch(), took);
        }
    }

    #[test]
    fn each_round_that_goes_well_adds_one_up_to_the_ceiling() {
        let mut adaptive = adaptive(6);
        let mut limits = vec![adaptive.limit()];
        for _ in 0..6 {
            round(&mut adaptive, QUICK);
            limits.push(adaptive.limit());
        }
        assert_eq!(limits, [2, 3, 4, 5, 6, 6, 6]);
        // What never needed more than it had has not shown that it could have more.
        let mut idle = self::adaptive(6);
        for _ in 0..100 {
            idle.answered(idle.epoch(), QUICK);
        }
        assert_eq!(idle.limit(), START);
    }

    #[test]
    fn a_lower_ceiling_holds_at_once_and_a_destination_may_be_left_at_it() {
        let mut adaptive = adaptive(16);
        (0..20).for_each(|_| round(&mut adaptive, QUICK));
        assert_eq!(adaptive.limit(), 16);
        adaptive.set(3, true);
        assert_eq!(adaptive.limit(), 3);
        adaptive.set(16, false);
        adaptive.overloaded(adaptive.epoch());
        assert_eq!(adaptive.limit(), 16);
        assert_eq!(self::adaptive(1).limit(), 1);
        assert_eq!(self::adaptive(0).limit(), 1);
    }

    #[test]
    fn answers_that_take_longer_than_usual_add_nothing_until_that_is_usual() {
        let mut adaptive = adaptive(100);
        round(&mut adaptive, QUICK);
        let before = adaptive.limit();
        round(&mut adaptive, QUICK * 3);
        assert_eq!(adaptive.limit(), before);
        let rounds = (1..100).find(|_| {
            round(&mut adaptive, QUICK * 3);
            adaptive.limit() > before
        });
        assert!(rounds.is_some_and(|n| n < 10), "{rounds:?}");
    }

    #[test]
    fn those_that_fail_together_halve_once() {
        let mut adaptive = adaptive(64);
        (0..62).for_each(|_| round(&mut adaptive, QUICK));
        assert_eq!(adaptive.limit(), 64);
        let began = adaptive.epoch();
        for _ in 0..64 {
            adaptive.overloaded(began);
            adaptive.answered(began, QUICK);
        }
        assert_eq!(adaptive.limit(), 32);
        for expected in [16, 8, 4, 2, 1, 1] {
            adaptive.overloaded(adaptive.epoch());
            assert_eq!(adaptive.limit(), expected);
        }
        round(&mut adaptive, QUICK);
        assert_eq!(adaptive.limit(), 2);
        adaptive.restart();
        assert_eq!(adaptive.limit(), 1);
    }

    proptest! {
        #[test]
        fn the_limit_is_from_one_to_the_ceiling_and_moves_by_the_law(
            ceiling in 0usize..40,
            steps in proptest::collection::vec((0u8..6, 0u64..200, any::<bool>()), 0..400),
        ) {
            let mut adaptive = adaptive(ceiling);
            let mut old = adaptive.epoch();
            for (doing, took, late) in steps {
                let before = adaptive.limit();
                let epoch = if late { old } else { adaptive.epoch() };
                old = adaptive.epoch();
                match doing {
                    0 => adaptive.overloaded(epoch),
                    1 => adaptive.restart(),
                    2 => adaptive.filled(),
                    _ => adaptive.answered(epoch, Duration::from_millis(took)),
                }
                let after = adaptive.limit();
                prop_assert!((1..=ceiling.max(1)).contains(&after));
                prop_assert!(after <= before + 1, "grows one by one");
                prop_assert!(doing < 2 || after >= before, "only trouble takes away");
                prop_assert!(doing != 0 || after >= before / 2, "at most half");
            }
        }
    }
}
