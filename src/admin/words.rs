//! The page speaks the viewer's language by the stable codes of the API: these tests hold its texts
//! against every code that the source can send.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::page::FILES;
use crate::admin::{problem, reasons, refusals};
use crate::inbox::store::{DeedKind, State};

fn file(path: &str) -> &'static str {
    let file = FILES.iter().find(|file| file.path == path).unwrap();
    std::str::from_utf8(file.bytes).unwrap()
}

/// The texts of one language: `  "key": "text",`.
fn texts(path: &str) -> BTreeMap<String, String> {
    let lines = file(path).lines();
    let entries = lines.filter_map(|line| line.strip_prefix("  ")?.strip_suffix(','));
    let pairs = entries.filter_map(|entry| {
        serde_json::from_str::<BTreeMap<String, String>>(&format!("{{{entry}}}")).ok()
    });
    pairs.flatten().collect()
}

fn both(key: &str) {
    for path in ["/en.js", "/zh.js"] {
        let has = texts(path).get(key).is_some_and(|text| !text.is_empty());
        assert!(has, "{path}: no text for {key}");
    }
}

/// The string literals of a source file, but for its tests, remarks and attributes.
fn literals(source: &str) -> BTreeSet<String> {
    // Tests in a file of their own are named at the top.
    let source = source.replace("#[cfg(test)]\nmod tests;", "");
    let code = source.split("#[cfg(test)]").next().unwrap();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//") && !line.contains("#["));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    let mut text: Option<String> = None;
    let mut letters = code.chars().peekable();
    while let Some(letter) = letters.next() {
        match (&mut text, letter) {
            (Some(open), '\\') => match letters.next() {
                // A text that goes on in the next line.
                Some('\n') => while letters.next_if(|c| c.is_whitespace()).is_some() {},
                Some(next) => open.extend(['\\', next]),
                None => {}
            },
            (Some(_), '"') => found.extend(text.take()),
            (Some(open), other) => open.push(other),
            (None, '"') => text = Some(String::new()),
            // A quote that stands alone.
            (None, '\'') => while letters.next_if_eq(&'"').is_some() {},
            (None, _) => {}
        }
    }
    found
}

/// `{name:?}` and `{}` alike.
fn holes(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        let rest = part.split_once('}').map_or("", |(_, rest)| rest);
        format!("{all}{{}}{rest}")
    })
}

fn code(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    text.len() > 2 && text.chars().all(letters)
}

#[test]
fn what_needs_attention_is_said_in_both_languages() {
    // States of a source and names of facts, which are no sentences.
    let other = [
        "closed",
        "failing",
        "expired",
        "expiring",
        "unused",
        "used",
        "gateway",
        "fine",
        "warning",
        "blocker",
        "source",
        "destination",
        "count",
        "seconds",
        "days",
        "share",
        "error",
        "key",
        "since",
        "until",
        "remark",
        "reason",
        "file",
        "line",
        "column",
        "message",
        "hint",
        "lowercase",
        "key_expiry",
    ];
    let attention = literals(include_str!("attention.rs"));
    let doctor = literals(include_str!("doctor.rs"));
    let mut said = 0;
    for text in attention.iter().chain(&doctor).filter(|text| code(text)) {
        if other.contains(&text.as_str()) {
            continue;
        }
        both(&format!("finding.{text}"));
        said += 1;
    }
    assert!(said > 25, "{said}");
    // What `doctor::mend` knows, and what has its own.
    let mended = include_str!("doctor.rs");
    let arms = mended.lines().filter_map(|line| line.split_once(" => "));
    let codes = arms.filter_map(|(arm, _)| arm.trim().strip_prefix('"')?.strip_suffix('"'));
    let own = [
        "no_sources",
        "unverified",
        "rule_warning",
        "next_start",
        "development_certificate",
    ];
    let codes: Vec<&str> = codes.chain(own).collect();
    assert!(codes.len() > 15, "{codes:?}");
    for code in codes {
        both(&format!("finding.mend.{code}"));
        if !own.contains(&code) {
            both(&format!("attention.{code}"));
        }
    }
}

