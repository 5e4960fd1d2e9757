//! Keys out of certificates: which of a chain counts, and by whose word.

use super::pointer;
use crate::clock::Timestamp;
use crate::rule::Template;
use crate::rule::scheme::{Scheme, Trust};
use crate::verify::certificate::{self, NameRule, Policy};
use crate::verify::evaluate;
use crate::verify::json::{Json, Node};
use crate::verify::jws::Jws;
use crate::verify::keys::{Key, algorithms};
use crate::verify::public_key::{self, PublicForm};
use crate::verify::rejection::Rejection;
use crate::verify::scope::Scope;

pub(super) fn certified(
    scheme: &Scheme,
    anchors: &[Vec<u8>],
    chain: &[Vec<u8>],
    trust: Trust,
    policy: &Policy,
    now: Timestamp,
) -> Result<Vec<Key>, String> {
    let given = trust;
    let trust = match trust {
        // Roots that the source names itself take the place of the public ones.
        Trust::Web if anchors.is_empty() => certificate::Trust::Web,
        Trust::Web => certificate::Trust::Anchors(anchors.to_vec()),
        Trust::Keys => certificate::Trust::Anchors(anchors.to_vec()),
        Trust::Host => return Ok(of_host(scheme, chain)),
    };
    // A certificate that the source itself names needs no chain.
    if let (Trust::Keys, Some(first)) = (given, chain.first())
        && anchors.contains(first)
    {
        return Ok(of_host(scheme, chain));
    }
    let leaf = certificate::chain(chain, &trust, now, policy).map_err(|fault| fault.to_string())?;
    let mut keys = Vec::new();
    for algorithm in algorithms(scheme) {
        if let Ok(mut loaded) = public_key::load(algorithm, PublicForm::Der, &leaf.spki) {
            loaded.not_after = Some(leaf.not_after);
            let label = leaf.serial.clone();
            keys.push(Key::fetched(
                algorithm,
                loaded,
                Some(leaf.serial.clone()),
                label,
            ));
        }
    }
    match keys.is_empty() {
        true => Err("the certificate's key does not fit the algorithm".to_owned()),
        false => Ok(keys),
    }
}

/// The keys of a certificate for which the TLS of its host vouches. Its own chain is not at hand,
/// as with Amazon SNS.
fn of_host(scheme: &Scheme, chain: &[Vec<u8>]) -> Vec<Key> {
    let Some(leaf) = chain.first() else {
        return Vec::new();
    };
    algorithms(scheme)
        .into_iter()
        .filter_map(|algorithm| {
            let loaded = public_key::load(algorithm, PublicForm::Der, leaf).ok()?;
            let label = loaded.serial.clone().unwrap_or_default();
            Some(Key::fetched(algorithm, loaded, None, label))
        })
        .collect()
}

/// Under the public roots anyone gets a certificate whose name contains a text; only the end of a
/// name is its owner's.
pub(super) fn policy(
    name: Option<&Template>,
    trust: Trust,
    scope: &Scope<'_, '_>,
) -> Result<Policy, Rejection> {
    let name = match name {
        Some(template) => evaluate::text(template, scope)?.map(|text| {
            let text = String::from_utf8_lossy(&text).into_owned();
            match trust {
                Trust::Web | Trust::Host => NameRule::Suffix(text),
                Trust::Keys => NameRule::Contains(text),
            }
        }),
        None => None,
    };
    Ok(Policy {
        name,
        ..Policy::default()
    })
}

pub(super) fn x5c(token: &Jws<'_>) -> Result<Vec<Vec<u8>>, Rejection> {
    let header = Json::parse(&token.header).map_err(|_| Rejection::SignatureMalformed)?;
    let mut chain = Vec::new();
    for entry in header.each(&pointer(&["x5c", "*"])).into_iter().take(8) {
        let Some(Node::Text(text)) = entry.node() else {
            return Err(Rejection::SignatureMalformed);
        };
        let der = data_encoding::BASE64.decode(text.as_bytes());
        chain.push(der.map_err(|_| Rejection::SignatureMalformed)?);
    }
    Ok(chain)
}
