//! Sessions of the page: opened with a token, known by a cookie, in memory only. Of a session's id
//! only the digest is kept, so that whoever reads this memory cannot use the sessions in it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{KeyInit, Mac};

use crate::admin::token::{Caller, Digest, Tokens, digest, hex};
use crate::clock::Timestamp;
use crate::random::Random;

/// A session ends so long after it was opened, however busy it is.
pub const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// And so long after its last request.
pub const IDLE: Duration = Duration::from_secs(3600);
/// At once. One more, and the one that idles longest ends.
pub const MOST: usize = 64;
/// Most of them by one token.
pub const OF_ONE: usize = 16;

#[derive(Debug, Default)]
pub struct Sessions {
    table: Mutex<HashMap<Digest, Session>>,
}

#[derive(Debug)]
struct Session {
    caller: Caller,
    /// Of the token that it was opened with.
    token: Digest,
    begun: Timestamp,
    used: Timestamp,
}

impl Session {
    fn over(&self, now: Timestamp) -> bool {
        now.since(self.begun) >= LONGEST || now.since(self.used) >= IDLE
    }
}

/// A session as its holder may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub caller: Caller,
    /// Of the token that it was opened with.
    pub token: Digest,
    /// What a request that changes something has to say besides the cookie.
    pub csrf: String,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

impl Sessions {
    fn table(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens one for whoever showed this token; gives its id, which is not kept.
    pub fn open(
        &self,
        (caller, token): (Caller, Digest),
        now: Timestamp,
        random: &dyn Random,
    ) -> (String, Found) {
        let id = hex(random);
        let found = Found {
            caller: caller.clone(),
            token,
            csrf: csrf(&id),
            expires_at: now.plus(LONGEST),
        };
        let mut table = self.table();
        table.retain(|_, session| !session.over(now));
        // Whoever signs in again and again shuts out no one else.
        make_place(&mut table, OF_ONE, |session| session.token == token);
        make_place(&mut table, MOST, |_| true);
        let session = Session {
            caller,
            token,
            begun: now,
            used: now,
        };
        table.insert(digest(id.as_bytes()), session);
        (id, found)
    }

    /// The session with this id, if it is not over; it counts as used now.
    pub fn find(&self, id: &str, now: Timestamp) -> Option<Found> {
        let key = digest(id.as_bytes());
        let mut table = self.table();
        let session = table.get_mut(&key)?;
        if session.over(now) {
            table.remove(&key);
            return None;
        }
        session.used = session.used.max(now);
        Some(Found {
            caller: session.caller.clone(),
            token: session.token,
            csrf: csrf(id),
            expires_at: session.begun.plus(LONGEST),
        })
    }

    /// True while the session with this digest of an id is open; it does not count as used.
    pub fn is_open(&self, id: &Digest, now: Timestamp) -> bool {
        let table = self.table();
        table.get(id).is_some_and(|session| !session.over(now))
    }

    pub fn close(&self, id: &str) {
        self.table().remove(&digest(id.as_bytes()));
    }

    /// Ends the sessions whose token is no longer in force, or stands for someone else.
    pub fn keep(&self, tokens: &Tokens) {
        self.table()
            .retain(|_, session| tokens.holds(&session.caller, &session.token));
    }
}

/// Ends the ones that idle longest of those that count, until there are fewer than `most`.
fn make_place(
    table: &mut HashMap<Digest, Session>,
    most: usize,
    counts: impl Fn(&Session) -> bool,
) {
    loop {
        let counted = || table.iter().filter(|(_, session)| counts(session));
        if counted().count() < most {
            return;
        }
        let oldest = counted().min_by_key(|(_, session)| session.used);
        let Some(oldest) = oldest.map(|(id, _)| *id) else {
            return;
        };
        table.remove(&oldest);
    }
}

/// Bound to the id, so that nothing has to be kept: who does not know the id cannot make it.
fn csrf(id: &str) -> String {
    let mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(id.as_bytes());
    // HMAC takes keys of any length.
    let tag = mac.map(|mac| mac.chain_update(b"callseal csrf").finalize().into_bytes());
    tag.map(|tag| data_encoding::HEXLOWER.encode(&tag))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::token::Role;
    use crate::random::SeededRandom;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn alice() -> Caller {
        Caller {
            role: Role::Operator,
            label: "alice".into(),
        }
    }

    fn later(minutes: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(minutes * 60))
    }

