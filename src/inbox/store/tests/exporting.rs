//! Exporting and importing: what comes back, what is known again, and what a damaged line is.

use std::path::Path;

use super::offline::DIRECTORY;
use super::*;
use crate::inbox::store::offline::import::{Flaw, Import, Importer, Lines, inspect};
use crate::inbox::store::offline::lines::{self, BadLine, DeedLine, Record};
use crate::inbox::store::open::{self, Parts};

pub(super) fn exported(store: &Embedded) -> Vec<u8> {
    let mut out = Vec::new();
    store.export(&mut out, &mut |_| {}).unwrap();
    out
}

pub(super) fn records_in(export: &[u8]) -> (Vec<Import>, Vec<DeedLine>) {
    let mut lines = Lines::new(export);
    let (mut events, mut deeds) = (Vec::new(), Vec::new());
    while let Some(line) = lines.next_line().unwrap() {
        match line.read.unwrap().0 {
            Record::Event(event) => events.push(Import::new(*event).unwrap()),
            Record::Deed(deed) => deeds.push(*deed),
            Record::Head(_) | Record::End(_) => {}
        }
    }
    (events, deeds)
}

fn events_in(export: &[u8]) -> Vec<Import> {
    records_in(export).0
}

/// Takes all of an export in: what became of its events, and how many deeds were new.
pub(super) fn take_in(
    store: &Embedded,
    export: &[u8],
) -> (Vec<Result<Acceptance, StoreError>>, usize) {
    let spoken_of = inspect(export).unwrap().spoken_of;
    let mut importer = Importer::new(store, spoken_of).unwrap();
    let (events, deeds) = records_in(export);
    let answers = importer.events(&events);
    let new = deeds.iter().filter(|deed| importer.deed(deed).unwrap());
    (answers, new.count())
}

pub(super) fn import(store: &Embedded, events: &[Import]) -> Vec<Result<Acceptance, StoreError>> {
    Importer::new(store, Default::default())
        .unwrap()
        .events(events)
}

/// A new store that knows keys as the exported one did, with all of it taken in.
pub(super) fn imported(export: &[u8]) -> Embedded {
    let disk = FaultyDisk::new();
    let head = inspect(export).unwrap().head.unwrap();
    let keys = head.keys().unwrap();
    let parts = Parts {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(ManualClock::at(at(0))),
        random: Arc::new(SeededRandom::new(77)),
    };
    assert!(open::found(&parts, Path::new(DIRECTORY), keys[0]).unwrap());
    assert!(!open::found(&parts, Path::new(DIRECTORY), keys[0]).unwrap());
    let mut store = open_on(&disk, 78, &Arc::default()).unwrap();
    store.know_keys(&keys).unwrap();
    let (answers, deeds) = take_in(&store, export);
    for answer in answers {
        let new = matches!(answer, Ok(Acceptance::New(_) | Acceptance::Conflict { .. }));
        assert!(new, "{answer:?}");
    }
    assert_eq!(deeds, records_in(export).1.len());
    store
}

/// The id in the other store.
#[derive(Default)]
struct Ids(std::collections::HashMap<EventId, EventId>);

impl Ids {
    fn of(&self, id: EventId) -> EventId {
        let event = self.0.get(&id.event());
        event.map_or(id, |event| event.of_delivery(id.delivery()))
    }

    fn acceptance(&self, of: Acceptance) -> Acceptance {
        match of {
            Acceptance::New(id) => Acceptance::New(self.of(id)),
            Acceptance::Conflict { id, of } => Acceptance::Conflict {
                id: self.of(id),
                of: self.of(of),
            },
            Acceptance::Duplicate(id) => Acceptance::Duplicate(self.of(id)),
            Acceptance::Dropped { of } => Acceptance::Dropped { of: self.of(of) },
            Acceptance::Refused { of } => Acceptance::Refused { of: self.of(of) },
        }
    }
}

async fn audit(store: &Embedded) -> Vec<(u64, Deed)> {
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let page = store.audit(None, after, 100).await.unwrap();
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return entries;
        }
    }
}

