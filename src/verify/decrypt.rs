//! Parts of a callback that the provider encrypts for us: AES, with a key that both know. What is
//! decrypted was signed as a whole, or carries its own tag (GCM).
//!
//! Whatever is wrong, the answer is the same, so that nobody learns a plaintext by asking often
//! (padding oracles).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;

pub use crate::rule::scheme::Cipher;

/// It was not encrypted with this key and these values, or was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecipherable;

/// The plaintext of `data`. Key and nonce must have their exact lengths; `aad` must be empty for
/// a cipher that does not authenticate.
pub fn decrypt(
    cipher: Cipher,
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    data: &[u8],
) -> Result<Vec<u8>, Undecipherable> {
    let fits = nonce.len() == cipher.nonce_length()
        && key.len() == cipher.key_length()
        && (cipher.is_authenticated() || aad.is_empty());
    if !fits {
        return Err(Undecipherable);
    }
    open(cipher, key, nonce, aad, data.to_vec()).map_err(|Unspecified| Undecipherable)
}

/// The inverse, for test callbacks of our own.
pub fn encrypt(
    cipher: Cipher,
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, Undecipherable> {
    let fits = nonce.len() == cipher.nonce_length() && key.len() == cipher.key_length();
    if !fits {
        return Err(Undecipherable);
    }
    seal(cipher, key, nonce, aad, plain.to_vec()).map_err(|Unspecified| Undecipherable)
}

fn seal(
    cipher: Cipher,
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    mut data: Vec<u8>,
) -> Result<Vec<u8>, Unspecified> {
    let block = |algorithm| UnboundCipherKey::new(algorithm, key);
    let vector = || FixedLength::<16>::try_from(nonce).map(EncryptionContext::Iv128);
    match cipher {
        Cipher::Aes256Gcm | Cipher::Aes128Gcm => {
            let algorithm = match cipher {
                Cipher::Aes256Gcm => &AES_256_GCM,
                _ => &AES_128_GCM,
            };
            let key = LessSafeKey::new(UnboundKey::new(algorithm, key)?);
            let nonce = Nonce::try_assume_unique_for_key(nonce)?;
            key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut data)?;
        }
        Cipher::Aes256Cbc => {
            let key = PaddedBlockEncryptingKey::cbc_pkcs7(block(&AES_256)?)?;
            key.less_safe_encrypt(&mut data, vector()?)?;
        }
        Cipher::Aes128Cbc => {
            let key = PaddedBlockEncryptingKey::cbc_pkcs7(block(&AES_128)?)?;
            key.less_safe_encrypt(&mut data, vector()?)?;
        }
        Cipher::Aes256Ecb => {
            PaddedBlockEncryptingKey::ecb_pkcs7(block(&AES_256)?)?.encrypt(&mut data)?;
        }
    }
    Ok(data)
}

