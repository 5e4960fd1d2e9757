//! For tests: what the reader was asked for while a file was compiled. `rule::shape` is held
//! against it, so that the schemas cannot say anything else than the compiler.

use std::cell::RefCell;

/// One thing that was read. Paths are those of messages: `signature[0].header.items`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A table that was read to its end: every key that may stand there, and those that must.
    Table {
        path: String,
        asked: Vec<&'static str>,
        needed: Vec<&'static str>,
    },
    /// A value, and what it was taken for.
    Value { path: String, read: Read },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Read {
    Text,
    Template,
    Boolean,
    Integer(u64, u64),
    Number,
    Date,
    Word(Vec<String>),
    /// Text that a function of this name reads.
    Parsed(&'static str),
}

thread_local! {
    static SEEN: RefCell<Vec<Sight>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn see(sight: Sight) {
    SEEN.with_borrow_mut(|seen| seen.push(sight));
}

pub(crate) fn value(path: &str, read: Read) {
    let path = path.to_owned();
    see(Sight::Value { path, read });
}

pub(crate) fn word<'a>(path: &str, words: impl Iterator<Item = &'a str>) {
    value(path, Read::Word(words.map(str::to_owned).collect()));
}

/// Everything seen while `act` ran, on this thread.
pub(crate) fn during(act: impl FnOnce()) -> Vec<Sight> {
    SEEN.take();
    act();
    SEEN.take()
}
