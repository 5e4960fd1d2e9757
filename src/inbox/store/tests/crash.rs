//! Power cuts and failing operations, at any moment: nothing acknowledged is lost, nothing is
//! altered, and the store always opens again.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::*;
use crate::inbox::store::faulty::{Counted, Fault};
use crate::random::Random;

/// What the outside knows of the events that it has offered.
#[derive(Default)]
pub(super) struct Known {
    offered: HashMap<String, NewEvent>,
    /// By key: the id that was acknowledged.
    acknowledged: HashMap<String, EventId>,
    /// How a delivery stood when that was last acknowledged, and how it may stand if something
    /// took effect that was not.
    states: HashMap<EventId, (State, Vec<State>)>,
    /// What operators did, each unlike any other, and whether that was acknowledged.
    deeds: Vec<(Deed, bool)>,
    serial: u64,
}

const LANES: [&str; 3] = ["main", "ledger", "risk"];

fn lane_to(destination: &str) -> LaneName {
    LaneName::new(&contract::source(), &DestinationName::new(destination))
}

/// To one or more destinations, in orders or not, known by a second key, and about something.
fn varied(new: NewEvent, random: &SeededRandom, serial: u64) -> NewEvent {
    let (event, mut claim, mut plan) = new.into_parts();
    let one_in = |n: u64| random.next_u64().is_multiple_of(n);
    let count = 1 + (random.next_u64() % 6).saturating_sub(3) as usize;
    let deliveries = LANES.into_iter().take(count).map(|to| {
        let order = one_in(3).then(|| PlannedOrder {
            value: vec![(random.next_u64() % 3) as u8],
            hold: to == "ledger",
        });
        PlannedDelivery {
            destination: DestinationName::new(to),
            wanted: !one_in(7),
            order,
        }
    });
    plan.deliveries = deliveries.collect();
    plan.version = one_in(3).then(|| EventVersion {
        key: vec![(random.next_u64() % 3) as u8],
        stamp: i128::from(random.next_u64() % 9),
    });
    claim.business = one_in(2).then(|| BusinessClaim {
        key: format!("order {serial}").into_bytes(),
        content: [7; 32],
    });
    NewEvent::new(event, claim, plan)
}

/// The same for the merchant, under another name of the provider's.
fn twin(new: &NewEvent) -> Option<NewEvent> {
    let (event, mut claim, plan) = new.clone().into_parts();
    claim.key.extend_from_slice(b" again");
    let business = claim.business.is_some();
    business.then(|| NewEvent::new(event, claim, plan))
}

