//! Conditions and assertions: `{ is = "{…}", equals = "…" }`.

use crate::rule::Template;
use crate::rule::compile::lint::Use;
use crate::rule::compile::provider::Reading;
use crate::rule::provider::Assert;
use crate::rule::reader::{Field, Table};
use crate::rule::scheme::{Condition, Test};
use crate::rule::template::Selector;

impl Reading<'_, '_> {
    /// A list of conditions under a key; none where the key is not there.
    pub(super) fn conditions(
        &self,
        table: &Table<'_>,
        key: &'static str,
        purpose: Use,
    ) -> Option<Vec<Condition>> {
        match table.get(key) {
            Some(field) => field
                .list()
                .iter()
                .map(|field| {
                    let table = field.table()?;
                    let condition = self.condition(&table, purpose);
                    table.finish();
                    condition
                })
                .collect(),
            None => Some(Vec::new()),
        }
    }

    pub(super) fn condition(&self, table: &Table<'_>, purpose: Use) -> Option<Condition> {
        let is = table
            .need("is", "what is looked at, e.g. `{json:/type}`")
            .and_then(|f| self.template(&f, purpose));
        // What is compared with may be a secret: it is shown nowhere.
        let compared = match purpose {
            Use::Asked => Use::Asked,
            Use::Shown | Use::Reply | Use::Many | Use::Compared | Use::Signed => Use::Compared,
        };
        let equals = table.get("equals");
        let one_of = table.get("one_of");
        let starts = table.get("starts_with");
        let present = table.get("present");
        let lacks = table.get("lacks");
        let test = match (equals, one_of, starts, present, lacks) {
            (None, None, None, None, Some(field)) => {
                let text = field.text()?;
                if text.is_empty() {
                    let message = "everything has the empty text in it";
                    let span = field.span.clone();
                    field.problems.error(span, "bad_value", message);
                }
                Test::Lacks(text.to_owned())
            }
            (Some(field), None, None, None, None) => {
                Test::Equals(vec![self.template(&field, compared)?])
            }
            (None, Some(field), None, None, None) => {
                let texts: Vec<Option<Template>> = field
                    .list()
                    .iter()
                    .map(|f| self.template(f, compared))
                    .collect();
                Test::Equals(texts.into_iter().collect::<Option<_>>()?)
            }
            (None, None, Some(field), None, None) => Test::StartsWith(field.text()?.to_owned()),
            (None, None, None, Some(field), None) => Test::Present(field.boolean()?),
            _ => {
                table.problems.error_with(
                    table.span.clone(),
                    "bad_value",
                    "a condition has exactly one test",
                    "one of: equals, one_of, starts_with, present, lacks",
                );
                return None;
            }
        };
        Some(Condition { is: is?, test })
    }

    pub(super) fn asserts(&self, field: Option<&Field<'_>>) -> Option<Vec<Assert>> {
        let Some(field) = field else {
            return Some(Vec::new());
        };
        let list: Vec<Option<Assert>> = field.list().iter().map(|f| self.assert(f)).collect();
        list.into_iter().collect()
    }

    fn assert(&self, field: &Field<'_>) -> Option<Assert> {
        let table = field.table()?;
        let condition = self.condition(&table, Use::Shown);
        let when = self.conditions(&table, "when", Use::Shown);
        table.finish();
        let condition = condition?;
        let configured = |template: &Template| {
            template
                .values()
                .any(|value| matches!(value.selector, Selector::Config(_) | Selector::Url))
        };
        let addressee = match &condition.test {
            Test::Equals(texts) => texts.iter().any(configured) || configured(&condition.is),
            Test::StartsWith(_) | Test::Present(_) | Test::Lacks(_) => false,
        };
        Some(Assert {
            addressee,
            condition,
            when: when?,
        })
    }
}
