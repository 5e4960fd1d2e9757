//! What an operator can do besides looking, one at a time: pause and resume, redrive and discard. All
//! of it stands in the audit, under the name of the token that was used.

use axum::Json;
use axum::extract::{Extension, Path, State as Extract};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::auth::operator_only;
use crate::admin::parameter::{self, Asked, Said, event_id};
use crate::admin::problem::{Problem, Wrong};
use crate::admin::token::Caller;
use crate::inbox::store::{self, Deed, DeedKind, Operated, Operation};
use crate::message::{DestinationName, LaneName};
use crate::telemetry::field;
use crate::telemetry::news::News;

/// `?destination=NAME`: that one alone; else all of the source.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LaneQuery {
    destination: Option<String>,
    /// Why, for the audit; at most 500 bytes.
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Paused {
    source: String,
    destination: Option<String>,
    paused: bool,
}

pub async fn pause(
    state: Extract<State>,
    caller: Extension<Caller>,
    name: Path<String>,
    query: Asked<LaneQuery>,
) -> Result<Json<Paused>, Problem> {
    pausing(state, caller, name, query, DeedKind::Pause).await
}

pub async fn resume(
    state: Extract<State>,
    caller: Extension<Caller>,
    name: Path<String>,
    query: Asked<LaneQuery>,
) -> Result<Json<Paused>, Problem> {
    pausing(state, caller, name, query, DeedKind::Resume).await
}

async fn pausing(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    query: Asked<LaneQuery>,
    kind: DeedKind,
) -> Result<Json<Paused>, Problem> {
    operator_only(caller.role)?;
    let query = parameter::query(query)?;
    not_too_long(&query.reason)?;
    let loaded = state.shared.loaded.load_full();
    let rule = loaded.rules.rules.iter().find(|r| r.name.as_str() == name);
    let unknown = |what: &str| Problem::no_such_source(what);
    let rule = rule.ok_or_else(|| unknown("there is no such source"))?;
    let destination = query.destination.as_deref().map(DestinationName::new);
    if let Some(to) = &destination
        && rule.relay.destination(to).is_none()
    {
        return Err(unknown("the source has no such destination"));
    }
    let source = rule.name.clone();
    let deed = Deed {
        at: state.shared.clock.now(),
        by: caller.label,
        kind,
        source: Some(source.clone()),
        destination: destination.clone(),
        event: None,
        detail: query.reason,
        count: 0,
        outcome: "done".to_owned(),
    };
    state.store.record(deed).await?;
    tracing::info!(source = %source, kind = kind.as_str(), "by an operator");
    state.relay.wake(&source);
    let lane = LaneName::new(
        &source,
        &destination.clone().unwrap_or_else(DestinationName::main),
    );
    Ok(Json(Paused {
        paused: state.store.paused(&lane),
        source: source.to_string(),
        destination: destination.map(|to| to.to_string()),
    }))
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Done {
    id: String,
    state: &'static str,
}

pub async fn redrive(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let done = operate(&state, caller, &id, Operation::Redrive).await?;
    Ok((StatusCode::ACCEPTED, Json(done)))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why, for the audit and the row; at most 500 bytes.
    #[schemars(length(min = 1), regex(pattern = r"\S"))]
    reason: String,
}

pub async fn discard(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    said: Said<Reason>,
) -> Result<Json<Done>, Problem> {
    operator_only(caller.role)?;
    let Reason { reason } = parameter::body(said)?;
    let word = Operation::Discard {
        reason: checked_reason(reason)?,
    };
    Ok(Json(operate(&state, caller, &id, word).await?))
}

/// Longest reason: it stands in the journal, and in every row.
const REASON_MAX: usize = 500;

/// A discard needs a reason.
pub fn checked_reason(reason: String) -> Result<String, Problem> {
    if reason.trim().is_empty() {
        return Err(Problem::bad_parameter("reason", Wrong::ReasonMissing));
    }
    not_too_long(&reason)?;
    Ok(reason)
}

fn not_too_long(reason: &str) -> Result<(), Problem> {
    if reason.len() > REASON_MAX {
        let wrong = Wrong::Bytes { most: REASON_MAX };
        return Err(Problem::bad_parameter("reason", wrong));
    }
    Ok(())
}

async fn operate(
    state: &State,
    caller: Caller,
    id: &str,
    word: Operation,
) -> Result<Done, Problem> {
    operator_only(caller.role)?;
    let id = event_id("id", id)?;
    let row = state.store.row(id).await?;
    let source = row.ok_or_else(Problem::no_such_event)?.source;
    let now = state.shared.clock.now();
    let (verb, not, stands, reason) = match &word {
        Operation::Redrive => (
            "redriven",
            "not_redriven",
            store::State::Owed,
            String::new(),
        ),
        Operation::Discard { reason } => (
            "discarded",
            "not_discarded",
            store::State::Discarded,
            reason.clone(),
        ),
    };
    let by = caller.label.clone();
    match state.store.operate(id, word, now, Some(by)).await? {
        Operated::Done => {
            tracing::info!({ field::EVENT } = %id, by = caller.label, "{verb} by an operator");
            // A discard, too: the next in its order may go now.
            state.relay.wake(&source);
            state.shared.metrics.news.tell(|| News::State {
                id,
                source,
                state: stands.as_str(),
                reason,
                by: caller.label,
            });
            Ok(Done {
                id: id.to_string(),
                state: stands.as_str(),
            })
        }
        Operated::NotFound => Err(Problem::no_such_event()),
        Operated::NotApplicable(stands) => {
            let why = format!("the event is {} and cannot be {verb}", stands.as_str());
            let problem = Problem::not_applicable(why).said(not);
            Err(problem.fact("state", stands.as_str()))
        }
    }
}
