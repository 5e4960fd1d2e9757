//! Which of the provider's header fields pass on to the application.
//!
//! Names are compared as a CGI-like application sees them: it reads `Callseal_Event`,
//! `callseal.event` and `Callseal-Event` as one variable, so they are one name here.

use crate::message::Headers;

/// About one connection, not about the event (RFC 9110 §7.6.1, RFC 7540 §3.2.1), or written anew
/// by us from what we know, or a question to the gateway that it has answered already (`expect`).
const NEVER: [&[u8]; 12] = [
    b"connection",
    b"keep-alive",
    b"te",
    b"trailer",
    b"trailers",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
    b"host",
    b"content-length",
    b"expect",
    b"alt-used",
];

/// Every name that begins so belongs to a connection with a proxy.
const PROXY: &[u8] = b"proxy-";

/// Every name that begins so is ours.
pub const OURS: &[u8] = b"callseal-";

/// Every name that begins so is ours where we sign.
pub const SIGNATURE: &[u8] = b"webhook-";

/// A name as a CGI-like application sees it: lower case, and whatever is neither letter nor digit
/// is one and the same sign.
fn plain(name: &[u8]) -> Vec<u8> {
    name.iter()
        .map(|b| {
            if b.is_ascii_alphanumeric() {
                b.to_ascii_lowercase()
            } else {
                b'-'
            }
        })
        .collect()
}

/// The fields that pass, in their order. The trace context is not among them (`trace`).
pub fn passing(headers: &Headers, signing: bool) -> impl Iterator<Item = (&[u8], &[u8])> {
    let named = named_by_connection(headers);
    headers.iter().filter(move |(name, _)| {
        let plain = plain(name);
        let never = NEVER.contains(&plain.as_slice())
            || plain.starts_with(PROXY)
            || plain.starts_with(OURS)
            || (signing && plain.starts_with(SIGNATURE))
            || plain == b"traceparent"
            || plain == b"tracestate";
        !never && !named.iter().any(|other| other.eq_ignore_ascii_case(name))
    })
}

/// What the sender calls hop-by-hop itself. It can only take its own fields away so, never one of
/// ours: ours are added afterwards.
fn named_by_connection(headers: &Headers) -> Vec<&[u8]> {
    let values = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"connection"));
    values
        .flat_map(|(_, value)| value.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(fields: &[(&'static str, &'static str)], signing: bool) -> Vec<String> {
        let headers: Headers = fields.iter().copied().collect();
        passing(&headers, signing)
            .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    #[test]
    fn end_to_end_fields_pass_in_their_order() {
        let fields = [
            ("b", "1"),
            ("content-type", "text/plain"),
            ("a", "2"),
            ("b", "3"),
            ("user-agent", "x"),
        ];
        assert_eq!(
            names(&fields, true),
            ["b", "content-type", "a", "b", "user-agent"]
        );
    }

    #[test]
    fn fields_of_the_connection_do_not_pass() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "te",
            "trailer",
            "transfer-encoding",
            "transfer_encoding",
            "upgrade",
            "http2-settings",
            "host",
            "content-length",
            "content_length",
            "expect",
            "traceparent",
            "tracestate",
            "Trace_Parent",
            "traceparent",
        ] {
            let passed = names(&[(name, "x")], false);
            assert_eq!(passed.is_empty(), name != "Trace_Parent", "{name}");
        }
    }

    #[test]
    fn names_that_the_connection_field_names_do_not_pass() {
        let fields = [
            ("connection", "close, X-Secret ,callseal-event"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("close", "3"),
        ];
        assert_eq!(names(&fields, false), ["x-other"]);
    }

    #[test]
    fn claims_to_be_ours_do_not_pass_in_any_spelling() {
        for name in [
            "callseal-event",
            "CALLSEAL-Verified",
            "callseal_event",
            "Callseal.Source",
            "callseal~x",
            "callseal-",
        ] {
            assert!(names(&[(name, "x")], false).is_empty(), "{name}");
        }
        assert_eq!(names(&[("callsealed", "x")], false), ["callsealed"]);
    }

    #[test]
    fn a_providers_own_standard_webhooks_fields_pass_only_where_we_do_not_sign() {
        for name in ["webhook-id", "webhook_timestamp", "Webhook-Signature"] {
            assert_eq!(names(&[(name, "x")], false), [name]);
            assert!(names(&[(name, "x")], true).is_empty(), "{name}");
        }
    }
}
