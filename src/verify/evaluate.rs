//! Templates at work: pieces go to a sink one after the other, so that a message is never put
//! together in memory.

use std::borrow::Cow;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::rule::Template;
use crate::rule::template::{Piece, Transform, Value};
use crate::verify::form;
use crate::verify::rejection::Rejection;
use crate::verify::view::View;

/// Feeds the bytes of a template to `sink`. A value that is missing ends it.
pub fn feed(
    template: &Template,
    view: &View<'_>,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Rejection> {
    for piece in template.pieces() {
        match piece {
            Piece::Literal(bytes) => sink(bytes),
            Piece::Value(value) => match one(value, view)? {
                Some(bytes) => sink(&bytes),
                None => return Err(missing(value)),
            },
        }
    }
    Ok(())
}

/// The bytes of a short template; none when a value of it is missing.
pub fn text(template: &Template, view: &View<'_>) -> Result<Option<Vec<u8>>, Rejection> {
    let mut bytes = Vec::new();
    for piece in template.pieces() {
        match piece {
            Piece::Literal(literal) => bytes.extend_from_slice(literal),
            Piece::Value(value) => match one(value, view)? {
                Some(found) => bytes.extend_from_slice(&found),
                None => return Ok(None),
            },
        }
    }
    Ok(Some(bytes))
}

/// What one value of a template gives; none when it is missing.
pub fn one<'v>(value: &Value, view: &'v View<'_>) -> Result<Option<Cow<'v, [u8]>>, Rejection> {
    let found = view.select(&value.selector)?;
    transformed(value, found)
}

/// The same for a value that may stand there several times. What is missing does not count.
pub fn all<'v>(value: &Value, view: &'v View<'_>) -> Result<Vec<Cow<'v, [u8]>>, Rejection> {
    let mut results = Vec::new();
    for found in view.select_all(&value.selector)? {
        results.extend(transformed(value, Some(found))?);
    }
    Ok(results)
}

pub fn missing(value: &Value) -> Rejection {
    Rejection::FieldMissing {
        field: value.selector.to_string(),
    }
}

fn transformed<'v>(
    value: &Value,
    found: Option<Cow<'v, [u8]>>,
) -> Result<Option<Cow<'v, [u8]>>, Rejection> {
    value
        .transforms
        .iter()
        .try_fold(found, |found, transform| match (found, transform) {
            (None, Transform::Default(text)) => Ok(Some(Cow::Owned(text.clone()))),
            (None, _) => Ok(None),
            (Some(bytes), transform) => apply(transform, bytes, value),
        })
}

fn apply<'v>(
    transform: &Transform,
    bytes: Cow<'v, [u8]>,
    value: &Value,
) -> Result<Option<Cow<'v, [u8]>>, Rejection> {
    let owned = |bytes: Vec<u8>| Ok(Some(Cow::Owned(bytes)));
    match transform {
        Transform::Hex => owned(HEXLOWER.encode(&bytes).into_bytes()),
        Transform::Base64 => owned(BASE64.encode(&bytes).into_bytes()),
        Transform::Sha256 => owned(Sha256::digest(&bytes).to_vec()),
        Transform::Lower => owned(bytes.to_ascii_lowercase()),
        Transform::Upper => owned(bytes.to_ascii_uppercase()),
        Transform::PercentDecode => match form::decode(&bytes, false) {
            Ok(decoded) => owned(decoded.into_owned()),
            Err(_) => Err(Rejection::FieldMalformed {
                field: value.selector.to_string(),
            }),
        },
        Transform::Default(_) => Ok(Some(bytes)),
        Transform::StripPrefix(prefix) => Ok(match bytes {
            Cow::Borrowed(bytes) => bytes.strip_prefix(prefix.as_slice()).map(Cow::Borrowed),
            Cow::Owned(bytes) => bytes
                .strip_prefix(prefix.as_slice())
                .map(|rest| Cow::Owned(rest.to_vec())),
        }),
    }
}
