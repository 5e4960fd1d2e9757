//! The compact serialisation of a signed JSON object: RFC 7515, strictly. Read here, verified
//! with the primitives: the algorithm is pinned, never taken from the header (RFC 8725, 3.1).

use data_encoding::BASE64URL_NOPAD;

use crate::rule::provider::{Algorithm, Curve, Digest};
use crate::rule::template::Pointer;
use crate::verify::json::{Json, Node};

/// Bytes of a header, written out: a chain of certificates takes some thousand.
const LONGEST_HEADER: usize = 16 * 1024;
/// No signature of the algorithms below is longer: RSA with 8192 bits.
const LONGEST_SIGNATURE: usize = 1024;

/// A token, taken apart. Nothing in it is trusted yet.
#[derive(Clone, Debug)]
pub struct Jws<'a> {
    /// Strict JSON, an object.
    pub header: Vec<u8>,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
    /// What is signed: header and payload as they were written, with the dot between them.
    pub signed: &'a [u8],
    /// None when the header names one that is not known here.
    pub algorithm: Option<JwsAlgorithm>,
    /// The name of the key, when the header has one.
    pub key_id: Option<String>,
}

/// What a header may name and a provider file may pin: RFC 7518, RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JwsAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Es256,
    Es384,
    EdDsa,
}

impl JwsAlgorithm {
    pub const ALL: [(&'static str, JwsAlgorithm); 10] = [
        ("HS256", JwsAlgorithm::Hs256),
        ("HS384", JwsAlgorithm::Hs384),
        ("HS512", JwsAlgorithm::Hs512),
        ("RS256", JwsAlgorithm::Rs256),
        ("RS384", JwsAlgorithm::Rs384),
        ("RS512", JwsAlgorithm::Rs512),
        ("PS256", JwsAlgorithm::Ps256),
        ("ES256", JwsAlgorithm::Es256),
        ("ES384", JwsAlgorithm::Es384),
        ("EdDSA", JwsAlgorithm::EdDsa),
    ];

    /// By its exact name: `none` is none of them.
    pub fn named(name: &str) -> Option<JwsAlgorithm> {
        JwsAlgorithm::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, algorithm)| *algorithm)
    }

    pub fn name(self) -> &'static str {
        match self {
            JwsAlgorithm::Hs256 => "HS256",
            JwsAlgorithm::Hs384 => "HS384",
            JwsAlgorithm::Hs512 => "HS512",
            JwsAlgorithm::Rs256 => "RS256",
            JwsAlgorithm::Rs384 => "RS384",
            JwsAlgorithm::Rs512 => "RS512",
            JwsAlgorithm::Ps256 => "PS256",
            JwsAlgorithm::Es256 => "ES256",
            JwsAlgorithm::Es384 => "ES384",
            JwsAlgorithm::EdDsa => "EdDSA",
        }
    }

    /// The primitive that verifies it. ECDSA signatures are r and s, not DER (RFC 7518, 3.4).
    pub fn algorithm(self) -> Algorithm {
        match self {
            JwsAlgorithm::Hs256 => Algorithm::Hmac(Digest::Sha256),
            JwsAlgorithm::Hs384 => Algorithm::Hmac(Digest::Sha384),
            JwsAlgorithm::Hs512 => Algorithm::Hmac(Digest::Sha512),
            JwsAlgorithm::Rs256 => Algorithm::Rsa(Digest::Sha256),
            JwsAlgorithm::Rs384 => Algorithm::Rsa(Digest::Sha384),
            JwsAlgorithm::Rs512 => Algorithm::Rsa(Digest::Sha512),
            JwsAlgorithm::Ps256 => Algorithm::RsaPss(Digest::Sha256),
            JwsAlgorithm::Es256 => Algorithm::EcdsaRaw(Curve::P256),
            JwsAlgorithm::Es384 => Algorithm::EcdsaRaw(Curve::P384),
            JwsAlgorithm::EdDsa => Algorithm::Ed25519,
        }
    }
}

impl<'a> Jws<'a> {
    /// Takes a token apart; what is wrong with it otherwise. The payload's size is bounded by the
    /// request's.
    pub fn parse(token: &'a [u8]) -> Result<Jws<'a>, &'static str> {
        let mut segments = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) = (
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
        ) else {
            return Err("not three parts with dots between them");
        };
        if header.len() > LONGEST_HEADER.div_ceil(3) * 4 {
            return Err("the header is too long");
        }
        if signature.len() > LONGEST_SIGNATURE.div_ceil(3) * 4 {
            return Err("the signature is too long");
        }
        let signed = token
            .get(..header.len() + 1 + payload.len())
            .ok_or("not three parts with dots between them")?;
        let header = decode(header)?;
        let signature = decode(signature)?;
        if signature.is_empty() {
            return Err("the signature is empty");
        }
        let payload = decode(payload)?;
        let (algorithm, key_id) = read(&header)?;
        Ok(Jws {
            header,
            payload,
            signature,
            signed,
            algorithm,
            key_id,
        })
    }
}

/// Without padding, and with the trailing bits that encoding gives (RFC 4648, 3.5).
fn decode(segment: &[u8]) -> Result<Vec<u8>, &'static str> {
    BASE64URL_NOPAD
        .decode(segment)
        .map_err(|_| "a part is not base64url")
}