/// `  code: ["…", "…"],` of one table of reasons.js.
fn pairs(table: &str) -> BTreeMap<String, [String; 2]> {
    let text = file("/reasons.js");
    let (_, rest) = text.split_once(&format!("const {table} = {{")).unwrap();
    let (rows, _) = rest.split_once("\n};").unwrap();
    let rows = rows.lines().filter_map(|row| row.trim().strip_suffix("],"));
    let rows = rows.filter_map(|row| row.split_once(": ["));
    let both = |said: &str| {
        // The second may be a text that stands under a name.
        let (first, second) = said.rsplit_once(", ")?;
        Some([first.to_owned(), second.to_owned()])
    };
    rows.filter_map(|(code, said)| Some((code.to_owned(), both(said)?)))
        .collect()
}

#[test]
fn every_reason_has_words_in_both_languages() {
    let document = include_str!("../../docs/reasons.md");
    let (meanings, chinese) = (pairs("MEANING"), pairs("CHINESE"));
    let about = [
        "Malformed",
        "Refused",
        "Rejected",
        "Overloaded",
        "Attempts",
        "Conflicts",
    ];
    let mut codes = vec!["connection_ended", "gave_up"];
    for part in document.split("\n## ").skip(1) {
        if about.iter().any(|name| part.starts_with(name)) {
            let lines = part.lines().filter_map(|line| line.strip_prefix("| `"));
            codes.extend(lines.filter_map(|line| line.split('`').next()));
        }
    }
    assert!(codes.len() > 75, "{codes:?}");
    for code in codes {
        let [english, meant] = meanings.get(code).unwrap_or_else(|| panic!("{code}"));
        assert!(english.is_ascii() || english.contains('’'), "{code}");
        assert!(!meant.is_ascii(), "{code}: {meant}");
        if reasons::advice(code).is_some() {
            let [cause, mend] = chinese.get(code).unwrap_or_else(|| panic!("{code}"));
            let named = ["STRANGER", "FILE", "DISK"].contains(&mend.as_str());
            assert!(!cause.is_ascii() && (named || !mend.is_ascii()), "{code}");
        }
    }
}

/// The keys of one table of trace.js.
fn keys(table: &str) -> BTreeSet<String> {
    keys_in("/trace.js", table)
}

fn keys_in(path: &str, table: &str) -> BTreeSet<String> {
    let text = file(path);
    let (_, rest) = text.split_once(&format!("const {table} = {{")).unwrap();
    let (rows, _) = rest.split_once("\n};").unwrap();
    let rows = rows.lines().filter_map(|row| row.trim().strip_suffix(','));
    let pairs = rows.map(|row| {
        serde_json::from_str::<BTreeMap<String, String>>(&format!("{{{row}}}"))
            .unwrap_or_else(|fault| panic!("{row}: {fault}"))
    });
    pairs.flatten().map(|(key, _)| key).collect()
}

#[test]
fn every_word_of_a_verification_is_known_to_the_page() {
    let mut known = BTreeSet::new();
    for table in ["STEPS", "FACTS", "VALUES", "WORDS", "FAULTS"] {
        known.extend(keys(table));
    }
    // Names of header fields and marks; what is compared, which stays as it is.
    let quoted = [
        "content-type",
        "content-digest",
        "secrets.{}",
        "{}{}",
        "  ✗",
        " or ",
        "{} against {}",
        "{} must begin with {}",
        "{} must not hold {}",
        "{} must be there",
        "it must not be there",
        "https://{}",
        "{} https://{}",
        "{} {}",
        "‹secret›",
        "{} … {} bytes (--full) … {}",
    ];
    let sources = [
        include_str!("../verify/trace/mod.rs"),
        include_str!("../verify/trace/signature.rs"),
        include_str!("../verify/trace/written.rs"),
    ];
    let mut said = 0;
    for text in sources.iter().flat_map(|source| literals(source)) {
        let text = holes(&text);
        let words = text.chars().any(|c| c.is_alphabetic()) && !text.starts_with('\\');
        if words && !quoted.contains(&text.as_str()) {
            assert!(known.contains(&text), "trace.js does not know {text:?}");
            said += 1;
        }
    }
    assert!(said > 90, "{said}");
}

