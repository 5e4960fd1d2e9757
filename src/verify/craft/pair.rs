//! A key pair that stands in for the provider's, where its keys are public.

use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};

use crate::rule::provider::{Example, Provider};
use crate::rule::scheme::{Algorithm, KeyKind, Scheme};
use crate::verify::craft::{Unsignable, scheme_possible};
use crate::verify::keys::{Keyring, algorithms};
use crate::verify::place::Draft;
use crate::verify::{evaluate, example, sign};

/// A key pair that stands in for the provider's.
#[derive(Clone)]
pub struct Pair {
    pub algorithm: Algorithm,
    /// PKCS#8, in DER.
    pub private: Vec<u8>,
    /// As it would stand in `keys`.
    pub public: String,
    /// The id that it needs there.
    pub id: Option<String>,
}

/// The algorithm for which a key pair is needed; none where the keys are shared secrets.
pub fn pair_algorithm(provider: &Provider) -> Option<Algorithm> {
    let scheme = provider
        .schemes
        .iter()
        .find(|scheme| scheme_possible(scheme).is_ok())?;
    let mut algorithms = algorithms(scheme).into_iter();
    algorithms.find(|algorithm| algorithm.is_asymmetric())
}

impl Pair {
    /// A pair for a provider; `private` is PKCS#8 in DER, or PEM, or none for a new one.
    pub fn new(provider: &Provider, example: &Example) -> Result<Option<Pair>, Unsignable> {
        let Some(algorithm) = pair_algorithm(provider) else {
            return Ok(None);
        };
        let (private, public) =
            sign::key_pair(algorithm).map_err(|why| Unsignable::Key(why.to_owned()))?;
        Pair::of(provider, example, algorithm, private, &public).map(Some)
    }

    /// The pair of a private key and its SubjectPublicKeyInfo.
    pub fn of(
        provider: &Provider,
        example: &Example,
        algorithm: Algorithm,
        private: Vec<u8>,
        public: &[u8],
    ) -> Result<Pair, Unsignable> {
        let scheme = provider
            .schemes
            .iter()
            .find(|scheme| scheme_possible(scheme).is_ok())
            .ok_or(Unsignable::NoKey)?;
        let raw = match algorithm {
            Algorithm::Ed25519 => 32,
            _ => 65,
        };
        let raw = public
            .len()
            .checked_sub(raw)
            .and_then(|at| public.get(at..));
        let public = match (scheme.key.kind, raw) {
            (KeyKind::PublicHex, Some(raw)) => HEXLOWER.encode(raw),
            (KeyKind::PublicBase64, Some(raw)) => BASE64.encode(raw),
            _ => pem(public),
        };
        let public = match scheme.key.kind {
            KeyKind::Public => public,
            _ => format!("{}{public}", scheme.key.strip_prefix),
        };
        Ok(Pair {
            algorithm,
            private,
            public,
            id: named(provider, scheme, example),
        })
    }
}

/// What the example calls its key.
fn named(provider: &Provider, scheme: &Scheme, example: &Example) -> Option<String> {
    let template = scheme.key_id.as_ref()?;
    let rule = crate::rule::compile::rule_for(&Arc::new(provider.clone()), example);
    let index = rule
        .provider
        .schemes
        .iter()
        .position(|other| other.name == scheme.name);
    let keys = Keyring::default();
    let draft = Draft {
        request: example::request(example),
        rule: &rule,
        keys: &keys,
        scheme: index,
        item: None,
    };
    let id = draft.with_scope(|scope| evaluate::text(template, scope).ok().flatten());
    let id = id.filter(|id| !id.is_empty());
    Some(id.map_or_else(
        || "callseal-test".to_owned(),
        |id| String::from_utf8_lossy(&id).into_owned(),
    ))
}

fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut lines = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines + "-----END PUBLIC KEY-----\n"
}
