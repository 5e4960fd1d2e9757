//! The algorithms, each with its key parsed once. A message is fed in pieces; the verdict on a
//! candidate is constant in time where a secret is involved.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::ParsedPublicKey;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::rule::provider::Encoding;

/// Material that can verify.
#[derive(Clone)]
pub enum KeyMaterial {
    /// Keyed and ready: cloning it is what starts a message.
    HmacSha256(Box<Hmac<Sha256>>),
    RsaSha256(ParsedPublicKey),
}

impl KeyMaterial {
    pub fn hmac_sha256(key: &[u8]) -> KeyMaterial {
        // Documented: HMAC takes keys of any length.
        #[expect(
            clippy::expect_used,
            reason = "HMAC takes keys of any length (RFC 2104)"
        )]
        let mac = Hmac::new_from_slice(key).expect("a key of any length");
        KeyMaterial::HmacSha256(Box::new(mac))
    }

    /// Starts a message.
    pub fn begin(&self) -> Running<'_> {
        match self {
            KeyMaterial::HmacSha256(mac) => Running::HmacSha256(mac.clone()),
            KeyMaterial::RsaSha256(key) => {
                Running::RsaSha256(key, digest::Context::new(&digest::SHA256))
            }
        }
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyMaterial::HmacSha256(_) => f.write_str("HmacSha256(…)"),
            KeyMaterial::RsaSha256(_) => f.write_str("RsaSha256(…)"),
        }
    }
}

/// A message on its way through one key.
pub enum Running<'k> {
    HmacSha256(Box<Hmac<Sha256>>),
    RsaSha256(&'k ParsedPublicKey, digest::Context),
}

impl<'k> Running<'k> {
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::HmacSha256(mac) => mac.update(bytes),
            Running::RsaSha256(_, context) => context.update(bytes),
        }
    }

    pub fn finish(self) -> Finished<'k> {
        match self {
            Running::HmacSha256(mac) => Finished::HmacSha256(mac),
            Running::RsaSha256(key, context) => Finished::RsaSha256(key, context.finish()),
        }
    }
}

/// A whole message under one key.
pub enum Finished<'k> {
    HmacSha256(Box<Hmac<Sha256>>),
    RsaSha256(&'k ParsedPublicKey, digest::Digest),
}

impl Finished<'_> {
    /// True when `signature` (decoded bytes, all of them) was made by this key over this message.
    pub fn verify(&self, signature: &[u8]) -> bool {
        match self {
            Finished::HmacSha256(mac) => mac.clone().verify_slice(signature).is_ok(),
            Finished::RsaSha256(key, digest) => key.verify_digest_sig(digest, signature).is_ok(),
        }
    }
}

/// The bytes of a written signature. Strict: no other text gives the same bytes.
pub fn decode(encoding: Encoding, text: &[u8]) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => HEXLOWER.decode(text).ok(),
        Encoding::Base64 => base64(text),
        Encoding::Base64Url => BASE64URL_NOPAD.decode(text).ok(),
    }
}

/// Padded base64. The library's own reader of it would also take several texts in a row.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let bare = text
        .strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text);
    BASE64_NOPAD
        .decode(bare)
        .ok()
        .filter(|_| text.len().is_multiple_of(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_takes_a_message_in_pieces_and_wants_the_whole_tag() {
        // RFC 4231, test case 2.
        let key = KeyMaterial::hmac_sha256(b"Jefe");
        let mut running = key.begin();
        for piece in [&b"what do ya want "[..], b"", b"for nothing?"] {
            running.update(piece);
        }
        let finished = running.finish();
        let tag = decode(
            Encoding::Hex,
            b"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        )
        .unwrap();
        assert!(finished.verify(&tag));
        for length in 0..tag.len() {
            assert!(
                !finished.verify(&tag[..length]),
                "{length} bytes of the tag"
            );
        }
        assert!(!finished.verify(&[tag.clone(), vec![0]].concat()));
        for bit in 0..256 {
            let mut other = tag.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!finished.verify(&other));
        }
    }

    #[test]
    fn one_text_for_one_signature() {
        assert_eq!(decode(Encoding::Hex, b"00ff"), Some(vec![0, 255]));
        for bad in ["00FF", "00f", "00fg", " 00ff", "0x00ff"] {
            assert_eq!(decode(Encoding::Hex, bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decode(Encoding::Base64, b"AA=="), Some(vec![0]));
        for bad in [
            "AA", "AA=", "AB==", "A A==", "AA==\n", "__8=", "AA==AA==", "AA==AAAA", "AAA==",
            "AAAA=", "AAAA==", "====",
        ] {
            assert_eq!(decode(Encoding::Base64, bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decode(Encoding::Base64Url, b"__8"), Some(vec![255, 255]));
        for bad in ["__8=", "//8", "__9"] {
            assert_eq!(decode(Encoding::Base64Url, bad.as_bytes()), None, "{bad}");
        }
    }
}