#[test]
fn every_fault_of_a_request_is_known_to_the_page() {
    let known = keys("FAULTS");
    let (_, display) = include_str!("../verify/rejection.rs")
        .split_once("impl fmt::Display for Rejection")
        .unwrap();
    let said = literals(display);
    assert!(said.len() > 20, "{said:?}");
    for text in said {
        let text = holes(&text);
        assert!(known.contains(&text), "trace.js does not know {text:?}");
    }
}

/// What stands behind a colon in a fault: why a document, a key, an address or an answer is no good.
#[test]
fn every_why_of_a_fault_is_known_to_the_page() {
    let mut known = keys_in("/whys.js", "WHYS");
    known.extend(keys("FAULTS"));
    known.extend(keys("WORDS"));
    // Labels of keys, names of headers, and what is put together.
    let other = [
        "a fetched key",
        "a signed key",
        "config.{}",
        "Bearer {}",
        "Basic {}",
        "{} {}",
        "{}: {}",
        "{} {} https://{}{}",
        "-----BEGIN ",
        "nearly every judgement is an event, and none is kept",
        "nearly every verdict is an event, and none is kept",
    ];
    let whole = [
        include_str!("../verify/json.rs"),
        include_str!("../verify/xml.rs"),
        include_str!("../verify/form.rs"),
        include_str!("../verify/jws.rs"),
        include_str!("../verify/sign.rs"),
        include_str!("../verify/judge.rs"),
        include_str!("../verify/outbound.rs"),
        include_str!("../verify/resolve.rs"),
        include_str!("../verify/resolve/certificate.rs"),
        include_str!("../verify/resolve/fetched.rs"),
        include_str!("../verify/verified.rs"),
        include_str!("../verify/verified/asking.rs"),
        include_str!("../verify/verified/judging.rs"),
    ];
    let display = |source: &'static str, of: &str| {
        let start = format!("impl fmt::Display for {of}");
        let (_, text) = source.split_once(&start).unwrap();
        text.split_once("\n}\n").unwrap().0
    };
    let shown = [
        display(include_str!("../verify/certificate.rs"), "CertificateFault"),
        display(include_str!("../verify/public_key.rs"), "PublicKeyFault"),
        display(include_str!("../rule/url/mod.rs"), "NotPinned"),
        display(include_str!("../remote/fault.rs"), "RemoteFault"),
    ];
    let (mut said, mut unknown) = (0, BTreeSet::new());
    for text in whole.iter().chain(&shown).flat_map(|text| literals(text)) {
        let text = holes(&text.replace("\\\"", "\""));
        let sentence = text.contains(' ') && !text.contains('\\');
        if sentence && !other.contains(&text.as_str()) {
            said += 1;
            if !known.contains(&text) {
                unknown.insert(text);
            }
        }
    }
    assert!(unknown.is_empty(), "whys.js does not know {unknown:#?}");
    assert!(said > 110, "{said}");
}

#[test]
fn every_remark_on_a_rule_file_is_known_to_the_page() {
    let mut known = keys_in("/whys.js", "REMARKS");
    known.extend(keys_in("/whys.js", "WHYS"));
    let mut said = 0;
    let sources = [
        include_str!("../rule/compile/lint.rs"),
        include_str!("../rule/compile/source.rs"),
    ];
    // `.warn(place, code, message, hint)`.
    let calls = sources.iter().flat_map(|text| text.split(".warn(").skip(1));
    let calls = calls.map(|call| call.split_once(");\n").unwrap().0);
    let outlets = include_str!("../service/outlets.rs");
    let (_, inherited) = outlets.split_once("fn inherited(").unwrap();
    let (inherited, _) = inherited.split_once("\nfn field(").unwrap();
    for text in calls.chain([inherited]).flat_map(literals) {
        // No address stands in the page.
        let text = text.replace("http://127.0.0.1:4318", "{}");
        let text = text.replace("{{", "").replace("}}", "");
        let text = holes(&text.replace("\\\"", "\""));
        if text.contains(' ') {
            assert!(known.contains(&text), "whys.js does not know {text:?}");
            said += 1;
        }
    }
    assert!(said >= 8, "{said}");
}

