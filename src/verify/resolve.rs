//! The keys that may have made a signature: those of the source, or those that the provider's file
//! says how to find. What a request names (a certificate, an address, a key) counts only when it
//! leads to something that is pinned (lint L5).

mod certificate;
mod fetched;

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use self::certificate::{certified, policy, x5c};
pub use self::fetched::read_keys;
use crate::clock::Timestamp;
use crate::remote::{Pinned, UrlPin};
use crate::rule::Template;
use crate::rule::scheme::{Algorithm, FetchedKeys, KeySource, SignedKey, Trust};
use crate::verify::certificate::{Policy, pem_or_der_chain};
use crate::verify::jws::Jws;
use crate::verify::keys::{Key, Keyring, SchemeKeys};
use crate::verify::params::shorten;
use crate::verify::public_key::{self, PublicForm};
use crate::verify::rejection::Rejection;
use crate::verify::scope::Scope;
use crate::verify::want::{Known, Want};
use crate::verify::{evaluate, freshness, outbound, primitive};

/// A key for the length of one verdict.
#[derive(Debug)]
pub enum Held<'k> {
    Given(&'k Key),
    Made(Box<Key>),
    Fetched(Arc<Vec<Key>>, usize),
}

/// The keys of one verdict: nearly always one or two.
pub type Keys<'k> = SmallVec<[Held<'k>; 2]>;

/// Either keys, or what has to be fetched first.
pub enum Resolved<'k> {
    Keys(Keys<'k>),
    Wanted(Want),
}

impl Deref for Held<'_> {
    type Target = Key;

    fn deref(&self) -> &Key {
        match self {
            Held::Given(key) => key,
            Held::Made(key) => key,
            // The index was made from this very list.
            #[expect(clippy::indexing_slicing, reason = "the index was made from this list")]
            Held::Fetched(keys, index) => &keys[*index],
        }
    }
}

/// What resolving needs beside the request.
pub struct Resolver<'k> {
    pub ring: &'k Keyring,
    pub known: &'k Known,
    pub now: Timestamp,
}

/// Fetched certificates of a provider are kept so long.
const CERTIFICATE_TTL: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
const CERTIFICATE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

