//! Signatures of our own: requests to providers that want them signed, and test callbacks.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use x509_parser::pem::parse_x509_pem;

use crate::rule::scheme::{Algorithm, Curve, Digest, Encoding};

/// Random characters, `2 × bytes` of them.
pub fn nonce(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    // The generator of a process that cannot give randomness has ended it long before.
    let _ = SystemRandom::new().fill(&mut random);
    HEXLOWER.encode(&random)
}

/// A signature as a provider writes it.
pub fn written(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Hex | Encoding::HexAny => HEXLOWER.encode(bytes).into_bytes(),
        Encoding::HexUpper => HEXUPPER.encode(bytes).into_bytes(),
        Encoding::Base64 => BASE64.encode(bytes).into_bytes(),
        Encoding::Base64Url => BASE64URL_NOPAD.encode(bytes).into_bytes(),
        Encoding::Text => bytes.to_vec(),
    }
}

/// Signs with a private key: PKCS#8 in PEM, or its base64.
pub fn with_private_key(
    algorithm: Algorithm,
    key: &[u8],
    message: &[u8],
) -> Result<Vec<u8>, &'static str> {
    let der = pkcs8(key)?;
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::Rsa(digest) => rsa(&der, pkcs1(digest)?, message, &random),
        Algorithm::RsaPss(digest) => rsa(&der, pss(digest)?, message, &random),
        Algorithm::Ecdsa(Curve::P256) => ecdsa(&der, &ECDSA_P256_SHA256_ASN1_SIGNING, message),
        Algorithm::Ecdsa(Curve::P384) => ecdsa(&der, &ECDSA_P384_SHA384_ASN1_SIGNING, message),
        Algorithm::EcdsaRaw(Curve::P256) => ecdsa(&der, &ECDSA_P256_SHA256_FIXED_SIGNING, message),
        Algorithm::EcdsaRaw(Curve::P384) => ecdsa(&der, &ECDSA_P384_SHA384_FIXED_SIGNING, message),
        Algorithm::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| NOT_A_KEY)?;
            Ok(pair.sign(message).as_ref().to_vec())
        }
        Algorithm::Hmac(_)
        | Algorithm::Keyed(_)
        | Algorithm::Jws
        | Algorithm::HttpSignature
        | Algorithm::Token
        | Algorithm::Basic => Err("this algorithm has no private key"),
    }
}

/// A fresh key pair: the private half as PKCS#8 in DER, the public half as SubjectPublicKeyInfo.
pub fn key_pair(algorithm: Algorithm) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let failed = |_| "no key could be made";
    let pair = |alg: &'static EcdsaSigningAlgorithm| {
        let pair = EcdsaKeyPair::generate(alg).map_err(failed)?;
        let private = pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec();
        let public = pair.public_key().as_der().map_err(failed)?;
        Ok((private, public.as_ref().to_vec()))
    };
    match algorithm {
        Algorithm::Rsa(_) | Algorithm::RsaPss(_) => {
            let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).map_err(failed)?;
            let private = pair.as_der().map_err(failed)?;
            let public = pair.public_key().as_der().map_err(failed)?;
            Ok((private.as_ref().to_vec(), public.as_ref().to_vec()))
        }
        Algorithm::Ecdsa(Curve::P256) | Algorithm::EcdsaRaw(Curve::P256) => {
            pair(&ECDSA_P256_SHA256_ASN1_SIGNING)
        }
        Algorithm::Ecdsa(Curve::P384) | Algorithm::EcdsaRaw(Curve::P384) => {
            pair(&ECDSA_P384_SHA384_ASN1_SIGNING)
        }
        Algorithm::Ed25519 => {
            let pair = Ed25519KeyPair::generate().map_err(failed)?;
            let private = pair.to_pkcs8().map_err(failed)?.as_ref().to_vec();
            let public = pair.public_key().as_der().map_err(failed)?;
            Ok((private, public.as_ref().to_vec()))
        }
        Algorithm::Hmac(_)
        | Algorithm::Keyed(_)
        | Algorithm::Jws
        | Algorithm::HttpSignature
        | Algorithm::Token
        | Algorithm::Basic => Err("this algorithm has no key pair"),
    }
}

const NOT_A_KEY: &str = "the private key cannot be read (PKCS#8 is needed)";

fn pkcs8(key: &[u8]) -> Result<Vec<u8>, &'static str> {
    // The last byte of DER may look like a blank.
    if key.first() == Some(&0x30) {
        return Ok(key.to_vec());
    }
    let text = key.trim_ascii();
    if text.starts_with(b"-----BEGIN ") {
        let (_, pem) = parse_x509_pem(text).map_err(|_| NOT_A_KEY)?;
        return Ok(pem.contents);
    }
    let packed: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    BASE64.decode(&packed).map_err(|_| NOT_A_KEY)
}

fn pkcs1(digest: Digest) -> Result<&'static dyn RsaEncoding, &'static str> {
    match digest {
        Digest::Sha256 => Ok(&RSA_PKCS1_SHA256),
        Digest::Sha384 => Ok(&RSA_PKCS1_SHA384),
        Digest::Sha512 => Ok(&RSA_PKCS1_SHA512),
        Digest::Md5 | Digest::Sha1 | Digest::Sha3_512 | Digest::Keccak256 => {
            Err("nothing new is signed with this digest")
        }
    }
}

fn pss(digest: Digest) -> Result<&'static dyn RsaEncoding, &'static str> {
    match digest {
        Digest::Sha256 => Ok(&RSA_PSS_SHA256),
        Digest::Sha384 => Ok(&RSA_PSS_SHA384),
        Digest::Sha512 => Ok(&RSA_PSS_SHA512),
        Digest::Md5 | Digest::Sha1 | Digest::Sha3_512 | Digest::Keccak256 => {
            Err("nothing new is signed with this digest")
        }
    }
}

fn rsa(
    der: &[u8],
    padding: &'static dyn RsaEncoding,
    message: &[u8],
    random: &SystemRandom,
) -> Result<Vec<u8>, &'static str> {
    let pair = RsaKeyPair::from_pkcs8(der)
        .or_else(|_| RsaKeyPair::from_der(der))
        .map_err(|_| NOT_A_KEY)?;
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, random, message, &mut signature)
        .map_err(|_| "it could not be signed")?;
    Ok(signature)
}

fn ecdsa(
    der: &[u8],
    algorithm: &'static EcdsaSigningAlgorithm,
    message: &[u8],
) -> Result<Vec<u8>, &'static str> {
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der)
        .or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, der))
        .map_err(|_| NOT_A_KEY)?;
    let signature = pair
        .sign(&SystemRandom::new(), message)
        .map_err(|_| "it could not be signed")?;
    Ok(signature.as_ref().to_vec())
}
