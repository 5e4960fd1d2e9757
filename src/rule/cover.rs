//! What a signature fixes. Everything that is believed of a request (its id, its time, whom it is
//! for) must be covered: by every alternative of the signature, by an assertion that ties it to
//! something signed, or by the answer of a second source.

use crate::rule::provider::{Provider, QueryBack};
use crate::rule::scheme::{
    Algorithm, Condition, Decrypt, KeySource, Params, ParamsFrom, PartForm, Scheme, Test,
};
use crate::rule::template::{Pointer, Selector, Template, Transform, Value};

/// What the rules about covering need to know of a provider.
#[derive(Clone, Copy)]
pub struct Cover<'a> {
    pub schemes: &'a [Scheme],
    pub parts: &'a [crate::rule::provider::Part],
    pub asserts: &'a [crate::rule::provider::Assert],
    pub decrypt: Option<&'a Decrypt>,
    pub query_back: Option<&'a QueryBack>,
    pub split_each: bool,
}

/// Parts may read parts; deeper than there can be parts is a circle.
const DEEPEST: usize = 8;

impl Provider {
    pub fn cover(&self) -> Cover<'_> {
        Cover {
            schemes: &self.schemes,
            parts: &self.parts,
            asserts: &self.asserts,
            decrypt: self.decrypt.as_ref(),
            query_back: self.query_back.as_ref(),
            split_each: self.split.as_ref().is_some_and(|split| split.each),
        }
    }

    /// True when the signature, or a second source, fixes what `selector` finds.
    pub fn covers(&self, selector: &Selector) -> bool {
        self.cover().covers(selector)
    }

    pub fn covers_body(&self) -> bool {
        self.cover().covers_body()
    }

    /// True when `scheme` alone fixes the body byte for byte.
    pub fn scheme_covers_bytes(&self, scheme: &Scheme) -> bool {
        self.cover().scheme(scheme, &Selector::Body, 0)
    }
}

