//! The embedded store: a journal that is the truth, memory for what is asked often, and sled as the
//! index that a start would otherwise have to make anew.
//!
//! ```text
//!   accept, settle, …  ──▶ queue ──▶ writer ──▶ journal (one fdatasync a group)
//!                                      │ then
//!                                      ▼
//!   lease, next_due  ◀── owed      catalog (rows, segments) ──▶ checkpoint ──▶ sled
//!   read, row, list  ◀── journal ◀──────┘
//! ```
//!
//! Three threads: the writer, the one that writes checkpoints, and the one that keeps a segment
//! ready and watches the free space.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::checkpoint;
use super::claims::HashedClaims;
use super::disk::{Disk, DiskFile, RealDisk};
use super::ending;
use super::index::{Index, index_path};
use super::keyring::{self, Keyring};
use super::open::{self, Parts};
pub use super::open::{EmbeddedConfig, IndexUse, OpenError, Report};
use super::pace::Pace;
use super::queue::{Answered, Asked, Command, End, Offer, Queue, Reply};
use super::record::{Added, Meta, Order, Place, Planned, Version, encode_accepted, frame_span};
use super::segment::{HEADER, MetaRead};
use super::shared::{Shared, reading};
use super::writer::Writer;
use super::*;
use crate::clock::Clock;
use crate::random::Random;
use crate::telemetry::Metrics;

/// The store of one machine. Dropping it without [`Store::close`] is what a crash is, and safe.
pub struct Embedded {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    random: Arc<dyn Random>,
    claim_keys: Keyring,
    pub(super) former_keys: Vec<[u8; 32]>,
    largest: u32,
    report: Report,
    directory: Arc<Path>,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    writer: Option<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    lock: Option<Arc<dyn DiskFile>>,
}

