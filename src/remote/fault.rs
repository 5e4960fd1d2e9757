//! Why a request of our own gave no answer. Nothing here shows what was sent or answered.

use std::fmt;

use crate::connect::ConnectError;

/// Why a request of our own gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteFault {
    /// The host's name gave no address.
    Dns,
    /// Nobody listens there, or the network fails.
    Connect,
    /// The handshake failed, or the certificate does not fit the host.
    Tls,
    /// No whole answer within the request's time.
    Timeout,
    /// The answer's body is longer than we read.
    TooLarge,
    /// What came back is no whole HTTP answer, its head is too large, or its body is compressed.
    Protocol,
    /// 3xx. It is never followed: where we ask is the configuration's word alone.
    Redirected,
    /// The token endpoint refused the client credentials, or is not well.
    TokenRefused { status: u16 },
    /// The token endpoint's answer holds no token that can be used.
    TokenMalformed,
    /// The settings allow no more requests to this host now, or no more unknown names.
    RateLimited,
    /// The same was asked a moment ago and failed; nothing was sent this time.
    RecentlyFailed,
    /// Plain HTTP, or a name that is none, for a host that the source itself does not configure.
    HostNotAllowed,
    /// The host's addresses are all private, and the settings do not allow that.
    AddressPrivate,
    /// The request cannot be written as HTTP.
    Unsendable,
    /// An answer, but not the status that was needed.
    Status { status: u16 },
    /// An answer whose body is not what was asked for. `why` is ours and quotes nothing of it.
    Unusable { why: String },
}

impl RemoteFault {
    /// Stable code for log, metric and admin port.
    pub fn code(&self) -> &'static str {
        match self {
            RemoteFault::Dns => "dns",
            RemoteFault::Connect => "connect_failed",
            RemoteFault::Tls => "tls",
            RemoteFault::Timeout => "timeout",
            RemoteFault::TooLarge => "answer_too_large",
            RemoteFault::Protocol => "bad_answer",
            RemoteFault::Redirected => "redirect",
            RemoteFault::TokenRefused { .. } => "token_refused",
            RemoteFault::TokenMalformed => "token_malformed",
            RemoteFault::RateLimited => "asked_too_often",
            RemoteFault::RecentlyFailed => "recently_failed",
            RemoteFault::HostNotAllowed => "host_not_allowed",
            RemoteFault::AddressPrivate => "address_private",
            RemoteFault::Unsendable => "unsendable",
            RemoteFault::Status { .. } => "bad_status",
            RemoteFault::Unusable { .. } => "unusable_answer",
        }
    }
}

impl fmt::Display for RemoteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteFault::Dns => f.write_str("the host's name gave no address"),
            RemoteFault::Connect => f.write_str("no connection to the host"),
            RemoteFault::Tls => f.write_str("the host's TLS handshake or certificate failed"),
            RemoteFault::Timeout => f.write_str("no whole answer in time"),
            RemoteFault::TooLarge => f.write_str("the answer is longer than we read"),
            RemoteFault::Protocol => f.write_str("the answer is not whole, or not HTTP"),
            RemoteFault::Redirected => f.write_str("redirected, which is never followed"),
            RemoteFault::TokenRefused { status } => {
                write!(f, "the token endpoint answered {status}")
            }
            RemoteFault::TokenMalformed => {
                f.write_str("the token endpoint's answer holds no token that can be used")
            }
            RemoteFault::RateLimited => f.write_str("asked too often"),
            RemoteFault::RecentlyFailed => f.write_str("failed a moment ago; not asked again yet"),
            RemoteFault::HostNotAllowed => f.write_str("this host may not be asked like this"),
            RemoteFault::AddressPrivate => {
                f.write_str("the host's addresses are private, and `outbound.private` is not set")
            }
            RemoteFault::Unsendable => f.write_str("the request cannot be written as HTTP"),
            RemoteFault::Status { status } => write!(f, "answered {status}"),
            RemoteFault::Unusable { why } => write!(f, "the answer cannot be used: {why}"),
        }
    }
}

impl std::error::Error for RemoteFault {}

impl From<ConnectError> for RemoteFault {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Dns => RemoteFault::Dns,
            ConnectError::Refused | ConnectError::Failed(_) => RemoteFault::Connect,
            ConnectError::Timeout => RemoteFault::Timeout,
            ConnectError::Tls => RemoteFault::Tls,
        }
    }
}
