//! The keys of a source: fetched from where they lie, decoded as the provider's file says, parsed
//! once. This is the second step of loading a rule, and the only one of this stage that reads
//! files and variables.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::{BASE64_NOPAD, HEXLOWER_PERMISSIVE};

use crate::clock::Timestamp;
use crate::rule::provider::{Algorithm, Example, KeyKind, Scheme};
use crate::rule::{KeyRef, Rule};
use crate::secret::{Secret, SecretError};
use crate::verify::primitive::KeyMaterial;
use crate::verify::public_key::{self, LoadedKey, PublicKeyFault};

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
    let loaded = match scheme.algorithm {
        Algorithm::HmacSha256 => {
            let bytes = decode(scheme, secret)?;
            if bytes.len() < shortest {
                return Err(KeyFault::TooShort { bytes: bytes.len() });
            }
            let material = KeyMaterial::hmac_sha256(bytes.expose());
            LoadedKey {
                material,
                serial: None,
                not_after: None,
            }
        }
        Algorithm::RsaSha256 => public_key::rsa(secret.expose()).map_err(KeyFault::Public)?,
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
