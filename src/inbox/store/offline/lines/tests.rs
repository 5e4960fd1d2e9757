//! Whatever a store knows goes into a line, and comes out of it.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::inbox::store::load::LoadedDelivery;
use crate::inbox::store::record::{
    Added, ClaimHashes, Conflicts, Delivery, Happened, Meta, Order, Planned, Step, Version, Word,
};
use crate::inbox::store::{Attempt, Deed, DeedKind, PaymentFacts, Response, State, StoredEvent};
use crate::message::{DestinationName, SourceName};

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

/// Of a source or a destination.
fn plain() -> impl Strategy<Value = String> {
    "[a-z0-9_-]{1,12}"
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

fn any_id() -> impl Strategy<Value = EventId> {
    (1..u32::MAX, any::<u32>(), any::<u64>()).prop_map(|(segment, offset, tag)| EventId {
        segment,
        offset,
        tag,
    })
}

prop_compose! {
    fn any_response()(
        headers in vec((text(), text()), 0..3),
        body in bytes(),
        cut: bool,
    ) -> Response {
        Response { headers, body: Bytes::from(body), cut }
    }
}

prop_compose! {
    fn any_attempt()(
        number: u32,
        started_at in any_time(),
        took: u64,
        status: Option<u16>,
        error in text(),
        response in option::of(any_response()),
    ) -> Attempt {
        let took = Duration::from_nanos(took);
        Attempt { number, started_at, took, status, error, response }
    }
}

fn any_happened() -> impl Strategy<Value = Happened> {
    prop_oneof![
        any_attempt().prop_map(Happened::Attempt),
        any_attempt().prop_map(Happened::LateAttempt),
        Just(Happened::Redriven),
        Just(Happened::Discarded),
        Just(Happened::Superseded),
    ]
}

prop_compose! {
    fn any_step()(
        happened in any_happened(),
        at in any_time(),
        reason in text(),
        state in 0..State::ALL.len(),
        counts: [u32; 2],
        since in any_time(),
        due in any_time(),
    ) -> Step {
        let [attempts, round] = counts;
        let state = State::ALL[state];
        let delivery = Delivery { state, attempts, round, since, due, last: None };
        Step { happened, at, reason, delivery }
    }
}

prop_compose! {
    fn any_delivery()(
        destination in plain(),
        wanted: bool,
        order in option::of(any::<(u64, bool)>()),
        steps in vec(any_step(), 0..4),
    ) -> (Planned, Vec<Step>) {
        let state = if wanted { State::Owed } else { State::Filtered };
        let order = order.map(|(hash, hold)| Order { hash, hold });
        (Planned { destination, state, order }, steps)
    }
}

fn any_hashes() -> impl Strategy<Value = ClaimHashes> {
    any::<[[u8; 16]; 2]>().prop_map(|[key, key_and_body]| ClaimHashes { key, key_and_body })
}

prop_compose! {
    fn any_added()(
        tag: u64,
        claim in any_hashes(),
        business in option::of(any_hashes()),
        keep: u64,
        version in option::of(any::<(u64, i128)>()),
    ) -> Added {
        Added {
            tag,
            claim,
            business,
            keep: Duration::from_millis(keep),
            deliveries: Vec::new(),
            version: version.map(|(key, stamp)| Version { key, stamp }),
        }
    }
}

prop_compose! {
    fn any_payment()(
        texts in vec(option::of(text()), 5),
        minor: bool,
    ) -> Option<PaymentFacts> {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().flatten();
        let facts = PaymentFacts {
            order: text(),
            transaction: text(),
            amount: text(),
            minor,
            currency: text(),
            status: text(),
        };
        facts.kept()
    }
}

prop_compose! {
    fn any_stored()(
        source in plain(),
        texts in vec(text(), 6),
        received_at in any_time(),
        peer: std::net::IpAddr,
        headers in vec((bytes(), bytes()), 0..4),
        body in bytes(),
        conflict_of in option::of(any_id()),
        payment in any_payment(),
    ) -> StoredEvent {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().unwrap();
        StoredEvent {
            source: SourceName::new(&source),
            provider: text(),
            received_at,
            peer,
            method: text(),
            target: text(),
            headers: headers.into_iter().collect(),
            body: Bytes::from(body),
            event_key: text(),
            event_type: text(),
            verified: text(),
            conflict_of,
            payment,
        }
    }
}

/// Everything that a store knows of an event goes into the line, and comes out of it.
fn any_event() -> impl Strategy<Value = Event> {
    let flags = any::<(bool, bool)>();
    let deliveries = vec(any_delivery(), 1..9);
    let all = (any_id(), any_stored(), any_added(), flags, deliveries);
    all.prop_map(|(id, event, mut added, (key, business), deliveries)| {
        let (planned, steps): (Vec<_>, Vec<_>) = deliveries.into_iter().unzip();
        added.deliveries = planned;
        // Each has a name of its own.
        for (n, planned) in added.deliveries.iter_mut().enumerate() {
            planned.destination.push_str(&n.to_string());
        }
        let business = business && added.business.is_some();
        let conflicts = Conflicts {
            key: key || event.conflict_of.is_some() && !business,
            business,
        };
        let meta = Meta::of(&event, added).unwrap();
        let line = Event::new(id, &meta, &event, conflicts, &steps);
        assert_eq!(line.id(), Ok(id));
        assert_eq!(line.stored().unwrap(), event);
        assert_eq!(line.conflicts(), conflicts);
        let again = Meta::of(&event, line.added(meta.tag).unwrap());
        assert_eq!(again, Some(meta.clone()));
        for (n, loaded) in line.loaded().unwrap().into_iter().enumerate() {
            let LoadedDelivery {
                destination,
                steps: loaded,
            } = loaded;
            assert_eq!(destination, meta.deliveries[n].destination);
            assert_eq!(loaded, steps[n]);
        }
        line
    })
}

fn any_deed() -> impl Strategy<Value = DeedLine> {
    let texts = (text(), text(), text());
    let names = (option::of(plain()), option::of(plain()));
    let kind = 0..DeedKind::ALL.len();
    let numbers = (1..u64::MAX / 2, any::<u64>());
    let all = (
        numbers,
        any_time(),
        kind,
        texts,
        names,
        option::of(any_id()),
    );
    all.prop_map(|((number, count), at, kind, texts, names, event)| {
        let word = Word {
            number,
            deed: Deed {
                at,
                by: texts.0,
                kind: DeedKind::ALL[kind],
                source: names.0.as_deref().map(SourceName::new),
                destination: names.1.as_deref().map(DestinationName::new),
                event,
                detail: texts.1,
                count,
                outcome: texts.2,
            },
        };
        let line = DeedLine::new(&word);
        assert_eq!(line.word().unwrap(), word);
        line
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        any_event().prop_map(|event| Record::Event(Box::new(event))),
        any_deed().prop_map(|deed| Record::Deed(Box::new(deed))),
    ]
}

proptest! {
    #[test]
    fn records_come_back(record in any_record()) {
        let (line, sum) = write(&record).unwrap();
        prop_assert!(line.ends_with('\n') && !line[..line.len() - 1].contains('\n'));
        let again = read(line.trim_end_matches('\n').as_bytes()).unwrap();
        prop_assert_eq!(again, (record, sum));
    }

    #[test]
    fn any_other_byte_is_noticed(record in any_record(), at: usize, other: u8) {
        let (line, _) = write(&record).unwrap();
        let mut bytes = line.trim_end_matches('\n').as_bytes().to_vec();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != other);
        bytes[at] = other;
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn reading_is_total(bytes in vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }
}

/// What no store has is no event.
#[test]
fn what_cannot_be_is_refused() {
    let text = r#"{"id":"evt_00000000000000000000000000","source":"s","provider":"p","received_ms":1,"keep_ms":1,"peer":"192.0.2.1","method":"POST","target":"/","headers":[],"body":"","event_key":"","event_type":"","verified":"none","claim":{"key":"00000000000000000000000000000000","key_and_body":"00000000000000000000000000000000"},"deliveries":[{"destination":"main","began":"owed","steps":[]}]}"#;
    let event: Event = serde_json::from_str(text).unwrap();
    assert!(event.added(1).is_ok());
    let mut none = event.clone();
    none.deliveries.clear();
    assert_eq!(none.added(1).unwrap_err(), bad("deliveries"));
    let mut many = event.clone();
    many.deliveries = vec![event.deliveries[0].clone(); 9];
    assert_eq!(many.added(1).unwrap_err(), bad("deliveries"));
    let mut begun = event.clone();
    begun.deliveries[0].began = "delivered".into();
    assert_eq!(begun.added(1).unwrap_err(), bad("deliveries.began"));
    let forgotten = text.replace(r#""began":"owed","#, "");
    assert!(serde_json::from_str::<Event>(&forgotten).is_err());
    let unknown = text.replace(r#""began""#, r#""else":1,"began""#);
    assert!(serde_json::from_str::<Event>(&unknown).is_err());
}

/// What no store would write, with a checksum that is right.
#[test]
fn what_no_store_would_write_is_refused() {
    let text = r#"{"id":"evt_00000000000000000000000000","source":"s","provider":"p","received_ms":1,"keep_ms":1,"peer":"192.0.2.1","method":"POST","target":"/","headers":[],"body":"","event_key":"","event_type":"","verified":"none","claim":{"key":"00000000000000000000000000000000","key_and_body":"00000000000000000000000000000000"},"deliveries":[{"destination":"main","began":"owed","steps":[]}]}"#;
    let good: Event = serde_json::from_str(text).unwrap();
    let refused = |spoil: &dyn Fn(&mut Event)| {
        let mut event = good.clone();
        spoil(&mut event);
        event.stored().and(event.added(1)).err()
    };
    assert_eq!(refused(&|_| {}), None);
    for name in ["", "a\0b", "Shop", "a b", "../x", &"a".repeat(65)] {
        assert_eq!(refused(&|e| e.source = name.into()), Some(bad("source")));
        let spoiled = refused(&|e| e.deliveries[0].destination = name.into());
        assert_eq!(spoiled, Some(bad("deliveries.destination")));
    }
    let doubled = refused(&|e| e.deliveries.push(e.deliveries[0].clone()));
    assert_eq!(doubled, Some(bad("deliveries.destination")));
    assert_eq!(refused(&|e| e.deliveries.clear()), Some(bad("deliveries")));
    let nine = refused(&|e| {
        let one = e.deliveries[0].clone();
        e.deliveries = (0..9)
            .map(|n| DeliveryLine {
                destination: format!("d{n}"),
                ..one.clone()
            })
            .collect();
    });
    assert_eq!(nine, Some(bad("deliveries")));
    // It contradicts another by one of its keys: as the journal says it.
    let mut event = good;
    event.conflict_of = Some(event.id.clone());
    assert!(event.conflicts().key);

    let deed = DeedLine {
        number: 1,
        at_ms: u64::MAX,
        by: "x".repeat(100_000),
        kind: "pause".into(),
        source: Some("shop".into()),
        destination: None,
        event: None,
        detail: String::new(),
        count: u64::MAX,
        outcome: String::new(),
    };
    assert!(deed.word().is_ok());
    for name in [String::new(), "x".repeat(1 << 20)] {
        let (mut source, mut destination) = (deed.clone(), deed.clone());
        source.source = Some(name.clone());
        assert_eq!(source.word(), Err(bad("source")));
        destination.destination = Some(name);
        assert_eq!(destination.word(), Err(bad("destination")));
    }
    for number in [0, u64::MAX / 2 + 1, u64::MAX] {
        let deed = DeedLine {
            number,
            ..deed.clone()
        };
        assert_eq!(deed.word(), Err(bad("number")));
    }
}
