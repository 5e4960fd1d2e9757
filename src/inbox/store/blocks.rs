//! The values in the index: many rows, claims or blocks packed into one value of under 4 KB, each
//! value with a checksum over its key and itself.

use std::time::Duration;

use super::catalog::{Block, RowState, Stands, Summary};
use super::claims::{Check, claims_of};
use super::owed::Open;
use super::record::{
    self, Conflicts, Delivery, Meta, Order, Place, Reader, Version, put_place, put_u16, put_u32,
    put_u64,
};
use crate::clock::Timestamp;

pub const ROWS: usize = 46;
pub const CLAIMS: usize = 140;
pub const BLOCKS: usize = 300;
pub const REFS: usize = 900;
pub const VERSIONS: usize = 90;

/// A row with all that a start needs to know when it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRow {
    pub row: RowState,
    pub open: Option<OpenRow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRow {
    pub tag: u64,
    pub attempts: u32,
    pub round: u32,
    pub since: Timestamp,
    pub due: Timestamp,
    pub order: Option<Order>,
}

impl StoredRow {
    pub fn new(row: RowState, open: Option<Open>) -> Self {
        let open = open.map(|o| OpenRow {
            tag: o.tag,
            attempts: o.delivery.attempts,
            round: o.delivery.round,
            since: o.delivery.since,
            due: o.delivery.due,
            order: o.order,
        });
        StoredRow { row, open }
    }

    pub fn to_open(self, segment: u32) -> Option<Open> {
        let open = self.open?;
        Some(Open {
            place: Place {
                segment,
                offset: self.row.offset,
            },
            tag: open.tag,
            lane: self.row.lane,
            order: open.order,
            delivery: Delivery {
                state: self.row.stands.state,
                attempts: open.attempts,
                round: open.round,
                since: open.since,
                due: open.due,
                last: self.row.stands.last,
            },
        })
    }
}

/// A claim of an event in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredClaim {
    pub hash: [u8; 16],
    pub check: Check,
    pub offset: u32,
}

/// What the event with this meta, at this offset, claims.
pub fn stored_claims<T>(
    offset: u32,
    meta: &Meta<T>,
    conflicts: Conflicts,
) -> impl Iterator<Item = StoredClaim> + use<T> {
    claims_of(meta, conflicts).map(move |(hash, check)| StoredClaim {
        hash,
        check,
        offset,
    })
}

/// What the index says of a segment as a whole, without what is stored in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSegment {
    /// The mark of the file: tells it from another one with the same number.
    pub mark: u64,
    pub end: u32,
    pub summary: Summary,
    pub refs: u32,
    pub claims: u32,
    pub blocks: u32,
    pub versions: u32,
    pub words: u32,
}

/// The value with its checksum behind it.
pub fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = checksum(key, &value);
    put_u32(&mut value, crc);
    value
}

/// The value without its checksum; none when that does not fit.
pub fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (value, crc) = sealed.split_at_checked(sealed.len().checked_sub(4)?)?;
    (Reader(crc).u32()? == checksum(key, value)).then_some(value)
}

/// The checksum that stands at the end of a sealed value.
pub fn crc_of(sealed: &[u8]) -> u32 {
    sealed
        .len()
        .checked_sub(4)
        .and_then(|at| Reader(sealed.get(at..)?).u32())
        .unwrap_or_default()
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(value);
    crc.finalize()
}

pub fn encode_rows(rows: &[StoredRow]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * 74);
    for StoredRow { row, open } in rows {
        let kind = record::state_code(row.stands.state) | if open.is_some() { 0x80 } else { 0 };
        out.push(kind);
        put_u32(&mut out, row.offset);
        put_u32(&mut out, row.lane);
        put_u32(&mut out, row.type_hash);
        put_u32(&mut out, row.key_hash);
        put_u32(&mut out, row.provider_hash);
        put_u32(&mut out, row.order_hash);
        put_u64(&mut out, row.received_at.as_millis());
        put_place(&mut out, row.stands.last);
        if let Some(open) = open {
            put_u64(&mut out, open.tag);
            put_u32(&mut out, open.attempts);
            put_u32(&mut out, open.round);
            put_u64(&mut out, open.since.as_millis());
            put_u64(&mut out, open.due.as_millis());
            Order::put(&mut out, open.order);
        }
    }
    out
}

