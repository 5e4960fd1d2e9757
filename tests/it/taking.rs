//! What a reload takes over from the settings file: where alerts and traces go. And what it names,
//! since it cannot.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::{Value, json};

use crate::harness::app::Delivery;
use crate::harness::gateway::{Gateway, output};
use crate::harness::sign::{self, Fields, stripe_event};
use crate::harness::{App, Site, eventually, now};

const FIRST: &str = "whsec_Y2FsbHNlYWwtYWxlcnRzLXNpZ25pbmcta2V5LTAwMDE=";
const SECOND: &str = "whsec_Y2FsbHNlYWwtYWxlcnRzLXNpZ25pbmcta2V5LTAwMDI=";

/// The settings that the site began with, and more tables.
struct Edited {
    base: String,
}

impl Edited {
    fn of(site: &Site) -> Self {
        let base = std::fs::read_to_string(site.path("callseal.toml")).unwrap();
        Edited { base }
    }

    /// Writes them and reloads; the answer. The watcher of files may have been quicker.
    fn reload(&self, site: &Site, gateway: &Gateway, more: &str) -> Value {
        let text = format!("{}{more}", self.base);
        std::fs::write(site.path("callseal.toml"), text).unwrap();
        let answer = gateway.ask("POST", "/v1/reload");
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{said}");
        serde_json::from_str(&said).unwrap()
    }
}

/// The certificate of these tests lasts three months: with a threshold of ten years it ends soon.
fn alerts(url: &str) -> String {
    format!(
        "[alerts]\nurl = \"{url}\"\nsign_with = \"file:alerts-key\"\ncertificate = \"3650d\"\ndisk_free = \"0\"\n"
    )
}

fn signed_by(secret: &str, request: &Delivery) -> bool {
    let at = request.header("webhook-timestamp").parse().unwrap();
    let expected = sign::standard(secret, request.header("webhook-id"), at, &request.body);
    request.header("webhook-signature") == expected[2].1
}

#[test]
fn alerts_begin_and_move_with_a_reload() {
    let receiver = App::start();
    let site = Site::new();
    std::fs::write(site.path("alerts-key"), FIRST).unwrap();
    site.stripe("http://127.0.0.1:9/", "");
    let edited = Edited::of(&site);
    let gateway = site.start();
    let answer = edited.reload(&site, &gateway, &alerts(&receiver.url("/first")));
    assert_eq!(answer["next_start"], json!([]));
    let first = receiver.wait_for(1).remove(0);
    assert_eq!(first.line, "POST /first HTTP/1.1");
    assert!(signed_by(FIRST, &first));
    // Another key, and another threshold, for the same receiver: it was told already.
    std::fs::write(site.path("alerts-key"), SECOND).unwrap();
    let more = format!("{}owed = 7\n", alerts(&receiver.url("/first")));
    edited.reload(&site, &gateway, &more);
    // Another receiver is told of what holds, and by the new key.
    edited.reload(&site, &gateway, &alerts(&receiver.url("/second")));
    let requests = receiver.wait_for(2);
    let lines: Vec<&str> = requests.iter().map(|r| r.line.as_str()).collect();
    assert_eq!(lines, ["POST /first HTTP/1.1", "POST /second HTTP/1.1"]);
    assert!(signed_by(SECOND, &requests[1]));
    let said: Value = serde_json::from_slice(&requests[1].body).unwrap();
    assert_eq!(said["data"]["begun"][0]["alert"], "certificate_expiring");
    // Since when it holds is not since the reload.
    let before: Value = serde_json::from_slice(&first.body).unwrap();
    let since = |said: &Value| said["data"]["begun"][0]["since"].clone();
    assert_eq!(since(&said), since(&before));
}

/// A receiver that speaks Standard Webhooks believes what is pushed, once, and nothing else: here it
/// is a source of the gateway itself.
#[test]
fn a_pushed_alert_is_believed_by_a_receiver_and_a_changed_one_is_not() {
    let (receiver, behind) = (App::start(), App::start());
    let site = Site::with_settings(&alerts(&receiver.url("/ops")));
    std::fs::write(site.path("alerts-key"), FIRST).unwrap();
    std::fs::write(site.rules().join("keys/ops"), FIRST).unwrap();
    site.source("ops", "standard-webhooks", "ops", &behind.url("/"), "");
    let gateway = site.start();
    let pushed = receiver.wait_for(1).remove(0);
    let fields: Fields = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (name.to_owned(), pushed.header(name).to_owned()))
        .into();
    let post = |fields: &Fields, body: &[u8]| gateway.client().post("/ops", fields, body).status;
    let mut changed = pushed.body.clone();
    let end = changed.len() - 1;
    changed[end] ^= 1;
    assert_eq!(post(&fields, &changed), 401);
    let mut later = fields.clone();
    later[1].1 = (now() + 1).to_string();
    assert_eq!(post(&later, &pushed.body), 401);
    // And again, as a receiver's network may have it.
    assert_eq!(post(&fields, &pushed.body), 200);
    assert_eq!(post(&fields, &pushed.body), 200);
    assert_eq!(behind.wait_for(1)[0].body, pushed.body);
    assert_eq!(gateway.verdicts("ops", "duplicate"), 1);
    assert_eq!(gateway.events()[0]["type"], "callseal.alerts");
}

