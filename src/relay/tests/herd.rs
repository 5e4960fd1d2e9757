//! After a day without its application: 4.3 million deliveries are owed (50 a second), and the
//! application gets them back as it can take them. Without sockets, and with a store that only
//! counts: what is shown is what decides, in virtual time.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::message::{DestinationName, EventId};
use crate::random::SeededRandom;
use crate::relay::health::Health;
use crate::relay::tests::stage::{START, destination, millis, secs};
use crate::relay::throttle::{Grant, Report, Throttle};
use crate::rule::{Destination, Rate};

const OUTAGE: Duration = secs(24 * 3600);
const PER_SECOND: u64 = 50;
const OWED: u64 = 86_400 * PER_SECOND;
const RATE: u32 = 500;
/// The application takes so long for each, once it is back.
const TOOK: Duration = millis(20);

/// What an application sees: so many in each second, and the most in any.
#[derive(Default)]
struct Seen {
    moments: std::collections::VecDeque<Instant>,
    total: u64,
}

impl Seen {
    fn one(&mut self, now: Instant) {
        self.total += 1;
        let second = secs(1);
        while self.moments.front().is_some_and(|m| now - *m >= second) {
            self.moments.pop_front();
        }
        self.moments.push_back(now);
        assert!(
            self.moments.len() <= RATE as usize,
            "{} in a second",
            self.moments.len()
        );
    }
}

struct World {
    throttle: Throttle,
    random: SeededRandom,
    start: Instant,
    now: Instant,
    seen: Seen,
    under_way: std::collections::VecDeque<(Instant, Grant, u64)>,
    next: u64,
}

impl World {
    fn new() -> Self {
        let count = NonZeroU32::new(RATE).unwrap();
        let to = Destination {
            rate: Some(Rate {
                count,
                period: secs(1),
                burst: count,
            }),
            ..Destination::new(DestinationName::main(), destination(1))
        };
        let mut throttle = Throttle::default();
        throttle.set(&to, START);
        let start = Instant::now();
        World {
            throttle,
            random: SeededRandom::new(1),
            start,
            now: start,
            seen: Seen::default(),
            under_way: std::collections::VecDeque::new(),
            next: 0,
        }
    }

    fn wall(&self) -> Timestamp {
        START.plus(self.now - self.start)
    }

    /// Begins all that may begin now; gives the moment at which more may, if that is known.
    fn begin(&mut self, owed: u64, took: Duration) -> Option<Instant> {
        loop {
            let most = usize::try_from(owed).unwrap_or(usize::MAX).min(32);
            let granted = self.throttle.take(most, self.now);
            if granted.count == 0 {
                return granted.again;
            }
            for _ in 0..granted.count {
                self.throttle.begin(self.now);
                self.seen.one(self.now);
                self.next += 1;
                let ends = self.now + took;
                self.under_way.push_back((ends, granted.grant, self.next));
            }
        }
    }

    /// Ends the earliest, whose answer this is.
    fn end(&mut self, health: Health, took: Duration) {
        let (ends, grant, n) = self.under_way.pop_front().unwrap();
        self.now = ends.max(self.now);
        let delivery = EventId {
            segment: 1,
            offset: 8,
            tag: n,
        };
        let report = Report {
            delivery,
            health,
            begun: ends - took,
        };
        let times = (self.now, self.wall());
        self.throttle.report(grant, report, times, &self.random);
        self.throttle.end(grant, (true, true), false);
    }

    /// What this costs in memory, apart from the ids in the store.
    fn kept(&self) -> usize {
        self.throttle.kept() + self.under_way.len()
    }
}

#[test]
fn a_day_of_deliveries_comes_back_at_the_rate_and_never_faster() {
    let mut world = World::new();
    let back = world.start + OUTAGE;
    let refused = millis(1);
    while world.now < back {
        let again = world.begin(OWED, refused);
        match (world.under_way.is_empty(), again) {
            (false, _) => world.end(Health::Unreachable, refused),
            (true, Some(again)) => world.now = again.max(world.now),
            (true, None) => panic!("nothing under way and nothing to wait for"),
        }
    }
    // A minute at most between two tries, and none of those that only waited was touched.
    let tries = world.seen.total;
    assert!((1400..3000).contains(&tries), "{tries}");
    let held = world.throttle.breaker().held(START, world.wall());
    assert!(OUTAGE.abs_diff(held) < secs(60), "{held:?}");

    let (mut delivered, mut most_kept) = (0, 0);
    let (begun, mut ramp) = (world.now, Vec::new());
    while delivered < OWED {
        let again = world.begin(OWED - delivered - world.under_way.len() as u64, TOOK);
        most_kept = most_kept.max(world.kept());
        match (world.under_way.is_empty(), again) {
            (false, _) => {
                world.end(Health::Good, TOOK);
                delivered += 1;
            }
            (true, Some(again)) => world.now = again.max(world.now),
            (true, None) => panic!("nothing under way and nothing to wait for"),
        }
        if ramp.len() < 8 && world.throttle.limit() > ramp.len() {
            ramp.push(world.throttle.limit());
        }
    }
    assert_eq!(ramp, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(most_kept <= RATE as usize + 16, "{most_kept}");
    // 4.32 million at 500 a second are 2 h 24 min: nothing is given away either.
    let took = world.now - begun;
    let least = secs(OWED / u64::from(RATE));
    assert!(
        took >= least - secs(1) && took < least + secs(120),
        "{took:?}"
    );
}
