//! Templates at work: pieces go to a sink one after the other, so that a message is never put
//! together in memory.

use std::borrow::Cow;

use data_encoding::{
    BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE, HEXUPPER,
};

use crate::rule::Template;
use crate::rule::scheme::{Condition, Test};
use crate::rule::template::{Piece, Selector, Transform, Value};
use crate::verify::digest::{crc32_text, digest};
use crate::verify::form;
use crate::verify::json::Json;
use crate::verify::mac::{mac, same};
use crate::verify::rejection::Rejection;
use crate::verify::scope::{Found, Scope};

/// Feeds the bytes of a template to `sink`. A value that is missing ends it, but for those of an
/// optional segment, which is left out.
pub fn feed(
    template: &Template,
    scope: &Scope<'_, '_>,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Rejection> {
    for piece in template.pieces() {
        match piece {
            Piece::Literal(bytes) => sink(bytes),
            Piece::Value(value) => match one(value, scope)? {
                Some(bytes) => sink(&bytes),
                None => return Err(missing(value)),
            },
            Piece::Optional(pieces) => {
                if let Some(bytes) = joined(pieces, scope)? {
                    sink(&bytes);
                }
            }
        }
    }
    Ok(())
}

/// The bytes of a short template; none when a value of it is missing.
pub fn text(template: &Template, scope: &Scope<'_, '_>) -> Result<Option<Vec<u8>>, Rejection> {
    joined(template.pieces(), scope)
}

/// The same, borrowed where the template is one value and that is borrowed.
pub fn short<'s>(
    template: &Template,
    scope: &Scope<'s, '_>,
) -> Result<Option<Cow<'s, [u8]>>, Rejection> {
    match template.as_single() {
        Some(value) => one(value, scope),
        None => Ok(text(template, scope)?.map(Cow::Owned)),
    }
}

fn joined(pieces: &[Piece], scope: &Scope<'_, '_>) -> Result<Option<Vec<u8>>, Rejection> {
    let mut bytes = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => bytes.extend_from_slice(literal),
            Piece::Value(value) => match one(value, scope)? {
                Some(found) => bytes.extend_from_slice(&found),
                None => return Ok(None),
            },
            Piece::Optional(pieces) => {
                bytes.extend(joined(pieces, scope)?.unwrap_or_default());
            }
        }
    }
    Ok(Some(bytes))
}

/// What one value of a template gives; none when it is missing.
pub fn one<'s>(value: &Value, scope: &Scope<'s, '_>) -> Result<Option<Cow<'s, [u8]>>, Rejection> {
    let found = scope.select(&value.selector)?;
    if value.transforms.is_empty() {
        return Ok(found);
    }
    transformed(value, found, scope)
}

/// The same for a value that may stand there several times. What is missing does not count.
pub fn all<'s>(value: &Value, scope: &Scope<'s, '_>) -> Result<Found<'s>, Rejection> {
    let mut found = Found::new();
    each(value, scope, &mut |bytes| found.push(bytes))?;
    Ok(found)
}

/// The same, one after the other.
pub fn each<'s>(
    value: &Value,
    scope: &Scope<'s, '_>,
    visit: &mut dyn FnMut(Cow<'s, [u8]>),
) -> Result<(), Rejection> {
    // Something in the items of a request is found in each of them.
    if !value.selector.is_many() && !matches!(value.selector, Selector::Item(_)) {
        if let Some(found) = one(value, scope)? {
            visit(found);
        }
        return Ok(());
    }
    if value.transforms.is_empty() {
        return scope.select_each(&value.selector, visit);
    }
    for found in scope.select_all(&value.selector)? {
        if let Some(found) = transformed(value, Some(found), scope)? {
            visit(found);
        }
    }
    Ok(())
}

pub fn missing(value: &Value) -> Rejection {
    Rejection::FieldMissing {
        field: value.selector.to_string(),
    }
}

