//! `[relay]` and `[[relay.to]]`: what each destination has, and what it has from `[relay]`.

use super::*;
use crate::message::DestinationName;
use crate::rule::address::Addresses;
use crate::rule::{BreakerRule, Http2, Jitter, OnDead, OnStatus, Then};

const TWO: &str = r#"
[relay]
timeout = "20s"
concurrency = 4
rate = "50/s"
when = 'event.type.startsWith("payment_intent.")'
order_by = "{json:/data/object/id}"
on_dead = "hold"

[[relay.to]]
name = "ledger"
forward = "https://ledger.internal/hook"
timeout = "60s"
when = "true"
retry = { first = "1m" }

[[relay.to]]
name = "risk"
forward = "http://10.0.0.7:81/"
on_dead = "continue"
sign_with = "env:RISK"
"#;

#[test]
fn a_destination_has_what_it_says_and_else_what_relay_says() {
    let rule = rule(&stripe_and(TWO));
    let names: Vec<&str> = rule
        .relay
        .destinations()
        .map(|to| to.name.as_str())
        .collect();
    assert_eq!(names, ["main", "ledger", "risk"]);
    let find = |name: &str| rule.relay.destination(&DestinationName::new(name)).unwrap();
    let (main, ledger, risk) = (find("main"), find("ledger"), find("risk"));
    assert_eq!(
        main.forward.to_string(),
        "http://127.0.0.1:3000/webhooks/stripe"
    );
    assert_eq!(ledger.forward.to_string(), "https://ledger.internal/hook");
    assert_eq!(risk.forward.to_string(), "http://10.0.0.7:81/");
    let seconds = |to: &crate::rule::Destination| (to.timeout.as_secs(), to.retry.first.as_secs());
    assert_eq!(
        [main, ledger, risk].map(seconds),
        [(20, 5), (60, 60), (20, 5)]
    );
    assert_eq!([main, ledger, risk].map(|to| to.concurrency), [4; 3]);
    assert_eq!(
        [main, ledger, risk].map(|to| to.rate.map(|r| r.count.get())),
        [Some(50); 3]
    );
    assert_eq!(
        [main, ledger, risk].map(|to| to.on_dead),
        [OnDead::Hold, OnDead::Hold, OnDead::Continue]
    );
    assert_eq!(ledger.when.as_ref().map(|w| w.as_str()), Some("true"));
    assert_eq!(
        risk.when.as_ref().map(|w| w.as_str()),
        main.when.as_ref().map(|w| w.as_str())
    );
    assert!(risk.sign_with.is_some() && ledger.sign_with.is_none());
    assert!([main, ledger, risk].iter().all(|to| to.order_by.is_some()));
    // What is tried for longest decides how long an event is kept at least.
    let long =
        "[[relay.to]]\nname = \"b\"\nforward = \"http://b/\"\nretry = { give_up_after = \"30d\" }";
    assert_eq!(
        super::rule(&stripe_and(long)).inbox.keep.as_secs(),
        30 * 86_400
    );
}

#[test]
fn destinations_that_cannot_be_are_told() {
    let to = |more: &str| stripe_and(&format!("[[relay.to]]\n{more}\n"));
    let good = "name = \"b\"\nforward = \"http://b/\"\n";
    assert_eq!(codes(&to("forward = \"http://b/\"")), ["missing_key"]);
    assert_eq!(codes(&to("name = \"b\"")), ["missing_key"]);
    assert_eq!(
        codes(&to("name = \"main\"\nforward = \"http://b/\"")),
        ["bad_name"]
    );
    assert_eq!(
        codes(&to("name = \"B b\"\nforward = \"http://b/\"")),
        ["bad_name"]
    );
    assert_eq!(
        codes(&to(&format!("{good}query = \"as-received\""))),
        ["unknown_key"]
    );
    let twice = format!("{}[[relay.to]]\n{good}", to(good));
    assert_eq!(codes(&twice), ["bad_name"]);
    let many: String = (0..8)
        .map(|n| format!("[[relay.to]]\nname = \"n{n}\"\nforward = \"http://b/\"\n"))
        .collect();
    assert_eq!(codes(&stripe_and(&many)), ["bad_value"]);
    assert_eq!(
        codes(&stripe_and("[relay]\nrate = \"20000/s\"")),
        ["bad_value"]
    );
    assert_eq!(
        codes(&stripe_and("[relay]\nrate = \"20/s burst 90\"")),
        ["bad_value"]
    );
}

