//! `[params]`: the signed text of a set, written out by hand for each key of the table.

use super::stand::{Stand, codes};
use crate::message::RawRequest;
use crate::verify::Rejection;

/// A set with these keys; what is left out is as plain as it can be.
fn table(keys: &str) -> String {
    let mut text = String::from("[params]\n");
    for (key, usual) in [
        ("from", "\"form\""),
        ("order", "\"key\""),
        ("render", "\"k=v\""),
        ("join", "\"&\""),
    ] {
        if !keys
            .lines()
            .any(|line| line.starts_with(&format!("{key} =")))
        {
            text += &format!("{key} = {usual}\n");
        }
    }
    let parts = "[parts]\ndoc = { from = \"{json:/doc}\", as = \"json\" }\n\
                 xml = { from = \"{json:/doc}\", as = \"xml\" }\n\
                 form = { from = \"{json:/doc}\", as = \"form\" }\n\
                 text = { from = \"{json:/doc}\", as = \"text\" }\n";
    format!(
        "[signature]\nalgorithm = \"hmac-sha256\"\nvalue = \"{{header:x-sig}}\"\n\
         encoding = \"hex\"\nmessage = \"{{params}}.{{body}}\"\n[key]\ncodec = \"utf8\"\n\
         {text}{keys}\n{parts}"
    )
}

fn stand(keys: &str) -> Stand {
    Stand::new(&table(keys), |_| {})
}

fn canonical(keys: &str, body: &[u8]) -> Result<Option<Vec<u8>>, Rejection> {
    let stand = stand(keys);
    let request = RawRequest {
        query: Some("q=2&p=1".to_owned()),
        ..stand.post(body.to_vec())
    };
    stand.find("{params}", &request, None)
}

#[track_caller]
fn gives(keys: &str, body: &str, wanted: &str) {
    let found = canonical(keys, body.as_bytes()).unwrap().unwrap();
    assert_eq!(String::from_utf8(found).unwrap(), wanted, "{keys} {body}");
}

#[track_caller]
fn fails(keys: &str, body: &str, code: &str) {
    let reason = canonical(keys, body.as_bytes()).unwrap_err();
    assert_eq!(reason.code(), code, "{keys} {body}: {reason}");
}

const FORM: &str = "b=2&a=1&c=&B=3";

#[test]
fn each_order_and_each_rendering() {
    for (keys, wanted) in [
        // By bytes: capitals come first.
        ("order = \"key\"", "B=3&a=1&b=2&c="),
        ("order = \"value\"", "c=&a=1&b=2&B=3"),
        ("order = \"arrival\"", "b=2&a=1&c=&B=3"),
        (
            "order = \"listed\"\nonly = [\"c\", \"b\", \"a\", \"z\"]",
            "c=&b=2&a=1",
        ),
        ("render = \"kv\"\njoin = \"\"", "B3a1b2c"),
        ("render = \"k:v;\"\njoin = \"\"", "B:3;a:1;b:2;c:;"),
        ("render = \"k=\\\"v\\\"\"", "B=\"3\"&a=\"1\"&b=\"2\"&c=\"\""),
        ("render = \"v\"\njoin = \"|\"", "3|1|2|"),
        ("order = \"value\"\nrender = \"v\"\njoin = \"\"", "123"),
        ("join = \", \"", "B=3, a=1, b=2, c="),
    ] {
        gives(keys, FORM, wanted);
    }
    gives("", "", "");
    // Stable: what is equal stays as it came.
    gives("order = \"value\"", "z=1&y=1&x=0", "x=0&z=1&y=1");
    // Bytes beyond ASCII are only bytes.
    gives("", "%C3%A9=1&z=2&~=3", "z=2&~=3&é=1");
}

#[test]
fn who_takes_part() {
    for (keys, wanted) in [
        ("only = [\"a\", \"c\"]", "a=1&c="),
        ("only_prefix = [\"b\"]", "b=2&bb=4"),
        ("only = [\"a\"]\nonly_prefix = [\"bb\"]", "a=1&bb=4"),
        ("except = [\"a\", \"B\"]", "b=2&bb=4&c="),
        ("except_prefix = [\"b\"]", "B=3&a=1&c="),
        // Who is named on both sides does not.
        ("only = [\"a\", \"b\"]\nexcept = [\"a\"]", "b=2"),
        ("drop_empty = true", "B=3&a=1&b=2&bb=4"),
        ("drop_empty = false", "B=3&a=1&b=2&bb=4&c="),
        // A name is not its beginning.
        ("except = [\"b\"]", "B=3&a=1&bb=4&c="),
    ] {
        gives(keys, &format!("{FORM}&bb=4"), wanted);
    }
    // A blank is not empty, and neither is a zero.
    gives("drop_empty = true", "a=+&b=0&c", "a= &b=0");
    let stand = stand("");
    let found = |template: &str| stand.find(template, &stand.post(FORM), None).unwrap();
    assert_eq!(found("{params|without:a,B}"), Some(b"b=2&c=".to_vec()));
    assert_eq!(found("{params|without:zz}"), found("{params}"));
}

