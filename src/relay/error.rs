//! What can go wrong in one attempt, with the stable code that log, metric and admin port show.

use std::fmt;

use http::StatusCode;

use crate::connect::ConnectError;

/// Why the destination did not take the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptError {
    /// The destination's name gave no address.
    Dns,
    /// The destination's name leads only to addresses that `addresses` does not allow.
    AddressRefused,
    /// Nobody listens there.
    ConnectRefused,
    ConnectFailed(std::io::ErrorKind),
    /// No connection (name, TCP and TLS together) within its part of the attempt's time.
    ConnectTimeout,
    /// The handshake failed, or the certificate does not fit.
    Tls,
    /// No whole answer within the attempt's time.
    Timeout,
    /// The connection ended before the whole answer was there.
    ClosedEarly,
    /// What came back is not an HTTP answer, or its head is too large.
    BadAnswer,
    /// 3xx. It is never followed: the destination comes from the rule file alone.
    Redirect(StatusCode),
    /// 410: the destination never wants it.
    Gone,
    /// Any other status that is not 2xx.
    Status(StatusCode),
    /// What is stored does not fit its checksum; it is not sent.
    Damaged,
    /// The store owes the event but does not have it.
    Missing,
    /// What is stored cannot be written as a request. The listener lets no such event in.
    Unsendable,
}

impl AttemptError {
    /// Stable code for log, metric and admin port.
    pub fn code(self) -> &'static str {
        match self {
            AttemptError::Dns => "dns",
            AttemptError::AddressRefused => "address_refused",
            AttemptError::ConnectRefused => "connect_refused",
            AttemptError::ConnectFailed(_) => "connect_failed",
            AttemptError::ConnectTimeout => "connect_timeout",
            AttemptError::Tls => "tls",
            AttemptError::Timeout => "timeout",
            AttemptError::ClosedEarly => "closed_early",
            AttemptError::BadAnswer => "bad_answer",
            AttemptError::Redirect(_) => "redirect",
            AttemptError::Gone => "gone",
            AttemptError::Status(status) if status.is_client_error() => "status_4xx",
            AttemptError::Status(status) if status.is_server_error() => "status_5xx",
            AttemptError::Status(_) => "status_other",
            AttemptError::Damaged => "damaged",
            AttemptError::Missing => "missing",
            AttemptError::Unsendable => "unsendable",
        }
    }

    /// The status that the destination answered with, where that is what went wrong.
    pub fn status(self) -> Option<StatusCode> {
        match self {
            AttemptError::Redirect(status) | AttemptError::Status(status) => Some(status),
            AttemptError::Gone => Some(StatusCode::GONE),
            AttemptError::Dns
            | AttemptError::AddressRefused
            | AttemptError::ConnectRefused
            | AttemptError::ConnectFailed(_)
            | AttemptError::ConnectTimeout
            | AttemptError::Tls
            | AttemptError::Timeout
            | AttemptError::ClosedEarly
            | AttemptError::BadAnswer
            | AttemptError::Damaged
            | AttemptError::Missing
            | AttemptError::Unsendable => None,
        }
    }

    /// True when no later attempt can end differently: a dead letter at once, with this code.
    pub fn is_final(self) -> bool {
        match self {
            AttemptError::Gone
            | AttemptError::Damaged
            | AttemptError::Missing
            | AttemptError::Unsendable => true,
            AttemptError::Dns
            | AttemptError::AddressRefused
            | AttemptError::ConnectRefused
            | AttemptError::ConnectFailed(_)
            | AttemptError::ConnectTimeout
            | AttemptError::Tls
            | AttemptError::Timeout
            | AttemptError::ClosedEarly
            | AttemptError::BadAnswer
            | AttemptError::Redirect(_)
            | AttemptError::Status(_) => false,
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttemptError::Dns => f.write_str("the destination's name gave no address"),
            AttemptError::AddressRefused => {
                f.write_str("the destination's name leads to addresses that are not allowed")
            }
            AttemptError::ConnectRefused => f.write_str("the destination refused the connection"),
            AttemptError::ConnectFailed(kind) => {
                write!(f, "no connection to the destination: {kind}")
            }
            AttemptError::ConnectTimeout => f.write_str("no connection to the destination in time"),
            AttemptError::Tls => {
                f.write_str("the destination's TLS handshake or certificate failed")
            }
            AttemptError::Timeout => f.write_str("no whole answer in time"),
            AttemptError::ClosedEarly => f.write_str("the connection ended before the answer did"),
            AttemptError::BadAnswer => {
                f.write_str("the answer is not HTTP, or its head is too large")
            }
            AttemptError::Redirect(status) => {
                write!(f, "redirected ({status}), which is never followed")
            }
            AttemptError::Gone => f.write_str("the destination wants no such event any more (410)"),
            AttemptError::Status(status) => write!(f, "answered {status}"),
            AttemptError::Damaged => f.write_str("the event is damaged on disk"),
            AttemptError::Missing => f.write_str("the event is owed but not in the store"),
            AttemptError::Unsendable => {
                f.write_str("the stored event cannot be written as a request")
            }
        }
    }
}

impl std::error::Error for AttemptError {}

impl From<ConnectError> for AttemptError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Dns => AttemptError::Dns,
            ConnectError::Refused => AttemptError::ConnectRefused,
            ConnectError::Failed(kind) => AttemptError::ConnectFailed(kind),
            ConnectError::Timeout => AttemptError::ConnectTimeout,
            ConnectError::Tls => AttemptError::Tls,
        }
    }
}
