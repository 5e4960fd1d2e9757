//! Caps: how many connections, from how many at one address, and how many bytes of bodies at once.
//! Shared by all cores.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::listener::address::Prefix;

/// Counts connections in total and per address.
#[derive(Debug)]
pub struct ConnectionCaps {
    total: usize,
    per_address: usize,
    open: AtomicUsize,
    // std's map hashes with a random key (SipHash): addresses come from strangers.
    by_prefix: Mutex<HashMap<Prefix, usize>>,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    Total,
    PerAddress,
}

impl Full {
    pub fn code(self) -> &'static str {
        match self {
            Full::Total => "connections_total",
            Full::PerAddress => "connections_per_address",
        }
    }
}

impl ConnectionCaps {
    pub fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(ConnectionCaps {
            total,
            per_address,
            open: AtomicUsize::new(0),
            by_prefix: Mutex::new(HashMap::new()),
        })
    }

    /// Takes a place, given back when the permit is dropped. A trusted proxy stands for many
    /// clients: it is counted in total only.
    pub fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        trusted: bool,
    ) -> Result<ConnectionPermit, Full> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.total {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Total);
        }
        if trusted {
            return Ok(ConnectionPermit {
                caps: self.clone(),
                prefix: None,
            });
        }
        let prefix = Prefix::of(address);
        let mut by_prefix = self
            .by_prefix
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = by_prefix.entry(prefix).or_insert(0);
        if *count >= self.per_address {
            drop(by_prefix);
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::PerAddress);
        }
        *count += 1;
        drop(by_prefix);
        Ok(ConnectionPermit {
            caps: self.clone(),
            prefix: Some(prefix),
        })
    }

    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// A place among the connections.
#[derive(Debug)]
pub struct ConnectionPermit {
    caps: Arc<ConnectionCaps>,
    prefix: Option<Prefix>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.caps.open.fetch_sub(1, Ordering::Relaxed);
        let Some(prefix) = self.prefix else { return };
        let mut by_prefix = self
            .caps
            .by_prefix
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_prefix.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                by_prefix.remove(&prefix);
            }
        }
    }
}

/// Bytes of request bodies held in memory at once.
#[derive(Debug)]
pub struct ByteBudget {
    max: usize,
    used: AtomicUsize,
}

impl ByteBudget {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(ByteBudget {
            max,
            used: AtomicUsize::new(0),
        })
    }

    pub fn share(self: &Arc<Self>) -> BudgetShare {
        BudgetShare {
            budget: self.clone(),
            held: 0,
        }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one request holds of the budget; given back when dropped.
#[derive(Debug)]
pub struct BudgetShare {
    budget: Arc<ByteBudget>,
    held: usize,
}

impl BudgetShare {
    /// Holds at least `bytes` in all, or says that there is no room.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.held);
        if more == 0 {
            return true;
        }
        let before = self.budget.used.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.budget.max {
            self.budget.used.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.held += more;
        true
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_total_and_per_address_and_given_back() {
        let caps = ConnectionCaps::new(3, 2);
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let neighbour: IpAddr = "192.0.2.77".parse().unwrap();
        let other: IpAddr = "198.51.100.1".parse().unwrap();
        let first = caps.enter(a, false).unwrap();
        let _second = caps.enter(neighbour, false).unwrap();
        assert_eq!(caps.enter(a, false).unwrap_err(), Full::PerAddress);
        let _third = caps.enter(other, false).unwrap();
        assert_eq!(caps.enter(other, false).unwrap_err(), Full::Total);
        drop(first);
        assert!(caps.enter(a, false).is_ok());
        assert_eq!(caps.open(), 2);
        let proxy = [caps.enter(a, true).unwrap()];
        assert_eq!(caps.enter(a, true).unwrap_err(), Full::Total);
        drop(proxy);
    }

    #[test]
    fn the_budget_is_never_exceeded_and_is_given_back() {
        let budget = ByteBudget::new(100);
        let mut one = budget.share();
        assert!(one.grow_to(60) && one.grow_to(60) && one.grow_to(10));
        let mut two = budget.share();
        assert!(!two.grow_to(41));
        assert!(two.grow_to(40));
        drop(one);
        assert_eq!(budget.used(), 40);
    }
}
