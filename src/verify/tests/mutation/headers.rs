//! A bit of a header that proves something; and such a header missing, blank, or doubled.

use std::collections::BTreeMap;

use super::super::{Case, cases, with_header};
use super::{Found, Reads, codes_for_body, left_out, positions};
use crate::rule::provider::Provider;
use crate::rule::scheme::{Algorithm, Encoding, KeySource};
use crate::rule::template::Selector;

/// What a header is read for, the earliest use first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Signature,
    Stamp,
    Key,
    Signed,
    Condition,
    Later,
}

fn headers_in_use(provider: &Provider) -> BTreeMap<String, Use> {
    let reads = Reads::of(provider);
    let mut names = BTreeMap::new();
    let lists = [
        (Use::Signature, reads.signature),
        (Use::Stamp, reads.stamp),
        (Use::Key, reads.key),
        (Use::Signed, reads.message),
        (Use::Condition, reads.condition),
        (Use::Later, reads.later),
    ];
    for (purpose, selectors) in lists {
        for selector in selectors {
            let name = match selector {
                Selector::Header(name) | Selector::Headers(name) => name.clone(),
                Selector::HeaderNumbered(base) => format!("{base}-1"),
                Selector::BasicUser | Selector::BasicPassword => "authorization".to_owned(),
                _ => continue,
            };
            names.entry(name).or_insert(purpose);
        }
    }
    for scheme in provider
        .schemes
        .iter()
        .chain(provider.also.iter().map(|a| &a.scheme))
    {
        match scheme.algorithm {
            Algorithm::HttpSignature => {
                names.insert("signature".to_owned(), Use::Signature);
                names.insert("signature-input".to_owned(), Use::Signature);
                for name in scheme
                    .components
                    .iter()
                    .filter(|name| !name.starts_with('@'))
                {
                    names.insert(name.clone(), Use::Signed);
                }
            }
            Algorithm::Basic => {
                names.insert("authorization".to_owned(), Use::Signature);
            }
            _ => {}
        }
    }
    names
}

/// The codes for a header of a use that was changed.
fn codes(provider: &Provider, purpose: Use) -> Vec<&'static str> {
    let mut codes = codes_for_body(provider);
    codes.extend(["signature_mismatch", "scheme_unknown"]);
    match purpose {
        Use::Signature => codes.extend([
            "signature_missing",
            "signature_malformed",
            "timestamp_missing",
            "timestamp_malformed",
            "second_check_failed",
            "key_unknown",
            "key_untrusted",
            "field_missing",
            "field_malformed",
            "body_malformed",
        ]),
        Use::Stamp => codes.extend(["timestamp_malformed", "timestamp_missing"]),
        Use::Key => codes.extend([
            "key_unknown",
            "key_untrusted",
            "unready",
            "field_missing",
            "field_malformed",
        ]),
        Use::Signed => codes.extend(["field_missing", "signature_malformed"]),
        Use::Condition => {}
        Use::Later => codes.extend(["assertion_failed", "wrong_addressee", "not_confirmed"]),
    }
    let asks = |s: &KeySource| matches!(s, KeySource::Fetch(_) | KeySource::Jwks { .. });
    if provider.schemes.iter().any(|s| asks(&s.key.source)) {
        // A key of another name is asked for, and nobody answers for it here.
        codes.insert("unready");
    }
    codes.into_iter().collect()
}

fn here<'c>(case: &'c Case, name: &str) -> Option<&'c [u8]> {
    case.request.headers.only(name)
}

/// True when the item of a signature header that byte `at` belongs to can be left out altogether.
fn unused(case: &Case, name: &str, value: &[u8], at: usize) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let mut separators: Vec<&str> = case.provider.grammars().map(|g| g.items.as_str()).collect();
    // RFC 9421: a dictionary of signatures.
    separators.push(",");
    separators.iter().any(|separator| {
        let mut start = 0;
        let mut kept = Vec::new();
        for item in text.split(separator) {
            let end = start + item.len();
            // The separator belongs to both its neighbours.
            if at + 1 < start || at > end {
                kept.push(item);
            }
            start = end + separator.len();
        }
        let shorter = with_header(&case.request, name, &[kept.join(separator).as_bytes()]);
        !kept.is_empty() && case.code(&shorter) == "accepted"
    })
}

/// Changes of a header that say the same.
fn same(provider: &Provider, name: &str, value: &[u8], spoiled: &[u8]) -> Option<&'static str> {
    let either = provider
        .schemes
        .iter()
        .any(|s| s.encoding == Encoding::HexAny);
    if either && value.eq_ignore_ascii_case(spoiled) {
        return Some("the provider writes hexadecimal digits in either case");
    }
    let escapes = |text: &[u8]| crate::verify::form::decode(text, false).map(|t| t.into_owned());
    if escapes(value).is_ok() && escapes(value) == escapes(spoiled) {
        return Some("RFC 3986 §2.1: escapes in either case");
    }
    let basic = |text: &[u8]| {
        text.get(..6)
            .is_some_and(|t| t.eq_ignore_ascii_case(b"basic "))
    };
    if name == "authorization" && basic(value) && basic(spoiled) && value[6..] == spoiled[6..] {
        return Some("RFC 9110 §11.1: the name of the scheme in either case");
    }
    None
}

