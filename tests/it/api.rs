//! The admin API: what it shows of events, sources and refusals, and what it does.

use std::io::{BufRead, BufReader, Write};

use serde_json::{Value, json};

use crate::harness::app::status;
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Gateway, PATIENCE, Site, eventually};

/// A payment of Stripe's, over 12.50.
fn payment(id: &str, order: &str) -> Vec<u8> {
    json!({
        "id": id, "object": "event", "type": "payment_intent.succeeded",
        "data": { "object": {
            "id": format!("pi_{id}"), "amount": 1250, "currency": "usd",
            "metadata": { "order_id": order },
        }},
    })
    .to_string()
    .into_bytes()
}

fn send(gateway: &Gateway, body: &[u8]) {
    let answer = gateway.client().post("/stripe", &sign::stripe(body), body);
    assert_eq!(answer.status, 200);
}

fn ask(gateway: &Gateway, method: &str, target: &str, body: &str) -> (u16, Value) {
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        gateway.admin,
        gateway.token(),
        body.len(),
    );
    let mut stream = std::net::TcpStream::connect(gateway.admin).unwrap();
    let answer = crate::harness::client::exchange(&mut stream, request.as_bytes()).unwrap();
    let value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, value)
}

fn settled(gateway: &Gateway, count: usize) {
    eventually("all settled", || {
        let events = gateway.events();
        let over = events.iter().all(|event| event["state"] != "owed");
        (events.len() == count && over).then_some(())
    });
}

fn keys(gateway: &Gateway, query: &str) -> Vec<String> {
    let page = gateway.get(&format!("/v1/events?{query}"));
    let events = page["events"].as_array().unwrap();
    let key = |event: &Value| event["key"].as_str().unwrap().to_owned();
    events.iter().map(key).collect()
}

#[test]
fn events_are_found_by_their_payment_and_shown_whole() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    for (id, order) in [("evt_1", "A-1"), ("evt_2", "A-2"), ("evt_3", "B-2")] {
        send(&gateway, &payment(id, order));
    }
    settled(&gateway, 3);
    assert_eq!(keys(&gateway, "order=A-2"), ["evt_2"]);
    assert_eq!(keys(&gateway, "order=a-2"), [""; 0]);
    assert_eq!(keys(&gateway, "text=a-2"), ["evt_2"]);
    assert_eq!(keys(&gateway, "text=PI_evt_3"), ["evt_3"]);
    assert_eq!(keys(&gateway, "provider=stripe").len(), 3);
    assert_eq!(keys(&gateway, "provider=paypal"), [""; 0]);
    assert_eq!(keys(&gateway, "reason=status_5xx"), [""; 0]);
    let row = &gateway.get("/v1/events?order=A-1")["events"][0];
    let paid = json!({
        "order": "A-1", "transaction": "pi_evt_1", "amount": "12.50", "unit": "major",
        "currency": "usd", "status": "paid",
    });
    assert_eq!(row["payment"], paid);

    let id = row["id"].as_str().unwrap();
    let detail = gateway.get(&format!("/v1/events/{id}"));
    assert_eq!(detail["masked"], true);
    assert_eq!(
        (&detail["body"]["kind"], &detail["body"]["cut"]),
        (&json!("json"), &json!(false))
    );
    assert!(
        detail["body"]["text"]
            .as_str()
            .unwrap()
            .contains("pi_evt_1")
    );
    assert_eq!(
        (&detail["deliveries"][0]["id"], &detail["deeds"]),
        (&json!(id), &json!([]))
    );
    // Looking is written down, before anybody sees anything.
    gateway.get(&format!("/v1/events/{id}?unmask=true"));
    let request = gateway.ask("GET", &format!("/v1/events/{id}/request"));
    assert_eq!(
        request.header("content-type"),
        Some("application/octet-stream")
    );
    let text = String::from_utf8(request.body).unwrap();
    assert!(
        text.starts_with("POST /stripe HTTP/1.1\r\n") && text.ends_with("}"),
        "{text}"
    );
    let deeds = gateway.get(&format!("/v1/audit?event={id}"));
    let what: Vec<&Value> = deeds["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["what"])
        .collect();
    assert_eq!(what, ["read_body", "unmask"]);
    assert_eq!(
        gateway.get(&format!("/v1/events/{id}"))["deeds"],
        deeds["audit"]
    );

    let again = gateway.get(&format!("/v1/events/{id}/verification"));
    // The signature is hidden here as it is among the header fields.
    let quoted: Vec<&Value> = again["steps"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|step| step["facts"].as_array().unwrap())
        .filter(|fact| {
            let name = fact["name"].as_str().unwrap();
            name.starts_with("candidate") || name == "item v1"
        })
        .collect();
    assert!(!quoted.is_empty(), "{again}");
    for fact in quoted {
        assert!(fact["value"].as_str().unwrap().contains("•••"), "{fact}");
    }
    assert_eq!(again["verdict"], "accepted", "{again}");
    let steps = again["steps"].as_array().unwrap();
    assert!(
        steps
            .iter()
            .any(|step| step["name"] == "freshness" && step["outcome"] == "passed")
    );
    // The key is another one now.
    site.key("stripe", "whsec_another_secret_of_the_same_length");
    assert_eq!(ask(&gateway, "POST", "/v1/reload", "").0, 200);
    let again = gateway.get(&format!("/v1/events/{id}/verification"));
    assert_eq!(
        (&again["verdict"], &again["reason"]),
        (&json!("rejected"), &json!("signature_mismatch"))
    );

    let none = "evt_00000000000000000000000000";
    for (path, status) in [
        (format!("/v1/events/{none}/verification"), 404),
        (format!("/v1/events/{none}/request"), 404),
        (format!("/v1/events/{id}?unmask=perhaps"), 400),
        (format!("/v1/events/{id}?colour=red"), 400),
        ("/v1/events/x".to_owned(), 400),
        ("/v1/events?text=".to_owned(), 400),
        ("/v1/audit?event=x".to_owned(), 400),
    ] {
        assert_eq!(gateway.ask("GET", &path).status, status, "{path}");
    }
}

