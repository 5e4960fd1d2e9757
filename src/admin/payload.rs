//! A body for people: as text, cut, with what would mislead a reader made visible. And the bytes
//! themselves, for operators, as a file to keep.

use axum::extract::{Extension, Path, Query, State as Extract};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::audit::looked;
use crate::admin::auth::operator_only;
use crate::admin::parameter::{self, event_id};
use crate::admin::problem::Problem;
use crate::admin::token::Caller;
use crate::inbox::store::{DeedKind, StoredEvent};
use crate::mask::{self, Kind};
use crate::message::Headers;
use crate::telemetry::field;

/// So much of a body is shown.
const SHOWN: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct BodyJson {
    /// Its beginning.
    pub text: String,
    /// There is more of it.
    pub cut: bool,
    /// `utf8`, or `base64` for what is no text.
    pub encoding: &'static str,
    /// `json`, `form`, `xml`, `text` or `binary`.
    pub kind: &'static str,
}

impl BodyJson {
    /// `whole`: nothing is masked.
    pub fn of(headers: &Headers, body: &Bytes, whole: bool) -> Self {
        let shown = body.get(..SHOWN).unwrap_or(body);
        let cut = shown.len() < body.len();
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // Cut within a character.
            Err(error) if cut && error.error_len().is_none() => {
                let whole = shown.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(whole).ok()
            }
            Err(_) => None,
        };
        match text {
            Some(text) => {
                let kind = kind(headers, text);
                BodyJson {
                    kind,
                    text: match whole {
                        true => plain(text),
                        // All of it: a card that is cut in two is still one.
                        false => plain(&mask::text(Kind::named(kind), body)),
                    },
                    cut,
                    encoding: "utf8",
                }
            }
            // Another charset, or no text at all: base64 would hide from the masks what it holds.
            None if !whole => BodyJson {
                text: plain(&mask::text(Kind::of(None, shown), body)),
                cut,
                encoding: "utf8",
                kind: "binary",
            },
            None => BodyJson {
                text: BASE64.encode(shown),
                cut,
                encoding: "base64",
                kind: "binary",
            },
        }
    }
}

fn kind(headers: &Headers, text: &str) -> &'static str {
    let said = headers.only("content-type").unwrap_or_default();
    let said = String::from_utf8_lossy(said).to_ascii_lowercase();
    let begins = |with: &[char]| text.trim_start().starts_with(with);
    if said.contains("json") || (begins(&['{', '[']) && !said.contains("form")) {
        "json"
    } else if said.contains("x-www-form-urlencoded") {
        "form"
    } else if said.contains("xml") || begins(&['<']) {
        "xml"
    } else {
        "text"
    }
}

