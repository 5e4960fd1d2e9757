//! Public keys as merchants get them: PEM, a certificate, the base64 that Alipay's console shows,
//! bare points, JSON Web Keys. Keys of a strength that nobody should trust are refused here, once.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, VerificationAlgorithm};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE, HEXUPPER};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::clock::Timestamp;
use crate::rule::provider::{Algorithm, Curve, Digest};
use crate::verify::pkcs1::Numbers;
use crate::verify::primitive::KeyMaterial;

pub use crate::verify::jwk::jwk;

/// A key and what its certificate says of it.
#[derive(Debug)]
pub struct LoadedKey {
    pub material: KeyMaterial,
    /// The serial number of a certificate: upper-case hexadecimal digits, two for each byte.
    pub serial: Option<String>,
    /// The end of a certificate.
    pub not_after: Option<Timestamp>,
}

/// How a public key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicForm {
    /// PEM, or base64 of DER: a SubjectPublicKeyInfo or a certificate.
    Pem,
    /// Hexadecimal digits of a raw Ed25519 key, of an uncompressed point, or of DER.
    Hex,
    /// Base64 (padded) of the same.
    Base64,
    /// The bytes of a SubjectPublicKeyInfo or a certificate.
    Der,
}

/// Why a text is no usable public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKeyFault {
    /// Somebody put the private half here.
    PrivateKey,
    /// Not written in this form.
    NotText {
        form: &'static str,
    },
    UnknownPem {
        label: String,
    },
    /// Not the DER of a public key or a certificate.
    NotDer,
    /// A key, but not of the kind that the algorithm takes.
    OtherKind {
        wanted: &'static str,
    },
    /// The algorithm takes no public key, or a family whose member is not named yet.
    Algorithm {
        name: &'static str,
    },
    /// A member of a JSON Web Key is missing, malformed, or forbids this use.
    Jwk {
        member: &'static str,
    },
    /// Only 2048 to 8192 bits.
    Bits {
        bits: usize,
    },
    /// The public exponent must be odd, at least 3 and at most 33 bits long.
    Exponent,
}

impl fmt::Display for PublicKeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublicKeyFault::PrivateKey => f.write_str(
                "this is a private key; the provider's public key or certificate is needed",
            ),
            PublicKeyFault::NotText { form } => f.write_str(form),
            PublicKeyFault::UnknownPem { label } => write!(
                f,
                "PEM of a {label}; a PUBLIC KEY or a CERTIFICATE is needed"
            ),
            PublicKeyFault::NotDer => f.write_str("no public key and no certificate can be read"),
            PublicKeyFault::OtherKind { wanted } => write!(f, "this is not {wanted} key"),
            PublicKeyFault::Algorithm { name } => write!(f, "{name} takes no public key"),
            PublicKeyFault::Jwk { member } => write!(
                f,
                "the member `{member}` of the JSON Web Key is missing or does not fit"
            ),
            PublicKeyFault::Bits { bits } => {
                write!(
                    f,
                    "an RSA key of {bits} bits; from 2048 to 8192 are accepted"
                )
            }
            PublicKeyFault::Exponent => f.write_str("an RSA key with an unsound exponent"),
        }
    }
}

const NEITHER: PublicKeyFault = PublicKeyFault::NotText {
    form: "neither PEM nor base64",
};

/// Reads the public key that `algorithm` verifies with.
pub fn load(
    algorithm: Algorithm,
    form: PublicForm,
    text: &[u8],
) -> Result<LoadedKey, PublicKeyFault> {
    read(Family::of(algorithm)?, form, text)
}

/// The same for a provider whose own RSA key has only 1024 bits; its file says why that is taken.
pub fn load_small(
    algorithm: Algorithm,
    form: PublicForm,
    text: &[u8],
) -> Result<LoadedKey, PublicKeyFault> {
    read(Family::of(algorithm)?.small(), form, text)
}

fn read(family: Family, form: PublicForm, text: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
    let bad = |form| move |_| PublicKeyFault::NotText { form };
    match form {
        PublicForm::Pem => pem(family, text),
        PublicForm::Hex => {
            let bytes = HEXLOWER_PERMISSIVE.decode(text.trim_ascii());
            raw(family, &bytes.map_err(bad("not hexadecimal"))?)
        }
        PublicForm::Base64 => {
            let bytes = BASE64.decode(text.trim_ascii());
            raw(family, &bytes.map_err(bad("not base64"))?)
        }
        PublicForm::Der => der(family, text),
    }
}

/// Bytes of a coordinate.
pub(super) fn curve_length(curve: Curve) -> usize {
    match curve {
        Curve::P256 => 32,
        Curve::P384 => 48,
    }
}