impl Known {
    fn body(random: &SeededRandom, largest: u64) -> String {
        // Different everywhere, so that a piece from elsewhere shows.
        static TEXT: OnceLock<String> = OnceLock::new();
        let text = TEXT.get_or_init(|| {
            let mut state = 1u64;
            let mut text = String::with_capacity(5 << 20);
            while text.len() < 5 << 20 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                text.push_str(&format!("{state:016x}"));
            }
            text
        });
        let length = match random.next_u64() % 10 {
            0..6 => random.next_u64() % 300,
            6..9 => random.next_u64() % 9_000,
            _ => random.next_u64() % largest,
        };
        let length = length.max(1) as usize;
        let from = (random.next_u64() % (text.len() - length) as u64) as usize;
        text[from..from + length].to_owned()
    }

    /// One round of work; true while the store still does any.
    pub(super) async fn work(
        &mut self,
        store: &Embedded,
        random: &SeededRandom,
        largest: u64,
    ) -> bool {
        let mut works = true;
        let mut offers = Vec::new();
        for _ in 0..=random.next_u64() % 6 {
            self.serial += 1;
            let key = format!("k{}", self.serial);
            let new = event(&key, &Known::body(random, largest), at(0));
            let new = varied(new, random, self.serial);
            self.offered.insert(key.clone(), new.clone());
            if random.next_u64().is_multiple_of(3) {
                // The provider is impatient: whoever hears "duplicate" counts on it, too.
                let again = twin(&new).filter(|_| random.next_u64().is_multiple_of(2));
                offers.push((key.clone(), store.accept(again.unwrap_or(new.clone()))));
            }
            offers.push((key, store.accept(new)));
        }
        // Offered at once, so that groups have more than one.
        let (keys, futures): (Vec<_>, Vec<_>) = offers.into_iter().unzip();
        for (key, result) in keys.into_iter().zip(join_all(futures).await) {
            match result {
                Ok(Acceptance::New(id) | Acceptance::Duplicate(id)) => {
                    let before = self.acknowledged.insert(key.clone(), id);
                    assert!(before.is_none_or(|before| before == id));
                    for (id, state) in self.fresh(&key, id) {
                        self.states.entry(id).or_insert((state, Vec::new()));
                    }
                }
                Ok(other) => panic!("{key}: {other:?}"),
                Err(_) => works = false,
            }
        }
        let mut leases = Vec::new();
        for to in LANES {
            let max = (random.next_u64() % 4) as usize;
            let some = store.lease(&lane_to(to), at(5), at(10_000), max).await;
            leases.extend(some.unwrap_or_default());
        }
        for lease in leases {
            let id = lease.id;
            if random.next_u64().is_multiple_of(6) {
                let superseded = store.supersede(lease, id.event()).await;
                self.happened(id, State::Superseded, superseded.is_ok());
                works &= superseded.is_ok();
                continue;
            }
            let (next, state) = match random.next_u64() % 3 {
                0 => (Next::Delivered, State::Delivered),
                1 => (Next::Retry { at: at(6) }, State::Owed),
                _ => (
                    Next::Dead {
                        reason: "gone".into(),
                    },
                    State::Dead,
                ),
            };
            let mut tried = attempt(lease.attempt, Some(200), "");
            tried.response = Some(Response {
                headers: vec![("content-type".into(), "text/plain".into())],
                body: Bytes::from("r".repeat((random.next_u64() % 900) as usize)),
                cut: false,
            });
            let settled = store.settle(lease, tried, next).await;
            self.happened(id, state, settled.is_ok());
            works &= settled.is_ok();
        }
        if random.next_u64().is_multiple_of(5)
            && let Some(id) = self.states.keys().next().copied()
        {
            self.operate(store, id, Operation::Redrive).await;
            let reason = "no".to_owned();
            self.operate(store, id, Operation::Discard { reason }).await;
        }
        if random.next_u64().is_multiple_of(6) {
            let whole = random.next_u64().is_multiple_of(5);
            let lane = lane_to(LANES[(random.next_u64() % 3) as usize]);
            let kind = match random.next_u64() % 3 {
                0 => DeedKind::Pause,
                _ => DeedKind::Resume,
            };
            let deed = Deed {
                destination: (!whole).then_some(lane.destination),
                ..self.deed(kind)
            };
            let recorded = store.record(deed.clone()).await;
            self.deeds.push((deed, recorded.is_ok()));
        }
        works
    }

    /// The deliveries of an event that was offered, as they begin.
    fn fresh(&self, key: &str, id: EventId) -> Vec<(EventId, State)> {
        let planned = self.offered[key].plan().deliveries.iter();
        let begin = |wanted| if wanted { State::Owed } else { State::Filtered };
        (0..)
            .zip(planned)
            .map(|(n, planned)| (id.of_delivery(n), begin(planned.wanted)))
            .collect()
    }

    /// Unlike any other.
    fn deed(&mut self, kind: DeedKind) -> Deed {
        self.serial += 1;
        Deed {
            at: at(self.serial),
            by: "operator[0]".into(),
            kind,
            source: Some(contract::source()),
            destination: None,
            event: None,
            detail: String::new(),
            count: 1,
            outcome: "done".into(),
        }
    }

    async fn operate(&mut self, store: &Embedded, id: EventId, word: Operation) {
        let (kind, state, detail) = match &word {
            Operation::Redrive => (DeedKind::Redrive, State::Owed, ""),
            Operation::Discard { .. } => (DeedKind::Discard, State::Discarded, "no"),
        };
        let deed = self.deed(kind);
        let operated = store.operate(id, word, deed.at, Some(deed.by.clone()));
        let operated = operated.await;
        self.happened(id, state, operated == Ok(Operated::Done));
        // Without an answer it was done, if at all.
        let said = operated.clone().unwrap_or(Operated::Done);
        let deed = Deed {
            destination: Some(DestinationName::new(LANES[id.delivery() as usize])),
            event: Some(id),
            detail: detail.into(),
            count: u64::from(said == Operated::Done),
            outcome: said.as_str().into(),
            ..deed
        };
        self.deeds.push((deed, operated.is_ok()));
    }

    fn happened(&mut self, id: EventId, state: State, acknowledged: bool) {
        // One that was never acknowledged is known to nobody.
        let Some(known) = self.states.get_mut(&id) else {
            return;
        };
        if acknowledged {
            *known = (state, Vec::new());
        } else {
            known.1.push(state);
        }
    }

    /// After a restart: all that was acknowledged is there, and what is there was offered.
    pub(super) async fn check(&mut self, store: &Embedded, what: &str) {
        // All at once: the way to the writer and back is what takes long.
        let again = self.acknowledged.iter().flat_map(|(key, id)| {
            let offered = &self.offered[key];
            let both = [Some(offered.clone()), twin(offered)];
            both.into_iter().flatten().map(move |new| (key, *id, new))
        });
        let (known, offers): (Vec<_>, Vec<_>) = again
            .map(|(key, id, new)| ((key, id), store.accept(new)))
            .unzip();
        for ((key, id), again) in known.into_iter().zip(join_all(offers).await) {
            assert_eq!(again, Ok(Acceptance::Duplicate(id)), "{what}: {key}");
        }
        let rows: HashMap<EventId, Row> = all_rows(store)
            .await
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
        for (id, (state, possible)) in &self.states {
            let row = rows
                .get(id)
                .unwrap_or_else(|| panic!("{what}: no row for {id}"));
            assert!(
                row.state == *state || possible.contains(&row.state),
                "{what}: {row:?} {state:?} {possible:?}"
            );
        }
        for row in rows.values() {
            let offered = &self.offered[&row.event_key];
            let planned = &offered.plan().deliveries[row.id.delivery() as usize];
            assert_eq!(row.destination, planned.destination, "{what}: {row:?}");
            // It may be there without having been acknowledged; then it is from now on.
            self.states.insert(row.id, (row.state, Vec::new()));
            if row.id.delivery() > 0 {
                continue;
            }
            let all = self.fresh(&row.event_key, row.id);
            assert!(all.iter().all(|(id, _)| rows.contains_key(id)), "{what}");
            self.acknowledged.insert(row.event_key.clone(), row.id);
            let read = store
                .read(row.id)
                .await
                .unwrap_or_else(|e| panic!("{what}: {} {}: {e}", row.event_key, row.id));
            assert_eq!(read.as_ref(), Some(offered.event()), "{what}: altered");
        }
        let owed = self.states.values().filter(|(s, _)| *s == State::Owed);
        assert_eq!(store.stats().owed, owed.count() as u64, "{what}");
        self.check_versions(store, what).await;
        self.check_deeds(store, what).await;
        self.check_turns(store, what).await;
    }

    async fn check_versions(&self, store: &Embedded, what: &str) {
        let of = |key: &String| self.offered[key].plan().version.clone();
        for (key, id) in &self.acknowledged {
            let Some(own) = of(key) else { continue };
            let to = &self.offered[key].plan().deliveries[0].destination;
            let wants = |key: &String| {
                let mut planned = self.offered[key].plan().deliveries.iter();
                planned.any(|planned| planned.wanted && planned.destination == *to)
            };
            let all = self.acknowledged.iter().filter_map(|(key, id)| {
                let other = of(key).filter(|other| other.key == own.key && wants(key))?;
                Some((other.stamp, std::cmp::Reverse(*id)))
            });
            let latest = all.max().filter(|(stamp, _)| *stamp > own.stamp);
            let latest = latest.map(|(_, id)| id.0);
            assert_eq!(store.overtaken(*id).await, Ok(latest), "{what}: {key}");
        }
    }

    /// The audit has all that was acknowledged and nothing that was not tried; and what is paused
    /// is what it says.
    async fn check_deeds(&mut self, store: &Embedded, what: &str) {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.audit(None, after, 50).await.unwrap();
            found.extend(page.entries.into_iter().map(|(_, deed)| deed));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        found.reverse();
        let mut tried = self.deeds.iter();
        for deed in &found {
            // In the order in which they were done, and each but once.
            let done = tried.find(|(other, acknowledged)| {
                assert!(other == deed || !acknowledged, "{what}: lost {other:?}");
                other == deed
            });
            assert!(done.is_some(), "{what}: nobody did {deed:?}");
        }
        assert!(tried.all(|(_, acknowledged)| !acknowledged), "{what}: lost");
        for to in LANES {
            let lane = lane_to(to);
            let last = |destination: Option<&DestinationName>| {
                let about = |deed: &&Deed| {
                    let pauses = matches!(deed.kind, DeedKind::Pause | DeedKind::Resume);
                    pauses && deed.destination.as_ref() == destination
                };
                let last = found.iter().rev().find(about);
                last.is_some_and(|deed| deed.kind == DeedKind::Pause)
            };
            let paused = last(None) || last(Some(&lane.destination));
            assert_eq!(store.paused(&lane), paused, "{what}: {to}");
        }
        self.deeds = found.into_iter().map(|deed| (deed, true)).collect();
    }

    /// Of those in order only the first is given, and everything else.
    async fn check_turns(&self, store: &Embedded, what: &str) {
        let mut states: Vec<_> = self.states.iter().collect();
        states.sort_by_key(|(id, _)| **id);
        let ids: HashMap<EventId, &String> = self
            .acknowledged
            .iter()
            .map(|(key, id)| (*id, key))
            .collect();
        for (n, to) in LANES.into_iter().enumerate() {
            let lane = lane_to(to);
            let mut expected = Vec::new();
            let mut orders = std::collections::HashSet::new();
            for (id, (state, _)) in &states {
                if id.delivery() as usize != n {
                    continue;
                }
                let planned = &self.offered[ids[&id.event()]].plan().deliveries[n];
                let turn = match &planned.order {
                    None => true,
                    Some(order) => {
                        let blocks = *state == State::Owed || *state == State::Dead && order.hold;
                        blocks && orders.insert(order.value.clone())
                    }
                };
                if turn && *state == State::Owed && !store.paused(&lane) {
                    expected.push(**id);
                }
            }
            let far = at(20_000);
            let leases = store.lease(&lane, far, far, usize::MAX).await.unwrap();
            let mut given: Vec<EventId> = leases.into_iter().map(|lease| lease.id).collect();
            given.sort();
            assert_eq!(given, expected, "{what}: {to}");
        }
    }
}

