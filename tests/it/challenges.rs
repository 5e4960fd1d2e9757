//! How providers check an address before they send anything, over the wire: what is answered, what
//! is not, and that none of it is stored or reaches the application.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::{BASE64, HEXLOWER};

use crate::harness::sign::{Fields, hmac, of as fields};
use crate::harness::{App, Client, Gateway, Response, Site, now};

const KEY: &str = "callseal-challenge-test-key-0001";

struct Stage {
    app: App,
    gateway: Gateway,
    client: Client,
    _site: Site,
}

impl Stage {
    /// One source of this provider, named as it.
    fn of(provider: &str, more: &str) -> Stage {
        Stage::keyed(provider, KEY, more)
    }

    fn keyed(provider: &str, key: &str, more: &str) -> Stage {
        let (app, site) = (App::start(), Site::new());
        let keys = format!("keys = [\"{}\"]\n", site.key("key", key));
        site.key("verify-token", "callseal-verify-token-0001");
        site.bind(provider, provider, &app.url("/"), &(keys + more));
        let gateway = site.start();
        let client = gateway.client();
        Stage {
            app,
            gateway,
            client,
            _site: site,
        }
    }

    fn send(&self, method: &str, target: &str, headers: &Fields, body: &[u8]) -> Response {
        self.client.send(method, target, headers, body)
    }

    /// Nothing was kept or sent on.
    fn untouched(&self, challenges: u64, source: &str) {
        assert!(self.gateway.events().is_empty());
        assert_eq!(self.app.count(), 0);
        assert_eq!(self.gateway.verdicts(source, "challenge"), challenges);
    }
}

fn said(response: &Response) -> (u16, &str) {
    (
        response.status,
        std::str::from_utf8(&response.body).unwrap(),
    )
}

