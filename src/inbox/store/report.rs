//! What opening a store found and did, and why it could not be opened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::segment::Gap;

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
    /// The system gives no thread.
    Thread(io::Error),
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
            OpenError::Thread(error) => write!(f, "a thread could not be started: {error}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { error, .. } | OpenError::Thread(error) => Some(error),
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
        let of = |count: u64, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        let (events, segments) = (of(self.events, "event"), u64::from(self.segments));
        write!(f, "{events} in {}", of(segments, "segment"))?;
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
