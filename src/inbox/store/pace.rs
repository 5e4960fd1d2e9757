//! How far the clock of the machine is believed when something is to be given up for good.
//!
//! A clock that is set far ahead, be it for a minute, would let every settled event and every
//! idempotency key go at once, and what providers send again would be delivered again. So expiry has
//! a time of its own: it begins where it was at the last start or expiry (or, when that is not known,
//! at the latest moment that the journal knows of), is never believed beyond the clock, and goes
//! towards it at most [`FASTER`] times as fast as time goes by. After a week in which
//! a gateway stood still, that is seven hours in which a little more is kept.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::disk::{self, Disk, How};
use super::record::{self, Reader};
use crate::clock::Timestamp;

pub const FASTER: u32 = 24;

const NAME: &str = "store.time";
const NEW: &str = "store.time.tmp";
const MAGIC: &[u8; 16] = b"callseal time  1";
/// It is written down when it has gone so far since.
const WORTH: Duration = Duration::from_secs(3600);

pub struct Pace {
    at: Timestamp,
    faster: u32,
    /// Since the beginning, by a clock that nobody sets.
    seen: Duration,
    /// What was written down last.
    written: Option<Timestamp>,
}

impl Pace {
    /// `begin`: the latest moment that is known, or none when nothing is. `faster`: how many times
    /// as fast as time it may go; 0: the clock is believed whatever it says.
    pub fn new(begin: Option<Timestamp>, faster: u32) -> Self {
        Pace {
            at: begin.unwrap_or(Timestamp::MAX),
            faster,
            seen: Duration::ZERO,
            written: None,
        }
    }

    /// What is believed of `now`, so long after the beginning.
    pub fn believe(&mut self, now: Timestamp, elapsed: Duration) -> Timestamp {
        let since = elapsed.saturating_sub(self.seen);
        self.seen = self.seen.max(elapsed);
        if self.faster == 0 {
            return now;
        }
        let most = since.saturating_mul(self.faster);
        self.at = match self.at == Timestamp::MAX || self.at <= now {
            true => self.at.plus(most).min(now),
            // A clock that is set back for a moment is not followed at once either: from there it
            // would take years until anything expired.
            false => self.at.minus(most).max(now),
        };
        self.at.min(now)
    }

    /// What is believed, when it is worth writing down.
    pub fn worth_writing(&mut self) -> Option<Timestamp> {
        let near = |written: Timestamp| written.distance(self.at) < WORTH;
        if self.faster == 0 || self.at == Timestamp::MAX || self.written.is_some_and(near) {
            return None;
        }
        self.written = Some(self.at);
        self.written
    }
}

/// What was believed when it was last written down. None when nothing says so.
///
/// Without it a start would have to go by the moments in the journal, which come from the clock: an
/// event that was received while that was ahead would make all be believed.
pub fn read(disk: &dyn Disk, directory: &Path) -> Option<Timestamp> {
    let file = disk.open(&directory.join(NAME), How::Existing).ok()?;
    let mut bytes = [0; 32];
    let read = disk::read_up_to(&*file, &mut bytes, 0).ok()?;
    let (said, crc) = bytes.get(..read)?.split_at_checked(24)?;
    let mut r = Reader(said);
    let ours = r.array::<16>()? == *MAGIC;
    let at = Timestamp::from_millis(r.u64()?);
    let mut crc = Reader(crc);
    (ours && crc.u32()? == crc32fast::hash(said) && crc.0.is_empty()).then_some(at)
}

pub fn write(disk: &dyn Disk, directory: &Path, at: Timestamp) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    record::put_u64(&mut bytes, at.as_millis());
    let crc = crc32fast::hash(&bytes);
    record::put_u32(&mut bytes, crc);
    disk::replace(disk, directory, (NEW, NAME), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::inbox::store::faulty::FaultyDisk;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: u64) -> Timestamp {
        Timestamp::from_secs(hours * 3600)
    }

    #[test]
    fn a_clock_that_leaps_is_followed_slowly() {
        let mut pace = Pace::new(Some(at(1000)), FASTER);
        // As time goes by.
        assert_eq!(pace.believe(at(1001), HOUR), at(1001));
        // A leap of forty years.
        let leap = at(1001 + 350_000);
        assert_eq!(pace.believe(leap, HOUR), at(1001));
        assert_eq!(pace.believe(leap, HOUR * 2), at(1001 + 24));
        // It is set right again: nothing beyond the clock, ever.
        assert_eq!(pace.believe(at(1003), HOUR * 3), at(1003));
        assert_eq!(pace.believe(at(900), HOUR * 4), at(900));
        // Right again: as if nothing had been.
        assert_eq!(pace.believe(at(1004), HOUR * 5), at(1003));
        assert_eq!(pace.believe(at(1004), HOUR * 6), at(1004));
        assert_eq!(Pace::new(Some(at(1)), 0).believe(leap, HOUR), leap);
    }

    #[test]
    fn after_a_week_of_rest_it_catches_up_within_hours() {
        let mut pace = Pace::new(Some(at(1000)), FASTER);
        let now = at(1000 + 24 * 7);
        assert_eq!(pace.believe(now, Duration::ZERO), at(1000));
        assert_eq!(pace.believe(now, HOUR * 7), now);
    }

    #[test]
    fn what_was_believed_comes_back_or_nothing_does() {
        let disk = FaultyDisk::new();
        let directory = Path::new("/sim/data");
        assert_eq!(read(&disk, directory), None);
        let mut pace = Pace::new(None, FASTER);
        assert_eq!(pace.worth_writing(), None);
        pace.believe(at(1000), Duration::ZERO);
        let believed = pace.worth_writing().unwrap();
        write(&disk, directory, believed).unwrap();
        assert_eq!(read(&disk, directory), Some(at(1000)));
        assert_eq!(pace.worth_writing(), None);
        pace.believe(at(9000), HOUR);
        assert_eq!(pace.worth_writing(), Some(at(1024)));
        let path = directory.join(NAME);
        for byte in 0..disk.content(&path).len() {
            disk.flip(&path, byte, 3);
            assert_eq!(read(&disk, directory), None, "byte {byte}");
            disk.flip(&path, byte, 3);
        }
    }

    #[test]
    fn with_nothing_to_go_by_the_clock_is_where_it_begins() {
        let mut pace = Pace::new(None, FASTER);
        assert_eq!(pace.believe(at(1000), Duration::ZERO), at(1000));
        assert_eq!(pace.believe(at(9000), HOUR), at(1000 + 24));
    }
}
