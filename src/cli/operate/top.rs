//! `callseal top`: the gateway at a glance, again and again.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;

use crate::cli::operate::client::{AskError, Client};
use crate::cli::operate::sources::of_health;
use crate::cli::operate::view::{self, Paint, list, number, paint, text};
use crate::cli::operate::{Gateway, client, failed, json};
use crate::cli::{Place, output};
use crate::clock::{Clock, SystemClock};

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

/// Lines when the terminal does not say.
const LINES: usize = 40;

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let client = client(place, &options.gateway)?;
    if options.gateway.json {
        let (overview, sources) = look(&client).map_err(|e| failed(&e))?;
        json(&serde_json::json!({ "overview": overview, "sources": sources.get("sources") }));
        return Ok(());
    }
    if options.once || !std::io::stdout().is_terminal() {
        let (overview, sources) = look(&client).map_err(|e| failed(&e))?;
        drawn(&overview, &sources).iter().for_each(output::line);
        return Ok(());
    }
    // A first look before the screen is taken: what is wrong must stay readable.
    let mut looked = look(&client).map_err(|e| failed(&e))?;
    let mut trouble = String::new();
    loop {
        let (lines, columns) = size();
        let mut all = drawn(&looked.0, &looked.1);
        if !trouble.is_empty() {
            all.insert(0, paint(&trouble, Paint::Bad));
        }
        let mut out = std::io::stdout().lock();
        // Home, each line cleared to its end, and what is below.
        let mut screen = String::from("\x1b[H");
        for line in all.iter().take(lines.saturating_sub(1)) {
            screen.push_str(&shortened(line, columns));
            screen.push_str("\x1b[K\n");
        }
        screen.push_str("\x1b[J");
        if out
            .write_all(screen.as_bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            return Ok(());
        }
        drop(out);
        std::thread::sleep(Duration::from_secs(options.every));
        match look(&client) {
            Ok(new) => (looked, trouble) = (new, String::new()),
            Err(error) => trouble = format!("{error}; what is below is old"),
        }
    }
}

fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let size = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or((LINES, 120), |size| {
        (size.ws_row.into(), size.ws_col.into())
    })
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
            width += 1;
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

fn drawn(overview: &Value, sources: &Value) -> Vec<String> {
    let now = SystemClock.now();
    let mut out = Vec::new();
    let ready = match (
        view::is(overview, "/draining"),
        view::is(overview, "/accepting"),
    ) {
        (true, _) => paint("draining", Paint::Warning),
        (false, true) => paint("accepting", Paint::Good),
        (false, false) => paint("NOT ACCEPTING", Paint::Bad),
    };
    out.push(format!(
        "{} {}  up {}  {ready}  journal {}  keys {}",
        paint("callseal", Paint::Strong),
        text(overview, "/version"),
        view::ago(&text(overview, "/started_at"), now),
        view::bytes(number(overview, "/journal_bytes")),
        number(overview, "/claims"),
    ));
    let rate = |name: &str| {
        let rate = overview
            .pointer(&format!("/rates/{name}"))
            .and_then(Value::as_f64);
        format!("{:.1}", rate.unwrap_or(0.0))
    };
    out.push(format!(
        "per second: accepted {}  duplicate {}  rejected {}  refused {}  delivered {}  failed {}",
        rate("accepted"),
        rate("duplicate"),
        rate("rejected"),
        rate("refused"),
        rate("delivered"),
        rate("failed"),
    ));
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
    out.push(format!(
        "owed {}{oldest}  dead {}  acknowledged in {}  delivered in {}",
        number(overview, "/owed"),
        number(overview, "/dead"),
        times("acknowledge"),
        times("delivery"),
    ));
    let attention = list(overview, "/attention");
    if !attention.is_empty() {
        out.push(String::new());
    }
    for one in attention {
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
        out.push(format!(
            "{} {about}{}",
            paint(&format!("{severity:<8}"), with),
            text(one, "/detail")
        ));
    }
    out.push(String::new());
    let header = format!(
        "{:<24} {:<8} {:>6} {:>10} {:>10} {:>10} {:>8} {:>8}",
        "SOURCE", "HEALTH", "LAST", "ACCEPTED/H", "DOUBLE/H", "REJECTED/H", "OWED", "DEAD"
    );
    out.push(paint(&header, Paint::Faint));
    for source in list(sources, "/sources") {
        let sum = |member: &str| {
            list(source, "/destinations")
                .iter()
                .map(|to| number(to, member))
                .sum::<u64>()
        };
        let health = text(source, "/health");
        out.push(format!(
            "{:<24} {} {:>6} {:>10} {:>10} {:>10} {:>8} {:>8}",
            view::clipped(&text(source, "/name"), 24),
            paint(&format!("{health:<8}"), of_health(&health)),
            view::ago(&text(source, "/last_accepted_at"), now),
            number(source, "/accepted_1h"),
            number(source, "/duplicate_1h"),
            number(source, "/rejected_1h"),
            sum("/owed"),
            sum("/dead"),
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_terminal_whatever_colours_them() {
        assert_eq!(shortened("\x1b[31mabcdef\x1b[0m", 3), "\x1b[31mabc\x1b[0m");
        assert_eq!(shortened("abc", 3), "abc");
    }

    #[test]
    fn an_empty_answer_draws_too() {
        assert!(drawn(&Value::Null, &Value::Null).len() > 3);
    }
}
