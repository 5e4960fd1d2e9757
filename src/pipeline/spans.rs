//! What one callback went through, as spans: one for all of it, and one for each stage that it came
//! to. Costs a few readings of the clock while traces are kept, and nothing else while they are not.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::{Seen, Shared};
use crate::clock::Timestamp;
use crate::inbox::store::Acceptance;
use crate::message::{EventId, Headers};
use crate::relay::trace::{caller, kept_state};
use crate::rule::Rule;
use crate::telemetry::trace::{Kind, Span, SpanId, TraceId, Value};

/// When a callback came to which stage, and which trace it says it belongs to.
pub(super) struct Marks {
    /// None: no traces are kept.
    began: Option<Timestamp>,
    caller: Option<Caller>,
    admitted: Option<Instant>,
    verified: Option<Instant>,
    stored: Option<Instant>,
}

struct Caller {
    trace: TraceId,
    span: SpanId,
    /// Only where traces are kept.
    state: Option<String>,
}

impl Marks {
    pub fn begin(shared: &Shared) -> Self {
        let on = shared.metrics.traces.is_on();
        Marks {
            began: on.then(|| shared.clock.now()),
            caller: None,
            admitted: None,
            verified: None,
            stored: None,
        }
    }

    /// The guard let it in. The caller's trace is asked for also where none are kept: exemplars
    /// name it.
    pub fn admitted(&mut self, headers: &Headers) {
        self.caller = caller(headers).map(|caller| Caller {
            trace: caller.trace,
            span: caller.span,
            state: self.began.and_then(|_| kept_state(headers)),
        });
        self.admitted = self.now();
    }

    pub fn verified(&mut self) {
        self.verified = self.now();
    }

    pub fn stored(&mut self) {
        self.stored = self.now();
    }

    fn now(&self) -> Option<Instant> {
        self.began.map(|_| Instant::now())
    }

    /// The trace of an event that is stored; none for what is not.
    pub fn trace(&self, accepted: Option<Acceptance>) -> Option<TraceId> {
        let id = accepted?.id();
        let caller = self.caller.as_ref().map(|caller| caller.trace);
        Some(caller.unwrap_or(TraceId::of_event(id)))
    }
}

/// How it ended.
pub(super) struct End<'e> {
    pub rule: &'e Arc<Rule>,
    pub verdict: &'static str,
    pub reason: &'static str,
    pub accepted: Option<Acceptance>,
    pub status: StatusCode,
    pub took: Duration,
}

/// Queues the spans of a callback, if its trace is kept. What the guard refused has none: it cost
/// next to nothing, and strangers have no end of it.
pub(super) fn add(shared: &Shared, seen: &Seen, end: &End<'_>) {
    let traces = &shared.metrics.traces;
    let (Some(start), Some(admitted)) = (seen.marks.began, seen.marks.admitted) else {
        return;
    };
    // A new event has drawn its tag already.
    let drawn = match end.accepted {
        Some(Acceptance::New(id) | Acceptance::Conflict { id, .. }) => SpanId::of_acceptance(id),
        Some(_) | None => SpanId::new(shared.random.next_u64()),
    };
    let half = |n| u128::from(u64::from_be_bytes(drawn.below(n).to_bytes()));
    let trace = seen.marks.trace(end.accepted).unwrap_or_else(|| {
        let caller = seen.marks.caller.as_ref().map(|caller| caller.trace);
        caller.unwrap_or_else(|| TraceId((half(8) << 64) | half(9)))
    });
    if !traces.keeps(trace) {
        return;
    }
    let (id, parent) = (drawn, parent(seen, end, trace));
    let mut whole = Span {
        trace,
        id,
        parent,
        state: (seen.marks.caller.as_ref()).and_then(|caller| caller.state.clone()),
        name: "callback",
        kind: Kind::Server,
        start,
        from: Duration::ZERO,
        took: end.took,
        // Below: the stages are made from this one, and have none.
        attributes: Vec::new(),
        error: (!end.reason.is_empty()).then_some(end.reason),
    };
    let marks = &seen.marks;
    let stages = [
        ("guard", Some(seen.began), Some(admitted)),
        ("verify", Some(admitted), marks.verified),
        ("accept", marks.verified, marks.stored),
        ("answer", marks.stored, Some(seen.began + whole.took)),
    ];
    let mut spans = Vec::with_capacity(1 + stages.len());
    for ((name, from, to), n) in stages.into_iter().zip(1..) {
        let Some(from) = from else { break };
        // The stage that it did not get through is the one with the fault.
        let error = whole.error.filter(|_| to.is_none());
        spans.push(Span {
            id: id.below(n),
            parent: Some(id),
            name,
            kind: Kind::Internal,
            from: from.saturating_duration_since(seen.began),
            took: to
                .unwrap_or(seen.began + whole.took)
                .saturating_duration_since(from),
            error,
            ..whole.clone()
        });
    }
    whole.attributes = attributes(seen, end);
    spans.push(whole);
    traces.add(spans, end.accepted.is_some());
}

/// Whose part the whole is: the caller's. An event's own span is named by the event, so that its
/// attempts find it; a duplicate is a part of what the first one began.
fn parent(seen: &Seen, end: &End<'_>, trace: TraceId) -> Option<SpanId> {
    let caller = seen.marks.caller.as_ref().map(|caller| caller.span);
    let below = |id: EventId| (trace == TraceId::of_event(id)).then(|| SpanId::of_acceptance(id));
    match end.accepted {
        Some(
            Acceptance::Duplicate(id)
            | Acceptance::Dropped { of: id }
            | Acceptance::Refused { of: id },
        ) => caller.or(below(id)),
        Some(Acceptance::New(_) | Acceptance::Conflict { .. }) | None => caller,
    }
}

/// Nothing of the payload, and of the request only what configuration knows, too.
fn attributes(seen: &Seen, end: &End<'_>) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut all = vec![
        ("callseal.source", Value::Source(end.rule.name.clone())),
        ("callseal.provider", text(&end.rule.provider.name)),
        ("callseal.verdict", Value::Word(end.verdict)),
        ("http.request.method", Value::Method(seen.method.clone())),
        ("http.route", text(&end.rule.path)),
        (
            "http.response.status_code",
            Value::Number(end.status.as_u16().into()),
        ),
        (
            "http.request.body.size",
            Value::Number(i64::try_from(seen.body_bytes).unwrap_or(i64::MAX)),
        ),
        ("client.address", Value::Address(seen.peer)),
    ];
    if let Some(accepted) = end.accepted {
        all.push(("callseal.event", Value::Event(accepted.id().event())));
    }
    all
}