#[test]
fn what_follows_from_a_failure_is_as_the_rule_says() {
    let relay = |text: &str| {
        rule(&stripe_and(&format!("[relay]\n{text}")))
            .relay
            .main
            .clone()
    };
    let secs = |list: &[Duration]| list.iter().map(Duration::as_secs).collect::<Vec<_>>();
    let usual = relay("");
    assert_eq!(usual.breaker, Some(BreakerRule::default()));
    assert!(usual.adaptive && usual.retry.after.is_empty() && usual.retry.on_status.is_empty());
    let listed =
        relay("retry = { after = [\"5s\", \"1m\", \"10m\"], give_up_after = \"1h\" }").retry;
    assert_eq!(secs(&listed.after), [5, 60, 600]);
    assert_eq!((listed.then, listed.jitter), (Then::Repeat, Jitter::None));
    let ends = relay("retry = { after = \"5s\", then = \"dead\", jitter = \"full\" }").retry;
    assert_eq!((ends.then, ends.jitter), (Then::Dead, Jitter::Full));
    let told =
        relay("on_status = { 409 = \"dead\", 4xx = \"retry\", 503 = { after = \"1m\" } }").retry;
    let minute = OnStatus::RetryAfter(Duration::from_secs(60));
    assert_eq!(
        [409, 410, 503, 500].map(|status| told.on_status(status)),
        [
            Some(OnStatus::Dead),
            Some(OnStatus::Retry),
            Some(minute),
            None
        ]
    );
    assert_eq!(relay("breaker = \"off\"").breaker, None);
    let slow = relay("breaker = { failures = 9, first = \"2m\" }")
        .breaker
        .unwrap();
    assert_eq!(
        (slow.failures, slow.first, slow.max),
        (9, slow.max, Duration::from_secs(120))
    );
    // A further destination may go back from a list to pauses that grow.
    let both = rule(&stripe_and(
        "[relay]\nretry = { after = \"1m\", then = \"dead\" }\non_status = { 422 = \"dead\" }\n\
         [[relay.to]]\nname = \"b\"\nforward = \"http://b/\"\nretry = { first = \"1s\" }\n\
         [[relay.to]]\nname = \"c\"\nforward = \"http://c/\"\nretry = { give_up_after = \"9h\" }",
    ));
    let [b, c] = both.relay.more.as_slice() else {
        panic!("{:?}", both.relay.more)
    };
    assert_eq!((secs(&b.retry.after), b.retry.then), (vec![], Then::Repeat));
    assert_eq!((secs(&c.retry.after), c.retry.then), (vec![60], Then::Dead));
    assert_eq!(b.retry.on_status(422), Some(OnStatus::Dead));
}

#[test]
fn failures_that_cannot_be_meant_are_told() {
    let codes = |text: &str| codes(&stripe_and(&format!("[relay]\n{text}")));
    for bad in [
        "retry = { after = [\"5s\"], first = \"1s\" }",
        "retry = { after = [] }",
        "retry = { after = [\"5s\", \"0s\"] }",
        "retry = { then = \"dead\" }",
        "retry = { after = \"5s\", then = \"taken\" }",
        "on_status = { 200 = \"retry\" }",
        "on_status = { 2xx = \"dead\" }",
        "on_status = { 409 = \"taken\" }",
        "on_status = { 302 = \"taken\" }",
        "on_status = { 100 = \"dead\" }",
        "on_status = { 4x = \"dead\" }",
        "on_status = { 0404 = \"dead\" }",
        "breaker = \"on\"",
        "breaker = { failures = 0 }",
        "breaker = { first = \"2m\", max = \"1m\" }",
    ] {
        assert_eq!(codes(bad), ["bad_value"], "{bad}");
    }
    assert_eq!(codes("on_status = { 503 = {} }"), ["missing_key"]);
    assert_eq!(codes("breaker = false"), ["wrong_type"]);
}

