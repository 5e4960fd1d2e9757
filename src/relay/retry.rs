//! What follows from an attempt: pure, of the policy, the lease, the clock and a random number.

use std::time::{Duration, UNIX_EPOCH};

use crate::clock::Timestamp;
use crate::inbox::store::{Lease, Next};
use crate::random::Random;
use crate::relay::error::AttemptError;
use crate::rule::{Jitter, OnStatus, RetryPolicy, Then};

/// A destination that asks for more patience than this (or than the policy's longest pause, where
/// that is longer) is asked again after this: one bad header must not park a payment for a year.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Why a delivery that was retried in vain is a dead letter; behind a colon stands what the last
/// attempt came to.
pub const GAVE_UP: &str = "gave_up";

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination took it: 2xx.
    Taken,
    Failed {
        error: AttemptError,
        /// How long the destination asks to be left alone.
        retry_after: Option<Duration>,
    },
}

/// What a delivery has behind it.
#[derive(Clone, Copy, Debug)]
pub struct Spent<'a> {
    pub lease: &'a Lease,
    /// How long since `lease.since` deliveries of its destination were held back.
    pub held: Duration,
}

/// What follows from `outcome` at `now`.
///
/// The pause is the policy's; `Retry-After` is a lower bound to it. A pause that would end after
/// `give_up_after` is cut so that the last attempt comes at that moment, except where the
/// destination itself asked for later. An attempt that fails at or after that moment is the last.
pub fn decide(
    policy: &RetryPolicy,
    spent: Spent<'_>,
    now: Timestamp,
    outcome: Outcome,
    random: &dyn Random,
) -> Next {
    let (error, retry_after) = match outcome {
        Outcome::Taken => return Next::Delivered,
        Outcome::Failed { error, retry_after } => (error, retry_after),
    };
    let dead = |reason: &str| Next::Dead {
        reason: reason.to_owned(),
    };
    let said = error
        .status()
        .and_then(|status| policy.on_status(status.as_u16()));
    let pause = match said {
        Some(OnStatus::Dead) => return dead(error.code()),
        None if error.is_final() => return dead(error.code()),
        Some(OnStatus::RetryAfter(pause)) => Some(pause),
        Some(OnStatus::Retry) | None => draw(policy, spent.lease.round, random),
    };
    let last = spent
        .lease
        .since
        .plus(policy.give_up_after)
        .plus(spent.held);
    let Some(pause) = pause.filter(|_| now < last) else {
        return dead(GAVE_UP);
    };
    let asked = retry_after
        .unwrap_or_default()
        .min(policy.max.max(RETRY_AFTER_MAX));
    Next::Retry {
        at: now.plus(pause).min(last).max(now.plus(asked)),
    }
}

/// The longest pause after `round` pauses were taken; none after the end of a list that ends.
pub fn step(policy: &RetryPolicy, round: u32) -> Option<Duration> {
    if let Some(last) = policy.after.last() {
        let listed = usize::try_from(round)
            .ok()
            .and_then(|n| policy.after.get(n));
        return match (listed, policy.then) {
            (Some(pause), _) => Some(*pause),
            (None, Then::Repeat) => Some(*last),
            (None, Then::Dead) => None,
        };
    }
    let exponent = i32::try_from(round).unwrap_or(i32::MAX);
    let seconds = policy.first.as_secs_f64() * policy.factor.powi(exponent);
    // Overflow gives infinity, and zero times infinity no number at all: both mean the longest.
    let grown = Duration::try_from_secs_f64(seconds);
    Some(grown.map_or(policy.max, |pause| pause.min(policy.max)))
}

fn draw(policy: &RetryPolicy, round: u32, random: &dyn Random) -> Option<Duration> {
    let step = step(policy, round)?;
    Some(match policy.jitter {
        Jitter::None => step,
        // Evenly from zero to the whole step: after an outage the waiting ones come back spread
        // out, not in a herd.
        Jitter::Full => step.mul_f64(random.next_unit()),
    })
}

