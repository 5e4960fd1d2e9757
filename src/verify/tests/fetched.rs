//! Keys that the source does not name: a published set, and a key that a root key has signed.
//! Tokens and signatures are OpenSSL's, made with Python's cryptography.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::said;
use super::stand::{NOW, Stand, line};
use crate::clock::Timestamp;
use crate::remote::RemoteAnswer;
use crate::verify::want::{Known, Want};
use crate::verify::{Judgement, Rejection, Verifier};

pub const JWS: &str = "[signature]\nalgorithm = \"jws\"\nvalue = \"{body}\"\n\
    jws_algorithms = [\"EdDSA\"]\nkey_id = \"{part:t/header/kid}\"\n\
    [parts]\nt = { from = \"{body}\", as = \"jws\" }\n\
    [key]\nshared = false\njwks = { url = \"https://keys.example.com/set?v=1\", refresh = \"2h\" }\n\
    [event]\nid = \"{part:t/payload/id}\"\n";

/// The key of RFC 8037, appendix A.
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// `{"alg":"EdDSA","kid":"one"}` and "two" over `{"id":"evt_9"}`.
pub const ONE: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6Im9uZSJ9.eyJpZCI6ImV2dF85In0.2TUfhWc06OceH5aLmPdsL7o6IiEt9XSB2FDXoq4FM2fYpEcUFEaa6GJW8cRpeaoi_ykxrQkJYa9WDfa9ZWKqDA";
pub const TWO: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6InR3byJ9.eyJpZCI6ImV2dF85In0.Qy-zdjl99LsnYVDwKFiX4KTrT_U7SXDBb1KTRdagu8eb_b5Oi5ydF3np5OlT4GmVNWLKovIzmG37s1PScjIOCA";
/// Signed by the same key under a header that names another algorithm; the last is an HMAC with the
/// public key as its secret.
const OTHER_ALGORITHMS: [(&str, &str); 4] = [
    (
        "eyJhbGciOiJFUzI1NiIsImtpZCI6Im9uZSJ9.eyJpZCI6ImV2dF85In0.dbtao-zRnuxQr1qqk871p5eTfmam7AyxoXiVqbPKgJSQeJmMLcFY3CGCvLO6PraRcx5JCqLuoRnvfh2TwLVtCg",
        "scheme_unknown",
    ),
    (
        "eyJhbGciOiJub25lIiwia2lkIjoib25lIn0.eyJpZCI6ImV2dF85In0.sIO_VYrvII6fnONZG6APnHXLLwY8J7fYnZrxBx8Q3uDlEauaMUiglAZ1tA3yflZ4qzDrNIA-GhcbaYQtc6XUDA",
        "signature_malformed",
    ),
    (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSJ9.eyJpZCI6ImV2dF85In0.IsYC-MHRg4nxAYjB2RxOYUebx8H_vkFTxnp85uK2CkGM268MQ2ODqdPGoXQHDXLuGZHMMsi_23Oo19kOC7S1CA",
        "scheme_unknown",
    ),
    (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSJ9.eyJpZCI6ImV2dF85In0.Bqogd9aRi9wSCwGuSfynkQ6NvqNSFea2N4DBV1TAQ0c",
        "scheme_unknown",
    ),
];

pub fn jwk(kid: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "kid": kid })
}

fn with(kid: &str, name: &str, value: Value) -> Value {
    let mut key = jwk(kid);
    key[name] = value;
    key
}

/// The verdict when the host answers with these sets, one after the other, and how often it was
/// asked.
fn verdict(token: &str, sets: &[Value]) -> (&'static str, usize) {
    let stand = Stand::new(JWS, |_| {});
    let request = stand.post(token.to_owned());
    let verifier = Verifier::new(Arc::new(stand.rule), stand.keys);
    let mut asked = 0;
    let judged = verifier.judge_with(&request, Timestamp::from_secs(NOW), &mut |outbound| {
        assert_eq!(line(outbound), "GET https://keys.example.com/set?v=1");
        let set = sets.get(asked)?;
        asked += 1;
        Some(RemoteAnswer {
            status: 200,
            body: Bytes::from(json!({ "keys": set }).to_string()),
            max_age: None,
        })
    });
    if let Ok(Judgement::Event { identity, .. }) = &judged {
        assert_eq!(identity.text, "evt_9");
    }
    (said(&judged), asked)
}

