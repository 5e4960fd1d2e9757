//! `/v1/events/{id}/verification`: how the signature of an event looks today, step by step.

use axum::Json;
use axum::extract::{Extension, Path, State as Extract};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::admin::State;
use crate::admin::parameter::{self, Asked, event_id};
use crate::admin::payload::{Nothing, plain};
use crate::admin::problem::Problem;
use crate::admin::token::{Caller, Role};
use crate::inbox::store::StoredEvent;
use crate::mask::{self, Kind};
use crate::message::RawRequest;
use crate::verify::trace::{self, ASSERTS, Fact, Step, Subject};
use crate::verify::want::Known;

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Verification {
    /// `accepted` or `rejected`.
    verdict: &'static str,
    /// Why it would be rejected: a stable code.
    reason: Option<&'static str>,
    /// What to keep in mind.
    note: String,
    /// The same as a code: `kept`, or `answered` where the body is what the provider, asked, said.
    note_code: &'static str,
    steps: Vec<Step>,
}

/// What the header fields and parameters hold that are hidden where the request is shown: the steps
/// quote them. The longest first.
fn credentials(stored: &StoredEvent) -> Vec<String> {
    let mut hidden: Vec<String> = Vec::new();
    for (name, value) in stored.headers.iter() {
        let name = String::from_utf8_lossy(name);
        if mask::credential(&name) {
            of_field(&name, &String::from_utf8_lossy(value), &mut hidden);
        }
    }
    let query = stored.target.split_once('?').map(|(_, query)| query);
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or_default();
        let plain = |text: &str| {
            let text = text.replace('+', " ");
            let text = percent_decode_str(&text).decode_utf8_lossy();
            text.into_owned()
        };
        let name = plain(name);
        if mask::credential(&name) {
            of_field(&name, value, &mut hidden);
            of_field(&name, &plain(value), &mut hidden);
        }
    }
    hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
    hidden.dedup();
    hidden
}

/// Shorter ones are guessed anyway, and would be found everywhere.
const SHORTEST: usize = 3;
/// Parts of signatures that are shorter are times, numbers and names of algorithms.
const OF_SIGNATURE: usize = 16;

fn of_field(name: &str, value: &str, hidden: &mut Vec<String>) {
    let mut add = |text: &str, least: usize| {
        let text = text.trim().trim_matches('"');
        if text.len() >= least {
            hidden.push(text.to_owned());
        }
    };
    add(value, SHORTEST);
    let letters = |c: char| c.is_ascii_alphanumeric() || "+/-_".contains(c);
    let parts = value.split(|c: char| !letters(c));
    parts.for_each(|part| add(part, OF_SIGNATURE));
    let name = name.to_ascii_lowercase();
    let signed = ["sig", "hmac", "hash", "checksum"];
    if signed.iter().any(|word| name.contains(word)) {
        return;
    }
    if let Some((scheme, rest)) = value.trim().split_once(' ') {
        // A list of members is a signature's, e.g. `Signature keyId="…",algorithm="…"`.
        if !rest.contains(',') {
            add(rest, SHORTEST);
        }
        if scheme.eq_ignore_ascii_case("basic")
            && let Ok(pair) = data_encoding::BASE64.decode(rest.trim().as_bytes())
        {
            let pair = String::from_utf8_lossy(&pair).into_owned();
            add(&pair, SHORTEST);
            let password = pair.split_once(':').map(|(_, password)| password);
            add(password.unwrap_or_default(), SHORTEST);
        }
    }
    if name.contains("cookie") {
        let pairs = value.split(';').filter_map(|pair| pair.split_once('='));
        pairs.for_each(|(_, value)| add(value, SHORTEST));
    }
}

/// Facts that quote a document, cut or with something before it: what its members' names say of
/// their values can no longer be told.
fn quotes(fact: &str) -> bool {
    ["signed", "plain", "payload"].contains(&fact) || fact.starts_with("part ")
}

/// What stands before the first cut, and how much it says that it leaves out. The text itself may have
/// such dots, too.
fn cut(text: &str) -> Option<(&str, &str)> {
    const DOTS: &str = " … ";
    text.match_indices(DOTS).find_map(|(at, _)| {
        let (before, rest) = text.split_at_checked(at)?;
        let rest = rest.strip_prefix(DOTS)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, more) = rest.split_at_checked(digits)?;
        let more = more.strip_prefix(" bytes (--full)")?;
        let left = rest.get(..rest.len() - more.len())?;
        (!number.is_empty() && more.starts_with(DOTS)).then_some((before, left))
    })
}

