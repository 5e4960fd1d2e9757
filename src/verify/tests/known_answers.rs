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

fn example(case: &Case, vector: &Value) -> Example {
    let message = BASE64
        .decode(field(vector, "message_b64").as_bytes())
        .unwrap();
    let (headers, body) = (case.request)(&message, field(vector, "signature"));
    Example {
        name: case.vector.to_owned(),
        rejected: None,
        at: case.at,
        method: Method::POST,
        path: "/".to_owned(),
        query: None,
        headers: headers
            .into_iter()
            .map(|(n, v)| (n.to_owned(), v))
            .collect(),
        body,
        keys: vec![(None, field(vector, "key").to_owned())],
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
