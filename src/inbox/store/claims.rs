//! Which idempotency keys are taken, in memory: the hot path asks nothing else.
//!
//! A key is known here by a keyed hash of it (`ClaimKey`), so that nobody outside can choose where
//! it falls. Entries live in many short sorted vectors: 26 bytes a claim and a few percent of
//! slack, and no moment at which a large table must be moved.

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
pub fn claims_of(
    meta: &Meta,
    conflicts: Conflicts,
) -> impl Iterator<Item = ([u8; 16], Check)> + use<> {
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

/// The claims that are remembered. A claim lives until its segment is removed.
pub struct Claims {
    /// By the first byte of the hash, then by the second; the inner ones when they are first needed.
    shelves: Vec<Vec<Vec<Entry>>>,
    /// By shelf: what was loaded and is not yet in its bucket, with the second byte of its hash.
    loading: Vec<Vec<(u8, Entry)>>,
    length: usize,
}

/// 12 bytes of the hash, after the two that chose the bucket. All fields are byte arrays: no
/// alignment, no padding.
#[derive(Clone, Copy)]
struct Entry {
    hash: [u8; 12],
    check: Check,
    segment: [u8; 4],
    offset: [u8; 4],
}

impl Entry {
    fn new(hash: [u8; 12], taken: Taken) -> Self {
        Entry {
            hash,
            check: taken.check,
            segment: taken.place.segment.to_le_bytes(),
            offset: taken.place.offset.to_le_bytes(),
        }
    }

    fn taken(&self) -> Taken {
        Taken {
            place: Place {
                segment: u32::from_le_bytes(self.segment),
                offset: u32::from_le_bytes(self.offset),
            },
            check: self.check,
        }
    }
}

const SHELF: usize = 1 << 8;
const BUCKETS: usize = SHELF * SHELF;

impl Default for Claims {
    fn default() -> Self {
        Claims {
            shelves: vec![Vec::new(); SHELF],
            loading: vec![Vec::new(); SHELF],
            length: 0,
        }
    }
}

impl Claims {
    pub fn count(&self) -> usize {
        self.length
    }

    fn bucket(&mut self, number: usize) -> Option<&mut Vec<Entry>> {
        let shelf = self.shelves.get_mut(number / SHELF)?;
        if shelf.is_empty() {
            shelf.resize_with(SHELF, Vec::new);
        }
        shelf.get_mut(number % SHELF)
    }

    pub fn get(&self, hash: &[u8; 16]) -> Option<Taken> {
        let (bucket, rest) = split(hash);
        let bucket = self.shelves.get(bucket / SHELF)?.get(bucket % SHELF)?;
        let at = search(bucket, &rest).ok()?;
        bucket.get(at).map(Entry::taken)
    }

    /// Takes a key, over whoever had it.
    pub fn put(&mut self, hash: &[u8; 16], taken: Taken) {
        let (bucket, rest) = split(hash);
        let Some(bucket) = self.bucket(bucket) else {
            return;
        };
        let entry = Entry {
            hash: rest,
            check: taken.check,
            segment: taken.place.segment.to_le_bytes(),
            offset: taken.place.offset.to_le_bytes(),
        };
        match search(bucket, &rest) {
            Ok(at) => {
                if let Some(old) = bucket.get_mut(at) {
                    *old = entry;
                }
            }
            Err(at) => {
                make_room(bucket);
                bucket.insert(at, entry);
                self.length += 1;
            }
        }
    }

    /// Takes very many keys. Nothing can be asked until [`Claims::loaded`]. They are only dealt out
    /// by shelf here: going to each bucket in turn would miss every cache, ten million times.
    pub fn load(&mut self, hash: &[u8; 16], taken: Taken) {
        let (bucket, rest) = split(hash);
        if let Some(shelf) = self.loading.get_mut(bucket / SHELF) {
            let [_, second, ..] = *hash;
            shelf.push((second, Entry::new(rest, taken)));
        }
    }

    /// Puts in order what was loaded; of two with the same key the later counts.
    pub fn loaded(&mut self) {
        for number in 0..SHELF {
            let loading = self.loading.get_mut(number).map(std::mem::take);
            let loading = loading.filter(|loading| !loading.is_empty());
            let (Some(loading), Some(_)) = (loading, self.bucket(number * SHELF)) else {
                continue;
            };
            let Some(shelf) = self.shelves.get_mut(number) else {
                continue;
            };
            let mut counts = [0; SHELF];
            for (second, _) in &loading {
                if let Some(count) = counts.get_mut(usize::from(*second)) {
                    *count += 1;
                }
            }
            for (bucket, count) in shelf.iter_mut().zip(counts) {
                bucket.reserve_exact(count);
            }
            for (second, entry) in loading {
                if let Some(bucket) = shelf.get_mut(usize::from(second)) {
                    bucket.push(entry);
                }
            }
            for bucket in shelf {
                bucket.sort_by_key(|entry| entry.hash);
                bucket.dedup_by(|later, earlier| {
                    let same = later.hash == earlier.hash;
                    if same {
                        *earlier = *later;
                    }
                    same
                });
            }
        }
        self.length = self.shelves.iter().flatten().map(Vec::len).sum();
    }

    /// Gives a key back, if it is (still) taken by what lies at `place`.
    pub fn remove(&mut self, hash: &[u8; 16], place: Place) {
        let (bucket, rest) = split(hash);
        let Some(bucket) = self.bucket(bucket) else {
            return;
        };
        if let Ok(at) = search(bucket, &rest)
            && bucket.get(at).is_some_and(|e| e.taken().place == place)
        {
            bucket.remove(at);
            self.length -= 1;
        }
    }

    /// Forgets the claims of segments that are gone, a part of the table at a time: the buckets
    /// from `from` on, `count` of them. Where to go on; none at the end.
    pub fn sweep(
        &mut self,
        from: usize,
        count: usize,
        lives: impl Fn(u32) -> bool,
    ) -> Option<usize> {
        let end = (from + count).min(BUCKETS);
        for number in from..end {
            let shelf = self.shelves.get_mut(number / SHELF);
            let Some(bucket) = shelf.and_then(|shelf| shelf.get_mut(number % SHELF)) else {
                continue;
            };
            let before = bucket.len();
            bucket.retain(|e| lives(u32::from_le_bytes(e.segment)));
            self.length -= before - bucket.len();
            if bucket.capacity() > 2 * bucket.len() + 16 {
                bucket.shrink_to_fit();
            }
        }
        Some(end).filter(|next| *next < BUCKETS)
    }
}

fn make_room(bucket: &mut Vec<Entry>) {
    if bucket.len() == bucket.capacity() {
        // Doubling would leave a third of the memory unused on the average.
        bucket.reserve_exact(4 + bucket.len() / 16);
    }
}

/// Where an entry is (`Ok`) or belongs (`Err`). The hashes are evenly spread, so that it lies near
/// the place that its value says: one or two cache lines instead of the many of a binary search.
fn search(bucket: &[Entry], hash: &[u8; 12]) -> Result<usize, usize> {
    let [a, b, c, d, ..] = *hash;
    let share = u64::from(u32::from_be_bytes([a, b, c, d]));
    let mut at = usize::try_from((share * bucket.len() as u64) >> 32).unwrap_or_default();
    while at > 0 && bucket.get(at - 1).is_some_and(|e| e.hash >= *hash) {
        at -= 1;
    }
    while bucket.get(at).is_some_and(|e| e.hash < *hash) {
        at += 1;
    }
    if bucket.get(at).is_some_and(|e| e.hash == *hash) {
        Ok(at)
    } else {
        Err(at)
    }
}

fn split(hash: &[u8; 16]) -> (usize, [u8; 12]) {
    let bucket = u16::from_be_bytes(first(hash));
    let mut rest = [0; 12];
    for (to, from) in rest.iter_mut().zip(hash.iter().skip(2)) {
        *to = *from;
    }
    (usize::from(bucket), rest)
}

fn first<const N: usize>(bytes: &[u8; 16]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use crate::random::{Random, SeededRandom};

    #[test]
    fn an_entry_has_no_padding() {
        assert_eq!(size_of::<Entry>(), 26);
    }

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

    #[test]
    fn what_is_loaded_is_found() {
        let random = SeededRandom::new(2);
        let mut claims = Claims::default();
        let mut model: HashMap<[u8; 16], Taken> = HashMap::new();
        for n in 0..200_000u32 {
            let mut key = [0u8; 16];
            key[..8].copy_from_slice(
                &(random.next_u64() % 150_000)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .to_le_bytes(),
            );
            let taken = Taken {
                place: Place {
                    segment: 1,
                    offset: n,
                },
                check: first(&key),
            };
            claims.load(&key, taken);
            model.insert(key, taken);
        }
        claims.loaded();
        assert_eq!(claims.count(), model.len());
        assert!(
            model
                .iter()
                .all(|(key, taken)| claims.get(key) == Some(*taken))
        );
        assert_eq!(claims.get(&[9; 16]), None);
    }

    #[test]
    fn the_table_answers_as_a_map_does() {
        let random = SeededRandom::new(1);
        let mut claims = Claims::default();
        let mut model: HashMap<[u8; 16], Taken> = HashMap::new();
        // Few distinct hashes that share buckets, so that every case comes up often.
        let hash = || {
            let n = random.next_u64() % 700;
            let mut hash = [0u8; 16];
            hash[1] = (n % 3) as u8;
            hash[5..13].copy_from_slice(&n.to_le_bytes());
            hash
        };
        for _ in 0..20_000 {
            let key = hash();
            let place = Place {
                segment: 1 + (random.next_u64() % 5) as u32,
                offset: random.next_u64() as u32,
            };
            match random.next_u64() % 100 {
                0..60 => {
                    let taken = Taken {
                        place,
                        check: first(&key),
                    };
                    claims.put(&key, taken);
                    model.insert(key, taken);
                }
                60..98 => {
                    let place = model.get(&key).map_or(place, |t| t.place);
                    claims.remove(&key, place);
                    model.remove(&key);
                }
                _ => {
                    let gone = 1 + (random.next_u64() % 5) as u32;
                    let mut next = Some(0);
                    while let Some(from) = next {
                        next = claims.sweep(from, 10_000, |segment| segment != gone);
                    }
                    model.retain(|_, t| t.place.segment != gone);
                }
            }
            let asked = hash();
            assert_eq!(claims.get(&asked), model.get(&asked).copied());
            assert_eq!(claims.count(), model.len());
        }
    }
}
