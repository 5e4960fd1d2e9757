//! What just happened, told to whoever watches. Small messages: the details are looked up by those
//! who show them. While nobody watches, telling costs one look at a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;

use crate::message::{DestinationName, EventId, SourceName};

/// Messages that wait for a slow reader; older ones are lost to it.
const WAITING: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An event was accepted.
    Accepted { id: EventId },
    /// An attempt was written down.
    Attempt {
        /// Of the delivery.
        id: EventId,
        source: SourceName,
        destination: DestinationName,
        number: u32,
        status: Option<u16>,
        /// Stable code; empty when it was taken.
        error: &'static str,
        took_ms: u64,
        /// How the delivery stands now.
        state: &'static str,
    },
    /// A delivery stands otherwise, without an attempt.
    State {
        id: EventId,
        source: SourceName,
        state: &'static str,
        reason: String,
        /// The label of a token; empty: nobody's word.
        by: String,
    },
    /// A callback was not accepted; its number among the refusals.
    Refused { number: u64 },
    /// A job went on or ended; its number.
    Job { id: u64 },
}

#[derive(Debug)]
pub struct Newsroom {
    sender: broadcast::Sender<News>,
    watching: AtomicUsize,
}

impl Default for Newsroom {
    fn default() -> Self {
        Newsroom {
            sender: broadcast::channel(WAITING).0,
            watching: AtomicUsize::new(0),
        }
    }
}

/// Somebody watches for as long as this lives.
#[derive(Debug)]
pub struct Watching(Arc<Newsroom>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watching.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Newsroom {
    /// Makes the message only if somebody watches.
    pub fn tell(&self, news: impl FnOnce() -> News) {
        if self.watching.load(Ordering::Relaxed) > 0 {
            // Nobody is there to hear it any more: no harm.
            let _ = self.sender.send(news());
        }
    }

    /// One more watcher; none above `most`.
    pub fn watch(self: &Arc<Self>, most: usize) -> Option<Watching> {
        let order = Ordering::Relaxed;
        let more = |now: usize| (now < most).then_some(now + 1);
        let entered = self.watching.fetch_update(order, order, more);
        entered.is_ok().then(|| Watching(self.clone()))
    }

    pub fn watching(&self) -> usize {
        self.watching.load(Ordering::Relaxed)
    }

    /// Everything from now on that is told while somebody watches.
    pub fn listen(&self) -> broadcast::Receiver<News> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_for_nobody() {
        let room = Arc::new(Newsroom::default());
        let mut listener = room.listen();
        room.tell(|| unreachable!("nobody watches"));
        let watching = room.watch(1).unwrap();
        assert!(room.watch(1).is_none(), "at most one");
        room.tell(|| News::Job { id: 1 });
        drop(watching);
        room.tell(|| unreachable!("nobody watches any more"));
        assert_eq!(listener.try_recv(), Ok(News::Job { id: 1 }));
        assert!(listener.try_recv().is_err());
    }
}
