//! The contract, kept by the embedded store.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::embedded::Embedded;
use super::queue::{Asked, Command};
use super::record::Place;
use super::*;

/// Pieces of the table between two moments at which others may go on: some milliseconds.
const PIECES: usize = 64;

impl Store for Embedded {
    fn accept(&self, event: NewEvent) -> Pending<'_, Result<Acceptance, StoreError>> {
        Box::pin(self.accept_event(event))
    }

    fn lease<'a>(
        &'a self,
        lane: &'a LaneName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Pending<'a, Result<Vec<Lease>, StoreError>> {
        Box::pin(async move {
            let number = self.active(lane)?;
            Ok(number.map_or_else(Vec::new, |number| {
                self.shared.owed.lease(number, now, until, max)
            }))
        })
    }

    fn lease_fresh<'a>(
        &'a self,
        lane: &'a LaneName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
        from: f64,
    ) -> Pending<'a, Result<Vec<Lease>, StoreError>> {
        Box::pin(async move {
            let number = self.active(lane)?;
            Ok(number.map_or_else(Vec::new, |number| {
                self.shared.owed.lease_fresh(number, now, until, max, from)
            }))
        })
    }

    fn lease_one(
        &self,
        id: EventId,
        now: Timestamp,
        until: Timestamp,
    ) -> Pending<'_, Result<Picked, StoreError>> {
        Box::pin(async move {
            self.usable()?;
            let shared = &self.shared;
            let open = shared.owed.get(Place::of(id));
            let lane = open.and_then(|open| shared.lanes.name(open.lane));
            if lane.is_none_or(|lane| shared.words.paused(&lane)) {
                return Ok(Picked::NotNow);
            }
            Ok(shared.owed.lease_one(id, now, until))
        })
    }

    fn next_due<'a>(
        &'a self,
        lane: &'a LaneName,
    ) -> Pending<'a, Result<Option<Timestamp>, StoreError>> {
        Box::pin(async move {
            self.usable()?;
            if self.shared.words.paused(lane) {
                return Ok(None);
            }
            Ok(self
                .shared
                .lanes
                .known(lane)
                .and_then(|number| self.shared.owed.next_due(number)))
        })
    }

    fn clock_went_back(
        &self,
        now: Timestamp,
        by: Duration,
    ) -> Pending<'_, Result<usize, StoreError>> {
        Box::pin(async move {
            self.usable()?;
            let (mut found, mut piece) = (0, 0);
            while let Some(of_piece) = self.shared.owed.clock_went_back(piece, now, by) {
                found += of_piece;
                piece += 1;
                // Whoever else has this core comes in between.
                if piece % PIECES == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Ok(found)
        })
    }

    fn read(&self, id: EventId) -> Pending<'_, Result<Option<StoredEvent>, StoreError>> {
        Box::pin(self.look(move |shared| shared.read_event(id)))
    }

    fn settle(
        &self,
        lease: Lease,
        attempt: Attempt,
        next: Next,
    ) -> Pending<'_, Result<(), StoreError>> {
        Box::pin(self.ask(move |reply| Command::Settle(Box::new((lease, attempt, next)), reply)))
    }

    fn operate_expected(
        &self,
        id: EventId,
        word: Operation,
        now: Timestamp,
        by: Option<String>,
        expected: Option<Expected>,
    ) -> Pending<'_, Result<Operated, StoreError>> {
        let asked = Box::new(Asked {
            id,
            word,
            now,
            by,
            expected,
        });
        Box::pin(self.ask(move |reply| Command::Operate(asked, reply)))
    }

    fn record(&self, deed: Deed) -> Pending<'_, Result<u64, StoreError>> {
        let deed = Box::new(deed);
        Box::pin(self.ask(move |reply| Command::Record(deed, reply)))
    }

    fn audit(
        &self,
        event: Option<EventId>,
        after: Option<u64>,
        limit: usize,
    ) -> Pending<'_, Result<Audit, StoreError>> {
        Box::pin(self.look(move |shared| shared.audit_page(event, after, limit)))
    }

    fn paused(&self, lane: &LaneName) -> bool {
        self.shared.words.paused(lane)
    }

    fn paused_by(&self, lane: &LaneName) -> Vec<u64> {
        let by = |destination| self.shared.words.paused_by(&lane.source, destination);
        let both = [by(None), by(Some(&lane.destination))];
        both.into_iter().flatten().collect()
    }

    fn overtaken(&self, id: EventId) -> Pending<'_, Result<Option<EventId>, StoreError>> {
        Box::pin(self.look(move |shared| shared.overtaken_by(id)))
    }

    fn supersede(&self, lease: Lease, by: EventId) -> Pending<'_, Result<(), StoreError>> {
        Box::pin(self.ask(move |reply| Command::Supersede(Box::new((lease, by)), reply)))
    }

    fn count<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventId>,
    ) -> Pending<'a, Result<Counted, StoreError>> {
        let filter = filter.clone();
        Box::pin(self.look(move |shared| shared.count_rows(&filter, after)))
    }

    fn list<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventId>,
        limit: usize,
    ) -> Pending<'a, Result<Page, StoreError>> {
        let filter = filter.clone();
        Box::pin(self.look(move |shared| shared.list_rows(&filter, after, limit)))
    }

    fn row(&self, id: EventId) -> Pending<'_, Result<Option<Row>, StoreError>> {
        Box::pin(self.look(move |shared| shared.row_of(id)))
    }

    fn attempts(&self, id: EventId) -> Pending<'_, Result<Vec<Attempt>, StoreError>> {
        Box::pin(self.look(move |shared| shared.attempts_of(id)))
    }

    fn expire(&self, now: Timestamp) -> Pending<'_, Result<Expired, StoreError>> {
        Box::pin(self.expire_now(now))
    }

    fn stats(&self) -> Stats {
        let shared = &self.shared;
        let (owed, dead, oldest_owed) = shared.owed.figures();
        let (journal_bytes, journal_segments) = {
            let inner = shared.catalog.lock();
            (inner.bytes(), inner.segments.len() as u64)
        };
        let flags = &shared.flags;
        let failed = shared.failed();
        Stats {
            owed: owed as u64,
            oldest_owed,
            dead: dead as u64,
            claims: flags.claims.load(Ordering::Relaxed),
            journal_bytes,
            journal_segments,
            syncs: flags.syncs.load(Ordering::Relaxed),
            sync_time: Duration::from_nanos(flags.sync_nanos.load(Ordering::Relaxed)),
            accepting: !failed && !flags.closed.load(Ordering::SeqCst) && shared.room.accepting(),
            failed,
        }
    }

    fn lane_stats(&self, lane: &LaneName) -> LaneStats {
        let number = self.shared.lanes.known(lane);
        number.map_or_else(LaneStats::default, |number| {
            self.shared.owed.lane_figures(number)
        })
    }

    fn close(&self) -> Pending<'_, Result<(), StoreError>> {
        Box::pin(self.end())
    }
}
