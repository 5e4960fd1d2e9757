//! What a body may have been before somebody on its way wrote it anew: other blanks, other escapes,
//! another charset, another line end. Each is a guess that the signature proves or not.

use encoding_rs::GBK;

use crate::verify::form::{self, Pairs};
use crate::verify::json::Json;

/// A body as it may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    pub code: &'static str,
    pub what: String,
    pub body: Vec<u8>,
}

/// Every guess, each body once, the likeliest first.
pub fn of(body: &[u8]) -> Vec<Variant> {
    let mut found: Vec<Variant> = Vec::new();
    let mut add = |code, what: String, changed: Vec<u8>| {
        let known = changed == body || found.iter().any(|other| other.body == changed);
        if !known {
            found.push(Variant {
                code,
                what,
                body: changed,
            });
        }
    };
    for (what, changed) in line_ends(body) {
        add("line_end", what.to_owned(), changed);
    }
    for (code, what, changed) in json(body) {
        add(code, what, changed);
    }
    for (what, changed) in pluses(body) {
        add("plus_as_space", what.to_owned(), changed);
    }
    for (what, changed) in charsets(body) {
        add("charset", what.to_owned(), changed);
    }
    found
}

fn line_ends(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    let text = String::from_utf8_lossy(body);
    let whole = matches!(text, std::borrow::Cow::Borrowed(_));
    let mut found = vec![
        ("it had no line feed at its end", strip(body, b"\n")),
        ("it had no CRLF at its end", strip(body, b"\r\n")),
        ("it had a line feed at its end", [body, b"\n"].concat()),
        ("it had a CRLF at its end", [body, b"\r\n"].concat()),
        ("it had no blanks around it", body.trim_ascii().to_vec()),
        ("it began with a byte order mark", [BOM, body].concat()),
    ];
    if let Some(rest) = body.strip_prefix(BOM) {
        found.push(("it had no byte order mark", rest.to_vec()));
    }
    if whole {
        let feeds = text.replace("\r\n", "\n");
        found.push((
            "its lines ended with CRLF",
            feeds.replace('\n', "\r\n").into(),
        ));
        found.push(("its lines ended with line feeds", feeds.into()));
    }
    found
}

fn strip(body: &[u8], end: &[u8]) -> Vec<u8> {
    body.strip_suffix(end).unwrap_or(body).to_vec()
}

