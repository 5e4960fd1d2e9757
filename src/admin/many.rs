//! Many deliveries at a time, by a filter that first says how many; and the jobs that do it.

use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::admin::State;
use crate::admin::auth::{Pass, operator_only};
use crate::admin::events::Sought;
use crate::admin::jobs::{Job, JobJson, Picked, RUNNING};
use crate::admin::operate::checked_reason;
use crate::admin::parameter::{self, Asked, Said};
use crate::admin::payload::Nothing;
use crate::admin::problem::{Problem, Wrong};
use crate::admin::token::Caller;
use crate::inbox::store::{self, Deed, DeedKind, Expected, Filter, Operation, Row};

/// Deliveries of one job at most: their ids are in memory.
const MOST: usize = 1_000_000;

/// In any second, when the request does not say.
const RATE: u32 = 100;

/// So long it is counted and looked for at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which deliveries, and what with them. `state` is needed, so that nobody means all by mistake.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Many {
    state: String,
    source: Option<String>,
    provider: Option<String>,
    destination: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    key: Option<String>,
    order: Option<String>,
    text: Option<String>,
    /// The row's reason, exactly.
    error: Option<String>,
    from: Option<String>,
    to: Option<String>,
    /// Texts are compared with what is shown, masks and all: what a group with `masked` shows picks
    /// all of that group.
    #[serde(default)]
    masked: bool,
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
    fn picked(&self) -> parameter::Picked<'_> {
        parameter::Picked {
            source: self.source.as_ref(),
            provider: self.provider.as_ref(),
            destination: self.destination.as_ref(),
            state: Some(&self.state),
            kind: self.kind.as_ref(),
            key: self.key.as_ref(),
            order: self.order.as_ref(),
            text: self.text.as_ref(),
            reason: self.error.as_ref(),
            from: self.from.as_ref(),
            to: self.to.as_ref(),
        }
    }
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Planned {
    count: u64,
    /// What it would take at the rate.
    seconds: u64,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Begun {
    job: u64,
}

pub async fn redrive(
    state: Extract<State>,
    pass: Extension<Pass>,
    many: Said<Many>,
) -> Result<Response, Problem> {
    operate(state, pass, many, DeedKind::RedriveMany).await
}

pub async fn discard(
    state: Extract<State>,
    pass: Extension<Pass>,
    many: Said<Many>,
) -> Result<Response, Problem> {
    operate(state, pass, many, DeedKind::DiscardMany).await
}

async fn operate(
    Extract(state): Extract<State>,
    Extension(pass): Extension<Pass>,
    many: Said<Many>,
    kind: DeedKind,
) -> Result<Response, Problem> {
    operator_only(pass.caller.role)?;
    let many = parameter::body(many)?;
    let filter = many.picked().filter()?;
    let sought = Sought::of(&filter, &pass.caller, many.masked);
    let rate = many.rate.unwrap_or(RATE);
    if !(1..=10_000).contains(&rate) {
        let wrong = Wrong::Number {
            why: "from 1 to 10000 in a second".to_owned(),
            from: 1,
            to: 10_000,
        };
        return Err(Problem::bad_parameter("rate", wrong));
    }
    if many.plan {
        let _look = state.jobs.look().ok_or_else(busy)?;
        let count = count(&state, sought).await?;
        let seconds = count.div_ceil(u64::from(rate));
        return Ok(Json(Planned { count, seconds }).into_response());
    }
    let mut told = many.picked().told();
    if many.masked {
        told.push_str(" masked=true");
    }
    let word = if kind == DeedKind::DiscardMany {
        let reason = checked_reason(many.reason)?;
        told.push_str(&format!(" reason={reason}"));
        Operation::Discard { reason }
    } else {
        Operation::Redrive
    };
    // First the place, so that those who collect at once do not become too many jobs.
    let place = state.jobs.place().ok_or_else(|| {
        let detail = format!("{RUNNING} jobs are under way: wait for one, or stop it");
        too_many(detail).said("jobs_many").fact("most", RUNNING)
    })?;
    let look = state.jobs.look().ok_or_else(busy)?;
    let picked = collect(&state, sought).await?;
    drop(look);
    let fit = picked.len() as u64;
    if let Some(expected) = many.count.filter(|count| *count != fit) {
        let detail = format!("{fit} deliveries fit, not {expected}: plan anew");
        let problem = Problem::new(StatusCode::CONFLICT, "count_differs", detail);
        let problem = problem.said("count_differs").fact("expected", expected);
        return Err(problem.fact("fit", fit));
    }
    let deed = Deed {
        at: state.shared.clock.now(),
        by: pass.caller.label.clone(),
        kind,
        source: filter.source.clone(),
        destination: filter.destination.clone(),
        event: None,
        detail: told,
        count: fit,
        outcome: "begun".to_owned(),
    };
    // Written down before anything is done.
    state.store.record(deed.clone()).await?;
    let job = Job {
        deed,
        word,
        picked,
        rate,
        token: *pass.token(),
        place,
    };
    let job = state.jobs.begin(&state, job);
    Ok((StatusCode::ACCEPTED, Json(Begun { job })).into_response())
}

fn too_many(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, "too_many", detail)
}

