//! Records come back as they were written, and decoding is total.

use proptest::prelude::*;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::clock::Timestamp;
use crate::inbox::store::{Attempt, Deed, DeedKind, PaymentFacts, Response, State};
use crate::message::{DestinationName, Headers, SourceName};

fn meta() -> Meta {
    Meta {
        tag: 7,
        claim: ClaimHashes {
            key: [1; 16],
            key_and_body: [2; 16],
        },
        keep: Duration::from_secs(60),
        received_at: Timestamp::from_secs(5),
        body_bytes: 3,
        peer: "2001:db8::1".parse().unwrap(),
        source: "shop".into(),
        provider: "stripe".into(),
        method: "POST".into(),
        target: "/stripe?a=b".into(),
        event_key: "evt_1".into(),
        event_type: "payment".into(),
        verified: "hmac-sha256 keys[0]".into(),
        deliveries: vec![
            Planned {
                order: Some(Order {
                    hash: 9,
                    hold: true,
                }),
                ..Planned::main()
            },
            Planned {
                destination: "ledger".into(),
                state: State::Filtered,
                order: None,
            },
        ],
        business: Some(ClaimHashes {
            key: [3; 16],
            key_and_body: [4; 16],
        }),
        version: Some(Version {
            key: 5,
            stamp: -6_000_000_000_000_000_000_000,
        }),
        payment: Some(PaymentFacts {
            order: Some("A-1".into()),
            amount: Some("12.50".into()),
            ..PaymentFacts::default()
        }),
    }
}

#[test]
fn an_accepted_event_comes_back_byte_for_byte() {
    let headers: Headers = [("a", &b"\xff\x00"[..]), ("a", &b""[..])]
        .into_iter()
        .collect();
    let payload = Bytes::from(encode_accepted(&meta(), &headers, b"\0{}").unwrap());
    let of = EventId {
        segment: 1,
        offset: 2,
        tag: 3,
    };
    let (decoded, event) = decode_accepted(&payload, Some(of)).unwrap();
    assert_eq!(decoded, meta());
    assert_eq!(event.headers, headers);
    assert_eq!(&event.body[..], b"\0{}");
    assert_eq!(event.conflict_of, Some(of));
    assert_eq!(event.source.as_str(), "shop");
    // The meta can be had from the beginning alone.
    let needed = Meta::from_payload(&payload[..4]).unwrap_err();
    assert_eq!(Meta::from_payload(&payload[..needed]), Ok(Some(meta())));
    assert_eq!(Meta::from_payload(&payload[..needed - 1]), Err(needed));
}

#[test]
fn a_frame_head_fits_only_its_own_place() {
    let head = FrameHead {
        length: 9,
        payload_crc: 8,
        kind: Kind::Step,
        first_of_commit: true,
        conflicts: Conflicts::default(),
        subject: Some(EventId {
            segment: 4,
            offset: 8,
            tag: 9,
        }),
    };
    let bytes = head.encode(0x1234, 64);
    assert_eq!(FrameHead::decode(&bytes, 0x1234, 64), Some(head));
    assert_eq!(FrameHead::decode(&bytes, 0x1234, 72), None);
    assert_eq!(FrameHead::decode(&bytes, 0x1235, 64), None);
    for bit in 0..FRAME_HEAD * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(FrameHead::decode(&flipped, 0x1234, 64), None, "bit {bit}");
    }
    assert_eq!(FrameHead::decode(&[0; FRAME_HEAD], 0, 0), None);
}

fn any_step() -> impl Strategy<Value = Step> {
    let attempt = (
        any::<u32>(),
        any::<u64>(),
        any::<u64>(),
        any::<Option<u16>>(),
        ".{0,20}",
        proptest::option::of((
            ".{0,20}",
            proptest::collection::vec(any::<u8>(), 0..40),
            any::<bool>(),
        )),
    );
    let delivery = (
        0..6u8,
        any::<u32>(),
        any::<u32>(),
        any::<u64>(),
        any::<u64>(),
        any::<Option<(u32, u32)>>(),
    );
    (0..5u8, attempt, delivery, any::<u64>(), ".{0,20}").prop_map(|(what, a, d, at, reason)| {
        let attempt = Attempt {
            number: a.0,
            started_at: Timestamp::from_millis(a.1),
            took: Duration::from_nanos(a.2),
            status: a.3,
            error: a.4,
            response: a.5.map(|(value, body, cut)| Response {
                headers: vec![("content-type".into(), value)],
                body: body.into(),
                cut,
            }),
        };
        Step {
            happened: match what {
                0 => Happened::Attempt(attempt),
                1 => Happened::LateAttempt(attempt),
                2 => Happened::Redriven,
                3 => Happened::Superseded,
                _ => Happened::Discarded,
            },
            at: Timestamp::from_millis(at),
            reason,
            delivery: Delivery {
                state: state_of(d.0).unwrap(),
                attempts: d.1,
                round: d.2,
                since: Timestamp::from_millis(d.3),
                due: Timestamp::from_millis(d.4),
                last: d.5.map(|(s, o)| Place {
                    segment: s.max(1),
                    offset: o,
                }),
            },
        }
    })
}

proptest! {
    #[test]
    fn steps_come_back(step in any_step()) {
        prop_assert_eq!(Step::decode(&step.encode().unwrap()), Some(step));
    }

    #[test]
    fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Step::decode(&bytes);
        let _ = Word::decode(&bytes);
        let _ = Meta::from_payload(&bytes);
        let _ = decode_accepted(&Bytes::from(bytes.clone()), None);
        let _ = FrameHead::decode(&bytes, 0, 0);
    }

    #[test]
    fn decoding_is_total_near_the_truth(at in 0usize..300, value: u8) {
        let mut payload = encode_accepted(&meta(), &[("a", "b")].into_iter().collect(), b"abc").unwrap();
        if let Some(byte) = payload.get_mut(at) {
            *byte = value;
        }
        let _ = decode_accepted(&Bytes::from(payload), None);
    }
}

#[test]
fn words_come_back() {
    for kind in DeedKind::ALL {
        let word = Word {
            number: 7,
            deed: Deed {
                at: Timestamp::from_secs(3),
                by: "operator[0]".into(),
                kind,
                source: Some(SourceName::new("shop")),
                destination: Some(DestinationName::new("ledger")),
                event: None,
                detail: "state=dead".into(),
                count: 12,
                outcome: "done".into(),
            },
        };
        assert_eq!(Word::decode(&word.encode().unwrap()), Some(word));
    }
}

#[test]
fn what_conflicts_stands_in_the_head() {
    let subject = Some(EventId {
        segment: 4,
        offset: 8,
        tag: 9,
    });
    let head = |key, business| FrameHead {
        length: 9,
        payload_crc: 8,
        kind: Kind::Accepted,
        first_of_commit: false,
        conflicts: Conflicts { key, business },
        subject,
    };
    for (key, business) in [(true, false), (false, true), (true, true)] {
        let head = head(key, business);
        assert_eq!(
            FrameHead::decode(&head.encode(1, 64), 1, 64),
            Some(head),
            "{key} {business}"
        );
    }
    // Version 1 had no flags for it: its subject was always of the key.
    let old = head(false, false);
    let read = FrameHead::decode(&old.encode(1, 64), 1, 64).unwrap();
    assert!(read.conflicts.key && !read.conflicts.business);
}
