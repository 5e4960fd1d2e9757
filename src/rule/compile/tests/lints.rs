//! One test for each lint, by its number, and for what a provider file must not say.

use std::time::Duration;

use super::{STRIPE, codes, rule, stripe_and};
use crate::rule::compile::compile_provider;
use crate::rule::diagnostic::Severity;

fn provider_codes(text: &str) -> Vec<&'static str> {
    match compile_provider("test", text) {
        Ok((_, remarks)) => remarks.iter().map(|r| r.code).collect(),
        Err(remarks) => remarks.iter().map(|r| r.code).collect(),
    }
}

/// A provider file with the parts that a lint is about.
pub(super) fn provider(signature: &str, rest: &str) -> String {
    let signature = if signature.contains("algorithm") {
        signature.to_owned()
    } else {
        format!("algorithm = \"hmac-sha256\"\n{signature}")
    };
    let key = if rest.contains("[key]") {
        ""
    } else {
        "[key]\ncodec = \"utf8\"\n"
    };
    format!(
        "{HEAD}{}\n[signature]\nvalue = \"{{header:x-sig}}\"\n\
         encoding = \"hex\"\n{signature}\n{key}",
        rest.replace("[key]\n#none", "")
    )
}

/// What every file says first.
const HEAD: &str = "title = \"T\"\ndocs = \"https://example.com\"\ncategory = \"payments\"\n\
                    evidence = \"documented\"\n";

pub(super) const BODY: &str = "message = \"{header:x-time}.{body}\"";

#[test]
fn l1_an_unsigned_timestamp_proves_nothing() {
    let freshness = |header: &str| {
        format!(
            "[freshness]\ntimestamp = \"{{header:{header}}}\"\nformat = \"unix\"\ntolerance = \"5m\"\n"
        )
    };
    assert_eq!(
        provider_codes(&provider(BODY, &freshness("x-time"))),
        [""; 0]
    );
    assert_eq!(
        provider_codes(&provider(BODY, &freshness("x-other"))),
        ["timestamp_unsigned"]
    );
    // A timestamp in the signed body is signed.
    let inside = freshness("x").replace("{header:x}", "{json:/at}");
    assert_eq!(provider_codes(&provider(BODY, &inside)), [""; 0]);
}

#[test]
fn l2_a_signature_without_the_body_must_be_admitted() {
    let without = "message = \"{header:x-time}.{header:x-id}\"";
    assert_eq!(provider_codes(&provider(without, "")), ["body_unsigned"]);
    // It needs somebody who is asked, or a reason.
    assert_eq!(
        provider_codes(&provider(&format!("{without}\nbody_unsigned = true"), "")),
        ["body_unsigned"]
    );
    let reason = "body_unsigned = true\nbody_unsigned_reason = \"it is so\"";
    assert_eq!(
        provider_codes(&provider(&format!("{without}\n{reason}"), "")),
        [""; 0]
    );
    assert_eq!(
        provider_codes(&provider(&format!("{BODY}\nbody_unsigned = true"), "")),
        ["bad_value"]
    );
    // One variant without it is enough to lose it.
    let one = "any_of = [\"{body}\", \"{header:x-id}\"]";
    assert_eq!(provider_codes(&provider(one, "")), ["body_unsigned"]);
    // A digest of the body fixes it; its letters in lower case do not.
    assert_eq!(
        provider_codes(&provider("message = \"{body|sha256|hex}\"", "")),
        [""; 0]
    );
    assert_eq!(
        provider_codes(&provider("message = \"{body|lower}\"", "")),
        ["body_unsigned"]
    );
}

#[test]
fn l3_the_algorithm_is_pinned() {
    let chosen = "algorithm = \"{header:x-alg}\"\nmessage = \"{body}\"";
    assert_eq!(
        provider_codes(&provider(chosen, "")),
        ["algorithm_from_request"]
    );
    let unknown = "algorithm = \"hmac-sha257\"\nmessage = \"{body}\"";
    assert_eq!(provider_codes(&provider(unknown, "")), ["bad_value"]);
}

#[test]
fn l6_combinations_are_bounded() {
    let keys = |count: usize| {
        let keys = vec!["\"env:K\""; count].join(", ");
        STRIPE.replace("\"env:STRIPE_WEBHOOK_SECRET\"", &keys)
    };
    assert_eq!(codes(&keys(16)), [""; 0]);
    assert_eq!(codes(&keys(17)), ["too_many_keys"]);
    // Alipay has two variants of the message.
    let alipay = |count| {
        let text = keys(count).replace("\"stripe\"", "\"alipay\"");
        format!("{text}[config]\napp_id = \"2021000000000001\"\n")
    };
    assert_eq!(codes(&alipay(8)), [""; 0]);
    assert_eq!(codes(&alipay(9)), ["too_many_keys"]);
}

