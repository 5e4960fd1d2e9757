//! Who waits for what the application says of an event. Whoever makes the attempt tells all of them,
//! on whichever core; and what was said before lies in the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::inbox::store::{Attempt, Store};
use crate::message::{EventId, LaneName, SourceName};
use crate::relay::lane::Waker;

/// The first attempt on an event has ended. None: it did not come to one now.
pub type Told = Option<Attempt>;

/// By event: everyone who waits, numbered.
type Waiting = HashMap<EventId, Vec<(u64, oneshot::Sender<Told>)>>;

#[derive(Debug, Default)]
pub struct Answers {
    waiting: Mutex<Waiting>,
    last: AtomicU64,
}

/// Waits for one event. Dropping it is how it stops.
#[derive(Debug)]
pub struct Listening {
    answers: Arc<Answers>,
    id: EventId,
    number: u64,
    told: oneshot::Receiver<Told>,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn listen(self: &Arc<Self>, id: EventId) -> Listening {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.lock().entry(id).or_default().push((number, tell));
        Listening {
            answers: self.clone(),
            id,
            number,
            told,
        }
    }

    pub fn tell(&self, id: EventId, told: &Told) {
        let Some(waiting) = self.lock().remove(&id) else {
            return;
        };
        for (_, tell) in waiting {
            let _ = tell.send(told.clone());
        }
    }
}

impl Listening {
    pub async fn told(&mut self) -> Told {
        (&mut self.told).await.ok().flatten()
    }
}

impl Waker {
    /// The attempt in which the application took an event, if it does so until then. A `new` event
    /// is tried at once, and so is one that was accepted before and not tried yet; of any other what
    /// is in the store is all there is to hear.
    pub async fn heard(
        &self,
        store: &dyn Store,
        (source, id): (&SourceName, EventId),
        new: bool,
        until: Instant,
    ) -> Option<Attempt> {
        // Before anyone asks the store: what happens meanwhile is told.
        let mut listening = self.answers.listen(id);
        if !new {
            let attempts = store.attempts(id).await.unwrap_or_default();
            if !attempts.is_empty() {
                return taken(attempts);
            }
        }
        self.urge(LaneName::main(source), id);
        if new {
            // The other destinations, in the same turn of the same worker.
            self.wake(source);
        }
        match timeout_at(until, listening.told()).await {
            Ok(Some(attempt)) => taken(vec![attempt]),
            // Another core may have been done with it before we listened.
            Ok(None) => taken(store.attempts(id).await.unwrap_or_default()),
            Err(_) => None,
        }
    }
}

/// The first attempt in which it was taken: what a redrive brought later is not what was heard.
fn taken(attempts: Vec<Attempt>) -> Option<Attempt> {
    let mut attempts = attempts.into_iter();
    attempts.find(|attempt| attempt.error.is_empty())
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut waiting = self.answers.lock();
        if let Some(all) = waiting.get_mut(&self.id) {
            all.retain(|(number, _)| *number != self.number);
            if all.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}
