//! What is counted, and how long things took: buckets of which quantiles are made.

use std::time::Duration;

/// What became of a callback or of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A new event is durable.
    Accepted,
    /// It was there before.
    Duplicate,
    /// The verifier said no, or the source's rule for conflicts.
    Rejected,
    /// A guard or the listener said no, or it could not be made durable.
    Refused,
    Delivered,
    /// An attempt that was not taken.
    Failed,
    /// Accepted, or not stored, beside another event with the same key.
    Conflict,
}

impl Count {
    pub const ALL: [Count; 7] = [
        Count::Accepted,
        Count::Duplicate,
        Count::Rejected,
        Count::Refused,
        Count::Delivered,
        Count::Failed,
        Count::Conflict,
    ];
}

/// Buckets of a histogram: from 64 µs on, four to each doubling, up to some 18 minutes.
pub const BUCKETS: usize = 96;

pub(super) fn bucket(took: Duration) -> usize {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let Some(octave) = us.checked_ilog2().and_then(|log| log.checked_sub(6)) else {
        return 0;
    };
    let quarter = (us >> (octave + 4)) & 3;
    (1 + octave as usize * 4 + quarter as usize).min(BUCKETS - 1)
}

/// In the middle of what the bucket holds, in milliseconds.
pub fn middle(bucket: usize) -> f64 {
    let Some(above) = bucket.checked_sub(1) else {
        return 0.032;
    };
    let (octave, quarter) = (above / 4, above % 4);
    let lower = 64.0 * (1u64 << octave.min(40)) as f64;
    lower * (1.0 + (quarter as f64 + 0.5) / 4.0) / 1000.0
}

/// What was counted up to a moment, or between two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    values: [u64; Count::ALL.len()],
    acknowledge: [u64; BUCKETS],
    delivery: [u64; BUCKETS],
}

/// The numbers that [`Counts`] is made of.
pub const NUMBERS: usize = Count::ALL.len() + 2 * BUCKETS;

impl Default for Counts {
    fn default() -> Self {
        Counts {
            values: [0; Count::ALL.len()],
            acknowledge: [0; BUCKETS],
            delivery: [0; BUCKETS],
        }
    }
}

impl Counts {
    pub fn of(&self, what: Count) -> u64 {
        self.values.get(what as usize).copied().unwrap_or_default()
    }

    /// In milliseconds; none when nothing was counted. `share` is from 0 to 1.
    pub fn acknowledge(&self, share: f64) -> Option<f64> {
        self.acknowledge_bucket(share).map(middle)
    }

    /// The same of attempts that were taken.
    pub fn delivery(&self, share: f64) -> Option<f64> {
        self.delivery_bucket(share).map(middle)
    }

    /// The bucket that so large a share does not go beyond.
    pub fn acknowledge_bucket(&self, share: f64) -> Option<usize> {
        quantile(&self.acknowledge, share)
    }

    pub fn delivery_bucket(&self, share: f64) -> Option<usize> {
        quantile(&self.delivery, share)
    }

    /// All numbers, in an order that stays: [`NUMBERS`] of them.
    pub fn all(&self) -> impl Iterator<Item = &u64> {
        self.values
            .iter()
            .chain(&self.acknowledge)
            .chain(&self.delivery)
    }

    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.values
            .iter_mut()
            .chain(&mut self.acknowledge)
            .chain(&mut self.delivery)
    }

    pub fn add(&mut self, other: &Counts) {
        for (mine, more) in self.all_mut().zip(other.all()) {
            *mine = mine.saturating_add(*more);
        }
    }

    /// What came after `before`.
    #[must_use]
    pub fn since(&self, before: &Counts) -> Counts {
        let mut since = self.clone();
        for (mine, before) in since.all_mut().zip(before.all()) {
            *mine = mine.saturating_sub(*before);
        }
        since
    }

    pub fn is_empty(&self) -> bool {
        self.all().all(|n| *n == 0)
    }
}

fn quantile(buckets: &[u64; BUCKETS], share: f64) -> Option<usize> {
    let total = (buckets.iter()).fold(0u64, |sum, n| sum.saturating_add(*n));
    if total == 0 {
        return None;
    }
    let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
    let mut seen = 0u64;
    let found = buckets.iter().position(|n| {
        seen = n.saturating_add(seen);
        seen >= rank
    });
    Some(found.unwrap_or(BUCKETS - 1))
}
