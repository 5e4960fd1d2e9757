//! Reads the text of a template. Faults carry the bytes they are about, so that `check` can put
//! the caret under them.

#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::rule::scheme::Digest;
use crate::rule::template::{Answered, Item, Piece, Pointer, Selector, Style, Transform, Value};
use crate::rule::text::nearest;

/// Longer templates are refused: a rule that needs more is a mistake.
const LONGEST: usize = 4096;

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Bytes of the template's text.
    pub span: Range<usize>,
    pub message: String,
    pub hint: Option<String>,
}

impl TemplateError {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        TemplateError {
            span,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    if text.len() > LONGEST {
        let message = format!(
            "a template may have {LONGEST} bytes, this one has {}",
            text.len()
        );
        return Err(TemplateError::new(0..text.len(), message));
    }
    let mut pieces = Vec::new();
    // The pieces of the optional segment that is open, and where it began.
    let mut optional: Option<(Vec<Piece>, usize)> = None;
    let mut literal = String::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}', ')']) {
        let at = text.len() - rest.len() + brace;
        let (before, from) = rest.split_at(brace);
        literal.push_str(before);
        let inside_optional = optional.is_some();
        let current = match &mut optional {
            Some((inner, _)) => inner,
            None => &mut pieces,
        };
        if let Some(after) = from.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix(")}").filter(|_| inside_optional) {
            if let Some((mut inner, _)) = optional.take() {
                flush(&mut literal, &mut inner);
                pieces.push(Piece::Optional(inner));
            }
            rest = after;
        } else if let Some(after) = from.strip_prefix(')') {
            literal.push(')');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else if let Some(after) = from.strip_prefix("{(") {
            flush(&mut literal, current);
            if inside_optional {
                let message = "an optional segment cannot hold another";
                return Err(TemplateError::new(at..at + 2, message));
            }
            optional = Some((Vec::new(), at));
            rest = after;
        } else if let Some(inside) = from.strip_prefix('{') {
            let closed = inside
                .split_once('}')
                .filter(|(inside, _)| !inside.contains('{'));
            let Some((inside, after)) = closed else {
                return Err(
                    TemplateError::new(at..text.len(), "this brace is never closed")
                        .hint("a brace that is meant as text is written twice: `{{`"),
                );
            };
            flush(&mut literal, current);
            current.push(Piece::Value(value(inside, at)?));
            rest = after;
        } else {
            return Err(TemplateError::new(at..at + 1, "this brace closes nothing")
                .hint("a brace that is meant as text is written twice: `}}`"));
        }
    }
    literal.push_str(rest);
    if let Some((_, at)) = optional {
        let message = "this optional segment is never closed";
        return Err(TemplateError::new(at..text.len(), message).hint("it ends with `)}`"));
    }
    flush(&mut literal, &mut pieces);
    Ok(pieces)
}

fn flush(literal: &mut String, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal).into_bytes()));
    }
}

/// What stands between the braces; `brace` is where the opening one stands.
fn value(inside: &str, brace: usize) -> Result<Value, TemplateError> {
    let mut parts = Vec::new();
    let mut at = brace + 1;
    for part in inside.split('|') {
        parts.push((part, at..at + part.len()));
        at += part.len() + 1;
    }
    let mut parts = parts.into_iter();
    let (first, span) = parts.next().unwrap_or(("", brace..brace + 1));
    let mut selector = selector(first, span)?;
    let mut transforms = Vec::new();
    for (part, span) in parts {
        let (name, argument) = split_name(part);
        if name == "without" {
            let Selector::Params { without } = &mut selector else {
                return Err(TemplateError::new(
                    span,
                    "`without` belongs to `params` alone",
                ));
            };
            let names = wanted(argument, name, span)?;
            without.extend(names.split(',').map(|name| name.trim().to_owned()));
            continue;
        }
        transforms.push(transform(name, argument, span)?);
    }
    Ok(Value {
        selector,
        transforms,
        span: brace..brace + inside.len() + 2,
    })
}

fn split_name(part: &str) -> (&str, Option<&str>) {
    match part.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (part, None),
    }
}

fn wanted<'a>(
    argument: Option<&'a str>,
    name: &str,
    span: Range<usize>,
) -> Result<&'a str, TemplateError> {
    match argument {
        Some(argument) if !argument.is_empty() => Ok(argument),
        Some(_) | None => Err(TemplateError::new(
            span,
            format!("`{name}` needs something after a colon"),
        )),
    }
}

const SELECTORS: [&str; 34] = [
    "body",
    "method",
    "path",
    "path_segment:",
    "target",
    "query",
    "query:",
    "url",
    "header:",
    "headers:",
    "basic_user",
    "basic_password",
    "form:",
    "json:",
    "json_raw:",
    "xml:",
    "sig:",
    "part:",
    "plain",
    "plain:",
    "item:",
    "config:",
    "secret:",
    "key",
    "key_id",
    "params",
    "params|without:",
    "answer",
    "answer:",
    "answer_status",
    "now:unix",
    "now:unix_ms",
    "nonce",
    "signature",
];

