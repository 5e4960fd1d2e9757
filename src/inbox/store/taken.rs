//! The table of taken keys: 22 bytes each and a sixth of slack, one wait for memory a look-up, and no
//! moment at which all of it must be moved.
//!
//! A shelf holds the keys that begin with one byte, sorted, with gaps between them: each as near
//! behind the slot that its hash says as those before it let it. So a look-up reads on from that
//! slot and has seen enough at the first gap or greater hash.

use super::claims::{Check, Taken};
use super::record::Place;

/// The claims that are remembered. A claim lives until its segment is removed.
pub struct Claims {
    /// By the first byte of the hash.
    shelves: Vec<Shelf>,
    /// By shelf: what was loaded and is not there yet.
    loading: Vec<Vec<Entry>>,
}

#[derive(Default)]
struct Shelf {
    /// More than `homes`: what is pushed out of the last of those lies behind them.
    slots: Vec<Entry>,
    /// Slots that a hash can point at.
    homes: usize,
    /// So many entries it holds, then it grows.
    limit: usize,
    length: usize,
}

/// 72 bits of the hash with the byte that chose the shelf. The secret spreads them: of ten million
/// keys, two agree in one store of a hundred million. Then the journal says that they are not the
/// same, and the later takes the place of the earlier. All fields are byte arrays: no alignment, no
/// padding.
#[derive(Clone, Copy)]
struct Entry {
    hash: [u8; 8],
    check: Check,
    /// 0: a gap.
    segment: [u8; 4],
    offset: [u8; 4],
}

const SHELVES: usize = 1 << 8;
/// Loaded entries that are put away at once, while their shelf is at hand.
const LOADED: usize = 1 << 10;

const GAP: Entry = Entry {
    hash: [0; 8],
    check: [0; 6],
    segment: [0; 4],
    offset: [0; 4],
};

impl Entry {
    fn new(hash: u64, taken: Taken) -> Self {
        Entry {
            hash: hash.to_be_bytes(),
            check: taken.check,
            segment: taken.place.segment.to_le_bytes(),
            offset: taken.place.offset.to_le_bytes(),
        }
    }

    fn hash(&self) -> u64 {
        u64::from_be_bytes(self.hash)
    }

    fn is_gap(&self) -> bool {
        self.segment == [0; 4]
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

impl Default for Claims {
    fn default() -> Self {
        Claims {
            shelves: (0..SHELVES).map(|_| Shelf::default()).collect(),
            loading: vec![Vec::new(); SHELVES],
        }
    }
}

impl Claims {
    pub fn count(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.length).sum()
    }

    pub fn get(&self, hash: &[u8; 16]) -> Option<Taken> {
        let (number, rest) = split(hash);
        let shelf = self.shelves.get(number)?;
        let at = shelf.search(rest).ok()?;
        shelf.slots.get(at).map(Entry::taken)
    }

    /// Reads one byte where a key is or belongs, and decides nothing by it: many of these in a row
    /// wait for memory together, and a look-up that follows does not.
    pub fn touch(&self, hash: &[u8; 16]) -> u8 {
        let (number, rest) = split(hash);
        let shelf = self.shelves.get(number);
        let slot = shelf.and_then(|shelf| shelf.slots.get(home(rest, shelf.homes)));
        slot.map_or(0, |entry| {
            let [byte, ..] = entry.hash;
            byte
        })
    }

    /// Takes a key, over whoever had it, which it gives back.
    pub fn put(&mut self, hash: &[u8; 16], taken: Taken) -> Option<Taken> {
        let (number, rest) = split(hash);
        let shelf = self.shelves.get_mut(number)?;
        shelf.put(Entry::new(rest, taken))
    }

    /// Takes very many keys; room for `more` of them.
    pub fn expect(&mut self, more: usize) {
        for shelf in &mut self.shelves {
            // A little above the average, and for what follows behind a checkpoint: few shelves must
            // grow, and leave a hole in the heap where they were.
            let want = shelf.length + more / SHELVES + more / (SHELVES * 32);
            if want > shelf.limit {
                shelf.resize(want);
            }
        }
    }

    /// As `put`, of very many keys. Nothing can be asked until [`Claims::loaded`]. They are put away
    /// shelf by shelf: going to each key's own in turn would miss every cache.
    pub fn load(&mut self, hash: &[u8; 16], taken: Taken) {
        let (number, rest) = split(hash);
        let (Some(loading), Some(shelf)) =
            (self.loading.get_mut(number), self.shelves.get_mut(number))
        else {
            return;
        };
        loading.push(Entry::new(rest, taken));
        if loading.len() >= LOADED {
            for entry in loading.drain(..) {
                shelf.put(entry);
            }
        }
    }

    /// Puts the rest of what was loaded away.
    pub fn loaded(&mut self) {
        for (loading, shelf) in self.loading.iter_mut().zip(&mut self.shelves) {
            for entry in std::mem::take(loading) {
                shelf.put(entry);
            }
        }
    }

    /// Gives a key back, if it is (still) taken by what lies at `place`.
    pub fn remove(&mut self, hash: &[u8; 16], place: Place) {
        let (number, rest) = split(hash);
        let Some(shelf) = self.shelves.get_mut(number) else {
            return;
        };
        if let Ok(at) = shelf.search(rest)
            && shelf
                .slots
                .get(at)
                .is_some_and(|e| e.taken().place == place)
        {
            shelf.remove(at);
        }
    }

    /// Forgets the claims of segments that are gone, a part of the table at a time: the shelves
    /// from `from` on, `count` of them. Where to go on; none at the end.
    pub fn sweep(
        &mut self,
        from: usize,
        count: usize,
        lives: impl Fn(u32) -> bool,
    ) -> Option<usize> {
        let end = (from + count).min(SHELVES);
        for shelf in self.shelves.get_mut(from..end).unwrap_or_default() {
            shelf.retain(&lives);
        }
        Some(end).filter(|next| *next < SHELVES)
    }
}

impl Shelf {
    /// Where an entry is (`Ok`) or belongs (`Err`).
    fn search(&self, hash: u64) -> Result<usize, usize> {
        let from = home(hash, self.homes);
        let rest = self.slots.get(from..).unwrap_or_default();
        for (at, entry) in (from..).zip(rest) {
            if entry.is_gap() || entry.hash() > hash {
                return Err(at);
            }
            if entry.hash() == hash {
                return Ok(at);
            }
        }
        Err(self.slots.len())
    }