#[test]
fn dead_letters_are_grouped_redriven_and_discarded() {
    let app = App::replying(|delivery| {
        let gone = delivery.body.windows(3).any(|part| part == b"B-2");
        status(if gone { 410 } else { 400 })
    });
    let site = Site::new();
    site.stripe(&app.url("/"), "[relay]\non_status = { 400 = \"dead\" }\n");
    let gateway = site.start();
    for (id, order) in [("evt_1", "A-1"), ("evt_2", "A-2"), ("evt_3", "B-2")] {
        send(&gateway, &payment(id, order));
    }
    settled(&gateway, 3);
    let groups = gateway.get("/v1/groups?by=reason");
    let told: Vec<(&Value, &Value)> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (&group["reason"], &group["count"]))
        .collect();
    assert_eq!(told.len(), 2, "{groups}");
    assert_eq!((told[0].1, told[1].1), (&json!(2), &json!(1)));
    assert_eq!(
        (&groups["looked"], &groups["next"]),
        (&json!(3), &Value::Null)
    );
    let by_type = gateway.get("/v1/groups?by=type&state=dead");
    assert_eq!(by_type["groups"][0]["type"], "payment_intent.succeeded");
    assert_eq!(gateway.get("/v1/groups?state=owed")["groups"], json!([]));
    assert_eq!(gateway.ask("GET", "/v1/groups?by=colour").status, 400);

    let error = told[1].0.as_str().unwrap();
    let plan = json!({ "state": "dead", "error": error, "plan": true, "rate": 1 });
    let planned = ask(&gateway, "POST", "/v1/redrive", &plan.to_string());
    assert_eq!(planned, (200, json!({ "count": 1, "seconds": 1 })));
    let order = json!({ "state": "dead", "order": "A-2", "count": 1 });
    let (code, begun) = ask(&gateway, "POST", "/v1/redrive", &order.to_string());
    assert_eq!(code, 202, "{begun}");
    let job = format!("/v1/jobs/{}", begun["job"]);
    eventually("the end of the job", || {
        (gateway.get(&job)["outcome"] == "done").then_some(())
    });
    assert_eq!(gateway.get(&job)["filter"], "state=dead order=A-2");
    eventually("the fourth attempt", || (app.count() == 4).then_some(()));
    settled(&gateway, 3);
    for path in ["/v1/jobs/9", "/v1/jobs/x"] {
        assert_eq!(gateway.ask("GET", path).status, 404, "{path}");
    }
    assert_eq!(
        ask(&gateway, "POST", "/v1/jobs/1/stop", "").0,
        404,
        "it has ended"
    );

    // So many that it is not done before it is stopped.
    for n in 4..40 {
        send(&gateway, &payment(&format!("evt_{n}"), "A-4"));
    }
    settled(&gateway, 39);
    let slowly = json!({ "state": "dead", "rate": 1 });
    let (_, begun) = ask(&gateway, "POST", "/v1/redrive", &slowly.to_string());
    let job = format!("/v1/jobs/{}", begun["job"]);
    let (code, stopping) = ask(&gateway, "POST", &format!("{job}/stop"), "");
    assert_eq!((code, &stopping["id"]), (202, &begun["job"]), "{stopping}");
    eventually("the job's end", || {
        (gateway.get(&job)["outcome"] == "stopped").then_some(())
    });
    assert!(gateway.get(&job)["done"].as_u64().unwrap() < 39);
    settled(&gateway, 39);

    let id = gateway.get("/v1/events?order=B-2")["events"][0]["id"].clone();
    let discard = format!("/v1/events/{}/discard", id.as_str().unwrap());
    for wrong in ["", "{}", r#"{"reason":" "}"#, r#"{"reason":"x","else":1}"#] {
        assert_eq!(ask(&gateway, "POST", &discard, wrong).0, 400, "{wrong}");
    }
    let said = ask(&gateway, "POST", &discard, r#"{"reason":"paid by hand"}"#);
    assert_eq!(said, (200, json!({ "id": id, "state": "discarded" })));
    let (code, problem) = ask(&gateway, "POST", &discard, r#"{"reason":"again"}"#);
    assert_eq!((code, &problem["code"]), (409, &json!("not_applicable")));
    assert_eq!(
        keys(&gateway, "state=discarded&reason=paid%20by%20hand"),
        ["evt_3"]
    );
}

#[test]
fn refusals_come_in_groups_with_cause_and_cure() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let client = gateway.client();
    let body = stripe_event("evt_1");
    for _ in 0..3 {
        let wrong = sign::stripe_with("whsec_wrong", crate::harness::now(), &body);
        assert_ne!(client.post("/stripe", &wrong, &body).status, 200);
    }
    assert_eq!(client.post("/nothing", &[], b"").status, 404);
    let page = gateway.get("/v1/refusals/groups");
    assert_eq!((&page["kept"], &page["seen"]), (&json!(4), &json!(4)));
    let first = &page["groups"][0];
    assert_eq!(
        (&first["reason"], &first["count"], &first["peers"]),
        (&json!("signature_mismatch"), &json!(3), &json!(1))
    );
    assert_eq!(first["command"], "callseal explain stripe FILE");
    assert!(first["cause"].as_str().unwrap().contains("key"), "{first}");
    assert_eq!(page["groups"][1]["command"], Value::Null);
    let future = "2100-01-01T00:00:00Z";
    assert_eq!(
        gateway.get(&format!("/v1/refusals/groups?from={future}"))["groups"],
        json!([])
    );
    assert_eq!(
        gateway.get(&format!("/v1/refusals?from={future}"))["refusals"],
        json!([])
    );
    let rejected = gateway.get(&format!("/v1/refusals?stage=rejected&to={future}"));
    assert_eq!(rejected["refusals"].as_array().unwrap().len(), 3);
    for wrong in [
        "/v1/refusals?stage=lost",
        "/v1/refusals/groups?to=soon",
        "/v1/refusals?x=1",
    ] {
        assert_eq!(gateway.ask("GET", wrong).status, 400, "{wrong}");
    }
}

