//! A text as its reader sees it, with the bytes that each character came from; and what of these
//! bytes is hidden.

/// A character, and the bytes that it came from.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub ch: char,
    pub from: usize,
    pub to: usize,
}

/// The characters of some bytes; what is no UTF-8 becomes U+FFFD.
pub fn read(bytes: &[u8]) -> Vec<Item> {
    let mut items = Vec::with_capacity(bytes.len());
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        for ch in chunk.valid().chars() {
            let to = at + ch.len_utf8();
            items.push(Item { ch, from: at, to });
            at = to;
        }
        if !chunk.invalid().is_empty() {
            let (ch, to) = (char::REPLACEMENT_CHARACTER, at + chunk.invalid().len());
            items.push(Item { ch, from: at, to });
            at = to;
        }
    }
    items
}

/// How often encodings over one another are taken off.
const LAYERS: usize = 4;

/// Every encoding taken off, whichever it is: for what must not be seen under any.
pub fn universal(mut items: Vec<Item>) -> Vec<Item> {
    for _ in 0..LAYERS {
        let before = items.len();
        items = unescape(&references(&percent(&items, false)), true);
        if items.len() == before {
            break;
        }
    }
    items
}

fn one(items: &[Item], ch: char) -> Option<Item> {
    let (first, last) = (items.first()?, items.last()?);
    Some(Item {
        ch,
        from: first.from,
        to: last.to,
    })
}

fn hex(items: &[Item]) -> Option<u32> {
    items
        .iter()
        .try_fold(0, |value, item| Some(value * 16 + item.ch.to_digit(16)?))
}

/// `%34`, and several of them for one character; with `plus`, `+` for a space (WHATWG URL §5.1).
pub fn percent(items: &[Item], plus: bool) -> Vec<Item> {
    let mut out = Vec::with_capacity(items.len());
    let mut at = 0;
    let byte = |at: usize| -> Option<u8> {
        let coded = items.get(at..at + 3)?;
        let (sign, digits) = coded.split_first()?;
        let value = hex(digits).filter(|_| sign.ch == '%')?;
        u8::try_from(value).ok()
    };
    while let Some(item) = items.get(at) {
        let Some(first) = byte(at) else {
            let ch = if plus && item.ch == '+' { ' ' } else { item.ch };
            out.push(Item { ch, ..*item });
            at += 1;
            continue;
        };
        let length = match first {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        let bytes: Option<Vec<u8>> = (0..length).map(|n| byte(at + 3 * n)).collect();
        let ch = bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.chars().next());
        let taken = if ch.is_some() { length * 3 } else { 3 };
        let ch = ch.unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend(items.get(at..at + taken).and_then(|coded| one(coded, ch)));
        at += taken;
    }
    out
}

/// `\u0034` and the short escapes of JSON (RFC 8259 §7). A text of JSON in one of JSON has more than
/// one backslash: with `all`, any number of them counts as one.
pub fn unescape(items: &[Item], all: bool) -> Vec<Item> {
    let mut out = Vec::with_capacity(items.len());
    let mut at = 0;
    while let Some(item) = items.get(at) {
        if item.ch != '\\' {
            out.push(*item);
            at += 1;
            continue;
        }
        let rest = items.get(at..).unwrap_or_default();
        let slashes = match all {
            true => rest.iter().take_while(|item| item.ch == '\\').count(),
            false => 1,
        };
        let unit = |from: usize| {
            let coded = items.get(from..from + 4)?;
            hex(coded)
        };
        let (ch, taken) = match items.get(at + slashes).map(|item| item.ch) {
            Some('u') => match unit(at + slashes + 1) {
                Some(high @ 0xd800..=0xdbff) => {
                    let after = items.get(at + slashes + 5..).unwrap_or_default();
                    let more = after.iter().take_while(|item| item.ch == '\\').count();
                    let low = match after.get(more).map(|item| item.ch) {
                        Some('u') if more > 0 => unit(at + slashes + 6 + more),
                        Some(_) | None => None,
                    };
                    match low {
                        Some(low @ 0xdc00..=0xdfff) => {
                            let value = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                            (char::from_u32(value), slashes + 10 + more)
                        }
                        Some(_) | None => (None, slashes + 5),
                    }
                }
                Some(value) => (char::from_u32(value), slashes + 5),
                // As Rust writes it, and we where a character must not be obeyed.
                None => match braced(items.get(at + slashes + 1..).unwrap_or_default()) {
                    Some((ch, taken)) => (Some(ch), slashes + 1 + taken),
                    None => (Some('\\'), slashes),
                },
            },
            Some('\\') => (Some('\\'), slashes + 1),
            Some('n') => (Some('\n'), slashes + 1),
            Some('t') => (Some('\t'), slashes + 1),
            Some('r') => (Some('\r'), slashes + 1),
            Some(ch @ ('"' | '/')) => (Some(ch), slashes + 1),
            Some(_) | None => (Some('\\'), slashes),
        };
        let ch = ch.unwrap_or(char::REPLACEMENT_CHARACTER);
        let coded = items.get(at..at + taken).unwrap_or(rest);
        out.extend(one(coded, ch));
        at += taken.max(1);
    }
    out
}

/// `{200b}` after `\u`.
fn braced(items: &[Item]) -> Option<(char, usize)> {
    let end = items.iter().take(10).position(|item| item.ch == '}')?;
    let digits = items.get(1..end).filter(|digits| !digits.is_empty())?;
    let open = items.first().is_some_and(|item| item.ch == '{');
    let ch = char::from_u32(hex(digits)?).filter(|_| open)?;
    Some((ch, end + 1))
}

