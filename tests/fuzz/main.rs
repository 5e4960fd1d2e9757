//! Hostile input: whoever writes a rule file or a request may neither make the gateway panic, nor
//! hang, nor eat memory. Each target takes any bytes. What it is fed with: a kept corpus
//! (`tests/fuzz/corpus`), the catalogue's own files and examples, and seeded mutations of both.
//!
//! ```sh
//! cargo test --test fuzz                              # a few seconds
//! CALLSEAL_FUZZ_ROUNDS=1000000 cargo test --release --test fuzz
//! CALLSEAL_FUZZ_SEED=7 cargo test --test fuzz json    # another road
//! ```
//!
//! An input that fails is printed in base64, to be put into the corpus. The mutations are not
//! guided by coverage: the targets are plain functions over bytes, so that a guided fuzzer can be
//! put in front of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

use std::path::Path;
use std::time::{Duration, Instant};

mod mutate;
mod targets;

use mutate::Mutator;

/// No input of a few kilobytes may keep anyone waiting so long, not even in a debug build on a
/// busy machine.
const LONGEST: Duration = Duration::from_secs(5);

/// Larger inputs only cost time: every limit of the readers lies below.
const LARGEST: usize = 16 << 10;

fn rounds() -> usize {
    let set = std::env::var("CALLSEAL_FUZZ_ROUNDS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(3_000)
}

fn seed() -> u64 {
    let set = std::env::var("CALLSEAL_FUZZ_SEED").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(20_261_122)
}

/// The files of a target's folder in the corpus.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Runs one input; a panic or a long time names it.
fn one(name: &str, target: fn(&[u8]), input: &[u8]) {
    let began = Instant::now();
    let outcome = std::panic::catch_unwind(|| target(input));
    let shown = || data_encoding::BASE64.encode(input);
    if let Err(cause) = outcome {
        eprintln!("{name} panics over {}", shown());
        std::panic::resume_unwind(cause);
    }
    let took = began.elapsed();
    assert!(took < LONGEST, "{name} takes {took:?} over {}", shown());
}

fn run(name: &str, target: fn(&[u8]), seeds: Vec<Vec<u8>>) {
    let mut corpus = kept(name);
    corpus.extend(seeds);
    for input in &corpus {
        one(name, target, input);
    }
    let mut mutator = Mutator::new(seed(), corpus);
    for _ in 0..rounds() {
        let input = mutator.next(LARGEST);
        one(name, target, &input);
    }
}

macro_rules! target {
    ($name:ident, $what:expr) => {
        #[test]
        fn $name() {
            let _what = $what;
            run(
                stringify!($name),
                targets::$name,
                targets::seeds(stringify!($name)),
            );
        }
    };
}

target!(rule_compiler, "a provider file");
target!(source_compiler, "a source file");
target!(template, "the text of a template");
target!(header_grammar, "the value of a signature header");
target!(form, "a form");
target!(json, "JSON, and every way over it");
target!(xml, "XML");
target!(jws, "a compact token");
target!(certificate, "a chain of certificates");
target!(public_key, "a public key or certificate as text");
target!(http_signature, "Signature-Input, Signature, Content-Digest");
target!(timestamp, "every format of timestamps");
target!(pinned_url, "an address that a request names");
target!(verdict, "a request for every provider of the catalogue");
