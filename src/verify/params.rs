//! Parameter sets: the names and values of a form or a query, sorted and joined as the provider
//! does before it signs.

use crate::rule::provider::{Params, ParamsFrom, ParamsOrder};
use crate::verify::rejection::Rejection;
use crate::verify::view::View;

/// The signed text of the set, without the names in `without`.
pub fn canonical(
    params: &Params,
    without: &[String],
    view: &View<'_>,
) -> Result<Vec<u8>, Rejection> {
    let pairs = match params.from {
        ParamsFrom::Form => view.form()?,
        ParamsFrom::Query => view.query()?,
    };
    let mut names: Vec<&[u8]> = pairs.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    // Every name is used here, and of two values the application may read the other one.
    if let Some(name) = names.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    }) {
        let field = format!("params:{}", shorten(name));
        return Err(Rejection::FieldRepeated { field });
    }
    let left_out = |name: &[u8]| {
        params
            .except
            .iter()
            .chain(without)
            .any(|other| other.as_bytes() == name)
    };
    let dropped = |value: &[u8]| params.drop_empty && value.is_empty();
    let mut kept: Vec<(&[u8], &[u8])> = pairs
        .iter()
        .filter(|(name, value)| !left_out(name) && !dropped(value))
        .collect();
    match params.order {
        ParamsOrder::Key => kept.sort_unstable_by_key(|(name, _)| *name),
        ParamsOrder::Arrival => {}
    }
    let mut text = Vec::new();
    for (index, (name, value)) in kept.into_iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(params.join.as_bytes());
        }
        text.extend_from_slice(name);
        text.extend_from_slice(params.pair.as_bytes());
        text.extend_from_slice(value);
    }
    Ok(text)
}

/// A name that a sender chose, fit for a log: short, and on one line.
pub fn shorten(name: &[u8]) -> String {
    name.get(..64).unwrap_or(name).escape_ascii().to_string()
}