/// `&#52;`, `&#x34;` and the five names of XML (XML 1.0 §4.1, §4.6).
pub fn references(items: &[Item]) -> Vec<Item> {
    let mut out = Vec::with_capacity(items.len());
    let mut at = 0;
    while let Some(item) = items.get(at) {
        let found = (item.ch == '&')
            .then(|| reference(items.get(at + 1..)?))
            .flatten();
        let (ch, taken) = found.unwrap_or((item.ch, 1));
        out.extend(items.get(at..at + taken).and_then(|coded| one(coded, ch)));
        at += taken;
    }
    out
}

/// Longest reference that is looked at, with zeros before the number.
const REFERENCE: usize = 16;

fn reference(items: &[Item]) -> Option<(char, usize)> {
    let end = items
        .iter()
        .take(REFERENCE)
        .position(|item| item.ch == ';')?;
    let name: String = items.get(..end)?.iter().map(|item| item.ch).collect();
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok();
    let ch = match name.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(digits) => char::from_u32(number(digits, 16)?)?,
            None => char::from_u32(number(digits, 10)?)?,
        },
        None => match name.as_str() {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => return None,
        },
    };
    Some((ch, end + 2))
}

/// Where a digit of some script begins (Unicode, general category Nd; ten follow one another).
const ZEROS: [u32; 22] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66,
    0xe50, 0xed0, 0xf20, 0x1040, 0x17e0, 0x1810, 0xff10, 0x1d7ce, 0x1d7d8,
];

/// The value of a digit, whatever its script.
pub fn digit(ch: char) -> Option<u32> {
    if ch.is_ascii() {
        return ch.to_digit(10);
    }
    let value = u32::from(ch);
    // Four more tens of mathematical digits follow the two in the table.
    if (0x1d7ce..=0x1d7ff).contains(&value) {
        return Some((value - 0x1d7ce) % 10);
    }
    let zero = ZEROS.iter().rfind(|zero| **zero <= value)?;
    Some(value - zero).filter(|digit| *digit < 10)
}

/// What is hidden of some bytes.
pub struct Canvas {
    marks: Vec<Mark>,
    /// Beginnings and ends of numbers in JSON.
    numbers: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Shown,
    /// Under a name that says what the number is.
    Exempt,
    /// The first byte of a character that becomes a dot.
    Dot,
    /// Part of what is hidden whole.
    Word,
    /// Part of a character that becomes a dot.
    Gone,
}

impl Canvas {
    pub fn new(bytes: usize) -> Self {
        Canvas {
            marks: vec![Mark::Shown; bytes],
            numbers: Vec::new(),
        }
    }

    fn each(&mut self, from: usize, to: usize) -> impl Iterator<Item = &mut Mark> {
        let marks = self.marks.get_mut(from..to).unwrap_or_default();
        marks.iter_mut()
    }

    /// A dot in its place.
    pub fn dot(&mut self, item: &Item) {
        for (n, mark) in self.each(item.from, item.to).enumerate() {
            match (*mark, n) {
                (Mark::Word, _) => {}
                (_, 0) => *mark = Mark::Dot,
                (_, _) => *mark = Mark::Gone,
            }
        }
    }

    /// Three dots in the place of all of them.
    pub fn word(&mut self, items: &[Item]) {
        if let (Some(first), Some(last)) = (items.first(), items.last()) {
            self.each(first.from, last.to)
                .for_each(|mark| *mark = Mark::Word);
        }
    }

    pub fn exempt(&mut self, items: &[Item]) {
        if let (Some(first), Some(last)) = (items.first(), items.last()) {
            let shown = self.each(first.from, last.to);
            shown
                .filter(|mark| **mark == Mark::Shown)
                .for_each(|mark| *mark = Mark::Exempt);
        }
    }

    pub fn is_exempt(&self, item: &Item) -> bool {
        self.marks.get(item.from) == Some(&Mark::Exempt)
    }

    /// A number of JSON: in quotes, should any of it be hidden.
    pub fn number(&mut self, items: &[Item]) {
        if let (Some(first), Some(last)) = (items.first(), items.last()) {
            self.numbers.push((first.from, last.to));
        }
    }

    /// Something is hidden.
    pub fn hides(&self) -> bool {
        let hidden = |mark: &Mark| matches!(mark, Mark::Dot | Mark::Word | Mark::Gone);
        self.marks.iter().any(hidden)
    }

    /// The text with its masks, up to about `most` bytes of the original.
    pub fn render(&self, bytes: &[u8], most: usize) -> String {
        let hidden = |mark: &Mark| matches!(mark, Mark::Dot | Mark::Word | Mark::Gone);
        let masked = |range: &&(usize, usize)| {
            let marks = self.marks.get(range.0..range.1).unwrap_or_default();
            marks.iter().any(hidden)
        };
        let mut quotes = self.numbers.iter().filter(masked).peekable();
        let mut open = None;
        let mut text = String::with_capacity(bytes.len().min(most) + 16);
        let mut before = Mark::Shown;
        for item in read(bytes) {
            if open.is_some_and(|end| end <= item.from) {
                text.push('"');
                open = None;
            }
            if item.from >= most {
                break;
            }
            if let Some((_, end)) = quotes.next_if(|(from, _)| *from <= item.from) {
                text.push('"');
                open = Some(*end);
            }
            let mark = self.marks.get(item.from).copied().unwrap_or(Mark::Shown);
            match mark {
                Mark::Shown | Mark::Exempt => text.push(item.ch),
                Mark::Dot => text.push('•'),
                Mark::Word if before != Mark::Word => text.push_str(super::HIDDEN),
                Mark::Word | Mark::Gone => {}
            }
            before = mark;
        }
        if open.is_some() {
            text.push('"');
        }
        text
    }
}
