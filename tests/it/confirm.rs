//! Providers whose word counts only when their own API repeats it: the hosts are the test's.

use data_encoding::HEXLOWER;

use crate::harness::sign::{Fields, hmac};
use crate::harness::web::{Asked, Say, say, say_with};
use crate::harness::{App, Gateway, Response, Site, Web, now};

const API_KEY: &str = "live_CallsealTest000000000000000001";

fn payment(id: &str, status: &str) -> String {
    format!(
        r#"{{"resource":"payment","id":"{id}","amount":{{"value":"25.99","currency":"EUR"}},"metadata":{{"order_id":"A-10017"}},"status":"{status}"}}"#
    )
}

fn mollie_api(asked: &Asked) -> Say {
    assert_eq!(asked.header("authorization"), format!("Bearer {API_KEY}"));
    assert_eq!(asked.method, "GET");
    assert!(asked.body.is_empty());
    match asked.target.strip_prefix("/v2/payments/").unwrap() {
        "tr_404" => say(404, r#"{"status":404,"title":"Not Found"}"#),
        "tr_401" => say(401, r#"{"status":401}"#),
        "tr_429" => say(429, "{}"),
        "tr_500" => say(500, "<html>"),
        "tr_other" => say(200, payment("tr_1", "paid")),
        "tr_html" => say(200, "<html>It works!</html>"),
        "tr_301" => say_with(
            301,
            "Location: https://elsewhere.example.com/v2/payments/tr_301\r\n",
            "",
        ),
        "tr_307" => say_with(307, "Location: /v2/payments/tr_1\r\n", ""),
        "tr_vast" => say(
            200,
            format!("{}{}", payment("tr_vast", "paid"), " ".repeat(300 * 1024)),
        ),
        // Announces more than it has.
        "tr_short" => Say::Reply(b"HTTP/1.1 200 X\r\nContent-Length: 500\r\n\r\n{\"id\"".to_vec()),
        "tr_silent" => Say::Silence,
        "tr_slam" => Say::Slam,
        id => say(200, payment(id, "paid")),
    }
}

struct Stage {
    app: App,
    web: Web,
    gateway: Gateway,
    _site: Site,
}

fn stage(hosts: &[&str], reply: fn(&Asked) -> Say, bind: impl FnOnce(&Site, &str)) -> Stage {
    let (app, mut web) = (App::start(), Web::new());
    web.host(hosts, reply);
    let site = Site::with_settings(&web.settings());
    bind(&site, &app.url("/"));
    let gateway = site.start();
    Stage {
        app,
        web,
        gateway,
        _site: site,
    }
}

impl Stage {
    fn post(&self, target: &str, headers: &Fields, body: &str) -> Response {
        self.gateway.client().post(target, headers, body.as_bytes())
    }
}

/// Mollie's file as it ships, but for the time that is waited for an answer.
fn mollie(site: &Site, forward: &str, timeout: &str) {
    let shipped =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/providers/mollie.toml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let mode = "mode = \"authenticate\"\n";
    assert!(text.contains(mode));
    let quick = text.replace(mode, &format!("{mode}timeout = \"{timeout}\"\n"));
    std::fs::create_dir_all(site.rules().join("providers")).unwrap();
    std::fs::write(site.rules().join("providers/mollie.toml"), quick).unwrap();
    site.key("api", API_KEY);
    site.bind(
        "mollie",
        "mollie",
        forward,
        "[secrets]\napi_key = \"file:keys/api\"\n",
    );
}

/// Whoever answers is heard, however busy the machine is.
fn patient(site: &Site, forward: &str) {
    mollie(site, forward, "30s");
}

/// A busy machine may need the time for the way to Mollie alone, but not every time.
#[test]
fn mollies_silence_is_no_word() {
    let brief = |site: &Site, forward: &str| mollie(site, forward, "2s");
    let stage = stage(&["api.mollie.com"], mollie_api, brief);
    let mut tries = 0;
    while stage.web.lines().is_empty() {
        assert!(tries < 5, "Mollie was never asked");
        tries += 1;
        let answer = stage.post("/mollie", &Vec::new(), "id=tr_silent");
        assert_eq!((answer.status, answer.body.len()), (503, 0));
        assert!(answer.header("retry-after").is_some());
    }
    let asked = stage.web.lines();
    let silent = "GET api.mollie.com/v2/payments/tr_silent";
    assert!(asked.iter().all(|line| line == silent), "{asked:?}");
    assert_eq!(stage.gateway.reasons(), vec!["unready"; tries]);
    assert!(stage.gateway.events().is_empty());
    let timeouts = "callseal_outbound_requests_total{result=\"timeout\"}";
    assert_eq!(stage.gateway.metric(timeouts) as usize, tries);
}

#[test]
fn mollies_word_is_asked_for_and_nothing_else_is_taken_for_it() {
    let hosts = ["api.mollie.com", "elsewhere.example.com"];
    let stage = stage(&hosts, mollie_api, patient);
    for (id, status, reason) in [
        ("tr_404", 401, "not_confirmed"),
        ("tr_other", 401, "not_confirmed"),
        ("tr_500", 503, "unready"),
        ("tr_429", 503, "unready"),
        ("tr_html", 503, "unready"),
        ("tr_301", 503, "unready"),
        ("tr_307", 503, "unready"),
        ("tr_vast", 503, "unready"),
        ("tr_short", 503, "unready"),
        ("tr_slam", 503, "unready"),
        ("tr_1%2F..%2Frefunds", 401, "assertion_failed"),
        ("tr_1%3Fx=1", 401, "assertion_failed"),
        ("tr_1&amount=9999", 401, "assertion_failed"),
    ] {
        let answer = stage.post("/mollie", &Vec::new(), &format!("id={id}"));
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{id}");
        assert_eq!(stage.gateway.reasons()[0], reason, "{id}");
        assert_eq!(
            answer.header("retry-after").is_some(),
            status == 503,
            "{id}"
        );
    }
    assert!(stage.gateway.events().is_empty());
    let asked = stage.web.lines();
    assert_eq!(asked.len(), 10, "each once, none elsewhere: {asked:?}");
    assert!(
        asked
            .iter()
            .all(|line| line.starts_with("GET api.mollie.com/v2/payments/tr_"))
    );

    assert_eq!(stage.post("/mollie", &Vec::new(), "id=tr_1").status, 200);
    assert_eq!(stage.post("/mollie", &Vec::new(), "id=tr_1").status, 200);
    assert_eq!(stage.app.wait_for(1)[0].body, b"id=tr_1");
    assert_eq!(stage.gateway.verdicts("mollie", "duplicate"), 1);
    let event = &stage.gateway.events()[0];
    let key = event["key"].as_str().unwrap();
    assert!(key.starts_with("tr_1:paid:0"), "{key}");
    stage.gateway.keeps_secret(&[API_KEY]);
    let metric = |result: &str| {
        stage.gateway.metric(&format!(
            "callseal_outbound_requests_total{{result=\"{result}\"}}"
        ))
    };
    assert_eq!(metric("redirect"), 2.0);
    assert_eq!(metric("answer_too_large"), 1.0);
    assert_eq!(metric("answered"), 7.0);
}

#[test]
fn a_wrong_api_key_of_our_own_is_not_the_callers_fault() {
    let stage = stage(&["api.mollie.com"], mollie_api, patient);
    let answer = stage.post("/mollie", &Vec::new(), "id=tr_401");
    assert_eq!(answer.status, 503, "{:?}", stage.gateway.reasons());
}

#[test]
fn mercado_pagos_payment_is_looked_up_with_the_access_token() {
    const KEY: &str = "callseal-mercado-pago-secret-0001";
    const ACCESS: &str = "APP_USR-callseal-test-0001";
    let reply = |asked: &Asked| {
        assert_eq!(asked.header("authorization"), format!("Bearer {ACCESS}"));
        match asked.target.as_str() {
            "/v1/payments/123456789" => say(
                200,
                r#"{"id":123456789,"status":"approved","date_last_updated":"2026-11-01T00:00:00.000-04:00","external_reference":"A-10017","transaction_amount":25.99,"currency_id":"BRL"}"#,
            ),
            _ => say(404, r#"{"message":"Payment not found"}"#),
        }
    };
    let stage = stage(&["api.mercadopago.com"], reply, |site, forward| {
        site.key("key", KEY);
        site.key("access", ACCESS);
        let more = "keys = [\"file:keys/key\"]\n[secrets]\naccess_token = \"file:keys/access\"\n";
        site.bind("mp", "mercado-pago", forward, more);
    });
    let send = |id: &str, key: &str| {
        let at = now();
        let message = format!("id:{id};request-id:req-1;ts:{at};");
        let mac = HEXLOWER.encode(&hmac(key.as_bytes(), message.as_bytes()));
        let headers = vec![
            ("x-signature".to_owned(), format!("ts={at},v1={mac}")),
            ("x-request-id".to_owned(), "req-1".to_owned()),
        ];
        let body =
            format!(r#"{{"action":"payment.updated","type":"payment","data":{{"id":"{id}"}}}}"#);
        stage.post(&format!("/mp?data.id={id}&type=payment"), &headers, &body)
    };
    // Unsigned ones reach nobody.
    assert_eq!(
        send("123456789", "another secret of another one").status,
        401
    );
    assert!(stage.web.lines().is_empty());
    assert_eq!(send("123456789", KEY).status, 200);
    assert_eq!(send("999", KEY).status, 401);
    assert_eq!(stage.gateway.reasons()[0], "not_confirmed");
    assert_eq!(stage.web.lines().len(), 2);
    stage.app.wait_for(1);
    stage.gateway.keeps_secret(&[KEY, ACCESS]);
}

#[test]
fn paypals_ipn_is_sent_back_byte_for_byte() {
    let reply = |asked: &Asked| {
        assert_eq!(asked.line(), "POST ipnpb.paypal.com/cgi-bin/webscr");
        match asked.text() {
            body if body.contains("txn_id=T1") => say(200, "VERIFIED"),
            body if body.contains("txn_id=T2") => say(200, "VERIFIED\n<html>"),
            _ => say(200, "INVALID"),
        }
    };
    let stage = stage(&["ipnpb.paypal.com"], reply, |site, forward| {
        let more = "[config]\nreceiver_email = \"shop@example.com\"\n";
        site.bind("ipn", "paypal-ipn", forward, more);
    });
    let body = |id: &str| {
        format!(
            "payment_status=Completed&charset=windows-1252&first_name=Zo%EB+%26&txn_type=cart&mc_gross=25.990&receiver_email=Shop%40example.com&txn_id={id}&empty="
        )
    };
    let send = |id: &str| stage.post("/ipn", &Vec::new(), &body(id)).status;
    assert_eq!((send("T1"), send("T2"), send("T3")), (200, 401, 401));
    let asked = stage.web.asked();
    assert_eq!(asked[0].header("user-agent"), "Callseal-IPN-Listener");
    assert_eq!(
        asked[0].text(),
        format!("cmd=_notify-validate&{}", body("T1"))
    );
    assert_eq!(
        asked[0].header("content-type"),
        "application/x-www-form-urlencoded"
    );
    assert_eq!(send("T1"), 200);
    assert_eq!(stage.app.wait_for(1)[0].body, body("T1").as_bytes());
    assert_eq!(stage.gateway.verdicts("ipn", "duplicate"), 1);
    assert_eq!(stage.app.count(), 1);
}
