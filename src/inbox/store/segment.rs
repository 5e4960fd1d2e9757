//! One segment file of the journal: its header, reading a frame at a place, and walking over all
//! frames past whatever damage there is.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{self, Disk, DiskFile, How};
use super::record::{self, ALIGN, FRAME_HEAD, FrameHead, Kind, Meta, Reader};
use crate::clock::Timestamp;
use crate::message::EventId;

/// The header takes this much at the start of the file: twice the same, on two pages, so that one
/// bad page does not cost the whole segment.
pub const HEADER: u32 = 2 * COPY;
pub(super) const COPY: u32 = 4096;
const MAGIC: &[u8; 16] = b"callseal journal";
/// Of the file format. A newer one is refused, never guessed at. Format 1 had only records of
/// version 1, and is read; nothing is added to a segment of it, so that the program that wrote it
/// sees by the next one that it no longer understands the journal.
pub const FORMAT: u32 = 2;
const OLDEST: u32 = 1;

/// Who this store is: its id, and the key with which it hashes idempotency keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub id: [u8; 16],
    pub key: [u8; 32],
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub format: u32,
    pub number: u32,
    pub identity: Identity,
    pub created_at: Timestamp,
    /// See `record.rs`.
    pub mark: u64,
}

/// What the first bytes of a segment file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum HeaderRead {
    Good(Header),
    /// Written by a later version of this program.
    Newer(u32),
    Broken,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        record::put_u32(&mut out, self.format);
        record::put_u32(&mut out, self.number);
        out.extend_from_slice(&self.identity.id);
        out.extend_from_slice(&self.identity.key);
        record::put_u64(&mut out, self.created_at.as_millis());
        record::put_u64(&mut out, self.mark);
        let crc = crc32fast::hash(&out);
        record::put_u32(&mut out, crc);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> HeaderRead {
        let mut r = Reader(bytes);
        if r.array::<16>().as_ref() != Some(MAGIC) {
            return HeaderRead::Broken;
        }
        let format = match r.u32() {
            Some(known @ OLDEST..=FORMAT) => known,
            Some(newer) if newer > FORMAT && newer < 1 << 16 => return HeaderRead::Newer(newer),
            Some(_) | None => return HeaderRead::Broken,
        };
        let header = (|| {
            Some(Header {
                format,
                number: r.u32()?,
                identity: Identity {
                    id: r.array()?,
                    key: r.array()?,
                },
                created_at: Timestamp::from_millis(r.u64()?),
                mark: r.u64()?,
            })
        })();
        let covered = bytes.len() - r.0.len();
        match (header, r.u32(), bytes.get(..covered)) {
            (Some(header), Some(crc), Some(covered)) if crc == crc32fast::hash(covered) => {
                HeaderRead::Good(header)
            }
            _ => HeaderRead::Broken,
        }
    }

    fn read(file: &dyn DiskFile) -> io::Result<HeaderRead> {
        let mut newer = None;
        for copy in 0..2 {
            let mut bytes = [0; 256];
            let read = disk::read_up_to(file, &mut bytes, u64::from(copy * COPY))?;
            match Header::decode(bytes.get(..read).unwrap_or_default()) {
                HeaderRead::Good(header) => return Ok(HeaderRead::Good(header)),
                HeaderRead::Newer(format) => newer = Some(format),
                HeaderRead::Broken => {}
            }
        }
        Ok(newer.map_or(HeaderRead::Broken, HeaderRead::Newer))
    }
}

/// A segment file, open. Reading needs no lock: what is synced never changes again.
pub struct SegmentFile {
    pub header: Header,
    pub file: Arc<dyn DiskFile>,
}

/// What lies at a place in a segment.
#[derive(Debug)]
pub enum FrameRead {
    Good(FrameHead, Bytes),
    /// The head is good, what it speaks of is not.
    BadPayload(FrameHead),
    /// Not the beginning of a frame, or one that is damaged.
    NoFrame,
}

/// An accepted event without its headers and body.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made, and nearly always good"
)]
pub enum MetaRead {
    Good(Meta, Option<EventId>),
    Damaged,
    /// Something else than an accepted event, or nothing.
    NoEvent,
}

/// Of a segment in the making, this much is written at a time.
const PIECE: u64 = 1 << 19;
/// Most records are smaller than this: one read gets them whole.
const FIRST_READ: usize = 4096;
/// Most metas are smaller than this.
const META_READ: usize = 1024;

impl SegmentFile {
    /// Makes a segment file of `length` bytes, filled with zeros and synced, content and length;
    /// not the directory.
    pub fn create(
        disk: &dyn Disk,
        path: &Path,
        header: Header,
        length: u64,
    ) -> io::Result<SegmentFile> {
        let file = disk.open(path, How::Fresh)?;
        // Synced piece by piece: the journal's own syncs would otherwise wait behind all of it.
        let mut from = 0;
        while from < length {
            let to = length.min(from + PIECE);
            disk::write_zeros(&*file, from, to)?;
            if to < length {
                file.sync_data()?;
            }
            from = to;
        }
        let bytes = header.encode();
        disk::write_all_at(&*file, &bytes, 0)?;
        disk::write_all_at(&*file, &bytes, u64::from(COPY))?;
        file.sync_data()?;
        Ok(SegmentFile { header, file })
    }

    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<(HeaderRead, Arc<dyn DiskFile>)> {
        let file = disk.open(path, How::Existing)?;
        Ok((Header::read(&*file)?, file))
    }

