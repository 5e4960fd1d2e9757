//! Names and their values in JSON, forms and XML. Lenient: a body may be cut off, or be nothing of the
//! kind, and what cannot be read so is still looked through by `find`.

use crate::mask::names::{self, Class};
use crate::mask::view::{self, Canvas, Item};
use crate::mask::{Kind, encoded, find, multipart};

/// Texts in texts: JSON in a form, JSON in JSON.
pub const DEPTH: usize = 6;

/// Looks at it as what it is called, and as what it begins like: some send JSON as a form.
pub fn scan(kind: Kind, canvas: &mut Canvas, items: &[Item], depth: usize) {
    if depth >= DEPTH {
        return;
    }
    let counts = |item: &&Item| !item.ch.is_whitespace() && item.ch != BOM;
    let begins = match items.iter().find(counts).map(|item| item.ch) {
        None => return,
        Some('{' | '[') => Kind::Json,
        Some('<') => Kind::Xml,
        Some(_) => Kind::Text,
    };
    if kind != Kind::Text {
        named(kind, canvas, items, depth);
    }
    if kind != begins {
        named(begins, canvas, items, depth);
    } else if kind == Kind::Text {
        text(canvas, items, depth);
    }
}

/// Before a text, says nothing.
const BOM: char = '\u{feff}';

fn named(kind: Kind, canvas: &mut Canvas, items: &[Item], depth: usize) {
    match kind {
        Kind::Json => json(canvas, items, depth),
        Kind::Form => form(canvas, items, depth),
        Kind::Xml => xml(canvas, items, depth),
        Kind::Text => text(canvas, items, depth),
    }
}

fn text(canvas: &mut Canvas, items: &[Item], depth: usize) {
    if multipart::scan(canvas, items, depth) {
        return;
    }
    // Base64 may end as the name of a field does.
    if pairs(items) {
        form(canvas, items, depth);
    }
    encoded::look(canvas, items, depth);
}

/// `a=b`, and nothing that a form has not.
fn pairs(items: &[Item]) -> bool {
    let name = items.iter().take_while(|item| item.ch != '=');
    let short = name
        .take(65)
        .all(|item| item.ch.is_ascii_alphanumeric() || "_-.[]%".contains(item.ch));
    short && items.iter().any(|item| item.ch == '=') && !items.iter().any(|item| item.ch == ' ')
}

pub fn said(items: &[Item]) -> String {
    items.iter().map(|item| item.ch).collect()
}

/// A value as its reader sees it.
pub fn value(canvas: &mut Canvas, class: Class, items: &[Item], depth: usize) {
    match class {
        Class::Personal => find::hide(canvas, items),
        Class::Exempt => {
            canvas.exempt(items);
            encoded::look(canvas, items, depth + 1);
        }
        Class::Plain => scan(Kind::Text, canvas, items, depth + 1),
    }
}

/// What is inside something personal is so too, unless its name says that it is not.
pub fn under(outer: Class, name: &str) -> Class {
    match (outer, names::class(name)) {
        (Class::Personal, _) if !names::harmless(name) => Class::Personal,
        (_, own) => own,
    }
}

/// `{"name": "email", "value": "…"}`: members that say what another one of their object is, and
/// those that are meant.
const NAMES: [&str; 6] = ["name", "key", "field", "label", "code", "title"];
const GIVEN: [&str; 4] = ["value", "val", "answer", "content"];

fn json(canvas: &mut Canvas, items: &[Item], depth: usize) {
    // Of each array and object that is open; and of what it says that its `value` is.
    let mut open: Vec<(Class, Class)> = Vec::new();
    // Of each, the `value` that came before it was said what it is.
    let mut unnamed: Vec<Vec<Item>> = Vec::new();
    // The value that comes next is such a one.
    let mut given = false;
    // Of the member whose value comes next.
    let mut next: Option<Class> = None;
    // That member's value is the name of another.
    let mut names_another = false;
    let mut at = 0;
    while let Some(item) = items.get(at) {
        let (outer, of_value) = open.last().copied().unwrap_or((Class::Plain, Class::Plain));
        match item.ch {
            '"' => {
                let inner = items.get(at + 1..).unwrap_or_default();
                let length = string(inner);
                let inner = view::unescape(inner.get(..length).unwrap_or_default(), false);
                at += length + 2;
                let after = items.get(at..).unwrap_or_default();
                let blank = after
                    .iter()
                    .take_while(|item| item.ch.is_whitespace())
                    .count();
                if next.is_none() && after.get(blank).is_some_and(|item| item.ch == ':') {
                    let name = said(&inner);
                    given = GIVEN.contains(&name.as_str());
                    let personal = given && of_value == Class::Personal;
                    next = Some(if personal {
                        of_value
                    } else {
                        under(outer, &name)
                    });
                    names_another = NAMES.contains(&name.as_str());
                    at += blank + 1;
                } else {
                    if names_another && let Some(open) = open.last_mut() {
                        let class = names::class(&said(&inner));
                        if class == Class::Personal {
                            let before = unnamed.last_mut().map(std::mem::take);
                            find::hide(canvas, &before.unwrap_or_default());
                        }
                        // One of several names is enough.
                        if open.1 != Class::Personal {
                            open.1 = class;
                        }
                    }
                    value(canvas, next.take().unwrap_or(outer), &inner, depth);
                    if given && let Some(last) = unnamed.last_mut() {
                        *last = inner;
                    }
                    (names_another, given) = (false, false);
                }
            }
            '{' | '[' => {
                let class = next.take().unwrap_or(outer);
                let class = match class {
                    Class::Exempt => Class::Plain,
                    class => class,
                };
                open.push((class, Class::Plain));
                unnamed.push(Vec::new());
                (names_another, given) = (false, false);
                at += 1;
            }
            '}' | ']' => {
                open.pop();
                unnamed.pop();
                next = None;
                at += 1;
            }
            ',' => {
                next = None;
                at += 1;
            }
            ch if ch.is_whitespace() || ch == ':' => at += 1,
            _ => {
                let rest = items.get(at..).unwrap_or_default();
                let ends = |item: &&Item| !",]}:{[\"".contains(item.ch) && !item.ch.is_whitespace();
                let length = rest.iter().take_while(ends).count().max(1);
                let token = rest.get(..length).unwrap_or_default();
                if item.ch == '-' || item.ch.is_ascii_digit() {
                    canvas.number(token);
                    match next.take().unwrap_or(outer) {
                        Class::Personal => find::hide(canvas, token),
                        Class::Exempt => canvas.exempt(token),
                        Class::Plain => {}
                    }
                    if given && let Some(last) = unnamed.last_mut() {
                        *last = token.to_vec();
                    }
                }
                (next, given) = (None, false);
                at += length;
            }
        }
    }
}

