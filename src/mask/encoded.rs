//! Texts in base64 (RFC 4648, either alphabet), as some providers wrap what they tell: what has
//! something to hide is hidden whole. Tokens of JOSE (RFC 7515) are such texts with dots between.

use data_encoding::BASE64_NOPAD;

use crate::mask::structure::{self, DEPTH};
use crate::mask::view::{self, Canvas, Item};
use crate::mask::{Kind, find};

/// Shorter ones hold nothing that is looked for.
const SHORTEST: usize = 12;

/// Hides each run of base64 in this text that becomes a text with something to hide in it.
pub fn look(canvas: &mut Canvas, items: &[Item], depth: usize) {
    if depth + 1 >= DEPTH {
        return;
    }
    let letter = |item: &Item| item.ch.is_ascii_alphanumeric() || "+/-_\r\n".contains(item.ch);
    for run in items.split(|item| !letter(item)) {
        if reveals(run, depth) {
            canvas.word(run);
            continue;
        }
        // In a path the slash is none of its letters.
        for part in run.split(|item| item.ch == '/') {
            if part.len() < run.len() && reveals(part, depth) {
                canvas.word(part);
            }
        }
    }
}

fn reveals(run: &[Item], depth: usize) -> bool {
    if run.len() < SHORTEST {
        return false;
    }
    let letters = run.iter().filter_map(|item| match item.ch {
        '-' => Some(b'+'),
        '_' => Some(b'/'),
        '\r' | '\n' => None,
        ch => u8::try_from(ch).ok(),
    });
    let mut letters: Vec<u8> = letters.collect();
    // The end may be cut off.
    let decoded = BASE64_NOPAD.decode(&letters).ok().or_else(|| {
        letters.truncate(letters.len() / 4 * 4);
        BASE64_NOPAD.decode(&letters).ok()
    });
    let Some(decoded) = decoded else { return false };
    let items = view::read(&decoded);
    // A digest, a key, a signature.
    if std::str::from_utf8(&decoded).is_err() && !readable(&items) {
        return false;
    }
    let mut inner = Canvas::new(decoded.len());
    let kind = Kind::of(None, &decoded);
    structure::scan(kind, &mut inner, &items, depth + 1);
    find::everything(&mut inner, &view::universal(items));
    inner.hides()
}

/// Most of it is a text, though not all: cut off within a character, or in another charset.
fn readable(items: &[Item]) -> bool {
    let (mut good, mut all) = (0, 0);
    for item in items {
        let bytes = item.to - item.from;
        let strange = item.ch == char::REPLACEMENT_CHARACTER
            || (item.ch.is_control() && !item.ch.is_whitespace());
        good += if strange { 0 } else { bytes };
        all += bytes;
    }
    good * 2 > all
}

/// The text may have base64 in it that is worth a look. What of a text is found at all becomes capitals
/// or digits there: `@`, `=`, `<`, `{"`, and eight digits in a row.
pub fn likely(text: &str) -> bool {
    let mut run = 0;
    let mut telling = false;
    for byte in text.bytes() {
        let letter = byte.is_ascii_alphanumeric() || b"+/-_\r\n".contains(&byte);
        (run, telling) = match letter {
            true => (
                run + 1,
                telling || byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            ),
            false => (0, false),
        };
        if telling && run >= SHORTEST {
            return true;
        }
    }
    false
}
