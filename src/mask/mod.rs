//! Masks what is nobody's business: card numbers, bank accounts, e-mail, phone numbers, and what
//! members by their names say of people. For whoever looks at events, and for the log.
//!
//! What is masked anywhere, under every encoding that a body may have (JSON escapes, percent, XML
//! references, digits of other scripts, several of them over one another):
//!
//! - card numbers: 12 to 19 digits, with spaces and dashes or without, whose last digit is right
//!   (Luhn, ISO/IEC 7812-1); the last four stay. One number of ten passes by chance, so that an id
//!   may be masked too; under a name that says order, id, time or amount (see `names`) a number is
//!   masked only when it also begins as cards do
//! - IBANs (ISO 13616, mod 97), the last four stay
//! - e-mail addresses, their first letter and their host stay
//! - phone numbers: those with `+`, those of China and of North America in their usual forms
//!
//! By the name of the member, field, element, parameter or part: see `names`. What is in base64 is
//! looked into, and hidden whole where it holds any of this; what is encrypted or compressed is not.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

mod encoded;
mod find;
mod multipart;
mod names;
mod structure;
mod view;

use view::{Canvas, Item};

/// More of a text than this is not shown.
pub const MOST: usize = 64 * 1024;

/// Beyond the end: what is cut in two is still seen to be a card.
const BEYOND: usize = 1024;

/// Most of one field of the log, in bytes.
const LINE: usize = 4096;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    /// `a=b&c=d`: a body or a query.
    Form,
    Xml,
    /// Anything else. What looks like one of the others is taken for it.
    Text,
}

impl Kind {
    /// `json`, `form` or `xml`; anything else is a text.
    pub fn named(name: &str) -> Kind {
        match name {
            "json" => Kind::Json,
            "form" => Kind::Form,
            "xml" => Kind::Xml,
            _ => Kind::Text,
        }
    }

    /// By the media type, else by how it begins.
    pub fn of(media_type: Option<&str>, body: &[u8]) -> Kind {
        let named = media_type.unwrap_or_default().to_ascii_lowercase();
        let named = named.split(';').next().unwrap_or_default().trim();
        match named {
            "application/x-www-form-urlencoded" => Kind::Form,
            named if named.ends_with("json") => Kind::Json,
            named if named.ends_with("xml") => Kind::Xml,
            _ => match body.trim_ascii_start().first() {
                Some(b'{' | b'[') => Kind::Json,
                Some(b'<') => Kind::Xml,
                Some(_) | None => Kind::Text,
            },
        }
    }
}

/// The text with masks, at most [`MOST`] bytes of it. Bytes that are no UTF-8 are shown as such. A
/// number of JSON that is masked becomes a string, so that the text can still be read as JSON.
pub fn text(kind: Kind, bytes: &[u8]) -> String {
    up_to(kind, bytes, MOST)
}

/// One text whose name is known, as a row has them: under `key` or `order` a number is masked only
/// where it begins as cards do. Cheap where nothing can be in it.
pub fn field<'t>(name: &str, text: &'t str) -> Cow<'t, str> {
    if harmless(text) {
        return Cow::Borrowed(text);
    }
    let items = view::read(text.as_bytes());
    let mut canvas = Canvas::new(text.len());
    match names::class(name) {
        names::Class::Personal => find::hide(&mut canvas, &items),
        names::Class::Exempt => {
            canvas.exempt(&items);
            encoded::look(&mut canvas, &items, 1);
        }
        names::Class::Plain => structure::scan(Kind::Text, &mut canvas, &items, 0),
    }
    find::everything(&mut canvas, &view::universal(items));
    Cow::Owned(canvas.render(text.as_bytes(), MOST))
}

/// Nothing can be in it that is masked by itself.
fn harmless(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let odd = |b: u8| matches!(b, b'@' | b'%' | b'\\' | b'&' | b'=' | b'{' | b'<') || b >= 0x80;
    digits < 8 && text.len() <= LINE && !text.bytes().any(odd) && !encoded::likely(text)
}

/// A header's value: credentials and signatures are hidden whole.
pub fn header(name: &str, value: &[u8]) -> String {
    if credential(name) {
        return HIDDEN.to_owned();
    }
    match names::class(name) {
        names::Class::Personal => named(value),
        names::Class::Exempt | names::Class::Plain => text(Kind::Text, value),
    }
}

/// Whoever sees the value of such a header or parameter could send it again elsewhere. Some are the
/// secret itself: `verif-hash`, `cf-webhook-auth`.
pub fn credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = [
        "auth", "cookie", "sig", "hmac", "hash", "checksum", "verif", "token", "secret",
        "passcode", "api-key", "apikey", "password",
    ];
    words.iter().any(|word| name.contains(word))
}

/// Path and query of a request.
pub fn target(target: &str) -> String {
    match target.split_once('?') {
        None => text(Kind::Text, target.as_bytes()),
        Some((path, query)) => {
            let path = text(Kind::Text, path.as_bytes());
            path + "?" + &text(Kind::Form, without_credentials(query).as_bytes())
        }
    }
}

/// Some providers send a secret in the address, the same each time.
fn without_credentials(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if credential(&percent_decode_str(name).decode_utf8_lossy()) => {
            Cow::Owned(format!("{name}={HIDDEN}"))
        }
        Some(_) | None => Cow::Borrowed(pair),
    });
    pairs.collect::<Vec<Cow<'_, str>>>().join("&")
}

/// A field of the log: a path, or what an error says. Cheap where nothing can be in it.
pub fn line(text: &str) -> Cow<'_, str> {
    if harmless(text) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(match text.split_once('?') {
        Some((path, query)) if !path.contains(' ') => {
            let path = up_to(Kind::Text, path.as_bytes(), LINE);
            path + "?" + &up_to(Kind::Form, without_credentials(query).as_bytes(), LINE)
        }
        Some(_) | None => up_to(Kind::Text, text.as_bytes(), LINE),
    })
}

/// What stands for something whose length nobody needs.
pub const HIDDEN: &str = "•••";

fn named(value: &[u8]) -> String {
    let items = view::read(value);
    let mut canvas = Canvas::new(value.len());
    find::hide(&mut canvas, &items);
    canvas.render(value, MOST)
}

fn up_to(kind: Kind, bytes: &[u8], most: usize) -> String {
    let looked = bytes.get(..most + BEYOND).unwrap_or(bytes);
    let items = view::read(looked);
    let mut canvas = Canvas::new(looked.len());
    structure::scan(kind, &mut canvas, &items, 0);
    let all: Vec<Item> = view::universal(items);
    find::everything(&mut canvas, &all);
    canvas.render(looked, most)
}

#[cfg(test)]
mod tests;
