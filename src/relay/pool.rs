//! HTTP/1.1 connections to destinations that wait for their next request. One pool per core: nothing is
//! shared, and a connection stays where its socket is polled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::relay::target::{Key, Target};

/// Longest time that a connection waits for its next request.
pub const IDLE_MAX: Duration = Duration::from_secs(20);

/// No connection is used for longer, however busy: its host's name may lead elsewhere by now, its
/// socket may be another program's, and the certificate that was looked at may have ended.
pub const LIFE_MAX: Duration = Duration::from_secs(60);

/// Connections to one destination that may wait.
const PER_DESTINATION: usize = 64;

/// A connection with a request under way, or ready for one. Dropping it closes the socket at
/// once, also in the middle of a request.
#[derive(Debug)]
pub struct Connection {
    pub sender: SendRequest<Full<Bytes>>,
    /// The task that drives the socket.
    task: AbortHandle,
    /// How long the other side keeps it open while nothing happens.
    pub idle_max: Duration,
    opened: Instant,
}

impl Connection {
    pub fn new(sender: SendRequest<Full<Bytes>>, task: AbortHandle) -> Self {
        Connection {
            sender,
            task,
            idle_max: IDLE_MAX,
            opened: Instant::now(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    until: Instant,
}

impl Idle {
    fn usable(&self, now: Instant) -> bool {
        now < self.until && self.connection.sender.is_ready() && !self.connection.sender.is_closed()
    }
}

#[derive(Debug, Default)]
pub struct Pool(Mutex<HashMap<Arc<Key>, Vec<Idle>>>);

impl Pool {
    /// The connection that waited shortest, if one is still good.
    pub fn take(&self, to: &Target) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.idle();
        let waiting = idle.get_mut(to.key())?;
        while let Some(last) = waiting.pop() {
            if last.usable(now) {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end.
    pub fn give(self: &Arc<Self>, to: &Target, mut connection: Connection) {
        let key = to.key().clone();
        if connection.sender.is_ready() {
            self.put(key, connection);
            return;
        }
        // Its task has not looked at the socket since the answer ended. Most are ready a moment
        // later; one that is not (the request is not written to its end yet) is not worth waiting for.
        let pool = self.clone();
        tokio::spawn(async move {
            let ready =
                tokio::time::timeout(Duration::from_secs(1), connection.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                pool.put(key, connection);
            }
        });
    }

    fn put(&self, key: Arc<Key>, connection: Connection) {
        let end = connection.opened + LIFE_MAX;
        let until = end.min(Instant::now() + connection.idle_max);
        let mut idle = self.idle();
        let waiting = idle.entry(key).or_default();
        if waiting.len() < PER_DESTINATION {
            waiting.push(Idle { connection, until });
        }
    }

    /// Closes what waited too long or was closed by the other side.
    pub fn tidy(&self) {
        let now = Instant::now();
        self.idle().retain(|_, waiting| {
            waiting.retain(|idle| idle.usable(now));
            !waiting.is_empty()
        });
    }

    /// Connections that wait.
    pub fn len(&self) -> usize {
        self.idle().values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Arc<Key>, Vec<Idle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
