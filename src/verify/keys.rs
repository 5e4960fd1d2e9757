//! The keys of a source: fetched from where they lie, decoded as the provider's file says, parsed
//! once. This is the second step of loading a rule, and the only one of this stage that reads
//! files and variables.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE};

use crate::clock::Timestamp;
use crate::rule::provider::{Example, KeyKind, Scheme};
use crate::rule::{KeyRef, Rule};
use crate::secret::{Secret, SecretError};
use crate::verify::primitive::KeyMaterial;
use crate::verify::public_key::{self, LoadedKey, PublicForm, PublicKeyFault};

/// Shorter secrets can be guessed from one captured request.
const SHORTEST: usize = 16;

/// Everything secret that a source needs to verify.
#[derive(Debug, Default)]
pub struct Keyring {
    pub(super) keys: Vec<Key>,
    pub(super) secrets: BTreeMap<String, Secret>,
}

/// One key that can be tried.
#[derive(Debug)]
pub struct Key {
    pub(super) material: KeyMaterial,
    pub id: Option<String>,
    /// What log and admin port call it.
    pub label: String,
    /// Not used from this moment on.
    pub not_after: Option<Timestamp>,
}

/// Why a key cannot be used. Names the place, never what lies there.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyError {
    /// `keys[0]`, an id, or `secrets.NAME`.
    pub label: String,
    /// `env:NAME` or `file:PATH`.
    pub place: String,
    pub fault: KeyFault,
}

#[derive(Debug, PartialEq, Eq)]
pub enum KeyFault {
    Unreadable(SecretError),
    /// Fewer than 16 bytes.
    TooShort {
        bytes: usize,
    },
    /// Not in the encoding that the provider's file names.
    BadEncoding {
        codec: &'static str,
    },
    Public(PublicKeyFault),
    /// The provider names its keys in every request, so a key without an id is never used.
    IdMissing,
}

impl KeyError {
    pub fn code(&self) -> &'static str {
        match &self.fault {
            KeyFault::Unreadable(_) => "key_unreadable",
            KeyFault::TooShort { .. } => "key_too_short",
            KeyFault::BadEncoding { .. } => "key_encoding",
            KeyFault::Public(_) => "key_not_public",
            KeyFault::IdMissing => "key_id_missing",
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): ", self.label, self.place)?;
        match &self.fault {
            KeyFault::Unreadable(cause) => cause.fmt(f),
            KeyFault::TooShort { bytes } => {
                write!(
                    f,
                    "a secret of {bytes} bytes can be guessed; at least {SHORTEST} are needed"
                )
            }
            KeyFault::BadEncoding { codec } => {
                write!(
                    f,
                    "this provider's secret is {codec}, and what lies there is not"
                )
            }
            KeyFault::Public(fault) => fault.fmt(f),
            KeyFault::IdMissing => {
                f.write_str("this provider names the key it used, so the key needs its `id`")
            }
        }
    }
}

impl std::error::Error for KeyError {}

impl Keyring {
    /// Fetches and parses all keys of a source. Every key that fails is named.
    pub fn load(rule: &Rule) -> Result<Keyring, Vec<KeyError>> {
        let mut ring = Keyring::default();
        let mut errors = Vec::new();
        let failed = |label: &str, place: String, fault| KeyError {
            label: label.to_owned(),
            place,
            fault,
        };
        if let Some(scheme) = &rule.provider.scheme {
            for key in &rule.keys {
                let loaded = key
                    .from
                    .load()
                    .map_err(KeyFault::Unreadable)
                    .and_then(|secret| parse(scheme, key, &secret, SHORTEST));
                match loaded {
                    Ok(key) => ring.keys.push(key),
                    Err(fault) => errors.push(failed(&key.label, key.from.to_string(), fault)),
                }
            }
        }
        for (name, place) in &rule.secrets {
            match place.load() {
                Ok(secret) => {
                    ring.secrets.insert(name.clone(), secret);
                }
                Err(cause) => errors.push(failed(
                    &format!("secrets.{name}"),
                    place.to_string(),
                    KeyFault::Unreadable(cause),
                )),
            }
        }
        if errors.is_empty() {
            Ok(ring)
        } else {
            Err(errors)
        }
    }

