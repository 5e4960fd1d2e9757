//! Who signed this, and when? `Received -> Verified`. Everything before the verdict only reads;
//! a rejection says why to us and nothing to the sender.

pub mod rejection;
pub mod json;
pub mod form;
pub mod xml;
pub mod header;
pub mod params;
pub mod view;
pub mod evaluate;
pub mod digest;
pub mod pkcs1;
pub mod primitive;
pub mod public_key;
pub mod jwk;
pub mod jws;
pub mod decrypt;
pub mod certificate;
pub mod http_signature;
pub mod keys;
pub mod freshness;
pub mod identity;
pub mod judge;
pub mod verified;
pub mod example;

pub use identity::Identity;
pub use judge::Judgement;
pub use keys::{KeyError, Keyring};
pub use rejection::Rejection;
pub use verified::{Verdict, Verified, Verifier};

#[cfg(test)]
mod tests;
