//! `callseal events`: what was accepted, and what became of it.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::cli::operate::client::{AskError, Client, Heard, Query, segment};
use crate::cli::operate::filter::{Filter, STATES};
use crate::cli::operate::view::{self, Paint, list, number, paint, text};
use crate::cli::operate::{Gateway, client, failed, json, limit};
use crate::cli::{EXIT_FAILED, EXIT_USAGE, Place, output};
use crate::clock::{Clock, SystemClock, Timestamp};

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    flatten_help = true,
    after_help = "\
Examples:
  callseal events --state dead --since 2h
  callseal events --order A-10017
  callseal events list --source shop --all --json | jq -r .id
  callseal events show evt_00000020009s0ajcfm6m6hn3kb --verify
  callseal events follow --source shop

With --json: `list` and `show` print one document, `list --all` and `follow` one object a line."
)]
pub struct Options {
    #[command(flatten)]
    pub gateway: Gateway,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListOptions,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The newest events that fit, one line each
    List(ListOptions),
    /// One event: what was received, how it was verified, every attempt
    Show(ShowOptions),
    /// Events as they arrive, and what becomes of them, until Ctrl-C
    Follow(FollowOptions),
}

#[derive(Debug, clap::Args)]
struct ListOptions {
    #[command(flatten)]
    filter: Filter,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = limit)]
    limit: usize,
    /// All that fit, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct ShowOptions {
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

#[derive(Debug, clap::Args)]
struct FollowOptions {
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

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let client = client(place, &options.gateway)?;
    let as_json = options.gateway.json;
    match &options.command {
        None => listed(&client, &options.list, as_json),
        Some(Command::List(list)) => listed(&client, list, as_json),
        Some(Command::Show(show)) => shown(&client, show, as_json),
        Some(Command::Follow(follow)) => followed(&client, follow, as_json),
    }
}

fn listed(client: &Client, options: &ListOptions, as_json: bool) -> Result<(), u8> {
    let mut left = if options.all {
        usize::MAX
    } else {
        options.limit
    };
    let mut cursor: Option<String> = None;
    let mut printer = Printer::default();
    let mut found: Vec<Value> = Vec::new();
    let mut looking = Looking::default();
    loop {
        let query = options
            .filter
            .query()
            .with("limit", left.clamp(1, 500))
            .may("cursor", cursor.as_ref());
        let page = client
            .get(&query.on("/v1/events"))
            .map_err(|e| failed(&e))?;
        let rows = list(&page, "/events");
        looking.say(rows.len());
        left = left.saturating_sub(rows.len());
        // A line an event, so that what is long can be read as it comes.
        match (as_json, options.all) {
            (true, true) => rows.iter().map(view::json_line).for_each(output::line),
            (true, false) => found.extend_from_slice(rows),
            (false, _) => printer.print(rows),
        }
        cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() || left == 0 || output::closed() {
            break;
        }
    }
    match as_json {
        true if !options.all => json(&serde_json::json!({ "events": found, "next": cursor })),
        true => {}
        false if printer.rows == 0 => output::remark("no events fit"),
        false if cursor.is_some() => output::remark(format_args!(
            "there are more: --limit N or --all shows them"
        )),
        false => {}
    }
    Ok(())
}

/// A rare thing among very many: that it is still being looked for, for who watches.
#[derive(Default)]
struct Looking {
    /// Answers one after the other with nothing that fits.
    empty: usize,
}

impl Looking {
    fn say(&mut self, rows: usize) {
        use std::io::Write;
        let mut stderr = std::io::stderr().lock();
        if !output::steerable(&stderr) {
            return;
        }
        let _ = match (rows, self.empty) {
            (0, times) => {
                self.empty += 1;
                let dots = ".".repeat(times % 40);
                write!(stderr, "\r\x1b[Klooking further back.{dots}")
            }
            (_, 0) => return,
            (_, _) => {
                self.empty = 0;
                write!(stderr, "\r\x1b[K")
            }
        };
        let _ = stderr.flush();
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        if self.empty > 0 {
            self.say(1);
        }
    }
}

