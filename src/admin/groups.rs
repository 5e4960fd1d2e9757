//! `/v1/groups`: what deliveries have in common.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, State as Extract};
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::events::{EventJson, Sought};
use crate::admin::parameter::{self, Asked, Picked};
use crate::admin::problem::{Problem, Wrong};
use crate::admin::token::Caller;
use crate::clock::Timestamp;
use crate::message::EventId;

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupsQuery {
    /// `reason`, `source` or `type`.
    by: Option<String>,
    source: Option<String>,
    provider: Option<String>,
    destination: Option<String>,
    /// `dead` when it is not given.
    state: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    key: Option<String>,
    order: Option<String>,
    text: Option<String>,
    reason: Option<String>,
    from: Option<String>,
    to: Option<String>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct GroupsPage {
    /// The largest first.
    groups: Vec<GroupJson>,
    /// Deliveries that fitted and were counted in this answer.
    looked: u64,
    /// There are more: the caller adds up.
    next: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct GroupJson {
    source: String,
    destination: String,
    /// Empty unless grouped by it.
    reason: String,
    /// Null unless grouped by it.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The reason or the type is shown with masks: as a filter it finds them with `masked=true`.
    masked: bool,
    count: u64,
    oldest_at: String,
    newest_at: String,
    /// One of them: the newest.
    example: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Reason,
    Source,
    Type,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    source: String,
    destination: String,
    reason: String,
    kind: Option<String>,
}

#[derive(Debug)]
struct Tally {
    masked: bool,
    count: u64,
    oldest: Timestamp,
    newest: Timestamp,
    example: EventId,
}

/// Rows that one answer counts; and groups, which strangers can make many of by types.
const COUNTED: usize = 20_000;
const GROUPS: usize = 1_000;
const PAGE: usize = 500;

pub async fn groups(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    asked: Asked<GroupsQuery>,
) -> Result<Json<GroupsPage>, Problem> {
    let query = parameter::query(asked)?;
    let by = match query.by.as_deref() {
        None | Some("reason") => By::Reason,
        Some("source") => By::Source,
        Some("type") => By::Type,
        Some(_) => {
            return Err(Problem::bad_parameter(
                "by",
                Wrong::OneOf("reason, source, type".into()),
            ));
        }
    };
    let dead = "dead".to_owned();
    let picked = Picked {
        source: query.source.as_ref(),
        provider: query.provider.as_ref(),
        destination: query.destination.as_ref(),
        state: query.state.as_ref().or(Some(&dead)),
        kind: query.kind.as_ref(),
        key: query.key.as_ref(),
        order: query.order.as_ref(),
        text: query.text.as_ref(),
        reason: query.reason.as_ref(),
        from: query.from.as_ref(),
        to: query.to.as_ref(),
    };
    let filter = picked.filter()?;
    let sought = Sought::of(&filter, &caller, false);
    let asked = sought.asked();
    let mut after = parameter::cursor(query.cursor.as_deref())?;
    let mut groups: BTreeMap<Group, Tally> = BTreeMap::new();
    let mut looked = 0;
    for _ in 0..COUNTED / PAGE {
        let page = state.store.list(&asked, after, PAGE).await?;
        let found = page.rows.len();
        for row in page.rows {
            let (id, at) = (row.id, row.received_at);
            let raw = match by {
                By::Reason => row.reason.clone(),
                By::Type => row.event_type.clone(),
                By::Source => String::new(),
            };
            if let Some(row) = sought.shown(row) {
                looked += 1;
                tally(&mut groups, (by, &raw), row, (id, at));
            }
        }
        after = page.next;
        // A short page: it has looked at all that one look goes over.
        if after.is_none() || found < PAGE || groups.len() > GROUPS {
            break;
        }
    }
    let mut groups: Vec<GroupJson> = groups.into_iter().map(GroupJson::of).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(Json(GroupsPage {
        groups,
        looked,
        next: after.map(|id| id.to_string()),
    }))
}

fn tally(
    groups: &mut BTreeMap<Group, Tally>,
    (by, raw): (By, &str),
    row: EventJson,
    (example, at): (EventId, Timestamp),
) {
    let group = Group {
        source: row.source,
        destination: row.destination,
        reason: match by {
            By::Reason => row.reason,
            By::Source | By::Type => String::new(),
        },
        kind: (by == By::Type).then_some(row.kind),
    };
    let masked = group.kind.as_ref().unwrap_or(&group.reason) != raw;
    // Newest first: the first of a group is its newest.
    let tally = groups.entry(group).or_insert_with(|| Tally {
        masked: false,
        count: 0,
        oldest: at,
        newest: at,
        example,
    });
    tally.masked |= masked;
    tally.count += 1;
    tally.oldest = tally.oldest.min(at);
    tally.newest = tally.newest.max(at);
}

impl GroupJson {
    fn of((group, tally): (Group, Tally)) -> Self {
        GroupJson {
            source: group.source,
            destination: group.destination,
            reason: group.reason,
            kind: group.kind,
            masked: tally.masked,
            count: tally.count,
            oldest_at: tally.oldest.to_string(),
            newest_at: tally.newest.to_string(),
            example: tally.example.to_string(),
        }
    }
}