    pub fn number(&self) -> u32 {
        self.header.number
    }

    fn head_at(&self, bytes: &[u8], offset: u32) -> Option<FrameHead> {
        FrameHead::decode(bytes, self.header.mark, offset)
    }

    /// The frame at `offset`, checked.
    pub fn read_frame(&self, offset: u32) -> io::Result<FrameRead> {
        if offset < HEADER || !offset.is_multiple_of(ALIGN) {
            return Ok(FrameRead::NoFrame);
        }
        let mut bytes = vec![0; FIRST_READ];
        let mut read = disk::read_up_to(&*self.file, &mut bytes, u64::from(offset))?;
        let Some(head) = self.head_at(bytes.get(..read).unwrap_or_default(), offset) else {
            return Ok(FrameRead::NoFrame);
        };
        let whole = FRAME_HEAD + head.length as usize;
        if whole > read && read == FIRST_READ {
            if u64::from(offset) + whole as u64 > self.file.length()? {
                return Ok(FrameRead::BadPayload(head));
            }
            bytes = {
                let mut larger = vec![0; whole];
                if let Some(first) = larger.get_mut(..read) {
                    first.copy_from_slice(&bytes);
                }
                larger
            };
            let rest = bytes.get_mut(read..).unwrap_or_default();
            read += disk::read_up_to(&*self.file, rest, u64::from(offset) + read as u64)?;
        }
        bytes.truncate(read);
        let payload = Bytes::from(bytes);
        if payload.len() < whole {
            return Ok(FrameRead::BadPayload(head));
        }
        let payload = payload.slice(FRAME_HEAD..whole);
        if crc32fast::hash(&payload) != head.payload_crc {
            return Ok(FrameRead::BadPayload(head));
        }
        Ok(FrameRead::Good(head, payload))
    }

    /// What is known of the accepted event at `offset`, without reading its body. The checksums of
    /// the head and of this part were right; of the body nothing is said.
    pub fn read_meta(&self, offset: u32) -> io::Result<MetaRead> {
        if offset < HEADER || !offset.is_multiple_of(ALIGN) {
            return Ok(MetaRead::NoEvent);
        }
        let mut want = META_READ;
        loop {
            let mut bytes = vec![0; want];
            let read = disk::read_up_to(&*self.file, &mut bytes, u64::from(offset))?;
            bytes.truncate(read);
            let Some(head) = self.head_at(&bytes, offset) else {
                return Ok(MetaRead::NoEvent);
            };
            match head.kind {
                Kind::Accepted => {}
                Kind::Step | Kind::Word => return Ok(MetaRead::NoEvent),
            }
            match Meta::from_payload(bytes.get(FRAME_HEAD..).unwrap_or_default()) {
                Ok(Some(meta)) => return Ok(MetaRead::Good(meta, head.subject)),
                Ok(None) => return Ok(MetaRead::Damaged),
                // Read again, as much as it says; but not more than the frame has.
                Err(needed) if read == want && needed <= head.length as usize => {
                    want = FRAME_HEAD + needed
                }
                Err(_) => return Ok(MetaRead::Damaged),
            }
        }
    }
}

/// One thing that a walk over a segment comes by.
#[derive(Debug)]
pub enum Found {
    Frame {
        offset: u32,
        head: FrameHead,
        payload: Bytes,
    },
    /// Bytes that are no frames, with a frame behind them.
    Gap(Gap),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub segment: u32,
    pub from: u32,
    pub to: u32,
    /// Nothing but zeros: a page of a commit that never reached the disk, so of one that was
    /// never acknowledged.
    pub zeros: bool,
}

/// Walks over a segment from the first frame to the last good one.
pub struct Walk<'a> {
    segment: &'a SegmentFile,
    window: Window<'a>,
    at: u32,
    length: u32,
    tail: Option<Tail>,
}

/// What lies behind the last good frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// End of the last good frame.
    pub end: u32,
    /// End of what is not zero behind it; equal to `end` when there is nothing.
    pub dirty_to: u32,
}

impl<'a> Walk<'a> {
    pub fn new(segment: &'a SegmentFile) -> io::Result<Self> {
        let length = u32::try_from(segment.file.length()?).unwrap_or(u32::MAX);
        Ok(Walk {
            segment,
            window: Window::new(&*segment.file, length),
            at: HEADER,
            length,
            tail: None,
        })
    }

    /// After the last frame: where the log ends.
    pub fn tail(&self) -> Tail {
        self.tail.unwrap_or(Tail {
            end: self.at,
            dirty_to: self.at,
        })
    }

