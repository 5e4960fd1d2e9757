//! What the gateway is at one moment, as plain data, and what it was before: all that a condition is
//! judged by.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::telemetry::series::MISMATCHES;
use crate::telemetry::{DestinationVerdict, Metrics, SourceLabel, SourceReason, SourceVerdict};
use crate::watch::{LaneState, Watch};

/// The gateway at one moment. Counts are since its start, or since that of the first process that is
/// still remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub at: Timestamp,
    pub accepting: bool,
    /// None: cannot be asked.
    pub disk_free: Option<u64>,
    pub rules_loaded: Timestamp,
    /// The last reload failed.
    pub reload_failed: bool,
    pub sources: BTreeMap<String, Source>,
    /// By source and destination.
    pub lanes: BTreeMap<(String, String), Lane>,
    /// Certificates by port, and keys by source and label, with when they end.
    pub certificates: Vec<(&'static str, Timestamp)>,
    pub keys: Vec<(String, String, Timestamp)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Accepted, duplicates and conflicts: the provider heard success of an event.
    pub events: u64,
    pub challenges: u64,
    pub rejected: u64,
    /// Verified, and not stored.
    pub overloaded: u64,
    /// Rejected, refused, overloaded and unheard: the provider heard no success.
    pub failed: u64,
    /// Signatures that do not fit, or name a key that is not known or has ended.
    pub mismatches: u64,
    pub last_accepted: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    pub delivered: u64,
    /// Attempts that failed, the last one of a dead letter too.
    pub failed: u64,
    pub dead: u64,
    pub owed: u64,
    pub oldest_owed: Option<Timestamp>,
}

impl Watch {
    /// How things stand now.
    pub fn snapshot(&self) -> Snapshot {
        let metrics = &self.shared.metrics;
        let loaded = self.shared.loaded.load();
        let sources = loaded.rules.rules.iter().map(|rule| {
            let name = rule.name.to_string();
            (name.clone(), source(metrics, &name))
        });
        let lanes = self.lanes().into_iter().map(|state| {
            let LaneState { lane, figures, .. } = state;
            let (source, to) = (lane.source.to_string(), lane.destination.to_string());
            let counted = |verdict| attempts(metrics, &source, &to, verdict);
            let dead = counted("dead");
            let lane = Lane {
                delivered: counted("delivered"),
                failed: counted("retry") + dead,
                dead,
                owed: figures.owed,
                oldest_owed: figures.oldest_owed,
            };
            ((source, to), lane)
        });
        let ports = ["public", "admin"].into_iter();
        let certificates = ports.filter_map(|port| {
            let ends = metrics
                .certificate_expiry
                .get(&crate::telemetry::PortLabel { port })?;
            Some((port, moment(ends.get())))
        });
        let ending = self.ending_keys().into_iter().chain(self.failing_keys());
        let mut snapshot = Snapshot {
            at: self.shared.clock.now(),
            accepting: self.store.stats().accepting,
            disk_free: self.disk_free(),
            rules_loaded: moment(metrics.rules_loaded.get()),
            reload_failed: self.shared.reloaded.load().error.is_some(),
            sources: sources.collect(),
            lanes: lanes.collect(),
            certificates: certificates.collect(),
            keys: ending
                .map(|key| (key.source.to_string(), key.key, key.at))
                .collect(),
        };
        self.past().carried.add_to(&mut snapshot);
        snapshot
    }

    /// What was seen before, and by earlier processes.
    pub fn past(&self) -> MutexGuard<'_, History> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What earlier processes counted: added to what this one does, so that what was before a restart can
/// be compared with what is after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) lanes: BTreeMap<(String, String), Lane>,
}

