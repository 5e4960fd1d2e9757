//! With which secrets idempotency keys were hashed: the store's own, and those of stores whose events
//! were imported. Without the latter an imported event would not be known again.

use std::io;
use std::path::Path;

use super::Claim;
use super::claims::{ClaimKey, HashedClaims};
use super::disk::{self, Disk, How};
use super::record::{self, Reader};
use crate::message::SourceName;

const NAME: &str = "store.keys";
const NEW: &str = "store.keys.tmp";
const MAGIC: &[u8; 16] = b"callseal keys  1";
/// Each costs two hashes an event, and two more when that has a business key.
pub const FORMER_MAX: usize = 16;

/// The store's own key, and former ones.
pub struct Keyring {
    own: ClaimKey,
    former: Vec<ClaimKey>,
}

impl Keyring {
    pub fn new(own: &[u8; 32], former: &[[u8; 32]]) -> Self {
        Keyring {
            own: ClaimKey::new(own),
            former: former.iter().map(ClaimKey::new).collect(),
        }
    }

    /// Under the store's own key: what is written down.
    pub fn hash(&self, claim: &Claim) -> HashedClaims {
        self.own.claims(claim)
    }

    /// Under the former keys: what may have been written down elsewhere.
    pub fn former(&self, claim: &Claim) -> Vec<HashedClaims> {
        self.former.iter().map(|key| key.claims(claim)).collect()
    }

    /// What deliveries of a source are in order by. Under a former key where imported ones `wait`
    /// under that, and none under the store's own: whoever comes goes behind them.
    pub fn order(&self, source: &SourceName, value: &[u8], wait: impl Fn(u64) -> bool) -> u64 {
        self.there(|key| key.order(source, value), wait)
    }

    /// What events of a source are about. Under a former key where one of those is `known`, and
    /// none under the store's own.
    pub fn version(&self, source: &SourceName, key: &[u8], known: impl Fn(u64) -> bool) -> u64 {
        self.there(|with| with.version(source, key), known)
    }

    fn there(&self, hash: impl Fn(&ClaimKey) -> u64, is: impl Fn(u64) -> bool) -> u64 {
        let own = hash(&self.own);
        if self.former.is_empty() || is(own) {
            return own;
        }
        let mut former = self.former.iter().map(hash);
        former.find(|hash| is(*hash)).unwrap_or(own)
    }
}

/// Keys of imported events. A file that is damaged is an error: an event would be accepted twice.
pub fn read(disk: &dyn Disk, directory: &Path) -> io::Result<Vec<[u8; 32]>> {
    let file = match disk.open(&directory.join(NAME), How::Existing) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut bytes = [0; 16 + 4 + 32 * FORMER_MAX + 4];
    let read = disk::read_up_to(&*file, &mut bytes, 0)?;
    let bytes = bytes.get(..read).unwrap_or_default();
    decode(bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"))
}

fn decode(bytes: &[u8]) -> Option<Vec<[u8; 32]>> {
    let (said, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if Reader(crc).u32()? != crc32fast::hash(said) {
        return None;
    }
    let mut r = Reader(said);
    if r.array::<16>()? != *MAGIC {
        return None;
    }
    let count = r.u32()?;
    (0..count).map(|_| r.array()).collect()
}

/// Durable when it returns.
pub fn write(disk: &dyn Disk, directory: &Path, keys: &[[u8; 32]]) -> io::Result<()> {
    if keys.len() > FORMER_MAX {
        return Err(io::Error::other(
            "events of too many other stores were imported already",
        ));
    }
    let mut bytes = MAGIC.to_vec();
    record::put_u32(&mut bytes, u32::try_from(keys.len()).unwrap_or_default());
    for key in keys {
        bytes.extend_from_slice(key);
    }
    let crc = crc32fast::hash(&bytes);
    record::put_u32(&mut bytes, crc);
    disk::replace(disk, directory, (NEW, NAME), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::store::faulty::FaultyDisk;

    #[test]
    fn keys_come_back_or_are_refused() {
        let disk = FaultyDisk::new();
        let directory = Path::new("/sim/data");
        assert_eq!(read(&disk, directory).unwrap(), [[0; 32]; 0]);
        write(&disk, directory, &[[1; 32], [2; 32]]).unwrap();
        assert_eq!(read(&disk, directory).unwrap(), [[1; 32], [2; 32]]);
        assert!(write(&disk, directory, &[[1; 32]; FORMER_MAX + 1]).is_err());
        let path = directory.join(NAME);
        for byte in 0..disk.content(&path).len() {
            disk.flip(&path, byte, 1);
            assert!(read(&disk, directory).is_err());
            disk.flip(&path, byte, 1);
        }
    }
}
