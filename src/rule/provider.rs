//! A provider: how a vendor signs, as its file under `rules/providers/` describes it. Data only.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use ipnet::IpNet;

use crate::rule::Answers;
use crate::rule::template::{Selector, Template};

/// A compiled provider file.
#[derive(Debug)]
pub struct Provider {
    /// Name of the file without `.toml`.
    pub name: String,
    pub title: String,
    pub docs: String,
    /// Remarks for people, e.g. which facts are unconfirmed.
    pub notes: Vec<String>,
    /// Methods that callbacks use; `POST` when the file does not say.
    pub methods: Vec<Method>,
    /// None: `verify = "none"`, with the reason that must be given.
    pub scheme: Option<Scheme>,
    pub unverified_reason: Option<String>,
    pub freshness: Option<Freshness>,
    pub event: EventIdentity,
    pub challenge: Option<Challenge>,
    pub answers: Answers,
    pub contract: Contract,
    /// Names that a source must set under `[config]`, with what they mean.
    pub config: BTreeMap<String, String>,
    pub examples: Vec<Example>,
}

/// What is signed, with what, and where the signature stands.
#[derive(Debug)]
pub struct Scheme {
    pub algorithm: Algorithm,
    /// A header that is taken apart into `{sig:NAME}`.
    pub header: Option<HeaderGrammar>,
    /// Gives the candidate signatures; each is tried with each key.
    pub value: Template,
    /// Text that must stand before a candidate (`sha256=`, `v0=`); candidates without it do not count.
    pub value_prefix: String,
    pub encoding: Encoding,
    /// The signed bytes. Several: any of them (at most 16 together with candidates and keys).
    pub messages: Vec<Template>,
    /// Which key was used, as the request says it.
    pub key_id: Option<Template>,
    pub key_codec: KeyCodec,
    /// Sets of parameters to be sorted and joined, for `{params}`.
    pub params: Option<Params>,
    /// What the signature covers: for `check`, `explain` and the lints.
    pub covered: Vec<Selector>,
}

/// Pinned by the provider file; never taken from a request (lint L3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    HmacSha256,
    /// PKCS#1 v1.5.
    RsaSha256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    Hex,
    Base64,
    Base64Url,
}

/// `t=1,v1=abc,v1=def`: items and pairs. Repeated names keep every value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderGrammar {
    /// Lower case.
    pub name: String,
    pub items: String,
    pub pair: String,
}

/// How the text of a secret becomes the bytes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCodec {
    pub kind: KeyKind,
    /// Taken off before decoding, e.g. `whsec_`; a key without it is taken as it is.
    pub strip_prefix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Utf8,
    Hex,
    Base64,
    /// A public key or certificate: PEM, or bare base64 of its DER.
    Public,
}

/// Parameters of a form, sorted and joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    pub from: ParamsFrom,
    pub except: Vec<String>,
    pub order: ParamsOrder,
    pub drop_empty: bool,
    /// Between name and value.
    pub pair: String,
    pub join: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamsFrom {
    Form,
    Query,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamsOrder {
    /// By the bytes of the name.
    Key,
    /// As they came.
    Arrival,
}

#[derive(Debug)]
pub struct Freshness {
    pub timestamp: Template,
    pub format: TimeFormat,
    pub tolerance: Duration,
    /// False: the timestamp lies outside the signed bytes, so it is only advisory (lint L1).
    pub signed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    Unix,
    UnixMillis,
    Rfc3339,
}

#[derive(Debug)]
pub struct EventIdentity {
    /// The provider's id of the event. Where it gives nothing, the digest of the body stands in.
    pub id: Template,
    /// True when everything that `id` reads is signed.
    pub id_signed: bool,
    pub kind: Option<Template>,
}

/// A question that the provider asks to see who answers. Answered only after verification.
#[derive(Debug)]
pub struct Challenge {
    /// All must hold: the template gives exactly these bytes.
    pub when: Vec<(Template, Bytes)>,
    pub reply: Template,
    /// Longest reply in bytes; more is no challenge (lint L12).
    pub reply_max: usize,
    pub content_type: String,
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
    pub config: BTreeMap<String, String>,
    pub url: Option<String>,
    /// What the event id and type must be, when accepted.
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    /// What a challenge must be answered with.
    pub reply: Option<String>,
}
