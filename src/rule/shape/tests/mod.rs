//! The shapes say what the compiler does, the schemas in the repository are made of the shapes, and
//! an independent validator finds with them what it should.

pub(crate) mod documents;
pub(crate) mod drift;

use crate::rule::catalogue;
use crate::rule::compile::{compile, compile_provider};
use crate::rule::diagnostic::Look;
use crate::rule::diagnostic::render;
use crate::rule::document::{RuleFile, RuleFiles};
use crate::rule::shape::{provider, source};
use crate::rule::witness;

/// Provider files that say what the catalogue leaves unsaid.
const EVERYTHING: [(&str, &str); 2] = [
    ("every-key", include_str!("every-key.toml")),
    ("chosen", CHOSEN),
];

/// What the source with every key names.
const CHOSEN: &str = r#"
title = "Chosen"
docs = "https://example.com/"
category = "standards"
evidence = "unconfirmed"
config = { merchant = "who we are" }
secrets = { second = "a second secret" }
key = { codec = "utf8" }
freshness = { timestamp = "{header:X-Time}", format = "unix", tolerance = "5m" }
[[signature]]
name = "v1"
algorithm = "hmac-sha256"
value = "{header:X-Signature}"
encoding = "hex"
message = "{header:X-Time}.{body}"
[[signature]]
name = "v2"
algorithm = "hmac-sha512"
value = "{header:X-Signature-2}"
encoding = "hex"
message = "{header:X-Time}.{body}.{secret:second}"
"#;

/// A source that says everything that one can.
const SOURCES: [(&str, &str); 3] = [
    ("full", include_str!("every-source-key.toml")),
    ("open", OPEN),
    ("least", LEAST),
];

const OPEN: &str = "provider = \"imtoken\"\npath = \"/open\"\nforward = \"http://app/\"\n\
    verify = \"none\"\nverify_reason = \"a trial\"\n";

const LEAST: &str = "provider = \"stripe\"\npath = \"/least\"\nkeys = \"env:KEY\"\n\
    forward = \"http://app/\"\n";

fn compiles(name: &str, text: &str) {
    if let Err(faults) = compile_provider(name, text) {
        panic!("{name}: {}", render(&faults, Look::Plain));
    }
}

fn files() -> RuleFiles {
    let file = |(name, text): &(&str, &str)| RuleFile {
        name: (*name).to_owned(),
        path: format!("rules/{name}.toml").into(),
        text: (*text).into(),
    };
    RuleFiles {
        sources: SOURCES.iter().map(file).collect(),
        providers: vec![file(&("chosen", CHOSEN))],
    }
}

#[test]
fn the_compiler_reads_what_the_shape_of_a_provider_says() {
    let seen = witness::during(|| {
        // That the catalogue compiles is for a test of its own.
        for (name, text) in catalogue::PROVIDERS {
            let _ = compile_provider(name, text);
        }
        for (name, text) in &EVERYTHING {
            compiles(name, text);
        }
    });
    drift::compare(&provider(), &seen);
}

#[test]
fn a_key_in_a_wrong_table_is_told_where_it_belongs() {
    let hint = |more: &str| {
        let text = format!("{LEAST}{more}\n");
        let sources = vec![RuleFile {
            name: "least".to_owned(),
            path: "rules/least.toml".into(),
            text: text.into(),
        }];
        let providers = Vec::new();
        let faults = compile(RuleFiles { sources, providers }).unwrap_err();
        let [fault] = faults.as_slice() else {
            panic!("{}", render(&faults, Look::Plain));
        };
        assert_eq!(fault.code, "unknown_key");
        fault.hint.clone().unwrap_or_default()
    };
    assert_eq!(
        hint("tolerance = \"5m\""),
        "`tolerance` belongs under [freshness]"
    );
    assert_eq!(
        hint("[guard]\nkeep = \"9d\""),
        "`keep` belongs under [inbox]"
    );
    assert_eq!(hint("forwrd = 1"), "did you mean `forward`?");
    assert!(hint("[guard]\ncolour = 1").starts_with("here may stand: allow, "));
}

#[test]
fn the_compiler_reads_what_the_shape_of_a_source_says() {
    let seen = witness::during(|| {
        if let Err(faults) = compile(files()) {
            panic!("{}", render(&faults, Look::Plain));
        }
    });
    // The provider files that they name are compiled with them.
    let seen: Vec<_> = seen
        .into_iter()
        .filter(|sight| {
            sight.file() != "rules/chosen.toml" && !sight.file().starts_with("providers/")
        })
        .collect();
    drift::compare(&source(), &seen);
}
