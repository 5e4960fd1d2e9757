//! Errors of the admin port as problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::inbox::store::StoreError;

/// One problem. `type` is left out, which means `about:blank`: the title is that of the status.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Problem {
    pub status: u16,
    pub title: &'static str,
    pub detail: String,
    /// Stable, for machines.
    pub code: &'static str,
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
            retry_after: None,
        }
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

    pub fn bad_parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_parameter",
            format!("{name}: {why}"),
        )
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

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            error.code(),
            error.to_string(),
        )
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
