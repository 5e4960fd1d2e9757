//! An event as a line.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::{BadLine, StepLine, bad, base64, hex, id, name};
use crate::clock::Timestamp;
use crate::inbox::store::load::LoadedDelivery;
use crate::inbox::store::record::{
    Added, ClaimHashes, Conflicts, Meta, Order, Planned, Step, Version,
};
use crate::inbox::store::{PaymentFacts, State, StoredEvent};
use crate::message::{DELIVERIES, EventId, Headers, SourceName};

/// An event, its claims, its deliveries and what happened to them. Times are milliseconds since
/// 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub id: String,
    pub source: String,
    pub provider: String,
    pub received_ms: u64,
    pub keep_ms: u64,
    pub peer: std::net::IpAddr,
    pub method: String,
    pub target: String,
    pub headers: Vec<Field>,
    /// Base 64.
    pub body: String,
    pub event_key: String,
    pub event_type: String,
    pub verified: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_of: Option<String>,
    pub claim: Claimed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business: Option<Claimed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Versioned>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentLine>,
    /// From one to eight, in their order.
    pub deliveries: Vec<DeliveryLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claimed {
    /// Keyed hash of the key, in hex.
    pub key: String,
    /// Of the key with the digest of what the event says.
    pub key_and_body: String,
    /// The key was taken by another content.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
}

/// What the event says of a payment; what it does not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// The amount counts the smallest unit of its currency.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub minor: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// What the event is about, and where it stands among those about the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versioned {
    /// Keyed hash, in hex.
    pub key: String,
    /// A whole number, as text: it may have more digits than other programs read exactly.
    pub stamp: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryLine {
    pub destination: String,
    /// How it stood when the event was accepted: `owed` or `filtered`.
    pub began: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderLine>,
    /// Oldest first; the last one says how the delivery stands. None: as it began.
    pub steps: Vec<StepLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderLine {
    /// Keyed hash of the value, in hex.
    pub value: String,
    /// A dead letter holds those behind it.
    pub hold: bool,
}

/// A header field. What is not UTF-8 stands in base 64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub name: Text,
    pub value: Text,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    Plain(String),
    Base64 { base64: String },
}

impl Event {
    /// `steps`: of each delivery, in their order.
    pub fn new<T>(
        id: EventId,
        meta: &Meta<T>,
        event: &StoredEvent,
        conflicts: Conflicts,
        steps: &[Vec<Step>],
    ) -> Event {
        let deliveries = meta.deliveries.iter().zip(steps);
        Event {
            id: id.to_string(),
            source: event.source.as_str().to_owned(),
            provider: event.provider.clone(),
            received_ms: event.received_at.as_millis(),
            keep_ms: u64::try_from(meta.keep.as_millis()).unwrap_or(u64::MAX),
            peer: event.peer,
            method: event.method.clone(),
            target: event.target.clone(),
            headers: event.headers.iter().map(Field::new).collect(),
            body: BASE64.encode(&event.body),
            event_key: event.event_key.clone(),
            event_type: event.event_type.clone(),
            verified: event.verified.clone(),
            conflict_of: event.conflict_of.map(|of| of.to_string()),
            claim: Claimed::new(&meta.claim, conflicts.key),
            business: meta
                .business
                .as_ref()
                .map(|hashes| Claimed::new(hashes, conflicts.business)),
            version: meta.version.map(|version| Versioned {
                key: HEXLOWER.encode(&version.key.to_be_bytes()),
                stamp: version.stamp.to_string(),
            }),
            payment: event.payment.as_ref().map(PaymentLine::new),
            deliveries: deliveries
                .map(|(planned, steps)| DeliveryLine::new(planned, steps))
                .collect(),
        }
    }

    pub fn id(&self) -> Result<EventId, BadLine> {
        self.id.parse().map_err(|_| bad("id"))
    }

    pub fn stored(&self) -> Result<StoredEvent, BadLine> {
        let headers: Result<Headers, BadLine> = self
            .headers
            .iter()
            .map(|field| Ok((field.name.bytes()?, field.value.bytes()?)))
            .collect::<Result<Vec<_>, _>>()
            .map(Headers::from_iter);
        Ok(StoredEvent {
            source: SourceName::new(name("source", &self.source)?),
            provider: self.provider.clone(),
            received_at: Timestamp::from_millis(self.received_ms),
            peer: self.peer,
            method: self.method.clone(),
            target: self.target.clone(),
            headers: headers?,
            body: Bytes::from(base64("body", &self.body)?),
            event_key: self.event_key.clone(),
            event_type: self.event_type.clone(),
            verified: self.verified.clone(),
            conflict_of: id("conflict_of", self.conflict_of.as_deref())?,
            payment: self.payment.as_ref().and_then(PaymentLine::facts),
        })
    }

