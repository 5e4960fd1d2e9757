//! Why callbacks are turned away, in words: the likely cause, and what to do. `docs/reasons.md` has
//! the same codes, and a test holds this list against the code.

/// What is said of a reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    pub cause: &'static str,
    pub mend: &'static str,
    /// `callseal explain` can show it on a captured request.
    pub explain: bool,
}

const fn known(cause: &'static str, mend: &'static str) -> Option<Advice> {
    Some(Advice {
        cause,
        mend,
        explain: false,
    })
}

const fn shown(cause: &'static str, mend: &'static str) -> Option<Advice> {
    Some(Advice {
        cause,
        mend,
        explain: true,
    })
}

/// None for what is no reason code.
pub fn advice(code: &str) -> Option<Advice> {
    malformed(code)
        .or_else(|| refused(code))
        .or_else(|| rejected(code))
        .or_else(|| overloaded(code))
}

const STRANGER: &str = "Nothing, where it is a stranger. A provider of yours is behind something \
    that rewrites requests: let it pass them on as they are.";

/// HTTP that could be read in two ways.
fn malformed(code: &str) -> Option<Advice> {
    match code {
        "both_lengths" => known(
            "The request has Transfer-Encoding beside Content-Length: request smuggling, or a broken proxy.",
            STRANGER,
        ),
        "content_length_repeated" => known(
            "The request has more than one Content-Length: request smuggling, or a broken proxy.",
            STRANGER,
        ),
        "content_length_malformed" => known(
            "Its Content-Length is not digits only: a scanner, or a broken client.",
            STRANGER,
        ),
        "transfer_encoding" => known(
            "Its Transfer-Encoding is not `chunked`: request smuggling, or a broken proxy.",
            STRANGER,
        ),
        "bare_line_feed" => known(
            "A header line ends in LF without CR: request smuggling, or a client that somebody wrote by hand.",
            STRANGER,
        ),
        "folded_line" => known(
            "A header line begins with white space, which HTTP no longer allows.",
            STRANGER,
        ),
        "after_chunked" => known(
            "Another request came behind a chunked one on the same connection: smuggling, or a proxy that joins requests.",
            STRANGER,
        ),
        "host_missing" => known(
            "It has no Host: a scanner, or a health check by hand.",
            STRANGER,
        ),
        "host_repeated" => known("It has more than one Host: request smuggling.", STRANGER),
        "host_differs" => known(
            "HTTP/2: `:authority` and Host name different hosts.",
            STRANGER,
        ),
        "target_form" => known(
            "The request target is not a path: somebody looks for an open proxy.",
            "Nothing.",
        ),
        "target_characters" => known(
            "Path or query hold characters that proxies treat differently.",
            STRANGER,
        ),
        "target_too_long" => known(
            "Path and query are longer than `limits.target_bytes`.",
            "Raise `limits.target_bytes` if it is your provider; look at the path first.",
        ),
        "underscore_twin" => known(
            "A header name with `_` that some servers read as one of ours.",
            STRANGER,
        ),
        "too_many_headers" => known(
            "More header fields than `limits.headers`; proxies add theirs.",
            "Raise `limits.headers` if it is your provider.",
        ),
        "headers_too_large" => known(
            "Header fields above `limits.header_bytes`.",
            "Raise `limits.header_bytes` if it is your provider.",
        ),
        "content_encoding" => known(
            "The body is compressed: what was signed cannot be told from what was sent.",
            "Turn compression of requests off at the sender or at the proxy before the gateway.",
        ),
        "upgrade" => known(
            "It asks for another protocol: a scanner, or a browser.",
            "Nothing.",
        ),
        "fragment" => known(
            "A `#` in the request target: a scanner, or an address pasted whole.",
            STRANGER,
        ),
        "unreadable" => known(
            "It is not HTTP: a scanner, or plain text where TLS is spoken.",
            "Nothing, unless a load balancer of yours checks the port: give it a TLS check.",
        ),
        _ => None,
    }
}

