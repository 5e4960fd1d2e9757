//! A delivery: where it stands, the right to try it, what came of a try, and an operator's word.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::message::EventId;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// To be delivered: waiting, under way, or between two attempts.
    Owed,
    Delivered,
    /// A dead letter.
    Dead,
    Discarded,
    /// Its destination's condition did not let it through.
    Filtered,
    /// A later event said it all, so that it was not sent.
    Superseded,
}

impl State {
    pub const ALL: [State; 6] = [
        State::Owed,
        State::Delivered,
        State::Dead,
        State::Discarded,
        State::Filtered,
        State::Superseded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Owed => "owed",
            State::Delivered => "delivered",
            State::Dead => "dead",
            State::Discarded => "discarded",
            State::Filtered => "filtered",
            State::Superseded => "superseded",
        }
    }
}

/// The right to try one delivery, until a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: EventId,
    /// Number of the attempt that this lease is for, from 1, counted since acceptance.
    pub attempt: u32,
    /// Pauses taken since acceptance or the last redrive; the retry policy's n.
    pub round: u32,
    /// Acceptance, or the last redrive: the retry policy gives up counted from here.
    pub since: Timestamp,
    pub until: Timestamp,
    /// Tells this grant of the lease from another of the same delivery.
    pub grant: u64,
}

/// What came of asking for one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picked {
    Leased(Lease),
    /// Somebody else has it.
    UnderWay,
    /// Ended, not due, not its turn, paused, or not there.
    NotNow,
}

/// One HTTP try, written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub number: u32,
    pub started_at: Timestamp,
    pub took: Duration,
    /// Status of the answer; none when there was none.
    pub status: Option<u16>,
    /// Stable code of what went wrong (`connect_refused`, `timeout`, …); empty when taken.
    pub error: String,
    /// What the destination said besides, where it answered.
    pub response: Option<Response>,
}

/// An answer of a destination, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Selected fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body.
    pub body: Bytes,
    /// The body went on.
    pub cut: bool,
}

/// What follows from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The destination took it.
    Delivered,
    /// Try again.
    Retry { at: Timestamp },
    /// Given up, with a stable code (`gave_up`, `gone`).
    Dead { reason: String },
}

/// An operator's word on a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Makes a delivery that ended (in whatever way) owed again, due at once; its retry policy
    /// starts anew. One that is owed becomes due at once.
    Redrive,
    /// Ends an owed or dead delivery.
    Discard { reason: String },
}

/// How a delivery must stand for an operator's word to be done: it was picked some time before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub state: State,
    /// Attempts since acceptance; none where an attempt in between makes no difference.
    pub attempts: Option<u32>,
}

impl Expected {
    /// True when a delivery that stands so is still the one that was picked.
    pub fn is(self, state: State, attempts: u32) -> bool {
        self.state == state && self.attempts.is_none_or(|expected| expected == attempts)
    }
}

/// What came of an operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operated {
    Done,
    /// Nothing with this id, or no longer.
    NotFound,
    /// It already stands so (a delivered event cannot be discarded), or not as expected.
    NotApplicable(State),
}

impl Operated {
    /// Stable code, for the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Operated::Done => "done",
            Operated::NotFound => "not_found",
            Operated::NotApplicable(_) => "not_applicable",
        }
    }
}
