//! What an operator can do besides looking: pause and resume, redrive and discard many at a time. All
//! of it stands in the audit, under the name of the token that was used.

use axum::Json;
use axum::extract::{Extension, Path, Query, State as Extract};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::auth::operator_only;
use crate::admin::jobs::{Job, JobJson};
use crate::admin::parameter::{self, limit, moment};
use crate::admin::problem::Problem;
use crate::admin::token::{Caller, Role};
use crate::inbox::store::{Deed, DeedKind, Filter, Operation};
use crate::message::{DestinationName, EventId, LaneName, SourceName};

/// Deliveries of one job at most: their ids are in memory.
const MOST: usize = 1_000_000;

/// In any second, when the request does not say.
const RATE: u32 = 100;

/// `?destination=NAME`: that one alone; else all of the source.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LaneQuery {
    destination: Option<String>,
    /// Why, for the audit.
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
    query: Result<Query<LaneQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Paused>, Problem> {
    pausing(state, caller, name, query, DeedKind::Pause).await
}

pub async fn resume(
    state: Extract<State>,
    caller: Extension<Caller>,
    name: Path<String>,
    query: Result<Query<LaneQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Paused>, Problem> {
    pausing(state, caller, name, query, DeedKind::Resume).await
}

async fn pausing(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    query: Result<Query<LaneQuery>, axum::extract::rejection::QueryRejection>,
    kind: DeedKind,
) -> Result<Json<Paused>, Problem> {
    operator_only(caller.role)?;
    let Query(query) = query.map_err(|e| Problem::bad_parameter("query", e.body_text()))?;
    let loaded = state.shared.loaded.load_full();
    let rule = loaded.rules.rules.iter().find(|r| r.name.as_str() == name);
    let unknown = |what: &str| Problem::new(StatusCode::NOT_FOUND, "no_such_source", what);
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

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// The `next` of the page before.
    cursor: Option<u64>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DeedJson {
    number: u64,
    at: String,
    by: String,
    what: &'static str,
    source: Option<String>,
    destination: Option<String>,
    event: Option<String>,
    detail: String,
    count: u64,
    outcome: String,
}

pub async fn audit(
    Extract(state): Extract<State>,
    query: Result<Query<AuditQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let Query(query) = query.map_err(|e| Problem::bad_parameter("query", e.body_text()))?;
    let page = state.store.audit(query.cursor, limit(query.limit)?).await?;
    let entries = page.entries.into_iter().map(|(number, deed)| DeedJson {
        number,
        at: deed.at.to_string(),
        by: deed.by,
        what: deed.kind.as_str(),
        source: deed.source.map(|source| source.to_string()),
        destination: deed.destination.map(|to| to.to_string()),
        event: deed.event.map(|id| id.to_string()),
        detail: deed.detail,
        count: deed.count,
        outcome: deed.outcome,
    });
    let entries: Vec<DeedJson> = entries.collect();
    Ok(Json(
        serde_json::json!({ "audit": entries, "next": page.next }),
    ))
}

/// Which deliveries, and what with them. `state` is needed, so that nobody means all by mistake.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Many {
    state: String,
    source: Option<String>,
    destination: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    key: Option<String>,
    from: Option<String>,
    to: Option<String>,
    /// Only say how many.
    #[serde(default)]
    plan: bool,
    /// As the plan said: the job is refused when it is no longer so many.
    count: Option<u64>,
    /// Deliveries in a second.
    rate: Option<u32>,
    /// For a discard: why.
    #[serde(default)]
    reason: String,
}

impl Many {
    fn filter(&self) -> Result<Filter, Problem> {
        Ok(Filter {
            source: self.source.as_deref().map(SourceName::new),
            destination: self.destination.as_deref().map(DestinationName::new),
            state: Some(parameter::state(&self.state)?),
            event_type: self.kind.clone(),
            event_key: self.key.clone(),
            from: moment("from", self.from.as_ref())?,
            to: moment("to", self.to.as_ref())?,
        })
    }

    /// The filter, for the audit.
    fn told(&self) -> String {
        let parts = [
            ("state", Some(&self.state)),
            ("source", self.source.as_ref()),
            ("destination", self.destination.as_ref()),
            ("type", self.kind.as_ref()),
            ("key", self.key.as_ref()),
            ("from", self.from.as_ref()),
            ("to", self.to.as_ref()),
            ("reason", Some(&self.reason).filter(|r| !r.is_empty())),
        ];
        let told = parts.iter().filter_map(|(name, value)| {
            let value = (*value)?;
            Some(format!("{name}={value}"))
        });
        told.collect::<Vec<String>>().join(" ")
    }
}

pub async fn redrive(
    state: Extract<State>,
    caller: Extension<Caller>,
    many: Result<Json<Many>, axum::extract::rejection::JsonRejection>,
) -> Result<(StatusCode, Json<serde_json::Value>), Problem> {
    operate(state, caller, many, DeedKind::RedriveMany).await
}

pub async fn discard(
    state: Extract<State>,
    caller: Extension<Caller>,
    many: Result<Json<Many>, axum::extract::rejection::JsonRejection>,
) -> Result<(StatusCode, Json<serde_json::Value>), Problem> {
    operate(state, caller, many, DeedKind::DiscardMany).await
}

async fn operate(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    many: Result<Json<Many>, axum::extract::rejection::JsonRejection>,
    kind: DeedKind,
) -> Result<(StatusCode, Json<serde_json::Value>), Problem> {
    operator_only(caller.role)?;
    let Json(many) = many.map_err(|e| Problem::bad_parameter("body", e.body_text()))?;
    let filter = many.filter()?;
    if many.plan {
        let mut count = 0;
        let mut after = None;
        loop {
            let counted = state.store.count(&filter, after).await?;
            count += counted.count;
            after = counted.next;
            if after.is_none() {
                break;
            }
        }
        return Ok((StatusCode::OK, Json(serde_json::json!({ "count": count }))));
    }
    let rate = many.rate.unwrap_or(RATE);
    if !(1..=10_000).contains(&rate) {
        return Err(Problem::bad_parameter(
            "rate",
            "from 1 to 10000 in a second",
        ));
    }
    let word = match kind {
        DeedKind::DiscardMany if many.reason.trim().is_empty() => {
            return Err(Problem::bad_parameter("reason", "a discard needs a reason"));
        }
        DeedKind::DiscardMany | DeedKind::Discard => Operation::Discard {
            reason: many.reason.clone(),
        },
        DeedKind::RedriveMany | DeedKind::Redrive => Operation::Redrive,
        DeedKind::Pause | DeedKind::Resume => {
            return Err(Problem::bad_parameter("body", "this is not done to many"));
        }
    };
    let ids = collect(&state, &filter).await?;
    if let Some(expected) = many.count.filter(|count| *count != ids.len() as u64) {
        let detail = format!("{} deliveries fit, not {expected}: plan anew", ids.len());
        return Err(Problem::new(StatusCode::CONFLICT, "count_differs", detail));
    }
    let deed = Deed {
        at: state.shared.clock.now(),
        by: caller.label,
        kind,
        source: filter.source.clone(),
        destination: filter.destination.clone(),
        event: None,
        detail: many.told(),
        count: ids.len() as u64,
        outcome: "begun".to_owned(),
    };
    // Written down before anything is done.
    state.store.record(deed.clone()).await?;
    let job = Job {
        deed,
        word,
        ids,
        rate,
    };
    let job = state.jobs.begin(&state, job);
    Ok((
        StatusCode::ACCEPTED,
        Json(serde_json::json!({ "job": job })),
    ))
}

/// Oldest first, so that what is in order goes out in order.
async fn collect(state: &State, filter: &Filter) -> Result<Vec<EventId>, Problem> {
    let mut ids: Vec<EventId> = Vec::new();
    let mut after = None;
    loop {
        let page = state.store.list(filter, after, 500).await?;
        ids.extend(page.rows.iter().map(|row| row.id));
        if ids.len() > MOST {
            let detail = format!("more than {MOST} deliveries fit: narrow the filter");
            return Err(Problem::new(StatusCode::CONFLICT, "too_many", detail));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    ids.reverse();
    Ok(ids)
}

pub async fn jobs(Extract(state): Extract<State>) -> Json<serde_json::Value> {
    let jobs: Vec<JobJson> = state.jobs.list();
    Json(serde_json::json!({ "jobs": jobs }))
}

pub async fn stop(
    Extract(state): Extract<State>,
    Extension(role): Extension<Role>,
    Path(id): Path<u64>,
) -> Result<StatusCode, Problem> {
    operator_only(role)?;
    if state.jobs.stop(id) {
        Ok(StatusCode::ACCEPTED)
    } else {
        let detail = "there is no such job under way";
        Err(Problem::new(StatusCode::NOT_FOUND, "no_such_job", detail))
    }
}
