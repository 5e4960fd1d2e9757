//! The admin port's thread: accepts, serves, keeps the gauges fresh, and lets the store give back
//! what is past its time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::admin::{State, router};
use crate::inbox::store::{self, Filter};
use crate::listener::io::{Screen, ScreenedIo};
use crate::message::SourceName;
use crate::telemetry::field;

/// Connections at once; an operator and a scraper need a handful.
const CONNECTIONS: usize = 64;
/// For a head, and for a write that makes no progress: who neither asks nor listens gives its
/// place to who does.
const PATIENCE: Duration = Duration::from_secs(10);
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
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        // Without it nothing expires and the disk fills: its end is the end of this thread, which
        // the gateway notices.
        let housekeeping = tokio::task::spawn_local(housekeeping(state.clone()));
        tokio::select! {
            ended = accept(listener, state, stop) => if let Err(error) = ended {
                tracing::error!(%error, "the admin port ended");
            },
            _ = housekeeping => tracing::error!("the housekeeping ended"),
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
        tokio::task::spawn_local(async move {
            let _place = place;
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(64 * 1024);
            let io = ScreenedIo::new(stream, Screen::Off, PATIENCE, PATIENCE);
            let _ = builder.serve_connection(TokioIo::new(io), service).await;
        });
    }
}

async fn housekeeping(state: State) {
    state.watch.remember().await;
    let mut strays = BTreeSet::new();
    let mut gauges = tokio::time::interval(GAUGES_EVERY);
    let mut expire = tokio::time::interval(EXPIRE_EVERY);
    let mut look = tokio::time::interval(EXPIRE_EVERY);
    loop {
        tokio::select! {
            _ = gauges.tick() => state.watch.refresh(),
            _ = look.tick() => strays = look_for_strays(&state, strays).await,
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

/// Pages of what is owed that one look goes through.
const STRAY_PAGES: usize = 8;

/// Says it when deliveries are owed to sources that no rule names any more: they are kept, and wait
/// for ever, and nothing else would show it. Gives what it found; says nothing twice.
async fn look_for_strays(state: &State, known: BTreeSet<SourceName>) -> BTreeSet<SourceName> {
    let mut found = BTreeSet::new();
    let filter = Filter {
        state: Some(store::State::Owed),
        ..Filter::default()
    };
    let mut after = None;
    for _ in 0..STRAY_PAGES {
        if state.store.stats().owed == 0 {
            break;
        }
        let Ok(page) = state.store.list(&filter, after, 500).await else {
            return known;
        };
        let rules = &state.shared.loaded.load().rules.rules;
        let named = |name: &SourceName| rules.iter().any(|rule| rule.name == *name);
        let sources = page.rows.into_iter().map(|row| row.source);
        found.extend(sources.filter(|source| !named(source)));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    for source in found.difference(&known) {
        tracing::warn!({ field::SOURCE } = %source, "deliveries are owed to a source without a rule: they wait until it has one again");
    }
    found
}
