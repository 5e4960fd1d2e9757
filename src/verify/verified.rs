//! The proof. A [`Verified`] is made here and nowhere else, and only after the signature, the key
//! and the clock were found right; it owns the very bytes that were checked.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::guard::Received;
use crate::message::{Answer, RawRequest};
use crate::rule::Rule;
use crate::verify::identity::Identity;
use crate::verify::judge::{Judgement, judge};
use crate::verify::keys::Keyring;
use crate::verify::rejection::Rejection;

/// Verifies the requests of one source.
#[derive(Debug)]
pub struct Verifier {
    rule: Arc<Rule>,
    keys: Keyring,
}

/// A request that is what it claims to be.
#[derive(Debug)]
pub enum Verdict {
    Event(Verified),
    /// The provider asks who is there; nothing is stored.
    Challenge(Answer),
}

/// An event that its provider has signed, with the rule by which that was found. Where the rule
/// says `verify = "none"`, its seal is `none`.
#[derive(Debug)]
pub struct Verified {
    request: RawRequest,
    rule: Arc<Rule>,
    identity: Identity,
    seal: String,
}

impl Verifier {
    pub fn new(rule: Arc<Rule>, keys: Keyring) -> Verifier {
        Verifier { rule, keys }
    }

    /// The event is recorded under the rule whose keys were used, whatever `received` was routed
    /// by.
    pub fn verify(&self, received: Received, now: Timestamp) -> Result<Verdict, Rejection> {
        let (request, _) = received.into_parts();
        match self.judge(&request, now)? {
            Judgement::Event { identity, seal } => {
                let rule = Arc::clone(&self.rule);
                Ok(Verdict::Event(Verified {
                    request,
                    rule,
                    identity,
                    seal,
                }))
            }
            Judgement::Challenge(answer) => Ok(Verdict::Challenge(answer)),
        }
    }

    /// The same verdict without the proof: for examples and for explaining.
    pub fn judge(&self, request: &RawRequest, now: Timestamp) -> Result<Judgement, Rejection> {
        judge(&self.rule, &self.keys, request, now)
    }

    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    pub fn keys(&self) -> &Keyring {
        &self.keys
    }
}

impl Verified {
    /// The request, byte for byte as it was verified.
    pub fn request(&self) -> &RawRequest {
        &self.request
    }

    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What sealed it: `hmac-sha256 keys[0]`, or `none`.
    pub fn seal(&self) -> &str {
        &self.seal
    }

    pub fn into_parts(self) -> (RawRequest, Arc<Rule>, Identity, String) {
        (self.request, self.rule, self.identity, self.seal)
    }
}
