//! Taking in what another store (or this one, earlier) has exported.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, Read};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::lines::{self, BadLine, DeedLine, End, Event, FORMAT, Head, Record};
use crate::inbox::store::embedded::Embedded;
use crate::inbox::store::load::{Loaded, LoadedDelivery};
use crate::inbox::store::offering::original;
use crate::inbox::store::queue::{Answered, Command, Heard, Reply};
use crate::inbox::store::record::{Added, Conflicts, Place, Word};
use crate::inbox::store::{Acceptance, Deed, DeedKind, StoreError, StoredEvent};
use crate::message::EventId;

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
    /// The last line speaks of other events or deeds than there are.
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
                "its last line speaks of {says} records, and the {found} that are there are not those"
            ),
        }
    }
}

/// What is in an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    pub head: Option<Head>,
    pub events: u64,
    pub deeds: u64,
    pub flaws: Vec<Flaw>,
    /// Events that others or deeds speak of.
    pub spoken_of: HashSet<EventId>,
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
                Ok(one) => {
                    sums.update(sum);
                    inspected.events += 1;
                    inspected.spoken_of.extend(one.stored.conflict_of);
                }
                Err(why) => inspected.flaws.push(flaw(why)),
            },
            Ok((Record::Deed(deed), sum)) if end.is_none() => match deed.word() {
                Ok(word) => {
                    sums.update(sum);
                    inspected.deeds += 1;
                    inspected
                        .spoken_of
                        .extend(word.deed.event.map(EventId::event));
                }
                Err(why) => inspected.flaws.push(flaw(why)),
            },
            Ok((Record::End(last), _)) if end.is_none() => end = Some(last),
            Ok((Record::Head(_) | Record::Event(_) | Record::Deed(_) | Record::End(_), _)) => {
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
            let there = (inspected.events, inspected.deeds);
            if (end.events, end.deeds) != there || !same {
                inspected.flaws.push(Flaw::Other {
                    says: end.events.saturating_add(end.deeds),
                    found: inspected.events + inspected.deeds,
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
    id: EventId,
    stored: StoredEvent,
    added: Added,
    conflicts: Conflicts,
    deliveries: Vec<LoadedDelivery>,
}

impl Import {
    pub fn new(event: Event) -> Result<Import, BadLine> {
        Ok(Import {
            id: event.id()?,
            stored: event.stored()?,
            // The store gives it a tag of its own.
            added: event.added(0)?,
            conflicts: event.conflicts(),
            deliveries: event.loaded()?,
        })
    }

    /// The id that it had.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// About what it takes in the journal.
    pub fn bytes(&self) -> usize {
        self.stored.body.len() + self.stored.headers.bytes()
    }
}

/// Takes into an open store what another one has exported. Events before the deeds that speak of
/// them, as an export has them.
pub struct Importer<'a> {
    store: &'a Embedded,
    /// Events that others or deeds speak of, by the ids that they had.
    spoken_of: HashSet<EventId>,
    /// Their ids here.
    ids: HashMap<EventId, EventId>,
    /// What the audit had before, but for what of it was exported too.
    deeds: Vec<Deed>,
    /// The first number that the audit had not before.
    from: u64,
}

type Waiting = Result<oneshot::Receiver<Result<Heard, StoreError>>, StoreError>;

impl<'a> Importer<'a> {
    /// `spoken_of`: from [`inspect`].
    pub fn new(
        store: &'a Embedded,
        spoken_of: HashSet<EventId>,
    ) -> Result<Importer<'a>, StoreError> {
        let mut deeds = Vec::new();
        for (_, place) in store.shared.words.all() {
            deeds.extend(store.shared.word(place)?.map(|word| word.deed));
        }
        Ok(Importer {
            store,
            spoken_of,
            ids: HashMap::new(),
            deeds,
            from: store.shared.words.next_number(),
        })
    }

    /// Takes events in, all in one or a few group commits, and says of each what became of it. What
    /// is there already stays as it is, but for steps of it that are missing.
    pub fn events(&mut self, batch: &[Import]) -> Vec<Result<Acceptance, StoreError>> {
        let mut done = Vec::with_capacity(batch.len());
        let mut waiting: Vec<(Waiting, &Import)> = Vec::new();
        for one in batch {
            // Its id here must be known first.
            let of = one.stored.conflict_of;
            if of.is_some_and(|of| waiting.iter().any(|(_, before)| before.id == of)) {
                self.wait_for(&mut waiting, &mut done);
            }
            waiting.push((self.load(one, Vec::new()), one));
        }
        self.wait_for(&mut waiting, &mut done);
        done
    }

    fn wait_for(
        &mut self,
        waiting: &mut Vec<(Waiting, &Import)>,
        done: &mut Vec<Result<Acceptance, StoreError>>,
    ) {
        for (answer, one) in waiting.drain(..) {
            let answer = self.loaded(answer, one);
            if let Ok(acceptance) = &answer
                && self.spoken_of.contains(&one.id)
            {
                self.ids.insert(one.id, acceptance.id());
            }
            done.push(answer);
        }
    }

    /// The id here of a delivery that was exported; of one that was not, as it was there.
    fn id_of(&self, id: EventId) -> EventId {
        let event = self.ids.get(&id.event());
        event.map_or(id, |event| event.of_delivery(id.delivery()))
    }

    fn load(&self, one: &Import, instead_of: Vec<Place>) -> Waiting {
        let added = Added {
            tag: self.store.new_tag(),
            ..one.added.clone()
        };
        let mut offer = Box::new(self.store.offer_of(&one.stored, added)?);
        offer.instead_of = instead_of;
        let loaded = Loaded {
            offer,
            conflicts: one.conflicts,
            conflict_of: one.stored.conflict_of.map(|of| self.id_of(of)),
            deliveries: one.deliveries.clone(),
        };
        self.ask(|reply| Command::Load(Box::new(loaded), reply))
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.store.queue.push(command(reply))?;
        Ok(answer)
    }

    fn loaded(&self, answer: Waiting, one: &Import) -> Result<Acceptance, StoreError> {
        let mut answer = answer;
        let mut instead_of = Vec::new();
        loop {
            let Heard { answered, offer } = answer?
                .blocking_recv()
                .unwrap_or(Err(StoreError::Unknown))?;
            let place = match answered {
                Answered::New(id) => return Ok(Acceptance::New(id)),
                Answered::Conflict { id, of } => return Ok(Acceptance::Conflict { id, of }),
                // Both are said of what comes from outside only.
                Answered::Dropped { of } => return Ok(Acceptance::Dropped { of }),
                Answered::Refused { of } => return Ok(Acceptance::Refused { of }),
                Answered::Duplicate { place, .. } => place,
            };
            if let Some(id) = original(&self.store.shared, place, &offer, false)? {
                return Ok(Acceptance::Duplicate(id));
            }
            // What is there is damaged: this one takes its place.
            instead_of.push(place);
            answer = self.load(one, instead_of.clone());
        }
    }

    /// Takes in what an operator did, unless the audit has it; true when it is new. It takes
    /// effect, as far as that holds something back: what was paused there is paused, and what was
    /// paused here stays so.
    pub fn deed(&mut self, line: &DeedLine) -> Result<bool, StoreError> {
        let mut word = line.word().map_err(|_| StoreError::Io {
            doing: "reading an export",
            kind: io::ErrorKind::InvalidData,
        })?;
        word.deed.event = word.deed.event.map(|id| self.id_of(id));
        if let Some(at) = self.deeds.iter().position(|deed| *deed == word.deed) {
            self.deeds.swap_remove(at);
            return Ok(false);
        }
        let again = self.paused_here(&word.deed).then(|| Deed {
            at: self.store.shared.clock.now(),
            by: "import".to_owned(),
            kind: DeedKind::Pause,
            detail: "it was paused here".to_owned(),
            ..word.deed.clone()
        });
        self.load_word(word, again)?;
        Ok(true)
    }

    /// It resumes what was paused here before.
    fn paused_here(&self, deed: &Deed) -> bool {
        let words = &self.store.shared.words;
        let by = deed
            .source
            .as_ref()
            .and_then(|source| words.paused_by(source, deed.destination.as_ref()));
        deed.kind == DeedKind::Resume && by.is_some_and(|by| by < self.from)
    }

    fn load_word(&self, word: Word, after: Option<Deed>) -> Result<u64, StoreError> {
        let answer = self.ask(|reply| Command::LoadWord(Box::new((word, after)), reply))?;
        answer.blocking_recv().unwrap_or(Err(StoreError::Unknown))
    }
}
