//! What alerts are judged by is the same after a restart.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::settings::Thresholds;
use crate::watch::conditions::tests::{at, calm, main_lane, shop};
use crate::watch::conditions::{CONDITIONS, judge};

/// The next process, after `until`, with what this one kept.
fn restarted(history: &History, last: &Snapshot, now: Timestamp) -> History {
    let words = history.keep(last).unwrap();
    let kept = read(
        Reader::new(words.as_bytes()),
        last.at,
        |_| true,
        |_, _| true,
    )
    .unwrap();
    let mut next = History::default();
    next.take_on(kept, last.at, now);
    next
}

fn codes(now: &Snapshot, history: &History) -> Vec<&'static str> {
    let found = judge(&Thresholds::default(), now, history);
    found.iter().map(|(at, _)| CONDITIONS[*at].code).collect()
}

/// As a process counts that begins at zero: its own counts, and those of before.
fn counted(whole: &Snapshot, at_start: &Snapshot, next: &History) -> Snapshot {
    let mut own = whole.clone();
    for (name, source) in &mut own.sources {
        let before = at_start.sources[name].counts();
        for (n, before) in source.counts_mut().into_iter().zip(before) {
            *n -= before;
        }
    }
    for (name, lane) in &mut own.lanes {
        let before = at_start.lanes[name].counts();
        for (n, before) in lane.counts_mut().into_iter().zip(before) {
            *n -= before;
        }
    }
    next.carried.add_to(&mut own);
    own
}

