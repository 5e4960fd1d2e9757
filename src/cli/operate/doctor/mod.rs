//! `callseal doctor`: what is wrong, or will be, and what to do about it. It looks at the files as
//! `check` does, at the machine, at the destinations, and asks the running gateway.

use serde_json::Value;

use crate::cli::operate::view::{self, Paint, list, paint, text};
use crate::cli::operate::{Gateway, json};
use crate::cli::{EXIT_FAILED, Place, output};

mod files;
mod machine;
mod outside;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 no blocker was found, 1 at least one.

Examples:
  callseal doctor
  callseal doctor --ntp pool.ntp.org
  callseal doctor --json | jq '.findings[] | select(.severity != \"fine\")'

It looks at settings, rules, keys and certificates as `callseal check` does, at disk and clock, at
every destination, and asks the running gateway what it knows of itself.")]
pub struct Options {
    #[command(flatten)]
    gateway: Gateway,
    /// Connect to nobody: neither to destinations and providers nor to the running gateway
    #[arg(long)]
    offline: bool,
    /// A time server to measure the clock against (NTP)
    #[arg(long, value_name = "HOST", conflicts_with = "offline")]
    ntp: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Callbacks are or will be lost, refused or not delivered.
    Blocker,
    /// It works, and will hurt.
    Warning,
    Fine,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Blocker => "blocker",
            Severity::Warning => "warning",
            Severity::Fine => "fine",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "blocker" => Severity::Blocker,
            "fine" => Severity::Fine,
            _ => Severity::Warning,
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    pub severity: Severity,
    /// Stable, for machines.
    pub code: String,
    /// What it is about: a source, a file, an address.
    pub subject: String,
    pub detail: String,
    /// What to do.
    pub mend: Option<String>,
}

impl Finding {
    pub fn new(
        severity: Severity,
        code: &str,
        subject: impl ToString,
        detail: impl ToString,
    ) -> Self {
        Finding {
            severity,
            code: code.to_owned(),
            subject: subject.to_string(),
            detail: detail.to_string(),
            mend: None,
        }
    }

    pub fn fine(code: &str, subject: impl ToString, detail: impl ToString) -> Self {
        Finding::new(Severity::Fine, code, subject, detail)
    }

    pub fn warning(code: &str, subject: impl ToString, detail: impl ToString) -> Self {
        Finding::new(Severity::Warning, code, subject, detail)
    }

    pub fn blocker(code: &str, subject: impl ToString, detail: impl ToString) -> Self {
        Finding::new(Severity::Blocker, code, subject, detail)
    }

    #[must_use]
    pub fn mend(mut self, how: impl ToString) -> Self {
        self.mend = Some(how.to_string());
        self
    }

    /// One that the running gateway reports of itself.
    fn of(value: &Value) -> Self {
        Finding {
            severity: Severity::of(&text(value, "/severity")),
            code: text(value, "/code"),
            subject: text(value, "/subject"),
            detail: text(value, "/detail"),
            mend: Some(text(value, "/mend")).filter(|mend| !mend.is_empty()),
        }
    }

    fn to_json(&self) -> Value {
        serde_json::json!({
            "severity": self.severity.as_str(),
            "code": self.code,
            "subject": self.subject,
            "detail": self.detail,
            "mend": self.mend,
        })
    }
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let (mut findings, read) = files::look(place);
    if let Some(read) = &read {
        findings.extend(machine::look(&read.settings));
        if !options.offline {
            findings.extend(outside::look(read, options.ntp.as_deref()));
            let told = outside::running(place, &options.gateway, read);
            let public = read.settings.listen.tls.as_ref();
            let public = public.map(|files| files.cert.display().to_string());
            let new: Vec<Finding> = told
                .into_iter()
                .filter(|one| !known(one, &findings, public.as_deref()))
                .collect();
            findings.extend(new);
        }
    }
    // The worst first; within it in the order of looking.
    findings.sort_by_key(|finding| finding.severity);
    let blockers = findings
        .iter()
        .filter(|f| f.severity == Severity::Blocker)
        .count();
    match options.gateway.json {
        true => {
            let findings: Vec<Value> = findings.iter().map(Finding::to_json).collect();
            json(&serde_json::json!({ "findings": findings }));
        }
        false => print(&findings),
    }
    match blockers {
        0 => Ok(()),
        _ => Err(EXIT_FAILED),
    }
}

