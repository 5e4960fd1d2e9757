//! Counting, quantiles, habits.

use super::gaps::QUIET_MIN;
use super::*;

#[test]
fn a_quantile_is_within_an_eighth() {
    for us in [64u64, 100, 127, 128, 999, 5_000, 1_000_000, 60_000_000] {
        let figures = SourceFigures::default();
        for _ in 0..100 {
            figures.attempt(true, Duration::from_micros(us));
        }
        let found = figures.counts().delivery(0.99).unwrap() * 1000.0;
        let off = (found - us as f64).abs() / us as f64;
        assert!(off <= 0.13, "{us} µs as {found}");
    }
    assert_eq!(bucket(Duration::ZERO), 0);
    assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    assert_eq!(Counts::default().acknowledge(0.5), None);
}

#[test]
fn half_lie_below_the_median() {
    let figures = SourceFigures::default();
    let now = Timestamp::from_secs(1);
    for ms in 1..=100 {
        figures.callback(Count::Accepted, Duration::from_millis(ms), now);
    }
    let counts = figures.counts();
    let median = counts.acknowledge(0.5).unwrap();
    let high = counts.acknowledge(0.99).unwrap();
    assert!((44.0..57.0).contains(&median), "{median}");
    assert!((88.0..115.0).contains(&high), "{high}");
    assert_eq!(counts.of(Count::Accepted), 100);
    assert!(counts.since(&counts).is_empty());
}

#[test]
fn a_habit_is_learnt_and_its_end_is_noticed() {
    let figures = SourceFigures::default();
    for minute in 0..30 {
        assert_eq!(figures.usual_gap().is_some(), minute > 8);
        figures.accepted_at(Timestamp::from_secs(1_000_000 + minute * 60));
    }
    assert_eq!(figures.usual_gap(), Some(Duration::from_secs(60)));
    let last = Timestamp::from_secs(1_000_000 + 29 * 60);
    assert_eq!(figures.quiet_from(), Some(last.plus(QUIET_MIN)));
    // A night of eight hours is remembered: the next one is no news.
    figures.accepted_at(last.plus(Duration::from_secs(8 * 3600)));
    for minute in 1..200 {
        figures.accepted_at(last.plus(Duration::from_secs(8 * 3600 + minute * 60)));
    }
    let last = figures.last_accepted().unwrap();
    let quiet = figures.quiet_from().unwrap().since(last);
    assert!(quiet > Duration::from_secs(9 * 3600), "{quiet:?}");
    // The clock goes back: nothing is learnt of it, and that is when the last one came.
    let usual = figures.usual_gap();
    figures.accepted_at(Timestamp::from_secs(5));
    assert_eq!(figures.last_accepted(), Some(Timestamp::from_secs(5)));
    assert_eq!(figures.usual_gap(), usual);
}

#[test]
fn a_source_that_stays_keeps_its_figures() {
    let figures = Figures::default();
    let shop = SourceName::new("shop");
    let labels = || vec!["keys[0]".to_owned(), "keys[1]".to_owned()];
    figures.set([(shop.clone(), labels())]);
    let now = Timestamp::from_secs(9);
    figures.on(Some(&shop), |shop| {
        shop.callback(Count::Accepted, Duration::ZERO, now);
        shop.sealed("hmac-sha256 keys[1]", now);
    });
    figures.on(Some(&SourceName::new("stranger")), |nobody| {
        nobody.callback(Count::Refused, Duration::ZERO, now);
    });
    figures.set([(shop.clone(), labels())]);
    let kept = figures.of(&shop).unwrap();
    assert_eq!(kept.counts().of(Count::Accepted), 1);
    assert_eq!(kept.key_used("keys[1]"), Some(now));
    assert_eq!(kept.key_used("keys[0]"), None);
    assert_eq!(figures.nobody().counts().of(Count::Refused), 1);
    assert_eq!(figures.all().len(), 1);
}

#[test]
fn the_time_without_a_gateway_is_no_habit() {
    let at = |secs: u64| Timestamp::from_secs(1_000_000 + secs);
    let first = SourceFigures::default();
    (0..20).for_each(|minute| first.accepted_at(at(minute * 60)));
    let known = first.known();
    let habit = |figures: &SourceFigures| figures.known().habit;
    // Ten hours later.
    let second = SourceFigures::default();
    second.take_on(&known, at(36_000));
    second.accepted_at(at(36_000));
    assert_eq!(habit(&second), known.habit);
    assert_eq!(second.last_accepted(), Some(at(36_000)));
    second.accepted_at(at(36_060));
    assert_eq!(habit(&second).seen, known.habit.seen + 1);
    // What the store has beyond the file came while a gateway ran; what comes next did not.
    let third = SourceFigures::default();
    third.take_on(&known, at(36_000));
    third.remember([at(20 * 60), at(21 * 60)]);
    assert_eq!(habit(&third).seen, known.habit.seen + 2);
    third.accepted_at(at(36_000));
    assert_eq!(habit(&third).seen, known.habit.seen + 2);
    assert_eq!(habit(&third).longest, 60_000);
}
