//! Bytes for people: what a template gives, with secrets left out, on one line.

use sha2::{Digest as _, Sha256};

use crate::rule::template::{Piece, Selector, Template, Value};
use crate::verify::evaluate;
use crate::verify::rejection::Rejection;
use crate::verify::scope::Scope;
use crate::verify::trace::Notes;

/// The bytes of a template, with secrets left out.
pub(super) struct Written {
    segments: Vec<Segment>,
}

pub(super) enum Segment {
    Bytes(Vec<u8>),
    Secret,
}

impl Written {
    pub(super) fn push(&mut self, new: &[u8]) {
        match self.segments.last_mut() {
            Some(Segment::Bytes(bytes)) => bytes.extend_from_slice(new),
            Some(Segment::Secret) | None => self.segments.push(Segment::Bytes(new.to_vec())),
        }
    }

    pub(super) fn text(&self, full: bool) -> String {
        let texts = self.segments.iter().map(|segment| match segment {
            Segment::Bytes(bytes) => shown(bytes, full),
            Segment::Secret => SECRET.to_owned(),
        });
        texts.collect()
    }

    pub(super) fn note(&self, notes: &mut Notes) {
        notes.add("signed", self.text(notes.full));
        match self.segments.as_slice() {
            [] => notes.add("", "0 bytes"),
            [Segment::Bytes(bytes)] => {
                notes.add(
                    "",
                    format!("{} bytes, sha256 {}", bytes.len(), sha256(bytes)),
                );
            }
            _ => notes.add(
                "",
                "length and digest are not shown, since a secret is part of it",
            ),
        }
    }
}

pub(super) fn written(template: &Template, scope: &Scope<'_, '_>) -> Result<Written, Rejection> {
    let mut written = Written {
        segments: Vec::new(),
    };
    for piece in template.pieces() {
        if !append(piece, scope, &mut written)?
            && let Piece::Value(value) = piece
        {
            return Err(evaluate::missing(value));
        }
    }
    Ok(written)
}

/// False when a value is missing.
pub(super) fn append(
    piece: &Piece,
    scope: &Scope<'_, '_>,
    to: &mut Written,
) -> Result<bool, Rejection> {
    match piece {
        Piece::Literal(bytes) => to.push(bytes),
        Piece::Value(Value {
            selector: Selector::Key | Selector::Secret(_),
            ..
        }) => to.segments.push(Segment::Secret),
        Piece::Value(value) => match evaluate::one(value, scope)? {
            Some(bytes) => to.push(&bytes),
            None => return Ok(false),
        },
        Piece::Optional(pieces) => {
            let mut inner = Written {
                segments: Vec::new(),
            };
            let mut all = true;
            for piece in pieces {
                all &= append(piece, scope, &mut inner)?;
            }
            if all {
                for segment in inner.segments {
                    match segment {
                        Segment::Bytes(bytes) => to.push(&bytes),
                        Segment::Secret => to.segments.push(Segment::Secret),
                    }
                }
            }
        }
    }
    Ok(true)
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Bytes on one line: line breaks and what is no text as escapes; long ones without their middle.
pub fn shown(bytes: &[u8], full: bool) -> String {
    if full || bytes.len() <= SHOWN {
        return escaped(bytes);
    }
    let half = SHOWN / 2;
    let first = bytes.get(..half).unwrap_or_default();
    let last = bytes.get(bytes.len() - half..).unwrap_or_default();
    let left = bytes.len() - SHOWN;
    format!(
        "{} … {left} bytes (--full) … {}",
        escaped(first),
        escaped(last)
    )
}

pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\\' => text.push_str("\\\\"),
                // What could steer a terminal, or turn the order of letters.
                other if other.is_control() || ('\u{200b}'..='\u{202e}').contains(&other) => {
                    text.extend(other.escape_unicode());
                }
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Stands where a secret stood.
pub const SECRET: &str = "‹secret›";

/// Bytes shown of a long text, half of them from each end.
pub(super) const SHOWN: usize = 800;
