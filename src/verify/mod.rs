//! Who signed this, and when? `Received -> Verified`. Everything before the verdict only reads;
//! a rejection says why to us and nothing to the sender.

pub mod rejection;
pub mod mac;
pub mod digest;
pub mod json;
pub mod json_walk;
pub mod form;
pub mod xml;
pub mod jws;
pub mod document;
pub mod header;
pub mod http_signature;
pub mod pkcs1;
pub mod primitive;
pub mod jwk;
pub mod public_key;
pub mod certificate;
pub mod decrypt;
pub mod sign;
pub mod scope;
pub mod view;
pub mod params;
pub mod evaluate;
pub mod decipher;
pub mod freshness;
pub mod keys;
pub mod want;
pub mod outbound;
pub mod resolve;
pub mod message;
pub mod seal;
pub mod identity;
pub mod payment;
pub mod plan;
pub mod judge;
pub mod verified;
pub mod example;
pub mod rewrite;
pub mod place;
pub mod craft;
pub mod variants;
pub mod diagnose;
pub mod trace;

pub use identity::Identity;
pub use judge::Judgement;
pub use keys::{KeyError, Keyring};
pub use payment::Payment;
pub use plan::EventPlan;
pub use rejection::Rejection;
pub use verified::{Outside, Verdict, Verified, Verifier};

#[cfg(test)]
mod tests;
