//! `callseal top`: the gateway at a glance, again and again.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::operate::client::{AskError, Client};
use crate::cli::operate::sources::of_health;
use crate::cli::operate::view::{self, Paint, list, number, paint, text};
use crate::cli::operate::{Gateway, client, failed, json};
use crate::cli::{Place, output};
use crate::clock::{Clock, SystemClock, Timestamp};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    gateway: Gateway,
    /// Show once and end, as where the output is no terminal
    #[arg(long)]
    once: bool,
    /// Between two looks, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

/// For an answer: a screen that shows old figures for long is worse than one that says so.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines and columns of what is drawn.
#[derive(Clone, Copy)]
struct Size {
    lines: usize,
    columns: usize,
}

/// Where the output is no terminal everything is shown, in lines of any length.
const BOUNDLESS: Size = Size {
    lines: usize::MAX,
    columns: usize::MAX,
};

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let client = client(place, &options.gateway)?.with_patience(PATIENCE);
    // A first look before the screen is taken: what is wrong must stay readable.
    let mut looked = look(&client).map_err(|e| failed(&e))?;
    let mut at = SystemClock.now();
    if options.gateway.json {
        let (overview, sources) = looked;
        json(&serde_json::json!({ "overview": overview, "sources": sources.get("sources") }));
        return Ok(());
    }
    let stdout = std::io::stdout();
    if options.once || !output::steerable(&stdout) {
        let size = output::width().map_or(BOUNDLESS, |columns| Size {
            columns,
            ..BOUNDLESS
        });
        drawn(&looked.0, &looked.1, at, size)
            .iter()
            .for_each(output::line);
        return Ok(());
    }
    // What stands on the screen goes up into what can be scrolled back to. The terminal is in no
    // state of its own that would have to be undone: whatever ends the process leaves it as it is.
    let mut screen = "\n".repeat(size().lines);
    let mut trouble = String::new();
    loop {
        let size = size();
        let mut all = Vec::new();
        if !trouble.is_empty() {
            let told = view::clipped(&trouble, size.columns);
            all.push(paint(&told, Paint::Bad));
        }
        let rest = Size {
            lines: size.lines.saturating_sub(all.len() + 1),
            ..size
        };
        all.extend(drawn(&looked.0, &looked.1, at, rest));
        // Home, each line cleared to its end, and what is below.
        screen.push_str("\x1b[H");
        for line in all.iter().take(size.lines.saturating_sub(1)) {
            screen.push_str(&shortened(line, size.columns));
            screen.push_str("\x1b[K\n");
        }
        screen.push_str("\x1b[J");
        let mut out = stdout.lock();
        let written = out.write_all(screen.as_bytes()).and_then(|()| out.flush());
        drop(out);
        if written.is_err() {
            return Ok(());
        }
        screen.clear();
        client.wait(until(Duration::from_secs(options.every)));
        match look(&client) {
            Ok(new) => (looked, trouble, at) = (new, String::new(), SystemClock.now()),
            Err(error) => {
                let since = at.to_string();
                let since = since.get(11..19).unwrap_or_default();
                trouble = format!("this is of {since} UTC: {error}");
            }
        }
    }
}