#[test]
fn l7_values_side_by_side_are_warned_of() {
    let text = provider("message = \"{header:x-time}{body}\"", "");
    let (_, remarks) = compile_provider("test", &text).unwrap();
    assert_eq!(remarks.len(), 1);
    assert_eq!(
        (remarks[0].code, remarks[0].severity),
        ("side_by_side", Severity::Warning)
    );
    assert_eq!(&text[remarks[0].span.clone()], "{header:x-time}{body}");
    // What always has the same length needs no separator.
    assert_eq!(
        provider_codes(&provider(
            "message = \"{body|sha256|hex}{header:x-time}\"",
            ""
        )),
        [""; 0]
    );
}

#[test]
fn l8_how_a_secret_becomes_a_key_is_said() {
    assert_eq!(
        provider_codes(&provider(BODY, "[key]\n#none")),
        ["key_codec"]
    );
    let wrong = provider(BODY, "[key]\ncodec = \"public\"\n");
    assert_eq!(provider_codes(&wrong), ["bad_value"]);
}

#[test]
fn l9_an_id_outside_the_signed_bytes_is_known_as_such() {
    let signed = |id: &str| {
        let text = provider(BODY, &format!("[event]\nid = \"{id}\"\n"));
        compile_provider("test", &text).unwrap().0.event.id_signed
    };
    assert!(signed("{json:/id}") && signed("{header:x-time}") && signed("{json:/a}-{form:b}"));
    assert!(
        !signed("{header:x-id}") && !signed("{json:/id}-{header:x-id}") && !signed("{query:id}")
    );
    // A source's own key must be signed, and is a second one: the provider's id stays.
    let key = |key: &str| stripe_and(&format!("[inbox]\nkey = \"{key}\""));
    let inbox = rule(&key("{json:/data/object/id}:{json:/type}"))
        .inbox
        .clone();
    assert!(inbox.business.is_some() && inbox.key_signed);
    assert_eq!(inbox.keys[0].as_str(), "{json:/id}");
    for unsigned in ["{json:/id}:{header:x-id}", "{path}"] {
        assert_eq!(codes(&key(unsigned)), ["key_unsigned"], "{unsigned}");
    }
    assert_eq!(
        codes(&stripe_and("[inbox]\ncontent = \"{json:/id}\"")),
        ["bad_value"]
    );
    assert_eq!(
        codes(&stripe_and("[inbox]\nkey = \"always\"")),
        ["constant_id"]
    );
    assert_eq!(
        codes(&stripe_and("[inbox]\nkey = \"{url}\"")),
        ["constant_id"]
    );
}

#[test]
fn l9_parameters_that_are_left_out_are_not_signed() {
    let alipay = |id: &str| {
        let text = crate::rule::catalogue::text("alipay").unwrap();
        let text = text.replace("{form:notify_id}", id);
        compile_provider("alipay", &text).unwrap().0.event.id_signed
    };
    assert!(alipay("{form:notify_id}") && alipay("{form:trade_no}"));
    // Left out in one of the variants, and in both.
    assert!(!alipay("{form:sign_type}") && !alipay("{form:sign}"));
}

#[test]
fn l11_a_tolerance_of_days_is_warned_of_and_one_without_a_timestamp_refused() {
    assert_eq!(
        codes(&stripe_and("[freshness]\ntolerance = \"2d\"")),
        ["long_tolerance"]
    );
    assert_eq!(
        codes(&stripe_and("[freshness]\ntolerance = \"1h\"")),
        [""; 0]
    );
    let github = STRIPE.replace("\"stripe\"", "\"github\"");
    assert_eq!(
        codes(&format!("{github}[freshness]\ntolerance = \"5m\"\n")),
        ["no_timestamp"]
    );
}

#[test]
fn l12_only_signed_bytes_are_sent_back() {
    let challenge = |is: &str, reply: &str| {
        provider(
            BODY,
            &format!(
                "[challenge]\nwhen = [{{ is = \"{is}\", equals = \"x\" }}]\nreply = \"{reply}\"\n"
            ),
        )
    };
    assert_eq!(
        provider_codes(&challenge("{json:/type}", "{json:/challenge}")),
        [""; 0]
    );
    assert_eq!(
        provider_codes(&challenge("{json:/type}", "{header:x-echo}")),
        ["challenge_unsigned"]
    );
    // What tells a question from an event may be unsigned: only signed bytes are sent back.
    assert_eq!(
        provider_codes(&challenge("{query:type}", "{json:/x}")),
        [""; 0]
    );
    let html = challenge("{json:/type}", "{json:/c}")
        .replace("reply =", "content_type = \"text/html\"\nreply =");
    assert_eq!(provider_codes(&html), ["bad_value"]);
}

