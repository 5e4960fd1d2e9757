//! A document inside a request, or in the answer of a second source: owned, checked once, and read
//! by pointers.

use std::borrow::Cow;

use crate::rule::scheme::PartForm;
use crate::rule::template::Pointer;
use crate::verify::form::Pairs;
use crate::verify::json::Json;
use crate::verify::jws::Jws;
use crate::verify::rejection::Rejection;
use crate::verify::view::{pairs, reader_of, scalar};
use crate::verify::xml::Xml;

#[derive(Debug)]
pub struct Document {
    form: PartForm,
    bytes: Vec<u8>,
    /// JSON of a token's header; its payload is `json`.
    header: String,
    /// The text of JSON, checked.
    json: String,
}

impl Document {
    pub fn read(form: PartForm, bytes: Vec<u8>) -> Result<Document, Rejection> {
        let malformed = |at, what| Rejection::BodyMalformed {
            reader: reader_of(form),
            at,
            what,
        };
        let text = |bytes: &[u8]| match Json::parse(bytes) {
            Ok(_) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            Err(fault) => Err(malformed(fault.at, fault.what)),
        };
        let (mut header, mut json) = (String::new(), String::new());
        match form {
            PartForm::Json => json = text(&bytes)?,
            PartForm::Jws => {
                let token = Jws::parse(&bytes).map_err(|what| malformed(0, what))?;
                header = text(&token.header)?;
                json = text(&token.payload)?;
            }
            PartForm::Xml => {
                Xml::parse(&bytes).map_err(|fault| malformed(fault.at, fault.what))?;
            }
            PartForm::Form => {
                pairs(&bytes, reader_of(form))?;
            }
            PartForm::Text => {}
        }
        Ok(Document {
            form,
            bytes,
            header,
            json,
        })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn xml(&self) -> Option<Xml<'_>> {
        match self.form {
            PartForm::Xml => Xml::parse(&self.bytes).ok(),
            PartForm::Json | PartForm::Jws | PartForm::Form | PartForm::Text => None,
        }
    }

    /// The JSON of it, if it is JSON (the payload of a token).
    pub fn json(&self) -> Option<Json<'_>> {
        match self.form {
            PartForm::Json | PartForm::Jws => Some(Json::checked(&self.json)),
            PartForm::Xml | PartForm::Form | PartForm::Text => None,
        }
    }

    pub fn pairs(&self) -> Option<Pairs<'_>> {
        match self.form {
            PartForm::Form => Pairs::parse(&self.bytes).ok(),
            PartForm::Json | PartForm::Jws | PartForm::Xml | PartForm::Text => None,
        }
    }

    /// What stands under these names; none when there is nothing.
    pub fn get(
        &self,
        within: &[String],
        selector: &dyn std::fmt::Display,
    ) -> Result<Option<Cow<'_, [u8]>>, Rejection> {
        if within.is_empty() {
            return Ok(Some(self.bytes.as_slice().into()));
        }
        let repeated = || Rejection::FieldRepeated {
            field: selector.to_string(),
        };
        match self.form {
            PartForm::Json => {
                let json = Json::checked(&self.json);
                scalar(json.get(&Pointer(within.to_vec())), selector)
            }
            PartForm::Jws => {
                let (half, rest) = match within.split_first() {
                    Some((first, rest)) if first == "header" => (&self.header, rest),
                    Some((first, rest)) if first == "payload" => (&self.json, rest),
                    Some(_) | None => return Ok(None),
                };
                let json = Json::checked(half);
                if rest.is_empty() {
                    return Ok(Some(half.as_bytes().into()));
                }
                scalar(json.get(&Pointer(rest.to_vec())), selector)
            }
            PartForm::Xml => match self.xml() {
                Some(xml) => {
                    let found = xml.only(within).map_err(|_| repeated())?;
                    Ok(found.map(|text| Cow::Owned(text.to_vec())))
                }
                None => Ok(None),
            },
            PartForm::Form => {
                let pairs = pairs(&self.bytes, reader_of(self.form))?;
                let name = within.first().map_or(&[][..], |name| name.as_bytes());
                let found = pairs.only(name).map_err(|_| repeated())?;
                Ok(found.map(|value| Cow::Owned(value.to_vec())))
            }
            PartForm::Text => Ok(None),
        }
    }
}
