//! An accepted event: what is known of it, its headers and its body.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;

use super::{Order, Reader, put_bytes, put_u32, put_u64, state_code, state_of};
use crate::clock::Timestamp;
use crate::inbox::store::payment::{self, PaymentFacts};
use crate::inbox::store::{State, StoredEvent};
use crate::message::{DELIVERIES, DestinationName, EventId, Headers, SourceName};

/// What this program writes. Version 1, which it reads, has one delivery, to `main`, and knows
/// neither a business key nor what overtakes what.
const VERSION: u8 = 2;
const OLD: u8 = 1;

/// The two keyed hashes of an event's idempotency key: of the key alone, and of the key with the
/// digest of the body. The second finds events that came with a known key and another body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimHashes {
    pub key: [u8; 16],
    pub key_and_body: [u8; 16],
}

/// A delivery as it was planned when its event was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub destination: String,
    /// Owed, or filtered.
    pub state: State,
    /// What it goes out in order with.
    pub order: Option<Order>,
}

impl Planned {
    pub fn main() -> Self {
        Planned {
            destination: DestinationName::MAIN.to_owned(),
            state: State::Owed,
            order: None,
        }
    }
}

/// Where an event stands among those that say the same thing at other times: the later one
/// overtakes the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Keyed hash of what it is about.
    pub key: u64,
    pub stamp: i128,
}

/// What is known of an accepted event without its headers and body: the first part of the
/// payload, with its own checksum so that it can be read alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta<T = String> {
    pub tag: u64,
    pub claim: ClaimHashes,
    pub keep: Duration,
    pub received_at: Timestamp,
    pub body_bytes: u32,
    pub peer: IpAddr,
    pub source: T,
    pub provider: T,
    pub method: T,
    pub target: T,
    pub event_key: T,
    pub event_type: T,
    pub verified: T,
    /// From one to eight.
    pub deliveries: Vec<Planned>,
    pub business: Option<ClaimHashes>,
    pub version: Option<Version>,
    pub payment: Option<PaymentFacts<T>>,
}

/// What the store adds to an event on its way into the journal.
#[derive(Clone, Debug)]
pub struct Added {
    pub tag: u64,
    pub claim: ClaimHashes,
    pub business: Option<ClaimHashes>,
    pub keep: Duration,
    pub deliveries: Vec<Planned>,
    pub version: Option<Version>,
}

impl<'a> Meta<&'a str> {
    /// None for a body of 4 GiB, and for a number of deliveries that cannot be.
    pub fn of(event: &'a StoredEvent, added: Added) -> Option<Self> {
        if !(1..=DELIVERIES as usize).contains(&added.deliveries.len()) {
            return None;
        }
        Some(Meta {
            tag: added.tag,
            claim: added.claim,
            business: added.business,
            keep: added.keep,
            deliveries: added.deliveries,
            version: added.version,
            received_at: event.received_at,
            body_bytes: u32::try_from(event.body.len()).ok()?,
            peer: event.peer,
            source: event.source.as_str(),
            provider: &event.provider,
            method: &event.method,
            target: &event.target,
            event_key: &event.event_key,
            event_type: &event.event_type,
            verified: &event.verified,
            payment: event.payment.as_ref().map(PaymentFacts::borrowed),
        })
    }
}

impl<T: AsRef<str>> Meta<T> {
    fn texts(&self) -> [&str; 7] {
        [
            self.source.as_ref(),
            self.provider.as_ref(),
            self.method.as_ref(),
            self.target.as_ref(),
            self.event_key.as_ref(),
            self.event_type.as_ref(),
            self.verified.as_ref(),
        ]
    }

