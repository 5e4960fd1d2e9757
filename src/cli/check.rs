//! `callseal check`: everything that `serve` would check, and a table of the sources.

use serde_json::{Value, json};

use crate::admin::tls::Material;
use crate::admin::token::Tokens;
use crate::cli::operate::view;
use crate::cli::providers::prove;
use crate::cli::{EXIT_CONFIG, Place, output, reach};
use crate::clock::{Clock, SystemClock};
use crate::listener::tls::{CertificatePaths, Identity};
use crate::mask;
use crate::rule::diagnostic::Diagnostic;
use crate::rule::{Destination, Rule, value};
use crate::service::{self, Fault};
use crate::settings::Settings;
use crate::telemetry::Metrics;

/// Certificates that end sooner are worth a word.
const CERTIFICATE_WARNING_DAYS: u64 = 21;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Do not connect to the hosts that verifying may have to ask
    #[arg(long)]
    offline: bool,
    /// Print JSON: errors, warnings and sources, with file, line and column
    #[arg(long)]
    json: bool,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let report = Report::make(place, options.offline);
    match options.json {
        true => output::line(view::json(&report.json())),
        false => report.say(),
    }
    match report.is_sound() {
        true => Ok(()),
        false => Err(EXIT_CONFIG),
    }
}

/// All that was found.
#[derive(Default)]
struct Report {
    faults: Vec<Fault>,
    /// Of the operator's own provider files: what their examples do not bear out.
    unproved: Vec<String>,
    /// In files.
    warnings: Vec<Diagnostic>,
    /// Outside files: hosts, certificates.
    remarks: Vec<String>,
    /// None: there are faults.
    prepared: Option<service::Prepared>,
    settings: String,
    rules: String,
}

impl Report {
    fn make(place: &Place, offline: bool) -> Report {
        let mut report = Report::default();
        let (settings, file) = match place.settings() {
            Ok(read) => read,
            Err(found) => {
                report.faults = found.into_iter().map(Fault::from).collect();
                return report;
            }
        };
        report.settings = file.map_or("defaults".to_owned(), |file| file.display().to_string());
        report.rules = settings.rules.display().to_string();
        match service::prepare(&settings, &Metrics::new(), None, None) {
            Ok(mut prepared) => {
                report.warnings = std::mem::take(&mut prepared.warnings);
                report.prepared = Some(prepared);
            }
            Err(found) => {
                for fault in found {
                    match fault {
                        Fault::File(at) if !at.is_error() => report.warnings.push(*at),
                        fault => report.faults.push(fault),
                    }
                }
            }
        }
        report.certificates(&settings);
        if let Err(error) = Tokens::named(&settings.admin) {
            report.faults.push(Fault::Token(error));
        }
        // The files of the rule directory prove themselves, as those in the binary do in the tests.
        // What cannot be read is reported above.
        if let Ok(own) = prove::own(&settings.rules) {
            report.unproved = own.faults;
            report.remarks.extend(own.remarks);
        }
        if report.is_sound()
            && !offline
            && let Some(prepared) = &report.prepared
        {
            report.remarks.extend(reach::warnings(&settings, prepared));
        }
        report
    }

    /// Those of both ports, where files are named for them.
    fn certificates(&mut self, settings: &Settings) {
        let now = SystemClock.now();
        let public = settings.listen.tls.as_ref().and_then(|files| {
            let paths = CertificatePaths {
                cert: files.cert.clone(),
                key: files.key.clone(),
            };
            Identity::load(&paths, now)
                .map_err(|error| self.faults.push(Fault::Tls(error)))
                .ok()
        });
        let admin = settings.admin.tls.as_ref().and_then(|files| {
            Material::load(files, now)
                .map_err(|error| self.faults.push(Fault::AdminTls(error)))
                .ok()
        });
        let ends = [
            ("the certificate", public.map(|identity| identity.not_after)),
            (
                "the admin port's certificate",
                admin.map(|material| material.not_after),
            ),
        ];
        for (what, not_after) in ends {
            let Some(not_after) = not_after else { continue };
            let days = not_after.since(now).as_secs() / 86_400;
            if days < CERTIFICATE_WARNING_DAYS {
                self.remarks
                    .push(format!("{what} ends in {days} days, at {not_after}"));
            }
        }
    }

    fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.unproved.is_empty()
    }

    /// For a person: results on standard output, all else beside.
    fn say(&self) {
        output::diagnostics(&self.warnings);
        for fault in &self.unproved {
            output::remark(format_args!("error[unproved]: {fault}"));
        }
        if !self.is_sound() {
            output::faults_and(&self.faults, self.unproved.len());
            return;
        }
        if let Some(prepared) = &self.prepared {
            table(prepared);
        }
        for remark in &self.remarks {
            output::remark(format_args!("warning: {remark}"));
        }
        output::remark(format_args!(
            "no errors (settings: {}, rules: {})",
            self.settings, self.rules
        ));
    }

    /// For programs: one document, whatever was found.
    fn json(&self) -> Value {
        let unproved = self.unproved.iter();
        let errors: Vec<Value> = self
            .faults
            .iter()
            .map(of_fault)
            .chain(unproved.map(|text| outside(Some("unproved"), text)))
            .collect();
        let remarks = self.remarks.iter();
        let warnings: Vec<Value> = self
            .warnings
            .iter()
            .map(in_file)
            .chain(remarks.map(|text| outside(None, text)))
            .collect();
        let sources: Vec<Value> = self
            .prepared
            .iter()
            .flat_map(|prepared| prepared.loaded.rules.rules.iter())
            .map(|rule| {
                let destinations = rule.relay.destinations();
                let destinations = destinations
                    .map(|to| json!({ "name": to.name.to_string(), "forward": forward(to) }));
                json!({
                    "name": rule.name.to_string(),
                    "provider": rule.provider.name,
                    "path": rule.path,
                    "verified": is_verified(rule),
                    "keep_seconds": rule.inbox.keep.as_secs(),
                    "forward": forward(&rule.relay.main),
                    "destinations": destinations.collect::<Vec<Value>>(),
                })
            })
            .collect();
        json!({
            "ok": self.is_sound(),
            "errors": errors,
            "warnings": warnings,
            "sources": sources,
        })
    }
}

fn of_fault(fault: &Fault) -> Value {
    match fault {
        Fault::File(at) | Fault::Named { at, .. } => in_file(at),
        fault => outside(Some(fault.code()), fault),
    }
}

fn in_file(at: &Diagnostic) -> Value {
    let (line, column) = at.position();
    json!({
        "code": at.code,
        "file": at.file,
        "line": line,
        "column": column,
        "message": at.message,
        "hint": at.hint,
    })
}

fn outside(code: Option<&str>, what: impl std::fmt::Display) -> Value {
    json!({
        "code": code,
        "file": null,
        "line": null,
        "column": null,
        "message": what.to_string(),
        "hint": null,
    })
}

/// True when something vouches for the events of a source: keys, or the provider when it is asked.
pub fn is_verified(rule: &Rule) -> bool {
    rule.provider.verifies()
}

/// Where a destination is. Its query may hold a word that only the application should know.
pub fn forward(to: &Destination) -> String {
    mask::target(&to.forward.to_string())
}

fn table(prepared: &service::Prepared) {
    let rows: Vec<Vec<String>> = prepared
        .loaded
        .rules
        .rules
        .iter()
        .map(|rule| {
            let keys: Vec<&str> = rule.keys.iter().map(|key| key.label.as_str()).collect();
            let provider = &rule.provider;
            let keys = match (keys.is_empty(), provider.schemes.is_empty()) {
                (false, _) => keys.join(", "),
                (true, _) if !is_verified(rule) => "UNVERIFIED".to_owned(),
                (true, false) => "fetched".to_owned(),
                (true, true) => "query-back".to_owned(),
            };
            let keep = value::written(rule.inbox.keep);
            let name = rule.name.to_string();
            vec![
                name,
                rule.provider.name.clone(),
                rule.path.clone(),
                keys,
                keep,
                forward(&rule.relay.main),
            ]
        })
        .collect();
    if rows.is_empty() {
        output::remark("no sources: `callseal init PROVIDER --forward URL` writes the first");
        return;
    }
    output::table(
        &["SOURCE", "PROVIDER", "PATH", "KEYS", "KEEP", "FORWARD"],
        &rows,
    );
}
