//! Every algorithm with a public key against signatures that OpenSSL made, and the forms in which
//! keys may be written.

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};

use crate::rule::provider::{Algorithm, Curve, Digest};
use crate::verify::json::Json;
use crate::verify::public_key::{LoadedKey, PublicForm, PublicKeyFault, jwk, load};

const MESSAGE: &[u8] = b"out_trade_no=20250101&total_fee=1";

fn rows() -> Vec<(Algorithm, &'static str, Vec<u8>)> {
    include_str!("../testdata/openssl.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let [name, key, signature] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let (_, algorithm) = Algorithm::ALL.iter().find(|(n, _)| *n == name).unwrap();
            (
                *algorithm,
                key,
                BASE64.decode(signature.as_bytes()).unwrap(),
            )
        })
        .collect()
}

fn verifies(key: &LoadedKey, message: &[u8], signature: &[u8]) -> bool {
    let mut running = key.material.begin();
    let (start, end) = message.split_at(message.len() / 2);
    running.update(start);
    running.update(end);
    running.finish().verify(signature)
}

#[test]
fn what_another_library_signed_is_accepted_and_nothing_else() {
    let rows = rows();
    let asymmetric = Algorithm::ALL.iter().filter(|(_, a)| a.is_asymmetric());
    assert_eq!(rows.len(), asymmetric.count());
    for (algorithm, text, signature) in &rows {
        let name = algorithm.name();
        let key = load(*algorithm, PublicForm::Pem, text.as_bytes()).unwrap();
        assert!(verifies(&key, MESSAGE, signature), "{name}");
        assert!(!verifies(
            &key,
            b"out_trade_no=20250101&total_fee=2",
            signature
        ));
        for bit in 0..signature.len() * 8 {
            let mut other = signature.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!verifies(&key, MESSAGE, &other), "{name}, bit {bit}");
        }
        for length in [0, 1, signature.len() - 1] {
            assert!(!verifies(&key, MESSAGE, &signature[..length]), "{name}");
        }
        assert!(
            !verifies(&key, MESSAGE, &[&signature[..], &[0]].concat()),
            "{name}"
        );
        assert!(
            !verifies(&key, MESSAGE, &[&[0], &signature[..]].concat()),
            "{name}"
        );
        // The same key under any other algorithm that it would fit.
        for (other, _, _) in rows.iter().filter(|(other, _, _)| other != algorithm) {
            if let Ok(key) = load(*other, PublicForm::Pem, text.as_bytes()) {
                assert!(
                    !verifies(&key, MESSAGE, signature),
                    "{name} as {}",
                    other.name()
                );
            }
        }
    }
}

#[test]
fn a_key_serves_only_its_own_kind() {
    let kind = |algorithm: Algorithm| match algorithm {
        Algorithm::Rsa(_) | Algorithm::RsaPss(_) => "rsa",
        Algorithm::Ecdsa(Curve::P256) | Algorithm::EcdsaRaw(Curve::P256) => "p256",
        Algorithm::Ecdsa(Curve::P384) | Algorithm::EcdsaRaw(Curve::P384) => "p384",
        _ => "ed25519",
    };
    for (one, text, _) in rows() {
        for (other, _, _) in rows() {
            let loaded = load(other, PublicForm::Pem, text.as_bytes());
            match kind(one) == kind(other) {
                true => assert!(loaded.is_ok(), "{} as {}", one.name(), other.name()),
                false => assert!(
                    matches!(loaded, Err(PublicKeyFault::OtherKind { .. })),
                    "{} as {}: {loaded:?}",
                    one.name(),
                    other.name()
                ),
            }
        }
    }
    for algorithm in [
        Algorithm::Hmac(Digest::Sha256),
        Algorithm::Jws,
        Algorithm::HttpSignature,
        Algorithm::Token,
        Algorithm::Rsa(Digest::Keccak256),
        Algorithm::RsaPss(Digest::Sha1),
    ] {
        let fault = load(algorithm, PublicForm::Pem, b"").unwrap_err();
        assert!(matches!(fault, PublicKeyFault::Algorithm { .. }), "{fault}");
    }
}

#[test]
fn the_same_key_in_every_form() {
    for (algorithm, text, signature) in rows() {
        let der = BASE64.decode(text.as_bytes()).unwrap();
        // What is left of a SubjectPublicKeyInfo without its head is the bare key.
        let bare = match algorithm {
            Algorithm::Rsa(_) | Algorithm::RsaPss(_) => &der[..],
            Algorithm::Ecdsa(Curve::P384) | Algorithm::EcdsaRaw(Curve::P384) => {
                &der[der.len() - 97..]
            }
            Algorithm::Ecdsa(_) | Algorithm::EcdsaRaw(_) => &der[der.len() - 65..],
            _ => &der[der.len() - 32..],
        };
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        for (form, text) in [
            (PublicForm::Pem, pem.as_bytes()),
            (PublicForm::Der, &der),
            (PublicForm::Hex, HEXLOWER.encode(&der).as_bytes()),
            (
                PublicForm::Hex,
                HEXLOWER.encode(bare).to_uppercase().as_bytes(),
            ),
            (PublicForm::Base64, BASE64.encode(bare).as_bytes()),
            (PublicForm::Base64, text.as_bytes()),
        ] {
            let key = load(algorithm, form, text).unwrap();
            assert!(
                verifies(&key, MESSAGE, &signature),
                "{} {form:?}",
                algorithm.name()
            );
        }
        for (form, text) in [
            (PublicForm::Hex, &b"0x00"[..]),
            (PublicForm::Hex, b""),
            (PublicForm::Base64, b"AA"),
            (PublicForm::Base64, b""),
            (PublicForm::Der, b""),
            (PublicForm::Der, &der[..der.len() - 1]),
            (PublicForm::Der, &[&der[..], &[0]].concat()),
            (PublicForm::Base64, BASE64.encode(&bare[1..]).as_bytes()),
        ] {
            assert!(load(algorithm, form, text).is_err(), "{form:?} {text:?}");
        }
    }
}

