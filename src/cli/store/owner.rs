//! Root works in the store of another user: what it makes there becomes that user's, since the gateway that
//! runs as that user could not open it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};

use crate::cli::output;

/// Gives what is root's in a directory to the directory's owner, when it is dropped.
pub(super) struct Owner {
    directory: PathBuf,
    uid: Uid,
    gid: Gid,
}

impl Owner {
    /// None where nothing is to be given: who works is not root, or the directory is root's own, or is not
    /// there yet.
    pub(super) fn of(directory: &Path) -> Option<Owner> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let found = std::fs::metadata(directory).ok()?;
        (found.uid() != 0).then(|| Owner {
            directory: directory.to_owned(),
            uid: Uid::from_raw(found.uid()),
            gid: Gid::from_raw(found.gid()),
        })
    }

    fn give(&self) -> rustix::io::Result<()> {
        // The directory itself may be named by a link; below it none is followed.
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let top = rustix::fs::open(&self.directory, flags, Mode::empty())?;
        self.give_all_in(&top, 0)
    }

    fn give_all_in(&self, directory: &OwnedFd, depth: usize) -> rustix::io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) {
                continue;
            }
            let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory if depth < 8 => {
                    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let below = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                    self.give_all_in(&below, depth + 1)?;
                    self.give_one(below.as_fd(), &found)?;
                }
                // A second name of a file may lie elsewhere.
                FileType::RegularFile if found.st_nlink == 1 => {
                    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                    self.give_one(file.as_fd(), &found)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn give_one(&self, file: BorrowedFd<'_>, seen: &Stat) -> rustix::io::Result<()> {
        let found = rustix::fs::fstat(file)?;
        let same = (found.st_dev, found.st_ino) == (seen.st_dev, seen.st_ino);
        if same && found.st_uid == 0 {
            rustix::fs::fchown(file, Some(self.uid), Some(self.gid))?;
        }
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Err(error) = self.give() {
            output::remark(format_args!(
                "warning: not everything in {} could be given to its owner: {error}",
                self.directory.display()
            ));
        }
    }
}
