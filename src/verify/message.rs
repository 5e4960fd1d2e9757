//! RFC 9421 at work: the request as the signature base sees it, and what a signature must cover.

use crate::rule::scheme::{Algorithm, Scheme};
use crate::verify::http_signature::{self, Components, Input};
use crate::verify::rejection::Rejection;
use crate::verify::resolve::Held;
use crate::verify::scope::Scope;

/// The label of the key that made one of the signatures, and how many there were.
pub fn signed_by(
    scheme: &Scheme,
    scope: &Scope<'_, '_>,
    keys: &[Held<'_>],
) -> Result<(Option<String>, usize), Rejection> {
    let view = scope.view;
    let (input, signature) = match (view.header("signature-input")?, view.header("signature")?) {
        (Some(input), Some(signature)) => (input, signature),
        _ => return Err(Rejection::SignatureMissing),
    };
    let parsed =
        http_signature::parse(input, signature).map_err(|_| Rejection::SignatureMalformed)?;
    let candidates: Vec<&Input> = parsed
        .iter()
        .filter(|one| scheme.components.iter().all(|name| one.covers(name)))
        .collect();
    if candidates.is_empty() {
        return Err(Rejection::SchemeUnknown);
    }
    if scheme.components.iter().any(|name| name == "content-digest") {
        let Some(digest) = view.header("content-digest")? else {
            return Err(Rejection::FieldMissing {
                field: "header:content-digest".to_owned(),
            });
        };
        http_signature::content_digest(digest, &view.request.body).map_err(|_| {
            Rejection::SignatureMismatch {
                candidates: candidates.len(),
                keys: keys.len(),
            }
        })?;
    }
    let request = Request { scope };
    let mut made_by: Option<&Held<'_>> = None;
    for one in &candidates {
        let base = http_signature::base(one, &request).map_err(|fault| Rejection::FieldMissing {
            field: fault.to_string(),
        })?;
        for key in keys {
            let fits = one.algorithm().is_none_or(|name| name == http_name(key.algorithm));
            let named = match (one.key_id(), key.id.as_deref()) {
                (Some(wanted), Some(known)) => wanted == known,
                (None, _) | (_, None) => true,
            };
            let mut running = key.material.begin();
            running.update(&base);
            let matched = running.finish().verify(one.signature());
            if matched && fits && named && made_by.is_none() {
                made_by = Some(key);
            }
        }
    }
    Ok((made_by.map(|key| key.label.clone()), candidates.len()))
}

/// The names of RFC 9421 §6.2.2.
pub fn http_name(algorithm: Algorithm) -> &'static str {
    HTTP_ALGORITHMS
        .iter()
        .find(|(_, known)| *known == algorithm)
        .map_or("", |(name, _)| name)
}

pub use crate::rule::scheme::HTTP_ALGORITHMS;

struct Request<'a, 's, 'r> {
    scope: &'a Scope<'s, 'r>,
}

impl Components for Request<'_, '_, '_> {
    fn method(&self) -> &str {
        self.scope.view.request.method.as_str()
    }

    /// The address as the provider knows it: as the source has configured it.
    fn url(&self) -> Option<&str> {
        self.scope.view.rule.url.as_deref()
    }

    fn path(&self) -> &str {
        &self.scope.view.request.path
    }

    fn query(&self) -> Option<&str> {
        self.scope.view.request.query.as_deref()
    }

    fn headers(&self, name: &str) -> Vec<Vec<u8>> {
        let fields = self.scope.view.request.headers.iter();
        fields
            .filter(|(other, _)| *other == name.as_bytes())
            .map(|(_, value)| value.to_vec())
            .collect()
    }
}
