//! The right request under the wrong key.

use data_encoding::BASE64;
use serde_json::Value;

use super::super::{Case, cases};
use super::{Found, Reads};
use crate::rule::provider::{Example, Recorded};
use crate::rule::scheme::{Algorithm, Curve, Digest, KeyKind, KeySource, Scheme, Trust};
use crate::verify::example::verifier;
use crate::verify::jws::JwsAlgorithm;
use crate::verify::sign::key_pair;

const CERTIFICATE: &str = include_str!("../../testdata/rsa2048.crt.pem");

/// The public half of a fresh key, as DER; made once for each kind.
fn fresh(algorithm: Algorithm) -> Vec<u8> {
    use std::sync::OnceLock;
    static RSA: OnceLock<Vec<u8>> = OnceLock::new();
    let rsa = || key_pair(Algorithm::Rsa(Digest::Sha256)).unwrap().1;
    match algorithm {
        Algorithm::Rsa(_) | Algorithm::RsaPss(_) => RSA.get_or_init(rsa).clone(),
        other => key_pair(other).unwrap().1,
    }
}

/// The raw bytes at the end of the DER of a P-256 or Ed25519 key.
fn raw(der: &[u8], algorithm: Algorithm) -> Vec<u8> {
    let length = match algorithm {
        Algorithm::Ed25519 => 32,
        _ => 65,
    };
    der[der.len() - length..].to_vec()
}

/// The algorithm that the keys of a scheme are for.
fn algorithm(scheme: &Scheme) -> Algorithm {
    match scheme.algorithm {
        Algorithm::Jws => JwsAlgorithm::named(scheme.jws[0]).unwrap().algorithm(),
        Algorithm::HttpSignature => scheme.http[0],
        other => other,
    }
}

/// A well-formed key of somebody else.
fn stranger(scheme: &Scheme) -> String {
    let algorithm = match &scheme.key.source {
        KeySource::X5c { .. } | KeySource::Certificate { .. } => return CERTIFICATE.to_owned(),
        KeySource::CertificateUrl { trust, .. } if *trust != Trust::Host => {
            return CERTIFICATE.to_owned();
        }
        KeySource::Signed(signed) => signed.algorithm,
        _ => algorithm(scheme),
    };
    let prefix = &scheme.key.strip_prefix;
    if algorithm.is_asymmetric() {
        let der = fresh(algorithm);
        return match scheme.key.kind {
            KeyKind::PublicHex => data_encoding::HEXLOWER.encode(&raw(&der, algorithm)),
            KeyKind::PublicBase64 => format!("{prefix}{}", BASE64.encode(&raw(&der, algorithm))),
            _ => BASE64.encode(&der),
        };
    }
    match scheme.key.kind {
        KeyKind::Hex => "5e".repeat(32),
        _ if algorithm == Algorithm::Basic => "stranger:c3RyYW5nZXIgc3RyYW5nZXIh".to_owned(),
        _ => format!("{prefix}c3RyYW5nZXIgc3RyYW5nZXIh"),
    }
}

/// The keys in an answer of a pinned host, replaced by fresh ones; none when there are none.
fn replaced(recorded: &Recorded) -> Option<Recorded> {
    let text = std::str::from_utf8(&recorded.body).ok()?;
    let body = if text.contains("BEGIN CERTIFICATE") {
        CERTIFICATE.to_owned()
    } else {
        let mut json: Value = serde_json::from_str(text).ok()?;
        if !exchange(&mut json) {
            return None;
        }
        json.to_string()
    };
    Some(Recorded {
        body: body.into(),
        ..recorded.clone()
    })
}

