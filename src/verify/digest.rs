//! Digests, fed in pieces. Which of them is sound for what is the provider file's business: it has
//! to say why it uses a weak one.

use aws_lc_rs::digest;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use sha3::{Keccak256, Sha3_512};

use crate::rule::provider::Digest;

/// A digest on its way.
///
/// Two libraries, for speed: over 1.5 KB the pure one is about a tenth faster for SHA-1 and
/// SHA-256 (the processor has instructions for these), the other up to a third for SHA-384 and
/// SHA-512.
#[derive(Clone)]
pub struct Hasher(Inner);

#[derive(Clone)]
enum Inner {
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    /// SHA-384 and SHA-512.
    Wide(digest::Context),
    Sha3_512(Sha3_512),
    Keccak256(Keccak256),
}

impl Hasher {
    pub fn new(kind: Digest) -> Hasher {
        Hasher(match kind {
            Digest::Md5 => Inner::Md5(Md5::new()),
            Digest::Sha1 => Inner::Sha1(Sha1::new()),
            Digest::Sha256 => Inner::Sha256(Sha256::new()),
            Digest::Sha384 => Inner::Wide(digest::Context::new(&digest::SHA384)),
            Digest::Sha512 => Inner::Wide(digest::Context::new(&digest::SHA512)),
            Digest::Sha3_512 => Inner::Sha3_512(Sha3_512::new()),
            Digest::Keccak256 => Inner::Keccak256(Keccak256::new()),
        })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Md5(state) => state.update(bytes),
            Inner::Sha1(state) => state.update(bytes),
            Inner::Sha256(state) => state.update(bytes),
            Inner::Wide(state) => state.update(bytes),
            Inner::Sha3_512(state) => state.update(bytes),
            Inner::Keccak256(state) => state.update(bytes),
        }
    }

    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            Inner::Md5(state) => state.finalize().to_vec(),
            Inner::Sha1(state) => state.finalize().to_vec(),
            Inner::Sha256(state) => state.finalize().to_vec(),
            Inner::Wide(state) => state.finish().as_ref().to_vec(),
            Inner::Sha3_512(state) => state.finalize().to_vec(),
            Inner::Keccak256(state) => state.finalize().to_vec(),
        }
    }
}

/// The digest of one piece: its bytes, 16 to 64 of them.
pub fn digest(kind: Digest, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(kind);
    hasher.update(bytes);
    hasher.finish()
}

/// CRC-32 (ISO-HDLC, the one of zlib and Ethernet) as decimal text, as PayPal signs it.
pub fn crc32_text(bytes: &[u8]) -> String {
    crc32fast::hash(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    /// `abc`, from RFC 1321, FIPS 180-4 and FIPS 202; Keccak-256 as Ethereum's libraries
    /// (web3.js, ethers) give it.
    const ABC: [(Digest, &str); 7] = [
        (Digest::Md5, "900150983cd24fb0d6963f7d28e17f72"),
        (Digest::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            Digest::Sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            Digest::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
             8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            Digest::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (
            Digest::Sha3_512,
            "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e\
             10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
        ),
        (
            Digest::Keccak256,
            "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
        ),
    ];

    #[test]
    fn known_answers_in_one_piece_and_in_several() {
        for (kind, answer) in ABC {
            assert_eq!(HEXLOWER.encode(&digest(kind, b"abc")), answer, "{kind:?}");
            let mut hasher = Hasher::new(kind);
            hasher.update(b"a");
            let mut other = hasher.clone();
            hasher.update(b"");
            hasher.update(b"bc");
            assert_eq!(HEXLOWER.encode(&hasher.finish()), answer, "{kind:?}");
            other.update(b"bd");
            assert_ne!(HEXLOWER.encode(&other.finish()), answer, "{kind:?}");
        }
    }

    #[test]
    fn crc32_is_the_common_one() {
        // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32_text(b"123456789"), 0xcbf4_3926_u32.to_string());
        assert_eq!(crc32_text(b""), "0");
    }
}
