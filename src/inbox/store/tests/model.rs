//! Random lives against a plain model: what a store answers is what a few lines over a list would
//! answer, through closes, crashes and lost indexes.

use std::path::Path;

use super::*;
use crate::random::Random;

#[derive(Clone, Debug)]
struct Known {
    id: EventId,
    event: StoredEvent,
    state: State,
    attempts: Vec<Attempt>,
    round: u32,
    since: Timestamp,
    due: Timestamp,
    reason: String,
    lease: Option<Lease>,
}

#[derive(Default)]
struct Model {
    events: Vec<Known>,
    stale: Vec<Lease>,
}

impl Model {
    fn of(&mut self, id: EventId) -> &mut Known {
        self.events.iter_mut().find(|k| k.id == id).unwrap()
    }

    fn accept(&self, new: &StoredEvent) -> Result<EventId, Option<EventId>> {
        let same_key = || {
            self.events
                .iter()
                .filter(|k| k.event.event_key == new.event_key && k.event.source == new.source)
        };
        match same_key().find(|k| k.event.body == new.body) {
            Some(known) => Ok(known.id),
            None => Err(same_key()
                .find(|k| k.event.conflict_of.is_none())
                .map(|k| k.id)),
        }
    }

    fn due(&self, source: &SourceName, now: Timestamp) -> Vec<(Timestamp, EventId)> {
        let mut due: Vec<_> = self
            .events
            .iter()
            .filter(|k| k.event.source == *source && k.state == State::Owed)
            .map(|k| (k.lease.as_ref().map_or(k.due, |l| l.until), k.id))
            .filter(|(when, _)| *when <= now)
            .collect();
        due.sort();
        due
    }

