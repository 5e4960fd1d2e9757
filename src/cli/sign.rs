//! `callseal sign SOURCE`: a test callback, signed as the provider signs, and printed.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;

use crate::cli::subject::{self, Shelf};
use crate::cli::{EXIT_FAILED, Place, capture, output};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::listener::tls;
use crate::message::RawRequest;
use crate::rule::provider::{Action, Example, Provider};
use crate::rule::template::{Template, Value};
use crate::rule::{KeyRef, Rule};
use crate::verify::Rejection;
use crate::verify::craft::{self, Bench, Pair, Unsignable, Wish};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub what: What,
    /// Print it as a curl command
    #[arg(long)]
    curl: bool,
}

/// Which callback.
#[derive(Debug, clap::Args)]
pub struct What {
    /// Name of the source
    #[arg(required_unless_present = "provider", conflicts_with = "provider")]
    pub source: Option<String>,
    /// Sign with the test keys of a provider's own file instead of a source's
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// What it shows
    #[arg(long, value_enum)]
    pub action: Option<Deed>,
    /// The example of the provider's file to start from, by its name
    #[arg(long, value_name = "NAME")]
    example: Option<String>,
    /// A body of your own in place of the example's
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Write a value before it is signed: a JSON pointer (/data/amount=7), a form field
    /// (out_trade_no=A-1), or any selector of the template language (header:X-Id=7)
    #[arg(long, value_name = "WHERE=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Keep the example's event id
    #[arg(long)]
    same_id: bool,
    /// For providers with public keys: the private key to sign with (PKCS#8 in PEM). A file that is
    /// not there is made, and FILE.pub beside it, which goes into `keys`
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Deed {
    Payment,
    Refund,
    Cancel,
    /// The same callback twice
    Duplicate,
    /// One byte changed after signing
    Forged,
    /// Signed correctly, but too long ago
    Stale,
}

/// What was made, with what it is meant for.
pub struct Signed {
    pub requests: Vec<RawRequest>,
    pub rule: Rule,
    /// Where it is meant to go, as far as the rule knows.
    pub base: String,
    /// The gateway will ask this host before it believes it.
    pub asks: Option<String>,
    /// The key that signed is not the source's.
    pub strange_key: bool,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let shelf = Shelf::read(place, options.what.provider.is_none())?;
    let signed = make(&shelf, &options.what)?;
    let host = signed
        .base
        .split("://")
        .nth(1)
        .unwrap_or("localhost")
        .to_owned();
    // Without an address of its own it goes to this machine's gateway.
    let (base, ca) = match signed.rule.url {
        Some(_) => (signed.base.clone(), None),
        None => {
            let made = shelf.settings.listen.tls.is_none();
            let ca = tls::development_authority(&shelf.settings.inbox.store.join("tls"));
            let ca = made.then_some(ca);
            if options.curl {
                advise(shelf.settings.listen.address, ca.as_deref());
            }
            (here(shelf.settings.listen.address), ca)
        }
    };
    for request in &signed.requests {
        if options.curl {
            output::line(capture::curl(request, &base, ca.as_deref()));
        } else {
            let mut out = std::io::stdout().lock();
            // A closed pipe is no reason to fail.
            let _ = out.write_all(&capture::written(request, &host));
            let _ = out.flush();
            if signed.requests.len() > 1 {
                let _ = out.write_all(b"\r\n\r\n");
            }
        }
    }
    Ok(())
}

/// Where the gateway of this machine takes callbacks.
fn here(listen: SocketAddr) -> String {
    match local(listen.ip()) {
        true => format!("https://localhost:{}", listen.port()),
        false => format!("https://{listen}"),
    }
}

fn local(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback()
}

/// What a curl line to the gateway of this machine may fail at. `ca`: of a certificate that the
/// gateway makes itself.
fn advise(listen: SocketAddr, ca: Option<&Path>) {
    let note = |text: std::fmt::Arguments<'_>| output::remark(format_args!("note: {text}"));
    if listen.port() == 0 {
        note(format_args!(
            "`listen.address` leaves the port to the system: write the one that `callseal serve` says"
        ));
    }
    match ca {
        Some(ca) if !ca.exists() => note(format_args!(
            "{} is not there yet: `callseal serve` makes it",
            ca.display()
        )),
        Some(_) => {}
        None => note(format_args!(
            "the certificate of `[listen] tls` may not bear the name in this address: write one that it bears \
             (--connect-to ::HOST:PORT leads it here)"
        )),
    }
    if ca.is_some() && !local(listen.ip()) {
        note(format_args!(
            "the certificate that `callseal serve` makes bears the name localhost only: \
             curl takes it for https://localhost:{} with --connect-to ::{listen}",
            listen.port()
        ));
    }
}

fn fail(why: impl std::fmt::Display) -> u8 {
    output::remark(format_args!("error: {why}"));
    EXIT_FAILED
}

/// Makes what is wanted, and says what there is to know about it.
pub fn make(shelf: &Shelf, what: &What) -> Result<Signed, u8> {
    let (provider, source) = match (&what.provider, &what.source) {
        (Some(name), _) => (shelf.provider(name)?.clone(), None),
        (None, Some(name)) => {
            let rule = shelf.rule(name)?;
            (rule.provider.clone(), Some(rule))
        }
        (None, None) => return Err(fail("which source?")),
    };
    let action = match what.action {
        Some(Deed::Payment) => Some(Action::Payment),
        Some(Deed::Refund) => Some(Action::Refund),
        Some(Deed::Cancel) => Some(Action::Cancel),
        Some(Deed::Duplicate | Deed::Forged | Deed::Stale) | None => None,
    };
    craft::possible(&provider).map_err(|why| impossible(&provider, &why))?;
    let example = craft::choose(&provider, action, what.example.as_deref()).map_err(fail)?;
    let mut pair = pair(&provider, example, what)?;
    if let (Some(pair), Some(rule)) = (&mut pair, source) {
        known_as(pair, rule);
    }
    let bench = match source {
        Some(rule) => Bench::of_source(rule, subject::keys(rule)?, pair.clone()),
        None => Bench::of_example(&provider, example, pair.clone()),
    };
    let bench = bench.map_err(fail)?;
    let now = SystemClock.now();
    let stamp = match what.action {
        Some(Deed::Stale) => stale(bench.verifier().rule(), now).map_err(fail)?,
        _ => now,
    };
    let body = match &what.body {
        Some(file) => {
            Some(Bytes::from(capture::bytes(file).map_err(|error| {
                fail(format_args!("{}: {error}", file.display()))
            })?))
        }
        None => None,
    };
    let set: Vec<(Value, Vec<u8>)> = what
        .set
        .iter()
        .map(|(place, value)| Ok((selector(place, &example.body)?, value.clone().into_bytes())))
        .collect::<Result<_, String>>()
        .map_err(fail)?;
    let wish = Wish {
        example,
        now,
        stamp,
        fresh: !what.same_id && what.body.is_none(),
        body,
        set: &set,
    };
    let made = bench
        .make(&wish)
        .map_err(|why| impossible(&provider, &why))?;
    let requests = match what.action {
        Some(Deed::Duplicate) => vec![made.request.clone(), made.request.clone()],
        Some(Deed::Forged) => match bench.forged(&made.request, now) {
            Some(forged) => vec![forged],
            None => {
                return Err(fail(
                    "nothing in it is signed, so that nothing can be forged",
                ));
            }
        },
        _ => vec![made.request.clone()],
    };
    if let Some(host) = &made.asks {
        output::remark(format_args!(
            "note: the gateway will ask {host} whether this is true, and {host} knows nothing of a test"
        ));
    } else if let Err(reason) = &made.verdict
        && !(what.action == Some(Deed::Stale) && matches!(reason, Rejection::Stale { .. }))
    {
        output::remark(format_args!(
            "warning: the verifier would reject this: {} ({reason})",
            reason.code()
        ));
    }
    let strange_key = pair
        .as_ref()
        .is_some_and(|pair| told(pair, what, source.is_some()));
    let rule = bench.verifier().rule();
    Ok(Signed {
        requests,
        base: rule
            .url
            .as_deref()
            .map_or_else(|| "https://localhost".to_owned(), origin),
        rule: Rule::clone(rule),
        asks: made.asks,
        strange_key,
    })
}

/// Where the source's `keys` hold the public key already, it has the id that it has there.
fn known_as(pair: &mut Pair, rule: &Rule) {
    let public = |key: &&KeyRef| {
        let text = key.from.load().ok();
        text.is_some_and(|text| text.expose().trim_ascii() == pair.public.trim().as_bytes())
    };
    if let Some(key) = rule.keys.iter().find(public) {
        pair.id.clone_from(&key.id);
    }
}

fn impossible(provider: &Provider, why: &Unsignable) -> u8 {
    fail(format_args!(
        "no test callback of {} can be made: {why} [{}]",
        provider.title,
        why.code()
    ))
}

/// Says which public key belongs to a signature; true when the source cannot know it.
fn told(pair: &Pair, what: &What, source: bool) -> bool {
    let id = pair.id.as_ref().map(|id| format!(", with id = {id:?}"));
    let id = id.unwrap_or_default();
    match &what.key {
        Some(file) => {
            output::remark(format_args!(
                "signed with {}; its public key {}.pub belongs into `keys`{id}",
                file.display(),
                file.display()
            ));
            false
        }
        None => {
            output::remark(format_args!(
                "signed with a key pair made for this once{}; its public key{id}:\n{}",
                if source {
                    ", which no gateway accepts (--key FILE keeps one)"
                } else {
                    ""
                },
                pair.public.trim_end()
            ));
            true
        }
    }
}

fn stale(rule: &Rule, now: Timestamp) -> Result<Timestamp, Unsignable> {
    let freshness = rule
        .provider
        .freshness
        .as_ref()
        .ok_or(Unsignable::NoTimestamp)?;
    let tolerance = rule.tolerance.unwrap_or(freshness.tolerance);
    Ok(now.minus(tolerance).minus(Duration::from_secs(60)))
}

/// Scheme and host of an address.
fn origin(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(start..).and_then(|rest| rest.find(['/', '?']));
    let end = end.map_or(url.len(), |at| start + at);
    url.get(..end).unwrap_or(url).to_owned()
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (place, value) = text
        .split_once('=')
        .ok_or("it must be like /data/amount=7")?;
    Ok((place.to_owned(), value.to_owned()))
}

/// A place to write: a JSON pointer, a field of the body, or a selector.
fn selector(place: &str, body: &[u8]) -> Result<Value, String> {
    if !place.starts_with('/')
        && !place.contains(':')
        && matches!(body.trim_ascii().first(), Some(b'{' | b'['))
    {
        return Err(format!(
            "`{place}` is a form field, and this body is JSON: /{place} is its member"
        ));
    }
    let text = match (place.starts_with('/'), place.contains(':')) {
        (true, _) => format!("{{json:{place}}}"),
        (false, true) => format!("{{{place}}}"),
        (false, false) if body.trim_ascii().starts_with(b"<") => format!("{{xml:{place}}}"),
        (false, false) => format!("{{form:{place}}}"),
    };
    let template = Template::parse(&text).map_err(|_| format!("`{place}` is no place to write"))?;
    let value = template.as_single().cloned();
    value.ok_or_else(|| format!("`{place}` is no place to write"))
}

/// The key pair to sign with, where the provider's keys are public.
fn pair(provider: &Provider, example: &Example, what: &What) -> Result<Option<Pair>, u8> {
    let (algorithm, file) = match (craft::pair_algorithm(provider), &what.key) {
        (Some(algorithm), Some(file)) => (algorithm, file),
        (None, Some(_)) => {
            return Err(fail(
                "`--key` is for providers that sign with a private key; this one shares a secret, \
                 and what the source's `keys` name is signed with",
            ));
        }
        (_, None) => return Pair::new(provider, example).map_err(fail),
    };
    let public_file = beside(file);
    let shown = |path: &Path, error: &dyn std::fmt::Display| {
        fail(format_args!("{}: {error}", path.display()))
    };
    if file.exists() {
        let private = std::fs::read(file).map_err(|error| shown(file, &error))?;
        let public = std::fs::read(&public_file).map_err(|error| shown(&public_file, &error))?;
        let made = Pair::of(provider, example, algorithm, private, &[]).map_err(fail)?;
        let public = String::from_utf8_lossy(&public).into_owned();
        return Ok(Some(Pair { public, ..made }));
    }
    let (private, public) = crate::verify::sign::key_pair(algorithm).map_err(fail)?;
    let made = Pair::of(provider, example, algorithm, private, &public).map_err(fail)?;
    let pem = armoured(&made.private);
    crate::secret::write_whole(file, pem.as_bytes(), 0o600).map_err(|error| shown(file, &error))?;
    crate::secret::write_whole(&public_file, made.public.as_bytes(), 0o644)
        .map_err(|error| shown(&public_file, &error))?;
    output::remark(format_args!(
        "{} and {} were made",
        file.display(),
        public_file.display()
    ));
    Ok(Some(made))
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

fn armoured(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        lines.join("\n")
    )
}
