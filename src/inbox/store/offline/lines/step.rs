//! What happened to a delivery, in the line of its event.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{BadLine, bad, base64};
use crate::clock::Timestamp;
use crate::inbox::store::record::{Delivery, Happened, Step};
use crate::inbox::store::{Attempt, Response, State};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepLine {
    /// `attempt`, `late_attempt`, `redriven`, `discarded` or `superseded`.
    pub what: String,
    pub at_ms: u64,
    /// Of a superseded one: the later event, by its id where it was exported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// `owed`, `delivered`, `dead`, `discarded`, `filtered` or `superseded`: from here on.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ResponseLine>,
}

/// What the destination answered, as far as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseLine {
    pub headers: Vec<(String, String)>,
    /// Base 64.
    pub body: String,
    /// The body went on.
    pub cut: bool,
}

impl StepLine {
    pub fn new(step: &Step) -> StepLine {
        let d = &step.delivery;
        StepLine {
            what: match step.happened {
                Happened::Attempt(_) => "attempt",
                Happened::LateAttempt(_) => "late_attempt",
                Happened::Redriven => "redriven",
                Happened::Discarded => "discarded",
                Happened::Superseded => "superseded",
            }
            .to_owned(),
            at_ms: step.at.as_millis(),
            reason: step.reason.clone(),
            state: d.state.as_str().to_owned(),
            attempts: d.attempts,
            round: d.round,
            since_ms: d.since.as_millis(),
            due_ms: d.due.as_millis(),
            attempt: step.attempt().map(AttemptLine::new),
        }
    }

    pub fn step(&self) -> Result<Step, BadLine> {
        let attempt = self
            .attempt
            .as_ref()
            .map(AttemptLine::attempt)
            .transpose()?;
        let happened = match (self.what.as_str(), attempt) {
            ("attempt", Some(attempt)) => Happened::Attempt(attempt),
            ("late_attempt", Some(attempt)) => Happened::LateAttempt(attempt),
            ("redriven", None) => Happened::Redriven,
            ("discarded", None) => Happened::Discarded,
            ("superseded", None) => Happened::Superseded,
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

impl AttemptLine {
    fn new(attempt: &Attempt) -> AttemptLine {
        AttemptLine {
            number: attempt.number,
            started_ms: attempt.started_at.as_millis(),
            took_ns: u64::try_from(attempt.took.as_nanos()).unwrap_or(u64::MAX),
            status: attempt.status,
            error: attempt.error.clone(),
            response: attempt.response.as_ref().map(|response| ResponseLine {
                headers: response.headers.clone(),
                body: BASE64.encode(&response.body),
                cut: response.cut,
            }),
        }
    }

    fn attempt(&self) -> Result<Attempt, BadLine> {
        let response = self.response.as_ref().map(|response| {
            Ok(Response {
                headers: response.headers.clone(),
                body: Bytes::from(base64("steps.attempt.response.body", &response.body)?),
                cut: response.cut,
            })
        });
        Ok(Attempt {
            number: self.number,
            started_at: Timestamp::from_millis(self.started_ms),
            took: Duration::from_nanos(self.took_ns),
            status: self.status,
            error: self.error.clone(),
            response: response.transpose()?,
        })
    }
}
