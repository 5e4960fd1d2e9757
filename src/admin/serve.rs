//! The admin port's thread: serves, keeps the gauges fresh, and lets the store give back
//! what is past its time.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::admin::bind::Bound;
use crate::admin::keeper::KEEP_EVERY;
use crate::admin::{State, connection, sources, stream};
use crate::inbox::store::{self, Filter};
use crate::message::SourceName;
use crate::telemetry::field;

/// Threads that read the store for whoever asks; more requests wait for one another.
const READING: usize = 8;
/// Whether a step of the history is over.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
const GAUGES_EVERY: Duration = Duration::from_secs(10);
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // What is asked here reads the journal, as deliveries do: not more of it at once.
        .max_blocking_threads(READING)
        .build()
}

/// Serves until `stop` turns true.
pub fn run(bound: Bound, state: State, stop: watch::Receiver<bool>) {
    let runtime = match runtime() {
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
        let sampling = tokio::task::spawn_local(sampling(state.clone()));
        let keeping = tokio::task::spawn_local(keeping(state.clone()));
        let told = state.clone();
        let stream = tokio::task::spawn_local(async move { stream::run(&told).await });
        tokio::select! {
            ended = connection::accept(bound, state, stop) => if let Err(error) = ended {
                tracing::error!(%error, "the admin port ended");
            },
            _ = housekeeping => tracing::error!("the housekeeping ended"),
            _ = sampling => tracing::error!("the sampling ended"),
            _ = keeping => tracing::error!("the keeping of figures ended"),
            _ = stream => tracing::error!("the stream of news ended"),
        }
    });
}

/// Keeps the history, and looks up in the store what it knows of sources that are new.
async fn sampling(state: State) {
    let mut sample = tokio::time::interval(SAMPLE_EVERY);
    let mut known = None;
    loop {
        sample.tick().await;
        let (now, figures) = (state.shared.clock.now(), &state.shared.metrics.figures);
        let gauges = |source: Option<&SourceName>| sources::gauges(&state, source);
        state.history.sample(now, figures, gauges);
        let loaded = state.shared.loaded.load_full();
        if !known
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &loaded))
        {
            known = Some(loaded);
            let watch = state.watch.clone();
            tokio::task::spawn_local(async move { watch.remember().await });
        }
    }
}

/// Writes down what the next process is to know. A disk that hangs holds up nothing else, and one write
/// at a time waits for it.
async fn keeping(state: State) {
    let mut turn = tokio::time::interval(KEEP_EVERY);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    turn.tick().await;
    loop {
        turn.tick().await;
        let keeper = state.keeper.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || keeper.keep()).await {
            tracing::error!(%error, "the figures were not written");
        }
    }
}

async fn housekeeping(state: State) {
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

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// However many ask, so many threads read the store for them, and no more.
    #[test]
    fn threads_that_read_are_bounded() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let together = Arc::new(Barrier::new(READING));
        let runtime = runtime().unwrap();
        let reads: Vec<_> = (0..READING * 8)
            .map(|_| {
                let (now, most, together) = (now.clone(), most.clone(), together.clone());
                runtime.spawn_blocking(move || {
                    let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(count, Ordering::SeqCst);
                    // None goes on before as many as may be have begun.
                    together.wait();
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        runtime.block_on(async {
            for read in reads {
                read.await.unwrap();
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), READING);
    }
}
