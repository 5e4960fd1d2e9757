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
    let pairs = read(params, scope)?;
    let fresh;
    let order = match scope.frame {
        // The same for every variant of the message.
        Some(frame) => frame.order.get_or_init(|| arranged(params, &pairs)),
        None => {
            fresh = arranged(params, &pairs);
            &fresh
        }
    };
    let order = order.as_ref().map_err(Rejection::clone)?;
    let chosen = order
        .iter()
        .filter_map(|index| pairs.get(*index))
        .filter(|(name, _)| !is_named(without, name));
    Ok(render(params, chosen))
}

fn is_named(list: &[String], name: &[u8]) -> bool {
    list.iter().any(|other| other.as_bytes() == name)
}

/// Which pairs count, in the order in which they are signed.
fn arranged(params: &Params, pairs: &[Pair<'_>]) -> Result<Vec<usize>, Rejection> {
    let mut order = unique(params, pairs)?;
    let begins = |list: &[String], name: &[u8]| list.iter().any(|p| name.starts_with(p.as_bytes()));
    let all = params.only.is_empty() && params.only_prefix.is_empty();
    order.retain(|index| {
        pairs.get(*index).is_some_and(|(name, value)| {
            (all || is_named(&params.only, name) || begins(&params.only_prefix, name))
                && !is_named(&params.except, name)
                && !begins(&params.except_prefix, name)
                && !(params.drop_empty && value.is_empty())
        })
    });
    match params.order {
        ParamsOrder::Key => {}
        // Stable: values of a repeated name are in their order already.
        ParamsOrder::Value => order.sort_by_key(|index| pairs.get(*index).map(|(_, value)| value)),
        ParamsOrder::Arrival => {}
        ParamsOrder::Listed => order.sort_by_key(|index| {
            let place = |name: &[u8]| params.only.iter().position(|o| o.as_bytes() == name);
            let place = pairs.get(*index).and_then(|(name, _)| place(name));
            place.unwrap_or(usize::MAX)
        }),
    }
    Ok(order)
}

fn render<'p>(params: &Params, pairs: impl Iterator<Item = &'p Pair<'p>> + Clone) -> Vec<u8> {
    let (join, shape) = (params.join.as_bytes(), &params.render);
    let around = join.len() + shape.between.len() + shape.after.len();
    let length = |(name, value): &Pair<'_>| name.len() + value.len() + around;
    let mut text = Vec::with_capacity(pairs.clone().map(length).sum());
    for (index, (name, value)) in pairs.enumerate() {
        if index > 0 {
            text.extend_from_slice(join);
        }
        if shape.name {
            text.extend_from_slice(name);
        }
        text.extend_from_slice(shape.between.as_bytes());
        if shape.value {
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
        text.extend_from_slice(shape.after.as_bytes());
    }
    text
}

/// All pairs: sorted by name where that is the order, else as they came. Every name is used here,
/// and of two values the application may read the other one. Where the provider itself repeats
/// names, each value counts once, and they are sorted.
fn unique(params: &Params, pairs: &[Pair<'_>]) -> Result<Vec<usize>, Rejection> {
    let by_name = params.order == ParamsOrder::Key;
    let as_they_came = || (0..pairs.len()).collect::<Vec<_>>();
    if params.from == ParamsFrom::JsonLeaves && !by_name {
        return Ok(as_they_came());
    }
    let begin = |(index, (name, _)): (usize, &Pair<'_>)| (beginning(name), index);
    let mut sorted: Vec<(u64, usize)> = pairs.iter().enumerate().map(begin).collect();
    let name = |index: usize| pairs.get(index).map(|(name, _)| name.as_ref());
    sorted.sort_unstable_by(|(a, i), (b, j)| {
        // Where they begin alike, by the whole names; those that are the same, as they came.
        a.cmp(b)
            .then_with(|| name(*i).cmp(&name(*j)))
            .then(i.cmp(j))
    });
    let order = || sorted.iter().map(|(_, index)| *index).collect::<Vec<_>>();
    let twice = sorted.windows(2).find_map(|pair| match pair {
        [(a, i), (b, j)] if a == b && name(*i) == name(*j) => name(*i),
        _ => None,
    });
    match twice {
        Some(_) if params.from == ParamsFrom::JsonLeaves => Ok(order()),
        None if by_name => Ok(order()),
        None => Ok(as_they_came()),
        Some(_) if params.repeated_sorted => {
            let mut order = as_they_came();
            order.sort_by_key(|index| pairs.get(*index));
            order.dedup_by_key(|index| pairs.get(*index));
            Ok(order)
        }
        Some(name) => Err(Rejection::FieldRepeated {
            field: format!("params:{}", shorten(name)),
        }),
    }
}

/// The first eight bytes, as a number that sorts as they do: most names differ in these.
fn beginning(name: &[u8]) -> u64 {
    let mut first = [0; 8];
    first
        .iter_mut()
        .zip(name)
        .for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(first)
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
