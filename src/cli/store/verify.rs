//! `callseal store verify`.

use serde_json::json;

use super::{lock, progress, refused};
use crate::cli::operate::view;
use crate::cli::{EXIT_DAMAGED, output};
use crate::inbox::store::embedded::EmbeddedConfig;
use crate::inbox::store::offline::check::{Damage, Findings, IndexFound, Lost};

pub fn run(config: &EmbeddedConfig, as_json: bool) -> Result<(), u8> {
    let offline = lock(&config.directory)?;
    let findings = offline
        .check(&mut progress("checked"))
        .map_err(|e| refused(&e))?;
    match as_json {
        true => output::line(view::json_line(&json(&findings))),
        false => text(&findings),
    }
    match findings.damage.is_empty() {
        true => Ok(()),
        false => Err(EXIT_DAMAGED),
    }
}

fn text(found: &Findings) {
    for damage in &found.damage {
        output::line(format_args!("DAMAGED {}", describe(damage)));
    }
    if found.torn_bytes > 0 {
        output::line(format_args!(
            "{} bytes at the end were cut off by a crash: nothing of it was acknowledged",
            found.torn_bytes
        ));
    }
    if found.cleared_bytes > 0 {
        output::line(format_args!(
            "{} bytes between records are cleared",
            found.cleared_bytes
        ));
    }
    match &found.index {
        IndexFound::Good { segments } => {
            output::line(format_args!("index: good, {segments} segments"));
        }
        IndexFound::Missing => output::line("index: missing; the next start makes it"),
        IndexFound::Unusable(why) => {
            output::line(format_args!("index: {why}; the next start makes it anew"));
        }
    }
    output::line(format_args!(
        "{} events, {} steps of deliveries and {} deeds of operators in {} segments, {} bytes: {}",
        found.events,
        found.steps,
        found.words,
        found.segments,
        found.bytes,
        match found.damage.len() {
            0 => "all as they were written".to_owned(),
            1 => "1 damaged place".to_owned(),
            n => format!("{n} damaged places"),
        }
    ));
}

/// A line for people about a damaged place.
pub fn describe(damage: &Damage) -> String {
    let what = match (&damage.lost, damage.harm.loses()) {
        (
            Some(Lost::Event {
                id,
                source,
                event_key,
            }),
            _,
            // The key is the provider's word.
        ) => format!("event {id} of {source} ({})", view::visible(event_key)),
        (Some(Lost::Step { of }), _) => format!("something that happened to delivery {of}"),
        (Some(Lost::Word), _) => "something that an operator did".to_owned(),
        (None, true) => "what was recorded there cannot be told".to_owned(),
        (None, false) => "nothing is lost".to_owned(),
    };
    format!(
        "segment {:010} bytes {} to {} [{}]: {what}",
        damage.segment,
        damage.from,
        damage.to,
        damage.harm.code()
    )
}

pub fn damage_json(damage: &Damage) -> serde_json::Value {
    let lost = match &damage.lost {
        None => serde_json::Value::Null,
        Some(Lost::Event {
            id,
            source,
            event_key,
        }) => json!({ "event": id.to_string(), "source": source, "key": event_key }),
        Some(Lost::Step { of }) => json!({ "step_of": of.to_string() }),
        Some(Lost::Word) => json!({ "deed": true }),
    };
    json!({
        "segment": damage.segment,
        "from": damage.from,
        "to": damage.to,
        "harm": damage.harm.code(),
        "loses": damage.harm.loses(),
        "lost": lost,
    })
}

fn json(found: &Findings) -> serde_json::Value {
    let index = match &found.index {
        IndexFound::Good { .. } => json!({ "state": "good" }),
        IndexFound::Missing => json!({ "state": "missing" }),
        IndexFound::Unusable(why) => json!({ "state": "unusable", "why": why }),
    };
    json!({
        "segments": found.segments,
        "bytes": found.bytes,
        "events": found.events,
        "steps": found.steps,
        "deeds": found.words,
        "torn_bytes": found.torn_bytes,
        "cleared_bytes": found.cleared_bytes,
        "damage": found.damage.iter().map(damage_json).collect::<Vec<_>>(),
        "index": index,
    })
}
