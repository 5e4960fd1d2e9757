//! What a signature fixes: a table of files, and whether something in them is covered.

use super::lints::provider;
use crate::rule::Template;
use crate::rule::compile::compile_provider;

/// Whether a file with this signature and these tables covers what a template reads.
fn covers(signature: &str, rest: &str, template: &str) -> bool {
    let text = provider(signature, rest);
    let (compiled, _) = compile_provider("test", &text).unwrap_or_else(|f| panic!("{f:?}"));
    compiled
        .cover()
        .template(&Template::parse(template).unwrap())
}

const OPEN: &str = "body_unsigned = true\nbody_unsigned_reason = \"so it is\"";

#[test]
fn a_message_covers_what_it_holds_and_nothing_else() {
    for (message, template, covered) in [
        ("{body}", "{body}", true),
        ("{body}", "{json:/a}", true),
        ("{body}", "{form:a}-{xml:b}", true),
        ("{body}", "{header:x-id}", false),
        ("{body}", "{query:id}", false),
        ("{body}", "{path}", false),
        ("{body|sha256|hex}", "{json:/a}", true),
        ("{target}.{body}", "{path}{query:id}{path_segment:1}", true),
        ("{query}.{body}", "{query:id}", true),
        ("{query}.{body}", "{path}", false),
        // A part of it under the same name is another thing.
        ("{header:x-a}.{body}", "{header:x-a}", true),
        ("{header:x-a}.{body}", "{header:x-b}", false),
        // What the source sets is always fixed.
        ("{body}", "{url}", true),
        ("{(.{header:x-a})}.{body}", "{header:x-a}", true),
        // Text that is fixed once can be read in a second way.
        ("{header:x-a|lower}.{body}", "{header:x-a}", false),
        ("{header:x-a|crc32}.{body}", "{header:x-a}", false),
        ("{header:x-a|first:4}.{body}", "{header:x-a}", false),
        ("{body|json_without:/sig}", "{json:/a}", true),
        ("{body|json_without:/sig}", "{json:/sig}", false),
    ] {
        let signature = format!("message = \"{message}\"");
        assert_eq!(
            covers(&signature, "", template),
            covered,
            "{message}: {template}"
        );
    }
    for (message, template, covered) in [
        ("{json:/a}", "{json:/a}", true),
        ("{json:/a}", "{json:/b}", false),
        ("{json:/a}", "{body}", false),
        ("{json_raw:/a}", "{json:/a/b/c}", true),
        ("{json_raw:/a}", "{json:/ab}", false),
        ("{body|crc32}", "{json:/a}", false),
        ("{body|lower}", "{json:/a}", false),
    ] {
        let signature = format!("message = \"{message}\"\n{OPEN}");
        assert_eq!(
            covers(&signature, "", template),
            covered,
            "{message}: {template}"
        );
    }
}

#[test]
fn every_variant_and_every_alternative_has_to_cover_it() {
    let both = "any_of = [\"{header:x-a}.{body}\", \"{header:x-a}:{body}\"]";
    assert!(covers(both, "", "{header:x-a}"));
    let one = "any_of = [\"{header:x-a}.{body}\", \"{body}\"]";
    assert!(!covers(one, "", "{header:x-a}") && covers(one, "", "{json:/id}"));
}

#[test]
fn the_address_in_a_message_signature_is_the_sources_own() {
    let covers = |components: &str, template: &str| {
        let text = format!(
            "title = \"T\"\ndocs = \"https://example.com\"\ncategory = \"standards\"\n\
             evidence = \"documented\"\n[signature]\nalgorithm = \"http-signature\"\n\
             http_algorithms = [\"ed25519\"]\ncomponents = [{components}]\n\
             [key]\ncodec = \"public\"\n"
        );
        let (compiled, _) = compile_provider("test", &text).unwrap_or_else(|f| panic!("{f:?}"));
        compiled
            .cover()
            .template(&Template::parse(template).unwrap())
    };
    let all = "\"@method\", \"@target-uri\", \"content-digest\"";
    assert!(covers(all, "{method}{json:/id}"));
    // `@target-uri` is what the source has configured: what came may be another query.
    assert!(!covers(all, "{query:id}") && !covers(all, "{path}"));
    let own = "\"@path\", \"@query\", \"content-digest\"";
    assert!(covers(own, "{query:id}{path_segment:2}") && !covers(own, "{header:x-id}"));
}

/// Which value belongs to which name is part of what is said.
#[test]
fn parameters_are_covered_by_their_names_and_not_by_their_values_alone() {
    let set = |keys: &str| format!("[params]\nfrom = \"form\"\njoin = \"&\"\n{keys}\n");
    let of = |keys: &str, field: &str| {
        // Where all of them are signed, so is the body, and it may not be said that it is not.
        let open = match keys.contains("render = \"k") && !keys.contains("only") {
            true => "",
            false => OPEN,
        };
        covers(
            &format!("message = \"{{params}}\"\n{open}"),
            &set(keys),
            field,
        )
    };
    for (keys, a, b) in [
        (
            "order = \"key\"\nrender = \"k=v\"\nexcept = [\"b\"]",
            true,
            false,
        ),
        (
            "order = \"key\"\nrender = \"kv\"\nexcept_prefix = [\"b\"]",
            true,
            false,
        ),
        (
            "order = \"arrival\"\nrender = \"k=v\"\nonly = [\"a\"]",
            true,
            false,
        ),
        (
            "order = \"listed\"\nrender = \"k=v\"\nonly = [\"a\"]",
            true,
            false,
        ),
        (
            "order = \"value\"\nrender = \"k=v\"\nonly_prefix = [\"a\"]",
            true,
            false,
        ),
        ("order = \"arrival\"\nrender = \"v\"", false, false),
        ("order = \"value\"\nrender = \"=v\"", false, false),
    ] {
        let found = (of(keys, "{form:a}"), of(keys, "{form:b}"));
        assert_eq!(found, (a, b), "{keys}");
    }
}