impl Embedded {
    /// Opens the store in a directory, or makes one there. Reads what the last process left, which
    /// takes a while after a crash. `on_fatal` is called, from a thread of the store and before
    /// those who wait hear [`StoreError::Unknown`], when a sync failed: the process must end then.
    /// It must return at once.
    pub fn open(
        config: EmbeddedConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
        on_fatal: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Embedded, OpenError> {
        Embedded::open_on(Arc::new(RealDisk), config, clock, random, metrics, on_fatal)
    }

    /// The same on any disk; the index is on the machine's file system all the same.
    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        config: EmbeddedConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
        on_fatal: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Embedded, OpenError> {
        let parts = Parts {
            disk,
            clock,
            random: Arc::clone(&random),
        };
        let opened = open::open(&config, &parts)?;
        let shared = opened.shared;
        let queue = Arc::new(Queue::new(config.queue_events, config.queue_bytes));
        let live = shared.catalog.lock().segments.keys().copied().collect();
        let file_bytes = u32::try_from(opened.active_bytes).unwrap_or(u32::MAX);
        shared
            .flags
            .claims
            .store(opened.claims.count() as u64, Ordering::Relaxed);
        let writer = Writer {
            shared: Arc::clone(&shared),
            queue: Arc::clone(&queue),
            metrics,
            on_fatal,
            claims: opened.claims,
            pace: Pace::new(opened.latest, config.clock_leap),
            began: tokio::time::Instant::now(),
            index_late: false,
            conflicts: opened.conflicts,
            live,
            sweep: None,
            file: opened.active,
            file_bytes,
            steps_only: file_bytes < config.segment_bytes,
            head: opened.end,
            dirty_to: 0,
            group: Default::default(),
        };
        let running = Arc::new(Mutex::new(Running::default()));
        let store = Embedded {
            claim_keys: Keyring::new(&shared.identity.key, &opened.former_keys),
            former_keys: opened.former_keys,
            largest: config.segment_bytes - HEADER - (config.segment_bytes / 16).min(1 << 20),
            report: opened.report,
            directory: Arc::from(&*config.directory),
            running,
            shared,
            queue,
            random,
        };
        // From here on, dropping `store` ends what was started.
        store.start(writer, &config, opened.lock)?;
        Ok(store)
    }

    fn start(
        &self,
        writer: Writer,
        config: &EmbeddedConfig,
        lock: Arc<dyn DiskFile>,
    ) -> Result<(), OpenError> {
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .map_err(|error| OpenError::Io {
                    doing: "starting a thread for",
                    path: config.directory.clone(),
                    error,
                })
        };
        let mut running = self.running();
        running.lock = Some(lock);
        running.writer = Some(spawn("journal", Box::new(move || writer.run()))?);
        let shared = Arc::clone(&self.shared);
        running
            .others
            .push(spawn("room", Box::new(move || shared.room.run()))?);
        let shared = Arc::clone(&self.shared);
        let again = config.clone();
        running.others.push(spawn(
            "index",
            Box::new(move || keep_index(&shared, &again)),
        )?);
        // Without a wait for the first event: segments may be left over to be indexed or trimmed.
        self.shared.checkpoint.ring(|work| work.checkpoint = true);
        Ok(())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What opening found and did.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Makes a store where there is none, with the key of another one; false when there is one.
    pub fn found(
        directory: &Path,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        key: [u8; 32],
    ) -> Result<bool, OpenError> {
        let disk = Arc::new(RealDisk);
        open::found(
            &Parts {
                disk,
                clock,
                random,
            },
            directory,
            key,
        )
    }

    /// From now on, and after every start, events whose keys were hashed with these are known again.
    pub fn know_keys(&mut self, keys: &[[u8; 32]]) -> std::io::Result<()> {
        let mut former = self.former_keys.clone();
        for key in keys {
            if *key != self.shared.identity.key && !former.contains(key) {
                former.push(*key);
            }
        }
        if former != self.former_keys {
            keyring::write(&*self.shared.disk, &self.directory, &former)?;
            self.claim_keys = Keyring::new(&self.shared.identity.key, &former);
            self.former_keys = former;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn shared_for_tests(&self) -> &Shared {
        &self.shared
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.shared.flags.closed.load(Ordering::SeqCst) {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        self.usable()?;
        let (reply, answer) = oneshot::channel();
        self.queue.push(command(reply))?;
        // Without an answer the writer has ended in the middle: it may have been done.
        answer.await.unwrap_or(Err(StoreError::Unknown))
    }

    async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.usable()?;
        let shared = Arc::clone(&self.shared);
        blocking(move || read(&shared)).await?
    }

    fn offer(&self, event: &StoredEvent, claim: &Claim, plan: &Plan) -> Result<Offer, StoreError> {
        let keys = &self.claim_keys;
        let lane = |destination: &DestinationName| LaneName::new(&event.source, destination);
        let planned = |delivery: &PlannedDelivery| Planned {
            destination: delivery.destination.as_str().to_owned(),
            state: if delivery.wanted {
                State::Owed
            } else {
                State::Filtered
            },
            order: delivery.order.as_ref().map(|order| Order {
                hash: keys.order(&event.source, &order.value, |hash| {
                    self.shared.in_order(&lane(&delivery.destination), hash)
                }),
                hold: order.hold,
            }),
        };
        let claims = keys.hash(claim);
        let added = Added {
            tag: self.new_tag(),
            claim: claims.own,
            business: claims.business,
            keep: claim.keep,
            deliveries: plan.deliveries.iter().map(planned).collect(),
            version: plan.version.as_ref().map(|version| Version {
                key: keys.version(&event.source, &version.key, |hash| {
                    self.shared.versions.known(hash)
                }),
                stamp: version.stamp,
            }),
        };
        let mut offer = self.offer_of(event, added)?;
        offer.on_conflict = claim.on_conflict;
        offer.former = keys.former(claim);
        Ok(offer)
    }

    pub(super) fn new_tag(&self) -> u64 {
        self.random.next_u64()
    }

    /// An event whose keys were hashed already.
    pub(super) fn offer_of(&self, event: &StoredEvent, added: Added) -> Result<Offer, StoreError> {
        let too_large = || StoreError::Unavailable(Unavailable::TooLarge);
        let tag = added.tag;
        let claims = HashedClaims {
            own: added.claim,
            business: added.business,
        };
        let meta = Meta::of(event, added).ok_or_else(too_large)?;
        let payload = encode_accepted(&meta, &event.headers, &event.body).ok_or_else(too_large)?;
        let length = u32::try_from(payload.len()).map_err(|_| too_large())?;
        let span = frame_span(length)
            .filter(|span| *span <= self.largest)
            .ok_or_else(too_large)?;
        let nowhere = Place {
            segment: 0,
            offset: 0,
        };
        Ok(Offer {
            payload_crc: crc32fast::hash(&payload),
            payload,
            span,
            claims,
            former: Vec::new(),
            on_conflict: OnConflict::KeepBoth,
            tag,
            rows: self.shared.rows_of_meta(nowhere, &meta),
            instead_of: Vec::new(),
        })
    }

    async fn accept_event(&self, new: NewEvent) -> Result<Acceptance, StoreError> {
        let (event, claim, plan) = new.into_parts();
        let mut instead_of = Vec::new();
        loop {
            let mut offer = self.offer(&event, &claim, &plan)?;
            offer.instead_of.clone_from(&instead_of);
            let heard = self
                .ask(|reply| Command::Accept(Box::new(offer), reply))
                .await?;
            let (place, business) = match heard.answered {
                Answered::New(id) => return Ok(Acceptance::New(id)),
                Answered::Conflict { id, of } => return Ok(Acceptance::Conflict { id, of }),
                Answered::Dropped { of } => return Ok(Acceptance::Dropped { of }),
                Answered::Refused { of } => return Ok(Acceptance::Refused { of }),
                Answered::Duplicate { place, business } => (place, business),
            };
            let offer = heard.offer;
            // The original is durable; its tag stands in it.
            if let Some(id) = self
                .look(move |shared| original(shared, place, &offer, business))
                .await?
            {
                return Ok(Acceptance::Duplicate(id));
            }
            // It cannot be read any more. Calling this one a duplicate would lose the event;
            // accepting it costs at most a second delivery.
            tracing::error!(
                segment = place.segment,
                offset = place.offset,
                "the original of a duplicate cannot be read: the duplicate is accepted in its place"
            );
            instead_of.push(place);
        }
    }

    async fn expire_now(&self, now: Timestamp) -> Result<Expired, StoreError> {
        let removed = self.ask(|reply| Command::Expire(now, reply)).await?;
        let expired = Expired {
            events: removed.iter().map(|s| u64::from(s.summary.events)).sum(),
            bytes: removed.iter().map(|s| s.bytes).sum(),
        };
        self.look(move |shared| {
            // Their descriptors first, so that the space comes back with the names.
            drop(removed);
            shared.remove_files();
            Ok(())
        })
        .await?;
        Ok(expired)
    }

    async fn end(&self) -> Result<(), StoreError> {
        if self.shared.flags.closed.swap(true, Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        let (shared, queue, running, directory) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.queue),
            Arc::clone(&self.running),
            Arc::clone(&self.directory),
        );
        blocking(move || {
            stop(&shared, &queue, &running, End::Drain, |shared| {
                write_ending(shared, &directory);
            });
        })
        .await?;
        if self.shared.failed() {
            Err(StoreError::Unknown)
        } else {
            Ok(())
        }
    }
}

/// The id of the event at a place; none when it is damaged, or not the event that it is taken for:
/// memory knows shortened hashes, the journal the whole ones, and the journal decides.
pub(super) fn original(
    shared: &Shared,
    place: Place,
    offer: &Offer,
    business: bool,
) -> Result<Option<EventId>, StoreError> {
    let Some(file) = shared.catalog.file(place.segment) else {
        return Ok(None);
    };
    match file.read_meta(place.offset).map_err(reading)? {
        MetaRead::Good(meta, _) if offer.is_known_as(&meta, business) => {
            Ok(Some(place.with_tag(meta.tag)))
        }
        MetaRead::Good(..) | MetaRead::Damaged | MetaRead::NoEvent => Ok(None),
    }
}

/// Disk accesses must not hold up the other tasks of a runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime
            .spawn_blocking(work)
            .await
            .map_err(|_| StoreError::Io {
                doing: "reading",
                kind: std::io::ErrorKind::Other,
            }),
        Err(_) => Ok(work()),
    }
}

