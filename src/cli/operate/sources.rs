//! `callseal sources`, `callseal pause` and `callseal resume`.

use std::time::Duration;

use serde_json::Value;

use crate::cli::operate::client::{Query, segment};
use crate::cli::operate::view::{self, Paint, list, number, paint, text};
use crate::cli::operate::{Gateway, client, failed, json};
use crate::cli::{Place, output};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::rule::value;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    gateway: Gateway,
    /// One source, with its keys and destinations
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct PauseOptions {
    #[command(flatten)]
    gateway: Gateway,
    /// Name of the source
    source: String,
    /// This destination alone
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Why; it stands in the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Which word.
#[derive(Clone, Copy)]
pub enum Word {
    Pause,
    Resume,
}

pub fn say(place: &Place, options: &PauseOptions, word: Word) -> Result<(), u8> {
    let client = client(place, &options.gateway)?;
    let name = match word {
        Word::Pause => "pause",
        Word::Resume => "resume",
    };
    let query = Query::new()
        .may("destination", options.destination.as_ref())
        .may("reason", options.reason.as_ref());
    let path = format!("/v1/sources/{}/{name}", segment(&options.source));
    let answer = client
        .post(&query.on(&path), None)
        .map_err(|e| failed(&e))?;
    if options.gateway.json {
        json(&answer);
        return Ok(());
    }
    let what = match text(&answer, "/destination") {
        to if to.is_empty() => text(&answer, "/source"),
        to => format!("{} > {to}", text(&answer, "/source")),
    };
    output::line(match (word, view::is(&answer, "/paused")) {
        (Word::Pause, true) => {
            format!("{what} is paused: callbacks are accepted, and nothing is sent")
        }
        (Word::Resume, false) => format!("{what} goes on: what is owed is sent"),
        (Word::Resume, true) => format!("{what} is still paused"),
        (Word::Pause, false) => format!("{what} is not paused"),
    });
    Ok(())
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let client = client(place, &options.gateway)?;
    let path = match &options.name {
        Some(name) => format!("/v1/sources/{}", segment(name)),
        None => "/v1/sources".to_owned(),
    };
    let answer = client.get(&path).map_err(|e| failed(&e))?;
    match (options.gateway.json, &options.name) {
        (true, _) => json(&answer),
        (false, Some(_)) => one(&answer),
        (false, None) => all(list(&answer, "/sources")),
    }
    Ok(())
}

/// The colour of a source's health.
pub fn of_health(health: &str) -> Paint {
    match health {
        "good" => Paint::Good,
        "failing" => Paint::Bad,
        "quiet" | "paused" => Paint::Warning,
        _ => Paint::Faint,
    }
}

fn all(sources: &[Value]) {
    let now = SystemClock.now();
    let rows: Vec<Vec<String>> = sources
        .iter()
        .map(|source| {
            let sum = |member: &str| {
                let each = list(source, "/destinations")
                    .iter()
                    .map(|to| number(to, member));
                each.sum::<u64>().to_string()
            };
            vec![
                text(source, "/name"),
                text(source, "/provider"),
                text(source, "/health"),
                view::ago(&text(source, "/last_accepted_at"), now),
                number(source, "/accepted_1h").to_string(),
                number(source, "/rejected_1h").to_string(),
                sum("/owed"),
                sum("/dead"),
                text(source, "/path"),
            ]
        })
        .collect();
    if rows.is_empty() {
        output::remark("no sources");
        return;
    }
    let header = [
        "SOURCE",
        "PROVIDER",
        "HEALTH",
        "LAST",
        "ACCEPTED/H",
        "REJECTED/H",
        "OWED",
        "DEAD",
        "PATH",
    ];
    output::table(&header, &rows);
}

fn one(source: &Value) {
    let now = SystemClock.now();
    let health = text(source, "/health");
    output::line(format_args!(
        "{}  {}",
        paint(&text(source, "/name"), Paint::Strong),
        paint(&health, of_health(&health))
    ));
    let moment = |member: &str| match text(source, member) {
        never if never.is_empty() => "not since the start".to_owned(),
        at => format!("{at} ({} ago)", view::ago(&at, now)),
    };
    let facts = [
        (
            "provider",
            format!("{} ({})", text(source, "/provider"), text(source, "/title")),
        ),
        ("path", text(source, "/path")),
        ("file", text(source, "/file")),
        ("answers", text(source, "/mode")),
        ("accepted", moment("/last_accepted_at")),
        ("rejected", moment("/last_rejected_at")),
        (
            "keeps",
            value::written(Duration::from_secs(number(source, "/keep_seconds"))),
        ),
    ];
    for (name, value) in facts {
        output::line(format_args!(
            "{}  {value}",
            paint(&format!("{name:<9}"), Paint::Faint)
        ));
    }
    let keys: Vec<Vec<String>> = list(source, "/keys")
        .iter()
        .map(|key| {
            vec![
                text(key, "/label"),
                text(key, "/state"),
                view::ago(&text(key, "/last_used_at"), now),
                text(key, "/not_after"),
            ]
        })
        .collect();
    if !keys.is_empty() {
        output::line("");
        output::table(&["KEY", "STATE", "USED", "ENDS"], &keys);
    }
    let destinations: Vec<Vec<String>> = list(source, "/destinations")
        .iter()
        .map(|to| {
            let paused = if view::is(to, "/paused") {
                "paused".to_owned()
            } else {
                text(to, "/breaker")
            };
            vec![
                text(to, "/name"),
                paused,
                number(to, "/owed").to_string(),
                number(to, "/dead").to_string(),
                format!("{}/{}", number(to, "/under_way"), number(to, "/limit")),
                view::ago(&text(to, "/last_delivered_at"), now),
                text(to, "/last_error"),
                text(to, "/forward"),
            ]
        })
        .collect();
    output::line("");
    let header = [
        "DESTINATION",
        "BREAKER",
        "OWED",
        "DEAD",
        "UNDER WAY",
        "DELIVERED",
        "LAST ERROR",
        "FORWARD",
    ];
    output::table(&header, &destinations);
    for line in pauses(source, now) {
        output::line(line);
    }
}

/// Who paused it, since when and why: each word once.
fn pauses(source: &Value, now: Timestamp) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let to = list(source, "/destinations").iter();
    for pause in to.flat_map(|to| list(to, "/pauses")) {
        let what = match text(pause, "/destination") {
            to if to.is_empty() => "the whole source".to_owned(),
            to => to,
        };
        let since = text(pause, "/since");
        let ago = view::ago(&since, now);
        let by = text(pause, "/by");
        let mut line = format!("{what} was paused by {by} at {since} ({ago} ago)");
        match text(pause, "/reason") {
            reason if reason.is_empty() => {}
            reason => line.push_str(&format!(": {reason}")),
        }
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}
