//! JSON: values as they are written, and what is refused.

use proptest::prelude::*;

use super::*;

fn get<'a>(text: &'a str, pointer: &str) -> Option<Node<'a>> {
    let tokens = pointer.split('/').skip(1).map(str::to_owned).collect();
    Json::parse(text.as_bytes()).unwrap().get(&Pointer(tokens))
}

#[test]
fn values_are_found_as_they_are_written() {
    let text =
        r#" {"a": {"b": [1, 1.50, {"c": "x\u00e9\ud83d\ude00\n"}]}, "n": null, "t": true, "": 7} "#;
    assert_eq!(get(text, "/a/b/1"), Some(Node::Literal("1.50")));
    assert_eq!(get(text, "/a/b/2/c"), Some(Node::Text("xé😀\n".into())));
    assert_eq!(get(text, "/n"), Some(Node::Null));
    assert_eq!(get(text, "/t"), Some(Node::Literal("true")));
    assert_eq!(get(text, "/"), Some(Node::Literal("7")));
    assert_eq!(
        get(text, "/a/b/2"),
        Some(Node::Composite(r#"{"c": "x\u00e9\ud83d\ude00\n"}"#))
    );
    for nothing in [
        "/a/b/3", "/a/b/01", "/a/b/-", "/a/b/x", "/a/b/", "/b", "/t/x", "/a/b/0/c",
    ] {
        assert_eq!(get(text, nothing), None, "{nothing}");
    }
}

#[test]
fn repeated_names_are_refused_at_every_level_and_in_every_spelling() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"x":{"a":1,"b":2,"a":3}}"#,
        r#"[{"a":1,"\u0061":2}]"#,
        r#"{"a":{"b":1},"b":2,"a":3}"#,
    ] {
        let fault = Json::parse(text.as_bytes()).unwrap_err();
        assert_eq!(fault.what, "a name is repeated in the object", "{text}");
    }
    // The same name in different objects is no repetition.
    assert!(Json::parse(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#).is_ok());
}

#[test]
fn what_is_not_quite_json_is_refused() {
    let deep = "[".repeat(65) + &"]".repeat(65);
    let bad = [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "-",
        "NaN",
        "Infinity",
        "tru",
        "nulll",
        "\"a",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u+123\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "{} {}",
        "{}x",
        "\u{feff}{}",
        "[1 2]",
        "{\"a\" 1}",
        "'a'",
        "/**/1",
        &deep,
    ];
    for text in bad {
        assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Json::parse(b"\"\xff\"").is_err());
    let deepest = "[".repeat(64) + &"]".repeat(64);
    for text in [
        "0",
        "-0.0e-1",
        "[]",
        "{}",
        "\"\"",
        "\"\\ud83d\\ude00\"",
        &deepest,
    ] {
        assert!(Json::parse(text.as_bytes()).is_ok(), "{text}");
    }
}

#[test]
fn a_hostile_body_takes_linear_time() {
    let names: Vec<String> = (0..200_000).map(|n| format!("\"k{n}\":0")).collect();
    let text = format!("{{{}}}", names.join(","));
    assert!(Json::parse(text.as_bytes()).is_ok());
}

#[test]
fn eight_bytes_at_once_are_as_one_after_the_other() {
    let one = |byte: u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    for byte in 0..=255u8 {
        for place in 0..8 {
            for other in [b'a', 0x7f, 0x80, 0xff, b'!', b'#', b'[', b']', b' '] {
                let mut word = [other; 8];
                word[place] = byte;
                let found = special(u64::from_le_bytes(word));
                let first = word.iter().position(|b| one(*b));
                let lowest = (found != 0).then(|| (found.trailing_zeros() / 8) as usize);
                assert_eq!(lowest, first, "{word:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn it_agrees_with_serde_json(text in r#"[\[\]{}",:0-9a-c\\ue.\- ]{0,40}"#) {
        let ours = Json::parse(text.as_bytes());
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        match ours {
            Ok(_) => prop_assert!(theirs.is_ok() || theirs.unwrap_err().to_string().contains("out of range")),
            // serde_json lets repeated names pass.
            Err(fault) => prop_assert!(theirs.is_err() || fault.what.contains("repeated"), "{:?}", fault),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), token in "[a-z0-9/~]{0,4}") {
        if let Ok(json) = Json::parse(&bytes) {
            let _ = json.get(&Pointer(vec![token]));
        }
    }

    #[test]
    fn strings_come_back_as_they_were(text in "\\PC{0,20}", control in 0u8..32) {
        let value = format!("{text}{}", control as char);
        let written = serde_json::to_string(&serde_json::json!({ "k": value })).unwrap();
        prop_assert_eq!(get(&written, "/k"), Some(Node::Text(value.into())));
    }
}
