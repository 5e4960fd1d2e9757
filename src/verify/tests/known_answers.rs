//! Published known answers, where the file with them lies beside the checkout.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use http::Method;
use serde_json::Value;

use crate::rule::catalogue;
use crate::rule::compile::compile_provider;
use crate::rule::provider::{Example, Provider};
use crate::verify::example::{request, verifier};
use crate::verify::{Judgement, Rejection};

fn vectors() -> Option<Vec<Value>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/vectors/known-answers.json");
    let text = std::fs::read_to_string(path).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

fn field<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap()
}

/// Headers and body.
type Parts = (Vec<(&'static str, String)>, Bytes);

struct Case {
    provider: &'static str,
    vector: &'static str,
    at: u64,
    /// Makes headers and body from the signed bytes and the signature.
    request: fn(&[u8], &str) -> Parts,
}

fn body_only(message: &[u8]) -> Bytes {
    Bytes::copy_from_slice(message)
}

/// The signed bytes, split at a separator into so many leading parts and the body.
fn parts(message: &[u8], separator: char, leading: usize) -> (Vec<String>, Bytes) {
    let text = String::from_utf8(message.to_vec()).unwrap();
    let mut parts: Vec<String> = text
        .splitn(leading + 1, separator)
        .map(str::to_owned)
        .collect();
    let body = parts.pop().unwrap();
    (parts, Bytes::from(body))
}

const CASES: [Case; 7] = [
    Case {
        provider: "standard-webhooks",
        vector: "standard-webhooks.v1",
        at: 1_614_265_330,
        request: |message, signature| {
            let (parts, body) = parts(message, '.', 2);
            let headers = vec![
                ("webhook-id", parts[0].clone()),
                ("webhook-timestamp", parts[1].clone()),
                ("webhook-signature", format!("v1,{signature}")),
            ];
            (headers, body)
        },
    },
    Case {
        provider: "stripe",
        vector: "stripe.v1.generated",
        at: 1_754_000_000,
        request: |message, signature| {
            let (parts, body) = parts(message, '.', 1);
            (
                vec![("stripe-signature", format!("t={},v1={signature}", parts[0]))],
                body,
            )
        },
    },
    Case {
        provider: "slack",
        vector: "slack.docs",
        at: 1_531_420_618,
        request: |message, signature| {
            let (parts, body) = parts(message, ':', 2);
            let headers = vec![
                ("x-slack-request-timestamp", parts[1].clone()),
                ("x-slack-signature", format!("v0={signature}")),
            ];
            (headers, body)
        },
    },
    Case {
        provider: "github",
        vector: "github.docs",
        at: 0,
        request: |message, signature| {
            (
                vec![("x-hub-signature-256", format!("sha256={signature}"))],
                body_only(message),
            )
        },
    },
    Case {
        provider: "github",
        vector: "github.octokit",
        at: 0,
        request: |message, signature| {
            (
                vec![("x-hub-signature-256", format!("sha256={signature}"))],
                body_only(message),
            )
        },
    },
    Case {
        provider: "wechatpay-v3",
        vector: "wechat.v3.notify",
        at: 1_624_523_846,
        request: |message, signature| {
            let (parts, body) = parts(message, '\n', 2);
            let headers = vec![
                ("wechatpay-timestamp", parts[0].clone()),
                ("wechatpay-nonce", parts[1].clone()),
                ("wechatpay-serial", "D7CE59D1F522D701".to_owned()),
                ("wechatpay-signature", signature.to_owned()),
            ];
            (headers, body.slice(..body.len() - 1))
        },
    },
    Case {
        provider: "alipay",
        vector: "alipay.rsa2.trade",
        at: 0,
        request: |message, signature| {
            let escape =
                |text: &str| -> String { text.bytes().map(|b| format!("%{b:02x}")).collect() };
            let text = String::from_utf8(message.to_vec()).unwrap();
            let mut form: Vec<String> = text
                .split('&')
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap();
                    format!("{name}={}", escape(value))
                })
                .collect();
            form.insert(3, format!("sign={}", escape(signature)));
            form.insert(7, "sign_type=RSA2".to_owned());
            form.reverse();
            (Vec::new(), Bytes::from(form.join("&")))
        },
    },
];

/// Vectors that a shipped file covers, of which it needs more than headers and a body.
type Answer = (&'static str, &'static str, fn(&str, &str, &mut Example));

