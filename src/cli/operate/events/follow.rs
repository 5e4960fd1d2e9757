//! `callseal events follow`.

use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::Value;

use super::amount;
use crate::cli::operate::client::{AskError, Client, Heard, Query};
use crate::cli::operate::failed;
use crate::cli::operate::filter::STATES;
use crate::cli::operate::view::{self, Paint, number, paint, text};
use crate::cli::output;
use crate::clock::{Clock, SystemClock, Timestamp};

#[derive(Debug, clap::Args)]
pub struct FollowOptions {
    /// Name of the source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only events that come to stand so
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    state: Option<String>,
    /// Refusals too
    #[arg(long)]
    refusals: bool,
}

/// Between two tries to find the gateway again.
const AGAIN: Duration = Duration::from_secs(1);

pub fn followed(client: &Client, options: &FollowOptions, as_json: bool) -> Result<(), u8> {
    let kinds = match options.refusals {
        true => "accepted,attempt,state,refused",
        false => "accepted,attempt,state",
    };
    let query = Query::new()
        .with("kinds", kinds)
        .may("source", options.source.as_ref())
        .may("state", options.state.as_ref());
    let target = query.on("/v1/stream");
    // Since when nothing is heard, after something was.
    let mut lost: Option<Timestamp> = None;
    let mut open = false;
    loop {
        let ended = client.stream(&target, |heard| {
            match heard {
                Heard::Open => {
                    open = true;
                    if let Some(since) = lost.take() {
                        gap(since, as_json);
                    }
                }
                Heard::Message(message) => match as_json {
                    true => {
                        let line =
                            serde_json::json!({ "kind": message.kind, "data": message.data });
                        output::line(view::json_line(&line));
                    }
                    false => happened(&message.kind, &message.data),
                },
            }
            match output::closed() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        if output::closed() {
            return Ok(());
        }
        let silent = ended
            .as_ref()
            .map_or_else(AskError::noticed_after, |()| Duration::ZERO);
        match ended {
            // A wrong address or token does not become right; a gateway that starts anew does.
            Err(error) if !open || !error.may_pass() => return Err(failed(&error)),
            // Said once, however often it is tried.
            _ if lost.is_some() => {}
            Err(error) => output::remark(format_args!("{error}; trying again")),
            Ok(()) => output::remark("the gateway ended the stream; trying again"),
        }
        lost.get_or_insert_with(|| SystemClock.now().minus(silent));
        std::thread::sleep(AGAIN);
    }
}

/// What happened while nobody listened is not told later.
fn gap(since: Timestamp, as_json: bool) {
    let now = SystemClock.now();
    if as_json {
        let data = serde_json::json!({ "from": since.to_string(), "to": now.to_string() });
        let line = serde_json::json!({ "kind": "gap", "data": data });
        output::line(view::json_line(&line));
    }
    output::remark(format_args!(
        "connected again; what happened in between is not shown: callseal events --since {since}"
    ));
}

fn happened(kind: &str, data: &Value) {
    let state = text(data, "/state");
    let at = SystemClock.now().to_string();
    let at = at.get(11..19).unwrap_or_default();
    let line = match kind {
        "accepted" => format!(
            "{:<10} {}  {} {} {}",
            paint("accepted", Paint::Strong),
            text(data, "/id"),
            text(data, "/source"),
            text(data, "/type"),
            amount(data)
        ),
        "attempt" => {
            let error = text(data, "/error");
            let what = match error.is_empty() {
                true => paint(&format!("{} taken", text(data, "/status")), Paint::Good),
                false => paint(
                    format!("{} {error}", text(data, "/status")).trim(),
                    Paint::Bad,
                ),
            };
            format!(
                "attempt {:<2} {}  {} {what} {} ms",
                number(data, "/number"),
                text(data, "/id"),
                text(data, "/source"),
                number(data, "/took_ms")
            )
        }
        "state" => format!(
            "{} {}  {} {}",
            paint(&format!("{state:<10}"), view::of_state(&state)),
            text(data, "/id"),
            text(data, "/reason"),
            text(data, "/by")
        ),
        "refused" => format!(
            "{} {} {} {} from {}: {}",
            paint(&format!("{:<10}", text(data, "/stage")), Paint::Warning),
            text(data, "/source"),
            text(data, "/method"),
            text(data, "/path"),
            text(data, "/peer"),
            text(data, "/reason")
        ),
        "lagged" => format!("… {} messages were missed", number(data, "/missed")),
        _ => return,
    };
    output::line(format_args!(
        "{} {}",
        paint(at, Paint::Faint),
        line.trim_end()
    ));
}
