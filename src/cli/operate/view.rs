//! How answers of the admin port look on a terminal. What providers and applications sent is
//! hostile: a control character could move the cursor, a bidirectional one turn words around.

use std::fmt::Write;
use std::io::IsTerminal;

use serde_json::Value;

use crate::cli::output;
use crate::clock::Timestamp;

/// A colour of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Good,
    Warning,
    Bad,
    Faint,
    Strong,
}

/// True when standard output is a terminal that may be coloured.
pub fn colours() -> bool {
    std::io::stdout().is_terminal() && output::may_colour()
}

/// Text in a colour, where there are colours.
pub fn paint(text: &str, with: Paint) -> String {
    if !colours() {
        return text.to_owned();
    }
    let code = match with {
        Paint::Good => "32",
        Paint::Warning => "33",
        Paint::Bad => "31",
        Paint::Faint => "2",
        Paint::Strong => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// So many of them.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The colour of a delivery's state.
pub fn of_state(state: &str) -> Paint {
    match state {
        "delivered" => Paint::Good,
        "owed" => Paint::Warning,
        "dead" => Paint::Bad,
        _ => Paint::Faint,
    }
}

/// Characters that change how others are shown: controls, and those of the bidirectional
/// algorithm (Unicode UAX #9), joiners and tags.
pub fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// One line: hidden characters are written out.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if hidden(c) => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// JSON whose texts cannot steer a terminal: what JSON leaves as it is (DEL, C1, bidirectional
/// characters) stands as an escape, which means the same.
pub fn json(value: &Value) -> String {
    escaped(&format!("{value:#}"))
}

/// The same on one line.
pub fn json_line(value: &Value) -> String {
    escaped(&value.to_string())
}

fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // Between members: within a text it is an escape already.
            '\n' => out.push(c),
            c if hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// Several lines: line ends and tabs stay.
pub fn visible_lines(text: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| {
            let parts: Vec<String> = line
                .trim_end_matches('\r')
                .split('\t')
                .map(visible)
                .collect();
            parts.join("\t")
        })
        .collect();
    lines.join("\n")
}

/// At most so many columns of it, with a mark where it was cut.
pub fn clipped(text: &str, columns: usize) -> String {
    if output::columns(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if output::columns(&kept) >= columns {
            kept.pop();
            break;
        }
    }
    kept + "…"
}

/// A member as text that is safe to print; empty when it is not there.
pub fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => visible(text),
        Some(other) => visible(&other.to_string()),
    }
}

/// A member as a whole number; 0 when it is not there.
pub fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// A member that is true.
pub fn is(value: &Value, pointer: &str) -> bool {
    value
        .pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// The elements of a member; none when it is no list.
pub fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// How long ago, in the largest unit that fits: `3m`, `2h`, `5d`; `in 3m` for what is to come.
/// The text as it is where it is no moment.
pub fn ago(moment: &str, now: Timestamp) -> String {
    let Some(at) = parsed(moment) else {
        return visible(moment);
    };
    let distance = at.distance(now).as_secs();
    let short = match distance {
        0..60 => format!("{distance}s"),
        60..3600 => format!("{}m", distance / 60),
        3600..86_400 => format!("{}h", distance / 3600),
        _ => format!("{}d", distance / 86_400),
    };
    match at > now {
        true => format!("in {short}"),
        false => short,
    }
}

/// A moment of the API.
pub fn parsed(moment: &str) -> Option<Timestamp> {
    let time = humantime::parse_rfc3339(moment).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::default().plus(since))
}

/// Bytes with a unit of 1024.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut units = UNITS.into_iter().peekable();
    let mut unit = "B";
    while let Some(next) = units.next() {
        unit = next;
        if size < 1024.0 || units.peek().is_none() {
            break;
        }
        size /= 1024.0;
    }
    match unit {
        "B" => format!("{bytes} B"),
        unit => format!("{size:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_move_the_cursor_or_turn_text_around_is_written_out() {
        assert_eq!(
            visible("a\x1b[2Jb\u{202e}c\r\n"),
            "a\\u{1b}[2Jb\\u{202e}c\\r\\n"
        );
        assert_eq!(visible("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(visible_lines("a\r\nb\tc\x07"), "a\nb\tc\\u{7}");
        assert_eq!(visible("订单 42"), "订单 42");
    }

    #[test]
    fn json_cannot_steer_a_terminal_and_means_the_same() {
        let value = serde_json::json!({ "a": "\x1b[2J\u{9b}31m\u{7f}\u{202e}\u{e0041}订单" });
        let said = json(&value);
        assert!(!said.chars().any(|c| hidden(c) && c != '\n'), "{said:?}");
        assert!(said.contains("订单") && said.contains("\\u009b"), "{said}");
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), value);
    }

    #[test]
    fn distances_and_sizes_are_short() {
        let now = parsed("2026-11-22T09:30:00Z").unwrap();
        assert_eq!(ago("2026-11-22T09:27:30.500Z", now), "2m");
        assert_eq!(ago("2026-11-22T11:30:00Z", now), "in 2h");
        assert_eq!(ago("never", now), "never");
        assert_eq!(
            (bytes(5), bytes(1536), bytes(3 << 30)),
            ("5 B".into(), "1.5 KiB".into(), "3.0 GiB".into())
        );
    }

    #[test]
    fn clipping_and_padding_count_columns() {
        assert_eq!(clipped("订单号码", 8), "订单号码");
        assert_eq!(clipped("订单号码", 7), "订单号…");
        assert_eq!(clipped("订单号码", 6), "订单…");
        assert_eq!(clipped("abc", 3), "abc");
        assert_eq!(clipped("abcd", 3), "ab…");
        assert_eq!(output::padded("订单", 6), "订单  ");
    }
}
