//! What is changed in an example before it is signed: stamp, addressee, id.

use crate::clock::Timestamp;
use crate::rule::provider::Provider;
use crate::rule::scheme::Test;
use crate::rule::template::{Pointer, Selector, Template};
use crate::verify::place::Draft;
use crate::verify::{evaluate, freshness, rewrite, sign};

/// Parameters of the query that the provider's file reads.
pub(super) fn query_read(provider: &Provider) -> Vec<String> {
    let values = provider.schemes.iter().flat_map(|scheme| {
        let of_messages = scheme.messages.iter().flat_map(Template::selectors);
        let of_value = scheme.value.iter().map(|value| &value.selector);
        of_messages.chain(of_value)
    });
    values
        .filter_map(|selector| match selector {
            Selector::QueryParam(name) => Some(name.clone()),
            _ => None,
        })
        .collect()
}

/// Writes the moment where the freshness of the request is read.
pub(super) fn stamp(draft: &mut Draft<'_>, at: Timestamp) {
    let rule = draft.rule;
    let Some(freshness) = &rule.provider.freshness else {
        return;
    };
    if let Some(value) = freshness.timestamp.as_single() {
        // What cannot be written is seen by the verdict.
        let _ = draft.put(value, &freshness::write(freshness.format, at));
    }
}

/// What must hold is made to hold: the addressee is the source's, a digest is the body's.
pub(super) fn settle(draft: &mut Draft<'_>) {
    let rule = draft.rule;
    for assert in &rule.provider.asserts {
        let Some(place) = assert.condition.is.as_single() else {
            continue;
        };
        let wanted = draft.with_scope(|scope| {
            let looked_at = evaluate::all_hold(&assert.when, scope).unwrap_or(false);
            if !looked_at || evaluate::holds(&assert.condition, scope).unwrap_or(false) {
                return None;
            }
            match &assert.condition.test {
                Test::Equals(texts) => texts
                    .iter()
                    .find_map(|text| evaluate::text(text, scope).ok().flatten()),
                Test::StartsWith(_) | Test::Present(_) | Test::Lacks(_) => None,
            }
        });
        if let Some(wanted) = wanted {
            let _ = draft.put(place, &wanted);
        }
    }
}

/// Gives the event an id of its own, where one can be told from other values.
pub(super) fn freshen(draft: &mut Draft<'_>) -> bool {
    let rule = draft.rule;
    let provider = &rule.provider;
    let mut others: Vec<&Selector> = Vec::new();
    if let Some(kind) = &provider.event.kind {
        others.extend(kind.selectors());
    }
    if let Some(payment) = &provider.payment {
        let groups = [
            &payment.status,
            &payment.amount,
            &payment.currency,
            &payment.order,
        ];
        others.extend(groups.into_iter().flatten().flat_map(Template::selectors));
    }
    for template in &provider.event.ids {
        let there =
            draft.with_scope(|scope| evaluate::text(template, scope).ok().flatten().is_some());
        if !there {
            continue;
        }
        for value in template.values() {
            let plain = value.transforms.is_empty() && !others.contains(&&value.selector);
            let Some(old) = draft.read(value).filter(|_| plain) else {
                continue;
            };
            if let Some(new) = another(&old)
                && draft.put(value, &new).is_ok()
            {
                return true;
            }
        }
        return false;
    }
    false
}

/// Adds a field of our own to the body, so that it is not the body of before.
pub(super) fn mark(draft: &mut Draft<'_>) {
    pub(super) const NAME: &str = "callseal_test";
    let pointer = Pointer(vec![NAME.to_owned()]);
    let nonce = sign::nonce(8);
    let body = &draft.request.body;
    let marked = match body.trim_ascii().first() {
        Some(b'{') => rewrite::json_put(body, &pointer, nonce.as_bytes()),
        Some(b'[' | b'<') | None => None,
        Some(_) => Some(rewrite::form_put(body, NAME.as_bytes(), nonce.as_bytes())),
    };
    if let Some(marked) = marked {
        draft.request.body = marked.into();
    }
}

/// Another id of the same look: the last characters are drawn anew.
pub(super) fn another(id: &[u8]) -> Option<Vec<u8>> {
    if id.len() < 4 || !id.iter().any(u8::is_ascii_digit) || id.contains(&b'/') {
        return None;
    }
    let hex = id
        .iter()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b) || *b == b'-');
    let letters = id.iter().any(u8::is_ascii_alphabetic);
    let random = sign::nonce(16);
    let mut new = id.to_vec();
    let places = new.iter_mut().rev().filter(|b| b.is_ascii_alphanumeric());
    for (byte, fresh) in places.take(12).zip(random.bytes()) {
        let number = (fresh as char).to_digit(16).unwrap_or(0) as u8;
        *byte = match *byte {
            _ if hex && letters => fresh,
            b'0'..=b'9' => b'1' + number % 9,
            b'a'..=b'z' => b'a' + number,
            _ => b'A' + number,
        };
    }
    Some(new)
}
