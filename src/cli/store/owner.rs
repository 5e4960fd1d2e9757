//! Root works in the store of another user: what it makes there becomes that user's, since the gateway that
//! runs as that user could not open it.
//!
//! That user is not trusted with root's hand: it may put links, second names and other directories in the
//! place of what root looks at. So the directory is opened once and never looked up by its name again, and
//! below it nothing is followed.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io;

use crate::cli::output;

/// Directories below the store's own that are walked.
const DEPTH: usize = 8;

/// The directory of a store, and whose it is.
pub(super) struct Owner {
    top: OwnedFd,
    /// What was found when it was opened: owner, group, and the file system.
    seen: Stat,
    /// Only to name it.
    path: PathBuf,
}

impl Owner {
    /// None where nothing is to be given: who works is not root, or the directory is root's own, or is not
    /// there yet, or is a link, which may lead elsewhere a moment later.
    pub(super) fn of(directory: &Path) -> Option<Owner> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        // A slash or a dot at the end would follow a link.
        let path: PathBuf = directory.components().collect();
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(top) => top,
            Err(error) => {
                let link = [io::Errno::LOOP, io::Errno::NOTDIR].contains(&error);
                let others = || rustix::fs::stat(&path).is_ok_and(|at| at.st_uid != 0);
                if link && others() {
                    output::remark(format_args!(
                        "warning: {} is a link: what root makes in it stays root's; name the directory itself",
                        path.display()
                    ));
                }
                return None;
            }
        };
        let seen = rustix::fs::fstat(&top).ok()?;
        (seen.st_uid != 0).then_some(Owner { top, seen, path })
    }

    /// Everything is tried; the first that failed is told.
    fn give(&self) -> io::Result<()> {
        self.give_all_in(&self.top, 0)
    }

    fn give_all_in(&self, directory: &OwnedFd, depth: usize) -> io::Result<()> {
        let mut first = Ok(());
        for entry in Dir::read_from(directory)? {
            // After a failure of the listing itself, nothing more comes of it.
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return first.and(Err(error)),
            };
            let name = entry.file_name();
            let wanted = match depth {
                0 => is_of_a_store(name),
                _ => ![c".", c".."].contains(&name),
            };
            if wanted {
                first = first.and(self.give_entry(directory, name, depth));
            }
        }
        first
    }

    fn give_entry(&self, directory: &OwnedFd, name: &CStr, depth: usize) -> io::Result<()> {
        let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        // What is mounted below is not the store's. Only of directories: an overlay tells of files the device
        // of the layer that they lie in.
        let mounted = found.st_dev != self.seen.st_dev;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory if depth < DEPTH && !mounted => {
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                let within = match is_same(below.as_fd(), &found)? {
                    Some(_) => self.give_all_in(&below, depth + 1),
                    None => Ok(()),
                };
                within.and(self.give_one(below.as_fd(), &found))
            }
            // A second name of a file may lie elsewhere.
            FileType::RegularFile if found.st_nlink == 1 => {
                let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                self.give_one(file.as_fd(), &found)
            }
            _ => Ok(()),
        }
    }

    fn give_one(&self, file: BorrowedFd<'_>, seen: &Stat) -> io::Result<()> {
        match is_same(file, seen)? {
            Some(found) if found.st_uid == 0 && found.st_nlink == seen.st_nlink => {
                let (uid, gid) = (self.seen.st_uid, self.seen.st_gid);
                rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What is open, if that is what was seen.
fn is_same(file: BorrowedFd<'_>, seen: &Stat) -> io::Result<Option<Stat>> {
    let found = rustix::fs::fstat(file)?;
    let same = (found.st_dev, found.st_ino) == (seen.st_dev, seen.st_ino);
    Ok(same.then_some(found))
}

/// What a store has in its own directory. Others may have other things there.
fn is_of_a_store(name: &CStr) -> bool {
    let name = name.to_bytes();
    let known: [&[u8]; 4] = [b"journal", b"index", b"damaged", b"ballast"];
    known.contains(&name) || name.starts_with(b"store.")
}

/// Gives what is root's in a store to the owner of its directory, when it is dropped.
pub(super) struct Given(pub(super) Owner);

impl Drop for Given {
    fn drop(&mut self) {
        let Given(owner) = self;
        if let Err(error) = owner.give() {
            output::remark(format_args!(
                "warning: not everything in {} could be given to its owner: {error}",
                owner.path.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, chown, symlink};

    use super::*;

    const OTHER: u32 = 65_534;

    /// A directory of another user's in one that is root's; none where we are not root.
    fn site() -> Option<tempfile::TempDir> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("NOT AVAILABLE: root, who can give files away");
            return None;
        }
        let site = tempfile::tempdir().unwrap();
        for (name, uid) in [("data", OTHER), ("etc", 0)] {
            let path = site.path().join(name);
            std::fs::create_dir(&path).unwrap();
            for file in ["store.id", "admin-token"] {
                std::fs::write(path.join(file), file).unwrap();
            }
            chown(&path, Some(uid), Some(uid)).unwrap();
        }
        Some(site)
    }

    fn uid(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn a_directory_that_changes_places_with_a_link_is_given_nothing_there() {
        let Some(site) = site() else { return };
        let (data, etc) = (site.path().join("data"), site.path().join("etc"));
        let owner = Owner::of(&data).unwrap();
        let before = site.path().join("before");
        std::fs::rename(&data, &before).unwrap();
        symlink(&etc, &data).unwrap();
        drop(Given(owner));
        assert_eq!(uid(&etc.join("store.id")), 0);
        assert_eq!(uid(&before.join("store.id")), OTHER);
        // A link from the beginning, with whatever at its end.
        assert!(Owner::of(&data).is_none());
        std::fs::remove_file(&data).unwrap();
        symlink(&before, &data).unwrap();
        assert!(Owner::of(&data.join("")).is_none());
    }

    #[test]
    fn what_is_not_the_stores_stays_roots() {
        let Some(site) = site() else { return };
        let data = site.path().join("data");
        symlink(site.path().join("etc"), data.join("journal")).unwrap();
        let segment = data.join("damaged/0000000001.1-2");
        std::fs::create_dir(data.join("damaged")).unwrap();
        std::fs::write(&segment, "").unwrap();
        // Not armed: nothing is given.
        drop(Owner::of(&data).unwrap());
        assert_eq!(uid(&segment), 0);
        drop(Given(Owner::of(&data).unwrap()));
        assert_eq!(uid(&segment), OTHER);
        assert_eq!(uid(&data.join("store.id")), OTHER);
        assert_eq!(uid(&data.join("admin-token")), 0);
        assert_eq!(uid(&data.join("journal")), 0);
        assert_eq!(uid(&site.path().join("etc/store.id")), 0);
    }
}
