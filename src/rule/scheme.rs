//! How a provider signs: algorithms, keys and where they come from, and what a request of our own
//! looks like. Data only; [`crate::rule::provider`] holds the rest of a provider's file.

use std::time::Duration;

use http::Method;

use crate::rule::Template;
use crate::rule::template::{Piece, Pointer, Selector, Value};
use crate::rule::url::UrlPin;

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

/// What is signed, with what, and where the signature stands. A provider may have several; each
/// that applies is tried.
#[derive(Clone, Debug)]
pub struct Scheme {
    /// What a source calls it under `schemes`; empty where there is only one.
    pub name: String,
    /// Used only by a source that names it.
    pub opt_in: bool,
    /// It applies only to requests for which all of these hold.
    pub when: Vec<Condition>,
    pub algorithm: Algorithm,
    /// Why a scheme that is no proof by today's measure is used all the same.
    pub weak: Option<String>,
    /// A header that is taken apart into `{sig:NAME}`.
    pub header: Option<HeaderGrammar>,
    /// Gives the candidate signatures. None where the algorithm says where they stand.
    pub value: Option<Value>,
    pub encoding: Encoding,
    /// The signed bytes. Several: any of them (at most 16 together with candidates and keys).
    pub messages: Vec<Template>,
    /// Which key was used, as the request says it.
    pub key_id: Option<Template>,
    pub key: KeyRule,
    /// How `{params}` is sorted and joined.
    pub params: Option<Params>,
    /// JWS: the algorithms that a token may name.
    pub jws: Vec<&'static str>,
    /// RFC 9421: what a signature must cover.
    pub components: Vec<String>,
    /// RFC 9421: the algorithms of its keys.
    pub http: Vec<Algorithm>,
    /// The file says itself that the signature leaves the body out (lint L2).
    pub body_unsigned: bool,
    pub body_unsigned_reason: Option<String>,
}

/// How a signature is written. Each is read strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Lower case.
    Hex,
    HexUpper,
    /// Either case.
    HexAny,
    /// Standard alphabet, padded.
    Base64,
    /// URL alphabet, not padded.
    Base64Url,
    /// As it is: a token.
    Text,
}

/// `t=1,v1=abc,v1=def`: items and pairs. Repeated names keep every value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderGrammar {
    /// The header field, or anything else that gives one value.
    pub from: Value,
    pub items: String,
    /// None: items have no names, only places from 1.
    pub pair: Option<String>,
}

/// How the text of a secret becomes the bytes of a key, and where keys come from.
#[derive(Clone, Debug)]
pub struct KeyRule {
    pub kind: KeyKind,
    /// Taken off before decoding, e.g. `whsec_`; a key without it is taken as it is.
    pub strip_prefix: String,
    pub derive: Option<Derive>,
    /// What a person puts into `keys`, and where he finds it.
    pub meaning: Option<String>,
    /// The same key signs for all customers of the provider. None: not said.
    pub shared: Option<bool>,
    /// Why an RSA key of 1024 bits is taken, which nobody should use any more.
    pub small_rsa: Option<String>,
    /// Fewest bytes of a shared secret, where the provider's own are shorter than usual.
    pub shortest: Option<usize>,
    pub source: KeySource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Utf8,
    Hex,
    Base64,
    Base64Url,
    /// A public key or certificate: PEM, or bare base64 of its DER.
    Public,
    /// The bare bytes of a public key as text.
    PublicHex,
    PublicBase64,
}

/// What is done to a key after decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derive {
    /// The raw digest.
    Sha1,
    Sha256,
    /// The digest as lower-case hexadecimal text.
    Md5Hex,
}

/// Where the keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// The source names them.
    Given,
    Jwks {
        request: RemoteRequest,
        ttl: Duration,
    },
    /// A certificate at an address that the request names.
    CertificateUrl {
        url: Template,
        pin: UrlPin,
        trust: Trust,
        name: Option<Template>,
    },
    /// Certificates in the header of a JWS.
    X5c {
        length: Option<usize>,
        trust: Trust,
        leaf_oid: Option<String>,
        intermediate_oid: Option<String>,
    },
    /// A certificate in the request.
    Certificate {
        from: Template,
        trust: Trust,
        name: Option<Template>,
    },
    /// A key in the request, signed by one of the source's keys.
    Signed(Box<SignedKey>),
    Fetch(Box<FetchedKeys>),
}

/// What a certificate must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The public roots.
    Web,
    /// The source's keys, which are root certificates.
    Keys,
    /// The TLS connection to the pinned host is all there is.
    Host,
}

#[derive(Clone, Debug)]
pub struct SignedKey {
    pub algorithm: Algorithm,
    pub value: Value,
    pub encoding: Encoding,
    pub message: Template,
    /// The key that was signed.
    pub key: Template,
    pub expires: Option<(Template, TimeFormat)>,
}

