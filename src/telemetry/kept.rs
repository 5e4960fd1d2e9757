//! How figures stand in a file that outlives the process: numbers and names in sections, behind a
//! header with format, length and checksum. Who reads believes nothing: whatever does not fit makes
//! the whole of it unreadable, and nothing is allocated for what is not there.
//!
//! ```text
//! "callseal figures"   16 bytes
//! format               4 bytes, little-endian, as the two that follow
//! length               of the content
//! checksum             CRC-32 of format, length and content
//! content              sections: a number, a length, so many bytes
//! ```
//!
//! Numbers of the content are LEB128: seven bits to a byte, the lowest first.

const MAGIC: &[u8; 16] = b"callseal figures";
/// Another one is not read: what it says may mean something else.
const FORMAT: u32 = 1;
const HEADER: usize = MAGIC.len() + 12;

/// More sections than any version writes.
const SECTIONS: usize = 16;

/// The largest file that is written or read.
pub const MOST: usize = 16 << 20;

/// Why a file is not taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It does not begin as ours do, or ends too early.
    NotOurs,
    /// Of another program's format.
    Format(u32),
    TooLarge,
    /// The checksum does not fit: it is torn or damaged.
    Damaged,
    /// The checksum fits, and the content is none that we write.
    Content,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unreadable::NotOurs => f.write_str("it is no file of figures"),
            Unreadable::Format(format) => {
                write!(f, "its format is {format}; this binary reads {FORMAT}")
            }
            Unreadable::TooLarge => write!(f, "it is larger than {MOST} bytes"),
            Unreadable::Damaged => f.write_str("it is torn or damaged: its checksum does not fit"),
            Unreadable::Content => f.write_str("its checksum fits, but not what it says"),
        }
    }
}

fn checksum(lengths: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(lengths);
    hasher.update(content);
    hasher.finalize()
}

/// A whole file of these sections. The first come first: one with which it would become larger than
/// `most` is left out. Also how many were.
pub fn file(sections: impl IntoIterator<Item = (u64, Words)>, most: usize) -> (Vec<u8>, usize) {
    let (mut content, mut left_out) = (Words::default(), 0);
    for (number, section) in sections {
        // Each of the two numbers before it has ten bytes at most.
        if HEADER + content.0.len() + section.0.len() + 20 > most {
            left_out += 1;
            continue;
        }
        content.number(number);
        content.bytes(&section.0);
    }
    let length = u32::try_from(content.0.len()).unwrap_or(u32::MAX);
    let mut lengths = [0; 8];
    let (format, rest) = lengths.split_at_mut(4);
    format.copy_from_slice(&FORMAT.to_le_bytes());
    rest.copy_from_slice(&length.to_le_bytes());
    let mut file = Vec::with_capacity(HEADER + content.0.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&lengths);
    file.extend_from_slice(&checksum(&lengths, &content.0).to_le_bytes());
    file.extend_from_slice(&content.0);
    (file, left_out)
}

/// The sections of a file.
pub fn sections(file: &[u8]) -> Result<Vec<(u64, Reader<'_>)>, Unreadable> {
    if file.len() > MOST {
        return Err(Unreadable::TooLarge);
    }
    let (header, content) = file.split_at_checked(HEADER).ok_or(Unreadable::NotOurs)?;
    let rest = header.strip_prefix(MAGIC).ok_or(Unreadable::NotOurs)?;
    let (lengths, sum) = rest.split_at_checked(8).ok_or(Unreadable::NotOurs)?;
    let word =
        |bytes: Option<&[u8]>| bytes.and_then(|b| Some(u32::from_le_bytes(b.try_into().ok()?)));
    let (format, length, sum) = (
        word(lengths.get(..4)).ok_or(Unreadable::NotOurs)?,
        word(lengths.get(4..)).ok_or(Unreadable::NotOurs)?,
        word(Some(sum)).ok_or(Unreadable::NotOurs)?,
    );
    if format != FORMAT {
        return Err(Unreadable::Format(format));
    }
    if usize::try_from(length).ok() != Some(content.len()) || sum != checksum(lengths, content) {
        return Err(Unreadable::Damaged);
    }
    let mut reader = Reader(content);
    let mut sections = Vec::new();
    while !reader.is_empty() {
        if sections.len() >= SECTIONS {
            return Err(Unreadable::Content);
        }
        let section = (|| Some((reader.number()?, reader.bytes()?)))();
        let (number, bytes) = section.ok_or(Unreadable::Content)?;
        sections.push((number, Reader(bytes)));
    }
    Ok(sections)
}

