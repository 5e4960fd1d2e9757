//! `callseal sign`: for every provider whose scheme allows it, what is made is what the verifier
//! takes. The providers that do not allow it stand here by name, with the reason.

use std::sync::Arc;

use callseal::clock::Timestamp;
use callseal::rule::Provider;
use callseal::rule::catalogue::PROVIDERS;
use callseal::rule::compile::compile_provider;
use callseal::rule::provider::Example;
use callseal::verify::Rejection;
use callseal::verify::craft::{Bench, Made, Pair, Unsignable, Wish, choose, possible};

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);

fn catalogue() -> impl Iterator<Item = Arc<Provider>> {
    // That every file compiles is tested elsewhere.
    PROVIDERS
        .iter()
        .filter_map(|(name, text)| compile_provider(name, text).ok())
        .map(|(provider, _)| Arc::new(provider))
}

fn provider(name: &str) -> Arc<Provider> {
    catalogue().find(|provider| provider.name == name).unwrap()
}

fn bench(provider: &Arc<Provider>, example: &Example) -> Bench {
    let pair = Pair::new(provider, example).unwrap();
    Bench::of_example(provider, example, pair).unwrap()
}

fn wish(example: &Example, stamp: Timestamp) -> Wish<'_> {
    Wish {
        example,
        now: NOW,
        stamp,
        fresh: true,
        body: None,
        set: &[],
    }
}

fn made(provider: &Arc<Provider>, example: &Example) -> Result<Made, Unsignable> {
    possible(provider)?;
    bench(provider, example).make(&wish(example, NOW))
}

/// Providers for which no test callback can be made, and why.
const IMPOSSIBLE: &[(&str, &str)] = &[
    ("apple-app-store-v2", "certificate_in_request"),
    ("aws-sns", "certificate_address"),
    ("bitpay", "query_back"),
    ("google-pay", "signed_key"),
    ("google-pubsub", "published_keys"),
    ("lianlian", "old_digest"),
    ("mollie", "query_back"),
    ("paypal", "certificate_address"),
    ("paypal-ipn", "query_back"),
    ("unionpay", "certificate_in_request"),
];

/// Providers whose callbacks can be signed, and which are asked all the same before one counts.
const ASKED: &[&str] = &[
    "binance-pay",
    "flutterwave",
    "mercado-pago",
    "midtrans",
    "payfast",
    "tokenpocket",
    "xendit",
];

#[test]
fn what_is_signed_verifies_for_every_provider_that_allows_it() {
    let mut impossible = Vec::new();
    let mut asked = Vec::new();
    let mut wrong = Vec::new();
    for provider in catalogue() {
        let example = choose(&provider, None, None).unwrap();
        match made(&provider, example) {
            Err(why) => impossible.push((provider.name.clone(), why.code())),
            Ok(made) => match (&made.verdict, &made.asks) {
                (Ok(_), None) => {}
                (Err(Rejection::Unready { .. }), Some(_)) => asked.push(provider.name.clone()),
                other => wrong.push(format!("{}: {other:?}", provider.name)),
            },
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let wanted: Vec<(String, &str)> = IMPOSSIBLE
        .iter()
        .map(|(name, why)| ((*name).to_owned(), *why))
        .collect();
    assert_eq!(impossible, wanted);
    assert_eq!(asked, ASKED);
}

#[test]
fn every_example_with_an_action_can_be_signed() {
    let mut wrong = Vec::new();
    for provider in catalogue() {
        if possible(&provider).is_err() || ASKED.contains(&provider.name.as_str()) {
            continue;
        }
        for example in provider.examples.iter().filter(|e| e.action.is_some()) {
            match made(&provider, example) {
                Ok(made) if made.verdict.is_ok() => {}
                other => wrong.push(format!("{}, {}: {other:?}", provider.name, example.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn forged_and_stale_ones_are_rejected_for_what_they_are() {
    let mut wrong = Vec::new();
    for provider in catalogue() {
        if possible(&provider).is_err() || !provider.verifies() {
            continue;
        }
        let example = choose(&provider, None, None).unwrap();
        let bench = bench(&provider, example);
        let made = bench.make(&wish(example, NOW)).unwrap();
        if made.asks.is_some() {
            continue;
        }
        match bench.forged(&made.request, NOW) {
            Some(forged) => {
                let verdict = bench.judged(forged, NOW).verdict;
                assert!(verdict.is_err(), "{}", provider.name);
            }
            None => wrong.push(format!("{}: no forgery", provider.name)),
        }
        if let Some(freshness) = &provider.freshness {
            let old = NOW
                .minus(freshness.tolerance)
                .minus(std::time::Duration::from_secs(60));
            let made = bench.make(&wish(example, old)).unwrap();
            if !matches!(made.verdict, Err(Rejection::Stale { .. })) {
                wrong.push(format!("{}, stale: {:?}", provider.name, made.verdict));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_callbacks_are_two_events() {
    for name in [
        "stripe",
        "github",
        "standard-webhooks",
        "adyen",
        "alipay",
        "paddle",
    ] {
        let provider = provider(name);
        let example = choose(&provider, None, None).unwrap();
        let bench = bench(&provider, example);
        let key = || match bench.make(&wish(example, NOW)).unwrap().verdict {
            Ok(callseal::verify::Judgement::Event { identity, .. }) => identity.key,
            other => panic!("{name}: {other:?}"),
        };
        assert_ne!(key(), key(), "{name}");
    }
}

#[test]
fn actions_that_a_file_does_not_have_are_said_so() {
    let github = provider("github");
    let action = Some(callseal::rule::provider::Action::Refund);
    assert!(matches!(
        choose(&github, action, None),
        Err(Unsignable::NoExample { .. })
    ));
    assert!(choose(&provider("stripe"), action, None).is_ok());
}
