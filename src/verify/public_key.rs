//! Public keys as merchants get them: PEM, a certificate, or the base64 that Alipay's console
//! shows. Keys of a strength that nobody should trust are refused here, once.

use std::fmt;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use data_encoding::{BASE64, HEXUPPER};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::clock::Timestamp;
use crate::verify::primitive::KeyMaterial;

/// A key and what its certificate says of it.
#[derive(Debug)]
pub struct LoadedKey {
    pub material: KeyMaterial,
    /// The serial number of a certificate: upper-case hexadecimal digits, two for each byte.
    pub serial: Option<String>,
    /// The end of a certificate.
    pub not_after: Option<Timestamp>,
}

/// Why a text is no usable public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKeyFault {
    /// Somebody put the private half here.
    PrivateKey,
    /// Neither PEM nor base64.
    NotText,
    UnknownPem {
        label: String,
    },
    /// Not the DER of a public key or a certificate.
    NotDer,
    NotRsa,
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
            PublicKeyFault::NotText => f.write_str("neither PEM nor base64"),
            PublicKeyFault::UnknownPem { label } => write!(
                f,
                "PEM of a {label}; a PUBLIC KEY or a CERTIFICATE is needed"
            ),
            PublicKeyFault::NotDer => f.write_str("no public key and no certificate can be read"),
            PublicKeyFault::NotRsa => f.write_str("this is not an RSA key"),
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

/// Reads an RSA public key.
pub fn rsa(text: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
    let text = text.trim_ascii();
    if !text.starts_with(b"-----BEGIN ") {
        let packed: Vec<u8> = text
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let der = BASE64
            .decode(&packed)
            .map_err(|_| PublicKeyFault::NotText)?;
        // The two cannot be mistaken for each other: a certificate begins with another sequence.
        return spki(&der).or_else(|fault| match fault {
            PublicKeyFault::NotDer => certificate(&der),
            other => Err(other),
        });
    }
    let (_, pem) = parse_x509_pem(text).map_err(|_| PublicKeyFault::NotText)?;
    match pem.label.as_str() {
        "PUBLIC KEY" => spki(&pem.contents),
        "CERTIFICATE" => certificate(&pem.contents),
        label if label.contains("PRIVATE KEY") => Err(PublicKeyFault::PrivateKey),
        label => Err(PublicKeyFault::UnknownPem {
            label: label.chars().take(40).collect(),
        }),
    }
}

fn certificate(der: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| PublicKeyFault::NotDer)?;
    if !rest.is_empty() {
        return Err(PublicKeyFault::NotDer);
    }
    let serial = certificate.raw_serial();
    // A leading zero byte only says that the number is not negative.
    let serial = serial
        .strip_prefix(&[0])
        .filter(|rest| !rest.is_empty())
        .unwrap_or(serial);
    let end = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    let key = spki(certificate.public_key().raw)?;
    Ok(LoadedKey {
        serial: Some(HEXUPPER.encode(serial)),
        not_after: Some(Timestamp::from_secs(end)),
        ..key
    })
}

fn spki(der: &[u8]) -> Result<LoadedKey, PublicKeyFault> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| PublicKeyFault::NotDer)?;
    if !rest.is_empty() {
        return Err(PublicKeyFault::NotDer);
    }
    let Ok(PublicKey::RSA(key)) = info.parsed() else {
        return Err(PublicKeyFault::NotRsa);
    };
    let bits = bits(key.modulus);
    if !(2048..=8192).contains(&bits) {
        return Err(PublicKeyFault::Bits { bits });
    }
    let odd = key.exponent.last().is_some_and(|byte| byte & 1 == 1);
    if !odd || !(2..=33).contains(&self::bits(key.exponent)) {
        return Err(PublicKeyFault::Exponent);
    }
    let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
        .map_err(|_| PublicKeyFault::NotDer)?;
    Ok(LoadedKey {
        material: KeyMaterial::RsaSha256(parsed),
        serial: None,
        not_after: None,
    })
}

/// The length of a big-endian number in bits.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    match number.get(zeros) {
        Some(first) => (number.len() - zeros) * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}
