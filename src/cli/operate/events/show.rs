//! `callseal events show`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::amount;
use crate::cli::operate::client::{Client, Query, segment};
use crate::cli::operate::view::{self, Paint, list, number, paint, text};
use crate::cli::operate::{failed, json};
use crate::cli::{EXIT_FAILED, EXIT_USAGE, output};
use crate::clock::{Clock, SystemClock};

#[derive(Debug, clap::Args)]
pub struct ShowOptions {
    /// Id of an event or a delivery (evt_…)
    #[arg(value_name = "ID")]
    id: String,
    /// Card numbers, names, addresses as they are. An operator's alone, and written to the audit
    #[arg(long)]
    unmask: bool,
    /// How the verifier comes to its verdict, step by step, with the rules as they are now
    #[arg(long)]
    verify: bool,
    /// Write the body, byte for byte, to a file (`-`: standard output). Written to the audit
    #[arg(long, value_name = "FILE", conflicts_with = "request")]
    body: Option<PathBuf>,
    /// Write the whole request as it was received, for `callseal explain`. Written to the audit
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
}

pub fn shown(client: &Client, options: &ShowOptions, as_json: bool) -> Result<(), u8> {
    let id = segment(&options.id);
    let outside = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
    if (outside(&options.body) || outside(&options.request)) && std::io::stdout().is_terminal() {
        output::remark(
            "error: what a stranger wrote could steer this terminal: name a file, or pipe it",
        );
        return Err(EXIT_USAGE);
    }
    for (file, what) in [(&options.body, "body"), (&options.request, "request")] {
        if let Some(file) = file {
            let bytes = client
                .bytes(&format!("/v1/events/{id}/{what}"))
                .map_err(|e| failed(&e))?;
            return written(file, &bytes);
        }
    }
    let query = match options.unmask {
        true => Query::new().with("unmask", true),
        false => Query::new(),
    };
    let mut event = client
        .get(&query.on(&format!("/v1/events/{id}")))
        .map_err(|e| failed(&e))?;
    let verification = match options.verify {
        false => None,
        true => {
            let path = format!("/v1/events/{id}/verification");
            Some(client.get(&path).map_err(|e| failed(&e))?)
        }
    };
    if as_json {
        if let (Some(event), Some(verification)) = (event.as_object_mut(), verification) {
            event.insert("verification".to_owned(), verification);
        }
        json(&event);
        return Ok(());
    }
    told(&event);
    if let Some(verification) = verification {
        steps(&verification);
    }
    Ok(())
}

fn written(file: &Path, bytes: &[u8]) -> Result<(), u8> {
    use std::io::Write;
    let done = match file == Path::new("-") {
        true => std::io::stdout().lock().write_all(bytes),
        // It may hold card numbers: the owner's alone.
        false => crate::secret::write_whole(file, bytes, 0o600),
    };
    done.map_err(|error| {
        output::remark(format_args!("error: {}: {error}", file.display()));
        EXIT_FAILED
    })
}

fn field(name: &str, value: &str) {
    if !value.is_empty() {
        output::line(format_args!(
            "{}  {value}",
            paint(&format!("{name:<12}"), Paint::Faint)
        ));
    }
}

fn heading(name: &str) {
    output::line(format_args!("\n{}", paint(name, Paint::Strong)));
}

