//! Holds a shape against what the reader was asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::rule::shape::{Form, Key, Kind, Shape};
use crate::rule::witness::{Read, Sight};

/// What was seen of one table, over all files.
#[derive(Default)]
struct Seen {
    asked: BTreeSet<&'static str>,
    /// Needed by every table that was read.
    needed: Option<BTreeSet<&'static str>>,
}

/// Fails with every difference between the shape of a file and what was seen.
pub(crate) fn compare(root: &Shape, seen: &[Sight]) {
    let mut shapes = BTreeMap::new();
    let mut wrong = BTreeSet::new();
    collect(root, &mut shapes, &mut wrong);
    let mut tables: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut values: BTreeMap<(&str, &str), BTreeSet<&Read>> = BTreeMap::new();
    for sight in seen {
        match sight {
            Sight::Table {
                path,
                asked,
                needed,
                ..
            } => match table_at(root, path) {
                Some(shape) => {
                    let seen = tables.entry(shape.name).or_default();
                    seen.asked.extend(asked);
                    let needed: BTreeSet<&str> = needed.iter().copied().collect();
                    seen.needed = Some(match seen.needed.take() {
                        Some(before) => before.intersection(&needed).copied().collect(),
                        None => needed,
                    });
                }
                None => {
                    wrong.insert(format!("the shape has no table `{path}`"));
                }
            },
            Sight::Value { path, read, .. } => match at(root, path) {
                Some((shape, Some(key))) => {
                    values
                        .entry((shape.name, key.name))
                        .or_default()
                        .insert(read);
                }
                Some((_, None)) | None => {
                    wrong.insert(format!("the shape has no value `{path}`"));
                }
            },
        }
    }
    for (name, shape) in &shapes {
        match tables.get(name) {
            Some(seen) => compare_table(shape, seen, &mut wrong),
            None => {
                wrong.insert(format!("no file of this test has a table {name}"));
            }
        }
        for key in &shape.keys {
            match values.get(&(*name, key.name)) {
                Some(reads) => compare_value(name, key, reads, &mut wrong),
                None if leaf(&key.kind) => {
                    wrong.insert(format!("no file of this test says {name}.{}", key.name));
                }
                None => {}
            }
        }
    }
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The same name is always the same table.
fn collect<'s>(
    shape: &'s Shape,
    shapes: &mut BTreeMap<&'static str, &'s Shape>,
    wrong: &mut BTreeSet<String>,
) {
    if shapes
        .insert(shape.name, shape)
        .is_some_and(|other| other != shape)
    {
        wrong.insert(format!("two tables are called {}", shape.name));
    }
    for key in &shape.keys {
        if key.about.is_empty() || !key.about.ends_with('.') {
            wrong.insert(format!(
                "{}.{} is not explained in a sentence",
                shape.name, key.name
            ));
        }
        if shape
            .keys
            .iter()
            .filter(|other| other.name == key.name)
            .count()
            > 1
        {
            wrong.insert(format!("{}.{} is there twice", shape.name, key.name));
        }
        for inner in tables_in(&key.kind) {
            collect(inner, shapes, wrong);
        }
    }
}

fn tables_in(kind: &Kind) -> Vec<&Shape> {
    match kind {
        Kind::Table(shape) => vec![shape],
        Kind::Named(inner) | Kind::List(inner) => tables_in(inner),
        Kind::Either(kinds) => kinds.iter().flat_map(tables_in).collect(),
        Kind::Text(_)
        | Kind::Boolean
        | Kind::Integer(..)
        | Kind::Number(..)
        | Kind::Date
        | Kind::Word(_) => Vec::new(),
    }
}

fn leaf(kind: &Kind) -> bool {
    tables_in(kind).is_empty()
}

/// What stands at a path of a message, e.g. `signature[0].header.items`: the table, or the key with
/// its table.
fn at<'s>(root: &'s Shape, path: &str) -> Option<(&'s Shape, Option<&'s Key>)> {
    let (mut shape, mut rest) = (root, path);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('.').unwrap_or((rest, ""));
        let key = shape.key(name.split('[').next()?)?;
        let named = matches!(key.kind, Kind::Named(_));
        match tables_in(&key.kind).first() {
            // Names of the writer's own may hold dots.
            None => return (named || after.is_empty()).then_some((shape, Some(key))),
            // A text that may be a table, or the table.
            Some(_) if after.is_empty() => return Some((shape, Some(key))),
            // One name of the writer's own, and no key below it.
            Some(_) if named && !after.contains('.') => return Some((shape, Some(key))),
            Some(inner) if named => {
                (shape, rest) = (inner, after.split_once('.').map_or("", |(_, rest)| rest));
            }
            Some(inner) => (shape, rest) = (inner, after),
        }
    }
    Some((shape, None))
}