/// Whatever the contract lets one see is the same in both, but for the ids.
async fn same(one: &Embedded, other: &Embedded) -> Ids {
    let (rows, others) = (all_rows(one).await, all_rows(other).await);
    assert_eq!(rows.len(), others.len());
    let both = rows.iter().zip(&others);
    let ids = Ids(both.map(|(a, b)| (a.id.event(), b.id.event())).collect());
    for (a, b) in rows.iter().zip(&others) {
        let mut expected = a.clone();
        expected.id = ids.of(a.id);
        assert_eq!(&expected, b);
        assert_eq!(one.attempts(a.id).await, other.attempts(b.id).await);
        let mut read = one.read(a.id).await.unwrap().unwrap();
        read.conflict_of = read.conflict_of.map(|of| ids.of(of));
        assert_eq!(other.read(b.id).await, Ok(Some(read)));
        let overtaken = one.overtaken(a.id).await.unwrap();
        let expected = overtaken.map(|id| ids.of(id));
        assert_eq!(other.overtaken(b.id).await, Ok(expected), "{}", a.id);
        let lane = LaneName::new(&a.source, &a.destination);
        assert_eq!(one.paused(&lane), other.paused(&lane), "{lane:?}");
        assert_eq!(one.next_due(&lane).await, other.next_due(&lane).await);
    }
    let mut deeds = audit(one).await;
    for (_, deed) in &mut deeds {
        deed.event = deed.event.map(|id| ids.of(id));
    }
    assert_eq!(deeds, audit(other).await);
    let (a, b) = (one.stats(), other.stats());
    assert_eq!(
        (a.owed, a.dead, a.oldest_owed),
        (b.owed, b.dead, b.oldest_owed)
    );
    ids
}

/// What is offered from here on is judged alike, and what is owed goes out alike.
async fn goes_on_alike(one: &Embedded, other: &Embedded, ids: &mut Ids, seed: u64) {
    let life = model::Life::new(seed ^ 0x5eed);
    for n in 0..150 {
        let new = life.offer();
        let said = one.accept(new.clone()).await.unwrap();
        let again = other.accept(new).await.unwrap();
        if let Acceptance::New(id) | Acceptance::Conflict { id, .. } = said {
            ids.0.insert(id, again.id());
        }
        assert_eq!(ids.acceptance(said), again, "seed {seed}, offer {n}");
    }
    for (source, destination) in model::lanes() {
        let lane = LaneName::new(&source, &destination);
        for kind in [None, Some(destination)] {
            let deed = model::resumed(source.clone(), kind);
            let numbers = (one.record(deed.clone()).await, other.record(deed).await);
            assert_eq!(numbers.0, numbers.1);
        }
        let (from, until) = (at(90_000_000), at(91_000_000));
        loop {
            let leases = one.lease(&lane, from, until, 5).await.unwrap();
            let others = other.lease(&lane, from, until, 5).await.unwrap();
            assert_eq!(leases.len(), others.len(), "seed {seed}");
            if leases.is_empty() {
                break;
            }
            for (a, b) in leases.into_iter().zip(others) {
                let alike = |lease: &Lease, id| (id, lease.attempt, lease.round, lease.since);
                assert_eq!(alike(&a, ids.of(a.id)), alike(&b, b.id), "seed {seed}");
                let tried = attempt(a.attempt, Some(200), "");
                let done = one.settle(a, tried.clone(), Next::Delivered).await;
                assert_eq!(done, other.settle(b, tried, Next::Delivered).await);
            }
        }
    }
}

/// The same events and deeds, but for their ids.
fn same_records(export: &[u8], other: &[u8], ids: &Ids) {
    let lines = |export: &[u8]| {
        let mut lines = Lines::new(export);
        let mut records = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            records.push(line.read.unwrap().0);
        }
        records
    };
    let new = |id: &mut String| *id = ids.of(id.parse().unwrap()).to_string();
    let (records, others) = (lines(export), lines(other));
    assert_eq!(records.len(), others.len());
    for (mut record, other) in records.into_iter().zip(others) {
        match &mut record {
            Record::Event(event) => {
                new(&mut event.id);
                event.conflict_of.as_mut().map(new);
            }
            Record::Deed(deed) => {
                deed.event.as_mut().map(new);
            }
            Record::Head(_) | Record::End(_) => continue,
        }
        assert_eq!(record, other);
    }
}

