//! The admin port: what happened, what is owed, and the word to send it again. Its own listener,
//! on loopback or a Unix socket or behind TLS; a token or a session everywhere but on the two health
//! paths and for the files of the page.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;

use crate::inbox::store::Store;
use crate::listener::tls::CurrentIdentity;
use crate::pipeline;
use crate::relay::Relay;

pub mod answer;
pub mod api;
pub mod auth;
pub mod bind;
pub mod connection;
pub mod health;
pub mod host;
pub mod jobs;
pub mod limits;
pub mod openapi;
pub mod operate;
pub mod parameter;
pub mod problem;
pub mod routes;
pub mod serve;
pub mod session;
pub mod sign_in;
pub mod tls;
pub mod token;

/// What the admin port looks at.
#[derive(Clone)]
pub struct State {
    pub shared: Arc<pipeline::Shared>,
    pub store: Arc<dyn Store>,
    pub relay: Arc<Relay>,
    pub jobs: Arc<jobs::Jobs>,
    /// Who gets in.
    pub door: Arc<auth::Door>,
    pub draining: Arc<AtomicBool>,
    pub certificate: Arc<CurrentIdentity>,
}

/// The router, made of the table of [`routes`]: what a path asks of whoever asks for it stands
/// there, and every path is under rate and name.
pub fn router(state: State) -> Router {
    let mut router = Router::new();
    for route in routes::routes() {
        let asks = axum::middleware::from_fn_with_state((state.clone(), route.access), auth::admit);
        router = router.route(route.path, route.handler().route_layer(asks));
    }
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            auth::guard,
        ))
        .with_state(state)
}