/// The kinds of public keys, with what the library calls their use.
#[derive(Clone, Copy)]
pub(super) enum Family {
    Rsa(RsaScheme),
    Ecdsa(Curve, &'static dyn VerificationAlgorithm),
    Ed25519,
}

#[derive(Clone, Copy)]
pub(super) enum RsaScheme {
    /// With the digest of the message.
    Library(&'static RsaParameters, &'static digest::Algorithm),
    Md5,
    /// The same, for providers whose own key has only 1024 bits.
    Small(&'static RsaParameters, &'static digest::Algorithm),
    SmallMd5,
}

impl Family {
    pub(super) fn of(algorithm: Algorithm) -> Result<Family, PublicKeyFault> {
        use RsaScheme::Library;
        let family = match algorithm {
            Algorithm::Rsa(Digest::Md5) => Family::Rsa(RsaScheme::Md5),
            Algorithm::Rsa(Digest::Sha1) => Family::Rsa(Library(
                &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
            )),
            Algorithm::Rsa(Digest::Sha256) => Family::Rsa(Library(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                &digest::SHA256,
            )),
            Algorithm::Rsa(Digest::Sha384) => Family::Rsa(Library(
                &signature::RSA_PKCS1_2048_8192_SHA384,
                &digest::SHA384,
            )),
            Algorithm::Rsa(Digest::Sha512) => Family::Rsa(Library(
                &signature::RSA_PKCS1_2048_8192_SHA512,
                &digest::SHA512,
            )),
            Algorithm::RsaPss(Digest::Sha256) => Family::Rsa(Library(
                &signature::RSA_PSS_2048_8192_SHA256,
                &digest::SHA256,
            )),
            Algorithm::RsaPss(Digest::Sha384) => Family::Rsa(Library(
                &signature::RSA_PSS_2048_8192_SHA384,
                &digest::SHA384,
            )),
            Algorithm::RsaPss(Digest::Sha512) => Family::Rsa(Library(
                &signature::RSA_PSS_2048_8192_SHA512,
                &digest::SHA512,
            )),
            Algorithm::Ecdsa(curve) => Family::Ecdsa(
                curve,
                match curve {
                    Curve::P256 => &signature::ECDSA_P256_SHA256_ASN1,
                    Curve::P384 => &signature::ECDSA_P384_SHA384_ASN1,
                },
            ),
            Algorithm::EcdsaRaw(curve) => Family::Ecdsa(
                curve,
                match curve {
                    Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
                    Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
                },
            ),
            Algorithm::Ed25519 => Family::Ed25519,
            Algorithm::Rsa(Digest::Sha3_512 | Digest::Keccak256)
            | Algorithm::RsaPss(
                Digest::Md5 | Digest::Sha1 | Digest::Sha3_512 | Digest::Keccak256,
            )
            | Algorithm::Hmac(_)
            | Algorithm::Keyed(_)
            | Algorithm::Jws
            | Algorithm::HttpSignature
            | Algorithm::Token
            | Algorithm::Basic => {
                return Err(PublicKeyFault::Algorithm {
                    name: algorithm.name(),
                });
            }
        };
        Ok(family)
    }

    /// The same with RSA keys from 1024 bits, where the library has such.
    fn small(self) -> Family {
        let Family::Rsa(RsaScheme::Library(_, over)) = self else {
            return match self {
                Family::Rsa(RsaScheme::Md5) => Family::Rsa(RsaScheme::SmallMd5),
                other => other,
            };
        };
        let parameters = if over == &digest::SHA1_FOR_LEGACY_USE_ONLY {
            &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY
        } else if over == &digest::SHA256 {
            &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
        } else if over == &digest::SHA512 {
            &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
        } else {
            return self;
        };
        Family::Rsa(RsaScheme::Small(parameters, over))
    }

    fn wanted(self) -> &'static str {
        match self {
            Family::Rsa(_) => "an RSA",
            Family::Ecdsa(Curve::P256, _) => "a P-256",
            Family::Ecdsa(Curve::P384, _) => "a P-384",
            Family::Ed25519 => "an Ed25519",
        }
    }

    /// A key that is known to be of this family: a bare point or the bytes of Ed25519.
    pub(super) fn raw(self, point: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
        let other = PublicKeyFault::OtherKind {
            wanted: self.wanted(),
        };
        let material = match self {
            Family::Rsa(_) => return Err(other),
            Family::Ecdsa(curve, algorithm) => {
                let over = match curve {
                    Curve::P256 => &digest::SHA256,
                    Curve::P384 => &digest::SHA384,
                };
                let key = ParsedPublicKey::new(algorithm, point).map_err(|_| other)?;
                KeyMaterial::digested(over, key)
            }
            Family::Ed25519 => {
                let key = ParsedPublicKey::new(&signature::ED25519, point).map_err(|_| other)?;
                KeyMaterial::ed25519(key)
            }
        };
        Ok(material.into())
    }
}