impl Carried {
    pub(super) fn add_to(&self, snapshot: &mut Snapshot) {
        for (name, before) in &self.sources {
            let Some(source) = snapshot.sources.get_mut(name) else {
                continue;
            };
            for (counted, before) in source.counts_mut().into_iter().zip(before.counts()) {
                *counted = counted.saturating_add(before);
            }
        }
        for (name, before) in &self.lanes {
            let Some(lane) = snapshot.lanes.get_mut(name) else {
                continue;
            };
            for (counted, before) in lane.counts_mut().into_iter().zip(before.counts()) {
                *counted = counted.saturating_add(before);
            }
        }
    }
}

impl Source {
    /// All that only grows.
    pub(super) fn counts(&self) -> [u64; 6] {
        let Source {
            events,
            challenges,
            rejected,
            overloaded,
            failed,
            mismatches,
            last_accepted: _,
        } = *self;
        [events, challenges, rejected, overloaded, failed, mismatches]
    }

    pub(super) fn counts_mut(&mut self) -> [&mut u64; 6] {
        let Source {
            events,
            challenges,
            rejected,
            overloaded,
            failed,
            mismatches,
            last_accepted: _,
        } = self;
        [events, challenges, rejected, overloaded, failed, mismatches]
    }
}

impl Lane {
    pub(super) fn counts(&self) -> [u64; 3] {
        [self.delivered, self.failed, self.dead]
    }

    pub(super) fn counts_mut(&mut self) -> [&mut u64; 3] {
        [&mut self.delivered, &mut self.failed, &mut self.dead]
    }
}

fn source(metrics: &Metrics, name: &str) -> Source {
    let counted = |verdict| {
        let source = name.to_owned();
        let label = SourceVerdict { source, verdict };
        metrics.callbacks.get(&label).map_or(0, |c| c.get())
    };
    let mismatches = MISMATCHES.iter().map(|reason| {
        let source = name.to_owned();
        let label = SourceReason { source, reason };
        metrics.refusals.get(&label).map_or(0, |c| c.get())
    });
    let source = name.to_owned();
    let last = metrics.last_accepted.get(&SourceLabel { source });
    let (rejected, overloaded) = (counted("rejected"), counted("overloaded"));
    Source {
        events: counted("accepted")
            + counted("duplicate")
            + counted("conflict")
            + counted("conflict_dropped"),
        challenges: counted("challenge"),
        rejected,
        overloaded,
        failed: rejected + overloaded + counted("refused") + counted("unheard"),
        mismatches: mismatches.sum(),
        last_accepted: last.map(|gauge| moment(gauge.get())),
    }
}

fn attempts(metrics: &Metrics, source: &str, to: &str, verdict: &'static str) -> u64 {
    let label = DestinationVerdict {
        source: source.to_owned(),
        destination: to.to_owned(),
        verdict,
    };
    metrics.attempts.get(&label).map_or(0, |c| c.get())
}

fn moment(unix: f64) -> Timestamp {
    Timestamp::from_millis((unix * 1000.0).round() as u64)
}

/// Snapshots of the last hour, and how much each source brought in the last two weeks. Of what earlier
/// processes saw, [`super::kept`] says what outlives them.
#[derive(Debug, Default)]
pub struct History {
    pub(super) minutes: VecDeque<Snapshot>,
    pub(super) rhythm: Rhythm,
    pub(super) carried: Carried,
    /// When no gateway ran, from and until.
    pub(super) down: VecDeque<(Timestamp, Timestamp)>,
    /// This process looks: what it knows is worth keeping.
    pub(super) looks: bool,
}

/// What each source brought from one moment to the next, ten minutes apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rhythm {
    pub(super) until: VecDeque<Timestamp>,
    pub(super) sources: BTreeMap<String, Brought>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// Counted until the last of the moments.
    pub(super) counted: u64,
    /// As many as there are moments.
    pub(super) each: VecDeque<u32>,
    /// How many of the first of these nobody knows: the source was not there.
    pub(super) unknown: usize,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
pub(super) const STEP: Duration = Duration::from_secs(600);
/// A week, and the week before it.
pub(super) const KEPT: Duration = Duration::from_secs(2 * 7 * 24 * 3600);

