//! Which deliveries: the filters that listing, redriving and discarding share.

use serde_json::{Map, Value};

use crate::cli::operate::client::Query;
use crate::cli::operate::moment;

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
    /// owed, delivered, dead, discarded, filtered or superseded
    #[arg(long, value_name = "STATE", help_heading = "Filter")]
    pub state: Option<String>,
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
    /// Received since: a duration ago (2h), or a moment
    #[arg(long, visible_alias = "from", value_name = "WHEN", value_parser = moment, help_heading = "Filter")]
    pub since: Option<String>,
    /// Received before: a duration ago, or a moment
    #[arg(long, visible_alias = "to", value_name = "WHEN", value_parser = moment, help_heading = "Filter")]
    pub until: Option<String>,
}

impl Filter {
    fn parts(&self) -> [(&'static str, Option<&String>); 10] {
        [
            ("source", self.source.as_ref()),
            ("provider", self.provider.as_ref()),
            ("destination", self.destination.as_ref()),
            ("state", self.state.as_ref()),
            ("type", self.kind.as_ref()),
            ("key", self.key.as_ref()),
            ("order", self.order.as_ref()),
            ("text", self.text.as_ref()),
            ("from", self.since.as_ref()),
            ("to", self.until.as_ref()),
        ]
    }

    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(|(_, value)| value.is_none())
    }

    pub fn query(&self) -> Query {
        let parts = self.parts();
        parts
            .iter()
            .fold(Query::new(), |query, (name, value)| query.may(name, *value))
    }

    /// The members of a body.
    pub fn members(&self) -> Map<String, Value> {
        let parts = self.parts();
        let set = parts.iter().filter_map(|(name, value)| {
            Some(((*name).to_owned(), Value::String((*value)?.clone())))
        });
        set.collect()
    }

    /// In words, for a question.
    pub fn told(&self) -> String {
        let parts = self.parts();
        let set = parts
            .iter()
            .filter_map(|(name, value)| Some(format!("{name} {}", (*value)?)));
        set.collect::<Vec<String>>().join(", ")
    }
}