fn table_at<'s>(root: &'s Shape, path: &str) -> Option<&'s Shape> {
    match at(root, path)? {
        (shape, None) => Some(shape),
        (_, Some(key)) => tables_in(&key.kind).first().copied(),
    }
}

fn compare_table(shape: &Shape, seen: &Seen, wrong: &mut BTreeSet<String>) {
    let name = shape.name;
    for key in &shape.keys {
        if !seen.asked.contains(key.name) {
            wrong.insert(format!(
                "{name}.{}: the compiler knows no such key",
                key.name
            ));
        }
        let needed = seen
            .needed
            .as_ref()
            .is_some_and(|keys| keys.contains(key.name));
        if needed != key.needed {
            wrong.insert(format!(
                "{name}.{}: needed by the compiler: {needed}",
                key.name
            ));
        }
    }
    for asked in seen.asked.iter().filter(|asked| shape.key(asked).is_none()) {
        wrong.insert(format!("{name}.{asked}: the shape knows no such key"));
    }
    for key in shape.one_of.iter().filter(|key| shape.key(key).is_none()) {
        wrong.insert(format!("{name}.{key}: one of these, but no key"));
    }
}

/// Everything that a kind may be read as, with nothing left out that tells kinds apart.
fn reads(kind: &Kind) -> BTreeSet<Read> {
    match kind {
        Kind::Text(Form::Template) => BTreeSet::from([Read::Text, Read::Template]),
        Kind::Text(form) => {
            let parser = parser(*form).map(Read::Parsed);
            parser.into_iter().chain([Read::Text]).collect()
        }
        Kind::Boolean => BTreeSet::from([Read::Boolean]),
        Kind::Integer(from, to) => BTreeSet::from([Read::Integer(*from, *to)]),
        Kind::Number(..) => BTreeSet::from([Read::Number]),
        Kind::Date => BTreeSet::from([Read::Date]),
        Kind::Word(words) => {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            BTreeSet::from([Read::Text, Read::Word(words)])
        }
        Kind::Table(_) => BTreeSet::new(),
        Kind::Named(inner) | Kind::List(inner) => reads(inner),
        Kind::Either(kinds) => kinds.iter().flat_map(reads).collect(),
    }
}

/// The function that reads a form, where it is one with a name.
fn parser(form: Form) -> Option<&'static str> {
    match form {
        Form::Duration => Some("callseal::rule::value::duration"),
        Form::Pause => Some("callseal::rule::value::pause"),
        Form::Rate => Some("callseal::rule::value::rate"),
        Form::Network | Form::Allowed => Some("callseal::rule::value::network"),
        Form::Path => Some("callseal::rule::value::path"),
        Form::Zone => Some("callseal::rule::value::zone"),
        Form::Free
        | Form::Template
        | Form::Size
        | Form::Secret
        | Form::Web
        | Form::Forward
        | Form::Https
        | Form::Host
        | Form::Part
        | Form::Render
        | Form::Status
        | Form::Socket
        | Form::Door => None,
    }
}

fn compare_value(table: &str, key: &Key, seen: &BTreeSet<&Read>, wrong: &mut BTreeSet<String>) {
    let expected = reads(&key.kind);
    let place = format!("{table}.{}", key.name);
    for read in &expected {
        if !seen.contains(read) {
            wrong.insert(format!("{place}: never read as {read:?}, but {seen:?}"));
        }
    }
    for read in seen {
        let unnamed = |name: &str| {
            let own = name.strip_prefix("callseal::rule::value::");
            own.is_none_or(|name| ["address", "public_url"].contains(&name))
        };
        let free = matches!(read, Read::Parsed(name) if unnamed(name));
        if !expected.contains(*read) && !free {
            wrong.insert(format!(
                "{place}: read as {read:?}, which the shape does not say"
            ));
        }
    }
}