/// Masks of a text with a document somewhere in it: JSON and XML from their first sign on, a form from
/// its first name on. What comes after a cut has lost its names, and is left out.
fn document(text: &str) -> String {
    let (text, cut) = match cut(text) {
        Some((text, left)) => (text, Some(left)),
        None => (text, None),
    };
    let (begins, kind) = match (text.find(['{', '[', '<']), text.find('=')) {
        (Some(sign), equals) if equals.is_none_or(|equals| sign < equals) => {
            let xml = text.get(sign..).is_some_and(|text| text.starts_with('<'));
            (sign, if xml { Kind::Xml } else { Kind::Json })
        }
        (_, Some(equals)) => {
            let before = text.get(..equals).unwrap_or_default();
            (before.rfind(' ').map_or(0, |at| at + 1), Kind::Form)
        }
        (_, None) => (0, Kind::Text),
    };
    let (before, rest) = text.split_at_checked(begins).unwrap_or(("", text));
    let mut masked = mask::text(Kind::Text, before.as_bytes());
    masked.push_str(&mask::text(kind, rest.as_bytes()));
    if let Some(left) = cut {
        masked.push_str(&format!(" … {left} …"));
    }
    masked
}

/// Hides what is hidden where the request is shown.
fn masked(steps: &mut [Step], hidden: &[String], role: Role) {
    for step in steps {
        // What must hold is said of any part of the request, in any form.
        let compared = step.name == ASSERTS;
        for fact in &mut step.facts {
            mask_fact(fact, compared, hidden, role);
        }
    }
}

/// Before the digest of something: who has a guess of it could hold it against that.
const DIGEST: &str = ", sha256 ";

fn mask_fact(fact: &mut Fact, compared: bool, hidden: &[String], role: Role) {
    if role == Role::Viewer
        && let Some(at) = fact.value.find(DIGEST)
    {
        fact.value.truncate(at);
    }
    match (role, fact.value.split_once(": ")) {
        (Role::Viewer, _) if quotes(&fact.name) => fact.value = mask::HIDDEN.to_owned(),
        (Role::Viewer, Some((verdict, _))) if compared => fact.value = verdict.to_owned(),
        (Role::Viewer | Role::Operator, _) => {
            for part in hidden {
                if fact.value.contains(part.as_str()) {
                    fact.value = fact.value.replace(part.as_str(), mask::HIDDEN);
                }
            }
            fact.value = plain(&match quotes(&fact.name) || compared {
                true => document(&fact.value),
                false => mask::text(Kind::Text, fact.value.as_bytes()),
            });
        }
    }
}

/// The event once more through the verifier of its source, step by step, at the moment at which it
/// came in. Nobody is asked for anything.
pub async fn verification(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    asked: Asked<Nothing>,
) -> Result<Json<Verification>, Problem> {
    parameter::query(asked)?;
    let id = event_id("id", &id)?;
    let stored = state.store.read(id).await?;
    let stored = stored.ok_or_else(Problem::no_such_event)?;
    let loaded = state.shared.loaded.load_full();
    let verifier = loaded.verifiers.get(&stored.source).ok_or_else(|| {
        let why = format!("no rule names the source {} any more", stored.source);
        let problem = Problem::not_applicable(why).said("source_gone");
        problem.fact("source", &stored.source)
    })?;
    let hidden = credentials(&stored);
    let none = || Problem::not_applicable("it is no request").said("no_request");
    let request = request_of(stored).ok_or_else(none)?;
    let mut known = Known::default();
    let at = request.received_at;
    let verdict = verifier.judge_kept(&request, at, state.shared.clock.now(), &mut known);
    let mut steps = trace::trace(&Subject {
        verifier,
        request: &request,
        now: at,
        known: &known,
        verdict: &verdict,
        peer_known: true,
        full: false,
    });
    masked(&mut steps, &hidden, caller.role);
    let replaced = verifier.rule().provider.query_back.as_ref();
    let (note_code, note) = if replaced.is_some_and(|query| query.authoritative) {
        (
            "answered",
            "rules as they are now; the body is the answer of the provider, who was asked, and not \
             what was signed",
        )
    } else {
        (
            "kept",
            "rules and keys as they are now, at the moment at which it came in",
        )
    };
    Ok(Json(Verification {
        verdict: if verdict.is_ok() {
            "accepted"
        } else {
            "rejected"
        },
        reason: verdict.as_ref().err().map(|why| why.code()),
        note: note.to_owned(),
        note_code,
        steps,
    }))
}

