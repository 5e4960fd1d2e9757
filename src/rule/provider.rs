//! A provider: how a vendor signs, as its file under `rules/providers/` describes it. Data only.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use ipnet::IpNet;

use crate::rule::Answers;
use crate::rule::template::{Selector, Template, Value};

/// A compiled provider file.
#[derive(Clone, Debug)]
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
    /// Names that a source must set under `[secrets]`, with what they mean.
    pub secrets: BTreeMap<String, String>,
    pub examples: Vec<Example>,
}

/// What is signed, with what, and where the signature stands.
#[derive(Clone, Debug)]
pub struct Scheme {
    pub algorithm: Algorithm,
    /// A header that is taken apart into `{sig:NAME}`.
    pub header: Option<HeaderGrammar>,
    /// Gives the candidate signatures: one value, which a header may repeat. Each is tried with
    /// each key.
    pub value: Value,
    pub encoding: Encoding,
    /// The signed bytes. Several: any of them (at most 16 together with candidates and keys).
    pub messages: Vec<Template>,
    /// Which key was used, as the request says it.
    pub key_id: Option<Template>,
    pub key_codec: KeyCodec,
    /// How `{params}` is sorted and joined.
    pub params: Option<Params>,
    /// The file says itself that the signature leaves the body out (lint L2).
    pub body_unsigned: bool,
}

/// Pinned by the provider file; never taken from a request (lint L3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Hmac(Digest),
    /// A digest of a message that holds the key.
    Keyed(Digest),
    /// PKCS#1 v1.5.
    Rsa(Digest),
    RsaPss(Digest),
    /// The signature as DER.
    Ecdsa(Curve),
    /// The signature as r and s, each of the curve's length.
    EcdsaRaw(Curve),
    Ed25519,
    /// The value is a compact JWS; its algorithm is one of a pinned set.
    Jws,
    /// RFC 9421.
    HttpSignature,
    /// The value is the key.
    Token,
    /// `Authorization: Basic`; the key is `user:password`.
    Basic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Sha3_512,
    Keccak256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    P256,
    P384,
}

/// How a signature is written. Each is read strictly: one text for one value, but for `HexAny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Lower case.
    Hex,
    HexUpper,
    /// For providers that do not say which, or use both: the case means nothing.
    HexAny,
    /// Standard alphabet, padded.
    Base64,
    /// URL alphabet, not padded.
    Base64Url,
    /// The bytes as they stand (tokens).
    Text,
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

/// When the request was signed. The compiler has made sure that this is signed itself (lint L1).
#[derive(Clone, Debug)]
pub struct Freshness {
    pub timestamp: Template,
    pub format: TimeFormat,
    pub tolerance: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    Unix,
    UnixMillis,
    Rfc3339,
}

#[derive(Clone, Debug)]
pub struct EventIdentity {
    /// The provider's id of the event. Where it gives nothing, the digest of the body stands in.
    pub id: Template,
    /// True when everything that `id` reads is signed.
    pub id_signed: bool,
    pub kind: Option<Template>,
}

/// A question that the provider asks to see who answers. Answered only after verification.
#[derive(Clone, Debug)]
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
    pub secrets: BTreeMap<String, String>,
    pub url: Option<String>,
    /// What the event id and type must be, when accepted.
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    /// What a challenge must be answered with.
    pub reply: Option<String>,
}

/// At most so many combinations of candidate, key and message variant (lint L6).
pub const MOST_COMBINATIONS: usize = 16;

