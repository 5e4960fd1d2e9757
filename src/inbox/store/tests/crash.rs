//! Power cuts and failing operations, at any moment: nothing acknowledged is lost, nothing is
//! altered, and the store always opens again.

use std::collections::HashMap;
use std::path::Path;

use super::*;
use crate::inbox::store::faulty::{Counted, Fault};
use crate::random::Random;

/// What the outside knows of the events that it has offered.
#[derive(Default)]
struct Known {
    offered: HashMap<String, NewEvent>,
    /// By key: the id that was acknowledged.
    acknowledged: HashMap<String, EventId>,
    /// How a delivery stood when that was last acknowledged, and how it may stand if something
    /// took effect that was not.
    states: HashMap<EventId, (State, Vec<State>)>,
    serial: u64,
    /// What operators did, by number.
    deeds: std::collections::BTreeMap<u64, Deed>,
}

impl Known {
    /// From one to three deliveries, some in an order, some filtered.
    fn plan(random: &SeededRandom) -> Plan {
        let names = ["main", "ledger", "risk"];
        let count = 1 + (random.next_u64() % 5).saturating_sub(2) as usize;
        contract::plan(names.iter().take(count).map(|name| {
            let order = random.next_u64().is_multiple_of(3).then_some("x");
            PlannedDelivery {
                wanted: !random.next_u64().is_multiple_of(7),
                ..contract::to(name, order)
            }
        }))
    }

    /// It was told of as accepted: each of its deliveries stands as planned, unless more is known.
    fn begun(&mut self, key: String, id: EventId) {
        let planned = self.offered[&key].plan().deliveries.clone();
        for (n, planned) in planned.into_iter().enumerate() {
            let state = if planned.wanted {
                State::Owed
            } else {
                State::Filtered
            };
            let stands = (state, Vec::new());
            self.states
                .entry(id.of_delivery(n as u32))
                .or_insert(stands);
        }
        let before = self.acknowledged.insert(key, id);
        assert!(before.is_none_or(|before| before == id));
    }