pub fn decode_rows(bytes: &[u8]) -> Option<Vec<StoredRow>> {
    let mut r = Reader(bytes);
    let mut rows = Vec::with_capacity(ROWS);
    while !r.0.is_empty() {
        let kind = r.u8()?;
        let row = RowState {
            offset: r.u32()?,
            lane: r.u32()?,
            type_hash: r.u32()?,
            key_hash: r.u32()?,
            provider_hash: r.u32()?,
            order_hash: r.u32()?,
            received_at: Timestamp::from_millis(r.u64()?),
            stands: Stands {
                state: record::state_of(kind & 0x7f)?,
                last: r.place()?,
            },
        };
        let open = if kind & 0x80 == 0 {
            None
        } else {
            Some(OpenRow {
                tag: r.u64()?,
                attempts: r.u32()?,
                round: r.u32()?,
                since: Timestamp::from_millis(r.u64()?),
                due: Timestamp::from_millis(r.u64()?),
                order: Order::take(&mut r)?,
            })
        };
        rows.push(StoredRow { row, open });
    }
    Some(rows)
}

pub fn encode_claims(claims: &[StoredClaim]) -> Vec<u8> {
    let mut out = Vec::with_capacity(claims.len() * 26);
    for claim in claims {
        out.extend_from_slice(&claim.hash);
        out.extend_from_slice(&claim.check);
        put_u32(&mut out, claim.offset);
    }
    out
}

pub fn decode_claims(bytes: &[u8]) -> Option<Vec<StoredClaim>> {
    let mut r = Reader(bytes);
    let mut claims = Vec::with_capacity(CLAIMS);
    while !r.0.is_empty() {
        claims.push(StoredClaim {
            hash: r.array()?,
            check: r.array()?,
            offset: r.u32()?,
        });
    }
    Some(claims)
}

/// A version of an event in a segment, for a delivery that its destination wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    pub version: Version,
    /// Number of the lane.
    pub lane: u32,
    pub offset: u32,
    pub tag: u64,
}

pub fn encode_versions(versions: &[StoredVersion]) -> Vec<u8> {
    let mut out = Vec::with_capacity(versions.len() * 40);
    for stored in versions {
        put_u64(&mut out, stored.version.key);
        out.extend_from_slice(&stored.version.stamp.to_le_bytes());
        put_u32(&mut out, stored.lane);
        put_u32(&mut out, stored.offset);
        put_u64(&mut out, stored.tag);
    }
    out
}

pub fn decode_versions(bytes: &[u8]) -> Option<Vec<StoredVersion>> {
    let mut r = Reader(bytes);
    let mut versions = Vec::with_capacity(VERSIONS);
    while !r.0.is_empty() {
        versions.push(StoredVersion {
            version: Version {
                key: r.u64()?,
                stamp: i128::from_le_bytes(r.array()?),
            },
            lane: r.u32()?,
            offset: r.u32()?,
            tag: r.u64()?,
        });
    }
    Some(versions)
}

pub fn encode_blocks(blocks: &[Block]) -> Vec<u8> {
    let mut out = Vec::with_capacity(blocks.len() * 12);
    for block in blocks {
        put_u32(&mut out, block.first);
        put_u16(&mut out, block.rows);
        put_u16(&mut out, block.open);
        put_u32(&mut out, block.crc);
    }
    out
}

pub fn decode_blocks(bytes: &[u8]) -> Option<Vec<Block>> {
    let mut r = Reader(bytes);
    let mut blocks = Vec::with_capacity(BLOCKS);
    while !r.0.is_empty() {
        blocks.push(Block {
            first: r.u32()?,
            rows: r.u16()?,
            open: r.u16()?,
            crc: r.u32()?,
        });
    }
    Some(blocks)
}

pub fn encode_refs(refs: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(refs.len() * 4);
    for number in refs {
        put_u32(&mut out, *number);
    }
    out
}

pub fn decode_refs(bytes: &[u8]) -> Option<Vec<u32>> {
    let mut r = Reader(bytes);
    let mut refs = Vec::new();
    while !r.0.is_empty() {
        refs.push(r.u32()?);
    }
    Some(refs)
}

pub fn encode_segment(segment: &StoredSegment) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    let summary = &segment.summary;
    put_u64(&mut out, segment.mark);
    put_u32(&mut out, segment.end);
    put_u32(&mut out, summary.events);
    put_u32(&mut out, summary.rows);
    put_u64(&mut out, summary.keep_until.as_millis());
    let least = summary.least_keep.map_or(u64::MAX, |keep| {
        u64::try_from(keep.as_millis()).unwrap_or(u64::MAX - 1)
    });
    put_u64(&mut out, least);
    let (from, to) = summary
        .received
        .unwrap_or((Timestamp::MAX, Timestamp::default()));
    put_u64(&mut out, from.as_millis());
    put_u64(&mut out, to.as_millis());
    put_u32(&mut out, segment.refs);
    put_u32(&mut out, segment.claims);
    put_u32(&mut out, segment.blocks);
    put_u32(&mut out, segment.versions);
    put_u32(&mut out, segment.words);
    out
}

