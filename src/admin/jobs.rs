//! Redriving and discarding many, at a rate. A job is in memory only: a stop of the gateway ends it,
//! and what it had done stays done; the audit has its beginning and, where it came to one, its end.
//! It is done in the name of whoever began it: without that token it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::admin::State;
use crate::admin::payload::hushed;
use crate::admin::token::{Digest, Role};
use crate::clock::{Clock, Timestamp};
use crate::inbox::store::{Deed, Expected, Operated, Operation, Pending, Store, StoreError};
use crate::message::{EventId, SourceName};
use crate::telemetry::news::{News, Newsroom};

/// Jobs that are remembered after their end.
const REMEMBERED: usize = 50;

/// Jobs at once.
pub const RUNNING: usize = 8;

/// Deliveries whose words are handed to the store together, at most: it writes them down in one
/// commit, and else a high rate would wait for a disk's sync each time.
const TOGETHER: usize = 64;

/// So often in a second, at most, a job does something: at a higher rate several at once.
const STEPS: u32 = 50;

/// How a job ended whose token is no longer in force, or no longer an operator's.
const REVOKED: &str = "token_revoked";

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
    /// The token that began it, or the one behind the session that did.
    pub token: Digest,
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
    /// `running`, `done`, `stopped`, `token_revoked`, or the code of what failed.
    outcome: &'static str,
    /// Why it ended, where nobody stopped it and it is not done.
    reason: Option<&'static str>,
}

impl JobJson {
    fn of(id: u64, progress: &Progress) -> Self {
        let outcome = *progress.outcome();
        JobJson {
            id,
            what: progress.deed.kind.as_str(),
            by: progress.deed.by.clone(),
            begun_at: progress.deed.at.to_string(),
            filter: hushed(&progress.deed.detail),
            total: progress.total,
            looked: progress.looked.load(Ordering::SeqCst),
            done: progress.done.load(Ordering::SeqCst),
            outcome,
            reason: match outcome {
                "running" | "done" | "stopped" => None,
                REVOKED => Some("the token that began it is no longer an operator's"),
                _ => Some("the store failed"),
            },
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
        self.remember(progress.clone());
        state.shared.metrics.news.tell(|| News::Job { id });
        tokio::spawn(run(state.clone(), job, progress));
        id
    }

    /// The oldest that have ended are forgotten.
    fn remember(&self, progress: Arc<Progress>) {
        let mut table = self.table();
        table.insert(progress.id, progress);
        while table.len() > REMEMBERED {
            let ended = table.iter().find(|(_, p)| *p.outcome() != "running");
            let Some(oldest) = ended.map(|(id, _)| *id) else {
                break;
            };
            table.remove(&oldest);
        }
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
    let surroundings = Surroundings {
        store: state.store.as_ref(),
        clock: state.shared.clock.as_ref(),
        news: &state.shared.metrics.news,
        in_force: &|| {
            let tokens = state.door.tokens.load();
            tokens.allows(&job.token, Role::Operator)
        },
        wake: &|source| state.relay.wake(source),
    };
    let outcome = work(&surroundings, &job, &progress).await;
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

/// What a job works with.
struct Surroundings<'a> {
    store: &'a dyn Store,
    clock: &'a dyn Clock,
    news: &'a Newsroom,
    /// Whether the token that began it still allows it.
    in_force: &'a (dyn Fn() -> bool + Send + Sync),
    /// Something is due for this source.
    wake: &'a (dyn Fn(&SourceName) + Send + Sync),
}

type Word<'a> = Pending<'a, Result<Operated, StoreError>>;

/// The word on one delivery, if it still stands as those that were counted.
fn one<'a>(store: &'a dyn Store, picked: Picked, job: &Job, now: Timestamp) -> Word<'a> {
    let Picked { id, expected } = picked;
    store.operate_expected(id, job.word.clone(), now, None, Some(expected))
}