async fn join_all<T>(futures: Vec<Pending<'_, T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|f| (f, None)).collect();
    std::future::poll_fn(move |context| {
        let mut all = true;
        for (future, done) in &mut futures {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => all = false,
                }
            }
        }
        if !all {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(
            futures
                .iter_mut()
                .filter_map(|(_, done)| done.take())
                .collect(),
        )
    })
    .await
}

/// Without a runtime: reading then happens on this thread, and costs no handing over.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// What is acknowledged although an operation failed must outlive a power cut right after.
async fn with_fault(nth: u64, fault: Fault, counted: Counted, lasting: bool) -> bool {
    let random = SeededRandom::new(nth);
    let disk = FaultyDisk::new();
    let mut known = Known::default();
    let fatal = Arc::default();
    let what = format!("{fault:?} at {nth} of {counted:?}, lasting: {lasting}");
    if lasting {
        disk.plan_from(nth, fault, counted);
    } else {
        disk.plan(nth, fault, counted);
    }
    if let Ok(store) = open_on(&disk, nth, &fatal) {
        for _ in 0..12 + nth / 12 {
            known.work(&store, &random, 50_000).await;
        }
        let failed = store.stats().failed;
        assert_eq!(failed, fatal.load(Ordering::SeqCst) > 0, "{what}");
        if failed {
            assert!(!store.stats().accepting, "{what}");
            assert!(
                store.accept(event("late", "1", at(0))).await.is_err(),
                "{what}"
            );
        }
    }
    let hit = disk.hit();
    disk.forget_plan();
    let disk = disk.after_power_cut(nth);
    let store = open_on(&disk, nth, &fatal).unwrap_or_else(|e| panic!("{what}: {e}"));
    known.check(&store, &what).await;
    hit
}

