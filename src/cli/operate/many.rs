//! `callseal redrive`, `callseal discard` and `callseal jobs`: an operator's word on one delivery,
//! or on all that fit a filter: first how many, then at a rate.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value, json as object};

use crate::cli::operate::client::{Client, segment};
use crate::cli::operate::filter::Filter;
use crate::cli::operate::view::{self, number, text};
use crate::cli::operate::{Gateway, client, confirmed, failed, json};
use crate::cli::{EXIT_FAILED, Place, output};

#[derive(Debug, clap::Args)]
pub struct RedriveOptions {
    #[command(flatten)]
    gateway: Gateway,
    /// Ids of deliveries; without any, the filter says which
    ids: Vec<String>,
    #[command(flatten)]
    many: ManyOptions,
}

#[derive(Debug, clap::Args)]
pub struct DiscardOptions {
    #[command(flatten)]
    gateway: Gateway,
    /// Ids of deliveries; without any, the filter says which
    ids: Vec<String>,
    /// Why; it stands in the audit, and with the deliveries
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    many: ManyOptions,
}

#[derive(Debug, clap::Args)]
struct ManyOptions {
    #[command(flatten)]
    filter: Filter,
    /// Only those that ended (or failed last) for this reason, exactly
    #[arg(long, value_name = "CODE", help_heading = "Filter")]
    error: Option<String>,
    /// Only say how many
    #[arg(long)]
    plan: bool,
    /// Deliveries in a second
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Do not wait for the end
    #[arg(long)]
    detach: bool,
}

#[derive(Debug, clap::Args)]
pub struct JobsOptions {
    #[command(flatten)]
    gateway: Gateway,
    /// One job, to wait for it
    id: Option<u64>,
    /// Stop it; what it did stays done
    #[arg(long, requires = "id")]
    stop: bool,
}

/// What is done.
#[derive(Clone, Copy)]
struct Word<'w> {
    name: &'static str,
    done: &'static str,
    reason: Option<&'w str>,
}

pub fn redrive(place: &Place, options: &RedriveOptions) -> Result<(), u8> {
    let word = Word {
        name: "redrive",
        done: "redriven",
        reason: None,
    };
    run(place, &options.gateway, &options.ids, &options.many, word)
}

pub fn discard(place: &Place, options: &DiscardOptions) -> Result<(), u8> {
    let word = Word {
        name: "discard",
        done: "discarded",
        reason: Some(&options.reason),
    };
    run(place, &options.gateway, &options.ids, &options.many, word)
}

fn run(
    place: &Place,
    gateway: &Gateway,
    ids: &[String],
    many: &ManyOptions,
    word: Word<'_>,
) -> Result<(), u8> {
    let usage = |text: &str| {
        output::remark(format_args!("error: {text}"));
        Err(2)
    };
    match (ids.is_empty(), many.filter.is_empty()) {
        (true, true) => return usage("name deliveries, or a filter such as --state dead"),
        (false, false) => return usage("either deliveries or a filter, not both"),
        (true, false) if many.filter.state.is_none() => {
            return usage("a filter needs --state, so that nobody means all by mistake");
        }
        (true, false) | (false, true) => {}
    }
    let client = client(place, gateway)?;
    match ids {
        [] => filtered(&client, many, word, gateway.json),
        ids => each(&client, ids, word, gateway.json),
    }
}

/// One after the other; those that cannot be are said, and the rest goes on.
fn each(client: &Client, ids: &[String], word: Word<'_>, as_json: bool) -> Result<(), u8> {
    let mut wrong = false;
    for id in ids {
        let body = word.reason.map(|reason| object!({ "reason": reason }));
        let path = format!("/v1/events/{}/{}", segment(id), word.name);
        match client.post(&path, body.as_ref()) {
            Ok(answer) if as_json => output::line(view::json_line(&answer)),
            Ok(answer) => output::line(format_args!(
                "{} is {}",
                text(&answer, "/id"),
                text(&answer, "/state")
            )),
            Err(error) => {
                wrong = true;
                output::remark(format_args!("error: {}: {error}", view::visible(id)));
            }
        }
    }
    match wrong {
        true => Err(EXIT_FAILED),
        false => Ok(()),
    }
}

