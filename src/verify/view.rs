//! A request as the templates see it. Body, headers and documents inside are taken apart only
//! when something asks, and then once.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::message::RawRequest;
use crate::rule::Rule;
use crate::rule::scheme::PartForm;
use crate::rule::template::{Pointer, Selector};
use crate::secret::Secret;
use crate::verify::document::Document;
use crate::verify::form::Pairs;
use crate::verify::json::{Json, Node};
use crate::verify::rejection::{Reader, Rejection};
use crate::verify::scope::Scope;
use crate::verify::xml::Xml;
use crate::verify::{decipher, evaluate};

pub struct View<'r> {
    pub request: &'r RawRequest,
    pub rule: &'r Rule,
    pub secrets: &'r BTreeMap<String, Secret>,
    target: OnceCell<String>,
    json: OnceCell<Result<Json<'r>, Rejection>>,
    form: OnceCell<Result<Pairs<'r>, Rejection>>,
    query: OnceCell<Result<Pairs<'r>, Rejection>>,
    xml: OnceCell<Result<Xml<'r>, Rejection>>,
    basic: OnceCell<Option<Vec<u8>>>,
    parts: Vec<OnceCell<Result<Option<Document>, Rejection>>>,
    plain: OnceCell<Result<Option<Document>, Rejection>>,
}

impl<'r> View<'r> {
    pub fn new(
        request: &'r RawRequest,
        rule: &'r Rule,
        secrets: &'r BTreeMap<String, Secret>,
    ) -> Self {
        View {
            request,
            rule,
            secrets,
            target: OnceCell::new(),
            json: OnceCell::new(),
            form: OnceCell::new(),
            query: OnceCell::new(),
            xml: OnceCell::new(),
            basic: OnceCell::new(),
            parts: match rule.provider.parts.len() {
                0 => Vec::new(),
                parts => (0..parts).map(|_| OnceCell::new()).collect(),
            },
            plain: OnceCell::new(),
        }
    }

    pub fn target(&self) -> &str {
        self.target.get_or_init(|| self.request.target())
    }

