//! Notices when a rule file, a key or a certificate changes.
//!
//! It looks at the files every two seconds rather than asking the kernel to be told: that works
//! the same for bind mounts, network file systems and Kubernetes' exchange of a symbolic link,
//! where notifications are known to stay away, and costs some ten `stat` calls.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What can be seen of a set of files without reading them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<PathBuf, Seen>);

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    device: u64,
    size: u64,
    changed: (i64, i64),
}

impl Fingerprint {
    /// Looks at files, and at the `.toml` files directly in directories; links are followed.
    pub fn of(paths: &[PathBuf]) -> Self {
        let mut seen = BTreeMap::new();
        for path in paths {
            look(path, &mut seen);
            let Ok(entries) = std::fs::read_dir(path) else {
                continue;
            };
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort();
            for file in files
                .iter()
                .filter(|file| file.extension().is_some_and(|e| e == "toml"))
            {
                look(file, &mut seen);
            }
        }
        Fingerprint(seen)
    }

    /// This look, and what a later one saw of files that this one did not know of.
    #[must_use]
    pub fn completed_by(mut self, later: Fingerprint) -> Self {
        for (path, seen) in later.0 {
            self.0.entry(path).or_insert(seen);
        }
        self
    }
}

fn look(path: &Path, seen: &mut BTreeMap<PathBuf, Seen>) {
    if let Ok(meta) = std::fs::metadata(path) {
        // A directory's own times change with files that are none of ours.
        let (size, changed) = match meta.is_dir() {
            true => (0, (0, 0)),
            false => (meta.size(), (meta.mtime(), meta.mtime_nsec())),
        };
        seen.insert(
            path.to_owned(),
            Seen {
                inode: meta.ino(),
                device: meta.dev(),
                size,
                changed,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_additions_removals_and_exchanged_links_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().to_owned()];
        let mut last = Fingerprint::of(&paths);
        let mut changed = |what: &str| {
            let now = Fingerprint::of(&paths);
            assert_ne!(now, last, "{what}");
            last = now;
        };
        std::fs::write(dir.path().join("a.toml"), "a").unwrap();
        changed("added");
        std::fs::write(dir.path().join("a.toml"), "ab").unwrap();
        changed("written");
        std::fs::create_dir(dir.path().join("one")).unwrap();
        std::fs::create_dir(dir.path().join("two")).unwrap();
        for sub in ["one", "two"] {
            std::fs::write(dir.path().join(sub).join("b.toml"), "same").unwrap();
        }
        std::os::unix::fs::symlink("one", dir.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/b.toml", dir.path().join("b.toml")).unwrap();
        changed("linked");
        std::os::unix::fs::symlink("two", dir.path().join("..new")).unwrap();
        std::fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
        changed("exchanged as Kubernetes does");
        std::fs::remove_file(dir.path().join("a.toml")).unwrap();
        changed("removed");
        assert_eq!(Fingerprint::of(&paths), Fingerprint::of(&paths));
    }
}
