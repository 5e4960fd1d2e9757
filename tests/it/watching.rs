//! What the gateway says of itself to others: traces to a collector, alerts to a receiver, figures to
//! Prometheus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::harness::app::status;
use crate::harness::gateway::STRIPE_SECRET;
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site, eventually, now};

fn spans(collector: &App) -> Vec<Span> {
    let mut all = Vec::new();
    for request in collector.deliveries() {
        assert!(
            request.line.starts_with("POST /v1/traces "),
            "{}",
            request.line
        );
        assert_eq!(request.header("content-type"), "application/x-protobuf");
        assert_eq!(request.header("x-tenant"), "shop");
        let read = ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap();
        let resources = read.resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        all.extend(scopes.flat_map(|scope| scope.spans));
    }
    all
}

fn text(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|a| a.key == key);
    match found.and_then(|a| a.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key}: {other:?} in {span:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// One callback, one failed attempt, a restart, and the attempt that succeeds: one trace.
#[test]
fn a_trace_spans_acceptance_attempts_and_a_restart() {
    let collector = App::start();
    let works = Arc::new(AtomicBool::new(false));
    let up = works.clone();
    let app = App::replying(move |_| status(if up.load(Ordering::SeqCst) { 200 } else { 500 }));
    let endpoint = format!("http://{}", collector.address);
    let site = Site::with_settings(&format!(
        "[telemetry]\notlp = {{ endpoint = \"{endpoint}\", headers = {{ X-Tenant = \"file:tenant\" }} }}\n"
    ));
    std::fs::write(site.path("tenant"), "shop").unwrap();
    let retry = "[relay]\nretry = { first = \"1s\", jitter = \"none\" }\n";
    site.stripe(&app.url("/hook"), retry);
    let gateway = site.start();
    let body = stripe_event("evt_traced_canary");
    let provider = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = sign::stripe(&body);
    headers.push(("traceparent".into(), provider.into()));
    assert_eq!(
        gateway.client().post("/stripe", &headers, &body).status,
        200
    );
    eventually("an attempt that fails", || {
        (gateway.events()[0]["attempts"] == 1).then_some(())
    });
    // A forged callback has a trace of its own.
    let forged = sign::stripe_with("another secret altogether", now(), &body);
    assert_eq!(gateway.client().post("/stripe", &forged, &body).status, 401);
    // What is queued goes out before the end.
    assert_eq!(gateway.terminate().code(), Some(0));
    works.store(true, Ordering::SeqCst);
    let gateway = site.start();
    eventually("the delivery", || {
        (gateway.events()[0]["state"] == "delivered").then_some(())
    });
    let event = app.deliveries()[0].event().to_owned();
    let exported = |line: &str| gateway.metric(line);
    eventually("the span of the second attempt", || {
        (exported("callseal_trace_spans_total{result=\"exported\"}") >= 1.0).then_some(())
    });
    let all = spans(&collector);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let ours: Vec<&Span> = all.iter().filter(|s| hex(&s.trace_id) == trace).collect();
    let named = |name: &str| {
        ours.iter()
            .filter(|s| s.name == name)
            .copied()
            .collect::<Vec<_>>()
    };
    let whole = named("callback")[0];
    assert_eq!(hex(&whole.parent_span_id), "b7ad6b7169203331");
    assert_eq!(whole.kind, 2);
    assert_eq!(text(whole, "callseal.verdict"), "accepted");
    assert_eq!(text(whole, "callseal.event"), event);
    assert_eq!(text(whole, "http.response.status_code"), "200");
    for stage in ["guard", "verify", "accept", "answer"] {
        let span = named(stage)[0];
        assert_eq!(span.parent_span_id, whole.span_id, "{stage}");
        assert!(span.start_time_unix_nano >= whole.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= whole.end_time_unix_nano);
    }
    let attempts = named("attempt");
    let results: Vec<_> = attempts
        .iter()
        .map(|span| {
            assert_eq!(span.parent_span_id, whole.span_id);
            let number = text(span, "callseal.attempt");
            (
                number,
                text(span, "callseal.result"),
                text(span, "http.response.status_code"),
            )
        })
        .collect();
    // One that fails; on a busy machine another before the end of the first process.
    let last = attempts.len();
    let expected = (1..last).map(|n| (n, "retry", "500"));
    let expected: Vec<_> = expected
        .chain([(last, "delivered", "200")])
        .map(|(n, r, s)| (n.to_string(), r.to_owned(), s.to_owned()))
        .collect();
    assert!(last >= 2 && results == expected, "{results:?}");
    assert_eq!(text(attempts[0], "error.type"), "status_5xx");
    assert_eq!(attempts[0].status.as_ref().unwrap().code, 2);
    assert!(attempts[last - 1].status.is_none());
    // The application goes on below the attempt that it saw.
    for (seen, attempt) in app.deliveries().iter().zip(&attempts) {
        let told = format!("00-{trace}-{}-01", hex(&attempt.span_id));
        assert_eq!(seen.header("traceparent"), told);
    }
    let rejected: Vec<&Span> = all
        .iter()
        .filter(|s| s.name == "callback" && hex(&s.trace_id) != trace)
        .collect();
    assert_eq!(rejected.len(), 1);
    assert_eq!(text(rejected[0], "error.type"), "signature_mismatch");
    // Nothing of the payload, and no signature.
    let signature = headers[0].1.rsplit('=').next().unwrap().as_bytes().to_vec();
    for request in collector.deliveries() {
        for secret in [
            b"evt_traced_canary".as_slice(),
            &signature,
            STRIPE_SECRET.as_bytes(),
        ] {
            assert!(!request.body.windows(secret.len()).any(|w| w == secret));
        }
    }
}

/// A collector that nobody answers at costs no callback.
#[test]
fn a_collector_that_is_away_holds_nothing_up() {
    let app = App::start();
    let site = Site::with_settings("[telemetry]\notlp = { endpoint = \"http://127.0.0.1:9\" }\n");
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    for n in 0..20 {
        let body = stripe_event(&format!("evt_{n}"));
        let answer = gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body);
        assert_eq!(answer.status, 200);
    }
    app.wait_for(20);
    assert_eq!(gateway.terminate().code(), Some(0));
}