impl Cover<'_> {
    pub fn covers(&self, wanted: &Selector) -> bool {
        if !wanted.from_request() {
            return true;
        }
        let fixed = |scheme: &Scheme| self.scheme(scheme, wanted, 0) || self.tied(scheme, wanted);
        (!self.schemes.is_empty() && self.schemes.iter().all(fixed)) || self.asked(wanted, 0)
    }

    pub fn template(&self, template: &Template) -> bool {
        template.selectors().into_iter().all(|s| self.covers(s))
    }

    /// The signature covers the body: byte for byte, or all parameters but those that the file
    /// excepts by name, or the parts that carry the event.
    pub fn covers_body(&self) -> bool {
        self.covers(&Selector::Body)
            || (!self.schemes.is_empty()
                && self.schemes.iter().all(|scheme| {
                    self.content(scheme)
                        || self.scheme(scheme, &Selector::Body, 0)
                        || self.tied(scheme, &Selector::Body)
                }))
    }

    /// The content of the body, if not its bytes.
    fn content(&self, scheme: &Scheme) -> bool {
        if scheme.algorithm == Algorithm::Jws && !self.parts.is_empty() {
            // The event is the token.
            return self.scheme_token_in_body(scheme);
        }
        let values = |message: &Template| {
            message.values().any(|value| {
                value.keeps_apart()
                    && match &value.selector {
                        Selector::Body => true,
                        Selector::Params { .. } => scheme.params.as_ref().is_some_and(|p| {
                            p.only.is_empty()
                                && p.only_prefix.is_empty()
                                && p.render.name
                                && p.from != ParamsFrom::Query
                        }),
                        _ => false,
                    }
            }) || self.carries_event(message)
        };
        !scheme.messages.is_empty() && scheme.messages.iter().all(values)
    }

    /// A field of the body is signed whole and is itself the document that the event is read from
    /// (Braintree's `bt_payload`, PhonePe's `response`, Google's `signedMessage`).
    fn carries_event(&self, message: &Template) -> bool {
        self.parts.iter().any(|part| {
            part.from.values().any(|inner| {
                inner.selector.from_request()
                    && message
                        .values()
                        .any(|value| value.keeps_apart() && value.selector == inner.selector)
            })
        }) || (self.split_each
            && message
                .values()
                .any(|value| matches!(value.selector, Selector::Item(_))))
    }

    fn scheme_token_in_body(&self, scheme: &Scheme) -> bool {
        scheme.value.as_ref().is_some_and(|value| {
            matches!(
                value.selector,
                Selector::Json(_) | Selector::Form(_) | Selector::Body
            )
        })
    }

    /// True when one alternative fixes what `wanted` finds, in every variant of its message.
    fn scheme(&self, scheme: &Scheme, wanted: &Selector, depth: usize) -> bool {
        if depth > DEEPEST {
            return false;
        }
        if self.derived(wanted, &|inner| self.scheme(scheme, inner, depth + 1)) == Some(true) {
            return true;
        }
        match scheme.algorithm {
            Algorithm::Token | Algorithm::Basic => false,
            Algorithm::Jws => self.token(scheme, wanted),
            Algorithm::HttpSignature => component(&scheme.components, wanted),
            _ => {
                !scheme.messages.is_empty()
                    && scheme.messages.iter().all(|m| variant(scheme, m, wanted))
            }
        }
    }

    /// What is read out of something else is fixed when all of that is.
    fn derived(&self, wanted: &Selector, covered: &dyn Fn(&Selector) -> bool) -> Option<bool> {
        match wanted {
            Selector::Part { name, .. } => {
                let part = self.parts.iter().find(|part| part.name == *name)?;
                let mut selectors = part.from.values().map(|v| &v.selector).peekable();
                selectors.peek()?;
                Some(selectors.all(|s| !s.from_request() || covered(s)))
            }
            Selector::Plain(_) => {
                let decrypt = self.decrypt?;
                let templates = [
                    Some(&decrypt.data),
                    decrypt.nonce.as_ref(),
                    decrypt.aad.as_ref(),
                ];
                Some(
                    templates
                        .into_iter()
                        .flatten()
                        .flat_map(Template::values)
                        .all(|v| !v.selector.from_request() || covered(&v.selector)),
                )
            }
            _ => None,
        }
    }

    /// A part that is the very token whose signature is checked.
    fn token(&self, scheme: &Scheme, wanted: &Selector) -> bool {
        let Selector::Part { name, .. } = wanted else {
            return scheme
                .value
                .as_ref()
                .is_some_and(|value| value.selector == *wanted);
        };
        self.parts.iter().any(|part| {
            part.name == *name
                && part.form == PartForm::Jws
                && same(part.from.as_single(), scheme.value.as_ref())
        })
    }

    /// An assertion equates something that this alternative signs with `wanted`, or with a digest
    /// of it. One that is looked at only sometimes counts where the alternative itself applies only
    /// then: Twilio signs a form as it is, and of anything else a digest in the query.
    fn tied(&self, scheme: &Scheme, wanted: &Selector) -> bool {
        let signed = |s: &Selector| self.scheme(scheme, s, 0);
        self.asserts
            .iter()
            .filter(|assert| assert.when.iter().all(|c| scheme.when.contains(c)))
            .any(|assert| {
                let Test::Equals(texts) = &assert.condition.test else {
                    return false;
                };
                let [text] = texts.as_slice() else {
                    return false;
                };
                ties(&assert.condition.is, text, wanted, &signed)
                    || ties(text, &assert.condition.is, wanted, &signed)
            })
    }

    /// The second source was asked about exactly this, each time.
    fn asked(&self, wanted: &Selector, depth: usize) -> bool {
        let Some(query) = self.query_back.filter(|query| query.when.is_empty()) else {
            return false;
        };
        if depth > DEEPEST {
            return false;
        }
        if self.derived(wanted, &|inner| self.asked(inner, depth + 1)) == Some(true) {
            return true;
        }
        let templates = std::iter::once(&query.request.path)
            .chain([&query.request.body])
            .chain(query.confirm.iter().flat_map(compared_with_answer));
        templates
            .flat_map(Template::values)
            .filter(|value| value.keeps_apart())
            .any(|value| contains(&value.selector, wanted))
    }
}

/// The two sides of a comparison of which one is the answer's.
fn compared_with_answer(condition: &Condition) -> Vec<&Template> {
    let Test::Equals(texts) = &condition.test else {
        return Vec::new();
    };
    let [text] = texts.as_slice() else {
        return Vec::new();
    };
    let answered = |template: &Template| {
        template.as_single().is_some_and(|value| {
            matches!(value.selector, Selector::Answer(_)) && value.keeps_apart()
        })
    };
    if answered(&condition.is) || answered(text) {
        vec![&condition.is, text]
    } else {
        Vec::new()
    }
}

fn ties(
    signed_side: &Template,
    other: &Template,
    wanted: &Selector,
    signed: &dyn Fn(&Selector) -> bool,
) -> bool {
    let is_signed = signed_side.as_single().is_some_and(|value| {
        value.keeps_apart() && value.selector.from_request() && signed(&value.selector)
    });
    is_signed
        && other.as_single().is_some_and(|value| {
            value.keeps_apart() && contains(&value.selector, wanted) && is_strong(value)
        })
}

/// No digest on the way, or one that nobody can find a second text for.
fn is_strong(value: &Value) -> bool {
    use crate::rule::scheme::Digest;
    value
        .transforms
        .iter()
        .all(|t| !matches!(t, Transform::Digest(Digest::Md5 | Digest::Sha1)))
}

fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.selector == b.selector && a.transforms == b.transforms,
        _ => false,
    }
}

