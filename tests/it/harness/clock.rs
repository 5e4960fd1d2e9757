//! A gateway whose wall clock the test sets, where libfaketime is installed.

use std::cell::Cell;
use std::path::PathBuf;

use super::{Gateway, Site};

/// libfaketime, where it is.
pub fn faketime() -> Option<PathBuf> {
    let places = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    ];
    places.iter().map(PathBuf::from).find(|p| p.exists())
}

/// Seconds ahead of the test's own clock.
pub struct FakeClock {
    file: Option<PathBuf>,
    ahead: Cell<u64>,
}

impl FakeClock {
    pub fn start(site: &Site) -> (Gateway, FakeClock) {
        let mut serve = site.command(&["serve"]);
        let file = faketime().map(|library| {
            let file = site.path("clock");
            std::fs::write(&file, "+0").unwrap();
            serve
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", &file)
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            file
        });
        let clock = FakeClock {
            file,
            ahead: Cell::new(0),
        };
        (site.start_with(serve), clock)
    }

    /// False where only real time passes.
    pub fn runs(&self) -> bool {
        self.file.is_some()
    }

    pub fn advance(&self, seconds: u64) {
        self.ahead.set(self.ahead.get() + seconds);
        if let Some(file) = &self.file {
            std::fs::write(file, format!("+{}", self.ahead.get())).unwrap();
        }
    }
}
