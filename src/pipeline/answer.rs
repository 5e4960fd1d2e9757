//! What the sender hears: the only map from what went wrong to HTTP. Quiet on the wire; the reasons
//! go to the log, the figures and the admin port.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::Outcome;
use crate::guard::Refusal;
use crate::inbox::store::{Acceptance, Attempt, StoreError, Unavailable};
use crate::listener::Malformed;
use crate::message::Answer;
use crate::rule::Rule;
use crate::verify::Rejection;

/// What the sender hears. Every rejection of a source gets the same bytes.
pub(super) fn answer(rule: Option<&Arc<Rule>>, outcome: Outcome) -> Answer {
    let answers = rule.map(|rule| &rule.provider.answers);
    let own = |pick: fn(&crate::rule::Answers) -> &Answer, otherwise| {
        answers.map_or_else(|| Answer::empty(otherwise), |answers| pick(answers).clone())
    };
    match outcome {
        Outcome::Challenge(answer) | Outcome::Answered(_, answer) => answer,
        Outcome::Accepted(accepted) => match accepted.acceptance() {
            Acceptance::New(_) | Acceptance::Conflict { .. } => {
                own(|a| &a.accepted, StatusCode::OK)
            }
            // The source's own rule: the first event with a key wins.
            Acceptance::Duplicate(_) | Acceptance::Dropped { .. } => {
                own(|a| &a.duplicate, StatusCode::OK)
            }
            Acceptance::Refused { .. } => own(|a| &a.rejected, StatusCode::UNAUTHORIZED),
        },
        // Nothing is known of it yet: the provider is to try again.
        Outcome::Rejected(Rejection::Unready { .. }) => with_retry_after(
            own(|a| &a.overloaded, StatusCode::SERVICE_UNAVAILABLE),
            UNREADY_PAUSE,
        ),
        Outcome::Rejected(_) => own(|a| &a.rejected, StatusCode::UNAUTHORIZED),
        Outcome::Refused(refusal) => refusal_answer(refusal, rule),
        Outcome::Overloaded(error) => with_retry_after(
            own(|a| &a.overloaded, StatusCode::SERVICE_UNAVAILABLE),
            overload_pause(&error),
        ),
    }
}

/// What the provider hears of the application's answer: its status, what kind of body it is, and the
/// body. None when the application did not take the event, or its answer was not kept whole.
pub(super) fn application_answer(attempt: &Attempt) -> Option<Answer> {
    let status = StatusCode::from_u16(attempt.status?).ok()?;
    let response = attempt.response.as_ref()?;
    if !status.is_success() || !attempt.error.is_empty() || response.cut {
        return None;
    }
    let mut answer = Answer::empty(status);
    answer.body = response.body.clone();
    let safe = ["content-type", "content-language"];
    for (name, value) in response
        .headers
        .iter()
        .filter(|(n, _)| safe.contains(&n.as_str()))
    {
        answer.headers.push(name.clone(), value.clone());
    }
    Some(answer)
}

pub(super) fn malformed_status(why: Malformed) -> StatusCode {
    match why {
        Malformed::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Malformed::TargetTooLong => StatusCode::URI_TOO_LONG,
        Malformed::TooManyHeaders | Malformed::HeadersTooLarge => {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        }
        Malformed::Framing(_)
        | Malformed::HostMissing
        | Malformed::HostRepeated
        | Malformed::HostDiffers
        | Malformed::TargetForm
        | Malformed::TargetCharacters
        | Malformed::UnderscoreTwin
        | Malformed::Upgrade
        | Malformed::Unreadable => StatusCode::BAD_REQUEST,
    }
}

fn refusal_answer(refusal: Refusal, rule: Option<&Arc<Rule>>) -> Answer {
    match refusal {
        Refusal::NotFound => Answer::empty(StatusCode::NOT_FOUND),
        Refusal::MethodNotAllowed => {
            let mut answer = Answer::empty(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = rule.map_or_else(Vec::new, |rule| rule.methods());
            let list: Vec<&str> = allowed.iter().map(http::Method::as_str).collect();
            answer.headers.push("allow", list.join(", "));
            answer
        }
        Refusal::AddressNotAllowed => Answer::empty(StatusCode::FORBIDDEN),
        Refusal::ForwardedForMalformed | Refusal::BodyBroken => {
            Answer::empty(StatusCode::BAD_REQUEST)
        }
        Refusal::RatePerAddress { retry_after } | Refusal::RateTotal { retry_after } => {
            with_retry_after(Answer::empty(StatusCode::TOO_MANY_REQUESTS), retry_after)
        }
        Refusal::BodyTooLarge => Answer::empty(StatusCode::PAYLOAD_TOO_LARGE),
        Refusal::BodyTooSlow => Answer::empty(StatusCode::REQUEST_TIMEOUT),
        Refusal::NoRoom => {
            let answer = rule.map(|rule| rule.provider.answers.overloaded.clone());
            let answer = answer.unwrap_or_else(|| Answer::empty(StatusCode::SERVICE_UNAVAILABLE));
            with_retry_after(answer, Duration::from_secs(1))
        }
    }
}

/// A host that was not reached is not asked again at once.
const UNREADY_PAUSE: Duration = Duration::from_secs(10);

/// When it is worth asking again.
fn overload_pause(error: &StoreError) -> Duration {
    match error {
        StoreError::Unavailable(Unavailable::QueueFull) => Duration::from_secs(1),
        StoreError::Unavailable(
            Unavailable::DiskLow | Unavailable::WriteFailed | Unavailable::TooLarge,
        )
        | StoreError::Unknown
        | StoreError::LeaseLost
        | StoreError::Damaged { .. }
        | StoreError::Io { .. }
        | StoreError::Closed => Duration::from_secs(30),
    }
}

fn with_retry_after(mut answer: Answer, pause: Duration) -> Answer {
    if answer.headers.all("retry-after").next().is_none() {
        answer
            .headers
            .push("retry-after", pause.as_secs().max(1).to_string());
    }
    answer
}
