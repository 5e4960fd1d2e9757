//! Writing where a selector reads: how a test callback gets its stamp, its id and its signature.
//! The inverse of [`crate::verify::scope`], for what can be turned round.

use std::fmt;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::message::{Headers, RawRequest};
use crate::rule::Rule;
use crate::rule::scheme::{PartForm, Scheme};
use crate::rule::template::{Item, Pointer, Selector, Transform, Value};
use crate::verify::decrypt::encrypt;
use crate::verify::keys::Keyring;
use crate::verify::rewrite;
use crate::verify::scope::{Frame, Scope};
use crate::verify::view::View;
use crate::verify::{evaluate, form, header};

/// A place that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// The selector, or what is in the way.
    pub field: String,
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be written", self.field)
    }
}

/// A request being made, and the rule by which it will be read.
pub struct Draft<'r> {
    pub request: RawRequest,
    pub rule: &'r Rule,
    pub keys: &'r Keyring,
    /// The scheme whose header is written; its place in the provider.
    pub scheme: Option<usize>,
    /// The item of `[split]` that is written, from 0.
    pub item: Option<usize>,
}

type Placed = Result<(), Unplaced>;

impl Draft<'_> {
    /// What stands there now: the first of several.
    pub fn read(&self, value: &Value) -> Option<Vec<u8>> {
        self.with_scope(|scope| {
            let found = evaluate::all(value, scope).ok()?;
            found.into_iter().next().map(|bytes| bytes.into_owned())
        })
    }

    /// Looks at the request as the verifier does.
    pub fn with_scope<T>(&self, look: impl FnOnce(&Scope<'_, '_>) -> T) -> T {
        let view = View::new(&self.request, self.rule, &self.keys.secrets);
        let frame = self.own_scheme().map(Frame::new);
        let plain = Scope {
            frame: frame.as_ref(),
            ..Scope::of(&view)
        };
        let item = self
            .item
            .and_then(|index| plain.items().ok()?.get(index).copied());
        look(&Scope { item, ..plain })
    }

    fn own_scheme(&self) -> Option<&Scheme> {
        self.rule.provider.schemes.get(self.scheme?)
    }

    /// Makes `value` read `bytes`.
    pub fn put(&mut self, value: &Value, bytes: &[u8]) -> Placed {
        let mut wanted = bytes.to_vec();
        for (index, transform) in value.transforms.iter().enumerate().rev() {
            let before = Value {
                selector: value.selector.clone(),
                transforms: value
                    .transforms
                    .get(..index)
                    .map(<[_]>::to_vec)
                    .unwrap_or_default(),
                span: value.span.clone(),
            };
            let found = self.read(&before);
            wanted =
                undone(transform, wanted, found.as_deref()).ok_or_else(|| no(&value.selector))?;
        }
        self.set(&value.selector, &wanted)
    }

    fn set(&mut self, selector: &Selector, raw: &[u8]) -> Placed {
        match selector {
            Selector::Header(name) | Selector::Headers(name) => {
                self.set_header(name, raw);
                Ok(())
            }
            Selector::HeaderNumbered(base) => {
                let numbered = |name: &[u8]| {
                    let rest = name.strip_prefix(base.as_bytes());
                    rest.is_some_and(|rest| rest.starts_with(b"-"))
                };
                self.keep_headers(|name| !numbered(name));
                self.set_header(&format!("{base}-1"), raw);
                Ok(())
            }
            Selector::QueryParam(name) => {
                let query = self.request.query.clone().unwrap_or_default();
                let changed = rewrite::form_put(query.as_bytes(), name.as_bytes(), raw);
                self.request.query = String::from_utf8(changed).ok();
                Ok(())
            }
            Selector::Form(name) => {
                self.request.body =
                    rewrite::form_put(&self.request.body, name.as_bytes(), raw).into();
                Ok(())
            }
            Selector::Json(pointer) | Selector::JsonRaw(pointer) => {
                let body = rewrite::json_put(&self.request.body, pointer, raw);
                self.request.body = body.ok_or_else(|| no(selector))?.into();
                Ok(())
            }
            Selector::Item(pointer) => {
                let whole = self.item_pointer(pointer).ok_or_else(|| no(selector))?;
                let body = rewrite::json_put(&self.request.body, &whole, raw);
                self.request.body = body.ok_or_else(|| no(selector))?.into();
                Ok(())
            }
            Selector::Xml(names) => {
                let body = rewrite::xml_put(&self.request.body, names, raw);
                self.request.body = body.ok_or_else(|| no(selector))?.into();
                Ok(())
            }
            Selector::Body => {
                self.request.body = Bytes::copy_from_slice(raw);
                Ok(())
            }
            Selector::BasicUser | Selector::BasicPassword => self.set_basic(selector, raw),
            Selector::Sig(item) => self.set_item(item, raw),
            Selector::Part { name, within } => self.set_part(name, within, raw),
            Selector::Plain(Some(pointer)) => self.set_plain(pointer, raw),
            other => Err(no(other)),
        }
    }

    pub fn set_header(&mut self, name: &str, value: &[u8]) {
        let mut found = false;
        let mut headers = Headers::with_capacity(self.request.headers.len() + 1);
        for (other, old) in self.request.headers.iter() {
            if other != name.as_bytes() {
                headers.push(Bytes::copy_from_slice(other), Bytes::copy_from_slice(old));
            } else if !found {
                found = true;
                headers.push(Bytes::copy_from_slice(other), Bytes::copy_from_slice(value));
            }
        }
        if !found {
            headers.push(name.to_owned(), Bytes::copy_from_slice(value));
        }
        self.request.headers = headers;
    }

    pub fn keep_headers(&mut self, keep: impl Fn(&[u8]) -> bool) {
        let headers = self.request.headers.iter();
        self.request.headers = headers
            .filter(|(name, _)| keep(name))
            .map(|(n, v)| (Bytes::copy_from_slice(n), Bytes::copy_from_slice(v)))
            .collect();
    }

    fn set_basic(&mut self, selector: &Selector, raw: &[u8]) -> Placed {
        let (user, password) = self.with_scope(|scope| {
            let read = |selector| scope.select(&selector).ok().flatten();
            let owned = |found: Option<std::borrow::Cow<'_, [u8]>>| {
                found.map(|f| f.into_owned()).unwrap_or_default()
            };
            (
                owned(read(Selector::BasicUser)),
                owned(read(Selector::BasicPassword)),
            )
        });
        let pair = match selector {
            Selector::BasicUser => [raw, b":", &password].concat(),
            _ => [&user, &b":"[..], raw].concat(),
        };
        self.set_header(
            "authorization",
            format!("Basic {}", BASE64.encode(&pair)).as_bytes(),
        );
        Ok(())
    }

    /// An item of the signature header; where there are several of its name, the first.
    fn set_item(&mut self, item: &Item, raw: &[u8]) -> Placed {
        let missing = || no(&Selector::Sig(item.clone()));
        let grammar = self.own_scheme().and_then(|scheme| scheme.header.clone());
        let grammar = grammar.ok_or_else(missing)?;
        let wanted = match item {
            Item::Named(name) => name.clone(),
            Item::AsConfigured(name) => self.rule.config.get(name).ok_or_else(missing)?.clone(),
        };
        let mut text = self.read(&grammar.from).unwrap_or_default();
        let items = header::items(&text, &grammar);
        let found = items
            .iter()
            .enumerate()
            .find(|(index, placed)| placed.is_called(wanted.as_bytes(), *index, &text));
        match (found, &grammar.pair) {
            (Some((_, placed)), _) => {
                text.splice(placed.value.clone(), raw.iter().copied());
            }
            (None, pair) => {
                if !text.is_empty() {
                    text.extend_from_slice(grammar.items.as_bytes());
                }
                if let Some(pair) = pair {
                    text.extend_from_slice(wanted.as_bytes());
                    text.extend_from_slice(pair.as_bytes());
                }
                text.extend_from_slice(raw);
            }
        }
        self.put(&grammar.from, &text)
    }

    /// Changes a document inside the request, and puts it back to where it came from.
    fn set_part(&mut self, name: &str, within: &[String], raw: &[u8]) -> Placed {
        let selector = Selector::Part {
            name: name.to_owned(),
            within: within.to_vec(),
        };
        let part = self
            .rule
            .provider
            .part(name)
            .cloned()
            .ok_or_else(|| no(&selector))?;
        let from = part.from.as_single().ok_or_else(|| no(&selector))?;
        let document = self.read(from).unwrap_or_default();
        let changed = if within.is_empty() {
            Some(raw.to_vec())
        } else {
            match part.form {
                PartForm::Json => rewrite::json_put(&document, &Pointer(within.to_vec()), raw),
                PartForm::Xml => rewrite::xml_put(&document, within, raw),
                PartForm::Form => within
                    .first()
                    .map(|name| rewrite::form_put(&document, name.as_bytes(), raw)),
                PartForm::Jws => rewrite::token_put(&document, within, raw),
                PartForm::Text => None,
            }
        };
        self.put(from, &changed.ok_or_else(|| no(&selector))?)
    }

    fn set_plain(&mut self, pointer: &Pointer, raw: &[u8]) -> Placed {
        let selector = || no(&Selector::Plain(Some(pointer.clone())));
        let plain = self.with_scope(|scope| {
            let plain = scope.view.plain().ok()??;
            Some(plain.bytes().to_vec())
        });
        let plain = plain.ok_or_else(selector)?;
        let changed = rewrite::json_put(&plain, pointer, raw).ok_or_else(selector)?;
        self.enclose(&changed)
    }

    /// Encrypts a document with the source's own secret, and puts it where `[decrypt]` reads it.
    pub fn enclose(&mut self, plain: &[u8]) -> Placed {
        let fault = |what: &str| Unplaced {
            field: what.to_owned(),
        };
        let rule = self.rule;
        let decrypt = rule.provider.decrypt.as_ref();
        let decrypt = decrypt.ok_or_else(|| fault("nothing is encrypted here, and this"))?;
        let sealed = self.with_scope(|scope| {
            let text = |template: Option<&crate::rule::Template>| match template {
                Some(template) => evaluate::text(template, scope).ok().flatten(),
                None => Some(Vec::new()),
            };
            let key = text(Some(&decrypt.key))?;
            let nonce = text(decrypt.nonce.as_ref())?;
            let aad = text(decrypt.aad.as_ref()).unwrap_or_default();
            encrypt(decrypt.algorithm, &key, &nonce, &aad, plain).ok()
        });
        let sealed = sealed.ok_or_else(|| fault("the encrypted part"))?;
        let data = decrypt.data.as_single();
        self.put(data.ok_or_else(|| fault("the encrypted part"))?, &sealed)
    }

    /// A pointer of an item as one of the body.
    fn item_pointer(&self, within: &Pointer) -> Option<Pointer> {
        let split = self.rule.provider.split.as_ref()?;
        let index = self.item.unwrap_or(0).to_string();
        let mut tokens: Vec<String> = Vec::new();
        for token in &split.items.0 {
            let each = token == Pointer::EACH;
            tokens.push(if each { index.clone() } else { token.clone() });
        }
        tokens.extend(within.0.iter().cloned());
        Some(Pointer(tokens))
    }
}

