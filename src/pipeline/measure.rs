//! What watching costs a callback: the same signed callbacks through the pipeline while nobody
//! watches, while streams listen, and while traces are kept. The store is in memory: what is
//! measured is the path beside the disk.
//!
//! ```sh
//! cargo test --lib measure_watching -- --ignored --nocapture
//! ```
//!
//! `CALLSEAL_MEASURE=plain|news|traces|forged` does one of them alone, for a profiler that counts
//! instructions. `docs/metrics.md` has what it said.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant as Wall};

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use http::StatusCode;

use super::*;
use crate::clock::SystemClock;
use crate::inbox::store::Store;
use crate::inbox::store::plain::PlainStore;
use crate::listener::address::AddressSet;
use crate::listener::caps::ByteBudget;
use crate::listener::{Body, Head};
use crate::message::Headers;
use crate::random::SystemRandom;
use crate::relay::Relay;
use crate::rule::compile;
use crate::rule::document::{RuleFile, RuleFiles};
use crate::secret::Secret;
use crate::verify::Keyring;

const KEY: &str = "whsec_0123456789abcdef";
const EVENTS: usize = 200;
const ROUNDS: usize = 25;
const MODES: [&str; 4] = ["plain", "news", "traces", "forged"];

fn rules() -> RuleSet {
    let text = "provider = \"stripe\"\npath = \"/stripe\"\nkeys = [\"env:K\"]\nforward = \"http://127.0.0.1:9/\"\n";
    let files = RuleFiles {
        sources: vec![RuleFile {
            name: "stripe".to_owned(),
            path: Path::new("rules/stripe.toml").to_owned(),
            text: text.into(),
        }],
        providers: Vec::new(),
    };
    compile::compile(files).unwrap().0
}

/// A gateway of its own for each round: its store has nothing in it.
fn gateway(rules: &RuleSet) -> (Arc<Shared>, Rc<Pipeline>) {
    let metrics = Metrics::new();
    let random = || Arc::new(SystemRandom);
    let store: Arc<dyn Store> = Arc::new(PlainStore::new());
    let clock = Arc::new(SystemClock);
    let relay = Relay::new(store.clone(), clock.clone(), random(), metrics.clone());
    let keys = [Secret::new(KEY.as_bytes().to_vec())];
    let verifiers = rules.rules.iter().map(|rule| {
        let ring = Keyring::trial(rule, &keys, &BTreeMap::new()).unwrap();
        (rule.name.clone(), Verifier::new(rule.clone(), ring))
    });
    let loaded = Loaded {
        verifiers: verifiers.collect(),
        guards: Guards::new(rules, AddressSet::new(&[]), metrics.clone(), None),
        rules: RuleSet {
            rules: rules.rules.clone(),
            digest: [0; 32],
            files: Vec::new(),
        },
    };
    let labels = vec!["keys[0]".to_owned()];
    metrics.figures.set(
        rules
            .rules
            .iter()
            .map(|rule| (rule.name.clone(), labels.clone())),
    );
    let shared = Arc::new(Shared {
        loaded: ArcSwap::from_pointee(loaded),
        inbox: Inbox::new(store),
        clock,
        random: random(),
        metrics,
        refusals: Refusals::new(1000),
        told: Told::default(),
        reloaded: ArcSwap::default(),
    });
    let pipeline = Pipeline::new(shared.clone(), relay.worker().waker());
    (shared, pipeline)
}

/// 1.5 KB, signed now; or with another key.
fn callback(n: usize, now: Timestamp, key: &str) -> (Head, String) {
    let body = format!(
        "{{\"id\":\"evt_{n}\",\"object\":\"event\",\"type\":\"charge.succeeded\",\"data\":{{\"object\":{{\"pad\":\"{}\"}}}}}}",
        "x".repeat(1400)
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let at = now.as_secs();
    let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    let signature = format!("t={at},v1={}", HEXLOWER.encode(tag.as_ref()));
    let mut headers = Headers::default();
    headers.push("host", "hooks.example.com");
    headers.push("content-type", "application/json");
    headers.push("stripe-signature", signature);
    let trace = format!("00-{n:032x}-b7ad6b7169203331-01", n = n + 1);
    headers.push("traceparent", trace);
    let head = Head {
        method: http::Method::POST,
        path: "/stripe".to_owned(),
        query: None,
        headers,
        peer: IpAddr::from([192, 0, 2, 7]),
        length: Some(body.len() as u64),
    };
    (head, body)
}

/// What one callback took on the average.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn round(rules: &RuleSet, mode: &str) -> Duration {
    let (shared, pipeline) = gateway(rules);
    let key = if mode == "forged" { "another" } else { KEY };
    let now = shared.clock.now();
    let bodies = ByteBudget::new(1 << 30);
    let callbacks: Vec<_> = (0..EVENTS).map(|n| callback(n, now, key)).collect();
    let news = &shared.metrics.news;
    let _streams: Vec<_> = match mode {
        "news" => (0..3).map(|_| (news.watch(3), news.listen())).collect(),
        _ => Vec::new(),
    };
    if mode == "traces" {
        shared.metrics.traces.begin(1.0);
    }
    let began = Wall::now();
    for (head, body) in callbacks {
        let body = Body::whole(body, bodies.share());
        let answer = pipeline.clone().handle(Incoming { head, body }).await;
        let accepted = answer.status == StatusCode::OK;
        assert_eq!(accepted, mode != "forged", "{}", answer.status);
    }
    began.elapsed() / EVENTS as u32
}

#[tokio::test]
#[ignore = "says how long things take"]
async fn measure_watching() {
    let rules = rules();
    if let Ok(mode) = std::env::var("CALLSEAL_MEASURE") {
        for _ in 0..5 {
            round(&rules, &mode).await;
        }
        return;
    }
    let mut best = [Duration::MAX; MODES.len()];
    for _ in 0..ROUNDS {
        for (best, mode) in best.iter_mut().zip(MODES) {
            *best = (*best).min(round(&rules, mode).await);
        }
    }
    for (best_of, mode) in best.iter().zip(MODES) {
        let ratio = best_of.as_secs_f64() / best[0].as_secs_f64();
        eprintln!("{mode:8} {best_of:>9.2?}  {ratio:.2}");
    }
}