#[test]
fn where_traces_and_alerts_go_is_checked_before_the_start() {
    let text = "[telemetry]\notlp = { endpoint = \"http://127.0.0.1:9\", headers = { a = \"env:CALLSEAL_NOT_SET\" } }\n[alerts]\nurl = \"http://127.0.0.1:9\"\nsign_with = \"file:short\"\n";
    let site = Site::with_settings(text);
    std::fs::write(site.path("short"), "short").unwrap();
    for command in ["serve", "check"] {
        let (code, _, said) = crate::harness::gateway::output(site.command(&[command]));
        assert_ne!(code, 0);
        assert!(
            said.contains("CALLSEAL_NOT_SET") && said.contains("guessed"),
            "{said}"
        );
    }
}

/// The certificate of these tests lasts three months: with a threshold of ten years it ends soon.
#[test]
fn an_alert_is_pushed_and_signed() {
    let receiver = App::start();
    let secret = "whsec_Y2FsbHNlYWwtYWxlcnRzLXNpZ25pbmcta2V5LTAwMDE=";
    let site = Site::with_settings(&format!(
        "[alerts]\nurl = \"{}\"\nsign_with = \"file:alerts-key\"\ncertificate = \"3650d\"\ndisk_free = \"0\"\n",
        receiver.url("/ops?team=pay")
    ));
    std::fs::write(site.path("alerts-key"), secret).unwrap();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    let request = receiver.wait_for(1).remove(0);
    assert_eq!(request.line, "POST /ops?team=pay HTTP/1.1");
    let (id, at) = (
        request.header("webhook-id"),
        request.header("webhook-timestamp"),
    );
    let expected = sign::standard(secret, id, at.parse().unwrap(), &request.body);
    assert_eq!(request.header("webhook-signature"), expected[2].1);
    let said: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(said["type"], "callseal.alerts");
    let begun = &said["data"]["begun"][0];
    assert_eq!(begun["alert"], "certificate_expiring");
    assert_eq!(begun["subject"], "public");
    assert_eq!(
        begun["runbook"],
        "docs/operations.md#callsealcertificateexpiring"
    );
    assert_eq!(said["data"]["firing"].as_array().unwrap().len(), 1);
    eventually("the count", || {
        (gateway.metric("callseal_alerts_total{result=\"sent\"}") == 1.0).then_some(())
    });
    assert_eq!(receiver.count(), 1);
}