fn exchange(json: &mut Value) -> bool {
    let url = |bytes: &[u8]| Value::String(data_encoding::BASE64URL_NOPAD.encode(bytes));
    match json {
        Value::Array(items) => items.iter_mut().fold(false, |any, i| exchange(i) | any),
        Value::Object(members) => {
            if members.contains_key("x") && members.contains_key("y") {
                let point = raw(&fresh(Algorithm::Ecdsa(Curve::P256)), Algorithm::Jws);
                members.insert("x".into(), url(&point[1..33]));
                members.insert("y".into(), url(&point[33..]));
                return true;
            }
            if members.contains_key("n") {
                // A key of 2048 bits: its modulus stands before the five bytes of the exponent.
                let der = fresh(Algorithm::Rsa(Digest::Sha256));
                let modulus = &der[der.len() - 261..der.len() - 5];
                members.insert("n".into(), url(modulus));
                return true;
            }
            members.values_mut().fold(false, |any, m| exchange(m) | any)
        }
        Value::String(text) => {
            let bare = text.replace("-----BEGIN PUBLIC KEY-----", "");
            let algorithm = match bare.trim_start().get(..3) {
                Some("MFk") => Algorithm::Ecdsa(Curve::P256),
                Some("MII") => Algorithm::Rsa(Digest::Sha256),
                _ => return false,
            };
            *text = BASE64.encode(&fresh(algorithm));
            true
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The scheme that the keys of an example are for.
fn scheme_of(case: &Case) -> Option<&Scheme> {
    let chosen = case.example.schemes.first();
    let named = |name: &String| case.provider.schemes.iter().find(|s| s.name == *name);
    chosen.and_then(named).or(case.provider.first_scheme())
}

#[test]
fn the_keys_of_somebody_else_fit_nothing() {
    let mut found = Found::default();
    for case in cases().filter(|case| !case.is_question()) {
        let Some(scheme) = scheme_of(&case) else {
            continue;
        };
        // Under the name of the right key, where keys have names.
        let key = stranger(scheme);
        let names = case.verifier.keys().keys().iter().map(|k| k.id.clone());
        let keys: Vec<_> = case
            .example
            .keys
            .iter()
            .zip(names)
            .map(|(_, id)| (id, key.clone()))
            .collect();
        let mut changed = !keys.is_empty();
        let remote = case.example.remote.iter().map(|recorded| {
            let other = replaced(recorded);
            changed |= other.is_some();
            other.unwrap_or_else(|| recorded.clone())
        });
        let example = Example {
            remote: remote.collect(),
            keys,
            ..case.example.clone()
        };
        if !changed && case.provider.name == "wechatpay-v3" {
            // The fetched certificates are encrypted; other examples name the key.
            continue;
        }
        if !changed {
            found.note(&case, "no key could be exchanged");
            continue;
        }
        let other = match verifier(&case.provider, &example) {
            Ok(verifier) => verifier,
            Err(errors) => {
                found.note(&case, &format!("{errors:?}"));
                continue;
            }
        };
        let verdict = other.judge_with(&case.request, example.now(), &mut |outbound| {
            crate::verify::example::recorded(&example, outbound)
        });
        let code = super::super::said(&verdict);
        let signed_keys = matches!(
            scheme.key.source,
            KeySource::X5c { .. }
                | KeySource::Certificate { .. }
                | KeySource::CertificateUrl { .. }
                | KeySource::Signed(_)
        );
        let wanted: &[&str] = if signed_keys {
            &["key_untrusted", "signature_mismatch"]
        } else {
            &["signature_mismatch"]
        };
        if !wanted.contains(&code) {
            found.note(&case, code);
        }
    }
}

#[test]
fn a_name_that_no_key_has_is_an_unknown_key() {
    let mut found = Found::default();
    for case in cases().filter(|case| !case.is_question()) {
        let reads = Reads::of(&case.provider);
        let named = case.provider.schemes.iter().any(|s| s.key_id.is_some());
        if !named || reads.key.is_empty() || case.example.keys.is_empty() {
            continue;
        }
        let keys = case.example.keys.iter();
        let keys = keys.map(|(_, key)| (Some("another-name".to_owned()), key.clone()));
        let example = Example {
            keys: keys.collect(),
            remote: Vec::new(),
            ..case.example.clone()
        };
        let Ok(other) = verifier(&case.provider, &example) else {
            continue;
        };
        let code = super::super::code(&other, &case.request, example.now());
        // Where the key can be fetched, it is, and nobody answers here.
        if !["key_unknown", "unready"].contains(&code) {
            found.note(&case, code);
        }
    }
}
