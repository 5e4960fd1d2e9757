//! The file `figures` in the data directory: once a minute and at an orderly end the windows of the
//! charts, the last moments and the usual gap of each source, and what alerts are judged by are written
//! there, and the next process begins with them. Source and destination names, numbers and times: no
//! payload, no secret.
//!
//! It is a convenience. Whatever is wrong with the file is said in the log, and then there is none. It is
//! not synced, since that would take the disk from the journal: after a power cut an older one may be
//! there, or a torn one, which its checksum shows. Nobody who accepts or delivers waits for it: a thread
//! of those that read for the admin port writes it.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::admin::history::{self, History};
use crate::admin::sources::owed;
use crate::clock::Timestamp;
use crate::message::SourceName;
use crate::telemetry::figures::{Figures, Habit, Known};
use crate::telemetry::kept::{self, MOST, Reader, Unreadable, Words};
use crate::watch::{self, Watch};

/// How often the file is written.
pub const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The sections of the file.
mod section {
    pub const TIME: u64 = 1;
    pub const SOURCES: u64 = 2;
    pub const WATCH: u64 = 3;
    /// One of each window.
    pub const WINDOW: u64 = 4;
}

/// The file of a data directory.
pub fn figures_file(directory: &Path) -> PathBuf {
    directory.join("figures")
}

/// Why the file is not taken on.
#[derive(Debug)]
enum Fault {
    Io(io::Error),
    /// A link, a directory, a pipe.
    NoFile,
    Unreadable(Unreadable),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Io(error) => error.fmt(f),
            Fault::NoFile => f.write_str("it is no regular file"),
            Fault::Unreadable(why) => why.fmt(f),
        }
    }
}

/// Writes the file, and reads that of an earlier process.
pub struct Keeper {
    watch: Arc<Watch>,
    history: Arc<History>,
    /// So much of the disk is left to others, and some more: see [`room`].
    low_water: u64,
    /// How large the file becomes.
    most: usize,
    writing: Mutex<Writing>,
}

#[derive(Default)]
struct Writing {
    /// The store's lock goes: the file is the next process's.
    ended: bool,
    /// That it cannot be written was said.
    said: bool,
    /// That not all of it fits was said.
    said_left_out: bool,
}

/// What was read.
struct Found {
    /// When it was written.
    at: Timestamp,
    sources: Vec<(SourceName, Known)>,
    watch: Option<watch::kept::Kept>,
    windows: Vec<history::kept::Kept>,
}

impl Keeper {
    pub fn new(watch: Arc<Watch>, history: Arc<History>, low_water: u64) -> Self {
        Keeper {
            watch,
            history,
            low_water,
            most: MOST,
            writing: Mutex::default(),
        }
    }

    fn path(&self) -> PathBuf {
        figures_file(&self.watch.directory)
    }

    fn figures(&self) -> &Figures {
        &self.watch.shared.metrics.figures
    }

    /// Takes on what an earlier process left; before anything is counted.
    pub fn recall(&self) {
        let path = self.path();
        let found = match read_file(&path) {
            Ok(None) => {
                return tracing::debug!(file = %path.display(), "there are no figures of an earlier process");
            }
            Ok(Some(bytes)) => self.decode(&bytes).map_err(Fault::Unreadable),
            Err(fault) => Err(fault),
        };
        match found {
            Ok(found) => self.take_on(found),
            Err(why) => {
                tracing::warn!(file = %path.display(), %why, "the figures of an earlier process are left aside: charts begin anew");
            }
        }
    }

    fn take_on(&self, found: Found) {
        let now = self.watch.shared.clock.now();
        for (name, known) in found.sources {
            if let Some(figures) = self.figures().of(&name) {
                figures.take_on(&known, now);
            }
        }
        if let Some(kept) = found.watch {
            self.watch.past().take_on(kept, found.at, now);
        }
        self.history.take_on(found.windows);
        tracing::debug!(written_at = %found.at, "took on the figures of an earlier process");
    }

    /// Writes what is known now. Blocks for as long as the disk does.
    pub fn keep(&self) {
        self.write(false);
    }

    /// The same for the last time, while the store is still ours.
    pub fn end(&self) {
        self.write(true);
    }

