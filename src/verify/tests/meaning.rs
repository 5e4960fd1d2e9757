//! What makes two callbacks one event, and what a payment's callback says. Digests are Python's.

use data_encoding::HEXLOWER;

use super::stand::Stand;
use crate::message::RawRequest;
use crate::rule::provider::Status;
use crate::verify::payment::Payment;

fn signed(message: &str, rest: &str) -> Stand {
    let text = format!(
        "[signature]\nalgorithm = \"hmac-sha256\"\nvalue = \"{{header:x-sig}}\"\n\
         encoding = \"hex\"\nmessage = \"{message}\"\n[key]\ncodec = \"utf8\"\n{rest}"
    );
    Stand::new(&text, |example| {
        example.keys = vec![(None, "a secret of 16 by".to_owned())];
    })
}

fn with_id(id: &str) -> Stand {
    signed("{body}", &format!("[event]\nid = {id}\n"))
}

#[test]
fn ids_that_look_alike_are_not_the_same() {
    let split = "[split]\nitems = \"/items/*\"\nverify = \"delivery\"\n";
    let items = signed(
        "{body}",
        &format!("[event]\nid = \"{{item:/id}}\"\n{split}"),
    );
    let pair = with_id("\"{json:/a}:{json:/b}\"");
    let optional = with_id("\"{json:/a}{(-{json:/b})}\"");
    for (stand, one, other, text) in [
        (
            &pair,
            r#"{"a":"1:2","b":"3"}"#,
            r#"{"a":"1","b":"2:3"}"#,
            "1:2:3",
        ),
        (&optional, r#"{"a":"x-y"}"#, r#"{"a":"x","b":"y"}"#, "x-y"),
        (
            &items,
            r#"{"items":[{"id":1},{"id":2}]}"#,
            r#"{"items":[{"id":"1,2"}]}"#,
            "1,2",
        ),
        (
            &items,
            r#"{"items":[{"id":1},{"id":2},{"id":3}]}"#,
            r#"{"items":[{"id":"1,2"},{"id":3}]}"#,
            "1,2,3",
        ),
    ] {
        let (a, b) = (
            stand.identity(&stand.post(one)),
            stand.identity(&stand.post(other)),
        );
        assert_eq!((a.text.as_str(), b.text.as_str()), (text, text));
        assert_ne!(a.key, b.key, "{one} {other}");
        assert_eq!(a.key, stand.identity(&stand.post(format!("{one} "))).key);
    }
    // Of items of which one has no id, none is believed: the digest stands in.
    for body in [
        r#"{"items":[{"id":1},{"n":2}]}"#,
        r#"{"items":[]}"#,
        r#"{"x":1}"#,
    ] {
        let identity = items.identity(&items.post(body));
        assert!(
            identity.text.starts_with("sha256:"),
            "{body}: {}",
            identity.text
        );
    }
}

#[test]
fn the_first_id_that_is_there_and_not_empty_counts() {
    let stand = with_id("[\"{json:/a}\", \"{json:/b}\"]");
    for (body, text) in [
        (r#"{"a":"1","b":"2"}"#, "1"),
        (r#"{"b":"2"}"#, "2"),
        (r#"{"a":null,"b":"2"}"#, "2"),
        (r#"{"a":"","b":2.50}"#, "2.50"),
    ] {
        assert_eq!(stand.identity(&stand.post(body)).text, text, "{body}");
    }
    let nameless = stand.identity(&stand.post("{}"));
    // SHA-256 of `{}`.
    assert_eq!(
        nameless.text,
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
}

#[test]
fn an_id_that_is_not_signed_is_shown_and_is_not_the_key() {
    let stand = signed(
        "{body}",
        "[event]\nid = \"{header:x-id}\"\ntype = \"{header:x-type}\"\n",
    );
    let named = |id: &str, kind: &str| {
        let mut request = stand.post("{}");
        request.headers.push("x-id", id.to_owned());
        request.headers.push("x-type", kind.to_owned());
        stand.identity(&request)
    };
    let (one, other) = (named("1", "order.paid"), named("2", "order.paid"));
    assert_eq!((one.text.as_str(), other.text.as_str()), ("1", "2"));
    assert_eq!(one.key, other.key);
    // The same words about something else.
    assert_ne!(one.key, named("1", "order.created").key);
}

#[test]
fn where_words_repeat_each_delivery_is_one_event() {
    let stand = signed("{body}", "[event]\nrepeats = \"a heartbeat\"\n");
    let (one, other) = (
        stand.identity(&stand.post("{}")),
        stand.identity(&stand.post("{}")),
    );
    assert_ne!(one.key, other.key);
    assert_eq!(one.content, other.content);
    assert_eq!(one.text, "delivery:1793491200000");
}

fn content(stand: &Stand, request: &RawRequest) -> String {
    HEXLOWER.encode(&stand.identity(request).content)
}

#[test]
fn the_digest_is_of_what_is_signed_and_of_nothing_else() {
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    // The body as it is.
    let body = signed("{header:x-t}.{body}", "");
    let mut request = body.post("abc");
    request.headers.push("x-t", "1");
    request.query = Some("x=1".to_owned());
    assert_eq!(content(&body, &request), ABC);
    // The file's own word.
    let own = signed(
        "{body}",
        "[event]\nid = \"{json:/id}\"\ncontent = \"{json:/v}\"\n",
    );
    for tries in 1..3 {
        let text = format!(r#"{{"id":1,"v":"abc","try":{tries}}}"#);
        assert_eq!(content(&own, &own.post(text)), ABC);
    }
    // A callback that says everything in its address.
    let asked = |body: &str| RawRequest {
        path: "/hook".to_owned(),
        query: Some("id=7&x=1".to_owned()),
        ..own.post(body.to_owned())
    };
    let target = signed("{target}.{body}", "");
    assert_eq!(
        content(&target, &asked("")),
        "7d47639fb1cb1c2980e786abb6bf79019c6a54840d0f78abe215fbe19548cd1c"
    );
    assert_eq!(content(&target, &asked("abc")), ABC);
    // An address that is not signed says nothing.
    assert_eq!(
        content(&body, &asked("")),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn parameters_written_otherwise_say_the_same() {
    let params = "[params]\nfrom = \"form\"\norder = \"key\"\nrender = \"k=v\"\njoin = \"&\"\n\
                  except = [\"sign\"]\n";
    let stand = signed("{params}", params);
    for body in ["a=1&b=2", "b=2&a=1&sign=x", "%61=%31&b=2&sign=y"] {
        assert_eq!(
            content(&stand, &stand.post(body)),
            "f24adf366f0c34a522634e16ddf7502a0a295522f7887f21a92b95d0860b536a",
            "{body}"
        );
    }
    // The key is no part of what is said: under two keys it is one event.
    let keyed = Stand::new(
        &format!(
            "[signature]\nalgorithm = \"md5\"\nweak = \"so it is\"\nvalue = \"{{form:sign}}\"\n\
             encoding = \"hex\"\nmessage = \"{{params}}&key={{key}}\"\n[key]\ncodec = \"utf8\"\n{params}"
        ),
        |example| example.keys = vec![(None, "a secret of 16 by".to_owned())],
    );
    assert_eq!(
        content(&keyed, &keyed.post("b=2&a=1&sign=x")),
        "246d4c483329828421d7cd513f47b64990502c39b5e861728010574de2079238"
    );
}

// ---- payments

const PAYMENT: &str = "[payment]\norder = [\"{json:/order}\", \"{json:/ref}\"]\n\
    transaction = \"{json:/tx}\"\namount = \"{json:/amount}\"\nunit = \"minor\"\n\
    currency = \"{json:/currency}\"\nstatus = \"{json:/state}\"\n\
    confirmations = \"{json:/confirmations}\"\n\
    map = { NEW = \"pending\", seen = \"confirming\", ok = \"paid\", no = \"failed\", back = \"refunded\", fight = \"disputed\" }\n";

fn read(text: &str, body: &str) -> Option<Payment> {
    let stand = Stand::with_token(text, |_| {});
    stand.event(&stand.post(body.to_owned())).1
}

#[test]
fn the_providers_words_are_mapped_and_no_others() {
    for (word, status) in [
        ("NEW", Some(Status::Pending)),
        ("seen", Some(Status::Confirming)),
        ("ok", Some(Status::Paid)),
        ("no", Some(Status::Failed)),
        ("back", Some(Status::Refunded)),
        ("fight", Some(Status::Disputed)),
        // Exactly as in the table.
        ("new", None),
        ("OK", None),
        ("ok ", None),
        ("paid", None),
    ] {
        let payment = read(PAYMENT, &format!(r#"{{"state":"{word}"}}"#)).unwrap();
        assert_eq!(payment.status, status, "{word}");
        assert_eq!(payment.status_text.as_deref(), Some(word));
    }
}

#[test]
fn amounts_stay_as_they_are_written() {
    for (written, shown) in [
        ("12.50", Some("12.50")),
        ("1250", Some("1250")),
        ("0", Some("0")),
        ("-5.00", Some("-5.00")),
        ("1E+2", Some("1E+2")),
        (
            "0.1000000000000000055511151231257827",
            Some("0.1000000000000000055511151231257827"),
        ),
        ("18446744073709551616000", Some("18446744073709551616000")),
        ("\"0012,50 \"", Some("0012,50 ")),
        ("\"1\\u0030\"", Some("10")),
        ("\"\"", None),
        ("null", None),
        ("{\"value\":1}", None),
        ("[1]", None),
    ] {
        let body = format!(r#"{{"order":"A","amount":{written}}}"#);
        let payment = read(PAYMENT, &body).unwrap();
        assert_eq!(payment.amount.as_deref(), shown, "{written}");
        // A unit of nothing is none.
        assert_eq!(payment.unit, shown.map(|_| "minor"), "{written}");
    }
}

#[test]
fn what_is_missing_is_left_out() {
    let full = read(
        PAYMENT,
        r#"{"order":"A-1","ref":"no","tx":7,"amount":1,"currency":"EUR","state":"ok","confirmations":3}"#,
    );
    let text = |text: &str| Some(text.to_owned());
    let wanted = Payment {
        order: text("A-1"),
        transaction: text("7"),
        amount: text("1"),
        unit: Some("minor"),
        currency: text("EUR"),
        status: Some(Status::Paid),
        status_text: text("ok"),
        confirmations: text("3"),
    };
    assert_eq!(full, Some(wanted));
    // The first that is there, and an empty one is not.
    for (body, order) in [
        (r#"{"order":"","ref":"B"}"#, "B"),
        (r#"{"order":{"x":1},"ref":"B"}"#, "B"),
        (r#"{"ref":"B"}"#, "B"),
    ] {
        assert_eq!(read(PAYMENT, body).unwrap().order.as_deref(), Some(order));
    }
    for body in [
        "{}",
        r#"{"currency":"EUR"}"#,
        r#"{"currency":"EUR","confirmations":1}"#,
        r#"{"state":""}"#,
        "[1,2]",
        "a=1",
        "",
    ] {
        assert_eq!(read(PAYMENT, body), None, "{body}");
    }
    assert_eq!(read("", r#"{"amount":1}"#), None);
}

#[test]
fn of_several_items_none_is_the_payment() {
    let split = PAYMENT.replace("{json:", "{item:")
        + "[split]\nitems = \"/items/*\"\nverify = \"delivery\"\n";
    let one = read(&split, r#"{"items":[{"order":"A","amount":5}]}"#).unwrap();
    assert_eq!(
        (one.order.as_deref(), one.amount.as_deref()),
        (Some("A"), Some("5"))
    );
    let two = r#"{"items":[{"order":"A","amount":5},{"order":"A","amount":5}]}"#;
    assert_eq!(read(&split, two), None);
    assert_eq!(read(&split, r#"{"items":[]}"#), None);
}