/// True when every condition holds.
pub fn all_hold(conditions: &[Condition], scope: &Scope<'_, '_>) -> Result<bool, Rejection> {
    for condition in conditions {
        if !holds(condition, scope)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Comparing takes the same time whatever differs: one side may be a secret.
pub fn holds(condition: &Condition, scope: &Scope<'_, '_>) -> Result<bool, Rejection> {
    let found = short(&condition.is, scope)?;
    match (&condition.test, found) {
        (Test::Present(wanted), found) => Ok(found.is_some_and(|f| !f.is_empty()) == *wanted),
        (Test::StartsWith(prefix), found) => {
            Ok(found.is_some_and(|found| found.starts_with(prefix.as_bytes())))
        }
        (Test::Lacks(text), found) => {
            Ok(found.is_none_or(|found| find(&found, text.as_bytes()).is_none()))
        }
        (Test::Equals(_), None) => Ok(false),
        (Test::Equals(texts), Some(found)) => {
            let mut any = false;
            for wanted in texts {
                // What the source has not set equals nothing.
                if let Some(wanted) = short(wanted, scope)? {
                    any |= same(&wanted, &found);
                }
            }
            Ok(any)
        }
    }
}

fn transformed<'s>(
    value: &Value,
    found: Option<Cow<'s, [u8]>>,
    scope: &Scope<'s, '_>,
) -> Result<Option<Cow<'s, [u8]>>, Rejection> {
    value
        .transforms
        .iter()
        .try_fold(found, |found, transform| match (found, transform) {
            (None, Transform::Default(text)) => Ok(Some(Cow::Owned(text.clone()))),
            (None, _) => Ok(None),
            (Some(bytes), transform) => apply(transform, bytes, &value.selector, scope),
        })
}

fn apply<'s>(
    transform: &Transform,
    bytes: Cow<'s, [u8]>,
    selector: &Selector,
    scope: &Scope<'s, '_>,
) -> Result<Option<Cow<'s, [u8]>>, Rejection> {
    let owned = |bytes: Vec<u8>| Ok(Some(Cow::Owned(bytes)));
    let malformed = || Rejection::FieldMalformed {
        field: selector.to_string(),
    };
    match transform {
        Transform::Hex => owned(HEXLOWER.encode(&bytes).into_bytes()),
        Transform::HexUpper => owned(HEXUPPER.encode(&bytes).into_bytes()),
        Transform::Base64 => owned(BASE64.encode(&bytes).into_bytes()),
        Transform::Base64Url => owned(BASE64URL_NOPAD.encode(&bytes).into_bytes()),
        Transform::FromHex => owned(
            HEXLOWER_PERMISSIVE
                .decode(&bytes)
                .map_err(|_| malformed())?,
        ),
        Transform::FromBase64 => {
            // Braintree and others break long base64 into lines.
            let packed: Vec<u8> = bytes
                .iter()
                .copied()
                .filter(|b| !b.is_ascii_whitespace())
                .collect();
            owned(
                BASE64_NOPAD
                    .decode(unpadded(&packed))
                    .map_err(|_| malformed())?,
            )
        }
        Transform::FromBase64Url => owned(
            BASE64URL_NOPAD
                .decode(unpadded(&bytes))
                .map_err(|_| malformed())?,
        ),
        Transform::PercentDecode | Transform::FormDecode => {
            let plus = *transform == Transform::FormDecode;
            match form::decode(&bytes, plus) {
                Ok(decoded) => owned(decoded.into_owned()),
                Err(_) => Err(malformed()),
            }
        }
        Transform::PercentEncode => owned(form::encode(&bytes, false)),
        Transform::FormEncode => owned(form::encode(&bytes, true)),
        Transform::Lower => owned(bytes.to_ascii_lowercase()),
        Transform::Upper => owned(bytes.to_ascii_uppercase()),
        Transform::Trim => Ok(Some(
            part(bytes, |bytes| Some(bytes.trim_ascii())).unwrap_or_default(),
        )),
        Transform::Reverse => owned(bytes.iter().rev().copied().collect()),
        Transform::Default(_) => Ok(Some(bytes)),
        Transform::StripPrefix(prefix) => Ok(part(bytes, |b| b.strip_prefix(prefix.as_slice()))),
        Transform::StripSuffix(suffix) => Ok(part(bytes, |b| b.strip_suffix(suffix.as_slice()))),
        Transform::Before(mark) => Ok(part(bytes, |b| b.get(..find(b, mark)?))),
        Transform::After(mark) => Ok(part(bytes, |b| b.get(find(b, mark)? + mark.len()..))),
        Transform::Unquote => Ok(part(bytes, |b| {
            Some(
                b.strip_prefix(b"\"")
                    .and_then(|b| b.strip_suffix(b"\""))
                    .unwrap_or(b),
            )
        })),
        Transform::JsonText => owned(json_text(&bytes)),
        Transform::Digest(kind) => owned(digest(*kind, &bytes)),
        Transform::Crc32 => owned(crc32_text(&bytes).into_bytes()),
        Transform::Len32Le => {
            let length = u32::try_from(bytes.len()).map_err(|_| malformed())?;
            let mut framed = length.to_le_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            owned(framed)
        }
        Transform::Hmac(kind) => Ok(scope
            .key
            .and_then(|key| mac(*kind, key, &bytes))
            .map(Cow::Owned)),
        Transform::JsonWithout(member) => {
            let json = Json::parse(&bytes).map_err(|_| malformed())?;
            owned(json.without(member).ok_or_else(malformed)?)
        }
        Transform::JsonSorted => {
            let json = Json::parse(&bytes).map_err(|_| malformed())?;
            let mut out = Vec::with_capacity(bytes.len());
            json.sorted(&mut out);
            owned(out)
        }
        Transform::JsonEscapeSlashes => owned(escape_slashes(&bytes)),
        Transform::First(count) => Ok(part(bytes, |b| Some(b.get(..*count).unwrap_or(b)))),
        Transform::Skip(count) => Ok(part(bytes, |b| b.get(*count..))),
        Transform::FloatTrim => {
            let length = float_trim(&bytes).len();
            Ok(part(bytes, |b| b.get(..length)))
        }
    }
}

