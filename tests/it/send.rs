//! `callseal send`, `sign` and `explain` against a running gateway, as a person would use them.

use std::io::Write;
use std::process::Stdio;

use crate::harness::gateway::output;
use crate::harness::{App, Site};

#[test]
fn test_callbacks_get_the_answers_that_they_should() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/hooks"), "");
    let gateway = site.start();
    let to = format!("https://localhost:{}", gateway.public.port());
    let send = |more: &[&str]| {
        let arguments = [&["send", "stripe", "--to", &to][..], more].concat();
        output(site.command(&arguments))
    };
    for action in ["payment", "refund", "duplicate", "forged", "stale"] {
        let (code, said, error) = send(&["--action", action]);
        assert_eq!(code, 0, "{action}: {said} {error}");
    }
    assert_eq!(send(&["--repeat", "2", "--insecure"]).0, 0);
    // Two payments and a refund by name, one of the two doubles, and two more.
    let events = app.wait_for(5);
    assert!(String::from_utf8_lossy(&events[0].body).contains("evt_"));
    let mut reasons = gateway.reasons();
    reasons.sort();
    assert_eq!(reasons, ["signature_mismatch", "stale"]);
    // Another path is no source, which is not the answer that a payment should get.
    let wrong = format!("{to}/nobody");
    let (code, _, error) = output(site.command(&["send", "stripe", "--to", &wrong]));
    assert_eq!(code, 1);
    assert!(error.contains("expected: 200"), "{error}");
    // Unchecked only at home.
    let far = [
        "send",
        "stripe",
        "--insecure",
        "--to",
        "https://pay.example.com/",
    ];
    assert_eq!(output(site.command(&far)).0, 1);
}

#[test]
fn what_is_signed_can_be_explained() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/hooks", "");
    let (code, request, _) = output(site.command(&["sign", "stripe", "--set", "/id=evt_mine"]));
    assert_eq!(code, 0);
    assert!(
        request.starts_with("POST /stripe HTTP/1.1\r\n"),
        "{request}"
    );
    let explain = |request: &str, more: &[&str]| {
        let arguments = [&["explain", "stripe", "-"][..], more].concat();
        let mut command = site.command(&arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(request.as_bytes())
            .unwrap();
        let done = child.wait_with_output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        (done.status.code().unwrap(), text)
    };
    let (code, text) = explain(&request, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("ACCEPTED") && text.contains("evt_mine"),
        "{text}"
    );
    let (code, text) = explain(&format!("{request}\n"), &["--json"]);
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["reason"], "signature_mismatch");
    assert_eq!(report["causes"][0]["code"], "line_end");
    for said in [text, request] {
        assert!(!said.contains(crate::harness::gateway::STRIPE_SECRET));
    }
}

#[test]
fn what_cannot_be_signed_is_said_so() {
    let site = Site::new();
    let (code, _, error) = output(site.command(&["sign", "--provider", "paypal"]));
    assert_eq!(code, 1);
    assert!(error.contains("certificate_address"), "{error}");
    let (code, _, error) = output(site.command(&["sign", "stripe"]));
    assert_eq!(code, 1);
    assert!(error.contains("--provider stripe"), "{error}");
}
