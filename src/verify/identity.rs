//! What makes two callbacks one event. The key is built only from a request whose signature is
//! right, and from signed bytes; where the id is not signed, a digest of what is signed takes its
//! place, so that nobody can make a new event out of an old one, or block an event by taking its
//! id.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::rule::scheme::Scheme;
use crate::rule::template::{Piece, Selector};
use crate::rule::{Rule, Template};
use crate::verify::evaluate;
use crate::verify::rejection::Rejection;
use crate::verify::scope::Scope;

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
    /// The digest of what the event says: two requests with one key and one content are one event
    /// told twice, however they are written. Only what is verified goes into it, so that nobody
    /// makes something new by changing what is not.
    pub content: [u8; 32],
}

/// How the key was made. Part of it, so that keys of different making never meet.
const BY_ID: u8 = 1;
const BY_DIGEST: u8 = 2;
const BY_DELIVERY: u8 = 3;

/// An id that is signed is the key. One that is not says nothing: whoever replays the signed bytes
/// may put any id beside them. Then the digest of the signed bytes is the key, together with the
/// event's type: providers that sign neither (Shopify) send the same body as `orders/create` and
/// as `orders/paid`, and the second must not be lost as a duplicate of the first.
pub fn identify(rule: &Rule, scope: &Scope<'_, '_>) -> Result<Identity, Rejection> {
    let kind = kind(rule, scope)?;
    let mut key = Vec::with_capacity(64);
    put(&mut key, rule.name.as_str().as_bytes());
    if rule.provider.event.repeats.is_some() {
        // The provider says the same words for different events: each delivery is one.
        key.push(BY_DELIVERY);
        let content = content(rule, scope)?;
        put(&mut key, &content);
        let at = scope.view.request.received_at.as_millis();
        put(&mut key, &at.to_be_bytes());
        put(&mut key, crate::verify::sign::nonce(8).as_bytes());
        let text = format!("delivery:{at}");
        return Ok(Identity {
            key,
            text,
            kind,
            content,
        });
    }
    let mut found = None;
    for template in &rule.inbox.keys {
        found = id(template, scope)?;
        if found.is_some() {
            break;
        }
    }
    match found {
        Some(id) if rule.inbox.key_signed => {
            key.push(BY_ID);
            id.values.iter().for_each(|value| put(&mut key, value));
            Ok(Identity {
                key,
                text: id.text,
                kind,
                content: content(rule, scope)?,
            })
        }
        unsigned => {
            let digest = digest(rule, scope)?;
            key.push(BY_DIGEST);
            put(&mut key, kind.as_bytes());
            key.extend_from_slice(&digest);
            let text = unsigned.map(|id| id.text);
            let text = text.unwrap_or_else(|| format!("sha256:{}", HEXLOWER.encode(&digest)));
            Ok(Identity {
                key,
                text,
                kind,
                content: content(rule, scope)?,
            })
        }
    }
}

fn put(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(&(part.len() as u64).to_be_bytes());
    key.extend_from_slice(part);
}

/// What the request calls its event.
struct Id {
    /// The values of the template one by one: joined, different ids could look the same.
    values: Vec<Vec<u8>>,
    text: String,
}

/// The values that a template gives, one by one; none when one is missing, or all are empty.
pub(super) fn values(
    template: &Template,
    scope: &Scope<'_, '_>,
) -> Result<Option<Vec<Vec<u8>>>, Rejection> {
    Ok(id(template, scope)?.map(|id| id.values))
}

/// None when a value is missing, or all are empty. Items of a split request give all their ids.
fn id(template: &Template, scope: &Scope<'_, '_>) -> Result<Option<Id>, Rejection> {
    let mut id = Id {
        values: Vec::new(),
        text: String::new(),
    };
    let mut text = Vec::new();
    for piece in template.pieces() {
        let taken = match piece {
            // Which segments are there is part of the id.
            Piece::Optional(inner) => {
                let mut part = (Vec::new(), Vec::new());
                let there = inner.iter().try_fold(true, |there, piece| {
                    Ok(there && take(piece, scope, &mut part.0, &mut part.1)?)
                })?;
                if there {
                    text.extend_from_slice(&part.1);
                    id.values.append(&mut part.0);
                } else {
                    id.values.push(b"\0none".to_vec());
                }
                true
            }
            piece => take(piece, scope, &mut id.values, &mut text)?,
        };
        if !taken {
            return Ok(None);
        }
    }
    id.text = printable(&text);
    let named = id.values.iter().any(|value| !value.is_empty());
    Ok(named.then_some(id))
}

