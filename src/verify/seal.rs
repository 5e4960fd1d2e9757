//! Signatures, checked: candidates, keys and messages of one scheme, every combination whatever
//! comes out, so that the time tells nothing (lint L6).

use smallvec::SmallVec;

use crate::clock::Timestamp;
use crate::rule::Template;
use crate::rule::scheme::{Algorithm, MOST_COMBINATIONS, Scheme};
use crate::verify::jws::Jws;
use crate::verify::keys::Keyring;
use crate::verify::primitive::Octets;
use crate::verify::rejection::Rejection;
use crate::verify::resolve::{Held, Resolved, Resolver, of_algorithm, token};
use crate::verify::scope::{Frame, Scope};
use crate::verify::want::{Known, Want};
use crate::verify::{evaluate, message, primitive};

/// Signatures that a request brings, decoded: nearly always one or two.
pub type Candidates = SmallVec<[Octets; 2]>;

/// What checking one scheme came to.
pub enum Checked {
    /// Algorithm and key: `hmac-sha256 keys[0]`.
    Sealed(String),
    Wanted(Want),
}

pub fn check(
    index: usize,
    scope: &Scope<'_, '_>,
    ring: &Keyring,
    known: &Known,
    now: Timestamp,
) -> Result<Checked, Rejection> {
    let Some(frame) = scope.frame else {
        return Err(Rejection::SchemeUnknown);
    };
    let resolver = Resolver { ring, known, now };
    if !scope
        .view
        .rule
        .provider
        .split
        .as_ref()
        .is_some_and(|split| split.each)
    {
        return one(index, frame, scope, &resolver);
    }
    // Every item must be signed; an empty list would be signed by nobody.
    let items = scope.items()?;
    if items.is_empty() {
        return Err(Rejection::SignatureMissing);
    }
    let most = scope
        .view
        .rule
        .provider
        .split
        .as_ref()
        .map_or(usize::MAX, |split| split.most);
    if items.len() > most {
        return Err(Rejection::TooManyCandidates {
            found: items.len(),
            most,
        });
    }
    let mut last = None;
    for item in items {
        let scope = Scope {
            item: Some(item),
            ..*scope
        };
        match one(index, frame, &scope, &resolver)? {
            Checked::Sealed(seal) => last = Some(seal),
            wanted @ Checked::Wanted(_) => return Ok(wanted),
        }
    }
    last.map(Checked::Sealed).ok_or(Rejection::SignatureMissing)
}

fn one(
    index: usize,
    frame: &Frame<'_>,
    scope: &Scope<'_, '_>,
    resolver: &Resolver<'_>,
) -> Result<Checked, Rejection> {
    let scheme = frame.scheme;
    let keys = |scope: &Scope<'_, '_>| resolver.keys(index, scope);
    match scheme.algorithm {
        Algorithm::Jws => {
            let text = token(scope)?;
            let token = Jws::parse(&text).map_err(|_| Rejection::SignatureMalformed)?;
            let algorithm = token
                .algorithm
                .filter(|algorithm| scheme.jws.contains(&algorithm.name()))
                .ok_or(Rejection::SchemeUnknown)?;
            let keys = match keys(scope)? {
                Resolved::Keys(keys) => keys,
                Resolved::Wanted(want) => return Ok(Checked::Wanted(want)),
            };
            let fitting = of_algorithm(&keys, algorithm.algorithm());
            let mut made_by = None;
            for key in &fitting {
                let mut running = key.material.begin();
                running.update(token.signed);
                if running.finish().verify(&token.signature) && made_by.is_none() {
                    made_by = Some(key);
                }
            }
            sealed(
                scheme,
                made_by.map(|key| key.label.as_str()),
                1,
                fitting.len(),
            )
        }
        Algorithm::HttpSignature => {
            let keys = match keys(scope)? {
                Resolved::Keys(keys) => keys,
                Resolved::Wanted(want) => return Ok(Checked::Wanted(want)),
            };
            let (label, candidates) = message::signed_by(scheme, scope, &keys, resolver.now)?;
            sealed(scheme, label.as_deref(), candidates, keys.len())
        }
        Algorithm::Basic => {
            let found = scope.view.basic()?.ok_or(Rejection::SignatureMissing)?;
            let candidates = [Octets::from_slice(found)];
            let keys = match keys(scope)? {
                Resolved::Keys(keys) => keys,
                Resolved::Wanted(want) => return Ok(Checked::Wanted(want)),
            };
            let label = try_all(&[], &candidates, &keys, scope)?;
            sealed(scheme, label, 1, keys.len())
        }
        _ => {
            let candidates = candidates(scheme, scope)?;
            let keys = match keys(scope)? {
                Resolved::Keys(keys) => keys,
                Resolved::Wanted(want) => return Ok(Checked::Wanted(want)),
            };
            let most = MOST_COMBINATIONS / (keys.len() * scheme.variants()).max(1);
            if candidates.len() > most {
                return Err(Rejection::TooManyCandidates {
                    found: candidates.len(),
                    most,
                });
            }
            let label = try_all(&scheme.messages, &candidates, &keys, scope)?;
            sealed(scheme, label, candidates.len(), keys.len())
        }
    }
}

