//! Which deliveries: the filters that listing, redriving and discarding share.

use serde_json::{Map, Value};

use crate::cli::operate::client::Query;
use crate::cli::operate::{moment, view};

/// How a delivery can stand.
pub const STATES: [&str; 6] = [
    "owed",
    "delivered",
    "dead",
    "discarded",
    "filtered",
    "superseded",
];

/// Every part that is given must fit.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Name of the source
    #[arg(long, value_name = "NAME", help_heading = "Filter")]
    pub source: Option<String>,
    /// Name of the provider
    #[arg(long, value_name = "NAME", help_heading = "Filter")]
    pub provider: Option<String>,
    /// Name of the destination (`main` is that of `forward`)
    #[arg(long, value_name = "NAME", help_heading = "Filter")]
    pub destination: Option<String>,
    /// How the delivery stands
    #[arg(long, value_name = "STATE", value_parser = STATES, help_heading = "Filter")]
    pub state: Option<String>,
    /// Why it ended, or failed last (as under REASON), exactly
    #[arg(long, value_name = "REASON", help_heading = "Filter")]
    pub error: Option<String>,
    /// The provider's type of the event, exactly
    #[arg(long = "type", value_name = "TYPE", help_heading = "Filter")]
    pub kind: Option<String>,
    /// The provider's id of the event, exactly
    #[arg(long, value_name = "ID", help_heading = "Filter")]
    pub key: Option<String>,
    /// The merchant's order number, exactly
    #[arg(long, value_name = "NUMBER", help_heading = "Filter")]
    pub order: Option<String>,
    /// Part of an id, key, type, order, transaction or reason
    #[arg(long, value_name = "TEXT", help_heading = "Filter")]
    pub text: Option<String>,
    /// Received since: a duration ago (2h), a day, or a moment in UTC
    #[arg(long, visible_alias = "from", value_name = "WHEN", value_parser = moment, help_heading = "Filter")]
    pub since: Option<String>,
    /// Received before: likewise
    #[arg(long, visible_alias = "to", value_name = "WHEN", value_parser = moment, help_heading = "Filter")]
    pub until: Option<String>,
}

impl Filter {
    fn parts(&self) -> [(&'static str, Option<&String>); 11] {
        [
            ("source", self.source.as_ref()),
            ("provider", self.provider.as_ref()),
            ("destination", self.destination.as_ref()),
            ("state", self.state.as_ref()),
            ("error", self.error.as_ref()),
            ("type", self.kind.as_ref()),
            ("key", self.key.as_ref()),
            ("order", self.order.as_ref()),
            ("text", self.text.as_ref()),
            ("from", self.since.as_ref()),
            ("to", self.until.as_ref()),
        ]
    }

    fn given(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let parts = self.parts().into_iter();
        parts.filter_map(|(name, value)| Some((name, value?)))
    }

    pub fn is_empty(&self) -> bool {
        self.given().next().is_none()
    }

    /// The parameters of a list. There the reason of a row is called so; where many are redriven,
    /// `reason` is why an operator discards.
    pub fn query(&self) -> Query {
        self.given()
            .fold(Query::new(), |query, (name, value)| match name {
                "error" => query.with("reason", value),
                name => query.with(name, value),
            })
    }

    /// The members of a body.
    pub fn members(&self) -> Map<String, Value> {
        let set = self.given();
        set.map(|(name, value)| (name.to_owned(), Value::String(value.clone())))
            .collect()
    }

    /// In words, for a question: every part, since each changes what is hit.
    pub fn told(&self) -> String {
        let set = self.given().map(|(name, value)| {
            let plain = |c: char| !c.is_whitespace() && c != ',';
            match value.chars().all(plain) && !value.is_empty() {
                true => format!("{name} {}", view::visible(value)),
                false => format!("{name} \"{}\"", view::visible(value)),
            }
        });
        set.collect::<Vec<String>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_is_left_out_wherever_it_goes() {
        let some = |text: &str| Some(text.to_owned());
        let filter = Filter {
            source: some("s"),
            provider: some("p"),
            destination: some("d"),
            state: some("dead"),
            error: some("gone"),
            kind: some("a b"),
            key: some("k\u{202e}"),
            order: some("o"),
            text: some("x, y"),
            since: some("2026-11-22T00:00:00Z"),
            until: some("2026-11-23T00:00:00Z"),
        };
        assert_eq!(
            filter.told(),
            "source s, provider p, destination d, state dead, error gone, type \"a b\", \
             key k\\u{202e}, order o, text \"x, y\", from 2026-11-22T00:00:00Z, \
             to 2026-11-23T00:00:00Z"
        );
        assert_eq!(filter.members().len(), 11);
        let query = filter.query().on("");
        assert_eq!(query.matches('=').count(), 11, "{query}");
        assert!(query.contains("reason=gone"), "{query}");
        // The one part that a question once did not tell.
        let only = Filter {
            error: some("gone"),
            ..Filter::default()
        };
        assert!(!only.is_empty() && only.told() == "error gone");
    }
}
