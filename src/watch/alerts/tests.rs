//! What a receiver is told of what holds, moment by moment.

use super::*;
use crate::rule::value;
use crate::settings::Thresholds;
use crate::watch::conditions::tests::{at, calm, main_lane};

pub(super) fn settings() -> AlertSettings {
    AlertSettings {
        url: value::address("https://ops.example.com/hook").unwrap(),
        sign_with: None,
        repeat: Duration::from_secs(4 * 3600),
        thresholds: Thresholds::default(),
    }
}

/// A reload that failed is told of until one goes well, be it days later.
#[test]
fn a_failed_reload_lasts_until_it_is_mended() {
    let settings = settings();
    let mut board = Board::default();
    let mut said = Vec::new();
    for quarter in 0..(3 * 240) {
        let mut now = calm(at(quarter * 15));
        now.reload_failed = (600..2 * 3600).contains(&(quarter * 15));
        board.look(&settings, &now);
        if let Some(message) = board.message(&settings, now.at) {
            let count = |list: &str| message.body["data"][list].as_array().unwrap().len();
            said.push((quarter * 15, count("begun"), count("ended")));
            board.told(message);
        }
    }
    let ended = 2 * 3600 - 15 + END_AFTER.as_secs() + 15;
    assert_eq!(said, [(600, 1, 0), (ended, 0, 1)]);
}

/// The clock goes back by a day, and the fault is mended meanwhile.
#[test]
fn a_clock_that_goes_back_keeps_no_alert_open() {
    let settings = settings();
    let mut board = Board::default();
    let mut ended = None;
    for quarter in 0..240 {
        let stepped = quarter >= 40;
        let base = if stepped { 0 } else { 24 * 3600 };
        let mut now = calm(at(base + quarter * 15));
        now.reload_failed = !stepped;
        board.look(&settings, &now);
        if let Some(message) = board.message(&settings, now.at) {
            if message.body["data"]["ended"].as_array().unwrap().len() == 1 {
                ended = Some(quarter);
            }
            board.told(message);
        }
    }
    let minutes = ended.unwrap() * 15 / 60;
    assert!((10..=16).contains(&minutes), "{minutes}");
}

#[test]
fn it_is_told_when_it_began_again_now_and_then_and_when_it_ended() {
    let settings = settings();
    let mut board = Board::default();
    let mut said = Vec::new();
    for quarter in 0..(6 * 240) {
        let secs = quarter * 15;
        let mut now = calm(at(secs));
        // From minute 10 to hour 5.
        now.accepting = !(600..5 * 3600).contains(&secs);
        board.look(&settings, &now);
        if let Some(message) = board.message(&settings, now.at) {
            let count = |list: &str| message.body["data"][list].as_array().unwrap().len();
            said.push((secs, count("begun"), count("ended"), count("firing")));
            board.told(message);
        }
    }
    let begun = 600 + 60;
    let ended = 5 * 3600 - 15 + END_AFTER.as_secs() + 15;
    assert_eq!(
        said,
        [
            (begun, 1, 0, 1),
            (begun + 4 * 3600, 0, 0, 1),
            (ended, 0, 1, 0)
        ]
    );
}

#[test]
fn what_comes_and_goes_is_told_once() {
    let settings = settings();
    let mut board = Board::default();
    let mut messages = 0;
    for quarter in 0..240 {
        let mut now = calm(at(quarter * 15));
        // One minute so, one minute not: of a condition that counts at once.
        now.reload_failed = quarter / 4 % 2 == 1;
        main_lane(&mut now).dead = quarter / 4 % 2;
        board.look(&settings, &now);
        if let Some(message) = board.message(&settings, now.at) {
            messages += 1;
            board.told(message);
        }
    }
    assert!(messages <= 2, "{messages}");
}

/// Something holds, the receiver knows, and the clock goes back by two days: nothing is told of as
/// new, no beginning lies in the future, and what still holds is said again when that is due.
#[test]
fn a_clock_that_goes_back_puts_nothing_off_and_begins_nothing_anew() {
    let settings = settings();
    let mut board = Board::default();
    let mut said = Vec::new();
    let (stepped, day) = (240, 24 * 3600);
    for quarter in 0..(6 * 240) {
        let base = if quarter < stepped { 2 * day } else { 0 };
        let mut now = calm(at(base + quarter * 15));
        now.reload_failed = quarter >= 4 && quarter < 5 * 240 + stepped;
        board.look(&settings, &now);
        if let Some(message) = board.message(&settings, now.at) {
            let data = &message.body["data"];
            for list in ["begun", "ended", "firing"] {
                for alert in data[list].as_array().unwrap() {
                    // Both are RFC 3339 in UTC: as texts they stand in the order of time.
                    let since = alert["since"].as_str().unwrap().to_owned();
                    assert!(since <= now.at.to_string(), "{quarter}: {since}");
                }
            }
            let count = |list: &str| data[list].as_array().unwrap().len();
            let since = (data["firing"].get(0)).map(|a| a["since"].as_str().unwrap().to_owned());
            said.push((quarter, count("begun"), count("ended"), since));
            board.told(message);
        }
    }
    let since = |quarter: u64, base: u64| Some(at(base + quarter * 15).to_string());
    // Told at first, again four hours after the step, and never as if it had begun once more.
    let again = stepped + 4 * 240;
    assert_eq!(
        said,
        [
            (4, 1, 0, since(4, 2 * day)),
            (again, 0, 0, since(stepped, 0)),
        ]
    );
}

/// It counts only when it has held for its time, also where the clock went back meanwhile.
#[test]
fn a_clock_that_goes_back_makes_no_alert_early_and_none_late_by_the_step() {
    let settings = settings();
    let hold = |code| {
        let found = CONDITIONS.iter().find(|condition| condition.code == code);
        found.unwrap().hold.as_secs() / 15
    };
    let hold = hold("not_accepting");
    assert!(hold > 2);
    let mut board = Board::default();
    let mut begun = None;
    for quarter in 0..100 {
        let base = if quarter < 2 { 24 * 3600 } else { 0 };
        let mut now = calm(at(base + quarter * 15));
        now.accepting = false;
        board.look(&settings, &now);
        if let Some(message) = board.message(&settings, now.at) {
            begun.get_or_insert(quarter);
            board.told(message);
        }
    }
    assert_eq!(begun, Some(2 + hold), "held from the step on");
}
