//! Parameter sets: names and values of a form, a query, JSON or XML, sorted and joined as the
//! provider does before it signs.

use std::borrow::Cow;

use crate::rule::scheme::{Nested, Params, ParamsEncode, ParamsFrom, ParamsOrder, PartForm};
use crate::verify::document::Document;
use crate::verify::evaluate::float_trim;
use crate::verify::form;
use crate::verify::json::{Json, Node};
use crate::verify::rejection::Rejection;
use crate::verify::scope::Scope;
use crate::verify::xml::Xml;

type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The signed text of the set, without the names in `without`.
pub fn canonical(
    params: &Params,
    without: &[String],
    scope: &Scope<'_, '_>,
) -> Result<Vec<u8>, Rejection> {
    let mut pairs = read(params, scope)?;
    unique(params, &mut pairs)?;
    let named = |list: &[String], name: &[u8]| list.iter().any(|other| other.as_bytes() == name);
    let begins = |list: &[String], name: &[u8]| list.iter().any(|p| name.starts_with(p.as_bytes()));
    let all = params.only.is_empty() && params.only_prefix.is_empty();
    pairs.retain(|(name, value)| {
        (all || named(&params.only, name) || begins(&params.only_prefix, name))
            && !named(&params.except, name)
            && !named(without, name)
            && !begins(&params.except_prefix, name)
            && !(params.drop_empty && value.is_empty())
    });
    match params.order {
        // Stable: values of a repeated name are in their order already.
        ParamsOrder::Key => pairs.sort_by(|(a, _), (b, _)| a.cmp(b)),
        ParamsOrder::Value => pairs.sort_by(|(_, a), (_, b)| a.cmp(b)),
        ParamsOrder::Arrival => {}
        ParamsOrder::Listed => pairs.sort_by_key(|(name, _)| {
            let place = params
                .only
                .iter()
                .position(|other| other.as_bytes() == name.as_ref());
            place.unwrap_or(usize::MAX)
        }),
    }
    Ok(render(params, &pairs))
}

fn render(params: &Params, pairs: &[Pair<'_>]) -> Vec<u8> {
    let length = |(name, value): &Pair<'_>| name.len() + value.len() + 4;
    let mut text = Vec::with_capacity(pairs.iter().map(length).sum());
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(params.join.as_bytes());
        }
        if params.render.name {
            text.extend_from_slice(name);
        }
        text.extend_from_slice(params.render.between.as_bytes());
        if params.render.value {
            let value = if params.float_trim {
                float_trim(value)
            } else {
                value
            };
            match params.encode {
                ParamsEncode::None => text.extend_from_slice(value),
                ParamsEncode::Form => text.extend(form::encode(value, true)),
                ParamsEncode::Percent => text.extend(form::encode(value, false)),
            }
        }
        text.extend_from_slice(params.render.after.as_bytes());
    }
    text
}

/// Every name is used here, and of two values the application may read the other one. Where the
/// provider itself repeats names, each value counts once, and they are sorted.
fn unique(params: &Params, pairs: &mut Vec<Pair<'_>>) -> Result<(), Rejection> {
    if params.from == ParamsFrom::JsonLeaves {
        return Ok(());
    }
    // Most lists come sorted or nearly so; a copy of the names is only made where they do not.
    let sorted = pairs.is_sorted_by(|(a, _), (b, _)| a < b);
    let twice = if sorted {
        None
    } else {
        let mut names: Vec<&[u8]> = pairs.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(shorten(a)),
            _ => None,
        })
    };
    match twice {
        None => Ok(()),
        Some(_) if params.repeated_sorted => {
            pairs.sort();
            pairs.dedup();
            Ok(())
        }
        Some(name) => Err(Rejection::FieldRepeated {
            field: format!("params:{name}"),
        }),
    }
}

fn read<'s>(params: &Params, scope: &Scope<'s, '_>) -> Result<Vec<Pair<'s>>, Rejection> {
    let borrowed = |(name, value): (&'s [u8], &'s [u8])| (name.into(), value.into());
    match &params.from {
        ParamsFrom::Form => Ok(scope.view.form()?.iter().map(borrowed).collect()),
        ParamsFrom::Query => Ok(scope.view.query()?.iter().map(borrowed).collect()),
        ParamsFrom::Json => members(scope.view.json()?, params.nested),
        ParamsFrom::JsonLeaves => Ok(leaves(scope.view.json()?)),
        ParamsFrom::Xml => elements(scope.view.xml()?),
        ParamsFrom::Part(name) => match scope.view.part(name)? {
            Some(document) => of_document(document, params.nested),
            None => Err(Rejection::FieldMissing {
                field: format!("part:{name}"),
            }),
        },
    }
}

fn of_document<'s>(document: &'s Document, nested: Nested) -> Result<Vec<Pair<'s>>, Rejection> {
    if let Some(json) = document.json() {
        return members(json, nested);
    }
    if let Some(xml) = document.xml() {
        let pairs = elements(&xml)?;
        return Ok(pairs
            .into_iter()
            .map(|(n, v)| (Cow::Owned(n.into_owned()), Cow::Owned(v.into_owned())))
            .collect());
    }
    match document.pairs() {
        Some(pairs) => Ok(pairs
            .iter()
            .map(|(n, v)| (Cow::Owned(n.to_vec()), Cow::Owned(v.to_vec())))
            .collect()),
        None => Err(Rejection::FieldMalformed {
            field: format!("{:?}", PartForm::Text),
        }),
    }
}

fn members(json: Json<'_>, nested: Nested) -> Result<Vec<Pair<'_>>, Rejection> {
    let malformed = |name: &str| Rejection::FieldMalformed {
        field: format!("params:{}", shorten(name.as_bytes())),
    };
    let members = json.members().ok_or_else(|| malformed(""))?;
    let mut pairs = Vec::with_capacity(members.len());
    for (name, value) in members {
        let value = match value.node() {
            Some(Node::Text(text)) => bytes(text),
            Some(Node::Literal(text)) => Cow::Borrowed(text.as_bytes()),
            Some(Node::Null) | None => Cow::Borrowed(&b""[..]),
            Some(Node::Composite(text)) => match nested {
                Nested::Written => Cow::Borrowed(text.as_bytes()),
                Nested::Skip => continue,
                Nested::Reject => return Err(malformed(&name)),
            },
        };
        pairs.push((bytes(name), value));
    }
    Ok(pairs)
}

fn leaves(json: Json<'_>) -> Vec<Pair<'_>> {
    let mut found = Vec::new();
    json.leaves(&mut found);
    found
        .into_iter()
        .map(|value| (Cow::Borrowed(&b""[..]), bytes(value)))
        .collect()
}

fn elements<'a>(xml: &'a Xml<'_>) -> Result<Vec<Pair<'a>>, Rejection> {
    // What stands deeper is no parameter, and would be forwarded unsigned.
    if xml.has_nested() {
        return Err(Rejection::FieldMalformed {
            field: "params: an element within an element".to_owned(),
        });
    }
    Ok(xml
        .iter_flat()
        .map(|(name, text)| (bytes(Cow::Borrowed(name)), Cow::Borrowed(text)))
        .collect())
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A name that a sender chose, fit for a log: short, and on one line.
pub fn shorten(name: &[u8]) -> String {
    name.get(..64).unwrap_or(name).escape_ascii().to_string()
}
