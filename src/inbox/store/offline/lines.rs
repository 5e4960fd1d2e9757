//! The file that `callseal store export` writes: one line a record, each with its checksum.
//!
//! ```text
//! {"sum":"<SHA-256 of the record's text, hex>","record":{"head":{…}}}
//! {"sum":"…","record":{"event":{…}}}
//! {"sum":"…","record":{"end":{"events":1,"sums":"<SHA-256 of all events' sums>"}}}
//! ```
//!
//! `docs/durability.md` says what each field means. A line is written as here, without other white
//! space, since the checksum is that of the text between `"record":` and the last brace.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::inbox::store::record::{ClaimHashes, Delivery, Happened, Meta, Step};
use crate::inbox::store::{Attempt, State, StoredEvent};
use crate::message::{EventId, Headers, SourceName};

pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Head(Head),
    Event(Box<Event>),
    End(End),
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub format: u32,
    /// Of the program that wrote it.
    pub version: String,
    /// Of the store, in hex.
    pub store: String,
    /// The secrets with which idempotency keys were hashed, the store's own first, in hex.
    pub claim_keys: Vec<String>,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    pub events: u64,
    /// SHA-256 over the checksums of all events, in their order.
    pub sums: String,
}

/// An event, its claim, and what happened to it. Times are milliseconds since 1970.
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
    /// Oldest first; the last one says how the delivery stands. None: owed, never tried.
    pub steps: Vec<StepLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claimed {
    /// Keyed hash of the idempotency key, in hex.
    pub key: String,
    /// Of the key with the digest of what the event says.
    pub key_and_body: String,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepLine {
    /// `attempt`, `late_attempt`, `redriven` or `discarded`.
    pub what: String,
    pub at_ms: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// `owed`, `delivered`, `dead` or `discarded`: from here on.
    pub state: String,
    pub attempts: u32,
    pub round: u32,
    pub since_ms: u64,
    pub due_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptLine {
    pub number: u32,
    pub started_ms: u64,
    pub took_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// Why a line cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// It does not look like one.
    Shape,
    /// Its checksum does not fit.
    Sum,
    /// What it says cannot be, though its checksum is right.
    Content(String),
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadLine::Shape => f.write_str("is not a line of an export"),
            BadLine::Sum => f.write_str("its checksum does not fit"),
            BadLine::Content(why) => write!(f, "its content is not understood: {why}"),
        }
    }
}

const BEFORE_SUM: &str = "{\"sum\":\"";
const BEFORE_RECORD: &str = "\",\"record\":";
const AFTER: &str = "}";

/// A record as a line, with its end, and its checksum.
pub fn write(record: &Record) -> Result<(String, [u8; 32]), serde_json::Error> {
    let text = serde_json::to_string(record)?;
    let sum: [u8; 32] = Sha256::digest(&text).into();
    let hex = HEXLOWER.encode(&sum);
    let line = [BEFORE_SUM, &hex, BEFORE_RECORD, &text, AFTER, "\n"].concat();
    Ok((line, sum))
}

/// The record in a line (without its end), and its checksum.
pub fn read(line: &[u8]) -> Result<(Record, [u8; 32]), BadLine> {
    let line = std::str::from_utf8(line).map_err(|_| BadLine::Shape)?;
    let rest = line.strip_prefix(BEFORE_SUM).ok_or(BadLine::Shape)?;
    let (hex, rest) = rest.split_at_checked(64).ok_or(BadLine::Shape)?;
    let text = rest
        .strip_prefix(BEFORE_RECORD)
        .and_then(|rest| rest.strip_suffix(AFTER))
        .ok_or(BadLine::Shape)?;
    let sum: [u8; 32] = Sha256::digest(text).into();
    if HEXLOWER.encode(&sum) != hex {
        return Err(BadLine::Sum);
    }
    let record = serde_json::from_str(text).map_err(|e| BadLine::Content(e.to_string()))?;
    Ok((record, sum))
}

