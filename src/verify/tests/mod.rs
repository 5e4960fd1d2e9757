//! Every provider file against its own examples, and every example spoiled in every way that a
//! sender or a thief might spoil it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::message::{Headers, RawRequest};
use crate::rule::catalogue::PROVIDERS;
use crate::rule::compile::compile_provider;
use crate::rule::provider::{Example, Provider};
use crate::rule::template::Selector;
use crate::verify::example::{check, request, verifier};
use crate::verify::form::Pairs;
use crate::verify::{Rejection, Verifier};

mod identity;
mod known_answers;
mod public_keys;
mod wycheproof;

fn provider(name: &str) -> Arc<Provider> {
    let text = crate::rule::catalogue::text(name).unwrap();
    Arc::new(compile_provider(name, text).unwrap().0)
}

fn accepted() -> impl Iterator<Item = (Arc<Provider>, Example, Verifier)> {
    PROVIDERS.iter().flat_map(|(name, _)| {
        let provider = provider(name);
        let examples: Vec<Example> = provider
            .examples
            .iter()
            .filter(|e| e.rejected.is_none())
            .cloned()
            .collect();
        examples.into_iter().map(move |example| {
            let verifier = verifier(&provider, &example).unwrap();
            (Arc::clone(&provider), example, verifier)
        })
    })
}

fn code(verifier: &Verifier, request: &RawRequest, now: Timestamp) -> &'static str {
    verifier
        .judge(request, now)
        .map_or_else(|reason| reason.code(), |_| "accepted")
}

/// The request with one header set to these values.
fn with_header(request: &RawRequest, name: &str, values: &[&[u8]]) -> RawRequest {
    let mut headers: Headers = request
        .headers
        .iter()
        .filter(|(other, _)| *other != name.as_bytes())
        .map(|(n, v)| (Bytes::copy_from_slice(n), Bytes::copy_from_slice(v)))
        .collect();
    for value in values {
        headers.push(name.to_owned(), Bytes::copy_from_slice(value));
    }
    RawRequest {
        headers,
        ..request.clone()
    }
}

fn header<'a>(request: &'a RawRequest, name: &str) -> &'a [u8] {
    request.headers.only(name).unwrap()
}

