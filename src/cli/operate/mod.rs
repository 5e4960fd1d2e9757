//! The commands that ask a running gateway, all through its admin port.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cli::{EXIT_CONFIG, EXIT_FAILED, Place, output};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::secret::SecretRef;

pub mod audit;
pub mod client;
pub mod doctor;
pub mod events;
pub mod filter;
pub mod many;
pub mod refusals;
pub mod rules;
pub mod sources;
pub mod top;
pub mod view;

use client::{AskError, Client, Unready};

/// Which gateway, and how its answers are printed.
#[derive(Clone, Debug, clap::Args)]
pub struct Gateway {
    /// The admin port: HOST:PORT, https://HOST:PORT, or unix:PATH [default: from the settings]
    #[arg(long, global = true, value_name = "ADDRESS", help_heading = "Gateway")]
    pub admin: Option<String>,
    /// Where its token is: env:NAME or file:PATH [default: from the settings, or the file that the
    /// gateway made]
    #[arg(long, global = true, value_name = "PLACE", value_parser = secret_place, help_heading = "Gateway")]
    pub token: Option<SecretRef>,
    /// Certificates that an admin port with TLS is trusted by, in PEM [default: the machine's own,
    /// and the certificate in the settings]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Gateway")]
    pub ca: Option<PathBuf>,
    /// Send the token to another machine without TLS, where whoever is on the way can read it
    #[arg(long, global = true, requires = "admin", help_heading = "Gateway")]
    pub plain_text: bool,
    /// A certificate of your own, in PEM, where the admin port wants one (`client_ca`)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "client_key",
        help_heading = "Gateway"
    )]
    pub client_cert: Option<PathBuf>,
    /// The key of that certificate, in PEM
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        requires = "client_cert",
        help_heading = "Gateway"
    )]
    pub client_key: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true, help_heading = "Gateway")]
    pub json: bool,
}

fn secret_place(text: &str) -> Result<SecretRef, String> {
    match text.split_once(':') {
        Some(("env", name)) if !name.is_empty() => Ok(SecretRef::Env(name.to_owned())),
        Some(("file", path)) if !path.is_empty() => Ok(SecretRef::File(PathBuf::from(path))),
        Some(_) | None => Err(
            "a token stands in no command line, where others could read it: env:NAME or file:PATH"
                .to_owned(),
        ),
    }
}

/// Says what went wrong, and how the process ends.
pub fn failed(error: &AskError) -> u8 {
    output::remark(format_args!("error: {error}"));
    if let Some(hint) = error.hint() {
        output::remark(format_args!("  {hint}"));
    }
    error.exit_code()
}

/// A client of the gateway that the arguments or the settings name.
pub fn client(place: &Place, gateway: &Gateway) -> Result<Client, u8> {
    Client::new(place, gateway).map_err(|error| match error {
        Unready::Settings(found) => {
            output::diagnostics(&found);
            EXIT_CONFIG
        }
        Unready::Runtime(_) => {
            output::remark(format_args!("error: {error}"));
            EXIT_FAILED
        }
        Unready::Target(_) | Unready::Overheard(_) | Unready::Token(_) => {
            output::remark(format_args!("error: {error}"));
            if let Some(hint) = error.hint() {
                output::remark(format_args!("  {hint}"));
            }
            EXIT_CONFIG
        }
    })
}

/// Prints an answer as it came.
pub fn json(value: &Value) {
    output::line(view::json(value));
}

/// `2h` ago, or a moment in RFC 3339.
pub fn moment(text: &str) -> Result<String, String> {
    let now = SystemClock.now();
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(rfc3339(now, ago));
    }
    // A day alone is its beginning.
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.replace(' ', "T") + if text.ends_with('Z') { "" } else { "Z" },
    };
    match humantime::parse_rfc3339(&whole) {
        Ok(_) => Ok(whole),
        Err(_) => Err(
            "a duration (2h, 30m: so long ago), a day (2026-11-22), or a moment in UTC \
                       such as 2026-11-22T09:30:00Z"
                .to_owned(),
        ),
    }
}

fn rfc3339(now: Timestamp, ago: Duration) -> String {
    now.minus(ago).to_string()
}

/// A number of lines, from 1.
pub fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| *limit > 0);
    limit.ok_or_else(|| "a whole number from 1".to_owned())
}

/// Asks on the terminal; without one the answer is no.
pub fn confirmed(question: &str) -> bool {
    use std::io::{BufRead, IsTerminal, Write};
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        output::remark(format_args!(
            "{question}: add --yes where nobody can be asked"
        ));
        return false;
    }
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{question} [y/N] ");
    let _ = stderr.flush();
    drop(stderr);
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    matches!(line.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_duration_ago_or_a_point_in_time() {
        assert!(moment("2h").unwrap().ends_with('Z'));
        assert_eq!(
            moment("2026-11-22T09:30:00Z").unwrap(),
            "2026-11-22T09:30:00Z"
        );
        assert_eq!(
            moment("2026-11-22 09:30:00").unwrap(),
            "2026-11-22T09:30:00Z"
        );
        assert_eq!(moment("2026-11-22").unwrap(), "2026-11-22T00:00:00Z");
        for bad in ["yesterday", "2026-13-01", "2026-11-22T09:30:00+08:00", ""] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_named_and_never_given() {
        assert!(secret_place("s3cr3t-token").is_err());
        assert!(secret_place("env:").is_err());
        assert_eq!(secret_place("env:A"), Ok(SecretRef::Env("A".to_owned())));
    }
}
