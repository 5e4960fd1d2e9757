//! The last callbacks that were not accepted, with the reason that their senders were not told.
//! A bounded ring in memory: strangers fill it, so it must not grow, and nothing else may depend on it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::mask;

/// One callback that was not accepted.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Counts up; gaps are refusals that fell out of the ring.
    pub number: u64,
    pub at: Timestamp,
    /// Name of the source; empty when none was matched.
    pub source: String,
    pub peer: IpAddr,
    /// At most [`METHOD_MAX`] bytes of it.
    pub method: String,
    /// At most [`PATH_MAX`] bytes of it.
    pub path: String,
    /// Which stage said no: `malformed`, `refused`, `rejected`, `overloaded`; or `unheard`.
    pub stage: &'static str,
    /// Stable reason code.
    pub reason: &'static str,
    /// What a person needs besides the code; never a secret, a body or a signature. Masked, as the
    /// path is.
    pub detail: String,
}

/// Longest path that is kept.
pub const PATH_MAX: usize = 256;

/// Longest method that is kept: any word is one, as long as a head may be.
pub const METHOD_MAX: usize = 32;

#[derive(Debug)]
pub struct Refusals {
    ring: Mutex<Ring>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Refused>,
    count: u64,
}

impl Refusals {
    pub fn new(capacity: usize) -> Self {
        Refusals {
            ring: Mutex::new(Ring::default()),
            capacity,
        }
    }

    /// Adds one; its number is set here, and given back.
    pub fn push(&self, mut refused: Refused) -> u64 {
        // Nobody has said who sends this: it may be anything, and is shown to whoever may look.
        for text in [&mut refused.path, &mut refused.detail] {
            if let Cow::Owned(masked) = mask::line(text) {
                *text = masked;
            }
        }
        cut(&mut refused.path, PATH_MAX);
        cut(&mut refused.method, METHOD_MAX);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.count += 1;
        refused.number = ring.count;
        if ring.entries.len() >= self.capacity {
            ring.entries.pop_front();
        }
        ring.entries.push_back(refused);
        ring.count
    }

    /// The one with this number, while it is kept.
    pub fn get(&self, number: u64) -> Option<Refused> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let at = ring.entries.binary_search_by_key(&number, |r| r.number);
        at.ok().and_then(|at| ring.entries.get(at)).cloned()
    }

    /// How many there were since the start.
    pub fn seen(&self) -> u64 {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.count
    }

    /// Newest first, older than number `before`, at most `limit` that `keep` says yes to.
    pub fn list(
        &self,
        before: Option<u64>,
        limit: usize,
        keep: impl Fn(&Refused) -> bool,
    ) -> Vec<Refused> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let older = ring
            .entries
            .iter()
            .rev()
            .filter(|r| before.is_none_or(|before| r.number < before));
        older.filter(|r| keep(r)).take(limit).cloned().collect()
    }
}

fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        // What was cut off would stay in memory otherwise.
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> Refused {
        Refused {
            number: 0,
            at: Timestamp::default(),
            source: String::new(),
            peer: "192.0.2.1".parse().unwrap(),
            method: "POST".into(),
            path: path.into(),
            stage: "refused",
            reason: "not_found",
            detail: String::new(),
        }
    }

    #[test]
    fn the_ring_is_bounded_and_pages_backwards() {
        let refusals = Refusals::new(3);
        for n in 0..5 {
            refusals.push(refused(&format!("/{n}")));
        }
        let page = refusals.list(None, 2, |_| true);
        assert_eq!(
            page.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(),
            ["/4", "/3"]
        );
        let rest = refusals.list(Some(page[1].number), 9, |_| true);
        assert_eq!(
            rest.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(),
            ["/2"]
        );
        refusals.push(refused(&"ä".repeat(400)));
        assert_eq!(refusals.list(None, 1, |_| true)[0].path.len(), PATH_MAX);
        let mut long = refused("/");
        long.method = "A".repeat(20_000);
        refusals.push(long);
        assert_eq!(refusals.list(None, 1, |_| true)[0].method.len(), METHOD_MAX);
    }
}
