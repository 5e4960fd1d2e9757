//! The walkthroughs of docs/architecture.md, one test each.

use crate::harness::gateway::RELAY_SECRET;
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Closed, Site, app, eventually, now};

/// Walkthrough 1: from the provider's call to the application's answer.
#[test]
fn a_signed_callback_arrives_byte_for_byte_and_signed_by_us() {
    let app = App::start();
    let site = Site::new();
    site.stripe(
        &app.url("/hooks/stripe?shop=1"),
        "[relay]\nsign_with = \"file:keys/relay\"\n",
    );
    let gateway = site.start();
    let body = stripe_event("evt_1");
    let mut headers = sign::stripe(&body);
    headers.push((
        "Content-Type".into(),
        "application/json; charset=utf-8".into(),
    ));
    headers.push(("X-Twice".into(), "one".into()));
    headers.push(("X-Twice".into(), "two".into()));
    headers.push(("Connection".into(), "X-Hop".into()));
    headers.push(("X-Hop".into(), "gone".into()));
    headers.push(("Callseal-Verified".into(), "forged".into()));
    headers.push(("Forwarded".into(), "for=1.2.3.4".into()));
    let answer = gateway
        .client()
        .post("/stripe?live=true&x=%2F", &headers, &body);
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b""[..]));

    let delivery = app.wait_for(1).remove(0);
    // Nobody has signed the query, so it stays here; the destination's own goes along.
    assert_eq!(delivery.line, "POST /hooks/stripe?shop=1 HTTP/1.1");
    assert_eq!(delivery.body, body);
    assert_eq!(delivery.header("stripe-signature"), headers[0].1);
    assert_eq!(
        delivery.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(delivery.all("x-twice"), [b"one", b"two"]);
    assert!(delivery.all("x-hop").is_empty());
    assert_eq!(delivery.header("callseal-verified"), "hmac-sha256 keys[0]");
    assert_eq!(delivery.header("callseal-source"), "stripe");
    assert_eq!(delivery.header("callseal-provider"), "stripe");
    assert_eq!(delivery.header("callseal-attempt"), "1");
    assert_eq!(delivery.header("host"), app.address.to_string());
    assert_eq!(delivery.header("traceparent").len(), 55);

    let id = delivery.event().to_owned();
    assert_eq!(delivery.header("webhook-id"), id);
    let at = delivery.header("webhook-timestamp").parse().unwrap();
    let expected = sign::standard(RELAY_SECRET, &id, at, &body);
    assert_eq!(delivery.header("webhook-signature"), expected[2].1);

    let event = eventually("the event to be settled", || {
        let events = gateway.events();
        (events[0]["state"] == "delivered").then(|| events[0].clone())
    });
    assert_eq!(event["id"], id);
    assert_eq!(
        (&event["key"], &event["type"]),
        (&"evt_1".into(), &"payment_intent.succeeded".into())
    );
    let detail = gateway.get(&format!("/v1/events/{id}"));
    assert_eq!(detail["history"][0]["status"], 200);
    assert_eq!(detail["target"], "/stripe");
    let raw = gateway.ask("GET", &format!("/v1/events/{id}/body"));
    assert_eq!(raw.body, body);
}

/// Who wants the query as it came says so, and knows that nobody has signed it.
#[test]
fn a_query_that_nobody_signed_passes_only_where_the_source_says_so() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/hooks"), "[relay]\nquery = \"as-received\"\n");
    let gateway = site.start();
    let body = stripe_event("evt_query");
    let answer = gateway
        .client()
        .post("/stripe?order=7&x=%2F", &sign::stripe(&body), &body);
    assert_eq!(answer.status, 200);
    let delivery = app.wait_for(1).remove(0);
    assert_eq!(delivery.line, "POST /hooks?order=7&x=%2F HTTP/1.1");
}