#[test]
fn values_are_written_as_the_table_says() {
    let body = "a=x+y%2F%7E*%C3%A9&b=1.50";
    for (keys, wanted) in [
        ("", "a=x y/~*é&b=1.50"),
        ("encode = \"none\"", "a=x y/~*é&b=1.50"),
        ("encode = \"form\"", "a=x+y%2F%7E*%C3%A9&b=1.50"),
        ("encode = \"percent\"", "a=x%20y%2F~%2A%C3%A9&b=1.50"),
        ("number = \"float_trim\"", "a=x y/~*é&b=1.5"),
        ("number = \"written\"", "a=x y/~*é&b=1.50"),
    ] {
        gives(keys, body, wanted);
    }
    // Names are not encoded, and the charset is the provider's own: GBK here.
    let gbk = canonical("", b"n%20m=%D6%D0+1&a=\xd6\xd0")
        .unwrap()
        .unwrap();
    assert_eq!(gbk, b"a=\xd6\xd0&n m=\xd6\xd0 1");
    let again = canonical("encode = \"percent\"", b"a=%D6%D0").unwrap();
    assert_eq!(again, Some(b"a=%D6%D0".to_vec()));
    fails("", "a=%D", "body_malformed");
}

#[test]
fn a_name_counts_once() {
    fails("", "a=1&b=2&a=1", "field_repeated");
    fails("", "a=1&%61=2", "field_repeated");
    // Also one that takes no part: the application may read it.
    fails("except = [\"a\"]", "a=1&b=2&a=3", "field_repeated");
    let sorted = "repeated = \"sorted\"";
    gives(sorted, "b=1&a=2&a=1&a=2", "a=1&a=2&b=1");
    gives(sorted, "a=10&a=9&a=", "a=&a=10&a=9");
    // Where nothing is repeated, the order of arrival stays.
    gives(
        &format!("{sorted}\norder = \"arrival\""),
        "b=1&a=2",
        "b=1&a=2",
    );
}

#[test]
fn every_place_that_parameters_come_from() {
    let json = r#"{"b":"x\u0026y","a":1.50,"n":null,"t":true,"o":{"z": 1},"l":[1, 2]}"#;
    let from = |name: &str| format!("from = \"{name}\"");
    gives(&from("query"), FORM, "p=1&q=2");
    gives(
        &from("json"),
        json,
        r#"a=1.50&b=x&y&l=[1, 2]&n=&o={"z": 1}&t=true"#,
    );
    let nested = |how: &str| format!("from = \"json\"\nnested = \"{how}\"");
    gives(&nested("skip"), json, "a=1.50&b=x&y&n=&t=true");
    fails(&nested("reject"), json, "field_malformed");
    let empty = format!("{}\ndrop_empty = true", nested("skip"));
    gives(&empty, json, "a=1.50&b=x&y&t=true");
    fails(&from("json"), "[1]", "field_malformed");
    fails(&from("json"), r#"{"a":1,"a":1}"#, "body_malformed");
    fails(&from("json"), FORM, "body_malformed");
    gives(
        "from = \"json_leaves\"\norder = \"arrival\"\nrender = \"v\"\njoin = \",\"",
        r#"{"a":{"c":[3,"x"]},"b":1.50,"a2":null}"#,
        "3,x,1.50,",
    );
    let xml = "<xml><b>2</b><a><![CDATA[x&y]]></a><c/></xml>";
    gives(&from("xml"), xml, "a=x&y&b=2&c=");
    fails(
        &from("xml"),
        "<xml><a><b>1</b></a></xml>",
        "field_malformed",
    );
    fails(
        &from("xml"),
        "<xml><a>1</a><a>1</a></xml>",
        "field_repeated",
    );
    let within = |text: &str| serde_json::json!({ "doc": text }).to_string();
    gives(
        &from("part:doc"),
        &within(json),
        r#"a=1.50&b=x&y&l=[1, 2]&n=&o={"z": 1}&t=true"#,
    );
    gives(&from("part:xml"), &within(xml), "a=x&y&b=2&c=");
    gives(&from("part:form"), &within("b=2&a=x+y"), "a=x y&b=2");
    fails(&from("part:text"), &within("b=2"), "field_malformed");
    fails(&from("part:doc"), "{}", "field_missing");
}

#[test]
fn the_table_itself_is_checked() {
    for (keys, code) in [
        ("from = \"body\"", "bad_value"),
        ("order = \"sorted\"", "bad_value"),
        ("render = \"k=\"", "bad_value"),
        ("encode = \"url\"", "bad_value"),
        ("repeated = \"first\"", "bad_value"),
        ("order = \"listed\"", "bad_value"),
        ("order = \"listed\"\nonly_prefix = [\"a\"]", "bad_value"),
        // A value could take the place of one that is missing.
        (
            "order = \"listed\"\nonly = [\"a\", \"b\"]\nrender = \"v\"",
            "bad_value",
        ),
        ("sort = \"key\"", "unknown_key"),
    ] {
        assert!(
            codes(&table(keys)).contains(&code),
            "{keys}: {:?}",
            codes(&table(keys))
        );
    }
    assert_eq!(codes(&table("order = \"listed\"\nonly = [\"a\"]")), [""; 0]);
}
