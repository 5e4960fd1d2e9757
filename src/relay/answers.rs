//! Who waits for what the application says of an event. Whoever makes the attempt tells all of them,
//! on whichever core.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::inbox::store::Attempt;
use crate::message::EventId;

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

    /// True when somebody else waits for this event besides `own`.
    pub fn awaited(&self, own: &Listening) -> bool {
        let waiting = self.lock();
        waiting.get(&own.id).is_some_and(|all| all.len() > 1)
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
