//! The targets, and what they begin with. A target checks what must hold of every input beside not
//! panicking: what is read twice reads the same, and nothing unsigned is accepted.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use callseal::clock::Timestamp;
use callseal::message::RawRequest;
use callseal::rule::Template;
use callseal::rule::catalogue::PROVIDERS;
use callseal::rule::compile::{compile, compile_provider};
use callseal::rule::document::{RuleFile, RuleFiles};
use callseal::rule::provider::{Example, Provider};
use callseal::rule::scheme::{Algorithm, HeaderGrammar, TimeFormat};
use callseal::rule::template::Pointer;
use callseal::rule::url::{HostPattern, UrlPin};
use callseal::verify::certificate::{self, Policy, Trust};
use callseal::verify::example::{recorded, request, verifier};
use callseal::verify::form::Pairs;
use callseal::verify::json::Json;
use callseal::verify::jws::Jws;
use callseal::verify::public_key::{PublicForm, load};
use callseal::verify::xml::Xml;
use callseal::verify::{Judgement, Verifier, freshness, header, http_signature};

pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let of = |take: fn(&Example) -> Vec<u8>| -> Vec<Vec<u8>> {
        let mut found: Vec<Vec<u8>> = catalogue()
            .iter()
            .flat_map(|(provider, _)| provider.examples.iter().map(take))
            .filter(|bytes| !bytes.is_empty())
            .collect();
        found.sort();
        found.dedup();
        found
    };
    match target {
        "rule_compiler" => PROVIDERS
            .iter()
            .map(|(_, text)| text.as_bytes().to_vec())
            .collect(),
        "source_compiler" => sources(),
        "template" => templates(),
        "form" | "json" | "xml" => of(|example| example.body.to_vec()),
        "header_grammar" | "http_signature" | "timestamp" | "jws" => of(|example| {
            let values: Vec<&str> = example.headers.iter().map(|(_, v)| v.as_str()).collect();
            values.join("\n").into_bytes()
        }),
        "certificate" | "public_key" => of(|example| {
            let keys: Vec<&str> = example.keys.iter().map(|(_, key)| key.as_str()).collect();
            keys.join("\n").into_bytes()
        }),
        "pinned_url" => vec![b"https://sns.eu-west-1.amazonaws.com/certs/a.pem".to_vec()],
        // The number of the case, and what is changed in it.
        "verdict" => (0..cases().len())
            .map(|index| {
                let (example, _) = &cases()[index];
                let mut bytes = u16::try_from(index).unwrap().to_be_bytes().to_vec();
                bytes.push(0);
                bytes.extend_from_slice(&example.body);
                bytes
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn sources() -> Vec<Vec<u8>> {
    let short = "provider = \"stripe\"\npath = \"/stripe\"\nkeys = [\"env:K\"]\nforward = \"http://127.0.0.1:3000/x\"\n";
    let long = format!(
        "{short}url = \"https://pay.example.com/stripe\"\n[guard]\nallow = [\"provider\", \"203.0.113.0/24\"]\n\
         mode = \"log\"\nrate = {{ per_ip = \"20/s\", total = \"500/s\" }}\nbody_max = \"256 KiB\"\n[freshness]\n\
         tolerance = \"5m\"\n[inbox]\nkey = \"{{json:/data/object/id}}\"\nkeep = \"7d\"\n[relay]\ntimeout = \"10s\"\n\
         concurrency = 16\nretry = {{ first = \"5s\", factor = 2.0, max = \"1h\", give_up_after = \"72h\", jitter = \"full\" }}\n"
    );
    let table = "provider = \"wechatpay-v3\"\npath = \"/w/*\"\nforward = \"http://a/\"\n\
                 keys = [{ from = \"file:x.pem\", id = \"PUB_KEY_ID_1\", not_after = 2027-01-31 }]\n\
                 [config]\nappid = \"x\"\n[secrets]\napiv3 = \"env:A\"\n";
    vec![short.into(), long.into_bytes(), table.into()]
}

fn templates() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (_, text) in PROVIDERS {
        for line in text.lines().filter(|line| line.contains('{')) {
            let inner = line.split_once('=').map_or(line, |(_, value)| value);
            found.push(inner.trim().trim_matches(['"', '\'']).as_bytes().to_vec());
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Every built-in provider.
fn catalogue() -> &'static [(Arc<Provider>, &'static str)] {
    static ALL: OnceLock<Vec<(Arc<Provider>, &'static str)>> = OnceLock::new();
    ALL.get_or_init(|| {
        PROVIDERS
            .iter()
            .map(|(name, text)| (Arc::new(compile_provider(name, text).unwrap().0), *name))
            .collect()
    })
}

/// One accepted example of every provider, with its verifier.
fn cases() -> &'static [(Example, Verifier)] {
    static ALL: OnceLock<Vec<(Example, Verifier)>> = OnceLock::new();
    ALL.get_or_init(|| {
        catalogue()
            .iter()
            .filter_map(|(provider, _)| {
                let example = provider.examples.iter().find(|e| e.rejected.is_none())?;
                Some((example.clone(), verifier(provider, example).ok()?))
            })
            .collect()
    })
}

fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

pub fn rule_compiler(input: &[u8]) {
    let Some(text) = text(input) else { return };
    // What compiles can be asked everything that the gateway asks of it.
    if let Ok((provider, _)) = compile_provider("fuzzed", text) {
        let provider = Arc::new(provider);
        let _ = provider.covers_body();
        for example in &provider.examples {
            let _ = callseal::verify::example::check(&provider, example);
        }
    }
}

pub fn source_compiler(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let source = RuleFile {
        name: "fuzzed".into(),
        path: "fuzzed.toml".into(),
        text: text.into(),
    };
    let files = RuleFiles {
        sources: vec![source],
        providers: Vec::new(),
    };
    if let Err(found) = compile(files) {
        for diagnostic in found {
            // What is complained about stands in the file.
            assert!(
                text.get(diagnostic.span.clone()).is_some(),
                "{diagnostic:?}"
            );
        }
    }
}

pub fn template(input: &[u8]) {
    let Some(text) = text(input) else { return };
    match Template::parse(text) {
        Ok(parsed) => {
            assert_eq!(parsed.as_str(), text);
            assert_eq!(Template::parse(parsed.as_str()).unwrap(), parsed);
        }
        Err(error) => assert!(text.get(error.span).is_some()),
    }
}

pub fn header_grammar(input: &[u8]) {
    let from = Template::parse("{header:x}").unwrap();
    for (items, pair) in [
        (",", Some("=")),
        (";", Some("=")),
        (" ", Some(",")),
        ("&", Some("|")),
        ("###", None),
    ] {
        let grammar = HeaderGrammar {
            from: from.as_single().unwrap().clone(),
            items: items.into(),
            pair: pair.map(Into::into),
        };
        for (index, item) in header::items(input, &grammar).iter().enumerate() {
            let value = &input[item.value.clone()];
            assert!(value.len() <= input.len());
            let _ = item.is_called(b"v1", index, input);
        }
    }
}

pub fn form(input: &[u8]) {
    if let Ok(pairs) = Pairs::parse(input) {
        for (name, _) in pairs.iter() {
            let _ = pairs.only(name);
        }
    }
}

pub fn json(input: &[u8]) {
    let independent: Result<serde_json::Value, _> = serde_json::from_slice(input);
    let Ok(json) = Json::parse(input) else { return };
    // What we read, others read too.
    assert!(independent.is_ok() || has_large_number(input));
    let _ = json.get(&Pointer(vec!["a".into(), "0".into()]));
    let _ = json.each(&Pointer(vec!["*".into(), "*".into()]));
    let mut sorted = Vec::new();
    json.sorted(&mut sorted);
    assert!(Json::parse(&sorted).is_ok());
    let mut leaves = Vec::new();
    json.leaves(&mut leaves);
    for (name, _) in json.members().unwrap_or_default() {
        let rest = json.without(&name).unwrap();
        let rest = Json::parse(&rest).expect("still JSON");
        assert_eq!(rest.get(&Pointer(vec![name.into_owned()])), None);
    }
}

/// Numbers beyond a double: read as text here, and refused by others.
fn has_large_number(input: &[u8]) -> bool {
    input.iter().any(|b| matches!(b, b'e' | b'E')) || input.len() > 300
}

pub fn xml(input: &[u8]) {
    if let Ok(xml) = Xml::parse(input) {
        let names: Vec<String> = xml.iter_flat().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let _ = xml.only(&[name]);
        }
    }
}

pub fn jws(input: &[u8]) {
    for part in input.split(|byte| *byte == b'\n') {
        let token = part.strip_prefix(b"Bearer ").unwrap_or(part);
        if let Ok(token) = Jws::parse(token) {
            assert!(Json::parse(&token.header).is_ok());
        }
    }
}

pub fn certificate(input: &[u8]) {
    let chain = certificate::pem_or_der_chain(input);
    let trust = Trust::Anchors(chain.last().cloned().into_iter().collect());
    let now = Timestamp::from_secs(1_793_491_200);
    let _ = certificate::chain(&chain, &trust, now, &Policy::default());
}

pub fn public_key(input: &[u8]) {
    for (_, algorithm) in Algorithm::ALL {
        for form in [
            PublicForm::Pem,
            PublicForm::Hex,
            PublicForm::Base64,
            PublicForm::Der,
        ] {
            let _ = load(algorithm, form, input);
        }
    }
}

pub fn http_signature(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let (a, b) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let _ = http_signature::parse(&[a], &[b]);
    let _ = http_signature::parse(&[b], &[a]);
    let _ = http_signature::content_digest(&[a], b);
}

pub fn timestamp(input: &[u8]) {
    let formats = [
        TimeFormat::Unix,
        TimeFormat::UnixMillis,
        TimeFormat::UnixAuto,
        TimeFormat::Rfc3339,
        TimeFormat::HttpDate,
        TimeFormat::Compact(28_800),
        TimeFormat::Plain(-18_000),
    ];
    for line in input.split(|byte| *byte == b'\n') {
        for format in formats {
            let _ = freshness::read(format, line);
        }
    }
}

pub fn pinned_url(input: &[u8]) {
    let pin = UrlPin {
        hosts: vec![HostPattern::parse("sns.*.amazonaws.com").unwrap()],
        path: "/".into(),
        suffix: ".pem".into(),
    };
    if let Ok(pinned) = pin.admit(input) {
        assert!(pinned.host().ends_with(".amazonaws.com"));
        assert!(pinned.target().ends_with(".pem"));
    }
}

/// The body of an example, or its headers or query, replaced by fuzzed bytes. Whatever comes out,
/// a body that the signature covers is accepted only as it was signed.
pub fn verdict(input: &[u8]) {
    let Some(([high, low, kind], rest)) = input.split_first_chunk::<3>().map(|(a, b)| (*a, b))
    else {
        return;
    };
    let index = usize::from(u16::from_be_bytes([high, low])) % cases().len();
    let (example, verifier) = &cases()[index];
    let mut request: RawRequest = request(example);
    match kind % 3 {
        0 => request.body = Bytes::copy_from_slice(rest),
        1 => {
            let headers = std::mem::take(&mut request.headers);
            for (name, value) in headers.iter() {
                let value = if value.len() > 8 { rest } else { value };
                request
                    .headers
                    .push(Bytes::copy_from_slice(name), Bytes::copy_from_slice(value));
            }
        }
        _ => request.query = Some(String::from_utf8_lossy(rest).into_owned()),
    }
    let judged = verifier.judge_with(&request, example.now(), &mut |outbound| {
        recorded(example, outbound)
    });
    let provider = &verifier.rule().provider;
    let bytes = provider
        .schemes
        .iter()
        .all(|scheme| provider.scheme_covers_bytes(scheme));
    if kind % 3 == 0
        && bytes
        && !provider.schemes.is_empty()
        && matches!(judged, Ok(Judgement::Event { .. }))
    {
        assert_eq!(request.body, example.body, "{}", provider.name);
    }
}