    /// Whether there are only zeros between a frame that was found and the next one's place.
    pub fn padding_is_zero(&mut self, offset: u32, head: &FrameHead) -> io::Result<bool> {
        let whole = (FRAME_HEAD as u32).saturating_add(head.length);
        let Some(end) = head.span().and_then(|span| offset.checked_add(span)) else {
            return Ok(true);
        };
        let from = offset.saturating_add(whole);
        let padding = self.window.get(from, end.saturating_sub(from) as usize)?;
        // The last frame of a trimmed segment has none.
        Ok(padding.is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0)))
    }

    /// The next frame or gap; none at the end of the log.
    pub fn next_found(&mut self) -> io::Result<Option<Found>> {
        if self.tail.is_some() {
            return Ok(None);
        }
        if let Some((head, payload)) = self.frame_at(self.at)? {
            let offset = self.at;
            self.at = head
                .span()
                .and_then(|span| offset.checked_add(span))
                .unwrap_or(self.length);
            return Ok(Some(Found::Frame {
                offset,
                head,
                payload,
            }));
        }
        self.search()
    }

    fn frame_at(&mut self, offset: u32) -> io::Result<Option<(FrameHead, Bytes)>> {
        let Some(bytes) = self.window.get(offset, FRAME_HEAD)? else {
            return Ok(None);
        };
        let Some(head) = self.segment.head_at(bytes, offset) else {
            return Ok(None);
        };
        let whole = FRAME_HEAD + head.length as usize;
        if u64::from(offset) + whole as u64 > u64::from(self.length) {
            return Ok(None);
        }
        let Some(bytes) = self.window.get(offset, whole)? else {
            return Ok(None);
        };
        let payload = bytes.get(FRAME_HEAD..).unwrap_or_default();
        Ok((crc32fast::hash(payload) == head.payload_crc)
            .then(|| (head, Bytes::copy_from_slice(payload))))
    }

    /// No good frame at `self.at`: looks for the next one, which only the secret mark can name.
    fn search(&mut self) -> io::Result<Option<Found>> {
        let from = self.at;
        let mut dirty_to = from;
        let mut at = from;
        loop {
            // Free space is nearly always what there is.
            let stride = STRIDE.min(self.length.saturating_sub(at)) & !(ALIGN - 1);
            if stride > 0 && self.window.zeros(at, stride)? {
                at = at.saturating_add(stride);
                continue;
            }
            let Some(word) = self.window.word(at)? else {
                break;
            };
            if word != 0 {
                dirty_to = at.saturating_add(ALIGN);
            }
            let looks_right = word ^ u64::from(at) == self.segment.header.mark;
            if looks_right && at != from && self.frame_at(at)?.is_some() {
                self.at = at;
                let zeros = !self.any_set(from, at)?;
                return Ok(Some(Found::Gap(Gap {
                    segment: self.segment.number(),
                    from,
                    to: at,
                    zeros,
                })));
            }
            at = at.saturating_add(ALIGN);
        }
        self.tail = Some(Tail {
            end: from,
            dirty_to: dirty_to.min(self.length),
        });
        Ok(None)
    }

    fn any_set(&mut self, from: u32, to: u32) -> io::Result<bool> {
        let mut at = from;
        while at < to {
            if to - at >= STRIDE && self.window.zeros(at, STRIDE)? {
                at += STRIDE;
                continue;
            }
            if self.window.word(at)? != Some(0) {
                return Ok(true);
            }
            at += ALIGN;
        }
        Ok(false)
    }
}

/// Zeros that are passed over at once.
const STRIDE: u32 = 2048;

/// A file seen through a buffer that moves along.
struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    /// Of the buffer, this much was read.
    filled: usize,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    const READ_AHEAD: usize = 1 << 20;

    fn new(file: &'a dyn DiskFile, length: u32) -> Self {
        let bytes = vec![0; Self::READ_AHEAD.min(length as usize)];
        Window {
            file,
            start: 0,
            filled: 0,
            bytes,
        }
    }

    /// None when the file ends before.
    fn get(&mut self, offset: u32, length: usize) -> io::Result<Option<&[u8]>> {
        let offset = u64::from(offset);
        let inside =
            offset >= self.start && offset + length as u64 <= self.start + self.filled as u64;
        if !inside {
            if self.bytes.len() < length {
                self.bytes = vec![0; length];
            }
            self.filled = disk::read_up_to(self.file, &mut self.bytes, offset)?;
            self.start = offset;
        }
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let read = self.bytes.get(..self.filled).unwrap_or_default();
        Ok(read.get(at..at.saturating_add(length)))
    }

    /// All of these bytes are there, and zeros.
    fn zeros(&mut self, offset: u32, length: u32) -> io::Result<bool> {
        const ZEROS: [u8; STRIDE as usize] = [0; STRIDE as usize];
        let bytes = self.get(offset, length as usize)?;
        Ok(bytes.is_some_and(|bytes| ZEROS.starts_with(bytes)))
    }

    fn word(&mut self, offset: u32) -> io::Result<Option<u64>> {
        let Some(bytes) = self.get(offset, 8)? else {
            return Ok(None);
        };
        Ok(Reader(bytes).u64())
    }
}
