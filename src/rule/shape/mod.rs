//! What may stand in rule files, as data: every table with its keys, what each takes, and what it
//! means in one sentence. The JSON Schemas that editors complete and check with are made of this
//! (`callseal schema`, `docs/schema`). The compiler does not read it: a test watches the compiler at
//! work and fails when the two differ in a key, a need, a type, a range or a word.

use crate::rule::words::Words;

mod json;
mod key;
mod outbound;
mod provider;
mod signature;
mod source;

pub use provider::provider;
pub use source::source;

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// What the schema calls it; the same name is always the same table.
    pub name: &'static str,
    pub about: &'static str,
    pub keys: Vec<Key>,
    /// Exactly one of these must be there; empty where there is no such choice.
    pub one_of: &'static [&'static str],
}

#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub name: &'static str,
    /// It must be there, whatever else is.
    pub needed: bool,
    pub kind: Kind,
    /// What it means, with its unit and what holds without it. Editors show this.
    pub about: &'static str,
}

/// What a key takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Text(Form),
    Boolean,
    /// From and to, both included.
    Integer(u64, u64),
    Number(f64, f64),
    Date,
    /// One of a few words.
    Word(Vec<&'static str>),
    Table(Shape),
    /// A table whose keys are the writer's own.
    Named(Box<Kind>),
    /// An array; a single value counts as an array of one.
    List(Box<Kind>),
    Either(Vec<Kind>),
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Free,
    Template,
    /// `10s`, `5m`, `7d`; never zero.
    Duration,
    /// A duration that may be zero.
    Pause,
    /// `256 KiB`.
    Size,
    /// `20/s burst 40`.
    Rate,
    /// An address or a network.
    Network,
    /// A network, or the word `provider`.
    Allowed,
    /// `env:NAME` or `file:PATH`.
    Secret,
    /// Begins with `/`.
    Path,
    /// `https://` or `http://`.
    Web,
    /// `https://`, `http://` or `unix:`.
    Forward,
    /// `https://`.
    Https,
    /// `https://`, or `{config:NAME}`.
    Host,
    /// `+08:00`.
    Zone,
    /// `part:NAME`.
    Part,
    /// `k=v`.
    Render,
    /// `4xx`, `5xx` or a status.
    Status,
    /// Address and port.
    Socket,
    /// Address and port, or `unix:PATH`.
    Door,
}

/// The JSON Schema of provider files.
pub fn provider_schema() -> String {
    provider().schema("A provider of Callseal: rules/providers/NAME.toml")
}

/// The JSON Schema of sources.
pub fn source_schema() -> String {
    source().schema("A source of Callseal: rules/NAME.toml")
}

pub const TEXT: Kind = Kind::Text(Form::Free);
pub const TEMPLATE: Kind = Kind::Text(Form::Template);
pub const DURATION: Kind = Kind::Text(Form::Duration);

impl Shape {
    pub fn new(name: &'static str, about: &'static str) -> Self {
        Shape {
            name,
            about,
            keys: Vec::new(),
            one_of: &[],
        }
    }

    /// A key that must be there.
    #[must_use]
    pub fn need(mut self, name: &'static str, kind: Kind, about: &'static str) -> Self {
        self.keys.push(Key {
            name,
            needed: true,
            kind,
            about,
        });
        self
    }

    /// A key that may be there, or must be there only beside certain others.
    #[must_use]
    pub fn may(mut self, name: &'static str, kind: Kind, about: &'static str) -> Self {
        self.keys.push(Key {
            name,
            needed: false,
            kind,
            about,
        });
        self
    }

    /// A table that may be there; what it means is said in the table.
    #[must_use]
    pub fn table(self, key: &'static str, shape: Shape) -> Self {
        let about = shape.about;
        self.may(key, Kind::Table(shape), about)
    }

    /// Tables `[[key]]`.
    #[must_use]
    pub fn tables(self, key: &'static str, shape: Shape) -> Self {
        let about = shape.about;
        self.may(key, list(Kind::Table(shape)), about)
    }

    #[must_use]
    pub fn one_of(mut self, keys: &'static [&'static str]) -> Self {
        self.one_of = keys;
        self
    }

    /// All keys of another table besides.
    #[must_use]
    pub fn with(mut self, other: Shape) -> Self {
        self.keys.extend(other.keys);
        if self.one_of.is_empty() {
            self.one_of = other.one_of;
        }
        self
    }

    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The tables `[…]` of a file in which a key may stand; none for keys of this table itself.
    pub fn places(&self, key: &str) -> Vec<String> {
        let tables = self.keys.iter().filter_map(|table| match &table.kind {
            Kind::Table(shape) => Some((format!("[{}]", table.name), shape)),
            Kind::List(inner) => match inner.as_ref() {
                Kind::Table(shape) => Some((format!("[[{}]]", table.name), shape)),
                _ => None,
            },
            _ => None,
        });
        tables
            .filter(|(_, shape)| shape.key(key).is_some())
            .map(|(place, _)| place)
            .collect()
    }

    /// The JSON Schema (draft 7) of a file that is this table, as text with a line end.
    pub fn schema(&self, title: &str) -> String {
        json::text(self, title)
    }
}

pub fn words<T, const N: usize>(words: &Words<T, N>) -> Kind {
    Kind::Word(words.iter().map(|(name, _)| *name).collect())
}

pub fn list(kind: Kind) -> Kind {
    Kind::List(Box::new(kind))
}

pub fn named(kind: Kind) -> Kind {
    Kind::Named(Box::new(kind))
}

impl Form {
    /// A pattern that every text of this form fits. The compiler is stricter.
    pub fn pattern(self) -> Option<&'static str> {
        match self {
            Form::Free | Form::Template => None,
            Form::Duration | Form::Pause => Some("^ *[0-9]"),
            Form::Size => Some("^[0-9]+ *([bB]|[kKmMgG][iI]?[bB])?$"),
            Form::Rate => Some("^ *[0-9]+ */ *[0-9a-z]"),
            Form::Network => Some("^[0-9a-fA-F.:]+(/[0-9]{1,3})?$"),
            Form::Allowed => Some("^(provider|[0-9a-fA-F.:]+(/[0-9]{1,3})?)$"),
            Form::Secret => Some("^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"),
            Form::Path => Some("^/"),
            Form::Web => Some("^https?://[^/]"),
            Form::Forward => Some("^(https?://[^/]|unix:/)"),
            Form::Https => Some("^https://[^/]"),
            Form::Host => Some("^(https://[^/]+|\\{config:[^{}]+\\})$"),
            Form::Zone => Some("^[+-][0-9]{2}:[0-9]{2}$"),
            Form::Part => Some("^part:."),
            Form::Render => Some("^k?[^v]*v"),
            Form::Status => Some("^([45]xx|[2-5][0-9]{2})$"),
            Form::Socket => Some("^[0-9a-fA-F.:\\[\\]]+:[0-9]{1,5}$"),
            Form::Door => Some("^(unix:.+|[0-9a-fA-F.:\\[\\]]+:[0-9]{1,5})$"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
