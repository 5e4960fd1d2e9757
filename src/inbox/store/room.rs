//! Room on the disk: the next segment made ready ahead, the low-water mark, and the ballast that is
//! given up so that what is under way can still be settled when the disk is full.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Unavailable;
use super::disk::{self, Disk, How};
use super::segment::{FORMAT, HEADER, Header, Identity, SegmentFile};
use crate::clock::Clock;
use crate::random::Random;

pub const SUFFIX: &str = ".seg";
/// Of a segment in the making. It is given its own name when it is taken into use, so that the
/// segment with the highest number is always the one that is written to. Its number is in this
/// name, too: while one is being renamed, the next may be in the making.
const MAKING: &str = ".tmp";
const BALLAST: &str = "ballast";

pub struct RoomSettings {
    pub directory: PathBuf,
    pub journal: PathBuf,
    pub segment_bytes: u64,
    pub ballast_bytes: u64,
    pub low_water_bytes: u64,
    /// How often the free space is looked at.
    pub tick: Duration,
}

pub struct Room {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    identity: Identity,
    settings: RoomSettings,
    state: Mutex<State>,
    changed: Condvar,
    /// `State::low`, for the hot path.
    low: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The number that the next segment will have.
    wanted: u32,
    next: Option<SegmentFile>,
    /// Why there is no next segment.
    failed: Option<Unavailable>,
    /// The free space is below the mark.
    low: bool,
    /// The active segment is full and there is no next one.
    stuck: bool,
    ballast: bool,
    stopping: bool,
    /// Nobody runs [`Room::run`]: whoever needs a segment makes it.
    alone: bool,
}

/// A segment that has just got its name.
pub struct Taken {
    pub file: SegmentFile,
    pub bytes: u64,
}

/// Why there is no segment to go on with.
#[derive(Debug, PartialEq, Eq)]
pub enum NoRoom {
    Unavailable(Unavailable),
    /// The directory could not be synced: what is in it is unknown.
    SyncFailed,
}

