//! What stands in the journal, byte for byte: frames, and the two kinds of record in them.
//!
//! Everything is little-endian. A frame is a head of [`FRAME_HEAD`] bytes, a payload, and zeros up
//! to the next multiple of [`ALIGN`]:
//!
//! ```text
//!  0  u64  seal: the segment's secret mark, XORed with the offset of the frame
//!  8  u32  length of the payload
//! 12  u32  CRC-32 of the payload
//! 16  u8   kind (1 accepted, 2 step)   17  u8  flags   18  u16  zero
//! 20  u32 u32 u64  subject: segment, offset and tag of an event
//! 36  u32  CRC-32 of bytes 0 to 35
//! ```
//!
//! The mark is random and never leaves the journal, so a body cannot contain something that looks
//! like a frame, and a frame that lies at another place than it was written to is none. The head
//! has a checksum of its own: the payload's one is computed where the payload is made, before its
//! place in the journal is known, and a damaged payload does not hide where the next frame is.
//!
//! Decoding is total: whatever the bytes, the outcome is a record or `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;

use super::{Attempt, State, StoredEvent};
use crate::clock::Timestamp;
use crate::message::{EventId, Headers, SourceName};

pub const FRAME_HEAD: usize = 40;
pub const ALIGN: u32 = 8;
const VERSION: u8 = 1;

/// Where a record lies in the journal. Segments count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub segment: u32,
    pub offset: u32,
}

impl Place {
    pub fn of(id: EventId) -> Self {
        Place {
            segment: id.segment,
            offset: id.offset,
        }
    }

    pub fn with_tag(self, tag: u64) -> EventId {
        EventId {
            segment: self.segment,
            offset: self.offset,
            tag,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole event.
    Accepted,
    /// Something happened to an event: an attempt, or an operator's word.
    Step,
}

/// Set on the first frame of every group commit: everything before it was synced.
const FIRST_OF_COMMIT: u8 = 1;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub length: u32,
    pub payload_crc: u32,
    pub kind: Kind,
    /// Everything that lies before this frame had been synced when it was written.
    pub first_of_commit: bool,
    /// Of an accepted event: the event that it conflicts with. Of a step: whose step it is.
    pub subject: Option<EventId>,
}

impl FrameHead {
    pub fn encode(&self, mark: u64, offset: u32) -> [u8; FRAME_HEAD] {
        let mut out = Vec::with_capacity(FRAME_HEAD);
        put_u64(&mut out, mark ^ u64::from(offset));
        put_u32(&mut out, self.length);
        put_u32(&mut out, self.payload_crc);
        out.push(match self.kind {
            Kind::Accepted => 1,
            Kind::Step => 2,
        });
        out.push(if self.first_of_commit {
            FIRST_OF_COMMIT
        } else {
            0
        });
        out.extend_from_slice(&[0, 0]);
        let subject = self.subject.unwrap_or(EventId {
            segment: 0,
            offset: 0,
            tag: 0,
        });
        put_u32(&mut out, subject.segment);
        put_u32(&mut out, subject.offset);
        put_u64(&mut out, subject.tag);
        let crc = crc32fast::hash(&out);
        put_u32(&mut out, crc);
        let mut head = [0; FRAME_HEAD];
        for (to, from) in head.iter_mut().zip(out) {
            *to = from;
        }
        head
    }

    /// None when these bytes are not the head of a frame at this place.
    pub fn decode(bytes: &[u8], mark: u64, offset: u32) -> Option<FrameHead> {
        let mut r = Reader(bytes.get(..FRAME_HEAD)?);
        if r.u64()? != mark ^ u64::from(offset) {
            return None;
        }
        let length = r.u32()?;
        let payload_crc = r.u32()?;
        let kind = match r.u8()? {
            1 => Kind::Accepted,
            2 => Kind::Step,
            _ => return None,
        };
        let flags = r.u8()?;
        let zero = r.u16()?;
        let subject = EventId {
            segment: r.u32()?,
            offset: r.u32()?,
            tag: r.u64()?,
        };
        if r.u32()? != crc32fast::hash(bytes.get(..FRAME_HEAD - 4)?) {
            return None;
        }
        if zero != 0 || flags & !FIRST_OF_COMMIT != 0 {
            return None;
        }
        Some(FrameHead {
            length,
            payload_crc,
            kind,
            first_of_commit: flags & FIRST_OF_COMMIT != 0,
            subject: (subject.segment != 0).then_some(subject),
        })
    }