#[test]
fn any_operation_may_fail_once() {
    let mut hits = 0;
    for nth in 1..=500 {
        for fault in [Fault::Eio, Fault::Full, Fault::Short, Fault::Interrupted] {
            hits += usize::from(block_on(with_fault(nth, fault, Counted::All, false)));
        }
    }
    // A seed that ends early has fewer operations; nearly all are met.
    assert!(hits > 1_500, "{hits}");
}

#[test]
fn any_operation_may_fail_from_some_moment_on() {
    for nth in (1..60).step_by(3) {
        for fault in [Fault::Eio, Fault::Full] {
            for counted in [Counted::All, Counted::Writes, Counted::Syncs] {
                block_on(with_fault(nth, fault, counted, true));
            }
        }
    }
}

#[tokio::test]
async fn a_failed_sync_ends_the_store() {
    let disk = FaultyDisk::new();
    let fatal = Arc::default();
    let store = open_on(&disk, 1, &fatal).unwrap();
    let before = accept(&store, "before", "1").await;
    // Let the segment that is made ahead be done: the next sync is the writer's.
    wait_for(|| settled(&store)).await;
    let lease = store
        .lease(&lane(), at(1), at(60), 1)
        .await
        .unwrap()
        .remove(0);
    disk.plan(1, Fault::Eio, Counted::Syncs);
    assert_eq!(
        store.accept(event("a", "1", at(0))).await,
        Err(StoreError::Unknown)
    );
    assert!(disk.hit());
    assert_eq!(fatal.load(Ordering::SeqCst), 1);
    let stats = store.stats();
    assert!(stats.failed && !stats.accepting);
    // The disk works again, but what it forgot it will not say: nothing is tried.
    let refused = Err(StoreError::Unavailable(Unavailable::WriteFailed));
    assert_eq!(store.accept(event("a", "1", at(0))).await, refused);
    assert!(
        store
            .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
            .await
            .is_err()
    );
    // What was durable before can still be read.
    assert!(store.read(before).await.unwrap().is_some());
    assert_eq!(store.close().await, Err(StoreError::Unknown));
    drop(store);
    let store = open_on(&disk.after_power_cut(1), 2, &fatal).unwrap();
    assert!(store.read(before).await.unwrap().is_some());
}

