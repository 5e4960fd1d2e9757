//! Whatever header fields a provider sends, the application sees exactly one of each of ours, with
//! our value, and one request: checked on the bytes of the connection.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncReadExt;

use crate::clock::Timestamp;
use crate::inbox::store::{Lease, StoredEvent};
use crate::message::{EventId, Headers};
use crate::random::SeededRandom;
use crate::relay::request::{self, Outgoing};
use crate::relay::tests::stage::{START, destination, event};
use crate::relay::trace;
use crate::secret::Secret;
use crate::telemetry::trace::Traces;

const ID: EventId = EventId {
    segment: 7,
    offset: 8,
    tag: 9,
};

const OTHER: EventId = EventId {
    segment: 1,
    offset: 1,
    tag: 1,
};

fn lease() -> Lease {
    Lease {
        id: ID,
        attempt: 3,
        round: 2,
        since: START,
        until: Timestamp::MAX,
        grant: 1,
    }
}

/// The bytes that hyper puts on the connection.
fn on_the_wire(outgoing: Outgoing) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        let driven = tokio::spawn(connection);
        let sent = tokio::spawn(async move { sender.send_request(outgoing).await.map(drop) });
        let mut bytes = Vec::new();
        // All is written before anyone waits for an answer; then the connection is dropped.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        sent.abort();
        driven.abort();
        theirs.read_to_end(&mut bytes).await.unwrap();
        bytes
    })
}

/// What a CGI-like application makes of the fields: one variable per name, whatever the spelling.
fn variables(head: &str) -> BTreeMap<String, Vec<String>> {
    let mut variables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in head.split("\r\n").skip(1) {
        let (name, value) = line.split_once(':').unwrap();
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        variables
            .entry(name)
            .or_default()
            .push(value.trim().to_owned());
    }
    variables
}

fn context(event: &StoredEvent) -> trace::Context {
    let (off, random) = (Traces::default(), SeededRandom::new(1));
    trace::Context::begin(&off, &event.headers, lease().id.event(), &random)
}

fn check(headers: &[(String, Vec<u8>)], body: &[u8], signing: bool) {
    let headers: Headers = headers
        .iter()
        .map(|(n, v)| (Bytes::from(n.clone()), Bytes::from(v.clone())))
        .collect();
    let conflict_of = Some(OTHER);
    let stored = StoredEvent {
        headers,
        body: Bytes::copy_from_slice(body),
        conflict_of,
        ..event("shop")
    };
    let key = Secret::new(b"k".to_vec());
    let to = destination(3000);
    let outgoing = request::build(
        &stored,
        &lease(),
        None,
        &to,
        signing.then_some(&key),
        START,
        &context(&stored),
    )
    .unwrap();
    let bytes = on_the_wire(outgoing);
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    assert_eq!(&bytes[end + 4..], body, "the body, and nothing behind it");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    let variables = variables(&head);
    let mut ours = vec![
        ("HOST", "127.0.0.1:3000".to_owned()),
        ("CONTENT_LENGTH", body.len().to_string()),
        ("CALLSEAL_EVENT", ID.to_string()),
        ("CALLSEAL_SOURCE", "shop".into()),
        ("CALLSEAL_PROVIDER", "stripe".into()),
        ("CALLSEAL_ATTEMPT", "3".into()),
        ("CALLSEAL_RECEIVED_AT", START.to_string()),
        ("CALLSEAL_VERIFIED", "hmac-sha256 keys[0]".into()),
        ("CALLSEAL_CONFLICT_OF", OTHER.to_string()),
    ];
    if signing {
        ours.push(("WEBHOOK_ID", ID.to_string()));
        ours.push(("WEBHOOK_TIMESTAMP", START.as_secs().to_string()));
        ours.push((
            "WEBHOOK_SIGNATURE",
            crate::relay::sign::signature(&key, &ID.to_string(), START, body),
        ));
    }
    for (name, value) in &ours {
        assert_eq!(
            variables.get(*name),
            Some(&vec![value.clone()]),
            "{name} in {head}"
        );
    }
    assert_eq!(
        variables.get("TRACEPARENT").map(Vec::len),
        Some(1),
        "{head}"
    );
    for name in variables.keys() {
        let known = ours.iter().any(|(own, _)| own == name);
        assert!(known || !name.starts_with("CALLSEAL_"), "{name} in {head}");
        assert!(
            known || !signing || !name.starts_with("WEBHOOK_"),
            "{name} in {head}"
        );
        assert!(
            ![
                "TRANSFER_ENCODING",
                "CONNECTION",
                "TE",
                "TRAILER",
                "UPGRADE",
                "EXPECT"
            ]
            .contains(&name.as_str())
        );
    }
}

