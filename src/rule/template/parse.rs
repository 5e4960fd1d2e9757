//! Reads the text of a template. Faults carry the bytes they are about, so that `check` can put
//! the caret under them.

use std::ops::Range;

use crate::rule::template::{Piece, Pointer, Selector, Transform, Value};
use crate::rule::text::nearest;

/// Longer templates are refused: a rule that needs more is a mistake.
const LONGEST: usize = 4096;

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Bytes of the template's text.
    pub span: Range<usize>,
    pub message: String,
    pub hint: Option<String>,
}

impl TemplateError {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        TemplateError {
            span,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    if text.len() > LONGEST {
        let message = format!(
            "a template may have {LONGEST} bytes, this one has {}",
            text.len()
        );
        return Err(TemplateError::new(0..text.len(), message));
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        let at = text.len() - rest.len() + brace;
        let (before, from) = rest.split_at(brace);
        literal.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else if let Some(inside) = from.strip_prefix('{') {
            let closed = inside
                .split_once('}')
                .filter(|(inside, _)| !inside.contains('{'));
            let Some((inside, after)) = closed else {
                return Err(
                    TemplateError::new(at..text.len(), "this brace is never closed")
                        .hint("a brace that is meant as text is written twice: `{{`"),
                );
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into_bytes()));
            }
            pieces.push(Piece::Value(value(inside, at)?));
            rest = after;
        } else {
            return Err(TemplateError::new(at..at + 1, "this brace closes nothing")
                .hint("a brace that is meant as text is written twice: `}}`"));
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into_bytes()));
    }
    Ok(pieces)
}

/// What stands between the braces; `brace` is where the opening one stands.
fn value(inside: &str, brace: usize) -> Result<Value, TemplateError> {
    let mut parts = Vec::new();
    let mut at = brace + 1;
    for part in inside.split('|') {
        parts.push((part, at..at + part.len()));
        at += part.len() + 1;
    }
    let mut parts = parts.into_iter();
    let (first, span) = parts.next().unwrap_or(("", brace..brace + 1));
    let mut selector = selector(first, span)?;
    let mut transforms = Vec::new();
    for (part, span) in parts {
        let (name, argument) = split_name(part);
        if name == "without" {
            let Selector::Params { without } = &mut selector else {
                return Err(TemplateError::new(
                    span,
                    "`without` belongs to `params` alone",
                ));
            };
            let names = wanted(argument, name, span)?;
            without.extend(names.split(',').map(|name| name.trim().to_owned()));
            continue;
        }
        transforms.push(transform(name, argument, span)?);
    }
    Ok(Value {
        selector,
        transforms,
        span: brace..brace + inside.len() + 2,
    })
}

fn split_name(part: &str) -> (&str, Option<&str>) {
    match part.split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (part, None),
    }
}

fn wanted<'a>(
    argument: Option<&'a str>,
    name: &str,
    span: Range<usize>,
) -> Result<&'a str, TemplateError> {
    match argument {
        Some(argument) if !argument.is_empty() => Ok(argument),
        Some(_) | None => Err(TemplateError::new(
            span,
            format!("`{name}` needs something after a colon"),
        )),
    }
}

const SELECTORS: [&str; 15] = [
    "body",
    "method",
    "path",
    "target",
    "query",
    "query:",
    "url",
    "header:",
    "form:",
    "json:",
    "sig:",
    "config:",
    "secret:",
    "params",
    "params|without:",
];

