//! `callseal events list`.

use serde_json::Value;

use super::amount;
use crate::cli::operate::client::Client;
use crate::cli::operate::filter::Filter;
use crate::cli::operate::view::{self, list, number, paint, text};
use crate::cli::operate::{failed, json, limit};
use crate::cli::output;
use crate::clock::{Clock, SystemClock};

#[derive(Debug, clap::Args)]
pub struct ListOptions {
    #[command(flatten)]
    filter: Filter,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = limit)]
    limit: usize,
    /// All that fit, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

pub fn listed(client: &Client, options: &ListOptions, as_json: bool) -> Result<(), u8> {
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
