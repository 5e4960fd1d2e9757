//! Small XML, strictly: elements with text, as WeChat Pay v2 and Braintree send them. A text that
//! two parsers could read differently is refused (threat 14): no DTD and so no entities but the
//! five, no comments (some parsers cut a text there), no processing instructions, UTF-8 only.
//!
//! `quick-xml` cuts the text into tokens; what a document may hold is decided here.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

const DEEPEST: usize = 16;
const MOST_ELEMENTS: usize = 1000;
/// Bytes of all attributes of an element: looking for repeated ones costs the square of it.
const MOST_ATTRIBUTES: usize = 1024;

/// A checked XML document.
#[derive(Clone, Debug)]
pub struct Xml<'a> {
    /// In the order of their start tags; the root is the first.
    elements: Vec<Element<'a>>,
}

#[derive(Clone, Debug)]
struct Element<'a> {
    /// The root is its own parent.
    parent: usize,
    name: String,
    text: Cow<'a, str>,
    has_children: bool,
}

/// Where and why a text is no XML of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XmlFault {
    pub at: usize,
    pub what: &'static str,
}

/// Why a path has no one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XmlMiss {
    /// An element of the path stands there more than once.
    Repeated,
    /// The element has child elements.
    Composite,
}

impl<'a> Xml<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Xml<'a>, XmlFault> {
        let text = std::str::from_utf8(bytes).map_err(|e| XmlFault {
            at: e.valid_up_to(),
            what: "not UTF-8",
        })?;
        if let Some((at, _)) = text.char_indices().find(|(_, c)| !is_character(*c)) {
            let what = "a character that XML does not have";
            return Err(XmlFault { at, what });
        }
        if text.starts_with('\u{feff}') {
            let what = "a byte order mark";
            return Err(XmlFault { at: 0, what });
        }
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut building = Building::default();
        let mut first = true;
        loop {
            let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let fault = |what| XmlFault { at, what };
            let event = reader.read_event().map_err(|_| fault("not well-formed"))?;
            match event {
                Event::Eof => break,
                Event::Decl(declaration) if first && at == 0 => {
                    declared(&declaration).map_err(fault)?;
                }
                other => building.event(other).map_err(fault)?,
            }
            first = false;
        }
        building.finish().ok_or(XmlFault {
            at: text.len(),
            what: "it ends too early",
        })
    }

    /// The text of the element that `path` leads to from the root, whose own name is not part of
    /// it; an empty path is the root itself. None when there is no such element.
    pub fn only(&self, path: &[String]) -> Result<Option<&[u8]>, XmlMiss> {
        let mut at = 0;
        for name in path {
            let mut found = self.children(at).filter(|(_, child)| child.name == *name);
            at = match (found.next(), found.next()) {
                (None, _) => return Ok(None),
                (Some((index, _)), None) => index,
                (Some(_), Some(_)) => return Err(XmlMiss::Repeated),
            };
        }
        match self.elements.get(at) {
            Some(element) if element.has_children => Err(XmlMiss::Composite),
            Some(element) => Ok(Some(element.text.as_bytes())),
            None => Ok(None),
        }
    }

    /// Name and text of the root's children that have no children themselves, as they came.
    pub fn iter_flat(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.children(0)
            .filter(|(_, child)| !child.has_children)
            .map(|(_, child)| (child.name.as_str(), child.text.as_bytes()))
    }

    /// True when a child of the root has children.
    pub fn has_nested(&self) -> bool {
        self.children(0).any(|(_, child)| child.has_children)
    }

    fn children(&self, of: usize) -> impl Iterator<Item = (usize, &Element<'a>)> {
        self.elements
            .iter()
            .enumerate()
            .skip(1)
            .filter(move |(_, element)| element.parent == of)
    }
}

/// A document on its way.
#[derive(Default)]
struct Building<'a> {
    elements: Vec<Element<'a>>,
    /// Indices of the elements that are open, innermost last.
    open: Vec<usize>,
}