impl Room {
    pub fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        identity: Identity,
        settings: RoomSettings,
    ) -> Self {
        Room {
            disk,
            clock,
            random,
            identity,
            settings,
            state: Mutex::default(),
            changed: Condvar::new(),
            low: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what an earlier process left half made, and looks at the disk for the first time.
    pub fn begin(&self, wanted: u32) {
        for name in self.disk.list(&self.settings.journal).unwrap_or_default() {
            if name.ends_with(MAKING) {
                let _ = self.disk.remove(&self.settings.journal.join(name));
            }
        }
        // One that a crash cut off while it was made gives less than it promises: made again.
        let ballast = self
            .disk
            .open(&self.settings.directory.join(BALLAST), How::Existing)
            .and_then(|file| file.length())
            .is_ok_and(|length| length >= self.settings.ballast_bytes);
        let mut state = self.lock();
        state.wanted = wanted;
        state.ballast = ballast;
        drop(state);
        self.look();
    }

    /// False while no event can be taken for want of space.
    pub fn accepting(&self) -> bool {
        let state = self.lock();
        !state.low && !state.stuck
    }

    /// The next segment is ready.
    #[cfg(test)]
    pub(super) fn ready(&self) -> bool {
        self.lock().next.is_some()
    }

    pub fn above_low_water(&self) -> bool {
        !self.low.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    /// The thread that keeps a segment ready and an eye on the disk.
    pub fn run(&self) {
        loop {
            self.prepare();
            let state = self.lock();
            if state.stopping {
                return;
            }
            let nothing_to_do = state.next.is_some() || state.failed.is_some();
            let timed_out = if nothing_to_do {
                let (state, wait) = self
                    .changed
                    .wait_timeout(state, self.settings.tick)
                    .unwrap_or_else(PoisonError::into_inner);
                drop(state);
                wait.timed_out()
            } else {
                false
            };
            if timed_out {
                self.look();
            }
        }
    }

    /// What the thread does, once. There is none from now on.
    #[cfg(test)]
    pub(super) fn turn(&self) {
        self.lock().alone = true;
        self.look();
        self.prepare();
    }

    /// Looks at the free space once, and mends what can be mended.
    pub fn look(&self) {
        let settings = &self.settings;
        // What cannot be asked says nothing; the writes themselves will.
        let Ok(free) = self.disk.free_space(&settings.journal) else {
            return;
        };
        let mut state = self.lock();
        // A little more than the mark before it counts as recovered: no flapping.
        let mark = settings.low_water_bytes
            + if state.low {
                settings.low_water_bytes / 8
            } else {
                0
            };
        let low = free < mark;
        if low != state.low {
            if low {
                tracing::error!(
                    free,
                    mark,
                    "disk below its low-water mark: no event is accepted"
                );
            } else {
                tracing::info!(free, "disk space is back: events are accepted again");
            }
        }
        state.low = low;
        self.low.store(low, Ordering::Relaxed);
        if !low && state.next.is_none() {
            state.failed = None;
        }
        let build = !state.ballast
            && settings.ballast_bytes > 0
            && free >= settings.low_water_bytes + settings.ballast_bytes + settings.segment_bytes;
        drop(state);
        if build && self.build_ballast().is_ok() {
            self.lock().ballast = true;
        }
    }

    fn build_ballast(&self) -> io::Result<()> {
        let path = self.settings.directory.join(BALLAST);
        let made = self.disk.open(&path, How::Fresh).and_then(|file| {
            disk::write_zeros(&*file, 0, self.settings.ballast_bytes)?;
            file.sync_data()
        });
        if made.is_err() {
            let _ = self.disk.remove(&path);
        }
        made
    }

    /// Makes the next segment if there is none.
    fn prepare(&self) {
        let wanted = {
            let state = self.lock();
            if state.stopping || state.next.is_some() || state.failed.is_some() {
                return;
            }
            state.wanted
        };
        let made = self.make_next(wanted);
        let mut state = self.lock();
        match made {
            // Its number was given to a segment out of the ballast meanwhile: make another.
            Ok(_) if state.wanted != wanted => {
                let _ = self
                    .disk
                    .remove(&making_path(&self.settings.journal, wanted));
                return;
            }
            Ok(file) => {
                state.next = Some(file);
                state.stuck = false;
            }
            Err(why) => {
                tracing::warn!(reason = ?why, "no room for another journal segment");
                state.failed = Some(why);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn make_next(&self, number: u32) -> Result<SegmentFile, Unavailable> {
        let settings = &self.settings;
        if let Ok(free) = self.disk.free_space(&settings.journal)
            && free < settings.segment_bytes + settings.low_water_bytes
        {
            return Err(Unavailable::DiskLow);
        }
        self.create(number, settings.segment_bytes)
    }

    fn create(&self, number: u32, length: u64) -> Result<SegmentFile, Unavailable> {
        let path = making_path(&self.settings.journal, number);
        let header = Header {
            format: FORMAT,
            number,
            identity: self.identity,
            created_at: self.clock.now(),
            mark: self.random.next_u64(),
        };
        SegmentFile::create(&*self.disk, &path, header, length).map_err(|e| {
            let _ = self.disk.remove(&path);
            unavailable(&e)
        })
    }

    /// The next segment, under its own name. Waits for one that is in the making.
    pub fn take(&self) -> Result<Taken, NoRoom> {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.next.take() {
                state.wanted = next.number() + 1;
                state.stuck = false;
                drop(state);
                self.changed.notify_all();
                return self.name(next);
            }
            if let Some(why) = state.failed {
                state.stuck = true;
                return Err(NoRoom::Unavailable(why));
            }
            if state.stopping {
                return Err(NoRoom::Unavailable(Unavailable::WriteFailed));
            }
            if state.alone {
                drop(state);
                self.prepare();
                state = self.lock();
                continue;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A small segment out of the ballast's space, for what must be written down though the disk
    /// is full.
    pub fn take_ballast(&self) -> Result<Taken, NoRoom> {
        let number = {
            let mut state = self.lock();
            if state.next.is_some() {
                // Space came back since `take` found none. Its number was given out already: one
                // out of the ballast would be newer by number and older by content.
                drop(state);
                return self.take();
            }
            if !std::mem::take(&mut state.ballast) {
                return Err(NoRoom::Unavailable(Unavailable::DiskLow));
            }
            // Not the number that may be in the making right now.
            state.wanted += 2;
            state.wanted - 1
        };
        tracing::warn!("disk full: giving up the ballast so that deliveries can be settled");
        let removed = self
            .disk
            .remove(&self.settings.directory.join(BALLAST))
            .and_then(|()| self.disk.sync_dir(&self.settings.directory));
        if let Err(e) = removed {
            return Err(NoRoom::Unavailable(unavailable(&e)));
        }
        let length = (self.settings.ballast_bytes / 2)
            .clamp(4 * u64::from(HEADER), self.settings.segment_bytes);
        let file = self.create(number, length).map_err(NoRoom::Unavailable)?;
        self.name(file)
    }

    fn name(&self, file: SegmentFile) -> Result<Taken, NoRoom> {
        let journal = &self.settings.journal;
        let bytes = file
            .file
            .length()
            .map_err(|e| NoRoom::Unavailable(unavailable(&e)))?;
        let making = making_path(journal, file.number());
        self.disk
            .rename(&making, &segment_path(journal, file.number()))
            .map_err(|e| {
                // The next one gets another number: nobody would ever come back to this.
                let _ = self.disk.remove(&making);
                NoRoom::Unavailable(unavailable(&e))
            })?;
        self.disk
            .sync_dir(journal)
            .map_err(|_| NoRoom::SyncFailed)?;
        Ok(Taken { file, bytes })
    }

    /// The first segment of a new store (or after one that cannot be read), made on the spot.
    pub fn first(&self, number: u32) -> io::Result<Taken> {
        let path = making_path(&self.settings.journal, number);
        let header = Header {
            format: FORMAT,
            number,
            identity: self.identity,
            created_at: self.clock.now(),
            mark: self.random.next_u64(),
        };
        let file = SegmentFile::create(&*self.disk, &path, header, self.settings.segment_bytes)?;
        self.disk
            .rename(&path, &segment_path(&self.settings.journal, number))?;
        self.disk.sync_dir(&self.settings.journal)?;
        Ok(Taken {
            file,
            bytes: self.settings.segment_bytes,
        })
    }
}

fn unavailable(e: &io::Error) -> Unavailable {
    if disk::is_full(e) {
        Unavailable::DiskLow
    } else {
        Unavailable::WriteFailed
    }
}

pub fn segment_path(journal: &Path, number: u32) -> PathBuf {
    journal.join(format!("{number:010}{SUFFIX}"))
}

fn making_path(journal: &Path, number: u32) -> PathBuf {
    journal.join(format!("{number:010}{MAKING}"))
}

/// The number in a segment file's name.
pub fn segment_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::inbox::store::faulty::{Counted, Fault, FaultyDisk};
    use crate::random::SeededRandom;

    fn room(disk: &FaultyDisk) -> Room {
        let settings = RoomSettings {
            directory: "/sim/data".into(),
            journal: "/sim/data/journal".into(),
            segment_bytes: 64 << 10,
            ballast_bytes: 128 << 10,
            low_water_bytes: 0,
            tick: Duration::from_secs(1),
        };
        let identity = Identity {
            id: [1; 16],
            key: [2; 32],
        };
        Room::new(
            Arc::new(disk.clone()),
            Arc::new(ManualClock::default()),
            Arc::new(SeededRandom::new(1)),
            identity,
            settings,
        )
    }

    fn number(taken: Result<Taken, NoRoom>) -> u32 {
        taken
            .map(|taken| taken.file.number())
            .unwrap_or_else(|why| panic!("{why:?}"))
    }

    /// The writer finds no segment, is held up, and meanwhile space comes back and the next one is
    /// made: what it then takes must not come after that one.
    #[test]
    fn numbers_only_ever_go_up() {
        let disk = FaultyDisk::new();
        let room = room(&disk);
        room.begin(2);
        room.lock().failed = Some(Unavailable::DiskLow);
        assert!(matches!(room.take(), Err(NoRoom::Unavailable(_))));
        room.look();
        room.prepare();
        let late = number(room.take_ballast());
        room.prepare();
        let next = number(room.take());
        room.prepare();
        let after = number(room.take());
        assert!(late < next && next < after, "{late} {next} {after}");
    }

    #[test]
    fn a_ballast_that_was_cut_off_is_made_anew() {
        let disk = FaultyDisk::new();
        room(&disk).begin(2);
        let path = Path::new("/sim/data/ballast");
        disk.open(path, How::Existing).unwrap().set_len(5).unwrap();
        room(&disk).begin(2);
        assert_eq!(disk.content(path).len(), 128 << 10);
    }

    #[test]
    fn a_segment_that_cannot_be_named_leaves_nothing_behind() {
        let disk = FaultyDisk::new();
        let room = room(&disk);
        room.begin(2);
        room.prepare();
        let before = disk.used();
        disk.plan(2, Fault::Eio, Counted::All);
        assert!(matches!(room.take(), Err(NoRoom::Unavailable(_))));
        assert!(disk.hit());
        assert_eq!(disk.used(), before - (64 << 10));
    }
}
