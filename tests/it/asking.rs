//! Who asks a gateway from the command line, how long, and how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::harness::gateway::output;
use crate::harness::sign::stripe_event;
use crate::harness::{App, Gateway, Site, eventually};
use crate::operate::{post, said};

#[test]
fn whoever_cannot_ask_hears_why() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    let ask = |arguments: &[&str], code: i32, parts: &[&str]| {
        let output = said(&site, &gateway, arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(output.stdout.is_empty(), "errors go to standard error");
    };
    std::fs::write(site.path("wrong"), "not-the-token-0001").unwrap();
    let wrong = ["events", "--json", "--token", "file:wrong"];
    ask(&wrong, 77, &["[unauthorized]", "--token"]);
    std::fs::write(site.path("two"), "line-one-00000001\nline-two\n").unwrap();
    ask(&["events", "--token", "file:two"], 78, &["one line"]);
    // A token on a command line would be everybody's.
    ask(
        &["events", "--token", "not-the-token-0001"],
        2,
        &["env:NAME"],
    );
    let elsewhere = |arguments: &[&str]| output(site.command(arguments));
    let (code, _, error) = elsewhere(&["events", "--admin", "127.0.0.1:1"]);
    assert_eq!(code, 69, "{error}");
    assert!(error.contains("is the gateway running?"), "{error}");
    let public = format!("127.0.0.1:{}", gateway.public.port());
    let (code, _, error) = elsewhere(&["events", "--admin", &public]);
    assert_eq!(code, 69, "{error}");
    assert!(error.contains("https://"), "{error}");
    let (code, _, error) = elsewhere(&["events", "--admin", "unix:no-such.sock"]);
    assert_eq!(code, 69, "{error}");
    assert!(error.contains("no such socket"), "{error}");
    // From another folder, where nothing was ever started.
    let other = Site::new();
    let (code, _, error) = output(other.command(&["events"]));
    assert_eq!(code, 78);
    assert!(error.contains("admin-token is not there"), "{error}");
    // The same file is found through the settings, wherever one stands.
    let settings = site.path("callseal.toml");
    let settings = ["sources", "--config", settings.to_str().unwrap()];
    let admin = gateway.admin.to_string();
    let mut command = other.command(&settings);
    command.args(["--admin", &admin]);
    let (code, _, error) = output(command);
    assert_eq!(code, 0, "{error}");
}

#[test]
fn a_viewer_s_token_may_look_and_no_more() {
    let site = Site::new();
    let settings = std::fs::read_to_string(site.path("callseal.toml")).unwrap();
    let tokens = "[admin]\noperator = [\"file:o\"]\nviewer = [\"file:v\"]\n";
    let settings = settings.replacen("[admin]\n", tokens, 1);
    std::fs::write(site.path("callseal.toml"), settings).unwrap();
    site.stripe("http://127.0.0.1:9/", "");
    std::fs::write(site.path("o"), "the-operator-0001").unwrap();
    std::fs::write(site.path("v"), "the-viewer-000001").unwrap();
    let gateway = site.start();
    let look = said(&site, &gateway, &["sources", "--token", "file:v"]);
    assert!(look.status.success());
    let act = said(&site, &gateway, &["pause", "stripe", "--token", "file:v"]);
    let error = String::from_utf8_lossy(&act.stderr).into_owned();
    assert_eq!(act.status.code(), Some(77), "{error}");
    assert!(error.contains("that of an operator"), "{error}");
}

#[test]
fn a_token_goes_to_no_other_machine_without_tls() {
    let site = Site::new();
    std::fs::write(site.path("token"), "a-token-of-mine-0001").unwrap();
    for admin in ["192.0.2.1:8444", "http://admin.example.com:8444"] {
        for command in [&["sources"][..], &["events", "follow"], &["top"]] {
            let (code, _, error) = output(
                site.command(&[command, &["--admin", admin, "--token", "file:token"]].concat()),
            );
            assert_eq!(code, 78, "{error}");
            assert!(
                error.contains("it is not sent") && error.contains("--plain-text"),
                "{error}"
            );
        }
    }
    // Nor does the doctor ask there.
    let (_, out, _) = output(site.command(&["doctor", "--admin", "192.0.2.1:8444"]));
    assert!(out.contains("it is not sent"), "{out}");
}

#[test]
fn a_collector_of_the_environment_stops_no_start() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let mut command = site.command(&["serve"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:canary@:x");
    let gateway = site.start_with(command);
    gateway.says("OTEL_EXPORTER_OTLP_ENDPOINT");
    gateway.keeps_secret(&["canary"]);
    // What the settings themselves say has to be right.
    std::fs::write(
        site.path("callseal.toml"),
        "[telemetry]\notlp = { endpoint = \"collector:4317\" }\n",
    )
    .unwrap();
    assert_eq!(output(site.command(&["check"])).0, 78);
}

/// A command that follows, and what it prints on standard output.
fn following(site: &Site, gateway: &Gateway) -> (Child, std::sync::mpsc::Receiver<Value>) {
    let admin = gateway.admin.to_string();
    let mut command = site.command(&["events", "follow", "--json", "--admin", &admin]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            // Whoever does not listen any more closes the pipe.
            if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    (child, told)
}

/// Sends events until all these kinds were heard: before a stream is open nobody hears anything.
fn heard(gateway: &Gateway, told: &std::sync::mpsc::Receiver<Value>, kinds: &[&str]) {
    let mut heard: Vec<Value> = Vec::new();
    eventually(&kinds.join(", "), || {
        let number = std::time::SystemTime::now();
        let number = number.duration_since(std::time::UNIX_EPOCH).unwrap();
        post(
            gateway,
            &stripe_event(&format!("evt_{}", number.as_nanos())),
        );
        heard.extend(told.try_iter());
        let kind = |kind: &&str| heard.iter().any(|message| message["kind"] == **kind);
        kinds.iter().all(kind).then_some(())
    });
}

#[test]
fn events_are_followed_until_one_leaves() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let (mut child, told) = following(&site, &gateway);
    heard(&gateway, &told, &["accepted", "attempt"]);
    // Nobody reads any more, as behind `| head`: it ends by itself.
    drop(told);
    let status = eventually("the end of what nobody reads", || {
        let number = std::time::SystemTime::now();
        let number = number.duration_since(std::time::UNIX_EPOCH).unwrap();
        post(
            &gateway,
            &stripe_event(&format!("evt_{}", number.as_nanos())),
        );
        child.try_wait().unwrap()
    });
    assert!(status.success());
}

#[test]
fn a_gateway_that_starts_anew_is_followed_again_and_the_gap_is_told() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let file = site.path("callseal.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    let admin = |place: &str| {
        let place = format!("[admin]\naddress = \"{place}\"");
        let settings = settings.replacen("[admin]\naddress = \"127.0.0.1:0\"", &place, 1);
        std::fs::write(&file, settings).unwrap();
    };
    // At the same place after its restart, which no other test is given meanwhile.
    admin("127.0.42.2:0");
    let gateway = site.start();
    admin(&gateway.admin.to_string());
    let (mut child, told) = following(&site, &gateway);
    heard(&gateway, &told, &["accepted"]);
    assert!(gateway.terminate().success());
    let gateway = site.start();
    heard(&gateway, &told, &["gap", "accepted"]);
    child.kill().unwrap();
    child.wait().unwrap();
}
