//! Every accepted example of every file, spoiled: a bit of the body, of a signature, of a header;
//! a field missing, blank or doubled; another time, another key, another account. What has to come
//! of it is worked out from what the file says, here; what a signature leaves out is listed by name
//! in [`left_out`], with the reason, and nothing else may be changed unseen.

use std::collections::BTreeSet;

use super::Case;
use crate::rule::provider::Provider;
use crate::rule::scheme::{Algorithm, KeySource, Scheme, Test};
use crate::rule::template::{Selector, Template, Value};

mod account;
mod body;
mod clock;
mod headers;
mod keys;
mod left_out;
mod meaning;

/// Where a request is read before its signature is known to be right, and for what.
struct Reads<'a> {
    signature: Vec<&'a Selector>,
    stamp: Vec<&'a Selector>,
    key: Vec<&'a Selector>,
    message: Vec<&'a Selector>,
    condition: Vec<&'a Selector>,
    /// Compared, asked about or opened, after the signature.
    later: Vec<&'a Selector>,
}

fn all(template: &Template) -> impl Iterator<Item = &Selector> {
    template.values().map(|value: &Value| &value.selector)
}

impl<'a> Reads<'a> {
    fn of(provider: &'a Provider) -> Reads<'a> {
        let mut reads = Reads {
            signature: Vec::new(),
            stamp: Vec::new(),
            key: Vec::new(),
            message: Vec::new(),
            condition: Vec::new(),
            later: Vec::new(),
        };
        let also = provider.also.iter().map(|also| &also.scheme);
        for scheme in provider.schemes.iter().chain(also) {
            reads.add(scheme);
        }
        if let Some(freshness) = &provider.freshness {
            reads.stamp.extend(all(&freshness.timestamp));
        }
        for assert in &provider.asserts {
            let conditions = assert.when.iter().chain([&assert.condition]);
            for condition in conditions {
                reads.later.extend(all(&condition.is));
                if let Test::Equals(texts) = &condition.test {
                    reads.later.extend(texts.iter().flat_map(all));
                }
            }
        }
        if let Some(decrypt) = &provider.decrypt {
            let texts = [
                Some(&decrypt.data),
                decrypt.nonce.as_ref(),
                decrypt.aad.as_ref(),
            ];
            reads
                .later
                .extend(texts.into_iter().flatten().flat_map(all));
        }
        if let Some(query) = &provider.query_back {
            reads.later.extend(all(&query.request.path));
            reads.later.extend(all(&query.request.body));
            for condition in query.confirm.iter().chain(&query.when) {
                reads.later.extend(all(&condition.is));
                if let Test::Equals(texts) = &condition.test {
                    reads.later.extend(texts.iter().flat_map(all));
                }
            }
        }
        // What is read out of a part is read out of what the part is read from.
        for list in [
            &mut reads.signature,
            &mut reads.stamp,
            &mut reads.key,
            &mut reads.message,
            &mut reads.condition,
            &mut reads.later,
        ] {
            for _ in 0..provider.parts.len() {
                let inner: Vec<&Selector> = list
                    .iter()
                    .filter_map(|selector| match selector {
                        Selector::Part { name, .. } => provider.part(name),
                        _ => None,
                    })
                    .flat_map(|part| all(&part.from))
                    .collect();
                list.extend(inner);
            }
        }
        reads
    }

    fn add(&mut self, scheme: &'a Scheme) {
        self.signature
            .extend(scheme.value.iter().map(|v| &v.selector));
        self.signature
            .extend(scheme.header.iter().map(|g| &g.from.selector));
        self.key.extend(scheme.key_id.iter().flat_map(all));
        self.message.extend(scheme.messages.iter().flat_map(all));
        for condition in &scheme.when {
            self.condition.extend(all(&condition.is));
        }
        match &scheme.key.source {
            KeySource::Given | KeySource::Jwks { .. } | KeySource::Fetch(_) => {}
            // The certificates are in the token itself.
            KeySource::X5c { .. } => {}
            KeySource::CertificateUrl { url, .. } => self.key.extend(all(url)),
            KeySource::Certificate { from, .. } => self.key.extend(all(from)),
            KeySource::Signed(signed) => {
                self.key.push(&signed.value.selector);
                self.key.extend(all(&signed.message));
                self.key.extend(all(&signed.key));
                self.key
                    .extend(signed.expires.iter().flat_map(|(t, _)| all(t)));
            }
        }
    }
}

/// True for what is found in the body, after the body was taken apart.
fn in_body(selector: &Selector) -> bool {
    matches!(
        selector,
        Selector::Form(_)
            | Selector::Json(_)
            | Selector::JsonRaw(_)
            | Selector::Xml(_)
            | Selector::Item(_)
            | Selector::Plain(_)
            | Selector::Params { .. }
    )
}

/// The codes with which a request may be rejected whose body was changed, each for a reason.
fn codes_for_body(provider: &Provider) -> BTreeSet<&'static str> {
    let reads = Reads::of(provider);
    let any = |list: &[&Selector]| list.iter().any(|selector| in_body(selector));
    let mut codes = BTreeSet::from(["signature_mismatch"]);
    if provider.schemes.is_empty() {
        codes.clear();
    }
    let early = [
        &reads.signature,
        &reads.stamp,
        &reads.key,
        &reads.message,
        &reads.condition,
    ];
    let read_first = early.into_iter().any(|list| any(list));
    let signed = provider.covers(&Selector::Body)
        || (!provider.schemes.is_empty()
            && provider
                .schemes
                .iter()
                .all(|s| provider.scheme_covers_bytes(s)));
    if read_first || !signed {
        // It is taken apart before, or without, its signature being right.
        codes.extend([
            "body_malformed",
            "field_malformed",
            "field_repeated",
            "field_missing",
        ]);
    }
    if any(&reads.signature) {
        codes.extend(["signature_missing", "signature_malformed"]);
    }
    if any(&reads.stamp) {
        codes.extend(["timestamp_missing", "timestamp_malformed"]);
        if !signed {
            codes.extend(["stale", "from_the_future"]);
        }
    }
    if any(&reads.key) {
        codes.extend(["key_unknown", "key_untrusted", "key_expired"]);
    }
    let by_url = |s: &Scheme| matches!(s.key.source, KeySource::CertificateUrl { .. });
    if any(&reads.key) && provider.schemes.iter().any(by_url) {
        // A certificate at another address of the right host, where nobody answers.
        codes.insert("unready");
    }
    if any(&reads.condition) {
        codes.insert("scheme_unknown");
    }
    let token = provider
        .schemes
        .iter()
        .any(|s| s.algorithm == Algorithm::Jws);
    if token && any(&reads.signature) {
        // The header of the token names algorithm, key and certificates.
        codes.extend([
            "scheme_unknown",
            "key_unknown",
            "key_untrusted",
            "body_malformed",
        ]);
    }
    let tied = reads.later.iter().any(|s| **s == Selector::Body);
    if tied {
        codes.insert("assertion_failed");
    }
    if !signed {
        codes.extend(["assertion_failed", "wrong_addressee"]);
        if provider.decrypt.is_some() {
            codes.insert("undecipherable");
        }
    }
    if provider.query_back.is_some() {
        // The second source is asked about something else, or says something else.
        codes.extend([
            "assertion_failed",
            "wrong_addressee",
            "not_confirmed",
            "unready",
            "body_malformed",
            "field_malformed",
            "field_missing",
        ]);
    }
    codes
}

/// A fixed walk over the bytes of a long text, different for each text.
fn positions(bytes: &[u8]) -> Vec<usize> {
    const ALL: usize = 64;
    const SAMPLE: usize = 96;
    let length = bytes.len();
    if length <= ALL + SAMPLE {
        return (0..length).collect();
    }
    // An LCG of Knuth's, seeded with the text.
    let mut state = bytes.iter().fold(length as u64, |sum, b| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*b))
    });
    let mut chosen: BTreeSet<usize> = (0..ALL).collect();
    while chosen.len() < ALL + SAMPLE {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        chosen.insert(ALL + (state >> 33) as usize % (length - ALL));
    }
    chosen.into_iter().collect()
}

/// What went otherwise than it must.
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn note(&mut self, case: &Case, what: &str) {
        let line = format!("{}: {what}", case.place());
        if !self.0.contains(&line) {
            self.0.push(line);
        }
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(
                self.0.is_empty(),
                "{} faults:\n{}",
                self.0.len(),
                self.0.join("\n")
            );
        }
    }
}
