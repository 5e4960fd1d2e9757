//! Is it alive, is it ready, and the figures.

use std::sync::atomic::Ordering;

use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::admin::State;

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

pub async fn metrics(Extract(state): Extract<State>) -> impl IntoResponse {
    state.watch.refresh();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(header::CONTENT_TYPE, kind)],
        state.shared.metrics.encode(),
    )
}
