//! How far the journal was durable when a process last said so: at its start, and when it stopped.
//!
//! Without this the last record of a journal could not be told from the torn end of a commit that was
//! never acknowledged. Up to the place that is written down here everything was on stable storage:
//! what cannot be read of it is damage, and is named, never wiped.

use std::io;
use std::path::Path;

use super::disk::{self, Disk, How};
use super::record::{self, Place, Reader};

const NAME: &str = "store.end";
const NEW: &str = "store.end.tmp";
const MAGIC: &[u8; 16] = b"callseal end   1";

/// What was written down last; none when there is nothing that can be believed. Then every broken
/// end counts as torn, as after a crash.
pub fn read(disk: &dyn Disk, directory: &Path, store: &[u8; 16]) -> Option<Place> {
    let file = disk.open(&directory.join(NAME), How::Existing).ok()?;
    let mut bytes = [0; 64];
    let read = disk::read_up_to(&*file, &mut bytes, 0).ok()?;
    let bytes = bytes.get(..read)?;
    let (said, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let mut r = Reader(said);
    let ours = r.array::<16>()? == *MAGIC && r.array::<16>()? == *store;
    let place = r.place()??;
    (ours && r.0.is_empty() && Reader(crc).u32()? == crc32fast::hash(said)).then_some(place)
}

/// Everything before `end` is on stable storage, and so is this when it returns.
pub fn write(disk: &dyn Disk, directory: &Path, store: &[u8; 16], end: Place) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(store);
    record::put_place(&mut bytes, Some(end));
    let crc = crc32fast::hash(&bytes);
    record::put_u32(&mut bytes, crc);
    disk::replace(disk, directory, (NEW, NAME), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::store::faulty::FaultyDisk;

    #[test]
    fn it_comes_back_and_only_to_its_store() {
        let disk = FaultyDisk::new();
        let directory = Path::new("/sim/data");
        let end = Place {
            segment: 3,
            offset: 8192,
        };
        assert_eq!(read(&disk, directory, &[7; 16]), None);
        write(&disk, directory, &[7; 16], end).unwrap();
        assert_eq!(read(&disk, directory, &[7; 16]), Some(end));
        assert_eq!(read(&disk, directory, &[8; 16]), None);
        let path = directory.join(NAME);
        for byte in 0..disk.content(&path).len() {
            disk.flip(&path, byte, (byte % 8) as u8);
            assert_eq!(read(&disk, directory, &[7; 16]), None, "byte {byte}");
            disk.flip(&path, byte, (byte % 8) as u8);
        }
    }
}
