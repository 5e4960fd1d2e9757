//! A validly signed event of somebody else's account.

use std::collections::BTreeMap;

use super::super::{cases, providers, said};
use super::Found;
use crate::rule::provider::Example;
use crate::rule::scheme::KeySource;
use crate::verify::example::{recorded, verifier};

/// What a source can set otherwise without rejecting anything, and why.
const NO_MATTER: &[(&str, &str, &str)] = &[
    (
        "apple-app-store-v2",
        "environment",
        "one kind of notification names none",
    ),
    (
        "cloudevents",
        "origin",
        "it is compared in the handshake only",
    ),
    (
        "epusdt",
        "currency",
        "it is only shown; the callback names none",
    ),
    ("wechatpay-v3", "mchid", ASKS),
    ("wechatpay-v3", "merchant_serial", ASKS),
];

const ASKS: &str = "it only asks for keys; whom an event is for shows in whose key opens it";

#[test]
fn an_event_of_another_account_is_rejected() {
    let mut found = Found::default();
    for case in cases().filter(|case| !case.is_question()) {
        // While testing, Wise's own test subscription is let in beside the merchant's.
        if case.example.config.contains_key("test_subscription") {
            continue;
        }
        let mut others: Vec<(String, Example)> = Vec::new();
        for (name, value) in &case.example.config {
            let mut config: BTreeMap<String, String> = case.example.config.clone();
            config.insert(name.clone(), format!("{value}9"));
            let example = Example {
                config,
                ..case.example.clone()
            };
            others.push((name.clone(), example));
        }
        if case.example.url.is_some() {
            let example = Example {
                url: Some("https://somebody.example.net/else".to_owned()),
                ..case.example.clone()
            };
            others.push(("url".to_owned(), example));
        }
        for (name, example) in others {
            let Ok(other) = verifier(&case.provider, &example) else {
                continue;
            };
            let verdict = other.judge_with(&case.request, example.now(), &mut |outbound| {
                recorded(&example, outbound)
            });
            let listed = NO_MATTER
                .iter()
                .any(|(file, n, why)| *file == case.provider.name && *n == name && !why.is_empty());
            let wanted = [
                "wrong_addressee",
                "signature_mismatch",
                "signature_missing",
                "not_confirmed",
                "key_untrusted",
                "unready",
            ];
            if !listed && !wanted.contains(&said(&verdict)) {
                found.note(&case, &format!("another {name}: {}", said(&verdict)));
            }
        }
    }
}

/// Where one key signs for all customers, something else must tell them apart, and an example of
/// the file shows it.
#[test]
fn one_key_for_all_is_not_enough() {
    let mut found = Vec::new();
    for provider in providers() {
        let shared = provider.schemes.iter().any(|scheme| {
            scheme.key.shared == Some(true)
                || matches!(
                    scheme.key.source,
                    KeySource::Jwks { .. }
                        | KeySource::CertificateUrl { .. }
                        | KeySource::X5c { .. }
                        | KeySource::Certificate { .. }
                        | KeySource::Signed(_)
                )
        });
        let shown = ["wrong_addressee", "signature_mismatch", "not_confirmed"];
        let proved = provider.examples.iter().any(|example| {
            let code = example.rejected.as_deref();
            code == Some("wrong_addressee")
                || (provider.asserts.iter().all(|assert| !assert.addressee)
                    && code.is_some_and(|code| shown.contains(&code)))
        });
        if shared && !proved {
            found.push(provider.name.clone());
        }
    }
    assert!(found.is_empty(), "{found:?}");
}
