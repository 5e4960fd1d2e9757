//! A request as the templates see it. Body and headers are taken apart only when something asks,
//! and then once.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::message::RawRequest;
use crate::rule::Rule;
use crate::rule::template::{Pointer, Selector};
use crate::secret::Secret;
use crate::verify::form::Pairs;
use crate::verify::json::{Json, Node};
use crate::verify::rejection::{Reader, Rejection};
use crate::verify::{header, params};

/// Name and value of one item of the signature header.
type Item<'r> = (&'r [u8], &'r [u8]);

pub struct View<'r> {
    request: &'r RawRequest,
    rule: &'r Rule,
    secrets: &'r BTreeMap<String, Secret>,
    target: OnceCell<String>,
    json: OnceCell<Result<Json<'r>, Rejection>>,
    form: OnceCell<Result<Pairs<'r>, Rejection>>,
    query: OnceCell<Result<Pairs<'r>, Rejection>>,
    items: OnceCell<Result<Vec<Item<'r>>, Rejection>>,
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
            items: OnceCell::new(),
        }
    }

    /// What a selector finds; none when there is nothing. What stands there twice is an error:
    /// the application may read the other one (lint L10).
    pub fn select(&self, selector: &Selector) -> Result<Option<Cow<'_, [u8]>>, Rejection> {
        match selector {
            Selector::Body => Ok(Some(self.request.body.as_ref().into())),
            Selector::Method => Ok(Some(self.request.method.as_str().as_bytes().into())),
            Selector::Path => Ok(Some(self.request.path.as_bytes().into())),
            Selector::Target => {
                let target = self.target.get_or_init(|| self.request.target());
                Ok(Some(target.as_bytes().into()))
            }
            Selector::Query => Ok(self.request.query.as_deref().map(|q| q.as_bytes().into())),
            Selector::Url => Ok(self.rule.url.as_deref().map(|url| url.as_bytes().into())),
            Selector::Config(name) => Ok(self
                .rule
                .config
                .get(name)
                .map(|value| value.as_bytes().into())),
            Selector::Secret(name) => {
                Ok(self.secrets.get(name).map(|secret| secret.expose().into()))
            }
            Selector::Header(name) => Ok(self.header(name)?.map(Cow::Borrowed)),
            Selector::QueryParam(name) => only(self.query()?, selector, name),
            Selector::Form(name) => only(self.form()?, selector, name),
            Selector::Json(pointer) => self.scalar(pointer, selector),
            Selector::Sig(name) => {
                let mut found = self.all(name)?.into_iter();
                let first = found.next();
                if found.next().is_some() {
                    return Err(Rejection::FieldRepeated {
                        field: selector.to_string(),
                    });
                }
                Ok(first.map(Cow::Borrowed))
            }
            Selector::Params { without } => self.params(without).map(|p| p.map(Cow::Owned)),
        }
    }

    /// Every value that a selector finds; only the items of a signature header may be several.
    pub fn select_all(&self, selector: &Selector) -> Result<Vec<Cow<'_, [u8]>>, Rejection> {
        match selector {
            Selector::Sig(name) => Ok(self.all(name)?.into_iter().map(Cow::Borrowed).collect()),
            other => Ok(self.select(other)?.into_iter().collect()),
        }
    }

    fn header(&self, name: &str) -> Result<Option<&'r [u8]>, Rejection> {
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

    /// All values of one name in the signature header.
    fn all(&self, name: &str) -> Result<Vec<&'r [u8]>, Rejection> {
        let items = self.items.get_or_init(|| {
            let scheme = self.rule.provider.scheme.as_ref();
            let Some(grammar) = scheme.and_then(|scheme| scheme.header.as_ref()) else {
                return Ok(Vec::new());
            };
            let value = self.header(&grammar.name)?.unwrap_or_default();
            Ok(header::items(value, grammar))
        });
        let items = items.as_ref().map_err(Rejection::clone)?;
        Ok(items
            .iter()
            .filter(|(n, _)| *n == name.as_bytes())
            .map(|(_, value)| *value)
            .collect())
    }

    fn scalar(
        &self,
        pointer: &Pointer,
        selector: &Selector,
    ) -> Result<Option<Cow<'_, [u8]>>, Rejection> {
        let json = self.json.get_or_init(|| {
            Json::parse(&self.request.body).map_err(|fault| Rejection::BodyMalformed {
                reader: Reader::Json,
                at: fault.at,
                what: fault.what,
            })
        });
        match json.as_ref().map_err(Rejection::clone)?.get(pointer) {
            None | Some(Node::Null) => Ok(None),
            Some(Node::Text(Cow::Borrowed(text))) => Ok(Some(text.as_bytes().into())),
            Some(Node::Text(Cow::Owned(text))) => Ok(Some(text.into_bytes().into())),
            Some(Node::Literal(text)) => Ok(Some(text.as_bytes().into())),
            Some(Node::Composite(_)) => Err(Rejection::FieldMalformed {
                field: selector.to_string(),
            }),
        }
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

    fn params(&self, without: &[String]) -> Result<Option<Vec<u8>>, Rejection> {
        match self
            .rule
            .provider
            .scheme
            .as_ref()
            .and_then(|scheme| scheme.params.as_ref())
        {
            Some(params) => params::canonical(params, without, self).map(Some),
            None => Ok(None),
        }
    }
}

fn pairs(text: &[u8], reader: Reader) -> Result<Pairs<'_>, Rejection> {
    Pairs::parse(text).map_err(|fault| Rejection::BodyMalformed {
        reader,
        at: fault.at,
        what: "a broken percent escape",
    })
}

fn only<'v>(
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
