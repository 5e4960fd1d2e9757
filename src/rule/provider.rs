//! A provider: how a vendor signs, as its file under `rules/providers/` describes it. Data only;
//! the scheme itself is in [`crate::rule::scheme`].

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use ipnet::IpNet;

use crate::rule::Answers;
pub use crate::rule::scheme::*;
use crate::rule::template::{Pointer, Template};
use crate::rule::url::UrlPin;

/// A compiled provider file.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Name of the file without `.toml`.
    pub name: String,
    pub title: String,
    pub docs: String,
    pub category: Category,
    pub evidence: Evidence,
    /// Facts that the file rests on and nobody has confirmed.
    pub unconfirmed: Vec<String>,
    /// Remarks for people.
    pub notes: Vec<String>,
    /// Methods that callbacks use; `POST` when the file does not say.
    pub methods: Vec<Method>,
    /// Alternatives: each that applies is tried. Empty when nothing is signed.
    pub schemes: Vec<Scheme>,
    /// All of these must hold as well.
    pub also: Vec<Also>,
    /// Nothing is signed, and nothing else shows who sent it: why that is accepted.
    pub unverified_reason: Option<String>,
    /// Documents inside the request.
    pub parts: Vec<Part>,
    pub freshness: Option<Freshness>,
    pub event: EventIdentity,
    pub payment: Option<PaymentRule>,
    pub asserts: Vec<Assert>,
    pub split: Option<Split>,
    pub decrypt: Option<Decrypt>,
    pub query_back: Option<QueryBack>,
    pub challenges: Vec<Challenge>,
    pub answers: Answers,
    pub contract: Contract,
    /// Names that a source must or may set under `[config]` and `[secrets]`.
    pub config: BTreeMap<String, Setting>,
    pub secrets: BTreeMap<String, Setting>,
    pub examples: Vec<Example>,
}

/// Something that a source sets for its provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub meaning: String,
    pub optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    Payments,
    Crypto,
    Wallets,
    Platforms,
    Standards,
}

/// How sure the facts of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// A published known answer was computed again.
    Vector,
    /// An official SDK, or a library that signs or verifies, was read or run.
    Sdk,
    /// Official documentation.
    Documented,
    /// Only the code of others.
    ThirdParty,
    Unconfirmed,
}

/// A check beside the signature, under a secret of its own.
#[derive(Clone, Debug)]
pub struct Also {
    /// Name under `[secrets]`. Optional and not set: the check is left out.
    pub secret: String,
    pub scheme: Scheme,
}

/// A document inside the request.
#[derive(Clone, Debug)]
pub struct Part {
    pub name: String,
    pub from: Template,
    pub form: PartForm,
}

/// When the request was signed. The compiler has made sure that this is signed itself (lint L1).
#[derive(Clone, Debug)]
pub struct Freshness {
    pub timestamp: Template,
    pub format: TimeFormat,
    /// Both ways, where `future` does not say otherwise.
    pub tolerance: Duration,
    pub future: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct EventIdentity {
    /// The provider's id of the event: the first of these that is there. Where none is, the digest
    /// of what is signed stands in.
    pub ids: Vec<Template>,
    /// True when everything that they read is signed.
    pub id_signed: bool,
    pub kind: Option<Template>,
    /// Why every delivery is an event of its own: the provider sends the same words for different
    /// events, so that taking them for one would lose some.
    pub repeats: Option<String>,
    /// What the event says, without what only counts the provider's tries. None: all that is
    /// signed.
    pub content: Option<Template>,
}

/// What a payment's callback says, in one language for all providers.
#[derive(Clone, Debug)]
pub struct PaymentRule {
    /// Each: the first that is there.
    pub order: Vec<Template>,
    pub transaction: Vec<Template>,
    pub amount: Vec<Template>,
    pub unit: Unit,
    pub currency: Vec<Template>,
    pub status: Vec<Template>,
    pub map: BTreeMap<String, Status>,
    pub confirmations: Vec<Template>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `12.50`
    Major,
    /// `1250`
    Minor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Confirming,
    Paid,
    Failed,
    Refunded,
    Disputed,
}

/// Something that must hold after the signature: above all, that the event is meant for us.
#[derive(Clone, Debug)]
pub struct Assert {
    pub condition: Condition,
    /// It is looked at only then.
    pub when: Vec<Condition>,
    /// It compares with what the source has set: a mismatch is somebody else's event.
    pub addressee: bool,
}

/// Several items in one request.
#[derive(Clone, Debug)]
pub struct Split {
    pub items: Pointer,
    /// Each is signed by itself.
    pub each: bool,
    /// No more items are taken than the provider sends: captured ones could be put together anew.
    pub most: usize,
}

/// A second source that is asked before the event counts.
#[derive(Clone, Debug)]
pub struct QueryBack {
    pub request: RemoteRequest,
    pub when: Vec<Condition>,
    /// The answer replaces what the callback said of itself.
    pub authoritative: bool,
    pub answer: PartForm,
    pub status: u16,
    pub confirm: Vec<Condition>,
}

/// A question that the provider asks to see who answers.
#[derive(Clone, Debug)]
pub struct Challenge {
    pub name: String,
    /// None: any method of the provider.
    pub method: Option<Method>,
    /// Answered only after the signature.
    pub signed: bool,
    /// All must hold.
    pub when: Vec<Condition>,
    pub reply: Template,
    pub status: u16,
    pub content_type: String,
    pub headers: Vec<(String, Template)>,
    /// What may be repeated of an unsigned request.
    pub charset: Option<Charset>,
    /// Longest value that is repeated, in bytes; more is no challenge (lint L12).
    pub longest: usize,
    pub visit: Option<(Template, UrlPin)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// Letters, digits and `._~-`.
    Token,
    Digits,
    Hex,
    /// Printable ASCII without quotes, angle brackets, ampersand and backslash.
    Printable,
}

/// What the provider promises of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contract {
    /// How long it retries an event that it heard no success for.
    pub horizon: Option<Duration>,
    /// How long it waits for an answer.
    pub deadline: Option<Duration>,
    /// Pauses between its tries, where published.
    pub retries: Vec<Duration>,
    /// Addresses that it calls from, where published.
    pub addresses: Vec<IpNet>,
    /// Answers that end its retries: `4xx` or a status.
    pub final_statuses: Vec<String>,
}