/// A table whose columns stay as wide as the first page wanted them.
#[derive(Default)]
struct Printer {
    widths: [usize; 6],
    rows: usize,
}

impl Printer {
    fn print(&mut self, rows: &[Value]) {
        let now = SystemClock.now();
        let cells: Vec<[String; 7]> = rows
            .iter()
            .map(|row| {
                let mut state = text(row, "/state");
                if state == "owed" && number(row, "/attempts") > 0 {
                    state = format!("owed ({})", number(row, "/attempts"));
                }
                let destination = match text(row, "/destination") {
                    to if to == "main" => text(row, "/source"),
                    to => format!("{} > {to}", text(row, "/source")),
                };
                [
                    view::ago(&text(row, "/received_at"), now),
                    state,
                    text(row, "/id"),
                    destination,
                    view::clipped(&text(row, "/type"), 32),
                    view::clipped(&amount(row), 40),
                    text(row, "/reason"),
                ]
            })
            .collect();
        if cells.is_empty() {
            return;
        }
        let header = [
            "AGE", "STATE", "EVENT", "SOURCE", "TYPE", "PAYMENT", "REASON",
        ];
        let first = self.rows == 0;
        if first {
            for (at, width) in self.widths.iter_mut().enumerate() {
                let longest = cells
                    .iter()
                    .filter_map(|row| row.get(at))
                    .map(|cell| output::columns(cell));
                *width = longest
                    .max()
                    .unwrap_or(0)
                    .max(header.get(at).map_or(0, |h| h.len()));
            }
            let longest = cells.iter().filter_map(|row| row.last());
            let longest = longest.map(|cell| output::columns(cell)).max().unwrap_or(0);
            if let Some(room) = output::width() {
                self.narrow(room.saturating_sub(longest));
            }
            let header: Vec<String> = header.iter().map(|h| (*h).to_owned()).collect();
            self.line(&header, None);
        }
        for row in &cells {
            self.line(row, Some(1));
        }
        self.rows += cells.len();
    }

    /// On a terminal, what merchants and providers name freely gives way, as far as it then still
    /// says something.
    fn narrow(&mut self, room: usize) {
        const LEAST: usize = 14;
        while self.widths.iter().map(|width| width + 2).sum::<usize>() > room {
            let [.., kind, payment] = &mut self.widths;
            match (*kind >= *payment && *kind > LEAST, *payment > LEAST) {
                (true, _) => *kind -= 1,
                (false, true) => *payment -= 1,
                (false, false) => return,
            }
        }
    }

    /// Pads before colouring: what colours is not seen, and has no width.
    fn line(&self, cells: &[String], state: Option<usize>) {
        let mut out = String::new();
        for (at, cell) in cells.iter().enumerate() {
            let width = self.widths.get(at).copied().unwrap_or(0);
            let cell = match (at, output::width()) {
                (4 | 5, Some(_)) => &view::clipped(cell, width),
                _ => cell,
            };
            let padding = " ".repeat(width.saturating_sub(output::columns(cell)) + 2);
            let word = cell.split(' ').next().unwrap_or_default();
            match Some(at) == state {
                true => out.push_str(&paint(cell, view::of_state(word))),
                false => out.push_str(cell),
            }
            out.push_str(&padding);
        }
        output::line(out.trim_end());
    }
}

/// Order, amount and what it is about, as far as they are known.
fn amount(row: &Value) -> String {
    let part = |name: &str| text(row, &format!("/payment/{name}"));
    let money = [part("amount"), part("currency")].join(" ");
    let parts = [part("order"), money.trim().to_owned(), part("status")];
    let parts: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    parts.join(" ")
}

fn shown(client: &Client, options: &ShowOptions, as_json: bool) -> Result<(), u8> {
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

/// Between two tries to find the gateway again.
const AGAIN: Duration = Duration::from_secs(1);

fn followed(client: &Client, options: &FollowOptions, as_json: bool) -> Result<(), u8> {
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
