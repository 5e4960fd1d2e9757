//! PayPal's REST webhooks: a certificate by its address, a token, and a question about every body.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use rcgen::{KeyPair, SigningKey};

use crate::harness::sign::{certificate, of as fields, rsa};
use crate::harness::web::{Asked, Say, say, say_with};
use crate::harness::{App, FakeClock, Gateway, Response, Site, Web, eventually};

const PAYPAL: &str = "[config]\nwebhook_id = \"8AB12345CD6789012\"\n[secrets]\nclient_id = \"file:keys/id\"\nclient_secret = \"file:keys/secret\"\n";
const CLIENT_ID: &str = "callseal-test-client-id-0001";
const CLIENT_SECRET: &str = "callseal-test-client-secret-0001";
const TOKEN: &str = "A21AA-callseal-test-token-0001";
const CERT: &str = "https://api.paypal.com/v1/notifications/certs/CERT-TEST-1";

/// What PayPal's API says at the moment.
#[derive(Clone, Copy, PartialEq)]
enum PayPal {
    Success,
    Failure,
    TokenRefused,
    Ill,
}

fn paypal_api(asked: &Asked, mood: PayPal) -> Say {
    match asked.target.as_str() {
        "/v1/oauth2/token" => {
            let basic = BASE64.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes());
            assert_eq!(asked.header("authorization"), format!("Basic {basic}"));
            assert_eq!(asked.text(), "grant_type=client_credentials");
            if mood == PayPal::TokenRefused {
                return say(401, r#"{"error":"invalid_client"}"#);
            }
            let token =
                format!(r#"{{"access_token":"{TOKEN}","token_type":"Bearer","expires_in":32400}}"#);
            say_with(200, "Content-Type: application/json\r\n", token)
        }
        "/v1/notifications/verify-webhook-signature" => {
            assert_eq!(asked.header("authorization"), format!("Bearer {TOKEN}"));
            match mood {
                PayPal::Failure => say(200, r#"{"verification_status":"FAILURE"}"#),
                PayPal::Ill => say(500, "{}"),
                PayPal::Success | PayPal::TokenRefused => {
                    say(200, r#"{"verification_status":"SUCCESS"}"#)
                }
            }
        }
        _ => say(404, ""),
    }
}

struct PayPalSender {
    key: KeyPair,
    gateway: Gateway,
    clock: FakeClock,
    _site: Site,
}

impl PayPalSender {
    fn start(web: &Web, app: &App, key: KeyPair) -> PayPalSender {
        let site = Site::with_settings(&web.settings());
        site.key("id", CLIENT_ID);
        site.key("secret", CLIENT_SECRET);
        site.bind("paypal", "paypal", &app.url("/"), PAYPAL);
        let (gateway, clock) = FakeClock::start(&site);
        PayPalSender {
            key,
            gateway,
            clock,
            _site: site,
        }
    }
}

impl PayPalSender {
    fn send(&self, id: &str, body: &str) -> Response {
        let time = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let crc = crc32fast::hash(body.as_bytes());
        let message = format!("{id}|{time}|8AB12345CD6789012|{crc}");
        let signature = BASE64.encode(&self.key.sign(message.as_bytes()).unwrap());
        let headers = fields(&[
            ("PAYPAL-TRANSMISSION-ID", id),
            ("PAYPAL-TRANSMISSION-TIME", &time),
            ("PAYPAL-CERT-URL", CERT),
            ("PAYPAL-AUTH-ALGO", "SHA256withRSA"),
            ("PAYPAL-TRANSMISSION-SIG", &signature),
        ]);
        self.gateway
            .client()
            .post("/paypal", &headers, body.as_bytes())
    }
}

fn paypal(mood: &Arc<Mutex<PayPal>>, web: &mut Web, app: &App) -> PayPalSender {
    let key = rsa();
    let pem = certificate(&key);
    web.host(&["api.paypal.com"], move |_| say(200, &pem));
    let mood = mood.clone();
    web.host(&["api-m.paypal.com"], move |asked| {
        let mood = *mood.lock().unwrap();
        paypal_api(asked, mood)
    });
    PayPalSender::start(web, app, key)
}

const CAPTURE: &str = r#"{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"3C6","amount":{"currency_code":"EUR","value":"25.990"},"note":"é \u00e9"} }"#;

#[test]
fn paypal_is_asked_with_a_token_and_with_the_body_as_it_came() {
    let (app, mut web) = (App::start(), Web::new());
    let mood = Arc::new(Mutex::new(PayPal::Success));
    let sender = paypal(&mood, &mut web, &app);
    assert_eq!(sender.send("t-1", CAPTURE).status, 200);
    assert_eq!(sender.send("t-2", CAPTURE).status, 200);
    let verify = "POST api-m.paypal.com/v1/notifications/verify-webhook-signature";
    assert_eq!(
        web.lines(),
        [
            "GET api.paypal.com/v1/notifications/certs/CERT-TEST-1",
            "POST api-m.paypal.com/v1/oauth2/token",
            verify,
            verify,
        ]
    );
    let question = web.asked()[2].text();
    assert!(
        question.ends_with(&format!(r#","webhook_event":{CAPTURE}}}"#)),
        "{question}"
    );
    let asked: serde_json::Value = serde_json::from_str(&question).unwrap();
    assert_eq!(asked["cert_url"], CERT);
    assert_eq!(asked["transmission_id"], "t-1");
    assert_eq!(asked["webhook_id"], "8AB12345CD6789012");
    let deliveries = app.wait_for(2);
    assert!(deliveries.iter().all(|d| d.body == CAPTURE.as_bytes()));
    let basic = BASE64.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}").as_bytes());
    sender.gateway.keeps_secret(&[CLIENT_SECRET, TOKEN, &basic]);
}

#[test]
fn what_paypal_denies_is_rejected_and_what_it_cannot_say_is_put_off() {
    let (app, mut web) = (App::start(), Web::new());
    let mood = Arc::new(Mutex::new(PayPal::Success));
    let sender = paypal(&mood, &mut web, &app);
    for (now, status, reason) in [
        (PayPal::Failure, 401, "not_confirmed"),
        (PayPal::Ill, 503, "unready"),
    ] {
        *mood.lock().unwrap() = now;
        assert_eq!(sender.send("t-1", CAPTURE).status, status);
        assert_eq!(sender.gateway.reasons()[0], reason);
    }
    // A CRC-32 can be kept while the body changes, so PayPal is asked about every body anew.
    *mood.lock().unwrap() = PayPal::Success;
    assert_eq!(sender.send("t-1", CAPTURE).status, 200);
    app.wait_for(1);
    sender.gateway.keeps_secret(&[CLIENT_SECRET, TOKEN]);
}

#[test]
fn credentials_that_paypal_refuses_say_nothing_of_the_event() {
    let (app, mut web) = (App::start(), Web::new());
    let mood = Arc::new(Mutex::new(PayPal::TokenRefused));
    let sender = paypal(&mood, &mut web, &app);
    for id in ["t-1", "t-2", "t-3"] {
        let answer = sender.send(id, CAPTURE);
        assert_eq!((answer.status, answer.body.len()), (503, 0));
        assert!(answer.header("retry-after").is_some());
        assert_eq!(sender.gateway.reasons()[0], "unready");
    }
    // Whoever has wrong credentials does not knock for every callback.
    assert_eq!(web.lines().len(), 2, "{:?}", web.lines());
    sender.gateway.keeps_secret(&[CLIENT_SECRET]);
}

#[test]
fn while_paypal_is_down_the_provider_hears_503_and_its_retry_is_accepted() {
    let (app, mut web) = (App::start(), Web::new());
    let key = rsa();
    let pem = certificate(&key);
    web.host(&["api.paypal.com"], move |_| say(200, &pem));
    let later = web.down(&["api-m.paypal.com"]);
    let sender = PayPalSender::start(&web, &app, key);
    let answer = sender.send("t-1", CAPTURE);
    assert_eq!(answer.status, 503);
    let pause: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&pause));
    assert!(sender.gateway.events().is_empty());
    web.up(later, |asked| paypal_api(asked, PayPal::Success));
    // A host that failed is left alone for five seconds; the provider comes back later than that.
    sender.clock.advance(pause);
    eventually("the retry to be accepted", || {
        (sender.send("t-1", CAPTURE).status == 200).then_some(())
    });
    assert_eq!(app.wait_for(1)[0].body, CAPTURE.as_bytes());
}

#[test]
fn a_certificate_is_taken_from_the_pinned_host_over_tls_only() {
    let (app, mut web) = (App::start(), Web::new());
    let key = rsa();
    let pem = certificate(&key);
    let visited = Arc::new(AtomicUsize::new(0));
    let count = visited.clone();
    // A host that has taken the address and holds a certificate of another name.
    web.impostor("api.paypal.com", "api.example.com", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        say(200, &pem)
    });
    let sender = PayPalSender::start(&web, &app, key);
    assert_eq!(sender.send("t-1", CAPTURE).status, 503);
    assert_eq!(visited.load(Ordering::SeqCst), 0);
    assert!(sender.gateway.events().is_empty());
}