    /// Bytes from the start of this frame to the start of the next; none when no segment is so long.
    pub fn span(&self) -> Option<u32> {
        frame_span(self.length)
    }
}

/// Bytes that a frame with a payload of this length takes.
pub fn frame_span(payload: u32) -> Option<u32> {
    (FRAME_HEAD as u32)
        .checked_add(payload)?
        .checked_next_multiple_of(ALIGN)
}

/// The two keyed hashes of an event's idempotency key: of the key alone, and of the key with the
/// digest of the body. The second finds events that came with a known key and another body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimHashes {
    pub key: [u8; 16],
    pub key_and_body: [u8; 16],
}

/// What is known of an accepted event without its headers and body: the first part of the
/// payload, with its own checksum so that it can be read alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub tag: u64,
    pub claim: ClaimHashes,
    pub keep: Duration,
    pub received_at: Timestamp,
    pub body_bytes: u32,
    pub peer: IpAddr,
    pub source: String,
    pub provider: String,
    pub method: String,
    pub target: String,
    pub event_key: String,
    pub event_type: String,
    pub verified: String,
}

impl Meta {
    pub fn of(event: &StoredEvent, tag: u64, claim: ClaimHashes, keep: Duration) -> Option<Meta> {
        Some(Meta {
            tag,
            claim,
            keep,
            received_at: event.received_at,
            body_bytes: u32::try_from(event.body.len()).ok()?,
            peer: event.peer,
            source: event.source.as_str().to_owned(),
            provider: event.provider.clone(),
            method: event.method.clone(),
            target: event.target.clone(),
            event_key: event.event_key.clone(),
            event_type: event.event_type.clone(),
            verified: event.verified.clone(),
        })
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let texts = [
            &self.source,
            &self.provider,
            &self.method,
            &self.target,
            &self.event_key,
            &self.event_type,
            &self.verified,
        ];
        let mut out = Vec::with_capacity(128 + texts.iter().map(|t| t.len() + 4).sum::<usize>());
        out.push(VERSION);
        put_u64(&mut out, self.tag);
        out.extend_from_slice(&self.claim.key);
        out.extend_from_slice(&self.claim.key_and_body);
        put_u64(
            &mut out,
            u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX),
        );
        put_u64(&mut out, self.received_at.as_millis());
        put_u32(&mut out, self.body_bytes);
        match self.peer {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        for text in texts {
            put_bytes(&mut out, text.as_bytes())?;
        }
        Some(out)
    }

    fn decode(bytes: &[u8]) -> Option<Meta> {
        let mut r = Reader(bytes);
        if r.u8()? != VERSION {
            return None;
        }
        Some(Meta {
            tag: r.u64()?,
            claim: ClaimHashes {
                key: r.array()?,
                key_and_body: r.array()?,
            },
            keep: Duration::from_millis(r.u64()?),
            received_at: Timestamp::from_millis(r.u64()?),
            body_bytes: r.u32()?,
            peer: match r.u8()? {
                4 => IpAddr::V4(Ipv4Addr::from(r.array::<4>()?)),
                6 => IpAddr::V6(Ipv6Addr::from(r.array::<16>()?)),
                _ => return None,
            },
            source: r.text()?,
            provider: r.text()?,
            method: r.text()?,
            target: r.text()?,
            event_key: r.text()?,
            event_type: r.text()?,
            verified: r.text()?,
        })
    }

    /// The meta from the beginning of an accepted event's payload.
    ///
    /// `Err(n)`: it may be there, but only `n` bytes of the payload would show it.
    pub fn from_payload(payload: &[u8]) -> Result<Option<Meta>, usize> {
        let mut r = Reader(payload);
        let Some(length) = r.u32() else { return Err(4) };
        let whole = length as usize + 8;
        let (Some(meta), Some(crc)) = (r.take(length as usize), r.u32()) else {
            return Err(whole);
        };
        Ok((crc32fast::hash(meta) == crc)
            .then(|| Meta::decode(meta))
            .flatten())
    }

