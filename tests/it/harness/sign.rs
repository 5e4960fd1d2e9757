//! Signatures as providers make them, with the RustCrypto crates.

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use sha2::{Digest, Sha256};

use super::gateway::{GITHUB_SECRET, STRIPE_SECRET, WALLET_SECRET};

pub type Fields = Vec<(String, String)>;

pub fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn fields(pairs: &[(&str, String)]) -> Fields {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

pub fn stripe_with(secret: &str, at: u64, body: &[u8]) -> Fields {
    let signature = HEXLOWER.encode(&hmac(
        secret.as_bytes(),
        &[at.to_string().as_bytes(), b".", body].concat(),
    ));
    fields(&[("Stripe-Signature", format!("t={at},v1={signature}"))])
}

pub fn stripe(body: &[u8]) -> Fields {
    stripe_with(STRIPE_SECRET, super::now(), body)
}

/// A body of Stripe's with this id, and some filling that is no UTF-8 trap for anyone.
pub fn stripe_event(id: &str) -> Vec<u8> {
    format!(r#"{{"id":"{id}","object":"event","type":"payment_intent.succeeded","amount":1.0,"note":"é \u0041"}}"#).into_bytes()
}

pub fn github(body: &[u8], delivery: &str) -> Fields {
    let signature = HEXLOWER.encode(&hmac(GITHUB_SECRET.as_bytes(), body));
    fields(&[
        ("X-Hub-Signature-256", format!("sha256={signature}")),
        ("X-GitHub-Event", "push".to_owned()),
        ("X-GitHub-Delivery", delivery.to_owned()),
    ])
}

/// `generic-hmac`.
pub fn wallet(id: &str, at: u64, target: &str, body: &[u8]) -> Fields {
    let digest = HEXLOWER.encode(&Sha256::digest(body));
    let message = format!("{id}\n{at}\nPOST\n{target}\n{digest}");
    let signature = HEXLOWER.encode(&hmac(WALLET_SECRET.as_bytes(), message.as_bytes()));
    fields(&[
        ("X-Event-Id", id.to_owned()),
        ("X-Timestamp", at.to_string()),
        ("X-Signature", format!("v1={signature}")),
    ])
}

pub fn standard(secret: &str, id: &str, at: u64, body: &[u8]) -> Fields {
    let key = BASE64
        .decode(secret.strip_prefix("whsec_").unwrap().as_bytes())
        .unwrap();
    let signature = BASE64.encode(&hmac(
        &key,
        &[format!("{id}.{at}.").as_bytes(), body].concat(),
    ));
    fields(&[
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ])
}

/// Header fields of a callback.
pub fn of(pairs: &[(&str, &str)]) -> Fields {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

pub fn rsa() -> KeyPair {
    KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()
}

/// A self-signed certificate in PEM: what vouches for it is where it lies.
pub fn certificate(key: &KeyPair) -> String {
    let params = rcgen::CertificateParams::new(vec!["signer.test".to_owned()]).unwrap();
    params.self_signed(key).unwrap().pem()
}
