//! Opening a store: whose it is, what the index knows, and the journal from there on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::{self, Disk, DiskFile};
use super::ending;
use super::identity::{ID, identity, write_identity};
use super::keyring;
use super::owed::Owed;
use super::pace;
use super::record::Place;
use super::replay::replay;
use super::report::io_error;
pub use super::report::{IndexUse, OpenError, Report};
use super::room::{Room, RoomSettings, segment_number, segment_path};
use super::segment::{FORMAT, HEADER, HeaderRead, Identity, SegmentFile};
use super::shared::{Flags, Shared};
use super::taken::Claims;
use crate::clock::{Clock, Timestamp};
use crate::random::Random;

const LOCK: &str = "store.lock";
/// How an embedded store is set up.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    pub directory: PathBuf,
    /// Of a segment of the journal. It is filled with zeros ahead, so it is also the least space
    /// that a store takes.
    pub segment_bytes: u32,
    /// Space that is given up for settling deliveries when the disk is full; 0: none.
    pub ballast_bytes: u64,
    /// With less free space than this no event is accepted.
    pub low_water_bytes: u64,
    /// Events that may wait for the disk; more are refused with "try again later".
    pub queue_events: usize,
    pub queue_bytes: usize,
    /// Memory for sled's page cache.
    pub index_cache_bytes: u64,
    /// False: no index on disk; rows are in memory, and every start reads the whole journal.
    pub index: bool,
    /// How often the free space is looked at.
    pub tick: Duration,
    /// How many times as fast as time goes by expiry may follow the clock; 0: it believes it.
    pub clock_leap: u32,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        EmbeddedConfig {
            directory: PathBuf::from("data"),
            segment_bytes: 64 << 20,
            ballast_bytes: 16 << 20,
            low_water_bytes: 128 << 20,
            queue_events: 8192,
            queue_bytes: 64 << 20,
            index_cache_bytes: 16 << 20,
            index: true,
            tick: Duration::from_secs(1),
            clock_leap: pace::FASTER,
        }
    }
}

/// An open store, before its threads run.
pub struct Opened {
    pub shared: Arc<Shared>,
    pub claims: Claims,
    /// Conflicting events are there: their claims must be looked at, too.
    pub conflicts: bool,
    pub active: Arc<SegmentFile>,
    pub active_bytes: u64,
    pub end: u32,
    pub lock: Arc<dyn DiskFile>,
    /// Where expiry begins: what was believed before, or the latest moment that the journal knows of.
    pub latest: Option<Timestamp>,
    /// With which the keys of imported events were hashed.
    pub former_keys: Vec<[u8; 32]>,
    pub report: Report,
}

pub struct Parts {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

pub fn open(config: &EmbeddedConfig, parts: &Parts) -> Result<Opened, OpenError> {
    let started = parts.clock.now();
    let directory = &config.directory;
    let journal = directory.join("journal");
    let disk = &*parts.disk;
    if config.segment_bytes < 8 * HEADER {
        return Err(OpenError::Setting(
            "a journal segment must have at least 64 KiB",
        ));
    }
    for dir in [directory, &journal] {
        disk.create_dir(dir).map_err(io_error("creating", dir))?;
    }
    let lock = lock(disk, directory)?;
    // Any of those above may have been made just now, too: a directory whose own name is lost takes
    // all that is in it along.
    for above in directory.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        // Another user's directory may refuse; then it was not made just now either.
        let _ = disk.sync_dir(above);
    }
    // The names in it too: a process that was killed may have left one that is in memory only, and
    // what is found here is believed.
    for dir in [directory, &journal] {
        disk.sync_dir(dir).map_err(io_error("syncing", dir))?;
    }
    let (files, unreadable) = segments(disk, &journal)?;
    let identity = identity(disk, parts, directory, &files)?;
    if let Some(foreign) = files.iter().find(|f| f.header.identity != identity) {
        return Err(OpenError::Foreign {
            path: segment_path(&journal, foreign.number()),
        });
    }
    if files.is_empty() && !unreadable.is_empty() {
        return Err(OpenError::Unreadable { directory: journal });
    }
    for number in &unreadable {
        tracing::error!(
            segment = number,
            "the header of a journal segment cannot be read: its events are lost"
        );
    }
    let shared = || Arc::new(new_shared(config, parts, identity, journal.clone()));
    let mut files = files;
    let highest = files
        .iter()
        .map(|f| f.number())
        .chain(unreadable.iter().copied())
        .max()
        .unwrap_or(0);
    // What was written in an older format is read, and nothing is added to it.
    if files
        .last()
        .is_none_or(|last| last.number() != highest || last.header.format != FORMAT)
    {
        let taken = shared()
            .room
            .first(highest + 1)
            .map_err(io_error("creating a segment in", &journal))?;
        files.push(taken.file);
    }
    let files: Vec<Arc<SegmentFile>> = files.into_iter().map(Arc::new).collect();
    let ending = ending::read(disk, directory, &identity.id);
    let mut opened = replay(config, &shared, &files, ending, lock)?;
    opened.former_keys = keyring::read(disk, directory).map_err(io_error(
        "reading the keys of imported events in",
        directory,
    ))?;
    opened.latest = pace::read(disk, directory).or_else(|| latest(&opened.shared));
    let end = Place {
        segment: opened.active.number(),
        offset: opened.end,
    };
    if let Err(error) = ending::write(disk, directory, &identity.id, end) {
        tracing::warn!(%error, "how far the journal is durable could not be written down");
    }
    opened.report.unreadable = unreadable;
    opened.report.segments = u32::try_from(files.len()).unwrap_or(u32::MAX);
    opened.report.events = opened
        .shared
        .catalog
        .lock()
        .segments
        .values()
        .map(|s| u64::from(s.summary.events))
        .sum();
    opened.report.took = parts.clock.now().since(started);
    opened.shared.room.begin(opened.active.number() + 1);
    Ok(opened)
}

