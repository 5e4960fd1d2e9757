//! Templates: what can be written, and where a mistake is.

use proptest::prelude::*;

use super::*;
use crate::rule::Template;

fn fault(text: &str) -> (String, String) {
    let error = Template::parse(text).unwrap_err();
    (text[error.span].to_owned(), error.message)
}

#[test]
fn literals_and_values_in_their_order() {
    let template = Template::parse("v0:{header:X-Time}:{body|sha256|hex}").unwrap();
    assert_eq!(template.pieces().len(), 4);
    let selectors: Vec<String> = template.values().map(|v| v.selector.to_string()).collect();
    assert_eq!(selectors, ["header:x-time", "body"]);
    assert_eq!(
        template.values().last().unwrap().transforms,
        [Transform::Digest(Digest::Sha256), Transform::Hex]
    );
}

#[test]
fn doubled_braces_are_text() {
    let template = Template::parse("{{a}}{body}}}").unwrap();
    assert_eq!(
        template.pieces().first(),
        Some(&Piece::Literal(b"{a}".to_vec()))
    );
    assert_eq!(
        template.pieces().last(),
        Some(&Piece::Literal(b"}".to_vec()))
    );
}

#[test]
fn pointers_are_unescaped_in_the_right_order() {
    let template = Template::parse("{json:/a~1b/m~0n/~01/0}").unwrap();
    let Selector::Json(pointer) = &template.as_single().unwrap().selector else {
        panic!()
    };
    assert_eq!(pointer.0, ["a/b", "m~n", "~1", "0"]);
    assert_eq!(pointer.to_string(), "/a~1b/m~0n/~01/0");
}

#[test]
fn faults_point_at_what_is_wrong() {
    assert_eq!(fault("a{boddy}b").0, "boddy");
    assert_eq!(fault("{body|hexx}").0, "hexx");
    assert_eq!(fault("{body|default}").0, "default");
    assert_eq!(fault("{header:a b}").0, "header:a b");
    assert_eq!(fault("{json:id}").0, "json:id");
    assert_eq!(fault("a{body").0, "{body");
    assert_eq!(fault("{a{body}").0, "{a{body}");
    assert_eq!(fault("a}b").0, "}");
    assert_eq!(fault("{body|without:a}").0, "without:a");
    assert_eq!(fault("{form:}").0, "form:");
    assert_eq!(fault("{body:x}").0, "body:x");
    assert_eq!(fault("{}").0, "");
}

#[test]
fn a_misspelt_name_gets_a_hint() {
    let error = Template::parse("{haeder:x}").unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean `header`?"));
    let error = Template::parse("{body|sha265}").unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean `sha256`?"));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[{}|:/a-z~é ]{0,60}|\\PC{0,60}") {
        match Template::parse(&text) {
            Ok(template) => prop_assert_eq!(template.as_str(), text),
            Err(error) => {
                prop_assert!(error.span.end <= text.len());
                prop_assert!(text.get(error.span).is_some());
            }
        }
    }
}