impl Rhythm {
    /// What a clock that was ahead saw: it would stand before what comes now for as long.
    fn forget_after(&mut self, now: Timestamp) {
        for place in (0..self.until.len()).rev() {
            if self.until.get(place).is_none_or(|at| *at <= now) {
                continue;
            }
            self.until.remove(place);
            for brought in self.sources.values_mut() {
                brought.each.remove(place);
                brought.unknown -= usize::from(place < brought.unknown);
            }
        }
    }

    fn add(&mut self, now: &Snapshot) {
        self.forget_after(now.at);
        let last = self.until.back().copied();
        if last.is_some_and(|last| now.at.since(last) < STEP) {
            return;
        }
        self.sources
            .retain(|name, _| now.sources.contains_key(name));
        for (name, source) in &now.sources {
            let new = !self.sources.contains_key(name);
            let brought = self.sources.entry(name.clone()).or_default();
            if new {
                brought.each.resize(self.until.len(), 0);
                brought.unknown = self.until.len();
                brought.counted = source.events;
            }
            // One that went and came back counts from zero.
            let before = match source.events < brought.counted {
                true => 0,
                false => brought.counted,
            };
            let more = u32::try_from(source.events - before).unwrap_or(u32::MAX);
            brought.each.push_back(more);
            brought.counted = source.events;
        }
        self.until.push_back(now.at);
        // Enough to sum up from the moment before the oldest hour on.
        while (self.until.get(1)).is_some_and(|at| now.at.since(*at) >= KEPT + STEP) {
            self.until.pop_front();
            for brought in self.sources.values_mut() {
                brought.each.pop_front();
                brought.unknown = brought.unknown.saturating_sub(1);
            }
        }
    }

    fn brought(&self, source: &str, from: Timestamp, until: Timestamp) -> Option<u64> {
        let brought = self.sources.get(source)?;
        // What the first moment brought came before it, nobody knows from when on.
        if self
            .until
            .get(brought.unknown)
            .is_none_or(|first| *first > from)
        {
            return None;
        }
        let each = &brought.each;
        let within = self.until.iter().zip(each);
        let within = within.filter(|(at, _)| **at > from && **at <= until);
        Some(within.map(|(_, n)| u64::from(*n)).sum())
    }
}

impl History {
    /// Nobody looks any more: what was seen is compared with nothing that comes later.
    pub fn forget(&mut self) {
        *self = History::default();
    }

    pub fn add(&mut self, now: &Snapshot) {
        self.looks = true;
        // What a clock that was ahead saw is compared with nothing.
        self.minutes.retain(|s| s.at <= now.at);
        let last = self.minutes.back().map(|s| s.at);
        if last.is_none_or(|last| now.at.since(last) >= MINUTE) {
            self.minutes.push_back(now.clone());
            // One that is at least an hour old stays.
            while self
                .minutes
                .get(1)
                .is_some_and(|s| now.at.since(s.at) >= HOUR)
            {
                self.minutes.pop_front();
            }
        }
        self.rhythm.add(now);
    }

    /// How things stood so long ago; as far back as is known, for a gateway that is younger.
    pub fn before(&self, now: Timestamp, ago: Duration) -> Option<&Snapshot> {
        let then = now.minus(ago);
        let past = self.minutes.iter().rev().find(|s| s.at <= then);
        past.or(self.minutes.front())
    }

    /// How much of the time between these no gateway ran: what did not come then says nothing of who
    /// did not send it.
    pub fn down(&self, from: Timestamp, until: Timestamp) -> Duration {
        let within = |(begun, ended): &(Timestamp, Timestamp)| {
            let ended = (*ended).min(until);
            ended.since((*begun).max(from))
        };
        self.down.iter().map(within).sum()
    }

    /// Events of a source in the time that ended so long ago; none when that is not known.
    pub fn usual(
        &self,
        source: &str,
        now: Timestamp,
        within: Duration,
        ago: Duration,
    ) -> Option<u64> {
        let until = now.minus(ago);
        self.rhythm.brought(source, until.minus(within), until)
    }
}
