//! Experiments on keys: another one, another reading, another algorithm, another sender.

use std::sync::Arc;

use crate::rule::scheme::{Algorithm, Curve, Digest, Encoding, KeyKind};
use crate::rule::template::Selector;
use crate::rule::{Provider, Rule};
use crate::secret::Secret;
use crate::verify::diagnose::{Bench, Cause, guessed, proven};
use crate::verify::judge::seal_with;

impl Bench<'_> {
    /// A key of the source that the request does not name, or that has ended.
    pub(super) fn other_key(&self) -> Option<Cause> {
        let mut rule = self.rule_with(|provider| {
            provider.schemes.iter_mut().for_each(|s| s.key_id = None);
        });
        let named = Rule::clone(&rule);
        rule.keys.iter_mut().for_each(|key| key.not_after = None);
        let request = self.case.request;
        let seal = |rule: &Rule| {
            let keys = self.keys_of(rule, self.case.texts)?;
            seal_with(rule, &keys, request, self.case.now, self.case.known).ok()
        };
        if self.before > 1 {
            return None;
        }
        let label = seal(&rule)?;
        let label = label
            .split_once(' ')
            .map_or("", |(_, label)| label)
            .to_owned();
        if seal(&named).is_none() {
            let end = self.rule.keys.iter().find(|key| key.label == label);
            let end = end.and_then(|key| key.not_after);
            let end = end.map_or_else(String::new, |end| format!(" at {end}"));
            return Some(proven(
                "key_expired",
                format!("the key {label} fits, and it ended{end}"),
            ));
        }
        Some(proven(
            "key_other",
            format!(
                "the key {label} fits, and the request names another one: the `id` in `keys` is \
                 wrong, or it is a key of the other environment"
            ),
        ))
    }

    /// The same text read in another way.
    pub(super) fn key_reading(&self) -> Option<Cause> {
        let own = self.rule.provider.schemes.first()?.key.clone();
        if self.case.texts.is_empty() {
            return None;
        }
        for (how, texts) in readings(self.case.texts, &own.strip_prefix) {
            for (kind, name) in KINDS {
                for strip in [own.strip_prefix.as_str(), "", "whsec_"] {
                    if how.is_none() && kind == own.kind && strip == own.strip_prefix {
                        continue;
                    }
                    let rule = self.rule_with(|provider| {
                        for scheme in &mut provider.schemes {
                            scheme.key.kind = kind;
                            strip.clone_into(&mut scheme.key.strip_prefix);
                        }
                    });
                    let Some(keys) = self.keys_of(&rule, &texts) else {
                        continue;
                    };
                    if !self.helps(&rule, &keys, self.case.request) {
                        continue;
                    }
                    if let Some((code, how)) = how {
                        return Some(proven(code, how));
                    }
                    if kind == own.kind
                        || (strip != own.strip_prefix
                            && has(self.case.texts, strip, &own.strip_prefix))
                    {
                        let with = if strip.is_empty() { "with" } else { "without" };
                        return Some(proven(
                            "key_prefix",
                            format!(
                                "the key fits when it is taken {with} its prefix, and as {name}"
                            ),
                        ));
                    }
                    return Some(proven(
                        "key_codec",
                        format!(
                            "the key fits when its text is read as {name}; this provider's file \
                             reads it as {}",
                            kind_name(own.kind)
                        ),
                    ));
                }
            }
        }
        None
    }

    pub(super) fn algorithm(&self) -> Option<Cause> {
        let own = self.rule.provider.schemes.first()?.clone();
        let encodings = [
            (own.encoding, ""),
            (Encoding::HexAny, ", written as hexadecimal"),
            (Encoding::Base64, ", written as base64"),
            (Encoding::Base64Url, ", written as base64url"),
        ];
        for (encoding, written) in encodings {
            for algorithm in kin(own.algorithm) {
                if algorithm == own.algorithm && encoding == own.encoding {
                    continue;
                }
                let rule = self.rule_with(|provider| {
                    for scheme in &mut provider.schemes {
                        scheme.algorithm = algorithm;
                        scheme.encoding = encoding;
                    }
                });
                let Some(keys) = self.keys_of(&rule, self.case.texts) else {
                    continue;
                };
                if self.helps(&rule, &keys, self.case.request) {
                    let code = match algorithm == own.algorithm {
                        true => "encoding",
                        false => "algorithm",
                    };
                    return Some(proven(
                        code,
                        format!(
                            "it is signed with {}{written}; this provider's file says {}",
                            algorithm.name(),
                            own.algorithm.name()
                        ),
                    ));
                }
            }
        }
        None
    }

    /// A source of another name took this key.
    pub(super) fn sibling(&self) -> Option<Cause> {
        let request = self.case.request;
        let fits = self.case.siblings.iter().find(|other| {
            self.before <= 1
                && seal_with(
                    other.rule(),
                    other.keys(),
                    request,
                    self.case.now,
                    self.case.known,
                )
                .is_ok_and(|seal| seal != "none" && seal != "query-back")
        })?;
        Some(proven(
            "other_source",
            format!(
                "it is signed for the source `{}` (its key fits): another account or environment, \
                 or the wrong path at the provider",
                fits.rule().name
            ),
        ))
    }

    /// The signature stands where another provider puts it.
    pub(super) fn other_provider(&self) -> Option<Cause> {
        if self.before > 1 {
            return None;
        }
        let own = signature_headers(&self.rule.provider);
        let has = |name: &String| self.case.request.headers.all(name).next().is_some();
        let mut alike = Vec::new();
        let mut fitting = Vec::new();
        for other in self.case.catalogue {
            let theirs = signature_headers(other);
            let there = theirs.iter().any(|name| has(name) && !own.contains(name));
            if other.name == self.rule.provider.name || !there {
                continue;
            }
            alike.push(other.name.as_str());
            let rule = Rule {
                provider: Arc::clone(other),
                ..Rule::clone(self.rule)
            };
            let fits = self.keys_of(&rule, self.case.texts).is_some_and(|keys| {
                let request = self.case.request;
                seal_with(&rule, &keys, request, self.case.now, self.case.known).is_ok()
            });
            if fits {
                fitting.push(other.name.as_str());
            }
        }
        if !fitting.is_empty() {
            return Some(proven(
                "other_provider",
                format!(
                    "it is signed as `{}` signs: name that as the provider of the source",
                    fitting.join("` or `")
                ),
            ));
        }
        let present = own.iter().any(has);
        if alike.is_empty() || present {
            return None;
        }
        alike.truncate(5);
        Some(guessed(
            "other_provider",
            format!(
                "it carries the signature header of `{}`",
                alike.join("` or `")
            ),
        ))
    }
}

