//! The windows as they outlive a process: one section each, so that where the room does not suffice a
//! window is missing whole and its chart is empty, and never half there and wrong.
//!
//! Of the step under way stand the counts themselves, with their buckets: a process that starts within
//! the same step goes on with it.

use std::collections::BTreeMap;

use super::series::{Gauges, Level, Point, small};
use super::{History, Inner, WINDOWS, Window};
use crate::message::SourceName;
use crate::telemetry::figures::{BUCKETS, Count, Counts, Figures, NUMBERS};
use crate::telemetry::kept::{Reader, Words};

/// More series than any installation has: each takes room while it is read.
const SERIES: usize = 1 << 16;

/// Whose series it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    All,
    Nobody,
    Source(SourceName),
}

/// A window of an earlier process.
#[derive(Debug)]
pub struct Kept {
    /// Its place in [`WINDOWS`].
    number: usize,
    /// The step that was under way.
    current: u64,
    ran: Vec<(u64, u64)>,
    series: BTreeMap<Whose, KeptSeries>,
}

#[derive(Debug, Default)]
struct KeptSeries {
    points: Vec<(u64, Point)>,
    /// Of the step under way: what is owed, and what was counted.
    gauges: Gauges,
    counted: Counts,
}

impl History {
    /// Each window as a section. The steps that are over have been sampled; `gauges` as there.
    pub fn keep(
        &self,
        figures: &Figures,
        gauges: impl Fn(Option<&SourceName>) -> Gauges,
    ) -> Vec<Words> {
        let inner = self.lock();
        let sources = figures.all();
        let empty = Level::default();
        let windows = WINDOWS.iter().enumerate().map(|(number, window)| {
            let current = inner.current.get(number).copied().unwrap_or_default();
            let began = self.started.as_secs() / window.step;
            let mut words = Words::default();
            words.number(window.step);
            words.number(current);
            let ran = inner.ran.get(number).map_or(&[][..], Vec::as_slice);
            write_ran(&mut words, &joined(ran, began, current, *window));
            words.number(sources.len() as u64 + 2);
            let all = inner.all.levels.get(number).unwrap_or(&empty);
            let counted = all.whole(&inner.under_way(number, figures));
            words.byte(0);
            write_series(&mut words, all, gauges(None), &counted);
            let mut write = |name: Option<&SourceName>, counts: &Counts, gauges: Gauges| {
                let series = inner.sources.get(&name.cloned());
                let level = series.and_then(|series| series.levels.get(number));
                let level = level.unwrap_or(&empty);
                let counted = level.whole(&counts.since(&level.before));
                match name {
                    None => words.byte(1),
                    Some(name) => {
                        words.byte(2);
                        words.text(name.as_str());
                    }
                }
                write_series(&mut words, level, gauges, &counted);
            };
            write(None, &figures.nobody().counts(), Gauges::default());
            for (name, source) in &sources {
                write(Some(name), &source.counts(), gauges(Some(name)));
            }
            words
        });
        windows.collect()
    }

    /// What an earlier process saw, before anything is sampled. Steps that by this clock have not come
    /// yet are left out: a clock was ahead then.
    pub fn take_on(&self, kept: Vec<Kept>) {
        let mut inner = self.lock();
        for window in kept {
            inner.take_on(window);
        }
    }
}

impl Inner {
    fn take_on(&mut self, kept: Kept) {
        let Kept {
            number,
            current,
            ran,
            series,
        } = kept;
        let (Some(window), Some(now)) = (WINDOWS.get(number), self.current.get(number).copied())
        else {
            return;
        };
        let past = ran.into_iter().filter(|(from, _)| *from <= now);
        let past = past.map(|(from, to)| (from, to.min(now)));
        if let Some(ran) = self.ran.get_mut(number) {
            *ran = past.collect();
        }
        for (whose, mut series) in series {
            let levels = match whose {
                Whose::All => &mut self.all,
                Whose::Nobody => self.sources.entry(None).or_default(),
                Whose::Source(name) => self.sources.entry(Some(name)).or_default(),
            };
            let Some(level) = levels.levels.get_mut(number) else {
                continue;
            };
            series.points.retain(|(step, _)| *step < now);
            level.points = series.points.into();
            if current < now {
                let point = Point::new(&series.counted, series.gauges);
                level.push(*window, current, point);
            } else if current == now && !series.counted.is_empty() {
                level.carried = Some(Box::new(series.counted));
            }
        }
    }
}

/// The steps in which a process ran that the window still shows, with those of this one.
fn joined(ran: &[(u64, u64)], began: u64, current: u64, window: Window) -> Vec<(u64, u64)> {
    let first = (current + 1).saturating_sub(window.steps);
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ran.iter().copied().chain([(began, current)]) {
        match joined.last_mut() {
            Some((_, last)) if from <= last.saturating_add(1) => *last = to.max(*last),
            _ if to < first => {}
            _ => joined.push((from.max(first), to)),
        }
    }
    joined
}

fn write_ran(words: &mut Words, ran: &[(u64, u64)]) {
    words.number(ran.len() as u64);
    let mut before = 0;
    for (from, to) in ran {
        words.number(from - before);
        words.number(to - from);
        before = *to;
    }
}

fn read_ran(reader: &mut Reader<'_>, window: Window) -> Option<Vec<(u64, u64)>> {
    let mut before = 0u64;
    let runs = (0..reader.count(window.steps as usize)?).map(|_| {
        let from = before.checked_add(reader.number()?)?;
        before = from.checked_add(reader.number()?)?;
        Some((from, before))
    });
    runs.collect()
}