fn from_jwk(algorithm: Algorithm, text: &str) -> Result<LoadedKey, PublicKeyFault> {
    jwk(algorithm, &Json::parse(text.as_bytes()).unwrap())
}

#[test]
fn json_web_keys() {
    for (algorithm, text, signature) in rows() {
        if algorithm == Algorithm::RsaPss(Digest::Sha384) {
            // No JWS that is taken here is signed so.
            continue;
        }
        let der = BASE64.decode(text.as_bytes()).unwrap();
        let end =
            |from: usize, to: usize| BASE64URL_NOPAD.encode(&der[der.len() - from..der.len() - to]);
        let (key, name) = match algorithm {
            // 256 bytes of modulus, then the five bytes of the exponent 65537.
            Algorithm::Rsa(digest) => (
                format!(r#""kty":"RSA","n":"{}","e":"AQAB""#, end(261, 5)),
                match digest {
                    Digest::Sha256 => "RS256",
                    Digest::Sha384 => "RS384",
                    Digest::Sha512 => "RS512",
                    _ => "",
                },
            ),
            Algorithm::RsaPss(digest) => (
                format!(r#""kty":"RSA","n":"{}","e":"AQAB""#, end(261, 5)),
                if digest == Digest::Sha256 {
                    "PS256"
                } else {
                    "PS512"
                },
            ),
            Algorithm::Ecdsa(Curve::P256) | Algorithm::EcdsaRaw(Curve::P256) => {
                let (x, y) = (end(64, 32), end(32, 0));
                (
                    format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#),
                    "ES256",
                )
            }
            Algorithm::Ecdsa(Curve::P384) | Algorithm::EcdsaRaw(Curve::P384) => {
                let (x, y) = (end(96, 48), end(48, 0));
                (
                    format!(r#""kty":"EC","crv":"P-384","x":"{x}","y":"{y}""#),
                    "ES384",
                )
            }
            _ => (
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, end(32, 0)),
                "EdDSA",
            ),
        };
        let mut good = vec![
            format!("{{{key}}}"),
            format!(r#"{{"kid":"1","use":"sig","key_ops":["verify"],"x5t":1,{key}}}"#),
        ];
        if !name.is_empty() {
            good.push(format!(r#"{{"alg":"{name}",{key}}}"#));
        }
        for text in good {
            let loaded = from_jwk(algorithm, &text).unwrap();
            assert!(
                verifies(&loaded, MESSAGE, &signature),
                "{}",
                algorithm.name()
            );
        }
        for text in [
            format!(r#"{{"use":"enc",{key}}}"#),
            format!(r#"{{"use":null,{key}}}"#),
            format!(r#"{{"key_ops":["sign"],{key}}}"#),
            format!(r#"{{"key_ops":"verify",{key}}}"#),
            format!(r#"{{"alg":"HS256",{key}}}"#),
            format!(r#"{{"alg":"none",{key}}}"#),
            format!(r#"{{"d":"AQAB",{key}}}"#),
            format!("{{{}}}", key.replace("kty", "ktyp")),
            format!("{{{}}}", key.replace("\"kty\":\"", "\"kty\":\"X")),
            format!(
                "{{{}}}",
                key.replace("crv\":\"", "crv\":\"X")
                    .replace("\"e\"", "\"E\"")
            ),
            format!("{{{}=\"}}", &key[..key.len() - 1]),
            "{}".into(),
            "[]".into(),
            "1".into(),
        ] {
            assert!(from_jwk(algorithm, &text).is_err(), "{text}");
        }
    }
}

#[test]
fn a_shared_json_web_key_is_for_hmac_alone() {
    // RFC 7515, A.1.
    let text = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    let hmac = Algorithm::Hmac(Digest::Sha256);
    let key = from_jwk(hmac, text).unwrap();
    let signed = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let tag = BASE64URL_NOPAD.decode(b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert!(verifies(&key, signed, &tag.unwrap()));
    for (_, algorithm) in Algorithm::ALL {
        let fits = matches!(algorithm, Algorithm::Hmac(_));
        assert_eq!(
            from_jwk(algorithm, text).is_ok(),
            fits,
            "{}",
            algorithm.name()
        );
    }
    assert!(from_jwk(hmac, r#"{"kty":"oct","k":"c2hvcnQ"}"#).is_err());
}

#[test]
fn weak_rsa_keys_are_refused_in_a_json_web_key_too() {
    let rsa = Algorithm::Rsa(Digest::Sha256);
    let key = |bytes: usize, e: &str| {
        let n = BASE64URL_NOPAD.encode(&vec![0xc1; bytes]);
        from_jwk(rsa, &format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)).map(|_| ())
    };
    assert_eq!(key(256, "AQAB"), Ok(()));
    assert_eq!(key(255, "AQAB"), Err(PublicKeyFault::Bits { bits: 2040 }));
    assert_eq!(key(1025, "AQAB"), Err(PublicKeyFault::Bits { bits: 8200 }));
    assert_eq!(key(256, "AQ"), Err(PublicKeyFault::Exponent));
    assert_eq!(key(256, "AQAA"), Err(PublicKeyFault::Exponent));
}