/// Adds what a piece gives; false when something is missing.
fn take(
    piece: &Piece,
    scope: &Scope<'_, '_>,
    values: &mut Vec<Vec<u8>>,
    text: &mut Vec<u8>,
) -> Result<bool, Rejection> {
    let value = match piece {
        Piece::Literal(literal) => {
            text.extend_from_slice(literal);
            return Ok(true);
        }
        Piece::Value(value) => value,
        Piece::Optional(_) => return Ok(true),
    };
    let found = match &value.selector {
        Selector::Item(_) => {
            let found = evaluate::all(value, scope)?;
            // An item without an id could be told from no other: then none of them has one.
            if found.len() != scope.items()?.len() {
                return Ok(false);
            }
            found
        }
        _ => evaluate::one(value, scope)?.into_iter().collect(),
    };
    if found.is_empty() {
        return Ok(false);
    }
    for (index, one) in found.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(one);
    }
    // How many there are is part of it: values of two selectors never mix.
    if found.len() > 1 {
        values.push(found.len().to_be_bytes().to_vec());
    }
    values.extend(found.into_iter().map(std::borrow::Cow::into_owned));
    Ok(true)
}

/// What the event says, as a digest. The file's own word where it has one: some providers count
/// their tries in the body. Where a second source was asked, it has confirmed what the key is made
/// of, and nothing else counts.
fn content(rule: &Rule, scope: &Scope<'_, '_>) -> Result<[u8; 32], Rejection> {
    if let Some(template) = &rule.provider.event.content
        && let Some(text) = evaluate::text(template, scope)?
    {
        return Ok(Sha256::digest(&text).into());
    }
    if scope.answer.is_some() {
        return Ok([0; 32]);
    }
    digest(rule, scope)
}

/// The digest of what the signature fixes. The body where it is signed as it is. Where it is not
/// (sorted parameters), the same content can be written in several ways under one signature, so
/// the signed bytes themselves are digested. Where nothing is signed (a token), the body is all
/// there is to tell events apart.
fn digest(rule: &Rule, scope: &Scope<'_, '_>) -> Result<[u8; 32], Rejection> {
    let provider = &rule.provider;
    let scheme = scope.frame.map(|frame| frame.scheme);
    let bytes =
        scheme.is_none_or(|scheme| scheme.messages.is_empty()) || provider.covers(&Selector::Body);
    let mut sha256 = Sha256::new();
    let items = match (&provider.split, bytes) {
        (Some(split), false) if split.each => scope.items()?.into_iter().map(Some).collect(),
        (_, false) => vec![None],
        (_, true) => {
            let request = scope.view.request;
            sha256.update(&request.body);
            // A callback by GET says everything in its address.
            let told = scheme.is_none() || provider.covers(&Selector::Target);
            if request.body.is_empty() && told {
                sha256.update(scope.view.target());
            }
            Vec::new()
        }
    };
    for item in items {
        // The same event under two keys is one event.
        let scope = Scope {
            key: Some(&[]),
            item: item.or(scope.item),
            ..*scope
        };
        signed_bytes(scheme, &scope, &mut sha256)?;
    }
    Ok(sha256.finalize().into())
}

/// Feeds the first variant of the message for which nothing is missing.
fn signed_bytes(
    scheme: Option<&Scheme>,
    scope: &Scope<'_, '_>,
    sha256: &mut Sha256,
) -> Result<(), Rejection> {
    let mut absent = None;
    for message in scheme
        .map(|scheme| scheme.messages.as_slice())
        .unwrap_or_default()
    {
        let mut digest = Sha256::new();
        match evaluate::feed(message, scope, &mut |bytes| digest.update(bytes)) {
            Ok(()) => {
                sha256.update(digest.finalize());
                return Ok(());
            }
            Err(fault @ Rejection::FieldMissing { .. }) => absent = Some(fault),
            Err(fault) => return Err(fault),
        }
    }
    absent.map_or(Ok(()), Err)
}

/// A type is for people and for filters: a body of another shape has none.
fn kind(rule: &Rule, scope: &Scope<'_, '_>) -> Result<String, Rejection> {
    let Some(template) = &rule.provider.event.kind else {
        return Ok(String::new());
    };
    match evaluate::text(template, scope) {
        Ok(text) => Ok(printable(&text.unwrap_or_default())),
        Err(Rejection::BodyMalformed { .. } | Rejection::FieldMalformed { .. }) => {
            Ok(String::new())
        }
        Err(other) => Err(other),
    }
}

/// Text that a sender chose, fit for a log and a page: no control characters, no characters that
/// turn the direction of writing, and not too long.
pub(super) fn printable(bytes: &[u8]) -> String {
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
