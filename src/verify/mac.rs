//! Secrets compared and codes made, where no message has to be fed in pieces.

use aws_lc_rs::{constant_time, hmac};

use crate::rule::scheme::Digest;

/// True when the two are equal. The time taken depends on their lengths alone.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// An HMAC of some bytes; none for a digest that has no HMAC here.
pub fn mac(kind: Digest, key: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let algorithm = match kind {
        Digest::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Digest::Sha256 => hmac::HMAC_SHA256,
        Digest::Sha384 => hmac::HMAC_SHA384,
        Digest::Sha512 => hmac::HMAC_SHA512,
        Digest::Md5 | Digest::Sha3_512 | Digest::Keccak256 => return None,
    };
    let key = hmac::Key::new(algorithm, key);
    Some(hmac::sign(&key, bytes).as_ref().to_vec())
}
