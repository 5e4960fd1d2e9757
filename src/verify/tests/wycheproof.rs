//! Google's Wycheproof vectors through our own material: signatures that look right and are not.
//!
//! Where the vectors leave the verdict open (`acceptable`), it is written down here.

use wycheproof::{HashFunction, TestResult, aead, cipher, ecdsa, eddsa, mac};
use wycheproof::{rsa_pkcs1_verify, rsa_pss_verify};

use crate::rule::provider::{Algorithm, Curve, Digest};
use crate::verify::decrypt::{Cipher, decrypt};
use crate::verify::digest::digest;
use crate::verify::pkcs1::Numbers;
use crate::verify::primitive::KeyMaterial;
use crate::verify::public_key::{PublicForm, load};

/// The open cases: what flags them, whether we accept, and why.
const OPEN: [(&str, bool, &str); 1] = [(
    "MissingNull",
    false,
    "the DigestInfo without its NULL is not the one that RFC 8017 has signers write",
)];

/// Counts verdicts, so that a test that compares nothing is noticed.
#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
}

impl Tally {
    /// Compares our verdict with that of the vectors.
    fn compare(&mut self, result: TestResult, flags: &str, ours: bool, what: &str) {
        let wanted = match result {
            TestResult::Valid => true,
            TestResult::Invalid => false,
            TestResult::Acceptable => {
                let found = OPEN.iter().find(|(flag, _, _)| flags.contains(flag));
                let (_, accepted, _) = found.unwrap_or_else(|| panic!("undecided: {flags} {what}"));
                *accepted
            }
        };
        self.must(wanted, ours, &format!("{what} {flags}"));
    }

    fn must(&mut self, wanted: bool, ours: bool, what: &str) {
        assert_eq!(ours, wanted, "{what}");
        match ours {
            true => self.accepted += 1,
            false => self.refused += 1,
        }
    }

    fn at_least(&self, accepted: usize, refused: usize) {
        let enough = self.accepted >= accepted && self.refused >= refused;
        assert!(
            enough,
            "{} accepted, {} refused",
            self.accepted, self.refused
        );
    }
}

fn signed(key: &KeyMaterial, message: &[u8], signature: &[u8]) -> bool {
    let mut running = key.begin();
    let (start, end) = message.split_at(message.len() / 3);
    running.update(start);
    running.update(end);
    running.finish().verify(signature)
}

fn public(algorithm: Algorithm, der: &[u8]) -> Option<KeyMaterial> {
    let loaded = load(algorithm, PublicForm::Der, der);
    loaded.ok().map(|key| key.material)
}

#[test]
fn hmac() {
    use mac::TestName;
    let sets = [
        (TestName::HmacSha1, Digest::Sha1, 160),
        (TestName::HmacSha256, Digest::Sha256, 256),
        (TestName::HmacSha384, Digest::Sha384, 384),
        (TestName::HmacSha512, Digest::Sha512, 512),
        (TestName::HmacSha3_512, Digest::Sha3_512, 512),
    ];
    for (name, digest, whole) in sets {
        let mut tally = Tally::default();
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let what = format!("{name:?} {}", test.tc_id);
                let key = KeyMaterial::new(Algorithm::Hmac(digest), &test.key).unwrap();
                let ours = signed(&key, &test.msg, &test.tag);
                match group.tag_size == whole {
                    true => tally.compare(test.result, &format!("{:?}", test.flags), ours, &what),
                    // Half a tag is none, however right it is.
                    false => tally.must(false, ours, &what),
                }
            }
        }
        tally.at_least(30, 130);
    }
}

#[test]
fn rsa_pkcs1() {
    use rsa_pkcs1_verify::TestName;
    let mut tally = Tally::default();
    for (name, digest) in [
        (TestName::Rsa2048Sha256, Digest::Sha256),
        (TestName::Rsa2048Sha384, Digest::Sha384),
        (TestName::Rsa2048Sha512, Digest::Sha512),
        (TestName::Rsa3072Sha256, Digest::Sha256),
        (TestName::Rsa3072Sha384, Digest::Sha384),
        (TestName::Rsa3072Sha512, Digest::Sha512),
        (TestName::Rsa4096Sha256, Digest::Sha256),
        (TestName::Rsa4096Sha384, Digest::Sha384),
        (TestName::Rsa4096Sha512, Digest::Sha512),
        (TestName::Rsa8192Sha256, Digest::Sha256),
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = public(Algorithm::Rsa(digest), &group.der);
            for test in group.tests {
                let what = format!("{name:?} {} {}", test.tc_id, test.comment);
                let ours = key
                    .as_ref()
                    .is_some_and(|k| signed(k, &test.msg, &test.sig));
                tally.compare(test.result, &format!("{:?}", test.flags), ours, &what);
            }
        }
    }
    tally.at_least(60, 2000);
}

/// Our own arithmetic, which only MD5 needs, with a digest that has vectors.
#[test]
fn rsa_by_our_own_arithmetic() {
    /// RFC 8017, 9.2, note 1.
    const SHA256_INFO: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    use rsa_pkcs1_verify::TestName;
    let mut tally = Tally::default();
    for name in [TestName::Rsa2048Sha256, TestName::Rsa3072Sha256] {
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = Numbers::new(&group.key.n, &group.key.e);
            for test in group.tests {
                let what = format!("{name:?} {} {}", test.tc_id, test.comment);
                let hash = digest(Digest::Sha256, &test.msg);
                let ours = key.verify(&SHA256_INFO, &hash, &test.sig);
                tally.compare(test.result, &format!("{:?}", test.flags), ours, &what);
            }
        }
    }
    tally.at_least(10, 400);
}

