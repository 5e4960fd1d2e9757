//! Receivers that are away, hang, or change, in virtual time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::time::sleep;

use super::*;
use crate::clock::{Clock, TimerClock};
use crate::inbox::store::{Pending, Response};
use crate::random::SeededRandom;
use crate::relay::AttemptError;
use crate::relay::client::Answered;
use crate::rule::value;
use crate::watch::alerts::END_AFTER;
use crate::watch::alerts::tests::settings;
use crate::watch::conditions::tests::{at, calm};
use crate::watch::snapshot::Lane;

type Named = watch::Sender<Option<Arc<Wanted>>>;

fn wanted(url: &str, key: Option<&Secret>) -> Option<Arc<Wanted>> {
    let mut settings = settings();
    settings.url = value::address(url).unwrap();
    let key = key.cloned();
    Some(Arc::new(Wanted { settings, key }))
}

const HOOK: &str = "https://ops.example.com/hook";

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
    let named = Named::new(wanted(HOOK, Some(&key)));
    let pusher = Pusher::seeing(
        see,
        Arc::new(SeededRandom::new(1)),
        Metrics::new(),
        Arc::new(receiver.clone()),
        named.subscribe(),
    );
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(pusher.run(stopped));
    sleep(Duration::from_secs(3600)).await;
    let tries = receiver.seen.lock().unwrap().len();
    // 15, 30, 60, 120, 240 s, then every five minutes.
    assert!((10..=18).contains(&tries), "{tries}");
    receiver.takes.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(3600)).await;
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
    let named = Named::new(wanted(HOOK, None));
    let pusher = Pusher::seeing(see, random, metrics, silent, named.subscribe());
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(pusher.run(stopped));
    sleep(Duration::from_secs(120)).await;
    let result = "failed";
    let failed = seen.alerts.get(&ResultLabel { result }).unwrap().get();
    assert!((2..=5).contains(&failed), "{failed}");
    let before = Instant::now();
    stop.send(true).unwrap();
    running.await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// A gateway whose trouble the test makes, and a receiver that writes down what it hears.
struct Stage {
    receiver: Arc<Told>,
    trouble: Arc<Mutex<Vec<&'static str>>>,
    named: Named,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
    /// Dead letters of each destination in trouble, so far.
    dead: Arc<AtomicU64>,
}

#[derive(Default)]
struct Told {
    refuses: AtomicBool,
    /// Requests that came, answered or not.
    asked: AtomicUsize,
    /// Takes so long to answer.
    slow: Mutex<Duration>,
    seen: Mutex<Vec<Said>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Said {
    to: String,
    id: String,
    begun: Vec<String>,
    firing: Vec<String>,
    ended: usize,
    signed: bool,
    taken: bool,
}

impl Transport for Arc<Told> {
    fn send<'a>(
        &'a self,
        to: &'a Target,
        request: Outgoing,
        _within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            self.asked.fetch_add(1, Ordering::SeqCst);
            let slow = *self.slow.lock().unwrap();
            sleep(slow).await;
            let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let list = |name: &str| -> Vec<String> {
                let alerts = said["data"][name].as_array().unwrap();
                let codes = alerts.iter().map(|a| a["destination"].as_str().unwrap());
                codes.map(str::to_owned).collect()
            };
            let field = |name: &str| head.headers[name].to_str().unwrap().to_owned();
            let at = field("webhook-timestamp").parse().unwrap();
            let at = Timestamp::from_secs(at);
            let signed = head.headers.get("webhook-signature").is_some_and(|found| {
                let key = Secret::new(NEW_KEY.to_vec());
                *found == sign::signature(&key, &field("webhook-id"), at, &body)
            });
            let taken = !self.refuses.load(Ordering::SeqCst);
            self.seen.lock().unwrap().push(Said {
                to: to.address.authority.clone(),
                id: field("webhook-id"),
                begun: list("begun"),
                firing: list("firing"),
                ended: list("ended").len(),
                signed,
                taken,
            });
            let status = if taken { 204 } else { 503 };
            Ok(Answered {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: None,
                response: Response::default(),
            })
        })
    }
}

const NEW_KEY: &[u8] = b"the next secret of the alerts";

impl Stage {
    fn new(first: Option<Arc<Wanted>>) -> Self {
        let receiver = Arc::new(Told::default());
        let trouble: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        let (clock, in_trouble) = (TimerClock::starting_at(at(0)), trouble.clone());
        let dead: Arc<AtomicU64> = Arc::default();
        let died = dead.clone();
        let see = move || {
            let mut now = calm(clock.now());
            let lane = Lane {
                oldest_owed: Some(at(0).minus(Duration::from_secs(7200))),
                dead: died.load(Ordering::SeqCst),
                ..Lane::default()
            };
            let names = in_trouble.lock().unwrap().clone();
            let lanes = names.into_iter();
            now.lanes = lanes
                .map(|name| (("shop".to_owned(), name.to_owned()), lane))
                .collect();
            now
        };
        let named = Named::new(first);
        let pusher = Pusher::seeing(
            see,
            Arc::new(SeededRandom::new(1)),
            Metrics::new(),
            Arc::new(receiver.clone()),
            named.subscribe(),
        );
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(pusher.run(stopped));
        Stage {
            receiver,
            trouble,
            named,
            stop,
            running,
            dead,
        }
    }

