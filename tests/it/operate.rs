//! The commands that ask a running gateway: the real binary on both sides.

use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Gateway, Site, app, eventually};

fn said(site: &Site, gateway: &Gateway, arguments: &[&str]) -> Output {
    // No token is named: the one that the gateway made is found by itself.
    let admin = gateway.admin.to_string();
    let mut command = site.command(arguments);
    command.args(["--admin", &admin]);
    command.output().unwrap()
}

fn text(site: &Site, gateway: &Gateway, arguments: &[&str]) -> String {
    let output = said(site, gateway, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(site: &Site, gateway: &Gateway, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let text = text(site, gateway, &arguments);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text}"))
}

fn post(gateway: &Gateway, body: &[u8]) {
    let answer = gateway.client().post("/stripe", &sign::stripe(body), body);
    assert_eq!(answer.status, 200);
}

fn all_are(gateway: &Gateway, state: &str) {
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
    let id = gateway.events()[0]["id"].as_str().unwrap().to_owned();
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
fn events_are_followed_until_one_leaves() {
    use std::io::{BufRead, BufReader};
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let admin = gateway.admin.to_string();
    let mut command = site.command(&["events", "follow", "--json", "--admin", &admin]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Until the stream is open nobody hears anything.
    let mut sent = 0;
    let (tell, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    let mut heard: Vec<Value> = Vec::new();
    eventually("an acceptance and an attempt", || {
        post(&gateway, &stripe_event(&format!("evt_{sent}")));
        sent += 1;
        heard.extend(
            told.try_iter()
                .map(|line| serde_json::from_str::<Value>(&line).unwrap()),
        );
        let kind = |kind: &str| heard.iter().any(|message| message["kind"] == kind);
        (kind("accepted") && kind("attempt")).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
}

#[test]
fn whoever_cannot_ask_hears_why() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    std::fs::write(site.path("wrong"), "not-the-token-0001").unwrap();
    let output = said(&site, &gateway, &["events", "--token", "file:wrong"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("[unauthorized]") && error.contains("--token"),
        "{error}"
    );
    // A token on a command line would be everybody's.
    let output = said(
        &site,
        &gateway,
        &["events", "--token", "not-the-token-0001"],
    );
    assert_eq!(output.status.code(), Some(2));
    let output = site
        .command(&["events", "--admin", "127.0.0.1:1"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("is the gateway running?"), "{error}");
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let app = App::start();
    let site = Site::new();
    // Nobody listens on port 9 of this machine.
    site.stripe("http://127.0.0.1:9/", "");
    site.source("good", "stripe", "github", &app.url("/"), "");
    for (name, mode) in [("stripe", 0o644), ("github", 0o600)] {
        let key = site.rules().join("keys").join(name);
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let gateway = site.start();
    let diagnose = || {
        let output = said(&site, &gateway, &["doctor", "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings: Vec<(String, String, String)> = answer["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| {
                let part = |name: &str| finding[name].as_str().unwrap().to_owned();
                (part("severity"), part("code"), part("subject"))
            })
            .collect();
        (output.status.code(), findings)
    };
    let (code, findings) = diagnose();
    assert_eq!(code, Some(1), "{findings:?}");
    let has = |findings: &[(String, String, String)], severity: &str, code: &str, subject: &str| {
        findings
            .iter()
            .any(|f| f.0 == severity && f.1 == code && f.2.contains(subject))
    };
    assert!(
        has(
            &findings,
            "blocker",
            "destination_unreachable",
            "127.0.0.1:9"
        ),
        "{findings:?}"
    );
    assert!(has(&findings, "fine", "destination", ""), "{findings:?}");
    assert!(
        has(&findings, "warning", "file_mode", "stripe keys[0]"),
        "{findings:?}"
    );
    assert!(has(&findings, "fine", "keys", "good"), "{findings:?}");
    assert!(has(&findings, "fine", "disk_space", ""), "{findings:?}");
    assert!(
        !has(&findings, "warning", "rules_differ", ""),
        "{findings:?}"
    );
    // What ends soon, and what the running gateway does not know yet because it is wrong.
    let soon = "provider = \"stripe\"\npath = \"/good\"\nforward = \"http://127.0.0.1:9/\"\nkeys = [{ from = \"file:keys/github\", not_after = 2020-01-01 }]\n";
    std::fs::write(site.rules().join("good.toml"), soon).unwrap();
    std::fs::write(site.rules().join("bad.toml"), "provider = \"no-such\"\n").unwrap();
    let (code, findings) = diagnose();
    assert_eq!(code, Some(1));
    assert!(has(&findings, "blocker", "rules", ""), "{findings:?}");
    std::fs::remove_file(site.rules().join("bad.toml")).unwrap();
    let (_, findings) = diagnose();
    assert!(
        has(&findings, "blocker", "no_usable_key", "good"),
        "{findings:?}"
    );
    let words = said(&site, &gateway, &["doctor"]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.starts_with("BLOCKER"), "{words}");
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
        assert!(text.contains(".TH"), "{page}");
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