    /// Until when the event must be kept.
    pub fn keep_until(&self) -> Timestamp {
        self.received_at.plus(self.keep)
    }
}

/// The payload of an accepted event. None when a part is longer than 4 GiB.
pub fn encode_accepted(meta: &Meta, headers: &Headers, body: &[u8]) -> Option<Vec<u8>> {
    let head = meta.encode()?;
    let mut out =
        Vec::with_capacity(head.len() + 16 + headers.bytes() + 8 * headers.len() + body.len());
    put_bytes(&mut out, &head)?;
    put_u32(&mut out, crc32fast::hash(&head));
    put_u32(&mut out, u32::try_from(headers.len()).ok()?);
    for (name, value) in headers.iter() {
        put_bytes(&mut out, name)?;
        put_bytes(&mut out, value)?;
    }
    out.extend_from_slice(body);
    Some(out)
}

/// The event in a payload whose checksum was found right. `conflict_of` comes from the frame's head.
pub fn decode_accepted(
    payload: &Bytes,
    conflict_of: Option<EventId>,
) -> Option<(Meta, StoredEvent)> {
    let meta = Meta::from_payload(payload).ok()??;
    let mut r = Reader(payload);
    let length = r.u32()?;
    r.take(length as usize)?;
    r.u32()?;
    let fields = r.u32()?;
    let mut headers = Headers::with_capacity((fields as usize).min(256));
    for _ in 0..fields {
        let name = r.bytes()?;
        let value = r.bytes()?;
        headers.push(payload.slice_ref(name), payload.slice_ref(value));
    }
    let body = payload.slice_ref(r.0);
    if body.len() != meta.body_bytes as usize {
        return None;
    }
    let event = StoredEvent {
        source: SourceName::new(&meta.source),
        provider: meta.provider.clone(),
        received_at: meta.received_at,
        peer: meta.peer,
        method: meta.method.clone(),
        target: meta.target.clone(),
        headers,
        body,
        event_key: meta.event_key.clone(),
        event_type: meta.event_type.clone(),
        verified: meta.verified.clone(),
        conflict_of,
    };
    Some((meta, event))
}

/// Where a delivery stands. Every step carries all of it, so that the last step alone says it:
/// replaying a journal twice, or from the middle, comes to the same end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub state: State,
    /// Attempts written down since acceptance.
    pub attempts: u32,
    /// Pauses taken since acceptance or the last redrive.
    pub round: u32,
    /// Acceptance, or the last redrive.
    pub since: Timestamp,
    /// When the next attempt is due, while owed.
    pub due: Timestamp,
    /// The last step; none when nothing has happened since acceptance.
    pub last: Option<Place>,
}

impl Delivery {
    /// As it stands when the event has just been accepted.
    pub fn fresh(received_at: Timestamp) -> Self {
        Delivery {
            state: State::Owed,
            attempts: 0,
            round: 0,
            since: received_at,
            due: received_at,
            last: None,
        }
    }
}

/// What happened in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// An attempt, made under a lease; the delivery goes on from it.
    Attempt(Attempt),
    /// An attempt under a lease that was lost: written down, and nothing follows from it.
    LateAttempt(Attempt),
    /// An operator's words.
    Redriven,
    Discarded,
}

/// Something that happened to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub happened: Happened,
    pub at: Timestamp,
    /// Why it is dead or discarded, or what went wrong last; may be empty.
    pub reason: String,
    /// What the delivery is from now on. Its `last` is the step before this one.
    pub delivery: Delivery,
}

impl Step {
    pub fn attempt(&self) -> Option<&Attempt> {
        match &self.happened {
            Happened::Attempt(attempt) | Happened::LateAttempt(attempt) => Some(attempt),
            Happened::Redriven | Happened::Discarded => None,
        }
    }

