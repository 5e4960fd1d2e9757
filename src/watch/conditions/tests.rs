//! Conditions on plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::clock::Timestamp;
use crate::watch::snapshot::Lane;

pub fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + secs)
}

/// A gateway with nothing to complain of.
pub fn calm(at: Timestamp) -> Snapshot {
    let lane = (("shop".to_owned(), "main".to_owned()), Lane::default());
    Snapshot {
        at,
        accepting: true,
        disk_free: Some(1 << 40),
        sources: BTreeMap::from([("shop".to_owned(), Source::default())]),
        lanes: BTreeMap::from([lane]),
        certificates: vec![("public", at.plus(Duration::from_secs(90 * 24 * 3600)))],
        ..Snapshot::default()
    }
}

pub fn shop(snapshot: &mut Snapshot) -> &mut Source {
    snapshot.sources.get_mut("shop").unwrap()
}

pub fn main_lane(snapshot: &mut Snapshot) -> &mut Lane {
    snapshot.lanes.values_mut().next().unwrap()
}

/// The codes of what holds at the end of a series of snapshots.
pub fn found(series: &[Snapshot]) -> Vec<&'static str> {
    let mut history = History::default();
    for snapshot in series {
        history.add(snapshot);
    }
    let found = judge(&Thresholds::default(), series.last().unwrap(), &history);
    found.iter().map(|(at, _)| CONDITIONS[*at].code).collect()
}

/// As above, for a gateway that was calm at first and so a while later.
pub fn after(secs: u64, change: impl Fn(&mut Snapshot)) -> Vec<&'static str> {
    let mut now = calm(at(secs));
    change(&mut now);
    found(&[calm(at(0)), now])
}

#[test]
fn each_condition_is_found_and_no_other() {
    assert_eq!(found(&[calm(at(0)), calm(at(60))]), [""; 0]);
    assert_eq!(after(60, |s| s.accepting = false), ["not_accepting"]);
    assert_eq!(after(60, |s| s.disk_free = Some(1 << 29)), ["disk_low"]);
    assert_eq!(after(60, |s| s.reload_failed = true), ["reload_failed"]);
    let soon = |s: &Snapshot| s.at.plus(Duration::from_secs(13 * 24 * 3600));
    assert_eq!(
        after(60, |s| s.certificates = vec![("public", soon(s))]),
        ["certificate_expiring"]
    );
    assert_eq!(
        after(60, |s| s.keys =
            vec![("shop".into(), "keys[0]".into(), soon(s))]),
        ["key_expiring"]
    );
    assert_eq!(after(240, |s| shop(s).rejected = 51), ["rejection_burst"]);
    assert_eq!(after(240, |s| shop(s).rejected = 50), [""; 0]);
    let lately = |s: &mut Snapshot| s.rules_loaded = s.at.minus(Duration::from_secs(3600));
    assert_eq!(
        after(240, |s| {
            lately(s);
            shop(s).mismatches = 5;
        }),
        ["signature_failures"]
    );
    assert_eq!(
        after(240, |s| shop(s).mismatches = 5),
        [""; 0],
        "nothing was loaded lately: forgeries"
    );
    let tried = |delivered, failed| {
        move |s: &mut Snapshot| {
            *main_lane(s) = Lane {
                delivered,
                failed,
                ..Lane::default()
            }
        }
    };
    assert_eq!(after(600, tried(15, 5)), ["failure_share"]);
    assert_eq!(after(600, tried(16, 4)), [""; 0]);
    assert_eq!(after(600, tried(0, 19)), [""; 0], "too few to say");
    assert_eq!(after(600, |s| main_lane(s).owed = 101), ["owed_growing"]);
    let oldest = |s: &mut Snapshot| main_lane(s).oldest_owed = Some(at(0));
    assert_eq!(after(1801, oldest), ["oldest_owed"]);
    assert_eq!(after(1800, oldest), [""; 0]);
    assert_eq!(after(60, |s| main_lane(s).dead = 1), ["dead_letters"]);
}

#[test]
fn what_stays_as_it_was_is_not_growing() {
    let with = |secs, owed| {
        let mut now = calm(at(secs));
        main_lane(&mut now).owed = owed;
        now
    };
    let steady: Vec<_> = (0..40).map(|m| with(m * 60, 500)).collect();
    assert_eq!(found(&steady), [""; 0]);
    let growing: Vec<_> = (0..40).map(|m| with(m * 60, 500 + m)).collect();
    assert_eq!(found(&growing), ["owed_growing"]);
}

#[test]
fn an_endpoint_is_at_risk_when_nothing_is_heard_for_an_hour() {
    let minutes = |last: u64, change: &dyn Fn(u64, &mut Source)| {
        let series: Vec<_> = (0..=last)
            .map(|m| {
                let mut now = calm(at(m * 60));
                shop(&mut now).last_accepted = Some(at(0));
                change(m, shop(&mut now));
                now
            })
            .collect();
        found(&series)
    };
    let failing = |m: u64, s: &mut Source| s.failed = m / 5;
    assert_eq!(minutes(70, &failing), ["endpoint_at_risk"]);
    assert_eq!(minutes(50, &failing), [""; 0], "too early");
    let one_duplicate = |m: u64, s: &mut Source| {
        failing(m, s);
        s.events = u64::from(m > 40);
    };
    assert_eq!(minutes(70, &one_duplicate), [""; 0]);
}