/// True for what the running gateway says of files that were looked at here too, and found as bad or worse.
/// `public` is the file of the public port's certificate.
fn known(told: &Finding, seen: &[Finding], public: Option<&str>) -> bool {
    let seen = |like: &dyn Fn(&Finding) -> bool| {
        // The worse is the lesser.
        let mut seen = seen.iter().filter(|one| one.severity <= told.severity);
        told.severity != Severity::Fine && seen.any(like)
    };
    match told.code.as_str() {
        code @ ("development_certificate" | "no_sources") => seen(&|one| one.code == code),
        // That of the admin port is another one.
        "certificate" => {
            seen(&|one| one.code == "certificate_expiry" && public == Some(one.subject.as_str()))
        }
        "disk_low" => seen(&|one| one.code == "disk_space"),
        // `shop` beside `shop keys[0]`.
        "key_expiry" => seen(&|one| {
            let source = one.subject.split(' ').next();
            matches!(one.code.as_str(), "key_expiry" | "key_expired")
                && source == Some(&told.subject)
        }),
        "rule_warning" => seen(&|one| told.detail.contains(&one.detail)),
        _ => false,
    }
}

fn print(findings: &[Finding]) {
    for finding in findings {
        let (mark, with) = match finding.severity {
            Severity::Blocker => ("BLOCKER", Paint::Bad),
            Severity::Warning => ("warning", Paint::Warning),
            Severity::Fine => ("fine   ", Paint::Good),
        };
        output::line(format_args!(
            "{}  {}: {} {}",
            paint(mark, with),
            paint(&view::visible(&finding.subject), Paint::Strong),
            // A fault in a file comes with its lines.
            view::visible_lines(&finding.detail),
            paint(&format!("[{}]", view::visible(&finding.code)), Paint::Faint),
        ));
        if let Some(mend) = &finding.mend {
            output::line(format_args!("         {}", view::visible(mend)));
        }
    }
    let count = |severity, one: &str, many: &str| {
        let count = findings.iter().filter(|f| f.severity == severity).count();
        format!("{count} {}", if count == 1 { one } else { many })
    };
    output::remark(format_args!(
        "{}, {}, {}",
        count(Severity::Blocker, "blocker", "blockers"),
        count(Severity::Warning, "warning", "warnings"),
        count(Severity::Fine, "fine", "fine")
    ));
}

/// The findings of the running gateway.
fn told(answer: &Value) -> Vec<Finding> {
    list(answer, "/findings").iter().map(Finding::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worse_than_what_was_seen_is_said() {
        let seen = |severity| {
            vec![
                Finding::new(severity, "certificate_expiry", "tls/server.pem", ""),
                Finding::new(severity, "disk_space", "data", ""),
            ]
        };
        use Severity::{Blocker, Fine, Warning};
        let cases = [
            (Blocker, Blocker, true),
            (Warning, Blocker, true),
            (Warning, Warning, true),
            (Blocker, Warning, false),
            (Warning, Fine, false),
        ];
        for (told, here, is_known) in cases {
            for code in ["certificate", "disk_low"] {
                let told = Finding::new(told, code, "gateway", "");
                let known = known(&told, &seen(here), Some("tls/server.pem"));
                assert_eq!(known, is_known, "{told:?} beside {here:?}");
            }
        }
        // The file of the admin port says nothing of the public one's.
        let told = Finding::blocker("certificate", "gateway", "");
        for public in [None, Some("tls/other.pem")] {
            assert!(!known(&told, &seen(Blocker), public));
        }
    }
}
