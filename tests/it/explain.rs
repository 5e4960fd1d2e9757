//! `callseal explain`: for each cause a request with exactly that fault, made from the catalogue's
//! examples. What is found must be that cause, and proven where an experiment can prove it.

use std::sync::Arc;

use bytes::Bytes;
use callseal::clock::Timestamp;
use callseal::message::{Headers, RawRequest};
use callseal::rule::catalogue;
use callseal::rule::compile::{compile_provider, rule_for};
use callseal::rule::provider::{Algorithm, Digest, Example, Provider};
use callseal::rule::scheme::KeyKind;
use callseal::secret::Secret;
use callseal::verify::craft::{Bench, Wish, choose};
use callseal::verify::diagnose::{Case, Cause, causes};
use callseal::verify::trace::{self, Outcome, SECRET, Step, Subject};
use callseal::verify::want::Known;
use callseal::verify::{Keyring, Rejection, Verifier};

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);

/// Provider, example and a key text for both ends; either may then be spoiled.
struct Ends {
    sender: Provider,
    theirs: Example,
    provider: Arc<Provider>,
    ours: Example,
}

fn provider(name: &str) -> Arc<Provider> {
    let text = catalogue::text(name).unwrap();
    Arc::new(compile_provider(name, text).unwrap().0)
}

fn ends(name: &str) -> Ends {
    let provider = provider(name);
    let example = choose(&provider, None, None).unwrap().clone();
    Ends {
        sender: Provider::clone(&provider),
        theirs: example.clone(),
        provider,
        ours: example,
    }
}

impl Ends {
    fn keyed(mut self, theirs: &str, ours: &str) -> Ends {
        self.theirs.keys = vec![(None, theirs.to_owned())];
        self.ours.keys = vec![(None, ours.to_owned())];
        self
    }

    fn signed(&self, body: Option<&[u8]>) -> RawRequest {
        let sender = Arc::new(self.sender.clone());
        let bench = Bench::of_example(&sender, &self.theirs, None).unwrap();
        let wish = Wish {
            example: &self.theirs,
            now: NOW,
            stamp: NOW,
            fresh: false,
            body: body.map(Bytes::copy_from_slice),
            set: &[],
        };
        bench.make(&wish).unwrap().request
    }

    fn verifier(&self) -> Verifier {
        callseal::verify::example::verifier(&self.provider, &self.ours).unwrap()
    }

    fn texts(&self) -> Vec<Secret> {
        let keys = self.ours.keys.iter();
        keys.map(|(_, text)| Secret::new(text.clone().into_bytes()))
            .collect()
    }

    fn causes(&self, request: &RawRequest) -> Vec<Cause> {
        diagnosed(&self.verifier(), &self.texts(), request, &[])
    }
}

fn diagnosed(
    verifier: &Verifier,
    texts: &[Secret],
    request: &RawRequest,
    siblings: &[&Verifier],
) -> Vec<Cause> {
    let reason = verifier.judge(request, NOW).unwrap_err();
    let known = Known::default();
    let catalogue: Vec<Arc<Provider>> = ["svix", "standard-webhooks", "stripe", "github"]
        .map(provider)
        .to_vec();
    let case = Case {
        verifier,
        texts,
        request,
        now: NOW,
        known: &known,
        catalogue: &catalogue,
        siblings,
    };
    causes(&case, &reason)
}

/// The verdict on a request, step by step and in full.
fn traced(verifier: &Verifier, request: &RawRequest) -> Vec<Step> {
    trace::trace(&Subject {
        verifier,
        request,
        now: NOW,
        known: &Known::default(),
        verdict: &verifier.judge(request, NOW),
        peer_known: false,
        full: true,
    })
}

#[track_caller]
fn proves(causes: &[Cause], code: &str) {
    let first = causes.first();
    assert!(
        first.is_some_and(|cause| cause.code == code && cause.proven),
        "{code}: {causes:?}"
    );
}

#[track_caller]
fn guesses(causes: &[Cause], code: &str) {
    assert!(
        causes.iter().any(|cause| cause.code == code),
        "{code}: {causes:?}"
    );
}

fn with_body(request: &RawRequest, body: impl Into<Bytes>) -> RawRequest {
    RawRequest {
        body: body.into(),
        ..request.clone()
    }
}

fn with_header(
    request: &RawRequest,
    change: impl Fn(&str, &str) -> (String, String),
) -> RawRequest {
    let headers: Headers = request
        .headers
        .iter()
        .map(|(name, value)| {
            change(
                std::str::from_utf8(name).unwrap(),
                std::str::from_utf8(value).unwrap(),
            )
        })
        .collect();
    RawRequest {
        headers,
        ..request.clone()
    }
}

