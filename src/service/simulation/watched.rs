//! The real store, with the model looking on, and with its disk told when something waits.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::inbox::store::embedded::Embedded;
use crate::inbox::store::{
    Acceptance, Attempt, Audit, Counted, Deed, Expected, Expired, Filter, LaneStats, Lease,
    NewEvent, Next, Operated, Operation, Page, Pending, Picked, Row, State, Stats, Store,
    StoreError, StoredEvent, Unavailable,
};
use crate::message::{EventId, LaneName};
use crate::service::simulation::model::Model;
use crate::service::simulation::world::{World, say};

pub struct Watched {
    pub world: Arc<World>,
    pub store: Arc<Embedded>,
}

impl World {
    /// Tells the model something, and takes down what it finds broken.
    pub fn know<T>(&self, what: impl FnOnce(&mut Model) -> T) -> T {
        let mut model = self.model();
        let said = what(&mut model);
        let broken = std::mem::take(&mut model.broken);
        drop(model);
        broken.into_iter().for_each(|broken| self.fault(broken));
        said
    }
}

impl Watched {
    /// What would leave a delivery so, and whether it did.
    async fn step<T>(
        &self,
        id: EventId,
        state: State,
        work: Pending<'_, Result<T, StoreError>>,
        done: impl Fn(&T) -> bool,
    ) -> Result<T, StoreError> {
        self.world.know(|model| model.begin(id, state));
        self.world.bell.notify_one();
        let result = work.await;
        match &result {
            Ok(said) => {
                let done = done(said);
                if done {
                    self.world.met(state.as_str());
                }
                self.world.know(|model| model.end(id, state, done));
            }
            // Written down all the same, or a failing disk: what it says is seen at the next start.
            Err(StoreError::Unknown | StoreError::Closed) => {}
            Err(_) => self.world.know(|model| model.end(id, state, false)),
        }
        result
    }
}

