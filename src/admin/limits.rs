//! How often one address may ask the admin port, before anything is known of who asks.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::admin::token::Digest;

/// Requests of one address in a second, and at once.
const ASKS: (u32, u32) = (100, 400);
/// Tokens that are none of ours, likewise.
const WRONG: (u32, u32) = (1, 20);
/// Sign-ins by one token: one in so many seconds, and so many at once. Each stands in the audit, on the
/// disk and in memory, for more than a year.
const SIGN_INS: (u64, u32) = (10, 60);
/// Between two sweeps of addresses that are no longer limited.
const SWEEP_EVERY: u32 = 1024;

/// Who is counted: an address, with all of its /64 where it is IPv6; or whoever comes through the
/// Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    V4([u8; 4]),
    V6([u8; 8]),
    Local,
}

impl Peer {
    pub fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Peer::Local,
            Some(IpAddr::V4(address)) => Peer::V4(address.octets()),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Peer::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

type Keyed<K, C> =
    RateLimiter<K, DefaultKeyedStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Not now, but after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub u64);

pub struct Limits<C: Clock = DefaultClock> {
    asks: Keyed<Peer, C>,
    wrong: Keyed<Peer, C>,
    sign_ins: Keyed<Digest, C>,
    clock: C,
    checks: AtomicU32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits::with_clock(DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    pub fn with_clock(clock: C) -> Self {
        let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let keyed = |(per_second, burst)| {
            let quota = Quota::per_second(at_least_one(per_second));
            RateLimiter::dashmap_with_clock(quota.allow_burst(at_least_one(burst)), clock.clone())
        };
        let (seconds, burst) = SIGN_INS;
        let every = Duration::from_secs(seconds);
        // A period of zero alone has no quota.
        let sign_ins = Quota::with_period(every).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        let sign_ins = sign_ins.allow_burst(at_least_one(burst));
        Limits {
            asks: keyed(ASKS),
            wrong: keyed(WRONG),
            sign_ins: RateLimiter::dashmap_with_clock(sign_ins, clock.clone()),
            checks: AtomicU32::new(0),
            clock,
        }
    }

    /// Counts one request.
    pub fn ask(&self, peer: Peer) -> Result<(), Wait> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.asks.retain_recent();
            self.wrong.retain_recent();
            self.sign_ins.retain_recent();
        }
        self.count(&self.asks, peer)
    }

    /// Counts a token that is none of ours. Who offers a right one is let in all the same: else
    /// anybody behind the same address could keep the operator out.
    pub fn wrong(&self, peer: Peer) -> Result<(), Wait> {
        self.count(&self.wrong, peer)
    }

    /// Counts a sign-in by this token.
    pub fn sign_in(&self, token: Digest) -> Result<(), Wait> {
        self.count(&self.sign_ins, token)
    }

    fn count<K: Hash + Eq + Clone>(&self, limiter: &Keyed<K, C>, who: K) -> Result<(), Wait> {
        limiter.check_key(&who).map_err(|not| {
            let exact: Duration = not.wait_time_from(self.clock.now());
            // Whole seconds: that is what Retry-After can say.
            Wait(
                u64::try_from(exact.as_millis().div_ceil(1000))
                    .unwrap_or(u64::MAX)
                    .max(1),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::of(Some(address.parse().unwrap()))
    }

    #[test]
    fn an_address_is_counted_alone_and_ipv6_by_its_network() {
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("192.0.2.1"), peer("::ffff:192.0.2.1"));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(Peer::of(None), Peer::Local);
    }

    #[test]
    fn threat_25_who_asks_too_often_waits_and_no_one_else_does() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(clock.clone());
        let (one, other) = (peer("192.0.2.1"), peer("192.0.2.2"));
        for _ in 0..ASKS.1 {
            assert_eq!(limits.ask(one), Ok(()));
        }
        assert_eq!(limits.ask(one), Err(Wait(1)));
        assert_eq!(limits.ask(other), Ok(()));
        clock.advance(Duration::from_millis(10));
        assert_eq!(limits.ask(one), Ok(()));
        assert_eq!(limits.ask(one), Err(Wait(1)));

        for _ in 0..WRONG.1 {
            assert_eq!(limits.wrong(one), Ok(()));
        }
        assert_eq!(limits.wrong(one), Err(Wait(1)));
        assert_eq!(limits.wrong(other), Ok(()));
        clock.advance(Duration::from_secs(1));
        assert_eq!(limits.wrong(one), Ok(()));
        assert_eq!(limits.wrong(one), Err(Wait(1)));
    }

    /// Whoever holds a token, be it a viewer's, does not fill the audit.
    #[test]
    fn sign_ins_by_one_token_are_bounded() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(clock.clone());
        for _ in 0..SIGN_INS.1 {
            assert_eq!(limits.sign_in([1; 32]), Ok(()));
        }
        assert_eq!(limits.sign_in([1; 32]), Err(Wait(10)));
        assert_eq!(limits.sign_in([2; 32]), Ok(()));
        clock.advance(Duration::from_secs(10));
        assert_eq!(limits.sign_in([1; 32]), Ok(()));
        assert_eq!(limits.sign_in([1; 32]), Err(Wait(10)));
    }
}