/// Until the next look is due, or the terminal has another size.
async fn until(next: Duration) {
    let resized = async {
        match signal(SignalKind::window_change()) {
            Ok(mut changes) => drop(changes.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = tokio::time::sleep(next) => {}
        () = resized => {}
    }
}

fn size() -> Size {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let size = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let (lines, columns) = size.map_or((24, 80), |size| (size.ws_row.into(), size.ws_col.into()));
    Size { lines, columns }
}

/// At most so many columns; sequences that colour have none.
fn shortened(line: &str, columns: usize) -> String {
    let mut out = String::new();
    let (mut width, mut sequence) = (0, false);
    for c in line.chars() {
        if c == '\x1b' {
            sequence = true;
        }
        if !sequence {
            width += output::columns(c.encode_utf8(&mut [0; 4]));
            if width > columns {
                continue;
            }
        }
        out.push(c);
        if sequence && c == 'm' {
            sequence = false;
        }
    }
    out
}

fn look(client: &Client) -> Result<(Value, Value), AskError> {
    Ok((client.get("/v1/overview")?, client.get("/v1/sources")?))
}

/// Parts side by side, in as many lines as they need.
fn flowing(parts: &[(String, Option<Paint>)], columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut width = 0;
    for (part, with) in parts.iter().filter(|(part, _)| !part.is_empty()) {
        let wide = output::columns(part);
        let part = with.map_or_else(|| part.clone(), |with| paint(part, with));
        match lines.last_mut() {
            Some(line) if width + 2 + wide <= columns => {
                line.push_str("  ");
                line.push_str(&part);
                width += 2 + wide;
            }
            Some(_) | None => {
                lines.push(part);
                width = wide;
            }
        }
    }
    lines
}

/// As many as there is room for, the last one saying how many are left out.
fn fitting(mut lines: Vec<String>, room: usize, more: &str) -> Vec<String> {
    let left_out = lines.len().saturating_sub(room.saturating_sub(1));
    if lines.len() > room {
        lines.truncate(room.saturating_sub(1));
        lines.push(paint(
            &format!("… and {left_out} more: {more}"),
            Paint::Faint,
        ));
    }
    lines
}

fn drawn(overview: &Value, sources: &Value, now: Timestamp, size: Size) -> Vec<String> {
    let mut out = head(overview, now, size);
    let attention = attention(overview);
    let table = table(list(sources, "/sources"), now, size.columns);
    // The blank line and the header of the table; what is left is for both.
    let room = size.lines.saturating_sub(out.len() + 2);
    let (header, rows) = match table.split_first() {
        Some((header, rows)) => (header.clone(), rows.to_vec()),
        None => return out,
    };
    if !attention.is_empty() {
        let room = room.saturating_sub(1 + rows.len().min(room / 2));
        out.push(String::new());
        out.extend(fitting(attention, room.max(1), "callseal doctor"));
    }
    out.push(String::new());
    out.push(header);
    let room = size.lines.saturating_sub(out.len());
    out.extend(fitting(rows, room, "callseal sources"));
    out
}

/// Below so many lines the sources come before rates and times.
const LOW: usize = 16;

fn head(overview: &Value, now: Timestamp, size: Size) -> Vec<String> {
    let plain = |text: String| (text, None);
    let ready = match (
        view::is(overview, "/draining"),
        view::is(overview, "/accepting"),
    ) {
        (true, _) => ("draining", Paint::Warning),
        (false, true) => ("accepting", Paint::Good),
        (false, false) => ("NOT ACCEPTING", Paint::Bad),
    };
    let first = [
        (
            format!("callseal {}", text(overview, "/version")),
            Some(Paint::Strong),
        ),
        (ready.0.to_owned(), Some(ready.1)),
        plain(format!(
            "up {}",
            view::ago(&text(overview, "/started_at"), now)
        )),
        plain(format!(
            "journal {}",
            view::bytes(number(overview, "/journal_bytes"))
        )),
        plain(format!("keys {}", number(overview, "/claims"))),
    ];
    let rate = |name: &str| {
        let rate = overview
            .pointer(&format!("/rates/{name}"))
            .and_then(Value::as_f64);
        plain(format!("{name} {:.1}", rate.unwrap_or(0.0)))
    };
    let rates = [
        plain("per second:".to_owned()),
        rate("accepted"),
        rate("duplicate"),
        rate("rejected"),
        rate("refused"),
        rate("delivered"),
        rate("failed"),
    ];
    let oldest = match text(overview, "/oldest_owed_at") {
        none if none.is_empty() => String::new(),
        at => format!(" (oldest {})", view::ago(&at, now)),
    };
    let times = |what: &str| {
        let part = |p: &str| {
            let value = overview
                .pointer(&format!("/{what}/{p}"))
                .and_then(Value::as_f64);
            value.map_or("-".to_owned(), |ms| format!("{ms:.1}"))
        };
        format!("{}/{} ms", part("p50_ms"), part("p99_ms"))
    };
    let dead = number(overview, "/dead");
    let counts = [
        plain(format!("owed {}{oldest}", number(overview, "/owed"))),
        (
            format!("dead {dead}"),
            Some(Paint::Bad).filter(|_| dead > 0),
        ),
        plain(format!("acknowledged in {}", times("acknowledge"))),
        plain(format!("delivered in {}", times("delivery"))),
    ];
    let flowing = |parts: &[_]| flowing(parts, size.columns);
    match size.lines < LOW {
        true => {
            let each = [flowing(&first), flowing(&counts)];
            each.into_iter()
                .flat_map(|lines| lines.into_iter().next())
                .collect()
        }
        false => [flowing(&first), flowing(&rates), flowing(&counts)].concat(),
    }
}

fn attention(overview: &Value) -> Vec<String> {
    let told = |one: &Value| {
        let severity = text(one, "/severity");
        let with = match severity.as_str() {
            "blocker" => Paint::Bad,
            "warning" => Paint::Warning,
            _ => Paint::Faint,
        };
        let about = match (text(one, "/source"), text(one, "/destination")) {
            (source, _) if source.is_empty() => String::new(),
            (source, to) if to.is_empty() || to == "main" => format!("{source}: "),
            (source, to) => format!("{source} > {to}: "),
        };
        format!(
            "{} {about}{}",
            paint(&format!("{severity:<8}"), with),
            text(one, "/detail")
        )
    };
    list(overview, "/attention").iter().map(told).collect()
}

/// A column besides the name: title, width, and how dear it is where the terminal is narrow.
type Column = (&'static str, usize, u8);

const COLUMNS: [Column; 7] = [
    ("HEALTH", 8, DEAR),
    ("LAST", 6, 2),
    ("ACCEPTED/H", 10, 3),
    ("DOUBLE/H", 8, 1),
    ("REJECTED/H", 10, 4),
    ("OWED", 7, DEAR),
    ("DEAD", 7, DEAR),
];
/// Never left out.
const DEAR: u8 = u8::MAX;
const NAME_LEAST: usize = 12;
const NAME_MOST: usize = 24;

/// The columns that there is room for, and the width of the name before them.
fn layout(columns: usize) -> (Vec<usize>, usize) {
    let mut kept: Vec<usize> = (0..COLUMNS.len()).collect();
    loop {
        let of = |at: &usize| COLUMNS.get(*at).copied().unwrap_or_default();
        let taken: usize = kept.iter().map(|at| of(at).1 + 1).sum();
        let name = columns.saturating_sub(taken);
        let cheapest = kept.iter().copied().min_by_key(|at| of(at).2);
        match cheapest {
            Some(at) if name < NAME_LEAST && of(&at).2 != DEAR => kept.retain(|k| *k != at),
            Some(_) | None => return (kept, name.clamp(NAME_LEAST, NAME_MOST)),
        }
    }
}

/// The header and a line for each source, those that want a look first.
fn table(sources: &[Value], now: Timestamp, columns: usize) -> Vec<String> {
    let (kept, name) = layout(columns);
    let titles = COLUMNS.map(|(title, ..)| title.to_owned());
    let header = row("SOURCE", &titles, &kept, name, None);
    let sum = |source: &Value, member: &str| {
        let each = list(source, "/destinations")
            .iter()
            .map(|to| number(to, member));
        each.sum::<u64>()
    };
    let mut sources: Vec<&Value> = sources.iter().collect();
    sources.sort_by_key(|source| match text(source, "/health").as_str() {
        "failing" => 0,
        _ if sum(source, "/dead") > 0 => 1,
        "quiet" | "paused" => 2,
        _ => 3,
    });
    let rows = sources.into_iter().map(|source| {
        let health = text(source, "/health");
        let with = of_health(&health);
        let cells = [
            health,
            view::ago(&text(source, "/last_accepted_at"), now),
            number(source, "/accepted_1h").to_string(),
            number(source, "/duplicate_1h").to_string(),
            number(source, "/rejected_1h").to_string(),
            sum(source, "/owed").to_string(),
            sum(source, "/dead").to_string(),
        ];
        row(&text(source, "/name"), &cells, &kept, name, Some(with))
    });
    std::iter::once(paint(&header, Paint::Faint))
        .chain(rows)
        .collect()
}

fn row(
    source: &str,
    cells: &[String; 7],
    kept: &[usize],
    name: usize,
    health: Option<Paint>,
) -> String {
    let mut line = output::padded(&view::clipped(source, name), name);
    for at in kept {
        let (Some(cell), Some((title, wide, _))) = (cells.get(*at), COLUMNS.get(*at)) else {
            continue;
        };
        let cell = match (*title, health) {
            ("HEALTH", Some(with)) => paint(&format!("{cell:<wide$}"), with),
            ("HEALTH", None) => format!("{cell:<wide$}"),
            _ => format!("{cell:>wide$}"),
        };
        line.push(' ');
        line.push_str(&cell);
    }
    line
}

#[cfg(test)]
mod tests;
