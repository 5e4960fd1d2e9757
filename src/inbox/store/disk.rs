//! Every file operation of the journal goes through here, so that a test can let any of them fail
//! or cut the power at it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

/// A file system, as much of it as the journal needs.
///
/// Nothing is durable before it was synced: a file's content by [`DiskFile::sync_data`], that a
/// file exists (or no longer does, or has another name) by [`Disk::sync_dir`] of its directory.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and those above it; fine when it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>>;
    /// Names (not paths) of what is in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Replaces `to` when it is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that this process may still use on the file system of `dir`.
    fn free_space(&self, dir: &Path) -> io::Result<u64>;
    /// The file, created and locked for this process alone until it is dropped; none when another
    /// holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>>;
}

/// An open file, read and written by position.
pub trait DiskFile: Send + Sync {
    /// May write less than all of `bytes`, and may be interrupted: see [`write_all_at`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// May read less than asked for; 0 at the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Content and length are on stable storage when this returns. After a failure nothing is
    /// known about what was written before, for ever: the kernel may have dropped the dirty pages
    /// and will not report it again.
    fn sync_data(&self) -> io::Result<()>;
    fn length(&self) -> io::Result<u64>;
    fn set_len(&self, len: u64) -> io::Result<()>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// For reading and writing; it must be there.
    Existing,
    /// For reading and writing; empty at first, whatever was there.
    Fresh,
}

/// Puts a small file in place of the one before, whole or not at all, durable when it returns. `names`
/// are that of the new one while it is written, and its own.
pub fn replace(
    disk: &dyn Disk,
    directory: &Path,
    names: (&str, &str),
    bytes: &[u8],
) -> io::Result<()> {
    let new = directory.join(names.0);
    let file = disk.open(&new, How::Fresh)?;
    write_all_at(&*file, bytes, 0)?;
    file.sync_data()?;
    disk.rename(&new, &directory.join(names.1))?;
    disk.sync_dir(directory)
}

/// Writes all of `bytes`, through interruptions and short writes.
pub fn write_all_at(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads until `into` is full or the file ends; how much was read.
pub fn read_up_to(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes zeros from `from` to `to`: real ones, so that later writes neither grow the file nor
/// turn unwritten extents into written ones (either costs a journal commit of the file system
/// inside the next fdatasync).
pub fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    const CHUNK: usize = 256 * 1024;
    let zeros = vec![0u8; CHUNK.min(usize::try_from(to.saturating_sub(from)).unwrap_or(CHUNK))];
    let mut at = from;
    while at < to {
        let want = usize::try_from(to - at).unwrap_or(CHUNK).min(zeros.len());
        write_all_at(file, zeros.get(..want).unwrap_or_default(), at)?;
        at += want as u64;
    }
    Ok(())
}

/// True when the disk (or a quota on it) is full.
pub fn is_full(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Nothing is written through a link: root works in the store of a user who may have put it there.
const NO_LINK: i32 = OFlags::NOFOLLOW.bits().cast_signed();

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        // What is stored are people's payments: none of the other users' business.
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        options.custom_flags(NO_LINK);
        match how {
            How::Existing => {}
            How::Fresh => {
                options.create(true).truncate(true);
            }
        }
        Ok(Arc::new(options.open(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_LINK)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Arc::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (
            directory.path().join("target"),
            directory.path().join("link"),
        );
        std::fs::write(&target, "another's").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        for how in [How::Existing, How::Fresh] {
            assert!(RealDisk.open(&link, how).is_err(), "{how:?}");
        }
        assert!(RealDisk.lock(&link).is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"another's");
        // Nor is anything made where a link leads.
        std::fs::remove_file(&target).unwrap();
        assert!(RealDisk.open(&link, How::Fresh).is_err());
        assert!(RealDisk.lock(&link).is_err());
        assert!(!target.exists());
    }
}
