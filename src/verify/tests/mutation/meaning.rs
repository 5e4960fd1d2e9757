//! What a body says, apart from how it is written: the judge of changes that were accepted. It does
//! not use the code that reads signed bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Every value by its place; none for a text that is neither JSON nor a form.
fn fields(text: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    if let Ok(json) = serde_json::from_slice::<Value>(text) {
        flatten(&json, "", &mut found);
        return Some(found);
    }
    let text = std::str::from_utf8(text).ok()?;
    if text.trim_start().starts_with('<') {
        return Some(elements(text));
    }
    if !text.contains('=') {
        return None;
    }
    for (index, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name)?;
        let place = match found.contains_key(&name) {
            true => format!("{name}#{index}"),
            false => name,
        };
        found.insert(place, decoded(value)?);
    }
    Some(found)
}

fn flatten(json: &Value, place: &str, found: &mut BTreeMap<String, String>) {
    match json {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(item, &format!("{place}/{index}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                flatten(member, &format!("{place}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let text = json.to_string();
            // Digits of a chain's hashes and addresses mean the same in either case.
            let hash = text.starts_with("\"0x");
            let text = if hash {
                text.to_ascii_lowercase()
            } else {
                text
            };
            found.insert(place.to_owned(), text);
        }
    }
}

/// `<name>text</name>` of flat XML, CDATA as it is.
fn elements(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for part in text.split("</") {
        // The last opening tag before each closing one, and what follows it.
        let text = match part.rfind("<![CDATA[") {
            Some(at) => part[..at].rfind('<').map(|at| &part[at + 1..]),
            None => part.rfind('<').map(|at| &part[at + 1..]),
        };
        if let Some((name, value)) = text.and_then(|text| text.split_once('>')) {
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(bytes.iter().map(|byte| *byte as char).collect())
}

/// The places where two bodies differ; none when one of them cannot be read.
/// Fields that are empty count only where `empty_counts`.
pub(super) fn differences(
    one: &[u8],
    other: &[u8],
    empty_counts: bool,
) -> Option<BTreeSet<String>> {
    let (mut one, mut other) = (fields(one)?, fields(other)?);
    if !empty_counts {
        one.retain(|_, value| !value.is_empty());
        other.retain(|_, value| !value.is_empty());
    }
    let places: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    Some(
        places
            .into_iter()
            .filter(|place| one.get(*place) != other.get(*place))
            .cloned()
            .collect(),
    )
}

#[test]
fn writing_is_not_meaning() {
    let same = |a: &str, b: &str| differences(a.as_bytes(), b.as_bytes(), true).unwrap();
    assert!(same(r#"{"a":1,"b":"x"}"#, r#"{ "b":"\u0078", "a":1 }"#).is_empty());
    assert!(same("a=%2f&b=1+2", "b=1%202&a=%2F").is_empty());
    assert_eq!(
        same(r#"{"a":[1,{"b":2}]}"#, r#"{"a":[1,{"b":3}]}"#),
        BTreeSet::from(["/a/1/b".to_owned()])
    );
    assert_eq!(same("a=1", "b=1").len(), 2);
    assert_eq!(
        same(
            "<xml><a>1</a><b><![CDATA[2]]></b></xml>",
            "<xml><a>2</a><b><![CDATA[2]]></b></xml>"
        ),
        BTreeSet::from(["a".to_owned()])
    );
}