/// Walkthrough 2: the application is down, and comes back.
#[test]
fn an_application_that_is_down_gets_the_event_when_it_is_back() {
    let closed = Closed::new();
    let address = closed.address;
    let site = Site::new();
    let quick = "[relay]\nretry = { first = \"100ms\", factor = 1.0, max = \"200ms\", give_up_after = \"1h\", jitter = \"none\" }\n";
    site.stripe(&format!("http://{address}/"), quick);
    let gateway = site.start();
    let body = stripe_event("evt_down");
    assert_eq!(
        gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body)
            .status,
        200
    );
    eventually("two failed attempts", || {
        let event = gateway.events().remove(0);
        (event["attempts"].as_u64() >= Some(2)).then_some(())
    });
    let event = gateway.events().remove(0);
    assert_eq!(
        (&event["state"], &event["reason"]),
        (&"owed".into(), &"connect_refused".into())
    );
    let app = App::on(closed.open(), |_| app::status(204));
    let delivery = app.wait_for(1).remove(0);
    assert_eq!(delivery.body, body);
    assert!(delivery.header("callseal-attempt").parse::<u32>().unwrap() > 2);
}

#[test]
fn every_attempt_bears_the_same_id_and_refusals_are_retried() {
    let app = App::replying(|d| match d.header("callseal-attempt") {
        "1" => app::status(500),
        "2" => {
            b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec()
        }
        "3" => b"complete nonsense\r\n\r\n".to_vec(),
        "4" => Vec::new(),
        _ => app::status(200),
    });
    let site = Site::new();
    let quick = "[relay]\nretry = { first = \"20ms\", factor = 1.0, max = \"50ms\", give_up_after = \"1h\", jitter = \"none\" }\n";
    site.stripe(&app.url("/"), quick);
    let gateway = site.start();
    let body = stripe_event("evt_retry");
    gateway
        .client()
        .post("/stripe", &sign::stripe(&body), &body);
    let deliveries = app.wait_for(5);
    let ids: Vec<&str> = deliveries.iter().map(|d| d.event()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(deliveries.iter().all(|d| d.body == body));
    let detail = eventually("delivery", || {
        let detail = gateway.get(&format!("/v1/events/{}", ids[0]));
        (detail["state"] == "delivered").then_some(detail)
    });
    let errors: Vec<&str> = detail["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["error"].as_str().unwrap())
        .collect();
    assert_eq!(errors.len(), 5, "{errors:?}");
    assert_eq!((errors[1], errors[4]), ("redirect", ""), "{errors:?}");
}

#[test]
fn gone_is_a_dead_letter_and_an_operator_redrives_it() {
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = gone.clone();
    let app = App::replying(move |_| {
        app::status(if switch.load(std::sync::atomic::Ordering::SeqCst) {
            410
        } else {
            200
        })
    });
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let body = stripe_event("evt_gone");
    gateway
        .client()
        .post("/stripe", &sign::stripe(&body), &body);
    let dead = eventually("a dead letter", || {
        let page = gateway.get("/v1/events?state=dead");
        page["events"].get(0).cloned()
    });
    assert_eq!(dead["reason"], "gone");
    gone.store(false, std::sync::atomic::Ordering::SeqCst);
    let id = dead["id"].as_str().unwrap();
    assert_eq!(
        gateway
            .ask("POST", &format!("/v1/events/{id}/redrive"))
            .status,
        202
    );
    let again = app.wait_for(2).remove(1);
    assert_eq!((again.event(), &again.body), (id, &body));
    eventually("delivery", || {
        (gateway.get(&format!("/v1/events/{id}"))["state"] == "delivered").then_some(())
    });
}

/// Promise 3: one acceptance; the same success to each; another body under the same key is kept.
#[test]
fn duplicates_hear_success_and_a_different_body_is_kept_and_flagged() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let client = gateway.client();
    let body = stripe_event("evt_dup");
    let first = client.post("/stripe", &sign::stripe(&body), &body);
    let again = client.post(
        "/stripe",
        &sign::stripe_with(crate::harness::gateway::STRIPE_SECRET, now() - 60, &body),
        &body,
    );
    assert_eq!(first, again);
    let mut other = body.clone();
    other.push(b' ');
    assert_eq!(
        client.post("/stripe", &sign::stripe(&other), &other).status,
        200
    );
    assert_eq!(
        client.post("/stripe", &sign::stripe(&other), &other).status,
        200
    );
    let deliveries = app.wait_for(2);
    let conflict = deliveries.iter().find(|d| d.body == other).unwrap();
    let original = deliveries.iter().find(|d| d.body == body).unwrap();
    assert_eq!(conflict.header("callseal-conflict-of"), original.event());
    assert_eq!(gateway.events().len(), 2);
    assert_eq!(app.count(), 2);
    assert_eq!(
        gateway.metric("callseal_callbacks_total{source=\"stripe\",verdict=\"conflict\"}"),
        1.0
    );
    assert_eq!(
        gateway.metric("callseal_callbacks_total{source=\"stripe\",verdict=\"duplicate\"}"),
        2.0
    );
}

/// Threat 12: GitHub's delivery id is not signed; a replay under a fresh one is still a replay.
#[test]
fn an_unsigned_id_neither_hides_a_replay_nor_blocks_the_real_event() {
    let app = App::start();
    let site = Site::new();
    site.source("github", "github", "github", &app.url("/"), "");
    let gateway = site.start();
    let client = gateway.client();
    let body = br#"{"ref":"refs/heads/main"}"#;
    assert_eq!(
        client
            .post("/github", &sign::github(body, "id-1"), body)
            .status,
        200
    );
    assert_eq!(
        client
            .post("/github", &sign::github(body, "id-fresh"), body)
            .status,
        200
    );
    app.wait_for(1);
    assert_eq!(gateway.events().len(), 1);
    // The same body as another kind of event is another event.
    let mut ping = sign::github(body, "id-3");
    ping[1].1 = "ping".to_owned();
    assert_eq!(client.post("/github", &ping, body).status, 200);
    app.wait_for(2);
    // A stranger cannot take an id for a body of his own: he cannot sign it.
    let victim = br#"{"ref":"refs/heads/paid"}"#;
    let mut forged = sign::github(b"{}", "id-2");
    forged[0].1 = sign::github(b"other", "id-2")[0].1.clone();
    assert_eq!(client.post("/github", &forged, b"{}").status, 401);
    assert_eq!(
        client
            .post("/github", &sign::github(victim, "id-2"), victim)
            .status,
        200
    );
    let deliveries = app.wait_for(3);
    assert!(deliveries.iter().any(|d| d.body == victim));
    assert_eq!(gateway.events().len(), 3);
}

#[test]
fn slacks_challenge_is_answered_only_when_signed() {
    let app = App::start();
    let site = Site::new();
    site.source("slack", "slack", "github", &app.url("/"), "");
    let gateway = site.start();
    let body = br#"{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV2595"}"#;
    let at = now();
    let mac = sign::hmac(
        crate::harness::gateway::GITHUB_SECRET.as_bytes(),
        &[format!("v0:{at}:").as_bytes(), body].concat(),
    );
    let headers = |mac: &[u8]| {
        vec![
            ("X-Slack-Request-Timestamp".to_owned(), at.to_string()),
            (
                "X-Slack-Signature".to_owned(),
                format!("v0={}", data_encoding::HEXLOWER.encode(mac)),
            ),
        ]
    };
    let answer = gateway.client().post("/slack", &headers(&mac), body);
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, &b"3eZbrw1aBm2rZgRNFdxV2595"[..])
    );
    assert_eq!(
        gateway
            .client()
            .post("/slack", &headers(&[0; 32]), body)
            .status,
        401
    );
    assert!(gateway.events().is_empty());
}