fn selector(part: &str, span: Range<usize>) -> Result<Selector, TemplateError> {
    let (name, argument) = split_name(part);
    let named = |span: &Range<usize>| wanted(argument, name, span.clone()).map(str::to_owned);
    let found = match (name, argument) {
        ("query", Some(_)) => Selector::QueryParam(named(&span)?),
        ("path_segment", _) => match named(&span)?.parse::<usize>() {
            Ok(n) if (1..=32).contains(&n) => Selector::PathSegment(n),
            Ok(_) | Err(_) => {
                return Err(TemplateError::new(
                    span,
                    "segments are counted from 1 to 32",
                ));
            }
        },
        ("header", _) => {
            let text = named(&span)?;
            match text.strip_suffix("-*") {
                Some(base) => Selector::HeaderNumbered(header_name(base, &span)?),
                None => Selector::Header(header_name(&text, &span)?),
            }
        }
        ("headers", _) => Selector::Headers(header_name(&named(&span)?, &span)?),
        ("form", _) => Selector::Form(named(&span)?),
        ("json", _) => Selector::Json(pointer(&named(&span)?, &span)?),
        ("json_raw", _) => Selector::JsonRaw(pointer(&named(&span)?, &span)?),
        ("item", _) => Selector::Item(pointer(&named(&span)?, &span)?),
        ("xml", _) => Selector::Xml(named(&span)?.split('/').map(str::to_owned).collect()),
        ("sig", _) => {
            let text = named(&span)?;
            Selector::Sig(match text.strip_prefix('@') {
                Some(name) => Item::AsConfigured(name.to_owned()),
                None => Item::Named(text),
            })
        }
        ("part", _) => {
            let text = named(&span)?;
            let (name, within) = match text.find('/') {
                Some(at) => (
                    text.get(..at).unwrap_or_default().to_owned(),
                    pointer(text.get(at..).unwrap_or_default(), &span)?.0,
                ),
                None => (text, Vec::new()),
            };
            Selector::Part { name, within }
        }
        ("plain", None) => Selector::Plain(None),
        ("plain", Some(_)) => Selector::Plain(Some(pointer(&named(&span)?, &span)?)),
        ("answer", None) => Selector::Answer(Answered::Whole),
        ("answer", Some(text)) if text.starts_with('/') => {
            Selector::Answer(Answered::Json(pointer(text, &span)?))
        }
        ("answer", Some(_)) => Selector::Answer(Answered::Field(named(&span)?)),
        ("now", Some("unix")) => Selector::Now(Style::Unix),
        ("now", Some("unix_ms")) => Selector::Now(Style::UnixMillis),
        ("now", Some("rfc3339")) => Selector::Now(Style::Rfc3339),
        ("now", _) => {
            return Err(TemplateError::new(
                span,
                "`now` is `now:unix`, `now:unix_ms` or `now:rfc3339`",
            ));
        }
        ("config", _) => Selector::Config(named(&span)?),
        ("secret", _) => Selector::Secret(named(&span)?),
        (_, None) => match BARE.iter().find(|(bare, _)| *bare == name) {
            Some((_, selector)) => selector.clone(),
            None if name == "params" => Selector::Params {
                without: Vec::new(),
            },
            None => return Err(no_selector(name, span)),
        },
        (_, Some(_)) if name == "params" || BARE.iter().any(|(bare, _)| *bare == name) => {
            return Err(TemplateError::new(
                span,
                format!("`{name}` takes nothing after a colon"),
            ));
        }
        (_, Some(_)) => return Err(no_selector(name, span)),
    };
    Ok(found)
}

/// Selectors that take nothing after a colon.
const BARE: [(&str, Selector); 13] = [
    ("body", Selector::Body),
    ("method", Selector::Method),
    ("path", Selector::Path),
    ("target", Selector::Target),
    ("query", Selector::Query),
    ("url", Selector::Url),
    ("basic_user", Selector::BasicUser),
    ("basic_password", Selector::BasicPassword),
    ("key", Selector::Key),
    ("key_id", Selector::KeyId),
    ("answer_status", Selector::AnswerStatus),
    ("nonce", Selector::Nonce),
    ("signature", Selector::Signature),
];

fn no_selector(name: &str, span: Range<usize>) -> TemplateError {
    let error = TemplateError::new(span, format!("there is no selector `{name}`"));
    match nearest(name, SELECTORS.iter().map(|s| s.trim_end_matches(':'))) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("there are: {}", SELECTORS.join(" "))),
    }
}

fn header_name(name: &str, span: &Range<usize>) -> Result<String, TemplateError> {
    match http::HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err(TemplateError::new(
            span.clone(),
            format!("`{name}` is no name of a header field"),
        )),
    }
}

