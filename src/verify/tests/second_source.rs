//! `[query_back]` step by step, and the alternatives that a source chooses.

use super::stand::{Stand, TOKEN_KEY, codes, line};
use crate::rule::scheme::PartForm;
use crate::verify::document::Document;
use crate::verify::judge::{Judgement, Step};
use crate::verify::scope::Answer;
use crate::verify::want::{Known, Want};

const ASKED: &str = "verify = \"query_back\"\n[query_back]\nmode = \"authoritative\"\n\
    host = \"https://api.example.com\"\npath = \"/v1/orders/{json:/id}\"\n\
    confirm = [{ is = \"{answer:/id}\", equals = \"{json:/id}\" }]\n\
    [event]\nid = \"{answer:/id}:{answer:/state}\"\n\
    [payment]\namount = \"{answer:/amount}\"\nunit = \"major\"\nstatus = \"{answer:/state}\"\n\
    map = { done = \"paid\" }\n";

fn known(status: &str, body: &str) -> Known {
    let document = Document::read(PartForm::Json, body.as_bytes().to_vec()).unwrap();
    Known {
        answer: Some(Answer {
            status: status.to_owned(),
            document,
        }),
        ..Known::default()
    }
}

#[test]
fn first_it_is_wanted_then_known_then_done() {
    let stand = Stand::new(ASKED, |_| {});
    let request = stand.post(r#"{"id":"o-1","state":"done","amount":"0.01"}"#);
    let Want::Confirmation { request: question } = stand.want(&request, &Known::default()) else {
        panic!()
    };
    assert_eq!(line(&question), "GET https://api.example.com/v1/orders/o-1");
    assert!(question.body.is_empty() && question.https && question.port == 443);
    let answer = r#"{"id":"o-1","state":"open","amount":25.990}"#;
    let step = stand.step(&request, &known("200", answer)).unwrap();
    let Step::Done(judgement) = step else {
        panic!("{step:?}")
    };
    let Judgement::Event {
        identity,
        seal,
        payment,
        ..
    } = *judgement
    else {
        panic!()
    };
    // The answer's words, never those of the callback.
    assert_eq!(
        (identity.text.as_str(), seal.as_str()),
        ("o-1:open", "query-back")
    );
    let payment = payment.unwrap();
    assert_eq!(
        (payment.amount.as_deref(), payment.status),
        (Some("25.990"), None)
    );
    // Whoever adds words of his own to a callback makes no other event of it.
    let other = stand.post(r#"{"id":"o-1","state":"cancelled"}"#);
    let Step::Done(again) = stand.step(&other, &known("200", answer)).unwrap() else {
        panic!()
    };
    let Judgement::Event {
        identity: again, ..
    } = *again
    else {
        panic!()
    };
    assert_eq!((again.key, again.content), (identity.key, identity.content));
}

#[test]
fn what_is_denied_is_rejected_and_what_is_not_said_is_put_off() {
    let stand = Stand::new(ASKED, |_| {});
    let request = stand.post(r#"{"id":"o-1"}"#);
    let right = r#"{"id":"o-1"}"#;
    for (status, body, code) in [
        ("200", right, "accepted"),
        ("200", r#"{"id":"o-2"}"#, "not_confirmed"),
        ("200", r#"{"id":null}"#, "not_confirmed"),
        ("200", r#"{"id":""}"#, "not_confirmed"),
        ("200", "{}", "not_confirmed"),
        ("200", "[]", "not_confirmed"),
        ("201", right, "not_confirmed"),
        ("204", right, "not_confirmed"),
        ("400", right, "not_confirmed"),
        ("404", right, "not_confirmed"),
        ("410", right, "not_confirmed"),
        // It says nothing about the event.
        ("301", right, "unready"),
        ("307", right, "unready"),
        ("401", right, "unready"),
        ("403", right, "unready"),
        ("408", right, "unready"),
        ("429", right, "unready"),
        ("500", right, "unready"),
        ("503", right, "unready"),
    ] {
        let found = match stand.step(&request, &known(status, body)) {
            Ok(Step::Done(_)) => "accepted",
            Ok(Step::Wanted(want)) => panic!("{want:?}"),
            Err(reason) => reason.code(),
        };
        assert_eq!(found, code, "{status} {body}");
    }
}

#[test]
fn a_strangers_words_are_no_part_of_an_address_but_as_harmless_characters() {
    let stand = Stand::new(ASKED, |_| {});
    let long = "a".repeat(257);
    for id in [
        "a/b", "a?b=1", "a#b", "a%2Fb", "..", ".", "a b", "ä", "a\\\\b", "a\\u0000", &long,
    ] {
        let request = stand.post(format!(r#"{{"id":"{id}"}}"#));
        let found = stand.step(&request, &Known::default()).unwrap_err();
        assert_eq!(found.code(), "field_malformed", "{id}");
    }
    for (body, code) in [
        ("{}", "field_missing"),
        (r#"{"id":null}"#, "field_missing"),
        (r#"{"id":["o-1"]}"#, "field_malformed"),
        ("id=o-1", "body_malformed"),
    ] {
        let found = stand
            .step(&stand.post(body), &Known::default())
            .unwrap_err();
        assert_eq!(found.code(), code, "{body}");
    }
    let request = stand.post(r#"{"id":"A.b_c~9-..x"}"#);
    assert!(matches!(
        stand.want(&request, &Known::default()),
        Want::Confirmation { .. }
    ));
}

#[test]
fn nobody_is_asked_where_it_does_not_apply_and_then_no_money_is_shown() {
    let text = "[query_back]\nmode = \"authenticate\"\nhost = \"https://api.example.com\"\n\
        path = \"/v1/{json:/id}\"\nwhen = [{ is = \"{json:/kind}\", equals = \"payment\" }]\n\
        [payment]\namount = \"{json:/amount}\"\nunit = \"minor\"\n";
    let stand = Stand::with_token(text, |_| {});
    let body = |kind: &str| stand.post(format!(r#"{{"id":"1","kind":"{kind}","amount":5}}"#));
    assert!(matches!(
        stand.want(&body("payment"), &Known::default()),
        Want::Confirmation { .. }
    ));
    assert_eq!(stand.event(&body("ping")).1, None);
    // Nor for a request that is not signed.
    let mut unsigned = body("payment");
    unsigned.headers = Default::default();
    assert_eq!(stand.said(&unsigned), "signature_missing");
}

// ---- alternatives

const SECRET: &str = "a secret of 16 by";
const BODY: &str = r#"{"id":"evt_1","n":1}"#;
/// openssl dgst -sha256 -hmac, and -sha512.
const MAC_256: &str = "4c6e3b92050516364dc55c1223ab17ff1d3911e0142aa5ab81175fa7c19adeea";
const MAC_512: &str = "9fbd9036540b95b6ab71fe928002a38ca8a61ee1ea6aee22f131e93439c1a22514c01238b82abfd698f7cc72ec8d2aa24302dff0ac46e4a5d33bcd78c91c186c";

fn alternatives() -> String {
    let of = |name: &str, algorithm: &str, more: &str| {
        format!(
            "[[signature]]\nname = \"{name}\"\nalgorithm = \"{algorithm}\"\n\
             value = \"{{header:x-{name}}}\"\n{more}\n"
        )
    };
    of(
        "new",
        "hmac-sha512",
        "encoding = \"hex\"\nmessage = \"{body}\"",
    ) + &of(
        "old",
        "hmac-sha256",
        "encoding = \"hex\"\nmessage = \"{body}\"",
    ) + &of(
        "plain",
        "token",
        "weak = \"so it is\"\nopt_in = true\nbody_unsigned = true\nbody_unsigned_reason = \"so it is\"",
    ) + "[key]\ncodec = \"utf8\"\n[event]\nid = \"{json:/id}\"\n"
}

#[test]
fn a_source_is_judged_by_the_alternatives_that_it_chose() {
    let text = alternatives();
    for (chosen, header, value, code) in [
        (&[][..], "x-new", MAC_512, "accepted"),
        (&[], "x-old", MAC_256, "accepted"),
        (&[], "x-plain", SECRET, "signature_missing"),
        (&["new"], "x-new", MAC_512, "accepted"),
        (&["new"], "x-old", MAC_256, "signature_missing"),
        (&["old"], "x-new", MAC_512, "signature_missing"),
        (&["old", "plain"], "x-old", MAC_256, "accepted"),
        (&["old", "plain"], "x-plain", SECRET, "accepted"),
        (&["plain"], "x-old", MAC_256, "signature_missing"),
        // One scheme's value under another's header.
        (&[], "x-new", MAC_256, "signature_mismatch"),
        (&[], "x-old", MAC_512, "signature_mismatch"),
    ] {
        let stand = Stand::new(&text, |example| {
            example.keys = vec![(None, SECRET.to_owned())];
            example.schemes = chosen.iter().map(|name| (*name).to_owned()).collect();
            example.headers = vec![(header.to_owned(), value.to_owned())];
        });
        let code_found = stand.said(&stand.post(BODY));
        assert_eq!(code_found, code, "{chosen:?} {header}");
    }
}

#[test]
fn what_is_believed_is_computed_anew_for_a_choice() {
    let text = alternatives();
    let believed = |chosen: &[&str]| {
        let stand = Stand::new(&text, |example| {
            example.keys = vec![(None, TOKEN_KEY.to_owned())];
            example.schemes = chosen.iter().map(|name| (*name).to_owned()).collect();
        });
        stand.rule.inbox.key_signed
    };
    assert!(believed(&["new"]) && believed(&["new", "old"]) && believed(&[]));
    // Where all the proof is a token, a digest in its place would protect nothing.
    assert!(believed(&["plain"]));
    // Beside a signature it would: whoever has the token changes what the other has signed.
    assert!(!believed(&["new", "plain"]));
}

#[test]
fn one_alternative_at_least_needs_no_choice() {
    let all = alternatives().replace("algorithm =", "opt_in = true\nalgorithm =");
    let all = all.replace(
        "weak = \"so it is\"\nopt_in = true\n",
        "weak = \"so it is\"\n",
    );
    assert!(
        !codes(&all).is_empty(),
        "a file of which no source uses anything"
    );
    let nameless = alternatives().replace("name = \"old\"\n", "");
    assert_eq!(codes(&nameless), ["missing_key"]);
    let twice = alternatives().replace("name = \"old\"", "name = \"new\"");
    assert_eq!(codes(&twice), ["bad_value"]);
}