/// A stretch of some bytes, borrowed where they are.
fn part<'s>(
    bytes: Cow<'s, [u8]>,
    choose: impl Fn(&[u8]) -> Option<&[u8]>,
) -> Option<Cow<'s, [u8]>> {
    match bytes {
        Cow::Borrowed(bytes) => choose(bytes).map(Cow::Borrowed),
        Cow::Owned(bytes) => choose(&bytes).map(|part| Cow::Owned(part.to_vec())),
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes
        .windows(mark.len().max(1))
        .position(|window| window == mark)
}

fn unpadded(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text)
}

/// Escaped as inside a JSON string. Bytes that are no UTF-8 become the replacement character.
fn json_text(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let quoted = serde_json::Value::String(text.into_owned()).to_string();
    let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
    inner.unwrap_or_default().as_bytes().to_vec()
}

/// `/` as `\/`, where it is not written so already.
fn escape_slashes(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    let mut after_backslash = false;
    for byte in bytes {
        if *byte == b'/' && !after_backslash {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
        after_backslash = *byte == b'\\' && !after_backslash;
    }
    escaped
}

/// A decimal number without the zeros at the end of its fraction.
pub fn float_trim(bytes: &[u8]) -> &[u8] {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let unsigned = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let mut halves = unsigned.splitn(2, |byte| *byte == b'.');
    if !halves.next().is_some_and(digits) || !halves.next().is_some_and(digits) {
        return bytes;
    }
    let zeros = bytes.iter().rev().take_while(|byte| **byte == b'0').count();
    let rest = bytes.get(..bytes.len() - zeros).unwrap_or(bytes);
    rest.strip_suffix(b".").unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lose_only_empty_fractions() {
        for (text, short) in [
            ("12.50", "12.5"),
            ("42.0", "42"),
            ("100", "100"),
            ("1e10.0", "1e10.0"),
            ("0.00", "0"),
        ] {
            assert_eq!(float_trim(text.as_bytes()), short.as_bytes());
        }
    }

    #[test]
    fn slashes_are_escaped_once() {
        assert_eq!(escape_slashes(br"a/b\/c\\/"), br"a\/b\/c\\\/");
    }

    #[test]
    fn text_is_escaped_for_json() {
        assert_eq!(
            json_text(b"a\"b\\\n\xff"),
            "a\\\"b\\\\\\n\u{fffd}".as_bytes()
        );
    }
}
