//! RSA signatures over digests that the TLS library does not take: MD5, which a few providers of
//! the year 2005 still sign with. PKCS#1 v1.5 (RFC 8017, 8.2.2), by the public operation alone.
//!
//! Nothing here is secret, so plain arithmetic is enough. The padding is not parsed: the one block
//! that a signer may have padded is built and compared as a whole, which is what keeps forgeries
//! by loose parsing out (Bleichenbacher 2006).

use num_bigint::BigUint;

/// DER of `DigestInfo` before the digest's own bytes (RFC 8017, 9.2, note 1).
pub const MD5_INFO: [u8; 18] = [
    0x30, 0x20, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05, 0x05, 0x00,
    0x04, 0x10,
];

/// An RSA public key as numbers; its size has been checked where it was loaded.
#[derive(Debug)]
pub struct Numbers {
    modulus: BigUint,
    exponent: BigUint,
    /// Bytes of the modulus.
    length: usize,
}

impl Numbers {
    /// From big-endian bytes.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Numbers {
        let modulus = BigUint::from_bytes_be(modulus);
        let length = usize::try_from(modulus.bits().div_ceil(8)).unwrap_or(0);
        Numbers {
            exponent: BigUint::from_bytes_be(exponent),
            modulus,
            length,
        }
    }

    /// True when `signature` is this key's over `digest`, whose `DigestInfo` begins with `info`.
    pub fn verify(&self, info: &[u8], digest: &[u8], signature: &[u8]) -> bool {
        // Exactly as long as the modulus, and below it: otherwise one signature had several texts.
        if signature.len() != self.length {
            return false;
        }
        let number = BigUint::from_bytes_be(signature);
        if number >= self.modulus {
            return false;
        }
        let Some(wanted) = self.padded(info, digest) else {
            return false;
        };
        // As numbers: a leading zero byte is all that this leaves out, and the length is fixed.
        number.modpow(&self.exponent, &self.modulus) == BigUint::from_bytes_be(&wanted)
    }

    /// 00 01 FF … FF 00, then the `DigestInfo`; at least eight FF.
    fn padded(&self, info: &[u8], digest: &[u8]) -> Option<Vec<u8>> {
        let filler = self
            .length
            .checked_sub(info.len() + digest.len() + 3)
            .filter(|filler| *filler >= 8)?;
        let mut block = Vec::with_capacity(self.length);
        block.extend([0, 1]);
        block.resize(2 + filler, 0xff);
        block.push(0);
        block.extend(info);
        block.extend(digest);
        Some(block)
    }
}