/// When the last event came, or the last segment was made. None in a store without events.
fn latest(shared: &Shared) -> Option<Timestamp> {
    let inner = shared.catalog.lock();
    let received = inner.segments.values().filter_map(|s| s.summary.received);
    let received = received.map(|(_, last)| last).max()?;
    let made = inner.segments.values().map(|s| s.file.header.created_at);
    made.max().map(|made| made.max(received))
}

fn new_shared(
    config: &EmbeddedConfig,
    parts: &Parts,
    identity: Identity,
    journal: PathBuf,
) -> Shared {
    let settings = RoomSettings {
        directory: config.directory.clone(),
        journal: journal.clone(),
        segment_bytes: u64::from(config.segment_bytes),
        ballast_bytes: config.ballast_bytes,
        low_water_bytes: config.low_water_bytes,
        tick: config.tick,
    };
    let (disk, clock, random) = (&parts.disk, &parts.clock, &parts.random);
    Shared {
        disk: Arc::clone(disk),
        clock: Arc::clone(clock),
        identity,
        journal,
        catalog: Default::default(),
        owed: Owed::new(random.next_u64()),
        lanes: Default::default(),
        versions: Default::default(),
        words: Default::default(),
        room: Room::new(
            Arc::clone(disk),
            Arc::clone(clock),
            Arc::clone(random),
            identity,
            settings,
        ),
        index: Default::default(),
        flags: Flags::default(),
        leaving: Default::default(),
        checkpoint: Default::default(),
    }
}

/// The lock is the file's, not its content's: it goes when the process goes. The content is for
/// the error message of the next one.
pub(super) fn lock(disk: &dyn Disk, directory: &Path) -> Result<Arc<dyn DiskFile>, OpenError> {
    let path = directory.join(LOCK);
    let Some(file) = disk.lock(&path).map_err(io_error("locking", &path))? else {
        let holder = disk.open(&path, disk::How::Existing).and_then(|file| {
            let mut text = [0; 16];
            let read = disk::read_up_to(&*file, &mut text, 0)?;
            Ok(
                String::from_utf8_lossy(text.get(..read).unwrap_or_default())
                    .trim()
                    .parse()
                    .ok(),
            )
        });
        return Err(OpenError::Locked {
            directory: directory.to_owned(),
            pid: holder.ok().flatten(),
        });
    };
    let pid = format!("{}\n", std::process::id());
    let _ = file
        .set_len(0)
        .and_then(|()| disk::write_all_at(&*file, pid.as_bytes(), 0));
    Ok(file)
}

/// All segment files in order, and the numbers of those whose headers are broken.
fn segments(disk: &dyn Disk, journal: &Path) -> Result<(Vec<SegmentFile>, Vec<u32>), OpenError> {
    let names = disk.list(journal).map_err(io_error("listing", journal))?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    let mut files = Vec::new();
    let mut unreadable = Vec::new();
    for number in numbers {
        let path = segment_path(journal, number);
        let (read, file) = SegmentFile::open(disk, &path).map_err(io_error("opening", &path))?;
        match read {
            HeaderRead::Good(header) if header.number == number => {
                files.push(SegmentFile { header, file })
            }
            HeaderRead::Good(_) | HeaderRead::Broken => unreadable.push(number),
            HeaderRead::Newer(format) => return Err(OpenError::Newer { path, format }),
        }
    }
    Ok((files, unreadable))
}

/// Makes a store where there is none, that hashes idempotency keys as another one does: what is
/// imported from that one is known again. `Ok(false)`: there is one already.
pub(super) fn found(parts: &Parts, directory: &Path, key: [u8; 32]) -> Result<bool, OpenError> {
    let disk = &*parts.disk;
    disk.create_dir(directory)
        .map_err(io_error("creating", directory))?;
    let _lock = lock(disk, directory)?;
    let journal = disk.list(&directory.join("journal")).unwrap_or_default();
    let there = disk.open(&directory.join(ID), disk::How::Existing).is_ok()
        || journal.iter().any(|name| segment_number(name).is_some());
    if there {
        return Ok(false);
    }
    let mut id = [0; 16];
    for word in id.chunks_exact_mut(8) {
        word.copy_from_slice(&parts.random.next_u64().to_le_bytes());
    }
    write_identity(disk, &*parts.clock, directory, Identity { id, key })
        .map_err(io_error("writing", &directory.join(ID)))?;
    Ok(true)
}
