//! Small things about words in rule files: the nearest name, and where a byte of a TOML string
//! stands in its file.

use std::ops::Range;

/// The name most like `word`, when one is like it enough to be what was meant.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.len() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Changes (a letter put in, taken out, replaced, or two neighbours swapped) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let at = |row: &[usize], i: usize| row.get(i).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = at(&row, j) + usize::from(x != y);
            let mut best = replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    at(&row, b.len())
}

/// Where bytes `inner` of a decoded TOML string stand in the file, given the string's token
/// (quotes and all) and where it begins. Escapes make the two differ.
pub fn inside_string(token: &str, start: usize, inner: Range<usize>) -> Range<usize> {
    let (quote, escapes) = match token.get(..3) {
        Some("\"\"\"") => (3, true),
        Some("'''") => (3, false),
        _ => (1, token.starts_with('"')),
    };
    let mut raw = quote;
    if quote == 3 {
        // A line end right after the opening quotes is not part of the string.
        let after = token.get(raw..).unwrap_or("");
        raw += after.len()
            - after
                .strip_prefix("\r\n")
                .or(after.strip_prefix('\n'))
                .unwrap_or(after)
                .len();
    }
    let mut decoded = 0;
    let mut from = None;
    while decoded < inner.end {
        if decoded >= inner.start {
            from.get_or_insert(raw);
        }
        let Some(rest) = token.get(raw..).filter(|rest| !rest.is_empty()) else {
            break;
        };
        let (taken, given) = if escapes { step(rest) } else { plain(rest) };
        raw += taken;
        decoded += given;
    }
    let from = from.unwrap_or(raw);
    start + from..start + raw.max(from)
}

fn plain(rest: &str) -> (usize, usize) {
    let length = rest.chars().next().map_or(1, char::len_utf8);
    (length, length)
}

/// One character of a basic string: how long it is in the file, and how long when decoded.
fn step(rest: &str) -> (usize, usize) {
    let Some(escape) = rest.strip_prefix('\\') else {
        return plain(rest);
    };
    let digits = match escape.chars().next() {
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        // A backslash at the end of a line swallows all white space that follows.
        Some(' ' | '\t' | '\r' | '\n') => return (rest.len() - escape.trim_start().len(), 0),
        Some(_) => return (2, 1),
        None => return (1, 0),
    };
    let code = escape
        .get(1..1 + digits)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok());
    (
        2 + digits,
        code.and_then(char::from_u32).map_or(1, char::len_utf8),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["provider", "path", "keys", "forward"];
        assert_eq!(nearest("providr", names), Some("provider"));
        assert_eq!(nearest("frwoard", names), Some("forward"));
        assert_eq!(nearest("key", names), Some("keys"));
        assert_eq!(nearest("colour", names), None);
    }

    #[test]
    fn places_inside_strings_survive_escapes() {
        let find = |token: &str, inner: Range<usize>| {
            let span = inside_string(token, 0, inner);
            token[span].to_owned()
        };
        assert_eq!(find("\"{body}\"", 1..5), "body");
        assert_eq!(find("'{body}'", 1..5), "body");
        assert_eq!(find(r#""\n{body}""#, 2..6), "body");
        assert_eq!(find(r#""\u00e9{body}""#, 3..7), "body");
        assert_eq!(find(r#""\U0001F600{body}""#, 5..9), "body");
        assert_eq!(find("\"\"\"\n{body}\"\"\"", 1..5), "body");
        assert_eq!(find("\"\"\"a\\\n   {body}\"\"\"", 2..6), "body");
        assert_eq!(find("'''\n{body}'''", 1..5), "body");
    }
}
