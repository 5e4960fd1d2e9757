//! Who an event is, what its proof says, and what is kept out of sight.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{cases, code, provider, with_header};
use crate::clock::Timestamp;
use crate::guard::Received;
use crate::message::RawRequest;
use crate::rule::provider::{Example, Provider};
use crate::verify::example::{request, verifier};
use crate::verify::{Judgement, Rejection, Verdict, Verifier};

fn key_of(verifier: &Verifier, request: &RawRequest, now: Timestamp) -> Vec<u8> {
    match verifier.judge(request, now).unwrap() {
        Judgement::Event { identity, .. } => identity.key,
        Judgement::Challenge(_) => panic!("a challenge"),
    }
}

/// What tells a duplicate from a conflict.
fn content_of(verifier: &Verifier, request: &RawRequest, now: Timestamp) -> [u8; 32] {
    match verifier.judge(request, now).unwrap() {
        Judgement::Event { identity, .. } => identity.content,
        Judgement::Challenge(_) => panic!("a challenge"),
    }
}

#[test]
fn a_captured_request_with_a_fresh_unsigned_id_is_the_same_event() {
    for (name, id) in [
        ("github", "x-github-delivery"),
        ("shopify", "x-shopify-webhook-id"),
    ] {
        let provider = provider(name);
        assert!(!provider.event.id_signed);
        let example = &provider.examples[0];
        let verifier = verifier(&provider, example).unwrap();
        let first = request(example);
        let again = with_header(&first, id, &[b"a-fresh-id"]);
        let without = with_header(&first, id, &[]);
        let key = key_of(&verifier, &first, example.now());
        assert_eq!(key, key_of(&verifier, &again, example.now()));
        assert_eq!(key, key_of(&verifier, &without, example.now()));
    }
}

#[test]
fn a_form_written_otherwise_is_the_same_event() {
    let provider = provider("alipay");
    let mut example = provider.examples[0].clone();
    // The same parameters in another order and with other escapes.
    let body = String::from_utf8(example.body.to_vec()).unwrap();
    let mut parts: Vec<&str> = body.split('&').collect();
    parts.reverse();
    let other = parts.join("&").replace("version", "%76ersion");
    let verifier = verifier(&provider, &example).unwrap();
    let first = key_of(&verifier, &request(&example), example.now());
    let content = content_of(&verifier, &request(&example), example.now());
    example.body = other.into();
    assert_eq!(first, key_of(&verifier, &request(&example), example.now()));
    // A conflict would be delivered: nobody makes one of what is not signed.
    assert_eq!(
        content,
        content_of(&verifier, &request(&example), example.now())
    );
}

#[test]
fn where_there_is_no_id_the_digest_of_what_is_signed_stands_in() {
    let provider = provider("generic-hmac");
    let mut bound = Provider::clone(&provider);
    bound.event.ids = vec![crate::rule::Template::parse("{header:x-order}").unwrap()];
    bound.event.id_signed = true;
    let bound = Arc::new(bound);
    let example = &provider.examples[0];
    let verifier = verifier(&bound, example).unwrap();
    let judged = verifier.judge(&request(example), example.now()).unwrap();
    let Judgement::Event { identity, seal, .. } = judged else {
        panic!()
    };
    assert!(identity.text.starts_with("sha256:"), "{}", identity.text);
    assert_eq!(seal, "hmac-sha256 keys[0]");
    // An id that is there but empty names nothing.
    let blank = with_header(&request(example), "x-order", &[b""]);
    assert_eq!(key_of(&verifier, &blank, example.now()), identity.key);
    let named = with_header(&request(example), "x-order", &[b"1"]);
    assert_ne!(key_of(&verifier, &named, example.now()), identity.key);
}

#[test]
fn a_key_past_its_last_day_is_not_used() {
    let provider = provider("github");
    let example = &provider.examples[0];
    let rule = crate::rule::compile::rule_for(&provider, example);
    let judge = |not_after| {
        let mut keys = crate::verify::Keyring::of_example(&rule, example).unwrap();
        keys.schemes[0].keys[0].not_after = Some(not_after);
        let known = crate::verify::want::Known::default();
        crate::verify::judge::judge(&rule, &keys, &request(example), example.now(), &known)
    };
    assert!(judge(example.now().plus(Duration::from_millis(1))).is_ok());
    assert_eq!(judge(example.now()).unwrap_err(), Rejection::KeyExpired);
}

