//! What operators did: the list of it, and how a handler writes it down.

use axum::Json;
use axum::extract::State as Extract;
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::parameter::{self, Asked, limit};
use crate::admin::payload::{hushed, plain};
use crate::admin::problem::Problem;
use crate::admin::token::Caller;
use crate::clock::Timestamp;
use crate::inbox::store::{Deed, DeedKind, Row};

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only about this event, or one of its deliveries.
    event: Option<String>,
    /// The `next` of the page before.
    cursor: Option<u64>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct AuditPage {
    audit: Vec<DeedJson>,
    next: Option<u64>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
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

impl DeedJson {
    /// Without `whole`, what was written or looked for has masks, too.
    pub fn of((number, deed): (u64, Deed), whole: bool) -> Self {
        DeedJson {
            number,
            at: deed.at.to_string(),
            by: deed.by,
            what: deed.kind.as_str(),
            // A filter of many names what it likes.
            source: deed.source.map(|source| hushed(source.as_str())),
            destination: deed.destination.map(|to| hushed(to.as_str())),
            event: deed.event.map(|id| id.to_string()),
            detail: match whole || digest(deed.kind, &deed.detail) {
                true => plain(&deed.detail),
                false => hushed(&deed.detail),
            },
            count: deed.count,
            outcome: deed.outcome,
        }
    }
}

/// Of the rules, as a reload writes it down: digits of it may look like a card's.
fn digest(kind: DeedKind, detail: &str) -> bool {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    kind == DeedKind::Reload && detail.len() == 64 && detail.bytes().all(hex)
}

pub async fn audit(
    Extract(state): Extract<State>,
    asked: Asked<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    let query = parameter::query(asked)?;
    let event = query.event.as_deref();
    let event = event
        .map(|id| parameter::event_id("event", id))
        .transpose()?;
    let limit = limit(query.limit)?;
    let page = state.store.audit(event, query.cursor, limit).await?;
    Ok(Json(AuditPage {
        audit: (page.entries.into_iter())
            .map(|entry| DeedJson::of(entry, false))
            .collect(),
        next: page.next,
    }))
}

/// Writes down that somebody looks at an event. Before he sees it: what is not written down is not
/// shown.
pub async fn looked(
    state: &State,
    caller: &Caller,
    kind: DeedKind,
    row: &Row,
) -> Result<(), Problem> {
    let deed = Deed {
        source: Some(row.source.clone()),
        event: Some(row.id),
        count: 1,
        ..done(caller, kind, state.shared.clock.now())
    };
    state.store.record(deed).await?;
    Ok(())
}

/// Writes down that somebody signs in.
pub async fn signed_in(state: &State, caller: &Caller, now: Timestamp) -> Result<(), Problem> {
    state
        .store
        .record(done(caller, DeedKind::SignIn, now))
        .await?;
    Ok(())
}

fn done(caller: &Caller, kind: DeedKind, at: Timestamp) -> Deed {
    Deed {
        at,
        by: caller.label.clone(),
        kind,
        source: None,
        destination: None,
        event: None,
        detail: String::new(),
        count: 0,
        outcome: "done".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::token::Role;

    #[test]
    fn the_digest_of_a_reload_has_no_masks() {
        let caller = Caller {
            role: Role::Operator,
            label: "operator[0]".to_owned(),
        };
        let shown = |kind, detail: &str| {
            let deed = Deed {
                detail: detail.to_owned(),
                ..done(&caller, kind, Timestamp::default())
            };
            DeedJson::of((1, deed), false).detail
        };
        let digest = format!("4242424242424242{}", "ab".repeat(24));
        assert_eq!(shown(DeedKind::Reload, &digest), digest);
        assert_ne!(shown(DeedKind::Pause, &digest), digest);
        let card = "4242424242424242";
        assert_ne!(shown(DeedKind::Reload, card), card);
    }
}
