//! Documents changed in one place, byte for byte as they were everywhere else: JSON, forms, flat
//! XML, tokens.

use std::borrow::Cow;
use std::ops::Range;

use data_encoding::BASE64URL_NOPAD;

use crate::rule::template::Pointer;
use crate::verify::form;
use crate::verify::json::Json;

/// A JSON text in which a pointer finds `new`. What stood there decides how it is written: a text
/// in quotes, a number without. A member that is missing is put first into its object.
pub fn json_put(text: &[u8], pointer: &Pointer, new: &[u8]) -> Option<Vec<u8>> {
    let json = Json::parse(text).ok()?;
    let new = std::str::from_utf8(new).ok()?;
    if let Some(found) = json.at(pointer) {
        let raw = found.raw().trim();
        let at = within(text, raw.as_bytes())?;
        let literal = !raw.starts_with('"') && is_literal(new);
        let written = if literal { new.to_owned() } else { quoted(new) };
        return Some(spliced(text, at, written.as_bytes()));
    }
    let (name, parent) = pointer.0.split_last()?;
    let object = json.at(&Pointer(parent.to_vec()))?;
    let raw = object.raw().trim();
    let inner = raw.strip_prefix('{')?;
    let at = within(text, inner.as_bytes())?.start;
    let comma = if inner.trim_start().starts_with('}') {
        ""
    } else {
        ","
    };
    let member = format!("{}:{}{comma}", quoted(name), quoted(new));
    Some(spliced(text, at..at, member.as_bytes()))
}

/// Numbers, booleans, objects and arrays stand as they are given.
fn is_literal(text: &str) -> bool {
    !text.starts_with('"') && Json::parse(text.as_bytes()).is_ok()
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// A form (or query) with one field set; the others as they were written.
pub fn form_put(text: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut found = false;
    let mut parts: Vec<Cow<'_, [u8]>> = Vec::new();
    for part in text.split(|byte| *byte == b'&').filter(|p| !p.is_empty()) {
        let written = part.split(|byte| *byte == b'=').next().unwrap_or_default();
        let same = form::decode(written, true).is_ok_and(|decoded| decoded.as_ref() == name);
        if same && !found {
            found = true;
            let pair = [written, b"=", &form::encode(value, true)].concat();
            parts.push(Cow::Owned(pair));
        } else if !same {
            parts.push(Cow::Borrowed(part));
        }
    }
    if !found {
        let pair = [
            &form::encode(name, true),
            &b"="[..],
            &form::encode(value, true),
        ]
        .concat();
        parts.push(Cow::Owned(pair));
    }
    parts.join(&b'&')
}

/// XML in which the element under these names holds `new`. A missing one is put last.
pub fn xml_put(text: &[u8], names: &[String], new: &[u8]) -> Option<Vec<u8>> {
    let text_new = escaped(new);
    let mut range = 0..text.len();
    for (depth, name) in names.iter().enumerate() {
        match element(text, range.clone(), name) {
            Some(inner) => range = inner,
            None => {
                // Into the root, or into the element above.
                let end = if depth == 0 {
                    last(text, range, b"</")?
                } else {
                    range.end
                };
                let rest = names.get(depth..)?;
                let open: String = rest.iter().map(|name| format!("<{name}>")).collect();
                let close: String = rest.iter().rev().map(|n| format!("</{n}>")).collect();
                let new = [open.as_bytes(), &text_new, close.as_bytes()].concat();
                return Some(spliced(text, end..end, &new));
            }
        }
    }
    let old = text.get(range.clone())?;
    let wrapped = old.starts_with(b"<![CDATA[") && !contains(new, b"]]>");
    let written = match wrapped {
        true => [&b"<![CDATA["[..], new, b"]]>"].concat(),
        false => text_new,
    };
    Some(spliced(text, range, &written))
}

/// A token with one value of its header or payload changed. Its signature is that of before.
pub fn token_put(token: &[u8], within: &[String], new: &[u8]) -> Option<Vec<u8>> {
    let mut segments = token.split(|byte| *byte == b'.');
    let (header, payload) = (segments.next()?, segments.next()?);
    let signature = segments.next()?;
    let (half, rest) = within.split_first()?;
    let change = |segment: &[u8]| {
        let text = BASE64URL_NOPAD.decode(segment).ok()?;
        let changed = json_put(&text, &Pointer(rest.to_vec()), new)?;
        Some(BASE64URL_NOPAD.encode(&changed).into_bytes())
    };
    let (header, payload) = match half.as_str() {
        "header" => (change(header)?, payload.to_vec()),
        "payload" => (header.to_vec(), change(payload)?),
        _ => return None,
    };
    Some([header.as_slice(), b".", &payload, b".", signature].concat())
}

/// Where the inside of the first element of a name stands.
fn element(text: &[u8], within: Range<usize>, name: &str) -> Option<Range<usize>> {
    let open = format!("<{name}");
    let mut from = within.start;
    loop {
        let at = first(text, from..within.end, open.as_bytes())?;
        let after = at + open.len();
        match text.get(after) {
            Some(b'>' | b' ' | b'\t' | b'\r' | b'\n') => {
                let start = first(text, after..within.end, b">")? + 1;
                let end = first(text, start..within.end, format!("</{name}>").as_bytes())?;
                return Some(start..end);
            }
            _ => from = after,
        }
    }
}

fn first(text: &[u8], within: Range<usize>, mark: &[u8]) -> Option<usize> {
    let found = text
        .get(within.clone())?
        .windows(mark.len())
        .position(|window| window == mark);
    Some(within.start + found?)
}

fn last(text: &[u8], within: Range<usize>, mark: &[u8]) -> Option<usize> {
    let found = text
        .get(within.clone())?
        .windows(mark.len())
        .rposition(|window| window == mark);
    Some(within.start + found?)
}

fn contains(text: &[u8], mark: &[u8]) -> bool {
    text.windows(mark.len()).any(|window| window == mark)
}

fn escaped(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'&' => escaped.extend_from_slice(b"&amp;"),
            b'<' => escaped.extend_from_slice(b"&lt;"),
            b'>' => escaped.extend_from_slice(b"&gt;"),
            other => escaped.push(*other),
        }
    }
    escaped
}

