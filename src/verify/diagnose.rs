//! Why was it rejected? Experiments: something that often goes wrong is put right, and the same
//! verifier judges again. What then fits is the cause. Only for a person who asks: it costs
//! hundreds of verifications, and takes no care to hide its time.

use std::borrow::Cow;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::message::RawRequest;
use crate::rule::scheme::{Algorithm, Curve, Digest, Encoding, KeyKind, TimeFormat};
use crate::rule::template::{Selector, Template};
use crate::rule::{Provider, Rule};
use crate::secret::Secret;
use crate::verify::judge::{Step, judge, seal_with};
use crate::verify::keys::Keyring;
use crate::verify::place::Draft;
use crate::verify::rejection::Rejection;
use crate::verify::want::{Known, Want};
use crate::verify::{Verifier, evaluate, freshness, variants};

/// A rejected request and everything that may help.
pub struct Case<'c> {
    pub verifier: &'c Verifier,
    /// The texts of the source's keys, in the order of its rule.
    pub texts: &'c [Secret],
    pub request: &'c RawRequest,
    pub now: Timestamp,
    pub known: &'c Known,
    /// The catalogue, for requests that another provider signed.
    pub catalogue: &'c [Arc<Provider>],
    /// Other sources, whose keys may have been meant.
    pub siblings: &'c [&'c Verifier],
}

/// What is probably wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cause {
    pub code: &'static str,
    pub text: String,
    /// With it put right, the signature fits.
    pub proven: bool,
}

/// The likely causes, those that are proven first.
pub fn causes(case: &Case<'_>, rejection: &Rejection) -> Vec<Cause> {
    let bench = Bench {
        case,
        rule: case.verifier.rule(),
        before: stage_of(rejection),
    };
    let mut found = Vec::new();
    found.extend(bench.length());
    found.extend(bench.stamp(rejection));
    found.extend(bench.body());
    found.extend(bench.blanks_in_signature());
    found.extend(bench.path());
    found.extend(bench.url());
    found.extend(bench.other_key());
    found.extend(bench.key_reading());
    found.extend(bench.algorithm());
    found.extend(bench.sibling());
    found.extend(bench.other_provider());
    found.sort_by_key(|cause: &Cause| !cause.proven);
    let mut codes = Vec::new();
    found.retain(|cause| {
        let new = !codes.contains(&cause.code);
        codes.push(cause.code);
        new
    });
    found
}

/// How far a request came: the further, the better an experiment.
fn stage_of(rejection: &Rejection) -> u8 {
    match rejection {
        Rejection::MethodUnexpected => 0,
        Rejection::SignatureMissing
        | Rejection::SignatureMalformed
        | Rejection::SignatureMismatch { .. }
        | Rejection::TooManyCandidates { .. }
        | Rejection::KeyUnknown { .. }
        | Rejection::KeyExpired
        | Rejection::KeyUntrusted { .. }
        | Rejection::TimestampMissing
        | Rejection::TimestampMalformed
        | Rejection::HeaderRepeated { .. }
        | Rejection::FieldRepeated { .. }
        | Rejection::FieldMissing { .. }
        | Rejection::FieldMalformed { .. }
        | Rejection::SchemeUnknown
        | Rejection::Unready { .. }
        | Rejection::BodyMalformed { .. } => 1,
        Rejection::AlsoFailed { .. } => 2,
        Rejection::Stale { .. } | Rejection::FromTheFuture { .. } => 3,
        Rejection::WrongAddressee { .. } | Rejection::AssertionFailed { .. } => 4,
        Rejection::Undecipherable => 5,
        Rejection::NotConfirmed { .. } => 6,
    }
}

struct Bench<'c> {
    case: &'c Case<'c>,
    rule: &'c Arc<Rule>,
    before: u8,
}

fn proven(code: &'static str, text: impl Into<String>) -> Cause {
    Cause {
        code,
        text: text.into(),
        proven: true,
    }
}

fn guessed(code: &'static str, text: impl Into<String>) -> Cause {
    Cause {
        code,
        text: text.into(),
        proven: false,
    }
}