#[test]
fn l13_our_own_faults_are_answered_so_that_the_provider_tries_again() {
    let overloaded = |status: u16| {
        provider_codes(&provider(
            BODY,
            &format!("[answer]\noverloaded = {{ status = {status} }}\n"),
        ))
    };
    assert_eq!(overloaded(503), [""; 0]);
    assert_eq!(overloaded(429), [""; 0]);
    assert_eq!(overloaded(400), ["no_retry"]);
    assert_eq!(overloaded(200), ["no_retry"]);
}

#[test]
fn l14_nothing_is_forgotten_while_it_can_come_again() {
    let keep = |provider: &str, keep: &str, more: &str| {
        let text = STRIPE.replace("\"stripe\"", &format!("\"{provider}\""));
        let config = match provider {
            "alipay" => "[config]\napp_id = \"2021000000000001\"\n",
            _ => "",
        };
        codes(&format!("{text}[inbox]\nkeep = \"{keep}\"\n{config}{more}"))
    };
    assert_eq!(keep("stripe", "3d", ""), [""; 0]);
    // Both the provider's three days and our own.
    assert_eq!(keep("stripe", "71h", ""), ["short_memory", "short_memory"]);
    let soon = "[relay]\nretry = { give_up_after = \"1h\" }\n";
    assert_eq!(keep("alipay", "25h", soon), [""; 0]);
    assert_eq!(keep("alipay", "24h", soon), ["short_memory"]);
    let wide = format!("{soon}[freshness]\ntolerance = \"50m\"\n");
    assert_eq!(keep("generic-hmac", "90m", &wide), ["short_memory"]);
    assert_eq!(keep("generic-hmac", "100m", &wide), [""; 0]);
    // Left out, it is as long as it must be.
    let long = rule(&stripe_and("[relay]\nretry = { give_up_after = \"30d\" }"));
    assert_eq!(long.inbox.keep, Duration::from_secs(30 * 86_400));
}

#[test]
fn l15_a_forgery_is_never_answered_with_success() {
    let rejected = |status: u16| {
        provider_codes(&provider(
            BODY,
            &format!("[answer]\nrejected = {{ status = {status} }}\n"),
        ))
    };
    assert_eq!(rejected(401), [""; 0]);
    assert_eq!(rejected(200), ["success_for_a_forgery"]);
    assert_eq!(rejected(302), ["success_for_a_forgery"]);
    let accepted = provider(BODY, "[answer]\naccepted = { status = 302 }\n");
    assert_eq!(provider_codes(&accepted), ["not_a_success"]);
}

#[test]
fn provider_files_are_held_to_their_own_words() {
    let bad = [
        ("message = \"{config:id}.{body}\"", "", "template"),
        ("message = \"{secret:id}.{body}\"", "", "template"),
        ("message = \"{sig:t}.{body}\"", "", "template"),
        (
            "message = \"{params}\"\nbody_unsigned = true",
            "",
            "template",
        ),
        (
            BODY,
            "[event]\nid = \"{secret:x}\"\n[secrets]\nx = \"X\"\n",
            "template",
        ),
        (
            "message = \"constant\"\nbody_unsigned = true",
            "",
            "bad_value",
        ),
        (
            "message = \"{body}\"\nany_of = [\"{body}\"]",
            "",
            "bad_value",
        ),
        ("message = \"{body}\"\nkeyid = \"x\"", "", "unknown_key"),
        (
            BODY,
            "verify = \"none\"\nverify_reason = \"x\"\n",
            "bad_value",
        ),
        (
            BODY,
            "[contract]\nhorizon = \"1h\"\nretries = [\"2h\"]\n",
            "bad_value",
        ),
        (
            BODY,
            "[[example]]\nname = \"a\"\nlike = \"b\"\n",
            "bad_value",
        ),
    ];
    for (signature, rest, code) in bad {
        let found = provider_codes(&provider(signature, rest));
        assert!(found.contains(&code), "{signature} {rest}: {found:?}");
    }
    let none = HEAD;
    assert_eq!(provider_codes(none), ["no_verifier"]);
    assert_eq!(
        provider_codes(&format!("{none}verify = \"none\"")),
        ["missing_key"]
    );
    let open = format!("{none}verify = \"none\"\nverify_reason = \"it signs nothing\"");
    assert_eq!(provider_codes(&open), [""; 0]);
}

#[test]
fn the_value_is_one_value_from_the_request() {
    for value in [
        "x{body}",
        "{header:a}{header:b}",
        "abc",
        "{config:a}",
        "{url}",
    ] {
        let text = provider(BODY, "[config]\na = \"A\"\n").replace("{header:x-sig}", value);
        assert_eq!(provider_codes(&text), ["bad_value"], "{value}");
    }
}
