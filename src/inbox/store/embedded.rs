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

use tokio::sync::oneshot;

use super::disk::{Disk, DiskFile, RealDisk};
use super::ending;
#[cfg(test)]
use super::hands::Hands;
use super::keyring::{self, Keyring};
use super::open::{self, Parts};
pub use super::open::{EmbeddedConfig, IndexUse, OpenError, Report};
use super::pace::Pace;
use super::queue::{Command, End, Queue, Reply};
use super::record::Place;
use super::segment::HEADER;
use super::shared::Shared;
use super::upkeep::keep_index;
use super::writer::Writer;
use super::*;
use crate::clock::Clock;
use crate::random::Random;
use crate::telemetry::Metrics;

/// The store of one machine. Dropping it without [`Store::close`] is what a crash is, and safe.
pub struct Embedded {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    pub(super) random: Arc<dyn Random>,
    pub(super) claim_keys: Keyring,
    pub(super) former_keys: Vec<[u8; 32]>,
    pub(super) largest: u32,
    report: Report,
    directory: Arc<Path>,
    /// Reads are done where they are asked for, and not on threads for it.
    inline: bool,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    writer: Option<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    /// In place of the threads.
    #[cfg(test)]
    hands: Option<Hands>,
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
        let (store, writer, lock) =
            Embedded::assemble(disk, &config, clock, random, metrics, on_fatal)?;
        // From here on, dropping `store` ends what was started.
        store.start(writer, &config, lock)?;
        Ok(store)
    }

    /// As `open_on`, without a thread: nothing is done but in [`Embedded::turn`], by whoever calls
    /// it, so that the same calls do the same things again.
    #[cfg(test)]
    pub(crate) fn open_by_hand(
        disk: Arc<dyn Disk>,
        config: EmbeddedConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
        on_fatal: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Embedded, OpenError> {
        let (mut store, writer, lock) =
            Embedded::assemble(disk, &config, clock, random, metrics, on_fatal)?;
        store.inline = true;
        let hands = Hands::new(writer, Arc::clone(&store.shared), config);
        let mut running = store.running();
        running.lock = Some(lock);
        running.hands = Some(hands);
        drop(running);
        store.shared.checkpoint.ring(|work| work.checkpoint = true);
        Ok(store)
    }

    /// What the threads do, once.
    #[cfg(test)]
    pub(crate) fn turn(&self) {
        if let Some(hands) = &mut self.running().hands {
            hands.turn();
        }
    }

    fn assemble(
        disk: Arc<dyn Disk>,
        config: &EmbeddedConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
        on_fatal: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<(Embedded, Writer, Arc<dyn DiskFile>), OpenError> {
        let parts = Parts {
            disk,
            clock,
            random: Arc::clone(&random),
        };
        let opened = open::open(config, &parts)?;
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
            inline: false,
            running,
            shared,
            queue,
            random,
        };
        Ok((store, writer, opened.lock))
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
                .map_err(OpenError::Thread)
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

    pub(super) fn usable(&self) -> Result<(), StoreError> {
        if self.shared.flags.closed.load(Ordering::SeqCst) {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }

    /// The number of a lane that may be leased from; none when it is paused or owes nothing.
    pub(super) fn active(&self, lane: &LaneName) -> Result<Option<u32>, StoreError> {
        self.usable()?;
        Ok(match self.shared.words.paused(lane) {
            true => None,
            false => self.shared.lanes.known(lane),
        })
    }

    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, StoreError> {
        self.usable()?;
        let (reply, answer) = oneshot::channel();
        self.queue.push(command(reply))?;
        // Without an answer the writer has ended in the middle: it may have been done.
        answer.await.unwrap_or(Err(StoreError::Unknown))
    }

    pub(super) async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.usable()?;
        if self.inline {
            return read(&self.shared);
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || read(&shared)).await?
    }

    pub(super) async fn expire_now(&self, now: Timestamp) -> Result<Expired, StoreError> {
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

    pub(super) async fn end(&self) -> Result<(), StoreError> {
        if self.shared.flags.closed.swap(true, Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        let (shared, queue, running, directory) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.queue),
            Arc::clone(&self.running),
            Arc::clone(&self.directory),
        );
        let stopping = move || {
            stop(&shared, &queue, &running, End::Drain, |shared| {
                write_ending(shared, &directory);
            });
        };
        match self.inline {
            true => stopping(),
            false => blocking(stopping).await?,
        }
        if self.shared.failed() {
            Err(StoreError::Unknown)
        } else {
            Ok(())
        }
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
    #[cfg(test)]
    if let Some(hands) = running.hands.take() {
        hands.finish(how);
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
