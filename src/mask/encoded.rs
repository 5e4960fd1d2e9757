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
    let text = match std::str::from_utf8(&decoded) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            let whole = decoded.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        // A digest, a key, a signature.
        Err(_) => return false,
    };
    let items = view::read(text.as_bytes());
    let mut inner = Canvas::new(text.len());
    let kind = Kind::of(None, text.as_bytes());
    structure::scan(kind, &mut inner, &items, depth + 1);
    find::everything(&mut inner, &view::universal(items));
    inner.hides()
}