#[test]
fn http2_works_too() {
    // The client of the harness speaks HTTP/1.1; hyper's speaks HTTP/2 over the same TLS.
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let body = stripe_event("evt_h2");
    let status = crate::harness::http2::post(&gateway, "/stripe", &sign::stripe(&body), &body);
    assert_eq!(status, 200);
    assert_eq!(app.wait_for(1)[0].body, body);
}

/// Several destinations, a condition, an order, a business key: what a rule file says is what happens.
#[test]
fn an_event_goes_to_every_destination_that_wants_it() {
    let app = App::start();
    let site = Site::new();
    site.stripe(
        &app.url("/main"),
        &format!(
            "[inbox]\nkey = \"{{json:/data/object/id}}\"\non_conflict = \"first-wins\"\n\
             [relay]\norder_by = \"{{json:/data/object/id}}\"\n\
             [[relay.to]]\nname = \"refunds\"\nforward = \"{}\"\n\
             when = 'event.type.startsWith(\"charge.\")'\n\
             [[relay.to]]\nname = \"unsure\"\nforward = \"{}\"\nwhen = 'body.nothing.here == 1'\n",
            app.url("/refunds"),
            app.url("/unsure"),
        ),
    );
    let gateway = site.start();
    let body = |id: &str, object: &str, more: &str| {
        format!(
            "{{\"id\":\"{id}\",\"type\":\"payment_intent.succeeded\",\"data\":{{\"object\":{{\"id\":\"{object}\"}}}}{more}}}"
        )
        .into_bytes()
    };
    let send = |body: &[u8]| {
        gateway
            .client()
            .post("/stripe", &sign::stripe(body), body)
            .status
    };
    assert_eq!(send(&body("evt_1", "pi_1", "")), 200);
    let deliveries = app.wait_for(2);
    let mut lines: Vec<&str> = deliveries.iter().map(|d| d.line.as_str()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["POST /main HTTP/1.1", "POST /unsure HTTP/1.1"]);
    assert_eq!(deliveries[0].event(), deliveries[1].event());
    let events = eventually("all settled", || {
        let events = gateway.events();
        events
            .iter()
            .all(|e| e["state"] != "owed")
            .then_some(events)
    });
    let mut states: Vec<_> = events
        .iter()
        .map(|e| (e["destination"].clone(), e["state"].clone()))
        .collect();
    states.sort_by_key(|(to, _)| to.to_string());
    assert_eq!(
        states,
        [
            ("main".into(), "delivered".into()),
            ("refunds".into(), "filtered".into()),
            ("unsure".into(), "delivered".into()),
        ]
    );
    let undecided = "callseal_conditions_undecided_total{source=\"stripe\"}";
    assert_eq!(gateway.metric(undecided) as u64, 1);
    let delivered =
        "callseal_attempts_total{source=\"stripe\",destination=\"unsure\",verdict=\"delivered\"}";
    assert_eq!(gateway.metric(delivered) as u64, 1);
    // The same payment under another event id, with another content: the first wins.
    assert_eq!(send(&body("evt_2", "pi_1", ",\"more\":1")), 200);
    assert_eq!(gateway.verdicts("stripe", "conflict_dropped"), 1);
    // What was filtered can be sent by an operator.
    let filtered = events.iter().find(|e| e["state"] == "filtered").unwrap();
    let id = filtered["id"].as_str().unwrap();
    let answer = gateway.ask("POST", &format!("/v1/events/{id}/redrive"));
    assert_eq!(answer.status, 202);
    let all = app.wait_for(3);
    assert_eq!(all[2].line, "POST /refunds HTTP/1.1");
    assert_eq!(all[2].event(), all[0].event());
}