/// Characters of a string of JSON, up to its closing quote.
fn string(items: &[Item]) -> usize {
    let mut at = 0;
    while let Some(item) = items.get(at) {
        match item.ch {
            '"' => return at,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    items.len()
}

fn form(canvas: &mut Canvas, items: &[Item], depth: usize) {
    for pair in items.split(|item| item.ch == '&') {
        let name = pair.iter().take_while(|item| item.ch != '=').count();
        let Some((name, said_of)) = pair.split_at_checked(name) else {
            continue;
        };
        let Some((_, said_of)) = said_of.split_first() else {
            continue;
        };
        let said_of = view::percent(said_of, true);
        let name = said(&view::percent(name, true));
        // `card[number]`: what is in a card is of the card.
        let parts = name.split(['[', ']', '.']).filter(|part| !part.is_empty());
        let class = parts.fold(Class::Plain, under);
        value(canvas, class, &said_of, depth);
    }
}

fn xml(canvas: &mut Canvas, items: &[Item], depth: usize) {
    let mut open: Vec<Class> = Vec::new();
    let mut at = 0;
    while at < items.len() {
        let outer = open.last().copied().unwrap_or(Class::Plain);
        let rest = items.get(at..).unwrap_or_default();
        if starts(rest, "<![CDATA[") {
            let end = position(rest, "]]>").unwrap_or(rest.len());
            value(canvas, outer, rest.get(9..end).unwrap_or_default(), depth);
            at += end + 3;
        } else if starts(rest, "<!--") {
            at += position(rest, "-->").unwrap_or(rest.len()) + 3;
        } else if rest.first().is_some_and(|item| item.ch == '<') {
            let end = rest
                .iter()
                .position(|item| item.ch == '>')
                .unwrap_or(rest.len());
            let tag = rest.get(1..end).unwrap_or_default();
            match (
                tag.first().map(|item| item.ch),
                tag.last().map(|item| item.ch),
            ) {
                (Some('/'), _) => drop(open.pop()),
                (Some('?' | '!') | None, _) => {}
                (Some(_), last) => {
                    let named = |item: &&Item| !item.ch.is_whitespace() && item.ch != '/';
                    let length = tag.iter().take_while(named).count();
                    let (name, more) = tag.split_at_checked(length).unwrap_or((tag, &[]));
                    let name = said(name);
                    // Without the prefix of a namespace.
                    let class = under(outer, name.rsplit(':').next().unwrap_or_default());
                    attributes(canvas, more, depth);
                    if last != Some('/') {
                        open.push(class);
                    }
                }
            }
            at += end + 1;
        } else {
            let length = rest.iter().take_while(|item| item.ch != '<').count();
            let text = rest.get(..length).unwrap_or_default();
            let blank = text
                .iter()
                .take_while(|item| item.ch.is_whitespace())
                .count();
            let text = view::references(text.get(blank..).unwrap_or_default());
            value(canvas, outer, &text, depth);
            at += length;
        }
    }
}

fn attributes(canvas: &mut Canvas, items: &[Item], depth: usize) {
    let mut rest = items;
    while let Some(equals) = rest.iter().position(|item| item.ch == '=') {
        let (name, after) = rest.split_at_checked(equals).unwrap_or((rest, &[]));
        let name = said(name);
        let quote = after
            .get(1)
            .map(|item| item.ch)
            .filter(|ch| ['"', '\''].contains(ch));
        let inner = after.get(2..).unwrap_or_default();
        let length = inner.iter().position(|item| Some(item.ch) == quote);
        let length = length.unwrap_or(inner.len());
        let (said_of, more) = inner.split_at_checked(length).unwrap_or((inner, &[]));
        let said_of = view::references(said_of);
        value(canvas, names::class(name.trim()), &said_of, depth);
        rest = more;
    }
}

pub fn starts(items: &[Item], with: &str) -> bool {
    let same = |(item, ch): (&Item, char)| item.ch == ch;
    items.len() >= with.len() && items.iter().zip(with.chars()).all(same)
}

fn position(items: &[Item], what: &str) -> Option<usize> {
    items
        .windows(what.len())
        .position(|window| starts(window, what))
}