/// Whatever a store has lived through: what comes out goes in, and is the same.
#[test]
fn what_is_exported_comes_back() {
    for seed in 500..516 {
        let disk = FaultyDisk::new();
        let open = |n| open_on(&disk, n, &Arc::default()).unwrap();
        drop(crash::block_on(model::live(seed, 300, open, || {})));
        // Nothing is leased.
        let store = open(seed);
        let export = exported(&store);
        let inspected = inspect(&export[..]).unwrap();
        assert_eq!(inspected.flaws, []);
        let other = imported(&export);
        let mut ids = crash::block_on(same(&store, &other));
        same_records(&export, &exported(&other), &ids);
        // Once more changes nothing.
        let (answers, deeds) = take_in(&other, &export);
        for answer in answers {
            assert!(matches!(answer, Ok(Acceptance::Duplicate(_))), "{answer:?}");
        }
        assert_eq!(deeds, 0);
        crash::block_on(same(&store, &other));
        crash::block_on(goes_on_alike(&store, &other, &mut ids, seed));
        crash::block_on(same(&store, &other));
    }
}

/// Into a store that has events of its own, and another key.
#[test]
fn imported_events_are_known_again_beside_the_stores_own() {
    let theirs = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    let disk = FaultyDisk::new();
    let mut ours = open_on(&disk, 6, &Arc::default()).unwrap();
    crash::block_on(async {
        for key in ["a", "b", "c"] {
            accept(&theirs, key, key).await;
        }
        let lease = theirs
            .lease(&lane(), at(1), at(9), 1)
            .await
            .unwrap()
            .remove(0);
        theirs
            .settle(lease, attempt(1, Some(200), ""), Next::Delivered)
            .await
            .unwrap();
        accept(&ours, "own", "1").await;
    });
    let export = exported(&theirs);
    let keys = inspect(&export[..]).unwrap().head.unwrap().keys().unwrap();
    ours.know_keys(&keys).unwrap();
    // As if it had been cut off after two.
    let events = events_in(&export);
    assert_eq!(import(&ours, &events[..2]).len(), 2);
    let answers = import(&ours, &events);
    assert!(matches!(answers[0], Ok(Acceptance::Duplicate(_))));
    assert!(matches!(answers[2], Ok(Acceptance::New(_))));
    drop(ours);
    let ours = open_on(&disk, 7, &Arc::default()).unwrap();
    crash::block_on(async {
        assert_eq!(all_rows(&ours).await.len(), 4);
        assert_eq!(ours.stats().owed, 3);
        for key in ["a", "b", "c"] {
            let again = ours.accept(event(key, key, at(0))).await;
            assert!(
                matches!(again, Ok(Acceptance::Duplicate(_))),
                "{key}: {again:?}"
            );
            let other = ours.accept(event(key, "other", at(0))).await;
            assert!(
                matches!(other, Ok(Acceptance::Conflict { .. })),
                "{key}: {other:?}"
            );
            let again = ours.accept(event(key, "other", at(0))).await;
            assert!(
                matches!(again, Ok(Acceptance::Duplicate(_))),
                "{key}: {again:?}"
            );
        }
        assert!(matches!(
            ours.accept(event("own", "1", at(0))).await,
            Ok(Acceptance::Duplicate(_))
        ));
    });
}

/// Hashed under the key of the store that it was exported from, everything goes on counting.
#[test]
fn second_keys_orders_and_versions_count_under_a_former_key() {
    let theirs = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    let disk = FaultyDisk::new();
    let mut ours = open_on(&disk, 6, &Arc::default()).unwrap();
    let offer = |key: &str, order: &str, content: u8, stamp: i128| {
        let (event, mut claim, _) = event(key, key, at(0)).into_parts();
        claim.business = Some(BusinessClaim {
            key: order.as_bytes().to_vec(),
            content: [content; 32],
        });
        let mut plan = contract::plan([contract::to("main", Some("x"))]);
        plan.version = Some(EventVersion {
            key: b"v".to_vec(),
            stamp,
        });
        NewEvent::new(event, claim, plan)
    };
    let accept = |store: &Embedded, new| crash::block_on(store.accept(new)).unwrap();
    let first = accept(&theirs, offer("a", "o1", 1, 5)).id();
    let conflict = accept(&theirs, offer("b", "o1", 2, 9));
    assert!(matches!(conflict, Acceptance::Conflict { of, .. } if of == first));
    let export = exported(&theirs);
    let head = inspect(&export[..]).unwrap().head.unwrap();
    ours.know_keys(&head.keys().unwrap()).unwrap();
    let (answers, _) = take_in(&ours, &export);
    let ids: Vec<EventId> = answers.into_iter().map(|a| a.unwrap().id()).collect();
    drop(ours);
    let ours = open_on(&disk, 7, &Arc::default()).unwrap();
    let read = crash::block_on(ours.read(ids[1])).unwrap().unwrap();
    assert_eq!(read.conflict_of, Some(ids[0]));
    // By the second key, with the content of the first and of the one in conflict with it.
    for (content, id) in [(1, ids[0]), (2, ids[1])] {
        let again = accept(&ours, offer("c", "o1", content, 1));
        assert_eq!(again, Acceptance::Duplicate(id));
    }
    let other = accept(&ours, offer("c", "o1", 3, 7));
    assert!(
        matches!(other, Acceptance::Conflict { of, .. } if of == ids[0]),
        "{other:?}"
    );
    // The versions of both are held against each other.
    let overtaken = |id| crash::block_on(ours.overtaken(id)).unwrap();
    assert_eq!(overtaken(other.id()), Some(ids[1]));
    let latest = accept(&ours, offer("d", "o2", 1, 10)).id();
    assert_eq!(overtaken(ids[1]), Some(latest));
    // And they go out one after the other.
    for id in [ids[0], ids[1], other.id(), latest] {
        let mut due = crash::block_on(ours.lease(&lane(), at(9), at(99), 9)).unwrap();
        let given: Vec<EventId> = due.iter().map(|lease| lease.id).collect();
        assert_eq!(given, [id]);
        let tried = attempt(1, Some(200), "");
        let done = ours.settle(due.remove(0), tried, Next::Delivered);
        crash::block_on(done).unwrap();
    }
}