fn variant(scheme: &Scheme, message: &Template, wanted: &Selector) -> bool {
    message
        .values()
        .filter(|value| value.keeps_apart())
        .any(|value| match &value.selector {
            Selector::Params { without } => set_covers(scheme.params.as_ref(), without, wanted),
            // With a member taken out, what is left is still covered; the member is not.
            Selector::Body
                if value
                    .transforms
                    .iter()
                    .any(|t| matches!(t, Transform::JsonWithout(_))) =>
            {
                let taken = value.transforms.iter().find_map(|t| match t {
                    Transform::JsonWithout(member) => Some(member),
                    _ => None,
                });
                match (wanted, taken) {
                    (Selector::Json(pointer) | Selector::JsonRaw(pointer), Some(member)) => {
                        pointer.0.first() != Some(member)
                    }
                    _ => false,
                }
            }
            Selector::Body
                if value
                    .transforms
                    .iter()
                    .any(|t| matches!(t, Transform::JsonSorted)) =>
            {
                matches!(wanted, Selector::Json(_))
            }
            signed => contains(signed, wanted),
        })
        || key_is_signed(scheme, wanted)
}

/// The id of a key is believed when the signature under that key fits.
fn key_is_signed(scheme: &Scheme, wanted: &Selector) -> bool {
    *wanted == Selector::KeyId
        && !matches!(scheme.key.source, KeySource::Given if scheme.key_id.is_none())
}

/// True when who fixes `signed` fixes `wanted` too.
fn contains(signed: &Selector, wanted: &Selector) -> bool {
    if signed == wanted {
        return true;
    }
    match (signed, wanted) {
        (
            Selector::Body,
            Selector::Json(_)
            | Selector::JsonRaw(_)
            | Selector::Form(_)
            | Selector::Xml(_)
            | Selector::Item(_),
        ) => true,
        (Selector::JsonRaw(outer), Selector::Json(inner) | Selector::JsonRaw(inner)) => {
            inner.0.starts_with(&outer.0)
        }
        (Selector::Json(a), Selector::JsonRaw(b)) => a == b,
        (
            Selector::Target,
            Selector::Path | Selector::PathSegment(_) | Selector::Query | Selector::QueryParam(_),
        )
        | (Selector::Query, Selector::QueryParam(_))
        | (Selector::Path, Selector::PathSegment(_)) => true,
        _ => false,
    }
}

/// True when the sorted parameters, without some names, contain what `wanted` finds.
fn set_covers(params: Option<&Params>, without: &[String], wanted: &Selector) -> bool {
    let Some(params) = params else {
        return false;
    };
    if !params.render.value {
        return false;
    }
    let name = match (&params.from, wanted) {
        (ParamsFrom::Form, Selector::Form(name))
        | (ParamsFrom::Query, Selector::QueryParam(name)) => name,
        (ParamsFrom::Xml, Selector::Xml(names)) => match names.as_slice() {
            [name] => name,
            _ => return false,
        },
        (
            ParamsFrom::Json,
            Selector::Json(Pointer(tokens)) | Selector::JsonRaw(Pointer(tokens)),
        ) => match tokens.as_slice() {
            [name] => name,
            [name, ..] if params.nested == crate::rule::scheme::Nested::Written => name,
            _ => return false,
        },
        (ParamsFrom::Part(part), Selector::Part { name, within }) if part == name => {
            match within.first() {
                Some(name) => name,
                None => return false,
            }
        }
        _ => return false,
    };
    let starts = |prefixes: &[String]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let chosen = (params.only.is_empty() && params.only_prefix.is_empty())
        || params.only.contains(name)
        || starts(&params.only_prefix);
    chosen
        && !without.contains(name)
        && !params.except.contains(name)
        && !starts(&params.except_prefix)
        // Values alone, joined: which value belongs to which name is not fixed, whatever the order.
        && params.render.name
}

/// RFC 9421: the components that every signature must cover. `content-digest` is the body, since
/// it is checked against it.
fn component(components: &[String], wanted: &Selector) -> bool {
    let has = |name: &str| components.iter().any(|component| component == name);
    match wanted {
        Selector::Body
        | Selector::Json(_)
        | Selector::JsonRaw(_)
        | Selector::Form(_)
        | Selector::Xml(_) => has("content-digest"),
        Selector::Method => has("@method"),
        // `@target-uri` is the address that the source has configured, not the one that was asked.
        Selector::Path | Selector::PathSegment(_) => has("@path") || has("@request-target"),
        Selector::Query | Selector::QueryParam(_) => has("@query") || has("@request-target"),
        Selector::Target => has("@request-target") || (has("@path") && has("@query")),
        Selector::Header(name) => has(name),
        // Parameters of the signature are always part of what is signed.
        Selector::Sig(_) | Selector::KeyId => true,
        _ => false,
    }
}
