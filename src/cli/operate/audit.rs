//! `callseal audit`: what operators did.

use serde_json::Value;

use crate::cli::operate::client::Query;
use crate::cli::operate::view::{list, number, text};
use crate::cli::operate::{Gateway, client, failed, json, limit};
use crate::cli::{Place, output};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    gateway: Gateway,
    /// What was done to this event
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = limit)]
    limit: usize,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let client = client(place, &options.gateway)?;
    let mut left = options.limit;
    let mut cursor: Option<u64> = None;
    let mut found: Vec<Value> = Vec::new();
    while left > 0 {
        let query = Query::new()
            .may("event", options.event.as_ref())
            .with("limit", left.min(500))
            .may("cursor", cursor);
        let page = client.get(&query.on("/v1/audit")).map_err(|e| failed(&e))?;
        let entries = list(&page, "/audit");
        left = left.saturating_sub(entries.len());
        found.extend_from_slice(entries);
        cursor = page.get("next").and_then(Value::as_u64);
        if cursor.is_none() {
            break;
        }
    }
    if options.gateway.json {
        json(&serde_json::json!({ "audit": found, "next": cursor }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|deed| {
            let about = match (
                text(deed, "/event"),
                text(deed, "/source"),
                text(deed, "/destination"),
            ) {
                (event, _, _) if !event.is_empty() => event,
                (_, source, to) if to.is_empty() => source,
                (_, source, to) => format!("{source} > {to}"),
            };
            vec![
                text(deed, "/at"),
                text(deed, "/by"),
                text(deed, "/what"),
                about,
                number(deed, "/count").to_string(),
                text(deed, "/outcome"),
                text(deed, "/detail"),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => output::remark("nothing was done yet"),
        false => output::table(
            &["AT", "BY", "WHAT", "ABOUT", "COUNT", "OUTCOME", "DETAIL"],
            &rows,
        ),
    }
    if cursor.is_some() {
        output::remark("there are more: --limit N shows them");
    }
    Ok(())
}
