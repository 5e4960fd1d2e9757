//! The keys of a source: fetched from where they lie, decoded as the provider's file says, parsed
//! once. This is the second step of loading a rule, and the only one of this stage that reads
//! files and variables.

mod fault;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

pub use self::fault::{KeyError, KeyFault};
pub(super) use self::parse::algorithms;
use self::parse::{Parsed, parse, shared};
use crate::clock::Timestamp;
use crate::rule::provider::Example;
use crate::rule::scheme::Algorithm;
use crate::rule::{KeyRef, Rule};
use crate::secret::Secret;
use crate::verify::primitive::KeyMaterial;
use crate::verify::public_key::LoadedKey;

/// Shorter secrets can be guessed from one captured request.
const SHORTEST: usize = 16;

/// A token is sent as it is: it cannot be guessed from what it made, only tried.
const SHORTEST_TOKEN: usize = 8;

/// Everything secret that a source needs to verify.
#[derive(Debug, Default)]
pub struct Keyring {
    /// For each scheme of the provider, in its order.
    pub(super) schemes: Vec<SchemeKeys>,
    /// For each further check; none where its secret is not set.
    pub(super) also: Vec<Option<Key>>,
    pub(super) secrets: BTreeMap<String, Secret>,
    known: Vec<KeyInfo>,
}

#[derive(Debug, Default)]
pub struct SchemeKeys {
    /// Names the source, the scheme and all that its keys are trusted by: what is fetched under
    /// one trust is never used under another.
    pub tag: String,
    pub keys: Vec<Key>,
    /// Root certificates that are pinned, in DER.
    pub anchors: Vec<Vec<u8>>,
    /// Keys that sign the keys that a request brings.
    pub roots: Vec<Key>,
}

/// What may be shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// What log and admin port call it.
    pub label: String,
    pub id: Option<String>,
    /// Not used from this moment on.
    pub not_after: Option<Timestamp>,
}

/// One key that can be tried.
#[derive(Debug)]
pub struct Key {
    pub(super) material: KeyMaterial,
    pub(super) algorithm: Algorithm,
    /// The bytes of a shared secret; none for a public key.
    pub(super) secret: Option<Secret>,
    pub id: Option<String>,
    pub label: String,
    pub not_after: Option<Timestamp>,
}
impl Keyring {
    /// Fetches and parses all keys of a source. Every key that fails is named.
    pub fn load(rule: &Rule) -> Result<Keyring, Vec<KeyError>> {
        let mut builder = Builder::new(rule, SHORTEST);
        for key in &rule.keys {
            match key.from.load() {
                Ok(secret) => builder.add(key, &secret, &key.from.to_string()),
                Err(cause) => {
                    let place = key.from.to_string();
                    builder.fail(&key.label, &place, KeyFault::Unreadable(cause));
                }
            }
        }
        for (name, place) in &rule.secrets {
            match place.load() {
                Ok(secret) => builder.secret(name, secret),
                Err(cause) => builder.fail(
                    &format!("secrets.{name}"),
                    &place.to_string(),
                    KeyFault::Unreadable(cause),
                ),
            }
        }
        builder.finish()
    }

    /// The keys of an example, which stand in the provider's file; they may be short, because
    /// providers publish known answers with short keys. `rule` is the one made for the example.
    pub fn of_example(rule: &Rule, example: &Example) -> Result<Keyring, Vec<KeyError>> {
        let mut builder = Builder::new(rule, 1);
        let place = format!("example `{}`", example.name);
        for (key, (_, text)) in rule.keys.iter().zip(&example.keys) {
            builder.add(key, &Secret::new(text.clone().into_bytes()), &place);
        }
        for (name, text) in &example.secrets {
            builder.secret(name, Secret::new(text.clone().into_bytes()));
        }
        builder.finish()
    }

    /// Keys whose texts are at hand, in the order of `rule.keys`: for making test callbacks, and for
    /// trying what might be wrong with a key. They may be short.
    pub fn trial(
        rule: &Rule,
        keys: &[Secret],
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<Keyring, Vec<KeyError>> {
        let mut builder = Builder::new(rule, 1);
        for (key, text) in rule.keys.iter().zip(keys) {
            builder.add(key, text, &key.from.to_string());
        }
        for (name, secret) in secrets {
            builder.secret(name, secret.clone());
        }
        builder.finish()
    }

    /// The further secrets, by name.
    pub fn secrets(&self) -> &BTreeMap<String, Secret> {
        &self.secrets
    }

    /// The keys, without what is secret about them.
    pub fn keys(&self) -> &[KeyInfo] {
        &self.known
    }

    /// The bytes of the first shared secret, which answers challenges.
    pub(super) fn first_secret(&self) -> Option<&[u8]> {
        self.schemes
            .iter()
            .flat_map(|scheme| &scheme.keys)
            .find_map(|key| key.secret.as_ref())
            .map(Secret::expose)
    }
}

/// A keyring being put together; every fault is collected.
struct Builder<'r> {
    rule: &'r Rule,
    shortest: usize,
    ring: Keyring,
    errors: Vec<KeyError>,
}

