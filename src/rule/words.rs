//! Words that rule files choose from, where no type lists them itself. The compiler reads them
//! here, and the schemas for editors are made of them.

use http::Method;

use crate::rule::address::Addresses;
use crate::rule::provider::{Action, Charset, Derive, FetchedForm, KeyKind, Trust, Unit};
use crate::rule::relay::Overtaken;
use crate::rule::scheme::{Encoding, Nested, ParamsEncode, ParamsOrder, PartForm, TimeFormat};
use crate::rule::{GuardMode, Http2, Jitter, OnConflict, OnDead, OnStatus, Then};

/// Words and what each stands for.
pub type Words<T, const N: usize> = [(&'static str, T); N];

/// Methods of callbacks.
pub const METHODS: Words<Method, 3> = [
    ("POST", Method::POST),
    ("GET", Method::GET),
    ("PUT", Method::PUT),
];

/// Methods of questions that providers ask, and of examples.
pub const CHALLENGE_METHODS: Words<Method, 5> = [
    ("POST", Method::POST),
    ("GET", Method::GET),
    ("PUT", Method::PUT),
    ("HEAD", Method::HEAD),
    ("OPTIONS", Method::OPTIONS),
];

/// Methods of our own requests.
pub const OUR_METHODS: Words<Method, 2> = [("GET", Method::GET), ("POST", Method::POST)];

/// What a provider says in place of a signature; true: somebody is asked.
pub const VERIFY: Words<bool, 2> = [("none", false), ("query_back", true)];

/// What a source says to take a provider unverified.
pub const VERIFY_SOURCE: Words<(), 1> = [("none", ())];

pub const ENCODINGS: Words<Encoding, 6> = [
    ("hex", Encoding::Hex),
    ("hex_upper", Encoding::HexUpper),
    ("hex_any", Encoding::HexAny),
    ("base64", Encoding::Base64),
    ("base64url", Encoding::Base64Url),
    ("text", Encoding::Text),
];

/// The zone of those that do not say theirs is put in later.
pub const TIME_FORMATS: Words<TimeFormat, 7> = [
    ("unix", TimeFormat::Unix),
    ("unix_ms", TimeFormat::UnixMillis),
    ("unix_auto", TimeFormat::UnixAuto),
    ("rfc3339", TimeFormat::Rfc3339),
    ("http_date", TimeFormat::HttpDate),
    ("compact", TimeFormat::Compact(0)),
    ("plain", TimeFormat::Plain(0)),
];

pub const CODECS: Words<KeyKind, 7> = [
    ("utf8", KeyKind::Utf8),
    ("hex", KeyKind::Hex),
    ("base64", KeyKind::Base64),
    ("base64url", KeyKind::Base64Url),
    ("public", KeyKind::Public),
    ("public_hex", KeyKind::PublicHex),
    ("public_base64", KeyKind::PublicBase64),
];

pub const DERIVES: Words<Derive, 3> = [
    ("sha1", Derive::Sha1),
    ("sha256", Derive::Sha256),
    ("md5_hex", Derive::Md5Hex),
];

pub const TRUSTS: Words<Trust, 3> = [
    ("web", Trust::Web),
    ("keys", Trust::Keys),
    ("host", Trust::Host),
];

pub const FETCHED_FORMS: Words<FetchedForm, 2> =
    [("jwk", FetchedForm::Jwk), ("public", FetchedForm::Public)];

pub const PART_FORMS: Words<PartForm, 5> = [
    ("json", PartForm::Json),
    ("xml", PartForm::Xml),
    ("form", PartForm::Form),
    ("jws", PartForm::Jws),
    ("text", PartForm::Text),
];

/// Places of parameters, besides `part:NAME`.
pub const PARAMS_FROM: Words<usize, 5> = [
    ("form", 0),
    ("query", 1),
    ("json", 2),
    ("json_leaves", 3),
    ("xml", 4),
];

pub const PARAMS_ORDERS: Words<ParamsOrder, 4> = [
    ("key", ParamsOrder::Key),
    ("value", ParamsOrder::Value),
    ("arrival", ParamsOrder::Arrival),
    ("listed", ParamsOrder::Listed),
];

pub const PARAMS_ENCODES: Words<ParamsEncode, 3> = [
    ("none", ParamsEncode::None),
    ("form", ParamsEncode::Form),
    ("percent", ParamsEncode::Percent),
];

/// True: every value once, sorted.
pub const REPEATED: Words<bool, 2> = [("reject", false), ("sorted", true)];

/// True: without zeros at the end of the fraction.
pub const NUMBERS: Words<bool, 2> = [("written", false), ("float_trim", true)];

pub const NESTED: Words<Nested, 3> = [
    ("written", Nested::Written),
    ("skip", Nested::Skip),
    ("reject", Nested::Reject),
];

pub const UNITS: Words<Unit, 2> = [("major", Unit::Major), ("minor", Unit::Minor)];

/// True: what nobody has signed is passed on too.
pub const RELAY_QUERIES: Words<bool, 2> = [("verified", false), ("as-received", true)];

/// True: every item is signed by itself.
pub const SPLIT_VERIFY: Words<bool, 2> = [("item", true), ("delivery", false)];

/// True: the answer replaces what the callback said.
pub const QUERY_MODES: Words<bool, 2> = [("authenticate", false), ("authoritative", true)];

pub const AUTH_KINDS: Words<usize, 4> = [("bearer", 0), ("basic", 1), ("oauth2", 2), ("sign", 3)];

pub const CHARSETS: Words<Charset, 4> = [
    ("token", Charset::Token),
    ("digits", Charset::Digits),
    ("hex", Charset::Hex),
    ("printable", Charset::Printable),
];

/// Types that nobody runs.
pub const CONTENT_TYPES: Words<&str, 3> = [
    ("text/plain", "text/plain"),
    ("application/json", "application/json"),
    ("application/xml", "application/xml"),
];

pub const ACTIONS: Words<Action, 3> = [
    ("payment", Action::Payment),
    ("refund", Action::Refund),
    ("cancel", Action::Cancel),
];

pub const GUARD_MODES: Words<GuardMode, 2> =
    [("enforce", GuardMode::Enforce), ("log", GuardMode::Log)];

/// What becomes of an event whose key is taken by another content.
pub const ON_CONFLICT: Words<OnConflict, 3> = [
    ("keep-both", OnConflict::KeepBoth),
    ("first-wins", OnConflict::FirstWins),
    ("reject", OnConflict::Reject),
];

/// What becomes of a delivery whose event was overtaken.
pub const OVERTAKEN: Words<Overtaken, 2> = [("mark", Overtaken::Mark), ("skip", Overtaken::Skip)];

/// Who answers the provider; true: the application.
pub const ANSWER_MODES: Words<bool, 2> = [("custody", false), ("destination", true)];

/// What becomes of the deliveries behind a dead letter.
pub const ON_DEAD: Words<OnDead, 2> = [("continue", OnDead::Continue), ("hold", OnDead::Hold)];

pub const JITTERS: Words<Jitter, 2> = [("full", Jitter::Full), ("none", Jitter::None)];

/// What comes when a list of pauses is at its end.
pub const THENS: Words<Then, 2> = [("repeat", Then::Repeat), ("dead", Then::Dead)];

/// What an answer with a certain status leads to.
pub const ON_STATUSES: Words<OnStatus, 2> = [("retry", OnStatus::Retry), ("dead", OnStatus::Dead)];

/// In place of the table of a breaker.
pub const BREAKERS: Words<(), 1> = [("off", ())];

pub const HTTP2: Words<Http2, 3> = [
    ("alpn", Http2::Alpn),
    ("never", Http2::Never),
    ("prior-knowledge", Http2::PriorKnowledge),
];

pub const ADDRESSES: Words<Addresses, 3> = [
    ("any", Addresses::Any),
    ("private", Addresses::Private),
    ("public", Addresses::Public),
];
