//! Work on a store that no process has open: every byte of it is checked, it is mended, and what it
//! knows is carried out and in.
//!
//! Checking changes nothing. Everything here takes the store's lock, so that a gateway and a repair
//! never meet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, How, RealDisk};
use super::embedded::OpenError;
use super::open;
use super::report::io_error;
use super::room::{segment_number, segment_path};

pub mod check;
pub mod repair;
pub mod lines;
pub mod export;
pub mod import;
pub mod tally;

/// A store that is locked and not open.
pub struct Offline {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    journal: PathBuf,
    _lock: Arc<dyn DiskFile>,
}

impl Offline {
    /// Takes the lock of a store that is there.
    pub fn lock(directory: &Path) -> Result<Offline, OpenError> {
        Offline::lock_on(Arc::new(RealDisk), directory)
    }

    pub(super) fn lock_on(disk: Arc<dyn Disk>, directory: &Path) -> Result<Offline, OpenError> {
        let journal = directory.join("journal");
        // First, so that a mistyped path does not get a lock file.
        disk.list(&journal)
            .map_err(io_error("there is no store in", directory))?;
        let lock = open::lock(&*disk, directory)?;
        Ok(Offline {
            disk,
            directory: directory.to_owned(),
            journal,
            _lock: lock,
        })
    }

    /// Numbers of the segment files, in order.
    fn numbers(&self) -> Result<Vec<u32>, OpenError> {
        let names = self
            .disk
            .list(&self.journal)
            .map_err(io_error("listing", &self.journal))?;
        let mut numbers: Vec<u32> = names
            .iter()
            .filter_map(|name| segment_number(name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path(&self, number: u32) -> PathBuf {
        segment_path(&self.journal, number)
    }

    fn file(&self, number: u32) -> Result<Arc<dyn DiskFile>, OpenError> {
        let path = self.path(number);
        self.disk
            .open(&path, How::Existing)
            .map_err(io_error("opening", &path))
    }
}