/// What each comes to, begun in this order. A library of futures would be here for these lines alone.
async fn all(mut words: Vec<Word<'_>>) -> Vec<Result<Operated, StoreError>> {
    let mut done: Vec<_> = words.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut waits = false;
        for (word, done) in words.iter_mut().zip(&mut done) {
            if done.is_none() {
                match word.as_mut().poll(cx) {
                    Poll::Ready(operated) => *done = Some(operated),
                    Poll::Pending => waits = true,
                }
            }
        }
        match waits {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

async fn work(around: &Surroundings<'_>, job: &Job, progress: &Progress) -> &'static str {
    let pause = Duration::from_secs(1) / job.rate.max(1);
    let together = usize::try_from(job.rate / STEPS).map_or(TOGETHER, |n| n.clamp(1, TOGETHER));
    let mut next = Instant::now();
    let (mut woken, mut told) = (BTreeSet::new(), 0);
    for step in job.picked.chunks(together) {
        sleep_until(next).await;
        let ended = match progress.stop.load(Ordering::SeqCst) {
            true => Some("stopped"),
            false => (!(around.in_force)()).then_some(REVOKED),
        };
        if let Some(ended) = ended {
            wake(around, &mut woken);
            return ended;
        }
        next = next.max(Instant::now()) + pause * u32::try_from(step.len()).unwrap_or(u32::MAX);
        if let Err(error) = several(around, job, step, progress, &mut woken).await {
            wake(around, &mut woken);
            return error.code();
        }
        told += step.len();
        if told >= TOGETHER {
            told = 0;
            wake(around, &mut woken);
            around.news.tell(|| News::Job { id: progress.id });
        }
    }
    wake(around, &mut woken);
    around.news.tell(|| News::Job { id: progress.id });
    "done"
}

fn wake(around: &Surroundings<'_>, woken: &mut BTreeSet<SourceName>) {
    std::mem::take(woken).iter().for_each(around.wake);
}

/// Hands the words to the store one after the other, so that what is in order stays so, and waits
/// for all of them.
async fn several(
    around: &Surroundings<'_>,
    job: &Job,
    step: &[Picked],
    progress: &Progress,
    woken: &mut BTreeSet<SourceName>,
) -> Result<(), StoreError> {
    let now = around.clock.now();
    let words = step
        .iter()
        .map(|picked| one(around.store, *picked, job, now));
    let done = all(words.collect()).await;
    let mut failed = Ok(());
    for (picked, done) in step.iter().zip(done) {
        match done {
            Ok(Operated::Done) => {
                progress.done.fetch_add(1, Ordering::SeqCst);
            }
            // It went on by itself since it was counted.
            Ok(Operated::NotFound | Operated::NotApplicable(_)) => {
                progress.looked.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            Err(error) => {
                failed = failed.and(Err(error));
                continue;
            }
        }
        progress.looked.fetch_add(1, Ordering::SeqCst);
        let Ok(Some(row)) = around.store.row(picked.id).await else {
            continue;
        };
        let (stands, reason) = match &job.word {
            Operation::Redrive => ("owed", String::new()),
            Operation::Discard { reason } => ("discarded", reason.clone()),
        };
        around.news.tell(|| News::State {
            id: picked.id,
            source: row.source.clone(),
            state: stands,
            reason,
            by: job.deed.by.clone(),
        });
        woken.insert(row.source);
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
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
            token: [0; 32],
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

    fn progress(id: u64, outcome: &'static str) -> Arc<Progress> {
        Arc::new(Progress {
            id,
            deed: deed(),
            total: 1,
            looked: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            stopped_by: Mutex::default(),
            outcome: Mutex::new(outcome),
        })
    }

    /// What has ended is remembered for a while; what runs is never forgotten.
    #[test]
    fn the_list_shrinks_to_the_newest() {
        let jobs = Jobs::default();
        let many = REMEMBERED as u64 + 30;
        for id in 1..=many {
            let running = id == 1 || id == 20;
            jobs.remember(progress(id, if running { "running" } else { "done" }));
        }
        let kept: Vec<u64> = jobs.list().iter().map(|job| job.id).collect();
        let newest = (1..=many).rev().take(REMEMBERED - 2);
        assert_eq!(kept, newest.chain([20, 1]).collect::<Vec<_>>());
        assert!(jobs.get(2).is_none() && jobs.get(1).is_some());
        // Only running ones: more than are remembered otherwise.
        let jobs = Jobs::default();
        (1..=many).for_each(|id| jobs.remember(progress(id, "running")));
        assert_eq!(jobs.list().len() as u64, many);
    }

    /// A store of so many deliveries, and a job over all of them.
    async fn work_of(count: usize, rate: u32) -> (PlainStore, Job) {
        let store = PlainStore::new();
        let mut picked = Vec::new();
        for n in 0..count {
            let id = new_id(&store, event(&n.to_string(), "1", at(0))).await;
            let expected = Expected {
                state: Stands::Owed,
                attempts: None,
            };
            picked.push(Picked { id, expected });
        }
        let reason = "a test".to_owned();
        let job = Job {
            deed: deed(),
            word: Operation::Discard { reason },
            picked,
            rate,
            token: [0; 32],
            place: Jobs::default().place().unwrap(),
        };
        (store, job)
    }

    /// How it ended, how many it looked at and changed, and how long it took in virtual time.
    async fn worked(count: usize, rate: u32, in_force: u64) -> (&'static str, u64, u64, Duration) {
        let (store, job) = work_of(count, rate).await;
        let progress = progress(1, "running");
        let clock = ManualClock::at(at(1));
        let surroundings = Surroundings {
            store: &store,
            clock: &clock,
            news: &Newsroom::default(),
            in_force: &|| progress.looked.load(Ordering::SeqCst) < in_force,
            wake: &|_| {},
        };
        let began = Instant::now();
        let outcome = work(&surroundings, &job, &progress).await;
        let [looked, done] = [&progress.looked, &progress.done].map(|n| n.load(Ordering::SeqCst));
        (outcome, looked, done, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn without_its_token_a_job_ends_at_the_next_delivery() {
        let (outcome, looked, done, _) = worked(10, 5, 4).await;
        assert_eq!((outcome, looked, done), (REVOKED, 4, 4));
        assert_eq!(worked(10, 5, 0).await.1, 0);
        let (outcome, looked, ..) = worked(10, 5, 11).await;
        assert_eq!((outcome, looked), ("done", 10));
    }

    /// Several together do not make it faster than it may be.
    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_also_where_several_go_together() {
        for rate in [1, 49, 50, 100, 1000, 10_000] {
            let count = (rate as usize + 1).min(2000);
            let (outcome, _, done, took) = worked(count, rate, u64::MAX).await;
            assert_eq!((outcome, done), ("done", count as u64));
            let together = (rate / STEPS).clamp(1, TOGETHER as u32);
            // The last ones are not waited for.
            let least = f64::from(count as u32 - together) / f64::from(rate);
            let most = least + 0.003 * count as f64 / f64::from(together) + 0.05;
            assert!(took.as_secs_f64() >= least - 0.001, "{rate}: {took:?}");
            assert!(took.as_secs_f64() <= most, "{rate}: {took:?}");
        }
    }

    #[test]
    fn who_stops_a_job_stands_at_its_end() {
        let progress = progress(1, "running");
        let jobs = Jobs::default();
        jobs.table().insert(1, progress.clone());
        assert!(jobs.stop(1, "bob") && jobs.stop(1, "carol"));
        assert_eq!(progress.ended_by("stopped"), "bob");
        assert_eq!(progress.ended_by("done"), "alice");
    }
}
