//! Keys and certificates that are fetched from the providers' own hosts, which the test plays.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

use crate::harness::sign::{certificate, of as fields, rsa};
use crate::harness::web::{say, say_with};
use crate::harness::{App, FakeClock, Gateway, Site, Web, eventually, now};

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

/// Made-up keys in a row. Few, since the host is asked again after a minute, and they are to be
/// through by then also on a busy machine.
const FLOOD: usize = 15;

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
    let ill = Arc::new(AtomicBool::new(false));
    let is_ill = ill.clone();
    web.host(&["www.googleapis.com"], move |_| {
        if is_ill.load(Ordering::SeqCst) {
            return say(503, "");
        }
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
    for n in 0..FLOOD {
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
    for n in 0..FLOOD {
        assert_eq!(
            push(&gateway, &new, &format!("made-up-{n}"), later, "m-7"),
            401
        );
    }
    assert_eq!(web.lines().len(), 2);
    clock.advance(90);
    for n in 0..FLOOD {
        assert_eq!(
            push(&gateway, &new, &format!("again-{n}"), now() + 180, "m-8"),
            401
        );
    }
    assert_eq!(web.lines().len(), 3);
    // While the host is ill, an unknown key may be a new one: nobody is turned away for good, and
    // the keys that are there go on.
    ill.store(true, Ordering::SeqCst);
    clock.advance(90);
    let later = now() + 270;
    for n in 0..5 {
        let id = format!("newest-{n}");
        assert_eq!(push(&gateway, &new, &id, later, "m-9"), 503);
        assert_eq!(gateway.reasons()[0], "unready");
    }
    assert_eq!(push(&gateway, &old, "old", later, "m-10"), 204);
    assert_eq!(web.lines().len(), 4);
    app.wait_for(6);
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
        "[config]\nsubscription_id = \"s-1\"\n[secrets]\napi_key = \"file:keys/api\"\n",
    );
    let gateway = site.start();
    let began = std::time::Instant::now();
    let head = gateway.client().send("HEAD", "/circle", &Vec::new(), b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(web.lines().is_empty());
    let time = humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string();
    let body = format!(
        r#"{{"subscriptionId":"s-1","notificationId":"n-1","notificationType":"transactions.inbound","notification":{{"amounts":["25.99"]}},"timestamp":"{time}"}}"#
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
    let asked = (web.lines().len() - lines.len()) as u64;
    // One more for every three seconds that it took.
    let most = 20 + began.elapsed().as_secs() / 3;
    assert!(asked <= most && asked < 60, "{asked}");
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
