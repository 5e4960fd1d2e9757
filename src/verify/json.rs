//! JSON, strictly: RFC 8259 with nothing beside it, no repeated names, at most 64 levels, no lone
//! surrogates. A text that two parsers could read differently is refused (threat 14).
//!
//! The text is checked once and not turned into a tree: values are found by walking over it, so
//! that numbers stay as they are written and hostile bodies cost no memory.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::rule::template::Pointer;

const DEEPEST: usize = 64;

/// A checked JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a> {
    text: &'a str,
}

/// Where and why a text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonFault {
    pub at: usize,
    pub what: &'static str,
}

/// A value that a pointer found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    Null,
    Text(Cow<'a, str>),
    /// A number or a boolean as it is written.
    Literal(&'a str),
    /// An object or an array as it is written.
    Composite(&'a str),
}

impl<'a> Json<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Json<'a>, JsonFault> {
        let text = std::str::from_utf8(bytes).map_err(|e| JsonFault {
            at: e.valid_up_to(),
            what: "not UTF-8",
        })?;
        let mut scanner = Scanner {
            text,
            at: 0,
            names: Vec::with_capacity(32),
            checking: true,
        };
        scanner.blank();
        scanner.value(0)?;
        scanner.blank();
        if scanner.at != text.len() {
            return Err(scanner.fault("something after the value"));
        }
        Ok(Json { text })
    }

    /// A text that is known to be JSON: it was parsed before, or cut out of one that was.
    pub(super) fn checked(text: &'a str) -> Json<'a> {
        Json { text }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Stands at the value, and looks for no faults.
    pub(super) fn scanner(&self) -> Scanner<'a> {
        let mut scanner = Scanner {
            text: self.text,
            at: 0,
            names: Vec::new(),
            checking: false,
        };
        scanner.blank();
        scanner
    }

    /// The value at a pointer; none when there is nothing.
    pub fn get(&self, pointer: &Pointer) -> Option<Node<'a>> {
        let mut scanner = self.scanner();
        for token in &pointer.0 {
            // The text is checked already, so a fault here cannot be; it would mean "not found".
            scanner.enter(token).ok().filter(|found| *found)?;
        }
        scanner.node().ok()
    }
}

/// The high bits of those of eight bytes that end a stretch of plain text: a quote, a backslash, a
/// control character. Bits above the lowest may be wrong (a subtraction borrows), the lowest never.
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word & HIGHS;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    below(word, 0x20) | equal(b'"') | equal(b'\\')
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Names of the objects that are open, innermost last.
    names: Vec<Cow<'a, str>>,
    /// Look for repeated names; once is enough.
    checking: bool,
}

