//! Keys out of what a pinned host answered: a set of JSON Web Keys, fields that the provider's file
//! names, or a certificate.

use super::certificate::{certified, policy};
use super::{is_called, pointer};
use crate::clock::Timestamp;
use crate::remote::RemoteAnswer;
use crate::rule::Template;
use crate::rule::scheme::{FetchedForm, FetchedKeys, KeySource, PartForm, Scheme};
use crate::rule::template::{Answered, Selector};
use crate::verify::document::Document;
use crate::verify::json::{Json, Node};
use crate::verify::keys::{Key, Keyring, algorithms};
use crate::verify::public_key::{self, PublicForm};
use crate::verify::rejection::Rejection;
use crate::verify::scope::{self, Scope};
use crate::verify::{certificate, decrypt, evaluate};

/// Reads the keys out of what a pinned host answered. What comes out is kept.
pub fn read_keys(
    ring: &Keyring,
    scope: &Scope<'_, '_>,
    want: (usize, Option<&[u8]>),
    answer: &RemoteAnswer,
    now: Timestamp,
) -> Result<Vec<Key>, String> {
    if answer.status != 200 {
        return Err(format!("the host answered {}", answer.status));
    }
    let (index, id) = want;
    let (Some(frame), Some(given)) = (scope.frame, ring.schemes.get(index)) else {
        return Err("no such scheme".to_owned());
    };
    let scheme = frame.scheme;
    let keys = match &scheme.key.source {
        KeySource::Jwks { .. } => jwks(scheme, &answer.body)?,
        KeySource::Fetch(fetch) => fetched(scheme, fetch, id, scope, answer)?,
        KeySource::CertificateUrl { trust, name, .. } => {
            let chain = certificate::pem_or_der_chain(&answer.body);
            let policy = policy(name.as_ref(), *trust, scope).map_err(|fault| fault.to_string())?;
            certified(scheme, &given.anchors, &chain, *trust, &policy, now)?
        }
        KeySource::Given
        | KeySource::X5c { .. }
        | KeySource::Certificate { .. }
        | KeySource::Signed(_) => Vec::new(),
    };
    if let Some(id) = id
        && !keys.iter().any(|key| is_called(key, id))
    {
        return Err("the host does not know this key".to_owned());
    }
    if keys.is_empty() {
        return Err("the answer holds no key that fits".to_owned());
    }
    Ok(keys)
}

/// RFC 7517 §5. Keys of kinds that the scheme does not use are left out.
fn jwks(scheme: &Scheme, body: &[u8]) -> Result<Vec<Key>, String> {
    let json = Json::parse(body).map_err(|fault| format!("no JSON: {}", fault.what))?;
    let list = json.each(&pointer(&["keys", "*"]));
    Ok(list
        .into_iter()
        .take(64)
        .flat_map(|entry| jwk(scheme, entry))
        .collect())
}

fn jwk(scheme: &Scheme, entry: Json<'_>) -> Vec<Key> {
    let id = match entry.get(&pointer(&["kid"])) {
        Some(Node::Text(text)) => Some(text.into_owned()),
        Some(_) | None => None,
    };
    let label = id.clone().unwrap_or_else(|| "a fetched key".to_owned());
    algorithms(scheme)
        .into_iter()
        .filter_map(|algorithm| {
            let loaded = public_key::jwk(algorithm, &entry).ok()?;
            Some(Key::fetched(algorithm, loaded, id.clone(), label.clone()))
        })
        .collect()
}

fn fetched(
    scheme: &Scheme,
    fetch: &FetchedKeys,
    id: Option<&[u8]>,
    scope: &Scope<'_, '_>,
    answer: &RemoteAnswer,
) -> Result<Vec<Key>, String> {
    let said = |fault: Rejection| fault.to_string();
    let document = Document::read(PartForm::Json, answer.body.to_vec()).map_err(said)?;
    let answer = scope::Answer {
        status: answer.status.to_string(),
        document,
    };
    let items: Vec<Option<Json<'_>>> = match (&fetch.items, answer.document.json()) {
        (Some(pointer), Some(json)) => json.each(pointer).into_iter().take(64).map(Some).collect(),
        (None, _) | (_, None) => vec![None],
    };
    let mut keys = Vec::new();
    for item in items {
        let here = Scope {
            answer: Some(&answer),
            item,
            ..*scope
        };
        let called = match &fetch.id {
            Some(template) => evaluate::text(template, &here).map_err(said)?,
            None => id.map(<[u8]>::to_vec),
        };
        let plain = match &fetch.decrypt {
            Some(rule) => {
                let part = |template: &Option<Template>| match template {
                    Some(template) => evaluate::text(template, &here)
                        .map(Option::unwrap_or_default)
                        .map_err(said),
                    None => Ok(Vec::new()),
                };
                let (key, data) = (
                    part(&Some(rule.key.clone()))?,
                    part(&Some(rule.data.clone()))?,
                );
                let opened = decrypt::decrypt(
                    rule.algorithm,
                    &key,
                    &part(&rule.nonce)?,
                    &part(&rule.aad)?,
                    &data,
                )
                .map_err(|_| "an encrypted key cannot be opened".to_owned())?;
                Some(Document::read(PartForm::Text, opened).map_err(said)?)
            }
            None => None,
        };
        let here = Scope {
            plain: plain.as_ref().or(here.plain),
            ..here
        };
        let called = called.map(|id| String::from_utf8_lossy(&id).into_owned());
        // A JSON Web Key is an object, and is read as it is written.
        let value = match (&fetch.form, written(&fetch.value, &here)) {
            (FetchedForm::Jwk, Some(raw)) => raw,
            _ => match evaluate::text(&fetch.value, &here).map_err(said)? {
                Some(value) => value,
                None => continue,
            },
        };
        match fetch.form {
            FetchedForm::Public => {
                for algorithm in algorithms(scheme) {
                    if let Ok(loaded) = public_key::load(algorithm, PublicForm::Pem, &value) {
                        let label = called.clone().unwrap_or_else(|| "a fetched key".to_owned());
                        keys.push(Key::fetched(algorithm, loaded, called.clone(), label));
                    }
                }
            }
            FetchedForm::Jwk => {
                let json =
                    Json::parse(&value).map_err(|fault| format!("no JSON: {}", fault.what))?;
                keys.extend(jwk(scheme, json).into_iter().map(|mut key| {
                    key.id = called.clone().or(key.id.take());
                    key
                }));
            }
        }
    }
    Ok(keys)
}

/// A value of an answer as it is written, objects too.
fn written(template: &Template, scope: &Scope<'_, '_>) -> Option<Vec<u8>> {
    let json = match &template.as_single()?.selector {
        Selector::Answer(Answered::Json(pointer)) => scope.answer?.document.json()?.at(pointer)?,
        Selector::Item(pointer) => scope.item?.at(pointer)?,
        _ => return None,
    };
    json.raw()
        .starts_with('{')
        .then(|| json.raw().as_bytes().to_vec())
}