#[test]
fn rsa_pss() {
    use rsa_pss_verify::TestName;
    let mut tally = Tally::default();
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss3072Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha256Mgf1SaltLen32,
        TestName::RsaPss2048Sha384Mgf1SaltLen48,
        TestName::RsaPss4096Sha384Mgf1SaltLen48,
        TestName::RsaPss4096Sha512Mgf1SaltLen64,
        // Other salts and other digests inside: right signatures, but not of these algorithms.
        TestName::RsaPss2048Sha256Mgf1SaltLen0,
        TestName::RsaPss4096Sha512Mgf1SaltLen32,
        TestName::RsaPss2048Sha256Mgf1Sha1_20,
        TestName::RsaPssmisc,
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let (digest, salt) = match group.hash {
                HashFunction::Sha2_256 => (Digest::Sha256, 32),
                HashFunction::Sha2_384 => (Digest::Sha384, 48),
                HashFunction::Sha2_512 => (Digest::Sha512, 64),
                _ => continue,
            };
            let pinned = group.salt_size == salt && group.mgf_hash == Some(group.hash);
            let key = public(Algorithm::RsaPss(digest), &group.der);
            for test in group.tests {
                let what = format!("{name:?} {} {}", test.tc_id, test.comment);
                let ours = key
                    .as_ref()
                    .is_some_and(|k| signed(k, &test.msg, &test.sig));
                match pinned {
                    true => tally.compare(test.result, &format!("{:?}", test.flags), ours, &what),
                    false if test.result == TestResult::Valid => tally.must(false, ours, &what),
                    // A signature that has our salt after all is wrong for them and right for us.
                    false => {}
                }
            }
        }
    }
    tally.at_least(200, 300);
}

#[test]
fn ecdsa() {
    use ecdsa::TestName;
    for (name, algorithm) in [
        (
            TestName::EcdsaSecp256r1Sha256,
            Algorithm::Ecdsa(Curve::P256),
        ),
        (
            TestName::EcdsaSecp384r1Sha384,
            Algorithm::Ecdsa(Curve::P384),
        ),
        (
            TestName::EcdsaSecp256r1Sha256P1363,
            Algorithm::EcdsaRaw(Curve::P256),
        ),
        (
            TestName::EcdsaSecp384r1Sha384P1363,
            Algorithm::EcdsaRaw(Curve::P384),
        ),
    ] {
        let mut tally = Tally::default();
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let key = public(algorithm, &group.der).unwrap();
            for test in group.tests {
                let what = format!("{name:?} {} {}", test.tc_id, test.comment);
                let ours = signed(&key, &test.msg, &test.sig);
                tally.compare(test.result, &format!("{:?}", test.flags), ours, &what);
            }
        }
        tally.at_least(100, 70);
    }
}

#[test]
fn ed25519() {
    let mut tally = Tally::default();
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for group in set.test_groups {
        let key = public(Algorithm::Ed25519, &group.der).unwrap();
        for test in group.tests {
            let what = format!("{} {}", test.tc_id, test.comment);
            let ours = signed(&key, &test.msg, &test.sig);
            tally.compare(test.result, &format!("{:?}", test.flags), ours, &what);
        }
    }
    tally.at_least(80, 50);
}

#[test]
fn aes_gcm() {
    let mut tally = Tally::default();
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    for group in set.test_groups {
        let cipher = match group.key_size {
            128 => Cipher::Aes128Gcm,
            256 => Cipher::Aes256Gcm,
            _ => continue,
        };
        let pinned = group.nonce_size == 96 && group.tag_size == 128;
        for test in group.tests {
            let what = format!("{} {}", test.tc_id, test.comment);
            let data = [&test.ct[..], &test.tag[..]].concat();
            let opened = decrypt(cipher, &test.key, &test.nonce, &test.aad, &data);
            let ours = opened.is_ok();
            match pinned {
                true => tally.compare(test.result, &format!("{:?}", test.flags), ours, &what),
                // Other nonces than those of RFC 5116.
                false => tally.must(false, ours, &what),
            }
            if let Ok(plain) = opened {
                assert_eq!(plain, &test.pt[..], "{what}");
            }
        }
    }
    tally.at_least(70, 120);
}

#[test]
fn aes_cbc() {
    let mut tally = Tally::default();
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap();
    for group in set.test_groups {
        let cipher = match group.key_size {
            128 => Cipher::Aes128Cbc,
            256 => Cipher::Aes256Cbc,
            _ => continue,
        };
        for test in group.tests {
            let what = format!("{} {}", test.tc_id, test.comment);
            let opened = decrypt(cipher, &test.key, &test.nonce, b"", &test.ct);
            let ours = opened.is_ok();
            tally.compare(test.result, &format!("{:?}", test.flags), ours, &what);
            if let Ok(plain) = opened {
                assert_eq!(plain, &test.pt[..], "{what}");
            }
        }
    }
    tally.at_least(40, 70);
}
