//! The head of a frame.

use super::{ALIGN, FRAME_HEAD, Reader};
use crate::message::EventId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole event.
    Accepted,
    /// Something happened to a delivery: an attempt, or an operator's word.
    Step,
    /// What an operator did, for the audit; and whether a lane is paused.
    Word,
}

/// Set on the first frame of every group commit: everything before it was synced.
const FIRST_OF_COMMIT: u8 = 1;
/// The event was accepted although its idempotency key was taken by another content, and so its
/// claim is that of the key with the content. Version 1 said it by the subject alone.
const KEY_CONFLICT: u8 = 2;
/// The same of its business key.
const BUSINESS_CONFLICT: u8 = 4;
const FLAGS: u8 = FIRST_OF_COMMIT | KEY_CONFLICT | BUSINESS_CONFLICT;

/// Which claims of an event are those of the key together with the content, since the key alone
/// was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conflicts {
    pub key: bool,
    pub business: bool,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub length: u32,
    pub payload_crc: u32,
    pub kind: Kind,
    /// Everything that lies before this frame had been synced when it was written.
    pub first_of_commit: bool,
    /// Which of an accepted event's claims were taken by another content.
    pub conflicts: Conflicts,
    /// Of an accepted event: the event that it conflicts with. Of a step: whose step it is.
    pub subject: Option<EventId>,
}

impl FrameHead {
    pub fn encode(&self, mark: u64, offset: u32) -> [u8; FRAME_HEAD] {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let kind = match self.kind {
            Kind::Accepted => 1,
            Kind::Step => 2,
            Kind::Word => 3,
        };
        let flags = flag(self.first_of_commit, FIRST_OF_COMMIT)
            | flag(self.conflicts.key, KEY_CONFLICT)
            | flag(self.conflicts.business, BUSINESS_CONFLICT);
        let subject = self.subject.unwrap_or(EventId {
            segment: 0,
            offset: 0,
            tag: 0,
        });
        let mut head = [0; FRAME_HEAD];
        let (said, crc) = head.split_at_mut(FRAME_HEAD - 4);
        let mut rest = &mut *said;
        let mut put = |bytes: &[u8]| {
            if let Some((to, after)) = std::mem::take(&mut rest).split_at_mut_checked(bytes.len()) {
                to.copy_from_slice(bytes);
                rest = after;
            }
        };
        put(&(mark ^ u64::from(offset)).to_le_bytes());
        put(&self.length.to_le_bytes());
        put(&self.payload_crc.to_le_bytes());
        put(&[kind, flags, 0, 0]);
        put(&subject.segment.to_le_bytes());
        put(&subject.offset.to_le_bytes());
        put(&subject.tag.to_le_bytes());
        crc.copy_from_slice(&crc32fast::hash(said).to_le_bytes());
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
            3 => Kind::Word,
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
        if zero != 0 || flags & !FLAGS != 0 {
            return None;
        }
        let subject = (subject.segment != 0).then_some(subject);
        let business = flags & BUSINESS_CONFLICT != 0;
        let told = kind == Kind::Accepted && subject.is_some() && !business;
        Some(FrameHead {
            length,
            payload_crc,
            kind,
            first_of_commit: flags & FIRST_OF_COMMIT != 0,
            conflicts: Conflicts {
                key: told || flags & KEY_CONFLICT != 0,
                business,
            },
            subject,
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