fn sealed(
    scheme: &Scheme,
    label: Option<&str>,
    candidates: usize,
    keys: usize,
) -> Result<Checked, Rejection> {
    match label {
        Some(label) => {
            let name = scheme.algorithm.name();
            let mut seal = String::with_capacity(name.len() + 1 + label.len());
            seal.push_str(name);
            seal.push(' ');
            seal.push_str(label);
            Ok(Checked::Sealed(seal))
        }
        None => Err(Rejection::SignatureMismatch { candidates, keys }),
    }
}

/// Complains when no signature stands where the scheme puts it, or none that can be read.
pub fn present(scope: &Scope<'_, '_>) -> Result<(), Rejection> {
    let Some(frame) = scope.frame else {
        return Ok(());
    };
    match frame.scheme.algorithm {
        Algorithm::Jws => {
            let text = token(scope)?;
            Jws::parse(&text)
                .map(drop)
                .map_err(|_| Rejection::SignatureMalformed)
        }
        Algorithm::HttpSignature => message::inputs(frame.scheme, scope).map(drop),
        Algorithm::Basic => match scope.view.basic()? {
            Some(_) => Ok(()),
            None => Err(Rejection::SignatureMissing),
        },
        // Each item brings its own.
        _ if scope.item.is_none()
            && scope
                .view
                .rule
                .provider
                .split
                .as_ref()
                .is_some_and(|split| split.each) =>
        {
            Ok(())
        }
        _ => candidates(frame.scheme, scope).map(drop),
    }
}

/// The signatures that the request brings, decoded. Text that is none does not count, as long as
/// there is one: providers send several kinds side by side.
pub fn candidates(scheme: &Scheme, scope: &Scope<'_, '_>) -> Result<Candidates, Rejection> {
    let most = MOST_COMBINATIONS;
    let (mut found, mut blank) = (0, true);
    let mut decoded = Candidates::new();
    if let Some(value) = &scheme.value {
        evaluate::each(value, scope, &mut |text| {
            found += 1;
            blank &= text.trim_ascii().is_empty();
            if found <= most {
                decoded.extend(primitive::decode(scheme.encoding, &text));
            }
        })?;
    }
    if blank {
        return Err(Rejection::SignatureMissing);
    }
    if found > most {
        return Err(Rejection::TooManyCandidates { found, most });
    }
    if decoded.is_empty() {
        return Err(Rejection::SignatureMalformed);
    }
    Ok(decoded)
}

/// The label of the first key that made one of the signatures. A scheme without messages compares
/// the candidate with the key itself.
fn try_all<'h>(
    messages: &[Template],
    candidates: &[Octets],
    keys: &'h [Held<'_>],
    scope: &Scope<'_, '_>,
) -> Result<Option<&'h str>, Rejection> {
    let mut made_by: Option<&'h Held<'_>> = None;
    let mut absent: Option<Rejection> = None;
    let mut tried = false;
    let mut variant = |message: Option<&Template>| -> Result<(), Rejection> {
        for key in keys {
            let scope = Scope {
                key: key.secret.as_ref().map(crate::secret::Secret::expose),
                ..*scope
            };
            let mut running = key.material.begin();
            if let Some(message) = message {
                evaluate::feed(message, &scope, &mut |bytes| running.update(bytes))?;
            }
            let finished = running.finish();
            let matched = candidates
                .iter()
                .fold(false, |any, candidate| finished.verify(candidate) | any);
            if matched && made_by.is_none() {
                made_by = Some(key);
            }
        }
        Ok(())
    };
    if messages.is_empty() {
        variant(None)?;
    }
    for message in messages {
        match variant(Some(message)) {
            Ok(()) => tried = true,
            // A variant that needs what is not there is not the one that was signed.
            Err(fault @ Rejection::FieldMissing { .. }) if messages.len() > 1 => {
                absent = Some(fault);
            }
            Err(fault) => return Err(fault),
        }
    }
    // What is missing is the reason only where no other variant could be tried.
    if let (None, Some(fault), false) = (made_by, absent, tried) {
        return Err(fault);
    }
    Ok(made_by.map(|key| key.label.as_str()))
}

/// How far a scheme came before it failed: the rejection that says most is the one that came
/// furthest.
pub fn progress(rejection: &Rejection) -> u8 {
    match rejection {
        Rejection::SchemeUnknown => 0,
        Rejection::SignatureMissing => 1,
        Rejection::SignatureMalformed => 2,
        Rejection::SignatureMismatch { .. } => 9,
        Rejection::KeyUnknown { .. } | Rejection::KeyExpired | Rejection::KeyUntrusted { .. } => 8,
        _ => 5,
    }
}