/// Ends the threads: the writer first, since the others serve it.
fn stop(
    shared: &Shared,
    queue: &Queue,
    running: &Mutex<Running>,
    how: End,
    last: impl FnOnce(&Shared),
) {
    let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
    queue.end(how);
    shared.room.stop();
    if how == End::Abandon {
        shared.checkpoint.ring(|work| work.abandon = true);
    }
    if let Some(writer) = running.writer.take() {
        let _ = writer.join();
    }
    shared.checkpoint.ring(|work| work.stop = true);
    for thread in running.others.drain(..) {
        let _ = thread.join();
    }
    shared.set_index(None);
    last(shared);
    running.lock = None;
}

/// A clean stop: up to here everything is durable, and the next start knows.
fn write_ending(shared: &Shared, directory: &Path) {
    let end = {
        let inner = shared.catalog.lock();
        inner.segments.last_key_value().map(|(number, s)| Place {
            segment: *number,
            offset: s.end,
        })
    };
    if let Some(end) = end.filter(|_| !shared.failed())
        && let Err(error) = ending::write(&*shared.disk, directory, &shared.identity.id, end)
    {
        tracing::warn!(%error, "how far the journal is durable could not be written down");
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if !self.shared.flags.closed.swap(true, Ordering::SeqCst) {
            stop(
                &self.shared,
                &self.queue,
                &self.running,
                End::Abandon,
                |_| {},
            );
        }
    }
}

