//! Questions that a provider asks: who is answered, with what, and under which type.

use super::stand::{NOW, Stand, TOKEN, codes};
use crate::message::{Answer, RawRequest};
use crate::verify::judge::Judgement;
use http::Method;

fn answered(stand: &Stand, request: &RawRequest) -> Option<Answer> {
    match stand.judge(request) {
        Ok(Judgement::Challenge(answer)) => Some(answer),
        Ok(Judgement::Event { .. }) | Err(_) => None,
    }
}

fn asks(stand: &Stand, challenge: &str) -> RawRequest {
    RawRequest {
        method: Method::GET,
        query: Some(format!("challenge={challenge}")),
        ..stand.post("")
    }
}

fn echo(charset: &str, more: &str) -> Stand {
    let text = format!(
        "[[challenge]]\nmethod = \"GET\"\nsigned = false\nreply = \"{{query:challenge}}\"\n\
         charset = \"{charset}\"\n{more}"
    );
    Stand::with_token(&text, |_| {})
}

fn told(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn each_charset_lets_through_what_it_says_and_nothing_else() {
    // For each byte of ASCII, and one beyond.
    let all = (0u8..=0x80).map(|byte| (byte, format!("a%{byte:02X}")));
    let of = |wanted: fn(u8) -> bool| all.clone().filter(move |(byte, _)| wanted(*byte));
    type Has = fn(u8) -> bool;
    let sets: [(&str, &str, Has); 4] = [
        ("token", "a", |b| {
            b.is_ascii_alphanumeric() || b"._~-".contains(&b)
        }),
        ("hex", "a", |b| b.is_ascii_hexdigit()),
        ("digits", "1", |b| b.is_ascii_digit()),
        ("printable", "a", |b| {
            (0x20..0x7f).contains(&b) && !b"\"'<>&\\".contains(&b)
        }),
    ];
    for (charset, first, has) in sets {
        let stand = echo(charset, "");
        let mut passed = Vec::new();
        for (byte, value) in of(|_| true) {
            let value = value.replacen('a', first, 1);
            if let Some(answer) = answered(&stand, &asks(&stand, &value)) {
                assert_eq!(answer.body.as_ref(), [first.as_bytes(), &[byte]].concat());
                passed.push(byte);
            }
        }
        let wanted: Vec<u8> = of(has).map(|(byte, _)| byte).collect();
        assert_eq!(passed, wanted, "{charset}");
    }
}

#[test]
fn what_does_not_fit_is_no_question_and_is_judged_as_an_event() {
    let stand = echo("token", "");
    let hostile = asks(&stand, "%3Cscript%3E");
    assert_eq!(stand.said(&hostile), "method_unexpected");
    for query in ["other=1", "challenge=a&challenge=a", "challenge=%zz", ""] {
        let request = RawRequest {
            query: Some(query.to_owned()),
            ..asks(&stand, "")
        };
        assert!(answered(&stand, &request).is_none(), "{query}");
    }
    let missing = RawRequest {
        query: None,
        ..asks(&stand, "")
    };
    assert!(answered(&stand, &missing).is_none());
}

#[test]
fn what_is_repeated_is_short() {
    for (more, longest) in [
        ("", 512),
        ("longest = 8\n", 8),
        ("reply_max = 9\n", 9),
        ("longest = 4096\n", 4096),
    ] {
        let stand = echo("token", more);
        let long = |length: usize| answered(&stand, &asks(&stand, &"a".repeat(length)));
        assert_eq!(long(longest).map(|a| a.body.len()), Some(longest));
        assert!(long(longest + 1).is_none(), "{more}");
    }
    let file = |more: &str| {
        codes(&format!(
            "[[challenge]]\nmethod = \"GET\"\nsigned = false\nreply = \"{{query:c}}\"\ncharset = \"token\"\n{more}{TOKEN}"
        ))
    };
    assert_eq!(file(""), [""; 0]);
    for more in ["longest = 4097\n", "longest = 0\n", "reply_max = 4097\n"] {
        assert_eq!(file(more), ["bad_value"], "{more}");
    }
}

#[test]
fn the_length_and_the_charset_are_of_what_was_sent_not_of_what_is_made_of_it() {
    let text = "[[challenge]]\nmethod = \"GET\"\nsigned = false\n\
                reply = '{\"hash\":\"{query:c|sha256|hex}\"}'\n\
                charset = \"token\"\nlongest = 3\ncontent_type = \"application/json\"\n"
        .replace("'{\"hash\"", "'{{\"hash\"")
        .replace("\"}'", "\"}}'");
    let stand = Stand::with_token(&text, |_| {});
    let of = |value: &str| {
        let request = RawRequest {
            query: Some(format!("c={value}")),
            ..asks(&stand, "")
        };
        answered(&stand, &request)
    };
    // SHA-256 of "abc".
    assert_eq!(
        told(&of("abc").unwrap()),
        "{\"hash\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}"
    );
    assert!(of("abcd").is_none() && of("a%3C").is_none());
}

#[test]
fn no_answer_is_ever_a_page() {
    for (more, kind) in [
        ("", "text/plain"),
        ("content_type = \"text/plain\"\n", "text/plain"),
        ("content_type = \"application/json\"\n", "application/json"),
        ("content_type = \"application/xml\"\n", "application/xml"),
    ] {
        let stand = echo("printable", more);
        let answer = answered(&stand, &asks(&stand, "hello")).unwrap();
        assert_eq!(
            (answer.status.as_u16(), told(&answer).as_str()),
            (200, "hello")
        );
        assert_eq!(answer.headers.only("content-type"), Some(kind.as_bytes()));
        assert_eq!(
            answer.headers.only("x-content-type-options"),
            Some(&b"nosniff"[..])
        );
        assert_eq!(answer.headers.iter().count(), 2);
    }
    for kind in [
        "text/html",
        "image/svg+xml",
        "text/xml",
        "text/plain; charset=utf-7",
        "",
    ] {
        let text = format!(
            "[[challenge]]\nmethod = \"GET\"\nsigned = false\nreply = \"ok\"\ncontent_type = \"{kind}\"\n{TOKEN}"
        );
        assert_eq!(codes(&text), ["bad_value"], "{kind}");
    }
    let type_by_header = "[[challenge]]\nmethod = \"GET\"\nsigned = false\nreply = \"ok\"\n\
        headers = { \"Content-Type\" = \"text/html\" }\n";
    assert_eq!(codes(&format!("{type_by_header}{TOKEN}")), ["bad_value"]);
}

#[test]
fn a_header_repeats_no_more_than_a_body_may() {
    let text = "[[challenge]]\nmethod = \"OPTIONS\"\nsigned = false\nstatus = 204\n\
        headers = { \"WebHook-Allowed-Origin\" = \"{header:WebHook-Request-Origin}\" }\n\
        charset = \"token\"\nlongest = 20\n";
    let stand = Stand::with_token(text, |_| {});
    let of = |origin: &str| {
        let mut request = asks(&stand, "");
        request.method = Method::OPTIONS;
        request
            .headers
            .push("webhook-request-origin", origin.to_owned());
        answered(&stand, &request)
    };
    let answer = of("example.com").unwrap();
    assert_eq!(answer.status.as_u16(), 204);
    assert!(answer.body.is_empty() && answer.headers.only("content-type").is_none());
    assert_eq!(
        answer.headers.only("webhook-allowed-origin"),
        Some(&b"example.com"[..])
    );
    for origin in ["a b", "a\r\nSet-Cookie: x=1", "*", "a,b", &"a".repeat(21)] {
        assert!(of(origin).is_none(), "{origin}");
    }
}

#[test]
fn a_question_that_looks_like_every_event_does_not_compile() {
    let file = |methods: &str, challenge: &str| {
        codes(&format!(
            "{methods}[[challenge]]\nreply = \"ok\"\n{challenge}{TOKEN}"
        ))
    };
    let when = "when = [{ is = \"{json:/type}\", equals = \"ping\" }]\n";
    for challenge in [
        "signed = false\n",
        "signed = false\nmethod = \"POST\"\n",
        "signed = false\nmethod = \"PUT\"\n",
        "signed = true\nmethod = \"POST\"\n",
        "signed = true\nmethod = \"GET\"\n",
        "",
    ] {
        assert_eq!(file("", challenge), ["bad_value"], "{challenge}");
        assert_eq!(
            file("", &format!("{challenge}{when}")),
            [""; 0],
            "{challenge}"
        );
    }
    let get = "signed = false\nmethod = \"GET\"\n";
    assert_eq!(file("", get), [""; 0]);
    // Where callbacks come by GET, that is every event too.
    assert_eq!(file("methods = [\"GET\"]\n", get), ["bad_value"]);
    assert_eq!(
        file("methods = [\"GET\"]\n", &format!("{get}{when}")),
        [""; 0]
    );
    // Nothing of a stranger's is repeated or signed.
    let open = |reply: &str, more: &str| {
        codes(&format!(
            "[[challenge]]\nmethod = \"GET\"\nsigned = false\nreply = \"{reply}\"\n{more}{TOKEN}"
        ))
    };
    assert_eq!(open("{query:c}", ""), ["challenge_unsigned"]);
    assert_eq!(open("{query:c|sha256|hex}", ""), ["challenge_unsigned"]);
    let seal = "{query:c|hmac_sha256|hex}";
    assert_eq!(open(seal, "charset = \"printable\"\n"), ["signing_oracle"]);
    assert_eq!(open(seal, "charset = \"token\"\n"), [""; 0]);
    let visit = "visit = { url = \"{query:u}\", hosts = [\"a.example.com\"], path = \"/\" }\n";
    assert_eq!(open("ok", visit), ["bad_value"]);
}

/// The MACs are Python's hmac, under the key of the source.
#[test]
fn a_signed_question_is_answered_after_its_signature() {
    let text = "[signature]\nalgorithm = \"hmac-sha256\"\nvalue = \"{header:x-sig}\"\n\
        encoding = \"hex\"\nmessage = \"{body}\"\n[key]\ncodec = \"utf8\"\n\
        [[challenge]]\nwhen = [{ is = \"{json:/type}\", equals = \"probe\" }]\n\
        reply = \"{json:/challenge}\"\n";
    let of = |body: &str, mac: &str| {
        let stand = Stand::new(text, |example| {
            assert_eq!(example.at, NOW);
            example.keys = vec![(None, "a secret of 16 by".to_owned())];
            example.headers = vec![("x-sig".to_owned(), mac.to_owned())];
        });
        let request = stand.post(body.to_owned());
        match stand.judge(&request) {
            Ok(Judgement::Challenge(answer)) => told(&answer),
            other => super::said(&other).to_owned(),
        }
    };
    let good = r#"{"type":"probe","challenge":"abc"}"#;
    let mac = "c9a2f033b46b0a75c29f53efb08253f75b4dc5b76f9a3156cb69ea039786ac37";
    assert_eq!(of(good, mac), "abc");
    assert_eq!(of(good, &mac.replace('c', "d")), "signature_mismatch");
    assert_eq!(of(good, ""), "signature_missing");
    // Signed, so it is said as it is; its type keeps it from being a page.
    let page = r#"{"type":"probe","challenge":"<b>x</b>"}"#;
    let mac = "01a60ce1dce2888ff6cd924822be7dd210974c1751b5b5a966739d7834093119";
    assert_eq!(of(page, mac), "<b>x</b>");
}