const KINDS: [(KeyKind, &str); 4] = [
    (KeyKind::Utf8, "plain text"),
    (KeyKind::Hex, "hexadecimal"),
    (KeyKind::Base64, "base64"),
    (KeyKind::Base64Url, "base64url"),
];

fn kind_name(kind: KeyKind) -> &'static str {
    KINDS
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or("a public key", |(_, name)| name)
}

/// True when one of the texts begins with either prefix.
fn has(texts: &[Secret], a: &str, b: &str) -> bool {
    let begins = |prefix: &str| {
        !prefix.is_empty()
            && texts
                .iter()
                .any(|t| t.expose().starts_with(prefix.as_bytes()))
    };
    begins(a) || begins(b)
}

type Reading = (Option<(&'static str, &'static str)>, Vec<Secret>);

/// The texts of the keys as they are, and as they may have been meant.
fn readings(texts: &[Secret], prefix: &str) -> Vec<Reading> {
    let map = |change: &dyn Fn(&[u8]) -> Vec<u8>| -> Vec<Secret> {
        texts
            .iter()
            .map(|text| Secret::new(change(text.expose())))
            .collect()
    };
    let add = |prefix: &'static str| {
        move |text: &[u8]| {
            [
                prefix.as_bytes(),
                text.strip_prefix(prefix.as_bytes()).unwrap_or(text),
            ]
            .concat()
        }
    };
    let unquoted = |text: &[u8]| {
        let text = text.trim_ascii();
        let inner = text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\""));
        inner.unwrap_or(text).to_vec()
    };
    let mut readings: Vec<Reading> = vec![(None, map(&<[u8]>::to_vec))];
    readings.push((
        Some((
            "key_blanks",
            "the key has blanks or quotes around it that do not belong to it",
        )),
        map(&unquoted),
    ));
    if prefix.is_empty() {
        readings.push((
            Some((
                "key_prefix",
                "the key fits with `whsec_` before it: its prefix was left out",
            )),
            map(&add("whsec_")),
        ));
    }
    readings.retain(|(how, changed)| {
        let same = changed
            .iter()
            .zip(texts)
            .all(|(a, b)| a.expose() == b.expose());
        how.is_none() || !same
    });
    readings
}

/// Algorithms that are mistaken for one another.
fn kin(algorithm: Algorithm) -> Vec<Algorithm> {
    const DIGESTS: [Digest; 4] = [Digest::Sha256, Digest::Sha1, Digest::Sha512, Digest::Sha384];
    match algorithm {
        Algorithm::Hmac(_) => DIGESTS.map(Algorithm::Hmac).to_vec(),
        Algorithm::Keyed(_) => {
            let mut kin = DIGESTS.map(Algorithm::Keyed).to_vec();
            kin.push(Algorithm::Keyed(Digest::Md5));
            kin
        }
        Algorithm::Rsa(_) | Algorithm::RsaPss(_) => {
            let mut kin = DIGESTS.map(Algorithm::Rsa).to_vec();
            kin.extend([Digest::Sha256, Digest::Sha512].map(Algorithm::RsaPss));
            kin
        }
        Algorithm::Ecdsa(_) | Algorithm::EcdsaRaw(_) => {
            let curves = [Curve::P256, Curve::P384];
            let der = curves.map(Algorithm::Ecdsa);
            der.into_iter()
                .chain(curves.map(Algorithm::EcdsaRaw))
                .collect()
        }
        Algorithm::Ed25519
        | Algorithm::Jws
        | Algorithm::HttpSignature
        | Algorithm::Token
        | Algorithm::Basic => Vec::new(),
    }
}

/// Header fields in which a provider's signatures stand; those that others use for other things
/// say nothing.
fn signature_headers(provider: &Provider) -> Vec<String> {
    let mut found = Vec::new();
    for scheme in &provider.schemes {
        let value = scheme.value.iter().map(|value| &value.selector);
        let grammar = scheme.header.iter().map(|header| &header.from.selector);
        for selector in value.chain(grammar) {
            if let Selector::Header(name) | Selector::Headers(name) = selector
                && !["authorization", "signature"].contains(&name.as_str())
            {
                found.push(name.clone());
            }
        }
    }
    found
}