/// Without the refs, which are stored in parts.
pub fn decode_segment(bytes: &[u8]) -> Option<StoredSegment> {
    let mut r = Reader(bytes);
    let (mark, end, events, rows) = (r.u64()?, r.u32()?, r.u32()?, r.u32()?);
    let keep_until = Timestamp::from_millis(r.u64()?);
    let least = r.u64()?;
    let received = (
        Timestamp::from_millis(r.u64()?),
        Timestamp::from_millis(r.u64()?),
    );
    let summary = Summary {
        events,
        rows,
        keep_until,
        least_keep: (least != u64::MAX).then(|| Duration::from_millis(least)),
        received: (received.0 <= received.1).then_some(received),
        refs: Default::default(),
    };
    Some(StoredSegment {
        mark,
        end,
        summary,
        refs: r.u32()?,
        claims: r.u32()?,
        blocks: r.u32()?,
        versions: r.u32()?,
        words: r.u32()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::store::State;

    #[test]
    fn values_come_back_and_stay_under_4_kb() {
        let row = |n: u32, open: bool| StoredRow {
            row: RowState {
                offset: n,
                lane: 2,
                type_hash: 3,
                key_hash: 4,
                provider_hash: 5,
                order_hash: 6,
                received_at: Timestamp::from_secs(5),
                stands: Stands {
                    state: State::Dead,
                    last: Some(Place {
                        segment: 9,
                        offset: n,
                    }),
                },
            },
            open: open.then_some(OpenRow {
                tag: 1,
                attempts: 2,
                round: 3,
                since: Timestamp::MAX,
                due: Timestamp::MAX,
                order: Some(Order {
                    hash: u64::MAX,
                    hold: true,
                }),
            }),
        };
        let rows: Vec<StoredRow> = (0..ROWS as u32).map(|n| row(n, true)).collect();
        assert!(encode_rows(&rows).len() < 4000);
        assert_eq!(decode_rows(&encode_rows(&rows)), Some(rows));
        assert_eq!(
            decode_rows(&encode_rows(&[row(1, false)])),
            Some(vec![row(1, false)])
        );

        let claims = vec![
            StoredClaim {
                hash: [1; 16],
                check: [2; 6],
                offset: 8
            };
            CLAIMS
        ];
        assert!(encode_claims(&claims).len() < 4000);
        assert_eq!(decode_claims(&encode_claims(&claims)), Some(claims));

        let blocks = vec![
            Block {
                first: 1,
                rows: 2,
                open: 3,
                crc: 4
            };
            BLOCKS
        ];
        assert!(encode_blocks(&blocks).len() < 4000);
        assert_eq!(decode_blocks(&encode_blocks(&blocks)), Some(blocks));

        let refs: Vec<u32> = (0..REFS as u32).collect();
        assert!(encode_refs(&refs).len() < 4000);
        assert_eq!(decode_refs(&encode_refs(&refs)), Some(refs));

        let mut segment = StoredSegment {
            mark: 1,
            end: 2,
            summary: Summary::default(),
            refs: 3,
            claims: 4,
            blocks: 5,
            versions: 6,
            words: 7,
        };
        let versions = vec![
            StoredVersion {
                version: Version {
                    key: 1,
                    stamp: i128::MIN
                },
                lane: 3,
                offset: 8,
                tag: 9,
            };
            VERSIONS
        ];
        assert!(encode_versions(&versions).len() < 4000);
        assert_eq!(decode_versions(&encode_versions(&versions)), Some(versions));
        assert_eq!(
            decode_segment(&encode_segment(&segment)),
            Some(segment.clone())
        );
        segment
            .summary
            .add_event(Timestamp::from_secs(3), Duration::from_secs(4));
        assert_eq!(decode_segment(&encode_segment(&segment)), Some(segment));
    }

    #[test]
    fn a_value_fits_only_its_key() {
        let sealed = seal(b"a", vec![1, 2]);
        assert_eq!(unseal(b"a", &sealed), Some(&[1, 2][..]));
        assert_eq!(unseal(b"b", &sealed), None);
        assert_eq!(unseal(b"a", &sealed[..3]), None);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(b"a", &flipped), None);
        }
    }
}
