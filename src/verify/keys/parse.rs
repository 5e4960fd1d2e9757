//! One key: decoded as the provider's file says, and parsed for every algorithm that it may be for.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};

use super::{Key, KeyFault, SHORTEST_TOKEN};
use crate::rule::KeyRef;
use crate::rule::scheme::{Algorithm, Derive, Digest, KeyKind, KeyRule, KeySource, Scheme, Trust};
use crate::secret::Secret;
use crate::verify::certificate;
use crate::verify::jws::JwsAlgorithm;
use crate::verify::primitive::KeyMaterial;
use crate::verify::public_key::{self, LoadedKey, PublicForm};

pub(super) enum Parsed {
    Keys(Vec<Key>),
    Roots(Vec<Key>),
    Anchors(Vec<Vec<u8>>),
}

/// The algorithms that the keys of a scheme may be for.
pub fn algorithms(scheme: &Scheme) -> Vec<Algorithm> {
    match scheme.algorithm {
        Algorithm::Jws => scheme
            .jws
            .iter()
            .filter_map(|name| JwsAlgorithm::named(name))
            .map(JwsAlgorithm::algorithm)
            .collect(),
        Algorithm::HttpSignature => scheme.http.clone(),
        other => vec![other],
    }
}

pub(super) fn parse(
    scheme: &Scheme,
    key: &KeyRef,
    secret: &Secret,
    shortest: usize,
) -> Result<Parsed, KeyFault> {
    let anchors = || match certificate::pem_or_der_chain(secret.expose()) {
        found if found.is_empty() => Err(KeyFault::NotACertificate),
        found => Ok(Parsed::Anchors(found)),
    };
    match &scheme.key.source {
        KeySource::X5c {
            trust: Trust::Keys | Trust::Web,
            ..
        }
        | KeySource::Certificate {
            trust: Trust::Keys | Trust::Web,
            ..
        }
        | KeySource::CertificateUrl {
            trust: Trust::Keys | Trust::Web,
            ..
        } => anchors(),
        KeySource::Signed(signed) => {
            let kind = form(&scheme.key);
            let loaded = public_key::load(signed.algorithm, kind, secret.expose())
                .map_err(KeyFault::Public)?;
            Ok(Parsed::Roots(vec![named(key, signed.algorithm, loaded)]))
        }
        KeySource::X5c { .. }
        | KeySource::Certificate { .. }
        | KeySource::CertificateUrl { .. } => Err(KeyFault::NoScheme),
        KeySource::Given | KeySource::Jwks { .. } | KeySource::Fetch(_) => {
            let mut keys = Vec::new();
            let mut fault = None;
            for algorithm in algorithms(scheme) {
                match one(scheme, algorithm, key, secret, shortest) {
                    Ok(key) => keys.push(key),
                    Err(found) => {
                        fault.get_or_insert(found);
                    }
                }
            }
            match (keys.is_empty(), fault) {
                (true, fault) => Err(fault.unwrap_or(KeyFault::NoScheme)),
                (false, _) => Ok(Parsed::Keys(keys)),
            }
        }
    }
}

fn one(
    scheme: &Scheme,
    algorithm: Algorithm,
    key: &KeyRef,
    secret: &Secret,
    shortest: usize,
) -> Result<Key, KeyFault> {
    let mut parsed = if algorithm.is_asymmetric() {
        let text = stripped(&scheme.key, secret.expose());
        let load = match &scheme.key.small_rsa {
            Some(_) => public_key::load_small,
            None => public_key::load,
        };
        let loaded = load(algorithm, form(&scheme.key), text).map_err(KeyFault::Public)?;
        named(key, algorithm, loaded)
    } else {
        let (material, bytes) = shared(scheme, algorithm, secret, shortest)?;
        Key {
            material,
            algorithm,
            secret: Some(bytes),
            id: key.id.clone(),
            label: key.label.clone(),
            not_after: key.not_after,
        }
    };
    if scheme.key_id.is_some() && parsed.id.is_none() {
        return Err(KeyFault::IdMissing);
    }
    if key.id.is_none()
        && let Some(serial) = &parsed.id
    {
        parsed.label.clone_from(serial);
    }
    Ok(parsed)
}

