//! What verification costs over the bare primitive on the same bytes, for every provider whose keys
//! the source holds: at most 1.3 times for an HMAC over 1.5 KB, 1.1 times for RSA and ECDSA.
//!
//! ```sh
//! cargo bench --bench verify                  # the whole table, then criterion's figures
//! cargo bench --bench verify -- stripe        # criterion's figures of one
//! cargo bench --bench verify -- --table       # the table alone
//! cargo bench --bench verify -- --spin slack  # one verification again and again, for a profiler
//! ```
//!
//! The ratios come from interleaved rounds in one run, of which the quickest count.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callseal::clock::Timestamp;
use callseal::message::RawRequest;
use callseal::rule::catalogue::PROVIDERS;
use callseal::rule::compile::compile_provider;
use callseal::rule::scheme::{Algorithm, KeySource};
use callseal::verify::Verifier;
use callseal::verify::craft::{Bench, Pair, Wish};
use callseal::verify::example::request;
use callseal::verify::verified::Primitive;
use criterion::Criterion;

const BODY: usize = 1_500;
const ROUNDS: usize = 300;

struct Case {
    name: &'static str,
    algorithm: Algorithm,
    verifier: Verifier,
    request: RawRequest,
    now: Timestamp,
}

/// The first accepted example of a provider, its body filled up to 1.5 KB and signed anew. A key
/// pair made for this stands in for the provider's, where its keys are public.
fn case(name: &'static str, text: &str) -> Option<Case> {
    let provider = Arc::new(compile_provider(name, text).ok()?.0);
    let scheme = provider.first_scheme()?;
    let counted = matches!(
        scheme.algorithm,
        Algorithm::Hmac(_)
            | Algorithm::Rsa(_)
            | Algorithm::RsaPss(_)
            | Algorithm::Ecdsa(_)
            | Algorithm::EcdsaRaw(_)
            | Algorithm::Ed25519
    );
    if !counted || !matches!(scheme.key.source, KeySource::Given) || provider.split.is_some() {
        return None;
    }
    let algorithm = scheme.algorithm;
    let example = provider
        .examples
        .iter()
        .find(|e| e.rejected.is_none() && e.reply.is_none() && !e.body.is_empty())?;
    let now = example.now();
    let pair = Pair::new(&provider, example).ok()?;
    let bench = Bench::of_example(&provider, example, pair).ok()?;
    let wish = Wish {
        example,
        now,
        stamp: now,
        fresh: false,
        body: Some(filled(&request(example).body).into()),
        set: &[],
    };
    let request = match bench.make(&wish) {
        Ok(made) => made.request,
        Err(why) => {
            println!("{name}: left out, since it cannot be signed here: {why}");
            return None;
        }
    };
    let verifier = bench.into_verifier();
    if let Err(why) = verifier.seal(&request, now) {
        println!("{name}: left out, since what was signed is rejected: {why}");
        return None;
    }
    verifier.primitives(&request).ok()?;
    Some(Case {
        name,
        algorithm,
        verifier,
        request,
        now,
    })
}

/// A body with a member, a field or an element more.
fn filled(body: &[u8]) -> Vec<u8> {
    let mut body = body.trim_ascii_end().to_vec();
    let (before, behind): (&[u8], &[u8]) = match (body.first(), body.last()) {
        (Some(b'{'), Some(b'}')) => {
            body.pop();
            (b",\"filling\":\"", b"\"}")
        }
        (Some(b'<'), _) => {
            let end = body.len() - b"</xml>".len();
            if body.get(end..) != Some(b"</xml>") {
                return body;
            }
            body.truncate(end);
            (b"<filling>", b"</filling></xml>")
        }
        (Some(first), _) if first.is_ascii_alphabetic() && body.contains(&b'=') => {
            (b"&filling=", b"")
        }
        _ => return body,
    };
    body.extend_from_slice(before);
    let missing = BODY.saturating_sub(body.len() + behind.len());
    body.extend(std::iter::repeat_n(b'x', missing));
    body.extend_from_slice(behind);
    body
}

fn time(times: u32, work: &mut dyn FnMut()) -> Duration {
    let began = Instant::now();
    for _ in 0..times {
        work();
    }
    began.elapsed() / times
}

/// Work takes as long as its quickest round: what was longer, something else took.
fn quickest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn table(cases: &[Case]) {
    println!(
        "{:<28} {:<16} {:>6} {:>12} {:>12} {:>7}",
        "provider", "algorithm", "bytes", "primitive", "verification", "ratio"
    );
    let mut above = Vec::new();
    for case in cases {
        let primitives = case.verifier.primitives(&case.request).unwrap();
        let mut bare = || {
            black_box(primitives.iter().fold(false, |any, p| p.verify() | any));
        };
        let mut whole = || {
            let _ = black_box(case.verifier.seal(black_box(&case.request), case.now));
        };
        let times = if case.algorithm.is_asymmetric() {
            10
        } else {
            100
        };
        let (mut bares, mut wholes) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (a, b) = (
                time(times, &mut bare).as_nanos() as f64,
                time(times, &mut whole).as_nanos() as f64,
            );
            bares.push(a);
            wholes.push(b);
        }
        let ratio = quickest(&wholes) / quickest(&bares);
        let bytes = primitives
            .first()
            .map_or(0, |p: &Primitive<'_>| p.message.len());
        println!(
            "{:<28} {:<16} {:>6} {:>9.0} ns {:>9.0} ns {:>7.2}",
            case.name,
            case.algorithm.name(),
            bytes,
            quickest(&bares),
            quickest(&wholes),
            ratio
        );
        let most = if case.algorithm.is_asymmetric() {
            1.1
        } else {
            1.3
        };
        if ratio > most && bytes >= BODY {
            above.push(case.name);
        }
    }
    println!("above the aim at 1.5 KB: {above:?}");
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let named: Vec<&String> = words.iter().filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|word| name.contains(*word));
    let cases: Vec<Case> = PROVIDERS
        .iter()
        .filter(|(name, _)| wanted(name))
        .filter_map(|(name, text)| case(name, text))
        .collect();
    if words.iter().any(|word| word == "--spin") {
        for case in cases.iter().take(1) {
            time(5_000_000, &mut || {
                let _ = black_box(case.verifier.seal(black_box(&case.request), case.now));
            });
        }
        return;
    }
    if named.is_empty() {
        table(&cases);
    }
    if words.iter().any(|word| word == "--table") {
        return;
    }
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    for case in &cases {
        let mut group = criterion.benchmark_group(case.name);
        let primitives = case.verifier.primitives(&case.request).unwrap();
        group.bench_function("primitive", |b| {
            b.iter(|| primitives.iter().fold(false, |any, p| p.verify() | any));
        });
        group.bench_function("verification", |b| {
            b.iter(|| case.verifier.seal(black_box(&case.request), case.now));
        });
        group.finish();
    }
    criterion.final_summary();
}
