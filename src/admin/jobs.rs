//! Redriving and discarding many, at a rate. A job is in memory only: a stop of the gateway ends it,
//! and what it had done stays done; the audit has its beginning and, where it came to one, its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::admin::State;
use crate::admin::payload::hushed;
use crate::clock::Timestamp;
use crate::inbox::store::{Deed, Expected, Operated, Operation, Store, StoreError};
use crate::message::{EventId, SourceName};
use crate::telemetry::news::News;

/// Jobs that are remembered after their end.
const REMEMBERED: usize = 50;

/// Jobs at once.
pub const RUNNING: usize = 8;

/// Requests at once that count or collect deliveries: each reads very many rows, and holds their ids.
pub const LOOKING: usize = 2;

/// A delivery that was picked, and how it stood then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    pub id: EventId,
    pub expected: Expected,
}

/// What is to be done.
pub struct Job {
    /// As it stands in the audit.
    pub deed: Deed,
    pub word: Operation,
    /// Oldest first.
    pub picked: Vec<Picked>,
    /// In any second.
    pub rate: u32,
    /// Given back at its end.
    pub place: OwnedSemaphorePermit,
}

pub struct Jobs {
    table: Mutex<BTreeMap<u64, Arc<Progress>>>,
    last: AtomicU64,
    places: Arc<Semaphore>,
    looks: Semaphore,
}

impl Default for Jobs {
    fn default() -> Self {
        Jobs {
            table: Mutex::default(),
            last: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(RUNNING)),
            looks: Semaphore::new(LOOKING),
        }
    }
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
            filter: hushed(&progress.deed.detail),
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

    /// A place for one more job; none while so many are under way, or about to be.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// The right to look for many deliveries, until it is dropped; none while others have it.
    pub fn look(&self) -> Option<SemaphorePermit<'_>> {
        self.looks.try_acquire().ok()
    }

    /// Its number.
    pub fn begin(&self, state: &State, job: Job) -> u64 {
        let id = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        let progress = Arc::new(Progress {
            id,
            deed: job.deed.clone(),
            total: job.picked.len() as u64,
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
    picked: Picked,
    job: &Job,
    now: Timestamp,
) -> Result<Operated, StoreError> {
    let Picked { id, expected } = picked;
    let word = job.word.clone();
    let operated = store.operate_expected(id, word, now, None, Some(expected));
    operated.await
}

async fn work(state: &State, job: &Job, progress: &Progress) -> &'static str {
    let news = &state.shared.metrics.news;
    let pause = Duration::from_secs(1) / job.rate.max(1);
    let mut next = Instant::now();
    for chunk in job.picked.chunks(64) {
        let mut woken: BTreeSet<SourceName> = BTreeSet::new();
        for picked in chunk {
            sleep_until(next).await;
            if progress.stop.load(Ordering::SeqCst) {
                return "stopped";
            }
            next = next.max(Instant::now()) + pause;
            let now = state.shared.clock.now();
            let done = one(state.store.as_ref(), *picked, job, now).await;
            progress.looked.fetch_add(1, Ordering::SeqCst);
            match done {
                Ok(Operated::Done) => {
                    progress.done.fetch_add(1, Ordering::SeqCst);
                }
                // It went on by itself since it was counted.
                Ok(Operated::NotFound | Operated::NotApplicable(_)) => continue,
                Err(error) => return error.code(),
            }
            if let Ok(Some(row)) = state.store.row(picked.id).await {
                let (stands, reason) = match &job.word {
                    Operation::Redrive => ("owed", String::new()),
                    Operation::Discard { reason } => ("discarded", reason.clone()),
                };
                news.tell(|| News::State {
                    id: picked.id,
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
        let jobs = Jobs::default();
        let job = |word| Job {
            deed: deed(),
            word,
            picked: Vec::new(),
            rate: 1,
            place: jobs.place().unwrap(),
        };
        let stood = |state, attempts| Picked {
            id,
            expected: Expected { state, attempts },
        };
        // It was dead when it was counted; somebody has redriven it since.
        let reason = "given up".to_owned();
        let discard = job(Operation::Discard { reason });
        let done = one(&store, stood(Stands::Dead, None), &discard, at(1)).await;
        assert_eq!(done, Ok(Operated::NotApplicable(Stands::Owed)));
        let redrive = job(Operation::Redrive);
        let done = one(&store, stood(Stands::Owed, Some(1)), &redrive, at(1)).await;
        assert_eq!(done, Ok(Operated::NotApplicable(Stands::Owed)));
        let done = one(&store, stood(Stands::Owed, Some(0)), &redrive, at(1)).await;
        assert_eq!(done, Ok(Operated::Done));
    }

    /// What looks hold in memory, and what they read, is bounded however many ask at once.
    #[test]
    fn looks_and_jobs_at_once_are_bounded() {
        let jobs = Jobs::default();
        let looks: Vec<_> = (0..LOOKING).map(|_| jobs.look().unwrap()).collect();
        assert!(jobs.look().is_none());
        drop(looks);
        assert!(jobs.look().is_some());
        let places: Vec<_> = (0..RUNNING).map(|_| jobs.place().unwrap()).collect();
        assert!(jobs.place().is_none());
        drop(places);
        assert!(jobs.place().is_some());
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