    /// The keys of an example, which stand in the provider's file; they may be short, because
    /// providers publish known answers with short keys. `rule` is the one made for the example.
    pub fn of_example(rule: &Rule, example: &Example) -> Result<Keyring, Vec<KeyError>> {
        let mut ring = Keyring::default();
        let mut errors = Vec::new();
        let Some(scheme) = &rule.provider.scheme else {
            return Ok(ring);
        };
        for (key, (_, text)) in rule.keys.iter().zip(&example.keys) {
            match parse(scheme, key, &Secret::new(text.clone().into_bytes()), 1) {
                Ok(key) => ring.keys.push(key),
                Err(fault) => errors.push(KeyError {
                    label: key.label.clone(),
                    place: format!("example `{}`", example.name),
                    fault,
                }),
            }
        }
        for (name, text) in &example.secrets {
            ring.secrets
                .insert(name.clone(), Secret::new(text.clone().into_bytes()));
        }
        if errors.is_empty() {
            Ok(ring)
        } else {
            Err(errors)
        }
    }

    /// The keys, without what is secret about them.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}

fn parse(scheme: &Scheme, key: &KeyRef, secret: &Secret, shortest: usize) -> Result<Key, KeyFault> {
    let loaded: LoadedKey = if scheme.algorithm.is_asymmetric() {
        public_key::load(scheme.algorithm, PublicForm::Pem, secret.expose())
            .map_err(KeyFault::Public)?
    } else {
        let bytes = decode(scheme, secret)?;
        if bytes.len() < shortest {
            return Err(KeyFault::TooShort { bytes: bytes.len() });
        }
        let material = KeyMaterial::new(scheme.algorithm, bytes.expose());
        material
            .ok_or(KeyFault::TooShort { bytes: bytes.len() })?
            .into()
    };
    let id = key.id.clone().or(loaded.serial);
    if scheme.key_id.is_some() && id.is_none() {
        return Err(KeyFault::IdMissing);
    }
    let not_after = [key.not_after, loaded.not_after]
        .into_iter()
        .flatten()
        .min();
    let label = match (&key.id, &id) {
        (None, Some(serial)) => serial.clone(),
        (Some(_), _) | (None, None) => key.label.clone(),
    };
    Ok(Key {
        material: loaded.material,
        id,
        label,
        not_after,
    })
}

fn decode(scheme: &Scheme, secret: &Secret) -> Result<Secret, KeyFault> {
    let codec = &scheme.key_codec;
    let text = secret.expose();
    let text = text
        .strip_prefix(codec.strip_prefix.as_bytes())
        .unwrap_or(text);
    match codec.kind {
        // A public key is parsed by its algorithm, not here.
        KeyKind::Utf8 | KeyKind::Public => Ok(Secret::new(text.to_vec())),
        KeyKind::Hex => HEXLOWER_PERMISSIVE
            .decode(text)
            .map(Secret::new)
            .map_err(|_| KeyFault::BadEncoding {
                codec: "hexadecimal",
            }),
        KeyKind::Base64 => {
            // Padding is often lost when a secret is copied, and nothing depends on it.
            let packed = text.trim_ascii_end();
            let stripped = packed.strip_suffix(b"==").or(packed.strip_suffix(b"="));
            BASE64_NOPAD
                .decode(stripped.unwrap_or(packed))
                .map(Secret::new)
                .map_err(|_| KeyFault::BadEncoding { codec: "base64" })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rule::compile::compile;
    use crate::rule::document::{RuleFile, RuleFiles};

    const SPKI: &str = include_str!("testdata/rsa2048.pub.pem");
    const SMALL: &str = include_str!("testdata/rsa1024.pub.pem");
    const CERTIFICATE: &str = include_str!("testdata/rsa2048.crt.pem");
    const CURVE: &str = include_str!("testdata/p256.pub.pem");

    fn load(dir: &Path, provider: &str, keys: &str) -> Result<Keyring, Vec<KeyError>> {
        let text = format!(
            "provider = \"{provider}\"\npath = \"/x\"\nforward = \"http://app/\"\nkeys = [{keys}]\n"
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
            assert_eq!(format!("{:?}", key.material), "Digested(…)");
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
        let neither = public("a secret, not a key");
        assert!(matches!(neither, PublicKeyFault::NotText { .. }));
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
}
