//! Every byte of the journal, looked at: what is not as it was written is found, and named.

use std::io;

use super::Offline;
use crate::inbox::store::disk::{self, DiskFile};
use crate::inbox::store::embedded::OpenError;
use crate::inbox::store::ending;
use crate::inbox::store::index::{Index, index_path};
use crate::inbox::store::record::{self, FRAME_HEAD, FrameHead, Kind, Meta, Place, Step, Word};
use crate::inbox::store::report::io_error;
use crate::inbox::store::segment::{COPY, Found, HEADER, Header, HeaderRead, SegmentFile, Walk};
use crate::message::EventId;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub segments: u32,
    pub bytes: u64,
    pub events: u64,
    pub steps: u64,
    /// Entries of the audit. One that was carried forward is counted twice until its first place is
    /// given back.
    pub words: u64,
    pub damage: Vec<Damage>,
    /// What a crash cut off at the end: none of it was ever acknowledged. The next start wipes it.
    pub torn_bytes: u64,
    /// Stretches of zeros between records: of commits that never reached the disk, or cleared by a
    /// repair.
    pub cleared_bytes: u64,
    pub index: IndexFound,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IndexFound {
    #[default]
    Missing,
    /// It fits the journal, and every block of it is whole.
    Good { segments: u32 },
    /// The next start makes it anew from the journal.
    Unusable(String),
}

/// A stretch of a segment that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub segment: u32,
    pub from: u32,
    /// The byte behind it.
    pub to: u32,
    pub harm: Harm,
    /// What was recorded there, as far as that can still be read.
    pub lost: Option<Lost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Neither records nor free space: what was recorded there is lost.
    Record,
    /// A record whose checksum is right and whose content is not: written by another version.
    Content,
    /// Both copies of the segment's header: without them nothing of the segment is served.
    Header,
    /// One of the two copies of the header. Nothing is lost.
    HeaderCopy,
    /// The unused bytes behind a record. Nothing is lost.
    Padding,
    /// The free space behind the last record. Nothing is lost.
    FreeSpace,
}

impl Harm {
    pub fn code(self) -> &'static str {
        match self {
            Harm::Record => "record",
            Harm::Content => "content",
            Harm::Header => "header",
            Harm::HeaderCopy => "header_copy",
            Harm::Padding => "padding",
            Harm::FreeSpace => "free_space",
        }
    }

    /// Something that was acknowledged cannot be read any more.
    pub fn loses(self) -> bool {
        match self {
            Harm::Record | Harm::Content | Harm::Header => true,
            Harm::HeaderCopy | Harm::Padding | Harm::FreeSpace => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    Event {
        id: EventId,
        source: String,
        event_key: String,
    },
    /// Something that happened to this delivery: an attempt, or an operator's word.
    Step { of: EventId },
    /// An entry of the audit; with it, perhaps, that a lane is paused.
    Word,
}

/// Where a long piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub done: u32,
    pub of: u32,
}

impl Offline {
    /// Looks at everything and changes nothing. `say` hears of every segment that is done.
    pub fn check(&self, say: &mut dyn FnMut(Progress)) -> Result<Findings, OpenError> {
        let numbers = self.numbers()?;
        let of = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let mut findings = Findings {
            segments: of,
            ..Findings::default()
        };
        let mut identity = None;
        for (done, number) in (1..).zip(&numbers) {
            let header = self
                .segment(*number, numbers.last() == Some(number), &mut findings)
                .map_err(|e| match e {
                    CheckError::Open(e) => e,
                    CheckError::Io(e) => io_error("reading", &self.path(*number))(e),
                })?;
            identity = header.map(|h| h.identity).or(identity);
            say(Progress { done, of });
        }
        if let Some(identity) = identity {
            findings.index = self.index(&identity.id);
        }
        Ok(findings)
    }

