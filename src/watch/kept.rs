//! What alerts are judged by, as it outlives a process: the minutes of the last hour, the rhythm of two
//! weeks, what was counted so far, and when no gateway ran. Only where alerts are on: else nobody looks,
//! and nothing is remembered.

use std::collections::{BTreeMap, VecDeque};

use super::snapshot::{Brought, Carried, History, KEPT, Lane, Rhythm, STEP, Snapshot, Source};
use crate::clock::Timestamp;
use crate::telemetry::kept::{Reader, Words};

/// Minutes of an hour, and some: as many as are kept.
const MINUTES: usize = 64;
/// Ten minutes each: two weeks, and some, also after a clock that went back.
const MOMENTS: usize = (KEPT.as_secs() / STEP.as_secs()) as usize + 64;
/// Times without a gateway: of more of them the shortest are forgotten.
const DOWNS: usize = 64;

/// What an earlier process looked back on.
#[derive(Debug)]
pub struct Kept {
    minutes: VecDeque<Snapshot>,
    rhythm: Rhythm,
    carried: Carried,
    down: VecDeque<(Timestamp, Timestamp)>,
}

type Sources = BTreeMap<String, Source>;
type Lanes = BTreeMap<(String, String), Lane>;

impl History {
    /// As a section; none while nobody looks. `now` is how things stand.
    pub fn keep(&self, now: &Snapshot) -> Option<Words> {
        if !self.looks {
            return None;
        }
        let mut words = Words::default();
        // By a clock that went back a process may have begun later than now.
        let down = self.down.iter().filter(|(_, ended)| *ended <= now.at);
        write_pairs(&mut words, &down.copied().collect());
        let (mut sources, mut lanes) = (Sources::new(), Lanes::new());
        write_state(&mut words, now, &mut sources, &mut lanes);
        let skipped = self.minutes.len().saturating_sub(MINUTES);
        words.number((self.minutes.len() - skipped) as u64);
        for minute in self.minutes.iter().skip(skipped) {
            write_moment(&mut words, minute.at);
            write_state(&mut words, minute, &mut sources, &mut lanes);
        }
        let Rhythm { until, sources } = &self.rhythm;
        let skipped = until.len().saturating_sub(MOMENTS);
        words.number((until.len() - skipped) as u64);
        for at in until.iter().skip(skipped) {
            write_moment(&mut words, *at);
        }
        words.number(sources.len() as u64);
        for (name, brought) in sources {
            words.text(name);
            words.number(brought.counted);
            words.number(brought.unknown.saturating_sub(skipped) as u64);
            for n in brought.each.iter().skip(skipped) {
                words.number(u64::from(*n));
            }
        }
        Some(words)
    }

    /// What an earlier process looked back on when it ended, or at `until`; from then to `now` no gateway
    /// ran. Before anything is added.
    pub fn take_on(&mut self, kept: Kept, until: Timestamp, now: Timestamp) {
        let Kept {
            minutes,
            rhythm,
            carried,
            mut down,
        } = kept;
        // By a clock that went back nobody knows how long it was.
        if until < now {
            down.push_back((until, now));
        }
        down.retain(|(_, ended)| now.since(*ended) < KEPT);
        while down.len() > DOWNS {
            let shortest = down.iter().enumerate();
            let shortest = shortest.min_by_key(|(_, (begun, ended))| ended.since(*begun));
            let Some((place, _)) = shortest else { break };
            down.remove(place);
        }
        *self = History {
            minutes,
            rhythm,
            carried,
            down,
            looks: self.looks,
        };
    }
}

/// A section as [`History::keep`] wrote it `at` that moment; of sources that are not `known`, and of
/// destinations that no `lane` leads to, nothing is kept.
pub fn read(
    mut reader: Reader<'_>,
    at: Timestamp,
    known: impl Fn(&str) -> bool,
    lane: impl Fn(&str, &str) -> bool,
) -> Option<Kept> {
    let reader = &mut reader;
    let down = read_pairs(reader, at)?;
    let (mut sources, mut lanes) = (Sources::new(), Lanes::new());
    let ended = read_state(reader, &mut sources, &mut lanes, &known, &lane)?;
    let carried = Carried {
        sources: ended.sources,
        lanes: ended.lanes,
    };
    let minutes = (0..reader.count(MINUTES)?).map(|_| {
        let at = read_moment(reader)?;
        let state = read_state(reader, &mut sources, &mut lanes, &known, &lane)?;
        Some(Snapshot { at, ..state })
    });
    let minutes = minutes.collect::<Option<_>>()?;
    let moments = reader.count(MOMENTS)?;
    let until = (0..moments).map(|_| read_moment(reader));
    let mut rhythm = Rhythm {
        until: until.collect::<Option<_>>()?,
        sources: BTreeMap::new(),
    };
    for _ in 0..reader.count(usize::MAX)? {
        let name = reader.text()?;
        let counted = reader.number()?;
        let unknown = usize::try_from(reader.number()?).ok()?;
        let each = (0..moments).map(|_| reader.small());
        let each: VecDeque<u32> = each.collect::<Option<_>>()?;
        let brought = Brought {
            counted,
            each,
            unknown,
        };
        if unknown > moments {
            return None;
        }
        if known(name) && rhythm.sources.insert(name.to_owned(), brought).is_some() {
            return None;
        }
    }
    reader.is_empty().then_some(Kept {
        minutes,
        rhythm,
        carried,
        down,
    })
}

