//! The admin port's thread: accepts, serves, keeps the gauges fresh, and lets the store give back
//! what is past its time.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::admin::{State, health, router};

/// Connections at once; an operator and a scraper need a handful.
const CONNECTIONS: usize = 64;
const GAUGES_EVERY: Duration = Duration::from_secs(10);
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// Serves until `stop` turns true.
pub fn run(listener: std::net::TcpListener, state: State, stop: watch::Receiver<bool>) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the admin port's runtime could not be started");
            return;
        }
    };
    runtime.block_on(async move {
        tokio::spawn(housekeeping(state.clone()));
        if let Err(error) = accept(listener, state, stop).await {
            tracing::error!(%error, "the admin port ended");
        }
    });
}

async fn accept(
    listener: std::net::TcpListener,
    state: State,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let service = TowerToHyperService::new(router(state));
    loop {
        let stream = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection to the admin port could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            }
        };
        // Above the limit the connection is closed at once.
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            let _place = place;
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .max_buf_size(64 * 1024);
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn housekeeping(state: State) {
    let mut gauges = tokio::time::interval(GAUGES_EVERY);
    let mut expire = tokio::time::interval(EXPIRE_EVERY);
    loop {
        tokio::select! {
            _ = gauges.tick() => health::refresh(&state),
            _ = expire.tick() => match state.store.expire(state.shared.clock.now()).await {
                Ok(expired) if expired.events > 0 => {
                    tracing::info!(events = expired.events, bytes = expired.bytes, "gave back what is past its time");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "expiry"),
            }
        }
    }
}
