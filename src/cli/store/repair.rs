//! `callseal store repair`.

use serde_json::json;

use super::verify::{damage_json, describe};
use super::{close, lock, open, progress, refused};
use crate::cli::operate::view;
use crate::cli::{EXIT_DAMAGED, output};
use crate::inbox::store::embedded::EmbeddedConfig;

/// Repairs, and then opens the store as a gateway would, which makes the index anew.
pub fn run(config: EmbeddedConfig, as_json: bool) -> Result<(), u8> {
    let offline = lock(&config.directory)?;
    let done = offline
        .repair(&mut progress("checked"))
        .map_err(|e| refused(&e))?;
    drop(offline);
    let store = open(config)?;
    let events = store.report().events;
    close(&store)?;
    if as_json {
        output::line(view::json_line(&json!({
            "headers": done.headers,
            "damage": done.damage.iter().map(damage_json).collect::<Vec<_>>(),
            "set_aside": done.set_aside,
            "beyond_repair": done.beyond,
            "events": events,
        })));
    } else {
        for number in &done.headers {
            output::line(format_args!("segment {number:010}: header written anew"));
        }
        for damage in &done.damage {
            output::line(describe(damage));
        }
        for path in &done.set_aside {
            output::line(format_args!("set aside: {}", path.display()));
        }
        for number in &done.beyond {
            output::line(format_args!(
                "segment {number:010}: beyond repair, left as it is"
            ));
        }
        output::line(format_args!("{events} events; the index was made anew"));
    }
    match done.beyond.is_empty() {
        true => Ok(()),
        false => Err(EXIT_DAMAGED),
    }
}
