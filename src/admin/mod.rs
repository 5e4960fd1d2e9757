//! The admin port: what happened, what is owed, and the word to send it again. Its own listener,
//! on loopback; a bearer token everywhere but on the two health paths.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::routing::{get, post};

use crate::inbox::store::Store;
use crate::listener::tls::CurrentIdentity;
use crate::pipeline;
use crate::relay::Relay;
use crate::watch::Watch;

pub mod api;
pub mod auth;
pub mod health;
pub mod jobs;
pub mod operate;
pub mod parameter;
pub mod problem;
pub mod serve;
pub mod token;

/// What the admin port looks at.
#[derive(Clone)]
pub struct State {
    pub shared: Arc<pipeline::Shared>,
    pub store: Arc<dyn Store>,
    pub relay: Arc<Relay>,
    pub watch: Arc<Watch>,
    pub jobs: Arc<jobs::Jobs>,
    pub tokens: Arc<token::Tokens>,
    pub draining: Arc<AtomicBool>,
    pub certificate: Arc<CurrentIdentity>,
    /// The address that the port is bound to: what a Host header may say.
    pub address: SocketAddr,
}

/// Every path of the admin port. `docs/architecture.md` lists them; a test compares.
pub const ROUTES: [(&str, &str); 16] = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/v1/events"),
    ("GET", "/v1/events/{id}"),
    ("GET", "/v1/events/{id}/body"),
    ("POST", "/v1/events/{id}/redrive"),
    ("GET", "/v1/sources"),
    ("GET", "/v1/refusals"),
    ("POST", "/v1/sources/{name}/pause"),
    ("POST", "/v1/sources/{name}/resume"),
    ("GET", "/v1/audit"),
    ("POST", "/v1/redrive"),
    ("POST", "/v1/discard"),
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs/{id}/stop"),
];

/// The router: the two health paths are open, all else asks for a token; every path checks Host.
pub fn router(state: State) -> Router {
    let open = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz));
    let closed = Router::new()
        .route("/metrics", get(health::metrics))
        .route("/v1/events", get(api::events))
        .route("/v1/events/{id}", get(api::event))
        .route("/v1/events/{id}/body", get(api::body))
        .route("/v1/events/{id}/redrive", post(api::redrive))
        .route("/v1/sources", get(api::sources))
        .route("/v1/refusals", get(api::refusals))
        .route("/v1/sources/{name}/pause", post(operate::pause))
        .route("/v1/sources/{name}/resume", post(operate::resume))
        .route("/v1/audit", get(operate::audit))
        .route("/v1/redrive", post(operate::redrive))
        .route("/v1/discard", post(operate::discard))
        .route("/v1/jobs", get(operate::jobs))
        .route("/v1/jobs/{id}/stop", post(operate::stop))
        .route_layer(axum::middleware::from_fn_with_state(
            state.clone(),
            auth::require_token,
        ));
    open.merge(closed)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            auth::check_host,
        ))
        .with_state(state)
}
