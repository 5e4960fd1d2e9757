//! What a template may see at the place where it stands: the request, and beside it the scheme and
//! the key under trial, one item of several, the answer of a second source.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::ops::Range;

use smallvec::SmallVec;

use crate::clock::Timestamp;
use crate::rule::scheme::{Algorithm, HeaderGrammar, Scheme};
use crate::rule::template::{Answered, Item, Pointer, Selector, Style};
use crate::verify::document::Document;
use crate::verify::header::Items;
use crate::verify::json::Json;
use crate::verify::rejection::Rejection;
use crate::verify::view::{View, only, scalar, written};
use crate::verify::{evaluate, header, message, params};

/// What a selector finds that may find several: nearly always one or two.
pub type Found<'s> = SmallVec<[Cow<'s, [u8]>; 2]>;

/// A scheme at work; its header is taken apart once.
pub struct Frame<'s> {
    pub scheme: &'s Scheme,
    /// Where the items of its header stand.
    items: OnceCell<Items>,
    /// Which of its parameters count, in their order.
    pub order: OnceCell<Result<Vec<usize>, Rejection>>,
    /// RFC 9421: which of several signatures a key has made, once that is known.
    pub fitted: Cell<Option<usize>>,
}

/// What a pinned host answered.
#[derive(Debug)]
pub struct Answer {
    pub status: String,
    pub document: Document,
}

/// What a request of our own is made of beside the rule.
#[derive(Debug)]
pub struct Own {
    pub now: Timestamp,
    pub nonce: String,
    pub signature: Option<Vec<u8>>,
}

#[derive(Clone, Copy)]
pub struct Scope<'s, 'r> {
    pub view: &'s View<'r>,
    pub frame: Option<&'s Frame<'s>>,
    /// The key under trial; for a challenge, the source's first.
    pub key: Option<&'s [u8]>,
    pub key_id: Option<&'s [u8]>,
    pub item: Option<Json<'s>>,
    pub answer: Option<&'s Answer>,
    pub own: Option<&'s Own>,
    /// A document that stands in for `{plain}`.
    pub plain: Option<&'s Document>,
}

impl<'s> Frame<'s> {
    pub fn new(scheme: &'s Scheme) -> Self {
        Frame {
            scheme,
            items: OnceCell::new(),
            order: OnceCell::new(),
            fitted: Cell::new(None),
        }
    }
}

impl<'s, 'r> Scope<'s, 'r> {
    pub fn of(view: &'s View<'r>) -> Scope<'s, 'r> {
        Scope {
            view,
            frame: None,
            key: None,
            key_id: None,
            item: None,
            answer: None,
            own: None,
            plain: None,
        }
    }