    fn put(&mut self, entry: Entry) -> Option<Taken> {
        let at = match self.search(entry.hash()) {
            Ok(at) => {
                let old = self.slots.get_mut(at)?;
                return Some(std::mem::replace(old, entry).taken());
            }
            Err(_) if self.length >= self.limit => {
                self.resize(self.length + self.length / 16 + 8);
                self.search(entry.hash()).unwrap_or_else(|at| at)
            }
            Err(at) => at,
        };
        self.length += 1;
        // Those that stand there move on by one, up to the next gap.
        let rest = self.slots.get_mut(at..).unwrap_or_default();
        let gap = rest.iter().position(Entry::is_gap);
        let Some(moving) = gap.and_then(|gap| rest.get_mut(..=gap)) else {
            self.slots.insert(at, entry);
            return None;
        };
        moving.copy_within(..moving.len() - 1, 1);
        if let Some(first) = moving.first_mut() {
            *first = entry;
        }
        None
    }

    fn remove(&mut self, mut at: usize) {
        self.length -= 1;
        // Those behind it that stand behind their own slot move back by one.
        loop {
            let next = self.slots.get(at + 1).copied();
            let next = next.filter(|e| !e.is_gap() && home(e.hash(), self.homes) <= at);
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = next.unwrap_or(GAP);
            }
            if next.is_none() {
                return;
            }
            at += 1;
        }
    }

    fn retain(&mut self, lives: impl Fn(u32) -> bool) {
        let dead = |e: &Entry| !e.is_gap() && !lives(u32::from_le_bytes(e.segment));
        let gone = self.slots.iter().filter(|e| dead(e)).count();
        if gone == 0 {
            return;
        }
        for slot in &mut self.slots {
            if dead(slot) {
                *slot = GAP;
            }
        }
        self.length -= gone;
        // Holes where there were entries hide those behind them: all are placed anew.
        let much = self.limit > 2 * self.length + 16;
        self.resize(if much { self.length } else { self.limit });
    }

    /// Goes over to slots for `want` entries.
    fn resize(&mut self, want: usize) {
        let homes = want + want / 8 + 8;
        let mut slots = Vec::with_capacity(homes + homes / 64 + 8);
        for entry in self.slots.iter().filter(|e| !e.is_gap()) {
            let at = home(entry.hash(), homes);
            if slots.len() < at {
                slots.resize(at, GAP);
            }
            slots.push(*entry);
        }
        if slots.len() < homes {
            slots.resize(homes, GAP);
        }
        self.slots = slots;
        self.homes = homes;
        self.limit = want;
    }
}

/// The slot that a hash points at: the greater, the further.
fn home(hash: u64, homes: usize) -> usize {
    usize::try_from(((hash >> 32) * homes as u64) >> 32).unwrap_or_default()
}

/// The shelf, and what its entries know of the hash.
fn split(hash: &[u8; 16]) -> (usize, u64) {
    let [shelf, a, b, c, d, e, f, g, h, ..] = *hash;
    let rest = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    (usize::from(shelf), rest)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::inbox::store::claims::first;
    use crate::random::{Random, SeededRandom};

    #[test]
    fn an_entry_has_no_padding() {
        assert_eq!(size_of::<Entry>(), 22);
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