    #[test]
    fn a_session_ends_when_it_idles_and_at_the_latest_after_twelve_hours() {
        let (sessions, random) = (Sessions::default(), SeededRandom::new(7));
        let (id, opened) = sessions.open((alice(), [1; 32]), NOW, &random);
        assert_eq!((id.len(), opened.csrf.len()), (64, 64));
        assert_eq!(opened.expires_at, later(12 * 60));
        assert_eq!(sessions.find(&id, later(59)), Some(opened.clone()));
        assert_eq!(sessions.find(&id, later(118)), Some(opened.clone()));
        assert_eq!(sessions.find(&id, later(178)), None);
        assert_eq!(
            sessions.find(&id, later(118)),
            None,
            "what is over stays over"
        );

        let (id, _) = sessions.open((alice(), [1; 32]), NOW, &random);
        for minute in (0..720).step_by(30) {
            assert!(sessions.find(&id, later(minute)).is_some(), "{minute}");
        }
        assert_eq!(sessions.find(&id, later(720)), None);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_end_it_nor_make_it_idle_longer() {
        let (sessions, random) = (Sessions::default(), SeededRandom::new(7));
        let (id, _) = sessions.open((alice(), [1; 32]), later(10), &random);
        assert!(sessions.find(&id, NOW).is_some());
        assert!(sessions.find(&id, later(69)).is_some());
        assert!(sessions.find(&id, later(129)).is_none());
    }

    #[test]
    fn the_one_that_idles_longest_makes_place() {
        let (sessions, random) = (Sessions::default(), SeededRandom::new(7));
        // Of several tokens: one alone may not have so many.
        let ids: Vec<String> = (0..MOST)
            .map(|n| {
                let token = [(n / OF_ONE) as u8; 32];
                sessions.open((alice(), token), NOW, &random).0
            })
            .collect();
        for id in ids.iter().filter(|id| *id != &ids[5]) {
            assert!(sessions.find(id, later(1)).is_some());
        }
        let (new, _) = sessions.open((alice(), [9; 32]), later(2), &random);
        assert_eq!(sessions.table().len(), MOST);
        assert!(sessions.find(&ids[5], later(3)).is_none());
        assert!(sessions.find(&new, later(3)).is_some());
        sessions.close(&new);
        assert!(sessions.find(&new, later(3)).is_none());
    }

    #[test]
    fn who_signs_in_again_and_again_shuts_out_no_one_else() {
        let (sessions, random) = (Sessions::default(), SeededRandom::new(7));
        let (operator, _) = sessions.open((alice(), [1; 32]), NOW, &random);
        for _ in 0..2 * MOST {
            sessions.open((alice(), [2; 32]), later(1), &random);
        }
        assert_eq!(sessions.table().len(), 1 + OF_ONE);
        assert!(sessions.find(&operator, later(2)).is_some());
    }

    #[test]
    fn ids_are_not_kept_and_the_csrf_word_is_that_of_the_id() {
        let (sessions, random) = (Sessions::default(), SeededRandom::new(7));
        let (one, first) = sessions.open((alice(), [1; 32]), NOW, &random);
        let (other, second) = sessions.open((alice(), [1; 32]), NOW, &random);
        assert_ne!(one, other);
        assert_ne!(first.csrf, second.csrf);
        let shown = format!("{sessions:?}");
        assert!(!shown.contains(&one) && !shown.contains(&first.csrf));
        assert_eq!(sessions.find(&first.csrf, NOW), None);
    }
}
