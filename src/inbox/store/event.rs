//! What is offered to the store: an event, its plan and its claims; and what becomes of it.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::PaymentFacts;
use crate::clock::Timestamp;
use crate::message::{DestinationName, EventId, Headers, SourceName};

/// What follows from an event: its deliveries, and what it overtakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// From one to eight, with different destinations.
    pub deliveries: Vec<PlannedDelivery>,
    /// None: it neither overtakes nor is overtaken.
    pub version: Option<EventVersion>,
}

impl Plan {
    /// To `main`, in no order.
    pub fn main() -> Self {
        Plan {
            deliveries: vec![PlannedDelivery {
                destination: DestinationName::main(),
                wanted: true,
                order: None,
            }],
            version: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedDelivery {
    pub destination: DestinationName,
    /// False: the destination's condition does not let it through.
    pub wanted: bool,
    pub order: Option<PlannedOrder>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOrder {
    /// Deliveries of a lane with the same value go out one after the other. The store hashes it
    /// with a key of its own.
    pub value: Vec<u8>,
    /// A dead letter holds those behind it.
    pub hold: bool,
}

/// Of the events of a source with the same key that a destination wants, the one with the highest
/// stamp is the latest there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventVersion {
    pub key: Vec<u8>,
    pub stamp: i128,
}

/// What makes two callbacks one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Source, and the values of the idempotency key, unambiguously joined. The store hashes it
    /// with a key of its own.
    pub key: Vec<u8>,
    /// SHA-256 of what the event says, as far as that is verified: the same key with another
    /// content is a conflict. Not always that of the body: a form can be written in several ways.
    pub body: [u8; 32],
    /// How long the claim, the event and its body are kept.
    pub keep: Duration,
    /// A second key, of what the event is about.
    pub business: Option<BusinessClaim>,
    pub on_conflict: OnConflict,
}

/// What makes two callbacks one for the merchant, whatever the provider calls them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessClaim {
    /// Source, and the values of the key, unambiguously joined.
    pub key: Vec<u8>,
    /// Digest of what must be equal for two events with this key to be the same.
    pub content: [u8; 32],
}

/// What becomes of an event whose key is taken by another content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It is accepted too, and flagged.
    #[default]
    KeepBoth,
    /// It is answered like a duplicate, and not stored.
    FirstWins,
    /// It is rejected, and not stored.
    Reject,
}

/// An event as it was received and verified. The store gives back every byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub source: SourceName,
    /// Name of the provider file.
    pub provider: String,
    pub received_at: Timestamp,
    pub peer: IpAddr,
    pub method: String,
    /// Path and query as on the wire.
    pub target: String,
    pub headers: Headers,
    pub body: Bytes,
    /// The provider's own id of the event, as text for people; may be empty.
    pub event_key: String,
    /// The provider's event type; may be empty.
    pub event_type: String,
    /// How it was verified, e.g. `hmac-sha256 keys[0]`; `none` when the source says so.
    pub verified: String,
    /// The first event with the same idempotency or business key and another content. Set by the
    /// store.
    pub conflict_of: Option<EventId>,
    pub payment: Option<PaymentFacts>,
}

/// What became of an offered event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is on stable storage and owed to its destination.
    New(EventId),
    /// As `New`; but an event with the same key and another body was there before.
    Conflict { id: EventId, of: EventId },
    /// It was accepted before, and that acceptance is on stable storage.
    Duplicate(EventId),
    /// Another content has its key, is on stable storage, and wins ([`OnConflict::FirstWins`]).
    /// Nothing of this one is stored.
    Dropped { of: EventId },
    /// As `Dropped`, and to be told so ([`OnConflict::Reject`]).
    Refused { of: EventId },
}

impl Acceptance {
    /// The event that is now durable.
    pub fn id(self) -> EventId {
        match self {
            Acceptance::New(id)
            | Acceptance::Conflict { id, .. }
            | Acceptance::Duplicate(id)
            | Acceptance::Dropped { of: id }
            | Acceptance::Refused { of: id } => id,
        }
    }
}

/// Why an event was not stored, by its source's own rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstored {
    Dropped,
    Refused,
}

impl Unstored {
    /// Stable code for log, metric and admin port.
    pub fn code(self) -> &'static str {
        match self {
            Unstored::Dropped => "conflict_dropped",
            Unstored::Refused => "conflict_rejected",
        }
    }
}

impl Acceptance {
    pub fn unstored(self) -> Option<Unstored> {
        match self {
            Acceptance::New(_) | Acceptance::Conflict { .. } | Acceptance::Duplicate(_) => None,
            Acceptance::Dropped { .. } => Some(Unstored::Dropped),
            Acceptance::Refused { .. } => Some(Unstored::Refused),
        }
    }
}
