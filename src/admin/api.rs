//! `/v1`: events, sources, refusals, and the word to deliver an event again.

use axum::Json;
use axum::extract::{Extension, Path, Query, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::auth::operator_only;
use crate::admin::parameter::{self, limit, moment};
use crate::admin::problem::Problem;
use crate::admin::token::{Caller, Role};
use crate::inbox::store::{self, Attempt, Filter, Operated, Operation, Row};
use crate::message::{DestinationName, EventId, LaneName, SourceName};
use crate::refusals::Refused;
use crate::telemetry::field;

/// What `/v1/events` may be asked. Text is compared exactly.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    source: Option<String>,
    destination: Option<String>,
    /// `owed`, `delivered`, `dead`, `discarded`, `filtered`, `superseded`.
    state: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The provider's own event id.
    key: Option<String>,
    /// RFC 3339.
    from: Option<String>,
    to: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct EventsPage {
    events: Vec<EventJson>,
    /// Give this as `cursor` for the next page; null at the end.
    next: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct EventJson {
    /// Of the delivery; that to `main` has the event's own.
    id: String,
    /// Of the event.
    event: String,
    source: String,
    destination: String,
    provider: String,
    key: String,
    #[serde(rename = "type")]
    kind: String,
    received_at: String,
    state: &'static str,
    attempts: u32,
    /// When the next attempt is due, while owed.
    due: Option<String>,
    /// Why it is dead or discarded, or what the last attempt failed with.
    reason: String,
    /// True when an event with the same key and another body was accepted before.
    conflict: bool,
    body_bytes: u32,
}

impl From<Row> for EventJson {
    fn from(row: Row) -> Self {
        EventJson {
            id: row.id.to_string(),
            event: row.id.event().to_string(),
            destination: row.destination.to_string(),
            source: row.source.to_string(),
            provider: row.provider,
            key: row.event_key,
            kind: row.event_type,
            received_at: row.received_at.to_string(),
            state: row.state.as_str(),
            attempts: row.attempts,
            due: row.due.map(|due| due.to_string()),
            reason: row.reason,
            conflict: row.conflict,
            body_bytes: row.body_bytes,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct EventDetail {
    #[serde(flatten)]
    event: EventJson,
    peer: String,
    method: String,
    target: String,
    verified: String,
    conflict_of: Option<String>,
    /// Names in order of arrival; values of sensitive fields are masked.
    headers: Vec<(String, String)>,
    history: Vec<AttemptJson>,
    /// All deliveries of the event, this one among them.
    deliveries: Vec<EventJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
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

#[derive(Debug, Serialize, JsonSchema)]
pub struct ResponseJson {
    headers: Vec<(String, String)>,
    /// Its beginning, as text.
    body: String,
    cut: bool,
}

impl AttemptJson {
    fn of(attempt: Attempt, role: Role) -> Self {
        let response = attempt.response.filter(|_| role == Role::Operator);
        AttemptJson {
            response: response.map(|response| ResponseJson {
                headers: response.headers,
                body: String::from_utf8_lossy(&response.body).into_owned(),
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

fn event_id(text: &str) -> Result<EventId, Problem> {
    text.parse().map_err(|e| Problem::bad_parameter("id", e))
}

pub async fn events(
    Extract(state): Extract<State>,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<EventsPage>, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_parameter("query", e.body_text()))?;
    let filter = Filter {
        destination: query.destination.as_deref().map(DestinationName::new),
        source: query.source.as_deref().map(SourceName::new),
        state: query.state.as_deref().map(parameter::state).transpose()?,
        event_type: query.kind.clone(),
        event_key: query.key.clone(),
        from: moment("from", query.from.as_ref())?,
        to: moment("to", query.to.as_ref())?,
    };
    let after = query
        .cursor
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|e| Problem::bad_parameter("cursor", e))?;
    let page = state
        .store
        .list(&filter, after, limit(query.limit)?)
        .await?;
    Ok(Json(EventsPage {
        events: page.rows.into_iter().map(EventJson::from).collect(),
        next: page.next.map(|id| id.to_string()),
    }))
}

pub async fn event(
    Extract(state): Extract<State>,
    Extension(role): Extension<Role>,
    Path(id): Path<String>,
) -> Result<Json<EventDetail>, Problem> {
    let id = event_id(&id)?;
    let row = state
        .store
        .row(id)
        .await?
        .ok_or_else(Problem::no_such_event)?;
    let stored = state
        .store
        .read(id)
        .await?
        .ok_or_else(Problem::no_such_event)?;
    let history = state.store.attempts(id).await?;
    let mut deliveries = Vec::new();
    for number in 0..crate::message::DELIVERIES {
        match state.store.row(id.of_delivery(number)).await? {
            Some(row) => deliveries.push(EventJson::from(row)),
            None => break,
        }
    }
    let headers = stored.headers.iter().map(|(name, value)| {
        let name = String::from_utf8_lossy(name).into_owned();
        let value = if sensitive(&name) {
            "•••".to_owned()
        } else {
            String::from_utf8_lossy(value).into_owned()
        };
        (name, value)
    });
    Ok(Json(EventDetail {
        event: EventJson::from(row),
        deliveries,
        peer: stored.peer.to_string(),
        method: stored.method,
        target: stored.target,
        verified: stored.verified,
        conflict_of: stored.conflict_of.map(|id| id.to_string()),
        headers: headers.collect(),
        history: history
            .into_iter()
            .map(|attempt| AttemptJson::of(attempt, role))
            .collect(),
    }))
}

/// Signatures and credentials: whoever sees them could send them again elsewhere.
fn sensitive(name: &str) -> bool {
    [
        "authorization",
        "cookie",
        "signature",
        "hmac",
        "token",
        "secret",
        "sign",
        "api-key",
        "apikey",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// The body byte for byte: an operator's alone, and written to the log.
pub async fn body(
    Extract(state): Extract<State>,
    Extension(role): Extension<Role>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    operator_only(role)?;
    let id = event_id(&id)?;
    let stored = state
        .store
        .read(id)
        .await?
        .ok_or_else(Problem::no_such_event)?;
    tracing::info!({ field::EVENT } = %id, "an operator read the body");
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"body\""),
    ];
    Ok((headers, stored.body).into_response())
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Redriven {
    id: String,
    state: &'static str,
}

pub async fn redrive(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Redriven>), Problem> {
    operator_only(caller.role)?;
    let id = event_id(&id)?;
    let source = state
        .store
        .row(id)
        .await?
        .ok_or_else(Problem::no_such_event)?
        .source;
    let now = state.shared.clock.now();
    let by = Some(caller.label);
    let operated = state.store.operate(id, Operation::Redrive, now, by);
    match operated.await? {
        Operated::Done => {
            tracing::info!({ field::EVENT } = %id, "redriven by an operator");
            state.relay.wake(&source);
            Ok((
                StatusCode::ACCEPTED,
                Json(Redriven {
                    id: id.to_string(),
                    state: store::State::Owed.as_str(),
                }),
            ))
        }
        Operated::NotFound => Err(Problem::no_such_event()),
        Operated::NotApplicable(stands) => {
            let detail = format!("the event is {} and cannot be redriven", stands.as_str());
            Err(Problem::new(StatusCode::CONFLICT, "not_applicable", detail))
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceJson {
    name: String,
    provider: String,
    path: String,
    forward: String,
    destinations: Vec<DestinationJson>,
    verified: bool,
    /// What the keys are called; never the keys.
    keys: Vec<String>,
    next_due: Option<String>,
    /// Attempts under way.
    under_way: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DestinationJson {
    name: String,
    forward: String,
    paused: bool,
    next_due: Option<String>,
    /// Attempts under way.
    under_way: usize,
}

pub async fn sources(Extract(state): Extract<State>) -> Result<Json<serde_json::Value>, Problem> {
    let loaded = state.shared.loaded.load_full();
    let mut sources = Vec::new();
    for rule in &loaded.rules.rules {
        let mut destinations = Vec::new();
        for to in rule.relay.destinations() {
            let lane = LaneName::new(&rule.name, &to.name);
            let due = state.store.next_due(&lane).await?;
            destinations.push(DestinationJson {
                name: to.name.to_string(),
                forward: to.forward.to_string(),
                paused: state.store.paused(&lane),
                next_due: due.map(|due| due.to_string()),
                under_way: state.relay.under_way(&lane).unwrap_or(0),
            });
        }
        sources.push(SourceJson {
            destinations,
            name: rule.name.to_string(),
            provider: rule.provider.name.clone(),
            path: rule.path.clone(),
            forward: rule.relay.main.forward.to_string(),
            verified: !rule.keys.is_empty(),
            keys: rule.keys.iter().map(|key| key.label.clone()).collect(),
            next_due: state
                .store
                .next_due(&LaneName::main(&rule.name))
                .await?
                .map(|due| due.to_string()),
            under_way: state
                .relay
                .under_way(&LaneName::main(&rule.name))
                .unwrap_or(0),
        });
    }
    let digest = data_encoding::HEXLOWER.encode(&loaded.rules.digest);
    Ok(Json(
        serde_json::json!({ "sources": sources, "rules_digest": digest }),
    ))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefusalsQuery {
    source: Option<String>,
    reason: Option<String>,
    /// The `next` of the page before.
    cursor: Option<u64>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct RefusalJson {
    number: u64,
    at: String,
    source: String,
    peer: String,
    method: String,
    path: String,
    stage: &'static str,
    reason: &'static str,
    detail: String,
}

impl From<Refused> for RefusalJson {
    fn from(refused: Refused) -> Self {
        RefusalJson {
            number: refused.number,
            at: refused.at.to_string(),
            source: refused.source,
            peer: refused.peer.to_string(),
            method: refused.method,
            path: refused.path,
            stage: refused.stage,
            reason: refused.reason,
            detail: refused.detail,
        }
    }
}

pub async fn refusals(
    Extract(state): Extract<State>,
    query: Result<Query<RefusalsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_parameter("query", e.body_text()))?;
    let limit = limit(query.limit)?;
    let fits = |r: &Refused| {
        query.source.as_ref().is_none_or(|s| *s == r.source)
            && query.reason.as_ref().is_none_or(|s| s == r.reason)
    };
    let found = state.shared.refusals.list(query.cursor, limit, fits);
    let next = (found.len() == limit)
        .then(|| found.last().map(|r| r.number))
        .flatten();
    let refusals: Vec<RefusalJson> = found.into_iter().map(RefusalJson::from).collect();
    Ok(Json(
        serde_json::json!({ "refusals": refusals, "next": next }),
    ))
}