/// The file's own proof: one request and what must be said of it.
#[derive(Clone, Debug)]
pub struct Example {
    pub name: String,
    /// None: it must be accepted. Some: rejected with exactly this reason code.
    pub rejected: Option<String>,
    /// The clock, in seconds.
    pub at: u64,
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Test keys as text, in the provider's own form, with their ids; made for this project.
    pub keys: Vec<(Option<String>, String)>,
    /// Alternatives that the example's source has chosen.
    pub schemes: Vec<String>,
    pub config: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, String>,
    pub url: Option<String>,
    /// What the event id and type must be, when accepted.
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    /// What must be read of the payment, by name.
    pub payment: BTreeMap<String, String>,
    /// What a challenge must be answered with.
    pub reply: Option<String>,
    /// What `callseal sign` offers it as.
    pub action: Option<Action>,
    /// What pinned hosts answer.
    pub remote: Vec<Recorded>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Payment,
    Refund,
    Cancel,
}

/// One recorded answer of a pinned host.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub url: String,
    pub status: u16,
    pub body: Bytes,
}

impl Category {
    pub const ALL: [(&'static str, Category); 5] = [
        ("payments", Category::Payments),
        ("crypto", Category::Crypto),
        ("wallets", Category::Wallets),
        ("platforms", Category::Platforms),
        ("standards", Category::Standards),
    ];

    pub fn name(self) -> &'static str {
        name_in(&Category::ALL, self)
    }
}

impl Evidence {
    pub const ALL: [(&'static str, Evidence); 5] = [
        ("vector", Evidence::Vector),
        ("sdk", Evidence::Sdk),
        ("documented", Evidence::Documented),
        ("third-party", Evidence::ThirdParty),
        ("unconfirmed", Evidence::Unconfirmed),
    ];

    pub fn name(self) -> &'static str {
        name_in(&Evidence::ALL, self)
    }
}

impl Status {
    pub const ALL: [(&'static str, Status); 6] = [
        ("pending", Status::Pending),
        ("confirming", Status::Confirming),
        ("paid", Status::Paid),
        ("failed", Status::Failed),
        ("refunded", Status::Refunded),
        ("disputed", Status::Disputed),
    ];

    pub fn name(self) -> &'static str {
        name_in(&Status::ALL, self)
    }
}

fn name_in<T: PartialEq + Copy>(all: &[(&'static str, T)], wanted: T) -> &'static str {
    all.iter()
        .find(|(_, value)| *value == wanted)
        .map_or("unnamed", |(name, _)| name)
}

impl Provider {
    /// True when something shows who sent a request: a signature, or the answer of a second source.
    pub fn verifies(&self) -> bool {
        !self.schemes.is_empty() || self.query_back.is_some()
    }

    /// True when the source names the keys, all or some of them.
    pub fn takes_keys(&self) -> bool {
        !self.schemes.is_empty()
    }

    /// True when a source must name at least one key.
    pub fn needs_keys(&self) -> bool {
        self.schemes
            .iter()
            .filter(|scheme| !scheme.opt_in)
            .any(|scheme| match &scheme.key.source {
                KeySource::Given
                | KeySource::Certificate { .. }
                | KeySource::X5c { .. }
                | KeySource::Signed(_) => true,
                KeySource::Jwks { .. } => false,
                KeySource::CertificateUrl { trust, .. } => *trust == Trust::Keys,
                KeySource::Fetch(_) => false,
            })
    }

    /// The scheme that a source uses when it chooses none.
    pub fn first_scheme(&self) -> Option<&Scheme> {
        self.schemes
            .iter()
            .find(|scheme| !scheme.opt_in)
            .or(self.schemes.first())
    }

    /// Grammars of signature headers, where schemes have one.
    pub fn grammars(&self) -> impl Iterator<Item = &HeaderGrammar> {
        self.schemes.iter().filter_map(|s| s.header.as_ref())
    }

    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }
}
