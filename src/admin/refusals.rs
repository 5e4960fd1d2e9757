//! `/v1/refusals`: what was not accepted, one by one and in groups with their likely cause.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use axum::Json;
use axum::extract::State as Extract;
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::parameter::{self, Asked, limit, moment};
use crate::admin::payload::plain;
use crate::admin::problem::{Problem, Wrong};
use crate::admin::reasons;
use crate::clock::Timestamp;
use crate::refusals::Refused;

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefusalsQuery {
    source: Option<String>,
    reason: Option<String>,
    /// `refused`, `rejected`, `malformed`, `overloaded` or `unheard`.
    stage: Option<String>,
    /// RFC 3339.
    from: Option<String>,
    to: Option<String>,
    /// The `next` of the page before.
    cursor: Option<u64>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct RefusalsPage {
    refusals: Vec<RefusalJson>,
    next: Option<u64>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct RefusalJson {
    number: u64,
    at: String,
    pub source: String,
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
            method: plain(&refused.method),
            path: plain(&refused.path),
            stage: refused.stage,
            reason: refused.reason,
            detail: plain(&refused.detail),
        }
    }
}

/// What both paths filter by.
struct Wanted {
    source: Option<String>,
    reason: Option<String>,
    stage: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Wanted {
    fn fits(&self, refused: &Refused) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        is(&self.source, &refused.source)
            && is(&self.reason, refused.reason)
            && is(&self.stage, refused.stage)
            && self.from.is_none_or(|from| refused.at >= from)
            && self.to.is_none_or(|to| refused.at < to)
    }
}

pub const STAGES: [&str; 6] = [
    "refused",
    "rejected",
    "malformed",
    "overloaded",
    "unheard",
    "conflict_dropped",
];

pub async fn refusals(
    Extract(state): Extract<State>,
    asked: Asked<RefusalsQuery>,
) -> Result<Json<RefusalsPage>, Problem> {
    let query = parameter::query(asked)?;
    let limit = limit(query.limit)?;
    if query
        .stage
        .as_deref()
        .is_some_and(|stage| !STAGES.contains(&stage))
    {
        let wrong = Wrong::OneOf(STAGES.join(", "));
        return Err(Problem::bad_parameter("stage", wrong));
    }
    let wanted = Wanted {
        source: query.source,
        reason: query.reason,
        stage: query.stage,
        from: moment("from", query.from.as_ref())?,
        to: moment("to", query.to.as_ref())?,
    };
    let kept = &state.shared.refusals;
    let found = kept.list(query.cursor, limit, |refused| wanted.fits(refused));
    let full = found.len() == limit;
    let next = found.last().filter(|_| full).map(|last| last.number);
    Ok(Json(RefusalsPage {
        refusals: found.into_iter().map(RefusalJson::from).collect(),
        next,
    }))
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefusalGroupsQuery {
    source: Option<String>,
    /// RFC 3339.
    from: Option<String>,
    to: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct RefusalGroupsPage {
    /// The largest first.
    groups: Vec<RefusalGroupJson>,
    /// How many are kept of all.
    kept: u64,
    /// How many there were since the start.
    seen: u64,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct RefusalGroupJson {
    source: String,
    stage: &'static str,
    reason: &'static str,
    count: u64,
    first_at: String,
    last_at: String,
    /// Different addresses.
    peers: u64,
    cause: &'static str,
    mend: &'static str,
    /// What shows more, where something does.
    command: Option<String>,
}

struct Tally {
    count: u64,
    first: Timestamp,
    last: Timestamp,
    peers: BTreeSet<IpAddr>,
}

pub async fn groups(
    Extract(state): Extract<State>,
    asked: Asked<RefusalGroupsQuery>,
) -> Result<Json<RefusalGroupsPage>, Problem> {
    let query = parameter::query(asked)?;
    let wanted = Wanted {
        source: query.source,
        reason: None,
        stage: None,
        from: moment("from", query.from.as_ref())?,
        to: moment("to", query.to.as_ref())?,
    };
    let kept = &state.shared.refusals;
    let all = kept.list(None, usize::MAX, |_| true);
    let mut groups: BTreeMap<(&str, &'static str, &'static str), Tally> = BTreeMap::new();
    for refused in all.iter().filter(|refused| wanted.fits(refused)) {
        let group = (refused.source.as_str(), refused.stage, refused.reason);
        let tally = groups.entry(group).or_insert_with(|| Tally {
            count: 0,
            first: refused.at,
            last: refused.at,
            peers: BTreeSet::new(),
        });
        tally.count += 1;
        tally.first = tally.first.min(refused.at);
        tally.last = tally.last.max(refused.at);
        tally.peers.insert(refused.peer);
    }
    let mut groups: Vec<RefusalGroupJson> = groups.into_iter().map(group).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(Json(RefusalGroupsPage {
        groups,
        kept: all.len() as u64,
        seen: kept.seen(),
    }))
}

fn group(
    ((source, stage, reason), tally): ((&str, &'static str, &'static str), Tally),
) -> RefusalGroupJson {
    let advice = reasons::advice(reason);
    let explain = advice.is_some_and(|advice| advice.explain) && !source.is_empty();
    RefusalGroupJson {
        source: source.to_owned(),
        stage,
        reason,
        count: tally.count,
        first_at: tally.first.to_string(),
        last_at: tally.last.to_string(),
        peers: tally.peers.len() as u64,
        cause: advice.map_or("", |advice| advice.cause),
        mend: advice.map_or("", |advice| advice.mend),
        command: explain.then(|| format!("callseal explain {source} FILE")),
    }
}