fn set(example: &mut Example, headers: &[(&str, &str)], body: &str) {
    let headers = headers.iter();
    example.headers = headers
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    example.body = Bytes::copy_from_slice(body.as_bytes());
}

fn key(example: &mut Example, text: &str) {
    example.keys = vec![(None, text.to_owned())];
}

fn body_under(header: &'static str, message: &str, signature: &str, example: &mut Example) {
    set(example, &[(header, signature)], message);
}

fn square(message: &str, signature: &str, example: &mut Example) {
    let (url, body) = message.split_at(message.find('{').unwrap());
    example.url = Some(url.to_owned());
    set(
        example,
        &[("x-square-hmacsha256-signature", signature)],
        body,
    );
}

fn twilio(message: &str, signature: &str, example: &mut Example) {
    let (url, _) = message.split_at(message.find("CallSid").unwrap());
    example.url = Some(url.to_owned());
    let form = "To=%2B18005551212&From=%2B14158675309&Digits=1234&Caller=%2B14158675309\
                &CallSid=CA1234567890ABCDE";
    set(example, &[("x-twilio-signature", signature)], form);
}

fn paddle(message: &str, signature: &str, example: &mut Example) {
    let (ts, body) = message.split_once(':').unwrap();
    example.at = ts.parse().unwrap();
    set(
        example,
        &[("paddle-signature", &format!("ts={ts};h1={signature}"))],
        body,
    );
}

fn hubspot_v2(message: &str, signature: &str, example: &mut Example) {
    let (secret, rest) = message.split_at(36);
    key(example, secret);
    let (method, rest) = rest.split_once("https").unwrap();
    example.method = method.parse().unwrap();
    let url = "https://www.example.com/webhook_uri";
    example.url = Some(url.to_owned());
    let body = format!("https{rest}").replace(url, "");
    set(example, &[("x-hubspot-signature", signature)], &body);
}

fn xml(message: &str, signature: &str, example: &mut Example) {
    let (fields, secret) = message.rsplit_once("&key=").unwrap();
    key(example, secret);
    let mut body = format!("<xml><sign>{signature}</sign>");
    for (name, value) in fields.split('&').map(|pair| pair.split_once('=').unwrap()) {
        body.push_str(&format!("<{name}><![CDATA[{value}]]></{name}>"));
        if name == "mch_id" {
            example.config.insert(name.to_owned(), value.to_owned());
        }
    }
    set(example, &[], &format!("{body}</xml>"));
}

fn payu(scheme: &'static str, signature: &str, example: &mut Example) {
    key(example, "SignatureKey");
    example.schemes = vec![scheme.to_owned()];
    let algorithm = scheme.to_ascii_uppercase();
    let value =
        format!("sender=checkout;signature={signature};algorithm={algorithm};content=DOCUMENT");
    set(example, &[("openpayu-signature", &value)], "OpenPayUData");
}