impl Algorithm {
    /// Every algorithm that a provider file can pin, by its name there.
    pub const ALL: [(&'static str, Algorithm); 26] = [
        ("hmac-sha1", Algorithm::Hmac(Digest::Sha1)),
        ("hmac-sha256", Algorithm::Hmac(Digest::Sha256)),
        ("hmac-sha384", Algorithm::Hmac(Digest::Sha384)),
        ("hmac-sha512", Algorithm::Hmac(Digest::Sha512)),
        ("md5", Algorithm::Keyed(Digest::Md5)),
        ("sha1", Algorithm::Keyed(Digest::Sha1)),
        ("sha256", Algorithm::Keyed(Digest::Sha256)),
        ("sha512", Algorithm::Keyed(Digest::Sha512)),
        ("keccak256", Algorithm::Keyed(Digest::Keccak256)),
        ("sha3-512", Algorithm::Keyed(Digest::Sha3_512)),
        ("rsa-md5", Algorithm::Rsa(Digest::Md5)),
        ("rsa-sha1", Algorithm::Rsa(Digest::Sha1)),
        ("rsa-sha256", Algorithm::Rsa(Digest::Sha256)),
        ("rsa-sha384", Algorithm::Rsa(Digest::Sha384)),
        ("rsa-sha512", Algorithm::Rsa(Digest::Sha512)),
        ("rsa-pss-sha256", Algorithm::RsaPss(Digest::Sha256)),
        ("rsa-pss-sha512", Algorithm::RsaPss(Digest::Sha512)),
        ("ecdsa-p256", Algorithm::Ecdsa(Curve::P256)),
        ("ecdsa-p384", Algorithm::Ecdsa(Curve::P384)),
        ("ecdsa-p256-raw", Algorithm::EcdsaRaw(Curve::P256)),
        ("ecdsa-p384-raw", Algorithm::EcdsaRaw(Curve::P384)),
        ("ed25519", Algorithm::Ed25519),
        ("jws", Algorithm::Jws),
        ("http-signature", Algorithm::HttpSignature),
        ("token", Algorithm::Token),
        ("basic", Algorithm::Basic),
    ];

    pub fn name(self) -> &'static str {
        Algorithm::ALL
            .iter()
            .find(|(_, known)| *known == self)
            // The compiler makes only those of the list.
            .map_or("(not in the language)", |(name, _)| name)
    }

    /// True when verifying needs only a public key. The families `jws` and `http-signature` say
    /// false: that depends on what the provider pins beside them.
    pub fn is_asymmetric(self) -> bool {
        match self {
            Algorithm::Rsa(_)
            | Algorithm::RsaPss(_)
            | Algorithm::Ecdsa(_)
            | Algorithm::EcdsaRaw(_)
            | Algorithm::Ed25519 => true,
            Algorithm::Hmac(_)
            | Algorithm::Keyed(_)
            | Algorithm::Jws
            | Algorithm::HttpSignature
            | Algorithm::Token
            | Algorithm::Basic => false,
        }
    }
}

impl Scheme {
    /// True when the signature fixes what `selector` finds, in every variant of the message.
    pub fn covers(&self, selector: &Selector) -> bool {
        !selector.from_request()
            || self
                .messages
                .iter()
                .all(|message| self.variant_covers(message, selector))
    }

    fn variant_covers(&self, message: &Template, wanted: &Selector) -> bool {
        message
            .values()
            .filter(|value| value.keeps_apart())
            .any(|value| {
                let signed = &value.selector;
                signed == wanted
                    || match (signed, wanted) {
                        (Selector::Body, Selector::Json(_) | Selector::Form(_)) => true,
                        (
                            Selector::Target,
                            Selector::Path | Selector::Query | Selector::QueryParam(_),
                        )
                        | (Selector::Query, Selector::QueryParam(_)) => true,
                        (Selector::Params { without }, wanted) => self.set_covers(without, wanted),
                        _ => false,
                    }
            })
    }

    /// True when the sorted parameters, without some names, contain what `wanted` finds.
    fn set_covers(&self, without: &[String], wanted: &Selector) -> bool {
        let Some(params) = &self.params else {
            return false;
        };
        let name = match (params.from, wanted) {
            (ParamsFrom::Form, Selector::Form(name))
            | (ParamsFrom::Query, Selector::QueryParam(name)) => name,
            _ => return false,
        };
        !without.contains(name) && !params.except.contains(name)
    }

    /// True when the signature covers the body: byte for byte, or all parameters of a form but
    /// those that the file excepts by name.
    pub fn covers_body(&self) -> bool {
        self.covers(&Selector::Body) || self.covers_form()
    }

    fn covers_form(&self) -> bool {
        let from_form = self
            .params
            .as_ref()
            .is_some_and(|p| p.from == ParamsFrom::Form);
        from_form
            && self.messages.iter().all(|message| {
                message.values().any(|value| {
                    value.keeps_apart() && matches!(value.selector, Selector::Params { .. })
                })
            })
    }
}
