//! `[answer]`: what the provider hears, in its own words.

use bytes::Bytes;
use http::StatusCode;

use crate::message::{Answer, Headers};
use crate::rule::Answers;
use crate::rule::reader::Field;

pub(super) fn answers(field: Option<&Field<'_>>) -> Option<Answers> {
    let mut answers = Answers {
        accepted: Answer::empty(StatusCode::OK),
        duplicate: Answer::empty(StatusCode::OK),
        rejected: Answer::empty(StatusCode::UNAUTHORIZED),
        overloaded: Answer::empty(StatusCode::SERVICE_UNAVAILABLE),
    };
    let Some(field) = field else {
        return Some(answers);
    };
    let table = field.table()?;
    if let Some(field) = table.get("accepted") {
        answers.accepted = success(&field)?;
    }
    answers.duplicate = match table.get("duplicate") {
        Some(field) => success(&field)?,
        // A provider that hears anything else for the second try would go on trying.
        None => answers.accepted.clone(),
    };
    if let Some(field) = table.get("rejected") {
        answers.rejected = rejected(&field)?;
    }
    if let Some(field) = table.get("overloaded") {
        answers.overloaded = overloaded(&field)?;
    }
    table.finish();
    Some(answers)
}

fn success(field: &Field<'_>) -> Option<Answer> {
    let answer = answer(field)?;
    if !answer.status.is_success() {
        field.problems.error_with(
            field.span.clone(),
            "not_a_success",
            format!(
                "{} would make the provider try again",
                answer.status.as_u16()
            ),
            "an event that is on stable storage is answered with 2xx; never with a redirect",
        );
    }
    Some(answer)
}

/// L15: WeChat Pay, Xero and Discord send wrong signatures on purpose, to see who says yes.
fn rejected(field: &Field<'_>) -> Option<Answer> {
    let answer = answer(field)?;
    if !(answer.status.is_client_error() || answer.status.is_server_error()) {
        field.problems.error_with(
            field.span.clone(),
            "success_for_a_forgery",
            format!(
                "a bad signature would be answered with {}",
                answer.status.as_u16()
            ),
            "providers probe for exactly this; use 4xx, e.g. 401",
        );
    }
    Some(answer)
}

/// L13: a 4xx tells some providers that it is final, and the event would be lost.
fn overloaded(field: &Field<'_>) -> Option<Answer> {
    let answer = answer(field)?;
    if !answer.status.is_server_error() && answer.status != StatusCode::TOO_MANY_REQUESTS {
        field.problems.error_with(
            field.span.clone(),
            "no_retry",
            format!(
                "{} for a fault of ours may end the provider's retries",
                answer.status.as_u16()
            ),
            "use 503, or 429 where the provider wants it",
        );
    }
    Some(answer)
}

fn answer(field: &Field<'_>) -> Option<Answer> {
    let table = field.table()?;
    let status = table
        .need("status", "e.g. `{ status = 200, body = \"success\" }`")
        .and_then(|f| f.integer(200..=599));
    let body = table.get("body").and_then(|f| f.text()).unwrap_or_default();
    let kind = table
        .get("content_type")
        .map_or(Some("text/plain; charset=utf-8"), |f| f.text());
    table.finish();
    let status = StatusCode::from_u16(u16::try_from(status?).ok()?).ok()?;
    let mut headers = Headers::new();
    if !body.is_empty() {
        headers.push("content-type", content_type(field, kind?)?);
    }
    Some(Answer {
        status,
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    })
}

pub(super) fn content_type(field: &Field<'_>, kind: &str) -> Option<String> {
    if http::HeaderValue::from_str(kind).is_err() {
        let message = "this cannot be the value of a header field";
        field
            .problems
            .error(field.span.clone(), "bad_value", message);
        return None;
    }
    Some(kind.to_owned())
}
