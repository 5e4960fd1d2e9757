//! The admin port: who may ask (threat 25), and what it tells.

use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Gateway, Site, eventually};

fn status(gateway: &Gateway, method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    gateway.ask_with(method, target, &headers).status
}

#[test]
fn everything_but_health_wants_a_token_and_a_host_of_ours() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    let token = format!("Bearer {}", gateway.token());
    let paths = [
        "/metrics",
        "/v1/events",
        "/v1/events/x",
        "/v1/events/x/body",
        "/v1/sources",
        "/v1/refusals",
    ];
    for path in paths {
        assert_eq!(status(&gateway, "GET", path, &[]), 401, "{path}");
        assert_eq!(
            status(
                &gateway,
                "GET",
                path,
                &[("Authorization", "Bearer wrong-token-0000000")]
            ),
            401,
            "{path}"
        );
        assert_eq!(
            status(
                &gateway,
                "GET",
                path,
                &[("Authorization", &token.replace("Bearer ", "Basic "))]
            ),
            401
        );
    }
    assert_eq!(status(&gateway, "POST", "/v1/events/x/redrive", &[]), 401);
    assert_eq!(status(&gateway, "GET", "/healthz", &[]), 200);
    assert_eq!(status(&gateway, "GET", "/readyz", &[]), 200);
    assert_eq!(
        status(&gateway, "GET", "/nothing", &[("Authorization", &token)]),
        404
    );
    assert_eq!(
        status(
            &gateway,
            "DELETE",
            "/v1/events",
            &[("Authorization", &token)]
        ),
        405
    );
    // A name that some page on the internet points here.
    let rebound = format!(
        "GET /v1/events HTTP/1.1\r\nHost: evil.example\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
    );
    let mut stream = std::net::TcpStream::connect(gateway.admin).unwrap();
    let answer = crate::harness::client::exchange(&mut stream, rebound.as_bytes()).unwrap();
    assert_eq!(answer.status, 421);
}

#[test]
fn a_viewer_looks_and_an_operator_acts() {
    let app = App::start();
    let admin =
        "[admin]\naddress = \"127.0.0.1:0\"\noperator = [\"file:op\"]\nviewer = [\"file:view\"]\n";
    let site = Site::new();
    std::fs::write(site.path("op"), "operator-token-0001\n").unwrap();
    std::fs::write(site.path("view"), "viewer-token-000001\n").unwrap();
    let settings = std::fs::read_to_string(site.path("callseal.toml")).unwrap();
    std::fs::write(
        site.path("callseal.toml"),
        settings.replace("[admin]\naddress = \"127.0.0.1:0\"\n", admin),
    )
    .unwrap();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let body = stripe_event("evt_admin");
    gateway
        .client()
        .post("/stripe", &sign::stripe(&body), &body);
    let event = app.wait_for(1)[0].event().to_owned();
    let (operator, viewer) = ("Bearer operator-token-0001", "Bearer viewer-token-000001");
    let redrive = format!("/v1/events/{event}/redrive");
    assert_eq!(
        status(&gateway, "GET", "/v1/events", &[("Authorization", viewer)]),
        200
    );
    assert_eq!(
        status(
            &gateway,
            "GET",
            &format!("/v1/events/{event}/body"),
            &[("Authorization", viewer)]
        ),
        403
    );
    assert_eq!(
        status(&gateway, "POST", &redrive, &[("Authorization", viewer)]),
        403
    );
    assert_eq!(
        status(&gateway, "POST", &redrive, &[("Authorization", operator)]),
        202
    );
    app.wait_for(2);
    assert!(!site.data().join("admin-token").exists());
}

#[test]
fn events_are_filtered_paged_and_masked() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    site.source("second", "stripe", "stripe", &app.url("/"), "");
    let gateway = site.start();
    let client = gateway.client();
    for n in 0..7 {
        let body = stripe_event(&format!("evt_{n}"));
        client.post(
            if n % 2 == 0 { "/stripe" } else { "/second" },
            &sign::stripe(&body),
            &body,
        );
    }
    app.wait_for(7);
    eventually("all settled", || {
        gateway
            .events()
            .iter()
            .all(|e| e["state"] == "delivered")
            .then_some(())
    });
    let keys = |query: &str| -> Vec<String> {
        let page = gateway.get(&format!("/v1/events?{query}"));
        page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys("source=second"), ["evt_5", "evt_3", "evt_1"]);
    assert_eq!(keys("key=evt_4"), ["evt_4"]);
    assert_eq!(keys("state=dead"), Vec::<String>::new());
    assert_eq!(keys("type=payment_intent.succeeded").len(), 7);
    assert_eq!(keys("to=2020-01-01T00:00:00Z").len(), 0);
    // A page stays where it was while events arrive.
    let first = gateway.get("/v1/events?limit=3");
    let body = stripe_event("evt_new");
    client.post("/stripe", &sign::stripe(&body), &body);
    let next = keys(&format!(
        "limit=3&cursor={}",
        first["next"].as_str().unwrap()
    ));
    assert_eq!(next, ["evt_3", "evt_2", "evt_1"]);
    for bad in [
        "limit=0",
        "limit=501",
        "state=lost",
        "cursor=x",
        "from=yesterday",
        "colour=red",
    ] {
        let answer = gateway.ask("GET", &format!("/v1/events?{bad}"));
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, Some("application/problem+json")),
            "{bad}"
        );
    }
    let id = first["events"][0]["id"].as_str().unwrap();
    let detail = String::from_utf8(gateway.ask("GET", &format!("/v1/events/{id}")).body).unwrap();
    assert!(
        detail.contains("stripe-signature") && !detail.contains("v1="),
        "{detail}"
    );
    assert_eq!(
        gateway
            .ask("GET", "/v1/events/evt_00000000000000000000000000")
            .status,
        404
    );
}

