//! Random lives against a plain model: what a store answers is what a few lines over a list would
//! answer, through closes, crashes and lost indexes.

mod expected;

use std::path::Path;

use self::expected::{Known, Model, Taken};
use super::*;
use crate::random::Random;

pub(super) struct Life {
    model: Model,
    random: SeededRandom,
    now: Timestamp,
    /// The latest moment at which anything could expire.
    expired: Timestamp,
    seed: u64,
}

/// All that deliveries come from and go to.
pub(super) fn lanes() -> Vec<(SourceName, DestinationName)> {
    let of = |source| {
        ["main", "ledger", "risk"].map(|to| (SourceName::new(source), DestinationName::new(to)))
    };
    ["shop", "other"].into_iter().flat_map(of).collect()
}

/// Nothing of these is paused any more.
pub(super) fn resumed(source: SourceName, destination: Option<DestinationName>) -> Deed {
    Deed {
        at: at(0),
        by: "operator[0]".into(),
        kind: DeedKind::Resume,
        source: Some(source),
        destination,
        event: None,
        detail: String::new(),
        count: 1,
        outcome: "done".into(),
    }
}

impl Life {
    pub(super) fn new(seed: u64) -> Self {
        Life {
            model: Model::default(),
            random: SeededRandom::new(seed),
            now: at(0),
            expired: Timestamp::default(),
            seed,
        }
    }

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
            50..67 => self.settle(store).await,
            67..70 => self.supersede(store).await,
            70..75 => self.operate(store).await,
            75..77 => self.pause(store).await,
            77..85 => self.list(store).await,
            85..92 => self.look(store).await,
            92..97 => {
                self.now = self
                    .now
                    .plus(Duration::from_secs(self.random.next_u64() % 600))
            }
            // The clock of a machine also goes back.
            97 => {
                let by = Duration::from_secs(self.random.next_u64() % 300);
                self.now = self.now.minus(by);
                if self.pick(2) == 0 {
                    self.went_back(store, by).await;
                }
            }
            _ => self.expire(store).await,
        }
    }

    /// And it is noticed.
    async fn went_back(&mut self, store: &Embedded, by: Duration) {
        let now = self.now;
        let owed = self.model.events.iter_mut();
        let mut found = 0;
        for known in owed.filter(|k| k.state == State::Owed) {
            let earlier = match known.attempts.is_empty() {
                true => now,
                false => known.due.minus(by).max(now),
            };
            if earlier < known.due {
                known.due = earlier;
                found += 1;
            }
        }
        let said = store.clock_went_back(now, by).await;
        assert_eq!(said, Ok(found), "seed {}", self.seed);
    }

    fn lane(&self) -> LaneName {
        let destination = ["main", "main", "ledger", "risk"][self.pick(4)];
        LaneName::new(&self.source(), &DestinationName::new(destination))
    }

    fn plan(&self) -> Plan {
        let names = ["main", "ledger", "risk"];
        let count = [1, 1, 1, 2, 3][self.pick(5)];
        let deliveries = names.iter().take(count).map(|name| PlannedDelivery {
            destination: DestinationName::new(name),
            wanted: self.pick(5) > 0,
            order: (self.pick(3) == 0).then(|| PlannedOrder {
                value: vec![self.pick(3) as u8],
                // As a rule file says it: for a lane as a whole.
                hold: *name == "ledger",
            }),
        });
        Plan {
            deliveries: deliveries.collect(),
            version: None,
        }
    }

    pub(super) fn offer(&self) -> NewEvent {
        let key = format!("k{}", self.pick(60));
        let body = "b".repeat(1 + self.pick(3) * 1500);
        let event_type = ["payment", "refund"][self.pick(2)];
        let source = self.source();
        let new = contract::event_of(source.as_str(), &key, event_type, body.as_bytes(), self.now);
        let (event, mut claim, _) = new.into_parts();
        claim.business = (self.pick(3) == 0).then(|| BusinessClaim {
            key: format!("{source} o{}", self.pick(30)).into_bytes(),
            content: [self.pick(2) as u8; 32],
        });
        claim.on_conflict = [
            OnConflict::KeepBoth,
            OnConflict::KeepBoth,
            OnConflict::FirstWins,
            OnConflict::Reject,
        ][self.pick(4)];
        let mut plan = self.plan();
        plan.version = (self.pick(4) == 0).then(|| EventVersion {
            key: format!("{source} v{}", self.pick(5)).into_bytes(),
            stamp: i128::from(self.random.next_u64() % 20) - 10,
        });
        NewEvent::new(event, claim, plan)
    }

    async fn accept(&mut self, store: &Embedded) {
        let (mut event, claim, plan) = self.offer().into_parts();
        let expected = self.model.judge(&claim);
        let got = store
            .accept(NewEvent::new(event.clone(), claim.clone(), plan.clone()))
            .await
            .unwrap();
        let (conflicts, of) = match expected {
            Ok(accepted) => accepted,
            Err(known) => return assert_eq!(got, known, "seed {}", self.seed),
        };
        let id = match (got, of) {
            (Acceptance::New(id), None) => id,
            (Acceptance::Conflict { id, of: named }, Some(of)) if named == of => id,
            other => panic!("seed {}: {other:?}", self.seed),
        };
        event.conflict_of = of;
        let wanted = plan.deliveries.iter().filter(|planned| planned.wanted);
        let wanted = wanted.map(|planned| planned.destination.clone()).collect();
        self.model.taken.push(Taken {
            id,
            claim,
            conflicts,
            version: plan.version.clone(),
            wanted,
        });
        for (n, planned) in plan.deliveries.into_iter().enumerate() {
            self.add(id.of_delivery(n as u32), event.clone(), planned);
        }
    }

    fn add(&mut self, id: EventId, event: StoredEvent, planned: PlannedDelivery) {
        let (since, due) = (event.received_at, event.received_at);
        self.model.events.push(Known {
            id,
            event,
            destination: planned.destination,
            order: planned.order,
            state: if planned.wanted {
                State::Owed
            } else {
                State::Filtered
            },
            attempts: Vec::new(),
            round: 0,
            since,
            due,
            written: due,
            reason: String::new(),
            lease: None,
        });
    }

    /// A lane, or all of a source's, stops or goes on.
    async fn pause(&mut self, store: &Embedded) {
        let lane = self.lane();
        let whole = self.pick(5) == 0;
        let paused = (lane.source, (!whole).then_some(lane.destination));
        let kind = if self.pick(3) == 0 {
            DeedKind::Pause
        } else {
            DeedKind::Resume
        };
        let deed = Deed {
            at: self.now,
            by: "operator[0]".into(),
            kind,
            source: Some(paused.0.clone()),
            destination: paused.1.clone(),
            event: None,
            detail: "d".repeat(self.pick(300)),
            count: 1,
            outcome: "done".into(),
        };
        let number = store.record(deed.clone()).await.unwrap();
        self.model.deeds.push(deed);
        assert_eq!(number, self.model.deeds.len() as u64, "seed {}", self.seed);
        match kind {
            DeedKind::Pause => self.model.paused.insert(paused),
            _ => self.model.paused.remove(&paused),
        };
    }

    async fn audit(&self, store: &Embedded) {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = store.audit(None, after, 7).await.unwrap();
            assert!(page.entries.len() <= 7);
            found.extend(page.entries);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let all = (1..).zip(self.model.deeds.iter().cloned());
        let mut all: Vec<(u64, Deed)> = all.collect();
        all.reverse();
        assert_eq!(found, all, "seed {}", self.seed);
    }

    async fn lease(&mut self, store: &Embedded) {
        let source = self.lane();
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
        let mut tried = attempt(number, (error != "timeout").then_some(500), error);
        tried.response = (self.pick(3) == 0).then(|| Response {
            headers: vec![("content-type".into(), "text/plain".into()); self.pick(3)],
            body: Bytes::from(vec![b'r'; self.pick(300)]),
            cut: self.pick(2) == 0,
        });
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
                known.written = at;
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

    /// A later event says what a leased one would.
    async fn supersede(&mut self, store: &Embedded) {
        let leased = self.model.events.iter().filter_map(|k| k.lease.clone());
        let mut leases: Vec<Lease> = leased.collect();
        leases.extend(self.model.stale.iter().take(2).cloned());
        let (Some(lease), Some(by)) = (leases.get(self.pick(leases.len())), self.some_id()) else {
            return;
        };
        let done = store.supersede(lease.clone(), by).await;
        let mut known = self.model.events.iter_mut();
        let holds = |k: &&mut Known| k.lease.as_ref().is_some_and(|l| l.grant == lease.grant);
        let Some(known) = known.find(holds) else {
            return assert_eq!(done, Err(StoreError::LeaseLost), "seed {}", self.seed);
        };
        assert_eq!(done, Ok(()), "seed {}", self.seed);
        known.state = State::Superseded;
        known.reason = by.to_string();
        known.lease = None;
    }

    async fn operate(&mut self, store: &Embedded) {
        let Some(id) = self.some_id() else { return };
        let now = self.now;
        let by = (self.pick(2) == 0).then(|| "operator[1]".to_owned());
        let word = if self.pick(2) == 0 {
            Operation::Redrive
        } else {
            Operation::Discard {
                reason: "no".into(),
            }
        };
        let done = store.operate(id, word.clone(), now, by.clone()).await;
        let done = done.unwrap();
        if let Some(by) = by {
            let lane = self.model.of(id).lane();
            let (kind, detail) = match &word {
                Operation::Redrive => (DeedKind::Redrive, ""),
                Operation::Discard { .. } => (DeedKind::Discard, "no"),
            };
            self.model.deeds.push(Deed {
                at: now,
                by,
                kind,
                source: Some(lane.source),
                destination: Some(lane.destination),
                event: Some(id),
                detail: detail.into(),
                count: u64::from(done == Operated::Done),
                outcome: done.as_str().into(),
            });
        }
        if word == Operation::Redrive {
            assert_eq!(done, Operated::Done, "seed {}", self.seed);
            let known = self.model.of(id);
            known.due = now;
            known.written = now;
            if known.state != State::Owed {
                known.state = State::Owed;
                known.round = 0;
                known.since = now;
                known.reason.clear();
            }
        } else {
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
            filter.state = Some(State::ALL[self.pick(6)]);
        }
        if self.pick(4) == 0 {
            filter.destination = Some(self.lane().destination);
        }
        if self.pick(4) == 0 {
            filter.event_type = Some("refund".into());
        }
        if self.pick(4) == 0 {
            filter.event_key = Some(format!("k{}", self.pick(60)));
        }
        if self.pick(5) == 0 {
            filter.order = Some(format!("A-k{}", self.pick(60)));
        }
        if self.pick(5) == 0 {
            filter.reason = Some(["no", "gone", ""][self.pick(3)].into());
        }
        if self.pick(5) == 0 {
            filter.text = Some(["k1", "fun", "on"][self.pick(3)].into());
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
        let (mut count, mut after) = (0, None);
        loop {
            let counted = store.count(&filter, after).await.unwrap();
            count += counted.count;
            after = counted.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(count, rows.len() as u64, "seed {}: {filter:?}", self.seed);
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
        let overtaken = store.overtaken(id).await;
        assert_eq!(
            overtaken,
            Ok(self.model.overtaken(id)),
            "seed {}",
            self.seed
        );
        self.audit(store).await;
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
        self.model.events = left;
        let before_events = self.model.taken.len();
        let there: std::collections::HashSet<EventId> =
            self.model.events.iter().map(|k| k.id.event()).collect();
        self.model.taken.retain(|t| there.contains(&t.id));
        assert_eq!(
            expired.events as usize,
            before_events - self.model.taken.len(),
            "seed {}",
            self.seed
        );
    }

    /// After a restart nothing is leased, and what a clock gone back has brought forward may be as
    /// it was written.
    async fn restarted(&mut self, store: &Embedded) {
        for known in &mut self.model.events {
            self.model.stale.extend(known.lease.take());
            if known.state == State::Owed && known.due != known.written {
                let row = store.row(known.id).await.unwrap().unwrap();
                let due = row.due.unwrap();
                assert!([known.due, known.written].contains(&due), "{}", self.seed);
                known.due = due;
            }
        }
    }
}

pub(super) async fn live(
    seed: u64,
    actions: usize,
    open: impl Fn(u64) -> Embedded,
    lose_index: impl Fn(),
) -> Embedded {
    let mut life = Life::new(seed);
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
            life.restarted(&store).await;
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
