//! The primitives: what verifies, and what must not.

use super::*;

fn verifies(algorithm: Algorithm, key: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
    let key = KeyMaterial::new(algorithm, key).unwrap();
    let mut running = key.begin();
    for piece in message {
        running.update(piece);
    }
    running.finish().verify(signature)
}

/// RFC 2202 (SHA-1) and RFC 4231 (SHA-2), test case 2; SHA3-512 with the same key and message
/// from Python's `hmac`.
const JEFE: [(Digest, &str); 5] = [
    (Digest::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    (
        Digest::Sha256,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        Digest::Sha384,
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
         8e2240ca5e69e2c78b3239ecfab21649",
    ),
    (
        Digest::Sha512,
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
         9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    ),
    (Digest::Sha3_512, SHA3_512_JEFE),
];
const SHA3_512_JEFE: &str = "5a4bfeab6166427c7a3647b747292b8384537cdb89afb3bf5665e4c5e709350b\
    287baec921fd7ca0ee7a0c31d022a95e1fc92ba9d77df883960275beb4e62024";

#[test]
fn hmac_takes_a_message_in_pieces_and_wants_the_whole_tag() {
    for (digest, tag) in JEFE {
        let key = KeyMaterial::new(Algorithm::Hmac(digest), b"Jefe").unwrap();
        let mut running = key.begin();
        for piece in [&b"what do ya want "[..], b"", b"for nothing?"] {
            running.update(piece);
        }
        let finished = running.finish();
        let tag = decode(Encoding::Hex, tag.as_bytes()).unwrap();
        assert!(finished.verify(&tag), "{digest:?}");
        for length in 0..tag.len() {
            let part = &tag[..length];
            assert!(!finished.verify(part), "{length} bytes of the tag");
        }
        assert!(!finished.verify(&[&tag[..], &[0]].concat()));
        for bit in 0..8 * tag.len() {
            let mut other = tag.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!finished.verify(&other));
        }
        // The material is as it was.
        let mut again = key.begin();
        again.update(b"what do ya want for nothing?");
        assert!(again.finish().verify(&tag));
    }
}

#[test]
fn a_keyed_digest_is_of_the_whole_message() {
    // The example of the WeChat Pay v2 documentation, chapter 4_3.
    let message = b"appid=wxd930ea5d5a258f4f&body=test&device_info=1000&mch_id=10000100\
        &nonce_str=ibuaiVcKdpRxkhJA&key=192006250b4c09247ec02edce69f6a2d";
    let tag = decode(Encoding::HexUpper, b"9A0A8659F005D6984697E2CA0A9CF3B7").unwrap();
    let md5 = Algorithm::Keyed(Digest::Md5);
    assert!(verifies(md5, b"unused", &[message], &tag));
    assert!(!verifies(md5, b"unused", &[message, b" "], &tag));
    assert!(!verifies(md5, b"unused", &[message], &tag[..15]));
    assert!(!verifies(md5, b"unused", &[message], b""));
}

#[test]
fn a_token_is_all_or_nothing() {
    for algorithm in [Algorithm::Token, Algorithm::Basic] {
        let key = b"user:a long password";
        assert!(verifies(algorithm, key, &[], key));
        assert!(verifies(
            algorithm,
            key,
            &[b"the message does not matter"],
            key
        ));
        for wrong in [
            &key[..19],
            b"",
            b"User:a long password",
            b"user:a long password ",
        ] {
            assert!(!verifies(algorithm, key, &[], wrong));
        }
        assert!(!verifies(algorithm, key, &[], &sha256(key)));
    }
}

#[test]
fn material_is_made_only_of_what_fits() {
    for (name, algorithm) in Algorithm::ALL {
        let shared = !algorithm.is_asymmetric()
            && !matches!(algorithm, Algorithm::Jws | Algorithm::HttpSignature);
        let made = KeyMaterial::new(algorithm, b"secret");
        assert_eq!(made.is_some(), shared, "{name}");
        assert!(KeyMaterial::new(algorithm, b"").is_none(), "{name}");
    }
    let shown = format!("{:?}", KeyMaterial::new(Algorithm::Token, b"hunter2"));
    assert_eq!(shown, "Some(Exact(…))");
}

#[test]
fn one_text_for_one_signature() {
    let bytes = |encoding, text| decode(encoding, text).map(Octets::into_vec);
    assert_eq!(bytes(Encoding::Hex, b"00ff"), Some(vec![0, 255]));
    for bad in ["00FF", "00f", "00fg", " 00ff", "0x00ff"] {
        assert_eq!(bytes(Encoding::Hex, bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(bytes(Encoding::HexUpper, b"00FF"), Some(vec![0, 255]));
    for bad in ["00ff", "00Ff", "00F", "00FG", "00FF\n"] {
        assert_eq!(bytes(Encoding::HexUpper, bad.as_bytes()), None, "{bad}");
    }
    for good in ["00FF", "00ff", "00fF"] {
        let found = bytes(Encoding::HexAny, good.as_bytes());
        assert_eq!(found, Some(vec![0, 255]), "{good}");
    }
    for bad in ["0f0", "0x00", "00 f"] {
        assert_eq!(bytes(Encoding::HexAny, bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(bytes(Encoding::Text, b" a="), Some(b" a=".to_vec()));
    assert_eq!(bytes(Encoding::Base64, b"AA=="), Some(vec![0]));
    for bad in [
        "AA", "AA=", "AB==", "A A==", "AA==\n", "__8=", "AA==AA==", "AA==AAAA", "AAA==", "AAAA=",
        "AAAA==", "====",
    ] {
        assert_eq!(bytes(Encoding::Base64, bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(bytes(Encoding::Base64Url, b"__8"), Some(vec![255, 255]));
    for bad in ["__8=", "//8", "__9"] {
        assert_eq!(bytes(Encoding::Base64Url, bad.as_bytes()), None, "{bad}");
    }
}