    fn trouble(&self, names: &[&'static str]) {
        *self.trouble.lock().unwrap() = names.to_vec();
    }

    /// What was said since the last call.
    fn said(&self) -> Vec<Said> {
        std::mem::take(&mut *self.receiver.seen.lock().unwrap())
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.running.await.unwrap();
    }
}

/// Longer than any condition here has to hold.
const LONG: Duration = Duration::from_secs(3600);
const OTHER: &str = "https://other.example.com/hook";

#[tokio::test(start_paused = true)]
async fn what_a_receiver_was_told_is_not_said_again_after_a_reload() {
    let stage = Stage::new(wanted(HOOK, None));
    stage.trouble(&["a"]);
    sleep(LONG).await;
    let said = stage.said();
    assert_eq!(
        (said.len(), said[0].begun.as_slice()),
        (1, &["a".to_owned()][..])
    );
    // Another key, the same receiver: it hears of what is new, and by the new key.
    let key = Secret::new(NEW_KEY.to_vec());
    stage.named.send_replace(wanted(HOOK, Some(&key)));
    sleep(LONG).await;
    assert_eq!(stage.said(), []);
    stage.trouble(&["a", "b"]);
    sleep(LONG).await;
    let said = stage.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (said[0].begun.as_slice(), said[0].firing.len()),
        (&["b".to_owned()][..], 2)
    );
    assert!(said[0].signed && said[0].taken);
    // What ends is said to have ended, though the settings changed in between.
    stage.trouble(&["b"]);
    stage.named.send_replace(wanted(HOOK, None));
    sleep(LONG).await;
    let said = stage.said();
    assert_eq!((said.len(), said[0].ended), (1, 1), "{said:?}");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_sent_yet_survives_a_reload_and_goes_out_once() {
    let stage = Stage::new(wanted(HOOK, None));
    stage.receiver.refuses.store(true, Ordering::SeqCst);
    stage.trouble(&["a"]);
    sleep(LONG).await;
    let refused = stage.said();
    assert!(refused.len() > 5 && refused.iter().all(|said| !said.taken));
    // The key was the fault. It is not waited for: the pause had grown to five minutes.
    let key = Secret::new(NEW_KEY.to_vec());
    stage.receiver.refuses.store(false, Ordering::SeqCst);
    stage.named.send_replace(wanted(HOOK, Some(&key)));
    sleep(Duration::from_secs(1)).await;
    let said = stage.said();
    assert_eq!(said.len(), 1);
    assert!(said[0].taken && said[0].signed && said[0].begun == ["a"]);
    // The same words, the same id: had it taken them before, it would know.
    assert_eq!(said[0].id, refused.last().unwrap().id);
    sleep(LONG).await;
    assert_eq!(stage.said(), [], "once");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn another_receiver_is_told_of_all_that_holds() {
    let stage = Stage::new(wanted(HOOK, None));
    stage.trouble(&["a", "b"]);
    sleep(LONG).await;
    let first = stage.said();
    assert_eq!(first.last().unwrap().firing.len(), 2);
    stage.named.send_replace(wanted(OTHER, None));
    sleep(Duration::from_secs(1)).await;
    let said = stage.said();
    // At once: that it held long enough is known already.
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (said[0].to.as_str(), said[0].begun.len()),
        ("other.example.com", 2)
    );
    assert_ne!(said[0].id, first.last().unwrap().id);
    sleep(LONG).await;
    assert_eq!(stage.said(), []);
    stage.end().await;
}

/// The reload comes while the old receiver takes its time to answer.
#[tokio::test(start_paused = true)]
async fn a_reload_breaks_no_request_off() {
    let stage = Stage::new(wanted(HOOK, None));
    *stage.receiver.slow.lock().unwrap() = Duration::from_secs(8);
    stage.trouble(&["a"]);
    for _ in 0..LONG.as_secs() {
        if stage.receiver.asked.load(Ordering::SeqCst) == 1 {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    stage.named.send_replace(wanted(OTHER, None));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.said(), [], "it is under way");
    sleep(LONG).await;
    let said = stage.said();
    let each: Vec<(&str, usize)> = said
        .iter()
        .map(|s| (s.to.as_str(), s.begun.len()))
        .collect();
    assert_eq!(each, [("ops.example.com", 1), ("other.example.com", 1)]);
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn alerts_are_switched_on_and_off() {
    let stage = Stage::new(None);
    stage.trouble(&["a"]);
    sleep(LONG).await;
    assert_eq!(stage.said(), []);
    stage.named.send_replace(wanted(HOOK, None));
    sleep(LONG).await;
    assert_eq!(stage.said().len(), 1);
    stage.named.send_replace(None);
    stage.trouble(&["a", "b"]);
    sleep(LONG).await;
    assert_eq!(stage.said(), []);
    // As after a start: everything that holds, once, whatever was told before.
    stage.named.send_replace(wanted(HOOK, None));
    sleep(END_AFTER + LONG).await;
    let said = stage.said();
    assert_eq!((said.len(), said[0].begun.len()), (1, 2), "{said:?}");
    stage.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_came_while_nobody_looked_is_not_told_as_new() {
    let stage = Stage::new(wanted(HOOK, None));
    stage.trouble(&["a"]);
    sleep(LONG).await;
    let minutes = Duration::from_secs(600);
    let away = async |away: Option<()>| {
        stage.said();
        let later = wanted(HOOK, None);
        stage
            .named
            .send_replace(later.clone().filter(|_| away.is_none()));
        sleep(minutes).await;
        stage.dead.fetch_add(5, Ordering::SeqCst);
        stage.named.send_replace(later);
        sleep(minutes).await;
        let said = stage.said();
        said.iter().map(|said| said.begun.len()).sum::<usize>()
    };
    assert_eq!(away(None).await, 1, "dead letters, while somebody looks");
    // Owed too long, as before, and nothing of dead letters.
    assert_eq!(away(Some(())).await, 1);
    stage.end().await;
}