fn pointer(text: &str, span: &Range<usize>) -> Result<Pointer, TemplateError> {
    let bad = |message: &str| Err(TemplateError::new(span.clone(), message.to_owned()));
    let Some(tokens) = text.strip_prefix('/') else {
        return bad("a JSON pointer begins with `/`, e.g. `json:/data/object/id`");
    };
    let mut pointer = Vec::new();
    for token in tokens.split('/') {
        if token.replace("~0", "").replace("~1", "").contains('~') {
            return bad("in a JSON pointer `~` is written `~0`, and `/` inside a name `~1`");
        }
        // The order matters (RFC 6901 §4): `~01` is `~1`, not `/`.
        pointer.push(token.replace("~1", "/").replace("~0", "~"));
    }
    Ok(Pointer(pointer))
}

/// Transforms that take nothing after a colon.
const PLAIN: [(&str, Transform); 31] = [
    ("hex", Transform::Hex),
    ("hex_upper", Transform::HexUpper),
    ("base64", Transform::Base64),
    ("base64url", Transform::Base64Url),
    ("from_hex", Transform::FromHex),
    ("from_base64", Transform::FromBase64),
    ("from_base64url", Transform::FromBase64Url),
    ("percent_decode", Transform::PercentDecode),
    ("percent_encode", Transform::PercentEncode),
    ("form_encode", Transform::FormEncode),
    ("form_decode", Transform::FormDecode),
    ("lower", Transform::Lower),
    ("upper", Transform::Upper),
    ("trim", Transform::Trim),
    ("reverse", Transform::Reverse),
    ("unquote", Transform::Unquote),
    ("json_text", Transform::JsonText),
    ("json_sorted", Transform::JsonSorted),
    ("json_escape_slashes", Transform::JsonEscapeSlashes),
    ("float_trim", Transform::FloatTrim),
    ("crc32", Transform::Crc32),
    ("len32le", Transform::Len32Le),
    ("md5", Transform::Digest(Digest::Md5)),
    ("sha1", Transform::Digest(Digest::Sha1)),
    ("sha256", Transform::Digest(Digest::Sha256)),
    ("sha384", Transform::Digest(Digest::Sha384)),
    ("sha512", Transform::Digest(Digest::Sha512)),
    ("sha3_512", Transform::Digest(Digest::Sha3_512)),
    ("keccak256", Transform::Digest(Digest::Keccak256)),
    ("hmac_sha1", Transform::Hmac(Digest::Sha1)),
    ("hmac_sha256", Transform::Hmac(Digest::Sha256)),
];

const WITH_ARGUMENT: [&str; 10] = [
    "hmac_sha512",
    "default",
    "strip_prefix",
    "strip_suffix",
    "before",
    "after",
    "json_without",
    "first",
    "skip",
    "without",
];

fn transform(
    name: &str,
    argument: Option<&str>,
    span: Range<usize>,
) -> Result<Transform, TemplateError> {
    let bytes = |span: Range<usize>| Ok(wanted(argument, name, span)?.as_bytes().to_vec());
    let count = |span: Range<usize>| match wanted(argument, name, span.clone())?.parse::<usize>() {
        Ok(n) if n <= 4096 => Ok(n),
        Ok(_) | Err(_) => Err(TemplateError::new(
            span,
            format!("`{name}` takes a number up to 4096"),
        )),
    };
    if let Some((_, found)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
        return match argument {
            None => Ok(found.clone()),
            Some(_) => Err(TemplateError::new(
                span,
                format!("`{name}` takes nothing after a colon"),
            )),
        };
    }
    match (name, argument) {
        ("hmac_sha512", None) => Ok(Transform::Hmac(Digest::Sha512)),
        // An empty default is meant: providers sign nothing in the place of what is missing.
        ("default", Some(text)) => Ok(Transform::Default(text.as_bytes().to_vec())),
        ("default", None) => Err(TemplateError::new(span, "`default` needs a colon")
            .hint("`default:` stands for the empty text")),
        ("strip_prefix", _) => Ok(Transform::StripPrefix(bytes(span)?)),
        ("strip_suffix", _) => Ok(Transform::StripSuffix(bytes(span)?)),
        ("before", _) => Ok(Transform::Before(bytes(span)?)),
        ("after", _) => Ok(Transform::After(bytes(span)?)),
        ("json_without", _) => {
            let pointer = pointer(wanted(argument, name, span.clone())?, &span)?;
            match pointer.0.as_slice() {
                [member] => Ok(Transform::JsonWithout(member.clone())),
                _ => Err(TemplateError::new(
                    span,
                    "only a member of the outermost object can be taken out",
                )),
            }
        }
        ("first", _) => Ok(Transform::First(count(span)?)),
        ("skip", _) => Ok(Transform::Skip(count(span)?)),
        _ => {
            let error = TemplateError::new(span, format!("there is no transform `{name}`"));
            let names = PLAIN.iter().map(|(name, _)| *name).chain(WITH_ARGUMENT);
            Err(match nearest(name, names.clone()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!(
                    "there are: {}",
                    names.collect::<Vec<_>>().join(" ")
                )),
            })
        }
    }
}