/// Characters that change how others are shown become visible: they could make a reader see another
/// amount than the one that is there. Line ends and tabs stay.
pub fn plain(text: &str) -> String {
    let hidden = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
            || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if !text.contains(hidden) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A text that somebody wrote, with masks: a reason, a filter.
pub fn hushed(text: &str) -> String {
    plain(&mask::text(Kind::Text, text.as_bytes()))
}

/// One text of a row with its name, with masks unless `whole`.
pub fn field(name: &str, text: &str, whole: bool) -> String {
    match whole {
        true => plain(text),
        false => plain(&mask::field(name, text)),
    }
}

/// Names in order of arrival. Credentials and signatures are hidden, whoever asks: who sees them
/// could send them again elsewhere.
pub fn shown_headers(headers: &Headers, whole: bool) -> Vec<(String, String)> {
    let each = headers.iter().map(|(name, value)| {
        let name = plain(&String::from_utf8_lossy(name));
        let value = match whole && !mask::credential(&name) {
            true => plain(&String::from_utf8_lossy(value)),
            false => plain(&mask::header(&name, value)),
        };
        (name, value)
    });
    each.collect()
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// An event whose bytes are given away: an operator's alone, and in the audit before he has them.
async fn taken(state: &State, caller: &Caller, id: &str) -> Result<StoredEvent, Problem> {
    operator_only(caller.role)?;
    let id = event_id("id", id)?;
    let row = state.store.row(id).await?;
    let row = row.ok_or_else(Problem::no_such_event)?;
    let stored = state.store.read(id).await?;
    let stored = stored.ok_or_else(Problem::no_such_event)?;
    looked(state, caller, DeedKind::ReadBody, &row).await?;
    tracing::info!({ field::EVENT } = %id, by = caller.label, "an operator took the bytes");
    Ok(stored)
}

fn attached(name: &'static str, bytes: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    (headers, bytes).into_response()
}

/// The body byte for byte.
pub async fn body(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    asked: parameter::Asked<Nothing>,
) -> Result<Response, Problem> {
    parameter::query(asked)?;
    Ok(attached("body", taken(&state, &caller, &id).await?.body))
}

/// The request as it came, head and body, as `callseal explain` reads it.
pub async fn request(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    asked: Result<Query<Nothing>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    parameter::query(asked)?;
    let stored = taken(&state, &caller, &id).await?;
    Ok(attached("request", whole(&stored)))
}

fn whole(stored: &StoredEvent) -> Bytes {
    let mut out = Vec::with_capacity(stored.body.len() + stored.headers.bytes() + 512);
    let line = format!("{} {} HTTP/1.1\r\n", stored.method, stored.target);
    out.extend_from_slice(line.as_bytes());
    for (name, value) in stored.headers.iter() {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&stored.body);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: &'static str, body: &[u8]) -> BodyJson {
        let headers = [("content-type", kind)].into_iter().collect();
        BodyJson::of(&headers, &Bytes::copy_from_slice(body), true)
    }

    #[test]
    fn a_body_is_shown_as_what_it_is() {
        let kinds = [
            ("application/json", "{}", "json"),
            ("text/plain", " [1]", "json"),
            ("application/x-www-form-urlencoded", "a=b", "form"),
            ("text/xml; charset=utf-8", "<a/>", "xml"),
            ("", "<xml>", "xml"),
            ("text/plain", "hello", "text"),
        ];
        for (said, body, kind) in kinds {
            assert_eq!(shown(said, body.as_bytes()).kind, kind, "{said} {body}");
        }
        let binary = shown("application/json", b"\xff\x00");
        assert_eq!((binary.encoding, binary.kind), ("base64", "binary"));
        assert_eq!(binary.text, "/wA=");
    }

    #[test]
    fn a_long_body_is_cut_between_characters() {
        let mut body = vec![b'a'; SHOWN - 1];
        body.extend_from_slice("ä and more".as_bytes());
        let cut = shown("text/plain", &body);
        assert_eq!(
            (cut.cut, cut.encoding, cut.text.len()),
            (true, "utf8", SHOWN - 1)
        );
        let mut spoiled = body;
        spoiled[3] = 0xff;
        assert_eq!(shown("text/plain", &spoiled).encoding, "base64");
    }

    #[test]
    fn a_card_at_the_cut_is_masked_too() {
        for kind in ["application/json", "application/octet-stream"] {
            let headers = [("content-type", kind)].into_iter().collect();
            let mut body = vec![b' '; SHOWN - 15];
            body[0] = if kind.ends_with("json") { b'{' } else { 0xff };
            body.extend_from_slice(b"6011111111111117 and more");
            let shown = BodyJson::of(&headers, &Bytes::from(body), false);
            assert!(shown.cut && !shown.text.contains("60111"), "{kind}");
        }
    }

    #[test]
    fn what_is_personal_is_masked_unless_all_is_asked_for() {
        let headers: Headers = [
            ("content-type", "application/json"),
            ("x-customer-email", "jo.doe@example.org"),
            ("x-signature", "c2VjcmV0"),
        ]
        .into_iter()
        .collect();
        let body = Bytes::from_static(
            br#"{"number":"4242 4242 4242 4242","amount":1250,"email":"jo.doe@example.org"}"#,
        );
        let shown = BodyJson::of(&headers, &body, false).text;
        assert!(
            shown.contains("1250") && !shown.contains("jo.doe"),
            "{shown}"
        );
        assert!(!shown.contains("4242 4242 4242"), "{shown}");
        assert_eq!(
            BodyJson::of(&headers, &body, true).text.as_bytes(),
            &body[..]
        );
        let value = |whole: bool, at: usize| shown_headers(&headers, whole)[at].1.clone();
        assert_eq!(value(true, 1), "jo.doe@example.org");
        assert!(!value(false, 1).contains("jo.doe"));
        assert_eq!(
            (value(true, 2), value(false, 2)),
            ("•••".into(), "•••".into())
        );
        // Another charset is no way around the masks.
        let latin = Bytes::from_static(b"name=M\xfcller&card=4242424242424242");
        let shown = BodyJson::of(&Headers::default(), &latin, false);
        assert_eq!((shown.encoding, shown.kind), ("utf8", "binary"));
        assert!(!shown.text.contains("42424242424"), "{}", shown.text);
    }

    #[test]
    fn nothing_hides_what_is_there() {
        assert_eq!(plain("a\tb\r\n"), "a\tb\r\n");
        assert_eq!(
            plain("12\u{202e}00\u{0}\u{85}"),
            "12\\u{202e}00\\u{0}\\u{85}"
        );
    }
}
