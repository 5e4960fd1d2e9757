//! Why the store could not do it.

use crate::message::EventId;

/// Why the store could not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Nothing was stored; try again later. Disk full, too much waiting.
    Unavailable(Unavailable),
    /// A sync failed: it may or may not be on disk. The process must end.
    Unknown,
    /// The lease had run out or was ended by someone else.
    LeaseLost,
    /// What is stored there does not fit its checksum.
    Damaged {
        id: EventId,
    },
    Io {
        doing: &'static str,
        kind: std::io::ErrorKind,
    },
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    DiskLow,
    WriteFailed,
    QueueFull,
    /// Larger than a journal segment can hold.
    TooLarge,
}

impl StoreError {
    /// Stable code for log, metric and admin port.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::Unavailable(Unavailable::DiskLow) => "disk_low",
            StoreError::Unavailable(Unavailable::WriteFailed) => "write_failed",
            StoreError::Unavailable(Unavailable::QueueFull) => "queue_full",
            StoreError::Unavailable(Unavailable::TooLarge) => "too_large",
            StoreError::Unknown => "sync_failed",
            StoreError::LeaseLost => "lease_lost",
            StoreError::Damaged { .. } => "damaged",
            StoreError::Io { .. } => "io",
            StoreError::Closed => "closed",
        }
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Unavailable(Unavailable::DiskLow) => f.write_str(
                "the disk is below its low-water mark: nothing is accepted until space returns",
            ),
            StoreError::Unavailable(Unavailable::WriteFailed) => {
                f.write_str("the journal could not be written")
            }
            StoreError::Unavailable(Unavailable::QueueFull) => {
                f.write_str("too many events wait for the disk")
            }
            StoreError::Unavailable(Unavailable::TooLarge) => {
                f.write_str("the event is larger than a journal segment")
            }
            StoreError::Unknown => {
                f.write_str("a sync failed: whether the event is on disk is unknown")
            }
            StoreError::LeaseLost => f.write_str("the lease had run out or was ended"),
            StoreError::Damaged { id } => {
                write!(f, "{id} is damaged on disk: its checksum does not fit")
            }
            StoreError::Io { doing, kind } => write!(f, "{doing}: {kind}"),
            StoreError::Closed => f.write_str("the store is closed"),
        }
    }
}

impl std::error::Error for StoreError {}