/// An event whose keys were taken by one that is gone meanwhile: the keys alone are free, and stay
/// so.
#[test]
fn a_conflict_with_what_is_gone_stays_one() {
    let store = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    let offer = |key: &str, content: &str| {
        let (event, mut claim, plan) = event(key, content, at(0)).into_parts();
        claim.keep = Duration::from_secs(3600);
        claim.business = Some(BusinessClaim {
            key: b"order".to_vec(),
            content: claim.body,
        });
        NewEvent::new(event, claim, plan)
    };
    let first = crash::block_on(store.accept(offer("k", "1"))).unwrap().id();
    let fill = |key| crash::block_on(accept(&store, key, &"x".repeat(100_000)));
    let filled = fill("fill");
    fill("next segment");
    let second = crash::block_on(store.accept(offer("k", "2"))).unwrap();
    assert!(matches!(second, Acceptance::Conflict { of, .. } if of == first));
    for id in [first, filled] {
        crash::block_on(store.discard(id, at(1), "no".into())).unwrap();
    }
    crash::block_on(store.expire(at(30 * 86_400))).unwrap();
    assert_eq!(crash::block_on(store.read(first)), Ok(None));
    let export = exported(&store);
    let other = imported(&export);
    let ids = crash::block_on(same(&store, &other));
    same_records(&export, &exported(&other), &ids);
    for (key, content, there) in [("k", "2", true), ("again", "2", true), ("k", "3", false)] {
        let said = crash::block_on(store.accept(offer(key, content))).unwrap();
        let again = crash::block_on(other.accept(offer(key, content))).unwrap();
        match there {
            true => {
                assert_eq!(said, Acceptance::Duplicate(second.id()));
                assert_eq!(ids.acceptance(said), again);
            }
            false => {
                assert!(matches!(said, Acceptance::New(_)), "{said:?}");
                assert!(matches!(again, Acceptance::New(_)), "{again:?}");
            }
        }
    }
}

/// Where an audit and pauses are already.
#[test]
fn what_was_paused_on_either_side_stays_paused() {
    let open = |seed| open_on(&FaultyDisk::new(), seed, &Arc::default()).unwrap();
    let (theirs, ours) = (open(5), open(6));
    let say = |store: &Embedded, source: &str, kind| {
        let deed = Deed {
            kind,
            ..model::resumed(SourceName::new(source), None)
        };
        crash::block_on(store.record(deed)).unwrap();
    };
    say(&theirs, "shop", DeedKind::Pause);
    say(&theirs, "other", DeedKind::Pause);
    say(&theirs, "other", DeedKind::Resume);
    say(&ours, "third", DeedKind::Resume);
    say(&ours, "other", DeedKind::Pause);
    let export = exported(&theirs);
    // The pause of `other` is the same deed on both sides.
    assert_eq!(take_in(&ours, &export).1, 2);
    let paused = |source| ours.paused(&LaneName::main(&SourceName::new(source)));
    let all = ["shop", "other", "third"].map(paused);
    assert_eq!(all, [true, true, false]);
    let entries = crash::block_on(audit(&ours));
    let by: Vec<&str> = entries.iter().map(|(_, deed)| deed.by.as_str()).collect();
    assert_eq!(
        by,
        [
            "import",
            "operator[0]",
            "operator[0]",
            "operator[0]",
            "operator[0]"
        ]
    );
    let numbers: Vec<u64> = entries.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    // What an operator says afterwards counts, also when it is taken in once more.
    say(&ours, "other", DeedKind::Resume);
    assert_eq!(take_in(&ours, &export).1, 0);
    assert!(!paused("other"));
}