#[test]
fn json_written_anew() {
    let ends = ends("github");
    for (code, signed, arrived) in [
        (
            "json_rewritten",
            r#"{"b":1.50,"a":[1,{}]}"#,
            r#"{"b": 1.50, "a": [1, {}]}"#,
        ),
        (
            "json_rewritten",
            "{\n  \"b\": 1.50,\n  \"a\": \"x\"\n}",
            r#"{"b":1.50,"a":"x"}"#,
        ),
        ("json_rewritten", r#"{"a":"x","b":1}"#, r#"{"b":1,"a":"x"}"#),
        ("json_slashes", r#"{"a":"x\/y"}"#, r#"{"a":"x/y"}"#),
        ("json_slashes", r#"{"a":"x/y"}"#, r#"{"a":"x\/y"}"#),
        ("json_unicode", r#"{"a":"\u00e9"}"#, r#"{"a":"é"}"#),
        ("json_unicode", r#"{"a":"é"}"#, r#"{"a":"\u00e9"}"#),
        ("json_html", r#"{"a":"\u0026"}"#, r#"{"a":"&"}"#),
        ("line_end", r#"{"a":1}"#, "{\"a\":1}\n"),
        ("line_end", "{\"a\":1}\n", r#"{"a":1}"#),
        ("line_end", "{\"a\":1}\r\n", "{\"a\":1}"),
        ("line_end", "{\r\n\"a\":1}", "{\n\"a\":1}"),
    ] {
        let request = ends.signed(Some(signed.as_bytes()));
        let causes = ends.causes(&with_body(&request, arrived.to_owned()));
        proves(&causes, code);
    }
}

#[test]
fn charsets_changed_on_the_way() {
    let ends = ends("github");
    let gbk = b"name=\xd6\xd0\xce\xc4".to_vec();
    let utf8 = "name=中文".as_bytes().to_vec();
    for (signed, arrived) in [
        (gbk.clone(), "name=%E4%B8%AD%E6%96%87".as_bytes().to_vec()),
        (
            b"{\"a\":\"\xd6\xd0\xce\xc4\"}".to_vec(),
            "{\"a\":\"中文\"}".as_bytes().to_vec(),
        ),
        (
            "{\"a\":\"é\"}".as_bytes().to_vec(),
            "{\"a\":\"Ã©\"}".as_bytes().to_vec(),
        ),
    ] {
        // A form is signed as it is written.
        let signed = if signed == gbk {
            b"name=%D6%D0%CE%C4".to_vec()
        } else {
            signed
        };
        let request = ends.signed(Some(&signed));
        proves(&ends.causes(&with_body(&request, arrived)), "charset");
    }
    assert_ne!(gbk, utf8);
}

#[test]
fn a_plus_became_a_blank() {
    let ends = ends("github");
    let request = ends.signed(Some(b"id=1&item=a+b"));
    let arrived = with_body(&request, "id=1&item=a%20b");
    proves(&ends.causes(&arrived), "plus_as_space");

    // In the signature of a header: base64 that passed through a decoder.
    let ends = self::ends("shopify");
    for number in 0..200 {
        let body = format!("{{\"id\":{number}}}");
        let request = ends.signed(Some(body.as_bytes()));
        let spaced = with_header(&request, |name, value| {
            let sealed = name.contains("hmac");
            (
                name.to_owned(),
                if sealed {
                    value.replace('+', " ")
                } else {
                    value.to_owned()
                },
            )
        });
        if ends.verifier().judge(&spaced, NOW).is_err() {
            return proves(&ends.causes(&spaced), "plus_as_space");
        }
    }
    panic!("no signature with a + in it");
}

#[test]
fn keys_read_in_another_way() {
    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const BASE64: &str = "Y2FsbHNlYWwgdGVzdCBrZXkgd2l0aCAzMiBieXRlcyE=";
    // The provider's key is bytes, and was taken as text.
    let mut ends = ends("github").keyed(HEX, HEX);
    ends.sender.schemes[0].key.kind = KeyKind::Hex;
    proves(&ends.causes(&ends.signed(None)), "key_codec");
    let mut ends = self::ends("github").keyed(BASE64, BASE64);
    ends.sender.schemes[0].key.kind = KeyKind::Base64;
    proves(&ends.causes(&ends.signed(None)), "key_codec");
    // And the other way round.
    let mut ends = self::ends("adyen-platform").keyed(HEX, HEX);
    ends.sender.schemes[0].key.kind = KeyKind::Utf8;
    proves(&ends.causes(&ends.signed(None)), "key_codec");
    let mut ends = self::ends("standard-webhooks").keyed(BASE64, BASE64);
    ends.sender.schemes[0].key.kind = KeyKind::Utf8;
    proves(&ends.causes(&ends.signed(None)), "key_codec");
}

#[test]
fn prefixes_and_blanks_of_keys() {
    const KEY: &str = "whsec_Y2FsbHNlYWwgdGVzdCBrZXkgd2l0aCAzMiBieXRlcyE=";
    // The prefix is a part of Stripe's key, and was left out.
    let ends = ends("stripe").keyed(KEY, &KEY[6..]);
    proves(&ends.causes(&ends.signed(None)), "key_prefix");
    // It is none of a Standard Webhooks key, and the sender takes it for one.
    let mut ends = self::ends("standard-webhooks").keyed(KEY, KEY);
    ends.sender.schemes[0].key.kind = KeyKind::Utf8;
    ends.sender.schemes[0].key.strip_prefix = String::new();
    proves(&ends.causes(&ends.signed(None)), "key_prefix");
    let ends = self::ends("github").keyed("a key of this shop", " \"a key of this shop\" ");
    proves(&ends.causes(&ends.signed(None)), "key_blanks");
}

#[test]
fn stamps() {
    let ends = ends("stripe");
    let request = ends.signed(None);
    let millis = with_header(&request, |name, value| {
        (
            name.to_owned(),
            value.replace("t=1900000000", "t=1900000000000"),
        )
    });
    guesses(&ends.causes(&millis), "timestamp_unit");
    let case = |later: u64| {
        let now = Timestamp::from_secs(1_900_000_000 + later);
        let verifier = ends.verifier();
        let reason = verifier.judge(&request, now).unwrap_err();
        let case = Case {
            verifier: &verifier,
            texts: &ends.texts(),
            request: &request,
            now,
            known: &Known::default(),
            catalogue: &[],
            siblings: &[],
        };
        causes(&case, &reason)
    };
    guesses(&case(8 * 3600), "time_zone");
    guesses(&case(1000), "clock");
}

#[test]
fn paths_and_addresses() {
    let ends = ends("generic-hmac");
    let request = ends.signed(None);
    for path in [
        format!("/api{}", request.path),
        format!("{}/", request.path),
    ] {
        let arrived = RawRequest {
            path,
            ..request.clone()
        };
        proves(&ends.causes(&arrived), "path_rewritten");
    }
    let mut ends = self::ends("square");
    let right = "https://pay.example.com/square";
    ends.theirs.url = Some(right.to_owned());
    for wrong in [
        "http://pay.example.com/square",
        "https://pay.example.com:8443/square",
        "https://pay.example.com/square/",
        "https://pay.example.com/square?x=1",
    ] {
        ends.ours.url = Some(wrong.to_owned());
        proves(&ends.causes(&ends.signed(None)), "url");
    }
}

#[test]
fn another_key_of_the_source() {
    let mut ends = ends("klarna");
    let keys = [
        ("live", "the key of the live shop 1"),
        ("test", "the key of the test shop 2"),
    ];
    let keys = keys
        .map(|(id, key)| (Some(id.to_owned()), key.to_owned()))
        .to_vec();
    ends.theirs.keys = keys.clone();
    ends.ours.keys = keys;
    let request = ends.signed(None);
    let named = with_header(&request, |name, value| {
        let id = name.contains("key-id");
        (
            name.to_owned(),
            if id {
                "test".to_owned()
            } else {
                value.to_owned()
            },
        )
    });
    proves(&ends.causes(&named), "key_other");

    let ends = self::ends("stripe");
    let mut rule = rule_for(&ends.provider, &ends.ours);
    rule.keys[0].not_after = Some(Timestamp::from_secs(1_800_000_000));
    let keys = Keyring::trial(&rule, &ends.texts(), &std::collections::BTreeMap::new()).unwrap();
    let verifier = Verifier::new(Arc::new(rule), keys);
    let request = ends.signed(None);
    assert_eq!(verifier.judge(&request, NOW), Err(Rejection::KeyExpired));
    proves(
        &diagnosed(&verifier, &ends.texts(), &request, &[]),
        "key_expired",
    );
}

#[test]
fn the_key_of_another_source() {
    let ends = ends("stripe").keyed("whsec_of_the_test_account", "whsec_of_the_live_account");
    let mut other = ends.ours.clone();
    other.keys.clone_from(&ends.theirs.keys);
    let other = callseal::verify::example::verifier(&ends.provider, &other).unwrap();
    let request = ends.signed(None);
    let causes = diagnosed(&ends.verifier(), &ends.texts(), &request, &[&other]);
    proves(&causes, "other_source");
}

#[test]
fn bodies_cut_off_or_added_to() {
    let ends = ends("github");
    let request = ends.signed(None);
    let mut headers = request.headers.clone();
    headers.push("content-length", request.body.len().to_string());
    let whole = RawRequest { headers, ..request };
    let half = with_body(&whole, whole.body.slice(..whole.body.len() / 2));
    guesses(&ends.causes(&half), "body_truncated");
    let more = with_body(&whole, [&whole.body, &b"<!-- x -->"[..]].concat());
    proves(&ends.causes(&more), "body_extended");
}

#[test]
fn another_algorithm_or_writing() {
    for (algorithm, code) in [
        (Algorithm::Hmac(Digest::Sha1), "algorithm"),
        (Algorithm::Hmac(Digest::Sha512), "algorithm"),
    ] {
        let mut ends = ends("github");
        ends.sender.schemes[0].algorithm = algorithm;
        proves(&ends.causes(&ends.signed(None)), code);
    }
    let mut ends = ends("tatum");
    ends.sender.schemes[0].encoding = callseal::rule::scheme::Encoding::Hex;
    proves(&ends.causes(&ends.signed(None)), "encoding");
}

#[test]
fn the_header_of_another_provider() {
    let ends = ends("standard-webhooks");
    let request = ends.signed(None);
    let svix = with_header(&request, |name, value| {
        (name.replace("webhook-", "svix-"), value.to_owned())
    });
    proves(&ends.causes(&svix), "other_provider");
}

#[test]
fn a_forgery_has_no_cause() {
    let ends = ends("stripe").keyed("whsec_of_a_thief_somewhere", "whsec_of_the_live_account");
    assert_eq!(ends.causes(&ends.signed(None)), []);
}

/// The steps show the very bytes that were signed, and no secret in any of them.
#[test]
fn steps_show_the_message_and_no_secret() {
    for (name, wanted) in [
        ("stripe", "1900000000."),
        ("cryptomus", SECRET),
        ("gitlab", SECRET),
    ] {
        let ends = ends(name).keyed(
            "a secret that nobody may see",
            "a secret that nobody may see",
        );
        let request = ends.signed(None);
        let verifier = ends.verifier();
        let verdict = verifier.judge(&request, NOW);
        assert!(verdict.is_ok(), "{name}: {verdict:?}");
        let steps = traced(&verifier, &request);
        let signature = steps
            .iter()
            .find(|s| s.name.starts_with("signature"))
            .unwrap();
        assert_eq!(signature.outcome, Outcome::Passed, "{name}: {signature:?}");
        let text = format!("{steps:?}");
        assert!(text.contains(wanted), "{name}: {text}");
        assert!(!text.contains("nobody may see"), "{name}: {text}");
    }
}

/// Nor where an assertion compares what was sent with a secret: what fits is the secret.
#[test]
fn what_is_compared_with_a_secret_is_not_shown() {
    let text = catalogue::text("meta").unwrap();
    let assert = "\n[[assert]]\nis = \"{header:x-probe}\"\nequals = \"{secret:verify_token}\"\n";
    let (head, examples) = text.split_once("\n[[example]]").unwrap();
    let text = format!("{head}\n{assert}\n[[example]]{examples}");
    let provider = Arc::new(compile_provider("meta", &text).unwrap().0);
    let ours = choose(&ends("meta").provider, None, None).unwrap().clone();
    let verifier = callseal::verify::example::verifier(&provider, &ours).unwrap();
    for probe in [
        "callseal-verify-token-7f3a91",
        "callseal-verify-token-7f3a92",
    ] {
        let mut request = ends("meta").signed(None);
        request.headers.push("x-probe", probe);
        let steps = traced(&verifier, &request);
        let step = steps.iter().find(|step| step.name == trace::ASSERTS);
        let shown = format!("{:?}", step.unwrap().facts);
        let (fits, compared) = (probe.ends_with('1'), format!("{SECRET} against {SECRET}"));
        assert_eq!(shown.contains("does NOT hold"), !fits, "{shown}");
        assert!(
            shown.contains(&compared) && !shown.contains("7f3a9"),
            "{shown}"
        );
    }
}