const WAITING: &str = "[answer]\nmode = \"destination\"\nwithin = \"60s\"\n\
    [relay]\nretry = { first = \"100ms\", factor = 1.0, max = \"100ms\", give_up_after = \"1h\", jitter = \"none\" }\n";

/// The provider hears the application, which it hears again for a duplicate, and never more of it
/// than status, kind and body.
#[test]
fn a_provider_hears_the_application_where_the_source_wants_it_so() {
    let app = App::replying(|_| {
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nSet-Cookie: canary=1\r\nX-Own: canary\r\nContent-Length: 8\r\n\r\n{\"ok\":1}".to_vec()
    });
    let site = Site::new();
    site.stripe(&app.url("/"), WAITING);
    let gateway = site.start();
    let body = stripe_event("evt_told");
    for _ in 0..3 {
        let answer = gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body);
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (201, &b"{\"ok\":1}"[..])
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("x-own"), None);
    }
    assert_eq!(app.count(), 1);
    assert_eq!(gateway.verdicts("stripe", "duplicate"), 2);
    assert_eq!(gateway.events()[0]["state"], "delivered");
}

/// What is kept of an answer is what all hear of it, also after a restart.
#[test]
fn a_large_answer_is_passed_on_whole_or_not_at_all() {
    const MOST: usize = 16 << 10;
    let app = App::replying(|delivery| {
        let more = usize::from(delivery.body == stripe_event("evt_larger"));
        let body = "x".repeat(MOST + more);
        format!(
            "HTTP/1.1 202 Accepted\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    });
    let site = Site::new();
    site.stripe(&app.url("/"), WAITING);
    let send = |gateway: &crate::harness::Gateway, id: &str| {
        let body = stripe_event(id);
        let answer = gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body);
        (answer.status, answer.body.len())
    };
    let gateway = site.start();
    for _ in 0..2 {
        assert_eq!(send(&gateway, "evt_large"), (202, MOST));
        assert_eq!(send(&gateway, "evt_larger"), (200, 0));
    }
    gateway.terminate();
    let gateway = site.start();
    assert_eq!(send(&gateway, "evt_large"), (202, MOST));
    assert_eq!(send(&gateway, "evt_larger"), (200, 0));
    assert_eq!(app.count(), 2);
}

/// An application that fails is the gateway's to worry about, and what is late comes to nobody.
#[test]
fn an_application_that_fails_or_is_late_is_not_the_providers_trouble() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let app = App::replying(move |delivery| {
        let first = delivery.header("callseal-attempt") == "1";
        if first && delivery.body == stripe_event("evt_fails") {
            return app::status(500);
        }
        while !gate.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        app::status(202)
    });
    let site = Site::new();
    site.stripe(&app.url("/"), &WAITING.replace("\"60s\"", "\"200ms\""));
    let gateway = site.start();
    let send = |id: &str| {
        let body = stripe_event(id);
        gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body)
            .status
    };
    assert_eq!(send("evt_fails"), 200);
    // The application answers after that time, however long it takes: on a machine that is slow it
    // is all the same. What happens when is in `relay/tests/answers.rs`, in virtual time.
    assert_eq!(send("evt_late"), 200);
    // It is durable and under way; a duplicate does not send it again.
    assert_eq!(send("evt_late"), 200);
    open.store(true, Ordering::SeqCst);
    eventually("both to be delivered", || {
        let events = gateway.events();
        events
            .iter()
            .all(|e| e["state"] == "delivered")
            .then_some(())
    });
    assert_eq!(app.count(), 3);
    // From now on there is an answer to hear.
    assert_eq!(send("evt_late"), 202);
    assert_eq!(send("evt_fails"), 202);
}

/// A duplicate that comes while the first still waits hears the same.
#[test]
fn a_duplicate_of_one_that_waits_waits_too() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let (open, arrived) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (gate, came) = (open.clone(), arrived.clone());
    let app = App::replying(move |_| {
        came.store(true, Ordering::SeqCst);
        while !gate.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        app::status(204)
    });
    let site = Site::new();
    site.stripe(&app.url("/"), WAITING);
    let gateway = site.start();
    let body = stripe_event("evt_twice");
    std::thread::scope(|scope| {
        let send = || {
            gateway
                .client()
                .post("/stripe", &sign::stripe(&body), &body)
                .status
        };
        let first = scope.spawn(send);
        eventually("the first at the application", || {
            arrived.load(Ordering::SeqCst).then_some(())
        });
        // Whether it comes before or after the answer: it hears the same.
        let second = scope.spawn(send);
        open.store(true, Ordering::SeqCst);
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (204, 204));
    });
    assert_eq!(app.count(), 1);
}
