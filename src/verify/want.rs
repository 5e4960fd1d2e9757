//! What a verdict still waits for. Judging is pure: where it needs something from elsewhere it says
//! what, somebody fetches it, and the request is judged again.

use std::sync::Arc;
use std::time::Duration;

use crate::remote::Outbound;
use crate::verify::keys::Key;
use crate::verify::scope::Answer;

/// Something to fetch.
#[derive(Debug)]
pub enum Want {
    /// Keys that are kept under a name once they are fetched.
    Keys {
        scheme: usize,
        name: String,
        /// This very key must be among them.
        id: Option<Vec<u8>>,
        ttl: Duration,
        request: Box<Outbound>,
    },
    /// A second source is asked whether the event is true.
    Confirmation { request: Box<Outbound> },
    /// A provider asks that its address be visited.
    Visit { request: Box<Outbound> },
}

/// What was fetched already for this request.
#[derive(Debug, Default)]
pub struct Known {
    pub keys: Vec<(String, Arc<Vec<Key>>)>,
    pub answer: Option<Answer>,
    pub visited: bool,
}

impl Known {
    pub fn keys(&self, name: &str) -> Option<&Arc<Vec<Key>>> {
        self.keys
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, keys)| keys)
    }
}
