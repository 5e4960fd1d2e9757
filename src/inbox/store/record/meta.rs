//! An accepted event: what is known of it, its headers and its body.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;

use super::{Order, Reader, put_bytes, put_u32, put_u64, state_code, state_of};
use crate::clock::Timestamp;
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
    /// From one to eight.
    pub deliveries: Vec<Planned>,
    pub business: Option<ClaimHashes>,
    pub version: Option<Version>,
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

impl Meta {
    /// None for a body of 4 GiB, and for a number of deliveries that cannot be.
    pub fn of(event: &StoredEvent, added: Added) -> Option<Meta> {
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
        out.push(u8::try_from(self.deliveries.len()).ok()?);
        for delivery in &self.deliveries {
            put_bytes(&mut out, delivery.destination.as_bytes())?;
            out.push(state_code(delivery.state));
            Order::put(&mut out, delivery.order);
        }
        out.push(u8::from(self.business.is_some()));
        if let Some(business) = &self.business {
            out.extend_from_slice(&business.key);
            out.extend_from_slice(&business.key_and_body);
        }
        out.push(u8::from(self.version.is_some()));
        if let Some(version) = &self.version {
            put_u64(&mut out, version.key);
            out.extend_from_slice(&version.stamp.to_le_bytes());
        }
        Some(out)
    }

    fn decode(bytes: &[u8]) -> Option<Meta> {
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
            source: r.text()?,
            provider: r.text()?,
            method: r.text()?,
            target: r.text()?,
            event_key: r.text()?,
            event_type: r.text()?,
            verified: r.text()?,
            deliveries: Vec::new(),
            business: None,
            version: None,
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
        Some(meta)
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