#[test]
fn a_source_says_how_it_does_also_after_a_start() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    assert_eq!(gateway.get("/v1/sources/stripe")["health"], "idle");
    let body = payment("evt_1", "A-1");
    send(&gateway, &body);
    send(&gateway, &body);
    let wrong = sign::stripe_with("whsec_wrong", crate::harness::now(), &body);
    gateway.client().post("/stripe", &wrong, &body);
    settled(&gateway, 1);
    let source = gateway.get("/v1/sources/stripe");
    assert_eq!(
        (
            &source["accepted_1h"],
            &source["duplicate_1h"],
            &source["rejected_1h"]
        ),
        (&json!(1), &json!(1), &json!(1)),
        "{source}"
    );
    assert_eq!(
        (&source["health"], &source["verified"]),
        (&json!("good"), &json!(true))
    );
    assert_eq!(
        (&source["mode"], &source["usual_gap_seconds"]),
        (&json!("custody"), &Value::Null)
    );
    let key = &source["keys"][0];
    assert_eq!(
        (&key["label"], &key["state"]),
        (&json!("keys[0]"), &json!("used"))
    );
    let to = &source["destinations"][0];
    assert!(to["last_delivered_at"].is_string(), "{to}");
    assert_eq!(
        (&to["breaker"], &to["owed"], &to["dead"]),
        (&json!("closed"), &json!(0), &json!(0))
    );
    assert_eq!(gateway.get("/v1/sources")["sources"][0]["name"], "stripe");
    assert_eq!(gateway.ask("GET", "/v1/sources/other").status, 404);

    let stats = gateway.get("/v1/stats?window=1h&source=stripe");
    let last = |name: &str| {
        stats["series"][name]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone()
    };
    assert_eq!(stats["series"]["accepted"].as_array().unwrap().len(), 360);
    let sum = |name: &str| -> u64 {
        let steps = stats["series"][name].as_array().unwrap();
        steps.iter().filter_map(Value::as_u64).sum()
    };
    assert_eq!(
        (sum("accepted"), sum("rejected"), sum("delivered")),
        (1, 1, 1),
        "{stats}"
    );
    assert_eq!(last("owed"), json!(0));
    for (window, steps) in [("24h", 1440), ("7d", 1008)] {
        let stats = gateway.get(&format!("/v1/stats?window={window}"));
        assert_eq!(stats["series"]["failed"].as_array().unwrap().len(), steps);
    }
    assert_eq!(gateway.ask("GET", "/v1/stats?window=2h").status, 400);
    assert_eq!(gateway.ask("GET", "/v1/stats?source=other").status, 404);

    gateway.kill();
    let gateway = site.start();
    // What is known of before lies in the store.
    eventually("what was before", || {
        let source = gateway.get("/v1/sources/stripe");
        let used = source["keys"][0]["last_used_at"].is_string();
        (used && source["last_accepted_at"].is_string()).then_some(())
    });
}

