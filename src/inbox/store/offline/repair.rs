//! Mending what can be mended. What cannot be read any more is set aside, byte for byte, before its
//! place is cleared; nothing that can be read is touched.

use std::io;
use std::path::PathBuf;

use super::Offline;
use super::check::{Damage, Harm, Progress};
use crate::clock::Timestamp;
use crate::inbox::store::disk::{self, DiskFile, How};
use crate::inbox::store::embedded::OpenError;
use crate::inbox::store::ending;
use crate::inbox::store::identity::ID;
use crate::inbox::store::index::{Index, index_path};
use crate::inbox::store::record::{FRAME_HEAD, FrameHead, Place, Reader};
use crate::inbox::store::report::io_error;
use crate::inbox::store::segment::{
    COPY, FORMAT, HEADER, Header, HeaderRead, Identity, SegmentFile,
};

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Damage that was there, in order.
    pub damage: Vec<Damage>,
    /// Segments whose header was written anew.
    pub headers: Vec<u32>,
    /// Files in which damaged bytes were set aside.
    pub set_aside: Vec<PathBuf>,
    /// Segments whose header is gone for good. Their files are left as they are.
    pub beyond: Vec<u32>,
    /// The index was thrown away: the next start makes it anew.
    pub index: bool,
}

impl Offline {
    /// Mends headers, sets damaged stretches aside and clears their places, and throws the index
    /// away.
    pub fn repair(&self, say: &mut dyn FnMut(Progress)) -> Result<Repaired, OpenError> {
        let mut repaired = Repaired::default();
        // Headers first: a segment without one cannot be looked into.
        let identity = self.identity()?;
        for number in self.numbers()? {
            self.header(number, identity, &mut repaired)
                .map_err(io_error("mending", &self.path(number)))?;
        }
        let findings = self.check(say)?;
        for damage in &findings.damage {
            match damage.harm {
                Harm::Record | Harm::FreeSpace => {
                    let path = self
                        .set_aside(damage)
                        .map_err(io_error("clearing a part of", &self.path(damage.segment)))?;
                    repaired.set_aside.push(path);
                    self.shorten(damage)
                        .map_err(io_error("mending", &self.directory))?;
                }
                Harm::Padding => self
                    .padding(damage)
                    .map_err(io_error("clearing a part of", &self.path(damage.segment)))?,
                Harm::Content | Harm::Header | Harm::HeaderCopy => {}
            }
        }
        repaired.damage = findings.damage;
        let index = index_path(&self.directory);
        repaired.index = index.exists();
        Index::wipe(&index).map_err(io_error("removing", &index))?;
        Ok(repaired)
    }

    /// Of any segment whose header can be read, or from the file that says it alone.
    fn identity(&self) -> Result<Option<Identity>, OpenError> {
        for number in self.numbers()? {
            if let HeaderRead::Good(header) = self.read_header(number)? {
                return Ok(Some(header.identity));
            }
        }
        let path = self.directory.join(ID);
        match SegmentFile::open(&*self.disk, &path) {
            Ok((HeaderRead::Good(header), _)) => Ok(Some(header.identity)),
            Ok((HeaderRead::Newer(_) | HeaderRead::Broken, _)) | Err(_) => Ok(None),
        }
    }

    fn read_header(&self, number: u32) -> Result<HeaderRead, OpenError> {
        let path = self.path(number);
        SegmentFile::open(&*self.disk, &path)
            .map(|(read, _)| read)
            .map_err(io_error("reading", &path))
    }