fn no(selector: &Selector) -> Unplaced {
    Unplaced {
        field: selector.to_string(),
    }
}

/// What a transform must have been given, where there is such a thing. `found` is what it is given
/// now.
fn undone(transform: &Transform, wanted: Vec<u8>, found: Option<&[u8]>) -> Option<Vec<u8>> {
    let cut = |mark: &[u8]| {
        let found = found?;
        let at = found
            .windows(mark.len().max(1))
            .position(|window| window == mark)?;
        Some((found.get(..at)?, found.get(at + mark.len()..)?))
    };
    Some(match transform {
        Transform::StripPrefix(prefix) => [prefix.as_slice(), &wanted].concat(),
        Transform::StripSuffix(suffix) => [wanted.as_slice(), suffix].concat(),
        Transform::Before(mark) => {
            let rest = cut(mark).map_or(&[][..], |(_, after)| after);
            [wanted.as_slice(), mark, rest].concat()
        }
        Transform::After(mark) => {
            let rest = cut(mark).map_or(&[][..], |(before, _)| before);
            [rest, mark.as_slice(), &wanted].concat()
        }
        Transform::FromHex => HEXLOWER.encode(&wanted).into_bytes(),
        Transform::FromBase64 => BASE64.encode(&wanted).into_bytes(),
        Transform::FromBase64Url => BASE64URL_NOPAD.encode(&wanted).into_bytes(),
        Transform::PercentDecode => form::encode(&wanted, false),
        Transform::FormDecode => form::encode(&wanted, true),
        Transform::Hex | Transform::HexUpper => HEXLOWER_PERMISSIVE.decode(&wanted).ok()?,
        Transform::Base64 => BASE64.decode(&wanted).ok()?,
        Transform::Base64Url => BASE64URL_NOPAD.decode(&wanted).ok()?,
        Transform::PercentEncode => form::decode(&wanted, false).ok()?.into_owned(),
        Transform::FormEncode => form::decode(&wanted, true).ok()?.into_owned(),
        Transform::Reverse => wanted.into_iter().rev().collect(),
        Transform::Unquote => match found.is_some_and(|found| found.starts_with(b"\"")) {
            true => [&b"\""[..], &wanted, b"\""].concat(),
            false => wanted,
        },
        Transform::Lower | Transform::Upper | Transform::Trim | Transform::Default(_) => wanted,
        Transform::FloatTrim => wanted,
        Transform::JsonText
        | Transform::Digest(_)
        | Transform::Crc32
        | Transform::Len32Le
        | Transform::Hmac(_)
        | Transform::JsonWithout(_)
        | Transform::JsonSorted
        | Transform::JsonEscapeSlashes
        | Transform::First(_)
        | Transform::Skip(_) => return None,
    })
}