/// Nothing was ever accepted: what the verifier rejects is a callback that fails, if it goes on for
/// an hour; what a guard refuses is anybody's.
#[test]
fn a_source_that_never_accepted_anything_is_at_risk() {
    let minutes = |last: u64, change: &dyn Fn(u64, &mut Source)| {
        let each = (0..=last).map(|m| {
            let mut now = calm(at(m * 60));
            change(m, shop(&mut now));
            now
        });
        found(&each.collect::<Vec<_>>())
    };
    let rejected = |m: u64, s: &mut Source| (s.rejected, s.failed) = (m / 4, m / 4);
    assert_eq!(minutes(70, &rejected), ["endpoint_at_risk"]);
    assert_eq!(minutes(50, &rejected), [""; 0], "too early");
    let refused = |m: u64, s: &mut Source| s.failed = m;
    assert_eq!(minutes(70, &refused), [""; 0], "a scanner at the guard");
    let few = |m: u64, s: &mut Source| (s.rejected, s.failed) = (m / 8, m / 8);
    assert_eq!(minutes(70, &few), [""; 0], "too few");
    // Ten trials while it is set up, and then it works.
    let set_up = |m: u64, s: &mut Source| {
        (s.rejected, s.failed) = (m.min(10), m.min(10));
        s.events = m.saturating_sub(20);
        s.last_accepted = (m > 20).then(|| at(m * 60));
    };
    assert_eq!(minutes(15, &set_up), [""; 0]);
    assert_eq!(minutes(70, &set_up), [""; 0]);
}

/// Day by day, in steps of ten minutes: whether a source that stops at some moment is missed, and
/// how long after it.
fn missed(comes: impl Fn(u64) -> u64, stops: u64, until: u64) -> Option<u64> {
    let mut history = History::default();
    let (mut events, mut last) = (0, None);
    for secs in (0..until).step_by(600) {
        let came = if secs < stops { comes(secs) } else { 0 };
        events += came;
        if came > 0 {
            last = Some(at(secs));
        }
        let mut now = calm(at(secs));
        *shop(&mut now) = Source {
            events,
            last_accepted: last,
            ..Source::default()
        };
        history.add(&now);
        // In its first week nobody knows which of its days are quiet.
        if secs < 8 * 24 * 3600 {
            continue;
        }
        if !judge(&Thresholds::default(), &now, &history).is_empty() {
            return Some(secs.saturating_sub(stops));
        }
    }
    None
}

#[test]
fn who_seldom_calls_is_missed_later() {
    let (hour, day) = (3600, 24 * 3600);
    let never = u64::MAX;
    let many = |days: u64| days * day;
    // Three an hour.
    let often = |secs: u64| u64::from(secs.is_multiple_of(1200));
    assert_eq!(missed(often, never, many(20)), None);
    let after = missed(often, many(10), many(20)).unwrap();
    assert!((5 * hour..7 * hour).contains(&after), "{after}");
    // One an hour from Monday to Friday.
    let weekdays = |secs: u64| u64::from(secs.is_multiple_of(hour) && secs / day % 7 < 5);
    assert_eq!(missed(weekdays, never, many(30)), None);
    let after = missed(weekdays, many(16), many(30)).unwrap();
    assert!((day - hour..day + 2 * hour).contains(&after), "{after}");
    // One a day.
    let daily = |secs: u64| u64::from(secs % day == 9 * hour);
    assert_eq!(missed(daily, never, many(40)), None);
    let after = missed(daily, many(20), many(40)).unwrap();
    assert!((many(6)..many(7)).contains(&after), "{after}");
    // One a week, and one that came once: nobody can say.
    let weekly = |secs: u64| u64::from(secs % many(7) == hour);
    assert_eq!(missed(weekly, many(20), many(40)), None);
    assert_eq!(
        missed(|secs| u64::from(secs == hour), never, many(20)),
        None
    );
}

/// A source that a reload took away and brought back counts from zero.
#[test]
fn a_source_that_comes_back_is_judged_by_what_it_does_now() {
    let mut before = calm(at(0));
    *shop(&mut before) = Source {
        events: 500,
        failed: 300,
        rejected: 300,
        ..Source::default()
    };
    let mut now = calm(at(240));
    shop(&mut now).rejected = 51;
    assert_eq!(found(&[before, now]), ["rejection_burst"]);
}

/// A provider that calls every five minutes by day and never at night.
#[test]
fn quiet_is_measured_against_yesterday_and_last_week() {
    let day = 24 * 3600;
    let by_day = |secs: u64| (8 * 3600..20 * 3600).contains(&(secs % day));
    let until = |end: u64, stop: u64| {
        let mut history = History::default();
        let (mut events, mut last) = (0, None);
        for step in 0..=end / 300 {
            let secs = step * 300;
            if by_day(secs) && secs < stop {
                events += 1;
                last = Some(at(secs));
            }
            let mut now = calm(at(secs));
            *shop(&mut now) = Source {
                events,
                last_accepted: last,
                ..Source::default()
            };
            history.add(&now);
            if step == end / 300 {
                let found = judge(&Thresholds::default(), &now, &history);
                return !found.is_empty();
            }
        }
        false
    };
    let noon = |n: u64| n * day + 12 * 3600;
    let never = u64::MAX;
    assert!(!until(noon(2), never));
    assert!(!until(2 * day + 3 * 3600, never), "the night is quiet");
    assert!(until(noon(2), noon(2) - 2 * 3600));
    assert!(!until(noon(0), noon(0) - 2 * 3600), "nothing is known yet");
    assert!(until(noon(9), noon(9) - 2 * 3600));
}