fn write_moment(words: &mut Words, at: Timestamp) {
    words.number(at.as_millis());
}

fn read_moment(reader: &mut Reader<'_>) -> Option<Timestamp> {
    reader.number().map(Timestamp::from_millis)
}

fn write_pairs(words: &mut Words, pairs: &VecDeque<(Timestamp, Timestamp)>) {
    words.number(pairs.len() as u64);
    for (from, until) in pairs {
        write_moment(words, *from);
        write_moment(words, *until);
    }
}

/// One after the other, and none that ends after `at`.
fn read_pairs(reader: &mut Reader<'_>, at: Timestamp) -> Option<VecDeque<(Timestamp, Timestamp)>> {
    let mut before = Timestamp::default();
    let pairs = (0..reader.count(DOWNS)?).map(|_| {
        let (from, until) = (read_moment(reader)?, read_moment(reader)?);
        let ordered = before <= from && from <= until && until <= at;
        before = until;
        ordered.then_some((from, until))
    });
    pairs.collect()
}

/// The numbers of a source, and of a lane: a moment is one, where never is 0.
impl Source {
    fn numbers(&self) -> [u64; 7] {
        let [a, b, c, d, e, f] = self.counts();
        [a, b, c, d, e, f, above(self.last_accepted)]
    }

    fn of_numbers(
        [
            events,
            challenges,
            rejected,
            overloaded,
            failed,
            mismatches,
            last,
        ]: [u64; 7],
    ) -> Self {
        Source {
            events,
            challenges,
            rejected,
            overloaded,
            failed,
            mismatches,
            last_accepted: below(last),
        }
    }
}

impl Lane {
    fn numbers(&self) -> [u64; 5] {
        let [a, b, c] = self.counts();
        [a, b, c, self.owed, above(self.oldest_owed)]
    }

    fn of_numbers([delivered, failed, dead, owed, oldest]: [u64; 5]) -> Self {
        Lane {
            delivered,
            failed,
            dead,
            owed,
            oldest_owed: below(oldest),
        }
    }
}

fn above(at: Option<Timestamp>) -> u64 {
    at.map_or(0, |at| at.as_millis().saturating_add(1))
}

fn below(n: u64) -> Option<Timestamp> {
    n.checked_sub(1).map(Timestamp::from_millis)
}

/// Only the numbers that are others than the last time that this was written.
fn write_changes<const N: usize>(words: &mut Words, before: [u64; N], now: [u64; N]) {
    let changed = || {
        before
            .iter()
            .zip(now)
            .enumerate()
            .filter(|(_, (a, b))| *a != b)
    };
    let marks = changed().fold(0, |marks, (bit, _)| marks | 1u8 << bit);
    words.byte(marks);
    for (_, (_, n)) in changed() {
        words.number(n);
    }
}

fn read_changes<const N: usize>(reader: &mut Reader<'_>, mut stood: [u64; N]) -> Option<[u64; N]> {
    let marks = reader.byte()?;
    for (bit, n) in stood.iter_mut().enumerate() {
        if marks & 1 << bit != 0 {
            *n = reader.number()?;
        }
    }
    Some(stood)
}

/// Sources and lanes of a snapshot, each as it differs from the one that was written before.
fn write_state(words: &mut Words, now: &Snapshot, sources: &mut Sources, lanes: &mut Lanes) {
    words.number(now.sources.len() as u64);
    for (name, source) in &now.sources {
        words.text(name);
        let before = sources.insert(name.clone(), *source).unwrap_or_default();
        write_changes(words, before.numbers(), source.numbers());
    }
    words.number(now.lanes.len() as u64);
    for (name, lane) in &now.lanes {
        words.text(&name.0);
        words.text(&name.1);
        let before = lanes.insert(name.clone(), *lane).unwrap_or_default();
        write_changes(words, before.numbers(), lane.numbers());
    }
}

fn read_state(
    reader: &mut Reader<'_>,
    sources: &mut Sources,
    lanes: &mut Lanes,
    known: impl Fn(&str) -> bool,
    lane: impl Fn(&str, &str) -> bool,
) -> Option<Snapshot> {
    let mut state = Snapshot::default();
    for _ in 0..reader.count(usize::MAX)? {
        let name = reader.text()?;
        let stood = sources.get(name).copied().unwrap_or_default();
        let source = Source::of_numbers(read_changes(reader, stood.numbers())?);
        if known(name) {
            sources.insert(name.to_owned(), source);
            if state.sources.insert(name.to_owned(), source).is_some() {
                return None;
            }
        }
    }
    for _ in 0..reader.count(usize::MAX)? {
        let (source, to) = (reader.text()?, reader.text()?);
        if !lane(source, to) {
            read_changes(reader, Lane::default().numbers())?;
            continue;
        }
        let name = (source.to_owned(), to.to_owned());
        let stood = lanes.get(&name).copied().unwrap_or_default();
        let lane = Lane::of_numbers(read_changes(reader, stood.numbers())?);
        lanes.insert(name.clone(), lane);
        if state.lanes.insert(name, lane).is_some() {
            return None;
        }
    }
    Some(state)
}

#[cfg(test)]
mod tests;