    fn segment(
        &self,
        number: u32,
        newest: bool,
        findings: &mut Findings,
    ) -> Result<Option<Header>, CheckError> {
        let file = self.file(number)?;
        let length = u32::try_from(file.length()?).unwrap_or(u32::MAX);
        findings.bytes += u64::from(length);
        let mut damage = |from: u32, to: u32, harm, lost| {
            findings.damage.push(Damage {
                segment: number,
                from,
                to,
                harm,
                lost,
            });
        };
        let copies = [copy(&*file, 0)?, copy(&*file, 1)?];
        let good = copies.iter().find_map(|copy| match copy {
            CopyRead::Good(header) | CopyRead::Dirty(header) if header.number == number => {
                Some(*header)
            }
            CopyRead::Good(_) | CopyRead::Dirty(_) | CopyRead::Newer(_) | CopyRead::Broken => None,
        });
        let Some(header) = good else {
            if let Some(format) = copies.iter().find_map(CopyRead::newer) {
                let path = self.path(number);
                return Err(CheckError::Open(OpenError::Newer { path, format }));
            }
            damage(0, HEADER.min(length), Harm::Header, None);
            return Ok(None);
        };
        for (n, copy) in (0..).zip(&copies) {
            if !matches!(copy, CopyRead::Good(h) if *h == header) {
                damage(n * COPY, (n + 1) * COPY, Harm::HeaderCopy, None);
            }
        }
        let segment = SegmentFile { header, file };
        let (mut events, mut steps, mut words, mut cleared) = (0, 0, 0, 0);
        let mut walk = Walk::new(&segment)?;
        while let Some(found) = walk.next_found()? {
            match found {
                Found::Gap(gap) if gap.zeros => cleared += u64::from(gap.to - gap.from),
                Found::Gap(gap) => {
                    damage(gap.from, gap.to, Harm::Record, lost(&segment, gap.from)?);
                }
                Found::Frame {
                    offset,
                    head,
                    payload,
                } => {
                    let sound = match head.kind {
                        Kind::Accepted => {
                            events += 1;
                            record::decode_accepted(&payload, head.subject).is_some()
                        }
                        Kind::Step => {
                            steps += 1;
                            head.subject.is_some() && Step::decode(&payload).is_some()
                        }
                        Kind::Word => {
                            words += 1;
                            Word::decode(&payload).is_some()
                        }
                    };
                    let end = offset.saturating_add(head.span().unwrap_or_default());
                    if !sound {
                        damage(offset, end, Harm::Content, lost(&segment, offset)?);
                    }
                    if !walk.padding_is_zero(offset, &head)? {
                        damage(offset, end, Harm::Padding, None);
                    }
                }
            }
        }
        let tail = walk.tail();
        let durable = ending::read(&*self.disk, &self.directory, &header.identity.id)
            .filter(|end| end.segment == number)
            .map_or(0, |end| end.offset.min(length));
        let mut torn = 0;
        if tail.end < durable {
            let lost = lost(&segment, tail.end)?;
            damage(tail.end, durable, Harm::Record, lost);
        }
        let free_from = tail.end.max(durable);
        if tail.dirty_to > free_from {
            // Behind a clean stop there is nothing; of a sealed segment, nothing either.
            if !newest || tail.end <= durable {
                damage(free_from, tail.dirty_to, Harm::FreeSpace, None);
            } else {
                torn = u64::from(tail.dirty_to - free_from);
            }
        }
        findings.events += events;
        findings.steps += steps;
        findings.words += words;
        findings.cleared_bytes += cleared;
        findings.torn_bytes += torn;
        Ok(Some(header))
    }

    fn index(&self, store: &[u8; 16]) -> IndexFound {
        let path = index_path(&self.directory);
        if !path.join("db").exists() {
            return IndexFound::Missing;
        }
        let checked = Index::open(&path, 32 << 20).and_then(|index| index.check(store));
        match checked {
            Ok(segments) => IndexFound::Good { segments },
            Err(e) => IndexFound::Unusable(e.to_string()),
        }
    }
}

enum CheckError {
    Open(OpenError),
    Io(io::Error),
}

impl From<OpenError> for CheckError {
    fn from(e: OpenError) -> Self {
        CheckError::Open(e)
    }
}

impl From<io::Error> for CheckError {
    fn from(e: io::Error) -> Self {
        CheckError::Io(e)
    }
}

enum CopyRead {
    Good(Header),
    /// The header is good, and there is something behind it.
    Dirty(Header),
    Newer(u32),
    Broken,
}

impl CopyRead {
    fn newer(&self) -> Option<u32> {
        match self {
            CopyRead::Newer(format) => Some(*format),
            CopyRead::Good(_) | CopyRead::Dirty(_) | CopyRead::Broken => None,
        }
    }
}

fn copy(file: &dyn DiskFile, n: u32) -> io::Result<CopyRead> {
    let mut page = vec![0; COPY as usize];
    let read = disk::read_up_to(file, &mut page, u64::from(n * COPY))?;
    page.truncate(read);
    Ok(match Header::decode(&page) {
        HeaderRead::Good(header) => {
            let mut whole = header.encode();
            whole.resize(COPY as usize, 0);
            match whole == page {
                true => CopyRead::Good(header),
                false => CopyRead::Dirty(header),
            }
        }
        HeaderRead::Newer(format) => CopyRead::Newer(format),
        HeaderRead::Broken => CopyRead::Broken,
    })
}

/// What a damaged record was of: its head and the beginning of an event have checksums of their own.
pub(super) fn lost(segment: &SegmentFile, offset: u32) -> io::Result<Option<Lost>> {
    let mut bytes = vec![0; 64 << 10];
    let read = disk::read_up_to(&*segment.file, &mut bytes, u64::from(offset))?;
    bytes.truncate(read);
    if let Ok(Some(meta)) = Meta::from_payload(bytes.get(FRAME_HEAD..).unwrap_or_default()) {
        let place = Place {
            segment: segment.number(),
            offset,
        };
        return Ok(Some(Lost::Event {
            id: place.with_tag(meta.tag),
            source: meta.source,
            event_key: meta.event_key,
        }));
    }
    let head = FrameHead::decode(&bytes, segment.header.mark, offset);
    Ok(head.and_then(|head| match head.kind {
        Kind::Accepted => None,
        Kind::Step => head.subject.map(|of| Lost::Step { of }),
        Kind::Word => Some(Lost::Word),
    }))
}