fn open(
    cipher: Cipher,
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    mut data: Vec<u8>,
) -> Result<Vec<u8>, Unspecified> {
    let block = |algorithm| UnboundCipherKey::new(algorithm, key);
    let vector = || FixedLength::<16>::try_from(nonce).map(DecryptionContext::Iv128);
    let length = match cipher {
        Cipher::Aes256Gcm | Cipher::Aes128Gcm => {
            let algorithm = match cipher {
                Cipher::Aes256Gcm => &AES_256_GCM,
                _ => &AES_128_GCM,
            };
            let key = LessSafeKey::new(UnboundKey::new(algorithm, key)?);
            let nonce = Nonce::try_assume_unique_for_key(nonce)?;
            key.open_in_place(nonce, Aad::from(aad), &mut data)?.len()
        }
        Cipher::Aes256Cbc => PaddedBlockDecryptingKey::cbc_pkcs7(block(&AES_256)?)?
            .decrypt(&mut data, vector()?)?
            .len(),
        Cipher::Aes128Cbc => PaddedBlockDecryptingKey::cbc_pkcs7(block(&AES_128)?)?
            .decrypt(&mut data, vector()?)?
            .len(),
        Cipher::Aes256Ecb => PaddedBlockDecryptingKey::ecb_pkcs7(block(&AES_256)?)?
            .decrypt(&mut data, DecryptionContext::None)?
            .len(),
    };
    data.truncate(length);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::{BASE64, HEXLOWER};

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    const KEY_128: &str = "2b7e151628aed2a6abf7158809cf4f3c";
    const KEY_256: &str = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
    const VECTOR: &str = "000102030405060708090a0b0c0d0e0f";
    /// NIST SP 800-38A, appendix F: the first two blocks.
    const BLOCKS: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";

    /// NIST SP 800-38A, F.1.5, F.2.5 and F.2.1; the third block, of padding alone, is OpenSSL's.
    const PADDED: [(Cipher, &str, &str, &str); 3] = [
        (
            Cipher::Aes256Ecb,
            KEY_256,
            "",
            "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a313628704c45dfb3b3b484ec35b0512dc8c1c4d6",
        ),
        (
            Cipher::Aes256Cbc,
            KEY_256,
            VECTOR,
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d3a3aa5e0213db1a9901f9036cf5102d2",
        ),
        (
            Cipher::Aes128Cbc,
            KEY_128,
            VECTOR,
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b255e21d7100b988ffec32feeafaf23538",
        ),
    ];

    #[test]
    fn blocks_of_nist_with_their_padding() {
        for (cipher, key, vector, data) in PADDED {
            let (key, vector, data) = (hex(key), hex(vector), hex(data));
            let found = decrypt(cipher, &key, &vector, b"", &data);
            assert_eq!(found, Ok(hex(BLOCKS)), "{cipher:?}");
            // Without the padding the last block is none, and half a block is no block.
            for length in [0, 8, 16, 32, 40, 47] {
                let found = decrypt(cipher, &key, &vector, b"", &data[..length]);
                assert_eq!(found, Err(Undecipherable), "{cipher:?} {length}");
            }
            let mut spoiled = data.clone();
            *spoiled.last_mut().unwrap() ^= 1;
            assert!(decrypt(cipher, &key, &vector, b"", &spoiled).is_err());
            assert!(decrypt(cipher, &key, &vector, b"x", &data).is_err());
            assert!(decrypt(cipher, &key[1..], &vector, b"", &data).is_err());
            assert!(decrypt(cipher, &key, &[&vector[..], &[0]].concat(), b"", &data).is_err());
        }
    }

    /// The GCM paper of McGrew and Viega, which NIST took over: test cases 4 and 16.
    const GCM: [(Cipher, &str, &str); 2] = [
        (
            Cipher::Aes128Gcm,
            "feffe9928665731c6d6a8f9467308308",
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091\
             5bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            Cipher::Aes256Gcm,
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662\
             76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ];

    #[test]
    fn gcm_opens_only_what_was_sealed() {
        let plain = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let nonce = hex("cafebabefacedbaddecaf888");
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        for (cipher, key, data) in GCM {
            let (key, data) = (hex(key), hex(data));
            assert_eq!(
                decrypt(cipher, &key, &nonce, &aad, &data),
                Ok(plain.clone())
            );
            for bit in 0..data.len() * 8 {
                let mut spoiled = data.clone();
                spoiled[bit / 8] ^= 1 << (bit % 8);
                let found = decrypt(cipher, &key, &nonce, &aad, &spoiled);
                assert_eq!(found, Err(Undecipherable));
            }
            for length in 0..data.len() {
                assert!(decrypt(cipher, &key, &nonce, &aad, &data[..length]).is_err());
            }
            assert!(decrypt(cipher, &key, &nonce, b"", &data).is_err());
            assert!(decrypt(cipher, &key, &nonce[1..], &aad, &data).is_err());
            assert!(decrypt(cipher, &key[1..], &nonce, &aad, &data).is_err());
        }
    }

    /// From the tests of WeChat Pay's own Go library (`core/notify/notify_test.go`): its test key
    /// has 16 bytes; merchants get 32.
    #[test]
    fn the_resource_of_a_wechat_notice() {
        let data = "YDS3lKPaC4Y52Gf3uhft5qUBlIa8b428AWTtTauHQfQrRw+X1WpiuHIDy0vo1Vd6VEq67aVyqPdDYMkRVSDaZL3iZttevRMOoPKMifozg6XPWjIZumks/GpT48lI4NizyeaqLBokNebthah3o1H76qSlO9NkDjp9bzmKLEYYH9TEklFUpsvPqOTOcgSLgh21YJXYR7dEBXFgRLiNIKRgO5JdXh1hccRUAlyVWxE54PXpnQ==";
        let data = BASE64.decode(data.as_bytes()).unwrap();
        let opened = decrypt(
            Cipher::Aes128Gcm,
            b"testMchAPIv3Key0",
            b"Kj7QIyUiYx1q",
            b"payscore",
            &data,
        );
        let wanted = r#"{"mchid":"1234567890","appid":"054aa7d7a2a54ab5898df65bd96f001c","create_time":"2020-06-30T12:12:00+08:00","out_contract_code":"21640bdbd08e473e828f3206a2741c6e"}"#;
        assert_eq!(opened.as_deref(), Ok(wanted.as_bytes()));
    }

    #[test]
    fn the_names_are_those_of_the_list() {
        for (name, cipher) in Cipher::ALL {
            assert_eq!(cipher.name(), name);
        }
    }
}