#[test]
fn the_overview_says_what_wants_attention() {
    let app = App::replying(|_| status(410));
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let overview = gateway.get("/v1/overview");
    assert_eq!(
        (&overview["ready"], &overview["attention"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(overview["acknowledge"]["p50_ms"], Value::Null);
    send(&gateway, &payment("evt_1", "A-1"));
    settled(&gateway, 1);
    ask(&gateway, "POST", "/v1/sources/stripe/pause", "");
    let overview = gateway.get("/v1/overview");
    let codes: Vec<&Value> = overview["attention"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["code"])
        .collect();
    assert_eq!(codes, ["dead_letters", "paused"], "{overview}");
    assert_eq!(overview["attention"][0]["count"], 1);
    assert_eq!(overview["dead"], 1);
    assert!(overview["acknowledge"]["p99_ms"].is_number(), "{overview}");
    assert!(
        overview["rates"]["accepted"].as_f64().unwrap() > 0.0,
        "{overview}"
    );
    assert!(overview["disk_free_bytes"].as_u64().unwrap() > 0);
    let doctor = gateway.get("/v1/doctor");
    let findings = doctor["findings"].as_array().unwrap();
    let of = |code: &str| findings.iter().find(|f| f["code"] == code);
    assert_eq!(
        of("development_certificate").unwrap()["severity"],
        "warning"
    );
    assert!(of("dead_letters").unwrap()["mend"].is_string());
    assert_eq!(of("store").unwrap()["severity"], "fine");
    assert_eq!(findings.last().unwrap()["severity"], "fine");
}

#[test]
fn a_reload_over_the_admin_port_says_what_is_wrong() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let rules = gateway.get("/v1/rules");
    assert_eq!(
        (&rules["sources"][0]["name"], &rules["reload_error"]),
        (&json!("stripe"), &Value::Null)
    );
    let provider = &rules["providers"][0];
    assert_eq!(
        (&provider["name"], &provider["file"]),
        (&json!("stripe"), &Value::Null)
    );
    assert_eq!(provider["used_by"], json!(["stripe"]));
    let (code, said) = ask(&gateway, "POST", "/v1/reload", "");
    assert_eq!((code, &said["changed"]), (200, &json!(false)));

    std::fs::write(
        site.rules().join("broken.toml"),
        "provider = \"stripe\"\ncolour = 1\n",
    )
    .unwrap();
    let (code, said) = ask(&gateway, "POST", "/v1/reload", "");
    assert_eq!((code, &said["code"]), (409, &json!("reload_failed")));
    let detail = said["detail"].as_str().unwrap();
    assert!(
        detail.contains("broken.toml:2") && detail.contains("colour"),
        "{detail}"
    );
    let rules = gateway.get("/v1/rules");
    assert_eq!(rules["reload_error"], said["detail"]);
    assert_eq!(
        gateway.get("/v1/overview")["attention"][0]["code"],
        "reload_failed"
    );

    std::fs::remove_file(site.rules().join("broken.toml")).unwrap();
    site.source("second", "stripe", "stripe", &app.url("/"), "");
    let before = rules["digest"].clone();
    // The watcher of files may have been quicker.
    let (code, said) = ask(&gateway, "POST", "/v1/reload", "");
    assert_eq!(code, 200);
    assert_ne!(said["digest"], before);
    assert_eq!(gateway.get("/v1/rules")["reload_error"], Value::Null);
    assert_eq!(gateway.get("/v1/sources/second")["health"], "idle");
    let audit = gateway.get("/v1/audit");
    let outcomes: Vec<&Value> = audit["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["outcome"])
        .collect();
    // Each stands there before it is done, and with what came of it.
    let told = ["done", "begun", "failed", "begun", "done", "begun"];
    assert_eq!(outcomes, told);
}

/// Messages of a stream: kind and data.
fn watch(gateway: &Gateway, query: &str) -> impl Iterator<Item = (String, Value)> + use<> {
    let mut stream = std::net::TcpStream::connect(gateway.admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /v1/stream{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        gateway.admin,
        gateway.token()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut kind = String::new();
    lines.filter_map(move |line| {
        if let Some(said) = line.strip_prefix("event: ") {
            said.clone_into(&mut kind);
        }
        let data = line.strip_prefix("data: ")?;
        Some((kind.clone(), serde_json::from_str(data).unwrap()))
    })
}

#[test]
fn a_stream_tells_what_happens() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let mut all = watch(&gateway, "");
    // Whoever hears the first message is heard of.
    assert_eq!(all.next().unwrap().0, "stats");
    send(&gateway, &payment("evt_1", "A-1"));
    assert_eq!(gateway.client().post("/nothing", &[], b"").status, 404);
    let mut seen: Vec<(String, Value)> = Vec::new();
    let has = |seen: &[(String, Value)], kind: &str| seen.iter().any(|(k, _)| k == kind);
    while !["accepted", "attempt", "refused"]
        .iter()
        .all(|kind| has(&seen, kind))
    {
        seen.push(all.next().unwrap());
    }
    let of = |kind: &str| seen.iter().find(|(k, _)| k == kind).unwrap().1.clone();
    assert_eq!(of("accepted")["payment"]["order"], "A-1");
    assert_eq!(
        (&of("attempt")["state"], &of("attempt")["error"]),
        (&json!("delivered"), &json!(""))
    );
    assert_eq!(of("refused")["reason"], "not_found");

    let mut some = watch(&gateway, "?kinds=state,stats&source=stripe");
    assert_eq!(some.next().unwrap().0, "stats");
    let id = of("accepted")["id"].clone();
    let path = format!("/v1/events/{}/redrive", id.as_str().unwrap());
    assert_eq!(ask(&gateway, "POST", &path, "").0, 202);
    let (_, said) = some.find(|(kind, _)| kind == "state").unwrap();
    assert_eq!((&said["id"], &said["by"]), (&id, &json!("operator[0]")));
    for wrong in ["?kinds=all", "?state=lost", "?x=1"] {
        assert_eq!(
            gateway.ask("GET", &format!("/v1/stream{wrong}")).status,
            400,
            "{wrong}"
        );
    }
}

#[test]
fn streams_are_bounded() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    // One token has half of them.
    let mut held: Vec<_> = (0..16).map(|_| watch(&gateway, "?kinds=stats")).collect();
    for stream in &mut held {
        assert_eq!(stream.next().unwrap().0, "stats");
    }
    let answer = gateway.ask("GET", "/v1/stream");
    assert_eq!(answer.status, 503);
    assert!(String::from_utf8_lossy(&answer.body).contains("too_many_streams"));
    assert_eq!(answer.header("retry-after"), Some("30"));
    drop(held);
    // Who is gone gives the place back with the next message.
    eventually("a place", || {
        watch(&gateway, "?kinds=stats").next().map(|_| ())
    });
}
