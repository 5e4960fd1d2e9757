//! The verdict on a request, step by step: signature, then clock, then identity. Pure: the time is
//! an argument and the keys are parsed already, so that examples, `explain` and the live path are
//! the same code.

use bytes::Bytes;
use http::StatusCode;

use crate::clock::Timestamp;
use crate::message::{Answer, Headers, RawRequest};
use crate::rule::provider::{Challenge, MOST_COMBINATIONS, Scheme};
use crate::rule::{Rule, Template};
use crate::verify::identity::{Identity, identify};
use crate::verify::keys::{Key, Keyring};
use crate::verify::params::shorten;
use crate::verify::primitive;
use crate::verify::rejection::Rejection;
use crate::verify::view::View;
use crate::verify::{evaluate, freshness};

/// What is known of a request whose signature is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Event {
        identity: Identity,
        /// What sealed it: algorithm and key, e.g. `hmac-sha256 keys[0]`, or `none`.
        seal: String,
    },
    /// The provider asks who is there.
    Challenge(Answer),
}

pub fn judge(
    rule: &Rule,
    keys: &Keyring,
    request: &RawRequest,
    now: Timestamp,
) -> Result<Judgement, Rejection> {
    let view = View::new(request, rule, &keys.secrets);
    let provider = &rule.provider;
    let seal = match &provider.scheme {
        None => "none".to_owned(),
        Some(scheme) => {
            let candidates = candidates(scheme, &view)?;
            // Read before the signature is checked, so that a stamp that is missing is called so;
            // believed only after.
            let stamp = stamp(rule, &view)?;
            let key = signed_by(scheme, &candidates, keys, &view, now)?;
            if let (Some(stamp), Some(tolerance)) = (stamp, rule.tolerance) {
                freshness::check(stamp, now, tolerance)?;
            }
            format!("{} {}", scheme.algorithm.name(), key.label)
        }
    };
    if let Some(challenge) = &provider.challenge
        && let Some(answer) = respond(challenge, &view)?
    {
        return Ok(Judgement::Challenge(answer));
    }
    Ok(Judgement::Event {
        identity: identify(rule, &view)?,
        seal,
    })
}

/// The signatures that the request brings, decoded. Text that is none does not count, as long as
/// there is one: providers send several kinds side by side.
fn candidates(scheme: &Scheme, view: &View<'_>) -> Result<Vec<Vec<u8>>, Rejection> {
    let found = evaluate::all(&scheme.value, view)?;
    if found.iter().all(|text| text.trim_ascii().is_empty()) {
        return Err(Rejection::SignatureMissing);
    }
    let most = MOST_COMBINATIONS;
    if found.len() > most {
        return Err(Rejection::TooManyCandidates {
            found: found.len(),
            most,
        });
    }
    let decoded: Vec<Vec<u8>> = found
        .iter()
        .filter_map(|text| primitive::decode(scheme.encoding, text))
        .collect();
    if decoded.is_empty() {
        return Err(Rejection::SignatureMalformed);
    }
    Ok(decoded)
}

fn stamp(rule: &Rule, view: &View<'_>) -> Result<Option<Timestamp>, Rejection> {
    let Some(rule) = &rule.provider.freshness else {
        return Ok(None);
    };
    let text = evaluate::text(&rule.timestamp, view)?.ok_or(Rejection::TimestampMissing)?;
    freshness::read(rule.format, &text).map(Some)
}

/// The key that made one of the signatures. Every candidate is tried with every key and every
/// variant of the message, whatever comes out, so that the time tells nothing (lint L6).
fn signed_by<'k>(
    scheme: &Scheme,
    candidates: &[Vec<u8>],
    ring: &'k Keyring,
    view: &View<'_>,
    now: Timestamp,
) -> Result<&'k Key, Rejection> {
    let keys = usable(scheme, ring, view, now)?;
    let most = MOST_COMBINATIONS / (keys.len() * scheme.messages.len()).max(1);
    if candidates.len() > most {
        return Err(Rejection::TooManyCandidates {
            found: candidates.len(),
            most,
        });
    }
    let mut made_by = None;
    for message in &scheme.messages {
        for key in &keys {
            let matched = matches(message, key, candidates, view)?;
            if matched && made_by.is_none() {
                made_by = Some(*key);
            }
        }
    }
    made_by.ok_or(Rejection::SignatureMismatch {
        candidates: candidates.len(),
        keys: keys.len(),
    })
}

fn matches(
    message: &Template,
    key: &Key,
    candidates: &[Vec<u8>],
    view: &View<'_>,
) -> Result<bool, Rejection> {
    let mut running = key.material.begin();
    evaluate::feed(message, view, &mut |bytes| running.update(bytes))?;
    let finished = running.finish();
    Ok(candidates
        .iter()
        .fold(false, |any, candidate| finished.verify(candidate) | any))
}

/// The keys that may have made the signature: all, or those with the id that the request names.
fn usable<'k>(
    scheme: &Scheme,
    ring: &'k Keyring,
    view: &View<'_>,
    now: Timestamp,
) -> Result<Vec<&'k Key>, Rejection> {
    let mut keys: Vec<&Key> = ring.keys.iter().collect();
    if let Some(template) = &scheme.key_id {
        let Some(id) = evaluate::text(template, view)? else {
            return Err(Rejection::FieldMissing {
                field: template.to_string(),
            });
        };
        keys.retain(|key| {
            key.id
                .as_deref()
                .is_some_and(|known| known.as_bytes() == id)
        });
        if keys.is_empty() {
            return Err(Rejection::KeyUnknown { id: shorten(&id) });
        }
    }
    keys.retain(|key| key.not_after.is_none_or(|end| now < end));
    if keys.is_empty() {
        Err(Rejection::KeyExpired)
    } else {
        Ok(keys)
    }
}

/// The answer to a challenge; none when the request is none.
fn respond(challenge: &Challenge, view: &View<'_>) -> Result<Option<Answer>, Rejection> {
    for (template, wanted) in &challenge.when {
        match evaluate::text(template, view) {
            Ok(Some(found)) if found == *wanted => {}
            // A body that cannot be read this way asks nothing; as an event it is looked at next.
            Ok(_) | Err(_) => return Ok(None),
        }
    }
    let reply = evaluate::text(&challenge.reply, view)?;
    let Some(reply) = reply.filter(|reply| reply.len() <= challenge.reply_max) else {
        return Ok(None);
    };
    let mut headers = Headers::with_capacity(2);
    headers.push("content-type", challenge.content_type.clone());
    headers.push("x-content-type-options", "nosniff");
    Ok(Some(Answer {
        status: StatusCode::OK,
        headers,
        body: Bytes::from(reply),
    }))
}
