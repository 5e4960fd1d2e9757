//! What follows from an event besides that it is one: which of its source's destinations get it, in
//! what order, what it is about, and whether it says something newer. Read from the request while its
//! documents are at hand, once, and decided for good.
//!
//! Nothing in here rejects an event: what cannot be read is as if it were not there.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::message::DestinationName;
use crate::rule::relay::SupersedeRule;
use crate::rule::scheme::TimeFormat;
use crate::rule::when::{Facts, Value};
use crate::rule::{Destination, Rule, Template};
use crate::verify::identity::{Identity, values};
use crate::verify::json::Json;
use crate::verify::scope::Scope;
use crate::verify::{evaluate, form, freshness};

/// A larger body is not turned into values for a condition: their memory is many times its own.
const READ_MAX: usize = 256 << 10;

/// What follows from an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPlan {
    /// In the order of the rule.
    pub destinations: Vec<Bound>,
    /// The business key, unambiguous and scoped to the source, and the digest of what must be equal
    /// with it.
    pub business: Option<(Vec<u8>, [u8; 32])>,
    /// What it is about, and how new it is.
    pub version: Option<(Vec<u8>, i128)>,
}

/// One destination of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub to: DestinationName,
    /// Its condition lets the event through, or gives no answer, or there is none.
    pub wanted: bool,
    /// Why its condition gave no answer.
    pub undecided: Option<String>,
    /// Deliveries with the same go out one after the other.
    pub order: Option<Vec<u8>>,
}

pub fn plan(rule: &Rule, scope: &Scope<'_, '_>, identity: &Identity) -> EventPlan {
    let mut facts = None;
    let destinations = rule
        .relay
        .destinations()
        .map(|to| bound(to, rule, scope, identity, &mut facts));
    EventPlan {
        destinations: destinations.collect(),
        business: business(rule, scope, identity),
        version: rule
            .relay
            .supersede
            .as_ref()
            .and_then(|s| version(s, scope)),
    }
}

fn bound(
    to: &Destination,
    rule: &Rule,
    scope: &Scope<'_, '_>,
    identity: &Identity,
    facts: &mut Option<Facts>,
) -> Bound {
    let mut bound = Bound {
        to: to.name.clone(),
        wanted: true,
        undecided: None,
        order: to.order_by.as_ref().and_then(|t| joined(t, scope)),
    };
    if let Some(when) = &to.when {
        let facts = facts.get_or_insert_with(|| told(rule, scope, identity));
        match when.holds(facts) {
            Ok(holds) => bound.wanted = holds,
            // Sent once too often costs less than not at all.
            Err(undecided) => bound.undecided = Some(undecided.0),
        }
    }
    bound
}

/// The values of a template, unambiguously joined; none when one is missing.
fn joined(template: &Template, scope: &Scope<'_, '_>) -> Option<Vec<u8>> {
    let values = values(template, scope).ok().flatten()?;
    let mut joined = Vec::new();
    for value in values {
        joined.extend_from_slice(&(value.len() as u64).to_be_bytes());
        joined.extend_from_slice(&value);
    }
    Some(joined)
}

fn business(
    rule: &Rule,
    scope: &Scope<'_, '_>,
    identity: &Identity,
) -> Option<(Vec<u8>, [u8; 32])> {
    let values = joined(rule.inbox.business.as_ref()?, scope)?;
    let source = rule.name.as_str().as_bytes();
    let mut key = (source.len() as u64).to_be_bytes().to_vec();
    key.extend_from_slice(source);
    key.extend_from_slice(&values);
    let content = rule.inbox.content.as_ref().and_then(|t| joined(t, scope));
    let content = content.map_or(identity.content, |bytes| Sha256::digest(bytes).into());
    Some((key, content))
}

fn version(rule: &SupersedeRule, scope: &Scope<'_, '_>) -> Option<(Vec<u8>, i128)> {
    let by = evaluate::text(&rule.by, scope).ok().flatten()?;
    Some((joined(&rule.key, scope)?, stamp(&by)?))
}

/// A number with up to 18 digits before and 9 after the point, or an RFC 3339 time: in billionths,
/// so that both compare as what they are.
fn stamp(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let number = |text: &str, most: usize| {
        let plain =
            !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse::<i128>().ok()).flatten()
    };
    let billionths = number(part, 9).and_then(|_| number(&format!("{part:0<9}"), 9));
    if let (Some(whole), Some(part)) = (number(whole, 18), billionths) {
        let value = whole * 1_000_000_000 + part;
        return Some(if negative { -value } else { value });
    }
    let at = freshness::read(TimeFormat::Rfc3339, text.as_bytes()).ok()?;
    Some(i128::from(at.as_millis()) * 1_000_000)
}

