//! A disk in memory that keeps what was synced apart from what was not, fails at the operation it
//! is told to, and can lose its power. For tests.
//!
//! After a power cut a file holds what it held at its last sync, plus, of every write since, nothing,
//! a prefix, or some of its pages; a page may be torn between two sectors. A name holds what it was
//! at the last sync of its directory, or any state that it has had since.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, How};
use crate::random::{Random, SeededRandom};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// What goes wrong, and at which operation (counted from 1 since the plan was made).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Eio,
    Full,
    /// A write or read does only a part of its work. Other operations are not touched.
    Short,
    /// As if a signal had come. Operations that the system does not interrupt are not touched.
    Interrupted,
    /// A write is done, and the system says that it is not.
    Lie,
    /// Nothing works any more, from this operation on.
    PowerCut,
}

/// Which operations are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    All,
    Writes,
    Syncs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Read,
    Write,
    Sync,
    Other,
}

#[derive(Clone, Default)]
pub(crate) struct FaultyDisk(Arc<Mutex<Sim>>);

#[derive(Default)]
struct Sim {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Since the directory was synced: the state of a name after each change.
    renamed: Vec<(PathBuf, Option<usize>)>,
    locked: Vec<PathBuf>,
    plan: Option<(u64, Fault, Counted, bool)>,
    operations: u64,
    dead: bool,
    hit: bool,
    capacity: Option<u64>,
    kept: Option<PathBuf>,
    synced_dirs: Vec<PathBuf>,
    bug_in_set_len: bool,
    hang_in_set_len: bool,
}

#[derive(Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    writes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl FaultyDisk {
    pub(crate) fn new() -> Self {
        FaultyDisk::default()
    }

    fn sim(&self) -> MutexGuard<'_, Sim> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, the `nth` operation of those counted meets `fault`.
    pub(crate) fn plan(&self, nth: u64, fault: Fault, counted: Counted) {
        let mut sim = self.sim();
        sim.operations = 0;
        sim.hit = false;
        sim.plan = Some((nth, fault, counted, false));
    }

    /// As [`FaultyDisk::plan`], and every operation after it too, until the plan is dropped.
    pub(crate) fn plan_from(&self, nth: u64, fault: Fault, counted: Counted) {
        self.plan(nth, fault, counted);
        if let Some(plan) = &mut self.sim().plan {
            plan.3 = true;
        }
    }

    pub(crate) fn plan_lying_write(&self, nth: u64) {
        self.plan(nth, Fault::Lie, Counted::Writes);
    }

    pub(crate) fn forget_plan(&self) {
        self.sim().plan = None;
    }

    /// True when the planned operation came.
    pub(crate) fn hit(&self) -> bool {
        self.sim().hit
    }

    /// The power is gone.
    pub(crate) fn is_dead(&self) -> bool {
        self.sim().dead
    }

    /// How many bytes files may have together.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        self.sim().capacity = bytes;
    }

    /// This file cannot be removed.
    pub(crate) fn keep(&self, path: Option<PathBuf>) {
        self.sim().kept = path;
    }

    /// Whoever sets the length of a file from now on panics.
    pub(crate) fn panic_in_set_len(&self) {
        self.sim().bug_in_set_len = true;
    }

    /// Whoever sets the length of a file waits until this is over.
    pub(crate) fn hang_in_set_len(&self, hang: bool) {
        self.sim().hang_in_set_len = hang;
    }

    /// Directories that were ever synced.
    pub(crate) fn synced_dirs(&self) -> Vec<PathBuf> {
        self.sim().synced_dirs.clone()
    }

    pub(crate) fn used(&self) -> u64 {
        self.sim().used()
    }

    /// Flips a bit of a file, on the disk and in every cache.
    pub(crate) fn flip(&self, path: &Path, byte: usize, bit: u8) {
        let mut sim = self.sim();
        let file = sim.names[path];
        sim.files[file].now[byte] ^= 1 << bit;
        sim.files[file].durable[byte] ^= 1 << bit;
    }

    pub(crate) fn content(&self, path: &Path) -> Vec<u8> {
        let sim = self.sim();
        sim.files[sim.names[path]].now.clone()
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.sim().names.keys().cloned().collect()
    }

    /// An exact copy, nothing of it pending.
    pub(crate) fn copy(&self) -> FaultyDisk {
        let sim = self.sim();
        let settled = |c: &Content| Content {
            now: c.now.clone(),
            durable: c.now.clone(),
            writes: Vec::new(),
        };
        FaultyDisk(Arc::new(Mutex::new(Sim {
            files: sim.files.iter().map(settled).collect(),
            names: sim.names.clone(),
            durable_names: sim.names.clone(),
            capacity: sim.capacity,
            ..Sim::default()
        })))
    }

    /// The process was killed at this moment, and the machine goes on: all that was written is
    /// there, and what was not synced is not any safer for it.
    pub(crate) fn after_kill(&self) -> FaultyDisk {
        let sim = self.sim();
        FaultyDisk(Arc::new(Mutex::new(Sim {
            files: sim.files.clone(),
            names: sim.names.clone(),
            durable_names: sim.durable_names.clone(),
            renamed: sim.renamed.clone(),
            capacity: sim.capacity,
            ..Sim::default()
        })))
    }

    /// What is left after a power cut at this moment.
    pub(crate) fn after_power_cut(&self, seed: u64) -> FaultyDisk {
        let random = SeededRandom::new(seed);
        let sim = self.sim();
        let files = sim
            .files
            .iter()
            .map(|content| content.after_power_cut(&random))
            .collect();
        let mut names = sim.durable_names.clone();
        // Directory changes reach the disk in their order, up to some point.
        let kept = random.next_u64() % (sim.renamed.len() as u64 + 1);
        for (path, file) in sim.renamed.iter().take(kept as usize) {
            match file {
                Some(file) => names.insert(path.clone(), *file),
                None => names.remove(path),
            };
        }
        FaultyDisk(Arc::new(Mutex::new(Sim {
            files,
            durable_names: names.clone(),
            names,
            capacity: sim.capacity,
            ..Sim::default()
        })))
    }

    /// Counts an operation and says what becomes of it.
    fn operate(&self, doing: Doing) -> io::Result<(MutexGuard<'_, Sim>, bool)> {
        let mut sim = self.sim();
        if sim.dead {
            return Err(io::Error::other("no power"));
        }
        let Some((nth, fault, counted, lasting)) = sim.plan else {
            return Ok((sim, false));
        };
        let counts = match counted {
            Counted::All => true,
            Counted::Writes => doing == Doing::Write,
            Counted::Syncs => doing == Doing::Sync,
        };
        if !counts {
            return Ok((sim, false));
        }
        sim.operations += 1;
        let now = sim.operations == nth || (lasting && sim.operations > nth);
        if !now {
            return Ok((sim, false));
        }
        sim.hit = true;
        match fault {
            Fault::Eio => Err(io::Error::other("input/output error")),
            Fault::Full if doing == Doing::Read => Ok((sim, false)),
            Fault::Full => Err(io::ErrorKind::StorageFull.into()),
            // Seen to where the write is.
            Fault::Lie => Ok((sim, false)),
            Fault::Short => Ok((sim, matches!(doing, Doing::Read | Doing::Write))),
            Fault::Interrupted if matches!(doing, Doing::Read | Doing::Write) => {
                Err(io::ErrorKind::Interrupted.into())
            }
            Fault::Interrupted => Ok((sim, false)),
            Fault::PowerCut => {
                sim.dead = true;
                Err(io::Error::other("no power"))
            }
        }
    }
}

