//! `callseal redrive`, `callseal discard` and `callseal jobs`: an operator's word on one delivery,
//! or on all that fit a filter: first how many, then at a rate.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json as object};

use crate::cli::operate::client::{AskError, Client, segment};
use crate::cli::operate::filter::Filter;
use crate::cli::operate::view::{self, number, text};
use crate::cli::operate::{Gateway, client, confirmed, failed, json};
use crate::cli::{EXIT_DENIED, EXIT_FAILED, EXIT_USAGE, Place, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  callseal redrive evt_00000020009s0ajcfm6m6hn3kb
  callseal redrive --state dead --source shop --since 2h --plan
  callseal redrive --state dead --error status_5xx --rate 20

A filter wants --state, says first what it hits, and asks. With --json: for ids a line each, for a
filter one document.")]
pub struct RedriveOptions {
    #[command(flatten)]
    gateway: Gateway,
    /// Ids of deliveries; without any, the filter says which
    ids: Vec<String>,
    #[command(flatten)]
    many: ManyOptions,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  callseal discard evt_00000020009s0ajcfm6m6hn3kb --reason \"test order\"
  callseal discard --state dead --error gone --until 7d --reason \"too old\" --plan

What is discarded is not delivered any more, and stays to be looked at until its time is over.
A filter wants --state, says first what it hits, and asks.")]
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
    /// Only say how many fit the filter
    #[arg(long)]
    plan: bool,
    /// Deliveries in a second [default: 100]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Do not wait for the end: `callseal jobs` tells how far it is
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

/// `20`, or as rules write it, `20/s`.
fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim();
    match number.parse() {
        Ok(rate @ 1..=10_000) => Ok(rate),
        Ok(_) | Err(_) => Err("a whole number from 1 to 10000".to_owned()),
    }
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
        Err(EXIT_USAGE)
    };
    // An id with a plan must not be acted on: the plan is all that was asked for.
    if !ids.is_empty() && (many.plan || many.detach || many.rate.is_some()) {
        return usage("--plan, --rate and --detach go with a filter, not with ids");
    }
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
    let mut wrong = None;
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
                wrong = Some(error.exit_code());
                output::remark(format_args!("error: {}: {error}", view::visible(id)));
                // The next would hear the same.
                if !matches!(error, AskError::Problem { .. }) || error.exit_code() == EXIT_DENIED {
                    if let Some(hint) = error.hint() {
                        output::remark(format_args!("  {hint}"));
                    }
                    break;
                }
            }
        }
    }
    wrong.map_or(Ok(()), Err)
}

