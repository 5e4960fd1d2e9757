//! Keys and certificates that are fetched from the providers' own hosts, which the test plays.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, SigningKey};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

use crate::harness::sign::Fields;
use crate::harness::web::{Say, say, say_with};
use crate::harness::{App, FakeClock, Gateway, Response, Site, Web, eventually, now};

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn rsa() -> KeyPair {
    KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()
}

/// A self-signed certificate in PEM: what vouches for it is where it lies.
fn certificate(key: &KeyPair) -> String {
    let params = rcgen::CertificateParams::new(vec!["signer.test".to_owned()]).unwrap();
    params.self_signed(key).unwrap().pem()
}

// ---- PayPal: a certificate by its address, a token, a question

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

fn paypal_api(asked: &crate::harness::web::Asked, mood: PayPal) -> Say {
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

// ---- Google Pub/Sub: a set of keys that turns over

fn jwk(key: &KeyPair, kid: &str) -> serde_json::Value {
    let spki = key.subject_public_key_info();
    let (_, spki) = SubjectPublicKeyInfo::from_der(&spki).unwrap();
    let PublicKey::RSA(rsa) = spki.parsed().unwrap() else {
        panic!("not RSA");
    };
    let modulus = rsa.modulus.strip_prefix(&[0]).unwrap_or(rsa.modulus);
    serde_json::json!({
        "kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid,
        "n": BASE64URL_NOPAD.encode(modulus), "e": BASE64URL_NOPAD.encode(rsa.exponent),
    })
}

const PUBSUB: &str = "[config]\naudience = \"https://pay.example.com/push\"\nservice_account = \"push@test.iam.gserviceaccount.com\"\n";

fn push(gateway: &Gateway, key: &KeyPair, kid: &str, at: u64, id: &str) -> u16 {
    let head = format!(r#"{{"alg":"RS256","kid":"{kid}","typ":"JWT"}}"#);
    let claims = serde_json::json!({
        "iss": "https://accounts.google.com", "aud": "https://pay.example.com/push",
        "email": "push@test.iam.gserviceaccount.com", "email_verified": true,
        "iat": at, "exp": at + 3600,
    });
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let signed = format!("{}.{}", encode(&head), encode(&claims.to_string()));
    let signature = BASE64URL_NOPAD.encode(&key.sign(signed.as_bytes()).unwrap());
    let bearer = format!("Bearer {signed}.{signature}");
    let body = format!(r#"{{"message":{{"data":"e30=","messageId":"{id}"}},"subscription":"s"}}"#);
    let headers = fields(&[("Authorization", &bearer)]);
    gateway
        .client()
        .post("/pubsub", &headers, body.as_bytes())
        .status
}

#[test]
fn a_new_key_is_fetched_once_and_a_flood_of_unknown_ones_is_not() {
    let (app, mut web) = (App::start(), Web::new());
    let keys = Arc::new(Mutex::new(Vec::new()));
    let (old, new) = (rsa(), rsa());
    keys.lock().unwrap().push(jwk(&old, "old"));
    let published = keys.clone();
    web.host(&["www.googleapis.com"], move |_| {
        let keys = published.lock().unwrap().clone();
        let body = serde_json::json!({ "keys": keys }).to_string();
        say_with(200, "Cache-Control: public, max-age=3600\r\n", body)
    });
    let site = Site::with_settings(&web.settings());
    site.bind("pubsub", "google-pubsub", &app.url("/"), PUBSUB);
    let (gateway, clock) = FakeClock::start(&site);
    assert_eq!(push(&gateway, &old, "old", now(), "m-1"), 204);
    assert_eq!(push(&gateway, &old, "old", now(), "m-2"), 204);
    assert_eq!(web.lines(), ["GET www.googleapis.com/oauth2/v3/certs"]);
    // Anybody can make up key ids: the keys are a moment old, so nobody is asked.
    for n in 0..50 {
        assert_eq!(
            push(&gateway, &new, &format!("made-up-{n}"), now(), "m-3"),
            401
        );
        assert_eq!(gateway.reasons()[0], "key_unknown");
    }
    assert_eq!(web.lines().len(), 1);
    if !clock.runs() {
        eprintln!("libfaketime is not installed: the turn of the keys is not tested here");
        return;
    }
    keys.lock().unwrap().push(jwk(&new, "new"));
    clock.advance(90);
    let later = now() + 90;
    assert_eq!(push(&gateway, &new, "new", later, "m-4"), 204);
    assert_eq!(push(&gateway, &old, "old", later, "m-5"), 204);
    assert_eq!(push(&gateway, &new, "new", later, "m-6"), 204);
    assert_eq!(web.lines().len(), 2, "one refetch brings the new key");
    for n in 0..50 {
        assert_eq!(
            push(&gateway, &new, &format!("made-up-{n}"), later, "m-7"),
            401
        );
    }
    assert_eq!(web.lines().len(), 2);
    clock.advance(90);
    for n in 0..50 {
        assert_eq!(
            push(&gateway, &new, &format!("again-{n}"), now() + 180, "m-8"),
            401
        );
    }
    assert_eq!(web.lines().len(), 3);
    app.wait_for(5);
}

// ---- Amazon SNS: a certificate by its address, an address to visit

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:payments";
const SNS: &str = "sns.eu-central-1.amazonaws.com";

fn subscription(key: &KeyPair, cert_host: &str, visit: &str) -> String {
    let (id, text, token) = (
        visit.len(),
        "You have chosen to subscribe.\nVisit it.",
        "2336412f37",
    );
    let time = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
    let message = format!(
        "Message\n{text}\nMessageId\nid-{id}\nSubscribeURL\n{visit}\nTimestamp\n{time}\nToken\n{token}\nTopicArn\n{TOPIC}\nType\nSubscriptionConfirmation\n"
    );
    serde_json::json!({
        "Type": "SubscriptionConfirmation", "MessageId": format!("id-{id}"), "TopicArn": TOPIC,
        "Message": text, "Timestamp": time, "Token": token, "SignatureVersion": "2",
        "SubscribeURL": visit,
        "Signature": BASE64.encode(&key.sign(message.as_bytes()).unwrap()),
        "SigningCertURL": format!("https://{cert_host}/SimpleNotificationService-0001.pem"),
    })
    .to_string()
}

#[test]
fn a_subscription_is_confirmed_by_one_visit_to_amazon_and_to_nobody_else() {
    let (app, mut web) = (App::start(), Web::new());
    let key = rsa();
    let pem = certificate(&key);
    let elsewhere = "sns.eu-central-1.amazonaws.com.example.com";
    web.host(
        &[SNS, "s3.eu-central-1.amazonaws.com", elsewhere],
        move |asked| match asked.target.starts_with("/SimpleNotificationService-") {
            true => say(200, &pem),
            false => say(200, "<ConfirmSubscriptionResponse/>"),
        },
    );
    let site = Site::with_settings(&web.settings());
    site.bind(
        "sns",
        "aws-sns",
        &app.url("/"),
        &format!("[config]\ntopic_arn = \"{TOPIC}\"\n"),
    );
    let gateway = site.start();
    let send = |body: &str| gateway.client().post("/sns", &Vec::new(), body.as_bytes());
    let query = format!("?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37");
    let answer = send(&subscription(&key, SNS, &format!("https://{SNS}/{query}")));
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let visits = [
        format!("GET {SNS}/SimpleNotificationService-0001.pem"),
        format!("GET {SNS}/{query}"),
    ];
    assert_eq!(web.lines(), visits);
    // Signed all the same, and still not followed.
    for visit in [
        format!("https://{elsewhere}/{query}"),
        format!("https://s3.eu-central-1.amazonaws.com/{query}"),
        format!("http://{SNS}/{query}"),
        format!("https://{SNS}:8443/{query}"),
        format!("https://user@{SNS}/{query}"),
        format!("https://{SNS}@{elsewhere}/{query}"),
        format!("https://169.254.169.254/{query}"),
    ] {
        let answer = send(&subscription(&key, SNS, &visit));
        assert_eq!(answer.status, 401, "{visit}");
    }
    // A certificate from elsewhere is not even fetched.
    let answer = send(&subscription(
        &key,
        elsewhere,
        &format!("https://{SNS}/{query}"),
    ));
    assert_eq!(
        (answer.status, gateway.reasons()[0].as_str()),
        (401, "key_untrusted")
    );
    assert_eq!(web.lines(), visits);
    assert!(gateway.events().is_empty());
    assert_eq!(app.count(), 0);
}

// ---- Circle: a key by its id

#[test]
fn circles_key_is_fetched_by_its_id_and_redirects_lead_nowhere() {
    let (app, mut web) = (App::start(), Web::new());
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let public = BASE64.encode(&key.subject_public_key_info());
    web.host(&["api.circle.com", "elsewhere.example.com"], move |asked| {
        assert_eq!(
            asked.header("authorization"),
            "Bearer TEST_API_KEY:callseal:0001"
        );
        match asked.target.rsplit('/').next() {
            Some("moved") => say_with(302, "Location: https://elsewhere.example.com/key\r\n", ""),
            Some("vast") => say(200, vec![b' '; 300 * 1024]),
            Some("unknown") => say(404, r#"{"code":2,"message":"not found"}"#),
            Some("known") => say(
                200,
                format!(r#"{{"data":{{"id":"known","publicKey":"{public}"}}}}"#),
            ),
            _ => say(500, ""),
        }
    });
    let site = Site::with_settings(&web.settings());
    site.key("api", "TEST_API_KEY:callseal:0001");
    site.bind(
        "circle",
        "circle",
        &app.url("/"),
        "[secrets]\napi_key = \"file:keys/api\"\n",
    );
    let gateway = site.start();
    let head = gateway.client().send("HEAD", "/circle", &Vec::new(), b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(web.lines().is_empty());
    let time = humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string();
    let body = format!(
        r#"{{"notificationId":"n-1","notificationType":"transactions.inbound","notification":{{"amounts":["25.99"]}},"timestamp":"{time}"}}"#
    );
    let signature = BASE64.encode(&key.sign(body.as_bytes()).unwrap());
    let send = |id: &str| {
        let headers = fields(&[("X-Circle-Key-Id", id), ("X-Circle-Signature", &signature)]);
        gateway.client().post("/circle", &headers, body.as_bytes())
    };
    for (id, status, reason) in [
        ("moved", 503, "unready"),
        ("vast", 503, "unready"),
        ("ill", 503, "unready"),
        ("unknown", 401, "key_unknown"),
        ("..%2f..", 401, "field_malformed"),
        ("../../secrets", 401, "field_malformed"),
    ] {
        assert_eq!(send(id).status, status, "{id}");
        assert_eq!(gateway.reasons()[0], reason, "{id}");
    }
    assert_eq!(send("known").status, 200);
    assert_eq!(send("known").status, 200);
    let lines = web.lines();
    let keys = "GET api.circle.com/v2/notifications/publicKey";
    assert_eq!(
        lines,
        ["moved", "vast", "ill", "unknown", "known"].map(|id| format!("{keys}/{id}"))
    );
    // A stranger who makes up ids is cut off soon; the key that is there is still good.
    for n in 0..60 {
        send(&format!("made-up-{n}"));
    }
    let asked = web.lines().len() - lines.len();
    assert!(asked <= 20, "{asked}");
    assert_eq!(send("known").status, 200);
    eventually("the delivery", || (app.count() == 1).then_some(()));
    gateway.keeps_secret(&["TEST_API_KEY:callseal:0001"]);
    let redirected = gateway.metric("callseal_outbound_requests_total{result=\"redirect\"}");
    let large = gateway.metric("callseal_outbound_requests_total{result=\"answer_too_large\"}");
    assert_eq!((redirected, large), (1.0, 1.0));
    // The digest of what was signed is nobody's secret, but no log needs it.
    let digest = HEXLOWER.encode(signature.as_bytes());
    gateway.keeps_secret(&[&digest, &signature]);
}

// ---- WeChat Pay: certificates that come encrypted, asked for with a signed request

const APIV3: &[u8; 32] = b"callseal-apiv3-test-key-00000001";

/// AES-256-GCM as WeChat Pay writes it: the tag behind the text, in base64.
fn sealed(text: &str, nonce: &[u8; 12], aad: &str) -> String {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, APIV3).unwrap();
    let key = aead::LessSafeKey::new(key);
    let nonce = aead::Nonce::assume_unique_for_key(*nonce);
    let mut text = text.as_bytes().to_vec();
    key.seal_in_place_append_tag(nonce, aead::Aad::from(aad), &mut text)
        .unwrap();
    BASE64.encode(&text)
}

/// `name="value"` in an Authorization field.
fn quoted<'a>(field: &'a str, name: &str) -> &'a str {
    let (_, rest) = field.split_once(&format!("{name}=\"")).unwrap();
    rest.split_once('"').unwrap().0
}

#[test]
fn wechat_pays_certificates_are_fetched_with_a_signed_request_and_opened() {
    let (app, mut web) = (App::start(), Web::new());
    let (platform, merchant) = (rsa(), rsa());
    let certificate = certificate(&platform);
    let merchant_key = merchant.serialize_pem();
    web.host(&["api.mch.weixin.qq.com"], move |asked| {
        // https://pay.weixin.qq.com/doc/v3/merchant/4012365342: what a request signs.
        let proof = asked.header("authorization");
        let (kind, _) = proof.split_once(' ').unwrap();
        assert_eq!(kind, "WECHATPAY2-SHA256-RSA2048");
        let [at, nonce] = ["timestamp", "nonce_str"].map(|name| quoted(proof, name));
        let signed = format!("GET\n/v3/certificates\n{at}\n{nonce}\n\n");
        let signature = BASE64.decode(quoted(proof, "signature").as_bytes());
        let expected = merchant.sign(signed.as_bytes()).unwrap();
        if signature.unwrap() != expected || quoted(proof, "mchid") != "1900000109" {
            return say(401, r#"{"code":"SIGN_ERROR"}"#);
        }
        let sealed = sealed(&certificate, b"0123456789ab", "certificate");
        let list = serde_json::json!({ "data": [{
            "serial_no": "5157F09EFDC096DE15EBE81A47057A7232F1B8E1",
            "encrypt_certificate": {
                "algorithm": "AEAD_AES_256_GCM", "nonce": "0123456789ab",
                "associated_data": "certificate", "ciphertext": sealed,
            },
        }] });
        say(200, list.to_string())
    });
    let site = Site::with_settings(&web.settings());
    site.key("merchant", &merchant_key);
    site.key("apiv3", APIV3);
    let more = "[config]\nmchid = \"1900000109\"\nmerchant_serial = \"3775B6A45ACD588826D15E583A95F5DD\"\n[secrets]\nmerchant_key = \"file:keys/merchant\"\napiv3 = \"file:keys/apiv3\"\n";
    site.bind("wechat", "wechatpay-v3", &app.url("/"), more);
    let gateway = site.start();
    let send = |id: &str, serial: &str| {
        let at = now().to_string();
        let paid = r#"{"out_trade_no":"A-10017","trade_state":"SUCCESS","transaction_id":"42","amount":{"total":2599}}"#;
        let body = serde_json::json!({
            "id": id, "resource_type": "encrypt-resource", "event_type": "TRANSACTION.SUCCESS",
            "resource": {
                "algorithm": "AEAD_AES_256_GCM", "nonce": "ba9876543210",
                "associated_data": "", "ciphertext": sealed(paid, b"ba9876543210", ""),
            },
        })
        .to_string();
        let message = format!("{at}\nnonce-{id}\n{body}\n");
        let headers = fields(&[
            ("Wechatpay-Timestamp", &at),
            ("Wechatpay-Nonce", &format!("nonce-{id}")),
            ("Wechatpay-Serial", serial),
            (
                "Wechatpay-Signature",
                &BASE64.encode(&platform.sign(message.as_bytes()).unwrap()),
            ),
        ]);
        gateway
            .client()
            .post("/wechat", &headers, body.as_bytes())
            .status
    };
    let serial = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1";
    assert_eq!(send("EV-1", serial), 200);
    assert_eq!(send("EV-2", serial), 200);
    assert_eq!(
        send("EV-3", "5157F09EFDC096DE15EBE81A47057A7232F1B8E2"),
        401
    );
    assert_eq!(gateway.reasons()[0], "key_unknown");
    assert_eq!(web.lines(), ["GET api.mch.weixin.qq.com/v3/certificates"]);
    app.wait_for(2);
    let private: Vec<&str> = merchant_key.lines().skip(1).take(3).collect();
    gateway.keeps_secret(&[std::str::from_utf8(APIV3).unwrap()]);
    gateway.keeps_secret(&private);
}
