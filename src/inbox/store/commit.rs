//! Making a group durable, undoing one that could not be written, going on to the next segment, and
//! taking out what has expired.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::catalog::{Rows, Segment};
use super::disk;
use super::pace;
use super::queue::{Reply, answer};
use super::record::Place;
use super::room::NoRoom;
use super::writer::{Group, Writer};
use super::{StoreError, Unavailable};
use crate::clock::Timestamp;

/// A segment that fills slowly is sealed after this, so that what is in it can expire. At least
/// an hour, at most a day, and about an eighth of what its events are kept.
fn age_limit(least_keep: Duration) -> Duration {
    const HOUR: Duration = Duration::from_secs(3600);
    (least_keep / 8).clamp(HOUR, 24 * HOUR)
}

/// Sealed segments that wait for the index, from which on the writer waits, too: their rows are
/// in memory.
const UNINDEXED_MAX: usize = 8;
/// So long it may take over one of them.
const PATIENCE: Duration = match cfg!(test) {
    true => Duration::from_millis(20),
    false => Duration::from_secs(5),
};

impl Writer {
    /// Writes the group and syncs it; then, and only then, makes it visible and answers. False when
    /// nothing of it happened.
    pub(super) fn commit(&mut self) -> bool {
        if self.group.bytes.is_empty() {
            for outcome in self.group.outcomes.drain(..) {
                outcome.tell(None);
            }
            return true;
        }
        if self.shared.failed() {
            self.undo(&StoreError::Unavailable(Unavailable::WriteFailed));
            return false;
        }
        let started = Instant::now();
        if let Err(e) = self.write() {
            tracing::error!(error = %e, "the journal could not be written");
            let why = if disk::is_full(&e) {
                Unavailable::DiskLow
            } else {
                Unavailable::WriteFailed
            };
            self.undo(&StoreError::Unavailable(why));
            return false;
        }
        if let Err(e) = self.file.file.sync_data() {
            tracing::error!(error = %e, "syncing the journal failed");
            self.fail();
            return false;
        }
        let took = started.elapsed();
        self.metrics.sync.observe(took.as_secs_f64());
        let flags = &self.shared.flags;
        flags.syncs.fetch_add(1, Ordering::Relaxed);
        flags.sync_nanos.fetch_add(
            u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );

        self.head += u32::try_from(self.group.bytes.len()).unwrap_or(u32::MAX);
        self.dirty_to = 0;
        let group = &mut self.group;
        self.shared.committed(
            self.file.number(),
            self.head,
            (&group.accepted, &group.claims),
            &group.steps,
        );
        for (place, word) in &group.words {
            self.shared.words.put(*place, word);
        }
        for outcome in group.outcomes.drain(..) {
            outcome.tell(None);
        }
        self.clear();
        true
    }

    fn write(&mut self) -> std::io::Result<()> {
        let end = self.head + u32::try_from(self.group.bytes.len()).unwrap_or(u32::MAX);
        if self.dirty_to > end {
            // Left by a write that failed, and not covered by this one. It is synced together
            // with this group: until then nothing that it could contradict was acknowledged.
            disk::write_zeros(&*self.file.file, u64::from(end), u64::from(self.dirty_to))?;
        }
        self.dirty_to = self.dirty_to.max(end);
        disk::write_all_at(&*self.file.file, &self.group.bytes, u64::from(self.head))
    }

    fn clear(&mut self) {
        let Group {
            bytes,
            accepted,
            claims,
            claimed,
            steps,
            words,
            staged,
            outcomes,
        } = &mut self.group;
        bytes.clear();
        bytes.shrink_to(1 << 20);
        accepted.clear();
        claims.clear();
        claimed.clear();
        steps.clear();
        words.clear();
        staged.clear();
        outcomes.clear();
    }