    /// What a store adds to the event, with a new tag.
    pub fn added(&self, tag: u64) -> Result<Added, BadLine> {
        let count = u32::try_from(self.deliveries.len()).unwrap_or(u32::MAX);
        if !(1..=DELIVERIES).contains(&count) {
            return Err(bad("deliveries"));
        }
        let all = || self.deliveries.iter().map(|d| d.destination.as_str());
        if all().collect::<HashSet<_>>().len() < self.deliveries.len() {
            return Err(bad("deliveries.destination"));
        }
        let deliveries = self.deliveries.iter().map(DeliveryLine::planned);
        let version = self.version.as_ref().map(Versioned::version);
        let business = self.business.as_ref().map(|claimed| claimed.hashes());
        Ok(Added {
            tag,
            claim: self.claim.hashes()?,
            business: business.transpose()?,
            keep: Duration::from_millis(self.keep_ms),
            deliveries: deliveries.collect::<Result<_, _>>()?,
            version: version.transpose()?,
        })
    }

    /// Which of its keys were taken by another content.
    pub fn conflicts(&self) -> Conflicts {
        let business = self.business.as_ref().is_some_and(|b| b.conflict);
        Conflicts {
            // As the journal has it: of one of its keys it must be.
            key: self.claim.conflict || (self.conflict_of.is_some() && !business),
            business,
        }
    }

    pub(in crate::inbox::store) fn loaded(&self) -> Result<Vec<LoadedDelivery>, BadLine> {
        let loaded = self.deliveries.iter().map(|delivery| {
            Ok(LoadedDelivery {
                destination: delivery.destination.clone(),
                steps: delivery
                    .steps
                    .iter()
                    .map(StepLine::step)
                    .collect::<Result<_, _>>()?,
            })
        });
        loaded.collect()
    }
}

impl Claimed {
    fn new(hashes: &ClaimHashes, conflict: bool) -> Claimed {
        Claimed {
            key: HEXLOWER.encode(&hashes.key),
            key_and_body: HEXLOWER.encode(&hashes.key_and_body),
            conflict,
        }
    }

    fn hashes(&self) -> Result<ClaimHashes, BadLine> {
        Ok(ClaimHashes {
            key: hex("key", &self.key)?,
            key_and_body: hex("key_and_body", &self.key_and_body)?,
        })
    }
}

impl PaymentLine {
    fn new(facts: &PaymentFacts) -> PaymentLine {
        let PaymentFacts {
            order,
            transaction,
            amount,
            minor,
            currency,
            status,
        } = facts.clone();
        PaymentLine {
            order,
            transaction,
            amount,
            minor,
            currency,
            status,
        }
    }

    fn facts(&self) -> Option<PaymentFacts> {
        let line = self.clone();
        PaymentFacts {
            order: line.order,
            transaction: line.transaction,
            amount: line.amount,
            minor: line.minor,
            currency: line.currency,
            status: line.status,
        }
        .kept()
    }
}

impl Versioned {
    fn version(&self) -> Result<Version, BadLine> {
        Ok(Version {
            key: u64::from_be_bytes(hex("version.key", &self.key)?),
            stamp: self.stamp.parse().map_err(|_| bad("version.stamp"))?,
        })
    }
}

impl DeliveryLine {
    fn new(planned: &Planned, steps: &[Step]) -> DeliveryLine {
        DeliveryLine {
            destination: planned.destination.clone(),
            began: planned.state.as_str().to_owned(),
            order: planned.order.map(|order| OrderLine {
                value: HEXLOWER.encode(&order.hash.to_be_bytes()),
                hold: order.hold,
            }),
            steps: steps.iter().map(StepLine::new).collect(),
        }
    }

    fn planned(&self) -> Result<Planned, BadLine> {
        let state = match self.began.as_str() {
            "owed" => State::Owed,
            "filtered" => State::Filtered,
            _ => return Err(bad("deliveries.began")),
        };
        let order = self.order.as_ref().map(|order| {
            Ok(Order {
                hash: u64::from_be_bytes(hex("deliveries.order.value", &order.value)?),
                hold: order.hold,
            })
        });
        Ok(Planned {
            destination: name("deliveries.destination", &self.destination)?.to_owned(),
            state,
            order: order.transpose()?,
        })
    }
}

impl Field {
    fn new((name, value): (&[u8], &[u8])) -> Field {
        Field {
            name: Text::new(name),
            value: Text::new(value),
        }
    }
}

impl Text {
    fn new(bytes: &[u8]) -> Text {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Plain(text.to_owned()),
            Err(_) => Text::Base64 {
                base64: BASE64.encode(bytes),
            },
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, BadLine> {
        match self {
            Text::Plain(text) => Ok(text.clone().into_bytes()),
            Text::Base64 { base64: text } => base64("headers", text),
        }
    }
}
