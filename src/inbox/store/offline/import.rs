//! Taking in what another store (or this one, earlier) has exported.

use std::io::{self, BufRead, Read};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::lines::{self, BadLine, End, Event, FORMAT, Head, Record};
use crate::inbox::store::embedded::{Embedded, original};
use crate::inbox::store::load::Loaded;
use crate::inbox::store::queue::{Answered, Command, Heard, Offer};
use crate::inbox::store::record::{ClaimHashes, Place, Step};
use crate::inbox::store::{Acceptance, StoreError};

/// A line longer than this is none: no event is so large.
const LINE_MAX: u64 = 1 << 30;

/// Reads an export line by line, and knows where it is.
pub struct Lines<R> {
    from: R,
    number: u64,
}

/// A line that was read.
pub struct Line {
    /// From 1.
    pub number: u64,
    pub read: Result<(Record, [u8; 32]), BadLine>,
}

impl<R: BufRead> Lines<R> {
    pub fn new(from: R) -> Self {
        Lines { from, number: 0 }
    }

    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        let read = (&mut self.from)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        // A line without an end is one that was cut off.
        let read = match line.strip_suffix(b"\n") {
            Some(whole) => lines::read(whole),
            None => Err(BadLine::Shape),
        };
        let number = self.number;
        Ok(Some(Line { number, read }))
    }
}

/// What is wrong with an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    Line {
        number: u64,
        why: BadLine,
    },
    /// It does not begin as an export does.
    NoHead,
    /// Written by a later version.
    Newer {
        format: u32,
    },
    /// It has no last line: it was cut off.
    NoEnd,
    /// The last line speaks of other events than there are.
    Other {
        says: u64,
        found: u64,
    },
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Flaw::Line { number, why } => write!(f, "line {number}: {why}"),
            Flaw::NoHead => f.write_str("line 1: is not the head of an export"),
            Flaw::Newer { format } => write!(
                f,
                "line 1: written by a later version of callseal (format {format})"
            ),
            Flaw::NoEnd => f.write_str("its last line is missing: it was cut off"),
            Flaw::Other { says, found } => write!(
                f,
                "its last line speaks of {says} events, and the {found} that are there are not those"
            ),
        }
    }
}

/// What is in an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    pub head: Option<Head>,
    pub events: u64,
    pub flaws: Vec<Flaw>,
}

/// Reads all of an export and takes nothing in.
pub fn inspect(from: impl BufRead) -> io::Result<Inspected> {
    let mut inspected = Inspected::default();
    let mut lines = Lines::new(from);
    let mut sums = Sha256::new();
    let mut end: Option<End> = None;
    while let Some(line) = lines.next_line()? {
        let number = line.number;
        let flaw = |why| Flaw::Line { number, why };
        match line.read {
            Err(why) => inspected.flaws.push(flaw(why)),
            Ok((Record::Head(head), _)) if number == 1 => match head.format {
                FORMAT => inspected.head = Some(head),
                format => inspected.flaws.push(Flaw::Newer { format }),
            },
            Ok((Record::Event(event), sum)) if end.is_none() => match Import::new(*event) {
                Ok(_) => {
                    sums.update(sum);
                    inspected.events += 1;
                }
                Err(why) => inspected.flaws.push(flaw(why)),
            },
            Ok((Record::End(last), _)) if end.is_none() => end = Some(last),
            Ok((Record::Head(_) | Record::Event(_) | Record::End(_), _)) => {
                inspected.flaws.push(flaw(BadLine::Shape));
            }
        }
    }
    if inspected.head.is_none() && !matches!(inspected.flaws.first(), Some(Flaw::Newer { .. })) {
        inspected.flaws.insert(0, Flaw::NoHead);
    }
    match end {
        None => inspected.flaws.push(Flaw::NoEnd),
        Some(end) => {
            let same = end.sums == HEXLOWER.encode(&sums.finalize());
            if end.events != inspected.events || !same {
                inspected.flaws.push(Flaw::Other {
                    says: end.events,
                    found: inspected.events,
                });
            }
        }
    }
    Ok(inspected)
}

impl Head {
    /// The keys of its claims, the own first.
    pub fn keys(&self) -> Result<Vec<[u8; 32]>, BadLine> {
        self.claim_keys
            .iter()
            .map(|key| lines::hex("claim_keys", key))
            .collect()
    }
}

/// An event to be taken in.
#[derive(Clone)]
pub struct Import {
    event: Event,
    steps: Vec<Step>,
    hashes: ClaimHashes,
    bytes: usize,
}

impl Import {
    pub fn new(event: Event) -> Result<Import, BadLine> {
        let stored = event.stored()?;
        Ok(Import {
            steps: event.steps()?,
            hashes: event.hashes()?,
            bytes: stored.body.len() + stored.headers.bytes(),
            event,
        })
    }

    /// The id that it had.
    pub fn id(&self) -> &str {
        &self.event.id
    }

    /// About what it takes in the journal.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Embedded {
    /// Takes events in, all in one or a few group commits, and says of each what became of it. What
    /// is there already stays as it is, but for steps of it that are missing.
    pub fn import(&self, batch: &[Import]) -> Vec<Result<Acceptance, StoreError>> {
        let waiting: Vec<_> = batch.iter().map(|one| self.load(one, Vec::new())).collect();
        waiting
            .into_iter()
            .zip(batch)
            .map(|(answer, one)| self.loaded(answer, one))
            .collect()
    }

    fn load(
        &self,
        one: &Import,
        instead_of: Vec<Place>,
    ) -> Result<oneshot::Receiver<Result<Heard, StoreError>>, StoreError> {
        let event = one.event.stored().map_err(|_| StoreError::Io {
            doing: "reading an export",
            kind: io::ErrorKind::InvalidData,
        })?;
        let offer = Box::new(Offer {
            instead_of,
            ..self.offer_of(&event, one.hashes, one.event.keep())?
        });
        let loaded = Loaded {
            offer,
            steps: one.steps.clone(),
        };
        let (reply, answer) = oneshot::channel();
        self.queue.push(Command::Load(Box::new(loaded), reply))?;
        Ok(answer)
    }

    fn loaded(
        &self,
        answer: Result<oneshot::Receiver<Result<Heard, StoreError>>, StoreError>,
        one: &Import,
    ) -> Result<Acceptance, StoreError> {
        let mut answer = answer;
        let mut instead_of = Vec::new();
        loop {
            let heard = answer?
                .blocking_recv()
                .unwrap_or(Err(StoreError::Unknown))?;
            let place = match heard.answered {
                Answered::New(id) => return Ok(Acceptance::New(id)),
                Answered::Conflict { id, of } => return Ok(Acceptance::Conflict { id, of }),
                Answered::Duplicate(place) => place,
            };
            if let Some(id) = original(&self.shared, place, &[one.hashes])? {
                return Ok(Acceptance::Duplicate(id));
            }
            // What is there is damaged: this one takes its place.
            instead_of.push(place);
            answer = self.load(one, instead_of.clone());
        }
    }
}
