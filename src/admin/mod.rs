//! The admin port: what happened, what is owed, and the word to send it again. Its own listener,
//! on loopback; a bearer token everywhere but on the two health paths.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::routing::{get, post};

use crate::clock::Timestamp;
use crate::inbox::store::Store;
use crate::listener::tls::CurrentIdentity;
use crate::pipeline;
use crate::relay::Relay;
use crate::settings::Settings;

pub mod token;
pub mod problem;
pub mod auth;
pub mod parameter;
pub mod money;
pub mod history;
pub mod reasons;
pub mod audit;
pub mod events;
pub mod payload;
pub mod detail;
pub mod jobs;
pub mod operate;
pub mod many;
pub mod refusals;
pub mod sources;
pub mod attention;
pub mod overview;
pub mod stats;
pub mod rules;
pub mod doctor;
pub mod stream;
pub mod health;
pub mod page;
pub mod serve;

/// What the admin port looks at.
#[derive(Clone)]
pub struct State {
    pub shared: Arc<pipeline::Shared>,
    pub store: Arc<dyn Store>,
    pub relay: Arc<Relay>,
    pub jobs: Arc<jobs::Jobs>,
    pub tokens: Arc<token::Tokens>,
    pub draining: Arc<AtomicBool>,
    pub certificate: Arc<CurrentIdentity>,
    /// The address that the port is bound to: what a Host header may say.
    pub address: SocketAddr,
    pub settings: Arc<Settings>,
    pub reload: Reload,
    pub history: Arc<history::History>,
    pub stream: Arc<stream::Stream>,
    pub started_at: Timestamp,
}

/// Exchanges rules, keys and certificate; what is wrong with them, a fault a line.
pub type Reload = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Every path of the admin port. `docs/architecture.md` lists them; a test compares.
pub const ROUTES: [(&str, &str); 29] = [
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/v1/overview"),
    ("GET", "/v1/stats"),
    ("GET", "/v1/events"),
    ("GET", "/v1/events/{id}"),
    ("GET", "/v1/events/{id}/verification"),
    ("GET", "/v1/events/{id}/body"),
    ("GET", "/v1/events/{id}/request"),
    ("POST", "/v1/events/{id}/redrive"),
    ("POST", "/v1/events/{id}/discard"),
    ("GET", "/v1/groups"),
    ("POST", "/v1/redrive"),
    ("POST", "/v1/discard"),
    ("GET", "/v1/jobs"),
    ("GET", "/v1/jobs/{id}"),
    ("POST", "/v1/jobs/{id}/stop"),
    ("GET", "/v1/refusals"),
    ("GET", "/v1/refusals/groups"),
    ("GET", "/v1/sources"),
    ("GET", "/v1/sources/{name}"),
    ("POST", "/v1/sources/{name}/pause"),
    ("POST", "/v1/sources/{name}/resume"),
    ("GET", "/v1/rules"),
    ("POST", "/v1/reload"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/doctor"),
    ("GET", "/v1/stream"),
];

/// The router: the two health paths are open, all else asks for a token; every path checks Host.
pub fn router(state: State) -> Router {
    let open = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz));
    let closed = Router::new()
        .route("/metrics", get(health::metrics))
        .route("/v1/overview", get(overview::overview))
        .route("/v1/stats", get(stats::stats))
        .route("/v1/events", get(events::events))
        .route("/v1/events/{id}", get(detail::event))
        .route("/v1/events/{id}/verification", get(detail::verification))
        .route("/v1/events/{id}/body", get(payload::body))
        .route("/v1/events/{id}/request", get(payload::request))
        .route("/v1/events/{id}/redrive", post(operate::redrive))
        .route("/v1/events/{id}/discard", post(operate::discard))
        .route("/v1/groups", get(events::groups))
        .route("/v1/redrive", post(many::redrive))
        .route("/v1/discard", post(many::discard))
        .route("/v1/jobs", get(many::jobs))
        .route("/v1/jobs/{id}", get(many::job))
        .route("/v1/jobs/{id}/stop", post(many::stop))
        .route("/v1/refusals", get(refusals::refusals))
        .route("/v1/refusals/groups", get(refusals::groups))
        .route("/v1/sources", get(sources::sources))
        .route("/v1/sources/{name}", get(sources::source))
        .route("/v1/sources/{name}/pause", post(operate::pause))
        .route("/v1/sources/{name}/resume", post(operate::resume))
        .route("/v1/rules", get(rules::rules))
        .route("/v1/reload", post(rules::reload))
        .route("/v1/audit", get(audit::audit))
        .route("/v1/doctor", get(doctor::doctor))
        .route("/v1/stream", get(stream::stream))
        .route_layer(axum::middleware::from_fn_with_state(
            state.clone(),
            auth::require_token,
        ));
    open.merge(page::routes())
        .merge(closed)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            auth::check_host,
        ))
        .with_state(state)
}