impl<'a> Building<'a> {
    fn event(&mut self, event: Event<'a>) -> Result<(), &'static str> {
        match event {
            Event::Start(start) | Event::Empty(start) => self.start(&start),
            // The reader has compared the names.
            Event::End(_) => {
                let closed = self.open.pop().and_then(|index| self.elements.get(index));
                match closed {
                    Some(element) if element.has_children && !is_blank(&element.text) => {
                        Err("text beside elements")
                    }
                    Some(_) => Ok(()),
                    None => Err("an end without a start"),
                }
            }
            Event::Text(text) if text.contains("]]>") => Err("`]]>` in a text"),
            Event::Text(text) if self.open.is_empty() && is_blank(&text) => Ok(()),
            Event::Text(text) => self.text(text.xml10_content()),
            Event::CData(text) => self.text(text.xml10_content()),
            Event::GeneralRef(reference) => {
                let mut buffer = [0; 4];
                let text: &str = resolve(&reference)?.encode_utf8(&mut buffer);
                self.text(Cow::Owned(text.to_owned()))
            }
            Event::Comment(_) => Err("a comment"),
            Event::PI(_) => Err("a processing instruction"),
            Event::DocType(_) => Err("a document type"),
            Event::Decl(_) => Err("a declaration that is not at the start"),
            Event::Eof => Err("it ends too early"),
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), &'static str> {
        if self.open.is_empty() && !self.elements.is_empty() {
            return Err("something after the root");
        }
        if self.open.len() == DEEPEST {
            return Err("too many levels");
        }
        if self.elements.len() == MOST_ELEMENTS {
            return Err("too many elements");
        }
        let name = start.name().0;
        if !is_name(name) {
            return Err("a name that is not plain");
        }
        attributes(start)?;
        let parent = self.open.last().copied().unwrap_or(0);
        if let Some(parent) = self
            .open
            .last()
            .and_then(|last| self.elements.get_mut(*last))
        {
            parent.has_children = true;
        }
        self.open.push(self.elements.len());
        self.elements.push(Element {
            parent,
            name: name.to_owned(),
            text: Cow::Borrowed(""),
            has_children: false,
        });
        Ok(())
    }

    fn text(&mut self, text: Cow<'a, str>) -> Result<(), &'static str> {
        let Some(element) = self
            .open
            .last()
            .and_then(|last| self.elements.get_mut(*last))
        else {
            return Err("text outside the root");
        };
        if element.text.is_empty() {
            element.text = text;
        } else {
            element.text.to_mut().push_str(&text);
        }
        Ok(())
    }

    fn finish(self) -> Option<Xml<'a>> {
        (self.open.is_empty() && !self.elements.is_empty()).then_some(Xml {
            elements: self.elements,
        })
    }
}

/// Only version 1.0, and UTF-8 when it names an encoding.
fn declared(declaration: &BytesDecl<'_>) -> Result<(), &'static str> {
    let version = declaration
        .version()
        .map_err(|_| "a malformed declaration")?;
    if version != "1.0" {
        return Err("a version that is not 1.0");
    }
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name)) if name.eq_ignore_ascii_case("UTF-8") => Ok(()),
        Some(Ok(_) | Err(_)) => Err("an encoding that is not UTF-8"),
    }
}

/// Attributes mean nothing here, but they have to be well-formed.
fn attributes(start: &BytesStart<'_>) -> Result<(), &'static str> {
    if start.attributes_raw().len() > MOST_ATTRIBUTES {
        return Err("too many attributes");
    }
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| "a malformed attribute")?;
        if !is_name(attribute.key.0) || attribute.value.contains(['<', '&']) {
            return Err("an attribute that is not plain");
        }
    }
    Ok(())
}

/// The five entities of XML and references to characters.
fn resolve(reference: &BytesRef<'_>) -> Result<char, &'static str> {
    let character = match &**reference {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        _ => match reference.resolve_char_ref() {
            Ok(Some(character)) if is_character(character) => character,
            Ok(Some(_)) | Err(_) => return Err("a reference to no character"),
            Ok(None) => return Err("an entity"),
        },
    };
    Ok(character)
}

/// Names of plain ASCII: what providers use, and all that compares in one way only.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
}

/// `Char` of XML 1.0.
fn is_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..)
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| b" \t\r\n".contains(&byte))
}