    pub fn header(&self, name: &str) -> Result<Option<&'r [u8]>, Rejection> {
        let fields = self.request.headers.iter();
        let mut found = fields
            .filter(|(other, _)| *other == name.as_bytes())
            .map(|(_, v)| v);
        let first = found.next();
        if found.next().is_some() {
            return Err(Rejection::HeaderRepeated {
                name: name.to_owned(),
            });
        }
        Ok(first)
    }

    /// The field of a name with a number behind it: `x-signature-1`.
    pub fn numbered(&self, base: &str, number: usize) -> Result<Option<&'r [u8]>, Rejection> {
        let called = |field: &[u8]| {
            let rest = field.strip_prefix(base.as_bytes());
            match rest.and_then(|rest| rest.strip_prefix(b"-")) {
                Some([digit @ b'1'..=b'9']) => usize::from(digit - b'0') == number,
                Some(digits) => digits == number.to_string().as_bytes(),
                None => false,
            }
        };
        let fields = self.request.headers.iter();
        let mut found = fields.filter(|(name, _)| called(name)).map(|(_, v)| v);
        let first = found.next();
        if found.next().is_some() {
            return Err(Rejection::HeaderRepeated {
                name: format!("{base}-{number}"),
            });
        }
        Ok(first)
    }

    /// Every field of a name.
    pub fn headers<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'r [u8]> + 's {
        let fields = self.request.headers.iter();
        fields
            .filter(move |(other, _)| *other == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// The decoded `user:password` of `Authorization: Basic`; none when there is no such field.
    pub fn basic(&self) -> Result<Option<&[u8]>, Rejection> {
        let value = self.header("authorization")?;
        let decoded = self.basic.get_or_init(|| {
            let (scheme, text) = value?.split_at_checked(6)?;
            if !scheme.eq_ignore_ascii_case(b"basic ") {
                return None;
            }
            data_encoding::BASE64.decode(text.trim_ascii()).ok()
        });
        Ok(decoded.as_deref())
    }

    pub fn json(&self) -> Result<Json<'r>, Rejection> {
        let json = self.json.get_or_init(|| {
            Json::parse(&self.request.body).map_err(|fault| Rejection::BodyMalformed {
                reader: Reader::Json,
                at: fault.at,
                what: fault.what,
            })
        });
        json.as_ref().copied().map_err(Rejection::clone)
    }

    pub fn xml(&self) -> Result<&Xml<'r>, Rejection> {
        let xml = self.xml.get_or_init(|| {
            Xml::parse(&self.request.body).map_err(|fault| Rejection::BodyMalformed {
                reader: Reader::Xml,
                at: fault.at,
                what: fault.what,
            })
        });
        xml.as_ref().map_err(Rejection::clone)
    }

    pub fn form(&self) -> Result<&Pairs<'r>, Rejection> {
        let form = self
            .form
            .get_or_init(|| pairs(&self.request.body, Reader::Form));
        form.as_ref().map_err(Rejection::clone)
    }

    pub fn query(&self) -> Result<&Pairs<'r>, Rejection> {
        let query = self.query.get_or_init(|| {
            pairs(
                self.request.query.as_deref().unwrap_or_default().as_bytes(),
                Reader::Query,
            )
        });
        query.as_ref().map_err(Rejection::clone)
    }

    /// A document of `[parts]`; none when what it is read from is not there.
    pub fn part(&self, name: &str) -> Result<Option<&Document>, Rejection> {
        let parts = &self.rule.provider.parts;
        let found = parts.iter().position(|part| part.name == name);
        let Some((part, cell)) = found.and_then(|i| Some((parts.get(i)?, self.parts.get(i)?)))
        else {
            return Ok(None);
        };
        let document = cell.get_or_init(|| {
            // The compiler lets a part read only those above it, so this ends.
            match evaluate::text(&part.from, &Scope::of(self))? {
                Some(bytes) => Document::read(part.form, bytes).map(Some),
                None => Ok(None),
            }
        });
        document
            .as_ref()
            .map(Option::as_ref)
            .map_err(Rejection::clone)
    }

    /// The decrypted document; none when nothing is encrypted.
    pub fn plain(&self) -> Result<Option<&Document>, Rejection> {
        let Some(decrypt) = &self.rule.provider.decrypt else {
            return Ok(None);
        };
        let document = self.plain.get_or_init(|| {
            let scope = Scope::of(self);
            if !evaluate::all_hold(&decrypt.when, &scope)? {
                return Ok(None);
            }
            match decipher::open(decrypt, &scope)? {
                Some(bytes) => Document::read(decrypt.form, bytes)
                    .map(Some)
                    .map_err(|_| Rejection::Undecipherable),
                None => Ok(None),
            }
        });
        document
            .as_ref()
            .map(Option::as_ref)
            .map_err(Rejection::clone)
    }
}

/// A scalar of JSON as bytes; none for null and for what is not there.
pub fn scalar<'a>(
    node: Option<Node<'a>>,
    selector: &dyn std::fmt::Display,
) -> Result<Option<Cow<'a, [u8]>>, Rejection> {
    match node {
        None | Some(Node::Null) => Ok(None),
        Some(Node::Text(Cow::Borrowed(text))) => Ok(Some(text.as_bytes().into())),
        Some(Node::Text(Cow::Owned(text))) => Ok(Some(text.into_bytes().into())),
        Some(Node::Literal(text)) => Ok(Some(text.as_bytes().into())),
        Some(Node::Composite(_)) => Err(Rejection::FieldMalformed {
            field: selector.to_string(),
        }),
    }
}

/// What a pointer finds, as it is written.
pub fn written<'a>(json: Json<'a>, pointer: &Pointer) -> Option<Cow<'a, [u8]>> {
    json.at(pointer).map(|value| value.raw().as_bytes().into())
}

pub fn pairs(text: &[u8], reader: Reader) -> Result<Pairs<'_>, Rejection> {
    Pairs::parse(text).map_err(|fault| Rejection::BodyMalformed {
        reader,
        at: fault.at,
        what: fault.what,
    })
}

pub fn only<'v>(
    pairs: &'v Pairs<'_>,
    selector: &Selector,
    name: &str,
) -> Result<Option<Cow<'v, [u8]>>, Rejection> {
    match pairs.only(name.as_bytes()) {
        Ok(found) => Ok(found.map(Cow::Borrowed)),
        Err(_) => Err(Rejection::FieldRepeated {
            field: selector.to_string(),
        }),
    }
}

/// The reader that a form of document is read by.
pub fn reader_of(form: PartForm) -> Reader {
    match form {
        PartForm::Json | PartForm::Text => Reader::Json,
        PartForm::Xml => Reader::Xml,
        PartForm::Form => Reader::Form,
        PartForm::Jws => Reader::Jws,
    }
}
