//! The algorithms, each with its key parsed once. A message is fed in pieces; the verdict on a
//! candidate is constant in time where a secret is involved.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::signature::ParsedPublicKey;
use aws_lc_rs::{digest, hmac as wide};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE, HEXUPPER};
use hmac::{Hmac, KeyInit, Mac as _, SimpleHmac};
use sha1::Sha1;
use sha2::Sha256;
use sha3::Sha3_512;
use smallvec::SmallVec;

use crate::rule::provider::{Algorithm, Digest, Encoding};
use crate::verify::digest::Hasher;
use crate::verify::pkcs1::{MD5_INFO, Numbers};

/// A tag, or a signature as it was written down, decoded: most fit in here, and cost no allocation.
pub type Octets = SmallVec<[u8; 64]>;

/// Material that can verify.
#[derive(Clone)]
pub struct KeyMaterial(Material);

#[derive(Clone)]
enum Material {
    Mac(Mac),
    Keyed(Digest),
    /// RSA and ECDSA: the digest of the message is signed.
    Digested(&'static digest::Algorithm, ParsedPublicKey),
    RsaMd5(Arc<Numbers>),
    Ed25519(ParsedPublicKey),
    /// Digest of the one text that is accepted.
    Exact([u8; 32]),
}

/// HMAC, keyed and ready: cloning it is what starts a message. Two libraries, for speed: see
/// [`Hasher`].
#[derive(Clone)]
enum Mac {
    Sha1(Box<Hmac<Sha1>>),
    Sha256(Box<Hmac<Sha256>>),
    Sha3_512(Box<SimpleHmac<Sha3_512>>),
    /// SHA-384 and SHA-512.
    Wide(Box<wide::Context>),
}

impl KeyMaterial {
    /// The material of an algorithm with a shared secret. None when the algorithm takes a public
    /// key ([`super::public_key`]), is a family whose member the caller has to name (`jws`,
    /// `http-signature`) or is no HMAC of ours, and when the secret is empty: everybody knows that
    /// one.
    pub fn new(algorithm: Algorithm, secret: &[u8]) -> Option<KeyMaterial> {
        if secret.is_empty() {
            return None;
        }
        let material = match algorithm {
            Algorithm::Hmac(digest) => Material::Mac(Mac::new(digest, secret)?),
            // The key is a part of the message, which the caller feeds.
            Algorithm::Keyed(digest) => Material::Keyed(digest),
            Algorithm::Token | Algorithm::Basic => Material::Exact(sha256(secret)),
            Algorithm::Rsa(_)
            | Algorithm::RsaPss(_)
            | Algorithm::Ecdsa(_)
            | Algorithm::EcdsaRaw(_)
            | Algorithm::Ed25519
            | Algorithm::Jws
            | Algorithm::HttpSignature => return None,
        };
        Some(KeyMaterial(material))
    }

    /// RSA or ECDSA over this digest of the message.
    pub(super) fn digested(over: &'static digest::Algorithm, key: ParsedPublicKey) -> KeyMaterial {
        KeyMaterial(Material::Digested(over, key))
    }

    pub(super) fn rsa_md5(numbers: Numbers) -> KeyMaterial {
        KeyMaterial(Material::RsaMd5(Arc::new(numbers)))
    }

    pub(super) fn ed25519(key: ParsedPublicKey) -> KeyMaterial {
        KeyMaterial(Material::Ed25519(key))
    }

    /// Starts a message.
    pub fn begin(&self) -> Running<'_> {
        Running(match &self.0 {
            Material::Mac(mac) => Message::Mac(mac.clone()),
            Material::Keyed(digest) => Message::Keyed(Box::new(Hasher::new(*digest))),
            Material::Digested(over, key) => {
                Message::Digested(key, Box::new(digest::Context::new(over)))
            }
            Material::RsaMd5(key) => Message::RsaMd5(key, Box::new(Hasher::new(Digest::Md5))),
            Material::Ed25519(key) => Message::Ed25519(key, Vec::new()),
            Material::Exact(wanted) => Message::Exact(wanted),
        })
    }
}

impl Mac {
    fn new(digest: Digest, key: &[u8]) -> Option<Mac> {
        // HMAC takes keys of any length (RFC 2104), so none of these is refused.
        Some(match digest {
            Digest::Sha1 => Mac::Sha1(Box::new(Hmac::new_from_slice(key).ok()?)),
            Digest::Sha256 => Mac::Sha256(Box::new(Hmac::new_from_slice(key).ok()?)),
            Digest::Sha3_512 => Mac::Sha3_512(Box::new(SimpleHmac::new_from_slice(key).ok()?)),
            Digest::Sha384 => Mac::wide(wide::HMAC_SHA384, key),
            Digest::Sha512 => Mac::wide(wide::HMAC_SHA512, key),
            // Nobody signs callbacks with these.
            Digest::Md5 | Digest::Keccak256 => return None,
        })
    }