    /// What a selector finds; none when there is nothing. What stands there twice is an error:
    /// the application may read the other one (lint L10).
    pub fn select(&self, selector: &Selector) -> Result<Option<Cow<'s, [u8]>>, Rejection> {
        let view = self.view;
        let request = view.request;
        match selector {
            Selector::Body => Ok(Some(request.body.as_ref().into())),
            Selector::Method => Ok(Some(request.method.as_str().as_bytes().into())),
            Selector::Path => Ok(Some(request.path.as_bytes().into())),
            Selector::PathSegment(n) => {
                let mut segments = request.path.split('/').skip(1);
                let found = segments.nth(n.saturating_sub(1));
                Ok(found.filter(|s| !s.is_empty()).map(|s| s.as_bytes().into()))
            }
            Selector::Target => Ok(Some(view.target().as_bytes().into())),
            Selector::Query => Ok(request.query.as_deref().map(|q| q.as_bytes().into())),
            Selector::Url => Ok(view.rule.url.as_deref().map(|url| url.as_bytes().into())),
            Selector::Config(name) => Ok(view
                .rule
                .config
                .get(name)
                .map(|value| value.as_bytes().into())),
            Selector::Secret(name) => {
                Ok(view.secrets.get(name).map(|secret| secret.expose().into()))
            }
            Selector::Header(name) => Ok(view.header(name)?.map(Cow::Borrowed)),
            Selector::QueryParam(name) => only(view.query()?, selector, name),
            Selector::Form(name) => only(view.form()?, selector, name),
            Selector::Json(pointer) => scalar(view.json()?.get(pointer), selector),
            Selector::JsonRaw(pointer) => Ok(written(view.json()?, pointer)),
            Selector::Xml(names) => match view.xml()?.only(names) {
                Ok(found) => Ok(found.map(Cow::Borrowed)),
                Err(_) => Err(repeated(selector)),
            },
            Selector::BasicUser => Ok(self.basic()?.map(|(user, _)| user.into())),
            Selector::BasicPassword => Ok(self.basic()?.map(|(_, password)| password.into())),
            Selector::Part { name, within } => match view.part(name)? {
                Some(document) => document.get(within, selector),
                None => Ok(None),
            },
            Selector::Plain(pointer) => {
                let document = match self.plain {
                    Some(document) => Some(document),
                    None => view.plain()?,
                };
                match document {
                    Some(document) => {
                        let within = pointer.as_ref().map_or(&[][..], |p| p.0.as_slice());
                        document.get(within, selector)
                    }
                    None => Ok(None),
                }
            }
            Selector::Item(pointer) => match self.item {
                Some(item) => scalar(item.get(pointer), selector),
                // Outside of an item, of all items together: several values are listed, and so
                // equal to none.
                None => Ok(listed(self.in_items(pointer)?)),
            },
            Selector::Key => Ok(self.key.map(Cow::Borrowed)),
            Selector::KeyId => Ok(self.key_id.map(Cow::Borrowed)),
            Selector::Sig(item) if self.of_grammar() => self.signature_item(item, selector),
            Selector::Sig(_) | Selector::Headers(_) | Selector::HeaderNumbered(_) => {
                let (mut first, mut more) = (None, false);
                self.select_each(selector, &mut |found| match first {
                    Some(_) => more = true,
                    None => first = Some(found),
                })?;
                if more {
                    return Err(repeated(selector));
                }
                Ok(first)
            }
            Selector::Params { without } => match self.frame.and_then(|f| f.scheme.params.as_ref())
            {
                Some(params) => params::canonical(params, without, self).map(|p| Some(p.into())),
                None => Ok(None),
            },
            Selector::Answer(what) => match self.answer {
                Some(answer) => match what {
                    Answered::Whole => answer.document.get(&[], selector),
                    Answered::Json(pointer) => answer.document.get(&pointer.0, selector),
                    Answered::Field(name) => {
                        answer.document.get(std::slice::from_ref(name), selector)
                    }
                },
                None => Ok(None),
            },
            Selector::AnswerStatus => Ok(self.answer.map(|a| a.status.as_bytes().into())),
            Selector::Now(style) => Ok(self.own.map(|own| moment(own.now, *style).into())),
            Selector::Nonce => Ok(self.own.map(|own| own.nonce.as_bytes().into())),
            Selector::Signature => Ok(self
                .own
                .and_then(|own| own.signature.as_deref())
                .map(Cow::Borrowed)),
        }
    }

    /// Every value that a selector finds, where it may find several.
    pub fn select_all(&self, selector: &Selector) -> Result<Found<'s>, Rejection> {
        let mut found = Found::new();
        self.select_each(selector, &mut |value| found.push(value))?;
        Ok(found)
    }

    /// The same, one after the other.
    pub fn select_each(
        &self,
        selector: &Selector,
        visit: &mut dyn FnMut(Cow<'s, [u8]>),
    ) -> Result<(), Rejection> {
        match selector {
            Selector::Sig(item) => self.signature_items(item, visit),
            Selector::Headers(name) => {
                let fields = self.view.request.headers.iter();
                fields
                    .filter(|(other, _)| *other == name.as_bytes())
                    .for_each(|(_, value)| visit(Cow::Borrowed(value)));
                Ok(())
            }
            Selector::HeaderNumbered(base) => {
                for number in 1..=crate::rule::scheme::MOST_COMBINATIONS + 1 {
                    match self.view.numbered(base, number)? {
                        Some(value) => visit(Cow::Borrowed(value)),
                        None => break,
                    }
                }
                Ok(())
            }
            Selector::Json(pointer) if pointer.is_many() => {
                texts(self.view.json()?.each(pointer), selector, visit)
            }
            Selector::Item(pointer) if pointer.is_many() => match self.item {
                Some(item) => texts(item.each(pointer), selector, visit),
                None => Ok(()),
            },
            Selector::Item(pointer) if self.item.is_none() => {
                self.in_items(pointer)?.into_iter().for_each(visit);
                Ok(())
            }
            other => {
                if let Some(found) = self.select(other)? {
                    visit(found);
                }
                Ok(())
            }
        }
    }

    /// The items of `[split]`.
    pub fn items(&self) -> Result<Vec<Json<'s>>, Rejection> {
        match &self.view.rule.provider.split {
            Some(split) => Ok(self.view.json()?.each(&split.items)),
            None => Ok(Vec::new()),
        }
    }

    fn in_items(&self, pointer: &Pointer) -> Result<Found<'s>, Rejection> {
        let mut found = Found::new();
        for item in self.items()? {
            found.extend(scalar(item.get(pointer), &Selector::Item(pointer.clone()))?);
        }
        Ok(found)
    }

    fn basic(&self) -> Result<Option<Credentials<'s>>, Rejection> {
        let Some(text) = self.view.basic()? else {
            return Ok(None);
        };
        let at = text.iter().position(|byte| *byte == b':');
        Ok(at.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))))
    }

    fn signature_items(
        &self,
        item: &Item,
        visit: &mut dyn FnMut(Cow<'s, [u8]>),
    ) -> Result<(), Rejection> {
        let Some(frame) = self.frame else {
            return Ok(());
        };
        if frame.scheme.algorithm == Algorithm::HttpSignature {
            if let Item::Named(name) = item
                && let Some(found) = message::parameter(self, name)?
            {
                visit(Cow::Owned(found));
            }
            return Ok(());
        }
        let Some(grammar) = frame.scheme.header.as_ref() else {
            return Ok(());
        };
        let value = evaluate::one(&grammar.from, self)?.unwrap_or_default();
        self.placed(frame, grammar, item, &value, |at| {
            visit(match &value {
                Cow::Borrowed(value) => Cow::Borrowed(value.get(at).unwrap_or_default()),
                Cow::Owned(value) => Cow::Owned(value.get(at).unwrap_or_default().to_vec()),
            });
        });
        Ok(())
    }

    /// True where the items of a signature stand in a header by a grammar.
    fn of_grammar(&self) -> bool {
        self.frame.is_some_and(|frame| {
            frame.scheme.header.is_some() && frame.scheme.algorithm != Algorithm::HttpSignature
        })
    }

    /// The one item of a name.
    fn signature_item(
        &self,
        item: &Item,
        selector: &Selector,
    ) -> Result<Option<Cow<'s, [u8]>>, Rejection> {
        let Some((frame, grammar)) = self
            .frame
            .and_then(|f| Some((f, f.scheme.header.as_ref()?)))
        else {
            return Ok(None);
        };
        let value = evaluate::one(&grammar.from, self)?.unwrap_or_default();
        let (mut first, mut more) = (None, false);
        self.placed(frame, grammar, item, &value, |at| match first {
            None => first = Some(at),
            Some(_) => more = true,
        });
        if more {
            return Err(repeated(selector));
        }
        Ok(first.map(|at| match value {
            Cow::Borrowed(value) => Cow::Borrowed(value.get(at).unwrap_or_default()),
            Cow::Owned(value) => Cow::Owned(value.get(at).unwrap_or_default().to_vec()),
        }))
    }

    /// Where in `value` the items of a name stand.
    fn placed(
        &self,
        frame: &Frame<'_>,
        grammar: &HeaderGrammar,
        item: &Item,
        value: &[u8],
        mut visit: impl FnMut(Range<usize>),
    ) {
        let wanted = match item {
            Item::Named(name) => Some(name),
            Item::AsConfigured(name) => self.view.rule.config.get(name),
        };
        let Some(wanted) = wanted else {
            return;
        };
        let fresh;
        let placed = if grammar_is_local(grammar) && self.item.is_some() {
            fresh = header::items(value, grammar);
            &fresh
        } else {
            frame.items.get_or_init(|| header::items(value, grammar))
        };
        for (index, placed) in placed.iter().enumerate() {
            if placed.is_called(wanted.as_bytes(), index, value) {
                visit(placed.value.clone());
            }
        }
    }
}