#[test]
fn a_key_is_looked_for_by_its_name_and_the_set_asked_for_once_more() {
    let (old, both) = (json!([jwk("one")]), json!([jwk("one"), jwk("two")]));
    assert_eq!(verdict(ONE, std::slice::from_ref(&old)), ("accepted", 1));
    assert_eq!(verdict(TWO, &[old.clone(), both]), ("accepted", 2));
    assert_eq!(
        verdict(TWO, &[old.clone(), old.clone()]),
        ("key_unknown", 2)
    );
    // The host is away: nobody knows whether there is such a key.
    assert_eq!(verdict(TWO, std::slice::from_ref(&old)), ("unready", 1));
    assert_eq!(verdict(ONE, &[]), ("unready", 0));
    // Named right, signed by another: here a key of the same kind.
    let stranger = with(
        "one",
        "x",
        json!("CBFvPE9yx1MtVonvfVGysCs8VdyBsy84ujSI0jybdVo"),
    );
    assert_eq!(
        verdict(ONE, &[json!([stranger])]),
        ("signature_mismatch", 1)
    );
    let changed = ONE.replace("eyJpZCI6ImV2dF85In0", "eyJpZCI6ImV2dF84In0");
    assert_eq!(verdict(&changed, &[old]), ("signature_mismatch", 1));
}

#[test]
fn a_set_that_is_not_given_out_says_nothing_of_the_request() {
    for status in [204, 301, 404, 429, 500] {
        let stand = Stand::new(JWS, |_| {});
        let request = stand.post(ONE.to_owned());
        let verifier = Verifier::new(Arc::new(stand.rule), stand.keys);
        let judged = verifier.judge_with(&request, Timestamp::from_secs(NOW), &mut |_| {
            Some(RemoteAnswer {
                status,
                body: Bytes::from(json!({ "keys": [jwk("one")] }).to_string()),
                max_age: None,
            })
        });
        assert_eq!(said(&judged), "unready", "{status}");
    }
}

#[test]
fn a_token_that_names_another_algorithm_makes_nobody_ask() {
    let set = [json!([jwk("one")])];
    for (token, code) in OTHER_ALGORITHMS {
        assert_eq!(verdict(token, &set), (code, 0), "{token}");
    }
    for token in ["", "a.b", "e30.e30.", &ONE[1..]] {
        let (code, asked) = verdict(token, &set);
        assert!(
            code.starts_with("signature_") && asked == 0,
            "{token}: {code}"
        );
    }
}

#[test]
fn a_key_for_another_use_is_no_key() {
    for other in [
        with("one", "use", json!("enc")),
        with("one", "key_ops", json!(["sign"])),
        with("one", "alg", json!("ES256")),
        with("one", "crv", json!("X25519")),
        with("one", "kty", json!("EC")),
        with("one", "x", json!("AAAA")),
        // A private key that somebody has published is everybody's.
        with(
            "one",
            "d",
            json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"),
        ),
    ] {
        let set = json!([other, jwk("two")]);
        assert_eq!(
            verdict(ONE, &[set.clone(), set]),
            ("key_unknown", 2),
            "{other}"
        );
    }
    for fitting in [
        with("one", "use", json!("sig")),
        with("one", "key_ops", json!(["verify"])),
        with("one", "alg", json!("EdDSA")),
    ] {
        assert_eq!(
            verdict(ONE, &[json!([fitting])]),
            ("accepted", 1),
            "{fitting}"
        );
    }
}

#[test]
fn what_is_wanted_is_named_with_all_that_it_is_trusted_by() {
    let stand = Stand::new(JWS, |_| {});
    let request = stand.post(TWO);
    let Want::Keys {
        name,
        id,
        again,
        ttl,
        ..
    } = stand.want(&request, &Known::default())
    else {
        panic!()
    };
    assert!(
        name.starts_with("test/0/") && name.ends_with("jwks https://keys.example.com/set?v=1"),
        "{name}"
    );
    assert_eq!((id, again, ttl.as_secs()), (None, false, 7200));
    let known = Known {
        keys: vec![(name.clone(), Arc::new(Vec::new()))],
        ..Known::default()
    };
    let Want::Keys {
        name: second,
        id,
        again,
        ..
    } = stand.want(&request, &known)
    else {
        panic!()
    };
    assert_eq!(
        (second, id.as_deref(), again),
        (name, Some(&b"two"[..]), true)
    );
}

// ---- a key that a root key has signed

const SIGNED: &str = "[signature]\nalgorithm = \"ecdsa-p256\"\nvalue = \"{json:/signature}\"\n\
    encoding = \"base64\"\nmessage = \"{json:/message}\"\n\
    [parts]\nm = { from = \"{json:/message}\", as = \"json\" }\n\
    [key]\ncodec = \"public_base64\"\nshared = false\n\
    [key.signed]\nalgorithm = \"ed25519\"\nvalue = \"{json:/root_signature}\"\n\
    encoding = \"base64\"\nmessage = \"{json:/key}.{json:/expires}\"\nkey = \"{json:/key}\"\n\
    expires = \"{json:/expires}\"\nexpires_format = \"unix\"\n\
    [event]\nid = \"{part:m/id}\"\n";

