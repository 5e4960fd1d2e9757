//! Lists, counts and figures.

use std::time::Duration;

use super::{PaymentFacts, State, payment};
use crate::clock::Timestamp;
use crate::message::{DestinationName, EventId, SourceName};

/// Which deliveries to list. Every part that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub source: Option<SourceName>,
    /// Name of the provider file, exactly.
    pub provider: Option<String>,
    pub destination: Option<DestinationName>,
    pub state: Option<State>,
    pub event_type: Option<String>,
    /// The provider's event id, exactly.
    pub event_key: Option<String>,
    /// The merchant's order number, exactly.
    pub order: Option<String>,
    /// The row's reason, exactly.
    pub reason: Option<String>,
    /// A part of id, key, type, order, transaction or reason, whatever the case. Every row must be
    /// read for it, so one call looks at fewer.
    pub text: Option<String>,
    /// Received at this moment or later.
    pub from: Option<Timestamp>,
    /// Received before this moment.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Rows must be read to know which fit.
    pub(in crate::inbox::store) fn reads(&self) -> bool {
        let texts = [
            &self.provider,
            &self.event_type,
            &self.event_key,
            &self.order,
            &self.reason,
            &self.text,
        ];
        texts.iter().any(|text| text.is_some())
    }

    /// What only the texts of a row can say.
    pub(in crate::inbox::store) fn fits_texts(&self, row: &Row) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        let order = || row.payment.as_ref().and_then(|p| p.order.as_deref());
        fits(&self.provider, &row.provider)
            && fits(&self.event_type, &row.event_type)
            && fits(&self.event_key, &row.event_key)
            && fits(&self.reason, &row.reason)
            && (self.order.as_deref()).is_none_or(|wanted| order() == Some(payment::cut(wanted)))
            && self.text.as_ref().is_none_or(|text| row.says(text))
    }
}

/// One delivery in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The delivery's; [`EventId::event`] is its event's.
    pub id: EventId,
    pub source: SourceName,
    pub destination: DestinationName,
    pub provider: String,
    pub event_key: String,
    pub event_type: String,
    pub received_at: Timestamp,
    pub state: State,
    pub attempts: u32,
    /// When the next attempt is due, while owed.
    pub due: Option<Timestamp>,
    /// Why it is dead or discarded, or the error of the last attempt; may be empty.
    pub reason: String,
    pub conflict: bool,
    pub body_bytes: u32,
    pub payment: Option<PaymentFacts>,
}

impl Row {
    /// One of its texts has this in it, whatever the case.
    fn says(&self, part: &str) -> bool {
        let part = part.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&part);
        let paid = |text: fn(&PaymentFacts) -> Option<&String>| {
            (self.payment.as_ref().and_then(text)).is_some_and(|text| has(text))
        };
        has(&self.event_key)
            || has(&self.event_type)
            || has(&self.reason)
            || has(&self.id.to_string())
            || paid(|p| p.order.as_ref())
            || paid(|p| p.transaction.as_ref())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// Where the next page begins; none at the end.
    pub next: Option<EventId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    pub events: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub owed: u64,
    pub oldest_owed: Option<Timestamp>,
    pub dead: u64,
    pub claims: u64,
    pub journal_bytes: u64,
    pub journal_segments: u64,
    /// Group commits so far, and what they took together.
    pub syncs: u64,
    pub sync_time: Duration,
    /// False: no event is accepted now (disk below the low-water mark, failed, closed).
    pub accepting: bool,
    /// True once the store can never accept again in this process (a sync failed).
    pub failed: bool,
}

/// Of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    pub owed: u64,
    pub dead: u64,
    pub oldest_owed: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub count: u64,
    pub next: Option<EventId>,
}