const ANSWERS: &[Answer] = &[
    ("adyen-platform", "adyen.platform.header", |m, s, e| {
        body_under("hmacsignature", m, s, e)
    }),
    ("adyen", "adyen.item.event", |m, s, e| adyen(m, s, e)),
    ("adyen", "adyen.item.report_available", |m, s, e| {
        adyen(m, s, e)
    }),
    ("square", "square.1", square),
    ("square", "square.2", square),
    ("square", "square.3", square),
    ("razorpay", "razorpay.webhook", |m, s, e| {
        body_under("x-razorpay-signature", m, s, e)
    }),
    ("twilio", "twilio.form", twilio),
    ("twilio", "twilio.port443", twilio),
    ("twilio", "twilio.port80", twilio),
    ("twilio", "twilio.http1234", twilio),
    ("twilio", "twilio.creds", twilio),
    ("twilio", "twilio.bodySHA256", |m, s, e| {
        let (url, query) = m.split_once("&bodySHA256=").unwrap();
        e.url = Some(url.to_owned());
        e.query = Some(format!("foo=1&bar=2&bodySHA256={query}"));
        let body = "{\"property\": \"value\", \"boolean\": true}";
        set(e, &[("x-twilio-signature", s)], body);
    }),
    ("coinbase-commerce", "coinbase-commerce", |m, s, e| {
        body_under("x-cc-webhook-signature", m, s, e);
    }),
    ("paddle", "paddle.1", paddle),
    ("paddle", "paddle.2", paddle),
    ("gocardless", "gocardless", |m, s, e| {
        body_under("webhook-signature", m, s, e)
    }),
    ("hubspot-v1", "hubspot.v1", |m, s, e| {
        key(e, &m[..36]);
        body_under("x-hubspot-signature", &m[36..], s, e);
    }),
    ("hubspot-v2", "hubspot.v2.get", hubspot_v2),
    ("hubspot-v2", "hubspot.v2.post", hubspot_v2),
    ("wechatpay-v2", "wechat.v2.md5", xml),
    ("wechatpay-v2", "wechat.v2.hmac", xml),
    ("unionpay-qra", "unionpay.qra.md5", xml),
    ("sendgrid", "sendgrid", |m, s, e| {
        e.at = m[..10].parse().unwrap();
        let headers = [
            ("x-twilio-email-event-webhook-signature", s),
            ("x-twilio-email-event-webhook-timestamp", &m[..10]),
        ];
        set(e, &headers, &m[10..]);
    }),
    ("wise", "wise.sandbox", |m, s, e| {
        body_under("x-signature-sha256", m, s, e)
    }),
    ("payu", "payu.pl.md5", |_, s, e| payu("md5", s, e)),
    ("payu", "payu.pl.sha1", |_, s, e| payu("sha1", s, e)),
    ("payu", "payu.pl.sha256", |_, s, e| payu("sha256", s, e)),
    ("payu-india", "payu.in.reverse", |_, s, e| {
        key(e, "secret");
        let form = "status=success&email=test%40example.com&firstname=Payu-Admin\
                    &productinfo=Product+Info&amount=10.00&txnid=4ba4afe87f7e73468f2a\
                    &key=merchant_id&hash=";
        set(e, &[], &format!("{form}{s}"));
    }),
    ("coinify", "coinify.docs", |m, s, e| {
        body_under("x-coinify-webhook-signature", m, s, e)
    }),
    ("tokenpay", "tokenpay.notify", |m, s, e| {
        // The key stands right behind the last value, a payment's time or status.
        let token = "666";
        key(e, token);
        let fields = m.strip_suffix(token).unwrap();
        let pairs = fields.split('&').map(|pair| pair.split_once('=').unwrap());
        let mut members: Vec<String> = pairs.map(|(n, v)| format!("\"{n}\":\"{v}\"")).collect();
        members.push(format!("\"Signature\":\"{s}\""));
        set(e, &[], &format!("{{{}}}", members.join(",")));
    }),
    ("quickpay", "quickpay.v10", |m, s, e| {
        body_under("quickpay-checksum-sha256", m, s, e)
    }),
];

/// One item with the eight fields that are signed.
fn adyen(message: &str, signature: &str, example: &mut Example) {
    let fields: Vec<&str> = message.split(':').collect();
    let body = format!(
        "{{\"notificationItems\":[{{\"NotificationRequestItem\":{{\"pspReference\":\"{}\",\
         \"originalReference\":\"{}\",\"merchantAccountCode\":\"{}\",\"merchantReference\":\"{}\",\
         \"amount\":{{\"value\":{},\"currency\":\"{}\"}},\"eventCode\":\"{}\",\"success\":\"{}\",\
         \"additionalData\":{{\"hmacSignature\":\"{signature}\"}}}}}}]}}",
        fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], fields[6], fields[7]
    );
    set(example, &[], &body);
}

/// Vectors that no shipped file speaks of, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("adyen.hpp.escaped", "payment pages that Adyen has closed"),
    (
        "razorpay.payment",
        "what the browser brings back, and no webhook",
    ),
    (
        "razorpay.subscription",
        "what the browser brings back, and no webhook",
    ),
    (
        "razorpay.payment_link",
        "what the browser brings back, and no webhook",
    ),
    (
        "braintree.challenge",
        "the reply to a question; an example of the file proves it",
    ),
    (
        "wechat.v3.resource",
        "a key of 16 bytes, and real ones have 32; tested with the cipher",
    ),
    (
        "unionpay.5.1.0",
        "the signed parameters themselves are not published",
    ),
    ("payfast", "without the passphrase that the file demands"),
    ("robokassa", "no file"),
    (
        "tokenpay.create",
        "a request of the merchant, and no callback",
    ),
    ("epusdt", "an example of the file"),
    ("moralis.streams", "an example of the file"),
    ("douyin.pay", "an older way; the file knows the newer"),
    (
        "rfc9421.b25.hmac",
        "no body is covered; tested with the message signatures",
    ),
    (
        "rfc9421.b26.ed25519",
        "no body is covered; tested with the message signatures",
    ),
    ("paypal.crc32", "the certificate is not published"),
    ("googlepay.ecv1", "payment tokens; the file is about passes"),
    ("apple.assn2.test", "tested with the certificates"),
];