impl<'r> Builder<'r> {
    fn new(rule: &'r Rule, shortest: usize) -> Self {
        let schemes = &rule.provider.schemes;
        Builder {
            rule,
            shortest,
            ring: Keyring {
                schemes: schemes.iter().map(|_| SchemeKeys::default()).collect(),
                ..Keyring::default()
            },
            errors: Vec::new(),
        }
    }

    fn fail(&mut self, label: &str, place: &str, fault: KeyFault) {
        self.errors.push(KeyError {
            label: label.to_owned(),
            place: place.to_owned(),
            fault,
        });
    }

    fn secret(&mut self, name: &str, secret: Secret) {
        self.ring.secrets.insert(name.to_owned(), secret);
    }

    /// A key serves every scheme that can read it; one that serves none is a fault.
    fn add(&mut self, key: &KeyRef, secret: &Secret, place: &str) {
        let mut first_fault = None;
        let mut info: Option<KeyInfo> = None;
        for (scheme, keys) in self
            .rule
            .provider
            .schemes
            .iter()
            .zip(&mut self.ring.schemes)
        {
            match parse(scheme, key, secret, self.shortest) {
                Ok(Parsed::Keys(parsed)) => {
                    info = info.or(parsed.first().map(Key::info));
                    keys.keys.extend(parsed);
                }
                Ok(Parsed::Roots(parsed)) => {
                    info = info.or(parsed.first().map(Key::info));
                    keys.roots.extend(parsed);
                }
                Ok(Parsed::Anchors(parsed)) => {
                    info = info.or(Some(KeyInfo {
                        label: key.label.clone(),
                        id: key.id.clone(),
                        not_after: key.not_after,
                    }));
                    keys.anchors.extend(parsed);
                }
                Err(fault) => {
                    first_fault.get_or_insert(fault);
                }
            }
        }
        match info {
            Some(info) => self.ring.known.push(info),
            None => {
                let fault = first_fault.unwrap_or(KeyFault::NoScheme);
                self.fail(&key.label, place, fault);
            }
        }
    }

    fn finish(mut self) -> Result<Keyring, Vec<KeyError>> {
        for also in &self.rule.provider.also {
            let label = format!("secrets.{}", also.secret);
            let key = match self.ring.secrets.get(&also.secret) {
                None => None,
                Some(secret) => {
                    match shared(&also.scheme, also.scheme.algorithm, secret, self.shortest) {
                        Ok((material, bytes)) => Some(Key {
                            material,
                            algorithm: also.scheme.algorithm,
                            secret: Some(bytes),
                            id: None,
                            label,
                            not_after: None,
                        }),
                        Err(fault) => {
                            self.errors.push(KeyError {
                                label,
                                place: self
                                    .rule
                                    .secrets
                                    .get(&also.secret)
                                    .map_or_else(String::new, |p| p.to_string()),
                                fault,
                            });
                            None
                        }
                    }
                }
            };
            self.ring.also.push(key);
        }
        let source = self.rule.name.as_str();
        let schemes = self.rule.provider.schemes.iter();
        for (index, (scheme, keys)) in schemes.zip(&mut self.ring.schemes).enumerate() {
            let rule = format!("{:?} {:?} {:?}", scheme.algorithm, scheme.key, scheme.jws);
            let mut trusted = rule.into_bytes();
            trusted.extend(keys.anchors.iter().flatten());
            let print = HEXLOWER.encode(digest(&SHA256, &trusted).as_ref());
            keys.tag = format!("{source}/{index}/{}", print.get(..16).unwrap_or_default());
        }
        if self.errors.is_empty() {
            Ok(self.ring)
        } else {
            Err(self.errors)
        }
    }
}

impl Key {
    fn info(&self) -> KeyInfo {
        KeyInfo {
            label: self.label.clone(),
            id: self.id.clone(),
            not_after: self.not_after,
        }
    }

    /// A public key that came from elsewhere than the source's own list.
    pub(super) fn fetched(
        algorithm: Algorithm,
        loaded: LoadedKey,
        id: Option<String>,
        label: String,
    ) -> Key {
        Key {
            material: loaded.material,
            algorithm,
            secret: None,
            id: id.or(loaded.serial),
            label,
            not_after: loaded.not_after,
        }
    }
}