    fn body(random: &SeededRandom, largest: u64) -> String {
        let length = match random.next_u64() % 10 {
            0..6 => random.next_u64() % 300,
            6..9 => random.next_u64() % 9_000,
            _ => random.next_u64() % largest,
        };
        // Different everywhere, so that a piece from elsewhere shows.
        let mut state = random.next_u64();
        (0..length.max(1))
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                (b'a' + (state >> 59) as u8 % 26) as char
            })
            .collect()
    }

    /// One round of work; true while the store still does any.
    async fn work(&mut self, store: &Embedded, random: &SeededRandom, largest: u64) -> bool {
        let mut works = true;
        let mut offers = Vec::new();
        for _ in 0..=random.next_u64() % 6 {
            self.serial += 1;
            let key = format!("k{}", self.serial);
            let new = event(&key, &Known::body(random, largest), at(0));
            let new = contract::planned(new, Known::plan(random));
            self.offered.insert(key.clone(), new.clone());
            if random.next_u64().is_multiple_of(3) {
                // The provider is impatient: whoever hears "duplicate" counts on it, too.
                offers.push((key.clone(), store.accept(new.clone())));
            }
            offers.push((key, store.accept(new)));
        }
        // Offered at once, so that groups have more than one.
        let (keys, futures): (Vec<_>, Vec<_>) = offers.into_iter().unzip();
        for (key, result) in keys.into_iter().zip(join_all(futures).await) {
            match result {
                Ok(Acceptance::New(id) | Acceptance::Duplicate(id)) => self.begun(key, id),
                Ok(other) => panic!("{key}: {other:?}"),
                Err(_) => works = false,
            }
        }
        let mut leases = Vec::new();
        for to in ["main", "ledger", "risk"] {
            let lane = LaneName::new(&lane().source, &DestinationName::new(to));
            let most = (random.next_u64() % 4) as usize;
            let some = store.lease(&lane, at(5), at(10_000), most).await;
            leases.extend(some.unwrap_or_default());
        }
        for lease in leases {
            let id = lease.id;
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
            let number = lease.attempt;
            let settled = store
                .settle(lease, attempt(number, Some(200), ""), next)
                .await;
            self.happened(id, state, settled.is_ok());
            works &= settled.is_ok();
        }
        if random.next_u64().is_multiple_of(5)
            && let Some(id) = self.states.keys().next().copied()
        {
            let deed = Deed {
                at: at(5),
                by: "operator[0]".into(),
                kind: DeedKind::RedriveMany,
                source: None,
                destination: None,
                event: Some(id),
                detail: "d".repeat((random.next_u64() % 300) as usize),
                count: 1,
                outcome: "done".into(),
            };
            if let Ok(number) = store.record(deed.clone()).await {
                self.deeds.insert(number, deed);
            }
            let redriven = store.redrive(id, at(5)).await;
            self.happened(id, State::Owed, matches!(redriven, Ok(Operated::Done)));
            let discarded = store.discard(id, at(5), "no".into()).await;
            self.happened(
                id,
                State::Discarded,
                matches!(discarded, Ok(Operated::Done)),
            );
        }
        works
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
    async fn check(&mut self, store: &Embedded, what: &str) {
        let audit = store.audit(None, 500).await.unwrap().entries;
        for (number, deed) in &self.deeds {
            let found = audit.iter().find(|(n, _)| n == number);
            assert_eq!(found.map(|(_, deed)| deed), Some(deed), "{what}: {number}");
        }
        let deliveries = self.acknowledged.iter().flat_map(|(key, id)| {
            let count = self.offered[key].plan().deliveries.len() as u32;
            (0..count).map(move |n| (key, id.of_delivery(n)))
        });
        for (key, id) in &deliveries.collect::<Vec<_>>() {
            let offered = self.offered[*key].event();
            let read = store
                .read(*id)
                .await
                .unwrap_or_else(|e| panic!("{what}: {key} {id}: {e}"));
            assert_eq!(read.as_ref(), Some(offered), "{what}: {key} {id}");
            let row = store
                .row(*id)
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("{what}: no row for {key} {id}"));
            let (state, possible) = &self.states[id];
            assert!(
                row.state == *state || possible.contains(&row.state),
                "{what}: {key} {row:?} {state:?} {possible:?}"
            );
            let again = store.accept(self.offered[*key].clone()).await;
            assert_eq!(
                again,
                Ok(Acceptance::Duplicate(id.event())),
                "{what}: {key}"
            );
        }
        for row in all_rows(store).await {
            let read = store.read(row.id).await.unwrap().unwrap();
            assert_eq!(
                &read,
                self.offered[&row.event_key].event(),
                "{what}: altered"
            );
            // It may be there without having been acknowledged; then it is from now on.
            self.acknowledged.insert(row.event_key, row.id.event());
            self.states.insert(row.id, (row.state, Vec::new()));
        }
        let owed = self
            .states
            .values()
            .filter(|(state, _)| *state == State::Owed)
            .count();
        assert_eq!(store.stats().owed, owed as u64, "{what}");
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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Three lives, each ended by a power cut at some operation, be it while starting.
async fn lives(seed: u64, segment_bytes: u32, largest: u64, rounds: u64) {
    let random = SeededRandom::new(seed);
    let mut disk = FaultyDisk::new();
    let mut known = Known::default();
    let fatal = Arc::default();
    let mut config = config(Path::new("/sim/data"));
    config.index = false;
    config.segment_bytes = segment_bytes;
    for life in 0..3 {
        let span = if random.next_u64().is_multiple_of(3) {
            40
        } else {
            400
        };
        disk.plan(1 + random.next_u64() % span, Fault::PowerCut, Counted::All);
        if let Ok(store) = open_on_with(&disk, config.clone(), random.next_u64(), &fatal) {
            for _ in 0..rounds {
                if !known.work(&store, &random, largest).await {
                    break;
                }
            }
        }
        disk.forget_plan();
        disk = disk.after_power_cut(random.next_u64());
        let store = open_on_with(&disk, config.clone(), random.next_u64(), &fatal)
            .unwrap_or_else(|e| panic!("seed {seed}, life {life}: {e}"));
        assert_eq!(
            store.report().unreadable,
            [0u32; 0],
            "seed {seed}, life {life}"
        );
        known
            .check(&store, &format!("seed {seed}, life {life}"))
            .await;
    }
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    let runtime = runtime();
    // CALLSEAL_SEEDS for a longer search; a failure names its seed.
    let seeds = std::env::var("CALLSEAL_SEEDS").map_or(400, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        runtime.block_on(lives(seed, SEGMENT, 60_000, 16));
    }
}

#[test]
fn power_cuts_with_bodies_of_4_mib() {
    let runtime = runtime();
    for seed in 1000..1004 {
        runtime.block_on(lives(seed, 10 << 20, 4 << 20, 12));
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
        for _ in 0..12 {
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
    let runtime = runtime();
    let mut hits = 0;
    for nth in (1..100).chain((100..500).step_by(7)) {
        let before = hits;
        for fault in [Fault::Eio, Fault::Full, Fault::Short, Fault::Interrupted] {
            hits += usize::from(runtime.block_on(with_fault(nth, fault, Counted::All, false)));
        }
        if hits == before {
            break;
        }
    }
    assert!(hits > 300, "{hits}");
}

#[test]
fn any_operation_may_fail_from_some_moment_on() {
    let runtime = runtime();
    for nth in (1..60).step_by(3) {
        for fault in [Fault::Eio, Fault::Full] {
            for counted in [Counted::All, Counted::Writes, Counted::Syncs] {
                runtime.block_on(with_fault(nth, fault, counted, true));
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
