//! Opening a store: whose it is, what the index knows, and the journal from there on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::State;
use super::blocks::{StoredClaim, stored_claims};
use super::catalog::{Rows, Segment, is_open};
use super::checkpoint;
use super::claims::Taken;
use super::disk::{self, Disk, DiskFile};
use super::ending;
use super::index::{Index, IndexError, index_path};
use super::keyring;
use super::owed::{Open, Owed};
use super::pace;
use super::record::{Conflicts, Kind, Meta, Place, Step, Word};
use super::room::{Room, RoomSettings, segment_number, segment_path};
use super::segment::{
    FORMAT, Found, FrameRead, Gap, HEADER, Header, HeaderRead, Identity, SegmentFile, Tail, Walk,
};
use super::shared::{Flags, Shared, Stepped};
use super::taken::Claims;
use crate::clock::{Clock, Timestamp};
use crate::random::Random;

const LOCK: &str = "store.lock";
pub(super) const ID: &str = "store.id";
const NEW_ID: &str = "store.id.tmp";

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

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Locked {
        directory: PathBuf,
        pid: Option<u32>,
    },
    /// Written by a later version of this program.
    Newer { path: PathBuf, format: u32 },
    /// There are segments, and none of them can be read.
    Unreadable { directory: PathBuf },
    /// A segment of another store lies here.
    Foreign { path: PathBuf },
    /// A setting that cannot be.
    Setting(&'static str),
    Io {
        doing: &'static str,
        path: PathBuf,
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked {
                directory,
                pid: Some(pid),
            } => {
                write!(f, "{} is in use by process {pid}", directory.display())
            }
            OpenError::Locked {
                directory,
                pid: None,
            } => {
                write!(f, "{} is in use by another process", directory.display())
            }
            OpenError::Newer { path, format } => {
                write!(
                    f,
                    "{} was written by a later version of callseal (format {format})",
                    path.display()
                )
            }
            OpenError::Unreadable { directory } => write!(
                f,
                "none of the journal segments in {} can be read: restore them from a backup, or move them away to begin anew",
                directory.display()
            ),
            OpenError::Foreign { path } => {
                write!(
                    f,
                    "{} belongs to another store than the rest of its directory",
                    path.display()
                )
            }
            OpenError::Setting(what) => f.write_str(what),
            OpenError::Io { doing, path, error } => {
                write!(f, "{doing} {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { error, .. } => Some(error),
            OpenError::Locked { .. }
            | OpenError::Newer { .. }
            | OpenError::Unreadable { .. }
            | OpenError::Foreign { .. }
            | OpenError::Setting(_) => None,
        }
    }
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Io {
        doing,
        path: path.to_owned(),
        error,
    }
}

/// What opening found and did; for the banner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub segments: u32,
    /// Events that are there, and how many of them were read from the journal just now.
    pub events: u64,
    pub replayed_events: u64,
    pub replayed_steps: u64,
    /// Stretches of the journal that are neither records nor free space, in what was read just now.
    pub damage: Vec<Gap>,
    /// Segments whose header cannot be read; nothing of them is served.
    pub unreadable: Vec<u32>,
    /// Bytes of a commit that a crash cut off. None of it was ever acknowledged.
    pub torn_bytes: u64,
    pub index: IndexUse,
    pub took: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IndexUse {
    /// It was there and fitted.
    Loaded,
    /// It was made anew from the journal, and why.
    Rebuilt(String),
    /// There is none: the rows are in memory, and the next start reads the whole journal.
    #[default]
    Without,
}

/// One line for the banner: what is there, and everything that was not as a clean stop leaves it.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events in {} segments", self.events, self.segments)?;
        if self.replayed_events + self.replayed_steps > 0 {
            let (events, steps) = (self.replayed_events, self.replayed_steps);
            write!(
                f,
                "; read again from the journal: {events} events, {steps} other records"
            )?;
        }
        if self.torn_bytes > 0 {
            write!(
                f,
                "; {} bytes of an unacknowledged write wiped",
                self.torn_bytes
            )?;
        }
        match &self.index {
            // A new store has none to begin with.
            IndexUse::Rebuilt(_) if self.events == 0 => {}
            IndexUse::Loaded => {}
            IndexUse::Rebuilt(why) => write!(f, "; index rebuilt: {why}")?,
            IndexUse::Without => f.write_str("; running without an index")?,
        }
        if !self.damage.is_empty() {
            write!(
                f,
                "; {} DAMAGED stretches of the journal, see the log",
                self.damage.len()
            )?;
        }
        if !self.unreadable.is_empty() {
            write!(f, "; UNREADABLE segments {:?}", self.unreadable)?;
        }
        Ok(())
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
    /// The latest moment that the journal knows of.
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
    opened.latest = latest(&opened.shared);
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

/// Who this store is. Every segment says it, too, so that losing the file loses nothing.
fn identity(
    disk: &dyn Disk,
    parts: &Parts,
    directory: &Path,
    files: &[SegmentFile],
) -> Result<Identity, OpenError> {
    let path = directory.join(ID);
    match SegmentFile::open(disk, &path) {
        Ok((HeaderRead::Good(header), _)) => return Ok(header.identity),
        Ok((HeaderRead::Newer(format), _)) => return Err(OpenError::Newer { path, format }),
        Ok((HeaderRead::Broken, _)) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io_error("opening", &path)(e)),
    }
    let identity = match files.last() {
        Some(file) => {
            tracing::warn!(path = %path.display(), "was missing or broken; written anew from a segment");
            file.header.identity
        }
        None => {
            let mut words = [0u8; 48];
            for word in words.chunks_exact_mut(8) {
                word.copy_from_slice(&parts.random.next_u64().to_le_bytes());
            }
            let mut reader = super::record::Reader(&words);
            Identity {
                id: reader.array().unwrap_or_default(),
                key: reader.array().unwrap_or_default(),
            }
        }
    };
    write_identity(disk, &*parts.clock, directory, identity).map_err(io_error("writing", &path))?;
    Ok(identity)
}