impl Bench<'_> {
    /// True when the change brings the request further than it came.
    fn helps(&self, rule: &Rule, keys: &Keyring, request: &RawRequest) -> bool {
        let judged = judge(rule, keys, request, self.case.now, self.case.known);
        let stage = match judged {
            Ok(Step::Done(_)) => 9,
            Ok(Step::Wanted(Want::Keys { .. })) => 1,
            Ok(Step::Wanted(Want::Confirmation { .. } | Want::Visit { .. })) => 6,
            Err(rejection) => stage_of(&rejection),
        };
        stage > self.before
    }

    fn request_helps(&self, request: &RawRequest) -> bool {
        self.helps(self.rule, self.case.verifier.keys(), request)
    }

    fn with_body(&self, body: Vec<u8>) -> RawRequest {
        RawRequest {
            body: body.into(),
            ..self.case.request.clone()
        }
    }

    /// The keys as another rule reads them.
    fn keys_of(&self, rule: &Rule, texts: &[Secret]) -> Option<Keyring> {
        Keyring::trial(rule, texts, self.case.verifier.keys().secrets()).ok()
    }

    fn rule_with(&self, change: impl FnOnce(&mut Provider)) -> Rule {
        let mut provider = Provider::clone(&self.rule.provider);
        change(&mut provider);
        Rule {
            provider: Arc::new(provider),
            ..Rule::clone(self.rule)
        }
    }

    fn length(&self) -> Option<Cause> {
        let request = self.case.request;
        let stated = request.headers.only("content-length")?;
        let stated: usize = std::str::from_utf8(stated).ok()?.trim().parse().ok()?;
        let found = request.body.len();
        if stated == found {
            return None;
        }
        if found < stated {
            return Some(guessed(
                "body_truncated",
                format!(
                    "{} of {stated} bytes of the body are missing: it was cut off, or captured \
                     only in part",
                    stated - found
                ),
            ));
        }
        let cut = request.body.get(..stated).unwrap_or_default().to_vec();
        let text = format!(
            "the body has {} bytes more than Content-Length says: they were added after it was \
             signed",
            found - stated
        );
        Some(match self.request_helps(&self.with_body(cut)) {
            true => proven("body_extended", text),
            false => guessed("body_extended", text),
        })
    }

    fn stamp(&self, rejection: &Rejection) -> Option<Cause> {
        let rule = self.rule.provider.freshness.as_ref()?;
        let keys = self.case.verifier.keys();
        let draft = |scheme| Draft {
            request: self.case.request.clone(),
            rule: self.rule,
            keys,
            scheme,
            item: None,
        };
        let schemes = 0..self.rule.provider.schemes.len();
        let text = schemes.map(Some).chain([None]).find_map(|scheme| {
            draft(scheme).with_scope(|scope| evaluate::text(&rule.timestamp, scope).ok().flatten())
        })?;
        let digits = text.iter().all(u8::is_ascii_digit).then_some(text.len());
        match (rule.format, digits) {
            (TimeFormat::Unix, Some(13)) => {
                return Some(guessed(
                    "timestamp_unit",
                    "the timestamp is in milliseconds, and this provider sends seconds",
                ));
            }
            (TimeFormat::UnixMillis, Some(10)) => {
                return Some(guessed(
                    "timestamp_unit",
                    "the timestamp is in seconds, and this provider sends milliseconds",
                ));
            }
            _ => {}
        }
        let stamp = freshness::read(rule.format, &text).ok()?;
        let (millis, which) = match rejection {
            Rejection::Stale { millis } => (*millis, "behind"),
            Rejection::FromTheFuture { millis } => (*millis, "ahead of"),
            _ => return None,
        };
        let tolerance = self.rule.tolerance.unwrap_or(rule.tolerance);
        let halves = (millis + 900_000) / 1_800_000;
        let off = millis.abs_diff(halves * 1_800_000);
        if (1..=28).contains(&halves) && u128::from(off) <= tolerance.as_millis().min(120_000) {
            let text = format!(
                "the stamp {stamp} is {} h {} min {which} this clock: somebody's time zone is \
                 wrong",
                halves / 2,
                halves % 2 * 30
            );
            return Some(guessed("time_zone", text));
        }
        Some(guessed(
            "clock",
            format!(
                "the stamp {stamp} is {} s {which} this clock: it was sent again without being \
                 signed again, captured a while ago (see --at), or a clock is wrong",
                millis / 1000
            ),
        ))
    }

    fn body(&self) -> Option<Cause> {
        let rewritten = variants::of(&self.case.request.body)
            .into_iter()
            .find(|variant| self.request_helps(&self.with_body(variant.body.clone())))?;
        Some(proven(
            rewritten.code,
            format!(
                "the body was changed on its way (by a proxy, a framework or the capture): when \
                 it was signed, {}",
                rewritten.what
            ),
        ))
    }

    /// Base64 whose `+` became a blank.
    fn blanks_in_signature(&self) -> Option<Cause> {
        for (index, scheme) in self.rule.provider.schemes.iter().enumerate() {
            let mut draft = Draft {
                request: self.case.request.clone(),
                rule: self.rule,
                keys: self.case.verifier.keys(),
                scheme: Some(index),
                item: self.rule.provider.split.as_ref().map(|_| 0),
            };
            let Some(value) = &scheme.value else { continue };
            let Some(text) = draft.read(value) else {
                continue;
            };
            if !text.contains(&b' ') {
                continue;
            }
            let plus: Vec<u8> = text
                .iter()
                .map(|b| if *b == b' ' { b'+' } else { *b })
                .collect();
            if draft.put(value, &plus).is_ok() && self.request_helps(&draft.request) {
                return Some(proven(
                    "plus_as_space",
                    "a + in the signature was decoded as a blank",
                ));
            }
        }
        None
    }

    fn path(&self) -> Option<Cause> {
        let request = self.case.request;
        let url = self.rule.url.as_deref().and_then(path_and_query);
        let mut paths: Vec<(String, Option<String>)> = Vec::new();
        let queries = [
            request.query.clone(),
            None,
            url.as_ref().and_then(|(_, query)| query.clone()),
        ];
        let mut bare = vec![
            request.path.clone(),
            self.rule.path.trim_end_matches('*').to_owned(),
        ];
        bare.extend(url.map(|(path, _)| path));
        bare.push(format!("{}/", request.path));
        bare.extend(request.path.strip_suffix('/').map(str::to_owned));
        let slashes = request.path.match_indices('/').skip(1);
        bare.extend(slashes.filter_map(|(at, _)| request.path.get(at..).map(str::to_owned)));
        if let Ok(decoded) = crate::verify::form::decode(request.path.as_bytes(), false) {
            bare.extend(String::from_utf8(decoded.into_owned()));
        }
        for path in &bare {
            for query in &queries {
                paths.push((path.clone(), query.clone()));
            }
        }
        for (path, query) in paths {
            let changed = RawRequest {
                path: path.clone(),
                query: query.clone(),
                ..request.clone()
            };
            if self.request_helps(&changed) {
                return Some(proven(
                    "path_rewritten",
                    format!(
                        "it was signed for {} and arrived at {}: a proxy in front rewrites the \
                         address",
                        changed.target(),
                        request.target()
                    ),
                ));
            }
        }
        None
    }

    fn url(&self) -> Option<Cause> {
        let keys = self.case.verifier.keys();
        let reads = self.rule.provider.schemes.iter().any(|scheme| {
            let of_messages = scheme.messages.iter().flat_map(Template::selectors);
            of_messages.into_iter().any(|s| *s == Selector::Url)
                || scheme.algorithm == Algorithm::HttpSignature
        });
        if !reads {
            return None;
        }
        for url in addresses(self.rule.url.as_deref(), self.case.request) {
            let rule = Rule {
                url: Some(url.clone()),
                ..Rule::clone(self.rule)
            };
            if self.helps(&rule, keys, self.case.request) {
                let set = self.rule.url.as_deref().unwrap_or("nothing");
                return Some(proven(
                    "url",
                    format!("it was signed for {url}, and `url` of the source says {set}"),
                ));
            }
        }
        None
    }

    /// A key of the source that the request does not name, or that has ended.
    fn other_key(&self) -> Option<Cause> {
        let mut rule = self.rule_with(|provider| {
            provider.schemes.iter_mut().for_each(|s| s.key_id = None);
        });
        let named = Rule::clone(&rule);
        rule.keys.iter_mut().for_each(|key| key.not_after = None);
        let request = self.case.request;
        let seal = |rule: &Rule| {
            let keys = self.keys_of(rule, self.case.texts)?;
            seal_with(rule, &keys, request, self.case.now, self.case.known).ok()
        };
        if self.before > 1 {
            return None;
        }
        let label = seal(&rule)?;
        let label = label
            .split_once(' ')
            .map_or("", |(_, label)| label)
            .to_owned();
        if seal(&named).is_none() {
            let end = self.rule.keys.iter().find(|key| key.label == label);
            let end = end.and_then(|key| key.not_after);
            let end = end.map_or_else(String::new, |end| format!(" at {end}"));
            return Some(proven(
                "key_expired",
                format!("the key {label} fits, and it ended{end}"),
            ));
        }
        Some(proven(
            "key_other",
            format!(
                "the key {label} fits, and the request names another one: the `id` in `keys` is \
                 wrong, or it is a key of the other environment"
            ),
        ))
    }

    /// The same text read in another way.
    fn key_reading(&self) -> Option<Cause> {
        let own = self.rule.provider.schemes.first()?.key.clone();
        if self.case.texts.is_empty() {
            return None;
        }
        for (how, texts) in readings(self.case.texts, &own.strip_prefix) {
            for (kind, name) in KINDS {
                for strip in [own.strip_prefix.as_str(), "", "whsec_"] {
                    if how.is_none() && kind == own.kind && strip == own.strip_prefix {
                        continue;
                    }
                    let rule = self.rule_with(|provider| {
                        for scheme in &mut provider.schemes {
                            scheme.key.kind = kind;
                            strip.clone_into(&mut scheme.key.strip_prefix);
                        }
                    });
                    let Some(keys) = self.keys_of(&rule, &texts) else {
                        continue;
                    };
                    if !self.helps(&rule, &keys, self.case.request) {
                        continue;
                    }
                    if let Some((code, how)) = how {
                        return Some(proven(code, how));
                    }
                    if kind == own.kind
                        || (strip != own.strip_prefix
                            && has(self.case.texts, strip, &own.strip_prefix))
                    {
                        let with = if strip.is_empty() { "with" } else { "without" };
                        return Some(proven(
                            "key_prefix",
                            format!(
                                "the key fits when it is taken {with} its prefix, and as {name}"
                            ),
                        ));
                    }
                    return Some(proven(
                        "key_codec",
                        format!(
                            "the key fits when its text is read as {name}; this provider's file \
                             reads it as {}",
                            kind_name(own.kind)
                        ),
                    ));
                }
            }
        }
        None
    }

    fn algorithm(&self) -> Option<Cause> {
        let own = self.rule.provider.schemes.first()?.clone();
        let encodings = [
            (own.encoding, ""),
            (Encoding::HexAny, ", written as hexadecimal"),
            (Encoding::Base64, ", written as base64"),
            (Encoding::Base64Url, ", written as base64url"),
        ];
        for (encoding, written) in encodings {
            for algorithm in kin(own.algorithm) {
                if algorithm == own.algorithm && encoding == own.encoding {
                    continue;
                }
                let rule = self.rule_with(|provider| {
                    for scheme in &mut provider.schemes {
                        scheme.algorithm = algorithm;
                        scheme.encoding = encoding;
                    }
                });
                let Some(keys) = self.keys_of(&rule, self.case.texts) else {
                    continue;
                };
                if self.helps(&rule, &keys, self.case.request) {
                    let code = match algorithm == own.algorithm {
                        true => "encoding",
                        false => "algorithm",
                    };
                    return Some(proven(
                        code,
                        format!(
                            "it is signed with {}{written}; this provider's file says {}",
                            algorithm.name(),
                            own.algorithm.name()
                        ),
                    ));
                }
            }
        }
        None
    }

    /// A source of another name took this key.
    fn sibling(&self) -> Option<Cause> {
        let request = self.case.request;
        let fits = self.case.siblings.iter().find(|other| {
            self.before <= 1
                && seal_with(
                    other.rule(),
                    other.keys(),
                    request,
                    self.case.now,
                    self.case.known,
                )
                .is_ok_and(|seal| seal != "none" && seal != "query-back")
        })?;
        Some(proven(
            "other_source",
            format!(
                "it is signed for the source `{}` (its key fits): another account or environment, \
                 or the wrong path at the provider",
                fits.rule().name
            ),
        ))
    }

    /// The signature stands where another provider puts it.
    fn other_provider(&self) -> Option<Cause> {
        if self.before > 1 {
            return None;
        }
        let own = signature_headers(&self.rule.provider);
        let has = |name: &String| self.case.request.headers.all(name).next().is_some();
        let mut alike = Vec::new();
        let mut fitting = Vec::new();
        for other in self.case.catalogue {
            let theirs = signature_headers(other);
            let there = theirs.iter().any(|name| has(name) && !own.contains(name));
            if other.name == self.rule.provider.name || !there {
                continue;
            }
            alike.push(other.name.as_str());
            let rule = Rule {
                provider: Arc::clone(other),
                ..Rule::clone(self.rule)
            };
            let fits = self.keys_of(&rule, self.case.texts).is_some_and(|keys| {
                let request = self.case.request;
                seal_with(&rule, &keys, request, self.case.now, self.case.known).is_ok()
            });
            if fits {
                fitting.push(other.name.as_str());
            }
        }
        if !fitting.is_empty() {
            return Some(proven(
                "other_provider",
                format!(
                    "it is signed as `{}` signs: name that as the provider of the source",
                    fitting.join("` or `")
                ),
            ));
        }
        let present = own.iter().any(has);
        if alike.is_empty() || present {
            return None;
        }
        alike.truncate(5);
        Some(guessed(
            "other_provider",
            format!(
                "it carries the signature header of `{}`",
                alike.join("` or `")
            ),
        ))
    }
}

