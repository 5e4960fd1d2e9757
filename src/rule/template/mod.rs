//! The template language: literals and `{selector|transform|…}` over bytes. One language wherever
//! a rule says where something stands: the signed message, the event id, an answer.
//!
//! A template is parsed once, when the rule is compiled; `verify` evaluates it piece by piece.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

mod parse;

use crate::rule::scheme::Digest;

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
    /// `{(…)}`: left out whole when a value in it is missing.
    Optional(Vec<Piece>),
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
    /// One segment of the path as on the wire, counted from 1.
    PathSegment(usize),
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
    /// Every field of a name: several candidates for a signature.
    Headers(String),
    /// `NAME-1`, `NAME-2` and so on: several candidates for a signature.
    HeaderNumbered(String),
    /// The two halves of `Authorization: Basic`.
    BasicUser,
    BasicPassword,
    /// One field of a form, decoded.
    Form(String),
    /// A scalar in a JSON body: text unescaped, numbers and booleans as they are written. A token
    /// `*` stands for every element of an array.
    Json(Pointer),
    /// Any value in a JSON body, byte for byte as it is written.
    JsonRaw(Pointer),
    /// The text of an element of an XML body, by the names below the root.
    Xml(Vec<String>),
    /// An item of the signature header, by the provider's header grammar.
    Sig(Item),
    /// A document of `[parts]`, or something in it.
    Part {
        name: String,
        within: Vec<String>,
    },
    /// The decrypted document, or something in it.
    Plain(Option<Pointer>),
    /// Something in the item that is being verified.
    Item(Pointer),
    /// A value that the source sets under `[config]`.
    Config(String),
    /// A secret that the source names under `[secrets]`.
    Secret(String),
    /// The bytes of the key under trial.
    Key,
    /// What the request calls the key.
    KeyId,
    /// The parameter set of `[params]`, sorted and joined, without these names.
    Params {
        without: Vec<String>,
    },
    /// What a pinned host answered.
    Answer(Answered),
    AnswerStatus,
    /// The moment of a request of our own.
    Now(Style),
    /// 32 random characters of a request of our own.
    Nonce,
    /// The signature of a request of our own.
    Signature,
}

/// Which item of a signature header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// By its name, or its place from 1.
    Named(String),
    /// By the name that the source has set under `[config]`.
    AsConfigured(String),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answered {
    Whole,
    Json(Pointer),
    Field(String),
}

/// How a moment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Style {
    Unix,
    UnixMillis,
    Rfc3339,
}

/// A JSON Pointer (RFC 6901), taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer(pub Vec<String>);

/// What is done to a value, from left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Lower-case hexadecimal text of the bytes.
    Hex,
    HexUpper,
    /// Standard base64 text of the bytes, padded.
    Base64,
    /// URL alphabet, not padded.
    Base64Url,
    FromHex,
    /// Padding may be missing.
    FromBase64,
    FromBase64Url,
    PercentDecode,
    /// All but RFC 3986's unreserved characters.
    PercentEncode,
    /// `application/x-www-form-urlencoded`: a space is a plus sign.
    FormEncode,
    FormDecode,
    Lower,
    Upper,
    Trim,
    Reverse,
    /// Stands in for a value that is missing (not for one that is empty).
    Default(Vec<u8>),
    /// Takes this text off the front; a value that does not begin with it counts as missing.
    StripPrefix(Vec<u8>),
    StripSuffix(Vec<u8>),
    /// What stands before the first of these; missing when there is none.
    Before(Vec<u8>),
    After(Vec<u8>),
    /// Takes double quotes off both ends, if there are any.
    Unquote,
    /// Escaped as inside a JSON string.
    JsonText,
    /// The raw bytes of a digest.
    Digest(Digest),
    /// CRC-32 as decimal text.
    Crc32,
    /// The length as four bytes, little-endian, and then the bytes.
    Len32Le,
    /// An HMAC under the source's first key; only in a challenge's reply.
    Hmac(Digest),
    /// A JSON object without one of its members; the rest byte for byte.
    JsonWithout(String),
    /// JSON with sorted names and without blanks; literals as they are written. Lossy.
    JsonSorted,
    /// `/` as `\/`, the way PHP writes JSON.
    JsonEscapeSlashes,
    First(usize),
    Skip(usize),
    /// `12.50` as `12.5`, `42.0` as `42`.
    FloatTrim,
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

    /// Every value in it, those of optional segments too.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.pieces.iter().flat_map(|piece| {
            let (one, more): (_, &[Piece]) = match piece {
                Piece::Literal(_) => (None, &[]),
                Piece::Value(value) => (Some(value), &[]),
                Piece::Optional(pieces) => (None, pieces),
            };
            one.into_iter()
                .chain(more.iter().filter_map(|piece| match piece {
                    Piece::Value(value) => Some(value),
                    Piece::Literal(_) | Piece::Optional(_) => None,
                }))
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
    /// A CRC does not, and neither does a digest that has been broken.
    pub fn keeps_apart(&self) -> bool {
        self.transforms.iter().all(|transform| match transform {
            Transform::Hex
            | Transform::HexUpper
            | Transform::Base64
            | Transform::Base64Url
            | Transform::PercentEncode
            | Transform::FormEncode
            | Transform::Reverse
            | Transform::Default(_)
            | Transform::StripPrefix(_)
            | Transform::StripSuffix(_)
            | Transform::JsonText
            | Transform::Len32Le
            // The order of members and blanks carry no meaning, and a member that is taken out is
            // one that the rule names.
            | Transform::JsonSorted
            | Transform::JsonWithout(_)
            | Transform::JsonEscapeSlashes => true,
            // A keyed digest of an MD5 generation rests on it anyway, and must say so.
            Transform::Digest(_) | Transform::Hmac(_) => true,
            Transform::FromHex
            | Transform::FromBase64
            | Transform::FromBase64Url
            | Transform::PercentDecode
            | Transform::FormDecode
            | Transform::Lower
            | Transform::Upper
            | Transform::Trim
            | Transform::Before(_)
            | Transform::After(_)
            | Transform::Unquote
            | Transform::Crc32
            | Transform::First(_)
            | Transform::Skip(_)
            | Transform::FloatTrim => false,
        })
    }

    /// True when the result always has the same length, or says it, so that it needs no separator.
    pub fn fixed_length(&self) -> bool {
        self.transforms.iter().any(|transform| {
            matches!(
                transform,
                Transform::Digest(_)
                    | Transform::Hmac(_)
                    | Transform::Len32Le
                    | Transform::First(_)
            )
        })
    }
}

