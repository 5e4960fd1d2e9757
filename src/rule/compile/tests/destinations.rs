//! `[relay]` and `[[relay.to]]`: what each destination has, and what it has from `[relay]`.

use super::*;
use crate::message::DestinationName;
use crate::rule::OnDead;

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