const KINDS: [(KeyKind, &str); 4] = [
    (KeyKind::Utf8, "plain text"),
    (KeyKind::Hex, "hexadecimal"),
    (KeyKind::Base64, "base64"),
    (KeyKind::Base64Url, "base64url"),
];

fn kind_name(kind: KeyKind) -> &'static str {
    KINDS
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or("a public key", |(_, name)| name)
}

/// True when one of the texts begins with either prefix.
fn has(texts: &[Secret], a: &str, b: &str) -> bool {
    let begins = |prefix: &str| {
        !prefix.is_empty()
            && texts
                .iter()
                .any(|t| t.expose().starts_with(prefix.as_bytes()))
    };
    begins(a) || begins(b)
}

type Reading = (Option<(&'static str, &'static str)>, Vec<Secret>);

/// The texts of the keys as they are, and as they may have been meant.
fn readings(texts: &[Secret], prefix: &str) -> Vec<Reading> {
    let map = |change: &dyn Fn(&[u8]) -> Vec<u8>| -> Vec<Secret> {
        texts
            .iter()
            .map(|text| Secret::new(change(text.expose())))
            .collect()
    };
    let add = |prefix: &'static str| {
        move |text: &[u8]| {
            [
                prefix.as_bytes(),
                text.strip_prefix(prefix.as_bytes()).unwrap_or(text),
            ]
            .concat()
        }
    };
    let unquoted = |text: &[u8]| {
        let text = text.trim_ascii();
        let inner = text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\""));
        inner.unwrap_or(text).to_vec()
    };
    let mut readings: Vec<Reading> = vec![(None, map(&<[u8]>::to_vec))];
    readings.push((
        Some((
            "key_blanks",
            "the key has blanks or quotes around it that do not belong to it",
        )),
        map(&unquoted),
    ));
    if prefix.is_empty() {
        readings.push((
            Some((
                "key_prefix",
                "the key fits with `whsec_` before it: its prefix was left out",
            )),
            map(&add("whsec_")),
        ));
    }
    readings.retain(|(how, changed)| {
        let same = changed
            .iter()
            .zip(texts)
            .all(|(a, b)| a.expose() == b.expose());
        how.is_none() || !same
    });
    readings
}