/// A public key as the source names it.
fn named(key: &KeyRef, algorithm: Algorithm, loaded: LoadedKey) -> Key {
    let not_after = [key.not_after, loaded.not_after]
        .into_iter()
        .flatten()
        .min();
    Key {
        material: loaded.material,
        algorithm,
        secret: None,
        id: key.id.clone().or(loaded.serial),
        label: key.label.clone(),
        not_after,
    }
}

fn form(key: &KeyRule) -> PublicForm {
    match key.kind {
        KeyKind::PublicHex => PublicForm::Hex,
        KeyKind::PublicBase64 => PublicForm::Base64,
        KeyKind::Public | KeyKind::Utf8 | KeyKind::Hex | KeyKind::Base64 | KeyKind::Base64Url => {
            PublicForm::Pem
        }
    }
}

pub(super) fn shared(
    scheme: &Scheme,
    algorithm: Algorithm,
    secret: &Secret,
    shortest: usize,
) -> Result<(KeyMaterial, Secret), KeyFault> {
    let bytes = decode(&scheme.key, secret)?;
    let least = match algorithm {
        Algorithm::Token | Algorithm::Basic => shortest.min(SHORTEST_TOKEN),
        _ => scheme
            .key
            .shortest
            .map_or(shortest, |own| own.min(shortest)),
    };
    if bytes.expose().starts_with(b"-----BEGIN ") {
        return Err(KeyFault::PemAsSecret);
    }
    if bytes.len() < least {
        return Err(KeyFault::TooShort { bytes: bytes.len() });
    }
    let bytes = derive(&scheme.key, bytes);
    let material = KeyMaterial::new(algorithm, bytes.expose()).ok_or(KeyFault::NoScheme)?;
    Ok((material, bytes))
}

fn stripped<'t>(rule: &KeyRule, text: &'t [u8]) -> &'t [u8] {
    text.strip_prefix(rule.strip_prefix.as_bytes())
        .unwrap_or(text)
}

fn decode(rule: &KeyRule, secret: &Secret) -> Result<Secret, KeyFault> {
    let text = stripped(rule, secret.expose());
    let unpadded = |text: &[u8]| {
        // Padding is often lost when a secret is copied, and nothing depends on it.
        let packed = text.trim_ascii_end();
        let stripped = packed.strip_suffix(b"==").or(packed.strip_suffix(b"="));
        stripped.unwrap_or(packed).to_vec()
    };
    let bad = |codec| move |_| KeyFault::BadEncoding { codec };
    match rule.kind {
        // A public key is parsed by its algorithm, not here.
        KeyKind::Utf8 | KeyKind::Public | KeyKind::PublicHex | KeyKind::PublicBase64 => {
            Ok(Secret::new(text.to_vec()))
        }
        KeyKind::Hex => HEXLOWER_PERMISSIVE
            .decode(text)
            .map(Secret::new)
            .map_err(bad("hexadecimal")),
        KeyKind::Base64 => BASE64_NOPAD
            .decode(&unpadded(text))
            .map(Secret::new)
            .map_err(bad("base64")),
        KeyKind::Base64Url => BASE64URL_NOPAD
            .decode(&unpadded(text))
            .map(Secret::new)
            .map_err(bad("base64url")),
    }
}

fn derive(rule: &KeyRule, bytes: Secret) -> Secret {
    match rule.derive {
        None => bytes,
        Some(Derive::Sha1) => Secret::new(
            digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes.expose())
                .as_ref()
                .to_vec(),
        ),
        Some(Derive::Sha256) => Secret::new(digest(&SHA256, bytes.expose()).as_ref().to_vec()),
        Some(Derive::Md5Hex) => {
            let md5 = crate::verify::digest::digest(Digest::Md5, bytes.expose());
            Secret::new(HEXLOWER.encode(&md5).into_bytes())
        }
    }
}