    /// None when a text is longer than 4 GiB.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(128);
        out.push(VERSION);
        out.push(match self.happened {
            Happened::Attempt(_) => 1,
            Happened::LateAttempt(_) => 2,
            Happened::Redriven => 3,
            Happened::Discarded => 4,
        });
        let d = &self.delivery;
        out.push(state_code(d.state));
        put_u32(&mut out, d.attempts);
        put_u32(&mut out, d.round);
        put_u64(&mut out, d.since.as_millis());
        put_u64(&mut out, d.due.as_millis());
        put_place(&mut out, d.last);
        put_u64(&mut out, self.at.as_millis());
        put_bytes(&mut out, self.reason.as_bytes())?;
        if let Some(attempt) = self.attempt() {
            put_u32(&mut out, attempt.number);
            put_u64(&mut out, attempt.started_at.as_millis());
            put_u64(
                &mut out,
                u64::try_from(attempt.took.as_nanos()).unwrap_or(u64::MAX),
            );
            put_u32(
                &mut out,
                attempt.status.map_or(0, |status| u32::from(status) + 1),
            );
            put_bytes(&mut out, attempt.error.as_bytes())?;
        }
        Some(out)
    }

    pub fn decode(payload: &[u8]) -> Option<Step> {
        let mut r = Reader(payload);
        if r.u8()? != VERSION {
            return None;
        }
        let what = r.u8()?;
        let delivery = Delivery {
            state: state_of(r.u8()?)?,
            attempts: r.u32()?,
            round: r.u32()?,
            since: Timestamp::from_millis(r.u64()?),
            due: Timestamp::from_millis(r.u64()?),
            last: r.place()?,
        };
        let at = Timestamp::from_millis(r.u64()?);
        let reason = r.text()?;
        let happened = match what {
            1 => Happened::Attempt(r.attempt()?),
            2 => Happened::LateAttempt(r.attempt()?),
            3 => Happened::Redriven,
            4 => Happened::Discarded,
            _ => return None,
        };
        Some(Step {
            happened,
            at,
            reason,
            delivery,
        })
    }
}

pub fn state_code(state: State) -> u8 {
    match state {
        State::Owed => 0,
        State::Delivered => 1,
        State::Dead => 2,
        State::Discarded => 3,
    }
}

pub fn state_of(code: u8) -> Option<State> {
    match code {
        0 => Some(State::Owed),
        1 => Some(State::Delivered),
        2 => Some(State::Dead),
        3 => Some(State::Discarded),
        _ => None,
    }
}

pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Segment 0 does not exist and stands for "none".
pub fn put_place(out: &mut Vec<u8>, place: Option<Place>) {
    let place = place.unwrap_or(Place {
        segment: 0,
        offset: 0,
    });
    put_u32(out, place.segment);
    put_u32(out, place.offset);
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    put_u32(out, u32::try_from(bytes.len()).ok()?);
    out.extend_from_slice(bytes);
    Some(())
}

/// Takes values off the front of some bytes; `None` when they run out.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    pub fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    /// The outer option: there were enough bytes. The inner: it names a place.
    pub fn place(&mut self) -> Option<Option<Place>> {
        let place = Place {
            segment: self.u32()?,
            offset: self.u32()?,
        };
        Some((place.segment != 0).then_some(place))
    }

    fn attempt(&mut self) -> Option<Attempt> {
        Some(Attempt {
            number: self.u32()?,
            started_at: Timestamp::from_millis(self.u64()?),
            took: Duration::from_nanos(self.u64()?),
            status: match self.u32()? {
                0 => None,
                status => Some(u16::try_from(status - 1).ok()?),
            },
            error: self.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        );
        let delivery = (
            0..4u8,
            any::<u32>(),
            any::<u32>(),
            any::<u64>(),
            any::<u64>(),
            any::<Option<(u32, u32)>>(),
        );
        (0..4u8, attempt, delivery, any::<u64>(), ".{0,20}").prop_map(|(what, a, d, at, reason)| {
            let attempt = Attempt {
                number: a.0,
                started_at: Timestamp::from_millis(a.1),
                took: Duration::from_nanos(a.2),
                status: a.3,
                error: a.4,
            };
            Step {
                happened: match what {
                    0 => Happened::Attempt(attempt),
                    1 => Happened::LateAttempt(attempt),
                    2 => Happened::Redriven,
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
}
