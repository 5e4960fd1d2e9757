//! W3C trace context: the provider's is passed on if it is well-formed, else a new one begins.
//!
//! A new trace takes its id from the event's id, so that all attempts on one event are one trace.

use crate::message::{EventId, Headers};
use crate::random::Random;

/// What the application is told of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub parent: String,
    pub state: Option<String>,
}

/// The context for one attempt on `event`.
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