/// The figures of a small day: by destination, by key, with a trace.
#[test]
fn figures_say_what_happened() {
    let works = App::start();
    let fails = App::replying(|_| status(410));
    let began = now();
    let site = Site::new();
    let second = format!(
        "[[relay.to]]\nname = \"ledger\"\nforward = \"{}\"\n",
        fails.url("/")
    );
    site.stripe(&works.url("/"), &second);
    let gateway = site.start();
    for n in 0..16 {
        let body = stripe_event(&format!("evt_{n}"));
        let mut headers = sign::stripe(&body);
        headers.push((
            "traceparent".into(),
            format!("00-0af7651916cd43dd8448eb211c8031{n:x}0-b7ad6b7169203331-01"),
        ));
        assert_eq!(
            gateway.client().post("/stripe", &headers, &body).status,
            200
        );
    }
    let metric = |line: &str| gateway.metric(line);
    eventually("every delivery to end", || {
        let dead = metric("callseal_dead{source=\"stripe\",destination=\"ledger\"}");
        let owed = metric("callseal_owed{source=\"stripe\",destination=\"main\"}");
        (dead == 16.0 && owed == 0.0).then_some(())
    });
    let expected = BTreeMap::from([
        (
            "callseal_attempts_total{source=\"stripe\",destination=\"main\",verdict=\"delivered\"}",
            16.0,
        ),
        (
            "callseal_attempts_total{source=\"stripe\",destination=\"ledger\",verdict=\"dead\"}",
            16.0,
        ),
        (
            "callseal_attempt_failures_total{source=\"stripe\",destination=\"ledger\",reason=\"gone\"}",
            16.0,
        ),
        (
            "callseal_delivery_seconds_count{source=\"stripe\",destination=\"main\"}",
            16.0,
        ),
        (
            "callseal_key_uses_total{source=\"stripe\",key=\"keys[0]\"}",
            16.0,
        ),
        (
            "callseal_oldest_owed_age_seconds{source=\"stripe\",destination=\"main\"}",
            0.0,
        ),
        ("callseal_stray", 0.0),
        ("callseal_accepting", 1.0),
        ("callseal_build_info{version=\"0.1.0\"}", 1.0),
    ]);
    for (line, value) in expected {
        assert_eq!(metric(line), value, "{line}");
    }
    let last = metric("callseal_last_accepted_timestamp_seconds{source=\"stripe\"}");
    assert!((began..=now()).contains(&(last as u64)), "{last}");
    assert!(metric("callseal_disk_free_bytes") > 1e6);
    let ends = metric("callseal_certificate_expiry_timestamp_seconds{port=\"public\"}");
    assert!(ends > now() as f64);
    let page = String::from_utf8(gateway.ask("GET", "/metrics").body).unwrap();
    assert!(
        page.contains("# {trace_id=\"0af7651916cd43dd8448eb211c8031"),
        "{page}"
    );
    // A restart remembers when something last came.
    assert_eq!(gateway.terminate().code(), Some(0));
    let gateway = site.start();
    eventually("what was known before", || {
        let line = "callseal_last_accepted_timestamp_seconds{source=\"stripe\"}";
        ((gateway.metric(line) - last).abs() < 30.0).then_some(())
    });
    // A source that is gone takes its series along.
    std::fs::remove_file(site.rules().join("stripe.toml")).unwrap();
    site.source("other", "stripe", "stripe", &works.url("/"), "");
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the series to go", || {
        let page = String::from_utf8(gateway.ask("GET", "/metrics").body).unwrap();
        (page.contains("callseal_owed{source=\"other\"") && !page.contains("source=\"stripe\""))
            .then_some(())
    });
    let page = gateway.ask("GET", "/metrics").body;
    assert!(page.ends_with(b"# EOF\n"));
    // What a stranger sends makes none.
    for n in 0..20 {
        let path = format!("/stranger-{n}");
        gateway.client().post(&path, &[], b"x");
    }
    let page = String::from_utf8(gateway.ask("GET", "/metrics").body).unwrap();
    assert!(!page.contains("stranger"), "{page}");
    // A reload that fails is seen until one goes well.
    let reload = "callseal_last_reload_successful";
    assert_eq!(gateway.metric(reload), 1.0);
    let file = site.rules().join("other.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "provider = ").unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the failed reload", || {
        (gateway.metric(reload) == 0.0).then_some(())
    });
    std::fs::write(&file, good).unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the good one", || {
        (gateway.metric(reload) == 1.0).then_some(())
    });
}
