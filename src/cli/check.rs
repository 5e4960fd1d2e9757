//! `callseal check`: everything that `serve` would check, and a table of the sources.

use crate::admin::tls::Material;
use crate::admin::token::Tokens;
use crate::cli::providers::prove;
use crate::cli::{EXIT_CONFIG, Place, output, reach};
use crate::clock::{Clock, SystemClock};
use crate::listener::tls::{CertificatePaths, Identity};
use crate::rule::{Rule, value};
use crate::service::{self, Fault};
use crate::telemetry::Metrics;

/// Certificates that end sooner are worth a word.
const CERTIFICATE_WARNING_DAYS: u64 = 21;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Do not connect to the hosts that verifying may have to ask
    #[arg(long)]
    offline: bool,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let mut faults = Vec::new();
    let (settings, file) = place.settings().map_err(|found| {
        output::faults(found.into_iter().map(Fault::from).collect());
        EXIT_CONFIG
    })?;
    let prepared = service::prepare(&settings, &Metrics::new(), None, None)
        .map_err(|found| faults.extend(found))
        .ok();
    let now = SystemClock.now();
    let certificate = settings.listen.tls.as_ref().and_then(|files| {
        let paths = CertificatePaths {
            cert: files.cert.clone(),
            key: files.key.clone(),
        };
        Identity::load(&paths, now)
            .map_err(|error| faults.push(Fault::Tls(error)))
            .ok()
    });
    if let Err(error) = Tokens::named(&settings.admin) {
        faults.push(Fault::Token(error));
    }
    let admin = settings.admin.tls.as_ref().and_then(|files| {
        Material::load(files, now)
            .map_err(|error| faults.push(Fault::AdminTls(error)))
            .ok()
    });
    // The files of the rule directory prove themselves, as those in the binary do in the tests.
    // What cannot be read is reported above.
    let own = prove::own(&settings.rules).ok();
    let unproved = own.as_ref().map_or(&[][..], |own| own.faults.as_slice());
    if !faults.is_empty() || !unproved.is_empty() {
        if let Some(prepared) = prepared {
            output::diagnostics(&prepared.warnings);
        }
        for fault in unproved {
            output::remark(format_args!("error[unproved]: {fault}"));
        }
        output::faults_and(faults, unproved.len());
        return Err(EXIT_CONFIG);
    }
    for remark in own.iter().flat_map(|own| &own.remarks) {
        output::remark(format_args!("warning: {remark}"));
    }
    if let Some(prepared) = prepared {
        output::diagnostics(&prepared.warnings);
        table(&prepared);
        if !options.offline {
            reach::warn(&settings, &prepared);
        }
    }
    let ends = [
        (
            "the certificate",
            certificate.map(|identity| identity.not_after),
        ),
        (
            "the admin port's certificate",
            admin.map(|material| material.not_after),
        ),
    ];
    for (what, not_after) in ends {
        let Some(not_after) = not_after else { continue };
        let days = not_after.since(now).as_secs() / 86_400;
        if days < CERTIFICATE_WARNING_DAYS {
            output::remark(format_args!(
                "warning: {what} ends in {days} days, at {not_after}"
            ));
        }
    }
    let settings_from = file.map_or("defaults".to_owned(), |file| file.display().to_string());
    output::remark(format_args!(
        "no errors (settings: {settings_from}, rules: {})",
        settings.rules.display()
    ));
    Ok(())
}

/// True when something vouches for the events of a source: keys, or the provider when it is asked.
pub fn is_verified(rule: &Rule) -> bool {
    rule.provider.verifies()
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
                rule.relay.main.forward.to_string(),
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
