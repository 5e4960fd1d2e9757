//! Errors of the admin port as problem documents (RFC 9457).

use std::collections::BTreeMap;
use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::inbox::store::StoreError;
use crate::message::BadEventId;

/// One problem. `type` is left out, which means `about:blank`: the title is that of the status.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Problem {
    pub status: u16,
    pub title: &'static str,
    pub detail: String,
    /// Stable, for machines.
    pub code: &'static str,
    /// `detail` as a stable code, for readers of other languages, where it says more than `code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'static str>,
    /// What it says: numbers and names, as text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<&'static str, String>,
    /// Seconds after which to ask again, in the header Retry-After.
    #[serde(skip)]
    #[schemars(skip)]
    pub retry_after: Option<u64>,
}

/// Those that say in Retry-After when to ask again.
pub const AGAIN: [&str; 3] = [
    "too_many_requests",
    "too_many_streams",
    "too_many_connections",
];

/// Every code that the admin port itself gives, with its status. The store's own come with 503.
pub const CODES: [(&str, u16); 21] = [
    ("bad_parameter", 400),
    ("unauthorized", 401),
    ("operator_only", 403),
    ("csrf", 403),
    ("client_certificate", 403),
    ("no_such_event", 404),
    ("no_such_job", 404),
    ("no_such_source", 404),
    ("not_found", 404),
    ("method_not_allowed", 405),
    ("timeout", 408),
    ("not_applicable", 409),
    ("count_differs", 409),
    ("too_many", 409),
    ("reload_failed", 409),
    ("too_large", 413),
    ("host", 421),
    ("too_many_requests", 429),
    ("store", 503),
    ("too_many_streams", 503),
    ("too_many_connections", 503),
];

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Problem {
            status: status.as_u16(),
            title,
            detail: detail.into(),
            code,
            text: None,
            facts: BTreeMap::new(),
            retry_after: None,
        }
    }

    /// The detail once more, as a code and what it says.
    pub fn said(self, text: &'static str) -> Self {
        Problem {
            text: Some(text),
            ..self
        }
    }

    pub fn fact(mut self, name: &'static str, value: impl ToString) -> Self {
        self.facts.insert(name, value.to_string());
        self
    }

    /// Ask again after so many seconds.
    pub fn again_in(self, seconds: u64) -> Self {
        Problem {
            retry_after: Some(seconds),
            ..self
        }
    }

    pub fn too_many_requests(seconds: u64, detail: impl Into<String>) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Problem::new(status, "too_many_requests", detail).again_in(seconds)
    }

    pub fn bad_parameter(name: &str, wrong: Wrong) -> Self {
        let detail = format!("{name}: {wrong}");
        let facts = wrong.facts().into_iter().chain([("name", name.to_owned())]);
        Problem {
            text: Some(wrong.text()),
            facts: facts.collect(),
            ..Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail)
        }
    }

    pub fn not_applicable(why: impl Into<String>) -> Self {
        Problem::new(StatusCode::CONFLICT, "not_applicable", why)
    }

    pub fn no_such_source(why: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, "no_such_source", why)
    }

    pub fn no_such_job() -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no_such_job",
            "there is no such job, or no longer",
        )
    }

    pub fn no_such_event() -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no_such_event",
            "there is no such event, or no longer",
        )
    }
}

/// What is wrong with a parameter, in English for the detail; for others by its code and facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// These are known, and it is none of them.
    OneOf(String),
    SomeOf(String),
    /// A number out of its bounds, both included; `why` says so.
    Number {
        why: String,
        from: usize,
        to: usize,
    },
    /// So many characters at most, and one at least.
    Characters {
        most: usize,
    },
    Bytes {
        most: usize,
    },
    /// No moment in RFC 3339, or one before 1970.
    Moment {
        why: String,
    },
    EventId,
    ReasonMissing,
    /// A query or a body that does not fit, as the reader says it.
    Unreadable {
        why: String,
    },
    BrokenOff,
    TokenInAddress,
    /// Signing in takes `{"token":"…"}`.
    SignIn,
    /// A path, or a body, of another kind.
    NotTaken,
    NotJson,
}

impl Wrong {
    /// Every code there is: the page has words for each.
    pub const TEXTS: [&'static str; 14] = [
        "one_of",
        "some_of",
        "number",
        "characters",
        "bytes",
        "moment",
        "event_id",
        "reason_missing",
        "unreadable",
        "broken_off",
        "token_in_address",
        "token_wanted",
        "not_taken",
        "not_json",
    ];