/// What a browser that is led there must not take for a page.
fn is_inert(response: &Response, kind: &str) {
    assert_eq!(response.header("content-type"), Some(kind));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn zoom_signs_its_check_and_gets_its_token_signed() {
    let stage = Stage::of("zoom", "");
    let body = br#"{"payload":{"plainToken":"qYm3Tn2vRk6Wc8XhB1dZ0A"},"event_ts":1,"event":"endpoint.url_validation"}"#;
    let at = now().to_string();
    let mac = hmac(
        KEY.as_bytes(),
        &[format!("v0:{at}:").as_bytes(), body].concat(),
    );
    let signature = format!("v0={}", HEXLOWER.encode(&mac));
    let signed = fields(&[
        ("x-zm-request-timestamp", &at),
        ("x-zm-signature", &signature),
    ]);
    let answer = stage.send("POST", "/zoom", &signed, body);
    let token = HEXLOWER.encode(&hmac(KEY.as_bytes(), b"qYm3Tn2vRk6Wc8XhB1dZ0A"));
    let expected =
        format!(r#"{{"plainToken":"qYm3Tn2vRk6Wc8XhB1dZ0A","encryptedToken":"{token}"}}"#);
    assert_eq!(said(&answer), (200, expected.as_str()));
    is_inert(&answer, "application/json");
    // Otherwise anybody could have a text of his choice signed.
    let unsigned = fields(&[("x-zm-request-timestamp", &at)]);
    assert_eq!(
        said(&stage.send("POST", "/zoom", &unsigned, body)),
        (401, "")
    );
    stage.untouched(1, "zoom");
}

#[test]
fn metas_check_needs_the_verify_token() {
    let stage = Stage::of(
        "meta",
        "[secrets]\nverify_token = \"file:keys/verify-token\"\n",
    );
    let check = |token: &str, challenge: &str| {
        let target =
            format!("/meta?hub.mode=subscribe&hub.challenge={challenge}&hub.verify_token={token}");
        stage.send("GET", &target, &Vec::new(), b"")
    };
    let answer = check("callseal-verify-token-0001", "1158201444");
    assert_eq!(said(&answer), (200, "1158201444"));
    is_inert(&answer, "text/plain");
    for (token, challenge) in [
        ("callseal-verify-token-0002", "1158201444"),
        ("", "1158201444"),
        ("callseal-verify-token-0001", "%3Cscript%3E"),
    ] {
        let answer = check(token, challenge);
        assert_ne!(answer.status, 200, "{token} {challenge}");
        assert!(answer.body.is_empty(), "{answer:?}");
    }
    stage.untouched(1, "meta");
}

#[test]
fn x_gets_its_token_signed_and_nothing_that_could_be_an_event() {
    let stage = Stage::of("x", "");
    let answer = stage.send("GET", "/x?crc_token=Y2FsbHNlYWw", &Vec::new(), b"");
    let mac = BASE64.encode(&hmac(KEY.as_bytes(), b"Y2FsbHNlYWw"));
    let expected = format!(r#"{{"response_token":"sha256={mac}"}}"#);
    assert_eq!(said(&answer), (200, expected.as_str()));
    is_inert(&answer, "application/json");
    let event = stage.send("GET", "/x?crc_token=%7B%22a%22%3A1%7D", &Vec::new(), b"");
    assert_eq!((event.status, event.body.len()), (401, 0));
    assert_eq!(stage.gateway.reasons()[0], "method_unexpected");
    let long = format!("/x?crc_token={}", "a".repeat(129));
    assert_eq!(stage.send("GET", &long, &Vec::new(), b"").status, 401);
    stage.untouched(1, "x");
}

#[test]
fn xero_hears_401_for_a_wrong_signature_and_200_without_a_body_for_a_right_one() {
    let stage = Stage::of("xero", "");
    let body = br#"{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"SKLCSWQJBPZMZVTLZKVZ"}"#;
    let signed = |key: &str| {
        let mac = BASE64.encode(&hmac(key.as_bytes(), body));
        stage.send(
            "POST",
            "/xero",
            &fields(&[("x-xero-signature", &mac)]),
            body,
        )
    };
    let wrong = signed("another key of another app 0001");
    assert_eq!(said(&wrong), (401, ""));
    let right = signed(KEY);
    assert_eq!(said(&right), (200, ""));
    for answer in [wrong, right] {
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[test]
fn discord_hears_its_ping_and_401_for_a_bad_signature() {
    let own = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = HEXLOWER.encode(own.public_key().as_ref());
    let stage = Stage::keyed("discord", &public, "");
    let at = now().to_string();
    let send = |body: &[u8], signed: &[u8]| {
        let signature = own.sign(&[at.as_bytes(), signed].concat());
        let signature = HEXLOWER.encode(signature.as_ref());
        let head = [
            ("X-Signature-Timestamp", at.as_str()),
            ("X-Signature-Ed25519", &signature),
        ];
        stage.send("POST", "/discord", &fields(&head), body)
    };
    let ping = br#"{"version":1,"application_id":"1234560123453231555","type":0}"#;
    assert_eq!(said(&send(ping, ping)), (204, ""));
    let ping = br#"{"id":"1","application_id":"1234560123453231555","type":1,"token":"x"}"#;
    let pong = send(ping, ping);
    assert_eq!(said(&pong), (200, r#"{"type":1}"#));
    is_inert(&pong, "application/json");
    assert_eq!(said(&send(ping, b"something else")), (401, ""));
    stage.untouched(2, "discord");
}

#[test]
fn dropbox_and_okta_get_their_word_back_if_it_is_one() {
    let stage = Stage::of("dropbox", "");
    let answer = stage.send("GET", "/dropbox?challenge=4vnGxXCRYY_x-Z", &Vec::new(), b"");
    assert_eq!(said(&answer), (200, "4vnGxXCRYY_x-Z"));
    is_inert(&answer, "text/plain");
    let page = stage.send("GET", "/dropbox?challenge=%3Cb%3E", &Vec::new(), b"");
    assert_eq!((page.status, page.body.len()), (401, 0));
    stage.untouched(1, "dropbox");

    let stage = Stage::of("okta", "");
    let asked = |word: &str| {
        let head = fields(&[
            ("X-Okta-Verification-Challenge", word),
            ("Authorization", KEY),
        ]);
        stage.send("GET", "/okta", &head, b"")
    };
    let answer = asked("n-ZNdSqrMT8KuH1mM4");
    assert_eq!(
        said(&answer),
        (200, r#"{"verification":"n-ZNdSqrMT8KuH1mM4"}"#)
    );
    is_inert(&answer, "application/json");
    assert_eq!(asked("\",\"x\":\"").status, 401);
    stage.untouched(1, "okta");
}

#[test]
fn cloudevents_origins_are_asked_for_with_options() {
    let stage = Stage::of("cloudevents", "[config]\norigin = \"events.example.com\"\n");
    let ask = |origin: &str| {
        let head = fields(&[("WebHook-Request-Origin", origin)]);
        stage.send("OPTIONS", "/cloudevents", &head, b"")
    };
    let answer = ask("events.example.com");
    assert_eq!(said(&answer), (200, ""));
    assert_eq!(
        answer.header("webhook-allowed-origin"),
        Some("events.example.com")
    );
    assert_eq!(answer.header("webhook-allowed-rate"), Some("*"));
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = ask("events.example.net");
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("webhook-allowed-origin"), None);
    stage.untouched(1, "cloudevents");
}

#[test]
fn trellos_head_is_answered_and_a_get_is_not() {
    let stage = Stage::of("trello", "url = \"https://pay.example.com/trello\"\n");
    assert_eq!(
        said(&stage.send("HEAD", "/trello", &Vec::new(), b"")),
        (200, "")
    );
    assert_eq!(stage.send("GET", "/trello", &Vec::new(), b"").status, 405);
    stage.untouched(1, "trello");
}

#[test]
fn microsoft_graphs_token_comes_back_as_text() {
    let stage = Stage::of("microsoft-graph", "");
    let check = |query: &str| {
        stage.send(
            "POST",
            &format!("/microsoft-graph?{query}"),
            &Vec::new(),
            b"",
        )
    };
    let answer = check("validationToken=Validation%3a+Testing+client%20Request-Id%3A+522a8e7e");
    assert_eq!(
        said(&answer),
        (200, "Validation: Testing client Request-Id: 522a8e7e")
    );
    is_inert(&answer, "text/plain");
    // No line ends that could forge a header, no markup, no second token to choose from.
    for query in [
        "validationToken=%3Cscript%3E",
        "validationToken=a%0d%0aX:1",
        "validationToken=a&validationToken=b",
        &format!("validationToken={}", "a".repeat(513)),
    ] {
        let answer = check(query);
        assert_ne!(answer.status, 200, "{query}");
        assert!(answer.body.is_empty());
    }
    stage.untouched(1, "microsoft-graph");
}

/// WooCommerce calls with HTTP/1.0: WordPress' HTTP API says so by default. With libcurl 7.88 under
/// it, the handshake offers `http/1.0` and nothing else.
#[test]
fn woocommerces_ping_and_orders_come_over_http_1_0() {
    let stage = Stage::of("woocommerce", "");
    let send = |lines: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "POST /woocommerce HTTP/1.0\r\nHost: localhost\r\nUser-Agent: WooCommerce/10.3 Hookshot (WordPress/6.9)\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
        );
        let client = stage.client.offering(&["http/1.0"]);
        client.raw(request.as_bytes()).expect("an answer")
    };
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(said(&send(form, "webhook_id=5")), (200, ""));
    stage.untouched(1, "woocommerce");
    assert_eq!(send(form, "order_id=5").status, 401);
    let order =
        r#"{"id":10017,"number":"10017","status":"processing","total":"25.50","name":"Zoë"}"#;
    let mac = BASE64.encode(&hmac(KEY.as_bytes(), order.as_bytes()));
    let lines = format!(
        "Content-Type: application/json\r\nConnection: close\r\nX-WC-Webhook-Topic: order.updated\r\nX-WC-Webhook-Delivery-ID: d1\r\nX-WC-Webhook-Signature: {mac}\r\n"
    );
    assert_eq!(said(&send(&lines, order)), (200, ""));
    assert_eq!(said(&send(&lines, order)), (200, ""));
    assert_eq!(stage.app.wait_for(1)[0].body, order.as_bytes());
    assert_eq!(stage.gateway.verdicts("woocommerce", "duplicate"), 1);
    // What HTTP/1.0 does not have is not read into it.
    let chunked = "POST /woocommerce HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = stage.client.raw(chunked.as_bytes());
    assert!(answer.is_none_or(|answer| answer.status == 400));
}