#[derive(Clone, Debug)]
struct Step {
    passes: u64,
    accepted: u64,
    rejected: u64,
    mismatches: u64,
    failed: u64,
    dead: u64,
    owed: u64,
    restart: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let passes = prop_oneof![6 => 15u64..200, 2 => 200u64..4_000, 1 => 4_000u64..40_000];
    let accepted = prop_oneof![3 => Just(0u64), 2 => 1u64..40];
    (
        passes,
        accepted,
        0u64..30,
        0u64..6,
        0u64..9,
        0u64..2,
        0u64..2_000,
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(passes, accepted, rejected, mismatches, failed, dead, owed, restart)| Step {
                passes,
                accepted,
                rejected,
                mismatches,
                failed,
                dead,
                owed,
                restart,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The oracle is a process that is never restarted.
    #[test]
    fn a_restart_without_a_pause_changes_no_judgement(steps in prop::collection::vec(step(), 1..80)) {
        let mut whole = calm(at(0));
        whole.rules_loaded = at(0);
        let (mut history, mut other) = (History::default(), History::default());
        let mut begun = calm(at(0));
        let mut secs = 0;
        for step in &steps {
            secs += step.passes;
            whole.at = at(secs);
            whole.rules_loaded = at(secs - secs % 30_000);
            let source = shop(&mut whole);
            source.events += step.accepted;
            source.rejected += step.rejected;
            source.failed += step.rejected;
            source.mismatches += step.mismatches;
            if step.accepted > 0 {
                source.last_accepted = Some(at(secs));
            }
            let lane = main_lane(&mut whole);
            lane.failed += step.failed;
            lane.delivered += step.accepted;
            lane.dead += step.dead;
            lane.owed = step.owed;
            lane.oldest_owed = (step.owed > 0).then(|| at(secs / 2));
            let now = counted(&whole, &begun, &other);
            prop_assert_eq!(&now, &whole);
            history.add(&whole);
            other.add(&now);
            prop_assert_eq!(codes(&whole, &history), codes(&now, &other));
            if step.restart {
                other = restarted(&other, &now, now.at);
                begun = whole.clone();
            }
        }
    }

    /// Its checksum fits, and it was not written by us.
    #[test]
    fn whatever_is_read_is_judged_by_or_refused(
        spoiled in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut history = History::default();
        let mut now = calm(at(0));
        for minute in 0..40 {
            now.at = at(minute * 60);
            shop(&mut now).events += minute % 3;
            history.add(&now);
        }
        let mut bytes = history.keep(&now).unwrap().as_bytes().to_vec();
        for (place, byte) in &spoiled {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        if let Some(kept) = read(Reader::new(&bytes), now.at, |_| true, |_, _| true) {
            let mut next = History::default();
            next.take_on(kept, now.at, at(5_000));
            now.at = at(5_000);
            next.carried.add_to(&mut now);
            next.add(&now);
            codes(&now, &next);
            restarted(&next, &now, at(5_060));
        }
    }
}

const DAY: u64 = 24 * 3600;

/// Two callbacks every ten minutes for a day and a half.
fn a_day_and_a_half() -> (History, Snapshot) {
    let mut history = History::default();
    let mut now = calm(at(0));
    for secs in (0..=DAY + DAY / 2).step_by(600) {
        now.at = at(secs);
        shop(&mut now).events += 2;
        shop(&mut now).last_accepted = Some(at(secs));
        history.add(&now);
    }
    (history, now)
}

#[test]
fn who_goes_quiet_over_a_restart_is_missed_within_hours() {
    let (history, last) = a_day_and_a_half();
    let next = |kept: bool| {
        let begun = DAY + DAY / 2 + 30;
        let mut history = match kept {
            true => restarted(&history, &last, at(begun)),
            false => History::default(),
        };
        for secs in (begun..begun + DAY).step_by(60) {
            let mut now = calm(at(secs));
            // As the newest row of the store says.
            shop(&mut now).last_accepted = Some(last.at);
            history.carried.add_to(&mut now);
            history.add(&now);
            if codes(&now, &history).contains(&"provider_quiet") {
                return Some(secs - begun);
            }
        }
        None
    };
    let missed = next(true).unwrap();
    assert!((3_000..3_700).contains(&missed), "{missed}");
    assert_eq!(next(false), None, "without what was kept");
}

#[test]
fn the_time_without_a_gateway_is_nobodys_silence() {
    let (history, last) = a_day_and_a_half();
    let begun = DAY + DAY / 2 + 5 * 3600;
    let mut next = restarted(&history, &last, at(begun));
    assert_eq!(next.down(last.at, at(begun)), Duration::from_secs(5 * 3600));
    assert_eq!(
        next.down(at(begun - 60), at(begun + 60)),
        Duration::from_secs(60)
    );
    assert_eq!(next.down(at(begun), at(begun + 60)), Duration::ZERO);
    let mut missed = None;
    for secs in (begun..begun + 3 * 3600).step_by(60) {
        let mut now = calm(at(secs));
        shop(&mut now).last_accepted = Some(last.at);
        next.carried.add_to(&mut now);
        next.add(&now);
        if codes(&now, &next).contains(&"provider_quiet") {
            missed = missed.or(Some(secs - begun));
        }
    }
    let missed = missed.unwrap();
    assert!((3_600..3_800).contains(&missed), "{missed}");
    // A clock that went back tells of no time without a gateway.
    let back = restarted(&history, &last, at(60));
    assert_eq!(back.down(at(0), at(begun)), Duration::ZERO);
}

#[test]
fn where_nobody_looks_nothing_is_kept() {
    let (history, last) = a_day_and_a_half();
    let mut next = restarted(&history, &last, last.at);
    assert!(next.keep(&last).is_none());
    next.add(&last);
    assert!(next.keep(&last).is_some());
}

#[test]
fn what_is_kept_is_bounded() {
    let mut history = History::default();
    let mut now = calm(at(0));
    for step in 0..40 * DAY / 600 {
        now.at = at(step * 600);
        shop(&mut now).events += step % 90;
        history.add(&now);
        // A gateway that is started again and again.
        if step % 50 == 0 {
            history = restarted(&history, &now, at(step * 600 + 5));
            history.looks = true;
        }
    }
    assert!(history.down.len() <= DOWNS && history.rhythm.until.len() <= MOMENTS);
    let bytes = history.keep(&now).unwrap().as_bytes().len();
    assert!(bytes < 20_000, "{bytes}");
}

#[test]
fn times_without_a_gateway_follow_each_other_and_end() {
    let read = |pairs: &[(u64, u64)]| {
        let mut words = Words::default();
        write_pairs(
            &mut words,
            &pairs.iter().map(|(a, b)| (at(*a), at(*b))).collect(),
        );
        read_pairs(&mut Reader::new(words.as_bytes()), at(100)).map(|pairs| pairs.len())
    };
    assert_eq!(read(&[(1, 5), (5, 9), (20, 100)]), Some(3));
    assert_eq!(read(&[(5, 1)]), None);
    assert_eq!(read(&[(1, 5), (4, 9)]), None);
    assert_eq!(read(&[(20, 30), (1, 5)]), None);
    assert_eq!(read(&[(20, 101)]), None);
}

/// By a clock that went back the last stop ends in the future: what is kept is read all the same.
#[test]
fn a_clock_that_went_back_keeps_what_is_read_again() {
    let (history, last) = a_day_and_a_half();
    let mut next = restarted(&history, &last, at(3 * DAY));
    let back = calm(at(2 * DAY));
    next.add(&back);
    let third = restarted(&next, &back, at(2 * DAY + 60));
    assert_eq!(third.down(at(0), at(9 * DAY)), Duration::from_secs(60));
}

#[test]
fn of_many_stops_the_longest_are_kept() {
    let mut history = History::default();
    for stop in 0..100 {
        let until = at(stop * 3_600);
        let long = if stop == 0 { 1_800 } else { 5 };
        let mut now = calm(until);
        now.at = until;
        history.add(&now);
        history = restarted(&history, &now, until.plus(Duration::from_secs(long)));
    }
    assert_eq!(history.down.len(), DOWNS);
    assert_eq!(history.down(at(0), at(3_000)), Duration::from_secs(1_800));
}

#[test]
fn of_strangers_nothing_is_kept_and_no_name_comes_twice() {
    let section = |sources: &[&str], lanes: &[(&str, &str)]| {
        let mut words = Words::default();
        words.number(0);
        words.number(sources.len() as u64);
        for source in sources {
            words.text(source);
            write_changes(&mut words, [0; 7], [9; 7]);
        }
        words.number(lanes.len() as u64);
        for (source, to) in lanes {
            words.text(source);
            words.text(to);
            write_changes(&mut words, [0; 5], [9; 5]);
        }
        (0..3).for_each(|_| words.number(0));
        let lane = |source: &str, to: &str| (source, to) == ("shop", "main");
        read(
            Reader::new(words.as_bytes()),
            at(0),
            |name| name == "shop",
            lane,
        )
    };
    let kept = section(
        &["shop", "stranger", "stranger"],
        &[
            ("shop", "main"),
            ("shop", "elsewhere"),
            ("stranger", "main"),
        ],
    );
    let Carried { sources, lanes } = kept.unwrap().carried;
    assert_eq!(sources.keys().collect::<Vec<_>>(), ["shop"]);
    let main = ("shop".to_owned(), "main".to_owned());
    assert_eq!(lanes.keys().collect::<Vec<_>>(), [&main]);
    assert!(section(&["shop", "shop"], &[]).is_none());
    assert!(section(&["shop"], &[("shop", "main"), ("shop", "main")]).is_none());
}

#[test]
fn what_a_clock_that_was_ahead_saw_does_not_stay() {
    let (mut history, mut now) = a_day_and_a_half();
    let begun = now.at;
    now.at = begun.plus(Duration::from_secs(365 * DAY));
    history.add(&now);
    assert_eq!(history.rhythm.until.back(), Some(&now.at));
    for step in 1..40 * DAY / 600 {
        now.at = begun.plus(Duration::from_secs(step * 600));
        shop(&mut now).events += 1;
        history.add(&now);
        let Rhythm { until, sources } = &history.rhythm;
        assert!(until.iter().is_sorted() && until.back() == Some(&now.at));
        assert_eq!(sources["shop"].each.len(), until.len());
    }
    assert!(history.rhythm.until.len() <= MOMENTS);
}