fn selector(part: &str, span: Range<usize>) -> Result<Selector, TemplateError> {
    let (name, argument) = split_name(part);
    let named = |span: &Range<usize>| wanted(argument, name, span.clone()).map(str::to_owned);
    let found = match (name, argument) {
        ("query", Some(_)) => Selector::QueryParam(named(&span)?),
        ("header", _) => Selector::Header(header_name(&named(&span)?, &span)?),
        ("form", _) => Selector::Form(named(&span)?),
        ("json", _) => Selector::Json(pointer(&named(&span)?, &span)?),
        ("sig", _) => Selector::Sig(named(&span)?),
        ("config", _) => Selector::Config(named(&span)?),
        ("secret", _) => Selector::Secret(named(&span)?),
        ("body", None) => Selector::Body,
        ("method", None) => Selector::Method,
        ("path", None) => Selector::Path,
        ("target", None) => Selector::Target,
        ("query", None) => Selector::Query,
        ("url", None) => Selector::Url,
        ("params", None) => Selector::Params {
            without: Vec::new(),
        },
        ("body" | "method" | "path" | "target" | "url" | "params", Some(_)) => {
            return Err(TemplateError::new(
                span,
                format!("`{name}` takes nothing after a colon"),
            ));
        }
        _ => {
            let error = TemplateError::new(span, format!("there is no selector `{name}`"));
            return Err(
                match nearest(name, SELECTORS.iter().map(|s| s.trim_end_matches(':'))) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(format!("there are: {}", SELECTORS.join(" "))),
                },
            );
        }
    };
    Ok(found)
}

fn header_name(name: &str, span: &Range<usize>) -> Result<String, TemplateError> {
    match http::HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err(TemplateError::new(
            span.clone(),
            format!("`{name}` is no name of a header field"),
        )),
    }
}

fn pointer(text: &str, span: &Range<usize>) -> Result<Pointer, TemplateError> {
    let bad = |message: &str| Err(TemplateError::new(span.clone(), message.to_owned()));
    let Some(tokens) = text.strip_prefix('/') else {
        return bad("a JSON pointer begins with `/`, e.g. `json:/data/object/id`");
    };
    let mut pointer = Vec::new();
    for token in tokens.split('/') {
        if token.replace("~0", "").replace("~1", "").contains('~') {
            return bad("in a JSON pointer `~` is written `~0`, and `/` inside a name `~1`");
        }
        // The order matters (RFC 6901 §4): `~01` is `~1`, not `/`.
        pointer.push(token.replace("~1", "/").replace("~0", "~"));
    }
    Ok(Pointer(pointer))
}

const TRANSFORMS: [&str; 9] = [
    "hex",
    "base64",
    "sha256",
    "lower",
    "upper",
    "percent_decode",
    "default",
    "strip_prefix",
    "without",
];

fn transform(
    name: &str,
    argument: Option<&str>,
    span: Range<usize>,
) -> Result<Transform, TemplateError> {
    match (name, argument) {
        ("hex", None) => Ok(Transform::Hex),
        ("base64", None) => Ok(Transform::Base64),
        ("sha256", None) => Ok(Transform::Sha256),
        ("lower", None) => Ok(Transform::Lower),
        ("upper", None) => Ok(Transform::Upper),
        ("percent_decode", None) => Ok(Transform::PercentDecode),
        // An empty default is meant: providers sign nothing in the place of what is missing.
        ("default", Some(text)) => Ok(Transform::Default(text.as_bytes().to_vec())),
        ("default", None) => Err(TemplateError::new(span, "`default` needs a colon")
            .hint("`default:` stands for the empty text")),
        ("strip_prefix", _) => {
            let prefix = wanted(argument, name, span)?;
            Ok(Transform::StripPrefix(prefix.as_bytes().to_vec()))
        }
        ("hex" | "base64" | "sha256" | "lower" | "upper" | "percent_decode", Some(_)) => Err(
            TemplateError::new(span, format!("`{name}` takes nothing after a colon")),
        ),
        _ => {
            let error = TemplateError::new(span, format!("there is no transform `{name}`"));
            Err(match nearest(name, TRANSFORMS) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("there are: {}", TRANSFORMS.join(" "))),
            })
        }
    }
}

#[cfg(test)]
mod tests {
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
            [Transform::Sha256, Transform::Hex]
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
}