/// Names that mean trouble, in spellings that mean trouble.
fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "callseal-event",
        "callseal_event",
        "callseal-verified",
        "callseal.source",
        "callseal-conflict-of",
        "callseal-",
        "webhook-id",
        "webhook_signature",
        "webhook-timestamp",
        "connection",
        "transfer-encoding",
        "transfer_encoding",
        "content-length",
        "content_length",
        "host",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "keep-alive",
        "proxy-connection",
        "proxy_authorization",
        "traceparent",
        "tracestate",
        "http2-settings",
        "x-forwarded-for",
        "content-type",
        "stripe-signature",
    ]);
    let spelled = (known, any::<u32>()).prop_map(|(name, mask)| {
        let upper = |(at, c): (usize, char)| {
            if mask >> (at % 32) & 1 == 1 {
                c.to_ascii_uppercase()
            } else {
                c
            }
        };
        name.chars().enumerate().map(upper).collect::<String>()
    });
    prop_oneof![4 => spelled, 1 => "[!#$%&'*+.^_`|~0-9a-zA-Z-]{1,12}"]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"chunked".to_vec()),
        Just(b"Callseal-Event, host, content-length, webhook-id, traceparent".to_vec()),
        Just(b"5".to_vec()),
        Just(b"100-continue".to_vec()),
        prop::collection::vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80u8..=0xff], 0..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn exactly_one_of_ours_with_our_value(
        headers in prop::collection::vec((name(), value()), 0..24),
        body in prop::collection::vec(any::<u8>(), 0..64),
        signing: bool,
    ) {
        check(&headers, &body, signing);
    }
}

#[test]
fn the_known_tricks() {
    let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    check(
        &[
            field(
                "connection",
                "Callseal-Event, callseal-verified, webhook-id, host, content-length",
            ),
            field("callseal_event", "evt_forged"),
            field("CALLSEAL-Verified", "yes"),
            field("Webhook_Id", "forged"),
            field("transfer-encoding", "chunked"),
            field("content-length", "0"),
            field("host", "evil.example"),
            field("expect", "100-continue"),
            field("trailer", "callseal-event"),
        ],
        b"GET /admin HTTP/1.1\r\n\r\n",
        true,
    );
}

/// What no listener of ours lets in is refused rather than put on a wire.
#[test]
fn what_cannot_be_written_as_a_request_is_not_sent() {
    let good = event("shop");
    let bad = [
        StoredEvent {
            method: "PO ST".into(),
            ..good.clone()
        },
        StoredEvent {
            target: "/shop?a b\r\nx: y".into(),
            ..good.clone()
        },
        StoredEvent {
            headers: [("x", "a\r\nb: c")].into_iter().collect(),
            ..good.clone()
        },
        StoredEvent {
            headers: [("x y", "a")].into_iter().collect(),
            ..good.clone()
        },
    ];
    for event in bad {
        let built = request::build(
            &event,
            &lease(),
            None,
            &destination(1),
            None,
            START,
            &context(&event),
        );
        assert!(
            matches!(built, Err(crate::relay::AttemptError::Unsendable)),
            "{event:?}"
        );
    }
    let odd = StoredEvent {
        verified: "keys[a\r\nb: c]".into(),
        ..good
    };
    let built = request::build(
        &odd,
        &lease(),
        None,
        &destination(1),
        None,
        START,
        &context(&odd),
    )
    .unwrap();
    assert_eq!(built.headers()["callseal-verified"], "keys[a??b: c]");
}
