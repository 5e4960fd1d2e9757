//! `callseal explain SOURCE FILE`: a captured request through the verifier, step by step, and why it
//! was rejected.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::cli::subject::{self, Shelf};
use crate::cli::{EXIT_FAILED, Place, capture, output};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::message::{Headers, RawRequest};
use crate::remote::{Ask, HttpsAsk, Outbound, RemoteAnswer};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::telemetry::Metrics;
use crate::verify::Verifier;
use crate::verify::craft;
use crate::verify::diagnose::{self, Case, Cause};
use crate::verify::trace::{self, Outcome, Step, Subject};
use crate::verify::want::Known;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
FILE holds the request as it was on the wire: request line, header fields, a blank line, the body \
byte for byte. With --header, --path or --method it is the body alone. Exit code 0 when it would be \
accepted, 1 when not. Nothing is stored and nothing is forwarded.")]
pub struct Options {
    /// Name of the source; with --provider this is the FILE
    source: String,
    /// The captured request; `-` for standard input
    file: Option<PathBuf>,
    /// Try it with the test keys of a provider's own file instead of a source
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Whose keys and settings of the provider's file [default: its first example]
    #[arg(long, value_name = "NAME", requires = "provider")]
    example: Option<String>,
    /// The moment to judge it at: RFC 3339 or Unix seconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// The address that it came from
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// A header field, where FILE is the body alone
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The method, where FILE is the body alone
    #[arg(long, value_name = "METHOD")]
    method: Option<http::Method>,
    /// Path and query, where FILE is the body alone
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Really ask the provider's hosts: for keys, for a confirmation
    #[arg(long)]
    ask: bool,
    /// Show long messages whole
    #[arg(long)]
    full: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Report {
    source: String,
    provider: String,
    now: String,
    accepted: bool,
    reason: Option<&'static str>,
    text: Option<String>,
    steps: Vec<Step>,
    causes: Vec<Cause>,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let now = options.at.unwrap_or_else(|| SystemClock.now());
    let file = match (&options.provider, &options.file) {
        (_, Some(file)) => file.clone(),
        (Some(_), None) => PathBuf::from(&options.source),
        (None, None) => {
            output::remark("error: which FILE? (`-` for standard input)");
            return Err(2);
        }
    };
    let shelf = Shelf::read(place, options.provider.is_none())?;
    let raw = capture::bytes(&file).map_err(|error| {
        output::remark(format_args!("error: {}: {error}", file.display()));
        EXIT_FAILED
    })?;
    let request = request(options, &raw, &shelf, now).map_err(|why| {
        output::remark(format_args!("error: {}: {}", file.display(), why.0));
        EXIT_FAILED
    })?;
    let (verifier, texts) = bound(&shelf, options, &request)?;
    let siblings = siblings(&shelf, &verifier);
    let siblings: Vec<&Verifier> = siblings.iter().collect();
    let mut known = Known::default();
    let verdict = {
        let mut asker = Asker::new(options.ask, &shelf.settings);
        verifier.judge_knowing(&request, now, &mut known, &mut |outbound| {
            asker.ask(outbound)
        })
    };
    let causes = match &verdict {
        Ok(_) => Vec::new(),
        Err(reason) => {
            let case = Case {
                verifier: &verifier,
                texts: &texts,
                request: &request,
                now,
                known: &known,
                catalogue: &shelf.providers,
                siblings: &siblings,
            };
            diagnose::causes(&case, reason)
        }
    };
    let steps = trace::trace(&Subject {
        verifier: &verifier,
        request: &request,
        now,
        known: &known,
        verdict: &verdict,
        peer_known: options.from.is_some(),
        full: options.full,
    });
    let report = Report {
        source: verifier.rule().name.to_string(),
        provider: verifier.rule().provider.name.clone(),
        now: now.to_string(),
        accepted: verdict.is_ok(),
        reason: verdict.as_ref().err().map(|reason| reason.code()),
        text: verdict.as_ref().err().map(ToString::to_string),
        steps,
        causes,
    };
    match options.json {
        true => output::line(serde_json::to_string_pretty(&report).unwrap_or_default()),
        false => print(&report),
    }
    if report.accepted {
        Ok(())
    } else {
        Err(EXIT_FAILED)
    }
}

fn print(report: &Report) {
    output::line(format_args!(
        "{} ({}), judged at {}",
        report.source, report.provider, report.now
    ));
    for step in &report.steps {
        let mark = match step.outcome {
            Outcome::Passed => "✓",
            Outcome::Failed => "✗",
            Outcome::Noted => "·",
        };
        output::line(format_args!("{mark} {}", step.name));
        let width = step.facts.iter().map(|f| f.name.chars().count()).max();
        let width = width.unwrap_or(0).min(28);
        for fact in &step.facts {
            output::line(format_args!("    {:<width$}  {}", fact.name, fact.value));
        }
    }
    output::line("");
    match (&report.reason, &report.text) {
        (Some(code), Some(text)) => output::line(format_args!("REJECTED  {code}: {text}")),
        _ => output::line("ACCEPTED"),
    }
    for cause in &report.causes {
        let sure = if cause.proven {
            "cause"
        } else {
            "likely cause"
        };
        output::line(format_args!("{sure}: {} [{}]", cause.text, cause.code));
    }
    if !report.accepted && report.causes.is_empty() {
        output::line(match report.reason {
            Some("signature_mismatch") => {
                "no common mistake explains it: most often it is another key than the one that \
                 signed, else a forgery"
            }
            _ => "no common mistake explains it; the steps above show where it broke",
        });
    }
}

fn request(
    options: &Options,
    raw: &[u8],
    shelf: &Shelf,
    now: Timestamp,
) -> Result<RawRequest, capture::NoRequest> {
    let alone = options.path.is_some() || options.method.is_some() || !options.header.is_empty();
    let mut request = match alone {
        false => capture::parse(raw, now)?,
        true => {
            let own = shelf
                .rules
                .iter()
                .find(|r| r.name.as_str() == options.source);
            let own = own.map_or("/", |rule| rule.path.as_str());
            let (path, query) = capture::path_and_query(options.path.as_deref().unwrap_or(own));
            let mut headers = Headers::new();
            for field in &options.header {
                let (name, value) = capture::header(field.as_bytes())?;
                headers.push(name, value);
            }
            RawRequest {
                method: options.method.clone().unwrap_or(http::Method::POST),
                path,
                query,
                headers,
                body: Bytes::copy_from_slice(raw),
                peer: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
                received_at: now,
            }
        }
    };
    if let Some(peer) = options.from {
        request.peer = peer;
    }
    Ok(request)
}

fn bound(
    shelf: &Shelf,
    options: &Options,
    request: &RawRequest,
) -> Result<(Verifier, Vec<Secret>), u8> {
    let Some(name) = &options.provider else {
        let rule = shelf.rule(&options.source)?;
        let keys = subject::keys(rule)?;
        return Ok((Verifier::new(Arc::clone(rule), keys), subject::texts(rule)));
    };
    let provider = shelf.provider(name)?;
    let example = craft::choose(provider, None, options.example.as_deref()).map_err(|why| {
        output::remark(format_args!("error: {why}"));
        EXIT_FAILED
    })?;
    subject::of_example(provider, example, Some(&request.path))
}

/// Other sources, with keys that can be read.
fn siblings(shelf: &Shelf, own: &Verifier) -> Vec<Verifier> {
    let others = shelf
        .rules
        .iter()
        .filter(|rule| rule.name != own.rule().name);
    others
        .filter_map(|rule| {
            let keys = crate::verify::Keyring::load(rule).ok()?;
            Some(Verifier::new(Arc::clone(rule), keys))
        })
        .collect()
}

/// Asks the provider's hosts, if that is wanted.
struct Asker(Option<(tokio::runtime::Runtime, HttpsAsk)>);

impl Asker {
    fn new(wanted: bool, settings: &Settings) -> Asker {
        if !wanted {
            return Asker(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let ask = HttpsAsk::new(&settings.outbound, Arc::new(SystemClock), Metrics::new());
        match (runtime, ask) {
            (Ok(runtime), Ok(ask)) => Asker(Some((runtime, ask))),
            (Err(error), _) => {
                output::remark(format_args!("nobody can be asked: {error}"));
                Asker(None)
            }
            (_, Err(error)) => {
                output::remark(format_args!("nobody can be asked: {error}"));
                Asker(None)
            }
        }
    }

    fn ask(&mut self, outbound: &Outbound) -> Option<RemoteAnswer> {
        let (runtime, ask) = self.0.as_ref()?;
        match runtime.block_on(ask.ask(outbound)) {
            Ok(answer) => Some(answer),
            Err(fault) => {
                output::remark(format_args!("{}: {fault}", outbound.host));
                None
            }
        }
    }
}

/// RFC 3339, or seconds since 1970.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Timestamp::from_secs(seconds));
    }
    let wrong = |_| "a moment in UTC such as 2026-11-22T09:30:00Z, or Unix seconds".to_owned();
    let time = humantime::parse_rfc3339_weak(text).map_err(wrong)?;
    let since = time.duration_since(std::time::UNIX_EPOCH);
    let since = since.map_err(|error| error.to_string())?;
    Ok(Timestamp::from_secs(since.as_secs()))
}
