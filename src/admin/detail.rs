//! `/v1/events/{id}`: all that is known of a delivery.

use axum::Json;
use axum::extract::{Extension, Path, State as Extract};
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::audit::{self, DeedJson};
use crate::admin::auth::operator_only;
use crate::admin::events::EventJson;
use crate::admin::parameter::{self, Asked, event_id};
use crate::admin::payload::{BodyJson, plain, shown_headers};
use crate::admin::problem::Problem;
use crate::admin::token::{Caller, Role};
use crate::inbox::store::{Attempt, DeedKind};
use crate::mask::{self, Kind};

/// Entries of the audit that are shown beside an event.
const DEEDS: usize = 50;

/// Attempts that are shown, each with up to 24 KiB of an answer.
const HISTORY: usize = 200;

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
    /// The last 200 attempts, oldest first; `attempts` says how many there were.
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
            Some(row) => deliveries.push(EventJson::of(row, unmask)),
            None => break,
        }
    }
    if unmask {
        audit::looked(&state, &caller, DeedKind::Unmask, &row).await?;
    }
    let earlier = history.len().saturating_sub(HISTORY);
    let history = history.into_iter().skip(earlier);
    Ok(Json(EventDetail {
        event: EventJson::of(row, unmask),
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
        deeds: (deeds.entries.into_iter())
            .map(|entry| DeedJson::of(entry, unmask))
            .collect(),
    }))
}