/// User and password.
type Credentials<'s> = (&'s [u8], &'s [u8]);

/// Several values, each once, with commas between them.
fn listed(found: Found<'_>) -> Option<Cow<'_, [u8]>> {
    let mut distinct = Found::new();
    for value in found {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    match distinct.len() {
        0 => None,
        1 => distinct.pop(),
        _ => Some(Cow::Owned(distinct.join(&b','))),
    }
}

/// True when a grammar reads inside an item.
fn grammar_is_local(grammar: &HeaderGrammar) -> bool {
    matches!(grammar.from.selector, Selector::Item(_))
}

fn repeated(selector: &Selector) -> Rejection {
    Rejection::FieldRepeated {
        field: selector.to_string(),
    }
}

fn texts<'a>(
    found: Vec<Json<'a>>,
    selector: &Selector,
    visit: &mut dyn FnMut(Cow<'a, [u8]>),
) -> Result<(), Rejection> {
    for value in found {
        if let Some(text) = scalar(value.node(), selector)? {
            visit(text);
        }
    }
    Ok(())
}

/// A moment as a template writes it.
pub fn moment(now: Timestamp, style: Style) -> Vec<u8> {
    match style {
        Style::Unix => (now.as_millis() / 1000).to_string().into_bytes(),
        Style::UnixMillis => now.as_millis().to_string().into_bytes(),
        Style::Rfc3339 => now.to_string().into_bytes(),
    }
}
