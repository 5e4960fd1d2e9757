//! What every answer of the admin port bears, and that it is in our words.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::admin::host;
use crate::admin::problem::{Problem, Wrong};

/// What axum itself refuses, e.g. a path that is no number where one is wanted, it says in plain
/// text, with what was sent in it.
pub fn in_our_words(response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let plain = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let wrong = match response.status() {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Wrong::NotTaken,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Wrong::NotJson,
        _ => return response,
    };
    match plain {
        true => Problem::bad_parameter("request", wrong).into_response(),
        false => response,
    }
}

/// HSTS holds for a name on all of its ports: on loopback it would shut out other programs.
pub fn names_loopback(parts: &Parts) -> bool {
    let header = host::one(&parts.headers, "host");
    let host = parts.uri.authority().map(|a| a.as_str()).or(header);
    let near = ["localhost", "127.", "[::1]"];
    host.is_none_or(|host| near.iter().any(|name| host.starts_with(name)))
}

/// What every answer bears. A page has a policy of its own, and may be kept.
pub fn dress(headers: &mut HeaderMap, lasting: bool) {
    let own = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in own {
        let value = HeaderValue::from_static(value);
        headers.entry(name).or_insert(value);
    }
    let always = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if lasting {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
}
