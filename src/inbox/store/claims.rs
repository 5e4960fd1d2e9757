//! Which idempotency keys are taken, in memory: the hot path asks nothing else.
//!
//! A key is known here by a keyed hash of it (`ClaimKey`), so that nobody outside can choose where
//! it falls. The table of them is in `taken.rs`.

use sha2::Sha256;

use super::record::{ClaimHashes, Conflicts, Meta, Place};
use super::{BusinessClaim, Claim};
use crate::message::SourceName;

/// What an event claims, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedClaims {
    pub own: ClaimHashes,
    pub business: Option<ClaimHashes>,
}

impl HashedClaims {
    /// Of its own key, or of its business key when it has one.
    pub fn at(&self, business: bool) -> Option<&ClaimHashes> {
        if business {
            self.business.as_ref()
        } else {
            Some(&self.own)
        }
    }
}

/// Hashes idempotency keys with the store's own secret.
#[derive(Clone)]
pub struct ClaimKey(hmac::Hmac<Sha256>);

impl ClaimKey {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    pub fn new(key: &[u8; 32]) -> Self {
        ClaimKey(hmac::KeyInit::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// Everything that an event claims.
    pub fn claims(&self, claim: &Claim) -> HashedClaims {
        HashedClaims {
            own: self.hash(claim),
            business: claim.business.as_ref().map(|key| self.business(key)),
        }
    }

    pub fn hash(&self, claim: &Claim) -> ClaimHashes {
        ClaimHashes {
            key: self.mac(&[&[1], &claim.key]),
            key_and_body: self.mac(&[&[2], &claim.body, &claim.key]),
        }
    }

    /// Of a business key: never the same as that of an event's own.
    pub fn business(&self, claim: &BusinessClaim) -> ClaimHashes {
        ClaimHashes {
            key: self.mac(&[&[3], &claim.key]),
            key_and_body: self.mac(&[&[4], &claim.content, &claim.key]),
        }
    }

    /// What deliveries of a source are in order by.
    pub fn order(&self, source: &SourceName, value: &[u8]) -> u64 {
        self.short(5, source, value)
    }

    /// What events of a source are about.
    pub fn version(&self, source: &SourceName, key: &[u8]) -> u64 {
        self.short(6, source, key)
    }

    fn short(&self, what: u8, source: &SourceName, value: &[u8]) -> u64 {
        let source = source.as_str().as_bytes();
        let length = u64::try_from(source.len()).unwrap_or(u64::MAX);
        let mac = self.mac(&[&[what], &length.to_be_bytes(), source, value]);
        u64::from_le_bytes(first(&mac))
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 16] {
        use hmac::Mac;
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        let mut out = [0; 16];
        for (to, from) in out.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
        out
    }
}

/// What is known of a taken key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub place: Place,
    /// Of the key and the body together: another body gives another value.
    pub check: Check,
}

/// 48 bits of `ClaimHashes::key_and_body`. That two agree by chance is noticed: before anyone hears
/// "duplicate", the whole hashes are compared in the journal.
pub type Check = [u8; 6];

pub fn check_of(hashes: &ClaimHashes) -> Check {
    first(&hashes.key_and_body)
}

/// What an event takes: its key and its business key, each together with its content where the key
/// alone was taken.
pub fn claims_of<T>(
    meta: &Meta<T>,
    conflicts: Conflicts,
) -> impl Iterator<Item = ([u8; 16], Check)> + use<T> {
    let one = |hashes: &ClaimHashes, conflict: bool| {
        let hash = if conflict {
            hashes.key_and_body
        } else {
            hashes.key
        };
        (hash, check_of(hashes))
    };
    let business = meta.business.as_ref();
    std::iter::once(one(&meta.claim, conflicts.key))
        .chain(business.map(|hashes| one(hashes, conflicts.business)))
}

pub fn first<const N: usize>(bytes: &[u8; 16]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn hashes_depend_on_secret_key_and_body() {
        let claim = |key: &[u8], body: u8| Claim {
            key: key.to_vec(),
            body: [body; 32],
            keep: Duration::ZERO,
            business: None,
            on_conflict: Default::default(),
        };
        let a = ClaimKey::new(&[1; 32]);
        let b = ClaimKey::new(&[2; 32]);
        assert_eq!(a.hash(&claim(b"k", 1)), a.hash(&claim(b"k", 1)));
        assert_eq!(a.hash(&claim(b"k", 1)).key, a.hash(&claim(b"k", 2)).key);
        assert_ne!(
            check_of(&a.hash(&claim(b"k", 1))),
            check_of(&a.hash(&claim(b"k", 2)))
        );
        assert_ne!(a.hash(&claim(b"k", 1)).key, a.hash(&claim(b"l", 1)).key);
        assert_ne!(a.hash(&claim(b"k", 1)).key, b.hash(&claim(b"k", 1)).key);
    }
}
