//! The catalogue as a whole: every file compiles without a remark, proves itself, and covers what
//! people ask for.

use std::sync::Arc;

use super::providers;
use crate::rule::catalogue::{self, PROVIDERS};
use crate::rule::compile::compile_provider;
use crate::rule::provider::{Action, Category};
use crate::verify::Rejection;
use crate::verify::example::check;

#[test]
fn every_file_compiles_without_a_remark() {
    let mut faults = Vec::new();
    for (name, text) in PROVIDERS {
        let remarks = match compile_provider(name, text) {
            Ok((_, remarks)) | Err(remarks) => remarks,
        };
        for remark in remarks {
            faults.push(format!("{name}: {}: {}", remark.code, remark.message));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_file_proves_itself() {
    let mut faults = Vec::new();
    for (name, text) in PROVIDERS {
        let Ok((compiled, _)) = compile_provider(name, text) else {
            faults.push(format!("{name} does not compile"));
            continue;
        };
        let compiled = Arc::new(compiled);
        let (mut good, mut bad, mut told) = (0, 0, compiled.event.ids.is_empty());
        for example in &compiled.examples {
            let place = format!("{name}, `{}`", example.name);
            if let Err(fault) = check(&compiled, example) {
                faults.push(format!("{place}: {fault}"));
            }
            match &example.rejected {
                Some(code) => {
                    if !Rejection::CODES.contains(&code.as_str()) {
                        faults.push(format!("{place}: there is no code {code}"));
                    }
                    bad += 1;
                }
                None => {
                    told |= example.event_id.is_some()
                        || example.event_type.is_some()
                        || !example.payment.is_empty();
                    good += 1;
                }
            }
        }
        if !told {
            faults.push(format!("{name}: no example says what is read"));
        }
        if good < 2 || bad < 3 {
            faults.push(format!("{name}: {good} accepted, {bad} rejected"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn editors_find_the_schema_of_every_file() {
    for (name, text) in PROVIDERS {
        assert_eq!(
            text.lines().next(),
            Some("#:schema ../../docs/schema/provider.json"),
            "{name}"
        );
    }
}

#[test]
fn whoever_takes_payments_can_try_one() {
    for provider in providers() {
        let pays = provider.category == Category::Payments || provider.payment.is_some();
        let offered = provider
            .examples
            .iter()
            .filter(|example| example.action == Some(Action::Payment));
        for example in offered.clone() {
            assert!(example.rejected.is_none(), "{}", provider.name);
        }
        assert!(!pays || offered.count() > 0, "{}", provider.name);
    }
}

#[test]
fn money_is_read_and_not_only_believed() {
    for provider in providers() {
        let Some(payment) = &provider.payment else {
            continue;
        };
        let told: Vec<&str> = provider
            .examples
            .iter()
            .flat_map(|example| example.payment.keys().map(String::as_str))
            .collect();
        for (name, templates) in [("order", &payment.order), ("amount", &payment.amount)] {
            assert!(
                templates.is_empty() || told.contains(&name),
                "{}: no example says its {name}",
                provider.name
            );
        }
    }
}

/// What the first users asked for, by name. A file may be renamed only together with this list.
const ASKED_FOR: &str = "
    alipay alipay-plus wechatpay-v3 wechatpay-v2 paypal paypal-ipn apple-app-store-v2
    apple-pay-merchant-token google-pay google-pubsub unionpay lianlian stripe adyen adyen-platform
    worldpay checkout square braintree authorize-net razorpay paystack flutterwave mollie
    mollie-webhooks klarna gocardless wise mercado-pago paddle lemon-squeezy xendit midtrans payu
    payu-india payu-latam airwallex dlocal plaid cashfree phonepe revolut
    coinbase-commerce coinbase-cdp nowpayments bitpay btcpay binance-pay coinpayments cryptomus
    tokenpay epusdt cryptapi alchemy quicknode moralis tatum circle tokenpocket imtoken tokenim
    generic-hmac standard-webhooks http-signature cloudevents shopify bigcommerce woocommerce github
    gitlab slack discord twilio sendgrid mailgun zoom hubspot-v1 hubspot-v2 hubspot-v3 intercom
    linear meta x aws-sns azure-event-grid microsoft-graph docusign xero typeform calendly dropbox
    notion okta line";

#[test]
fn nobody_is_missing() {
    for name in ASKED_FOR.split_whitespace() {
        assert!(catalogue::text(name).is_some(), "{name}");
    }
    // Sorted, so that a list of them is, and each once.
    let names: Vec<&str> = PROVIDERS.iter().map(|(name, _)| *name).collect();
    assert!(names.is_sorted_by(|a, b| a < b));
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/providers"));
    assert_eq!(files.unwrap().count(), names.len());
}
