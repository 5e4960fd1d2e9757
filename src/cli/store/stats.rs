//! `callseal store stats`.

use serde_json::{Value, json};

use super::{close, failed, open};
use crate::cli::output;
use crate::inbox::store::Store;
use crate::inbox::store::embedded::EmbeddedConfig;
use crate::inbox::store::offline::tally::Counts;
use crate::message::LaneName;

/// Opens the store as a gateway would and counts.
pub fn run(config: EmbeddedConfig, as_json: bool) -> Result<(), u8> {
    let store = open(config)?;
    let tally = store.tally().map_err(|e| failed(&e))?;
    let stats = store.stats();
    let report = store.report().clone();
    close(&store)?;
    if as_json {
        let sources: serde_json::Map<String, Value> = tally
            .sources
            .iter()
            .map(|(source, events)| {
                let of_source = tally
                    .lanes
                    .iter()
                    .filter(|(l, _)| l.source.as_str() == source);
                let lanes: serde_json::Map<String, Value> = of_source
                    .map(|(lane, counts)| (lane.destination.to_string(), counts_json(counts)))
                    .collect();
                let said = json!({ "events": events, "destinations": lanes });
                (source.clone(), said)
            })
            .collect();
        output::line(json!({
            "sources": sources,
            "paused": tally.paused.iter().map(name).collect::<Vec<_>>(),
            "deeds": tally.deeds,
            "claims": stats.claims,
            "segments": stats.journal_segments,
            "bytes": stats.journal_bytes,
            "oldest": tally.received.map(|(from, _)| from.to_string()),
            "newest": tally.received.map(|(_, to)| to.to_string()),
            "oldest_owed": stats.oldest_owed.map(|at| at.to_string()),
            "damaged": report.damage.len() + report.unreadable.len(),
            "opened_in_ms": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = tally
        .lanes
        .iter()
        .map(|(lane, c)| {
            let numbers = [
                c.all(),
                c.owed,
                c.delivered,
                c.dead,
                c.discarded,
                c.filtered,
                c.superseded,
            ];
            [lane.source.to_string(), lane.destination.to_string()]
                .into_iter()
                .chain(numbers.map(|n| n.to_string()))
                .collect()
        })
        .collect();
    output::table(
        &[
            "SOURCE",
            "DESTINATION",
            "DELIVERIES",
            "OWED",
            "DELIVERED",
            "DEAD",
            "DISCARDED",
            "FILTERED",
            "SUPERSEDED",
        ],
        &rows,
    );
    for lane in &tally.paused {
        output::line(format_args!("paused: {}", name(lane)));
    }
    output::line(format_args!(
        "{} events; {} idempotency keys; {} deeds of operators; {} segments, {} bytes",
        tally.sources.values().sum::<u64>(),
        stats.claims,
        tally.deeds,
        stats.journal_segments,
        stats.journal_bytes
    ));
    if let Some((from, to)) = tally.received {
        output::line(format_args!("received from {from} to {to}"));
    }
    Ok(())
}

fn name(lane: &LaneName) -> String {
    format!("{}/{}", lane.source, lane.destination)
}

fn counts_json(c: &Counts) -> Value {
    json!({
        "owed": c.owed,
        "delivered": c.delivered,
        "dead": c.dead,
        "discarded": c.discarded,
        "filtered": c.filtered,
        "superseded": c.superseded,
    })
}