impl<'a> Scanner<'a> {
    fn fault(&self, what: &'static str) -> JsonFault {
        JsonFault { at: self.at, what }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, wanted: u8, what: &'static str) -> Result<(), JsonFault> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(self.fault(what))
        }
    }

    /// Moves over one byte.
    pub(super) fn step(&mut self) {
        self.at += 1;
    }

    pub(super) fn place(&self) -> usize {
        self.at
    }

    pub(super) fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or("")
    }

    pub(super) fn value(&mut self, depth: usize) -> Result<(), JsonFault> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(|_| ()),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => Err(self.fault("no value begins like this")),
            None => Err(self.fault("a value is missing")),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonFault> {
        let rest = self.text.get(self.at..).unwrap_or("");
        if !rest.starts_with(word) {
            return Err(self.fault("no value begins like this"));
        }
        self.at += word.len();
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonFault> {
        let start = self.at;
        self.open(b'{', depth)?;
        let mine = self.names.len();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            if self.checking {
                self.names.push(name);
            }
            self.value(depth)?;
            self.blank();
            if self.take(b'}') {
                break;
            }
            self.need(b',', "a comma or a brace is missing")?;
            self.blank();
        }
        if self.checking {
            let names = self.names.get_mut(mine..).unwrap_or_default();
            // Sorting costs n log n whatever names an attacker chooses.
            names.sort_unstable();
            if names
                .windows(2)
                .any(|pair| matches!(pair, [a, b] if a == b))
            {
                return Err(JsonFault {
                    at: start,
                    what: "a name is repeated in the object",
                });
            }
            self.names.truncate(mine);
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonFault> {
        self.open(b'[', depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.blank();
            if self.take(b']') {
                return Ok(());
            }
            self.need(b',', "a comma or a bracket is missing")?;
            self.blank();
        }
    }

    fn open(&mut self, bracket: u8, depth: usize) -> Result<(), JsonFault> {
        if depth > DEEPEST {
            return Err(self.fault("too many levels"));
        }
        self.need(bracket, "a bracket is missing")?;
        self.blank();
        Ok(())
    }

    /// A name and its colon; stands at the value afterwards.
    pub(super) fn name(&mut self) -> Result<Cow<'a, str>, JsonFault> {
        let name = self.string()?;
        self.blank();
        self.need(b':', "a colon is missing")?;
        self.blank();
        Ok(name)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonFault> {
        self.need(b'"', "a string is missing")?;
        let start = self.at;
        let mut unescaped: Option<String> = None;
        let mut copied = start;
        loop {
            self.plain_text();
            match self.peek() {
                Some(b'"') => {
                    let rest = self.since(copied);
                    self.at += 1;
                    return Ok(match unescaped {
                        Some(text) => Cow::Owned(text + rest),
                        None => Cow::Borrowed(rest),
                    });
                }
                Some(b'\\') => {
                    let before = self.since(copied);
                    self.at += 1;
                    let letter = self.escape()?;
                    let text = unescaped.get_or_insert_default();
                    text.push_str(before);
                    text.push(letter);
                    copied = self.at;
                }
                Some(_) => return Err(self.fault("a control character in a string")),
                None => return Err(self.fault("a string does not end")),
            }
        }
    }

    /// Moves over what stands for itself; most of any body is that.
    fn plain_text(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let (words, tail) = rest.as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            let special = special(u64::from_le_bytes(*word));
            if special != 0 {
                self.at += index * 8 + (special.trailing_zeros() / 8) as usize;
                return;
            }
        }
        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        let within = tail.iter().position(special).unwrap_or(tail.len());
        self.at += words.len() * 8 + within;
    }

    fn escape(&mut self) -> Result<char, JsonFault> {
        let letter = self.peek().ok_or(self.fault("a string does not end"))?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.fault("no such escape")),
        })
    }

    fn unicode(&mut self) -> Result<char, JsonFault> {
        let lone = "half of a surrogate pair";
        let first = self.hex()?;
        let code = match first {
            0xD800..0xDC00 => {
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(self.fault(lone));
                }
                let second = self.hex()?;
                if !(0xDC00..0xE000).contains(&second) {
                    return Err(self.fault(lone));
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            other => other,
        };
        char::from_u32(code).ok_or(self.fault(lone))
    }

    fn hex(&mut self) -> Result<u32, JsonFault> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or("");
        // `from_str_radix` would also take a sign.
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(self.fault("four hexadecimal digits are missing"));
        }
        self.at += 4;
        u32::from_str_radix(digits, 16)
            .map_err(|_| self.fault("four hexadecimal digits are missing"))
    }

    fn number(&mut self) -> Result<(), JsonFault> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            Err(self.fault("a digit is missing"))
        } else {
            Ok(())
        }
    }

    /// Moves from a value to what it holds under `token`; false when it holds no such thing.
    pub(super) fn enter(&mut self, token: &str) -> Result<bool, JsonFault> {
        match self.peek() {
            Some(b'{') => self.enter_object(token),
            Some(b'[') => self.enter_array(token),
            Some(_) | None => Ok(false),
        }
    }

    fn enter_object(&mut self, token: &str) -> Result<bool, JsonFault> {
        self.open(b'{', 0)?;
        if self.take(b'}') {
            return Ok(false);
        }
        loop {
            if self.name()? == token {
                return Ok(true);
            }
            self.value(0)?;
            self.blank();
            if !self.take(b',') {
                return Ok(false);
            }
            self.blank();
        }
    }

    fn enter_array(&mut self, token: &str) -> Result<bool, JsonFault> {
        // As RFC 6901 has it: digits without a leading zero.
        let canonical = token == "0" || (!token.starts_with('0') && !token.is_empty());
        let digits = token.bytes().all(|b| b.is_ascii_digit());
        let Some(index) = token.parse::<usize>().ok().filter(|_| canonical && digits) else {
            return Ok(false);
        };
        self.open(b'[', 0)?;
        if self.take(b']') {
            return Ok(false);
        }
        for _ in 0..index {
            self.value(0)?;
            self.blank();
            if !self.take(b',') {
                return Ok(false);
            }
            self.blank();
        }
        Ok(true)
    }

    pub(super) fn node(&mut self) -> Result<Node<'a>, JsonFault> {
        let start = self.at;
        if self.peek() == Some(b'"') {
            return self.string().map(Node::Text);
        }
        self.value(0)?;
        let raw = self.since(start);
        Ok(match raw.as_bytes().first() {
            Some(b'n') => Node::Null,
            Some(b'{' | b'[') => Node::Composite(raw),
            Some(_) | None => Node::Literal(raw),
        })
    }
}