    fn write(&self, last: bool) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.ended {
            return;
        }
        writing.ended = last;
        let path = self.path();
        let (bytes, left_out) = self.encode();
        if left_out > 0 && !writing.said_left_out {
            tracing::warn!(file = %path.display(), left_out, most = self.most, "not all figures fit into their file: after a restart some charts would begin anew");
        }
        writing.said_left_out = left_out > 0;
        let fits = || {
            let free = self.watch.disk_free();
            free.is_none_or(|free| room(free, self.low_water, bytes.len()))
        };
        // An older one gives back its room.
        let fits = fits() || (std::fs::remove_file(&path).is_ok() && fits());
        let written = match fits {
            true => write_file(&path, &bytes),
            false => Err(io::Error::other("the disk is near inbox.low_water")),
        };
        let Err(error) = written else {
            writing.said = false;
            return;
        };
        // An old one says that no gateway ran since: better none than one that is believed.
        let _ = std::fs::remove_file(&path);
        if !writing.said {
            writing.said = true;
            tracing::warn!(file = %path.display(), %error, "the figures cannot be written: after a restart charts would begin anew");
        }
    }

    /// Also how many sections have no room.
    fn encode(&self) -> (Vec<u8>, usize) {
        let Watch { shared, store, .. } = &*self.watch;
        let state = self.watch.snapshot();
        let now = state.at;
        let gauges = |source: Option<&SourceName>| owed(shared, &**store, source);
        self.history.sample(now, self.figures(), gauges);
        let mut time = Words::default();
        time.number(now.as_millis());
        let mut sections = vec![
            (section::TIME, time),
            (section::SOURCES, sources(self.figures())),
        ];
        let past = self.watch.past().keep(&state);
        sections.extend(past.map(|past| (section::WATCH, past)));
        let windows = self.history.keep(self.figures(), gauges).into_iter();
        sections.extend(windows.map(|window| (section::WINDOW, window)));
        kept::file(sections, self.most)
    }

    /// Everything, or nothing: half of it would be believed to be all.
    fn decode(&self, file: &[u8]) -> Result<Found, Unreadable> {
        let all = self.figures().all().into_iter();
        let all: HashSet<String> = all.map(|(source, _)| source.to_string()).collect();
        let known = |name: &str| all.contains(name);
        let loaded = self.watch.shared.loaded.load();
        let lanes = loaded.rules.rules.iter().flat_map(|rule| {
            let to = rule.relay.destinations();
            to.map(|to| (rule.name.as_str(), to.name.as_str()))
        });
        let lanes: HashSet<(&str, &str)> = lanes.collect();
        let lane = |source: &str, to: &str| lanes.contains(&(source, to));
        let (mut at, mut sources, mut past) = (None, None, None);
        let mut windows = Vec::new();
        for (number, reader) in kept::sections(file)? {
            // The time comes first. One of each, but for the windows.
            let first = match number {
                section::TIME => read_time(reader).map(|read| at.replace(read).is_none()),
                section::SOURCES => {
                    read_sources(reader, known).map(|read| sources.replace(read).is_none())
                }
                section::WATCH => at
                    .and_then(|at| watch::kept::read(reader, at, known, lane))
                    .map(|read| past.replace(read).is_none()),
                section::WINDOW => history::kept::read(reader, |name| known(name.as_str()))
                    .map(|window| windows.push(window))
                    .map(|()| true),
                _ => None,
            };
            if first != Some(true) {
                return Err(Unreadable::Content);
            }
        }
        Ok(Found {
            at: at.ok_or(Unreadable::Content)?,
            sources: sources.unwrap_or_default(),
            watch: past,
            windows,
        })
    }
}

/// Whether so many bytes may be written: never so many that the store stops accepting, or soon would.
fn room(free: u64, low_water: u64, bytes: usize) -> bool {
    let needed = low_water.saturating_add(low_water / 8);
    free >= needed.saturating_add(bytes as u64)
}

fn read_time(mut reader: Reader<'_>) -> Option<Timestamp> {
    let at = reader.number()?;
    reader.is_empty().then(|| Timestamp::from_millis(at))
}

fn sources(figures: &Figures) -> Words {
    let mut words = Words::default();
    let all = figures.all();
    words.number(all.len() as u64);
    for (name, figures) in all {
        let Known {
            last_accepted,
            last_rejected,
            habit,
        } = figures.known();
        let millis = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_millis);
        words.text(name.as_str());
        words.number(millis(last_accepted));
        words.number(millis(last_rejected));
        words.number(habit.seen);
        words.number(habit.usual);
        words.number(habit.longest);
    }
    words
}

fn read_sources(
    mut reader: Reader<'_>,
    wanted: impl Fn(&str) -> bool,
) -> Option<Vec<(SourceName, Known)>> {
    let (mut sources, mut seen) = (Vec::new(), HashSet::new());
    for _ in 0..reader.count(usize::MAX)? {
        let name = reader.text()?;
        let mut moment = || {
            Some(
                Some(reader.number()?)
                    .filter(|n| *n > 0)
                    .map(Timestamp::from_millis),
            )
        };
        let known = Known {
            last_accepted: moment()?,
            last_rejected: moment()?,
            habit: Habit {
                seen: reader.number()?,
                usual: reader.number()?,
                longest: reader.number()?,
            },
        };
        if wanted(name) {
            if !seen.insert(name) {
                return None;
            }
            sources.push((SourceName::new(name), known));
        }
    }
    reader.is_empty().then_some(sources)
}

/// None: there is none. A link is not followed, a pipe not waited for.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(Fault::NoFile),
        Err(error) => return Err(Fault::Io(error.into())),
    };
    let found = file.metadata().map_err(Fault::Io)?;
    if !found.is_file() {
        return Err(Fault::NoFile);
    }
    // One more would be seen, whatever happens to the file meanwhile.
    let most = MOST as u64 + 1;
    if found.len() >= most {
        return Err(Fault::Unreadable(Unreadable::TooLarge));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(Fault::Io)?;
    Ok(Some(bytes))
}

/// There whole or not at all; what stood under the name is replaced, and if it is a link, the link.
fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    // Left over from a crash: create_new would stumble over it for ever.
    let _ = std::fs::remove_file(&fresh);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| std::fs::rename(&fresh, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests;
