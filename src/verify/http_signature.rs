//! HTTP Message Signatures: RFC 9421, with RFC 9530 for the body. What was signed is put together
//! here, from the parts that the request itself lists; which parts a provider must have signed,
//! and with what, is pinned by its file.
//!
//! Only requests, and only component parameters that mean one thing: `;sf`, `;key`, `;bs`, `;tr`
//! and `;req` are refused.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use sfv::{BareItem, Dictionary, FieldType, InnerList, Item, ListEntry, Parser, Version};

use crate::rule::provider::Digest;
use crate::verify::digest::digest;

/// A request has more labels only when somebody tries something.
pub const MOST_CANDIDATES: usize = 4;
/// Bytes of all `Signature-Input`, `Signature` or `Content-Digest` fields together.
const LONGEST_FIELD: usize = 8 * 1024;
const MOST_COMPONENTS: usize = 32;

/// One labelled signature of a request. Nothing in it is trusted yet.
#[derive(Clone, Debug)]
pub struct Input {
    pub label: String,
    pub components: Vec<Component>,
    /// Unix seconds.
    pub created: Option<i64>,
    /// Unix seconds.
    pub expires: Option<i64>,
    pub nonce: Option<String>,
    pub algorithm: Option<String>,
    pub key_id: Option<String>,
    pub tag: Option<String>,
    pub signature: Vec<u8>,
    /// The components and parameters as they are signed.
    params: String,
}

/// A part of the request that is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// A derived component, with its `@`, or the name of a header field.
    pub name: String,
    /// Which parameter, of `@query-param`: percent-encoded.
    pub query_param: Option<String>,
    /// As it is signed.
    identifier: String,
}

/// Why there is nothing to verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No `Signature-Input`, no `Signature`, or no label that both have.
    Missing,
    /// Not as RFC 8941 and RFC 9421 write it.
    Malformed {
        what: &'static str,
    },
    TooManyCandidates {
        found: usize,
    },
    /// A component that this reader does not support.
    Unsupported {
        component: String,
    },
    /// The request has no such part.
    Absent {
        component: String,
    },
    /// The body is not the one that was signed.
    Digest,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing => f.write_str("there is no signature"),
            Fault::Malformed { what } => f.write_str(what),
            Fault::TooManyCandidates { found } => write!(f, "{found} signatures"),
            Fault::Unsupported { component } => write!(f, "{component} is not supported"),
            Fault::Absent { component } => write!(f, "the request has no {component}"),
            Fault::Digest => f.write_str("the body is not the one that Content-Digest names"),
        }
    }
}

/// The request, as its parts are signed.
pub trait Components {
    fn method(&self) -> &[u8];
    /// The whole address that the provider called: scheme, authority, path and query. From the
    /// source's own word, since a request can claim any `Host`. None when the source has none.
    fn target_uri(&self) -> Option<&[u8]>;
    /// As it came, not decoded.
    fn path(&self) -> &[u8];
    /// Without the question mark; none when there is none.
    fn query(&self) -> Option<&[u8]>;
    /// Every value of a field, in order; the name is lower case.
    fn header(&self, name: &str) -> Vec<&[u8]>;
}

/// What a provider file may pin: the names of RFC 9421, 6.2.2.
pub use crate::rule::scheme::HTTP_ALGORITHMS as ALGORITHMS;

impl Input {
    /// True when a component is signed, as a whole: `@method`, `content-digest`.
    pub fn covers(&self, name: &str) -> bool {
        self.components
            .iter()
            .any(|component| component.name == name && component.query_param.is_none())
    }
}

/// The signatures of a request: from all values of `Signature-Input` and of `Signature`.
pub fn parse(inputs: &[&[u8]], signatures: &[&[u8]]) -> Result<Vec<Input>, Fault> {
    if inputs.is_empty() || signatures.is_empty() {
        return Err(Fault::Missing);
    }
    let inputs = dictionary(inputs, "Signature-Input cannot be read")?;
    let signatures = dictionary(signatures, "Signature cannot be read")?;
    let mut found = Vec::new();
    for (label, entry) in inputs {
        let Some(signature) = signatures.get(label.as_str()) else {
            continue;
        };
        let (ListEntry::InnerList(list), ListEntry::Item(signature)) = (entry, signature) else {
            return Err(malformed("a signature is not a list and its bytes"));
        };
        let Some(signature) = signature.bare_item.as_byte_sequence() else {
            return Err(malformed("a signature is not a sequence of bytes"));
        };
        found.push(input(label.as_str(), list, signature)?);
    }
    match found.len() {
        0 => Err(Fault::Missing),
        1..=MOST_CANDIDATES => Ok(found),
        found => Err(Fault::TooManyCandidates { found }),
    }
}

