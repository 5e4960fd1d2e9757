//! Says the same thing now and then only, however often it happens.

use std::time::Duration;

use tokio::time::Instant;

/// At most once in this time.
pub const EVERY: Duration = Duration::from_secs(60);

/// When something was last said, and how many spans it has happened to since.
#[derive(Debug, Default)]
pub struct Seldom {
    said: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// It happened to so many more. Some: it is to be said now, of so many in all; counted even
    /// where it is of none.
    pub fn happened(&mut self, spans: u64) -> Option<u64> {
        self.unsaid = self.unsaid.saturating_add(spans);
        if self.said.is_some_and(|said| said.elapsed() < EVERY) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}
