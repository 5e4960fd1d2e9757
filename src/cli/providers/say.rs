//! Templates in words: `{sig:t}.{body}` is the timestamp, a dot, and the body.

use crate::cli::providers::page::listed;
use crate::rule::Template;
use crate::rule::provider::Provider;
use crate::rule::scheme::{
    Condition, Digest, Encoding, Nested, Params, ParamsEncode, ParamsFrom, ParamsOrder, Scheme,
    Test,
};
use crate::rule::template::{Answered, Item, Piece, Selector, Style, Transform, Value};

/// More pieces than these are shown as they are written.
const MOST_PIECES: usize = 8;

/// The words for one provider; where it matters, for one of its schemes.
#[derive(Clone, Copy)]
pub struct Say<'a> {
    pub provider: &'a Provider,
    pub scheme: Option<&'a Scheme>,
}

impl<'a> Say<'a> {
    pub fn of(provider: &'a Provider) -> Say<'a> {
        Say {
            provider,
            scheme: None,
        }
    }

    pub fn under(self, scheme: &'a Scheme) -> Say<'a> {
        Say {
            scheme: Some(scheme),
            ..self
        }
    }

    /// What is signed. The timestamp and the event's id are called so.
    pub fn message(self, template: &Template) -> String {
        let freshness = self.provider.freshness.as_ref().map(|f| &f.timestamp);
        let id = match self.provider.event.ids.as_slice() {
            [id] => Some(id),
            _ => None,
        };
        let called = |value: &Value| {
            let is = |template: Option<&Template>| {
                template
                    .and_then(Template::as_single)
                    .is_some_and(|known| known.selector == value.selector)
                    && value.transforms.is_empty()
            };
            match (is(freshness), is(id)) {
                (true, _) => Some("the timestamp".to_owned()),
                (false, true) => Some("the event id".to_owned()),
                (false, false) => None,
            }
        };
        self.pieces(template, &called)
    }

    pub fn template(self, template: &Template) -> String {
        self.pieces(template, &|_| None)
    }

    fn pieces(self, template: &Template, called: &dyn Fn(&Value) -> Option<String>) -> String {
        if template.pieces().is_empty() {
            return "nothing".to_owned();
        }
        if template.pieces().len() > MOST_PIECES {
            return format!("`{}`", escaped(template.as_str().as_bytes()));
        }
        let one = |piece: &Piece| match piece {
            Piece::Literal(bytes) => literal(bytes),
            Piece::Value(value) => called(value).unwrap_or_else(|| self.value(value)),
            Piece::Optional(inner) => {
                let inner: Vec<String> = inner
                    .iter()
                    .map(|piece| match piece {
                        Piece::Literal(bytes) => literal(bytes),
                        Piece::Value(value) => called(value).unwrap_or_else(|| self.value(value)),
                        Piece::Optional(_) => String::new(),
                    })
                    .collect();
                format!("({}, if it is there)", listed(&inner, "and"))
            }
        };
        let parts: Vec<String> = template.pieces().iter().map(one).collect();
        listed(&parts, "and")
    }

    pub fn value(self, value: &Value) -> String {
        let start = self.selector(&value.selector);
        value
            .transforms
            .iter()
            .fold(start, |text, t| transformed(t, &text))
    }

    /// Several templates of which the first that is there counts.
    pub fn first_of(self, templates: &[Template]) -> String {
        let parts: Vec<String> = templates.iter().map(|t| self.template(t)).collect();
        parts.join(", or else ")
    }

    pub fn condition(self, condition: &Condition) -> String {
        let is = self.template(&condition.is);
        match &condition.test {
            Test::Present(true) => format!("{is} is there"),
            Test::Present(false) => format!("{is} is missing or empty"),
            Test::StartsWith(text) => format!("{is} begins with `{}`", escaped(text.as_bytes())),
            Test::Lacks(text) => format!("{is} has no {} in it", literal(text.as_bytes())),
            Test::Equals(texts) => {
                let texts: Vec<String> = texts.iter().map(|t| self.template(t)).collect();
                format!("{is} is {}", listed(&texts, "or"))
            }
        }
    }

    pub fn conditions(self, conditions: &[Condition]) -> String {
        let parts: Vec<String> = conditions.iter().map(|c| self.condition(c)).collect();
        listed(&parts, "and")
    }

    fn selector(self, selector: &Selector) -> String {
        match selector {
            Selector::Body => "the body".to_owned(),
            Selector::Method => "the method".to_owned(),
            Selector::Path => "the path".to_owned(),
            Selector::PathSegment(n) => format!("segment {n} of the path"),
            Selector::Target => "the path with its query".to_owned(),
            Selector::Query => "the query".to_owned(),
            Selector::QueryParam(name) => format!("`{name}` of the query"),
            Selector::Url => "the source's `url`".to_owned(),
            Selector::Header(name) => format!("the header {}", title(name)),
            Selector::Headers(name) => format!("every header {}", title(name)),
            Selector::HeaderNumbered(base) => {
                let base = title(base);
                format!("the headers {base}-1, {base}-2 and so on")
            }
            Selector::BasicUser => "the user of HTTP Basic".to_owned(),
            Selector::BasicPassword => "the password of HTTP Basic".to_owned(),
            Selector::Form(name) => format!("`{name}` of the form"),
            Selector::Json(pointer) => format!("`{pointer}` of the body"),
            Selector::JsonRaw(pointer) => format!("`{pointer}` of the body as it is written"),
            Selector::Xml(names) => format!("`{}` of the XML", names.join("/")),
            Selector::Sig(item) => self.item(item),
            Selector::Part { name, within } if within.is_empty() => {
                format!("the document `{name}`")
            }
            Selector::Part { name, within } => {
                format!("`{}` of the document `{name}`", within.join("/"))
            }
            Selector::Plain(None) => "what was decrypted".to_owned(),
            Selector::Plain(Some(pointer)) => format!("`{pointer}` of what was decrypted"),
            Selector::Item(pointer) => format!("`{pointer}` of the item"),
            Selector::Config(name) => format!("config `{name}`"),
            Selector::Secret(name) => format!("the secret `{name}`"),
            Selector::Key => "the key".to_owned(),
            Selector::KeyId => "the key's id".to_owned(),
            Selector::Params { without } => {
                match self.scheme.and_then(|scheme| scheme.params.as_ref()) {
                    Some(params) => parameters(params, without),
                    None => "the sorted parameters".to_owned(),
                }
            }
            Selector::Answer(Answered::Whole) => "the answer".to_owned(),
            Selector::Answer(Answered::Json(pointer)) => format!("`{pointer}` of the answer"),
            Selector::Answer(Answered::Field(name)) => format!("`{name}` of the answer"),
            Selector::AnswerStatus => "the status of the answer".to_owned(),
            Selector::Now(Style::Unix) => "the time in seconds".to_owned(),
            Selector::Now(Style::UnixMillis) => "the time in milliseconds".to_owned(),
            Selector::Now(Style::Rfc3339) => "the time".to_owned(),
            Selector::Nonce => "a nonce".to_owned(),
            Selector::Signature => "the signature".to_owned(),
        }
    }

    fn item(self, item: &Item) -> String {
        let called = match item {
            Item::Named(name) if name.bytes().all(|b| b.is_ascii_digit()) => {
                format!("item {name}")
            }
            Item::Named(name) => format!("`{name}`"),
            Item::AsConfigured(name) => format!("the item called as config `{name}` says"),
        };
        let grammar = self
            .scheme
            .and_then(|scheme| scheme.header.as_ref())
            .or_else(|| self.provider.grammars().next());
        match grammar {
            Some(grammar) => format!("{called} of {}", self.value(&grammar.from)),
            None => format!("{called} of the signature's parameters"),
        }
    }
}

fn transformed(transform: &Transform, text: &str) -> String {
    let shown = |bytes: &[u8]| format!("`{}`", escaped(bytes));
    match transform {
        Transform::Hex => format!("{text} in hexadecimal"),
        Transform::HexUpper => format!("{text} in upper-case hexadecimal"),
        Transform::Base64 | Transform::Base64Url => format!("{text} in base64"),
        Transform::FromHex => format!("{text}, read as hexadecimal"),
        Transform::FromBase64 | Transform::FromBase64Url => format!("{text}, read as base64"),
        Transform::PercentDecode | Transform::FormDecode => format!("{text}, decoded"),
        Transform::PercentEncode => format!("{text}, percent-encoded"),
        Transform::FormEncode => format!("{text}, form-encoded"),
        Transform::Lower => format!("{text} in lower case"),
        Transform::Upper => format!("{text} in upper case"),
        Transform::Trim => format!("{text} without white space around it"),
        Transform::Reverse => format!("{text} in reverse order"),
        Transform::Default(other) if other.is_empty() => {
            format!("{text} (empty where it is missing)")
        }
        Transform::Default(other) => format!("{text} ({} where it is missing)", shown(other)),
        Transform::StripPrefix(part) => format!("{text} behind {}", shown(part)),
        Transform::StripSuffix(part) => format!("{text} up to {}", shown(part)),
        Transform::Before(part) => format!("{text} before the first {}", shown(part)),
        Transform::After(part) => format!("{text} behind the first {}", shown(part)),
        Transform::Unquote => format!("{text} without its quotes"),
        Transform::JsonText => format!("{text}, escaped as in JSON"),
        Transform::Digest(kind) => format!("the {} of {text}", digest(*kind)),
        Transform::Crc32 => format!("the CRC-32 of {text}"),
        Transform::Len32Le => format!("{text} behind its length in four bytes"),
        Transform::Hmac(kind) => format!("the HMAC-{} of {text}", digest(*kind)),
        Transform::JsonWithout(member) => format!("{text} without its member `{member}`"),
        Transform::JsonSorted => format!("{text}, as JSON with sorted names and no blanks"),
        Transform::JsonEscapeSlashes => format!("{text} with slashes escaped"),
        Transform::First(count) => format!("the first {count} bytes of {text}"),
        Transform::Skip(count) => format!("{text} without its first {count} bytes"),
        Transform::FloatTrim => format!("{text} without zeros at the end of its fraction"),
    }
}

/// `{params}` in words.
fn parameters(params: &Params, without: &[String]) -> String {
    let names = |names: &[String]| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        listed(&names, "and")
    };
    let mut text = match &params.from {
        ParamsFrom::Form => "the fields of the form".to_owned(),
        ParamsFrom::Query => "the parameters of the query".to_owned(),
        ParamsFrom::Json => "the members of the JSON".to_owned(),
        ParamsFrom::JsonLeaves => "every value of the JSON at any depth".to_owned(),
        ParamsFrom::Xml => "the elements of the XML".to_owned(),
        ParamsFrom::Part(name) => format!("the fields of the document `{name}`"),
    };
    if !params.only.is_empty() {
        text.push_str(&format!(" {}", names(&params.only)));
    }
    if !params.only_prefix.is_empty() {
        text.push_str(&format!(" that begin with {}", names(&params.only_prefix)));
    }
    let except: Vec<String> = params.except.iter().chain(without).cloned().collect();
    let mut left_out = match except.as_slice() {
        [] => Vec::new(),
        except => vec![names(except)],
    };
    if !params.except_prefix.is_empty() {
        left_out.push(format!(
            "those that begin with {}",
            names(&params.except_prefix)
        ));
    }
    if params.drop_empty {
        left_out.push("empty ones".to_owned());
    }
    if !left_out.is_empty() {
        text.push_str(&format!(" without {}", listed(&left_out, "and")));
    }
    text.push_str(match params.order {
        ParamsOrder::Key => ", sorted by name",
        ParamsOrder::Value => ", sorted by value",
        ParamsOrder::Arrival => ", as they came",
        ParamsOrder::Listed => ", in this order",
    });
    let name = if params.render.name { "name" } else { "" };
    let (between, after) = (&params.render.between, &params.render.after);
    let one = escaped(format!("{name}{between}value{after}").as_bytes());
    text.push_str(&format!(", each as `{one}`"));
    match params.join.as_str() {
        "" => text.push_str(" with nothing between them"),
        join => text.push_str(&format!(" with {} between them", literal(join.as_bytes()))),
    }
    match params.encode {
        ParamsEncode::None => {}
        ParamsEncode::Form => text.push_str(", values form-encoded"),
        ParamsEncode::Percent => text.push_str(", values percent-encoded"),
    }
    if params.float_trim {
        text.push_str(", numbers without zeros at the end of their fraction");
    }
    match params.nested {
        Nested::Written | Nested::Reject => {}
        Nested::Skip => text.push_str(", objects and arrays left out"),
    }
    format!("({text})")
}

/// A text between values.
pub fn literal(bytes: &[u8]) -> String {
    match bytes {
        b"." => "a dot".to_owned(),
        b":" => "a colon".to_owned(),
        b"," => "a comma".to_owned(),
        b";" => "a semicolon".to_owned(),
        b"|" => "a bar".to_owned(),
        b"&" => "an ampersand".to_owned(),
        b"-" => "a hyphen".to_owned(),
        b"+" => "a plus sign".to_owned(),
        b"_" => "an underscore".to_owned(),
        b"/" => "a slash".to_owned(),
        b" " => "a blank".to_owned(),
        b"\n" => "a line feed".to_owned(),
        other => format!("`{}`", escaped(other)),
    }
}

/// On one line, and readable.
pub fn escaped(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| match c {
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            c if c.is_control() => c.escape_default().to_string(),
            c => c.to_string(),
        })
        .collect()
}

/// `x-hub-signature` as people write it.
fn title(name: &str) -> String {
    let words: Vec<String> = name
        .split('-')
        .map(|word| {
            let mut letters = word.chars();
            match letters.next() {
                Some(first) => first.to_ascii_uppercase().to_string() + letters.as_str(),
                None => String::new(),
            }
        })
        .collect();
    words.join("-")
}

pub fn digest(kind: Digest) -> &'static str {
    match kind {
        Digest::Md5 => "MD5",
        Digest::Sha1 => "SHA-1",
        Digest::Sha256 => "SHA-256",
        Digest::Sha384 => "SHA-384",
        Digest::Sha512 => "SHA-512",
        Digest::Sha3_512 => "SHA3-512",
        Digest::Keccak256 => "Keccak-256",
    }
}

pub fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Hex => "lower-case hexadecimal",
        Encoding::HexUpper => "upper-case hexadecimal",
        Encoding::HexAny => "hexadecimal",
        Encoding::Base64 => "base64",
        Encoding::Base64Url => "base64 of the URL alphabet",
        Encoding::Text => "text",
    }
}
