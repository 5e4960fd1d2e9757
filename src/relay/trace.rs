//! W3C trace context: the provider's is passed on if it is well-formed, else a new one begins.
//!
//! A new trace takes its id from the event's id, so that all attempts on one event are one trace.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::message::{EventId, Headers};
use crate::random::Random;
use crate::telemetry::trace::{SpanId, TraceId, Traces};

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// What the application is told of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub parent: String,
    pub state: Option<String>,
}

/// The trace that a request says it belongs to, and the span of whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub trace: TraceId,
    pub span: SpanId,
    pub state: Option<String>,
}

/// None when nothing well-formed is said.
pub fn caller(headers: &Headers) -> Option<Caller> {
    let mut parts = headers
        .only("traceparent")
        .and_then(well_formed)?
        .split('-')
        .skip(1);
    let trace = u128::from_str_radix(parts.next()?, 16).ok()?;
    let span = u64::from_str_radix(parts.next()?, 16).ok()?;
    Some(Caller {
        trace: TraceId(trace),
        span: SpanId::new(span),
        // So much should be carried on (https://www.w3.org/TR/trace-context/#tracestate-limits); more
        // of a stranger's would only fill the queue.
        state: state(headers).filter(|state| state.len() <= 512),
    })
}

/// An attempt that is a span of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    pub trace: TraceId,
    pub span: SpanId,
    pub state: Option<String>,
}

impl Traced {
    /// None when its trace is not kept.
    pub fn begin(
        traces: &Traces,
        headers: &Headers,
        event: EventId,
        random: &dyn Random,
    ) -> Option<Self> {
        if !traces.is_on() {
            return None;
        }
        let caller = caller(headers);
        let trace = caller
            .as_ref()
            .map_or(TraceId::of_event(event), |caller| caller.trace);
        traces.keeps(trace).then(|| Traced {
            trace,
            span: SpanId::new(random.next_u64()),
            state: caller.and_then(|caller| caller.state),
        })
    }

    /// What the application is told instead of the caller's span: it goes on below this attempt.
    /// The caller's `tracestate` stays as it is.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let parent = format!("00-{}-{}-01", self.trace, self.span);
        if let Ok(value) = HeaderValue::try_from(parent) {
            headers.insert(TRACE_PARENT, value);
        }
    }
}

/// The context for one attempt on `event` that is no span.
pub fn context(headers: &Headers, event: EventId, random: &dyn Random) -> TraceContext {
    match headers.only("traceparent").and_then(well_formed) {
        Some(parent) => TraceContext {
            parent: parent.to_owned(),
            state: state(headers),
        },
        None => TraceContext {
            parent: begin(event, random),
            state: None,
        },
    }
}

fn begin(event: EventId, random: &dyn Random) -> String {
    // All zeros is not allowed for a span.
    let span = random.next_u64().max(1);
    format!(
        "00-{:08x}{:08x}{:016x}-{span:016x}-01",
        event.segment, event.offset, event.tag
    )
}

/// `version-trace-parent-flags` in lower-case hex; a later version than 00 may go on after that.
fn well_formed(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let trace = hex(parts.next()?, 32)?;
    let parent = hex(parts.next()?, 16)?;
    hex(parts.next()?, 2)?;
    let more = parts.next().is_some();
    let zero = |text: &str| text.bytes().all(|b| b == b'0');
    let printable = text.bytes().all(|b| b.is_ascii_graphic());
    let good =
        version != "ff" && !zero(trace) && !zero(parent) && printable && !(more && version == "00");
    good.then_some(text)
}

fn hex(text: &str, digits: usize) -> Option<&str> {
    let good = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    good.then_some(text)
}

/// The vendors' list, if each member has the form `key=value`; several fields are one list.
fn state(headers: &Headers) -> Option<String> {
    let values: Option<Vec<&str>> = headers
        .all("tracestate")
        .map(|value| std::str::from_utf8(value).ok())
        .collect();
    let list = values?.join(",");
    let member = |text: &str| {
        let text = text.trim_matches([' ', '\t']);
        text.is_empty()
            || text
                .split_once('=')
                .is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
    };
    let printable = list.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'));
    (!list.trim().is_empty()
        && printable
        && list.split(',').count() <= 32
        && list.split(',').all(member))
    .then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    const EVENT: EventId = EventId {
        segment: 1,
        offset: 2,
        tag: 3,
    };
    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(fields: &[(&'static str, &'static str)]) -> TraceContext {
        let headers: Headers = fields.iter().copied().collect();
        context(&headers, EVENT, &SeededRandom::new(1))
    }

    #[test]
    fn a_well_formed_trace_is_passed_on() {
        assert_eq!(
            of(&[("traceparent", GOOD)]),
            TraceContext {
                parent: GOOD.into(),
                state: None
            }
        );
        let with_state = of(&[
            ("traceparent", GOOD),
            ("tracestate", "a=1"),
            ("tracestate", "b=2, c=3"),
        ]);
        assert_eq!(with_state.state.as_deref(), Some("a=1,b=2, c=3"));
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        assert_eq!(of(&[("traceparent", later)]).parent, later);
    }

    #[test]
    fn an_attempt_that_is_a_span_goes_between_the_caller_and_the_application() {
        let traces = Traces::default();
        let headers: Headers = [("traceparent", GOOD), ("tracestate", "a=1")]
            .into_iter()
            .collect();
        let random = SeededRandom::new(1);
        let begin = |headers: &Headers| Traced::begin(&traces, headers, EVENT, &random);
        assert_eq!(begin(&headers), None);
        traces.begin(1.0);
        let traced = begin(&headers).unwrap();
        let mut told = HeaderMap::new();
        traced.tell(&mut told);
        let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", traced.span);
        assert_eq!(told["traceparent"], expected);
        assert_eq!(traced.state.as_deref(), Some("a=1"));
        let caller = caller(&headers).unwrap();
        assert_eq!(caller.span.to_string(), "b7ad6b7169203331");
        assert_ne!(caller.span, traced.span);
        // Without a caller, the trace that a later process derives from the event again.
        let own = begin(&Headers::default()).unwrap();
        assert_eq!(own.trace.to_string(), "00000001000000020000000000000003");
        own.tell(&mut told);
        assert!(well_formed(told["traceparent"].as_bytes()).is_some());
    }

    #[test]
    fn a_malformed_trace_begins_a_new_one() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            let made = of(&[("traceparent", bad), ("tracestate", "a=1")]);
            assert!(
                made.parent
                    .starts_with("00-00000001000000020000000000000003-"),
                "{bad}: {made:?}"
            );
            assert_eq!(made.state, None);
            assert_eq!(
                well_formed(made.parent.as_bytes()),
                Some(made.parent.as_str())
            );
        }
        assert_ne!(
            of(&[("traceparent", GOOD), ("traceparent", GOOD)]).parent,
            GOOD
        );
    }

    #[test]
    fn a_malformed_state_is_dropped() {
        for bad in ["", " ", "a", "=1", "a=", "a=\u{7f}", "a=é"] {
            assert_eq!(
                of(&[("traceparent", GOOD), ("tracestate", bad)]).state,
                None,
                "{bad}"
            );
        }
    }
}