/// `Retry-After` in either form: seconds, or a date. None when it is neither; zero for a date in
/// the past. More digits than a number holds mean for ever, which `decide` caps.
pub fn retry_after(value: &[u8], now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let at = date.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Timestamp::default().plus(at).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use proptest::prelude::*;

    use crate::message::EventId;
    use crate::random::SeededRandom;

    fn policy() -> RetryPolicy {
        RetryPolicy::default()
    }

    fn lease(round: u32, since: Timestamp) -> Lease {
        let id = EventId {
            segment: 1,
            offset: 1,
            tag: 1,
        };
        Lease {
            id,
            attempt: round + 1,
            round,
            since,
            until: Timestamp::MAX,
            grant: 1,
        }
    }

    fn failed(retry_after: Option<u64>) -> Outcome {
        let error = AttemptError::Status(StatusCode::SERVICE_UNAVAILABLE);
        Outcome::Failed {
            error,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn spent(lease: &Lease) -> Spent<'_> {
        Spent {
            lease,
            held: Duration::ZERO,
        }
    }

    fn answered(status: u16, retry_after: Option<u64>) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        let error = match status {
            StatusCode::GONE => AttemptError::Gone,
            status if status.is_redirection() => AttemptError::Redirect(status),
            status => AttemptError::Status(status),
        };
        Outcome::Failed {
            error,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_list_is_kept_to_and_its_end_is_as_the_rule_says() {
        let listed = RetryPolicy {
            after: [5, 60, 600].map(Duration::from_secs).to_vec(),
            jitter: Jitter::None,
            ..policy()
        };
        let (now, random) = (Timestamp::from_secs(100), SeededRandom::new(1));
        let next = |policy: &RetryPolicy, round| {
            decide(
                policy,
                spent(&lease(round, now)),
                now,
                failed(None),
                &random,
            )
        };
        let after = |seconds: u64| Next::Retry {
            at: Timestamp::from_secs(100 + seconds),
        };
        let pauses = [0, 1, 2, 3, u32::MAX - 1].map(|round| next(&listed, round));
        assert_eq!(pauses, [5, 60, 600, 600, 600].map(after));
        let ends = RetryPolicy {
            then: Then::Dead,
            ..listed
        };
        assert_eq!(next(&ends, 2), after(600));
        let reason = GAVE_UP.to_owned();
        assert_eq!(next(&ends, 3), Next::Dead { reason });
    }

    #[test]
    fn what_a_rule_says_of_a_status_comes_before_everything_but_the_end() {
        let minute = OnStatus::RetryAfter(Duration::from_secs(60));
        let policy = RetryPolicy {
            on_status: vec![
                (400, 499, OnStatus::Dead),
                (409, 409, OnStatus::Retry),
                (410, 410, OnStatus::Retry),
                (503, 503, minute),
                (300, 399, OnStatus::Dead),
            ],
            jitter: Jitter::None,
            give_up_after: Duration::from_secs(1000),
            ..policy()
        };
        let since = Timestamp::from_secs(100);
        let next = |outcome, late: u64| {
            let lease = lease(0, since);
            let now = since.plus(Duration::from_secs(late));
            decide(&policy, spent(&lease), now, outcome, &SeededRandom::new(1))
        };
        let after = |seconds: u64| Next::Retry {
            at: Timestamp::from_secs(100 + seconds),
        };
        let dead = |reason: &str| Next::Dead {
            reason: reason.into(),
        };
        assert_eq!(next(answered(422, None), 0), dead("status_4xx"));
        assert_eq!(next(answered(409, None), 0), after(5));
        assert_eq!(next(answered(410, None), 0), after(5));
        assert_eq!(next(answered(302, None), 0), dead("redirect"));
        assert_eq!(next(answered(503, None), 0), after(60));
        assert_eq!(next(answered(503, Some(90)), 0), after(90));
        assert_eq!(next(answered(500, None), 0), after(5));
        assert_eq!(next(answered(503, None), 990), after(1000));
        assert_eq!(next(answered(503, None), 1000), dead(GAVE_UP));
        assert_eq!(next(Outcome::Taken, 5000), Next::Delivered);
    }

    #[test]
    fn time_in_which_deliveries_were_held_is_not_spent() {
        let since = Timestamp::from_secs(100);
        let now = since.plus(policy().give_up_after + Duration::from_secs(50));
        let next = |held| {
            let lease = lease(0, since);
            let spent = Spent {
                lease: &lease,
                held: Duration::from_secs(held),
            };
            decide(&policy(), spent, now, failed(None), &SeededRandom::new(1))
        };
        assert!(matches!(next(50), Next::Dead { .. }));
        assert!(matches!(next(51), Next::Retry { .. }));
    }

    #[test]
    fn steps_grow_by_the_factor_up_to_the_longest() {
        let policy = policy();
        let steps: Vec<u64> = (0..12)
            .map(|round| step(&policy, round).unwrap().as_secs())
            .collect();
        assert_eq!(
            steps,
            [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
        );
        assert_eq!(step(&policy, u32::MAX), Some(policy.max));
        let nothing = RetryPolicy {
            first: Duration::ZERO,
            ..policy
        };
        assert_eq!(step(&nothing, u32::MAX), Some(nothing.max));
    }

    #[test]
    fn full_jitter_is_spread_evenly_over_the_step() {
        let (policy, random) = (policy(), SeededRandom::new(7));
        let mut quarters = [0u32; 4];
        for _ in 0..4000 {
            let now = Timestamp::from_secs(10);
            let Next::Retry { at } =
                decide(&policy, spent(&lease(9, now)), now, failed(None), &random)
            else {
                panic!()
            };
            let quarter = at.since(now).as_millis() * 4 / step(&policy, 9).unwrap().as_millis();
            quarters[quarter as usize] += 1;
        }
        assert!(
            quarters.iter().all(|n| (900..1100).contains(n)),
            "{quarters:?}"
        );
    }

    #[test]
    fn what_cannot_end_differently_is_dead_at_once() {
        let now = Timestamp::from_secs(10);
        for (error, reason) in [
            (AttemptError::Gone, "gone"),
            (AttemptError::Damaged, "damaged"),
            (AttemptError::Missing, "missing"),
            (AttemptError::Unsendable, "unsendable"),
        ] {
            let outcome = Outcome::Failed {
                error,
                retry_after: None,
            };
            let next = decide(
                &policy(),
                spent(&lease(0, now)),
                now,
                outcome,
                &SeededRandom::new(1),
            );
            assert_eq!(
                next,
                Next::Dead {
                    reason: reason.into()
                }
            );
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = Timestamp::from_secs(784_111_777 - 60);
        let seconds = |text: &str| retry_after(text.as_bytes(), now).map(|d| d.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(60));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:49:37 GMT"), Some(60));
        assert_eq!(seconds("Sun Nov  6 08:49:37 1994"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:40:00 GMT"), Some(0));
        for bad in ["", "-1", "1.5", "soon", "Sun, 06 Nov 1994"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(retry_after(b"\xff", now), None);
    }

    proptest! {
        #[test]
        fn no_pause_is_out_of_bounds(
            first in 0u64..10_000_000, factor in 0.0f64..1e6, max in 0u64..1_000_000_000,
            give_up in 0u64..1_000_000_000, full: bool, round: u32, since in 0u64..1 << 50,
            gone_by in 0u64..2_000_000_000, asked in proptest::option::of(any::<u64>()), seed: u64,
        ) {
            let policy = RetryPolicy {
                first: Duration::from_millis(first), factor, max: Duration::from_millis(max),
                give_up_after: Duration::from_millis(give_up),
                jitter: if full { Jitter::Full } else { Jitter::None },
                ..policy()
            };
            let since = Timestamp::from_millis(since);
            let now = since.plus(Duration::from_millis(gone_by));
            let lease = lease(round % (u32::MAX - 1), since);
            let last = since.plus(policy.give_up_after);
            match decide(&policy, spent(&lease), now, failed(asked), &SeededRandom::new(seed)) {
                Next::Delivered => prop_assert!(false, "a failure is no delivery"),
                Next::Dead { reason } => {
                    prop_assert_eq!(reason, GAVE_UP);
                    prop_assert!(now >= last);
                }
                Next::Retry { at } => {
                    prop_assert!(now < last);
                    let asked = Duration::from_secs(asked.unwrap_or(0)).min(policy.max.max(RETRY_AFTER_MAX));
                    prop_assert!(at >= now.plus(asked));
                    let longest = step(&policy, lease.round).unwrap().max(asked);
                    prop_assert!(at <= now.plus(longest));
                    prop_assert!(at <= last.max(now.plus(asked)));
                    if !full {
                        prop_assert!(at >= now.plus(step(&policy, lease.round).unwrap()).min(last));
                    }
                }
            }
        }

        #[test]
        fn what_is_taken_is_delivered_whatever_the_clock_says(round in 0u32..100, now: u64, since: u64) {
            let lease = lease(round, Timestamp::from_millis(since));
            let now = Timestamp::from_millis(now);
            let next = decide(&policy(), spent(&lease), now, Outcome::Taken, &SeededRandom::new(1));
            prop_assert_eq!(next, Next::Delivered);
        }
    }
}
