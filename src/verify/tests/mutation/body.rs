//! A bit of the body, or of a query that is all there is.

use super::super::cases;
use super::{Found, codes_for_body, left_out, meaning, positions};
use crate::message::RawRequest;

/// What was accepted although something was changed: only what says the same, or what the
/// signature is known to leave out.
fn harmless(file: &str, original: &[u8], spoiled: &[u8]) -> Result<(), String> {
    let left = left_out::of(file);
    if left.is_some_and(|left| matches!(left.out, left_out::Out::Body)) {
        return Ok(());
    }
    let empty_counts = !drops_empty(file);
    let Some(places) = meaning::differences(original, spoiled, empty_counts) else {
        return Err("accepted, and cannot be read".to_owned());
    };
    let unseen = |place: &String| left.is_some_and(|left| left.out.holds(place));
    match places.iter().find(|place| !unseen(place)) {
        None => Ok(()),
        Some(place) => Err(format!("accepted, with another {place}")),
    }
}

/// UnionPay and its like leave empty parameters out of what they sign; to PayU India one that is
/// missing is the same as one that is empty.
fn drops_empty(file: &str) -> bool {
    let Some(text) = crate::rule::catalogue::text(file) else {
        return false;
    };
    text.contains("drop_empty = true") || file == "payu-india"
}

#[test]
fn a_flipped_bit_of_the_body_is_rejected() {
    let mut found = Found::default();
    for case in cases() {
        let question = case.is_question();
        let codes = codes_for_body(&case.provider);
        for at in positions(&case.request.body) {
            let mut body = case.request.body.to_vec();
            body[at] ^= 1 << (at % 7);
            match case.code(&case.with_body(&body)) {
                // A token signs neither questions nor events.
                "accepted" if question => {
                    if case.provider.covers_body() {
                        found.note(&case, "a question became an event");
                    }
                }
                "accepted" => {
                    if let Err(what) = harmless(&case.provider.name, &case.request.body, &body) {
                        found.note(&case, &what);
                    }
                }
                // An unsigned question is answered whatever is asked; a signed one is signed.
                "answered" if question => {
                    let signed = case.provider.challenges.iter().all(|c| c.signed);
                    if signed && harmless(&case.provider.name, &case.request.body, &body).is_err() {
                        found.note(&case, &format!("answered with {}", body.escape_ascii()));
                    }
                }
                "answered" => found.note(&case, "an event became a question"),
                code if codes.contains(code) => {}
                "method_unexpected" | "signature_missing" if question => {}
                code => found.note(&case, &format!("byte {at} of the body: {code}, {codes:?}")),
            }
        }
    }
}

#[test]
fn another_body_is_rejected() {
    let mut found = Found::default();
    for case in cases().filter(|case| !case.is_question()) {
        if case.request.body.is_empty() {
            continue;
        }
        let longer = [&case.request.body[..], b"x"].concat();
        let shorter = &case.request.body[..case.request.body.len() - 1];
        for body in [&b""[..], b"{}", b"[]", b"a=1", &longer, shorter] {
            if case.code(&case.with_body(body)) == "accepted"
                && let Err(what) = harmless(&case.provider.name, &case.request.body, body)
            {
                found.note(&case, &what);
            }
        }
    }
}

#[test]
fn a_flipped_bit_of_a_signed_query_is_rejected() {
    let mut found = Found::default();
    for case in cases().filter(|case| !case.is_question()) {
        let Some(query) = case.request.query.clone() else {
            continue;
        };
        for at in positions(query.as_bytes()) {
            let mut bytes = query.clone().into_bytes();
            bytes[at] ^= 1 << (at % 7);
            let Ok(text) = String::from_utf8(bytes.clone()) else {
                continue;
            };
            let spoiled = RawRequest {
                query: Some(text),
                ..case.request.clone()
            };
            if case.code(&spoiled) == "accepted"
                && let Err(what) = harmless(
                    &format!("{}?", case.provider.name),
                    query.as_bytes(),
                    &bytes,
                )
            {
                found.note(&case, &format!("query: {what}"));
            }
        }
    }
}

#[test]
fn the_list_of_what_is_left_out_is_complete_and_not_too_long() {
    for left in left_out::LEFT_OUT {
        assert!(!left.why.is_empty());
        let file = left.file.trim_end_matches('?');
        assert!(crate::rule::catalogue::text(file).is_some(), "{file}");
    }
    for provider in super::super::providers() {
        let named = left_out::of(&provider.name)
            .is_some_and(|left| matches!(left.out, left_out::Out::Body));
        // Whoever covers the body has no business on the list with all of it.
        assert!(!(named && provider.covers_body()), "{}", provider.name);
    }
}