#[test]
fn a_flipped_bit_of_a_header_in_use_is_rejected() {
    let mut found = Found::default();
    for case in cases().filter(|case| !case.is_question()) {
        for (name, purpose) in headers_in_use(&case.provider) {
            let Some(value) = here(&case, &name).map(<[u8]>::to_vec) else {
                continue;
            };
            let allowed = codes(&case.provider, purpose);
            for at in positions(&value) {
                for bit in [at % 7, (at + 5) % 7] {
                    let mut spoiled = value.clone();
                    spoiled[at] ^= 1 << bit;
                    if !spoiled[at].is_ascii_graphic() {
                        // No header field of that kind gets here.
                        continue;
                    }
                    let code = case.code(&with_header(&case.request, &name, &[&spoiled]));
                    let harmless = code == "accepted"
                        && (same(&case.provider, &name, &value, &spoiled).is_some()
                            || left_out::header(&case.provider.name, &name).is_some()
                            || unused(&case, &name, &value, at));
                    if !harmless && !allowed.contains(&code) {
                        let text = String::from_utf8_lossy(&spoiled).into_owned();
                        found.note(&case, &format!("{name} ({purpose:?}): {code}: {text}"));
                    }
                }
            }
        }
    }
}

/// What is said when a header is not there.
fn missing(purpose: Use) -> &'static [&'static str] {
    match purpose {
        Use::Signature => &["signature_missing"],
        Use::Stamp => &["timestamp_missing"],
        Use::Key | Use::Signed => &["field_missing"],
        Use::Condition => &["scheme_unknown"],
        Use::Later => &["assertion_failed", "wrong_addressee"],
    }
}

#[test]
fn a_header_that_is_missing_blank_or_doubled_is_rejected() {
    let mut found = Found::default();
    for case in cases().filter(|case| !case.is_question()) {
        for (name, purpose) in headers_in_use(&case.provider) {
            let Some(value) = here(&case, &name).map(<[u8]>::to_vec) else {
                continue;
            };
            let code = |values: &[&[u8]]| case.code(&with_header(&case.request, &name, values));
            let excused =
                |kind: &str, code: &str| left_out::excused(&case.provider.name, &name, kind, code);
            let gone = code(&[]);
            if !missing(purpose).contains(&gone) && !excused("missing", gone) {
                found.note(&case, &format!("{name} ({purpose:?}) missing: {gone}"));
            }
            for blank in [&b""[..], b" ", b"\t "] {
                let wanted: &[&str] = match purpose {
                    Use::Stamp => &["timestamp_malformed"],
                    Use::Signature => &["signature_missing"],
                    // What is signed is blank now, or no key has a blank name.
                    _ => &[
                        "signature_mismatch",
                        "key_unknown",
                        "key_untrusted",
                        "assertion_failed",
                        "field_malformed",
                    ],
                };
                let said = code(&[blank]);
                if !wanted.contains(&said) && !excused("blank", said) {
                    found.note(&case, &format!("{name} ({purpose:?}) blank: {said}"));
                }
            }
            for doubled in [[&value[..], &value], [&value, b"x"], [b"x", &value]] {
                let said = code(&doubled);
                if said != "header_repeated" && !excused("doubled", said) {
                    found.note(&case, &format!("{name} ({purpose:?}) doubled: {said}"));
                }
            }
        }
    }
}

#[test]
fn a_signature_is_not_shortened_lengthened_or_written_otherwise() {
    let mut found = Found::default();
    for case in cases().filter(|case| !case.is_question()) {
        for (name, purpose) in headers_in_use(&case.provider) {
            let Some(value) = here(&case, &name).map(<[u8]>::to_vec) else {
                continue;
            };
            if purpose != Use::Signature {
                continue;
            }
            let upper = value.to_ascii_uppercase();
            let longer = [&value[..], b"00"].concat();
            let padded = [&value[..], b"="].concat();
            for other in [
                &value[..value.len() - 2],
                &value[..value.len() / 2],
                &upper,
                &longer,
                &padded,
            ] {
                let code = case.code(&with_header(&case.request, &name, &[other]));
                if code == "accepted"
                    && other != value
                    && !unused(&case, &name, &value, value.len() - 1)
                    && same(&case.provider, &name, &value, other).is_none()
                    && !left_out::excused(&case.provider.name, &name, "rewritten", code)
                {
                    found.note(
                        &case,
                        &format!("{name}: {}", String::from_utf8_lossy(other)),
                    );
                }
            }
        }
    }
}