#[derive(Clone, Debug)]
pub struct FetchedKeys {
    pub request: RemoteRequest,
    /// Several keys in one answer: where they stand.
    pub items: Option<Pointer>,
    /// The id of each.
    pub id: Option<Template>,
    pub value: Template,
    pub form: FetchedForm,
    /// Each value is encrypted.
    pub decrypt: Option<Decrypt>,
    pub ttl: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchedForm {
    Jwk,
    Public,
}

/// A request of our own to a host that the rule pins.
#[derive(Clone, Debug)]
pub struct RemoteRequest {
    pub host: Host,
    pub method: Method,
    pub path: Template,
    pub headers: Vec<(String, Template)>,
    pub body: Template,
    pub auth: Option<Auth>,
    pub timeout: Duration,
}

#[derive(Clone, Debug)]
pub enum Host {
    /// By environment; the first is the default. Each is `https://NAME`.
    Pinned(Vec<(String, String)>),
    /// An address that the source sets under `[config]`.
    Configured(String),
}

#[derive(Clone, Debug)]
pub enum Auth {
    Bearer(Template),
    Basic {
        user: Template,
        password: Template,
    },
    /// Client credentials at the same host.
    OAuth2 {
        path: String,
        user: Template,
        password: Template,
    },
    /// Gives `{signature}`.
    Sign {
        algorithm: Algorithm,
        key: Template,
        message: Template,
        encoding: Encoding,
    },
}

/// Something that must hold of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub is: Template,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// One of these.
    Equals(Vec<Template>),
    StartsWith(String),
    Present(bool),
    /// This text is not in it. What is missing lacks it too.
    Lacks(String),
}

/// Names and values, sorted and joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    pub from: ParamsFrom,
    /// Only these; none: all.
    pub only: Vec<String>,
    pub only_prefix: Vec<String>,
    pub except: Vec<String>,
    pub except_prefix: Vec<String>,
    pub drop_empty: bool,
    pub order: ParamsOrder,
    pub render: Render,
    pub join: String,
    pub encode: ParamsEncode,
    /// Repeated names: an error, or every value once, sorted.
    pub repeated_sorted: bool,
    /// Numbers without zeros at the end of their fraction.
    pub float_trim: bool,
    pub nested: Nested,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamsFrom {
    Form,
    Query,
    /// The members of the outermost object.
    Json,
    /// Every scalar, at any depth.
    JsonLeaves,
    Xml,
    Part(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamsOrder {
    /// By the bytes of the name.
    Key,
    Value,
    /// As they came.
    Arrival,
    /// As in `only`.
    Listed,
}

/// What one pair looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Render {
    pub name: bool,
    pub between: String,
    pub value: bool,
    pub after: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamsEncode {
    None,
    Form,
    Percent,
}

/// Objects and arrays among the members of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nested {
    Written,
    Skip,
    Reject,
}

/// How a moment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    Unix,
    UnixMillis,
    /// Seconds or milliseconds, told by the number of digits.
    UnixAuto,
    Rfc3339,
    /// RFC 9110 §5.6.7.
    HttpDate,
    /// `yyyyMMddHHmmss`; seconds to add for UTC.
    Compact(i32),
    /// `yyyy-MM-dd HH:mm:ss`.
    Plain(i32),
}