    pub fn text(&self) -> &'static str {
        match self {
            Wrong::OneOf(_) => "one_of",
            Wrong::SomeOf(_) => "some_of",
            Wrong::Number { .. } => "number",
            Wrong::Characters { .. } => "characters",
            Wrong::Bytes { .. } => "bytes",
            Wrong::Moment { .. } => "moment",
            Wrong::EventId => "event_id",
            Wrong::ReasonMissing => "reason_missing",
            Wrong::Unreadable { .. } => "unreadable",
            Wrong::BrokenOff => "broken_off",
            Wrong::TokenInAddress => "token_in_address",
            Wrong::SignIn => "token_wanted",
            Wrong::NotTaken => "not_taken",
            Wrong::NotJson => "not_json",
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        match self {
            Wrong::OneOf(values) | Wrong::SomeOf(values) => vec![("values", values.clone())],
            Wrong::Number { from, to, .. } => {
                vec![("from", from.to_string()), ("to", to.to_string())]
            }
            Wrong::Characters { most } | Wrong::Bytes { most } => {
                vec![("most", most.to_string())]
            }
            Wrong::Moment { why } | Wrong::Unreadable { why } => vec![("why", why.clone())],
            Wrong::EventId
            | Wrong::ReasonMissing
            | Wrong::BrokenOff
            | Wrong::TokenInAddress
            | Wrong::SignIn
            | Wrong::NotTaken
            | Wrong::NotJson => Vec::new(),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::OneOf(values) => write!(f, "one of {values}"),
            Wrong::SomeOf(values) => write!(f, "some of {values}, with commas between"),
            Wrong::Characters { most } => write!(f, "from 1 to {most} characters"),
            Wrong::Bytes { most } => write!(f, "at most {most} bytes"),
            Wrong::Number { why, .. } | Wrong::Moment { why } | Wrong::Unreadable { why } => {
                f.write_str(why)
            }
            Wrong::EventId => BadEventId.fmt(f),
            Wrong::ReasonMissing => f.write_str("a discard needs a reason"),
            Wrong::BrokenOff => f.write_str("it broke off"),
            Wrong::TokenInAddress => f.write_str(
                "a token in an address stays in logs and histories: send \
                 `Authorization: Bearer TOKEN`, and take another token",
            ),
            Wrong::SignIn => f.write_str("a JSON object with `token`, a text"),
            Wrong::NotTaken => f.write_str("not what this path takes"),
            Wrong::NotJson => f.write_str("send JSON as application/json"),
        }
    }
}

/// Texts that say more than their problem's code does, but for those of a wrong parameter.
pub const TEXTS: [&str; 11] = [
    "not_redriven",
    "not_discarded",
    "source_gone",
    "no_request",
    "count_differs",
    "jobs_many",
    "deliveries_many",
    "looking_long",
    "body_large",
    "damaged",
    "io",
];

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Problem::new(status, error.code(), error.to_string());
        match error {
            StoreError::Damaged { id } => problem.said("damaged").fact("id", id),
            StoreError::Io { doing, kind } => {
                let what = format!("{doing}: {kind}");
                problem.said("io").fact("what", what)
            }
            StoreError::Unavailable(_)
            | StoreError::Unknown
            | StoreError::LeaseLost
            | StoreError::Closed => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let again = self.retry_after;
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = again {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path",
    )
}

pub async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not know this method",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_parameter_is_said_in_english_and_by_its_parts() {
        let wrong = Wrong::Number {
            why: "501 is not from 1 to 500".to_owned(),
            from: 1,
            to: 500,
        };
        let problem = Problem::bad_parameter("limit", wrong);
        let expected = json!({
            "status": 400,
            "title": "Bad Request",
            "detail": "limit: 501 is not from 1 to 500",
            "code": "bad_parameter",
            "text": "number",
            "facts": { "name": "limit", "from": "1", "to": "500" },
        });
        assert_eq!(serde_json::to_value(&problem).unwrap(), expected);
        // Where the code says all, nothing is added.
        let gone = serde_json::to_value(Problem::no_such_event()).unwrap();
        assert!(gone.get("text").is_none() && gone.get("facts").is_none());
    }
}