/// By a guard, before any signature is looked at.
fn refused(code: &str) -> Option<Advice> {
    match code {
        "not_found" => known(
            "No source has this path: a scanner, or the address at the provider differs from `path`.",
            "Compare the path with `callseal check`; it is matched byte for byte, without redirects.",
        ),
        "method_not_allowed" => known(
            "The provider does not use this method: a browser or a scanner.",
            "Nothing, unless the provider asks a question with it that its file does not know.",
        ),
        "address_not_allowed" => known(
            "The sender's address is not in `guard.allow`: a stranger, a new range of the provider, or a proxy whose address is seen instead.",
            "Compare with the provider's published ranges; behind a proxy set `listen.trusted_proxies`.",
        ),
        "forwarded_for_malformed" => known(
            "A trusted proxy sent an X-Forwarded-For that names no address.",
            "Mend the proxy: it must append the address that it sees.",
        ),
        "rate_per_address" => known(
            "More callbacks from one address than `guard.rate.per_ip`: a burst of the provider, or a flood.",
            "Raise the rate if it is the provider; it repeats what was turned away.",
        ),
        "rate_total" => known(
            "More callbacks than `guard.rate.total`: a burst of the provider, or a flood.",
            "Raise the rate if it is the provider; it repeats what was turned away.",
        ),
        "body_too_large" => known(
            "The body is larger than `guard.body_max`.",
            "Raise `guard.body_max` if it is the provider.",
        ),
        "body_too_slow" => known(
            "The body was not there within `limits.body_timeout`: a slow line, or somebody who holds connections open.",
            "Raise `limits.body_timeout` if it is the provider.",
        ),
        "body_broken" => known(
            "The connection ended inside the body.",
            "Nothing: the provider repeats it. Often: look at the line and the proxy before the gateway.",
        ),
        "no_room" => known(
            "All bodies together needed more memory than `limits.bytes_in_flight`.",
            "Raise `limits.bytes_in_flight`; the provider repeats what was turned away.",
        ),
        _ => None,
    }
}

const FILE: &str =
    "Look whether the source names the right provider file, then explain a captured request.";

/// By the verifier.
fn rejected(code: &str) -> Option<Advice> {
    match code {
        "signature_missing" => shown(
            "There is no signature where it should be: a stranger, or the wrong provider file.",
            FILE,
        ),
        "signature_malformed" => shown(
            "The signature is not written as the provider writes it: something between rewrote the header, or another provider sends here.",
            FILE,
        ),
        "signature_mismatch" => shown(
            "No key makes this signature over these bytes: another key, a body that a proxy changed, an address under `url` that differs in a letter, or a forgery.",
            "Compare the key with the one at the provider; let nothing rewrite bodies. A captured request can be explained.",
        ),
        "too_many_candidates" => known(
            "More signatures, keys and messages than are tried: an attempt to make the gateway work.",
            "Nothing; fewer keys at once, where the source has very many.",
        ),
        "scheme_unknown" => shown(
            "No alternative that the source uses applies: the account is set to another scheme.",
            "List the scheme under `schemes`, or change it at the provider.",
        ),
        "method_unexpected" => known(
            "A method that is only for questions, and this is none: a stranger, or a question in a new shape.",
            FILE,
        ),
        "key_unknown" => shown(
            "The request names a key that neither the source nor its provider has: mostly a rotation.",
            "Add the provider's new key, or set what fetching it needs.",
        ),
        "key_expired" => shown(
            "Only keys past their `not_after`, or past the end of their certificate, fit: the old key was retired here and not there.",
            "Finish the rotation at the provider, or move `not_after`.",
        ),
        "key_untrusted" => shown(
            "A certificate or key address leads to nothing trusted: a forgery, or root certificates of another environment.",
            "Compare `keys` with the root certificates that the provider publishes for this environment.",
        ),
        "timestamp_missing" => shown("There is no timestamp where the scheme has one.", FILE),
        "timestamp_malformed" => shown("The timestamp is no number or no date.", FILE),
        "stale" => shown(
            "Older than the tolerance: a replay, a provider that repeats with the old stamp, or a clock that is wrong.",
            "Check this machine's clock (NTP) first; then `tolerance`.",
        ),
        "from_the_future" => shown(
            "Newer than the tolerance: a clock that is wrong, mostly this one.",
            "Check this machine's clock (NTP).",
        ),
        "second_check_failed" => shown(
            "The signature fits, and a check beside it (password, token) does not.",
            "Compare the secret under `[secrets]` with the one at the provider.",
        ),
        "wrong_addressee" => shown(
            "Correctly signed, and meant for somebody else: a merchant number, app id or `url` that is not yours, sandbox and production mixed up, or a replay.",
            "Compare what `[config]` says with the account at the provider.",
        ),
        "assertion_failed" => shown(
            "Correctly signed, and something that must hold does not: a kind of callback that the provider file does not know, or moved fields.",
            "Explain a captured request: it says which.",
        ),
        "undecipherable" => shown(
            "Correctly signed, and what is encrypted inside cannot be opened.",
            "Compare the secret that decrypts with the one at the provider.",
        ),
        "not_confirmed" => shown(
            "The provider, asked, does not know of it or says something else: a forgery, or credentials of another account.",
            "Compare the credentials under `[secrets]` and the environment under `[config]`.",
        ),
        "unready" => shown(
            "A host that must be asked could not be reached or did not answer well; the provider hears 503 and tries again.",
            "`callseal check` asks the hosts; look at outbound connections and at the log.",
        ),
        "header_repeated" => shown("A header that counts stands more than once.", STRANGER),
        "field_repeated" => shown("A field that counts stands more than once.", FILE),
        "field_missing" => shown("A field that is signed is not there.", FILE),
        "field_malformed" => shown("A field that counts is not what it should be.", FILE),
        "body_malformed" => shown(
            "The body is not the JSON, form, XML or token that the scheme reads.",
            FILE,
        ),
        "conflict_rejected" => known(
            "Another event has its key and says something else, and the source's rule is `on_conflict = \"reject\"`.",
            "Compare both events; choose `keep-both` to see such events instead.",
        ),
        "conflict_dropped" => known(
            "Another event has its key and says something else, and the source's rule is `on_conflict = \"first-wins\"`.",
            "Compare both events; choose `keep-both` to see such events instead.",
        ),
        _ => None,
    }
}