    fn rows(&self, filter: &Filter) -> Vec<Row> {
        let rows = self.events.iter().map(|k| Row {
            id: k.id,
            source: k.event.source.clone(),
            provider: k.event.provider.clone(),
            event_key: k.event.event_key.clone(),
            event_type: k.event.event_type.clone(),
            received_at: k.event.received_at,
            state: k.state,
            attempts: k.attempts.len() as u32,
            due: (k.state == State::Owed).then_some(k.due),
            reason: k.reason.clone(),
            conflict: k.event.conflict_of.is_some(),
            body_bytes: k.event.body.len() as u32,
        });
        let mut rows: Vec<Row> = rows
            .filter(|row| {
                filter.source.as_ref().is_none_or(|s| *s == row.source)
                    && filter.state.is_none_or(|s| s == row.state)
                    && filter
                        .event_type
                        .as_ref()
                        .is_none_or(|t| *t == row.event_type)
                    && filter
                        .event_key
                        .as_ref()
                        .is_none_or(|k| *k == row.event_key)
                    && filter.from.is_none_or(|from| row.received_at >= from)
                    && filter.to.is_none_or(|to| row.received_at < to)
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        rows
    }
}

struct Life {
    model: Model,
    random: SeededRandom,
    now: Timestamp,
    /// The latest moment at which anything could expire.
    expired: Timestamp,
    seed: u64,
}

impl Life {
    fn pick(&self, n: usize) -> usize {
        (self.random.next_u64() % n.max(1) as u64) as usize
    }

    fn source(&self) -> SourceName {
        SourceName::new(["shop", "other"][self.pick(2)])
    }

    fn some_id(&self) -> Option<EventId> {
        let known = &self.model.events;
        known.get(self.pick(known.len())).map(|k| k.id)
    }

    async fn act(&mut self, store: &Embedded) {
        match self.pick(100) {
            0..34 => self.accept(store).await,
            34..50 => self.lease(store).await,
            50..70 => self.settle(store).await,
            70..75 => self.operate(store).await,
            75..85 => self.list(store).await,
            85..92 => self.look(store).await,
            92..97 => {
                self.now = self
                    .now
                    .plus(Duration::from_secs(self.random.next_u64() % 600))
            }
            // The clock of a machine also goes back.
            97 => {
                self.now = self
                    .now
                    .minus(Duration::from_secs(self.random.next_u64() % 300))
            }
            _ => self.expire(store).await,
        }
    }

    async fn accept(&mut self, store: &Embedded) {
        let key = format!("k{}", self.pick(60));
        let body = "b".repeat(1 + self.pick(3) * 1500);
        let event_type = ["payment", "refund"][self.pick(2)];
        let new = contract::event_of(
            self.source().as_str(),
            &key,
            event_type,
            body.as_bytes(),
            self.now,
        );
        let mut event = new.event().clone();
        let expected = self.model.accept(&event);
        let got = store.accept(new).await.unwrap();
        match (expected, got) {
            (Ok(original), Acceptance::Duplicate(id)) => {
                assert_eq!(original, id, "seed {}", self.seed)
            }
            (Err(None), Acceptance::New(id)) => self.add(id, event),
            (Err(Some(of)), Acceptance::Conflict { id, of: named }) => {
                assert_eq!(of, named, "seed {}", self.seed);
                event.conflict_of = Some(of);
                self.add(id, event);
            }
            (expected, got) => panic!("seed {}: {expected:?} {got:?}", self.seed),
        }
    }

    fn add(&mut self, id: EventId, event: StoredEvent) {
        let (since, due) = (event.received_at, event.received_at);
        self.model.events.push(Known {
            id,
            event,
            state: State::Owed,
            attempts: Vec::new(),
            round: 0,
            since,
            due,
            reason: String::new(),
            lease: None,
        });
    }

    async fn lease(&mut self, store: &Embedded) {
        let source = self.source();
        let until = self
            .now
            .plus(Duration::from_secs(20 + self.random.next_u64() % 100));
        let max = self.pick(5);
        let expected: Vec<EventId> = self
            .model
            .due(&source, self.now)
            .into_iter()
            .take(max)
            .map(|(_, id)| id)
            .collect();
        let leases = store.lease(&source, self.now, until, max).await.unwrap();
        assert_eq!(
            leases.iter().map(|l| l.id).collect::<Vec<_>>(),
            expected,
            "seed {}",
            self.seed
        );
        for lease in leases {
            let known = self.model.of(lease.id);
            assert_eq!(
                (lease.attempt, lease.round, lease.since, lease.until),
                (
                    known.attempts.len() as u32 + 1,
                    known.round,
                    known.since,
                    until
                )
            );
            let old = known.lease.replace(lease);
            self.model.stale.extend(old);
        }
        let first = self
            .model
            .due(&source, Timestamp::MAX)
            .first()
            .map(|(when, _)| *when);
        assert_eq!(
            store.next_due(&source).await,
            Ok(first),
            "seed {}",
            self.seed
        );
    }

    async fn settle(&mut self, store: &Embedded) {
        let stale = self.pick(6) == 0 && !self.model.stale.is_empty();
        let lease = if stale {
            let n = self.pick(self.model.stale.len());
            self.model.stale.swap_remove(n)
        } else {
            let leased: Vec<Lease> = self
                .model
                .events
                .iter()
                .filter_map(|k| k.lease.clone())
                .collect();
            let Some(lease) = leased.get(self.pick(leased.len())) else {
                return;
            };
            lease.clone()
        };
        let number = lease.attempt;
        let at = self
            .now
            .plus(Duration::from_secs(self.random.next_u64() % 200));
        let (next, error) = match self.pick(4) {
            0 => (Next::Retry { at }, "timeout"),
            1 => (
                Next::Dead {
                    reason: "gave_up".into(),
                },
                "status",
            ),
            _ => (Next::Delivered, ""),
        };
        let tried = attempt(number, (error != "timeout").then_some(500), error);
        let result = store
            .settle(lease.clone(), tried.clone(), next.clone())
            .await;
        let Some(known) = self.model.events.iter_mut().find(|k| k.id == lease.id) else {
            assert_eq!(
                result,
                Err(StoreError::LeaseLost),
                "seed {}: expired",
                self.seed
            );
            return;
        };
        known.attempts.push(tried);
        if known.lease.as_ref().is_none_or(|l| l.grant != lease.grant) {
            assert_eq!(result, Err(StoreError::LeaseLost), "seed {}", self.seed);
            return;
        }
        assert_eq!(result, Ok(()), "seed {}", self.seed);
        known.lease = None;
        known.reason = error.to_owned();
        match next {
            Next::Delivered => known.state = State::Delivered,
            Next::Retry { at } => {
                known.due = at;
                known.round += 1;
            }
            Next::Dead { reason } => {
                known.state = State::Dead;
                known.reason = reason;
            }
        }
        if self.pick(3) == 0 {
            // Used up: from now on it is one that was lost.
            self.model.stale.push(lease);
        }
    }

    async fn operate(&mut self, store: &Embedded) {
        let Some(id) = self.some_id() else { return };
        let now = self.now;
        if self.pick(2) == 0 {
            assert_eq!(
                store.redrive(id, now).await,
                Ok(Operated::Done),
                "seed {}",
                self.seed
            );
            let known = self.model.of(id);
            known.due = now;
            if known.state != State::Owed {
                known.state = State::Owed;
                known.round = 0;
                known.since = now;
                known.reason.clear();
            }
        } else {
            let done = store.discard(id, now, "no".into()).await.unwrap();
            let known = self.model.of(id);
            match known.state {
                State::Owed | State::Dead => {
                    assert_eq!(done, Operated::Done);
                    known.state = State::Discarded;
                    known.reason = "no".into();
                    let old = known.lease.take();
                    self.model.stale.extend(old);
                }
                ended => assert_eq!(done, Operated::NotApplicable(ended)),
            }
        }
    }

    async fn list(&mut self, store: &Embedded) {
        let mut filter = Filter::default();
        if self.pick(2) == 0 {
            filter.source = Some(self.source());
        }
        if self.pick(2) == 0 {
            filter.state = Some(State::ALL[self.pick(4)]);
        }
        if self.pick(4) == 0 {
            filter.event_type = Some("refund".into());
        }
        if self.pick(4) == 0 {
            filter.event_key = Some(format!("k{}", self.pick(60)));
        }
        if self.pick(4) == 0 {
            filter.from = Some(at(self.random.next_u64() % 3000));
            filter.to = Some(at(self.random.next_u64() % 9000));
        }
        let limit = 1 + self.pick(20);
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let page = store.list(&filter, after, limit).await.unwrap();
            assert!(page.rows.len() <= limit);
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(
            rows,
            self.model.rows(&filter),
            "seed {}: {filter:?}",
            self.seed
        );
    }

    async fn look(&mut self, store: &Embedded) {
        let Some(id) = self.some_id() else { return };
        let known = self.model.of(id);
        assert_eq!(store.read(id).await, Ok(Some(known.event.clone())));
        let attempts = store.attempts(id).await.unwrap();
        if known.event.received_at.plus(contract::KEEP) <= self.expired {
            // It only stays for something that is owed: earlier attempts may be gone.
            assert!(known.attempts.ends_with(&attempts), "seed {}", self.seed);
        } else {
            assert_eq!(attempts, known.attempts, "seed {}", self.seed);
        }
        let stats = store.stats();
        let owed = || self.model.events.iter().filter(|k| k.state == State::Owed);
        assert_eq!(stats.owed, owed().count() as u64);
        assert_eq!(
            stats.oldest_owed,
            owed().map(|k| k.since).min(),
            "seed {}",
            self.seed
        );
        assert_eq!(
            stats.dead,
            self.model
                .events
                .iter()
                .filter(|k| k.state == State::Dead)
                .count() as u64
        );
    }

    /// What went must have been free to go; how much goes at a time is the store's business.
    async fn expire(&mut self, store: &Embedded) {
        if self.pick(3) == 0 {
            self.now = self.now.plus(Duration::from_secs(4 * 24 * 3600));
        }
        self.expired = self.expired.max(self.now);
        let expired = store.expire(self.now).await.unwrap();
        let mut left = Vec::new();
        let before = self.model.events.len();
        for known in std::mem::take(&mut self.model.events) {
            if store.read(known.id).await.unwrap().is_some() {
                left.push(known);
                continue;
            }
            assert_ne!(known.state, State::Owed, "seed {}", self.seed);
            assert!(
                known.event.received_at.plus(contract::KEEP) <= self.now,
                "seed {}",
                self.seed
            );
        }
        assert_eq!(
            expired.events as usize,
            before - left.len(),
            "seed {}",
            self.seed
        );
        self.model.events = left;
    }

    /// After a restart nothing is leased.
    fn restarted(&mut self) {
        for known in &mut self.model.events {
            self.model.stale.extend(known.lease.take());
        }
    }
}

pub(super) async fn live(
    seed: u64,
    actions: usize,
    open: impl Fn(u64) -> Embedded,
    lose_index: impl Fn(),
) -> Embedded {
    let mut life = Life {
        model: Model::default(),
        random: SeededRandom::new(seed),
        now: at(0),
        expired: Timestamp::default(),
        seed,
    };
    let mut store = open(seed);
    for n in 0..actions {
        life.act(&store).await;
        let end = life.pick(100);
        if end < 2 {
            if end == 0 {
                store.close().await.unwrap();
            }
            drop(store);
            if life.pick(3) == 0 {
                lose_index();
            }
            store = open(seed * 1000 + n as u64);
            life.restarted();
            assert_eq!(store.report().damage, []);
        }
    }
    life.list(&store).await;
    assert_eq!(
        all_rows(&store).await,
        life.model.rows(&Filter::default()),
        "seed {seed}"
    );
    store
}

#[test]
fn random_lives_without_an_index() {
    let seeds = std::env::var("CALLSEAL_SEEDS").map_or(60, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let disk = FaultyDisk::new();
        crash::block_on(live(
            seed,
            400,
            |n| open_on(&disk, n, &Arc::default()).unwrap(),
            || {},
        ));
    }
}

#[test]
fn random_lives_with_an_index_that_is_sometimes_lost() {
    for seed in 100..112 {
        let directory = tempfile::tempdir().unwrap();
        let path: &Path = directory.path();
        let lose = || {
            let _ = std::fs::remove_dir_all(path.join("index"));
        };
        crash::block_on(live(
            seed,
            400,
            |n| open_with(config(path), n).unwrap(),
            lose,
        ));
    }
}