fn told(rule: &Rule, scope: &Scope<'_, '_>, identity: &Identity) -> Facts {
    let request = scope.view.request;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut headers = HashMap::new();
    for (name, value) in request.headers.iter() {
        headers.entry(text(name)).or_insert_with(|| text(value));
    }
    let mut query = HashMap::new();
    if let Ok(pairs) = scope.view.query() {
        for (name, value) in pairs.iter() {
            query.entry(text(name)).or_insert_with(|| text(value));
        }
    }
    Facts {
        kind: identity.kind.clone(),
        id: identity.text.clone(),
        source: rule.name.to_string(),
        provider: rule.provider.name.clone(),
        headers,
        query,
        body: body(scope),
    }
}

/// The body as values: what a strict reader takes for JSON, or a form where it says that it is one.
fn body(scope: &Scope<'_, '_>) -> Option<Value> {
    let request = scope.view.request;
    if request.body.len() > READ_MAX {
        return None;
    }
    if Json::parse(&request.body).is_ok() {
        return serde_json::from_slice(&request.body).ok().map(value);
    }
    let mut kinds = scope.view.headers("content-type");
    let is_form = kinds.any(|kind| {
        kind.to_ascii_lowercase()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    if !is_form {
        return None;
    }
    let pairs = form::Pairs::parse(&request.body).ok()?;
    let mut members: HashMap<String, Value> = HashMap::new();
    for (name, value) in pairs.iter() {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        members
            .entry(text(name))
            .or_insert_with(|| Value::from(text(value)));
    }
    Some(Value::from(members))
}

fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(is) => Value::Bool(is),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::UInt(uint),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(list) => {
            Value::from(list.into_iter().map(value).collect::<Vec<Value>>())
        }
        serde_json::Value::Object(members) => {
            let members = members.into_iter().map(|(name, json)| (name, value(json)));
            Value::from(members.collect::<HashMap<String, Value>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::when::When;

    /// What the worst that is permitted costs: to read the body, and to decide.
    #[test]
    #[ignore = "says how long things take"]
    #[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
    fn measure_conditions() {
        const LARGEST: usize = 256 << 10;
        let list =
            |one: &str, most: usize| format!("[{}]", vec![one; most / (one.len() + 1)].join(","));
        let text = |_: &str, most: usize| format!("{{\"s\":\"{}\"}}", "a".repeat(most - 8));
        type Make<'a> = &'a dyn Fn(&str, usize) -> String;
        let bodies: [(&str, Make); 4] = [
            ("0", &list),
            ("\"\"", &list),
            ("{\"a\":0}", &list),
            ("text", &text),
        ];
        let chain = |one: &str, by: &str| vec![one; 2000 / (one.len() + by.len())].join(by);
        let conditions = [
            "body == []".to_owned(),
            "body.all(x, x == 0 || true)".to_owned(),
            format!("body.all(x, {})", chain("x!=1", "&&")),
            format!("body.all(x, {} || true)", chain("x.a==1", "||")),
            "size(body.filter(x, true)) > 0".to_owned(),
            format!("{} || true", chain("size(body.map(x,x))<0", "||")),
            format!("{} || true", chain("body.all(x,x!=x)", "||")),
            format!("{} || true", chain("body.exists(x,x!=x)", "||")),
            format!("{} || true", chain("body!=body", "||")),
            format!("{} != ''", vec!["body.s"; 17].join("+")),
        ];
        for (one, make) in bodies {
            for text in &conditions {
                let when = When::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
                // The largest that is looked at.
                for most in (0..12).map(|n| LARGEST >> n) {
                    let began = std::time::Instant::now();
                    let body = serde_json::from_str(&make(one, most)).ok().map(value);
                    let read = began.elapsed();
                    let facts = Facts {
                        body,
                        ..Facts::default()
                    };
                    let began = std::time::Instant::now();
                    let held = when.holds(&facts);
                    let took = began.elapsed();
                    let large = held.as_ref().is_err_and(|why| why.0.contains("large"));
                    if !large {
                        let shown: String = text.chars().take(32).collect();
                        eprintln!("{one:8} {most:7} {shown:32} {read:>9.1?} {took:>9.1?} {held:?}");
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn stamps_compare_as_what_they_are() {
        let rising = [
            "-3",
            "-1.5",
            "0",
            "0.000000001",
            "0.1",
            "1",
            "1.25",
            "10",
            "1700000000",
            "1700000000.5",
            "1700000001",
        ];
        let stamps: Vec<i128> = rising
            .iter()
            .map(|t| stamp(t.as_bytes()).expect(t))
            .collect();
        assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
        let times = [
            "2026-11-22T06:00:00+01:00",
            "2026-11-22T05:00:00.001Z",
            "2026-11-22T05:00:01Z",
            "2026-11-22T04:00:02-01:00",
        ];
        let stamps: Vec<i128> = times
            .iter()
            .map(|t| stamp(t.as_bytes()).expect(t))
            .collect();
        assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
        for none in [
            "",
            "-",
            "1.",
            "a",
            "1e9",
            "1.2.3",
            "99999999999999999999",
            "0.0123456789",
        ] {
            assert_eq!(stamp(none.as_bytes()), None, "{none}");
        }
    }
}