#[tokio::test]
async fn a_failed_write_is_undone() {
    let disk = FaultyDisk::new();
    let fatal = Arc::default();
    let store = open_on(&disk, 1, &fatal).unwrap();
    let first = accept(&store, "first", "1").await;
    wait_for(|| settled(&store)).await;
    let lease = store
        .lease(&lane(), at(1), at(60), 1)
        .await
        .unwrap()
        .remove(0);
    let refused = Err(StoreError::Unavailable(Unavailable::WriteFailed));
    disk.plan(1, Fault::Eio, Counted::Writes);
    assert_eq!(store.accept(event("a", "1", at(0))).await, refused);
    disk.plan(1, Fault::Eio, Counted::Writes);
    let settled = store
        .settle(lease.clone(), attempt(1, Some(200), ""), Next::Delivered)
        .await;
    assert_eq!(
        settled,
        Err(StoreError::Unavailable(Unavailable::WriteFailed))
    );
    wait_for(|| store.stats().claims == 1).await;
    // The lease still holds, the key is still free, and nothing was a duplicate of nothing.
    assert_eq!(store.lease(&lane(), at(2), at(60), 9).await, Ok(vec![]));
    let a = accept(&store, "a", "1").await;
    store
        .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
        .await
        .unwrap();
    assert_eq!(fatal.load(Ordering::SeqCst), 0);
    assert!(!store.stats().failed);
    drop(store);
    let store = open_on(&disk.after_power_cut(3), 2, &fatal).unwrap();
    assert_eq!(
        store.row(first).await.unwrap().unwrap().state,
        State::Delivered
    );
    assert_eq!(store.row(a).await.unwrap().unwrap().state, State::Owed);
    assert_eq!(all_rows(&store).await.len(), 2);
}

/// A write that fails half way leaves whole frames behind, which nobody was told of. They must not
/// come back once something else was written over a part of them.
#[tokio::test]
async fn what_a_failed_write_left_does_not_come_back() {
    for nth in 1..6 {
        let disk = FaultyDisk::new();
        let fatal = Arc::default();
        let store = open_on(&disk, 1, &fatal).unwrap();
        accept(&store, "first", "1").await;
        wait_for(|| settled(&store)).await;
        // All arrives, but the system says it did not.
        let offers: Vec<_> = (0..5)
            .map(|n| store.accept(event(&format!("lost{n}"), "12345", at(0))))
            .collect();
        disk.plan_lying_write(nth);
        let results = join_all(offers).await;
        let lost = results.iter().filter(|r| r.is_err()).count();
        disk.forget_plan();
        accept(&store, "after", "1").await;
        drop(store);
        let store = open_on(&disk.copy(), 2, &fatal).unwrap();
        assert_eq!(all_rows(&store).await.len(), 2 + 5 - lost, "{results:?}");
        assert_eq!(store.report().damage, []);
    }
}

fn settled(store: &Embedded) -> bool {
    store.shared_for_tests().room.ready()
}

/// The same when the segment ends there: as a sealed one it is read to its end.
#[tokio::test]
async fn nor_does_it_in_a_segment_that_is_left() {
    let disk = FaultyDisk::new();
    let fatal = Arc::default();
    let store = open_on(&disk, 1, &fatal).unwrap();
    accept(&store, "first", &"x".repeat(20_000)).await;
    wait_for(|| settled(&store)).await;
    disk.plan_lying_write(1);
    assert!(store.accept(event("lost", "12345", at(0))).await.is_err());
    disk.forget_plan();
    // It does not fit into the rest of the segment.
    accept(&store, "after", &"x".repeat(100_000)).await;
    assert_eq!(store.stats().journal_segments, 2);
    drop(store);
    for seed in 0..120 {
        let store = open_on(&disk.after_power_cut(seed), 2, &fatal).unwrap();
        let keys: Vec<_> = all_rows(&store)
            .await
            .into_iter()
            .map(|row| row.event_key)
            .collect();
        assert_eq!(keys, ["after", "first"], "seed {seed}");
    }
}

/// Waits for a thread of the store to have done something.
pub(super) async fn wait_for(done: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("waited in vain");
}
