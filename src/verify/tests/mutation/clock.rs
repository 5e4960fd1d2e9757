//! Too late and too early.

use std::time::Duration;

use super::super::{Case, cases};
use super::Found;
use crate::clock::Timestamp;

const MILLI: Duration = Duration::from_millis(1);

/// The last moment at which a request is still good, seen from one at which it is: found by halves.
fn edge(case: &Case, inside: Timestamp, outside: Timestamp) -> Timestamp {
    let (mut inside, mut outside) = (inside.as_millis(), outside.as_millis());
    while inside.abs_diff(outside) > 1 {
        let middle = inside.midpoint(outside);
        match case.code_at(Timestamp::from_millis(middle)) {
            "stale" | "from_the_future" => outside = middle,
            _ => inside = middle,
        }
    }
    Timestamp::from_millis(inside)
}

#[test]
fn the_window_ends_exactly_at_the_tolerance() {
    let mut found = Found::default();
    let mut tried = 0;
    for case in cases().filter(|case| !case.is_question()) {
        let Some(freshness) = &case.provider.freshness else {
            continue;
        };
        tried += 1;
        let now = case.example.now();
        let tolerance = freshness.tolerance;
        let ahead = freshness.future.unwrap_or(tolerance);
        let late = now.plus(tolerance).plus(ahead).plus(MILLI);
        let early = now.minus(tolerance).minus(ahead).minus(MILLI);
        // A certificate may not hold as long; then it is not used, which is as good.
        let ended = ["stale", "key_expired", "key_untrusted"];
        if !ended.contains(&case.code_at(late)) {
            found.note(&case, &format!("late: {}", case.code_at(late)));
            continue;
        }
        let begun = ["from_the_future", "key_untrusted"];
        if !begun.contains(&case.code_at(early)) {
            found.note(&case, &format!("early: {}", case.code_at(early)));
            continue;
        }
        if case.code_at(late) != "stale" || case.code_at(early) != "from_the_future" {
            continue;
        }
        let last = edge(&case, now, late);
        let first = edge(&case, now, early);
        if last.as_millis() - first.as_millis()
            != u64::try_from((tolerance + ahead).as_millis()).unwrap()
        {
            found.note(&case, &format!("the window is from {first} to {last}"));
        }
        if case.code_at(last.plus(MILLI)) != "stale"
            || case.code_at(first.minus(MILLI)) != "from_the_future"
        {
            found.note(&case, "the window has no edge");
        }
    }
    assert!(tried >= 60, "{tried}");
}

#[test]
fn what_is_judged_years_later_is_never_accepted_where_there_is_a_timestamp() {
    let mut found = Found::default();
    for case in cases().filter(|case| !case.is_question()) {
        if case.provider.freshness.is_none() {
            continue;
        }
        let year = Duration::from_secs(86_400 * 365);
        for now in [
            case.example.now().plus(year * 3),
            case.example.now().minus(year * 3),
            Timestamp::default(),
        ] {
            let code = case.code_at(now);
            let wanted = ["stale", "from_the_future", "key_expired", "key_untrusted"];
            if !wanted.contains(&code) {
                found.note(&case, code);
            }
        }
    }
}