fn request_of(stored: StoredEvent) -> Option<RawRequest> {
    let (path, query) = match stored.target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (stored.target, None),
    };
    Some(RawRequest {
        method: stored.method.parse().ok()?,
        path,
        query,
        headers: stored.headers,
        body: stored.body,
        peer: stored.peer,
        received_at: stored.received_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::trace::Outcome;

    #[test]
    fn names_in_what_was_signed_are_not_for_viewers() {
        let facts = |role| {
            let fact = |name: &str, value: &str| Fact {
                name: name.to_owned(),
                value: value.to_owned(),
            };
            let body = r#"{"name":"Jane Doe","amount":12"#;
            let mut steps = vec![Step {
                name: "signature".to_owned(),
                outcome: Outcome::Passed,
                facts: vec![
                    fact("signed", &format!("1793491200.{body}")),
                    fact("plain", &format!("{body} … 99 bytes (--full) … Doe\"}}")),
                    fact("payload", body),
                    fact("part resource from {json:/resource}", body),
                    fact("algorithm", "hmac_sha256"),
                ],
            }];
            masked(&mut steps, &[], role);
            let facts = steps.into_iter().flat_map(|step| step.facts);
            facts.map(|fact| fact.value).collect::<Vec<String>>()
        };
        let seen = facts(Role::Viewer);
        assert!(!seen.iter().any(|value| value.contains("Doe")), "{seen:?}");
        assert_eq!(seen.last().map(String::as_str), Some("hmac_sha256"));
        // Nor for operators, who may see the event without masks, which stands in the audit then.
        let seen = facts(Role::Operator);
        assert!(seen[0].starts_with("1793491200.") && seen[0].contains("\"amount\":12"));
        assert!(!seen.iter().any(|value| value.contains("Doe")), "{seen:?}");
        assert!(seen[1].ends_with(" … 99 bytes (--full) …"), "{seen:?}");
    }

    /// A body that is known but for a number of a few digits is found by its digest.
    #[test]
    fn digests_of_what_is_masked_are_not_for_viewers() {
        let shown = |name: &str, role| {
            let mut fact = Fact {
                name: name.to_owned(),
                value: "41 bytes, sha256 9f86d081884c7d65".to_owned(),
            };
            mask_fact(&mut fact, false, &[], role);
            fact.value
        };
        for name in ["body", ""] {
            assert_eq!(shown(name, Role::Viewer), "41 bytes");
            assert!(shown(name, Role::Operator).ends_with("9f86d081884c7d65"));
        }
    }

    /// Only our own cut is one: what stands between two dots of a body is a part of it.
    #[test]
    fn dots_of_a_body_are_no_cut() {
        let text = "{\"a\":\"x … 4242424242424242 … y\",\"name\":\"Jane\"";
        let seen = document(text);
        assert!(
            !seen.contains("42424242") && !seen.contains("Jane"),
            "{seen}"
        );
        let seen = document(&format!("{text} … 99 bytes (--full) … Doe\"}}"));
        assert!(
            !seen.contains("42424242") && !seen.contains("Doe"),
            "{seen}"
        );
        assert!(seen.ends_with(" … 99 bytes (--full) …"), "{seen}");
    }

    #[test]
    fn what_is_compared_is_masked_by_its_names() {
        let compared = "holds: app_id=1&buyer_name=Jane+Doe must not hold \"&app_id=\"";
        let shown = |role| {
            let mut steps = vec![Step {
                name: ASSERTS.to_owned(),
                outcome: Outcome::Passed,
                facts: vec![Fact {
                    name: "{params}".to_owned(),
                    value: compared.to_owned(),
                }],
            }];
            masked(&mut steps, &[], role);
            steps[0].facts[0].value.clone()
        };
        assert_eq!(shown(Role::Viewer), "holds");
        let seen = shown(Role::Operator);
        assert!(
            !seen.contains("Jane") && seen.contains("app_id=1"),
            "{seen}"
        );
    }

    /// A secret is hidden however short it is; times and algorithms of signatures are not.
    #[test]
    fn short_secrets_of_header_fields_and_parameters_are_hidden() {
        let hidden = |name: &str, value: &str| {
            let mut hidden = Vec::new();
            of_field(name, value, &mut hidden);
            hidden
        };
        let hides = |name: &str, value: &str, secret: &str| {
            let found = hidden(name, value);
            assert!(found.iter().any(|text| text == secret), "{name}: {found:?}");
        };
        hides("x-gitlab-token", "short-1", "short-1");
        hides("verif-hash", "1234", "1234");
        hides("authorization", "Bearer abc123", "abc123");
        hides("authorization", "Basic am86c2VjcmV0", "am86c2VjcmV0");
        hides("authorization", "Basic am86c2VjcmV0", "jo:secret");
        hides("authorization", "Basic am86c2VjcmV0", "secret");
        hides("cookie", "a=12345; session=\"s3cret\"", "s3cret");
        let stripe = hidden("stripe-signature", "t=1793491200,v1=0123456789abcdef0123");
        assert!(stripe.iter().any(|text| text == "0123456789abcdef0123"));
        assert!(!stripe.iter().any(|text| text == "1793491200"));
        let listed =
            "Signature keyId=\"k\",algorithm=\"hmac-sha256\",signature=\"c2lnbmF0dXJlIG9m\"";
        let listed = hidden("authorization", listed);
        assert!(!listed.iter().any(|text| text == "hmac-sha256"));
        assert!(listed.iter().any(|text| text == "c2lnbmF0dXJlIG9m"));
    }
}
