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
use crate::clock::Timestamp;
use crate::inbox::store::{self, Deed, Operated, Operation, Store, StoreError};
use crate::message::{EventId, SourceName};
use crate::telemetry::news::News;

/// Jobs that are remembered after their end.
const REMEMBERED: usize = 50;

/// What is to be done.
pub struct Job {
    /// As it stands in the audit.
    pub deed: Deed,
    pub word: Operation,
    /// How those stood that were counted.
    pub stood: Option<store::State>,
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
    /// Who said so.
    stopped_by: Mutex<Option<String>>,
    outcome: Mutex<&'static str>,
}

impl Progress {
    fn outcome(&self) -> MutexGuard<'_, &'static str> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose word ended it: who stopped it, else who began it.
    fn ended_by(&self, outcome: &str) -> String {
        let stopped = self.stopped_by.lock();
        let stopped = stopped.unwrap_or_else(PoisonError::into_inner).clone();
        let stopped = stopped.filter(|_| outcome == "stopped");
        stopped.unwrap_or_else(|| self.deed.by.clone())
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
            stopped_by: Mutex::default(),
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
    pub fn stop(&self, id: u64, by: &str) -> bool {
        let table = self.table();
        let running = table.get(&id).filter(|p| *p.outcome() == "running");
        running.is_some_and(|progress| {
            // Two may say so: the first is it.
            let first = progress.stopped_by.lock();
            let mut first = first.unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| by.to_owned());
            drop(first);
            progress.stop.store(true, Ordering::SeqCst);
            true
        })
    }
}

async fn run(state: State, job: Job, progress: Arc<Progress>) {
    let outcome = work(&state, &job, &progress).await;
    let ended = Deed {
        at: state.shared.clock.now(),
        by: progress.ended_by(outcome),
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

/// The word on one delivery, if it still stands as those that were counted.
async fn one(
    store: &dyn Store,
    id: EventId,
    job: &Job,
    now: Timestamp,
) -> Result<Operated, StoreError> {
    if let Some(stood) = job.stood {
        match store.row(id).await? {
            Some(row) if row.state == stood => {}
            Some(row) => return Ok(Operated::NotApplicable(row.state)),
            None => return Ok(Operated::NotFound),
        }
    }
    store.operate(id, job.word.clone(), now, None).await
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
            let done = one(state.store.as_ref(), *id, job, now).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::store::contract::{at, event, new_id};
    use crate::inbox::store::plain::PlainStore;
    use crate::inbox::store::{DeedKind, State as Stands};

    fn deed() -> Deed {
        Deed {
            at: at(0),
            by: "alice".into(),
            kind: DeedKind::DiscardMany,
            source: None,
            destination: None,
            event: None,
            detail: String::new(),
            count: 1,
            outcome: "begun".into(),
        }
    }

    #[tokio::test]
    async fn what_no_longer_stands_as_it_was_counted_is_left_alone() {
        let store = PlainStore::new();
        let id = new_id(&store, event("a", "1", at(0))).await;
        let job = |word, stood| Job {
            deed: deed(),
            word,
            stood: Some(stood),
            ids: vec![id],
            rate: 1,
        };
        // It was dead when it was counted; somebody has redriven it since.
        let reason = "given up".to_owned();
        let discard = job(Operation::Discard { reason }, Stands::Dead);
        let done = one(&store, id, &discard, at(1)).await;
        assert_eq!(done, Ok(Operated::NotApplicable(Stands::Owed)));
        let redrive = job(Operation::Redrive, Stands::Owed);
        assert_eq!(one(&store, id, &redrive, at(1)).await, Ok(Operated::Done));
    }

    #[test]
    fn who_stops_a_job_stands_at_its_end() {
        let progress = Arc::new(Progress {
            id: 1,
            deed: deed(),
            total: 1,
            looked: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            stopped_by: Mutex::default(),
            outcome: Mutex::new("running"),
        });
        let jobs = Jobs::default();
        jobs.table().insert(1, progress.clone());
        assert!(jobs.stop(1, "bob") && jobs.stop(1, "carol"));
        assert_eq!(progress.ended_by("stopped"), "bob");
        assert_eq!(progress.ended_by("done"), "alice");
    }
}