    fn wide(algorithm: wide::Algorithm, key: &[u8]) -> Mac {
        Mac::Wide(Box::new(wide::Context::with_key(&wide::Key::new(
            algorithm, key,
        ))))
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Mac::Sha1(mac) => mac.update(bytes),
            Mac::Sha256(mac) => mac.update(bytes),
            Mac::Sha3_512(mac) => mac.update(bytes),
            Mac::Wide(mac) => mac.update(bytes),
        }
    }

    fn finish(self) -> Octets {
        match self {
            Mac::Sha1(mac) => Octets::from_slice(&mac.finalize().into_bytes()),
            Mac::Sha256(mac) => Octets::from_slice(&mac.finalize().into_bytes()),
            Mac::Sha3_512(mac) => Octets::from_slice(&mac.finalize().into_bytes()),
            Mac::Wide(mac) => Octets::from_slice(mac.sign().as_ref()),
        }
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Material::Mac(_) => "Mac(…)",
            Material::Keyed(_) => "Keyed(…)",
            Material::Digested(_, _) => "Digested(…)",
            Material::RsaMd5(_) => "RsaMd5(…)",
            Material::Ed25519(_) => "Ed25519(…)",
            Material::Exact(_) => "Exact(…)",
        })
    }
}

/// A message on its way through one key. Small: it is handed on, and what is large lies behind it.
pub struct Running<'k>(Message<'k>);

enum Message<'k> {
    Mac(Mac),
    Keyed(Box<Hasher>),
    Digested(&'k ParsedPublicKey, Box<digest::Context>),
    RsaMd5(&'k Numbers, Box<Hasher>),
    /// Ed25519 goes over the message twice, so all of it is kept.
    Ed25519(&'k ParsedPublicKey, Vec<u8>),
    /// A token signs no message.
    Exact(&'k [u8; 32]),
}

impl<'k> Running<'k> {
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Message::Mac(mac) => mac.update(bytes),
            Message::Keyed(hasher) | Message::RsaMd5(_, hasher) => hasher.update(bytes),
            Message::Digested(_, context) => context.update(bytes),
            Message::Ed25519(_, message) => message.extend_from_slice(bytes),
            Message::Exact(_) => {}
        }
    }

    pub fn finish(self) -> Finished<'k> {
        Finished(match self.0 {
            Message::Mac(mac) => Whole::Tag(mac.finish()),
            Message::Keyed(hasher) => Whole::Tag(Octets::from_vec(hasher.finish())),
            Message::Digested(key, context) => Whole::Digested(key, context.finish()),
            Message::RsaMd5(key, hasher) => Whole::RsaMd5(key, hasher.finish()),
            Message::Ed25519(key, message) => Whole::Ed25519(key, message),
            Message::Exact(wanted) => Whole::Exact(wanted),
        })
    }
}

/// A whole message under one key.
pub struct Finished<'k>(Whole<'k>);

enum Whole<'k> {
    /// What the signature must be.
    Tag(Octets),
    Digested(&'k ParsedPublicKey, digest::Digest),
    RsaMd5(&'k Numbers, Vec<u8>),
    Ed25519(&'k ParsedPublicKey, Vec<u8>),
    Exact(&'k [u8; 32]),
}

impl Finished<'_> {
    /// True when `signature` (decoded bytes, all of them) was made by this key over this message.
    pub fn verify(&self, signature: &[u8]) -> bool {
        match &self.0 {
            Whole::Tag(tag) => equal(tag, signature),
            Whole::Digested(key, digest) => key.verify_digest_sig(digest, signature).is_ok(),
            Whole::RsaMd5(key, digest) => key.verify(&MD5_INFO, digest, signature),
            Whole::Ed25519(key, message) => key.verify_sig(message, signature).is_ok(),
            // Digests are compared, so that the time says nothing of the secret's length.
            Whole::Exact(wanted) => equal(*wanted, &sha256(signature)),
        }
    }
}

/// Constant in time for texts of the same length; the lengths are public here.
fn equal(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    Sha256::digest(bytes).into()
}

/// The bytes of a written signature. Strict: no other text gives the same bytes, but for `HexAny`.
pub fn decode(encoding: Encoding, text: &[u8]) -> Option<Octets> {
    match encoding {
        Encoding::Hex => decoded(&HEXLOWER, text),
        Encoding::HexUpper => decoded(&HEXUPPER, text),
        Encoding::HexAny => decoded(&HEXLOWER_PERMISSIVE, text),
        Encoding::Base64 => base64(text),
        Encoding::Base64Url => decoded(&BASE64URL_NOPAD, text),
        Encoding::Text => Some(Octets::from_slice(text)),
    }
}

fn decoded(encoding: &data_encoding::Encoding, text: &[u8]) -> Option<Octets> {
    let mut bytes = Octets::from_elem(0, encoding.decode_len(text.len()).ok()?);
    let length = encoding.decode_mut(text, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// Padded base64. The library's own reader of it would also take several texts in a row.
pub(super) fn base64(text: &[u8]) -> Option<Octets> {
    let bare = text
        .strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text);
    decoded(&BASE64_NOPAD, bare).filter(|_| text.len().is_multiple_of(4))
}