/// Threats 27 to 29: no secret anywhere, no series made by strangers, one log line each.
#[test]
fn no_secret_shows_and_strangers_make_no_series() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "[relay]\nsign_with = \"file:keys/relay\"\n");
    let settings = std::fs::read_to_string(site.path("callseal.toml")).unwrap();
    std::fs::write(
        site.path("callseal.toml"),
        settings + "[telemetry]\nlog = \"json\"\n",
    )
    .unwrap();
    let mut serve = site.command(&["serve"]);
    serve.env("CALLSEAL_LOG", "trace");
    let gateway = site.start_with(serve);
    let client = gateway.client();
    let body = br#"{"id":"evt_canary","type":"x","card":"canary-card-4242"}"#;
    let signed = sign::stripe(body);
    assert_eq!(client.post("/stripe", &signed, body).status, 200);
    app.wait_for(1);
    for n in 0..50 {
        let path = format!("/nothing-{n}");
        assert_eq!(
            client
                .post(&path, &[("X-A".into(), "a\"b".into())], b"canary-body")
                .status,
            404
        );
    }
    // Lines come through a pipe, later than the answers that they are about.
    let callbacks = |verdict: &str| {
        let log = gateway.log();
        let lines = log.lines().filter(|line| line.contains("\"callback\""));
        lines.filter(|line| line.contains(verdict)).count()
    };
    eventually("the lines of the callbacks", || {
        (callbacks("\"accepted\"") >= 1 && callbacks("\"refused\"") >= 10).then_some(())
    });
    let metrics = String::from_utf8(gateway.ask("GET", "/metrics").body).unwrap();
    assert!(!metrics.contains("nothing-"), "{metrics}");
    let series = metrics
        .lines()
        .filter(|l| l.starts_with("callseal_refusals_total") && !l.ends_with(" 0"))
        .count();
    assert_eq!(series, 1, "{metrics}");
    let all = format!(
        "{}{metrics}{}",
        gateway.log(),
        serde_json::to_string(&gateway.get("/v1/refusals")).unwrap()
    );
    let signature = signed[0].1.split("v1=").nth(1).unwrap();
    let secrets = [
        crate::harness::gateway::STRIPE_SECRET,
        crate::harness::gateway::RELAY_SECRET,
        &gateway.token(),
        signature,
        "canary-card",
        "canary-body",
    ];
    for secret in secrets {
        assert!(!all.contains(secret), "{secret} shows");
    }
    let log = gateway.log();
    let json: Vec<&str> = log.lines().filter(|line| line.starts_with('{')).collect();
    assert!(json.len() > 10);
    for line in &json {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value.is_object());
    }
    let callbacks = json.iter().filter(|line| line.contains("\"callback\""));
    let (accepted, refused): (Vec<&str>, Vec<&str>) =
        callbacks.partition(|line| line.contains("\"accepted\""));
    assert_eq!(accepted.len(), 1);
    // Ten a second; one more for every second that the others took.
    assert!((10..=50).contains(&refused.len()), "{}", refused.len());
}

fn ask(gateway: &Gateway, target: &str, body: &str) -> (u16, serde_json::Value) {
    let token = format!("Bearer {}", gateway.token());
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        gateway.admin,
        body.len(),
    );
    let mut stream = std::net::TcpStream::connect(gateway.admin).unwrap();
    let answer = crate::harness::client::exchange(&mut stream, request.as_bytes()).unwrap();
    let value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, value)
}

fn post(gateway: &Gateway, id: &str) {
    let body = stripe_event(id);
    let answer = gateway
        .client()
        .post("/stripe", &sign::stripe(&body), &body);
    assert_eq!(answer.status, 200);
}

