//! L10: what counts and stands there twice is rejected, because the application may read the other
//! one; what nobody looks at may stand there as often as it likes.

use super::stand::{Stand, TOKEN_KEY};
use crate::message::RawRequest;

/// A stand whose event is named by what a template finds.
fn named(template: &str, more: &str) -> Stand {
    Stand::with_token(&format!("[event]\nid = \"{template}\"\n{more}"), |_| {})
}

fn asked(
    stand: &Stand,
    query: &str,
    headers: &[(&'static str, &'static str)],
    body: &str,
) -> RawRequest {
    let mut request = stand.post(body.to_owned());
    request.query = Some(query.to_owned());
    for (name, value) in headers {
        request.headers.push(*name, *value);
    }
    request
}

#[test]
fn what_counts_stands_there_once() {
    let twice = [("x-id", "1"), ("x-id", "1")];
    let parts = "[parts]\nd = { from = \"{json:/d}\", as = \"form\" }\n";
    for (template, more, query, headers, body, code) in [
        ("{header:x-id}", "", "", &twice[..], "", "header_repeated"),
        ("{header:X-ID}", "", "", &twice[..1], "", "accepted"),
        ("{query:id}", "", "id=1&id=1", &[], "", "field_repeated"),
        ("{query:id}", "", "id=1&%69d=2", &[], "", "field_repeated"),
        ("{query:id}", "", "id=1&ID=2&x=1&x=1", &[], "", "accepted"),
        ("{form:id}", "", "", &[], "id=1&id=", "field_repeated"),
        (
            "{form:id}",
            "",
            "id=1&id=2",
            &[],
            "id=1&x=1&x=2",
            "accepted",
        ),
        // A JSON text with a repeated name is none, wherever it stands and however it is spelt.
        (
            "{json:/id}",
            "",
            "",
            &[],
            r#"{"id":1,"id":1}"#,
            "body_malformed",
        ),
        (
            "{json:/id}",
            "",
            "",
            &[],
            r#"{"id":1,"\u0069d":1}"#,
            "body_malformed",
        ),
        (
            "{json:/id}",
            "",
            "",
            &[],
            r#"{"id":1,"x":[{"y":1,"y":2}]}"#,
            "body_malformed",
        ),
        (
            "{json:/id}",
            "",
            "",
            &[],
            r#"{"id":1,"x":{"id":2}}"#,
            "accepted",
        ),
        (
            "{xml:id}",
            "",
            "",
            &[],
            "<x><id>1</id><id>1</id></x>",
            "field_repeated",
        ),
        (
            "{xml:a/id}",
            "",
            "",
            &[],
            "<x><a><id>1</id></a><a/></x>",
            "field_repeated",
        ),
        (
            "{xml:id}",
            "",
            "",
            &[],
            "<x><id>1</id><a/><a/></x>",
            "accepted",
        ),
        (
            "{part:d/id}",
            parts,
            "",
            &[],
            r#"{"d":"id=1&id=2"}"#,
            "field_repeated",
        ),
        (
            "{part:d/id}",
            parts,
            "",
            &[],
            r#"{"d":"id=1&x=2"}"#,
            "accepted",
        ),
    ] {
        let stand = named(template, more);
        let found = stand.said(&asked(&stand, query, headers, body));
        assert_eq!(found, code, "{template} {query} {headers:?} {body}");
    }
}

#[test]
fn a_signature_stands_there_once_where_its_place_is_one() {
    let stand = Stand::with_token("", |_| {});
    let request = asked(&stand, "", &[("x-token", TOKEN_KEY)], "");
    assert_eq!(stand.said(&request), "header_repeated");
    // An item that is looked at and is no signature.
    let text = "[signature]\nalgorithm = \"hmac-sha256\"\nencoding = \"hex\"\n\
        header = { name = \"x-sig\", items = \",\", pair = \"=\" }\nvalue = \"{sig:v1}\"\n\
        message = \"{sig:t}.{body}\"\n[key]\ncodec = \"utf8\"\n";
    // printf '1.{}' | openssl dgst -sha256 -hmac 'a secret of 16 by'
    const MAC: &str = "41fc6a7fb4a9e400489b0c928a0e508524d2a04bd96305e02f270b99828fde0d";
    let zeros = "0".repeat(64);
    for (value, code) in [
        (format!("t=1,v1={MAC}"), "accepted"),
        (format!("t=1,v1={zeros},v1={MAC},v0=x,v0=y"), "accepted"),
        (format!("t=1,t=1,v1={MAC}"), "field_repeated"),
        (format!("t=2,v1={MAC},t=1"), "field_repeated"),
        (format!("v1={MAC}"), "field_missing"),
        ("t=1".to_owned(), "signature_missing"),
    ] {
        let stand = Stand::new(text, |example| {
            example.keys = vec![(None, "a secret of 16 by".to_owned())];
            example.headers = vec![("x-sig".to_owned(), value.clone())];
        });
        assert_eq!(stand.said(&stand.post("{}")), code, "{value}");
    }
}
