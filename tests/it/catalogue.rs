//! The catalogue as people see it: every provider in words, the tables of the documents, and the
//! page on the provider language held against the code. `CALLSEAL_UPDATE=1` writes what is
//! generated anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callseal::cli::providers::describe::describe;
use callseal::cli::providers::prove::Proof;
use callseal::cli::providers::{fits, json, keys, scheme, table};
use callseal::cli::source;
use callseal::rule::Provider;
use callseal::rule::compile::{catalogue_of, compile, compile_provider};
use callseal::rule::document::{RuleFile, RuleFiles};
use callseal::rule::provider::{Category, Evidence, Status};
use callseal::rule::scheme::{Algorithm, Cipher, HTTP_ALGORITHMS, JWS_ALGORITHMS};

use crate::harness::Site;
use crate::harness::gateway::output;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn catalogue() -> Vec<Provider> {
    let (providers, faults) = catalogue_of(&RuleFiles::default());
    assert!(faults.is_empty(), "{faults:?}");
    providers
}

/// A file that is generated, or has a generated part, is what it must be; or is written so.
fn kept(name: &str, wanted: &str) {
    let file = path(name);
    if std::env::var_os("CALLSEAL_UPDATE").is_some() {
        std::fs::write(&file, wanted).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let first = wanted.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(
        found == wanted,
        "{name} is not what the code says ({first:?}): CALLSEAL_UPDATE=1 cargo test --test it catalogue"
    );
}

/// A document with the lines between two markers exchanged.
fn between(text: &str, marker: &str, lines: &str) -> String {
    let begin = text.find(&format!("<!-- {marker}:")).unwrap();
    let begin = begin + text[begin..].find('\n').unwrap() + 1;
    let end = text.find(&format!("<!-- /{marker} -->")).unwrap();
    format!("{}{lines}{}", &text[..begin], &text[end..])
}

#[test]
fn every_provider_can_be_told_in_words() {
    for provider in catalogue() {
        for width in [1, 60, 80, 1000] {
            let page = describe(&provider, width);
            assert!(page.contains(&provider.docs), "{page}");
            assert!(!page.contains("  : "), "{page}");
        }
        let page = describe(&provider, 80);
        // Words that are longer than a line stand alone; the source is a file, not a sentence.
        let prose = page.split("\nA source: ").next().unwrap();
        for line in prose.lines().filter(|line| line.chars().count() > 80) {
            let said = line.chars().skip(16).collect::<String>();
            let label = line.chars().take(16).collect::<String>();
            let alone = !said.trim().contains(' ') || label.trim().len() > 12;
            assert!(alone, "{}: {line:?}", provider.name);
        }
    }
}

#[test]
fn every_provider_can_be_told_to_programs() {
    for provider in catalogue() {
        let value = json::provider(&provider);
        for name in ["name", "title", "docs", "category", "evidence", "source"] {
            assert!(value[name].is_string(), "{}: {name}", provider.name);
        }
        assert_eq!(
            value["schemes"].as_array().unwrap().len(),
            provider.schemes.len()
        );
    }
}

/// The words for a few of them, read by a person once.
#[test]
fn the_words_are_what_they_were() {
    let providers = catalogue();
    for name in ["stripe", "wechatpay-v3", "mollie", "aws-sns", "gitlab"] {
        let provider = providers.iter().find(|p| p.name == name).unwrap();
        kept(
            &format!("tests/it/catalogue/{name}.txt"),
            &describe(provider, 100),
        );
    }
}

/// What `init` writes compiles as it is, once what is left blank is filled in.
#[test]
fn the_source_of_every_provider_compiles() {
    for provider in catalogue() {
        let target = format!("/{}", provider.name);
        let draft = source::Draft {
            name: &provider.name,
            path: &target,
            key: None,
            forward: "http://127.0.0.1:3000/webhooks",
        };
        let text = source::text(&provider, &draft);
        // `check` complains about what was left blank.
        let filled = text.replace(" = \"\"", " = \"x\"");
        let file = RuleFile {
            name: provider.name.clone(),
            path: PathBuf::from("rules/x.toml"),
            text: filled.into(),
        };
        let files = RuleFiles {
            sources: vec![file],
            providers: Vec::new(),
        };
        if let Err(faults) = compile(files) {
            panic!("{}: {faults:?}\n{text}", provider.name);
        }
        // What is a comment is a setting too, but for the choice of keys.
        for name in provider.config.keys().chain(provider.secrets.keys()) {
            assert!(text.contains(name.as_str()), "{text}");
        }
    }
}

#[test]
fn the_table_fits_a_terminal_and_is_searched() {
    let providers = catalogue();
    let all: Vec<&Provider> = providers.iter().collect();
    for width in [80, 100, 160] {
        for line in table(&all, Some(width)) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
    let whole = table(&all, None).join("\n");
    assert!(!whole.contains('…') && whole.starts_with("NAME"), "{whole}");
    let found = |text| {
        let found = providers.iter().filter(|p| fits(p, text));
        found.map(|p| p.name.as_str()).collect::<Vec<_>>()
    };
    assert!(found("STRIPE").contains(&"stripe"));
    assert!(found("wechat v3").contains(&"wechatpay-v3"));
    assert_eq!(found("zzqx"), Vec::<&str>::new());
    assert_eq!(found("").len(), providers.len());
}

/// The catalogue of docs/providers.md and the list in the README are those of the code.
#[test]
fn the_tables_of_the_documents_are_those_of_the_code() {
    let providers = catalogue();
    let mut rows =
        String::from("\n| name | title | scheme | evidence | category |\n|---|---|---|---|---|\n");
    for p in &providers {
        rows.push_str(&format!(
            "| `{}` | [{}]({}) | {} | {} | {} |\n",
            p.name,
            p.title.replace('|', "\\|"),
            p.docs,
            scheme(p),
            p.evidence.name(),
            p.category.name()
        ));
    }
    rows.push('\n');
    let page = read("docs/providers.md");
    kept("docs/providers.md", &between(&page, "catalogue", &rows));

    let mut lines = format!("\n{} providers are in the binary:\n\n", providers.len());
    for (name, kind) in Category::ALL {
        let names: Vec<String> = providers
            .iter()
            .filter(|p| p.category == kind)
            .map(|p| format!("`{}`", p.name))
            .collect();
        lines.push_str(&format!(
            "- **{name}** ({}): {}\n",
            names.len(),
            names.join(" ")
        ));
    }
    let count = |wanted: Evidence| providers.iter().filter(|p| p.evidence == wanted).count();
    lines.push_str(&format!(
        "\n{} of them compute a published known answer again, {} were made after an official SDK or a signing library, {} after official documentation, {} after the code of others alone, and {} nobody has confirmed: `callseal providers NAME` says which, and lists every single fact that is unconfirmed.\n\n",
        count(Evidence::Vector),
        count(Evidence::Sdk),
        count(Evidence::Documented),
        count(Evidence::ThirdParty),
        count(Evidence::Unconfirmed)
    ));
    let page = read("README.md");
    kept("README.md", &between(&page, "providers", &lines));

    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for p in &providers {
        let mut seen = BTreeSet::new();
        for (host, why) in keys::hosts(p) {
            if seen.insert(why) {
                reasons
                    .entry(why)
                    .or_default()
                    .push(format!("`{}`", p.name));
            }
            // A port or a path would not be a host.
            assert!(!host.contains('/'), "{host}");
        }
    }
    let meaning = |why: &str| match why {
        "certificates" => "fetch the certificate that a callback names",
        "confirmation" => "ask whether an event is true",
        "keys" => "fetch keys, all of them or where the source names none",
        "visit" => "visit an address to confirm a subscription",
        other => panic!("{other}"),
    };
    let mut lines = String::from("\n| they | providers |\n|---|---|\n");
    for (why, names) in reasons {
        lines.push_str(&format!("| {} | {} |\n", meaning(why), names.join(" ")));
    }
    lines.push('\n');
    let page = read("README.md");
    kept("README.md", &between(&page, "outbound", &lines));
}

/// Keys that the compiler asks a provider file for, read from its sources.
fn keys_of_the_compiler() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for file in [
        "answer",
        "challenge",
        "condition",
        "example",
        "key",
        "parts",
        "provider",
        "remote",
        "scheme",
    ] {
        let text = read(&format!("src/rule/compile/{file}.rs"));
        // rustfmt breaks long calls behind the bracket.
        let mut packed = String::new();
        for line in text.lines() {
            let line = line.trim();
            packed.push_str(line);
            packed.push_str(if line.ends_with('(') { "" } else { " " });
        }
        for call in [
            "get(\"",
            "need(\"",
            "needed(\"",
            "read(\"",
            "list(\"",
            "all(\"",
            "names(\"",
            "texts(\"",
            "text(\"",
            "oid(\"",
            "duration(\"",
            "conditions(&table, \"",
            "settings(&root, \"",
        ] {
            for rest in packed.split(call).skip(1) {
                keys.insert(rest.split('"').next().unwrap().to_owned());
            }
        }
        for rest in packed.split("settings(&root, \"").skip(1) {
            keys.insert(rest.split('"').nth(2).unwrap().to_owned());
        }
    }
    keys
}

/// The first cells of the tables whose head is `key`.
fn keys_of_the_page() -> BTreeSet<String> {
    let page = read("docs/providers.md");
    let mut keys = BTreeSet::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("| key |") {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && let Some(cell) = line.split('|').nth(1) {
            let names = cell.split('`').skip(1).step_by(2);
            keys.extend(names.map(str::to_owned));
        }
    }
    let tables = page
        .split("The other tables of the root: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    keys.extend(tables.split('`').skip(1).step_by(2).map(str::to_owned));
    keys
}

#[test]
fn every_key_of_the_language_is_documented_and_no_other() {
    let (code, page) = (keys_of_the_compiler(), keys_of_the_page());
    assert!(code.len() > 100, "{code:?}");
    let missing: Vec<&String> = code.difference(&page).collect();
    let invented: Vec<&String> = page.difference(&code).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing: {missing:?}, invented: {invented:?}"
    );
}

#[test]
fn every_word_of_the_language_is_documented() {
    let page = read("docs/providers.md");
    let parser = read("src/rule/template/parse.rs");
    // Selectors and transforms stand in tables of the parser.
    let listed = |name: &str| {
        let table = parser.split(&format!("const {name}")).nth(1).unwrap();
        let table = table.split("];").next().unwrap();
        let words = table.split('"').skip(1).step_by(2);
        words.map(str::to_owned).collect::<Vec<String>>()
    };
    let mut words: Vec<String> = ["SELECTORS", "PLAIN", "WITH_ARGUMENT"]
        .iter()
        .flat_map(|name| listed(name))
        .collect();
    words.extend(Algorithm::ALL.map(|(name, _)| name.to_owned()));
    words.extend(Cipher::ALL.map(|(name, _)| name.to_owned()));
    words.extend(HTTP_ALGORITHMS.map(|(name, _)| name.to_owned()));
    words.extend(JWS_ALGORITHMS.map(str::to_owned));
    words.extend(Category::ALL.map(|(name, _)| name.to_owned()));
    words.extend(Evidence::ALL.map(|(name, _)| name.to_owned()));
    words.extend(Status::ALL.map(|(name, _)| name.to_owned()));
    // One entry of the list is for hints: it shows two words at once.
    words.retain(|word| !word.contains('|'));
    assert!(words.len() > 120, "{words:?}");
    let quoted: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    for word in words {
        let bare = word.trim_end_matches(':');
        let there = quoted.iter().any(|text| {
            let text = text.trim_matches('"');
            text == bare || text.starts_with(&format!("{bare}:")) || *text == word
        }) || page.contains(&format!("\\|{word}"));
        assert!(there, "`{word}` is not in docs/providers.md");
    }
}

/// Codes that the compiler gives to faults of a provider file.
#[test]
fn every_check_is_documented() {
    let page = read("docs/providers.md");
    let mut found = BTreeSet::new();
    for file in ["lint", "answer", "challenge", "key", "provider", "scheme"] {
        let text = read(&format!("src/rule/compile/{file}.rs"));
        let packed: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for call in ["error( ", "error_with( ", "warn( "] {
            for rest in packed.split(call).skip(1) {
                // The place, and then the code: the first text among the first arguments.
                let Some(code) = rest.split('"').nth(1) else {
                    continue;
                };
                if rest.split('"').next().unwrap().matches(", ").count() == 1
                    && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                {
                    assert!(page.contains(&format!("`{code}`")), "{file}: {code}");
                    found.insert(code.to_owned());
                }
            }
        }
    }
    assert!(found.len() > 12, "{found:?}");
    // These are given to a function that complains.
    let codes = [
        "timestamp_unsigned",
        "payment_unsigned",
        "challenge_unsigned",
    ];
    assert!(codes.iter().all(|code| page.contains(&format!("`{code}`"))));
}

/// Whoever hands a provider's file on has no hand in the terminal of who looks at it.
#[test]
fn what_a_provider_file_says_does_not_steer_the_terminal() {
    let site = Site::new();
    let folder = site.rules().join("providers");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("acme.toml");
    let text = "title = \"\u{1b}]0;x\u{7}\u{1b}[2J\u{9b}1A\"\n";
    std::fs::write(&file, text).unwrap();
    for command in [
        &["providers", "--prove", file.to_str().unwrap()][..],
        &["check", "--offline"],
    ] {
        let (code, said, error) = output(site.command(command));
        assert_eq!(code, 78, "{error}");
        assert!(error.contains("acme.toml:1:"), "{error}");
        for out in [said, error] {
            let steers = |c: char| c.is_control() && c != '\n';
            assert!(!out.contains(steers), "{out:?}");
        }
    }
}

/// The example that the page builds proves, as it says.
#[test]
fn the_worked_example_proves() {
    let page = read("docs/providers.md");
    let begin = page.find("# rules/providers/acme-pay.toml").unwrap();
    let text = page[begin..].split("\n```").next().unwrap();
    let (provider, remarks) = compile_provider("acme-pay", text).unwrap();
    assert!(remarks.is_empty(), "{remarks:?}");
    let proof = Proof::of(&Arc::new(provider));
    assert!(proof.faults.is_empty(), "{:?}", proof.faults);
    assert_eq!(proof.too_few(), None);

    // And through the command, and `check`, in a rule directory of somebody's own.
    let site = Site::new();
    let folder = site.rules().join("providers");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("acme-pay.toml");
    std::fs::write(&file, text).unwrap();
    let prove = ["providers", "--prove", file.to_str().unwrap()];
    let (code, said, error) = output(site.command(&prove));
    assert_eq!(code, 0, "{error}");
    assert!(
        said.contains("acme-pay.toml: proved (2 accepted, 3 rejected)"),
        "{said}"
    );
    let (code, _, error) = output(site.command(&["check", "--offline"]));
    assert_eq!(code, 0, "{error}");

    std::fs::write(
        &file,
        text.replace("event_id = \"evt_81\"", "event_id = \"evt_80\""),
    )
    .unwrap();
    let (code, said, error) = output(site.command(&prove));
    assert_eq!(code, 78);
    assert!(
        said.contains("not proved") && said.contains("0 of 1"),
        "{said}"
    );
    assert!(error.contains("example `a payment`"), "{error}");
    let (code, _, error) = output(site.command(&["check", "--offline"]));
    assert_eq!(code, 78, "{error}");
    assert!(
        error.contains("acme-pay.toml: example `a payment`") && error.contains("1 error"),
        "{error}"
    );

    let (code, said, _) = output(site.command(&["providers", "acme-pay"]));
    assert_eq!(code, 0);
    assert!(
        said.contains("HMAC-SHA-256 over the timestamp, a dot, and the body"),
        "{said}"
    );
}

#[test]
fn the_command_lists_searches_and_speaks_json() {
    let site = Site::new();
    let (code, said, _) = output(site.command(&["providers", "--category", "wallets"]));
    assert_eq!(code, 0);
    assert!(
        said.contains("google-pay") && !said.contains("stripe"),
        "{said}"
    );
    let (code, _, error) = output(site.command(&["providers", "--search", "zzqx"]));
    assert_eq!(code, 1, "{error}");
    let (code, said, _) = output(site.command(&["providers", "--json", "--search", "stripe"]));
    assert_eq!(code, 0);
    let all: serde_json::Value = serde_json::from_str(&said).unwrap();
    let names: Vec<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"stripe"), "{names:?}");
    let (code, said, _) = output(site.command(&["providers", "--json", "stripe"]));
    assert_eq!(code, 0);
    let one: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(one["event"]["id_believed"], true);
    let (code, _, error) = output(site.command(&["providers", "stripee"]));
    assert_eq!(code, 1);
    assert!(error.contains("did you mean `stripe`?"), "{error}");
}