/// Algorithms that are mistaken for one another.
fn kin(algorithm: Algorithm) -> Vec<Algorithm> {
    const DIGESTS: [Digest; 4] = [Digest::Sha256, Digest::Sha1, Digest::Sha512, Digest::Sha384];
    match algorithm {
        Algorithm::Hmac(_) => DIGESTS.map(Algorithm::Hmac).to_vec(),
        Algorithm::Keyed(_) => {
            let mut kin = DIGESTS.map(Algorithm::Keyed).to_vec();
            kin.push(Algorithm::Keyed(Digest::Md5));
            kin
        }
        Algorithm::Rsa(_) | Algorithm::RsaPss(_) => {
            let mut kin = DIGESTS.map(Algorithm::Rsa).to_vec();
            kin.extend([Digest::Sha256, Digest::Sha512].map(Algorithm::RsaPss));
            kin
        }
        Algorithm::Ecdsa(_) | Algorithm::EcdsaRaw(_) => {
            let curves = [Curve::P256, Curve::P384];
            let der = curves.map(Algorithm::Ecdsa);
            der.into_iter()
                .chain(curves.map(Algorithm::EcdsaRaw))
                .collect()
        }
        Algorithm::Ed25519
        | Algorithm::Jws
        | Algorithm::HttpSignature
        | Algorithm::Token
        | Algorithm::Basic => Vec::new(),
    }
}