/// How often a broken index is made anew before the store goes on without.
const REBUILDS: u32 = 3;

/// The checkpoint thread.
fn keep_index(shared: &Shared, config: &EmbeddedConfig) {
    // However this thread ends, the writer must not wait for it any more.
    let _gone = Gone(shared);
    let mut rebuilds = 0;
    loop {
        let work = shared.checkpoint.wait();
        if work.abandon {
            break;
        }
        trim(shared);
        let mut broken = work.rebuild && shared.index().is_some();
        while !broken && (checkpoint::due(shared) || work.stop) {
            let Some(index) = shared.index() else { break };
            if let Err(e) = checkpoint::checkpoint(shared, &index) {
                tracing::error!(error = %e, "a checkpoint failed");
                broken = true;
            }
            // The writer may be waiting for just this one, whatever is still to be done.
            shared.checkpoint.tell_done(false);
            if work.stop && !checkpoint::due(shared) {
                break;
            }
        }
        if broken && !work.stop {
            rebuilds += 1;
            rebuild(shared, config, rebuilds <= REBUILDS);
        }
        shared.checkpoint.tell_done(false);
        if work.stop {
            break;
        }
    }
}

struct Gone<'a>(&'a Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.checkpoint.tell_done(true);
        if std::thread::panicking() {
            tracing::error!(
                "the thread of the index has stopped by a bug: rows stay in memory, and the next start reads the journal"
            );
        }
    }
}

/// Throws the index away. The rows come back from the journal, and the next checkpoint writes them.
fn rebuild(shared: &Shared, config: &EmbeddedConfig, again: bool) {
    shared.set_index(None);
    let path = index_path(&config.directory);
    if let Err(e) = checkpoint::rows_from_journal(shared) {
        tracing::error!(error = %e, "the rows of the list cannot be read from the journal");
        return;
    }
    if !again {
        tracing::error!("the index keeps breaking: going on without; the next start makes it anew");
        let _ = Index::wipe(&path);
        return;
    }
    tracing::warn!("making the index anew");
    match Index::wipe(&path)
        .map_err(Into::into)
        .and_then(|()| Index::open(&path, config.index_cache_bytes))
    {
        Ok(index) => {
            shared.set_index(Some(Arc::new(index)));
            shared.checkpoint.ring(|work| work.checkpoint = true);
        }
        Err(e) => tracing::error!(error = %e, "no index can be made: going on without"),
    }
}

/// Gives back what sealed segments have left over of their preallocated space.
fn trim(shared: &Shared) {
    let mut sealed = Vec::new();
    for segment in shared.catalog.lock().segments.values() {
        if segment.sealed && !segment.damaged && segment.bytes > u64::from(segment.end) {
            sealed.push((Arc::clone(&segment.file), segment.end));
        }
    }
    for (file, end) in sealed {
        // Whether it works and stays so is no matter of correctness: there are only zeros.
        if file.file.set_len(u64::from(end)).is_ok()
            && let Some(segment) = shared.catalog.lock().segments.get_mut(&file.number())
        {
            segment.bytes = u64::from(end);
        }
    }
}

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
            self.usable()?;
            if self.shared.words.paused(lane) {
                return Ok(Vec::new());
            }
            let number = self.shared.lanes.known(lane);
            Ok(number.map_or_else(Vec::new, |number| {
                self.shared.owed.lease(number, now, until, max)
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

    fn operate(
        &self,
        id: EventId,
        word: Operation,
        now: Timestamp,
        by: Option<String>,
    ) -> Pending<'_, Result<Operated, StoreError>> {
        let asked = Box::new(Asked { id, word, now, by });
        Box::pin(self.ask(move |reply| Command::Operate(asked, reply)))
    }

    fn record(&self, deed: Deed) -> Pending<'_, Result<u64, StoreError>> {
        let deed = Box::new(deed);
        Box::pin(self.ask(move |reply| Command::Record(deed, reply)))
    }

    fn audit(&self, after: Option<u64>, limit: usize) -> Pending<'_, Result<Audit, StoreError>> {
        Box::pin(self.look(move |shared| shared.audit_page(after, limit)))
    }

    fn paused(&self, lane: &LaneName) -> bool {
        self.shared.words.paused(lane)
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