/// The bytes that were signed (RFC 9421, 2.5).
pub fn base(input: &Input, request: &dyn Components) -> Result<Vec<u8>, Fault> {
    let mut base = Vec::new();
    for component in &input.components {
        let value = value(component, request)?;
        // A line break would make one line look like two.
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            return Err(malformed("a value has a line break in it"));
        }
        base.extend(component.identifier.as_bytes());
        base.extend(b": ");
        base.extend(&*value);
        base.push(b'\n');
    }
    base.extend(b"\"@signature-params\": ");
    base.extend(input.params.as_bytes());
    Ok(base)
}

/// Checks all values of `Content-Digest` (RFC 9530): one digest that is known at least, and every
/// known one must be the body's.
pub fn content_digest(header: &[&[u8]], body: &[u8]) -> Result<(), Fault> {
    if header.is_empty() {
        return Err(Fault::Absent {
            component: "content-digest".to_owned(),
        });
    }
    let mut known = 0;
    for (name, entry) in dictionary(header, "Content-Digest cannot be read")? {
        let kind = match name.as_str() {
            "sha-256" => Digest::Sha256,
            "sha-512" => Digest::Sha512,
            _ => continue,
        };
        known += 1;
        let ListEntry::Item(item) = entry else {
            return Err(malformed("a digest is not a sequence of bytes"));
        };
        // What is compared is no secret.
        if item.bare_item.as_byte_sequence() != Some(&digest(kind, body)) {
            return Err(Fault::Digest);
        }
    }
    match known {
        0 => Err(malformed("Content-Digest has no digest that is known")),
        _ => Ok(()),
    }
}

fn malformed(what: &'static str) -> Fault {
    Fault::Malformed { what }
}

fn dictionary(values: &[&[u8]], what: &'static str) -> Result<Dictionary, Fault> {
    let text = values.join(&b", "[..]);
    if text.len() > LONGEST_FIELD {
        return Err(malformed(what));
    }
    Parser::new(&text)
        .with_version(Version::Rfc8941)
        .parse()
        .map_err(|_| malformed(what))
}

fn input(label: &str, list: InnerList, signature: &[u8]) -> Result<Input, Fault> {
    if list.items.len() > MOST_COMPONENTS {
        return Err(malformed("too many components"));
    }
    let components: Vec<Component> = list.items.iter().map(component).collect::<Result<_, _>>()?;
    let mut identifiers: Vec<&str> = components.iter().map(|c| c.identifier.as_str()).collect();
    identifiers.sort_unstable();
    if identifiers
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a == b))
    {
        return Err(malformed("a component is signed twice"));
    }
    let number = |name: &str| match list.params.get(name) {
        None => Ok(None),
        Some(BareItem::Integer(number)) => Ok(Some(i64::from(*number))),
        Some(_) => Err(malformed("`created` or `expires` is no number")),
    };
    let text = |name: &str| match list.params.get(name) {
        None => Ok(None),
        Some(BareItem::String(text)) => Ok(Some(text.as_str().to_owned())),
        Some(_) => Err(malformed("a parameter of the signature is no text")),
    };
    Ok(Input {
        label: label.to_owned(),
        created: number("created")?,
        expires: number("expires")?,
        nonce: text("nonce")?,
        algorithm: text("alg")?,
        key_id: text("keyid")?,
        tag: text("tag")?,
        signature: signature.to_vec(),
        components,
        params: vec![ListEntry::InnerList(list)]
            .serialize()
            .unwrap_or_default(),
    })
}

fn component(item: &Item) -> Result<Component, Fault> {
    let Some(name) = item.bare_item.as_string().map(|name| name.as_str()) else {
        return Err(malformed("the name of a component is no text"));
    };
    let identifier = item.serialize();
    let mut params = item.params.iter();
    let query_param = match (name, params.next(), params.next()) {
        ("@query-param", Some((key, BareItem::String(param))), None) if key.as_str() == "name" => {
            Some(param.as_str().to_owned())
        }
        (name, None, None) if is_known(name) => None,
        _ => {
            return Err(Fault::Unsupported {
                component: identifier,
            });
        }
    };
    Ok(Component {
        name: name.to_owned(),
        query_param,
        identifier,
    })
}