/// Addresses that the provider may know instead.
fn addresses(url: Option<&str>, request: &RawRequest) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let host = request.headers.only("host");
    let host = host.map(|host| String::from_utf8_lossy(host).into_owned());
    let mut bases: Vec<(String, String)> = Vec::new();
    if let Some((rest, target)) = url.and_then(split) {
        bases.push((rest, target));
    }
    if let Some(host) = host {
        bases.push((host, request.target()));
    }
    let mut targets: Vec<Cow<'_, str>> = bases.iter().map(|(_, t)| t.clone().into()).collect();
    targets.push(request.target().into());
    targets.push(request.path.clone().into());
    for (authority, _) in &bases {
        let name = authority.split(':').next().unwrap_or_default().to_owned();
        for scheme in ["https", "http"] {
            for authority in [
                authority.clone(),
                name.clone(),
                format!("{name}:443"),
                format!("{name}:80"),
                format!("{name}:8443"),
                format!("{name}:8080"),
            ] {
                for target in &targets {
                    let (path, query) = target.split_once('?').map_or((&**target, ""), |t| t);
                    let query = if query.is_empty() {
                        String::new()
                    } else {
                        format!("?{query}")
                    };
                    let own = request.query.as_ref().map(|q| format!("?{q}"));
                    let bare = path.trim_end_matches('/');
                    for query in [query, String::new(), own.unwrap_or_default()] {
                        for path in [path, bare, &format!("{bare}/")] {
                            let url = format!("{scheme}://{authority}{path}{query}");
                            if !found.contains(&url) {
                                found.push(url);
                            }
                        }
                    }
                }
            }
        }
    }
    found
}

fn split(url: &str) -> Option<(String, String)> {
    let (_, rest) = url.split_once("://")?;
    Some(match rest.find(['/', '?']) {
        Some(at) => (rest.get(..at)?.to_owned(), rest.get(at..)?.to_owned()),
        None => (rest.to_owned(), String::new()),
    })
}

fn path_and_query(url: &str) -> Option<(String, Option<String>)> {
    let (_, target) = split(url)?;
    Some(match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target, None),
    })
}

/// Header fields in which a provider's signatures stand; those that others use for other things
/// say nothing.
fn signature_headers(provider: &Provider) -> Vec<String> {
    let mut found = Vec::new();
    for scheme in &provider.schemes {
        let value = scheme.value.iter().map(|value| &value.selector);
        let grammar = scheme.header.iter().map(|header| &header.from.selector);
        for selector in value.chain(grammar) {
            if let Selector::Header(name) | Selector::Headers(name) = selector
                && !["authorization", "signature"].contains(&name.as_str())
            {
                found.push(name.clone());
            }
        }
    }
    found
}
