//! Is it alive, is it ready, and the figures.

use std::sync::atomic::Ordering;

use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;

use crate::admin::{State, exposition};

/// 200 as long as the process answers and its store can go on.
pub async fn healthz(Extract(state): Extract<State>) -> impl IntoResponse {
    match state.store.stats().failed {
        false => (StatusCode::OK, "ok\n"),
        true => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the store failed: restart\n",
        ),
    }
}

/// 200 while callbacks can be accepted: not while draining, nor while the disk is full.
pub async fn readyz(Extract(state): Extract<State>) -> impl IntoResponse {
    if state.draining.load(Ordering::SeqCst) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match state.store.stats().accepting {
        true => (StatusCode::OK, "ready\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "nothing can be accepted: see the log\n",
        ),
    }
}

/// OpenMetrics 1.0, with exemplars.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The text format of Prometheus.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// As OpenMetrics for who asks for it, and who says nothing; else in the older format.
pub async fn metrics(Extract(state): Extract<State>, headers: HeaderMap) -> impl IntoResponse {
    state.watch.refresh();
    let page = state.shared.metrics.encode();
    let accept = headers.get_all(header::ACCEPT);
    let open = |value: &HeaderValue| {
        let value = value.as_bytes().to_ascii_lowercase();
        let wanted = b"application/openmetrics-text";
        value.windows(wanted.len()).any(|part| part == wanted)
    };
    let (kind, page) = match accept.iter().next().is_none() || accept.iter().any(open) {
        true => (OPEN_METRICS, page),
        false => (TEXT, exposition::plain(&page)),
    };
    (
        [(header::CONTENT_TYPE, kind), (header::VARY, "accept")],
        page,
    )
}
