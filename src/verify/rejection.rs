//! Why a request is rejected. The sender hears none of this; log, metric and admin port do.

use std::fmt;

/// One variant for each reason, with its facts. No variant holds a body or a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No signature stands where this provider puts it.
    SignatureMissing,
    /// Something stands there, but it is not written as the provider writes signatures.
    SignatureMalformed,
    /// Well written, and no key of the source made it.
    SignatureMismatch {
        candidates: usize,
        keys: usize,
    },
    /// More signatures than are worth trying (lint L6).
    TooManyCandidates {
        found: usize,
        most: usize,
    },
    /// The request names a key that the source does not have.
    KeyUnknown {
        id: String,
    },
    /// Every key that could have been used is past its last day.
    KeyExpired,
    TimestampMissing,
    TimestampMalformed,
    /// Correctly signed, but too long ago: a replay, or a clock that is wrong.
    Stale {
        millis: u64,
    },
    /// Correctly signed, but later than now.
    FromTheFuture {
        millis: u64,
    },
    /// A header that the rule reads stands there more than once.
    HeaderRepeated {
        name: String,
    },
    /// A field that the rule reads stands there more than once.
    FieldRepeated {
        field: String,
    },
    /// A value that is part of the signed bytes is not there.
    FieldMissing {
        field: String,
    },
    /// A value is there, but not one that can be signed or compared: an object, a broken escape.
    FieldMalformed {
        field: String,
    },
    /// The request names a scheme that the provider's file, or the source, does not know.
    SchemeUnknown,
    /// A certificate, an address or a signed key that leads to nothing that is trusted.
    KeyUntrusted {
        why: String,
    },
    /// Correctly signed, and meant for somebody else.
    WrongAddressee {
        field: String,
    },
    /// Correctly signed, and something that must hold does not.
    AssertionFailed {
        field: String,
    },
    /// A check beside the signature failed.
    AlsoFailed {
        secret: String,
    },
    /// The second source does not know of it, or says something else.
    NotConfirmed {
        why: String,
    },
    /// Correctly signed, and what is encrypted inside cannot be opened.
    Undecipherable,
    /// A method that is only for questions, and this is none.
    MethodUnexpected,
    /// A host that must be asked cannot be reached now. Answered as a fault of ours, so that the
    /// provider tries again.
    Unready {
        what: String,
    },
    /// The body is not what the rule reads it as.
    BodyMalformed {
        reader: Reader,
        at: usize,
        what: &'static str,
    },
}

/// Who could not read the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Json,
    Form,
    Query,
    Xml,
    Jws,
}

impl Reader {
    pub fn name(self) -> &'static str {
        match self {
            Reader::Json => "json",
            Reader::Form => "form",
            Reader::Query => "query",
            Reader::Xml => "xml",
            Reader::Jws => "jws",
        }
    }
}

impl Rejection {
    /// Stable, for logs, metrics and the examples of provider files.
    pub fn code(&self) -> &'static str {
        match self {
            Rejection::SignatureMissing => "signature_missing",
            Rejection::SignatureMalformed => "signature_malformed",
            Rejection::SignatureMismatch { .. } => "signature_mismatch",
            Rejection::TooManyCandidates { .. } => "too_many_candidates",
            Rejection::KeyUnknown { .. } => "key_unknown",
            Rejection::KeyExpired => "key_expired",
            Rejection::TimestampMissing => "timestamp_missing",
            Rejection::TimestampMalformed => "timestamp_malformed",
            Rejection::Stale { .. } => "stale",
            Rejection::FromTheFuture { .. } => "from_the_future",
            Rejection::HeaderRepeated { .. } => "header_repeated",
            Rejection::FieldRepeated { .. } => "field_repeated",
            Rejection::FieldMissing { .. } => "field_missing",
            Rejection::FieldMalformed { .. } => "field_malformed",
            Rejection::SchemeUnknown => "scheme_unknown",
            Rejection::KeyUntrusted { .. } => "key_untrusted",
            Rejection::WrongAddressee { .. } => "wrong_addressee",
            Rejection::AssertionFailed { .. } => "assertion_failed",
            Rejection::AlsoFailed { .. } => "second_check_failed",
            Rejection::NotConfirmed { .. } => "not_confirmed",
            Rejection::Undecipherable => "undecipherable",
            Rejection::MethodUnexpected => "method_unexpected",
            Rejection::Unready { .. } => "unready",
            Rejection::BodyMalformed { .. } => "body_malformed",
        }
    }

    /// Every code there is, for metrics that want to begin at zero and for documents.
    pub const CODES: [&'static str; 24] = [
        "signature_missing",
        "signature_malformed",
        "signature_mismatch",
        "too_many_candidates",
        "key_unknown",
        "key_expired",
        "timestamp_missing",
        "timestamp_malformed",
        "stale",
        "from_the_future",
        "header_repeated",
        "field_repeated",
        "field_missing",
        "field_malformed",
        "scheme_unknown",
        "key_untrusted",
        "wrong_addressee",
        "assertion_failed",
        "second_check_failed",
        "not_confirmed",
        "undecipherable",
        "method_unexpected",
        "unready",
        "body_malformed",
    ];
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::SignatureMissing => f.write_str("there is no signature"),
            Rejection::SignatureMalformed => f.write_str("the signature cannot be read"),
            Rejection::SignatureMismatch { candidates, keys } => {
                write!(f, "none of {candidates} signatures fits any of {keys} keys")
            }
            Rejection::TooManyCandidates { found, most } => {
                write!(f, "{found} signatures, and at most {most} are tried")
            }
            Rejection::KeyUnknown { id } => write!(f, "no key has the id {id}"),
            Rejection::KeyExpired => f.write_str("every key is past its last day"),
            Rejection::TimestampMissing => f.write_str("there is no timestamp"),
            Rejection::TimestampMalformed => f.write_str("the timestamp cannot be read"),
            Rejection::Stale { millis } => write!(f, "signed {} s ago", millis / 1000),
            Rejection::FromTheFuture { millis } => write!(f, "signed in {} s", millis / 1000),
            Rejection::HeaderRepeated { name } => write!(f, "the header {name} is repeated"),
            Rejection::FieldRepeated { field } => write!(f, "{field} is repeated"),
            Rejection::FieldMissing { field } => write!(f, "{field} is missing"),
            Rejection::FieldMalformed { field } => write!(f, "{field} cannot be read"),
            Rejection::SchemeUnknown => f.write_str("no scheme of the source fits this request"),
            Rejection::KeyUntrusted { why } => write!(f, "the key is not trusted: {why}"),
            Rejection::WrongAddressee { field } => {
                write!(f, "{field} is not what this source has configured")
            }
            Rejection::AssertionFailed { field } => write!(f, "{field} is not what it must be"),
            Rejection::AlsoFailed { secret } => {
                write!(f, "the check under secrets.{secret} failed")
            }
            Rejection::NotConfirmed { why } => write!(f, "the provider does not confirm it: {why}"),
            Rejection::Undecipherable => f.write_str("the encrypted part cannot be opened"),
            Rejection::MethodUnexpected => f.write_str("callbacks do not come by this method"),
            Rejection::Unready { what } => write!(f, "cannot be verified now: {what}"),
            Rejection::BodyMalformed { reader, at, what } => {
                write!(f, "not readable as {}: {what} at byte {at}", reader.name())
            }
        }
    }
}

impl std::error::Error for Rejection {}
