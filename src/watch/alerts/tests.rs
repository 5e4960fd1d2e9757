//! What a receiver is told of what holds, in virtual time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::watch;

use super::*;
use crate::clock::{Clock, TimerClock};
use crate::inbox::store::{Pending, Response};
use crate::random::SeededRandom;
use crate::relay::AttemptError;
use crate::relay::client::Answered;
use crate::rule::value;
use crate::settings::Thresholds;
use crate::watch::conditions::tests::{at, calm, main_lane};
use crate::watch::snapshot::Lane;

fn settings() -> AlertSettings {
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

/// Takes nothing until it is told to.
struct Receiver {
    takes: AtomicBool,
    seen: Mutex<Vec<(http::HeaderMap, Bytes)>>,
}

impl Transport for Arc<Receiver> {
    fn send<'a>(
        &'a self,
        _to: &'a Target,
        request: Outgoing,
        _within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            self.seen.lock().unwrap().push((head.headers, body));
            if !self.takes.load(Ordering::SeqCst) {
                return Err(AttemptError::Timeout);
            }
            Ok(Answered {
                status: StatusCode::NO_CONTENT,
                retry_after: None,
                response: Response::default(),
            })
        })
    }
}

/// Two hours in virtual time: the receiver is away for the first.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_was_away_gets_no_storm_and_is_told_how_things_stand() {
    let receiver = Arc::new(Receiver {
        takes: AtomicBool::new(false),
        seen: Mutex::default(),
    });
    let clock = TimerClock::starting_at(at(0));
    let see = move || {
        let mut now = calm(clock.now());
        let minute = now.at.since(at(0)).as_secs() / 60;
        // Every minute another destination is in trouble, for half an hour each.
        now.accepting = minute > 90;
        let failing = (minute.saturating_sub(30)..=minute).map(|n| {
            let lane = Lane {
                oldest_owed: Some(at(0).minus(Duration::from_secs(7200))),
                ..Lane::default()
            };
            (("shop".to_owned(), format!("d{n}")), lane)
        });
        now.lanes = failing.collect();
        now
    };
    let key = Secret::new(b"a secret of the alerts".to_vec());
    let pusher = Pusher::seeing(
        see,
        Arc::new(SeededRandom::new(1)),
        Metrics::new(),
        Arc::new(receiver.clone()),
        settings(),
        Some(key.clone()),
    );
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(pusher.run(stopped));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let tries = receiver.seen.lock().unwrap().len();
    // 15, 30, 60, 120, 240 s, then every five minutes.
    assert!((10..=18).contains(&tries), "{tries}");
    receiver.takes.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let seen = receiver.seen.lock().unwrap().clone();
    let told = seen.len() - tries;
    assert!(
        (50..=125).contains(&told),
        "at most about one a minute: {told}"
    );
    let (headers, body) = &seen[tries];
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let firing = body["data"]["firing"].as_array().unwrap();
    assert!(firing.iter().any(|a| a["alert"] == "not_accepting"));
    assert_eq!(body["data"]["firing_count"], firing.len());
    let (id, time) = (&headers["webhook-id"], &headers["webhook-timestamp"]);
    let time = Timestamp::from_secs(time.to_str().unwrap().parse().unwrap());
    let expected = sign::signature(&key, id.to_str().unwrap(), time, &seen[tries].1);
    assert_eq!(headers["webhook-signature"], expected);
    stop.send(true).unwrap();
    running.await.unwrap();
}

/// Takes a connection and never answers.
struct Silent;

impl Transport for Silent {
    fn send<'a>(
        &'a self,
        _to: &'a Target,
        _request: Outgoing,
        _within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_is_given_up_and_holds_no_end_up() {
    let clock = TimerClock::starting_at(at(0));
    let see = move || Snapshot {
        reload_failed: true,
        ..calm(clock.now())
    };
    let (metrics, random) = (Metrics::new(), Arc::new(SeededRandom::new(1)));
    let (seen, silent) = (metrics.clone(), Arc::new(Silent));
    let pusher = Pusher::seeing(see, random, metrics, silent, settings(), None);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(pusher.run(stopped));
    tokio::time::sleep(Duration::from_secs(120)).await;
    let result = "failed";
    let failed = seen.alerts.get(&ResultLabel { result }).unwrap().get();
    assert!((2..=5).contains(&failed), "{failed}");
    let before = Instant::now();
    stop.send(true).unwrap();
    running.await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}