/// The details of problems that say more than their code.
#[test]
fn what_is_wrong_with_a_request_is_said_in_both_languages() {
    let sources = [
        include_str!("auth.rs"),
        include_str!("many.rs"),
        include_str!("operate.rs"),
        include_str!("problem.rs"),
        include_str!("verification.rs"),
    ];
    let calls = sources
        .iter()
        .flat_map(|text| text.split(".said(\"").skip(1));
    let given: BTreeSet<&str> = calls.filter_map(|call| call.split('"').next()).collect();
    // Of two, whichever was asked for.
    let given = given.into_iter().chain(["not_redriven", "not_discarded"]);
    let listed: BTreeSet<&str> = problem::TEXTS.into_iter().collect();
    assert_eq!(given.collect::<BTreeSet<&str>>(), listed);
    let (_, texts) = include_str!("problem.rs")
        .split_once("pub fn text(&self)")
        .unwrap();
    let (texts, _) = texts.split_once("fn facts").unwrap();
    let wrong: BTreeSet<String> = literals(texts);
    let known: BTreeSet<String> = problem::Wrong::TEXTS.map(str::to_owned).into();
    assert_eq!(wrong, known);
    for text in problem::TEXTS.into_iter().chain(problem::Wrong::TEXTS) {
        both(&format!("problem.{text}"));
    }
}

#[test]
fn problems_states_and_deeds_have_words() {
    for (code, _) in problem::CODES {
        both(&format!("error.{code}"));
    }
    let meanings = pairs("MEANING");
    // The store's own codes stand in problems and as the end of a job.
    let faults = literals(include_str!("../inbox/store/fault.rs"));
    let faults: Vec<&String> = faults.iter().filter(|text| code(text)).collect();
    assert!(faults.len() >= 8, "{faults:?}");
    for code in faults {
        assert!(meanings.contains_key(code), "{code}");
    }
    for kind in DeedKind::ALL {
        both(&format!("deed.{}", kind.as_str()));
    }
    for kind in [DeedKind::RedriveMany, DeedKind::DiscardMany] {
        both(&format!("job_what.{}", kind.as_str()));
    }
    for state in State::ALL {
        both(&format!("state.{}", state.as_str()));
    }
    for stage in refusals::STAGES {
        both(&format!("stage.{stage}"));
    }
    for outcome in [
        "running",
        "begun",
        "done",
        "stopped",
        "token_revoked",
        "failed",
        "not_applicable",
        "not_found",
    ] {
        both(&format!("job.{outcome}"));
    }
}

/// Somebody who copies a command from the page finds it.
#[test]
fn commands_that_the_page_names_are_there() {
    let (_, commands) = include_str!("../cli/mod.rs")
        .split_once("enum Command {")
        .unwrap();
    let (commands, _) = commands.split_once("\n}").unwrap();
    let lines = commands.lines().map(str::trim);
    let variants = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    let name = |line: &str| line.split(['(', ',', ' ']).next().unwrap().to_lowercase();
    let known: BTreeSet<String> = variants.map(name).collect();
    assert!(known.len() > 20, "{known:?}");
    let mut named = 0;
    let scripts = FILES.iter().filter(|file| file.path.ends_with(".js"));
    for script in scripts {
        let text = std::str::from_utf8(script.bytes).unwrap();
        for rest in text.split("callseal ").skip(1) {
            let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            if !word.is_empty() {
                assert!(known.contains(&word), "{}: callseal {word}", script.path);
                named += 1;
            }
        }
    }
    assert!(named > 12, "{named}");
}

/// The words for how a source, its keys and its destinations are.
#[test]
fn states_of_a_source_have_words() {
    let sources = literals(include_str!("sources.rs"));
    let tables = ["state", "key", "breaker", "mode"];
    let other = [
        "main",
        "source",
        "destination",
        "provider",
        "there is no such source",
    ];
    let known = |word: &str| {
        let all = [texts("/en.js"), texts("/zh.js")];
        tables.iter().any(|table| {
            let key = format!("{table}.{word}");
            all.iter().all(|texts| texts.contains_key(&key))
        })
    };
    for word in sources.iter().filter(|word| code(word)) {
        assert!(other.contains(&word.as_str()) || known(word), "{word}");
    }
}