impl From<KeyMaterial> for LoadedKey {
    fn from(material: KeyMaterial) -> LoadedKey {
        LoadedKey {
            material,
            serial: None,
            not_after: None,
        }
    }
}

fn pem(family: Family, text: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
    let text = text.trim_ascii();
    if !text.starts_with(b"-----BEGIN ") {
        let packed: Vec<u8> = text
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        return der(family, &BASE64.decode(&packed).map_err(|_| NEITHER)?);
    }
    let (_, pem) = parse_x509_pem(text).map_err(|_| NEITHER)?;
    match pem.label.as_str() {
        "PUBLIC KEY" => spki(family, &pem.contents),
        "CERTIFICATE" => certificate(family, &pem.contents),
        label if label.contains("PRIVATE KEY") => Err(PublicKeyFault::PrivateKey),
        label => Err(PublicKeyFault::UnknownPem {
            label: label.chars().take(40).collect(),
        }),
    }
}

/// Bare bytes of a key, told by their length, else DER.
fn raw(family: Family, bytes: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
    let bare = match family {
        Family::Rsa(_) => false,
        Family::Ecdsa(curve, _) => {
            bytes.first() == Some(&4) && bytes.len() == 1 + 2 * curve_length(curve)
        }
        Family::Ed25519 => bytes.len() == 32,
    };
    match bare {
        true => family.raw(bytes),
        false => der(family, bytes),
    }
}

fn der(family: Family, der: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
    // The two cannot be mistaken for each other: a certificate begins with another sequence.
    spki(family, der).or_else(|fault| match fault {
        PublicKeyFault::NotDer => certificate(family, der),
        other => Err(other),
    })
}

fn certificate(family: Family, der: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| PublicKeyFault::NotDer)?;
    if !rest.is_empty() {
        return Err(PublicKeyFault::NotDer);
    }
    let end = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    let key = spki(family, certificate.public_key().raw)?;
    Ok(LoadedKey {
        serial: Some(serial(&certificate)),
        not_after: Some(Timestamp::from_secs(end)),
        ..key
    })
}

/// Upper-case hexadecimal digits, two for each byte.
pub(super) fn serial(certificate: &X509Certificate<'_>) -> String {
    let serial = certificate.raw_serial();
    // A leading zero byte only says that the number is not negative.
    let serial = serial
        .strip_prefix(&[0])
        .filter(|rest| !rest.is_empty())
        .unwrap_or(serial);
    HEXUPPER.encode(serial)
}

fn spki(family: Family, der: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| PublicKeyFault::NotDer)?;
    if !rest.is_empty() {
        return Err(PublicKeyFault::NotDer);
    }
    let Family::Rsa(scheme) = family else {
        // The library reads the whole of it, so that the curve is checked with the point.
        return family.raw(der);
    };
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => rsa(scheme, key.modulus, key.exponent),
        Ok(_) | Err(_) => Err(PublicKeyFault::OtherKind {
            wanted: family.wanted(),
        }),
    }
}

/// An RSA key from the big-endian bytes of its numbers.
pub(super) fn rsa(
    scheme: RsaScheme,
    modulus: &[u8],
    exponent: &[u8],
) -> Result<LoadedKey, PublicKeyFault> {
    let bits = bits(modulus);
    let least = match scheme {
        RsaScheme::Library(..) | RsaScheme::Md5 => 2048,
        RsaScheme::Small(..) | RsaScheme::SmallMd5 => 1024,
    };
    if !(least..=8192).contains(&bits) {
        return Err(PublicKeyFault::Bits { bits });
    }
    let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    if !odd || !(2..=33).contains(&self::bits(exponent)) {
        return Err(PublicKeyFault::Exponent);
    }
    let material = match scheme {
        RsaScheme::Md5 | RsaScheme::SmallMd5 => {
            KeyMaterial::rsa_md5(Numbers::new(modulus, exponent))
        }
        RsaScheme::Library(parameters, over) | RsaScheme::Small(parameters, over) => {
            // RSAPublicKey (RFC 8017, A.1.1).
            let numbers = [unsigned(modulus), unsigned(exponent)].concat();
            let key = ParsedPublicKey::new(parameters, element(0x30, &numbers));
            KeyMaterial::digested(over, key.map_err(|_| PublicKeyFault::NotDer)?)
        }
    };
    Ok(material.into())
}

/// DER of an INTEGER that is not negative.
fn unsigned(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    let mut content = Vec::with_capacity(number.len() + 1);
    if number.first().is_none_or(|first| *first >= 0x80) {
        content.push(0);
    }
    content.extend(number);
    element(2, &content)
}

/// DER: tag, length, content.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    match length {
        [] => out.push(0),
        [short @ 0..=0x7f] => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
            out.extend(long);
        }
    }
    out.extend(content);
    out
}

/// The length of a big-endian number in bits.
pub(super) fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    match number.get(zeros) {
        Some(first) => (number.len() - zeros) * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}
