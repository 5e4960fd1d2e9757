//! What the tests stand on: a gateway process, an application behind it, a provider in front.

pub mod app;
pub mod client;
pub mod clock;
pub mod gateway;
pub mod http2;
pub mod sign;
pub mod web;

pub use app::App;
pub use client::{Client, Response};
pub use clock::FakeClock;
pub use gateway::{Gateway, Site};
pub use web::Web;

use std::time::{Duration, Instant};

/// Tries until `check` gives something, for at most 20 seconds.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