#[test]
fn how_a_destination_is_reached_is_as_the_rule_says() {
    let reached = |text: &str| {
        let rule = rule(&stripe_and(&format!(
            "[[relay.to]]\nname = \"b\"\n{text}\n"
        )));
        rule.relay.more[0].clone()
    };
    let plain = reached("forward = \"http://b/\"");
    assert_eq!(
        (plain.http2, plain.addresses, plain.tls),
        (Http2::Alpn, Addresses::Any, None)
    );
    let sealed = reached(
        "forward = \"https://b/\"\naddresses = \"public\"\nhttp2 = \"never\"\n\
         tls = { ca = \"env:CA\", cert = \"env:CERT\", key = \"file:k\", server_name = \"c\" }",
    );
    let tls = sealed.tls.unwrap();
    assert_eq!(
        (sealed.http2, sealed.addresses),
        (Http2::Never, Addresses::Public)
    );
    assert_eq!(tls.server_name.as_deref(), Some("c"));
    assert!(tls.ca.is_some() && tls.identity.is_some());
    let socket = reached("forward = \"unix:/run/b.sock:/hook\"\nhttp2 = \"prior-knowledge\"");
    assert_eq!(socket.http2, Http2::PriorKnowledge);
    assert_eq!(socket.forward.to_string(), "unix:/run/b.sock:/hook");
    let told = |text: &str| {
        codes(&stripe_and(&format!(
            "[[relay.to]]\nname = \"b\"\n{text}\n"
        )))
    };
    for (bad, code) in [
        ("forward = \"unix:b.sock\"", "bad_value"),
        (
            "forward = \"https://b/\"\nhttp2 = \"prior-knowledge\"",
            "bad_value",
        ),
        (
            "forward = \"http://b/\"\ntls = { ca = \"env:CA\" }",
            "bad_value",
        ),
        (
            "forward = \"https://b/\"\ntls = { cert = \"env:CA\" }",
            "missing_key",
        ),
        (
            "forward = \"https://b/\"\ntls = { server_name = \"b c\" }",
            "bad_value",
        ),
        (
            "forward = \"http://10.0.0.1/\"\naddresses = \"public\"",
            "bad_value",
        ),
        (
            "forward = \"http://8.8.8.8/\"\naddresses = \"private\"",
            "bad_value",
        ),
        (
            "forward = \"http://0.0.0.0/\"\naddresses = \"any\"",
            "bad_value",
        ),
        ("forward = \"unix:/b\"\naddresses = \"public\"", "bad_value"),
    ] {
        assert_eq!(told(bad), [code], "{bad}");
    }
    // A key that was written in place of its place is not shown.
    let inline = stripe_and(
        "[[relay.to]]\nname = \"b\"\nforward = \"https://b/\"\n\
         tls = { cert = \"env:CERT\", key = \"-----BEGIN canary\" }",
    );
    let faults = compile(files(&[("shop", &inline)])).unwrap_err();
    assert_eq!(faults[0].code, "inline_secret");
    assert!(!format!("{faults:?}").contains("canary"));
}

#[test]
fn a_condition_that_is_wrong_shows_its_place() {
    let faults = compile(files(&[(
        "shop",
        &stripe_and("[relay]\nwhen = 'event.type == \"a\" && evnt.id == \"b\"'"),
    )]))
    .unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].code, "condition");
    let text = &faults[0].text[faults[0].span.clone()];
    assert_eq!(text, "evnt");
    assert!(faults[0].text[..faults[0].span.start].ends_with("&& "));
}

#[test]
fn only_signed_values_decide_over_other_events() {
    assert_eq!(
        codes(&stripe_and("[relay]\norder_by = \"{header:X-Order}\"")),
        ["order_unsigned"]
    );
}