/// An import that was cut off between an event and what happened to it.
#[test]
fn missing_steps_are_taken_in_later() {
    let store = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    crash::block_on(async {
        accept(&store, "a", "1").await;
        for n in 1..=3u32 {
            let lease = store
                .lease(&lane(), at(100 * u64::from(n)), at(9999), 1)
                .await
                .unwrap()
                .remove(0);
            let next = match n {
                3 => Next::Dead {
                    reason: "gave_up".into(),
                },
                _ => Next::Retry { at: at(10) },
            };
            store
                .settle(lease, attempt(n, Some(500), "status"), next)
                .await
                .unwrap();
        }
    });
    let export = exported(&store);
    let text = String::from_utf8(export.clone()).unwrap();
    let line = text.lines().nth(1).unwrap();
    let (Record::Event(event), _) = lines::read(line.as_bytes()).unwrap() else {
        panic!("{line}");
    };
    for there in 0..=3 {
        let mut part = event.clone();
        part.deliveries[0].steps.truncate(there);
        let part = [Import::new(*part).unwrap()];
        let other = imported(&exported(
            &open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap(),
        ));
        assert!(matches!(import(&other, &part)[0], Ok(Acceptance::New(_))));
        assert!(matches!(
            import(&other, &events_in(&export))[0],
            Ok(Acceptance::Duplicate(_))
        ));
        crash::block_on(same(&store, &other));
        // What went on differently here stays so.
        let mut else_where = event.clone();
        let steps = &mut else_where.deliveries[0].steps;
        steps[2].due_ms += 1;
        steps.push(steps[0].clone());
        import(&other, &[Import::new(*else_where).unwrap()]);
        crash::block_on(same(&store, &other));
    }
}

#[test]
fn a_damaged_line_is_named() {
    let store = open_on(&FaultyDisk::new(), 5, &Arc::default()).unwrap();
    crash::block_on(async {
        for key in ["a", "b", "c"] {
            accept(&store, key, key).await;
        }
    });
    let export = exported(&store);
    assert_eq!(inspect(&export[..]).unwrap().flaws, []);
    let ends: Vec<usize> = (0..export.len())
        .filter(|at| export[*at] == b'\n')
        .collect();
    // A byte of the third line.
    let mut bad = export.clone();
    bad[ends[1] + 200] ^= 1;
    let inspected = inspect(&bad[..]).unwrap();
    let why = BadLine::Sum;
    assert_eq!(inspected.flaws[0], Flaw::Line { number: 3, why });
    assert_eq!(inspected.flaws[1], Flaw::Other { says: 3, found: 2 });
    assert_eq!(inspected.events, 2);
    // A line that is missing, doubled, or elsewhere.
    let line = |n: usize| &export[ends[n - 1] + 1..=ends[n]];
    let first = &export[..=ends[0]];
    let other = |lines: &[&[u8]]| {
        inspect(&[&[first], lines].concat().concat()[..])
            .unwrap()
            .flaws
    };
    assert_eq!(other(&[line(1), line(2), line(3), line(4)]), []);
    let says = |found| [Flaw::Other { says: 3, found }];
    assert_eq!(other(&[line(1), line(3), line(4)]), says(2));
    assert_eq!(
        other(&[line(1), line(1), line(2), line(3), line(4)]),
        says(4)
    );
    assert_eq!(other(&[line(2), line(1), line(3), line(4)]), says(3));
    assert_eq!(other(&[line(1), line(2), line(3)]), [Flaw::NoEnd]);
    // Cut off at any byte.
    for cut in 0..export.len() {
        assert_ne!(inspect(&export[..cut]).unwrap().flaws, [], "{cut}");
    }
    assert_eq!(
        inspect(&b""[..]).unwrap().flaws,
        [Flaw::NoHead, Flaw::NoEnd]
    );
}
