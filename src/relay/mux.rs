//! Connections that carry many requests at once (HTTP/2). One to a destination and core, and
//! further ones only while the other side allows no more requests on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::relay::error::AttemptError;
use crate::relay::pool::{IDLE_MAX, LIFE_MAX};
use crate::relay::target::Key;

/// Requests at once on a connection of which the other side has not said how many it allows; those
/// that are too many wait until it does.
const UNTOLD: usize = 100;

/// What the task that drives a socket learns.
#[derive(Debug, Default)]
pub struct Learned {
    /// Requests at once that the other side allows; 0 while it has not said so.
    most: AtomicUsize,
    /// Why the connection ended.
    failure: OnceLock<AttemptError>,
}

impl Learned {
    pub fn allows(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    pub fn failed(&self, error: AttemptError) {
        let _ = self.failure.set(error);
    }
}

/// One connection. Dropping the last hold on it closes the socket.
#[derive(Debug)]
pub struct Shared {
    sender: SendRequest<Full<Bytes>>,
    /// The task that drives the socket.
    task: AbortHandle,
    learned: Arc<Learned>,
    streams: AtomicUsize,
    /// An exchange came to its end here.
    proved: AtomicBool,
    /// Gets no further request.
    retired: AtomicBool,
    opened: Instant,
    used: Mutex<Instant>,
}

impl Shared {
    pub fn new(
        sender: SendRequest<Full<Bytes>>,
        task: AbortHandle,
        learned: Arc<Learned>,
    ) -> Arc<Self> {
        Arc::new(Shared {
            sender,
            task,
            learned,
            streams: AtomicUsize::new(0),
            proved: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            opened: Instant::now(),
            used: Mutex::new(Instant::now()),
        })
    }

    fn usable(&self) -> bool {
        let old = self.opened.elapsed() >= LIFE_MAX;
        !old && !self.retired.load(Ordering::Relaxed) && !self.sender.is_closed()
    }

    fn has_room(&self) -> bool {
        let most = match self.learned.most.load(Ordering::Relaxed) {
            0 => UNTOLD,
            most => most,
        };
        self.streams.load(Ordering::Relaxed) < most
    }

    fn stale(&self, now: Instant) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.streams.load(Ordering::Relaxed) == 0 && now.saturating_duration_since(used) >= IDLE_MAX
    }

    fn stream(self: &Arc<Self>) -> Stream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Stream {
            connection: self.clone(),
            told: false,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A place for one request. One that is dropped before its end was told (the attempt timed out)
/// retires the connection: a path that has gone dead would swallow every further request too.
#[derive(Debug)]
pub struct Stream {
    connection: Arc<Shared>,
    told: bool,
}

impl Stream {
    pub fn sender(&self) -> SendRequest<Full<Bytes>> {
        self.connection.sender.clone()
    }

    /// The connection has carried an exchange to its end before.
    pub fn proved(&self) -> bool {
        self.connection.proved.load(Ordering::Relaxed)
    }

    /// Why the connection ended, if it did.
    pub fn failure(&self) -> Option<AttemptError> {
        self.connection.learned.failure.get().copied()
    }

    /// The exchange came to its end: the connection takes further ones.
    pub fn ended(mut self) {
        self.connection.proved.store(true, Ordering::Relaxed);
        self.told = true;
    }

    /// This request alone was broken off.
    pub fn reset(mut self) {
        self.told = true;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let connection = &self.connection;
        if !self.told {
            connection.retired.store(true, Ordering::Relaxed);
        }
        *connection
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
        connection.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of one destination.
#[derive(Debug, Default)]
struct Entry {
    shared: Vec<Arc<Shared>>,
    /// The last connection spoke HTTP/1.1: nobody waits for another to be opened first.
    plain: bool,
    /// Held by whoever opens a connection that others may share.
    opening: Arc<tokio::sync::Mutex<()>>,
}

/// All such connections of one core.
#[derive(Debug, Default)]
pub struct Mux(Mutex<HashMap<Arc<Key>, Entry>>);

impl Mux {
    /// A place on a connection that has one.
    pub fn take(&self, key: &Arc<Key>) -> Option<Stream> {
        let mut entries = self.entries();
        let entry = entries.get_mut(key)?;
        entry.shared.retain(|shared| shared.usable());
        let roomy = entry.shared.iter().find(|shared| shared.has_room());
        roomy.map(Shared::stream)
    }

    /// Shares a connection, with a place on it for whoever opened it.
    pub fn add(&self, key: &Arc<Key>, shared: Arc<Shared>) -> Stream {
        let stream = shared.stream();
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        entry.plain = false;
        entry.shared.push(shared);
        stream
    }

    /// The destination chose HTTP/1.1.
    pub fn chose_plain(&self, key: &Arc<Key>) {
        self.entries().entry(key.clone()).or_default().plain = true;
    }

    /// To be held while a connection is opened that others may share; none where they cannot.
    pub fn opening(&self, key: &Arc<Key>) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_default();
        (!entry.plain).then(|| entry.opening.clone())
    }

    /// Closes what nobody has used for long.
    pub fn tidy(&self) {
        let now = Instant::now();
        self.entries().retain(|_, entry| {
            entry
                .shared
                .retain(|shared| shared.usable() && !shared.stale(now));
            // Someone may be opening, or have learned what is spoken there.
            !entry.shared.is_empty() || entry.plain || Arc::strong_count(&entry.opening) > 1
        });
    }

    /// Connections that get requests.
    pub fn len(&self) -> usize {
        self.entries()
            .values()
            .flat_map(|entry| &entry.shared)
            .filter(|shared| shared.usable())
            .count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Arc<Key>, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::DestinationName;
    use crate::relay::http2;
    use crate::relay::target::Target;
    use crate::relay::tests::stage::destination;
    use crate::rule::Destination;
    use hyper_util::rt::TokioIo;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_busy_is_given_up_in_the_end() {
        let to = Destination::new(DestinationName::main(), destination(1));
        let (target, mux) = (Target::new(&to, None), Mux::default());
        let (ours, _theirs) = tokio::io::duplex(1 << 16);
        let shared = http2::start(TokioIo::new(ours)).await.unwrap();
        let first = mux.add(target.key(), shared);
        tokio::time::sleep(LIFE_MAX - Duration::from_millis(10)).await;
        let second = mux.take(target.key());
        assert!(second.is_some());
        tokio::time::sleep(Duration::from_millis(10)).await;
        // No further request; those that are under way keep it.
        assert!(mux.take(target.key()).is_none());
        mux.tidy();
        assert!(!first.sender().is_closed());
    }
}
