//! What operators did.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::message::{DestinationName, EventId, SourceName};

/// Something that an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    pub at: Timestamp,
    /// What the admin port calls the token that was used.
    pub by: String,
    pub kind: DeedKind,
    pub source: Option<SourceName>,
    pub destination: Option<DestinationName>,
    /// The delivery, where it was one.
    pub event: Option<EventId>,
    /// The filter of many, or the reason given.
    pub detail: String,
    /// How many deliveries it was about.
    pub count: u64,
    /// What came of it, as a stable code (`done`, `not_found`, …).
    pub outcome: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeedKind {
    Redrive,
    Discard,
    Pause,
    Resume,
    RedriveMany,
    DiscardMany,
    /// Somebody saw an event without masks.
    Unmask,
    /// Somebody took an event's bytes.
    ReadBody,
    Reload,
    SignIn,
}

impl DeedKind {
    pub const ALL: [DeedKind; 10] = [
        DeedKind::Redrive,
        DeedKind::Discard,
        DeedKind::Pause,
        DeedKind::Resume,
        DeedKind::RedriveMany,
        DeedKind::DiscardMany,
        DeedKind::Unmask,
        DeedKind::ReadBody,
        DeedKind::Reload,
        DeedKind::SignIn,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            DeedKind::Redrive => "redrive",
            DeedKind::Discard => "discard",
            DeedKind::Pause => "pause",
            DeedKind::Resume => "resume",
            DeedKind::RedriveMany => "redrive_many",
            DeedKind::DiscardMany => "discard_many",
            DeedKind::Unmask => "unmask",
            DeedKind::ReadBody => "read_body",
            DeedKind::Reload => "reload",
            DeedKind::SignIn => "sign_in",
        }
    }
}

/// A page of the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Newest first, each with its number.
    pub entries: Vec<(u64, Deed)>,
    /// Where the next page begins; none at the end.
    pub next: Option<u64>,
}

/// How long entries of the audit are kept.
pub const AUDIT_KEEP: Duration = Duration::from_secs(400 * 86_400);
