//! For tests: what the reader was asked for while a file was compiled. `rule::shape` is held
//! against it, so that the schemas cannot say anything else than the compiler.

use std::cell::RefCell;

/// One thing that was read. Paths are those of messages: `signature[0].header.items`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A table that was read to its end: every key that may stand there, and those that must.
    Table {
        file: String,
        path: String,
        asked: Vec<&'static str>,
        needed: Vec<&'static str>,
    },
    /// A value, and what it was taken for.
    Value {
        file: String,
        path: String,
        read: Read,
    },
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

impl Sight {
    /// The file that was being read, as messages call it.
    pub(crate) fn file(&self) -> &str {
        match self {
            Sight::Table { file, .. } | Sight::Value { file, .. } => file,
        }
    }
}

/// Everything seen while `act` ran, on this thread.
pub(crate) fn during(act: impl FnOnce()) -> Vec<Sight> {
    SEEN.take();
    act();
    SEEN.take()
}