/// Header fields that the signature or the choice of the key depends on, and what is said when
/// one is missing.
fn headers_in_use(provider: &Provider) -> Vec<(String, &'static str)> {
    let scheme = provider.scheme.as_ref().unwrap();
    let mut names: Vec<(String, &'static str)> = Vec::new();
    let grammar = scheme.header.as_ref().map(|grammar| grammar.name.clone());
    match (&scheme.value.selector, grammar) {
        (Selector::Header(name), _) => names.push((name.clone(), "signature_missing")),
        (_, Some(name)) => names.push((name, "signature_missing")),
        _ => {}
    }
    let stamps: Vec<&Selector> = provider
        .freshness
        .iter()
        .flat_map(|f| f.timestamp.selectors())
        .collect();
    for template in scheme.messages.iter().chain(&scheme.key_id) {
        for selector in template.selectors() {
            if let Selector::Header(name) = selector {
                let stamp = stamps.contains(&selector);
                names.push((
                    name.clone(),
                    if stamp {
                        "timestamp_missing"
                    } else {
                        "field_missing"
                    },
                ));
            }
        }
    }
    names
}

#[test]
fn every_file_compiles_without_a_remark_and_proves_itself() {
    for (name, text) in PROVIDERS {
        let (compiled, remarks) = compile_provider(name, text).unwrap();
        assert!(remarks.is_empty(), "{remarks:?}");
        let compiled = Arc::new(compiled);
        let (mut good, mut bad) = (0, 0);
        for example in &compiled.examples {
            if let Err(fault) = check(&compiled, example) {
                panic!("{name}, `{}`: {fault}", example.name);
            }
            match &example.rejected {
                Some(code) => {
                    assert!(Rejection::CODES.contains(&code.as_str()), "{code}");
                    bad += 1;
                }
                None => {
                    let told = example.event_id.is_some() && example.event_type.is_some();
                    assert!(
                        told || example.reply.is_some(),
                        "{name}, `{}`",
                        example.name
                    );
                    good += 1;
                }
            }
        }
        assert!(
            good >= 2 && bad >= 3,
            "{name}: {good} accepted, {bad} rejected"
        );
    }
}

/// The pairs of a form; Alipay leaves `sign_type` out of what it signs, and nothing reads it.
fn signed_pairs(body: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let pairs = Pairs::parse(body).ok()?;
    let kept = pairs.iter().filter(|(name, _)| *name != b"sign_type");
    Some(
        kept.map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
    )
}

#[test]
fn a_flipped_bit_of_the_body_is_rejected() {
    for (provider, example, verifier) in accepted() {
        let request = request(&example);
        for at in 0..request.body.len() {
            let mut body = request.body.to_vec();
            body[at] ^= 1 << (at % 7);
            let spoiled = RawRequest {
                body: body.into(),
                ..request.clone()
            };
            let code = code(&verifier, &spoiled, example.now());
            // A form can say the same in another way, e.g. `%3a` for `%3A`; and being taken apart
            // before it is verified, it may also have become unreadable.
            let form = provider.scheme.as_ref().unwrap().params.is_some();
            if form && signed_pairs(&spoiled.body) == signed_pairs(&request.body) {
                let same = Pairs::parse(&spoiled.body) == Pairs::parse(&request.body);
                let trade =
                    example.event_type.as_deref() == Some("trade_status_sync:TRADE_SUCCESS");
                let wanted = if same || trade {
                    "accepted"
                } else {
                    "signature_mismatch"
                };
                assert_eq!(code, wanted);
                continue;
            }
            let allowed: &[&str] = if form {
                &[
                    "signature_mismatch",
                    "signature_missing",
                    "signature_malformed",
                    "body_malformed",
                    "field_repeated",
                ]
            } else {
                &["signature_mismatch"]
            };
            assert!(
                allowed.contains(&code),
                "{}, `{}`, byte {at}: {code}",
                provider.name,
                example.name
            );
        }
        for body in [&b""[..], b"{}", &[&request.body[..], b"\n"].concat()] {
            let body = Bytes::copy_from_slice(body);
            let spoiled = RawRequest {
                body,
                ..request.clone()
            };
            assert_ne!(code(&verifier, &spoiled, example.now()), "accepted");
        }
    }
}

#[test]
fn a_flipped_bit_of_a_header_in_use_is_rejected() {
    for (provider, example, verifier) in accepted() {
        let request = request(&example);
        for (name, _) in headers_in_use(&provider) {
            let value = header(&request, &name).to_vec();
            for at in 0..value.len() {
                for bit in 0..7 {
                    let mut spoiled = value.clone();
                    spoiled[at] ^= 1 << bit;
                    let spoiled = with_header(&request, &name, &[&spoiled]);
                    let found = code(&verifier, &spoiled, example.now());
                    // A header may name signatures that are not needed; then they do not matter.
                    let extra = found == "accepted"
                        && unused(&provider, &verifier, &request, &name, at, example.now());
                    assert!(
                        found != "accepted" || extra,
                        "{}, `{}`: {name}, byte {at}, bit {bit}",
                        provider.name,
                        example.name
                    );
                }
            }
        }
    }
}

/// True when the item of a signature header that byte `at` belongs to can be left out altogether.
fn unused(
    provider: &Provider,
    verifier: &Verifier,
    request: &RawRequest,
    name: &str,
    at: usize,
    now: Timestamp,
) -> bool {
    let Some(grammar) = &provider.scheme.as_ref().unwrap().header else {
        return false;
    };
    let value = std::str::from_utf8(header(request, name)).unwrap();
    let mut start = 0;
    let mut kept = Vec::new();
    for item in value.split(grammar.items.as_str()) {
        let end = start + item.len();
        // The separator belongs to both its neighbours.
        if at + 1 < start || at > end {
            kept.push(item);
        }
        start = end + grammar.items.len();
    }
    let kept = kept.join(&grammar.items);
    let shorter = with_header(request, name, &[kept.as_bytes()]);
    code(verifier, &shorter, now) == "accepted"
}

#[test]
fn a_header_that_is_missing_blank_or_doubled_is_rejected() {
    for (provider, example, verifier) in accepted() {
        let request = request(&example);
        for (name, missing) in headers_in_use(&provider) {
            let place = format!("{}, `{}`: {name}", provider.name, example.name);
            let value = header(&request, &name);
            let code = |values: &[&[u8]]| {
                code(
                    &verifier,
                    &with_header(&request, &name, values),
                    example.now(),
                )
            };
            assert_eq!(code(&[]), missing, "{place}");
            for blank in [&b""[..], b" ", b"\t "] {
                let wanted: &[&str] = match missing {
                    "timestamp_missing" => &["timestamp_malformed"],
                    "signature_missing" => &["signature_missing"],
                    // What is signed is blank now, or no key has a blank name.
                    _ => &["signature_mismatch", "key_unknown"],
                };
                let found = code(&[blank]);
                assert!(wanted.contains(&found), "{place}, blank: {found}");
            }
            assert_eq!(code(&[value, value]), "header_repeated", "{place}");
            assert_eq!(code(&[value, b"x"]), "header_repeated", "{place}");
            assert_eq!(code(&[b"x", value]), "header_repeated", "{place}");
        }
    }
}

#[test]
fn the_window_ends_exactly_at_the_tolerance() {
    let mut tried = 0;
    for (provider, example, verifier) in accepted() {
        let Some(freshness) = &provider.freshness else {
            continue;
        };
        tried += 1;
        let tolerance = freshness.tolerance;
        let second = Duration::from_secs(1);
        let request = request(&example);
        // Examples are judged some seconds after they were signed; find the moment itself.
        let mut signed = example.now();
        while code(&verifier, &request, signed.plus(tolerance)) != "accepted" {
            signed = signed.minus(second);
        }
        while code(&verifier, &request, signed.plus(second).plus(tolerance)) == "accepted" {
            signed = signed.plus(second);
        }
        let code = |now| code(&verifier, &request, now);
        assert_eq!(code(signed.plus(tolerance)), "accepted");
        assert_eq!(code(signed.minus(tolerance)), "accepted");
        assert_eq!(code(signed.plus(tolerance).plus(second)), "stale");
        assert_eq!(
            code(signed.minus(tolerance).minus(second)),
            "from_the_future"
        );
        assert_eq!(
            code(signed.plus(tolerance).plus(Duration::from_millis(1))),
            "stale"
        );
        assert_eq!(code(Timestamp::default()), "from_the_future");
        assert_eq!(
            code(signed.plus(Duration::from_secs(86_400 * 365))),
            "stale"
        );
    }
    assert!(tried >= 10, "{tried}");
}

#[test]
fn the_keys_of_somebody_else_fit_nothing() {
    let strangers = [
        "file for RSA",
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA2VCTd91fnUn73Xy9DLvt/V62TVxRTEEstVdeRaZ3B3leO0pldE806mXO4RwdHXagHQ4vGeZN0yqm++rDsGK+U3AH7kejyD2pXshNP9Cq5YwbptiLGtjcquw4HNxJQUOmDeJf2vg6byms9RUipiq4SzbJKqJFlUpbuIPDpSpWz10PYmyCNeDGUUK65E5h2B834uxl1zNLYQCrkdBzb8oUxwYeP5a2DNxmjL5lsJML7DGr5znsevnoqGRwTm9fxCGfy8wus7hwKz6clt3Whmmda7UAdb1c08hEQFVRbF14AR73xbnd8N0obCWJPCbzMCtkaSef4FdEEgEXJiw0VAJT8wIDAQAB",
    ];
    for (provider, example, own) in accepted() {
        let scheme = provider.scheme.as_ref().unwrap();
        let stranger = match scheme.algorithm {
            algorithm if algorithm.is_asymmetric() => strangers[1].to_owned(),
            _ => {
                format!("{}c3RyYW5nZXIgc3RyYW5nZXIh", scheme.key_codec.strip_prefix)
            }
        };
        // Under the name of the right key, where keys have names.
        let names: Vec<Option<String>> = own.keys().keys().iter().map(|k| k.id.clone()).collect();
        let keys = names.into_iter().map(|id| (id, stranger.clone())).collect();
        let other = verifier(
            &provider,
            &Example {
                keys,
                ..example.clone()
            },
        )
        .unwrap();
        assert_eq!(
            code(&other, &request(&example), example.now()),
            "signature_mismatch",
            "{}",
            provider.name
        );
    }
}

#[test]
fn a_signature_is_not_shortened_lengthened_or_written_otherwise() {
    for (provider, example, verifier) in accepted() {
        let scheme = provider.scheme.as_ref().unwrap();
        let Selector::Header(name) = &scheme.value.selector else {
            continue;
        };
        let request = request(&example);
        let value = header(&request, name).to_vec();
        let upper = value.to_ascii_uppercase();
        let longer = [&value[..], b"00"].concat();
        let padded = [&value[..], b"="].concat();
        let spaced = [&value[..], b" "].concat();
        for other in [
            &value[..value.len() - 2],
            &value[..value.len() / 2],
            &upper,
            &longer,
            &padded,
            &spaced,
        ] {
            let spoiled = with_header(&request, name, &[other]);
            assert_ne!(
                code(&verifier, &spoiled, example.now()),
                "accepted",
                "{}",
                provider.name
            );
        }
    }
}

#[test]
fn more_signatures_than_can_be_tried_are_rejected_even_with_the_right_one_among_them() {
    let provider = provider("standard-webhooks");
    let example = &provider.examples[0];
    let verifier = verifier(&provider, example).unwrap();
    let request = request(example);
    let right = String::from_utf8(header(&request, "webhook-signature").to_vec()).unwrap();
    let wrong = format!("v1,{}", data_encoding::BASE64.encode(&[7; 32]));
    let many = |wrongs: usize| {
        let value = format!("{}{right}", format!("{wrong} ").repeat(wrongs));
        let request = with_header(&request, "webhook-signature", &[value.as_bytes()]);
        code(&verifier, &request, example.now())
    };
    assert_eq!(many(15), "accepted");
    assert_eq!(many(16), "too_many_candidates");
    assert_eq!(many(500), "too_many_candidates");
}

#[test]
fn two_keys_leave_room_for_half_as_many_signatures() {
    let provider = provider("standard-webhooks");
    let mut example = provider.examples[0].clone();
    example
        .keys
        .push((None, "whsec_c3RyYW5nZXIgc3RyYW5nZXIh".to_owned()));
    let verifier = verifier(&provider, &example).unwrap();
    let request = request(&example);
    let right = String::from_utf8(header(&request, "webhook-signature").to_vec()).unwrap();
    let many = |times: usize| {
        let value = vec![right.as_str(); times].join(" ");
        let request = with_header(&request, "webhook-signature", &[value.as_bytes()]);
        code(&verifier, &request, example.now())
    };
    assert_eq!(many(8), "accepted");
    assert_eq!(many(9), "too_many_candidates");
}