fn busy() -> Problem {
    let detail = "deliveries are counted or collected for others: ask again";
    Problem::too_many_requests(2, detail)
}

fn too_slow(since: Instant) -> Result<(), Problem> {
    match since.elapsed() > PATIENCE {
        true => {
            let detail = "looking for them takes too long: narrow the filter";
            Err(too_many(detail).said("looking_long"))
        }
        false => Ok(()),
    }
}

async fn count(state: &State, sought: Sought<'_>) -> Result<u64, Problem> {
    let (mut count, mut after) = (0, None);
    let began = Instant::now();
    let asked = sought.asked();
    loop {
        if *asked == *sought.filter {
            let counted = state.store.count(&asked, after).await?;
            count += counted.count;
            after = counted.next;
        } else {
            let page = state.store.list(&asked, after, 500).await?;
            count += page.rows.iter().filter(|row| sought.fits(row)).count() as u64;
            after = page.next;
        }
        if after.is_none() {
            return Ok(count);
        }
        too_slow(began)?;
    }
}

/// How this row must stand later to be still the one that was picked. What is owed is tried meanwhile,
/// which makes it no other, unless it was picked by what its last attempt came to.
fn expected(filter: &Filter, row: &Row) -> Expected {
    let by_reason = filter.reason.is_some() || filter.text.is_some();
    let tried = row.state == store::State::Owed && !by_reason;
    Expected {
        state: row.state,
        attempts: (!tried).then_some(row.attempts),
    }
}

/// Oldest first, so that what is in order goes out in order.
async fn collect(state: &State, sought: Sought<'_>) -> Result<Vec<Picked>, Problem> {
    let mut picked: Vec<Picked> = Vec::new();
    let mut after = None;
    let began = Instant::now();
    let asked = sought.asked();
    loop {
        let page = state.store.list(&asked, after, 500).await?;
        let rows = page.rows.iter().filter(|row| sought.fits(row));
        picked.extend(rows.map(|row| Picked {
            id: row.id,
            expected: expected(sought.filter, row),
        }));
        if picked.len() > MOST {
            let detail = format!("more than {MOST} deliveries fit: narrow the filter");
            let problem = too_many(detail).said("deliveries_many");
            return Err(problem.fact("most", MOST));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
        too_slow(began)?;
    }
    picked.reverse();
    // A job holds it until its end.
    picked.shrink_to_fit();
    Ok(picked)
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct JobsPage {
    /// Newest first.
    jobs: Vec<JobJson>,
}

pub async fn jobs(
    Extract(state): Extract<State>,
    asked: Asked<Nothing>,
) -> Result<Json<JobsPage>, Problem> {
    parameter::query(asked)?;
    let jobs = state.jobs.list();
    Ok(Json(JobsPage { jobs }))
}

pub async fn job(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
    asked: Asked<Nothing>,
) -> Result<Json<JobJson>, Problem> {
    parameter::query(asked)?;
    let id = id.parse().map_err(|_| Problem::no_such_job())?;
    let job = state.jobs.get(id).ok_or_else(Problem::no_such_job)?;
    Ok(Json(job))
}

pub async fn stop(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<JobJson>), Problem> {
    operator_only(caller.role)?;
    let id = id.parse().map_err(|_| Problem::no_such_job())?;
    if !state.jobs.stop(id, &caller.label) {
        return Err(Problem::no_such_job());
    }
    let job = state.jobs.get(id).ok_or_else(Problem::no_such_job)?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}
