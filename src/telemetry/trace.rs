//! Traces: what one callback went through, as spans. Here they are only put together and queued;
//! who sends them off comes later (`otlp`). Nobody waits for that: a full queue drops, and counts.
//!
//! Ids are not drawn by a tracer, since a trace outlives the process: the id of a trace is the
//! provider's (W3C Trace Context), or else that of the event, and the span of an acceptance is named
//! by the event's tag. So an attempt after a restart belongs to the same trace.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::message::{DestinationName, EventId, SourceName};

/// Spans that wait to be sent. A callback makes five, an attempt one.
pub const QUEUE_MAX: usize = 8192;

/// Names a trace; never zero. Shown as 32 digits of lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

impl TraceId {
    /// The trace of an event that came without one.
    pub fn of_event(event: EventId) -> Self {
        let place = (u128::from(event.segment) << 96) | (u128::from(event.offset) << 64);
        TraceId(place | u128::from(event.tag))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names a span within its trace; never zero. Shown as 16 digits of lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl SpanId {
    /// All zeros is not allowed.
    pub fn new(id: u64) -> Self {
        SpanId(id.max(1))
    }

    /// The span under which an event was accepted: the parent of its attempts.
    pub fn of_acceptance(event: EventId) -> Self {
        SpanId::new(event.tag)
    }

    /// The `n`-th below this one, other than those of any other number: where chance was asked once,
    /// it need not be asked again (splitmix64).
    pub fn below(self, n: u64) -> Self {
        let mut z = self.0.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        SpanId::new(z ^ (z >> 31))
    }

    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of the gateway's own work.
    Internal,
    /// A request that came.
    Server,
    /// A request that was made.
    Client,
}

/// Something that is said of a span. Never a part of a payload. It becomes text when it is sent:
/// nobody who waits for an answer waits for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Word(&'static str),
    Number(i64),
    Event(EventId),
    Source(SourceName),
    Destination(DestinationName),
    Method(http::Method),
    Address(IpAddr),
}

/// A part of a trace that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: TraceId,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    /// `tracestate` as it came.
    pub state: Option<String>,
    pub name: &'static str,
    pub kind: Kind,
    pub start: Timestamp,
    /// After `start`.
    pub from: Duration,
    pub took: Duration,
    pub attributes: Vec<(&'static str, Value)>,
    /// The stable code of what went wrong.
    pub error: Option<&'static str>,
}

/// Where spans go. Cloning shares it; off until [`Traces::begin`].
#[derive(Clone, Debug, Default)]
pub struct Traces(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Traces whose low 63 bits lie below are kept; 0: off.
    below: AtomicU64,
    queue: Mutex<Queue>,
    dropped: AtomicU64,
    filled: Notify,
}

/// Spans as they came, in pieces: whoever adds some moves nothing but a handle while others wait.
#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Vec<Span>>,
    spans: usize,
}

/// A share of one: every trace. Of the low half of a trace id, less its lowest bit.
const ALL: f64 = (1u64 << 63) as f64;

impl Traces {
    /// From now on spans are kept, of this share of all traces (0 to 1).
    pub fn begin(&self, share: f64) {
        // As OpenTelemetry's TraceIdRatioBased, so that applications with the same share choose
        // the same traces.
        let below = (share.clamp(0.0, 1.0) * ALL) as u64;
        self.0.below.store(below, Ordering::Relaxed);
    }

    pub fn is_on(&self) -> bool {
        self.0.below.load(Ordering::Relaxed) > 0
    }

    /// This trace is one of those that are kept.
    pub fn keeps(&self, trace: TraceId) -> bool {
        ((trace.0 as u64) >> 1) < self.0.below.load(Ordering::Relaxed)
    }

    /// Queues spans, or drops and counts them. What nobody vouches for gives way first: strangers
    /// must not fill the queue.
    pub fn add(&self, spans: Vec<Span>, vouched: bool) {
        let room = if vouched { QUEUE_MAX } else { QUEUE_MAX / 2 };
        let count = spans.len();
        let mut queue = self.queue();
        if queue.spans + count > room {
            drop(queue);
            self.0.dropped.fetch_add(count as u64, Ordering::Relaxed);
            return;
        }
        queue.pieces.push_back(spans);
        queue.spans += count;
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Oldest first, of as many callbacks and attempts as have `most` spans at most, but of one at
    /// least; and how many spans were dropped since the last call.
    pub fn take(&self, most: usize) -> (Vec<Span>, u64) {
        let mut pieces = Vec::new();
        let mut count = 0;
        let mut queue = self.queue();
        while let Some(next) = queue.pieces.front().map(Vec::len)
            && (count == 0 || count + next <= most)
        {
            count += next;
            pieces.extend(queue.pieces.pop_front());
        }
        queue.spans -= count;
        drop(queue);
        let dropped = self.0.dropped.swap(0, Ordering::Relaxed);
        (pieces.into_iter().flatten().collect(), dropped)
    }

    /// Returns when spans were added since the last call.
    pub async fn filled(&self) {
        self.0.filled.notified().await;
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(trace: u128) -> Span {
        Span {
            trace: TraceId(trace),
            id: SpanId::new(0),
            parent: None,
            state: None,
            name: "callback",
            kind: Kind::Server,
            start: Timestamp::from_secs(1),
            from: Duration::ZERO,
            took: Duration::ZERO,
            attributes: Vec::new(),
            error: None,
        }
    }

    #[test]
    fn nothing_is_kept_before_it_begins() {
        let traces = Traces::default();
        assert!(!traces.is_on() && !traces.keeps(TraceId(1)));
        traces.begin(0.0);
        assert!(!traces.is_on());
        traces.begin(1.0);
        assert!(traces.keeps(TraceId(u128::MAX)) && traces.keeps(TraceId(1)));
    }

    #[test]
    fn a_share_of_all_traces_is_kept_and_always_the_same() {
        let traces = Traces::default();
        traces.begin(0.25);
        let random = crate::random::SeededRandom::new(7);
        let draw = || u128::from(crate::random::Random::next_u64(&random));
        let ids: Vec<TraceId> = (0..4000).map(|_| TraceId(draw() << 64 | draw())).collect();
        let kept = ids.iter().filter(|id| traces.keeps(**id)).count();
        assert!((900..1100).contains(&kept), "{kept}");
        // The boundary of OpenTelemetry's sampler: a quarter of 2^63, the lowest bit not counted.
        assert!(traces.keeps(TraceId((1 << 62) - 1)));
        assert!(!traces.keeps(TraceId(1 << 62)));
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_strangers_get_half() {
        let traces = Traces::default();
        for n in 0..QUEUE_MAX {
            traces.add(vec![span(n as u128 + 1)], false);
        }
        let (spans, dropped) = traces.take(0);
        assert_eq!((spans.len(), dropped), (1, QUEUE_MAX as u64 / 2));
        traces.take(usize::MAX);
        traces.add(vec![span(1); QUEUE_MAX / 2], false);
        for n in 0..QUEUE_MAX {
            traces.add(vec![span(n as u128 + 1)], true);
        }
        let (spans, dropped) = traces.take(usize::MAX);
        assert_eq!((spans.len(), dropped), (QUEUE_MAX, QUEUE_MAX as u64 / 2));
        assert_eq!(spans[0].trace, TraceId(1));
        assert_eq!(traces.take(1), (Vec::new(), 0));
    }
}
