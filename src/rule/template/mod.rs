//! The template language: literals and `{selector|transform|…}` over bytes. One language wherever
//! a rule says where something stands: the signed message, the event id, an answer.
//!
//! A template is parsed once, when the rule is compiled; `verify` evaluates it piece by piece.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

mod parse;

pub use parse::TemplateError;

/// A parsed template. It reads nothing but the request, the configuration and named secrets; it
/// has no loops, so its cost is bounded by its own length and that of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(Vec<u8>),
    Value(Value),
}

/// `{selector|transform|…}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub selector: Selector,
    pub transforms: Vec<Transform>,
    /// Where it stands in the template's own text.
    pub span: Range<usize>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// The body, byte for byte.
    Body,
    Method,
    /// The path as on the wire, without the query.
    Path,
    /// Path and query as on the wire.
    Target,
    /// The query as on the wire, without the question mark.
    Query,
    /// One parameter of the query, decoded.
    QueryParam(String),
    /// The address that the source has configured; never taken from the request.
    Url,
    /// A header field; the name in lower case.
    Header(String),
    /// One field of a form, decoded.
    Form(String),
    /// A scalar in a JSON body: text unescaped, numbers and booleans as they are written.
    Json(Pointer),
    /// A named item of the signature header, by the provider's header grammar.
    Sig(String),
    /// A value that the source sets under `[config]`.
    Config(String),
    /// A secret that the source names under `[secrets]`.
    Secret(String),
    /// The parameter set of `[params]`, sorted and joined, without these names.
    Params {
        without: Vec<String>,
    },
}

/// A JSON Pointer (RFC 6901), taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer(pub Vec<String>);

/// What is done to a value, from left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Lower-case hexadecimal text of the bytes.
    Hex,
    /// Standard base64 text of the bytes, padded.
    Base64,
    /// The 32 bytes of the digest.
    Sha256,
    Lower,
    Upper,
    PercentDecode,
    /// Stands in for a value that is missing (not for one that is empty).
    Default(Vec<u8>),
    /// Takes this text off the front; a value that does not begin with it counts as missing.
    StripPrefix(Vec<u8>),
}

impl Template {
    /// Parses a template. Every fault is reported with the bytes of `text` that it is about.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        Ok(Template {
            text: text.to_owned(),
            pieces: parse::pieces(text)?,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Value(value) => Some(value),
        })
    }

    /// The one value that this template consists of; none when there is anything beside it.
    pub fn as_single(&self) -> Option<&Value> {
        match self.pieces.as_slice() {
            [Piece::Value(value)] => Some(value),
            _ => None,
        }
    }

    /// The selectors in use, each once.
    pub fn selectors(&self) -> BTreeSet<&Selector> {
        self.values().map(|value| &value.selector).collect()
    }
}

impl Value {
    /// True when different inputs keep apart: what such a value shows is fixed by the signature.
    pub fn keeps_apart(&self) -> bool {
        self.transforms.iter().all(|transform| match transform {
            Transform::Hex
            | Transform::Base64
            | Transform::Sha256
            | Transform::Default(_)
            | Transform::StripPrefix(_) => true,
            Transform::Lower | Transform::Upper | Transform::PercentDecode => false,
        })
    }

    /// True when the result always has the same length, so that it needs no separator.
    pub fn fixed_length(&self) -> bool {
        self.transforms.contains(&Transform::Sha256)
    }
}

impl Selector {
    /// True when whoever sends the request decides what stands there. The rest is set by the
    /// source and cannot make two events differ.
    pub fn from_request(&self) -> bool {
        match self {
            Selector::Body
            | Selector::Method
            | Selector::Path
            | Selector::Target
            | Selector::Query
            | Selector::QueryParam(_)
            | Selector::Header(_)
            | Selector::Form(_)
            | Selector::Json(_)
            | Selector::Sig(_)
            | Selector::Params { .. } => true,
            Selector::Url | Selector::Config(_) | Selector::Secret(_) => false,
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::Body => f.write_str("body"),
            Selector::Method => f.write_str("method"),
            Selector::Path => f.write_str("path"),
            Selector::Target => f.write_str("target"),
            Selector::Query => f.write_str("query"),
            Selector::QueryParam(name) => write!(f, "query:{name}"),
            Selector::Url => f.write_str("url"),
            Selector::Header(name) => write!(f, "header:{name}"),
            Selector::Form(name) => write!(f, "form:{name}"),
            Selector::Json(pointer) => write!(f, "json:{pointer}"),
            Selector::Sig(name) => write!(f, "sig:{name}"),
            Selector::Config(name) => write!(f, "config:{name}"),
            Selector::Secret(name) => write!(f, "secret:{name}"),
            Selector::Params { without } if without.is_empty() => f.write_str("params"),
            Selector::Params { without } => write!(f, "params|without:{}", without.join(",")),
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}