    /// Nothing of the group happened.
    fn undo(&mut self, why: &StoreError) {
        for (hash, place, before) in self.group.claimed.iter().rev() {
            match before {
                Some(before) => {
                    self.claims.put(hash, *before);
                }
                None => self.claims.remove(hash, *place),
            }
        }
        self.shared.owed.release(self.group.staged.keys().copied());
        for outcome in self.group.outcomes.drain(..) {
            outcome.tell(Some(why));
        }
        self.clear();
    }

    /// A sync failed: what is on disk is unknown, and asking again would lie (the kernel reports a
    /// lost page once). This process must end; the next one reads what is really there.
    pub(super) fn fail(&mut self) {
        self.shared.flags.failed.store(true, Ordering::SeqCst);
        (self.on_fatal)();
        self.undo(&StoreError::Unknown);
    }

    /// Goes on in the next segment. `for_step`: it is for what follows from a delivery, which may
    /// use up the ballast. Nothing may wait for a sync.
    pub(super) fn rotate(&mut self, for_step: bool) -> Result<(), Unavailable> {
        if self.shared.failed() {
            return Err(Unavailable::WriteFailed);
        }
        if self.dirty_to > self.head {
            // It must not come back when the segment is replayed as a sealed one.
            let (from, to) = (u64::from(self.head), u64::from(self.dirty_to));
            disk::write_zeros(&*self.file.file, from, to).map_err(|_| Unavailable::WriteFailed)?;
            if self.file.file.sync_data().is_err() {
                self.fail();
                return Err(Unavailable::WriteFailed);
            }
            self.dirty_to = 0;
        }
        self.wait_for_index();
        let mut steps_only = false;
        let taken = match self.shared.room.take() {
            Err(NoRoom::Unavailable(_)) if for_step => {
                steps_only = true;
                self.shared.room.take_ballast()
            }
            other => other,
        };
        match taken {
            Ok(taken) => {
                self.use_segment(taken.file, taken.bytes, steps_only);
                Ok(())
            }
            Err(NoRoom::Unavailable(why)) => Err(why),
            Err(NoRoom::SyncFailed) => {
                self.fail();
                Err(Unavailable::WriteFailed)
            }
        }
    }

    /// The rows of sealed segments are in memory until the index has them: a writer that is faster
    /// waits. But not for an index that makes no headway, since that is only an index.
    fn wait_for_index(&mut self) {
        let waiting = || {
            let inner = self.shared.catalog.lock();
            let waiting = inner
                .segments
                .values()
                .filter(|s| s.sealed && matches!(s.rows, Rows::Memory { .. }));
            waiting.count()
        };
        if self.shared.index().is_none() {
            return;
        }
        let mut left = waiting();
        if left <= UNINDEXED_MAX {
            self.index_late = false;
        }
        let mut since = Instant::now();
        while left > UNINDEXED_MAX && !self.index_late {
            self.shared.checkpoint.ring(|work| work.checkpoint = true);
            if !self.shared.checkpoint.wait_done() {
                return;
            }
            let now = waiting();
            if now < left {
                (left, since) = (now, Instant::now());
            } else if since.elapsed() >= PATIENCE {
                tracing::error!(
                    segments = now,
                    "the index makes no headway: rows stay in memory, and nobody waits for it"
                );
                self.index_late = true;
            }
        }
    }

