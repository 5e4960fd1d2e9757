//! Redriving and discarding many, at a rate. A job is in memory only: a stop of the gateway ends it,
//! and what it had done stays done; the audit has its beginning and, where it came to one, its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::admin::State;
use crate::inbox::store::{Deed, Operated, Operation};
use crate::message::{EventId, SourceName};
use crate::telemetry::news::News;

/// Jobs that are remembered after their end.
const REMEMBERED: usize = 50;

/// What is to be done.
pub struct Job {
    /// As it stands in the audit.
    pub deed: Deed,
    pub word: Operation,
    /// Oldest first.
    pub ids: Vec<EventId>,
    /// In any second.
    pub rate: u32,
}

#[derive(Default)]
pub struct Jobs {
    table: Mutex<BTreeMap<u64, Arc<Progress>>>,
    last: AtomicU64,
}

struct Progress {
    id: u64,
    deed: Deed,
    total: u64,
    looked: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    outcome: Mutex<&'static str>,
}

impl Progress {
    fn outcome(&self) -> MutexGuard<'_, &'static str> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct JobJson {
    id: u64,
    what: &'static str,
    by: String,
    begun_at: String,
    filter: String,
    /// Deliveries that fitted when it began.
    total: u64,
    /// How many of them were looked at, and how many changed by it.
    looked: u64,
    done: u64,
    /// `running`, `done`, `stopped`, or the code of what failed.
    outcome: &'static str,
}

impl JobJson {
    fn of(id: u64, progress: &Progress) -> Self {
        JobJson {
            id,
            what: progress.deed.kind.as_str(),
            by: progress.deed.by.clone(),
            begun_at: progress.deed.at.to_string(),
            filter: progress.deed.detail.clone(),
            total: progress.total,
            looked: progress.looked.load(Ordering::SeqCst),
            done: progress.done.load(Ordering::SeqCst),
            outcome: *progress.outcome(),
        }
    }
}

impl Jobs {
    fn table(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Progress>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its number.
    pub fn begin(&self, state: &State, job: Job) -> u64 {
        let id = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        let progress = Arc::new(Progress {
            id,
            deed: job.deed.clone(),
            total: job.ids.len() as u64,
            looked: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            outcome: Mutex::new("running"),
        });
        let mut table = self.table();
        table.insert(id, progress.clone());
        while table.len() > REMEMBERED {
            let ended = table.iter().find(|(_, p)| *p.outcome() != "running");
            let Some(oldest) = ended.map(|(id, _)| *id) else {
                break;
            };
            table.remove(&oldest);
        }
        drop(table);
        state.shared.metrics.news.tell(|| News::Job { id });
        tokio::spawn(run(state.clone(), job, progress));
        id
    }

    /// Newest first.
    pub fn list(&self) -> Vec<JobJson> {
        let table = self.table();
        let newest = table.iter().rev();
        newest
            .map(|(id, progress)| JobJson::of(*id, progress))
            .collect()
    }

    pub fn running(&self) -> usize {
        let table = self.table();
        let running = table.values().filter(|p| *p.outcome() == "running");
        running.count()
    }

    pub fn get(&self, id: u64) -> Option<JobJson> {
        let table = self.table();
        table.get(&id).map(|progress| JobJson::of(id, progress))
    }

    /// False when there is none under way with this number.
    pub fn stop(&self, id: u64) -> bool {
        let table = self.table();
        let running = table.get(&id).filter(|p| *p.outcome() == "running");
        running.is_some_and(|progress| {
            progress.stop.store(true, Ordering::SeqCst);
            true
        })
    }
}

async fn run(state: State, job: Job, progress: Arc<Progress>) {
    let outcome = work(&state, &job, &progress).await;
    let ended = Deed {
        at: state.shared.clock.now(),
        count: progress.done.load(Ordering::SeqCst),
        outcome: outcome.to_owned(),
        ..job.deed
    };
    if let Err(error) = state.store.record(ended).await {
        tracing::error!(error = %error, "the end of a job is not in the audit");
    }
    *progress.outcome() = outcome;
    let id = progress.id;
    state.shared.metrics.news.tell(|| News::Job { id });
}

async fn work(state: &State, job: &Job, progress: &Progress) -> &'static str {
    let news = &state.shared.metrics.news;
    let pause = Duration::from_secs(1) / job.rate.max(1);
    let mut next = Instant::now();
    for chunk in job.ids.chunks(64) {
        let mut woken: BTreeSet<SourceName> = BTreeSet::new();
        for id in chunk {
            sleep_until(next).await;
            if progress.stop.load(Ordering::SeqCst) {
                return "stopped";
            }
            next = next.max(Instant::now()) + pause;
            let now = state.shared.clock.now();
            let done = state.store.operate(*id, job.word.clone(), now, None).await;
            progress.looked.fetch_add(1, Ordering::SeqCst);
            match done {
                Ok(Operated::Done) => {
                    progress.done.fetch_add(1, Ordering::SeqCst);
                }
                // It went on by itself since it was counted.
                Ok(Operated::NotFound | Operated::NotApplicable(_)) => continue,
                Err(error) => return error.code(),
            }
            if let Ok(Some(row)) = state.store.row(*id).await {
                let (stands, reason) = match &job.word {
                    Operation::Redrive => ("owed", String::new()),
                    Operation::Discard { reason } => ("discarded", reason.clone()),
                };
                news.tell(|| News::State {
                    id: *id,
                    source: row.source.clone(),
                    state: stands,
                    reason,
                    by: job.deed.by.clone(),
                });
                woken.insert(row.source);
            }
        }
        woken.iter().for_each(|source| state.relay.wake(source));
        news.tell(|| News::Job { id: progress.id });
    }
    "done"
}