#[test]
fn hostile_texts_stay_out_of_what_is_shown() {
    let provider = provider("github");
    let example = &provider.examples[0];
    let verifier = verifier(&provider, example).unwrap();
    let hostile = "a\u{1b}[31m\n\u{202e}\u{7}".to_owned() + &"x".repeat(4000);
    let request = with_header(&request(example), "x-github-event", &[hostile.as_bytes()]);
    let Ok(Judgement::Event { identity, .. }) = verifier.judge(&request, example.now()) else {
        panic!()
    };
    assert!(identity.kind.chars().count() <= 256);
    assert!(
        !identity
            .kind
            .contains(['\u{1b}', '\n', '\u{202e}', '\u{7}'])
    );
}

/// Through the front door: compiled from files, keys loaded, proof minted.
#[tokio::test]
async fn a_request_becomes_verified_with_the_very_bytes_that_were_signed() {
    let dir = tempfile::tempdir().unwrap();
    let provider = provider("stripe");
    let example = &provider.examples[0];
    let source = "provider = \"stripe\"\npath = \"/stripe\"\nkeys = [\"file:old\", \"file:new\"]\n\
                  forward = \"http://127.0.0.1:3000/\"\n";
    std::fs::write(dir.path().join("shop.toml"), source).unwrap();
    std::fs::write(
        dir.path().join("old"),
        "whsec_an_older_secret_of_the_shop\n",
    )
    .unwrap();
    std::fs::write(dir.path().join("new"), format!("{}\n", example.keys[0].1)).unwrap();
    let files = crate::rule::document::RuleFiles::read(dir.path()).unwrap();
    let (set, remarks) = crate::rule::compile::compile(files).unwrap();
    assert!(remarks.is_empty());
    let rule = Arc::clone(&set.rules[0]);
    let keys = crate::verify::Keyring::load(&rule).unwrap();
    let verifier = Verifier::new(Arc::clone(&rule), keys);
    let raw = request(example);
    let body = raw.body.clone();

    let received = Received::admitted(raw.clone(), Arc::clone(&rule));
    let Ok(Verdict::Event(verified)) = verifier.verify(received, example.now()).await else {
        panic!()
    };
    assert_eq!(verified.seal(), "hmac-sha256 keys[1]");
    assert_eq!(verified.request().body.as_ptr(), body.as_ptr());
    assert_eq!(verified.identity().text, "evt_1SVf2kCallsealTest0001");
    let (request, rule, identity, ..) = verified.into_parts();
    assert_eq!((request.body, rule.name.as_str()), (body, "shop"));
    assert_eq!(identity.kind, "payment_intent.succeeded");

    let forged = with_header(&raw, "stripe-signature", &[b"t=1795300000,v1=00"]);
    let received = Received::admitted(forged, rule);
    let rejection = verifier.verify(received, example.now()).await.unwrap_err();
    assert_eq!(rejection.code(), "signature_mismatch");
}

#[tokio::test]
async fn a_challenge_is_answered_as_text_and_makes_no_event() {
    let provider = provider("slack");
    let example = provider
        .examples
        .iter()
        .find(|e| e.reply.is_some())
        .unwrap();
    let verifier = verifier(&provider, example).unwrap();
    let received = Received::admitted(request(example), Arc::clone(verifier.rule()));
    let Ok(Verdict::Challenge(answer)) = verifier.verify(received, example.now()).await else {
        panic!()
    };
    assert_eq!(
        answer.headers.only("content-type"),
        Some(&b"text/plain"[..])
    );
    assert_eq!(
        answer.headers.only("x-content-type-options"),
        Some(&b"nosniff"[..])
    );
}

#[test]
fn without_a_verifier_the_seal_says_so() {
    let signed = provider("stripe");
    let mut provider = Provider {
        schemes: Vec::new(),
        freshness: None,
        ..Provider::clone(&signed)
    };
    provider.event.id_signed = false;
    let provider = Arc::new(provider);
    let example = Example {
        keys: Vec::new(),
        ..provider.examples[0].clone()
    };
    let verifier = verifier(&provider, &example).unwrap();
    let judged = verifier
        .judge(&request(&example), Timestamp::default())
        .unwrap();
    let Judgement::Event { identity, seal, .. } = judged else {
        panic!()
    };
    assert_eq!(seal, "none");
    // The id is shown, and the digest of the body is what counts.
    assert_eq!(identity.text, "evt_1SVf2kCallsealTest0001");
    let other = RawRequest {
        body: Bytes::from_static(b"{\"id\":\"evt_1SVf2kCallsealTest0001\"}"),
        ..request(&example)
    };
    assert_ne!(
        key_of(&verifier, &other, Timestamp::default()),
        identity.key
    );
}