    /// Takes out segments in which nothing is wanted any more. Deciding it here, between two
    /// groups, means that nobody can make one of their deliveries owed again meanwhile.
    pub(super) fn expire(&mut self, now: Timestamp, reply: Reply<Vec<Segment>>) {
        self.commit();
        let now = self.pace.believe(now, self.began.elapsed());
        self.write_time();
        let old = {
            let inner = self.shared.catalog.lock();
            inner
                .segments
                .get(&self.file.number())
                .is_some_and(|active| {
                    let summary = &active.summary;
                    match (summary.received, summary.least_keep) {
                        (Some((first, _)), Some(keep)) => now.since(first) >= age_limit(keep),
                        _ => false,
                    }
                })
        };
        if old {
            // Without room it stays as it is until the next time.
            let _ = self.rotate(false);
        }
        self.carry_forward(now);
        let numbers = {
            let inner = self.shared.catalog.lock();
            inner.expired(now, |number| self.shared.owed.holds(number))
        };
        // What operators did stays; without room for it, so do the segments.
        let removed = if self.carry_words(&numbers, now) {
            self.shared.catalog.lock().remove(&numbers)
        } else {
            Vec::new()
        };
        if !removed.is_empty() {
            for segment in &removed {
                self.live.remove(&segment.file.number());
            }
            let live = &self.live;
            let gone = |segment: u32| !live.contains(&segment);
            self.shared.owed.forget(gone);
            self.shared.versions.forget(gone);
            self.sweep = Some(0);
            // Here, and not by whoever asked: that one may go away before it hears.
            self.shared
                .leaving
                .add(removed.iter().map(|segment| segment.file.number()));
            self.shared.checkpoint.ring(|work| work.checkpoint = true);
        }
        answer(reply, Ok(removed));
    }
}

impl Writer {
    /// So that the next start need not believe the clock either.
    fn write_time(&mut self) {
        if let Some(at) = self.pace.worth_writing()
            && let Some(directory) = self.shared.journal.parent()
            && let Err(error) = pace::write(&*self.shared.disk, directory, at)
        {
            tracing::warn!(%error, "how far expiry has come could not be written down");
        }
    }
}

/// Steps that one expiry writes down anew at most: others wait for the writer meanwhile.
const CARRY_MAX: usize = 4_000;

impl Writer {
    /// Writes down anew what segments that could go tell of events in older ones that cannot, so
    /// that whoever reads the journal from its beginning still sees how those stand. Of their
    /// attempts, the earlier ones go with the segments that they lie in.
    fn carry_forward(&mut self, now: Timestamp) {
        let held_up = {
            let inner = self.shared.catalog.lock();
            inner.held_up(now, |number| self.shared.owed.holds(number))
        };
        let mut left = CARRY_MAX;
        for (older, holders) in held_up {
            // Without its rows it all stays until the next time.
            let Ok(rows) = self.shared.rows_of(older) else {
                return;
            };
            for row in rows {
                let Some(last) = row.stands.last.filter(|l| holders.contains(&l.segment)) else {
                    continue;
                };
                let place = Place {
                    segment: older,
                    offset: row.offset,
                };
                if left == 0 || !self.carry(place, last) {
                    self.commit();
                    return;
                }
                left -= 1;
            }
            if !self.commit() {
                return;
            }
            let mut inner = self.shared.catalog.lock();
            for holder in holders {
                if let Some(holder) = inner.segments.get_mut(&holder) {
                    holder.summary.refs.remove(&older);
                }
            }
        }
    }

    /// Writes down anew what operators did, as far as it stands in segments that go. False when it
    /// could not be made durable.
    fn carry_words(&mut self, segments: &[u32], now: Timestamp) -> bool {
        for (_, place) in self.shared.words.leaving(segments, now) {
            let word = match self.shared.word(place) {
                Ok(Some(word)) => word,
                // Damaged: nobody can read it any more.
                Ok(None) => continue,
                Err(_) => return false,
            };
            // With what is kept back, and with the ballast: the segments that go give back more.
            let room = self.fits_word(&word) || (self.commit() && self.rotate(true).is_ok());
            if !room {
                return false;
            }
            self.word(word);
        }
        self.commit()
    }

    /// Writes the last step of an event down once more. False when there is no room, or when what
    /// was written before could not be made durable.
    fn carry(&mut self, place: Place, last: Place) -> bool {
        // What cannot be read now tells nobody anything later either.
        let (Some(tag), Ok(Some(step))) = (self.tag_at(place), self.shared.step(last)) else {
            return true;
        };
        let room = self.fits_step(&step) || (self.commit() && self.rotate(false).is_ok());
        if !room {
            return false;
        }
        match self.stands(place.with_tag(tag)) {
            Ok(Some((open, granted))) => self.step(open, open, granted, &step),
            Ok(None) => {}
            Err(_) => return false,
        }
        true
    }
}
