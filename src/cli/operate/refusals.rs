//! `callseal refusals`: the callbacks that were not accepted, and why.

use serde_json::Value;

use crate::cli::operate::client::{Client, Query};
use crate::cli::operate::view::{self, Paint, list, number, paint, text};
use crate::cli::operate::{Gateway, client, failed, json, limit, moment};
use crate::cli::{Place, output};
use crate::clock::{Clock, SystemClock};

/// Where a callback can end that is not accepted.
const STAGES: [&str; 6] = [
    "refused",
    "rejected",
    "malformed",
    "overloaded",
    "unheard",
    "conflict_dropped",
];

/// With a filter, too.
const NOTHING: &str = "no refusals fit";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  callseal refusals --groups --since 1h
  callseal refusals --source shop --reason signature_mismatch")]
pub struct Options {
    #[command(flatten)]
    gateway: Gateway,
    /// By source and reason, with the likely cause and what to do
    #[arg(long, short)]
    groups: bool,
    /// Name of the source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Reason code, exactly
    #[arg(long, value_name = "CODE", conflicts_with = "groups")]
    reason: Option<String>,
    /// Where it ended
    #[arg(long, value_name = "STAGE", value_parser = STAGES, conflicts_with = "groups")]
    stage: Option<String>,
    /// Since a duration ago (2h), a day, or a moment in UTC
    #[arg(long, visible_alias = "from", value_name = "WHEN", value_parser = moment)]
    since: Option<String>,
    /// Before: likewise
    #[arg(long, visible_alias = "to", value_name = "WHEN", value_parser = moment)]
    until: Option<String>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = limit)]
    limit: usize,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let client = client(place, &options.gateway)?;
    match options.groups {
        true => groups(&client, options),
        false => each(&client, options),
    }
}

fn groups(client: &Client, options: &Options) -> Result<(), u8> {
    let query = Query::new()
        .may("source", options.source.as_ref())
        .may("from", options.since.as_ref())
        .may("to", options.until.as_ref());
    let answer = client
        .get(&query.on("/v1/refusals/groups"))
        .map_err(|e| failed(&e))?;
    if options.gateway.json {
        json(&answer);
        return Ok(());
    }
    let now = SystemClock.now();
    let groups = list(&answer, "/groups");
    if groups.is_empty() {
        output::remark(NOTHING);
    }
    for group in groups {
        let source = match text(group, "/source") {
            none if none.is_empty() => "(no source)".to_owned(),
            source => source,
        };
        output::line(format_args!(
            "{}  {}  {}, last {} ago, from {}",
            paint(&source, Paint::Strong),
            paint(&text(group, "/reason"), Paint::Bad),
            view::count(number(group, "/count"), "time", "times"),
            view::ago(&text(group, "/last_at"), now),
            view::count(number(group, "/peers"), "address", "addresses"),
        ));
        for member in ["/cause", "/mend", "/command"] {
            let told = text(group, member);
            if !told.is_empty() {
                output::line(format_args!("    {told}"));
            }
        }
    }
    output::remark(format_args!(
        "of the last {} that are kept; {} since the start",
        number(&answer, "/kept"),
        number(&answer, "/seen")
    ));
    Ok(())
}

fn each(client: &Client, options: &Options) -> Result<(), u8> {
    let mut left = options.limit;
    let mut cursor: Option<u64> = None;
    let mut found: Vec<Value> = Vec::new();
    while left > 0 {
        let query = Query::new()
            .may("source", options.source.as_ref())
            .may("reason", options.reason.as_ref())
            .may("stage", options.stage.as_ref())
            .may("from", options.since.as_ref())
            .may("to", options.until.as_ref())
            .with("limit", left.min(500))
            .may("cursor", cursor);
        let page = client
            .get(&query.on("/v1/refusals"))
            .map_err(|e| failed(&e))?;
        let rows = list(&page, "/refusals");
        left = left.saturating_sub(rows.len());
        found.extend_from_slice(rows);
        cursor = page.get("next").and_then(Value::as_u64);
        if cursor.is_none() {
            break;
        }
    }
    if options.gateway.json {
        json(&serde_json::json!({ "refusals": found, "next": cursor }));
        return Ok(());
    }
    let now = SystemClock.now();
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|refusal| {
            vec![
                view::ago(&text(refusal, "/at"), now),
                text(refusal, "/stage"),
                text(refusal, "/reason"),
                text(refusal, "/source"),
                text(refusal, "/peer"),
                view::clipped(
                    &format!("{} {}", text(refusal, "/method"), text(refusal, "/path")),
                    48,
                ),
                text(refusal, "/detail"),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => output::remark(NOTHING),
        false => output::table(
            &[
                "AGE", "STAGE", "REASON", "SOURCE", "FROM", "REQUEST", "DETAIL",
            ],
            &rows,
        ),
    }
    if cursor.is_some() {
        output::remark("there are more: --limit N shows them, --groups adds them up");
    }
    Ok(())
}
