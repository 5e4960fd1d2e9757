//! The admin port: what happened, what is owed, and the word to send it again. Its own listener,
//! on loopback or a Unix socket or behind TLS; a token or a session everywhere but on the two health
//! paths and for the files of the page.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;

use crate::admin::auth::Access;
use crate::clock::Timestamp;
use crate::inbox::store::Store;
use crate::listener::tls::CurrentIdentity;
use crate::pipeline;
use crate::relay::Relay;
use crate::settings::Settings;
use crate::watch::Watch;

pub mod answer;
pub mod token;
pub mod problem;
pub mod host;
pub mod tls;
pub mod bind;
pub mod limits;
pub mod session;
pub mod auth;
pub mod parameter;
pub mod money;
pub mod history;
pub mod reasons;
pub mod audit;
pub mod events;
pub mod groups;
pub mod payload;
pub mod detail;
pub mod verification;
pub mod jobs;
pub mod openapi;
pub mod operate;
pub mod many;
pub mod refusals;
pub mod sources;
pub mod keeper;
pub mod attention;
pub mod overview;
pub mod stats;
pub mod rules;
pub mod doctor;
pub mod stream;
pub mod exposition;
pub mod health;
pub mod page;
#[cfg(test)]
mod words;
pub mod sign_in;
pub mod routes;
pub mod connection;
pub mod serve;

/// What the admin port looks at.
#[derive(Clone)]
pub struct State {
    pub shared: Arc<pipeline::Shared>,
    pub store: Arc<dyn Store>,
    pub relay: Arc<Relay>,
    pub watch: Arc<Watch>,
    pub jobs: Arc<jobs::Jobs>,
    /// Who gets in.
    pub door: Arc<auth::Door>,
    pub draining: Arc<AtomicBool>,
    pub certificate: Arc<CurrentIdentity>,
    pub settings: Arc<Settings>,
    pub reload: Reload,
    pub history: Arc<history::History>,
    pub keeper: Arc<keeper::Keeper>,
    pub stream: Arc<stream::Stream>,
    pub started_at: Timestamp,
}

/// Exchanges rules, keys, certificates and what of the settings can change. Gives the keys of the
/// settings that changed and count from the next start on only; else what is wrong, a fault a line.
pub type Reload = Arc<dyn Fn() -> Result<Vec<&'static str>, String> + Send + Sync>;

/// The router, made of the table of [`routes`]: what a path asks of whoever asks for it stands
/// there, and every path is under rate and name.
pub fn router(state: State) -> Router {
    let mut router = Router::new();
    for route in routes::routes() {
        let asks = axum::middleware::from_fn_with_state((state.clone(), route.access), auth::admit);
        router = router.route(route.path, route.handler().route_layer(asks));
    }
    // The page's files hold nothing secret; where certificates are asked for, for these too.
    let asks = axum::middleware::from_fn_with_state((state.clone(), Access::Open), auth::admit);
    router
        .merge(page::routes().route_layer(asks))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            auth::guard,
        ))
        .with_state(state)
}
