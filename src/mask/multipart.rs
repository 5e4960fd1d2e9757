//! Names and values of a form in parts (RFC 7578).

use crate::mask::names::Class;
use crate::mask::structure::{said, starts, under, value};
use crate::mask::view::{Canvas, Item};

/// Characters of a boundary with its two dashes (RFC 2046 §5.1.1).
const BOUNDARY: std::ops::RangeInclusive<usize> = 3..=72;

fn ends_line(item: &Item) -> bool {
    matches!(item.ch, '\r' | '\n')
}

/// True where this is such a form; its parts have been looked through then.
pub fn scan(canvas: &mut Canvas, items: &[Item], depth: usize) -> bool {
    let length = items.iter().take_while(|item| !ends_line(item)).count();
    if !BOUNDARY.contains(&length) || length == items.len() || !starts(items, "--") {
        return false;
    }
    let boundary = said(items.get(..length).unwrap_or_default());
    let mut rest = items.get(length..).unwrap_or_default();
    while !rest.is_empty() {
        let after = |at: &usize| rest.get(at + 1..).unwrap_or_default();
        let mut lines = (0..rest.len()).filter(|at| rest.get(*at).is_some_and(ends_line));
        let next = lines.find(|at| starts(after(at), &boundary));
        let end = next.unwrap_or(rest.len());
        part(canvas, rest.get(..end).unwrap_or_default(), depth);
        rest = rest.get(end + 1 + length..).unwrap_or_default();
    }
    true
}

/// Fields, an empty line, the value.
fn part(canvas: &mut Canvas, items: &[Item], depth: usize) {
    let blank = (0..items.len()).find_map(|at| {
        let here = items.get(at..)?;
        let gaps = ["\r\n\r\n", "\n\n"];
        gaps.iter()
            .find(|gap| starts(here, gap))
            .map(|gap| (at, at + gap.len()))
    });
    let Some((head, body)) = blank else { return };
    let head = said(items.get(..head).unwrap_or_default());
    let name = head.split(['"', '=', ';', ' ']).collect::<Vec<&str>>();
    let name = name
        .windows(3)
        .find_map(|words| match words {
            [word, "", name] if word.eq_ignore_ascii_case("name") => Some(*name),
            [word, name, _] if word.eq_ignore_ascii_case("name") => Some(*name),
            _ => None,
        })
        .unwrap_or_default();
    let parts = name.split(['[', ']', '.']).filter(|part| !part.is_empty());
    let class = parts.fold(Class::Plain, under);
    let mut said_of = items.get(body..).unwrap_or_default();
    while let Some((last, before)) = said_of.split_last()
        && last.ch.is_whitespace()
    {
        said_of = before;
    }
    value(canvas, class, said_of, depth);
}