/// Where a stretch that was cut out of a text stands in it.
fn within(text: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let at = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let range = at..at + part.len();
    (text.get(range.clone())? == part).then_some(range)
}

fn spliced(text: &[u8], at: Range<usize>, new: &[u8]) -> Vec<u8> {
    let before = text.get(..at.start).unwrap_or_default();
    let after = text.get(at.end..).unwrap_or_default();
    [before, new, after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tokens: &[&str]) -> Pointer {
        Pointer(tokens.iter().map(|t| (*t).to_owned()).collect())
    }

    fn json(text: &str, tokens: &[&str], new: &str) -> String {
        let put = json_put(text.as_bytes(), &at(tokens), new.as_bytes()).unwrap();
        String::from_utf8(put).unwrap()
    }

    #[test]
    fn json_changes_in_one_place() {
        assert_eq!(
            json(r#"{ "a" : 1.50 , "b":2}"#, &["a"], "7"),
            r#"{ "a" : 7 , "b":2}"#
        );
        assert_eq!(json(r#"{"a":"1"}"#, &["a"], "7"), r#"{"a":"7"}"#);
        assert_eq!(
            json(r#"{"a":[{"b":"x"}]}"#, &["a", "0", "b"], "y\"z"),
            r#"{"a":[{"b":"y\"z"}]}"#
        );
        assert_eq!(json(r#"{"a":{}}"#, &["a", "c"], "x"), r#"{"a":{"c":"x"}}"#);
        assert_eq!(json(r#"{"a":1}"#, &["c"], "x"), r#"{"c":"x","a":1}"#);
    }

    #[test]
    fn forms_keep_the_rest_as_it_is_written() {
        assert_eq!(form_put(b"a=%7e&b=1+2&c", b"b", b"x/y"), b"a=%7e&b=x%2Fy&c");
        assert_eq!(form_put(b"", b"sign", b"+="), b"sign=%2B%3D");
    }

    #[test]
    fn xml_elements_keep_their_dress() {
        let put = |text: &str, names: &[&str], new: &str| {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            String::from_utf8(xml_put(text.as_bytes(), &names, new.as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(
            put("<x><ab>1</ab><a><![CDATA[2]]></a></x>", &["a"], "<"),
            "<x><ab>1</ab><a><![CDATA[<]]></a></x>"
        );
        assert_eq!(
            put("<x><t type=\"d\">1</t></x>", &["t"], "&"),
            "<x><t type=\"d\">&amp;</t></x>"
        );
        assert_eq!(
            put("<x><a>1</a></x>", &["sign"], "s"),
            "<x><a>1</a><sign>s</sign></x>"
        );
    }
}
