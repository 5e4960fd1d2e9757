//! Conditions: what they see, what they may cost, and where a mistake is.

use super::*;

fn facts(body: Option<Value>) -> Facts {
    Facts {
        kind: "payment.captured".into(),
        id: "evt_1".into(),
        source: "shop".into(),
        provider: "stripe".into(),
        headers: [("x-shop".to_owned(), "1".to_owned())].into(),
        query: [("a".to_owned(), "b".to_owned())].into(),
        body,
    }
}

fn body() -> Value {
    let object: HashMap<String, Value> = [
        ("amount".to_owned(), Value::Int(1250)),
        (
            "items".to_owned(),
            Value::from(vec![Value::from("a"), Value::from("b")]),
        ),
    ]
    .into();
    Value::from(object)
}

#[test]
fn conditions_see_the_event() {
    for (text, holds) in [
        ("event.type.startsWith(\"payment.\")", true),
        ("event.type == 'refund'", false),
        ("event.id == 'evt_1' && event.source == 'shop'", true),
        ("event.provider in ['stripe', 'adyen']", true),
        ("headers['x-shop'] == '1'", true),
        ("query.a == 'b' || query.c == 'd'", true),
        ("body.amount > 1000", true),
        ("body.amount < 1000.5", false),
        ("body.items.exists(i, i == 'b')", true),
        ("has(body.currency)", false),
        ("size(body.items) == 2", true),
        ("!('x-other' in headers)", true),
    ] {
        let when = When::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        assert_eq!(when.holds(&facts(Some(body()))), Ok(holds), "{text}");
    }
}

#[test]
fn what_is_not_there_decides_nothing() {
    for text in [
        "body.currency == 'EUR'",
        "headers['x-none'] == '1'",
        "body.amount.startsWith('a')",
        "event.type",
        "body.items[7] == 'a'",
    ] {
        let when = When::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        assert!(when.holds(&facts(Some(body()))).is_err(), "{text}");
    }
    let when = When::parse("body.amount > 1").unwrap();
    assert!(when.holds(&facts(None)).is_err());
    assert!(when.reads_body() && !When::parse("event.id == ''").unwrap().reads_body());
}

/// Each of these would take as many steps as the body is long, for each element of a list that
/// is as long.
#[test]
fn a_loop_goes_over_the_body_once() {
    for text in [
        "body.a.all(x, x in body.a)",
        "body.a.exists(x, body.b.contains(x))",
        "body.a.exists(x, body == body)",
        "body.a.all(x, body.a == body.b)",
        "body.a.all(x, x == body.s + body.s)",
        "size(body.a.map(x, body.s + x)) > 1",
        "body.a.all(x, size(string(body.s)) > x)",
        "body.a.all(x, event.id.startsWith(x))",
        "body.a.all(x, headers[x] == 'a')",
        "body.a.exists(x, [body.b] == x)",
        "body.a.exists(x, true ? x in query : false)",
    ] {
        let error = When::parse(text).expect_err(text);
        assert!(error.message.contains("in a loop"), "{text}: {error:?}");
    }
    for text in [
        "body.items.exists(i, i == 'b')",
        "body.items.exists(i, i.currency == body.currency && i.amount >= body.least)",
        "body.items.all(i, event.type == 'paid' || i.contains('a'))",
        "body.items.exists(i, i in ['a', 'b'])",
        "size(body.items.filter(i, i > 1)) > size(body.items)",
        "body.items.exists(i, body.flag ? i.a in i.b : has(body.x))",
        "body.a.exists(i, i == 1) && body.b.exists(i, i in [2])",
        &vec!["size(body.a.filter(i, i > 1)) > 1"; 20].join(" || "),
    ] {
        assert!(When::parse(text).is_ok(), "{text}: {:?}", When::parse(text));
    }
}

#[test]
fn a_body_that_is_too_large_for_the_condition_decides_nothing() {
    let list = |count| Some(Value::from(vec![Value::Int(0); count]));
    let holds = |text: &str, body| When::parse(text).unwrap().holds(&facts(body));
    assert_eq!(holds("body.all(x, x == 0)", list(20_000)), Ok(true));
    assert!(holds("body.all(x, x == 0)", list(130_000)).is_err());
    let long = format!("body.all(x, {})", vec!["x == 0"; 200].join(" && "));
    assert_eq!(holds(&long, list(100)), Ok(true));
    assert!(holds(&long, list(2_000)).is_err());
    let sum = |count| format!("{} != ''", vec!["body"; count].join("+"));
    let text = Some(Value::from("a".repeat(200_000)));
    assert_eq!(holds(&sum(SUMS + 1), text), Ok(true));
    assert!(When::parse(&sum(SUMS + 2)).is_err());
    // What reads a member or two does not care.
    assert_eq!(
        holds("body[0] == 0 && event.id != ''", list(130_000)),
        Ok(true)
    );
}

#[test]
fn faults_name_their_place() {
    let wrong = |text: &str| {
        let error = When::parse(text).expect_err(text);
        (
            text.get(error.span.clone()).unwrap_or("?").to_owned(),
            error.message,
        )
    };
    assert_eq!(wrong("").1, "a condition is missing");
    assert!(wrong("event.type ==").1.starts_with("this is no CEL"));
    assert_eq!(
        wrong("evnt.type == 'a'"),
        ("evnt".into(), "there is nothing called `evnt`".into())
    );
    assert_eq!(wrong("true && evt").0, "evt");
    assert_eq!(wrong("event.kind == 'a'").1, "`event` has no `kind`");
    assert_eq!(
        wrong("event.type.matches('a+')").1,
        "there is no function `matches`"
    );
    assert_eq!(
        wrong("body.a.all(x, body.b.all(y, x == y))").1,
        "a loop in a loop"
    );
    assert_eq!(
        wrong("size(body.a.map(x, x + x).map(x, x + x)) > 1").1,
        "a loop over the result of a loop"
    );
    assert!(When::parse(&"(".repeat(2000)).is_err());
    assert!(When::parse(&format!("true{}", " ".repeat(3000))).is_err());
}