const DISK: &str = "Give the disk room; the provider repeats what was turned away.";

/// It could not be made durable, or nobody was there to hear.
fn overloaded(code: &str) -> Option<Advice> {
    match code {
        "disk_low" => known("Free space is below `inbox.low_water`.", DISK),
        "write_failed" => known("The journal could not be written.", DISK),
        "queue_full" => known(
            "More events came than the disk takes.",
            "A faster disk, or fewer callbacks at once; the provider repeats what was turned away.",
        ),
        "too_large" => known(
            "The event is larger than a journal segment.",
            "Raise `inbox.segment`, or lower `guard.body_max`.",
        ),
        "sync_failed" => known(
            "A sync failed: the process ends, and a restart reads back what is really on disk.",
            "Look at the disk before anything else.",
        ),
        "lease_lost" => known("A delivery was settled by someone else.", "Nothing."),
        "damaged" => known(
            "What lies on disk does not fit its checksum.",
            "`callseal store verify` says what is damaged.",
        ),
        "io" => known(
            "The disk did not answer a read.",
            "Look at the disk and at the kernel's log.",
        ),
        "closed" => known(
            "The gateway is ending.",
            "Nothing: the provider repeats it.",
        ),
        "connection_ended" => known(
            "The sender hung up before its answer: less patience than the disk needs, or a stop whose drain time was over. The event may have been accepted.",
            "Nothing: repeated, it is a duplicate. Often: look at the time to acknowledge.",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented codes of callbacks; a test of the house holds the document against the code.
    fn documented() -> Vec<String> {
        let text = include_str!("../../docs/reasons.md");
        let mut codes = vec!["connection_ended".to_owned()];
        for part in text.split("\n## ").skip(1) {
            let about = [
                "Malformed",
                "Refused",
                "Rejected",
                "Overloaded",
                "Conflicts",
            ];
            if about.iter().any(|name| part.starts_with(name)) {
                let lines = part.lines().filter_map(|line| line.strip_prefix("| `"));
                codes.extend(lines.map(|line| line.split('`').next().unwrap().to_owned()));
            }
        }
        codes
    }

    #[test]
    fn every_reason_has_a_cause_and_a_cure() {
        let codes = documented();
        assert!(codes.len() > 60, "{codes:?}");
        for code in codes {
            let advice = advice(&code).unwrap_or_else(|| panic!("{code}: nothing is said of it"));
            assert!(
                advice.cause.ends_with('.') && advice.mend.ends_with('.'),
                "{code}"
            );
        }
        for code in crate::verify::Rejection::CODES {
            assert!(rejected(code).is_some(), "{code}");
        }
        assert_eq!(advice("no such code"), None);
    }
}