    /// More bytes than it takes.
    fn at_most(&self) -> usize {
        let deliveries = self.deliveries.iter().map(|d| d.destination.len() + 32);
        let payment = self.payment.as_ref().map_or(1, PaymentFacts::span);
        let texts = self.texts().iter().map(|t| t.len() + 4).sum::<usize>();
        256 + texts + payment + deliveries.sum::<usize>()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Option<()> {
        out.push(VERSION);
        put_u64(out, self.tag);
        out.extend_from_slice(&self.claim.key);
        out.extend_from_slice(&self.claim.key_and_body);
        put_u64(
            out,
            u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX),
        );
        put_u64(out, self.received_at.as_millis());
        put_u32(out, self.body_bytes);
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
        for text in self.texts() {
            put_bytes(out, text.as_bytes())?;
        }
        out.push(u8::try_from(self.deliveries.len()).ok()?);
        for delivery in &self.deliveries {
            put_bytes(out, delivery.destination.as_bytes())?;
            out.push(state_code(delivery.state));
            Order::put(out, delivery.order);
        }
        out.push(u8::from(self.business.is_some()));
        if let Some(business) = &self.business {
            out.extend_from_slice(&business.key);
            out.extend_from_slice(&business.key_and_body);
        }
        out.push(u8::from(self.version.is_some()));
        if let Some(version) = &self.version {
            put_u64(out, version.key);
            out.extend_from_slice(&version.stamp.to_le_bytes());
        }
        payment::put(out, self.payment.as_ref());
        Some(())
    }
}

impl<'a, T: From<&'a str>> Meta<T> {
    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let version = r.u8()?;
        if version != VERSION && version != OLD {
            return None;
        }
        let mut meta = Meta {
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
            source: r.str()?.into(),
            provider: r.str()?.into(),
            method: r.str()?.into(),
            target: r.str()?.into(),
            event_key: r.str()?.into(),
            event_type: r.str()?.into(),
            verified: r.str()?.into(),
            deliveries: Vec::new(),
            business: None,
            version: None,
            payment: None,
        };
        if version == OLD {
            meta.deliveries.push(Planned::main());
            return Some(meta);
        }
        let count = r.u8()?;
        if !(1..=DELIVERIES).contains(&u32::from(count)) {
            return None;
        }
        for _ in 0..count {
            meta.deliveries.push(Planned {
                destination: r.text()?,
                state: state_of(r.u8()?)?,
                order: Order::take(&mut r)?,
            });
        }
        if r.u8()? != 0 {
            meta.business = Some(ClaimHashes {
                key: r.array()?,
                key_and_body: r.array()?,
            });
        }
        if r.u8()? != 0 {
            meta.version = Some(Version {
                key: r.u64()?,
                stamp: i128::from_le_bytes(r.array()?),
            });
        }
        meta.payment = payment::take(&mut r)?;
        Some(meta)
    }

    fn parse(payload: &'a [u8]) -> Result<Option<Self>, usize> {
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
}

impl<'a> Meta<&'a str> {
    /// The meta of an accepted event's whole payload, with its texts where they are.
    pub fn peek(payload: &'a [u8]) -> Option<Self> {
        Meta::parse(payload).ok().flatten()
    }
}

impl Meta {
    /// The meta from the beginning of an accepted event's payload.
    ///
    /// `Err(n)`: it may be there, but only `n` bytes of the payload would show it.
    pub fn from_payload(payload: &[u8]) -> Result<Option<Meta>, usize> {
        Meta::parse(payload)
    }
}

impl<T> Meta<T> {
    /// The delivery that an id of this event names; none when there is none of that number.
    pub fn delivery(&self, id: EventId) -> Option<&Planned> {
        self.deliveries.get(id.delivery() as usize)
    }

    /// Until when the event must be kept.
    pub fn keep_until(&self) -> Timestamp {
        self.received_at.plus(self.keep)
    }
}

/// The payload of an accepted event. None when a part is longer than 4 GiB.
pub fn encode_accepted<T: AsRef<str>>(
    meta: &Meta<T>,
    headers: &Headers,
    body: &[u8],
) -> Option<Vec<u8>> {
    let mut out =
        Vec::with_capacity(meta.at_most() + headers.bytes() + 8 * headers.len() + body.len());
    put_u32(&mut out, 0);
    meta.encode(&mut out)?;
    let (length, head) = out.split_at_mut_checked(4)?;
    let crc = crc32fast::hash(head);
    length.copy_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
    put_u32(&mut out, crc);
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
        payment: meta.payment.clone(),
    };
    Some((meta, event))
}