/// What is being written.
#[derive(Clone, Debug, Default)]
pub struct Words(Vec<u8>);

impl Words {
    pub fn number(&mut self, mut n: u64) {
        loop {
            let low = (n & 0x7f) as u8;
            n >>= 7;
            if n == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

/// What is being read. None: it does not go on as it should.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Reader(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if bits << shift >> shift != bits {
                return None;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    /// A number of things that take a byte each at least, so that no more is believed than is there.
    pub fn count(&mut self, most: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= most.min(self.0.len())).then_some(count)
    }

    pub fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        let (mut one, mut other) = (Words::default(), Words::default());
        one.number(u64::MAX);
        one.text("shop");
        other.number(300);
        file([(1, one), (7, other)], MOST).0
    }

    #[test]
    fn what_was_written_is_read_again() {
        let file = two();
        let [(1, mut one), (7, mut other)] = sections(&file).unwrap()[..] else {
            panic!("{file:?}");
        };
        assert_eq!((one.number(), one.text()), (Some(u64::MAX), Some("shop")));
        assert_eq!((other.number(), other.number()), (Some(300), None));
        assert!(one.is_empty() && other.is_empty());
        // LEB128 as DWARF's standard shows it: 128 and 12857.
        let mut known = Words::default();
        known.number(128);
        known.number(12857);
        assert_eq!(known.0, [0x80, 0x01, 0xb9, 0x64]);
    }

    /// Where these bytes change, [`FORMAT`] is to be raised: else an older binary reads something else.
    #[test]
    fn a_small_file_is_these_bytes() {
        let content = b"\x01\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x04shop\x07\x02\xac\x02";
        let mut expected = b"callseal figures\x01\0\0\0\x15\0\0\0".to_vec();
        expected.extend(0xc0e0_c699u32.to_le_bytes());
        expected.extend(content);
        assert_eq!(two(), expected);
    }

    #[test]
    fn what_is_torn_anywhere_is_noticed() {
        let file = two();
        for length in 0..file.len() {
            let torn = sections(&file[..length]).unwrap_err();
            assert!(
                matches!(torn, Unreadable::NotOurs | Unreadable::Damaged),
                "{length}: {torn:?}"
            );
        }
        let mut longer = file;
        longer.push(0);
        assert_eq!(sections(&longer).unwrap_err(), Unreadable::Damaged);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let file = two();
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(sections(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_format_is_told_from_damage() {
        let mut file = two();
        file[16] = 2;
        assert_eq!(sections(&file).unwrap_err(), Unreadable::Format(2));
        let large = vec![0; MOST + 1];
        assert_eq!(sections(&large).unwrap_err(), Unreadable::TooLarge);
    }

    #[test]
    fn a_section_that_does_not_fit_is_left_out_and_a_smaller_one_is_not() {
        let mut large = Words::default();
        large.bytes(&[7; 200]);
        let mut small = Words::default();
        small.number(5);
        let (file, left_out) = file([(1, large), (2, small)], 100);
        assert!(file.len() <= 100 && left_out == 1);
        let sections = sections(&file).unwrap();
        let numbers: Vec<u64> = sections.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [2]);
    }

    #[test]
    fn a_number_that_is_too_long_or_a_count_beyond_the_end_is_none() {
        let read = |bytes: &'static [u8]| Reader(bytes).number();
        assert_eq!(read(&[0xff; 10]), None);
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Some(u64::MAX)
        );
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            None
        );
        assert_eq!(Reader(&[0x05, 1, 2]).count(10), None);
        assert_eq!(Reader(&[0x02, 1, 2]).count(1), None);
        assert_eq!(Reader(&[0x02, 1, 2]).count(10), Some(2));
        assert_eq!(Reader(&[0x05, 1, 2]).bytes(), None);
    }
}