/// How JSON is laid out: between members, between name and value, and the indent of a line.
type Layout = (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

const LAYOUTS: [Layout; 6] = [
    ("without blanks", ",", ":", None),
    ("with a blank after each comma and colon", ", ", ": ", None),
    ("indented by two blanks", ",", ": ", Some("  ")),
    ("indented by four blanks", ",", ": ", Some("    ")),
    ("indented by tabs", ",", ": ", Some("\t")),
    (
        "indented by two blanks, with a blank before the colon",
        ",",
        " : ",
        Some("  "),
    ),
];

#[derive(Clone, Copy)]
enum Escapes {
    Slashes,
    NoSlashes,
    Ascii,
    Unicode,
    SlashesAndAscii,
    Html,
}

const ESCAPES: [(&str, &str, Escapes); 6] = [
    ("json_slashes", "with / written as \\/", Escapes::Slashes),
    ("json_slashes", "with / not escaped", Escapes::NoSlashes),
    (
        "json_unicode",
        "with other letters than ASCII as \\u escapes",
        Escapes::Ascii,
    ),
    (
        "json_unicode",
        "with other letters than ASCII as they are",
        Escapes::Unicode,
    ),
    (
        "json_slashes",
        "with / and other letters than ASCII escaped",
        Escapes::SlashesAndAscii,
    ),
    ("json_html", "with <, > and & as \\u escapes", Escapes::Html),
];

fn json(body: &[u8]) -> Vec<(&'static str, String, Vec<u8>)> {
    let mut found = Vec::new();
    let Ok(json) = Json::parse(body) else {
        return found;
    };
    let own = json.raw();
    let mut sorted = Vec::new();
    json.sorted(&mut sorted);
    let sorted = String::from_utf8(sorted).unwrap_or_default();
    let mut bases = vec![(String::new(), own.to_owned())];
    for layout in LAYOUTS {
        bases.push((layout.0.to_owned(), laid_out(own, layout)));
    }
    for layout in LAYOUTS {
        let what = format!("{}, its names sorted", layout.0);
        bases.push((what, laid_out(&sorted, layout)));
    }
    for (what, text) in &bases {
        if !what.is_empty() {
            let what = format!("the JSON was written {what}");
            found.push(("json_rewritten", what, text.clone().into_bytes()));
        }
    }
    for (code, how, escapes) in ESCAPES {
        for (what, text) in &bases {
            let between = if what.is_empty() { "" } else { ", " };
            let what = format!("the JSON was written {how}{between}{what}");
            found.push((code, what, escaped(text, escapes).into_bytes()));
        }
    }
    found
}

/// The same JSON with other blanks; literals and order as they are.
fn laid_out(text: &str, (_, comma, colon, indent): Layout) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut escaped = false;
    let mut letters = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    };
    while let Some(letter) = letters.next() {
        if in_text {
            out.push(letter);
            in_text = escaped || letter != '"';
            escaped = letter == '\\' && !escaped;
            continue;
        }
        match letter {
            '"' => {
                in_text = true;
                out.push(letter);
            }
            '{' | '[' => {
                out.push(letter);
                while letters.peek().is_some_and(char::is_ascii_whitespace) {
                    letters.next();
                }
                match letters.peek() {
                    Some('}' | ']') => out.extend(letters.next()),
                    _ => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push_str(comma);
                line(&mut out, depth);
            }
            ':' => out.push_str(colon),
            blank if blank.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

/// JSON text with other escapes; slashes and letters stand only inside of strings.
fn escaped(text: &str, how: Escapes) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text.chars();
    let ascii = matches!(how, Escapes::Ascii | Escapes::SlashesAndAscii);
    while let Some(letter) = rest.next() {
        match (letter, how) {
            ('\\', how) => {
                let next = rest.next().unwrap_or('\\');
                match (next, how) {
                    ('/', Escapes::NoSlashes) => out.push('/'),
                    ('u', Escapes::Unicode) => unescape(&mut out, &mut rest),
                    (next, _) => {
                        out.push('\\');
                        out.push(next);
                    }
                }
            }
            ('/', Escapes::Slashes | Escapes::SlashesAndAscii) => out.push_str("\\/"),
            ('<' | '>' | '&', Escapes::Html) => out.push_str(&format!("\\u{:04x}", letter as u32)),
            (letter, _) if ascii && !letter.is_ascii() => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            (letter, _) => out.push(letter),
        }
    }
    out
}

/// After `\u`: the letter itself, where it is none of ASCII.
fn unescape(out: &mut String, rest: &mut std::str::Chars<'_>) {
    let unit = |chars: &mut std::str::Chars<'_>| {
        let digits: String = chars.take(4).collect();
        (u16::from_str_radix(&digits, 16).ok(), digits)
    };
    let (first, digits) = unit(rest);
    let mut units: Vec<u16> = first.into_iter().collect();
    if first.is_some_and(|first| (0xd800..0xdc00).contains(&first)) {
        let mut ahead = rest.clone();
        if ahead.next() == Some('\\') && ahead.next() == Some('u') {
            units.extend(unit(&mut ahead).0);
            *rest = ahead;
        }
    }
    match String::from_utf16(&units) {
        Ok(text) if !text.is_ascii() => out.push_str(&text),
        Ok(_) | Err(_) => {
            out.push_str("\\u");
            out.push_str(&digits);
        }
    }
}

fn is_form(body: &[u8]) -> bool {
    let first = body.trim_ascii().first();
    !matches!(first, None | Some(b'{' | b'[' | b'<')) && body.contains(&b'=')
}

fn pluses(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    if !is_form(body) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(body).into_owned();
    vec![
        (
            "a + in it stood for a + and not for a blank",
            text.replace('+', "%2B").into(),
        ),
        ("a blank in it was a +", text.replace(' ', "+").into()),
        (
            "a blank was written as + and not as %20",
            text.replace("%20", "+").into(),
        ),
        (
            "a blank was written as %20 and not as +",
            text.replace('+', "%20").into(),
        ),
        ("%2B in it was a +", text.replace("%2B", "+").into()),
    ]
}

fn charsets(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut found = Vec::new();
    for (what, change) in CHARSETS {
        if body.is_ascii() && !is_form(body) {
            break;
        }
        let changed = match is_form(body) {
            true => form_in(body, change),
            false => change(body),
        };
        if let Some(changed) = changed {
            found.push((what, changed));
        }
    }
    found
}

type Change = fn(&[u8]) -> Option<Vec<u8>>;

const CHARSETS: [(&str, Change); 4] = [
    ("it was GBK, and was turned into UTF-8", to_gbk),
    ("it was UTF-8, and was turned into GBK", from_gbk),
    ("it was UTF-8, and was read as Latin-1", to_latin1),
    ("it was Latin-1, and was turned into UTF-8", from_latin1),
];

fn to_gbk(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (encoded, _, lost) = GBK.encode(text);
    (!lost).then(|| encoded.into_owned())
}

fn from_gbk(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = GBK.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.into_owned().into_bytes())
}

fn to_latin1(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}

fn from_latin1(bytes: &[u8]) -> Option<Vec<u8>> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    Some(text.into_bytes())
}

/// A form whose values are changed one by one.
fn form_in(body: &[u8], change: Change) -> Option<Vec<u8>> {
    let pairs = Pairs::parse(body).ok()?;
    let mut parts = Vec::new();
    for (name, value) in pairs.iter() {
        let value = change(value)?;
        parts.push(
            [
                &form::encode(name, true),
                &b"="[..],
                &form::encode(&value, true),
            ]
            .concat(),
        );
    }
    Some(parts.join(&b'&'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_keep_texts_and_numbers() {
        let text = r#"{"a" : [1.50,{ }, "x, \"y\": {z}"] }"#;
        let [compact, blanks, two, ..] = LAYOUTS;
        assert_eq!(
            laid_out(text, compact),
            r#"{"a":[1.50,{},"x, \"y\": {z}"]}"#
        );
        assert_eq!(
            laid_out(text, blanks),
            r#"{"a": [1.50, {}, "x, \"y\": {z}"]}"#
        );
        assert_eq!(
            laid_out(text, two),
            "{\n  \"a\": [\n    1.50,\n    {},\n    \"x, \\\"y\\\": {z}\"\n  ]\n}"
        );
    }

    #[test]
    fn escapes_there_and_back() {
        let plain = r#"{"a":"é/😀\n"}"#;
        let ascii = escaped(plain, Escapes::Ascii);
        assert_eq!(ascii, r#"{"a":"\u00e9/\ud83d\ude00\n"}"#);
        assert_eq!(escaped(&ascii, Escapes::Unicode), plain);
        let slashes = escaped(plain, Escapes::Slashes);
        assert_eq!(slashes, r#"{"a":"é\/😀\n"}"#);
        assert_eq!(escaped(&slashes, Escapes::NoSlashes), plain);
    }
}