/// A derived component of a request, or what can be the name of a field.
fn is_known(name: &str) -> bool {
    match name {
        "@method" | "@target-uri" | "@authority" | "@scheme" | "@request-target" | "@path"
        | "@query" => true,
        name => {
            !name.is_empty()
                && name.bytes().all(|byte| {
                    byte.is_ascii_lowercase()
                        || byte.is_ascii_digit()
                        || b"!#$%&'*+-.^_`|~".contains(&byte)
                })
        }
    }
}

fn value<'r>(component: &Component, request: &'r dyn Components) -> Result<Cow<'r, [u8]>, Fault> {
    let absent = || Fault::Absent {
        component: component.identifier.clone(),
    };
    let value = match component.name.as_str() {
        "@method" => Cow::Borrowed(request.method()),
        "@target-uri" => Cow::Borrowed(request.target_uri().ok_or_else(absent)?),
        "@scheme" => Cow::Owned(split(request.target_uri()).ok_or_else(absent)?.0),
        "@authority" => Cow::Owned(split(request.target_uri()).ok_or_else(absent)?.1),
        "@path" => Cow::Borrowed(path(request)),
        "@query" => Cow::Owned([b"?", request.query().unwrap_or_default()].concat()),
        "@request-target" => match request.query() {
            None => Cow::Borrowed(path(request)),
            Some(query) => Cow::Owned([path(request), b"?", query].concat()),
        },
        "@query-param" => {
            let wanted = component.query_param.as_deref().unwrap_or_default();
            let query = request.query().unwrap_or_default();
            Cow::Owned(query_param(query, wanted)?.ok_or_else(absent)?)
        }
        field => {
            let values = request.header(field);
            if values.is_empty() {
                return Err(absent());
            }
            let values: Vec<&[u8]> = values.into_iter().map(trim).collect();
            Cow::Owned(values.join(&b", "[..]))
        }
    };
    Ok(value)
}

/// An empty path is written as `/` (RFC 9110, 4.2.3).
fn path(request: &dyn Components) -> &[u8] {
    match request.path() {
        b"" => b"/",
        path => path,
    }
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().take_while(|b| blank(b)).count();
    let value = value.get(start..).unwrap_or_default();
    let end = value.iter().rev().take_while(|b| blank(b)).count();
    value.get(..value.len() - end).unwrap_or_default()
}

/// Scheme and authority of an address, in lower case and without the scheme's own port.
fn split(uri: Option<&[u8]>) -> Option<(Vec<u8>, Vec<u8>)> {
    let uri = std::str::from_utf8(uri?).ok()?;
    let (scheme, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let usual = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = authority.strip_suffix(usual).unwrap_or(&authority);
    let named = !authority.is_empty() && !authority.contains('@');
    named.then(|| (scheme.clone().into_bytes(), authority.as_bytes().to_vec()))
}

/// What the URL standard leaves as it is in forms.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// The value of the one parameter with this name, decoded as a form and encoded again, with %20
/// for a blank (RFC 9421, 2.2.8).
fn query_param(query: &[u8], wanted: &str) -> Result<Option<Vec<u8>>, Fault> {
    let again = |text: &[u8]| -> Result<Vec<u8>, Fault> {
        let blanks: Vec<u8> = text
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        let decoded: Vec<u8> = percent_decode(&blanks).collect();
        // Others would put a replacement character there.
        if std::str::from_utf8(&decoded).is_err() {
            return Err(malformed("the query is not UTF-8"));
        }
        Ok(percent_encode(&decoded, FORM).to_string().into_bytes())
    };
    let mut found = None;
    for pair in query.split(|byte| *byte == b'&') {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = again(parts.next().unwrap_or_default())?;
        if name != wanted.as_bytes() || pair.is_empty() {
            continue;
        }
        let value = again(parts.next().unwrap_or_default())?;
        if found.replace(value).is_some() {
            return Err(malformed("a signed parameter of the query is repeated"));
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "tests/http_signature.rs"]
mod tests;
