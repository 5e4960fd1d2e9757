//! For each lint a file that falls for it, and what its author reads then.

use std::fmt::Write as _;

use super::lints::{BODY, provider};
use super::{STRIPE, compile, files, stripe_and};
use crate::rule::compile::compile_provider;
use crate::rule::diagnostic::{Diagnostic, Look, render};

fn of_provider(text: &str) -> Vec<Diagnostic> {
    match compile_provider("test", text) {
        Ok((_, remarks)) | Err(remarks) => remarks,
    }
}

fn of_source(text: &str) -> Vec<Diagnostic> {
    match compile(files(&[("shop", text)])) {
        Ok((_, remarks)) | Err(remarks) => remarks,
    }
}

fn signature(lines: &str) -> Vec<Diagnostic> {
    of_provider(&provider(lines, ""))
}

fn beside(tables: &str) -> Vec<Diagnostic> {
    of_provider(&provider(BODY, tables))
}

const ASKS: &str = "[query_back]\nmode = \"authenticate\"\npath = \"/v1/{json:/id}\"\n";

/// The lint, and what is said of a file that it is about.
fn faults() -> Vec<(&'static str, Vec<Diagnostic>)> {
    let token = "algorithm = \"hmac-sha256\"\nmessage = \"{body}\"";
    let plain = provider(BODY, "");
    let unsigned = &plain[..plain.find("[signature]").unwrap()];
    let jwks = |url: &str| {
        of_provider(&provider(
            "algorithm = \"ed25519\"\nmessage = \"{body}\"",
            &format!("[key]\nshared = false\njwks = {{ url = \"{url}\" }}\n"),
        ))
    };
    let certificate = |hosts: &str, trust: &str| {
        of_provider(&provider(
            "algorithm = \"rsa-sha256\"\nmessage = \"{body}\"",
            &format!(
                "[key]\nshared = false\n[key.certificate_url]\nurl = \"{{header:x-cert}}\"\n\
                 hosts = [\"{hosts}\"]\npath = \"/\"\ntrust = \"{trust}\"\n"
            ),
        ))
    };
    let keys = vec!["\"env:K\""; 17].join(", ");
    vec![
        (
            "L1",
            beside(
                "[freshness]\ntimestamp = \"{header:x-other}\"\nformat = \"unix\"\ntolerance = \"5m\"\n",
            ),
        ),
        ("L2: not admitted", signature("message = \"{header:x-id}\"")),
        (
            "L2: nobody is asked",
            signature("message = \"{header:x-id}\"\nbody_unsigned = true"),
        ),
        (
            "L2: values without names",
            of_provider(&provider(
                "message = \"{params}\"",
                "[params]\nfrom = \"form\"\norder = \"key\"\nrender = \"v\"\njoin = \"\"\n",
            )),
        ),
        (
            "L3: the algorithm of a header",
            signature("algorithm = \"{header:x-alg}\"\nmessage = \"{body}\""),
        ),
        (
            "L3: that of a token",
            of_provider(&provider("algorithm = \"jws\"", "").replace("encoding = \"hex\"\n", "")),
        ),
        (
            "L3: that of a message signature",
            of_provider(
                &provider("algorithm = \"http-signature\"", "")
                    .replace("encoding = \"hex\"\n", "")
                    .replace("value = \"{header:x-sig}\"\n", ""),
            ),
        ),
        ("L4: no verifier", of_provider(unsigned)),
        (
            "L4: nobody to ask",
            of_provider(&format!("{unsigned}verify = \"query_back\"\n")),
        ),
        (
            "L4: no reason",
            of_provider(&format!("{unsigned}verify = \"none\"\n")),
        ),
        (
            "L4: the source says nothing",
            of_source(&STRIPE.replace("\"stripe\"", "\"apple-pay-merchant-token\"")),
        ),
        (
            "L5: a request says who is asked",
            beside(&format!("{ASKS}host = \"{{header:x-host}}\"\n")),
        ),
        (
            "L5: an address without TLS",
            beside(&format!("{ASKS}host = \"http://api.example.com\"\n")),
        ),
        (
            "L5: many hosts",
            beside(&format!("{ASKS}host = \"https://*.api.example.com\"\n")),
        ),
        (
            "L5: any region",
            beside(&format!(
                "{ASKS}hosts = {{ live = \"https://<region>.example.com\" }}\n"
            )),
        ),
        (
            "L5: many hosts of keys",
            jwks("https://*.api.example.com/keys"),
        ),
        ("L5: keys without TLS", jwks("http://api.example.com/keys")),
        ("L5: anybody's host", certificate("*.com", "host")),
        ("L5: a number for a host", certificate("127.0.0.1", "host")),
        (
            "L5: no path",
            of_provider(&provider(
                "algorithm = \"rsa-sha256\"\nmessage = \"{body}\"",
                "[key]\nshared = false\n[key.certificate_url]\nurl = \"{header:x-cert}\"\n\
                     hosts = [\"api.example.com\"]\npath = \"\"\ntrust = \"host\"\n",
            )),
        ),
        (
            "L5: no path for tokens",
            beside(&format!(
                "{ASKS}host = \"https://api.example.com\"\n\
                 auth = {{ kind = \"oauth2\", path = \".example.net/token\", user = \"u\", password = \"p\" }}\n"
            )),
        ),
        (
            "L5: anybody's certificate",
            certificate("api.example.com", "web"),
        ),
        (
            "L5: anybody's chain",
            of_provider(
                &provider(
                    "algorithm = \"jws\"\njws_algorithms = [\"ES256\"]",
                    "[key]\nshared = false\nx5c = { trust = \"web\" }\n",
                )
                .replace("encoding = \"hex\"\n", "")
                .replace("{header:x-sig}", "{body}"),
            ),
        ),
        (
            "L6",
            of_source(&STRIPE.replace("\"env:STRIPE_WEBHOOK_SECRET\"", &keys)),
        ),
        ("L7", signature("message = \"{header:x-time}{body}\"")),
        ("L8", of_provider(&provider(BODY, "[key]\n#none"))),
        (
            "L8: shared and public keys",
            of_provider(
                &provider(
                    "algorithm = \"jws\"\njws_algorithms = [\"HS256\", \"ES256\"]",
                    "",
                )
                .replace("encoding = \"hex\"\n", ""),
            ),
        ),
        ("L9: the same for all", beside("[event]\nid = \"{url}\"\n")),
        (
            "L10: several where one counts",
            signature("message = \"{headers:x-time}.{body}\""),
        ),
        (
            "L10: each element where one counts",
            beside("[event]\nid = \"{json:/items/*/id}\"\n"),
        ),
        (
            "L11",
            of_source(&stripe_and("[freshness]\ntolerance = \"2d\"")),
        ),
        (
            "L12: not narrowed",
            beside("[[challenge]]\nmethod = \"GET\"\nsigned = false\nreply = \"{query:c}\"\n"),
        ),
        (
            "L12: signed for anybody",
            beside(
                "[[challenge]]\nmethod = \"GET\"\nsigned = false\ncharset = \"printable\"\n\
                 reply = \"{query:c|hmac_sha256|hex}\"\n",
            ),
        ),
        (
            "L12: a header that is not signed",
            beside(
                "[[challenge]]\nwhen = [{ is = \"{json:/type}\", equals = \"ping\" }]\n\
                 headers = { \"X-Signed\" = \"{json:/a}\", \"X-Echo\" = \"{header:x-echo}\" }\n",
            ),
        ),
        (
            "L12: a type of its own",
            beside(
                "[[challenge]]\nmethod = \"GET\"\nsigned = false\nreply = \"<b>\"\n\
                 headers = { \"Content-Type\" = \"text/html\" }\n",
            ),
        ),
        (
            "L12: for every event",
            beside("[[challenge]]\nsigned = false\nreply = \"ok\"\n"),
        ),
        (
            "L13",
            beside("[answer]\noverloaded = { status = 429 }\n[contract]\nfinal = [\"4xx\"]\n"),
        ),
        ("L14", of_source(&stripe_and("[inbox]\nkeep = \"71h\""))),
        ("L15", beside("[answer]\nrejected = { status = 200 }\n")),
        (
            "a shared key of a stranger",
            of_provider(&provider(
                "algorithm = \"ed25519\"\nmessage = \"{body}\"",
                "[key]\njwks = { url = \"https://api.example.com/keys\" }\n",
            )),
        ),
        (
            "a digest without a key",
            signature("algorithm = \"md5\"\nweak = \"so\"\nmessage = \"{body}\""),
        ),
        (
            "an algorithm of yesterday",
            signature("algorithm = \"md5\"\nmessage = \"{body}{key}\""),
        ),
        (
            "money that is not signed",
            beside("[payment]\namount = \"{header:x-amount}\"\nunit = \"minor\"\n"),
        ),
        (
            "values that change places",
            of_provider(&provider(
                token,
                "[params]\nfrom = \"form\"\nonly = [\"a\"]\norder = \"listed\"\nrender = \"v\"\njoin = \"\"\n",
            )),
        ),
    ]
}

#[test]
fn what_the_author_of_a_faulty_file_reads() {
    let mut shown = String::new();
    for (lint, remarks) in faults() {
        assert!(!remarks.is_empty(), "{lint}: nothing is said");
        writeln!(shown, "---- {lint}\n\n{}", render(&remarks, Look::Ascii)).unwrap();
    }
    let wanted = include_str!("faulty.txt");
    if shown != wanted {
        println!("{shown}");
    }
    assert!(
        shown == wanted,
        "the text above is not that of tests/faulty.txt"
    );
}

/// A lint that is in the table of the language's page has its place above.
#[test]
fn no_lint_is_left_out() {
    let page = include_str!("../../../../docs/providers.md");
    let faults = faults();
    let mut numbers = 0;
    for line in page.lines() {
        let Some(number) = line
            .strip_prefix("| L")
            .and_then(|rest| rest.split(' ').next())
        else {
            continue;
        };
        if number.parse::<u32>().is_ok() {
            numbers += 1;
            let lint = format!("L{number}");
            let told = faults
                .iter()
                .any(|(name, _)| name.split(':').next() == Some(lint.as_str()));
            assert!(told, "{lint}");
        }
    }
    assert_eq!(numbers, 15);
}
