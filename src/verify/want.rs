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
        /// A list that is there and lacks the key: it is asked for anew, as far as the cache lets
        /// it, and known as [`Known::anew`] then.
        again: bool,
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
    /// What a list is called that was asked for a second time. No name of a list ends so.
    pub fn anew(name: &str) -> String {
        format!("{name} anew")
    }

    pub fn keys(&self, name: &str) -> Option<&Arc<Vec<Key>>> {
        self.keys
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, keys)| keys)
    }
}
