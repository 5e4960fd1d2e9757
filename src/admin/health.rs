//! Is it alive, is it ready, and the figures.

use std::sync::atomic::Ordering;

use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::admin::State;
use crate::inbox::store::Stats;
use crate::telemetry::DestinationLabel;

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

/// Puts the store's figures into the gauges.
pub fn refresh(state: &State) {
    let metrics = &state.shared.metrics;
    let Stats {
        oldest_owed,
        claims,
        journal_bytes,
        accepting,
        ..
    } = state.store.stats();
    let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    for (lane, owed, dead) in state.store.by_lane() {
        let label = DestinationLabel::new(&lane.source, &lane.destination);
        metrics.owed.get_or_create(&label).set(gauge(owed));
        metrics.dead.get_or_create(&label).set(gauge(dead));
    }
    metrics.claims.set(gauge(claims));
    metrics.journal_bytes.set(gauge(journal_bytes));
    metrics.accepting.set(i64::from(accepting));
    let age = oldest_owed.map_or(0.0, |oldest| {
        state.shared.clock.now().since(oldest).as_secs_f64()
    });
    metrics.oldest_owed_age.set(age);
}

pub async fn metrics(Extract(state): Extract<State>) -> impl IntoResponse {
    refresh(&state);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(header::CONTENT_TYPE, kind)],
        state.shared.metrics.encode(),
    )
}
