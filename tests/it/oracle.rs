//! Callbacks signed by libraries that we did not write: the official `stripe` and
//! `standardwebhooks` packages of the npm registry.
//!
//! `CALLSEAL_SIGNERS` names a folder with `node_modules/stripe` and `node_modules/standardwebhooks`
//! (`.ci/run` installs them). Where it is not set, signatures recorded from these packages are used
//! instead, with a tolerance that reaches back to the day of the recording.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::gateway::{STANDARD_SECRET, STRIPE_SECRET};
use crate::harness::{App, Client, Site, eventually, now};

/// Signs with the packages; prints a JSON list of {path, headers, body}.
const SIGNER: &str = r#"
const [at, stripeSecret, standardSecret] = process.argv.slice(2);
const Stripe = require("stripe");
const { Webhook } = require("standardwebhooks");
const stripe = new Stripe("sk_test_none");
const out = [];
const bodies = [
  '{"id":"evt_oracle_1","object":"event","type":"payment_intent.succeeded","amount":1.0}',
  '{ "id": "evt_oracle_2",\n "type": "charge.refunded", "note": "\\u00e9 \u00e9 \ud83d\ude00" }',
  '{"id":"evt_oracle_3","type":"x","big":12345678901234567890}',
];
for (const body of bodies) {
  const header = stripe.webhooks.generateTestHeaderString({ payload: body, secret: stripeSecret, timestamp: Number(at) });
  out.push({ path: "/stripe", headers: { "Stripe-Signature": header }, body });
}
for (const [n, body] of bodies.entries()) {
  const id = "msg_oracle_" + n;
  const signature = new Webhook(standardSecret).sign(id, new Date(Number(at) * 1000), body);
  out.push({ path: "/standard", headers: { "webhook-id": id, "webhook-timestamp": String(at), "webhook-signature": signature }, body });
}
console.log(JSON.stringify(out));
"#;

const RECORDED: &str = include_str!("oracle/recorded.json");

fn signers() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("CALLSEAL_SIGNERS")?);
    let there = |name: &str| folder.join("node_modules").join(name).exists();
    (there("stripe") && there("standardwebhooks")).then_some(folder)
}

fn sign_now(folder: &PathBuf, at: u64) -> Vec<Value> {
    let output = Command::new("node")
        .current_dir(folder)
        .args([
            "-e",
            SIGNER,
            "callseal",
            &at.to_string(),
            STRIPE_SECRET,
            STANDARD_SECRET,
        ])
        .output()
        .expect("node runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn fields(callback: &Value) -> Vec<(String, String)> {
    let headers = callback["headers"].as_object().unwrap();
    headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}

fn post(client: &Client, callback: &Value, body: &[u8]) -> u16 {
    client
        .post(callback["path"].as_str().unwrap(), &fields(callback), body)
        .status
}

#[test]
fn what_the_official_packages_sign_is_accepted_and_a_flipped_bit_is_not() {
    let app = App::start();
    let site = Site::new();
    let (callbacks, more) = match signers() {
        Some(folder) => (sign_now(&folder, now()), ""),
        None => {
            eprintln!(
                "CALLSEAL_SIGNERS is not set: signatures recorded from the packages are used"
            );
            let old = "[freshness]\ntolerance = \"30000d\"\n[inbox]\nkeep = \"70000d\"\n";
            (serde_json::from_str(RECORDED).unwrap(), old)
        }
    };
    assert_eq!(callbacks.len(), 6);
    site.stripe(&app.url("/"), more);
    site.source(
        "standard",
        "standard-webhooks",
        "standard",
        &app.url("/"),
        more,
    );
    let gateway = site.start();
    let client = gateway.client();
    for callback in &callbacks {
        let body = callback["body"].as_str().unwrap().as_bytes();
        let mut flipped = body.to_vec();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        assert_eq!(post(&client, callback, &flipped), 401, "{callback}");
        assert_eq!(post(&client, callback, body), 200, "{callback}");
        assert_eq!(
            post(&client, callback, body),
            200,
            "a duplicate hears success: {callback}"
        );
    }
    let deliveries = app.wait_for(callbacks.len());
    for callback in &callbacks {
        let body = callback["body"].as_str().unwrap().as_bytes();
        assert!(deliveries.iter().any(|d| d.body == body), "{callback}");
    }
    eventually("all settled", || {
        gateway
            .events()
            .iter()
            .all(|e| e["state"] == "delivered")
            .then_some(())
    });
    assert_eq!(app.count(), callbacks.len());
}
