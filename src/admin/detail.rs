//! `/v1/events/{id}`: all that is known of a delivery, and how its signature looks today.

use axum::Json;
use axum::extract::{Extension, Path, State as Extract};
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::audit::{self, DeedJson};
use crate::admin::auth::operator_only;
use crate::admin::events::EventJson;
use crate::admin::parameter::{self, Asked, event_id};
use crate::admin::payload::{BodyJson, Nothing, plain, shown_headers};
use crate::admin::problem::Problem;
use crate::admin::token::{Caller, Role};
use crate::inbox::store::{Attempt, DeedKind, StoredEvent};
use crate::mask::{self, Kind};
use crate::message::RawRequest;
use crate::verify::trace::{self, Step, Subject};
use crate::verify::want::Known;

/// Entries of the audit that are shown beside an event.
const DEEDS: usize = 50;

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Without masks: an operator's alone, and in the audit.
    #[serde(default)]
    unmask: bool,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct EventDetail {
    #[serde(flatten)]
    event: EventJson,
    peer: String,
    method: String,
    target: String,
    verified: String,
    conflict_of: Option<String>,
    masked: bool,
    /// Names in order of arrival; values of sensitive fields are masked.
    headers: Vec<(String, String)>,
    body: BodyJson,
    history: Vec<AttemptJson>,
    /// All deliveries of the event, this one among them.
    deliveries: Vec<EventJson>,
    /// What operators did with it, newest first, at most 50.
    deeds: Vec<DeedJson>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct AttemptJson {
    number: u32,
    started_at: String,
    took_ms: u64,
    status: Option<u16>,
    /// Stable code; empty when the destination took it.
    error: String,
    /// What the destination said; for operators only.
    response: Option<ResponseJson>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ResponseJson {
    headers: Vec<(String, String)>,
    /// Its beginning, as text.
    body: String,
    cut: bool,
}

impl AttemptJson {
    fn of(attempt: Attempt, role: Role, whole: bool) -> Self {
        let response = attempt.response.filter(|_| role == Role::Operator);
        AttemptJson {
            response: response.map(|response| ResponseJson {
                headers: response
                    .headers
                    .into_iter()
                    .map(|(name, value)| {
                        let value = match whole {
                            true => plain(&value),
                            false => plain(&mask::header(&name, value.as_bytes())),
                        };
                        (name, value)
                    })
                    .collect(),
                body: match whole {
                    true => plain(&String::from_utf8_lossy(&response.body)),
                    false => plain(&mask::text(Kind::of(None, &response.body), &response.body)),
                },
                cut: response.cut,
            }),
            number: attempt.number,
            started_at: attempt.started_at.to_string(),
            took_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            status: attempt.status,
            error: attempt.error,
        }
    }
}

pub async fn event(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    asked: Asked<EventQuery>,
) -> Result<Json<EventDetail>, Problem> {
    let EventQuery { unmask } = parameter::query(asked)?;
    if unmask {
        operator_only(caller.role)?;
    }
    let id = event_id("id", &id)?;
    let row = state.store.row(id).await?;
    let row = row.ok_or_else(Problem::no_such_event)?;
    let stored = state.store.read(id).await?;
    let stored = stored.ok_or_else(Problem::no_such_event)?;
    let history = state.store.attempts(id).await?;
    let deeds = state.store.audit(Some(id), None, DEEDS).await?;
    let mut deliveries = Vec::new();
    for number in 0..crate::message::DELIVERIES {
        match state.store.row(id.of_delivery(number)).await? {
            Some(row) => deliveries.push(EventJson::from(row)),
            None => break,
        }
    }
    if unmask {
        audit::looked(&state, &caller, DeedKind::Unmask, &row).await?;
    }
    let history = history.into_iter();
    Ok(Json(EventDetail {
        event: EventJson::from(row),
        deliveries,
        masked: !unmask,
        headers: shown_headers(&stored.headers, unmask),
        body: BodyJson::of(&stored.headers, &stored.body, unmask),
        peer: stored.peer.to_string(),
        method: stored.method,
        target: match unmask {
            true => plain(&stored.target),
            false => plain(&mask::target(&stored.target)),
        },
        verified: stored.verified,
        conflict_of: stored.conflict_of.map(|id| id.to_string()),
        history: history
            .map(|a| AttemptJson::of(a, caller.role, unmask))
            .collect(),
        deeds: deeds.entries.into_iter().map(DeedJson::from).collect(),
    }))
}

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

/// Parts of the header fields that are hidden where the request is shown: the steps quote them.
fn credentials(stored: &StoredEvent) -> Vec<String> {
    let fields = stored.headers.iter();
    let fields = fields.filter(|(name, _)| mask::credential(&String::from_utf8_lossy(name)));
    let mut parts: Vec<String> = Vec::new();
    for (_, value) in fields {
        let value = String::from_utf8_lossy(value);
        let long = value.split(|c: char| !(c.is_ascii_alphanumeric() || "+/-_".contains(c)));
        // Shorter ones are times, numbers and names of algorithms.
        parts.extend(long.filter(|part| part.len() >= 16).map(str::to_owned));
    }
    parts
}

/// Facts that quote a document, cut or with something before it: what its members' names say of
/// their values can no longer be told.
fn quotes(fact: &str) -> bool {
    ["signed", "plain", "payload"].contains(&fact) || fact.starts_with("part ")
}

/// Hides what is hidden where the request is shown.
fn masked(steps: &mut [Step], hidden: &[String], role: Role) {
    for fact in steps.iter_mut().flat_map(|step| &mut step.facts) {
        if role == Role::Viewer && quotes(&fact.name) {
            fact.value = mask::HIDDEN.to_owned();
            continue;
        }
        for part in hidden {
            if fact.value.contains(part.as_str()) {
                fact.value = fact.value.replace(part.as_str(), mask::HIDDEN);
            }
        }
        fact.value = plain(&mask::text(Kind::Text, fact.value.as_bytes()));
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
        Problem::not_applicable(why)
    })?;
    let hidden = credentials(&stored);
    let request = request_of(stored).ok_or_else(|| Problem::not_applicable("it is no request"))?;
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
    use crate::verify::trace::{Fact, Outcome};

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
        assert!(facts(Role::Operator)[0].contains("amount"));
    }
}