#[test]
fn what_cannot_be_taken_over_is_said_by_its_name() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let edited = Edited::of(&site);
    let gateway = site.start();
    let more = "[limits]\nheaders = 32\n[outbound]\nper_minute = 7\n[alerts]\nurl = \"http://127.0.0.1:9/\"\n";
    let answer = edited.reload(&site, &gateway, more);
    assert_eq!(
        answer["next_start"],
        json!(["limits.headers", "outbound.per_minute"])
    );
    assert_eq!(answer["changed"], false);
    let named =
        |text: &str| text.contains("limits.headers") && text.contains("outbound.per_minute");
    eventually("the names in the log", || {
        named(&gateway.log()).then_some(())
    });
    assert_eq!(gateway.get("/v1/rules")["next_start"], answer["next_start"]);
    let findings = gateway.get("/v1/doctor")["findings"].clone();
    let mut findings = findings.as_array().unwrap().iter();
    let finding = findings
        .find(|finding| finding["code"] == "next_start")
        .unwrap();
    assert!(named(finding["detail"].as_str().unwrap()), "{finding}");
    let (code, _, said) = output(site.command(&["reload", "--admin", &gateway.admin.to_string()]));
    assert!(code == 0 && named(&said), "{code}: {said}");
    let answer = edited.reload(&site, &gateway, "");
    assert_eq!(answer["next_start"], json!([]));
    assert_eq!(gateway.get("/v1/rules")["next_start"], json!([]));
    let (_, _, said) = output(site.command(&["reload", "--admin", &gateway.admin.to_string()]));
    assert_eq!(said, "");
}

/// The directory on the command line comes before the file, at the next start too: what the file
/// says of it waits for nothing.
#[test]
fn rules_of_the_command_line_are_no_change_of_the_file() {
    let site = Site::new();
    let named = site.path("named.toml");
    std::fs::rename(site.path("callseal.toml"), &named).unwrap();
    site.stripe("http://127.0.0.1:9/", "");
    let text = std::fs::read_to_string(&named).unwrap();
    std::fs::write(&named, format!("rules = \"nowhere\"\n{text}")).unwrap();
    let gateway =
        site.start_with(site.command(&["--config", "named.toml", "--rules", "rules", "serve"]));
    let answer = gateway.ask("POST", "/v1/reload");
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["next_start"], json!([]));
}

fn spans(collector: &App) -> usize {
    let requests = collector.deliveries().into_iter();
    let read = requests.map(|r| ExportTraceServiceRequest::decode(r.body.as_slice()).unwrap());
    let resources = read.flat_map(|read| read.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

/// Tracing is switched on, moved to a collector that takes a part only, and switched off.
#[test]
fn traces_begin_move_and_end_with_a_reload() {
    let app = App::start();
    let first = App::start();
    let answer = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "one too many".to_owned(),
        }),
    };
    let body = answer.encode_to_vec();
    let second = App::replying(move |_| {
        let mut reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        reply.extend_from_slice(&body);
        reply
    });
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let edited = Edited::of(&site);
    let gateway = site.start();
    let post = |id: &str| {
        let body = stripe_event(id);
        let signed = sign::stripe(&body);
        let answer = gateway.client().post("/stripe", &signed, &body);
        assert_eq!(answer.status, 200);
    };
    let otlp = |to: &App| {
        format!(
            "[telemetry]\notlp = {{ endpoint = \"http://{}\" }}\n",
            to.address
        )
    };
    let count = |result: &str| {
        gateway.metric(&format!(
            "callseal_trace_spans_total{{result=\"{result}\"}}"
        ))
    };
    post("evt_untraced");
    app.wait_for(1);
    edited.reload(&site, &gateway, &otlp(&first));
    post("evt_first");
    // Five of the callback, one of the attempt.
    eventually("the first spans", || {
        (count("exported") == 6.0).then_some(())
    });
    edited.reload(&site, &gateway, &otlp(&second));
    post("evt_second");
    eventually("the second spans", || {
        (count("exported") + count("rejected") == 12.0).then_some(())
    });
    assert!(count("rejected") >= 1.0);
    assert_eq!((spans(&first), spans(&second)), (6, 6));
    eventually("the collector's words in the log", || {
        gateway.log().contains("one too many").then_some(())
    });
    edited.reload(&site, &gateway, "");
    post("evt_third");
    app.wait_for(4);
    assert_eq!((count("failed"), count("dropped")), (0.0, 0.0));
    // The end would send what is there: there is nothing.
    assert_eq!(gateway.terminate().code(), Some(0));
    assert_eq!((spans(&first), spans(&second)), (6, 6));
}
