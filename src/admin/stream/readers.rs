//! How many streams each token and each session has: nobody alone takes the place of everybody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admin::auth::Pass;
use crate::admin::token::Digest;

/// Streams of one token at once, and of one session.
pub(super) const OF_TOKEN: usize = 16;
pub(super) const OF_SESSION: usize = 8;

/// By the digest of a token, or of a session's id.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<HashMap<Digest, usize>>);

impl Readers {
    pub(super) fn table(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more of this one; none above `most`.
    fn enter(self: &Arc<Self>, who: Digest, most: usize) -> Option<Reader> {
        let mut table = self.table();
        let count = table.entry(who).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Reader(self.clone(), who))
    }

    /// The places of one more stream of this caller; else what it has too many of.
    pub(super) fn places(
        self: &Arc<Self>,
        pass: &Pass,
    ) -> Result<(Reader, Option<Reader>), String> {
        let most = |most: usize, of: &str| format!("at most {most} streams of one {of}");
        let by_token = self.enter(*pass.token(), OF_TOKEN);
        let by_token = by_token.ok_or_else(|| most(OF_TOKEN, "token"))?;
        let by_session = pass.session().map(|session| {
            let place = self.enter(*session, OF_SESSION);
            place.ok_or_else(|| most(OF_SESSION, "session"))
        });
        Ok((by_token, by_session.transpose()?))
    }
}

/// The place of one stream among those of its token or session.
#[derive(Debug)]
pub(super) struct Reader(Arc<Readers>, Digest);

impl Drop for Reader {
    fn drop(&mut self) {
        let mut table = self.0.table();
        let left = table
            .get(&self.1)
            .map_or(0, |count| count.saturating_sub(1));
        match left {
            0 => drop(table.remove(&self.1)),
            left => drop(table.insert(self.1, left)),
        }
    }
}