impl Event {
    pub fn new(id: EventId, meta: &Meta, event: &StoredEvent, steps: &[Step]) -> Event {
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
            claim: Claimed {
                key: HEXLOWER.encode(&meta.claim.key),
                key_and_body: HEXLOWER.encode(&meta.claim.key_and_body),
            },
            steps: steps.iter().map(StepLine::new).collect(),
        }
    }

    pub fn stored(&self) -> Result<StoredEvent, BadLine> {
        let headers: Result<Headers, BadLine> = self
            .headers
            .iter()
            .map(|field| Ok((field.name.bytes()?, field.value.bytes()?)))
            .collect::<Result<Vec<_>, _>>()
            .map(Headers::from_iter);
        let conflict_of = self
            .conflict_of
            .as_deref()
            .map(|of| of.parse().map_err(|_| bad("conflict_of")))
            .transpose()?;
        Ok(StoredEvent {
            source: SourceName::new(&self.source),
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
            conflict_of,
        })
    }

    pub fn hashes(&self) -> Result<ClaimHashes, BadLine> {
        Ok(ClaimHashes {
            key: hex("claim.key", &self.claim.key)?,
            key_and_body: hex("claim.key_and_body", &self.claim.key_and_body)?,
        })
    }

    pub fn keep(&self) -> Duration {
        Duration::from_millis(self.keep_ms)
    }

    pub fn steps(&self) -> Result<Vec<Step>, BadLine> {
        self.steps.iter().map(StepLine::step).collect()
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

impl StepLine {
    fn new(step: &Step) -> StepLine {
        let d = &step.delivery;
        StepLine {
            what: match step.happened {
                Happened::Attempt(_) => "attempt",
                Happened::LateAttempt(_) => "late_attempt",
                Happened::Redriven => "redriven",
                Happened::Discarded => "discarded",
            }
            .to_owned(),
            at_ms: step.at.as_millis(),
            reason: step.reason.clone(),
            state: d.state.as_str().to_owned(),
            attempts: d.attempts,
            round: d.round,
            since_ms: d.since.as_millis(),
            due_ms: d.due.as_millis(),
            attempt: step.attempt().map(|a| AttemptLine {
                number: a.number,
                started_ms: a.started_at.as_millis(),
                took_ns: u64::try_from(a.took.as_nanos()).unwrap_or(u64::MAX),
                status: a.status,
                error: a.error.clone(),
            }),
        }
    }

    fn step(&self) -> Result<Step, BadLine> {
        let attempt = self.attempt.as_ref().map(|a| Attempt {
            number: a.number,
            started_at: Timestamp::from_millis(a.started_ms),
            took: Duration::from_nanos(a.took_ns),
            status: a.status,
            error: a.error.clone(),
        });
        let happened = match (self.what.as_str(), attempt) {
            ("attempt", Some(attempt)) => Happened::Attempt(attempt),
            ("late_attempt", Some(attempt)) => Happened::LateAttempt(attempt),
            ("redriven", None) => Happened::Redriven,
            ("discarded", None) => Happened::Discarded,
            _ => return Err(bad("steps.what")),
        };
        let state = State::ALL
            .into_iter()
            .find(|state| state.as_str() == self.state)
            .ok_or_else(|| bad("steps.state"))?;
        Ok(Step {
            happened,
            at: Timestamp::from_millis(self.at_ms),
            reason: self.reason.clone(),
            delivery: Delivery {
                state,
                attempts: self.attempts,
                round: self.round,
                since: Timestamp::from_millis(self.since_ms),
                due: Timestamp::from_millis(self.due_ms),
                last: None,
            },
        })
    }
}

fn bad(field: &str) -> BadLine {
    BadLine::Content(field.to_owned())
}

fn base64(field: &str, text: &str) -> Result<Vec<u8>, BadLine> {
    BASE64.decode(text.as_bytes()).map_err(|_| bad(field))
}

/// A value of a known length in hex.
pub fn hex<const N: usize>(field: &str, text: &str) -> Result<[u8; N], BadLine> {
    HEXLOWER
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| bad(field))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_event() -> impl Strategy<Value = Event> {
        let texts = (".{0,12}", ".{0,12}", ".{0,12}", ".{0,12}", ".{0,12}");
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let headers = proptest::collection::vec((bytes(), bytes()), 0..4);
        let step = (
            0..4u8,
            any::<u64>(),
            ".{0,9}",
            0..4usize,
            any::<[u32; 3]>(),
            any::<[u64; 3]>(),
        );
        let steps = proptest::collection::vec((step, any::<Option<u16>>(), ".{0,9}"), 0..4);
        let claim = (any::<[u8; 16]>(), any::<[u8; 16]>());
        (texts, headers, bytes(), steps, claim, any::<[u64; 2]>()).prop_map(
            |(texts, headers, body, steps, claim, times)| {
                let steps: Vec<Step> = steps
                    .into_iter()
                    .map(|((what, at, reason, state, small, big), status, error)| {
                        let attempt = Attempt {
                            number: small[0],
                            started_at: Timestamp::from_millis(big[2]),
                            took: Duration::from_nanos(at),
                            status,
                            error,
                        };
                        Step {
                            happened: match what {
                                0 => Happened::Attempt(attempt),
                                1 => Happened::LateAttempt(attempt),
                                2 => Happened::Redriven,
                                _ => Happened::Discarded,
                            },
                            at: Timestamp::from_millis(at),
                            reason,
                            delivery: Delivery {
                                state: State::ALL[state],
                                attempts: small[1],
                                round: small[2],
                                since: Timestamp::from_millis(big[0]),
                                due: Timestamp::from_millis(big[1]),
                                last: None,
                            },
                        }
                    })
                    .collect();
                let event = StoredEvent {
                    source: SourceName::new(&texts.0),
                    provider: texts.1,
                    received_at: Timestamp::from_millis(times[0]),
                    peer: "2001:db8::1".parse().unwrap(),
                    method: "POST".into(),
                    target: texts.2,
                    headers: headers.into_iter().collect(),
                    body: Bytes::from(body),
                    event_key: texts.3,
                    event_type: texts.4,
                    verified: "none".into(),
                    conflict_of: None,
                };
                let claim = ClaimHashes {
                    key: claim.0,
                    key_and_body: claim.1,
                };
                let meta = Meta::of(&event, 1, claim, Duration::from_millis(times[1])).unwrap();
                let id = EventId {
                    segment: 1,
                    offset: 8192,
                    tag: times[0],
                };
                let line = Event::new(id, &meta, &event, &steps);
                assert_eq!(line.stored().unwrap(), event);
                assert_eq!(line.steps().unwrap(), steps);
                assert_eq!(line.hashes().unwrap(), claim);
                assert_eq!(line.keep(), meta.keep);
                line
            },
        )
    }

    proptest! {
        #[test]
        fn events_come_back(event in any_event()) {
            let (line, sum) = write(&Record::Event(Box::new(event.clone()))).unwrap();
            prop_assert!(line.ends_with('\n') && !line[..line.len() - 1].contains('\n'));
            let (record, again) = read(line.trim_end_matches('\n').as_bytes()).unwrap();
            prop_assert_eq!((record, again), (Record::Event(Box::new(event)), sum));
        }

        #[test]
        fn any_other_byte_is_noticed(event in any_event(), at: usize, other: u8) {
            let (line, _) = write(&Record::Event(Box::new(event))).unwrap();
            let mut bytes = line.trim_end_matches('\n').as_bytes().to_vec();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != other);
            bytes[at] = other;
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn reading_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
