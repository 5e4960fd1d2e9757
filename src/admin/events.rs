//! `/v1/events`: what was accepted, delivery by delivery.

use std::borrow::Cow;

use axum::Json;
use axum::extract::{Extension, State as Extract};
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::money::PaymentJson;
use crate::admin::parameter::{self, Asked, Picked, limit};
use crate::admin::payload::field;
use crate::admin::problem::Problem;
use crate::admin::token::{Caller, Role};
use crate::inbox::store::{Filter, Row, payment};
use crate::message::EventId;

/// What `/v1/events` may be asked. Text is compared exactly, but for `text`.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    source: Option<String>,
    provider: Option<String>,
    destination: Option<String>,
    /// `owed`, `delivered`, `dead`, `discarded`, `filtered`, `superseded`.
    state: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The provider's own event id.
    key: Option<String>,
    /// The merchant's order number.
    order: Option<String>,
    /// A part of id, key, type, order, transaction or reason, whatever the case.
    text: Option<String>,
    /// The row's reason.
    reason: Option<String>,
    /// True: texts are compared with what is shown, masks and all, as a group shows them. For a
    /// viewer they always are.
    #[serde(default)]
    masked: bool,
    /// RFC 3339.
    from: Option<String>,
    to: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct EventsPage {
    events: Vec<EventJson>,
    /// Give this as `cursor` for the next page; null at the end.
    next: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct EventJson {
    /// Of the delivery; that to `main` has the event's own.
    id: String,
    /// Of the event.
    event: String,
    pub source: String,
    pub destination: String,
    provider: String,
    key: String,
    #[serde(rename = "type")]
    pub kind: String,
    received_at: String,
    pub state: &'static str,
    attempts: u32,
    /// When the next attempt is due, while owed.
    due: Option<String>,
    /// Why it is dead or discarded, or what the last attempt failed with.
    pub reason: String,
    /// True when an event with the same key and another body was accepted before.
    conflict: bool,
    body_bytes: u32,
    payment: Option<PaymentJson>,
}

impl EventJson {
    /// Without `whole`, with masks.
    pub fn of(row: Row, whole: bool) -> Self {
        let shown = |name: &str, text: &str| field(name, text, whole);
        EventJson {
            id: row.id.to_string(),
            event: row.id.event().to_string(),
            destination: row.destination.to_string(),
            source: row.source.to_string(),
            provider: row.provider,
            key: shown("key", &row.event_key),
            kind: shown("type", &row.event_type),
            received_at: row.received_at.to_string(),
            state: row.state.as_str(),
            attempts: row.attempts,
            due: row.due.map(|due| due.to_string()),
            reason: shown("reason", &row.reason),
            conflict: row.conflict,
            body_bytes: row.body_bytes,
            payment: row.payment.map(|facts| PaymentJson::of(facts, whole)),
        }
    }

    /// It fits by what is shown of it: else whoever sees only masks could find out, by asking again
    /// and again, what is behind them.
    fn shows(&self, filter: &Filter) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        let paid = |of: fn(&PaymentJson) -> &Option<String>| {
            let paid = self.payment.as_ref().map(of);
            paid.and_then(Option::as_deref).unwrap_or_default()
        };
        let (order, transaction) = (paid(|p| &p.order), paid(|p| &p.transaction));
        let ordered = || self.payment.as_ref().and_then(|p| p.order.as_deref());
        let says = |part: &String| {
            let part = part.to_lowercase();
            let texts = [
                &self.id,
                &self.key,
                &self.kind,
                &self.reason,
                order,
                transaction,
            ];
            texts.iter().any(|text| text.to_lowercase().contains(&part))
        };
        is(&filter.event_type, &self.kind)
            && is(&filter.event_key, &self.key)
            && is(&filter.reason, &self.reason)
            && (filter.order.as_deref())
                .is_none_or(|wanted| ordered() == Some(payment::cut(wanted)))
            && filter.text.as_ref().is_none_or(says)
    }
}

/// A filter, and with what its texts are compared.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'f> {
    pub filter: &'f Filter,
    shown: bool,
}

impl<'f> Sought<'f> {
    /// `masked`: with what is shown of a row instead of what it is. For a viewer always.
    pub fn of(filter: &'f Filter, caller: &Caller, masked: bool) -> Self {
        let shown = masked || caller.role == Role::Viewer;
        Sought { filter, shown }
    }

    /// What the store is asked. It compares no texts where what is shown counts: it knows them
    /// without masks, and where a page ends would tell a viewer what it found.
    pub fn asked(&self) -> Cow<'f, Filter> {
        match self.shown {
            false => Cow::Borrowed(self.filter),
            true => Cow::Owned(Filter {
                event_type: None,
                event_key: None,
                order: None,
                reason: None,
                text: None,
                ..self.filter.clone()
            }),
        }
    }

    /// A row of those that were asked for fits.
    pub fn fits(&self, row: &Row) -> bool {
        !self.shown || EventJson::of(row.clone(), false).shows(self.filter)
    }

    /// The row as this caller sees it, where it fits.
    pub fn shown(&self, row: Row) -> Option<EventJson> {
        let row = EventJson::of(row, false);
        (!self.shown || row.shows(self.filter)).then_some(row)
    }
}

/// Rows of such a page.
const PAGE: usize = 500;
/// Pages of the store that one answer goes through where what is shown counts.
const PAGES: usize = 4;

/// A page of what is shown to have these texts: may be short, or empty, and still have a next one.
async fn viewed(
    state: &State,
    sought: Sought<'_>,
    (mut after, limit): (Option<EventId>, usize),
) -> Result<(Vec<EventJson>, Option<EventId>), Problem> {
    let asked = sought.asked();
    let mut events = Vec::new();
    for _ in 0..PAGES {
        let page = state.store.list(&asked, after, PAGE).await?;
        let mut rows = page.rows.into_iter().peekable();
        while let Some(row) = rows.next() {
            let id = row.id;
            events.extend(sought.shown(row));
            if events.len() >= limit {
                let more = rows.peek().is_some();
                return Ok((events, if more { Some(id) } else { page.next }));
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok((events, after))
}

pub async fn events(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    asked: Asked<EventsQuery>,
) -> Result<Json<EventsPage>, Problem> {
    let query = parameter::query(asked)?;
    let picked = Picked {
        source: query.source.as_ref(),
        provider: query.provider.as_ref(),
        destination: query.destination.as_ref(),
        state: query.state.as_ref(),
        kind: query.kind.as_ref(),
        key: query.key.as_ref(),
        order: query.order.as_ref(),
        text: query.text.as_ref(),
        reason: query.reason.as_ref(),
        from: query.from.as_ref(),
        to: query.to.as_ref(),
    };
    let after = parameter::cursor(query.cursor.as_deref())?;
    let filter = picked.filter()?;
    let limit = limit(query.limit)?;
    let sought = Sought::of(&filter, &caller, query.masked);
    let (events, next) = if *sought.asked() == filter {
        let page = state.store.list(&filter, after, limit).await?;
        let rows = page.rows.into_iter().filter_map(|row| sought.shown(row));
        (rows.collect(), page.next)
    } else {
        viewed(&state, sought, (after, limit)).await?
    };
    Ok(Json(EventsPage {
        events,
        next: next.map(|id| id.to_string()),
    }))
}
