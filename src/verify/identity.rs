//! What makes two callbacks one event. The key is built only from a request whose signature is
//! right, and from signed bytes; where the id is not signed, a digest of what is signed takes its
//! place, so that nobody can make a new event out of an old one, or block an event by taking its
//! id.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::rule::provider::Scheme;
use crate::rule::template::{Piece, Selector};
use crate::rule::{Rule, Template};
use crate::verify::evaluate;
use crate::verify::rejection::Rejection;
use crate::verify::view::View;

/// Longer texts are cut: they are for people.
const LONGEST_TEXT: usize = 256;

/// Who an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The idempotency key, unambiguous and scoped to the source.
    pub key: Vec<u8>,
    /// The event id for people: printable, shortened; a digest where the provider gives no id.
    pub text: String,
    /// The event's type in the provider's words; empty when it names none.
    pub kind: String,
}

/// How the key was made. Part of it, so that keys of different making never meet.
const BY_ID: u8 = 1;
const BY_DIGEST: u8 = 2;

/// An id that is signed is the key. One that is not says nothing: whoever replays the signed bytes
/// may put any id beside them. Then the digest of the signed bytes is the key, together with the
/// event's type: providers that sign neither (Shopify) send the same body as `orders/create` and
/// as `orders/paid`, and the second must not be lost as a duplicate of the first.
pub fn identify(rule: &Rule, view: &View<'_>) -> Result<Identity, Rejection> {
    let kind = kind(rule, view)?;
    let mut key = Vec::with_capacity(64);
    put(&mut key, rule.name.as_str().as_bytes());
    let values = id_values(&rule.inbox.key, view)?;
    let text = match &values {
        Some(_) => printable(&evaluate::text(&rule.inbox.key, view)?.unwrap_or_default()),
        None => String::new(),
    };
    if let Some(values) = values.filter(|_| rule.inbox.key_signed) {
        key.push(BY_ID);
        for value in &values {
            put(&mut key, value);
        }
        return Ok(Identity { key, text, kind });
    }
    key.push(BY_DIGEST);
    put(&mut key, kind.as_bytes());
    let digest = digest(rule.provider.scheme.as_ref(), view)?;
    key.extend_from_slice(&digest);
    let text = match text.is_empty() {
        true => format!("sha256:{}", HEXLOWER.encode(&digest)),
        false => text,
    };
    Ok(Identity { key, text, kind })
}

fn put(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(&(part.len() as u64).to_be_bytes());
    key.extend_from_slice(part);
}

/// The values of the id, none when one is missing or all are empty.
fn id_values(template: &Template, view: &View<'_>) -> Result<Option<Vec<Vec<u8>>>, Rejection> {
    let mut values = Vec::new();
    for piece in template.pieces() {
        if let Piece::Value(value) = piece {
            match evaluate::one(value, view)? {
                Some(found) => values.push(found.into_owned()),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(values).filter(|values| values.iter().any(|value| !value.is_empty())))
}

/// The digest of what the signature fixes. The body where it is signed as it is. Where it is not
/// (sorted parameters), the same content can be written in several ways under one signature, so
/// the signed bytes themselves are digested.
fn digest(scheme: Option<&Scheme>, view: &View<'_>) -> Result<[u8; 32], Rejection> {
    let mut sha256 = Sha256::new();
    match scheme {
        Some(scheme) if !scheme.covers(&Selector::Body) => {
            if let Some(message) = scheme.messages.first() {
                evaluate::feed(message, view, &mut |bytes| sha256.update(bytes))?;
            }
        }
        Some(_) | None => {
            if let Some(body) = view.select(&Selector::Body)? {
                sha256.update(&body);
            }
        }
    }
    Ok(sha256.finalize().into())
}

fn kind(rule: &Rule, view: &View<'_>) -> Result<String, Rejection> {
    match &rule.provider.event.kind {
        Some(template) => Ok(printable(
            &evaluate::text(template, view)?.unwrap_or_default(),
        )),
        None => Ok(String::new()),
    }
}

/// Text that a sender chose, fit for a log and a page: no control characters, no characters that
/// turn the direction of writing, and not too long.
fn printable(bytes: &[u8]) -> String {
    let harmless = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            '\u{fffd}'
        } else {
            c
        }
    };
    String::from_utf8_lossy(bytes)
        .chars()
        .map(harmless)
        .take(LONGEST_TEXT)
        .collect()
}