fn filtered(client: &Client, many: &ManyOptions, word: Word<'_>, as_json: bool) -> Result<(), u8> {
    let path = format!("/v1/{}", word.name);
    let mut body = many.filter.members();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("error", many.error.clone().map(Value::from));
    set("rate", many.rate.map(Value::from));
    set("reason", word.reason.map(Value::from));
    let mut planned = body.clone();
    planned.insert("plan".to_owned(), Value::Bool(true));
    let plan = client
        .post(&path, Some(&Value::Object(planned)))
        .map_err(|e| failed(&e))?;
    let count = number(&plan, "/count");
    if many.plan && as_json {
        json(&plan);
        return Ok(());
    }
    let seconds = Duration::from_secs(number(&plan, "/seconds"));
    let took = humantime::format_duration(seconds);
    let told = many.filter.told();
    if many.plan || count == 0 {
        output::line(format_args!(
            "{count} deliveries fit ({told}); they would take {took}"
        ));
        return Ok(());
    }
    let question = format!("{} {count} deliveries ({told}) within {took}?", word.name);
    if !many.yes && !confirmed(&question) {
        output::remark("nothing was done");
        return Err(EXIT_FAILED);
    }
    // Others than those that were counted are not meant.
    body.insert("count".to_owned(), Value::from(count));
    let begun = client
        .post(&path, Some(&Value::Object(body)))
        .map_err(|e| failed(&e))?;
    let job = number(&begun, "/job");
    if many.detach {
        match as_json {
            true => json(&begun),
            false => output::line(format_args!("job {job} has begun: callseal jobs {job}")),
        }
        return Ok(());
    }
    watched(client, job, word.done, as_json)
}

/// Between two looks at a job.
const LOOK: Duration = Duration::from_millis(500);

/// Waits for a job's end, and says how far it is.
fn watched(client: &Client, job: u64, done: &str, as_json: bool) -> Result<(), u8> {
    let terminal = std::io::stderr().is_terminal();
    loop {
        let now = client
            .get(&format!("/v1/jobs/{job}"))
            .map_err(|e| failed(&e))?;
        let outcome = text(&now, "/outcome");
        let (looked, total) = (number(&now, "/looked"), number(&now, "/total"));
        if outcome != "running" {
            if terminal {
                let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
            }
            match as_json {
                true => json(&now),
                false => output::line(format_args!(
                    "{} of {total} {done}{}",
                    number(&now, "/done"),
                    if outcome == "done" {
                        String::new()
                    } else {
                        format!(" ({outcome})")
                    }
                )),
            }
            return match outcome.as_str() {
                "done" => Ok(()),
                _ => Err(EXIT_FAILED),
            };
        }
        if terminal {
            let share = looked * 100 / total.max(1);
            let _ = write!(
                std::io::stderr().lock(),
                "\r\x1b[Kjob {job}: {looked} of {total} ({share} %); Ctrl-C leaves it running"
            );
        }
        std::thread::sleep(LOOK);
    }
}

pub fn jobs(place: &Place, options: &JobsOptions) -> Result<(), u8> {
    let client = client(place, &options.gateway)?;
    let as_json = options.gateway.json;
    let Some(id) = options.id else {
        let jobs = client.get("/v1/jobs").map_err(|e| failed(&e))?;
        if as_json {
            json(&jobs);
            return Ok(());
        }
        let rows: Vec<Vec<String>> = view::list(&jobs, "/jobs")
            .iter()
            .map(|job| {
                let progress = format!("{}/{}", number(job, "/looked"), number(job, "/total"));
                let members = ["/id", "/what", "/by", "/begun_at", "/outcome"];
                let mut cells: Vec<String> = members.iter().map(|m| text(job, m)).collect();
                cells.push(progress);
                cells.push(text(job, "/filter"));
                cells
            })
            .collect();
        match rows.is_empty() {
            true => output::remark("no jobs since the gateway started"),
            false => output::table(
                &["JOB", "WHAT", "BY", "BEGUN", "OUTCOME", "LOOKED", "FILTER"],
                &rows,
            ),
        }
        return Ok(());
    };
    if options.stop {
        let stopped = client
            .post(&format!("/v1/jobs/{id}/stop"), None)
            .map_err(|e| failed(&e))?;
        match as_json {
            true => json(&stopped),
            false => output::line(format_args!("job {id} stops; what it did stays done")),
        }
        return Ok(());
    }
    watched(&client, id, "done", as_json)
}
