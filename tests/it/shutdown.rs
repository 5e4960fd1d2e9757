//! SIGTERM: stop accepting, finish what is under way, sync, exit 0.

use std::io::{Read, Write};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::client::{read_response, request};
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site, app, eventually};

/// A callback whose sender waits for a word before it sends the body.
fn asking(body: &[u8]) -> Vec<u8> {
    let mut headers = sign::stripe(body);
    headers.push(("Expect".into(), "100-continue".into()));
    request("POST", "/stripe", &headers, body)
}

/// Half of it is on the wire, and the gateway is waiting for the rest: it has said so. A connection
/// of which it has read nothing yet would be idle, and closed at once.
fn begin(stream: &mut (impl Read + Write), bytes: &[u8]) {
    stream.write_all(&bytes[..bytes.len() - 5]).unwrap();
    assert_eq!(read_response(stream).unwrap().status, 100);
}

#[test]
fn what_is_under_way_is_finished_and_the_exit_code_is_0() {
    let app = App::replying(|_| {
        std::thread::sleep(Duration::from_millis(400));
        app::status(200)
    });
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let mut gateway = site.start();
    let client = gateway.client();
    let body = stripe_event("evt_term");
    let bytes = asking(&body);
    let mut half = client.connect();
    begin(&mut half, &bytes);
    gateway.signal(Signal::TERM);
    eventually("the port to close", || {
        client.try_connect(None, &[]).is_err().then_some(())
    });
    assert_eq!(gateway.ask("GET", "/readyz").status, 503);
    half.write_all(&bytes[bytes.len() - 5..]).unwrap();
    assert_eq!(read_response(&mut half).unwrap().status, 200);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(
        gateway.log().contains("everything acknowledged is on disk"),
        "{}",
        gateway.log()
    );
    // Delivered before the end, or owed after it; never neither, never twice.
    let again = site.start();
    app.wait_for(1);
    eventually("delivery", || {
        (again.events()[0]["state"] == "delivered").then_some(())
    });
    assert_eq!(app.count(), 1);
}

#[test]
fn a_stuck_application_does_not_hold_up_the_end() {
    let app = App::replying(|_| {
        std::thread::sleep(Duration::from_secs(60));
        app::status(200)
    });
    let site = Site::with_settings("[limits]\ndrain_timeout = \"500ms\"\n");
    site.stripe(&app.url("/"), "[relay]\ntimeout = \"50s\"\n");
    let gateway = site.start();
    let body = stripe_event("evt_stuck");
    assert_eq!(
        gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body)
            .status,
        200
    );
    app_is_busy(&gateway);
    assert_eq!(gateway.terminate().code(), Some(0));
    let again = site.start();
    let owed = "callseal_owed{source=\"stripe\",destination=\"main\"}";
    assert_eq!(again.metric(owed) as u64, 1);
    assert_eq!(again.events()[0]["state"], "owed");
}

fn app_is_busy(gateway: &crate::harness::Gateway) {
    eventually("an attempt under way", || {
        (gateway.get("/v1/sources")["sources"][0]["destinations"][0]["under_way"] == 1)
            .then_some(())
    });
}

/// What the listener and the relay still have to do must not take twice the time that was allowed;
/// and a request that is cut is told of.
#[test]
fn the_drain_time_is_for_both_ends_together() {
    let app = App::replying(|_| {
        std::thread::sleep(Duration::from_secs(60));
        app::status(200)
    });
    let end = || {
        let site = Site::with_settings("[limits]\ndrain_timeout = \"2s\"\n");
        site.stripe(&app.url("/"), "[relay]\ntimeout = \"50s\"\n");
        let mut gateway = site.start();
        let client = gateway.client();
        let body = stripe_event("evt_slow_end");
        let bytes = request("POST", "/stripe", &sign::stripe(&body), &body);
        assert_eq!(client.raw(&bytes).unwrap().status, 200);
        app_is_busy(&gateway);
        let bytes = asking(&body);
        let mut half = client.connect();
        begin(&mut half, &bytes);
        let began = std::time::Instant::now();
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.wait().code(), Some(0));
        let log = gateway.log();
        assert!(log.contains("connection_ended"), "{log}");
        began.elapsed()
    };
    // Twice the time is never less than four seconds; what is right may take as long where the
    // machine is busy, but not every time.
    let took: Vec<_> = (0..5)
        .map(|_| end())
        .take_while(|took| *took >= Duration::from_millis(3500))
        .collect();
    assert!(took.len() < 5, "{took:?}");
}
