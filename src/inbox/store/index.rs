//! The index on disk, in sled: what a start would otherwise have to read the whole journal for, and
//! the rows of the list. It is written off the hot path and can be thrown away at any time.
//!
//! How sled is used here, and why (measured; `docs/architecture.md`): its `flush` does not reach
//! the disk, so the `db` file is synced through a descriptor of our own; a torn
//! `snap.*.generating` keeps it from opening ever again, so those are removed first; large values
//! go to files that are never synced, so values stay under 4 KB; it panics where others return an
//! error, so every call is guarded. Whatever goes wrong in here costs a rebuild from the journal,
//! never an event.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::blocks::{self, StoredClaim, StoredRow, StoredSegment, StoredVersion};
use super::catalog::Block;
use super::record::{self, Reader};
use crate::message::{DestinationName, LaneName, SourceName};

/// Version of what is stored in here; another one is rebuilt, not converted.
const FORMAT: u32 = 3;

/// Why the index cannot be used.
#[derive(Debug)]
pub enum IndexError {
    Io(io::Error),
    /// sled's own words.
    Sled(String),
    Panicked,
    /// What is in it does not fit together, and what of it.
    Broken(&'static str),
    /// It belongs to another store, or was written by another version.
    Foreign,
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IndexError::Io(e) => write!(f, "{e}"),
            IndexError::Sled(e) => f.write_str(e),
            IndexError::Panicked => f.write_str("sled panicked"),
            IndexError::Broken(what) => write!(f, "does not fit together: {what}"),
            IndexError::Foreign => f.write_str("belongs to another store or version"),
        }
    }
}

impl std::error::Error for IndexError {}

impl From<io::Error> for IndexError {
    fn from(e: io::Error) -> Self {
        IndexError::Io(e)
    }
}

/// sled panics where it should not; what it was doing is lost either way.
fn guarded<T>(what: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(what)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(e))) => Err(IndexError::Io(e)),
        Ok(Err(e)) => Err(IndexError::Sled(e.to_string())),
        Err(_) => Err(IndexError::Panicked),
    }
}

pub struct Index {
    db: sled::Db,
    /// For the syncs that sled does not do.
    file: File,
}

/// The keys: one letter, then numbers in big-endian, so that they sort.
pub mod key {
    pub const META: &[u8] = b"m";
    pub const LANE: u8 = b'n';
    pub const SEGMENT: u8 = b's';
    pub const BLOCKS: u8 = b'd';
    pub const REFS: u8 = b'f';
    pub const CLAIMS: u8 = b'c';
    pub const ROWS: u8 = b'r';
    pub const VERSIONS: u8 = b'v';
    pub const WORDS: u8 = b'w';

