//! Keys: their clothes, their ends, and which are refused.

use std::path::Path;

use super::*;
use crate::rule::compile::compile;
use crate::rule::document::{RuleFile, RuleFiles};
use crate::rule::scheme::Digest;
use crate::verify::public_key::PublicKeyFault;

const SPKI: &str = include_str!("../testdata/rsa2048.pub.pem");
const SMALL: &str = include_str!("../testdata/rsa1024.pub.pem");
const CERTIFICATE: &str = include_str!("../testdata/rsa2048.crt.pem");
const CURVE: &str = include_str!("../testdata/p256.pub.pem");

fn load(dir: &Path, provider: &str, keys: &str) -> Result<Keyring, Vec<KeyError>> {
    let config = match provider {
        "alipay" => "[config]\napp_id = \"2021000000000001\"\n",
        _ => "",
    };
    let text = format!(
        "provider = \"{provider}\"\npath = \"/x\"\nforward = \"http://app/\"\nkeys = [{keys}]\n{config}"
    );
    let source = RuleFile {
        name: "shop".into(),
        path: dir.join("shop.toml"),
        text: text.into(),
    };
    let files = RuleFiles {
        sources: vec![source],
        providers: Vec::new(),
    };
    let (set, _) = compile(files).unwrap();
    Keyring::load(&set.rules[0])
}

/// The one fault of a source with one key in a file.
fn fault(provider: &str, content: &str) -> KeyFault {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k"), content).unwrap();
    let mut errors = load(dir.path(), provider, "\"file:k\"").unwrap_err();
    assert_eq!(errors.len(), 1);
    let error = errors.remove(0);
    let shown = format!("{error} {error:?}");
    assert!(
        content.len() < 8 || !shown.contains(content.trim()),
        "{shown}"
    );
    error.fault
}

fn loaded(provider: &str, content: &str) -> Key {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k"), content).unwrap();
    load(dir.path(), provider, "\"file:k\"")
        .unwrap()
        .schemes
        .remove(0)
        .keys
        .remove(0)
}

#[test]
fn a_missing_empty_or_short_secret_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("empty"), "\n").unwrap();
    let keys = "\"file:empty\", \"file:nowhere\", \"env:CALLSEAL_TEST_NOT_SET\"";
    let errors = load(dir.path(), "stripe", keys).unwrap_err();
    let codes: Vec<_> = errors.iter().map(KeyError::code).collect();
    assert_eq!(codes, ["key_unreadable"; 3]);
    assert_eq!(
        errors[2].to_string(),
        "keys[2] (env:CALLSEAL_TEST_NOT_SET): \
        the environment variable CALLSEAL_TEST_NOT_SET is not set"
    );
    assert_eq!(
        fault("stripe", "whsec_12345"),
        KeyFault::TooShort { bytes: 11 }
    );
    // The length of the key counts, not that of its text.
    assert_eq!(
        fault("standard-webhooks", "whsec_MTIzNDU2Nzg5MDEy"),
        KeyFault::TooShort { bytes: 12 }
    );
    assert_eq!(loaded("stripe", "whsec_1234567890\n").label, "keys[0]");
}

#[test]
fn a_secret_in_the_wrong_encoding_is_refused() {
    let bad = KeyFault::BadEncoding { codec: "base64" };
    for text in [
        "whsec_%%%%%%%%%%%%%%%%%%%%%%%%",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS*",
        "whsec_M=KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ] {
        assert_eq!(fault("standard-webhooks", text), bad, "{text}");
    }
    // With and without the prefix, with and without padding.
    for text in [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_AAECAwQFBgcICQoLDA0ODw==",
        "whsec_AAECAwQFBgcICQoLDA0ODw",
    ] {
        loaded("standard-webhooks", text);
    }
}

#[test]
fn public_keys_come_in_several_clothes() {
    let bare: String = SPKI.lines().filter(|line| !line.starts_with('-')).collect();
    for text in [
        SPKI,
        CERTIFICATE,
        &bare,
        &format!("{}\n{}", &bare[..64], &bare[64..]),
    ] {
        let key = loaded("alipay", text);
        assert_eq!(key.algorithm, Algorithm::Rsa(Digest::Sha256));
    }
    let key = loaded("wechatpay-v3", CERTIFICATE);
    assert_eq!(key.id.as_deref(), Some("0A5E2A9C07D14B83"));
    assert_eq!(key.label, "0A5E2A9C07D14B83");
    assert_eq!(
        key.not_after.map(|end| end.to_string()),
        Some("2036-01-01T00:00:00.000Z".into())
    );
    assert_eq!(fault("wechatpay-v3", SPKI), KeyFault::IdMissing);
}

#[test]
fn keys_that_nobody_should_trust_are_refused() {
    let public = |text: &str| match fault("alipay", text) {
        KeyFault::Public(fault) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(public(SMALL), PublicKeyFault::Bits { bits: 1024 });
    assert_eq!(
        public(CURVE),
        PublicKeyFault::OtherKind { wanted: "an RSA" }
    );
    assert_eq!(
        public("a secret, not a key"),
        PublicKeyFault::NotText {
            form: "neither PEM nor base64"
        }
    );
    assert_eq!(public("aGVsbG8gd29ybGQ="), PublicKeyFault::NotDer);
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(public(private), PublicKeyFault::PrivateKey);
    let request = private.replace("PRIVATE KEY", "CERTIFICATE REQUEST");
    let label = "CERTIFICATE REQUEST".to_owned();
    assert_eq!(public(&request), PublicKeyFault::UnknownPem { label });
}

#[test]
fn an_own_id_and_an_earlier_end_win_over_those_of_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k"), CERTIFICATE).unwrap();
    let keys = "{ from = \"file:k\", id = \"ours\", not_after = 2030-06-01 }, { from = \"file:k\", not_after = 2099-01-01 }";
    let ring = load(dir.path(), "wechatpay-v3", keys).unwrap();
    let ends: Vec<String> = ring
        .keys()
        .iter()
        .map(|k| k.not_after.unwrap().to_string())
        .collect();
    assert_eq!(
        ends,
        ["2030-06-01T00:00:00.000Z", "2036-01-01T00:00:00.000Z"]
    );
    assert_eq!(ring.keys()[0].id.as_deref(), Some("ours"));
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", loaded("stripe", "whsec_canary_canary_canary"));
    assert!(
        !shown.contains("canary") && !shown.contains("99, 97, 110"),
        "{shown}"
    );
}