/// `alg` and `kid` of a header that this reader may judge.
fn read(header: &[u8]) -> Result<(Option<JwsAlgorithm>, Option<String>), &'static str> {
    let json = Json::parse(header).map_err(|_| "the header is not JSON")?;
    let member = |name: &str| json.get(&Pointer(vec![name.to_owned()]));
    // What it demands to be understood is not: extensions (RFC 7515, 4.1.11), and a payload that
    // is signed otherwise (RFC 7797).
    if member("crit").is_some() || member("b64").is_some() {
        return Err("the header demands an extension");
    }
    let Some(Node::Text(name)) = member("alg") else {
        return Err("the header names no algorithm");
    };
    if name.eq_ignore_ascii_case("none") {
        return Err("the token is not signed");
    }
    let key_id = match member("kid") {
        None => None,
        Some(Node::Text(id)) => Some(id.into_owned()),
        Some(Node::Null | Node::Literal(_) | Node::Composite(_)) => {
            return Err("the name of the key is no text");
        }
    };
    Ok((JwsAlgorithm::named(&name), key_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::public_key::jwk;

    /// RFC 7515, appendices A.1 to A.3, and RFC 8037, A.4: key and token.
    const PUBLISHED: [(JwsAlgorithm, &str, &str); 4] = [
        (
            JwsAlgorithm::Hs256,
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            JwsAlgorithm::Rs256,
            r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            JwsAlgorithm::Es256,
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            JwsAlgorithm::EdDsa,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];

    #[test]
    fn published_tokens_verify_with_their_keys() {
        for (algorithm, key, token) in PUBLISHED {
            let jws = Jws::parse(token.as_bytes()).unwrap();
            assert_eq!(jws.algorithm, Some(algorithm));
            assert_eq!(jws.key_id, None);
            let key = jwk(algorithm.algorithm(), &Json::parse(key.as_bytes()).unwrap()).unwrap();
            let verifies = |signed: &[u8]| {
                let mut running = key.material.begin();
                running.update(signed);
                running.finish().verify(&jws.signature)
            };
            assert!(verifies(jws.signed), "{}", algorithm.name());
            assert!(!verifies(&jws.signed[1..]));
        }
        let jws = Jws::parse(PUBLISHED[3].2.as_bytes()).unwrap();
        assert_eq!(jws.payload, b"Example of Ed25519 signing");
        assert_eq!(jws.header, br#"{"alg":"EdDSA"}"#);
    }

    #[test]
    fn the_names_are_those_of_the_list() {
        for (name, algorithm) in JwsAlgorithm::ALL {
            assert_eq!(algorithm.name(), name);
            assert_eq!(JwsAlgorithm::named(name), Some(algorithm));
            assert!(
                Algorithm::ALL
                    .iter()
                    .any(|(_, a)| *a == algorithm.algorithm())
            );
        }
        for name in ["none", "hs256", "HS256 ", "PS384", ""] {
            assert_eq!(JwsAlgorithm::named(name), None, "{name}");
        }
    }

    fn token(header: &str) -> String {
        format!("{}.e30.AAAA", BASE64URL_NOPAD.encode(header.as_bytes()))
    }

    #[test]
    fn headers() {
        let known = token(r#"{"alg":"ES256","kid":"k 1","typ":"JWT"}"#);
        let known = Jws::parse(known.as_bytes()).unwrap();
        assert_eq!(known.key_id.as_deref(), Some("k 1"));
        let other = token(r#"{"alg":"ES512"}"#);
        assert_eq!(Jws::parse(other.as_bytes()).unwrap().algorithm, None);
        for bad in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["ES256"]}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"ES256","alg":"ES256"}"#,
            r#"{"alg":"ES256","crit":["exp"]}"#,
            r#"{"alg":"ES256","crit":[]}"#,
            r#"{"alg":"ES256","b64":true}"#,
            r#"{"alg":"ES256","kid":1}"#,
            r#"{"alg":"ES256"} x"#,
            r#"["alg","ES256"]"#,
            r#""ES256""#,
            "",
        ] {
            assert!(Jws::parse(token(bad).as_bytes()).is_err(), "{bad}");
        }
        let long = format!(
            r#"{{"alg":"ES256","x5c":"{}"}}"#,
            "A".repeat(LONGEST_HEADER)
        );
        let fault = Jws::parse(token(&long).as_bytes()).unwrap_err();
        assert_eq!(fault, "the header is too long");
    }

    #[test]
    fn one_text_for_one_token() {
        let (_, _, good) = PUBLISHED[2];
        let parts: Vec<&str> = good.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            panic!("{good}");
        };
        for bad in [
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{header}.{payload}.{signature}."),
            format!("{header}.{payload}.{signature}.{signature}"),
            format!("{header}..{payload}.{signature}"),
            format!(".{header}.{payload}.{signature}"),
            format!(".{payload}.{signature}"),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{good}=="),
            // The last character of `Q` holds four bits that mean nothing.
            format!("{header}.{payload}.{}R", &signature[..signature.len() - 1]),
            format!("{header}.{payload}+.{signature}"),
            format!("{header}.{payload}.{}", "A".repeat(LONGEST_SIGNATURE * 2)),
            String::new(),
            "..".to_owned(),
        ] {
            assert!(Jws::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        // A payload may be empty.
        assert!(Jws::parse(format!("{header}..{signature}").as_bytes()).is_ok());
    }
}
