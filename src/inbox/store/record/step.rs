//! What happened to a delivery.

use std::time::Duration;

use bytes::Bytes;

use super::{Place, Reader, put_bytes, put_place, put_u16, put_u32, put_u64};
use crate::clock::Timestamp;
use crate::inbox::store::{Attempt, Response, State};

/// What this program writes. Version 1, which it reads, knows nothing of answers.
const VERSION: u8 = 2;
const OLD: u8 = 1;

/// What a delivery goes out in order with: all of its lane that have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Keyed hash of the value.
    pub hash: u64,
    /// A dead letter holds those behind it.
    pub hold: bool,
}

impl Order {
    /// One byte, and eight more where there is an order.
    pub fn put(out: &mut Vec<u8>, order: Option<Order>) {
        match order {
            None => out.push(0),
            Some(Order { hash, hold }) => {
                out.push(if hold { 2 } else { 1 });
                put_u64(out, hash);
            }
        }
    }

    /// The outer option: there were enough bytes, and they fit.
    pub fn take(r: &mut Reader<'_>) -> Option<Option<Order>> {
        let hold = match r.u8()? {
            0 => return Some(None),
            1 => false,
            2 => true,
            _ => return None,
        };
        let hash = r.u64()?;
        Some(Some(Order { hash, hold }))
    }
}

/// Where a delivery stands. Every step carries all of it, so that the last step alone says it:
/// replaying a journal twice, or from the middle, comes to the same end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub state: State,
    /// Attempts written down since acceptance.
    pub attempts: u32,
    /// Pauses taken since acceptance or the last redrive.
    pub round: u32,
    /// Acceptance, or the last redrive.
    pub since: Timestamp,
    /// When the next attempt is due, while owed.
    pub due: Timestamp,
    /// The last step; none when nothing has happened since acceptance.
    pub last: Option<Place>,
}

impl Delivery {
    /// As it stands when the event has just been accepted: owed, or filtered.
    pub fn fresh(state: State, received_at: Timestamp) -> Self {
        Delivery {
            state,
            attempts: 0,
            round: 0,
            since: received_at,
            due: received_at,
            last: None,
        }
    }
}

/// What happened in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// An attempt, made under a lease; the delivery goes on from it.
    Attempt(Attempt),
    /// An attempt under a lease that was lost: written down, and nothing follows from it.
    LateAttempt(Attempt),
    /// An operator's words.
    Redriven,
    Discarded,
    /// A later event says what this one would; it was not sent.
    Superseded,
}

impl Happened {
    pub fn attempt(&self) -> Option<&Attempt> {
        match self {
            Happened::Attempt(attempt) | Happened::LateAttempt(attempt) => Some(attempt),
            Happened::Redriven | Happened::Discarded | Happened::Superseded => None,
        }
    }

    pub fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match self {
            Happened::Attempt(attempt) | Happened::LateAttempt(attempt) => Some(attempt),
            Happened::Redriven | Happened::Discarded | Happened::Superseded => None,
        }
    }
}

/// Something that happened to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub happened: Happened,
    pub at: Timestamp,
    /// Why it is dead or discarded, or what went wrong last; may be empty.
    pub reason: String,
    /// What the delivery is from now on. Its `last` is the step before this one.
    pub delivery: Delivery,
}

impl Step {
    pub fn attempt(&self) -> Option<&Attempt> {
        self.happened.attempt()
    }

    /// None when a text is longer than 4 GiB.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(128);
        out.push(VERSION);
        out.push(match self.happened {
            Happened::Attempt(_) => 1,
            Happened::LateAttempt(_) => 2,
            Happened::Redriven => 3,
            Happened::Discarded => 4,
            Happened::Superseded => 5,
        });
        let d = &self.delivery;
        out.push(state_code(d.state));
        put_u32(&mut out, d.attempts);
        put_u32(&mut out, d.round);
        put_u64(&mut out, d.since.as_millis());
        put_u64(&mut out, d.due.as_millis());
        put_place(&mut out, d.last);
        put_u64(&mut out, self.at.as_millis());
        put_bytes(&mut out, self.reason.as_bytes())?;
        if let Some(attempt) = self.attempt() {
            put_u32(&mut out, attempt.number);
            put_u64(&mut out, attempt.started_at.as_millis());
            put_u64(
                &mut out,
                u64::try_from(attempt.took.as_nanos()).unwrap_or(u64::MAX),
            );
            put_u32(
                &mut out,
                attempt.status.map_or(0, |status| u32::from(status) + 1),
            );
            put_bytes(&mut out, attempt.error.as_bytes())?;
            out.push(u8::from(attempt.response.is_some()));
            if let Some(response) = &attempt.response {
                put_u16(&mut out, u16::try_from(response.headers.len()).ok()?);
                for (name, value) in &response.headers {
                    put_bytes(&mut out, name.as_bytes())?;
                    put_bytes(&mut out, value.as_bytes())?;
                }
                put_bytes(&mut out, &response.body)?;
                out.push(u8::from(response.cut));
            }
        }
        Some(out)
    }

    pub fn decode(payload: &[u8]) -> Option<Step> {
        let mut r = Reader(payload);
        let version = r.u8()?;
        if version != VERSION && version != OLD {
            return None;
        }
        let what = r.u8()?;
        let delivery = Delivery {
            state: state_of(r.u8()?)?,
            attempts: r.u32()?,
            round: r.u32()?,
            since: Timestamp::from_millis(r.u64()?),
            due: Timestamp::from_millis(r.u64()?),
            last: r.place()?,
        };
        let at = Timestamp::from_millis(r.u64()?);
        let reason = r.text()?;
        let happened = match what {
            1 => Happened::Attempt(attempt(&mut r, version)?),
            2 => Happened::LateAttempt(attempt(&mut r, version)?),
            3 => Happened::Redriven,
            4 => Happened::Discarded,
            5 => Happened::Superseded,
            _ => return None,
        };
        Some(Step {
            happened,
            at,
            reason,
            delivery,
        })
    }
}

pub fn state_code(state: State) -> u8 {
    match state {
        State::Owed => 0,
        State::Delivered => 1,
        State::Dead => 2,
        State::Discarded => 3,
        State::Filtered => 4,
        State::Superseded => 5,
    }
}

pub fn state_of(code: u8) -> Option<State> {
    match code {
        0 => Some(State::Owed),
        1 => Some(State::Delivered),
        2 => Some(State::Dead),
        3 => Some(State::Discarded),
        4 => Some(State::Filtered),
        5 => Some(State::Superseded),
        _ => None,
    }
}

fn attempt(r: &mut Reader<'_>, version: u8) -> Option<Attempt> {
    let mut attempt = Attempt {
        number: r.u32()?,
        started_at: Timestamp::from_millis(r.u64()?),
        took: Duration::from_nanos(r.u64()?),
        status: match r.u32()? {
            0 => None,
            status => Some(u16::try_from(status - 1).ok()?),
        },
        error: r.text()?,
        response: None,
    };
    if version == OLD || r.u8()? == 0 {
        return Some(attempt);
    }
    let fields = r.u16()?;
    let mut headers = Vec::with_capacity(usize::from(fields).min(64));
    for _ in 0..fields {
        headers.push((r.text()?, r.text()?));
    }
    attempt.response = Some(Response {
        headers,
        body: Bytes::copy_from_slice(r.bytes()?),
        cut: r.u8()? != 0,
    });
    Some(attempt)
}