#[test]
fn a_source_is_paused_and_resumed_and_the_audit_knows_by_whom() {
    let app = App::start();
    let site = Site::new();
    site.stripe(
        &app.url("/main"),
        &format!(
            "[[relay.to]]\nname = \"ledger\"\nforward = \"{}\"\n",
            app.url("/ledger")
        ),
    );
    let gateway = site.start();
    let (status, said) = ask(
        &gateway,
        "/v1/sources/stripe/pause?destination=ledger&reason=audit",
        "",
    );
    assert_eq!((status, &said["paused"]), (200, &true.into()), "{said}");
    assert_eq!(ask(&gateway, "/v1/sources/other/pause", "").0, 404);
    assert_eq!(
        ask(&gateway, "/v1/sources/stripe/pause?destination=x", "").0,
        404
    );
    post(&gateway, "evt_1");
    let lines =
        |app: &App| -> Vec<String> { app.deliveries().iter().map(|d| d.line.clone()).collect() };
    eventually("the delivery to main", || {
        let events = gateway.events();
        (events.iter().any(|e| e["state"] == "delivered")).then_some(())
    });
    assert_eq!(lines(&app), ["POST /main HTTP/1.1"]);
    let sources = gateway.get("/v1/sources");
    let destinations = &sources["sources"][0]["destinations"];
    assert_eq!(destinations[1]["name"], "ledger");
    assert_eq!(
        (&destinations[0]["paused"], &destinations[1]["paused"]),
        (&false.into(), &true.into())
    );
    // Also after kill -9.
    gateway.kill();
    let gateway = site.start();
    let sources = gateway.get("/v1/sources");
    assert_eq!(sources["sources"][0]["destinations"][1]["paused"], true);
    assert_eq!(
        ask(&gateway, "/v1/sources/stripe/resume?destination=ledger", "").0,
        200
    );
    eventually("the delivery to the ledger", || {
        lines(&app)
            .contains(&"POST /ledger HTTP/1.1".to_owned())
            .then_some(())
    });
    let audit = gateway.get("/v1/audit");
    let told: Vec<_> = audit["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["what"].clone(), d["by"].clone(), d["detail"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("resume".into(), "operator[0]".into(), "".into()),
            ("pause".into(), "operator[0]".into(), "audit".into()),
        ]
    );
}

#[test]
fn many_are_redriven_and_discarded_by_a_filter_that_first_says_how_many() {
    let app = App::replying(|_| crate::harness::app::status(410));
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    for n in 0..5 {
        post(&gateway, &format!("evt_{n}"));
    }
    let dead = || {
        gateway.get("/v1/events?state=dead")["events"]
            .as_array()
            .unwrap()
            .len()
    };
    eventually("five dead letters", || (dead() == 5).then_some(()));
    let (status, plan) = ask(&gateway, "/v1/redrive", r#"{"state":"dead","plan":true}"#);
    assert_eq!((status, &plan["count"]), (200, &5.into()));
    assert_eq!(app.count(), 5, "a plan does nothing");
    assert_eq!(ask(&gateway, "/v1/redrive", r#"{"plan":true}"#).0, 400);
    assert_eq!(
        ask(&gateway, "/v1/redrive", r#"{"state":"dead","count":4}"#).0,
        409
    );
    assert_eq!(ask(&gateway, "/v1/discard", r#"{"state":"dead"}"#).0, 400);
    let (status, begun) = ask(
        &gateway,
        "/v1/redrive",
        r#"{"state":"dead","count":5,"rate":1000}"#,
    );
    assert_eq!(status, 202, "{begun}");
    eventually("everything once more", || (app.count() == 10).then_some(()));
    eventually("dead again", || (dead() == 5).then_some(()));
    let one = r#"{"state":"dead","key":"evt_3","reason":"a test"}"#;
    assert_eq!(ask(&gateway, "/v1/discard", one).0, 202);
    eventually("four dead letters", || (dead() == 4).then_some(()));
    eventually("the end of both jobs", || {
        let jobs = gateway.get("/v1/jobs");
        let jobs = jobs["jobs"].as_array().unwrap();
        jobs.iter()
            .all(|job| job["outcome"] == "done")
            .then_some(())
    });
    assert_eq!(ask(&gateway, "/v1/jobs/1/stop", "").0, 404);
    let audit = gateway.get("/v1/audit");
    let told: Vec<_> = audit["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["what"].clone(), d["outcome"].clone(), d["count"].clone()))
        .collect();
    let word = |what: &str, outcome: &str, count: u64| (what.into(), outcome.into(), count.into());
    assert_eq!(
        told,
        [
            word("discard_many", "done", 1),
            word("discard_many", "begun", 1),
            word("redrive_many", "done", 5),
            word("redrive_many", "begun", 5),
        ]
    );
    // A viewer does nothing of the kind; what the application said is for operators.
    let id = gateway.events()[0]["id"].as_str().unwrap().to_owned();
    let detail = gateway.get(&format!("/v1/events/{id}"));
    assert!(detail["history"][0]["response"]["headers"].is_array());
}