fn write_series(words: &mut Words, level: &Level, gauges: Gauges, counted: &Counts) {
    words.number(level.points.len() as u64);
    let (mut before, mut stood) = (0, (0, 0));
    for (step, point) in &level.points {
        words.number(step - before);
        write_point(words, point, stood);
        (before, stood) = (*step, (point.owed, point.dead));
    }
    words.number(u64::from(small(gauges.owed)));
    words.number(u64::from(small(gauges.dead)));
    let some = || counted.all().enumerate().filter(|(_, n)| **n > 0);
    words.number(some().count() as u64);
    for (place, n) in some() {
        words.number(place as u64);
        words.number(*n);
    }
}

fn read_series(reader: &mut Reader<'_>, window: Window, current: u64) -> Option<KeptSeries> {
    let mut series = KeptSeries::default();
    let (mut before, mut stood) = (None, (0, 0));
    // The last one before the window says what was owed since.
    for _ in 0..reader.count(window.steps as usize + 2)? {
        let step = before.unwrap_or(0u64).checked_add(reader.number()?)?;
        if before.is_some_and(|before| step <= before) || step >= current {
            return None;
        }
        let point = read_point(reader, stood)?;
        (before, stood) = (Some(step), (point.owed, point.dead));
        series.points.push((step, point));
    }
    series.gauges = Gauges {
        owed: u64::from(reader.small()?),
        dead: u64::from(reader.small()?),
    };
    for _ in 0..reader.count(NUMBERS)? {
        let place = usize::try_from(reader.number()?).ok()?;
        *series.counted.all_mut().nth(place)? = reader.number()?;
    }
    Some(series)
}

/// A bit for each count that is there, and for what comes after them.
const OWED: u64 = 1 << Count::ALL.len();
const DEAD: u64 = OWED << 1;
const ACKNOWLEDGE: u64 = OWED << 2;
const DELIVERY: u64 = OWED << 3;

fn write_point(words: &mut Words, point: &Point, (owed, dead): (u32, u32)) {
    let mut there = 0;
    for (bit, n) in point.counts.iter().enumerate() {
        there |= u64::from(*n > 0) << bit;
    }
    let mark = |is: bool, bit: u64| if is { bit } else { 0 };
    there |= mark(point.owed != owed, OWED) | mark(point.dead != dead, DEAD);
    there |= mark(point.acknowledge != [0; 2], ACKNOWLEDGE);
    there |= mark(point.delivery != [0; 2], DELIVERY);
    words.number(there);
    for n in point.counts.iter().filter(|n| **n > 0) {
        words.number(u64::from(*n));
    }
    let gauges = [(OWED, point.owed), (DEAD, point.dead)];
    for (_, n) in gauges.iter().filter(|(bit, _)| there & bit != 0) {
        words.number(u64::from(*n));
    }
    let times = [(ACKNOWLEDGE, point.acknowledge), (DELIVERY, point.delivery)];
    for (_, [half, most]) in times.iter().filter(|(bit, _)| there & bit != 0) {
        words.byte(*half);
        words.byte(*most);
    }
}

fn read_point(reader: &mut Reader<'_>, (owed, dead): (u32, u32)) -> Option<Point> {
    let there = reader.number()?;
    let mut point = Point::quiet(owed, dead);
    for (bit, n) in point.counts.iter_mut().enumerate() {
        if there & (1 << bit) != 0 {
            *n = reader.small()?;
        }
    }
    for (bit, n) in [(OWED, &mut point.owed), (DEAD, &mut point.dead)] {
        if there & bit != 0 {
            *n = reader.small()?;
        }
    }
    let times = [
        (ACKNOWLEDGE, &mut point.acknowledge),
        (DELIVERY, &mut point.delivery),
    ];
    for (bit, pair) in times {
        if there & bit != 0 {
            *pair = [bucket(reader.byte()?)?, bucket(reader.byte()?)?];
        }
    }
    (there < DELIVERY << 1).then_some(point)
}

fn bucket(above: u8) -> Option<u8> {
    (usize::from(above) <= BUCKETS).then_some(above)
}

/// A section as [`History::keep`] wrote it; of sources that are not `known` nothing is kept.
pub fn read(mut reader: Reader<'_>, known: impl Fn(&SourceName) -> bool) -> Option<Kept> {
    let step = reader.number()?;
    let number = WINDOWS.iter().position(|window| window.step == step)?;
    let window = *WINDOWS.get(number)?;
    let current = reader.number()?;
    // In milliseconds it must still be a moment.
    current.checked_mul(window.step)?.checked_mul(1000)?;
    let ran = read_ran(&mut reader, window)?;
    let mut kept = Kept {
        number,
        current,
        ran,
        series: BTreeMap::new(),
    };
    for _ in 0..reader.count(SERIES)? {
        let whose = match reader.byte()? {
            0 => Whose::All,
            1 => Whose::Nobody,
            2 => Whose::Source(SourceName::new(reader.text()?)),
            _ => return None,
        };
        let series = read_series(&mut reader, window, current)?;
        let wanted = match &whose {
            Whose::All | Whose::Nobody => true,
            Whose::Source(name) => known(name),
        };
        if wanted && kept.series.insert(whose, series).is_some() {
            return None;
        }
    }
    reader.is_empty().then_some(kept)
}

#[cfg(test)]
mod tests;