const ROOT: &str = "CBFvPE9yx1MtVonvfVGysCs8VdyBsy84ujSI0jybdVo=";
const LEAF: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3+VKF7AdygBLephz6PJpwt4IChkj9dEjckEcuVAPFRG6Wz7iH4Y2mQYuXFQGHpzuPvZ2lgi9fhBY2ZvLIKpPzQ==";
/// Good until one second after the moment of the test.
const BY_ROOT: &str =
    "cnz4WrnXfMJJwe3+Kqgib/QV02EURff8tQdUzygBnmx3u9gwe33tuLjtpT81NKGh9SUSY2gfHEevPWDomS/UBA==";
/// Good until that very moment.
const OVER: &str =
    "85pV/vS+zJOGtDE83jMxJ+vaaXMLawKb3/0kqCYTK8xnl8fYaQWTOOMvvm+SFAcNk9D4O8VsQpoHsWX2ZuI6Ag==";
const BY_ANOTHER: &str =
    "NpwmZqEfKD5gAONTNi87R5wHAjxkHBKQrLPDAh9l0UxKMxwcv4/IAwJa4I0Or1A/+UrhqlZM6GT77s1HVe7KDg==";
const BY_LEAF: &str = "MEYCIQCcS4Yzu88pxC2mG4PLBAC1FxwiAlGYi4CVe4FlRM8kDgIhAKJRzZA2MmuDP3zHND607su9w3lsJB784B9ba9sUs51R";
/// The root key's own signature over the message.
const PAST_LEAF: &str =
    "/JCJ1wG9mKprpFcbvj1MPK7zmqzJ+GHE/lHb7FHZ9e95BZIroTF3kC8XHDoPx0b4aIhryR9mNDQ07APxaqs4Dw==";

fn two_levels(set: &[(&str, Value)]) -> &'static str {
    let stand = Stand::new(SIGNED, |example| {
        example.keys = vec![(None, ROOT.to_owned())];
    });
    let mut body = json!({
        "message": r#"{"id":"evt_5","note":"x"}"#, "signature": BY_LEAF,
        "key": LEAF, "expires": NOW + 1, "root_signature": BY_ROOT,
    });
    for (name, value) in set {
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(*name)),
            value => body[*name] = value.clone(),
        }
    }
    stand.said(&stand.post(body.to_string()))
}

#[test]
fn only_a_key_that_the_root_has_signed_counts_and_only_while_it_is_good() {
    let raw = BASE64.decode(LEAF.as_bytes()).unwrap();
    // The same key, written otherwise: the root has signed the text.
    let respelt = LEAF.trim_end_matches('=');
    for (set, code) in [
        (vec![], "accepted"),
        (vec![("root_signature", json!(BY_ANOTHER))], "key_untrusted"),
        (vec![("root_signature", json!(BY_LEAF))], "key_untrusted"),
        (vec![("root_signature", json!(PAST_LEAF))], "key_untrusted"),
        (vec![("root_signature", Value::Null)], "signature_missing"),
        (vec![("root_signature", json!("****"))], "signature_missing"),
        (vec![("key", json!(ROOT))], "key_untrusted"),
        (vec![("key", json!(respelt))], "key_untrusted"),
        (
            vec![("key", json!(BASE64.encode(&raw[26..])))],
            "key_untrusted",
        ),
        // What the root has signed says until when.
        (vec![("expires", json!(NOW + 1000))], "key_untrusted"),
        (
            vec![("expires", json!(NOW)), ("root_signature", json!(OVER))],
            "key_expired",
        ),
        (vec![("expires", Value::Null)], "field_missing"),
        (vec![("signature", json!(PAST_LEAF))], "signature_mismatch"),
        (vec![("signature", json!(BY_ROOT))], "signature_mismatch"),
        (vec![("signature", Value::Null)], "signature_missing"),
        (
            vec![("message", json!(r#"{"id":"evt_6","note":"x"}"#))],
            "signature_mismatch",
        ),
    ] {
        assert_eq!(two_levels(&set), code, "{set:?}");
    }
}

#[test]
fn a_root_that_is_over_signs_no_more() {
    let mut stand = Stand::new(SIGNED, |example| {
        example.keys = vec![(None, ROOT.to_owned())];
    });
    stand.keys.schemes[0].roots[0].not_after = Some(Timestamp::from_secs(NOW));
    let body = json!({
        "message": "{}", "signature": BY_LEAF, "key": LEAF, "expires": NOW + 1,
        "root_signature": BY_ROOT,
    });
    let found = stand.judge(&stand.post(body.to_string()));
    assert!(
        matches!(found, Err(Rejection::KeyUntrusted { .. })),
        "{found:?}"
    );
}
