//! kill -9 under load, then a restart: nothing acknowledged is lost, nothing is accepted twice.
//!
//! `tests/kill.sh` runs the same for longer, optimised, and with a bound on the time to be ready.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::sign::{self};
use crate::harness::{App, Client, Site, app, eventually};

/// A body that is known again by its id, of some size, with every byte value in it.
fn body(id: &str, size: usize) -> Vec<u8> {
    let mut body = format!("{{\"id\":\"{id}\",\"type\":\"t\",\"fill\":\"").into_bytes();
    body.extend((0..size).map(|n| b'a' + (n % 26) as u8));
    body.extend_from_slice(b"\"}");
    body
}

/// Sends until the connection breaks or `stop`; what was acknowledged goes into `acknowledged`.
fn load(
    client: Client,
    name: String,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<HashMap<String, Vec<u8>>>>,
) {
    let mut n = 0;
    'connections: while !stop.load(Ordering::SeqCst) {
        let Ok(mut stream) = client.try_connect(None, &[]) else {
            return;
        };
        loop {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let id = format!("{name}_{n}");
            n += 1;
            let body = body(&id, sizes()[n % 4]);
            let request =
                crate::harness::client::request("POST", "/stripe", &sign::stripe(&body), &body);
            match crate::harness::client::exchange(&mut stream, &request) {
                Ok(answer) if answer.status != 200 => {
                    eprintln!("STATUS {} {answer:?}", answer.status)
                }
                Ok(_) => {
                    acknowledged.lock().unwrap().insert(id, body);
                }
                Err(_) => continue 'connections,
            }
        }
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |n| n.parse().unwrap())
}

/// The application here remembers every body: a long run has smaller ones.
fn sizes() -> [usize; 4] {
    match number("CALLSEAL_ROUNDS", 0) > 50 {
        true => [10, 200, 500, 4_000],
        false => [10, 500, 5_000, 60_000],
    }
}

/// Killed while it opens the store, mends its end, or binds its ports.
fn kill_while_starting(site: &Site, delay: Duration) {
    let mut child = site
        .command(&["serve"])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn kill_minus_9_under_load_loses_nothing_that_was_acknowledged() {
    // The application stumbles, so that deliveries are owed and under way when the kill comes.
    let app = App::replying(|d| app::status(if d.body.len() % 3 == 0 { 503 } else { 200 }));
    let site = Site::new();
    // A third of all events fail for good, and the others must not wait for them: where such lie
    // together the breaker may open, and closes as soon as it has tried one of the others.
    // `adaptive` stays off: it takes every third 503 for want of room, and gives one place or two.
    let retry = "[relay]\nadaptive = false\nbreaker = { first = \"100ms\", max = \"1s\" }\nretry = { first = \"50ms\", factor = 2.0, max = \"1s\", give_up_after = \"1h\", jitter = \"full\" }\n";
    site.stripe(&app.url("/"), retry);
    let acknowledged = Arc::new(Mutex::new(HashMap::new()));
    let rounds = number("CALLSEAL_ROUNDS", 20);
    let events = number("CALLSEAL_ROUND_EVENTS", 60);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        if round % 3 == 2 {
            kill_while_starting(&site, Duration::from_millis((round * 7 % 60) as u64));
        }
        let began = std::time::Instant::now();
        let gateway = site.start();
        if round != rounds / 2 + 1 {
            slowest = slowest.max(began.elapsed());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                let (client, stop, acknowledged) =
                    (gateway.client(), stop.clone(), acknowledged.clone());
                let name = format!("evt_{round}_{sender}");
                std::thread::spawn(move || load(client, name, stop, acknowledged))
            })
            .collect();
        let before = acknowledged.lock().unwrap().len();
        eventually("some load", || {
            (acknowledged.lock().unwrap().len() > before + events).then_some(())
        });
        gateway.kill();
        stop.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.join().unwrap();
        }
        if round == rounds / 2 {
            // The index is only an index: without it the journal is read again from its beginning.
            std::fs::remove_dir_all(site.data().join("index")).unwrap();
        }
    }
    let gateway = site.start();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > rounds * events);
    eprintln!(
        "{} events acknowledged in {rounds} rounds; ready again after at most {slowest:.2?}",
        acknowledged.len()
    );
    let events = gateway.events();
    let mut stored: HashMap<&str, usize> = HashMap::new();
    for event in &events {
        *stored.entry(event["key"].as_str().unwrap()).or_default() += 1;
    }
    let lost: Vec<&String> = acknowledged
        .keys()
        .filter(|id| !stored.contains_key(id.as_str()))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} were acknowledged and are gone: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    for id in acknowledged.keys() {
        assert_eq!(stored.get(id.as_str()), Some(&1), "{id}");
    }
    assert!(
        stored.values().all(|count| *count == 1),
        "an event was accepted twice"
    );
    // Byte for byte, from the disk; so many that the admin port's own rate does not stand in the way.
    for event in events.iter().step_by(7.max(events.len() / 200)) {
        let Some(body) = acknowledged.get(event["key"].as_str().unwrap()) else {
            continue;
        };
        let raw = gateway.ask(
            "GET",
            &format!("/v1/events/{}/body", event["id"].as_str().unwrap()),
        );
        assert_eq!(&raw.body, body);
    }
    // The provider sends again what it was told is received: all duplicates.
    let client = gateway.client();
    let mut stream = client.connect();
    for body in acknowledged.values().step_by(11) {
        let request = crate::harness::client::request("POST", "/stripe", &sign::stripe(body), body);
        assert_eq!(
            crate::harness::client::exchange(&mut stream, &request)
                .unwrap()
                .status,
            200
        );
    }
    assert_eq!(gateway.events().len(), events.len());
    // And every event reached the application, unchanged, under one id.
    let owed = |state: &str| {
        gateway.get(&format!("/v1/events?state={state}&limit=1"))["events"]
            .as_array()
            .unwrap()
            .len()
    };
    let refused: HashSet<&String> = acknowledged
        .iter()
        .filter(|(_, b)| b.len() % 3 == 0)
        .map(|(id, _)| id)
        .collect();
    eventually("all that the application takes", || {
        let taken: HashSet<Vec<u8>> = app.deliveries().into_iter().map(|d| d.body).collect();
        acknowledged
            .values()
            .all(|body| taken.contains(body))
            .then_some(())
    });
    assert_eq!(owed("owed") > 0, !refused.is_empty());
    let mut ids: HashMap<Vec<u8>, HashSet<String>> = HashMap::new();
    for delivery in app.deliveries() {
        ids.entry(delivery.body.clone())
            .or_default()
            .insert(delivery.event().to_owned());
    }
    assert!(
        ids.values().all(|ids| ids.len() == 1),
        "an event changed its id"
    );
    let bound = number("CALLSEAL_READY_MS", usize::MAX);
    assert!(slowest.as_millis() < bound as u128, "{slowest:?}");
}

#[test]
fn killed_while_starting_it_starts_again() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let first = body("evt_before", 100);
    assert_eq!(
        gateway
            .client()
            .post("/stripe", &sign::stripe(&first), &first)
            .status,
        200
    );
    gateway.kill();
    for delay in [0, 2, 5, 10, 20, 40] {
        kill_while_starting(&site, Duration::from_millis(delay));
    }
    let gateway = site.start();
    assert_eq!(gateway.events().len(), 1);
    assert_eq!(
        gateway
            .client()
            .post("/stripe", &sign::stripe(&first), &first)
            .status,
        200
    );
    assert_eq!(gateway.events().len(), 1);
}