#[derive(Clone, Debug)]
pub struct Decrypt {
    pub algorithm: Cipher,
    pub key: Template,
    pub data: Template,
    /// Nonce or initialisation vector.
    pub nonce: Option<Template>,
    pub aad: Option<Template>,
    pub form: PartForm,
    pub when: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// The tag of 16 bytes stands after the text (RFC 5116).
    Aes256Gcm,
    Aes128Gcm,
    /// Padded as PKCS#7.
    Aes256Cbc,
    Aes128Cbc,
    Aes256Ecb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartForm {
    Json,
    Xml,
    Form,
    Jws,
    Text,
}

/// At most so many combinations of candidate, key and message variant (lint L6).
pub const MOST_COMBINATIONS: usize = 16;

impl Algorithm {
    pub const ALL: [(&'static str, Algorithm); 27] = [
        ("hmac-sha1", Algorithm::Hmac(Digest::Sha1)),
        ("hmac-sha256", Algorithm::Hmac(Digest::Sha256)),
        ("hmac-sha384", Algorithm::Hmac(Digest::Sha384)),
        ("hmac-sha512", Algorithm::Hmac(Digest::Sha512)),
        ("md5", Algorithm::Keyed(Digest::Md5)),
        ("sha1", Algorithm::Keyed(Digest::Sha1)),
        ("sha256", Algorithm::Keyed(Digest::Sha256)),
        ("sha512", Algorithm::Keyed(Digest::Sha512)),
        ("sha3-512", Algorithm::Keyed(Digest::Sha3_512)),
        ("keccak256", Algorithm::Keyed(Digest::Keccak256)),
        ("rsa-md5", Algorithm::Rsa(Digest::Md5)),
        ("rsa-sha1", Algorithm::Rsa(Digest::Sha1)),
        ("rsa-sha256", Algorithm::Rsa(Digest::Sha256)),
        ("rsa-sha384", Algorithm::Rsa(Digest::Sha384)),
        ("rsa-sha512", Algorithm::Rsa(Digest::Sha512)),
        ("rsa-pss-sha256", Algorithm::RsaPss(Digest::Sha256)),
        ("rsa-pss-sha384", Algorithm::RsaPss(Digest::Sha384)),
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
            .find(|(_, algorithm)| *algorithm == self)
            .map_or("unnamed", |(name, _)| name)
    }

    /// True when verifying needs only a public key.
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

    /// True when it may stand in a file only with a reason.
    pub fn is_weak(self) -> bool {
        match self {
            Algorithm::Keyed(_) | Algorithm::Token | Algorithm::Basic => true,
            Algorithm::Hmac(digest) => digest == Digest::Md5,
            Algorithm::Rsa(digest) | Algorithm::RsaPss(digest) => {
                matches!(digest, Digest::Md5 | Digest::Sha1)
            }
            Algorithm::Ecdsa(_)
            | Algorithm::EcdsaRaw(_)
            | Algorithm::Ed25519
            | Algorithm::Jws
            | Algorithm::HttpSignature => false,
        }
    }
}

impl Digest {
    pub fn name(self) -> &'static str {
        match self {
            Digest::Md5 => "md5",
            Digest::Sha1 => "sha1",
            Digest::Sha256 => "sha256",
            Digest::Sha384 => "sha384",
            Digest::Sha512 => "sha512",
            Digest::Sha3_512 => "sha3-512",
            Digest::Keccak256 => "keccak256",
        }
    }
}

impl FetchedKeys {
    /// What a source must have set before this can work. Optional segments can do without.
    pub fn settings(&self) -> Vec<Selector> {
        let request = &self.request;
        let auth: Vec<&Template> = match &request.auth {
            None => Vec::new(),
            Some(Auth::Bearer(token)) => vec![token],
            Some(Auth::Basic { user, password } | Auth::OAuth2 { user, password, .. }) => {
                vec![user, password]
            }
            Some(Auth::Sign { key, message, .. }) => vec![key, message],
        };
        let decrypt = self.decrypt.iter().flat_map(|decrypt| [&decrypt.key]);
        let headers = request.headers.iter().map(|(_, template)| template);
        [&request.path, &request.body]
            .into_iter()
            .chain(headers)
            .chain(auth)
            .chain(decrypt)
            .flat_map(|template| template.pieces())
            .filter_map(|piece| match piece {
                Piece::Value(value) => Some(value.selector.clone()),
                Piece::Literal(_) | Piece::Optional(_) => None,
            })
            .filter(|s| matches!(s, Selector::Secret(_) | Selector::Config(_)))
            .collect()
    }
}

impl Scheme {
    /// How many combinations one key costs.
    pub fn variants(&self) -> usize {
        self.messages.len().max(1)
    }
}

/// The names of RFC 9421 §6.2.2 and §3.3, with the algorithms they stand for.
pub const HTTP_ALGORITHMS: [(&str, Algorithm); 6] = [
    ("hmac-sha256", Algorithm::Hmac(Digest::Sha256)),
    ("ed25519", Algorithm::Ed25519),
    ("ecdsa-p256-sha256", Algorithm::EcdsaRaw(Curve::P256)),
    ("ecdsa-p384-sha384", Algorithm::EcdsaRaw(Curve::P384)),
    ("rsa-v1_5-sha256", Algorithm::Rsa(Digest::Sha256)),
    ("rsa-pss-sha512", Algorithm::RsaPss(Digest::Sha512)),
];

/// The algorithms that a JWS may be pinned to (RFC 7518 §3.1, RFC 8037).
pub const JWS_ALGORITHMS: [&str; 10] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA",
];

impl Cipher {
    pub const ALL: [(&'static str, Cipher); 5] = [
        ("aes-256-gcm", Cipher::Aes256Gcm),
        ("aes-128-gcm", Cipher::Aes128Gcm),
        ("aes-256-cbc", Cipher::Aes256Cbc),
        ("aes-128-cbc", Cipher::Aes128Cbc),
        ("aes-256-ecb", Cipher::Aes256Ecb),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Cipher::Aes256Gcm => "aes-256-gcm",
            Cipher::Aes128Gcm => "aes-128-gcm",
            Cipher::Aes256Cbc => "aes-256-cbc",
            Cipher::Aes128Cbc => "aes-128-cbc",
            Cipher::Aes256Ecb => "aes-256-ecb",
        }
    }

    /// Bytes of the key.
    pub fn key_length(self) -> usize {
        match self {
            Cipher::Aes256Gcm | Cipher::Aes256Cbc | Cipher::Aes256Ecb => 32,
            Cipher::Aes128Gcm | Cipher::Aes128Cbc => 16,
        }
    }

    /// Bytes of the nonce or initialisation vector.
    pub fn nonce_length(self) -> usize {
        match self {
            Cipher::Aes256Gcm | Cipher::Aes128Gcm => 12,
            Cipher::Aes256Cbc | Cipher::Aes128Cbc => 16,
            Cipher::Aes256Ecb => 0,
        }
    }

    /// True when associated data takes part.
    pub fn is_authenticated(self) -> bool {
        match self {
            Cipher::Aes256Gcm | Cipher::Aes128Gcm => true,
            Cipher::Aes256Cbc | Cipher::Aes128Cbc | Cipher::Aes256Ecb => false,
        }
    }
}
