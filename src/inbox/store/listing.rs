//! Lists, counts and figures.

use std::time::Duration;

use super::State;
use crate::clock::Timestamp;
use crate::message::{DestinationName, EventId, SourceName};

/// Which deliveries to list. Every part that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub source: Option<SourceName>,
    pub destination: Option<DestinationName>,
    pub state: Option<State>,
    pub event_type: Option<String>,
    /// The provider's event id, exactly.
    pub event_key: Option<String>,
    /// Received at this moment or later.
    pub from: Option<Timestamp>,
    /// Received before this moment.
    pub to: Option<Timestamp>,
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
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub rows: Vec<Row>,
    /// Where the next page begins; none at the end.
    pub next: Option<EventId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub count: u64,
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