#[test]
fn every_published_answer_that_a_file_covers_is_found_right() {
    let Some(vectors) = vectors() else {
        println!("skipped: ../shared/vectors/known-answers.json is not there");
        return;
    };
    let mut faults = Vec::new();
    for vector in &vectors {
        let id = field(vector, "id");
        let older = CASES.iter().any(|case| case.vector == id);
        let elsewhere = ELSEWHERE
            .iter()
            .any(|(known, why)| *known == id && !why.is_empty());
        let Some((file, _, build)) = ANSWERS.iter().find(|(_, known, _)| *known == id) else {
            if !older && !elsewhere {
                faults.push(format!("{id}: nobody looks at it"));
            }
            continue;
        };
        let message = BASE64
            .decode(field(vector, "message_b64").as_bytes())
            .unwrap();
        let message = String::from_utf8(message).unwrap();
        let mut example = blank(id, field(vector, "key"));
        build(&message, field(vector, "signature"), &mut example);
        let verifier = verifier(&provider(file), &example).unwrap();
        let request = request(&example);
        if let Err(reason) = verifier.seal(&request, example.now()) {
            faults.push(format!("{file}, {id}: {reason}"));
        }
        let mut spoiled = request.clone();
        spoiled.body = Bytes::from([&request.body[..], b"x"].concat());
        if verifier.seal(&spoiled, example.now()).is_ok() {
            faults.push(format!("{file}, {id}: another body is accepted"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn blank(name: &str, key: &str) -> Example {
    Example {
        name: name.to_owned(),
        rejected: None,
        at: 0,
        method: Method::POST,
        path: "/".to_owned(),
        query: None,
        headers: Vec::new(),
        body: Bytes::new(),
        keys: vec![(None, key.to_owned())],
        config: Default::default(),
        secrets: Default::default(),
        url: None,
        event_id: None,
        event_type: None,
        reply: None,
        payment: Default::default(),
        schemes: Vec::new(),
        action: None,
        remote: Vec::new(),
    }
}

fn example(case: &Case, vector: &Value) -> Example {
    let message = BASE64
        .decode(field(vector, "message_b64").as_bytes())
        .unwrap();
    let (headers, body) = (case.request)(&message, field(vector, "signature"));
    let mut example = blank(case.vector, field(vector, "key"));
    example.at = case.at;
    let headers = headers.into_iter();
    example.headers = headers.map(|(n, v)| (n.to_owned(), v)).collect();
    example.body = body;
    if case.provider == "alipay" {
        let app = "2019073166072302".to_owned();
        example.config.insert("app_id".to_owned(), app);
    }
    example
}

fn provider(name: &str) -> Arc<Provider> {
    Arc::new(
        compile_provider(name, catalogue::text(name).unwrap())
            .unwrap()
            .0,
    )
}

#[test]
fn the_published_answers_are_found_right() {
    let Some(vectors) = vectors() else {
        println!("skipped: ../shared/vectors/known-answers.json is not there");
        return;
    };
    for case in &CASES {
        let vector = vectors.iter().find(|v| v["id"] == case.vector).unwrap();
        let example = example(case, vector);
        let verifier = verifier(&provider(case.provider), &example).unwrap();
        let request = request(&example);
        match verifier.judge(&request, example.now()) {
            Ok(Judgement::Event { .. }) => {}
            // Slack's own vector is a slash command: its signature is right, its body no JSON.
            Err(Rejection::BodyMalformed { .. }) if case.vector == "slack.docs" => {}
            other => panic!("{}: {other:?}", case.vector),
        }
        let mut spoiled = request.clone();
        spoiled.body = Bytes::from([&request.body[..], b"x"].concat());
        assert!(
            matches!(
                verifier.judge(&spoiled, example.now()),
                Err(Rejection::SignatureMismatch { .. }
                    | Rejection::FieldRepeated { .. }
                    | Rejection::SignatureMalformed)
            ),
            "{}",
            case.vector
        );
    }
}