fn write_identity(
    disk: &dyn Disk,
    clock: &dyn Clock,
    directory: &Path,
    identity: Identity,
) -> io::Result<()> {
    let new = directory.join(NEW_ID);
    let header = Header {
        format: FORMAT,
        number: 0,
        identity,
        created_at: clock.now(),
        mark: 0,
    };
    SegmentFile::create(disk, &new, header, u64::from(HEADER))
        .and_then(|_| disk.rename(&new, &directory.join(ID)))
        .and_then(|()| disk.sync_dir(directory))
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

/// Loads the index and replays the journal from where it ends; without it (or with one that does
/// not fit) the whole journal.
fn replay(
    config: &EmbeddedConfig,
    new_shared: &dyn Fn() -> Arc<Shared>,
    files: &[Arc<SegmentFile>],
    ending: Option<Place>,
    lock: Arc<dyn DiskFile>,
) -> Result<Opened, OpenError> {
    let path = index_path(&config.directory);
    let mut why = "it was not there".to_owned();
    if config.index && path.exists() {
        let mut replay = Replay::new(new_shared(), files, ending);
        replay.in_index = true;
        let loaded = Index::open(&path, config.index_cache_bytes)
            .and_then(|index| replay.load(Arc::new(index)))
            .and_then(|next| replay.journal(files, next));
        match loaded {
            Ok(()) => return replay.finish(files, lock, IndexUse::Loaded),
            Err(IndexError::Io(error)) if !replay.in_index => {
                // The journal itself could not be read: no other index would help.
                return Err(OpenError::Io {
                    doing: "reading the journal in",
                    path: config.directory.clone(),
                    error,
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "the index cannot be used: it is made anew from the journal");
                why = e.to_string();
            }
        }
    }
    let mut replay = Replay::new(new_shared(), files, ending);
    let mut used = IndexUse::Without;
    if config.index {
        let fresh = Index::wipe(&path)
            .map_err(IndexError::Io)
            .and_then(|()| Index::open(&path, config.index_cache_bytes));
        match fresh {
            Ok(index) => {
                replay.shared.set_index(Some(Arc::new(index)));
                used = IndexUse::Rebuilt(why);
            }
            Err(e) => tracing::error!(error = %e, "no index can be made: going on without"),
        }
    }
    match replay.journal(files, 0) {
        Ok(()) => replay.finish(files, lock, used),
        Err(IndexError::Io(error)) if !replay.in_index => Err(OpenError::Io {
            doing: "reading the journal in",
            path: config.directory.clone(),
            error,
        }),
        Err(e) => {
            tracing::error!(error = %e, "the new index cannot be used: going on without");
            let mut replay = Replay::new(new_shared(), files, ending);
            replay.journal(files, 0).map_err(|e| OpenError::Io {
                doing: "reading the journal in",
                path: config.directory.clone(),
                error: io::Error::other(e.to_string()),
            })?;
            replay.finish(files, lock, IndexUse::Without)
        }
    }
}

/// The last commit, and only that, may be in the memory of the system and not on the disk: its
/// process was killed before the sync, or the sync failed (then the system believes that nothing is
/// left to be done, and a sync alone would not do it either). From here on it is called durable, so
/// it is written and synced once more.
fn write_anew(file: &dyn DiskFile, from: u32, end: u32) -> io::Result<()> {
    let mut piece = vec![0; (end.saturating_sub(from) as usize).min(1 << 20)];
    let (mut at, end) = (u64::from(from), u64::from(end));
    while at < end {
        let want = usize::try_from(end - at)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        let piece = piece.get_mut(..want).unwrap_or_default();
        let read = disk::read_up_to(file, piece, at)?;
        if read == 0 {
            break;
        }
        disk::write_all_at(file, piece.get(..read).unwrap_or_default(), at)?;
        at += read as u64;
    }
    file.sync_data()
}

fn damaged(gap: &Gap) {
    tracing::error!(
        segment = gap.segment,
        from = gap.from,
        to = gap.to,
        "a part of the journal is damaged: what was recorded there is lost (`callseal store verify` says what)"
    );
}

struct Replay {
    shared: Arc<Shared>,
    claims: Claims,
    conflicts: bool,
    report: Report,
    tail: Tail,
    /// Where the last commit of the segment that was read last begins.
    last_commit: u32,
    /// Everything before was durable once.
    ending: Option<Place>,
    /// What is going on concerns the index: an error in it is no error of the journal.
    in_index: bool,
}

impl Replay {
    fn new(shared: Arc<Shared>, files: &[Arc<SegmentFile>], ending: Option<Place>) -> Self {
        {
            let mut inner = shared.catalog.lock();
            for file in files {
                inner
                    .segments
                    .insert(file.number(), Segment::new(Arc::clone(file), 0, HEADER));
            }
        }
        Replay {
            shared,
            claims: Claims::default(),
            conflicts: false,
            report: Report::default(),
            tail: Tail {
                end: HEADER,
                dirty_to: HEADER,
            },
            last_commit: HEADER,
            ending,
            in_index: false,
        }
    }

    /// Takes over what the index knows; from which segment on the journal must be replayed.
    fn load(&mut self, index: Arc<Index>) -> Result<u32, IndexError> {
        let shared = Arc::clone(&self.shared);
        let next = index
            .checkpoint(&shared.identity.id)?
            .ok_or(IndexError::Broken("it has no checkpoint"))?;
        for lane in index.lanes()? {
            shared.lanes.number(&lane);
        }
        let stored = index.segments()?;
        {
            let inner = shared.catalog.lock();
            let known = |number: &u32| stored.iter().any(|(n, _)| n == number);
            if !inner
                .segments
                .range(..next)
                .all(|(number, _)| known(number))
            {
                return Err(IndexError::Broken("a segment is missing in it"));
            }
            if inner
                .segments
                .last_key_value()
                .is_none_or(|(last, _)| *last < next)
            {
                return Err(IndexError::Broken("it knows more than the journal"));
            }
        }
        // No more than the segments have room for, whatever the index says.
        let claims = stored
            .iter()
            .map(|(_, s)| s.claims.min(s.end / 32) as usize)
            .sum();
        self.claims.expect(claims);
        for (number, segment) in stored {
            let Some(file) = shared.catalog.file(number).filter(|_| number < next) else {
                // Removed just before the last stop.
                shared.catalog.lock().garbage.push(number);
                continue;
            };
            if file.header.mark != segment.mark {
                return Err(IndexError::Broken("it speaks of another segment"));
            }
            let blocks = index.blocks(number, &segment)?;
            let refs = index.refs(number, &segment)?;
            let mut opens: Vec<Open> = Vec::new();
            for block in blocks.iter().filter(|block| block.open > 0) {
                opens.extend(
                    index
                        .rows(number, block.first)?
                        .into_iter()
                        .filter_map(|row| row.to_open(number)),
                );
            }
            index.claims(number, &segment, |claim| {
                let place = Place {
                    segment: number,
                    offset: claim.offset,
                };
                self.claims.load(
                    &claim.hash,
                    Taken {
                        place,
                        check: claim.check,
                    },
                );
            })?;
            for stored in index.versions(number, &segment)? {
                let at = Place {
                    segment: number,
                    offset: stored.offset,
                };
                shared.versions.put(stored.version, at.with_tag(stored.tag));
            }
            for offset in index.words(number, &segment)? {
                let at = Place {
                    segment: number,
                    offset,
                };
                if let FrameRead::Good(_, payload) = file.read_frame(offset)?
                    && let Some(word) = Word::decode(&payload)
                {
                    shared.words.put(at, &word);
                }
            }
            // Whether one of them is a conflict is not stored; looking twice costs little.
            self.conflicts = true;
            let mut inner = shared.catalog.lock();
            if let Some(live) = inner.segments.get_mut(&number) {
                live.bytes = file.file.length()?;
                live.end = segment.end;
                live.sealed = true;
                live.summary = segment.summary;
                live.summary.refs = refs.into_iter().collect();
                live.rows = Rows::Indexed(blocks);
                live.owed = opens
                    .iter()
                    .filter(|o| o.delivery.state == State::Owed)
                    .count() as u32;
            }
            drop(inner);
            shared
                .owed
                .put(opens.into_iter().filter(|o| is_open(o.delivery.state)));
        }
        self.claims.loaded();
        // References to what is gone say nothing.
        let mut inner = shared.catalog.lock();
        let numbers: Vec<u32> = inner.segments.keys().copied().collect();
        for segment in inner.segments.values_mut() {
            segment
                .summary
                .refs
                .retain(|r| numbers.binary_search(r).is_ok());
        }
        drop(inner);
        shared.set_index(Some(index));
        self.in_index = false;
        Ok(next)
    }

    fn journal(&mut self, files: &[Arc<SegmentFile>], next: u32) -> Result<(), IndexError> {
        let shared = Arc::clone(&self.shared);
        let newest = files.last().map_or(0, |f| f.number());
        for file in files.iter().filter(|f| f.number() >= next) {
            let gaps = self.report.damage.len();
            self.segment(file)?;
            let bytes = file.file.length()?;
            let sealed = file.number() != newest;
            self.up_to_the_ending(file, bytes);
            let Tail { end, dirty_to } = self.tail;
            // The end of the log of an older version, behind which this one goes on in a segment of
            // its own: what a crash had cut off there was never acknowledged.
            let last_of_old = file.header.format < FORMAT
                && files
                    .iter()
                    .find(|next| next.number() > file.number())
                    .is_some_and(|next| next.header.format == FORMAT);
            if sealed && last_of_old && dirty_to > end {
                self.report.torn_bytes += u64::from(dirty_to - end);
                disk::write_zeros(&*file.file, u64::from(end), u64::from(dirty_to))?;
                file.file.sync_data()?;
            } else if sealed && dirty_to > end {
                self.report.damage.push(Gap {
                    segment: file.number(),
                    from: end,
                    to: dirty_to,
                    zeros: false,
                });
            }
            if let Some(live) = shared.catalog.lock().segments.get_mut(&file.number()) {
                live.bytes = bytes;
                live.end = self.tail.end;
                live.sealed = sealed;
                live.damaged = self.report.damage.len() > gaps;
            }
            if sealed && let Some(index) = shared.index() {
                self.in_index = true;
                checkpoint::checkpoint(&shared, &index)?;
                self.in_index = false;
            }
        }
        Ok(())
    }

    /// What was durable once and is not there now is no torn commit: the log goes on behind it.
    fn up_to_the_ending(&mut self, file: &SegmentFile, bytes: u64) {
        let Some(ending) = self.ending.filter(|e| e.segment == file.number()) else {
            return;
        };
        let Tail { end, dirty_to } = self.tail;
        if ending.offset > end && u64::from(ending.offset) <= bytes {
            let gap = Gap {
                segment: file.number(),
                from: end,
                to: ending.offset,
                zeros: false,
            };
            damaged(&gap);
            self.report.damage.push(gap);
            self.tail = Tail {
                end: ending.offset,
                dirty_to: dirty_to.max(ending.offset),
            };
            self.last_commit = ending.offset;
        }
    }

    fn segment(&mut self, file: &SegmentFile) -> Result<(), IndexError> {
        let mut walk = Walk::new(file)?;
        self.last_commit = HEADER;
        while let Some(found) = walk.next_found()? {
            match found {
                Found::Gap(gap) => {
                    if gap.zeros {
                        // A page of a commit that the power cut off: nothing acknowledged.
                        self.report.torn_bytes += u64::from(gap.to - gap.from);
                    } else {
                        damaged(&gap);
                        self.report.damage.push(gap);
                    }
                }
                Found::Frame {
                    offset,
                    head,
                    payload,
                } => {
                    let at = Place {
                        segment: file.number(),
                        offset,
                    };
                    if head.first_of_commit {
                        self.last_commit = offset;
                    }
                    match head.kind {
                        Kind::Accepted => {
                            if let Ok(Some(meta)) = Meta::from_payload(&payload) {
                                self.accepted(at, &meta, head.conflicts);
                            }
                        }
                        Kind::Word => {
                            if let Some(word) = Word::decode(&payload) {
                                self.report.replayed_steps += 1;
                                self.shared.words.put(at, &word);
                            }
                        }
                        Kind::Step => {
                            if let (Some(id), Some(step)) = (head.subject, Step::decode(&payload)) {
                                self.step(at, Place::of(id), id.tag, &step)?;
                            }
                        }
                    }
                }
            }
        }
        self.tail = walk.tail();
        Ok(())
    }

    fn accepted(&mut self, at: Place, meta: &Meta, conflicts: Conflicts) {
        self.report.replayed_events += 1;
        self.conflicts |= conflicts.key || conflicts.business;
        let claims: SmallVec<[StoredClaim; 2]> =
            stored_claims(at.offset, meta, conflicts).collect();
        for StoredClaim { hash, check, .. } in &claims {
            let taken = Taken {
                place: at,
                check: *check,
            };
            self.claims.put(hash, taken);
        }
        let rows = self.shared.rows_of_meta(at, meta);
        self.shared
            .committed(at.segment, at.offset, (&rows, &claims), &[]);
    }

    fn step(&mut self, at: Place, place: Place, tag: u64, step: &Step) -> Result<(), IndexError> {
        self.report.replayed_steps += 1;
        let known = self.shared.owed.get(place);
        let mut delivery = step.delivery;
        delivery.last = Some(at);
        let (lane, order) = match known {
            Some(open) => (open.lane, open.order),
            None if is_open(delivery.state) => {
                self.in_index = true;
                let row = self
                    .shared
                    .find(place)
                    .map_err(|_| IndexError::Broken("a row cannot be read"))?;
                self.in_index = false;
                // Its segment is gone, or what was accepted there is damaged.
                let Some(row) = row else { return Ok(()) };
                (row.lane, self.shared.order_of(place))
            }
            // It was ended before and is now: nobody asks for its lane.
            None => (0, None),
        };
        let was = known.map_or(State::Delivered, |open| open.delivery.state);
        let open = Open {
            place,
            tag,
            lane,
            order,
            delivery,
        };
        self.shared.committed(
            at.segment,
            at.offset,
            (&[], &[]),
            &[Stepped {
                open,
                was,
                keep_lease: false,
            }],
        );
        Ok(())
    }

    /// Makes the end of the log clean: what lies behind it must never come back.
    fn finish(
        mut self,
        files: &[Arc<SegmentFile>],
        lock: Arc<dyn DiskFile>,
        index: IndexUse,
    ) -> Result<Opened, OpenError> {
        let Some(active) = files.last().map(Arc::clone) else {
            return Err(OpenError::Setting("a store has at least one segment"));
        };
        let Tail { end, dirty_to } = self.tail;
        if dirty_to > end {
            self.report.torn_bytes += u64::from(dirty_to - end);
            tracing::warn!(
                segment = active.number(),
                from = end,
                to = dirty_to,
                "the end of the journal was cut off in the middle of a commit: nothing of it was acknowledged, unless the disk has altered what was written"
            );
            disk::write_zeros(&*active.file, u64::from(end), u64::from(dirty_to)).map_err(
                io_error("clearing the end of the journal in", &self.shared.journal),
            )?;
        }
        write_anew(&*active.file, self.last_commit, end).map_err(io_error(
            "making the end of the journal durable in",
            &self.shared.journal,
        ))?;
        self.report.index = index;
        let active_bytes = active.file.length().map_err(io_error(
            "asking the length of a segment in",
            &self.shared.journal,
        ))?;
        Ok(Opened {
            shared: self.shared,
            claims: self.claims,
            conflicts: self.conflicts,
            active,
            active_bytes,
            end,
            lock,
            latest: None,
            former_keys: Vec::new(),
            report: self.report,
        })
    }
}