impl<'k> Resolver<'k> {
    /// `scope` holds the scheme; `index` is its place in the provider.
    pub fn keys(&self, index: usize, scope: &Scope<'_, '_>) -> Result<Resolved<'k>, Rejection> {
        let (Some(frame), Some(given)) = (scope.frame, self.ring.schemes.get(index)) else {
            return Err(Rejection::SchemeUnknown);
        };
        let scheme = frame.scheme;
        let id = match &scheme.key_id {
            Some(template) => match evaluate::short(template, scope)? {
                Some(id) => Some(id),
                None => {
                    return Err(Rejection::FieldMissing {
                        field: template.to_string(),
                    });
                }
            },
            None => None,
        };
        match &scheme.key.source {
            KeySource::Given => self.given(given, id.as_deref()).map(Resolved::Keys),
            KeySource::Jwks { request, ttl } => {
                let outbound = outbound::build(request, scope, self.now)?;
                let name = kept("jwks", given, &outbound);
                self.listed(index, name, id.as_deref(), *ttl, outbound)
            }
            KeySource::Fetch(fetch) => self.fetched(index, given, fetch, id.as_deref(), scope),
            KeySource::CertificateUrl { url, pin, .. } => {
                self.by_url(index, given, url, pin, scope)
            }
            KeySource::X5c {
                length,
                trust,
                leaf_oid,
                intermediate_oid,
            } => {
                let text = token(scope)?;
                let token = Jws::parse(&text).map_err(|_| Rejection::SignatureMalformed)?;
                let policy = Policy {
                    length: *length,
                    leaf_oid: leaf_oid.clone(),
                    intermediate_oid: intermediate_oid.clone(),
                    name: None,
                };
                let chain = x5c(&token)?;
                self.certified(scheme, given, &chain, *trust, &policy)
                    .map(Resolved::Keys)
            }
            KeySource::Certificate { from, trust, name } => {
                let Some(text) = evaluate::text(from, scope)? else {
                    return Err(Rejection::FieldMissing {
                        field: from.to_string(),
                    });
                };
                let chain = pem_or_der_chain(&text);
                let policy = policy(name.as_ref(), *trust, scope)?;
                self.certified(scheme, given, &chain, *trust, &policy)
                    .map(Resolved::Keys)
            }
            KeySource::Signed(signed) => self.signed(given, signed, scope).map(Resolved::Keys),
        }
    }

    /// The source's own keys: all, or those with the id that the request names.
    fn given(&self, given: &'k SchemeKeys, id: Option<&[u8]>) -> Result<Keys<'k>, Rejection> {
        let mut named = false;
        let mut keys = Keys::new();
        for key in &given.keys {
            if id.is_none_or(|id| is_called(key, id)) {
                named = true;
                if key.not_after.is_none_or(|end| self.now < end) {
                    keys.push(Held::Given(key));
                }
            }
        }
        match (keys.is_empty(), id) {
            (false, _) => Ok(keys),
            (true, Some(id)) if !named => Err(Rejection::KeyUnknown { id: shorten(id) }),
            (true, _) => Err(Rejection::KeyExpired),
        }
    }

    /// Keys of a fetched list. An id that the list does not hold has the list fetched anew, which
    /// the cache does once in a while however many ids a stranger makes up: so a new key of the
    /// provider's is found even during a flood.
    fn listed(
        &self,
        scheme: usize,
        name: String,
        id: Option<&[u8]>,
        ttl: std::time::Duration,
        request: crate::remote::Outbound,
    ) -> Result<Resolved<'k>, Rejection> {
        let request = Box::new(request);
        let Some(list) = self.known.keys(&name) else {
            return Ok(Resolved::Wanted(Want::Keys {
                scheme,
                name,
                id: None,
                again: false,
                ttl,
                request,
            }));
        };
        let Some(id) = id else {
            return self.usable(list, |_| true).map(Resolved::Keys);
        };
        if list.iter().any(|key| is_called(key, id)) {
            return self
                .usable(list, |key| is_called(key, id))
                .map(Resolved::Keys);
        }
        match self.known.keys(&Known::anew(&name)) {
            Some(list) if list.iter().any(|key| is_called(key, id)) => self
                .usable(list, |key| is_called(key, id))
                .map(Resolved::Keys),
            Some(_) => Err(Rejection::KeyUnknown { id: shorten(id) }),
            None => Ok(Resolved::Wanted(Want::Keys {
                scheme,
                name,
                id: Some(id.to_vec()),
                again: true,
                ttl,
                request,
            })),
        }
    }

    fn fetched(
        &self,
        scheme: usize,
        given: &'k SchemeKeys,
        fetch: &FetchedKeys,
        id: Option<&[u8]>,
        scope: &Scope<'_, '_>,
    ) -> Result<Resolved<'k>, Rejection> {
        // A key that the source names itself needs no asking.
        match self.given(given, id) {
            Ok(keys) => return Ok(Resolved::Keys(keys)),
            Err(Rejection::KeyExpired) if !given.keys.is_empty() => {
                return Err(Rejection::KeyExpired);
            }
            Err(_) => {}
        }
        let scope = Scope {
            key_id: id,
            ..*scope
        };
        let request = match outbound::build(&fetch.request, &scope, self.now) {
            Ok(request) => request,
            // What the source has not set makes fetching impossible, not the request wrong.
            Err(Rejection::FieldMissing { field }) if is_settable(&field) => {
                let id = id.map(shorten).unwrap_or_default();
                return Err(Rejection::KeyUnknown { id });
            }
            Err(other) => return Err(other),
        };
        let base = kept("fetch", given, &request);
        if fetch.id.is_some() {
            return self.listed(scheme, base, id, fetch.ttl, request);
        }
        let name = match id {
            Some(id) => format!("{base} {}", shorten(id)),
            None => base,
        };
        match self.known.keys(&name) {
            Some(list) => self.usable(list, |_| true).map(Resolved::Keys),
            None => Ok(Resolved::Wanted(Want::Keys {
                scheme,
                name,
                id: id.map(<[u8]>::to_vec),
                again: false,
                ttl: fetch.ttl,
                request: Box::new(request),
            })),
        }
    }

    fn by_url(
        &self,
        scheme: usize,
        given: &SchemeKeys,
        url: &Template,
        pin: &UrlPin,
        scope: &Scope<'_, '_>,
    ) -> Result<Resolved<'k>, Rejection> {
        let Some(text) = evaluate::text(url, scope)? else {
            return Err(Rejection::FieldMissing {
                field: url.to_string(),
            });
        };
        let pinned = pinned(&text, pin)?;
        let request = outbound::visit(&pinned, CERTIFICATE_TIMEOUT);
        let name = kept("certificate", given, &request);
        match self.known.keys(&name) {
            Some(list) => self.usable(list, |_| true).map(Resolved::Keys),
            None => Ok(Resolved::Wanted(Want::Keys {
                scheme,
                name,
                id: None,
                again: false,
                ttl: CERTIFICATE_TTL,
                request: Box::new(request),
            })),
        }
    }

    fn usable(
        &self,
        list: &Arc<Vec<Key>>,
        wanted: impl Fn(&Key) -> bool,
    ) -> Result<Keys<'k>, Rejection> {
        let found = list.iter().enumerate().filter(|(_, key)| wanted(key));
        let keys: Keys<'k> = found
            .filter(|(_, key)| key.not_after.is_none_or(|end| self.now < end))
            .map(|(index, _)| Held::Fetched(Arc::clone(list), index))
            .collect();
        if keys.is_empty() {
            return Err(Rejection::KeyExpired);
        }
        Ok(keys)
    }

    fn certified(
        &self,
        scheme: &crate::rule::scheme::Scheme,
        given: &SchemeKeys,
        chain: &[Vec<u8>],
        trust: Trust,
        policy: &Policy,
    ) -> Result<Keys<'k>, Rejection> {
        let keys = certified(scheme, &given.anchors, chain, trust, policy, self.now)
            .map_err(|why| Rejection::KeyUntrusted { why })?;
        let keys: Keys<'k> = keys
            .into_iter()
            .filter(|key| key.not_after.is_none_or(|end| self.now < end))
            .map(|key| Held::Made(Box::new(key)))
            .collect();
        // A certificate that is trusted as it is ends all the same.
        if keys.is_empty() {
            return Err(Rejection::KeyExpired);
        }
        Ok(keys)
    }

    /// Two levels: one of the source's keys has signed a key, and that one the message.
    fn signed(
        &self,
        given: &'k SchemeKeys,
        rule: &SignedKey,
        scope: &Scope<'_, '_>,
    ) -> Result<Keys<'k>, Rejection> {
        let untrusted = |why: &str| Rejection::KeyUntrusted {
            why: why.to_owned(),
        };
        let candidates: Vec<primitive::Octets> = evaluate::all(&rule.value, scope)?
            .iter()
            .filter_map(|text| primitive::decode(rule.encoding, text))
            .collect();
        let most = crate::rule::scheme::MOST_COMBINATIONS;
        if candidates.is_empty() {
            return Err(Rejection::SignatureMissing);
        }
        if candidates.len() * given.roots.len() > most {
            let found = candidates.len();
            return Err(Rejection::TooManyCandidates { found, most });
        }
        let mut good = false;
        for root in given
            .roots
            .iter()
            .filter(|key| key.not_after.is_none_or(|end| self.now < end))
        {
            let mut running = root.material.begin();
            evaluate::feed(&rule.message, scope, &mut |bytes| running.update(bytes))?;
            let finished = running.finish();
            for candidate in &candidates {
                good |= finished.verify(candidate);
            }
        }
        if !good {
            return Err(untrusted("no root key of the source has signed it"));
        }
        if let Some((template, format)) = &rule.expires {
            let text = evaluate::text(template, scope)?.ok_or(Rejection::TimestampMissing)?;
            if freshness::read(*format, &text)? <= self.now {
                return Err(Rejection::KeyExpired);
            }
        }
        let key = evaluate::text(&rule.key, scope)?.ok_or_else(|| untrusted("it is missing"))?;
        let algorithm = scope
            .frame
            .map_or(rule.algorithm, |frame| frame.scheme.algorithm);
        let loaded = public_key::load(algorithm, PublicForm::Pem, &key)
            .map_err(|fault| untrusted(&fault.to_string()))?;
        let key = Key::fetched(algorithm, loaded, None, "a signed key".to_owned());
        Ok(smallvec![Held::Made(Box::new(key))])
    }
}

