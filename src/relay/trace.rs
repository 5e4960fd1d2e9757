//! W3C trace context: the provider's is passed on if it is well-formed, else a new one begins.
//!
//! A new trace takes its id from the event's id, so that all attempts on one event are one trace.
//! Whether the provider's side records its trace decides nothing here: that is a stranger's word.

use crate::message::{EventId, Headers};
use crate::random::Random;
use crate::telemetry::trace::{SpanId, TraceId, Traces};

/// The trace that a request says it belongs to, and the span of whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller<'h> {
    pub trace: TraceId,
    pub span: SpanId,
    /// As it was said.
    parent: &'h str,
}

/// None when nothing well-formed is said.
pub fn caller(headers: &Headers) -> Option<Caller<'_>> {
    well_formed(headers.only("traceparent")?)
}

/// So much should be carried on (https://www.w3.org/TR/trace-context/#tracestate-limits); more of a
/// stranger's would only fill the queue.
const STATE_KEPT: usize = 512;

/// The caller's `tracestate` as a span has it.
pub fn kept_state(headers: &Headers) -> Option<String> {
    state(headers).filter(|state| state.len() <= STATE_KEPT)
}

/// What one attempt on an event says of its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: TraceId,
    /// Of the attempt; none when its trace is not kept.
    pub span: Option<SpanId>,
    /// What the application is told.
    pub parent: String,
    pub state: Option<String>,
}

impl Context {
    /// Where the trace is kept, the application goes on below this attempt. Else it goes on where the
    /// caller said, or, when nobody said anything, in a trace of its own: marked as not recorded where
    /// that was decided, so that an application that heeds it leaves no piece without its beginning.
    pub fn begin(traces: &Traces, headers: &Headers, event: EventId, random: &dyn Random) -> Self {
        let caller = caller(headers);
        let trace = caller.map_or(TraceId::of_event(event), |caller| caller.trace);
        let state = caller.and_then(|_| state(headers));
        let draw = || SpanId::new(random.next_u64());
        let span = traces.keeps(trace).then(draw);
        let parent = match (span, caller) {
            (Some(span), _) => format!("00-{trace}-{span}-01"),
            (None, Some(caller)) => caller.parent.to_owned(),
            (None, None) if traces.is_on() => format!("00-{trace}-{}-00", draw()),
            (None, None) => format!("00-{trace}-{}-01", draw()),
        };
        Context {
            trace,
            span,
            parent,
            state,
        }
    }

    /// As a span has it.
    pub fn kept_state(&self) -> Option<String> {
        let state = self.state.as_ref();
        state.filter(|state| state.len() <= STATE_KEPT).cloned()
    }
}

/// `version-trace-parent-flags` in lower-case hex; a later version than 00 may go on after that.
/// Read for every callback: in one pass over the bytes.
fn well_formed(value: &[u8]) -> Option<Caller<'_>> {
    let (known, more) = value.split_at_checked(55)?;
    let version = hex(known.get(0..2)?)?;
    let trace = hex(known.get(3..35)?)?;
    let span = hex(known.get(36..52)?)?;
    hex(known.get(53..55)?)?;
    let dashes = [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'));
    let ends = more.is_empty() || version != 0 && more.first() == Some(&b'-');
    if !dashes || !ends || version == 0xff || trace == 0 || span == 0 {
        return None;
    }
    let parent = std::str::from_utf8(value).ok()?;
    parent
        .bytes()
        .all(|b| b.is_ascii_graphic())
        .then_some(Caller {
            trace: TraceId(trace),
            span: SpanId::new(u64::try_from(span).ok()?),
            parent,
        })
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
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

    fn of(fields: &[(&'static str, &'static str)]) -> Context {
        let headers: Headers = fields.iter().copied().collect();
        Context::begin(&Traces::default(), &headers, EVENT, &SeededRandom::new(1))
    }

    #[test]
    fn a_well_formed_trace_is_passed_on() {
        let plain = of(&[("traceparent", GOOD)]);
        assert_eq!((plain.parent.as_str(), plain.state), (GOOD, None));
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
        let begin = |headers: &Headers| Context::begin(&traces, headers, EVENT, &random);
        assert_eq!(begin(&headers).span, None);
        traces.begin(1.0);
        let traced = begin(&headers);
        let span = traced.span.unwrap();
        let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{span}-01");
        assert_eq!(traced.parent, expected);
        assert_eq!(traced.state.as_deref(), Some("a=1"));
        let caller = caller(&headers).unwrap();
        assert_eq!(caller.span.to_string(), "b7ad6b7169203331");
        assert_ne!(caller.span, span);
        // Without a caller, the trace that a later process derives from the event again.
        let own = begin(&Headers::default());
        assert_eq!(own.trace.to_string(), "00000001000000020000000000000003");
        assert!(well_formed(own.parent.as_bytes()).is_some());
        // Long enough to be passed on, and too long for the queue.
        let long: &'static str = Box::leak(format!("a={}", "x".repeat(600)).into_boxed_str());
        let headers: Headers = [("traceparent", GOOD), ("tracestate", long)]
            .into_iter()
            .collect();
        let traced = begin(&headers);
        assert_eq!(traced.state.as_deref(), Some(long));
        assert_eq!((traced.kept_state(), kept_state(&headers)), (None, None));
    }

    #[test]
    fn a_trace_that_is_not_kept_is_not_said_to_be() {
        let traces = Traces::default();
        // None but the first few of all traces.
        traces.begin(1e-15);
        let random = SeededRandom::new(1);
        let headers: Headers = [("traceparent", GOOD)].into_iter().collect();
        let begin = |headers: &Headers, event| Context::begin(&traces, headers, event, &random);
        // The caller records it, or does not: that is passed on as it was said.
        assert_eq!(begin(&headers, EVENT).parent, GOOD);
        let far = EventId {
            tag: u64::MAX,
            ..EVENT
        };
        let own = begin(&Headers::default(), far);
        assert!(own.span.is_none() && own.parent.ends_with("-00"), "{own:?}");
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
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-\u{7f}",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-é",
        ] {
            let made = of(&[("traceparent", bad), ("tracestate", "a=1")]);
            assert!(
                made.parent
                    .starts_with("00-00000001000000020000000000000003-"),
                "{bad}: {made:?}"
            );
            assert_eq!(made.state, None);
            assert_eq!(
                well_formed(made.parent.as_bytes()).map(|caller| caller.parent),
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
