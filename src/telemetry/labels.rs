//! The label sets of the metrics. Values come only from configuration and from our own enums.

use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::message::{DestinationName, SourceName};
use crate::telemetry::trace::TraceId;

/// A source, and what became of a callback.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceVerdict {
    pub source: String,
    pub verdict: &'static str,
}

/// A source (empty: none was matched) and a stable reason code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceReason {
    pub source: String,
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    pub source: String,
}

/// A source and one of its keys, by the label that the rule gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KeyLabel {
    pub source: String,
    pub key: String,
}

/// A destination of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DestinationLabel {
    pub source: String,
    pub destination: String,
}

impl DestinationLabel {
    pub fn new(source: &SourceName, destination: &DestinationName) -> Self {
        DestinationLabel {
            source: source.to_string(),
            destination: destination.to_string(),
        }
    }
}

/// A destination of a source, and what became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DestinationVerdict {
    pub source: String,
    pub destination: String,
    pub verdict: &'static str,
}

/// A destination of a source, and a stable reason code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DestinationReason {
    pub source: String,
    pub destination: String,
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    pub result: &'static str,
}

/// `public` or `admin`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PortLabel {
    pub port: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VersionLabel {
    pub version: &'static str,
}

/// The label of an exemplar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TraceLabel {
    pub trace_id: TraceId,
}

/// Written when somebody reads it, and not when it is noted.
impl EncodeLabelValue for TraceId {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        write!(encoder, "{self}")
    }
}