/// The token that a JWS scheme checks.
pub fn token<'s>(scope: &Scope<'s, '_>) -> Result<Cow<'s, [u8]>, Rejection> {
    let value = scope.frame.and_then(|frame| frame.scheme.value.as_ref());
    let text = match value {
        Some(value) => evaluate::one(value, scope)?,
        None => None,
    };
    let Some(text) = text.filter(|text| !text.trim_ascii().is_empty()) else {
        return Err(Rejection::SignatureMissing);
    };
    Ok(text)
}

/// An address that a request names, if it is where the rule says.
pub fn pinned(text: &[u8], pin: &UrlPin) -> Result<Pinned, Rejection> {
    pin.admit(text).map_err(|why| Rejection::KeyUntrusted {
        why: why.to_string(),
    })
}

pub fn is_called(key: &Key, id: &[u8]) -> bool {
    key.id
        .as_deref()
        .is_some_and(|known| known.as_bytes() == id)
}

/// Under which name keys are kept: the source, the scheme and all that its keys are trusted by are a
/// part of it. What an answer is depends upon the source's credentials, and whether a certificate is
/// believed upon its roots.
fn kept(kind: &str, given: &SchemeKeys, request: &crate::remote::Outbound) -> String {
    format!(
        "{} {kind} https://{}{}",
        given.tag, request.host, request.target
    )
}

fn is_settable(field: &str) -> bool {
    field.starts_with("secret:") || field.starts_with("config:")
}

fn pointer(tokens: &[&str]) -> crate::rule::template::Pointer {
    crate::rule::template::Pointer(tokens.iter().map(|t| (*t).to_owned()).collect())
}

/// The algorithm of the key under which a token is checked.
pub fn of_algorithm<'a, 'k>(keys: &'a [Held<'k>], algorithm: Algorithm) -> Vec<&'a Held<'k>> {
    keys.iter()
        .filter(|key| key.algorithm == algorithm)
        .collect()
}
