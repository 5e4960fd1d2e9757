//! Who a store is: its id and the key with which it hashes.

use std::io;
use std::path::Path;

use super::disk::Disk;
use super::open::Parts;
use super::record::Reader;
use super::report::{OpenError, io_error};
use super::segment::{FORMAT, HEADER, Header, HeaderRead, Identity, SegmentFile};
use crate::clock::Clock;

pub(super) const ID: &str = "store.id";

const NEW_ID: &str = "store.id.tmp";

/// Who this store is. Every segment says it, too, so that losing the file loses nothing.
pub(super) fn identity(
    disk: &dyn Disk,
    parts: &Parts,
    directory: &Path,
    files: &[SegmentFile],
) -> Result<Identity, OpenError> {
    let path = directory.join(ID);
    match SegmentFile::open(disk, &path) {
        Ok((HeaderRead::Good(header), _)) => return Ok(header.identity),
        Ok((HeaderRead::Newer(format), _)) => return Err(OpenError::Newer { path, format }),
        Ok((HeaderRead::Broken, _)) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io_error("opening", &path)(e)),
    }
    let identity = match files.last() {
        Some(file) => {
            tracing::warn!(path = %path.display(), "was missing or broken; written anew from a segment");
            file.header.identity
        }
        None => {
            let mut words = [0u8; 48];
            for word in words.chunks_exact_mut(8) {
                word.copy_from_slice(&parts.random.next_u64().to_le_bytes());
            }
            let mut reader = Reader(&words);
            Identity {
                id: reader.array().unwrap_or_default(),
                key: reader.array().unwrap_or_default(),
            }
        }
    };
    write_identity(disk, &*parts.clock, directory, identity).map_err(io_error("writing", &path))?;
    Ok(identity)
}

pub(super) fn write_identity(
    disk: &dyn Disk,
    clock: &dyn Clock,
    directory: &Path,
    identity: Identity,
) -> io::Result<()> {
    let new = directory.join(NEW_ID);
    let header = Header {
        format: FORMAT,
        number: 0,
        identity,
        created_at: clock.now(),
        mark: 0,
    };
    SegmentFile::create(disk, &new, header, u64::from(HEADER))
        .and_then(|_| disk.rename(&new, &directory.join(ID)))
        .and_then(|()| disk.sync_dir(directory))
}
