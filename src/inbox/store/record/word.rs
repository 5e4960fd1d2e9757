//! What an operator did.

use super::{Reader, put_bytes, put_u32, put_u64};
use crate::clock::Timestamp;
use crate::inbox::store::{Deed, DeedKind};
use crate::message::{DestinationName, EventId, SourceName};

const VERSION: u8 = 1;

/// A deed with its number. What is carried forward keeps its number, and is one deed however often
/// it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub number: u64,
    pub deed: Deed,
}

impl Word {
    /// None when a text is longer than 4 GiB.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let deed = &self.deed;
        let mut out = Vec::with_capacity(128);
        out.push(VERSION);
        out.push(kind_code(deed.kind));
        put_u64(&mut out, self.number);
        put_u64(&mut out, deed.at.as_millis());
        put_u64(&mut out, deed.count);
        let event = deed.event.unwrap_or(EventId {
            segment: 0,
            offset: 0,
            tag: 0,
        });
        put_u32(&mut out, event.segment);
        put_u32(&mut out, event.offset);
        put_u64(&mut out, event.tag);
        let source = deed.source.as_ref().map_or("", SourceName::as_str);
        let destination = deed
            .destination
            .as_ref()
            .map_or("", DestinationName::as_str);
        for text in [
            deed.by.as_str(),
            source,
            destination,
            &deed.detail,
            &deed.outcome,
        ] {
            put_bytes(&mut out, text.as_bytes())?;
        }
        Some(out)
    }

    pub fn decode(payload: &[u8]) -> Option<Word> {
        let mut r = Reader(payload);
        if r.u8()? != VERSION {
            return None;
        }
        let kind = kind_of(r.u8()?)?;
        let number = r.u64()?;
        let at = Timestamp::from_millis(r.u64()?);
        let count = r.u64()?;
        let event = EventId {
            segment: r.u32()?,
            offset: r.u32()?,
            tag: r.u64()?,
        };
        let by = r.text()?;
        let source = r.text()?;
        let destination = r.text()?;
        Some(Word {
            number,
            deed: Deed {
                at,
                by,
                kind,
                source: (!source.is_empty()).then(|| SourceName::new(&source)),
                destination: (!destination.is_empty()).then(|| DestinationName::new(&destination)),
                event: (event.segment != 0).then_some(event),
                detail: r.text()?,
                count,
                outcome: r.text()?,
            },
        })
    }
}

fn kind_code(kind: DeedKind) -> u8 {
    match kind {
        DeedKind::Redrive => 1,
        DeedKind::Discard => 2,
        DeedKind::Pause => 3,
        DeedKind::Resume => 4,
        DeedKind::RedriveMany => 5,
        DeedKind::DiscardMany => 6,
        DeedKind::Unmask => 7,
        DeedKind::ReadBody => 8,
        DeedKind::Reload => 9,
        DeedKind::SignIn => 10,
    }
}

fn kind_of(code: u8) -> Option<DeedKind> {
    match code {
        1 => Some(DeedKind::Redrive),
        2 => Some(DeedKind::Discard),
        3 => Some(DeedKind::Pause),
        4 => Some(DeedKind::Resume),
        5 => Some(DeedKind::RedriveMany),
        6 => Some(DeedKind::DiscardMany),
        7 => Some(DeedKind::Unmask),
        8 => Some(DeedKind::ReadBody),
        9 => Some(DeedKind::Reload),
        10 => Some(DeedKind::SignIn),
        _ => None,
    }
}
