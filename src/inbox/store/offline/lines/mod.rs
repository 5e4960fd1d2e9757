//! The file that `callseal store export` writes: one line a record, each with its checksum.
//!
//! ```text
//! {"sum":"<SHA-256 of the record's text, hex>","record":{"head":{…}}}
//! {"sum":"…","record":{"event":{…}}}
//! {"sum":"…","record":{"deed":{…}}}
//! {"sum":"…","record":{"end":{"events":1,"deeds":1,"sums":"<SHA-256 of the sums between>"}}}
//! ```
//!
//! `docs/durability.md` says what each field means. A line is written as here, without other white
//! space, since the checksum is that of the text between `"record":` and the last brace.

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::message::EventId;

mod deed;
mod event;
mod step;
#[cfg(test)]
mod tests;

pub use deed::DeedLine;
pub use event::{Claimed, DeliveryLine, Event, Field, OrderLine, PaymentLine, Text, Versioned};
pub use step::{AttemptLine, ResponseLine, StepLine};

pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    Head(Head),
    Event(Box<Event>),
    Deed(Box<DeedLine>),
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
    pub deeds: u64,
    /// SHA-256 over the checksums of all events and deeds, in their order.
    pub sums: String,
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

fn bad(field: &str) -> BadLine {
    BadLine::Content(field.to_owned())
}

fn base64(field: &str, text: &str) -> Result<Vec<u8>, BadLine> {
    BASE64.decode(text.as_bytes()).map_err(|_| bad(field))
}

fn id(field: &str, text: Option<&str>) -> Result<Option<EventId>, BadLine> {
    text.map(|id| id.parse().map_err(|_| bad(field)))
        .transpose()
}

/// The name of a source or a destination, as a rule file may have it.
fn name<'a>(field: &str, text: &'a str) -> Result<&'a str, BadLine> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(plain);
    fits.then_some(text).ok_or_else(|| bad(field))
}

/// A value of a known length in hex.
pub fn hex<const N: usize>(field: &str, text: &str) -> Result<[u8; N], BadLine> {
    HEXLOWER
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| bad(field))
}