impl Store for Watched {
    fn accept(&self, new: NewEvent) -> Pending<'_, Result<Acceptance, StoreError>> {
        Box::pin(async move {
            let n = self.world.know(|model| model.offered(&new));
            let told = (new.claim().clone(), new.plan().clone());
            self.world.bell.notify_one();
            let acceptance = self.store.accept(new).await;
            say!(self.world, "callback {n:?} is {acceptance:?}");
            self.world.met(match &acceptance {
                Ok(Acceptance::New(_)) => "a new event",
                Ok(Acceptance::Conflict { .. }) => "a conflict that was kept",
                Ok(Acceptance::Duplicate(_)) => "a duplicate",
                Ok(Acceptance::Dropped { .. }) => "a conflict that was dropped",
                Ok(Acceptance::Refused { .. }) => "a conflict that was refused",
                Err(StoreError::Unavailable(Unavailable::DiskLow)) => "a full disk",
                Err(StoreError::Unknown) => "a failed sync",
                Err(_) => "a store that is not available",
            });
            if let (Some(n), Ok(acceptance)) = (n, &acceptance) {
                self.world
                    .know(|model| model.accepted(n, told, *acceptance));
            }
            acceptance
        })
    }

    fn lease<'a>(
        &'a self,
        lane: &'a LaneName,
        now: Timestamp,
        until: Timestamp,
        max: usize,
    ) -> Pending<'a, Result<Vec<Lease>, StoreError>> {
        Box::pin(async move {
            let leases = self.store.lease(lane, now, until, max).await?;
            for lease in &leases {
                say!(self.world, "{lane}: lease of {}", lease.id);
                self.world.know(|model| model.leased(lease));
            }
            Ok(leases)
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
            let leases = self.store.lease_fresh(lane, now, until, max, from).await?;
            for lease in &leases {
                say!(self.world, "{lane}: lease of {}, never tried", lease.id);
                self.world.know(|model| model.leased(lease));
            }
            Ok(leases)
        })
    }

    fn lease_one(
        &self,
        id: EventId,
        now: Timestamp,
        until: Timestamp,
    ) -> Pending<'_, Result<Picked, StoreError>> {
        Box::pin(async move {
            let picked = self.store.lease_one(id, now, until).await?;
            if let Picked::Leased(lease) = &picked {
                self.world.met("an urgent delivery");
                say!(self.world, "urgent lease of {}", lease.id);
                self.world.know(|model| model.leased(lease));
            }
            Ok(picked)
        })
    }

    fn next_due<'a>(
        &'a self,
        lane: &'a LaneName,
    ) -> Pending<'a, Result<Option<Timestamp>, StoreError>> {
        self.store.next_due(lane)
    }

    fn clock_went_back(
        &self,
        now: Timestamp,
        by: Duration,
    ) -> Pending<'_, Result<usize, StoreError>> {
        self.store.clock_went_back(now, by)
    }

    fn read(&self, id: EventId) -> Pending<'_, Result<Option<StoredEvent>, StoreError>> {
        self.store.read(id)
    }

    fn settle(
        &self,
        lease: Lease,
        attempt: Attempt,
        next: Next,
    ) -> Pending<'_, Result<(), StoreError>> {
        let id = lease.id;
        let state = match next {
            Next::Delivered => State::Delivered,
            Next::Retry { .. } => State::Owed,
            Next::Dead { .. } => State::Dead,
        };
        Box::pin(async move {
            let work = self.store.settle(lease, attempt, next);
            let settled = self.step(id, state, work, |()| true).await;
            say!(self.world, "{id} as {}: {settled:?}", state.as_str());
            settled
        })
    }

    fn operate_expected(
        &self,
        id: EventId,
        word: Operation,
        now: Timestamp,
        by: Option<String>,
        expected: Option<Expected>,
    ) -> Pending<'_, Result<Operated, StoreError>> {
        Box::pin(async move {
            let state = self.world.know(|model| {
                let doings = model.doings(id);
                match word {
                    Operation::Redrive => {
                        doings.redrives += 1;
                        State::Owed
                    }
                    Operation::Discard { .. } => {
                        doings.discards += 1;
                        State::Discarded
                    }
                }
            });
            let work = self.store.operate_expected(id, word, now, by, expected);
            let done = |operated: &Operated| *operated == Operated::Done;
            let operated = self.step(id, state, work, done).await;
            if operated.is_ok() {
                self.world.know(|model| model.deeds += 1);
            }
            say!(
                self.world,
                "an operator: {id} as {}: {operated:?}",
                state.as_str()
            );
            operated
        })
    }

    fn record(&self, deed: Deed) -> Pending<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            self.world.know(Model::begin_deed);
            self.world.bell.notify_one();
            let recorded = self.store.record(deed.clone()).await;
            let done = recorded.is_ok();
            self.world.met("an operator's word about pauses");
            self.world.know(|model| model.end_deed(&deed, done));
            recorded
        })
    }

    fn audit(
        &self,
        event: Option<EventId>,
        after: Option<u64>,
        limit: usize,
    ) -> Pending<'_, Result<Audit, StoreError>> {
        self.store.audit(event, after, limit)
    }

    fn paused(&self, lane: &LaneName) -> bool {
        self.store.paused(lane)
    }

    fn paused_by(&self, lane: &LaneName) -> Vec<u64> {
        self.store.paused_by(lane)
    }

    fn lane_stats(&self, lane: &LaneName) -> LaneStats {
        self.store.lane_stats(lane)
    }

    fn count<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventId>,
    ) -> Pending<'a, Result<Counted, StoreError>> {
        self.store.count(filter, after)
    }

    fn list<'a>(
        &'a self,
        filter: &'a Filter,
        after: Option<EventId>,
        limit: usize,
    ) -> Pending<'a, Result<Page, StoreError>> {
        self.store.list(filter, after, limit)
    }

    fn row(&self, id: EventId) -> Pending<'_, Result<Option<Row>, StoreError>> {
        self.store.row(id)
    }

    fn overtaken(&self, id: EventId) -> Pending<'_, Result<Option<EventId>, StoreError>> {
        Box::pin(async move {
            let by = self.store.overtaken(id).await;
            if by.is_err() {
                // What is sent once too often costs less than what is not sent.
                self.world.know(|model| model.doings(id).overtaken = false);
            }
            by
        })
    }

    fn supersede(&self, lease: Lease, by: EventId) -> Pending<'_, Result<(), StoreError>> {
        let id = lease.id;
        Box::pin(async move {
            let work = self.store.supersede(lease, by);
            self.step(id, State::Superseded, work, |()| true).await
        })
    }

    fn attempts(&self, id: EventId) -> Pending<'_, Result<Vec<Attempt>, StoreError>> {
        self.store.attempts(id)
    }

    fn expire(&self, now: Timestamp) -> Pending<'_, Result<Expired, StoreError>> {
        self.world.bell.notify_one();
        self.store.expire(now)
    }

    fn stats(&self) -> Stats {
        self.store.stats()
    }

    fn close(&self) -> Pending<'_, Result<(), StoreError>> {
        self.store.close()
    }
}