    fn header(
        &self,
        number: u32,
        identity: Option<Identity>,
        repaired: &mut Repaired,
    ) -> io::Result<()> {
        let file = self.disk.open(&self.path(number), How::Existing)?;
        let mut pages = vec![0; HEADER as usize];
        let read = disk::read_up_to(&*file, &mut pages, 0)?;
        pages.truncate(read);
        let mut good = None;
        for page in pages.chunks(COPY as usize) {
            match Header::decode(page) {
                HeaderRead::Good(header) if header.number == number => good = Some(header),
                HeaderRead::Newer(_) => return Ok(()),
                HeaderRead::Good(_) | HeaderRead::Broken => {}
            }
        }
        let header = match good.or(identity.and_then(|id| from_first_frame(&*file, number, id))) {
            Some(header) => header,
            None => {
                repaired.beyond.push(number);
                return Ok(());
            }
        };
        let mut whole = Vec::with_capacity(HEADER as usize);
        for copy in 1..=2 {
            whole.extend_from_slice(&header.encode());
            whole.resize(COPY as usize * copy, 0);
        }
        if whole != pages {
            disk::write_all_at(&*file, &whole, 0)?;
            file.sync_data()?;
            repaired.headers.push(number);
        }
        Ok(())
    }

    /// The bytes go to a file of their own, durably, before zeros go in their place.
    fn set_aside(&self, damage: &Damage) -> io::Result<PathBuf> {
        let folder = self.directory.join("damaged");
        self.disk.create_dir(&folder)?;
        self.disk.sync_dir(&self.directory)?;
        let name = format!("{:010}-{}-{}.bin", damage.segment, damage.from, damage.to);
        let path = folder.join(name);
        let file = self.disk.open(&self.path(damage.segment), How::Existing)?;
        let mut bytes = vec![0; (damage.to - damage.from) as usize];
        let read = disk::read_up_to(&*file, &mut bytes, u64::from(damage.from))?;
        bytes.truncate(read);
        let aside = self.disk.open(&path, How::Fresh)?;
        disk::write_all_at(&*aside, &bytes, 0)?;
        aside.sync_data()?;
        self.disk.sync_dir(&folder)?;
        disk::write_zeros(&*file, u64::from(damage.from), u64::from(damage.to))?;
        file.sync_data()?;
        Ok(path)
    }

    /// When what was cleared was the end of the log, the log ends before it.
    fn shorten(&self, damage: &Damage) -> io::Result<()> {
        let HeaderRead::Good(header) =
            read_first(&*self.disk.open(&self.path(damage.segment), How::Existing)?)?
        else {
            return Ok(());
        };
        let store = header.identity.id;
        match ending::read(&*self.disk, &self.directory, &store) {
            Some(end)
                if end.segment == damage.segment
                    && (damage.from + 1..=damage.to).contains(&end.offset) =>
            {
                let end = Place {
                    offset: damage.from,
                    ..end
                };
                ending::write(&*self.disk, &self.directory, &store, end)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The bytes between the end of a record and the next place for one.
    fn padding(&self, damage: &Damage) -> io::Result<()> {
        let file = self.disk.open(&self.path(damage.segment), How::Existing)?;
        let mut head = [0; FRAME_HEAD];
        disk::read_up_to(&*file, &mut head, u64::from(damage.from))?;
        let HeaderRead::Good(header) = read_first(&*file)? else {
            return Ok(());
        };
        if let Some(head) = FrameHead::decode(&head, header.mark, damage.from) {
            let from = u64::from(damage.from) + FRAME_HEAD as u64 + u64::from(head.length);
            disk::write_zeros(&*file, from, u64::from(damage.to))?;
            file.sync_data()?;
        }
        Ok(())
    }
}

fn read_first(file: &dyn DiskFile) -> io::Result<HeaderRead> {
    let mut page = [0; 256];
    let read = disk::read_up_to(file, &mut page, 0)?;
    Ok(Header::decode(page.get(..read).unwrap_or_default()))
}

/// Number and identity of a segment are known without its header, and the mark stands, hidden by
/// its place alone, in every record: the checksum of the first one says whether it is right.
fn from_first_frame(file: &dyn DiskFile, number: u32, identity: Identity) -> Option<Header> {
    let mut head = [0; FRAME_HEAD];
    disk::read_up_to(file, &mut head, u64::from(HEADER)).ok()?;
    let mark = Reader(&head).u64()? ^ u64::from(HEADER);
    FrameHead::decode(&head, mark, HEADER)?;
    Some(Header {
        format: FORMAT,
        number,
        identity,
        created_at: Timestamp::default(),
        mark,
    })
}
