//! The schemas of the repository, and what an independent validator says with them.

use std::path::Path;

use jsonschema::Validator;

use crate::rule::catalogue;
use crate::rule::shape::{provider_schema, source_schema};

use super::{EVERYTHING, SOURCES};

/// Set to write the schemas anew instead of comparing them.
const WRITE: &str = "CALLSEAL_WRITE_SCHEMAS";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_schemas_of_the_repository_are_those_of_the_shapes() {
    kept("provider", &provider_schema());
    kept("source", &source_schema());
}

/// Fails when the schema in the repository is another.
pub(crate) fn kept(name: &str, fresh: &str) {
    let path = root().join(format!("docs/schema/{name}.json"));
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let path = path.display();
    assert!(kept == fresh, "{path} is old: run the tests with {WRITE}=1");
}

pub(crate) fn validator_of(schema: &str) -> Validator {
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    jsonschema::draft7::meta::validate(&schema).unwrap();
    jsonschema::draft7::new(&schema).unwrap()
}

/// TOML as editors hand it to a schema: dates are texts.
fn plain(value: toml::Value) -> serde_json::Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(list) => list.into_iter().map(plain).collect(),
        toml::Value::Table(table) => table
            .into_iter()
            .map(|(name, value)| (name, plain(value)))
            .collect(),
    }
}

/// Every fault with its place.
pub(crate) fn faults(validator: &Validator, text: &str) -> Vec<String> {
    let document = plain(toml::Value::Table(text.parse().unwrap()));
    validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn every_shipped_provider_names_the_schema_and_fits_it() {
    let validator = validator_of(&provider_schema());
    for (name, text) in catalogue::PROVIDERS {
        let first = text.lines().next().unwrap();
        assert_eq!(first, "#:schema ../../docs/schema/provider.json", "{name}");
        assert_eq!(faults(&validator, text), [""; 0], "{name}");
    }
    for (name, text) in EVERYTHING {
        assert_eq!(faults(&validator, text), [""; 0], "{name}");
    }
}

/// Blocks of TOML on the pages, with the path in their first line.
pub(crate) fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    text.split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_example_of_a_source_fits_the_schema() {
    let validator = validator_of(&source_schema());
    let mut known: Vec<String> = SOURCES.iter().map(|(_, text)| (*text).to_owned()).collect();
    for page in ["README.md", "docs/rules.md"] {
        known.extend(
            blocks(page)
                .into_iter()
                .filter(|block| block.contains("\nforward ")),
        );
    }
    assert!(known.len() >= SOURCES.len() + 2, "the pages show sources");
    for text in known {
        assert_eq!(faults(&validator, &text), [""; 0], "{text}");
    }
}

const SOUND: &str = r#"
provider = "stripe"
path = "/stripe"
keys = ["env:STRIPE_SECRET"]
forward = "http://127.0.0.1:3000/webhooks/stripe"
"#;

#[test]
fn a_faulty_source_does_not_fit() {
    let validator = validator_of(&source_schema());
    assert_eq!(faults(&validator, SOUND), [""; 0]);
    let more = [
        ("tolerance = \"5m\"", ": "),
        ("[guard]\nmode = \"watch\"", "/guard/mode: "),
        (
            "[guard]\nrate = { per_ip = \"many\" }",
            "/guard/rate/per_ip: ",
        ),
        (
            "[guard]\nallow = [\"provider\", \"nobody\"]",
            "/guard/allow/1: ",
        ),
        ("[relay]\nconcurrency = 0", "/relay/concurrency: "),
        ("[relay]\nretry = { factor = 0.5 }", "/relay/retry/factor: "),
        ("[inbox]\nkeep = \"for ever\"", "/inbox/keep: "),
        ("[secrets]\nfirst = \"hunter2\"", "/secrets/first: "),
    ];
    for (more, place) in more {
        let found = faults(&validator, &format!("{SOUND}{more}\n"));
        let told = matches!(found.as_slice(), [one] if one.starts_with(place));
        assert!(told, "{more}: {found:?}");
    }
    let changed = [
        ("path = \"/stripe\"\n", "", ": "),
        ("\"/stripe\"", "\"stripe\"", "/path: "),
        ("env:STRIPE_SECRET", "whsec_c2VjcmV0", "/keys/0: "),
        ("[\"env:STRIPE_SECRET\"]", "[{ id = \"a\" }]", "/keys/0: "),
        ("http://", "ftp://", "/forward: "),
    ];
    for (from, to, place) in changed {
        let found = faults(&validator, &SOUND.replace(from, to));
        let told = matches!(found.as_slice(), [one] if one.starts_with(place));
        assert!(told, "{to}: {found:?}");
    }
}

#[test]
fn a_faulty_provider_does_not_fit() {
    let validator = validator_of(&provider_schema());
    let (_, sound) = catalogue::PROVIDERS
        .iter()
        .find(|(name, _)| *name == "stripe")
        .unwrap();
    let changed = [
        (
            "category = \"payments\"",
            "category = \"shops\"",
            "/category: ",
        ),
        (
            "algorithm = \"hmac-sha256\"",
            "algorithm = \"hmac-md4\"",
            "/signature/algorithm: ",
        ),
        ("encoding = \"hex\"", "encodings = \"hex\"", "/signature: "),
        ("algorithm = \"hmac-sha256\"\n", "", "/signature: "),
        (
            "tolerance = \"5m\"",
            "tolerance = 300",
            "/freshness/tolerance: ",
        ),
        ("tolerance = \"5m\"\n", "", "/freshness: "),
        ("[[example]]", "[[example]]\ncolour = 1", "/example/0: "),
    ];
    for (from, to, place) in changed {
        assert!(sound.contains(from), "{from}");
        let found = faults(&validator, &sound.replacen(from, to, 1));
        assert!(
            found.iter().any(|one| one.starts_with(place)),
            "{to}: {found:?}"
        );
    }
    let twice = "when = [{ is = \"{method}\", equals = \"GET\", present = true }]\n[[example]]";
    let condition = sound.replacen("[[example]]", &format!("[[challenge]]\n{twice}"), 1);
    assert!(!faults(&validator, &condition).is_empty());
}

/// Hover help is looked up by editors without going through `allOf`, or past `$ref`.
#[test]
fn schemas_keep_to_what_editors_understand() {
    fn walk(value: &serde_json::Value) {
        if let Some(map) = value.as_object() {
            assert!(!map.contains_key("allOf") && !map.contains_key("$defs"));
            assert!(!map.contains_key("$ref") || map.len() == 1, "{value}");
            map.values().for_each(walk);
        }
        if let Some(list) = value.as_array() {
            list.iter().for_each(walk);
        }
    }
    walk(&serde_json::from_str(&provider_schema()).unwrap());
    walk(&serde_json::from_str(&source_schema()).unwrap());
}