#[test]
fn keys_of_different_sources_never_meet() {
    let provider = provider("stripe");
    let example = &provider.examples[0];
    let key = |name: &str| {
        let mut rule = crate::rule::compile::rule_for(&provider, example);
        rule.name = crate::message::SourceName::new(name);
        let keys = crate::verify::Keyring::of_example(&rule, example).unwrap();
        key_of(
            &Verifier::new(Arc::new(rule), keys),
            &request(example),
            example.now(),
        )
    };
    assert_ne!(key("a"), key("b"));
    assert_eq!(key("a"), key("a"));
}

#[test]
fn the_log_shows_neither_body_nor_signature_nor_key() {
    for case in cases() {
        let spoiled = RawRequest {
            body: Bytes::from_static(b"canary_body"),
            ..case.request.clone()
        };
        let Err(reason) = case.judge(&spoiled) else {
            continue;
        };
        let shown = format!("{reason} {reason:?} {:?}", case.verifier);
        assert!(!shown.contains("canary_body"), "{shown}");
        // The example itself is part of the provider, and the provider of the verifier.
        let shown = format!("{reason} {reason:?} {:?}", case.verifier.keys());
        let secrets = case.example.secrets.values();
        for secret in case.example.keys.iter().map(|(_, key)| key).chain(secrets) {
            assert!(
                !shown.contains(secret.as_str()),
                "{}: {shown}",
                case.place()
            );
        }
    }
}

/// A request of the merchant's own systems with any body, correctly signed.
fn signed(body: &[u8]) -> (Verifier, RawRequest, Timestamp) {
    use hmac::{Hmac, KeyInit, Mac};
    let provider = provider("stripe");
    let mut example = provider.examples[0].clone();
    example.body = Bytes::copy_from_slice(body);
    let verifier = verifier(&provider, &example).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(example.keys[0].1.as_bytes()).unwrap();
    mac.update(b"1795300000.");
    mac.update(body);
    let tag = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    let header = format!("t=1795300000,v1={tag}");
    let request = with_header(&request(&example), "stripe-signature", &[header.as_bytes()]);
    (verifier, request, example.now())
}

#[test]
fn l10_a_body_that_two_readers_could_read_differently_is_rejected_even_when_signed() {
    let judged = |body: &[u8]| {
        let (verifier, request, now) = signed(body);
        code(&verifier, &request, now)
    };
    assert_eq!(judged(br#"{"id":"evt_1","type":"t"}"#), "accepted");
    for body in [
        &br#"{"id":"evt_1","id":"evt_2","type":"t"}"#[..],
        br#"{"id":"evt_1","\u0069d":"evt_2"}"#,
        br#"{"id":"evt_1"} {"id":"evt_2"}"#,
        b"\xef\xbb\xbf{\"id\":\"evt_1\"}",
        br#"{"id":"\ud800"}"#,
        br#"{"id":NaN}"#,
        b"{\"id\":\"\xff\"}",
        b"",
    ] {
        assert_eq!(judged(body), "body_malformed", "{}", body.escape_ascii());
    }
    assert_eq!(judged(br#"{"id":{"x":1}}"#), "field_malformed");
    assert_eq!(judged(br#"{"id":["evt_1"]}"#), "field_malformed");
    // No id at all is known by its digest.
    assert_eq!(judged(br#"{"id":null}"#), "accepted");
    assert_eq!(judged(br#"{}"#), "accepted");
}

#[test]
fn an_id_is_the_number_as_it_is_written() {
    let text = |body: &[u8]| {
        let (verifier, request, now) = signed(body);
        match verifier.judge(&request, now).unwrap() {
            Judgement::Event { identity, .. } => identity.text,
            Judgement::Challenge(_) => panic!(),
        }
    };
    assert_eq!(
        text(br#"{"id":12345678901234567890123}"#),
        "12345678901234567890123"
    );
    assert_eq!(text(br#"{"id":1.50}"#), "1.50");
    assert_eq!(text(br#"{"id":"a\u00e9"}"#), "a\u{e9}");
}

#[test]
fn ids_that_look_the_same_when_joined_are_kept_apart() {
    let provider = provider("stripe");
    let key = |body: &str| {
        let mut bound = Provider::clone(&provider);
        bound.event.ids = vec![crate::rule::Template::parse("{json:/a}{json:/b}").unwrap()];
        let (_, request, now) = signed(body.as_bytes());
        let example = Example {
            body: request.body.clone(),
            ..bound.examples[0].clone()
        };
        let verifier = verifier(&Arc::new(bound), &example).unwrap();
        key_of(&verifier, &request, now)
    };
    assert_ne!(key(r#"{"a":"1","b":"23"}"#), key(r#"{"a":"12","b":"3"}"#));
    assert_eq!(
        key(r#"{"a":"1","b":"23"}"#),
        key(r#"{"b":"23","a":"1","c":0}"#)
    );
}
