//! `[parts]`, `[decrypt]`, `[split]` and `[payment]`: documents inside a request, and what is read
//! out of it for people.

use std::collections::BTreeMap;

use crate::rule::Template;
use crate::rule::compile::lint::{self, Use};
use crate::rule::compile::provider::{Reading, choice, table_error};
use crate::rule::cover::Cover;
use crate::rule::provider::{Part, PaymentRule, Split, Status, Unit};
use crate::rule::reader::{Field, optional};
use crate::rule::scheme::{Algorithm, Cipher, Decrypt, PartForm};
use crate::rule::template::{Pointer, Selector};
use crate::rule::words;

const MOST_PARTS: usize = 4;

pub(super) fn part_form(field: &Field<'_>) -> Option<PartForm> {
    choice(field, &words::PART_FORMS)
}

/// The names of the parts, before anything that reads them.
pub(super) fn part_names(field: Option<&Field<'_>>) -> Vec<String> {
    let table = field.filter(|f| f.is_table()).and_then(Field::table);
    table.map_or(Vec::new(), |table| {
        table.entries().map(|(name, _)| name.to_owned()).collect()
    })
}

impl Reading<'_, '_> {
    pub(super) fn parts(&self, field: Option<&Field<'_>>) -> Option<Vec<Part>> {
        let Some(field) = field else {
            return Some(Vec::new());
        };
        let mut parts: Vec<Part> = Vec::new();
        for (name, field) in field.table()?.entries() {
            let table = field.table()?;
            let from = table
                .need("from", "a template, e.g. `{form:payload|from_base64}`")
                .and_then(|f| {
                    let template = self.template(&f, Use::Shown)?;
                    for value in template.values() {
                        if matches!(value.selector, Selector::Plain(_)) {
                            f.problems.error(
                                f.inside(value.span.clone()),
                                "template",
                                "a part is read before anything is decrypted",
                            );
                        }
                    }
                    Some(template)
                });
            let form = table
                .need("as", "one of: json, xml, form, jws")
                .and_then(|f| part_form(&f));
            table.finish();
            parts.push(Part {
                name: name.to_owned(),
                from: from?,
                form: form?,
            });
        }
        if parts.len() > MOST_PARTS {
            table_error(field, "at most four parts");
            return None;
        }
        in_order(field, parts)
    }

    pub(super) fn decrypt(&self, field: &Field<'_>) -> Option<Decrypt> {
        let table = field.table()?;
        let algorithm = table
            .need("algorithm", "e.g. `aes-256-gcm`")
            .and_then(|f| choice(&f, &Cipher::ALL));
        let needed = |name: &'static str| {
            let field = table.need(name, "a template")?;
            self.template(&field, Use::Asked)
        };
        let (key, data) = (needed("key"), needed("data"));
        let nonce = table
            .get("nonce")
            .or(table.get("iv"))
            .map(|f| self.template(&f, Use::Asked));
        let aad = table.get("aad").map(|f| self.template(&f, Use::Asked));
        let form = table
            .get("as")
            .map_or(Some(PartForm::Json), |f| part_form(&f));
        let when = self.conditions(&table, "when", Use::Shown);
        table.finish();
        Some(Decrypt {
            algorithm: algorithm?,
            key: key?,
            data: data?,
            nonce: optional(nonce)?,
            aad: optional(aad)?,
            form: form?,
            when: when?,
        })
    }

    /// Money is only read from what is signed.
    pub(super) fn payment(&self, field: &Field<'_>, cover: &Cover<'_>) -> Option<PaymentRule> {
        let table = field.table()?;
        let tokens = cover
            .schemes
            .iter()
            .all(|s| matches!(s.algorithm, Algorithm::Token | Algorithm::Basic) || s.body_unsigned);
        let one = |f: &Field<'_>| {
            let template = self.template(f, Use::Shown)?;
            if !tokens {
                let why = "anyone could change it; leave it out";
                lint::covered(cover, f, &template, "payment_unsigned", why);
            }
            Some(template)
        };
        let read = |name: &'static str| match table.get(name) {
            Some(field) => field
                .list()
                .iter()
                .map(one)
                .collect::<Option<Vec<Template>>>(),
            None => Some(Vec::new()),
        };
        let order = read("order");
        let transaction = read("transaction");
        let amount = read("amount");
        let currency = read("currency");
        let status = read("status");
        let confirmations = read("confirmations");
        let unit = table.get("unit").map(|f| choice(&f, &words::UNITS));
        if amount.as_ref().is_some_and(|amount| !amount.is_empty()) && unit.is_none() {
            table.need("unit", "`major` (12.50) or `minor` (1250)");
        }
        let map = table.get("map").map_or(Some(BTreeMap::new()), |f| map(&f));
        table.finish();
        Some(PaymentRule {
            order: order?,
            transaction: transaction?,
            amount: amount?,
            unit: optional(unit)?.unwrap_or(Unit::Major),
            currency: currency?,
            status: status?,
            map: map?,
            confirmations: confirmations?,
        })
    }
}

fn map(field: &Field<'_>) -> Option<BTreeMap<String, Status>> {
    let list: Vec<Option<(String, Status)>> = field
        .table()?
        .entries()
        .map(|(name, f)| Some((name.to_owned(), choice(&f, &Status::ALL)?)))
        .collect();
    list.into_iter().collect()
}

pub(super) fn split(field: &Field<'_>) -> Option<Split> {
    let table = field.table()?;
    let items = table
        .need("items", "a pointer with `*`, e.g. `/items/*`")
        .and_then(|f| pointer(&f));
    let verify = table
        .need("verify", "`item` or `delivery`")
        .and_then(|f| choice(&f, &words::SPLIT_VERIFY));
    let most = table
        .get("most")
        .map_or(Some(1000), |f| f.integer(1..=1000));
    table.finish();
    Some(Split {
        items: items?,
        each: verify?,
        most: usize::try_from(most?).ok()?,
    })
}

/// A pointer as text, with `*` for every element.
pub(super) fn pointer(field: &Field<'_>) -> Option<Pointer> {
    let text = field.text()?;
    if text.is_empty() {
        return Some(Pointer(Vec::new()));
    }
    match Template::parse(&format!("{{json:{text}}}")) {
        Ok(template) => match template.as_single().map(|value| value.selector.clone()) {
            Some(Selector::Json(pointer)) => Some(pointer),
            Some(_) | None => None,
        },
        Err(error) => {
            field
                .problems
                .error(field.span.clone(), "bad_value", error.message);
            None
        }
    }
}

/// A table has no order of its own: parts are put behind those that they read.
fn in_order(field: &Field<'_>, mut left: Vec<Part>) -> Option<Vec<Part>> {
    let mut ordered: Vec<Part> = Vec::new();
    while !left.is_empty() {
        let ready = left.iter().position(|part| {
            part.from.values().all(|value| match &value.selector {
                Selector::Part { name, .. } => ordered.iter().any(|known| known.name == *name),
                _ => true,
            })
        });
        let Some(index) = ready else {
            table_error(field, "these parts read each other in a circle");
            return None;
        };
        ordered.push(left.remove(index));
    }
    Some(ordered)
}
