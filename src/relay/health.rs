//! What an attempt says of its destination, apart from what it means for the event.

use http::StatusCode;

use crate::relay::client::Answered;
use crate::relay::error::AttemptError;

/// How a destination is doing, by one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answered. Also what it refused: another event may be welcome.
    Good,
    /// It failed, not for want of capacity as far as is known.
    Failing,
    /// It failed on an event on which it may have failed before: perhaps it always will, and it
    /// says nothing of the others.
    Stumbled,
    /// It failed as something does that has too much to do.
    Overloaded,
    /// There was no connection.
    Unreachable,
    /// The attempt did not get so far.
    Unknown,
}

impl Health {
    pub fn of(result: &Result<Answered, AttemptError>) -> Health {
        match result {
            Ok(answered) => Health::of_status(answered.status),
            Err(error) => Health::of_error(*error),
        }
    }

    /// What it means when this is the delivery's `attempt`-th.
    pub fn at(self, attempt: u32) -> Health {
        match self {
            Health::Failing | Health::Overloaded if attempt > 1 => Health::Stumbled,
            other => other,
        }
    }

    fn of_status(status: StatusCode) -> Health {
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Health::Overloaded,
            status
                if status.is_success() || status.is_redirection() || status.is_client_error() =>
            {
                Health::Good
            }
            // 5xx, and what is no answer at all.
            _ => Health::Failing,
        }
    }

    fn of_error(error: AttemptError) -> Health {
        match error {
            AttemptError::Dns
            | AttemptError::AddressRefused
            | AttemptError::ConnectRefused
            | AttemptError::ConnectFailed(_)
            | AttemptError::ConnectTimeout
            | AttemptError::Tls => Health::Unreachable,
            AttemptError::Timeout => Health::Overloaded,
            AttemptError::ClosedEarly | AttemptError::BadAnswer => Health::Failing,
            AttemptError::Redirect(status) | AttemptError::Status(status) => {
                Health::of_status(status)
            }
            AttemptError::Gone => Health::Good,
            AttemptError::Damaged | AttemptError::Missing | AttemptError::Unsendable => {
                Health::Unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_says_of_who_gave_it() {
        let answered = |status: u16| {
            Health::of(&Ok(Answered {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: None,
                response: Default::default(),
            }))
        };
        for status in [200, 204, 302, 400, 404, 409, 410, 422] {
            assert_eq!(answered(status), Health::Good, "{status}");
        }
        for status in [500, 502, 101, 600] {
            assert_eq!(answered(status), Health::Failing, "{status}");
        }
        for status in [429, 503, 504] {
            assert_eq!(answered(status), Health::Overloaded, "{status}");
        }
    }
}
