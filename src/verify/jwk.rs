//! JSON Web Keys, as key sets and JWS headers hold them.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;

use crate::rule::provider::{Algorithm, Curve, Digest};
use crate::rule::template::Pointer;
use crate::verify::json::{Json, Node};
use crate::verify::primitive::KeyMaterial;
use crate::verify::public_key::{Family, LoadedKey, PublicKeyFault, curve_length, rsa};

/// Shorter shared secrets can be guessed from one captured request.
const SHORTEST: usize = 16;

/// Reads a JSON Web Key (RFC 7517, RFC 7518 section 6, RFC 8037): a public key, or the shared
/// secret of an HMAC. Everything it says of its use must fit; its name (`kid`) is the caller's.
pub fn jwk(algorithm: Algorithm, json: &Json<'_>) -> Result<LoadedKey, PublicKeyFault> {
    let fault = |member| PublicKeyFault::Jwk { member };
    if text(json, "use")?.is_some_and(|used| used != "sig") {
        return Err(fault("use"));
    }
    if text(json, "alg")?.is_some_and(|named| !jose_names(algorithm).contains(&&*named)) {
        return Err(fault("alg"));
    }
    if let Some(operations) = json.get(&pointer("key_ops")) {
        let Node::Composite(list) = operations else {
            return Err(fault("key_ops"));
        };
        let list: Vec<String> = serde_json::from_str(list).map_err(|_| fault("key_ops"))?;
        if !list.iter().any(|operation| operation == "verify") {
            return Err(fault("key_ops"));
        }
    }
    let kind = text(json, "kty")?.ok_or(fault("kty"))?;
    if let Algorithm::Hmac(_) = algorithm {
        if kind != "oct" {
            return Err(fault("kty"));
        }
        let secret = Some(number(json, "k")?).filter(|secret| secret.len() >= SHORTEST);
        let material = secret.and_then(|secret| KeyMaterial::new(algorithm, &secret));
        return Ok(material.ok_or(fault("k"))?.into());
    }
    let family = Family::of(algorithm)?;
    if json.get(&pointer("d")).is_some() {
        return Err(PublicKeyFault::PrivateKey);
    }
    match family {
        Family::Rsa(scheme) if kind == "RSA" => {
            rsa(scheme, &number(json, "n")?, &number(json, "e")?)
        }
        Family::Ecdsa(curve, _) if kind == "EC" => {
            if text(json, "crv")?.as_deref() != Some(curve_name(curve)) {
                return Err(fault("crv"));
            }
            let mut point = vec![4];
            for member in ["x", "y"] {
                // RFC 7518, 6.2.1.2: always of the full length.
                let part = number(json, member)?;
                if part.len() != curve_length(curve) {
                    return Err(fault(member));
                }
                point.extend(part);
            }
            family.raw(&point)
        }
        Family::Ed25519 if kind == "OKP" => {
            if text(json, "crv")?.as_deref() != Some("Ed25519") {
                return Err(fault("crv"));
            }
            let point = number(json, "x")?;
            if point.len() != 32 {
                return Err(fault("x"));
            }
            family.raw(&point)
        }
        Family::Rsa(_) | Family::Ecdsa(_, _) | Family::Ed25519 => Err(fault("kty")),
    }
}

fn pointer(name: &str) -> Pointer {
    Pointer(vec![name.to_owned()])
}

fn text<'a>(json: &Json<'a>, member: &'static str) -> Result<Option<Cow<'a, str>>, PublicKeyFault> {
    match json.get(&pointer(member)) {
        None => Ok(None),
        Some(Node::Text(text)) => Ok(Some(text)),
        Some(Node::Null | Node::Literal(_) | Node::Composite(_)) => {
            Err(PublicKeyFault::Jwk { member })
        }
    }
}

fn number(json: &Json<'_>, member: &'static str) -> Result<Vec<u8>, PublicKeyFault> {
    let fault = PublicKeyFault::Jwk { member };
    let text = text(json, member)?.ok_or(fault.clone())?;
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| fault)
}

/// What `alg` may say of a key for this algorithm: RFC 7518, RFC 8037, RFC 9864.
fn jose_names(algorithm: Algorithm) -> &'static [&'static str] {
    match algorithm {
        Algorithm::Hmac(Digest::Sha256) => &["HS256"],
        Algorithm::Hmac(Digest::Sha384) => &["HS384"],
        Algorithm::Hmac(Digest::Sha512) => &["HS512"],
        Algorithm::Rsa(Digest::Sha256) => &["RS256"],
        Algorithm::Rsa(Digest::Sha384) => &["RS384"],
        Algorithm::Rsa(Digest::Sha512) => &["RS512"],
        Algorithm::RsaPss(Digest::Sha256) => &["PS256"],
        Algorithm::RsaPss(Digest::Sha384) => &["PS384"],
        Algorithm::RsaPss(Digest::Sha512) => &["PS512"],
        Algorithm::Ecdsa(Curve::P256) | Algorithm::EcdsaRaw(Curve::P256) => &["ES256"],
        Algorithm::Ecdsa(Curve::P384) | Algorithm::EcdsaRaw(Curve::P384) => &["ES384"],
        Algorithm::Ed25519 => &["EdDSA", "Ed25519"],
        Algorithm::Hmac(_)
        | Algorithm::Rsa(_)
        | Algorithm::RsaPss(_)
        | Algorithm::Keyed(_)
        | Algorithm::Jws
        | Algorithm::HttpSignature
        | Algorithm::Token
        | Algorithm::Basic => &[],
    }
}

fn curve_name(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "P-256",
        Curve::P384 => "P-384",
    }
}
