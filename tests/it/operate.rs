//! The commands that ask a running gateway: the real binary on both sides.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Gateway, Site, app, eventually};

pub fn said(site: &Site, gateway: &Gateway, arguments: &[&str]) -> Output {
    // No token is named: the one that the gateway made is found by itself.
    let admin = gateway.admin.to_string();
    let mut command = site.command(arguments);
    command.args(["--admin", &admin]);
    command.output().unwrap()
}

pub fn text(site: &Site, gateway: &Gateway, arguments: &[&str]) -> String {
    let output = said(site, gateway, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn json(site: &Site, gateway: &Gateway, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let text = text(site, gateway, &arguments);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text}"))
}

pub fn post(gateway: &Gateway, body: &[u8]) {
    let answer = gateway.client().post("/stripe", &sign::stripe(body), body);
    assert_eq!(answer.status, 200);
}

pub fn all_are(gateway: &Gateway, state: &str) {
    eventually(state, || {
        gateway
            .events()
            .iter()
            .all(|e| e["state"] == state)
            .then_some(())
    });
}

#[test]
fn events_are_listed_shown_and_written_out() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let body = br#"{"id":"evt_cli","object":"event","type":"charge.succeeded","data":{"object":{"id":"ch_1","amount":1250,"currency":"usd","metadata":{"order_id":"A-77"}}}}"#;
    post(&gateway, body);
    for n in 0..4 {
        post(&gateway, &stripe_event(&format!("evt_{n}")));
    }
    all_are(&gateway, "delivered");
    let listed = text(
        &site,
        &gateway,
        &["events", "--source", "stripe", "--type", "charge.succeeded"],
    );
    let line = listed.lines().nth(1).unwrap();
    assert!(
        line.contains("delivered") && line.contains("charge.succeeded"),
        "{listed}"
    );
    assert!(line.contains("A-77") && line.contains("12.50"), "{listed}");
    let found = json(&site, &gateway, &["events", "list", "--order", "A-77"]);
    let id = found["events"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(found["events"].as_array().unwrap().len(), 1, "{found}");
    // Pages are followed, and a limit is one of all pages together.
    let lines = text(&site, &gateway, &["events", "--all", "--json"]);
    assert_eq!(lines.lines().count(), 5);
    let nothing = said(&site, &gateway, &["events", "-n", "0"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert_eq!(
        json(&site, &gateway, &["events", "-n", "3"])["events"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let shown = text(&site, &gateway, &["events", "show", &id, "--verify"]);
    for part in [
        "hmac-sha256 keys[0]",
        "ch_1",
        "200 taken",
        "Verification",
        "POST /stripe",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains('\x1b'), "colours only on a terminal");
    // Byte for byte, for its owner only.
    let file = site.path("body.json");
    text(
        &site,
        &gateway,
        &["events", "show", &id, "--body", file.to_str().unwrap()],
    );
    assert_eq!(std::fs::read(&file).unwrap(), body);
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // The request as it came is what `explain` takes.
    let request = site.path("request");
    text(
        &site,
        &gateway,
        &[
            "events",
            "show",
            &id,
            "--request",
            request.to_str().unwrap(),
        ],
    );
    let explained = site
        .command(&["explain", "stripe", request.to_str().unwrap()])
        .output()
        .unwrap();
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("ACCEPTED"), "{explained}");
    let audit = text(&site, &gateway, &["audit"]);
    assert!(
        audit.contains("read_body") && audit.contains(&id),
        "{audit}"
    );
}

#[test]
fn what_a_stranger_wrote_cannot_steer_the_terminal() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let body = "{\"id\":\"evt_\\u001b[2J\",\"type\":\"a\\u001b]0;x\\u0007b\\u202ec\"}";
    post(&gateway, body.as_bytes());
    all_are(&gateway, "delivered");
    let client = gateway.client();
    client.post("/nothing/\u{202e}x", &[], b"");
    let id = gateway.events()[0]["id"].as_str().unwrap().to_owned();
    for arguments in [
        &["events"][..],
        &["events", "show", &id, "--unmask"],
        &["refusals"],
        &["refusals", "--groups"],
    ] {
        let text = text(&site, &gateway, arguments);
        let bad = text
            .chars()
            .find(|c| *c != '\n' && (c.is_control() || *c == '\u{202e}'));
        assert_eq!(bad, None, "{arguments:?}: {text:?}");
    }
}

#[test]
fn many_are_redriven_by_plan_and_discarded_with_a_reason() {
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let now = broken.clone();
    let app = App::replying(move |_| {
        app::status(if now.load(std::sync::atomic::Ordering::SeqCst) {
            410
        } else {
            200
        })
    });
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    for n in 0..12 {
        post(&gateway, &stripe_event(&format!("evt_{n}")));
    }
    all_are(&gateway, "dead");
    // Without a filter, without a state, without a terminal to ask on: nothing is done.
    for (arguments, code) in [
        (&["redrive"][..], 2),
        (&["redrive", "--source", "stripe"], 2),
        (&["redrive", "--state", "dead", "evt_x"], 2),
        (&["discard", "--state", "dead"], 2),
        (&["redrive", "--state", "dead"], 1),
    ] {
        let output = said(&site, &gateway, arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
    }
    assert_eq!(
        json(&site, &gateway, &["redrive", "--state", "dead", "--plan"])["count"],
        12
    );
    // What is hit is told whole: every filter, the gateway, and how it falls apart.
    let narrow = ["redrive", "--state", "dead", "--error", "gone"];
    let plan = text(&site, &gateway, &[&narrow[..], &["--plan"]].concat());
    let place = format!("12 deliveries at http://{}", gateway.admin);
    for part in [&place, "(state dead, error gone)", "12  stripe  gone"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    let asked = said(&site, &gateway, &narrow);
    let asked = String::from_utf8(asked.stderr).unwrap();
    assert!(asked.contains("(state dead, error gone)"), "{asked}");
    let none = ["redrive", "--state", "dead", "--error", "status_5xx"];
    assert_eq!(json(&site, &gateway, &none)["count"], 0);
    let id = gateway.events()[0]["id"].as_str().unwrap().to_owned();
    // A plan is a plan: an id with one is not acted on, nor is one beside a filter.
    for more in [&["--plan"][..], &["--error", "timeout"], &["--rate", "1"]] {
        for word in [&["redrive"][..], &["discard", "--reason", "x"]] {
            let output = said(&site, &gateway, &[word, &[&id], more].concat());
            assert_eq!(
                output.status.code(),
                Some(2),
                "{word:?} {more:?}: {output:?}"
            );
        }
    }
    all_are(&gateway, "dead");
    let answer = text(&site, &gateway, &["discard", &id, "--reason", "test order"]);
    assert!(answer.contains("is discarded"), "{answer}");
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    let done = text(
        &site,
        &gateway,
        &["redrive", "--state", "dead", "--rate", "1000", "--yes"],
    );
    assert!(done.contains("11 of 11 redriven"), "{done}");
    eventually("all delivered", || {
        let events = gateway.events();
        let delivered = events.iter().filter(|e| e["state"] == "delivered").count();
        (delivered == 11).then_some(())
    });
    let audit = text(&site, &gateway, &["audit"]);
    for part in ["redrive_many", "discard", "test order", "state=dead"] {
        assert!(audit.contains(part), "{part}: {audit}");
    }
    let jobs = text(&site, &gateway, &["jobs"]);
    assert!(jobs.contains("done"), "{jobs}");
    let stopped = said(&site, &gateway, &["jobs", "1", "--stop"]);
    let stopped = String::from_utf8(stopped.stderr).unwrap();
    assert!(stopped.contains("job 1 has ended (done)"), "{stopped}");
    let output = said(
        &site,
        &gateway,
        &["redrive", "evt_00000000000000000000000000"],
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn sources_are_paused_shown_and_resumed() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let paused = text(
        &site,
        &gateway,
        &["pause", "stripe", "--reason", "maintenance"],
    );
    assert!(paused.contains("stripe is paused"), "{paused}");
    post(&gateway, &stripe_event("evt_1"));
    let sources = text(&site, &gateway, &["sources"]);
    assert!(sources.contains("paused"), "{sources}");
    let one = json(&site, &gateway, &["sources", "stripe"]);
    assert_eq!(one["destinations"][0]["owed"], 1, "{one}");
    let by = &one["destinations"][0]["pauses"];
    assert_eq!(by[0]["by"], "operator[0]", "{by}");
    assert_eq!(by[0]["reason"], "maintenance", "{by}");
    assert!(by[0]["destination"].is_null() && by[0]["since"].is_string());
    assert_eq!(by.as_array().unwrap().len(), 1, "{by}");
    let told = text(&site, &gateway, &["sources", "stripe"]);
    let who = "the whole source was paused by operator[0] at ";
    assert!(
        told.contains(who) && told.contains("ago): maintenance"),
        "{told}"
    );
    let top = text(&site, &gateway, &["top"]);
    assert!(top.contains("owed 1") && top.contains("paused"), "{top}");
    text(&site, &gateway, &["resume", "stripe"]);
    app.wait_for(1);
    all_are(&gateway, "delivered");
    let one = text(&site, &gateway, &["sources", "stripe"]);
    assert!(one.contains("keys[0]") && one.contains("main"), "{one}");
    let output = said(&site, &gateway, &["pause", "no-such"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn refusals_are_told_with_cause_and_command() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let body = stripe_event("evt_1");
    let mut forged = sign::stripe(&body);
    forged[0].1 = forged[0].1.replace("v1=", "v1=00");
    assert_eq!(gateway.client().post("/stripe", &forged, &body).status, 401);
    let refusals = text(&site, &gateway, &["refusals", "--source", "stripe"]);
    assert!(refusals.contains("rejected"), "{refusals}");
    let groups = text(&site, &gateway, &["refusals", "--groups"]);
    assert!(groups.contains("callseal explain stripe"), "{groups}");
}

#[test]
fn completions_and_manual_pages_are_made() {
    let site = Site::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = site.command(&["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains("redrive"),
            "{shell}"
        );
    }
    let pages = site.path("man");
    let output = site
        .command(&["man", pages.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success());
    for page in ["callseal.1", "callseal-serve.1", "callseal-events-show.1"] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        let name = page.trim_end_matches(".1").to_uppercase();
        assert!(text.contains(&format!(".TH {name} 1")), "{page}");
    }
    // bash takes what was made for it.
    let script = site
        .command(&["completions", "bash"])
        .output()
        .unwrap()
        .stdout;
    let file = site.path("completions.bash");
    std::fs::write(&file, script).unwrap();
    let parsed = std::process::Command::new("bash")
        .arg("-n")
        .arg(&file)
        .status();
    assert!(parsed.is_ok_and(|status| status.success()));
}