fn told(event: &Value) {
    let now = SystemClock.now();
    let state = text(event, "/state");
    output::line(format_args!(
        "{}  {}",
        paint(&text(event, "/id"), Paint::Strong),
        paint(&state, view::of_state(&state))
    ));
    field(
        "source",
        &format!("{} ({})", text(event, "/source"), text(event, "/provider")),
    );
    match text(event, "/destination") {
        main if main == "main" => {}
        other => field("destination", &other),
    }
    field("type", &text(event, "/type"));
    field("key", &text(event, "/key"));
    field("payment", &amount(event));
    field("transaction", &text(event, "/payment/transaction"));
    let received = text(event, "/received_at");
    let since = view::ago(&received, now);
    field(
        "received",
        &format!("{received} ({since} ago) from {}", text(event, "/peer")),
    );
    field("verified", &text(event, "/verified"));
    field("conflict of", &text(event, "/conflict_of"));
    field("reason", &text(event, "/reason"));
    let due = text(event, "/due");
    if !due.is_empty() {
        field("next attempt", &format!("{due} ({})", view::ago(&due, now)));
    }

    heading("Request");
    output::line(format_args!(
        "{} {}",
        text(event, "/method"),
        text(event, "/target")
    ));
    for pair in list(event, "/headers") {
        output::line(format_args!("{}: {}", text(pair, "/0"), text(pair, "/1")));
    }
    let body = event
        .pointer("/body/text")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !body.is_empty() {
        output::line(format_args!("\n{}", view::visible_lines(body).trim_end()));
        if view::is(event, "/body/cut") {
            output::line(paint("… the body goes on: --body FILE", Paint::Faint));
        }
    }

    let deliveries = list(event, "/deliveries");
    if deliveries.len() > 1 {
        heading("Deliveries");
        let rows: Vec<Vec<String>> = deliveries
            .iter()
            .map(|row| {
                ["/destination", "/state", "/id", "/reason"]
                    .iter()
                    .map(|p| text(row, p))
                    .collect()
            })
            .collect();
        output::table(&["DESTINATION", "STATE", "DELIVERY", "REASON"], &rows);
    }
    let history = list(event, "/history");
    heading(if history.is_empty() {
        "No attempts yet"
    } else {
        "Attempts"
    });
    for attempt in history {
        attempted(attempt);
    }
    let deeds = list(event, "/deeds");
    if !deeds.is_empty() {
        heading("Operators");
        for deed in deeds {
            output::line(format_args!(
                "{}  {} {} {}",
                text(deed, "/at"),
                text(deed, "/by"),
                text(deed, "/what"),
                text(deed, "/detail")
            ));
        }
    }
    if view::is(event, "/masked") {
        output::remark(
            "masked: card numbers, names, addresses (--unmask shows them, and is written to the audit)",
        );
    }
}

fn attempted(attempt: &Value) {
    let error = text(attempt, "/error");
    let status = text(attempt, "/status");
    let what = match (status.is_empty(), error.is_empty()) {
        (_, true) => paint(&format!("{status} taken"), Paint::Good),
        (true, false) => paint(&error, Paint::Bad),
        (false, false) => paint(&format!("{status} {error}"), Paint::Bad),
    };
    output::line(format_args!(
        "{:>3}  {}  {:>6} ms  {what}",
        number(attempt, "/number"),
        text(attempt, "/started_at"),
        number(attempt, "/took_ms"),
    ));
    for pair in list(attempt, "/response/headers") {
        output::line(format_args!(
            "       {}: {}",
            text(pair, "/0"),
            text(pair, "/1")
        ));
    }
    let body = attempt
        .pointer("/response/body")
        .and_then(Value::as_str)
        .unwrap_or_default();
    for line in view::visible_lines(body).lines().take(20) {
        output::line(format_args!("       {line}"));
    }
}

fn steps(verification: &Value) {
    heading("Verification, with the rules as they are now");
    for step in list(verification, "/steps") {
        let outcome = text(step, "/outcome");
        let with = match outcome.as_str() {
            "passed" => Paint::Good,
            "failed" => Paint::Bad,
            _ => Paint::Faint,
        };
        output::line(format_args!(
            "{} {}",
            paint(&format!("{outcome:<7}"), with),
            text(step, "/name")
        ));
        for fact in list(step, "/facts") {
            output::line(format_args!(
                "          {}: {}",
                text(fact, "/name"),
                text(fact, "/value")
            ));
        }
    }
    output::line(format_args!("verdict: {}", text(verification, "/verdict")));
}
