//! `callseal store stats`.

use serde_json::json;

use super::{close, failed, open};
use crate::cli::output;
use crate::inbox::store::Store;
use crate::inbox::store::embedded::EmbeddedConfig;

/// Opens the store as a gateway would and counts.
pub fn run(config: EmbeddedConfig, as_json: bool) -> Result<(), u8> {
    let store = open(config)?;
    let tally = store.tally().map_err(|e| failed(&e))?;
    let stats = store.stats();
    let report = store.report().clone();
    close(&store)?;
    if as_json {
        let sources: serde_json::Map<String, serde_json::Value> = tally
            .sources
            .iter()
            .map(|(name, c)| {
                let counts = json!({
                    "owed": c.owed,
                    "delivered": c.delivered,
                    "dead": c.dead,
                    "discarded": c.discarded,
                });
                (name.clone(), counts)
            })
            .collect();
        output::line(json!({
            "sources": sources,
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
        .sources
        .iter()
        .map(|(name, c)| {
            let numbers = [c.all(), c.owed, c.delivered, c.dead, c.discarded];
            std::iter::once(name.clone())
                .chain(numbers.map(|n| n.to_string()))
                .collect()
        })
        .collect();
    output::table(
        &["SOURCE", "EVENTS", "OWED", "DELIVERED", "DEAD", "DISCARDED"],
        &rows,
    );
    output::line(format_args!(
        "{} idempotency keys; {} segments, {} bytes",
        stats.claims, stats.journal_segments, stats.journal_bytes
    ));
    if let Some((from, to)) = tally.received {
        output::line(format_args!("received from {from} to {to}"));
    }
    Ok(())
}
