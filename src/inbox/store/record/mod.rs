//! What stands in the journal, byte for byte: frames, and the three kinds of record in them.
//!
//! Everything is little-endian. A frame is a head of [`FRAME_HEAD`] bytes, a payload, and zeros up
//! to the next multiple of [`ALIGN`]:
//!
//! ```text
//!  0  u64  seal: the segment's secret mark, XORed with the offset of the frame
//!  8  u32  length of the payload
//! 12  u32  CRC-32 of the payload
//! 16  u8   kind (1 accepted, 2 step, 3 word)   17  u8  flags   18  u16  zero
//! 20  u32 u32 u64  subject: segment, offset and tag of an event or of one of its deliveries
//! 36  u32  CRC-32 of bytes 0 to 35
//! ```
//!
//! The mark is random and never leaves the journal, so a body cannot contain something that looks
//! like a frame, and a frame that lies at another place than it was written to is none. The head
//! has a checksum of its own: the payload's one is computed where the payload is made, before its
//! place in the journal is known, and a damaged payload does not hide where the next frame is.
//!
//! Decoding is total: whatever the bytes, the outcome is a record or `None`.

use crate::message::{DELIVERIES, EventId};

mod codec;
mod frame;
mod meta;
mod step;
#[cfg(test)]
mod tests;
mod word;

pub use codec::{Reader, put_bytes, put_place, put_u16, put_u32, put_u64};
pub use frame::{Conflicts, FrameHead, Kind, frame_span};
pub use meta::{Added, ClaimHashes, Meta, Planned, Version, decode_accepted, encode_accepted};
pub use step::{Delivery, Happened, Order, Step, state_code, state_of};
pub use word::Word;

pub const FRAME_HEAD: usize = 40;
pub const ALIGN: u32 = DELIVERIES;

/// Where a record lies in the journal. Segments count from 1. That of a delivery is its event's, with
/// its number in the low three bits of the offset.
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

    /// Where the event lies that this is a delivery of.
    pub fn event(self) -> Self {
        Place {
            offset: self.offset & !(DELIVERIES - 1),
            ..self
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
