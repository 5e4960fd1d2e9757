//! `callseal reload`: the running gateway reads its rules, keys, certificates and some settings again.

use serde_json::Value;

use crate::cli::operate::view::{self, text};
use crate::cli::operate::{Gateway, client, failed, json};
use crate::cli::{Place, output};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    gateway: Gateway,
}

pub fn reload(place: &Place, options: &Options) -> Result<(), u8> {
    let client = client(place, &options.gateway)?;
    let answer = client.post("/v1/reload", None).map_err(|e| failed(&e))?;
    if options.gateway.json {
        json(&answer);
        return Ok(());
    }
    let digest = text(&answer, "/digest");
    let digest = digest.get(..12).unwrap_or(&digest);
    output::line(match view::is(&answer, "/changed") {
        true => format!("reloaded: the rules are {digest} now"),
        false => format!("nothing changed: the rules are {digest}"),
    });
    let waiting = answer.pointer("/next_start").and_then(Value::as_array);
    for key in waiting.into_iter().flatten().filter_map(Value::as_str) {
        output::remark(format_args!(
            "warning: {key} changed in the settings file, and counts from the next start on"
        ));
    }
    Ok(())
}