    pub fn one(letter: u8, number: u32) -> Vec<u8> {
        let mut key = vec![letter];
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    pub fn two(letter: u8, segment: u32, number: u32) -> Vec<u8> {
        let mut key = one(letter, segment);
        key.extend_from_slice(&number.to_be_bytes());
        key
    }
}

impl Index {
    /// Opens the index, or makes an empty one.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Index, IndexError> {
        std::fs::create_dir_all(path)?;
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(".generating") {
                std::fs::remove_file(entry.path())?;
            }
        }
        let mut tries = 0;
        let db = loop {
            let config = sled::Config::new()
                .path(path)
                .mode(sled::Mode::HighThroughput)
                .cache_capacity(cache_bytes)
                // Flushing is ours, at checkpoints; a thread that does it too only adds writes.
                .flush_every_ms(None)
                .use_compression(false);
            match guarded(|| config.open()) {
                // One that was just closed in this process may still be letting go of its lock.
                Err(IndexError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock && tries < 100 => {
                    tries += 1;
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                Err(IndexError::Io(e)) if tries < 100 && e.to_string().contains("lock") => {
                    tries += 1;
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                other => break other?,
            }
        };
        File::open(path.join("conf"))?.sync_all()?;
        File::open(path)?.sync_all()?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        let file = File::open(path.join("db"))?;
        Ok(Index { db, file })
    }

    /// Removes the index from the disk, whatever is in its place.
    pub fn wipe(path: &Path) -> io::Result<()> {
        let removed = match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            Err(e) => Err(e),
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let Some(sealed) = guarded(|| self.db.get(key))? else {
            return Ok(None);
        };
        match blocks::unseal(key, &sealed) {
            Some(value) => Ok(Some(value.to_vec())),
            None => Err(IndexError::Broken("a value's checksum")),
        }
    }

    /// All under a prefix, in the order of their keys.
    fn each(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut iter = self.db.scan_prefix(prefix);
        while let Some((key, sealed)) = guarded(|| iter.next().transpose())? {
            let value =
                blocks::unseal(&key, &sealed).ok_or(IndexError::Broken("a value's checksum"))?;
            visit(&key, value)?;
        }
        Ok(())
    }

    /// The rows of one block, newest last.
    pub fn rows(&self, segment: u32, first: u32) -> Result<Vec<StoredRow>, IndexError> {
        let value = self.value(&key::two(key::ROWS, segment, first))?;
        let value = value.ok_or(IndexError::Broken("a block of rows is missing"))?;
        blocks::decode_rows(&value).ok_or(IndexError::Broken("a block of rows"))
    }

    /// The number of the first segment that is not in the index; none when it is empty.
    pub fn checkpoint(&self, store: &[u8; 16]) -> Result<Option<u32>, IndexError> {
        let Some(value) = self.value(key::META)? else {
            // Values without a checkpoint are what a first one that was cut off has left.
            return Ok(None);
        };
        let mut r = Reader(&value);
        let format = r.u32();
        if format != Some(FORMAT) || r.array::<16>().as_ref() != Some(store) {
            return Err(IndexError::Foreign);
        }
        r.u32()
            .map(Some)
            .ok_or(IndexError::Broken("the checkpoint"))
    }

    /// Names of lanes, in the order of their numbers.
    pub fn lanes(&self) -> Result<Vec<LaneName>, IndexError> {
        let mut names = Vec::new();
        self.each(&[key::LANE], |key, value| {
            let number = Reader(key.get(1..).unwrap_or_default())
                .array()
                .map(u32::from_be_bytes);
            if number != u32::try_from(names.len()).ok() {
                return Err(IndexError::Broken("the names of lanes"));
            }
            let name = String::from_utf8_lossy(value);
            let (source, destination) = name.split_once('\0').unwrap_or((&name, ""));
            names.push(LaneName {
                source: SourceName::new(source),
                destination: DestinationName::new(destination),
            });
            Ok(())
        })?;
        Ok(names)
    }

    pub fn segments(&self) -> Result<Vec<(u32, StoredSegment)>, IndexError> {
        let mut segments = Vec::new();
        self.each(&[key::SEGMENT], |key, value| {
            let number = Reader(key.get(1..).unwrap_or_default())
                .array()
                .map(u32::from_be_bytes);
            match (number, blocks::decode_segment(value)) {
                (Some(number), Some(segment)) => segments.push((number, segment)),
                _ => return Err(IndexError::Broken("a segment's summary")),
            }
            Ok(())
        })?;
        Ok(segments)
    }

    /// Blocks, refs and claims of a segment, as many as its summary says.
    pub fn blocks(&self, number: u32, segment: &StoredSegment) -> Result<Vec<Block>, IndexError> {
        let mut found = Vec::new();
        self.each(&key::one(key::BLOCKS, number), |_, value| {
            found.extend(
                blocks::decode_blocks(value).ok_or(IndexError::Broken("a directory of blocks"))?,
            );
            Ok(())
        })?;
        let rows: u64 = found.iter().map(|b| u64::from(b.rows)).sum();
        if found.len() != segment.blocks as usize || rows != u64::from(segment.summary.rows) {
            return Err(IndexError::Broken("the number of blocks"));
        }
        Ok(found)
    }

    pub fn refs(&self, number: u32, segment: &StoredSegment) -> Result<Vec<u32>, IndexError> {
        let mut found = Vec::new();
        self.each(&key::one(key::REFS, number), |_, value| {
            found.extend(blocks::decode_refs(value).ok_or(IndexError::Broken("references"))?);
            Ok(())
        })?;
        if found.len() != segment.refs as usize {
            return Err(IndexError::Broken("the number of references"));
        }
        Ok(found)
    }

    pub fn claims(
        &self,
        number: u32,
        segment: &StoredSegment,
        mut visit: impl FnMut(StoredClaim),
    ) -> Result<(), IndexError> {
        let mut found = 0;
        self.each(&key::one(key::CLAIMS, number), |_, value| {
            for claim in blocks::decode_claims(value).ok_or(IndexError::Broken("claims"))? {
                visit(claim);
                found += 1;
            }
            Ok(())
        })?;
        if found != segment.claims {
            return Err(IndexError::Broken("the number of claims"));
        }
        Ok(())
    }

    pub fn versions(
        &self,
        number: u32,
        segment: &StoredSegment,
    ) -> Result<Vec<StoredVersion>, IndexError> {
        let mut found = Vec::new();
        self.each(&key::one(key::VERSIONS, number), |_, value| {
            found.extend(blocks::decode_versions(value).ok_or(IndexError::Broken("versions"))?);
            Ok(())
        })?;
        if found.len() != segment.versions as usize {
            return Err(IndexError::Broken("the number of versions"));
        }
        Ok(found)
    }

    /// Offsets of the deeds of operators in a segment.
    pub fn words(&self, number: u32, segment: &StoredSegment) -> Result<Vec<u32>, IndexError> {
        let mut found = Vec::new();
        self.each(&key::one(key::WORDS, number), |_, value| {
            found.extend(blocks::decode_refs(value).ok_or(IndexError::Broken("deeds"))?);
            Ok(())
        })?;
        if found.len() != segment.words as usize {
            return Err(IndexError::Broken("the number of deeds"));
        }
        Ok(found)
    }

    /// Everything under a segment's number, to be removed.
    pub fn keys_of(&self, segment: u32) -> Result<Vec<Vec<u8>>, IndexError> {
        let mut keys = vec![key::one(key::SEGMENT, segment)];
        for letter in [
            key::BLOCKS,
            key::REFS,
            key::CLAIMS,
            key::ROWS,
            key::VERSIONS,
            key::WORDS,
        ] {
            let mut iter = self.db.scan_prefix(key::one(letter, segment)).keys();
            while let Some(key) = guarded(|| iter.next().transpose())? {
                keys.push(key.to_vec());
            }
        }
        Ok(keys)
    }

    /// Reads everything, and says of how many segments it speaks.
    pub fn check(&self, store: &[u8; 16]) -> Result<u32, IndexError> {
        self.checkpoint(store)?
            .ok_or(IndexError::Broken("it has no checkpoint"))?;
        self.lanes()?;
        let segments = self.segments()?;
        for (number, segment) in &segments {
            for block in self.blocks(*number, segment)? {
                if self.rows(*number, block.first)?.len() != usize::from(block.rows) {
                    return Err(IndexError::Broken("the number of rows in a block"));
                }
            }
            self.refs(*number, segment)?;
            self.claims(*number, segment, |_| {})?;
            self.versions(*number, segment)?;
            self.words(*number, segment)?;
        }
        Ok(u32::try_from(segments.len()).unwrap_or(u32::MAX))
    }

    pub fn apply(&self, write: Write) -> Result<(), IndexError> {
        guarded(|| self.db.apply_batch(write.0))
    }

    /// What was applied before is on stable storage when this returns.
    pub fn sync(&self) -> Result<(), IndexError> {
        guarded(|| self.db.flush())?;
        self.file.sync_data()?;
        Ok(())
    }
}

/// Changes that are applied together.
#[derive(Default)]
pub struct Write(sled::Batch);

impl Write {
    /// Seals and puts a value; its checksum.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> u32 {
        let sealed = blocks::seal(&key, value);
        let crc = blocks::crc_of(&sealed);
        self.0.insert(key, sealed);
        crc
    }

    pub fn remove(&mut self, key: Vec<u8>) {
        self.0.remove(key);
    }

    /// Says that every segment below `next` is in the index.
    pub fn checkpoint(&mut self, store: &[u8; 16], next: u32) {
        let mut value = Vec::with_capacity(24);
        record::put_u32(&mut value, FORMAT);
        value.extend_from_slice(store);
        record::put_u32(&mut value, next);
        self.put(key::META.to_vec(), value);
    }
}

/// Where the index of a store lies.
pub fn index_path(directory: &Path) -> PathBuf {
    directory.join("index")
}
