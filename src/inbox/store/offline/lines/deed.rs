//! What an operator did, as a line.

use serde::{Deserialize, Serialize};

use super::{BadLine, bad, id, name};
use crate::clock::Timestamp;
use crate::inbox::store::record::Word;
use crate::inbox::store::{Deed, DeedKind};
use crate::message::{DestinationName, SourceName};

/// An entry of the audit; what is paused follows from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeedLine {
    pub number: u64,
    pub at_ms: u64,
    /// Who: what the admin port calls the token that was used.
    pub by: String,
    /// `redrive`, `discard`, `pause`, `resume`, `redrive_many` or `discard_many`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Id of the delivery that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    pub detail: String,
    pub count: u64,
    pub outcome: String,
}

impl DeedLine {
    pub fn new(word: &Word) -> DeedLine {
        let deed = &word.deed;
        DeedLine {
            number: word.number,
            at_ms: deed.at.as_millis(),
            by: deed.by.clone(),
            kind: deed.kind.as_str().to_owned(),
            source: deed.source.as_ref().map(|name| name.as_str().to_owned()),
            destination: deed
                .destination
                .as_ref()
                .map(|name| name.as_str().to_owned()),
            event: deed.event.map(|id| id.to_string()),
            detail: deed.detail.clone(),
            count: deed.count,
            outcome: deed.outcome.clone(),
        }
    }

    pub fn word(&self) -> Result<Word, BadLine> {
        let kind = DeedKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)
            .ok_or_else(|| bad("kind"))?;
        // There must be others after it.
        if self.number == 0 || self.number > u64::MAX / 2 {
            return Err(bad("number"));
        }
        let named = |field, text: &'_ Option<String>| -> Result<(), BadLine> {
            text.as_deref()
                .map_or(Ok(()), |text| name(field, text).map(|_| ()))
        };
        named("source", &self.source)?;
        named("destination", &self.destination)?;
        Ok(Word {
            number: self.number,
            deed: Deed {
                at: Timestamp::from_millis(self.at_ms),
                by: self.by.clone(),
                kind,
                source: self.source.as_deref().map(SourceName::new),
                destination: self.destination.as_deref().map(DestinationName::new),
                event: id("event", self.event.as_deref())?,
                detail: self.detail.clone(),
                count: self.count,
                outcome: self.outcome.clone(),
            },
        })
    }
}
