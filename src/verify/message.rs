//! RFC 9421 at work: the request as the signature base sees it, and what a signature must cover.

use crate::clock::Timestamp;
use crate::rule::scheme::{HTTP_ALGORITHMS, Scheme};
use crate::verify::http_signature::{self, Components, Input};
use crate::verify::rejection::Rejection;
use crate::verify::resolve::Held;
use crate::verify::scope::Scope;

/// The signatures of the request that cover what the rule demands.
pub fn inputs(scheme: &Scheme, scope: &Scope<'_, '_>) -> Result<Vec<Input>, Rejection> {
    let view = scope.view;
    let fields = |name| view.headers(name).collect::<Vec<&[u8]>>();
    let (input, signature) = (fields("signature-input"), fields("signature"));
    if input.is_empty() || signature.is_empty() {
        return Err(Rejection::SignatureMissing);
    }
    let mut parsed =
        http_signature::parse(&input, &signature).map_err(|_| Rejection::SignatureMalformed)?;
    parsed.retain(|one| scheme.components.iter().all(|name| one.covers(name)));
    if parsed.is_empty() {
        return Err(Rejection::SignatureMalformed);
    }
    Ok(parsed)
}

/// The label of the key that made one of the signatures, and how many there were.
pub fn signed_by(
    scheme: &Scheme,
    scope: &Scope<'_, '_>,
    keys: &[Held<'_>],
    now: Timestamp,
) -> Result<(Option<String>, usize), Rejection> {
    let candidates = inputs(scheme, scope)?;
    let mismatch = || Rejection::SignatureMismatch {
        candidates: candidates.len(),
        keys: keys.len(),
    };
    if scheme
        .components
        .iter()
        .any(|name| name == "content-digest")
    {
        let digest: Vec<&[u8]> = scope.view.headers("content-digest").collect();
        http_signature::content_digest(&digest, &scope.view.request.body)
            .map_err(|_| mismatch())?;
    }
    let request = Request { scope };
    let mut made_by: Option<&Held<'_>> = None;
    let mut unknown = None;
    let mut known = false;
    for (index, one) in candidates.iter().enumerate() {
        let base =
            http_signature::base(one, &request).map_err(|fault| Rejection::FieldMissing {
                field: fault.to_string(),
            })?;
        let mut named_any = false;
        for key in keys {
            let fits = one.algorithm.as_deref().is_none_or(|name| {
                HTTP_ALGORITHMS
                    .iter()
                    .any(|(known, a)| *known == name && *a == key.algorithm)
            });
            let named = match (one.key_id.as_deref(), key.id.as_deref()) {
                (Some(wanted), Some(known)) => wanted == known,
                (None, _) | (_, None) => true,
            };
            named_any |= named;
            let mut running = key.material.begin();
            running.update(&base);
            let matched = running.finish().verify(&one.signature);
            let over = one
                .expires
                .is_some_and(|end| u64::try_from(end).unwrap_or(0) < now.as_millis() / 1000);
            if matched && over {
                return Err(Rejection::Stale { millis: 0 });
            }
            if matched && fits && named && made_by.is_none() {
                made_by = Some(key);
                if let Some(frame) = scope.frame {
                    frame.fitted.set(Some(index));
                }
            }
        }
        known |= named_any;
        if !named_any {
            unknown = one.key_id.clone();
        }
    }
    match (made_by, unknown) {
        (Some(key), _) => Ok((Some(key.label.clone()), candidates.len())),
        // A stranger's signature beside one of ours that does not fit is no unknown key.
        (None, Some(id)) if !known => Err(Rejection::KeyUnknown {
            id: crate::verify::params::shorten(id.as_bytes()),
        }),
        (None, _) => Ok((None, candidates.len())),
    }
}

/// A parameter of the signature, by its name in RFC 9421 section 2.3.
pub fn parameter(scope: &Scope<'_, '_>, name: &str) -> Result<Option<Vec<u8>>, Rejection> {
    let Some(frame) = scope.frame else {
        return Ok(None);
    };
    let found = inputs(frame.scheme, scope)?;
    // Of several signatures the one that a key has made counts. Before that is known the first
    // stands in: nothing is believed of it yet.
    let Some(one) = found.get(frame.fitted.get().unwrap_or(0)) else {
        return Ok(None);
    };
    let number = |n: Option<i64>| n.map(|n| n.to_string().into_bytes());
    let text = |t: &Option<String>| t.as_ref().map(|t| t.clone().into_bytes());
    Ok(match name {
        "created" => number(one.created),
        "expires" => number(one.expires),
        "nonce" => text(&one.nonce),
        "keyid" => text(&one.key_id),
        "tag" => text(&one.tag),
        "alg" => text(&one.algorithm),
        _ => None,
    })
}

/// The request as RFC 9421 sees it.
pub struct Request<'a, 's, 'r> {
    pub scope: &'a Scope<'s, 'r>,
}

impl Components for Request<'_, '_, '_> {
    fn method(&self) -> &[u8] {
        self.scope.view.request.method.as_str().as_bytes()
    }

    /// The address as the provider knows it: as the source has configured it.
    fn target_uri(&self) -> Option<&[u8]> {
        self.scope.view.rule.url.as_deref().map(str::as_bytes)
    }

    fn path(&self) -> &[u8] {
        self.scope.view.request.path.as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.scope.view.request.query.as_deref().map(str::as_bytes)
    }

    fn header(&self, name: &str) -> Vec<&[u8]> {
        self.scope
            .view
            .request
            .headers
            .iter()
            .filter(|(other, _)| *other == name.as_bytes())
            .map(|(_, value)| value)
            .collect()
    }
}
