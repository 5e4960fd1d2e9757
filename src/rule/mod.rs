//! What a rule says. Rule files are read (`document`), compiled without any I/O (`compile`, every
//! error with its place), and become the values on this page. A compiled rule cannot be wrong.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use crate::clock::Timestamp;
use crate::message::{Answer, SourceName};
use crate::secret::SecretRef;

pub mod diagnostic;
pub mod text;
pub mod template;
pub mod scheme;
pub mod provider;
pub mod cover;
pub mod words;
pub mod value;
pub mod address;
pub mod relay;
pub mod when;
pub mod url;
#[cfg(test)]
pub(crate) mod witness;
pub mod reader;
pub mod shape;
pub mod document;
pub mod catalogue;
pub mod compile;

pub use provider::Provider;
pub use relay::{
    Address, BreakerRule, Destination, Http2, Jitter, OnDead, OnStatus, RelayRule, RetryPolicy,
    Then, TlsFiles,
};
pub use template::Template;

/// Every source of a gateway, compiled together: paths are distinct.
#[derive(Debug, Default)]
pub struct RuleSet {
    pub rules: Vec<Arc<Rule>>,
    /// SHA-256 over the names and texts of all files that made this set.
    pub digest: [u8; 32],
    /// These files, those of providers only where they are used or written by the operator.
    pub files: Vec<RuleFileDigest>,
}

/// A file that made a set of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFileDigest {
    pub kind: RuleFileKind,
    /// Without `.toml`.
    pub name: String,
    /// None: built in.
    pub path: Option<PathBuf>,
    /// SHA-256 of its text.
    pub digest: [u8; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleFileKind {
    Source,
    Provider,
}

/// A source: one provider bound to a path, keys and one or more destinations.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: SourceName,
    pub provider: Arc<Provider>,
    /// Matched byte for byte against the path of a request. Begins with `/`; one that ends with `/*`
    /// takes everything below.
    pub path: String,
    /// The address as the provider knows it, where it is part of what is signed.
    pub url: Option<String>,
    /// What the provider file asks for under `[config]`.
    pub config: BTreeMap<String, String>,
    /// Where the keys lie. Empty only for a provider without a verifier.
    pub keys: Vec<KeyRef>,
    /// Further secrets by name.
    pub secrets: BTreeMap<String, SecretRef>,
    pub guard: GuardRule,
    /// Allowed distance of the clocks, both ways. None: the provider sends no usable timestamp.
    pub tolerance: Option<Duration>,
    pub inbox: InboxRule,
    pub relay: RelayRule,
    pub answer: AnswerMode,
    /// The rule file, for messages; none for a rule that a program made.
    pub file: Option<PathBuf>,
}

/// One key of a source: where it lies and when it may be used.
#[derive(Clone, Debug)]
pub struct KeyRef {
    pub from: SecretRef,
    /// Matched exactly against the key id that a request names (e.g. `Wechatpay-Serial`).
    pub id: Option<String>,
    /// Not used from this moment on.
    pub not_after: Option<Timestamp>,
    /// What log and admin port call this key; never the key. E.g. `keys[0]`, or its id.
    pub label: String,
}

/// Enforce a guard, or only count what it would have refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardMode {
    #[default]
    Enforce,
    Log,
}

/// Cheap checks before any cryptography.
#[derive(Clone, Debug)]
pub struct GuardRule {
    /// Who may call. None: anyone. The lists of the provider file are already put in.
    pub allow: Option<Vec<IpNet>>,
    pub mode: GuardMode,
    pub per_ip: Option<Rate>,
    pub total: Option<Rate>,
    /// Largest body in bytes.
    pub body_max: usize,
}

/// So many in a period, with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: NonZeroU32,
    pub period: Duration,
    pub burst: NonZeroU32,
}

#[derive(Clone, Debug)]
pub struct InboxRule {
    /// What makes two callbacks one event: the provider's event ids, of which the first that is there
    /// counts.
    pub keys: Vec<Template>,
    /// True when all that `keys` read is covered by the signature. When it is not, it is only shown:
    /// the digest of the signed bytes and the event's type are the idempotency key (lint L9).
    pub key_signed: bool,
    /// What makes two events one for the merchant, whatever the provider calls them. Signed.
    pub business: Option<Template>,
    /// What must be equal for two events with the same business key to say the same. None: all that
    /// the signature covers.
    pub content: Option<Template>,
    pub on_conflict: OnConflict,
    /// Dedup horizon, redrive horizon and retention of the body, in one.
    pub keep: Duration,
}

/// What becomes of an event whose key, its own or the business key, is taken by another content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It is accepted too, and flagged.
    #[default]
    KeepBoth,
    /// It is answered like a duplicate, and not stored.
    FirstWins,
    /// It is rejected, and not stored.
    Reject,
}

/// Who answers the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerMode {
    /// The gateway, once the event is durable.
    #[default]
    Custody,
    /// The application, where it takes the event within this time of the event's being durable; else
    /// the gateway.
    Destination { within: Duration },
}

/// What the provider hears, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The event is on stable storage.
    pub accepted: Answer,
    /// It was already there.
    pub duplicate: Answer,
    /// The signature, the key or the clock did not fit. One answer for every reason.
    pub rejected: Answer,
    /// It could not be made durable, or there is too much of it. Retry-After is added.
    pub overloaded: Answer,
}

impl Rule {
    /// True when `address` is on the list, or there is no list. For tests and `check`; the guard
    /// compiles the list into something faster.
    pub fn allows(&self, address: IpAddr) -> bool {
        match &self.guard.allow {
            None => true,
            Some(list) => list.iter().any(|net| net.contains(&address)),
        }
    }

    /// Methods that the provider uses, for callbacks and for questions.
    pub fn methods(&self) -> Vec<Method> {
        let mut methods = self.provider.methods.clone();
        for challenge in &self.provider.challenges {
            if let Some(method) = &challenge.method
                && !methods.contains(method)
            {
                methods.push(method.clone());
            }
        }
        methods
    }

    /// True for a method of callbacks, or of a question that the provider asks.
    pub fn takes(&self, method: &Method) -> bool {
        self.provider.methods.contains(method)
            || self
                .provider
                .challenges
                .iter()
                .any(|challenge| challenge.method.as_ref() == Some(method))
    }
}