impl Sim {
    fn used(&self) -> u64 {
        self.names
            .values()
            .map(|file| self.files[*file].now.len() as u64)
            .sum()
    }

    fn name(&mut self, path: &Path, file: Option<usize>) {
        match file {
            Some(file) => self.names.insert(path.to_owned(), file),
            None => self.names.remove(path),
        };
        self.renamed.push((path.to_owned(), file));
    }
}

impl Content {
    fn grow(bytes: &mut Vec<u8>, length: usize) {
        if bytes.len() < length {
            // Not `resize`: without optimisation that goes byte by byte.
            bytes.extend_from_slice(&vec![0; length - bytes.len()]);
        }
    }

    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Write(at, data) => {
                Content::grow(bytes, at + data.len());
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
            Change::Length(length) => {
                bytes.truncate(*length);
                Content::grow(bytes, *length);
            }
        }
    }

    fn after_power_cut(&self, random: &SeededRandom) -> Content {
        let mut bytes = self.durable.clone();
        let mode = random.next_u64() % 4;
        for change in &self.writes {
            match (mode, change) {
                // Nothing that was not synced is there.
                (0, _) => {}
                // Everything is.
                (1, change) => Content::apply(&mut bytes, change),
                (2, Change::Write(at, data)) => {
                    let kept = (random.next_u64() % (data.len() as u64 + 1)) as usize;
                    Content::apply(&mut bytes, &Change::Write(*at, data[..kept].to_vec()));
                    if kept < data.len() {
                        break;
                    }
                }
                (_, Change::Write(at, data)) => Content::pages(&mut bytes, *at, data, random),
                // A length is metadata: it arrives in its own time.
                (_, change @ Change::Length(_)) => {
                    if random.next_u64().is_multiple_of(2) {
                        Content::apply(&mut bytes, change);
                    }
                }
            }
        }
        Content {
            now: bytes.clone(),
            durable: bytes,
            writes: Vec::new(),
        }
    }

    /// Some pages of a write arrive, whole or torn between sectors.
    fn pages(bytes: &mut Vec<u8>, at: usize, data: &[u8], random: &SeededRandom) {
        let mut done = 0;
        while done < data.len() {
            let page_end = ((at + done) / PAGE + 1) * PAGE;
            let take = (page_end - (at + done)).min(data.len() - done);
            let keep = match random.next_u64() % 4 {
                0 => 0,
                1 => (random.next_u64() % (take as u64 / SECTOR as u64 + 1)) as usize * SECTOR,
                _ => take,
            };
            let piece = data[done..done + keep.min(take)].to_vec();
            Content::apply(bytes, &Change::Write(at + done, piece));
            done += take;
        }
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    file: usize,
    lock: Option<PathBuf>,
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        if let Some(path) = &self.lock {
            self.disk.sim().locked.retain(|locked| locked != path);
        }
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (mut sim, short) = self.disk.operate(Doing::Write)?;
        let length = if short {
            bytes.len().div_ceil(2)
        } else {
            bytes.len()
        };
        let at = offset as usize;
        let grows = (at + length).saturating_sub(sim.files[self.file].now.len()) as u64;
        if grows > 0
            && sim
                .capacity
                .is_some_and(|capacity| sim.used() + grows > capacity)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let change = Change::Write(at, bytes[..length].to_vec());
        let content = &mut sim.files[self.file];
        Content::apply(&mut content.now, &change);
        content.writes.push(change);
        match sim.plan {
            Some((nth, Fault::Lie, ..)) if sim.operations == nth => {
                Err(io::Error::other("input/output error"))
            }
            _ => Ok(length),
        }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let (sim, short) = self.disk.operate(Doing::Read)?;
        let now = &sim.files[self.file].now;
        let at = (offset as usize).min(now.len());
        let mut length = into.len().min(now.len() - at);
        if short {
            length = length.div_ceil(2);
        }
        into[..length].copy_from_slice(&now[at..at + length]);
        Ok(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut sim, _) = self.disk.operate(Doing::Sync).inspect_err(|_| {
            // As the kernel does it: the dirty pages count as clean from now on.
            let mut sim = self.disk.sim();
            if !sim.dead {
                sim.files[self.file].writes.clear();
            }
        })?;
        let content = &mut sim.files[self.file];
        for change in std::mem::take(&mut content.writes) {
            Content::apply(&mut content.durable, &change);
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let (sim, _) = self.disk.operate(Doing::Other)?;
        Ok(sim.files[self.file].now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        while self.disk.sim().hang_in_set_len {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let (mut sim, _) = self.disk.operate(Doing::Other)?;
        if sim.bug_in_set_len {
            drop(sim);
            panic!("as planned");
        }
        let content = &mut sim.files[self.file];
        let change = Change::Length(len as usize);
        Content::apply(&mut content.now, &change);
        content.writes.push(change);
        Ok(())
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.operate(Doing::Other).map(|_| ())
    }

    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>> {
        let (mut sim, _) = self.operate(Doing::Other)?;
        let file = match (sim.names.get(path).copied(), how) {
            (Some(file), How::Existing) => file,
            (Some(file), How::Fresh) => {
                let content = &mut sim.files[file];
                content.now.clear();
                content.writes.push(Change::Length(0));
                file
            }
            (None, How::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (None, How::Fresh) => {
                sim.files.push(Content::default());
                let file = sim.files.len() - 1;
                sim.name(path, Some(file));
                file
            }
        };
        drop(sim);
        Ok(Arc::new(FaultyFile {
            disk: self.clone(),
            file,
            lock: None,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let (sim, _) = self.operate(Doing::Other)?;
        let inside = sim.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut sim, _) = self.operate(Doing::Other)?;
        if !sim.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if sim.kept.as_deref() == Some(path) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        sim.name(path, None);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut sim, _) = self.operate(Doing::Other)?;
        let file = *sim.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        sim.name(to, Some(file));
        sim.name(from, None);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut sim, _) = self.operate(Doing::Sync)?;
        sim.synced_dirs.push(dir.to_owned());
        let (synced, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut sim.renamed)
            .into_iter()
            .partition(|(path, _)| path.parent() == Some(dir));
        sim.renamed = rest;
        for (path, file) in synced {
            match file {
                Some(file) => sim.durable_names.insert(path, file),
                None => sim.durable_names.remove(&path),
            };
        }
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        let (sim, _) = self.operate(Doing::Other)?;
        Ok(sim
            .capacity
            .map_or(u64::MAX / 2, |capacity| capacity.saturating_sub(sim.used())))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>> {
        if self.sim().locked.iter().any(|locked| locked == path) {
            return Ok(None);
        }
        let how = if self.sim().names.contains_key(path) {
            How::Existing
        } else {
            How::Fresh
        };
        self.open(path, how)?;
        let file = self.sim().names[path];
        self.sim().locked.push(path.to_owned());
        Ok(Some(Arc::new(FaultyFile {
            disk: self.clone(),
            file,
            lock: Some(path.to_owned()),
        })))
    }
}