fn filtered(client: &Client, many: &ManyOptions, word: Word<'_>, as_json: bool) -> Result<(), u8> {
    let path = format!("/v1/{}", word.name);
    let mut body = many.filter.members();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("rate", many.rate.map(Value::from));
    set("reason", word.reason.map(Value::from));
    let mut planned = body.clone();
    planned.insert("plan".to_owned(), Value::Bool(true));
    let plan = asked(client, &path, &Value::Object(planned))?;
    let count = number(&plan, "/count");
    // Without any there is nothing to ask and nothing to begin.
    if as_json && (many.plan || count == 0) {
        json(&plan);
        return Ok(());
    }
    let told = many.filter.told();
    if count == 0 {
        output::line(format_args!(
            "0 deliveries fit ({told}): nothing to {}",
            word.name
        ));
        return Ok(());
    }
    let seconds = Duration::from_secs(number(&plan, "/seconds"));
    let took = humantime::format_duration(seconds);
    let deliveries = view::count(count, "delivery", "deliveries");
    let plan = format!("{deliveries} at {} ({told})", client.target());
    if many.plan {
        output::line(format_args!("{} {plan}: it would take {took}", word.name));
        groups(client, &many.filter)?
            .into_iter()
            .for_each(output::line);
        return Ok(());
    }
    if !many.yes {
        groups(client, &many.filter)?
            .into_iter()
            .for_each(output::remark);
        if !confirmed(&format!("{} {plan} within {took}?", word.name)) {
            output::remark("nothing was done");
            return Err(EXIT_FAILED);
        }
    }
    // Others than those that were counted are not meant.
    body.insert("count".to_owned(), Value::from(count));
    let begun = asked(client, &path, &Value::Object(body))?;
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

/// For a gateway that counts for others meanwhile, in all.
const TURN: Duration = Duration::from_secs(20);

/// A plan or a start; where it is not our turn, asked again when the gateway says so.
fn asked(client: &Client, path: &str, body: &Value) -> Result<Value, u8> {
    let wait = |pause: Duration| {
        output::remark(format_args!(
            "the gateway is busy with others: asking again in {}",
            humantime::format_duration(pause)
        ));
        std::thread::sleep(pause);
    };
    in_turn(|| client.post_long(path, body), wait).map_err(|e| failed(&e))
}

fn in_turn(
    mut ask: impl FnMut() -> Result<Value, AskError>,
    mut wait: impl FnMut(Duration),
) -> Result<Value, AskError> {
    let mut waited = Duration::ZERO;
    loop {
        let answer = ask();
        let Err(AskError::Problem {
            status: 429,
            again: Some(pause),
            ..
        }) = &answer
        else {
            return answer;
        };
        let pause = (*pause).max(Duration::from_secs(1));
        waited = waited.saturating_add(pause);
        if waited > TURN {
            return answer;
        }
        wait(pause);
    }
}

/// Calls for groups before a question; each looks at 20,000 rows.
const PAGES: usize = 10;
/// Groups that are shown.
const GROUPS: usize = 10;

/// What a filter hits, by destination and reason.
fn groups(client: &Client, filter: &Filter) -> Result<Vec<String>, u8> {
    let mut found: BTreeMap<[String; 3], u64> = BTreeMap::new();
    let mut cursor = None;
    for _ in 0..PAGES {
        let query = filter.query().with("by", "reason").may("cursor", cursor);
        let page = client
            .get(&query.on("/v1/groups"))
            .map_err(|e| failed(&e))?;
        for group in view::list(&page, "/groups") {
            let name = ["/source", "/destination", "/reason"].map(|member| text(group, member));
            *found.entry(name).or_default() += number(group, "/count");
        }
        cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let mut found: Vec<([String; 3], u64)> = found.into_iter().collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let more = found.len() > GROUPS || cursor.is_some();
    let lines = found
        .into_iter()
        .take(GROUPS)
        .map(|([source, to, reason], count)| {
            let to = match to.as_str() {
                "main" => source,
                to => format!("{source} > {to}"),
            };
            format!("{count:>8}  {to}  {reason}").trim_end().to_owned()
        });
    Ok(lines.chain(more.then(|| "       …".to_owned())).collect())
}

/// How a job ended, and why, where it says so.
fn ending(job: &Value) -> String {
    let [outcome, reason] = ["/outcome", "/reason"].map(|member| text(job, member));
    match reason.is_empty() {
        true => outcome,
        false => format!("{outcome}: {reason}"),
    }
}

/// Between two looks at a job.
const LOOK: Duration = Duration::from_millis(500);

/// Waits for a job's end, and says how far it is.
fn watched(client: &Client, job: u64, done: &str, as_json: bool) -> Result<(), u8> {
    let terminal = output::steerable(&std::io::stderr());
    loop {
        let now = client.get(&format!("/v1/jobs/{job}")).map_err(|e| {
            let code = failed(&e);
            // One that is not there does not go on.
            if !matches!(&e, AskError::Problem { status: 404, .. }) {
                output::remark(format_args!(
                    "  job {job} ends with the gateway, and else goes on: callseal jobs {job}"
                ));
            }
            code
        })?;
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
                        format!(" ({})", ending(&now))
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
        let stopped = match client.post(&format!("/v1/jobs/{id}/stop"), None) {
            Ok(stopped) => stopped,
            Err(error) => {
                // One that has ended is still listed, and stops no more.
                return match client.get(&format!("/v1/jobs/{id}")) {
                    Ok(job) if text(&job, "/outcome") != "running" => {
                        let ending = ending(&job);
                        output::remark(format_args!("error: job {id} has ended ({ending})"));
                        Err(EXIT_FAILED)
                    }
                    Ok(_) | Err(_) => Err(failed(&error)),
                };
            }
        };
        match as_json {
            true => json(&stopped),
            false => output::line(format_args!("job {id} stops; what it did stays done")),
        }
        return Ok(());
    }
    watched(&client, id, "done", as_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_has_its_reason() {
        let job = object!({ "outcome": "stopped", "reason": null });
        assert_eq!(ending(&job), "stopped");
        let reason = "the token that began it is no longer an operator's";
        let job = object!({ "outcome": "token_revoked", "reason": (reason) });
        assert_eq!(ending(&job), format!("token_revoked: {reason}"));
    }

    fn busy(again: Option<u64>) -> Result<Value, AskError> {
        Err(AskError::Problem {
            status: 429,
            code: "too_many_requests".to_owned(),
            detail: "deliveries are counted or collected for others: ask again".to_owned(),
            again: again.map(Duration::from_secs),
        })
    }

    /// What came of it, and the pauses in seconds.
    fn told(mut answers: Vec<Result<Value, AskError>>) -> (bool, Vec<u64>) {
        answers.reverse();
        let mut pauses = Vec::new();
        let answer = in_turn(
            || answers.pop().unwrap_or_else(|| busy(Some(2))),
            |pause| pauses.push(pause.as_secs()),
        );
        (answer.is_ok(), pauses)
    }

    #[test]
    fn a_rate_is_a_number_of_deliveries_in_a_second() {
        assert_eq!(rate("20"), Ok(20));
        assert_eq!(rate("20/s"), Ok(20));
        for wrong in ["0", "10001", "20/m", "x", "", "-1"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_busy_gateway_is_asked_again_when_it_says_so_and_not_for_ever() {
        let done = || Ok(object!({ "count": 1 }));
        assert_eq!(
            told(vec![busy(Some(2)), busy(Some(0)), done()]),
            (true, vec![2, 1])
        );
        assert_eq!(told(vec![]), (false, vec![2; 10]));
        // Longer than anybody waits here, or not said: told at once.
        assert_eq!(told(vec![busy(Some(60)), done()]), (false, vec![]));
        assert_eq!(told(vec![busy(None), done()]), (false, vec![]));
        let other = Err(AskError::Strange { status: 429 });
        assert_eq!(told(vec![other, done()]), (false, vec![]));
    }
}