impl Selector {
    /// True when whoever sends the request decides what stands there. The rest is set by the
    /// source, or comes from a pinned host, and cannot make two events differ unseen.
    pub fn from_request(&self) -> bool {
        match self {
            Selector::Body
            | Selector::Method
            | Selector::Path
            | Selector::PathSegment(_)
            | Selector::Target
            | Selector::Query
            | Selector::QueryParam(_)
            | Selector::Header(_)
            | Selector::Headers(_)
            | Selector::HeaderNumbered(_)
            | Selector::BasicUser
            | Selector::BasicPassword
            | Selector::Form(_)
            | Selector::Json(_)
            | Selector::JsonRaw(_)
            | Selector::Xml(_)
            | Selector::Sig(_)
            | Selector::Part { .. }
            | Selector::Plain(_)
            | Selector::Item(_)
            | Selector::KeyId
            | Selector::Params { .. } => true,
            Selector::Url
            | Selector::Config(_)
            | Selector::Secret(_)
            | Selector::Key
            | Selector::Answer(_)
            | Selector::AnswerStatus
            | Selector::Now(_)
            | Selector::Nonce
            | Selector::Signature => false,
        }
    }

    /// True when it may find several values.
    pub fn is_many(&self) -> bool {
        match self {
            Selector::Headers(_) | Selector::HeaderNumbered(_) | Selector::Sig(_) => true,
            Selector::Json(pointer) | Selector::Item(pointer) => pointer.is_many(),
            _ => false,
        }
    }
}

impl Pointer {
    /// Stands for every element of an array.
    pub const EACH: &'static str = "*";

    pub fn is_many(&self) -> bool {
        self.0.iter().any(|token| token == Pointer::EACH)
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
            Selector::PathSegment(n) => write!(f, "path_segment:{n}"),
            Selector::Target => f.write_str("target"),
            Selector::Query => f.write_str("query"),
            Selector::QueryParam(name) => write!(f, "query:{name}"),
            Selector::Url => f.write_str("url"),
            Selector::Header(name) => write!(f, "header:{name}"),
            Selector::Headers(name) => write!(f, "headers:{name}"),
            Selector::HeaderNumbered(name) => write!(f, "header:{name}-*"),
            Selector::BasicUser => f.write_str("basic_user"),
            Selector::BasicPassword => f.write_str("basic_password"),
            Selector::Form(name) => write!(f, "form:{name}"),
            Selector::Json(pointer) => write!(f, "json:{pointer}"),
            Selector::JsonRaw(pointer) => write!(f, "json_raw:{pointer}"),
            Selector::Xml(names) => write!(f, "xml:{}", names.join("/")),
            Selector::Sig(Item::Named(name)) => write!(f, "sig:{name}"),
            Selector::Sig(Item::AsConfigured(name)) => write!(f, "sig:@{name}"),
            Selector::Part { name, within } if within.is_empty() => write!(f, "part:{name}"),
            Selector::Part { name, within } => {
                write!(f, "part:{name}{}", Pointer(within.clone()))
            }
            Selector::Plain(None) => f.write_str("plain"),
            Selector::Plain(Some(pointer)) => write!(f, "plain:{pointer}"),
            Selector::Item(pointer) => write!(f, "item:{pointer}"),
            Selector::Config(name) => write!(f, "config:{name}"),
            Selector::Secret(name) => write!(f, "secret:{name}"),
            Selector::Key => f.write_str("key"),
            Selector::KeyId => f.write_str("key_id"),
            Selector::Params { without } if without.is_empty() => f.write_str("params"),
            Selector::Params { without } => write!(f, "params|without:{}", without.join(",")),
            Selector::Answer(Answered::Whole) => f.write_str("answer"),
            Selector::Answer(Answered::Json(pointer)) => write!(f, "answer:{pointer}"),
            Selector::Answer(Answered::Field(name)) => write!(f, "answer:{name}"),
            Selector::AnswerStatus => f.write_str("answer_status"),
            Selector::Now(Style::Unix) => f.write_str("now:unix"),
            Selector::Now(Style::UnixMillis) => f.write_str("now:unix_ms"),
            Selector::Now(Style::Rfc3339) => f.write_str("now:rfc3339"),
            Selector::Nonce => f.write_str("nonce"),
            Selector::Signature => f.write_str("signature"),
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
