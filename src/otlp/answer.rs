//! What a collector's answer means for the spans that it was sent (OTLP specification, "OTLP/HTTP
//! Response": success, partial success, failures, throttling).

use std::time::Duration;

use prost::Message;

use super::message::ExportTraceServiceResponse;
use crate::clock::Timestamp;
use crate::mask::{self, Kind};
use crate::relay::AttemptError;
use crate::relay::client::Answered;
use crate::relay::retry;

/// Longest part of a collector's own words that is repeated, in characters.
const WORDS_MAX: usize = 200;

/// What became of one request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Taken(Taken),
    /// It may go well later; not before this time is over, where the collector says so.
    Later {
        why: &'static str,
        asked: Option<Duration>,
    },
    /// The same request would fail again.
    Never {
        why: &'static str,
    },
}

/// A success, as the collector describes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Spans that it did not take, and will not take if they are sent again.
    pub rejected: u64,
    /// What it says about that, or a warning where it took all.
    pub words: Option<String>,
}

/// Reads the answer to a request with so many spans.
pub fn read(answer: Result<Answered, AttemptError>, spans: u64, now: Timestamp) -> Verdict {
    let answered = match answer {
        Ok(answered) => answered,
        Err(error) => {
            let (why, asked) = (error.code(), None);
            return Verdict::Later { why, asked };
        }
    };
    let why = "status";
    match answered.status.as_u16() {
        200..=299 => Verdict::Taken(taken(&answered, spans)),
        // "Retryable Response Codes"; every other 4xx and 5xx must not be retried.
        429 | 502 | 503 | 504 => {
            let asked = answered.retry_after.as_deref();
            let asked = asked.and_then(|value| retry::retry_after(value, now));
            Verdict::Later { why, asked }
        }
        _ => Verdict::Never { why },
    }
}

/// What cannot be read says nothing: the status was a success.
fn taken(answered: &Answered, spans: u64) -> Taken {
    let kept = &answered.response;
    let protobuf = kept.headers.iter().any(|(name, value)| {
        name == "content-type" && value.trim().starts_with("application/x-protobuf")
    });
    if kept.cut || !protobuf {
        return Taken::default();
    }
    let read = ExportTraceServiceResponse::decode(kept.body.as_ref()).ok();
    let Some(partial) = read.and_then(|read| read.partial_success) else {
        return Taken::default();
    };
    let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
    Taken {
        // It cannot have refused more than it was sent.
        rejected: rejected.min(spans),
        words: (!partial.error_message.is_empty()).then(|| quoted(&partial.error_message)),
    }
}

fn quoted(words: &str) -> String {
    let beginning: String = words.chars().take(WORDS_MAX).collect();
    mask::text(Kind::Text, beginning.as_bytes())
}
