//! How often: per address (/24, /64) and per source, with bursts.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::guard::Refusal;
use crate::listener::address::Prefix;
use crate::rule::Rate;

/// The rates of one source. Shared by all cores.
pub struct Limiter {
    per_address: Option<DefaultKeyedRateLimiter<Prefix>>,
    total: Option<DefaultDirectRateLimiter>,
    clock: DefaultClock,
    checks: AtomicU32,
}

/// Between two sweeps of addresses that are no longer limited.
const SWEEP_EVERY: u32 = 8192;

fn quota(rate: Rate) -> Option<Quota> {
    Some(Quota::with_period(rate.period / rate.count.get())?.allow_burst(rate.burst))
}

impl Limiter {
    pub fn new(per_address: Option<Rate>, total: Option<Rate>) -> Self {
        Limiter {
            per_address: per_address.and_then(quota).map(RateLimiter::keyed),
            total: total.and_then(quota).map(RateLimiter::direct),
            clock: DefaultClock::default(),
            checks: AtomicU32::new(0),
        }
    }

    /// Counts one request. The address is asked first, so that one that sends too much does not
    /// use up what all share.
    pub fn check(&self, peer: IpAddr) -> Result<(), Refusal> {
        if let Some(limiter) = &self.per_address {
            if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
                limiter.retain_recent();
            }
            limiter
                .check_key(&Prefix::of(peer))
                .map_err(|not| Refusal::RatePerAddress {
                    retry_after: self.wait(not.wait_time_from(self.clock.now())),
                })?;
        }
        if let Some(limiter) = &self.total {
            limiter.check().map_err(|not| Refusal::RateTotal {
                retry_after: self.wait(not.wait_time_from(self.clock.now())),
            })?;
        }
        Ok(())
    }

    /// Whole seconds, at least one: that is what Retry-After can say.
    fn wait(&self, exact: Duration) -> Duration {
        Duration::from_secs(exact.as_secs() + 1)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn rate(count: u32, burst: u32) -> Option<Rate> {
        let period = Duration::from_secs(24 * 3600);
        Some(Rate {
            count: NonZeroU32::new(count).unwrap(),
            period,
            burst: NonZeroU32::new(burst).unwrap(),
        })
    }

    #[test]
    fn an_address_is_limited_with_its_neighbours_and_no_one_else_is() {
        let limiter = Limiter::new(rate(1, 2), rate(1, 4));
        let ip = |a: &str| a.parse().unwrap();
        assert_eq!(limiter.check(ip("192.0.2.1")), Ok(()));
        assert_eq!(limiter.check(ip("192.0.2.2")), Ok(()));
        assert!(
            matches!(limiter.check(ip("192.0.2.3")), Err(Refusal::RatePerAddress { retry_after }) if retry_after.as_secs() > 3600)
        );
        assert_eq!(limiter.check(ip("198.51.100.1")), Ok(()));
        assert_eq!(limiter.check(ip("198.51.100.1")), Ok(()));
        assert!(matches!(
            limiter.check(ip("203.0.113.1")),
            Err(Refusal::RateTotal { .. })
        ));
    }
}
