//! The seal on the hop to the application: the signature of Standard Webhooks, so that the
//! application needs one verifier for every provider and need not trust the network.

use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Timestamp;
use crate::secret::Secret;

/// What a secret made for Standard Webhooks begins with.
const PREFIX: &[u8] = b"whsec_";

/// The text after `whsec_` is not base64, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSigningSecret;

impl std::fmt::Display for BadSigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what follows `whsec_` is not base64 of at least one byte")
    }
}

impl std::error::Error for BadSigningSecret {}

/// The key that a secret stands for: `whsec_` and base64 is decoded, other text is the key itself.
pub fn key_from_secret(secret: &Secret) -> Result<Secret, BadSigningSecret> {
    let Some(text) = secret.expose().strip_prefix(PREFIX) else {
        return Ok(secret.clone());
    };
    let key = BASE64
        .decode(text)
        .or_else(|_| BASE64_NOPAD.decode(text))
        .map_err(|_| BadSigningSecret)?;
    if key.is_empty() {
        return Err(BadSigningSecret);
    }
    Ok(Secret::new(key))
}

/// The value of `webhook-signature`: over id, the time of this attempt in seconds, and the body.
pub fn signature(key: &Secret, id: &str, at: Timestamp, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("a key of any length");
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(at.as_secs().to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks test themselves with.
    #[test]
    fn the_known_answer() {
        let secret = Secret::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
        let key = key_from_secret(&secret).unwrap();
        let value = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            Timestamp::from_secs(1_614_265_330),
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(value, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_decoded_only_behind_its_prefix() {
        let key = |text: &str| {
            key_from_secret(&Secret::new(text.into())).map(|key| key.expose().to_vec())
        };
        assert_eq!(key("whsec_AAEC"), Ok(vec![0, 1, 2]));
        assert_eq!(key("whsec_AAE="), Ok(vec![0, 1]));
        assert_eq!(key("whsec_AAE"), Ok(vec![0, 1]));
        assert_eq!(key("plain text"), Ok(b"plain text".to_vec()));
        assert_eq!(key("whsec_"), Err(BadSigningSecret));
        assert_eq!(key("whsec_not base64"), Err(BadSigningSecret));
    }
}
