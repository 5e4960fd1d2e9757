//! Settings, rules, keys, certificate: as `serve` would read them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Finding;
use crate::admin::keeper::figures_file;
use crate::admin::tls::Material;
use crate::admin::token::{Tokens, token_file};
use crate::cli::Place;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::listener::tls::{CertificatePaths, Identity, TlsError};
use crate::rule::diagnostic::{Diagnostic, Severity};
use crate::secret::SecretRef;
use crate::service::{self, Fault, Prepared};
use crate::settings::Settings;
use crate::telemetry::Metrics;

const DAY: Duration = Duration::from_secs(86_400);
/// A certificate that ends sooner is worth a word: renewal is due a month before.
const CERTIFICATE: Duration = Duration::from_secs(21 * 86_400);
/// One that ends sooner than this may be gone before anybody looks again.
const CERTIFICATE_BLOCKER: Duration = Duration::from_secs(3 * 86_400);
/// A key that ends sooner: its successor must be known to the provider first.
const KEY: Duration = Duration::from_secs(14 * 86_400);
/// Most providers advise to change a secret at least once a year.
const KEY_AGE: Duration = Duration::from_secs(400 * 86_400);

/// What could be read.
pub struct Read {
    pub settings: Settings,
    /// None: the rules do not compile.
    pub prepared: Option<Prepared>,
}

pub fn look(place: &Place) -> (Vec<Finding>, Option<Read>) {
    let mut findings = Vec::new();
    let settings = match place.settings() {
        Ok((settings, file)) => {
            findings.extend(file.as_deref().and_then(writable));
            let from = file.map_or("defaults".to_owned(), |file| file.display().to_string());
            findings.push(Finding::fine("settings", from, "can be read"));
            settings
        }
        Err(diagnostics) => {
            findings.extend(diagnostics.iter().map(in_file));
            return (findings, None);
        }
    };
    let now = SystemClock.now();
    let prepared = rules(&settings, &mut findings);
    findings.extend(rule_files(&settings.rules));
    if let Some(prepared) = &prepared {
        keys(prepared, now, &mut findings);
    }
    certificate(&settings, now, &mut findings);
    admin(&settings, now, &mut findings);
    findings.extend(private("figures", &figures_file(&settings.inbox.store)));
    (findings, Some(Read { settings, prepared }))
}

/// A remark on a file, with its line and column.
fn in_file(remark: &Diagnostic) -> Finding {
    let (line, column) = remark.position();
    let place = match remark.text.is_empty() {
        true => remark.file.clone(),
        false => format!("{}:{line}:{column}", remark.file),
    };
    let finding = match remark.severity {
        Severity::Error => Finding::blocker(remark.code, place, &remark.message),
        Severity::Warning => Finding::warning(remark.code, place, &remark.message),
    };
    finding.mend(match &remark.hint {
        Some(hint) => hint,
        None => "callseal check shows the place",
    })
}

fn rules(settings: &Settings, findings: &mut Vec<Finding>) -> Option<Prepared> {
    let prepared = match service::prepare(settings, &Metrics::new(), None, None) {
        Ok(prepared) => prepared,
        Err(faults) => {
            let each = faults.into_iter().map(|fault| match fault {
                Fault::File(at) | Fault::Named { at, .. } => in_file(&at),
                fault => Finding::blocker("rules", settings.rules.display(), fault)
                    .mend("callseal check shows every fault with its place"),
            });
            findings.extend(each);
            return None;
        }
    };
    findings.extend(prepared.warnings.iter().map(in_file));
    let sources = prepared.loaded.rules.rules.len();
    findings.push(match sources {
        0 => Finding::warning("no_sources", settings.rules.display(), "there are no sources: every callback is refused")
            .mend("callseal init PROVIDER --forward URL writes the first"),
        // A source whose keep is shorter than its provider retries does not compile.
        sources => Finding::fine(
            "rules",
            settings.rules.display(),
            match sources {
                1 => "the source compiles; it keeps its events for longer than its provider retries".to_owned(),
                _ => format!("{sources} sources compile; each keeps its events for longer than its provider retries"),
            },
        ),
    });
    Some(prepared)
}

fn keys(prepared: &Prepared, now: Timestamp, findings: &mut Vec<Finding>) {
    for rule in &prepared.loaded.rules.rules {
        let mut good = 0;
        for key in &rule.keys {
            let subject = format!("{} {}", rule.name, key.label);
            // Whatever else there is to say of it: one that everybody can read is none.
            let known = match &key.from {
                SecretRef::File(path) => file(&subject, path, now),
                SecretRef::Env(_) => None,
            };
            let sound = known.is_none();
            findings.extend(known);
            if let Some(end) = key.not_after {
                if end <= now {
                    findings.push(
                        Finding::warning(
                            "key_expired",
                            &subject,
                            format!("ended at {end} and is not used any more"),
                        )
                        .mend("take it out of `keys`, once its successor is there"),
                    );
                    continue;
                }
                if end.since(now) < KEY {
                    findings.push(
                        Finding::warning("key_expiry", &subject, format!("ends at {end}, in {}", days(end.since(now))))
                            .mend("put its successor beside it into `keys` before the provider changes over"),
                    );
                    continue;
                }
            }
            good += usize::from(sound);
        }
        if good > 0 {
            findings.push(Finding::fine(
                "keys",
                &rule.name,
                format!("{good} of {} keys in order", rule.keys.len()),
            ));
        }
        let secrets = rule.relay.destinations();
        let secrets = secrets
            .flat_map(|to| to.secrets())
            .chain(rule.secrets.values())
            .filter_map(|secret| match secret {
                SecretRef::File(path) => Some(path),
                SecretRef::Env(_) => None,
            });
        for path in secrets {
            let public = std::fs::read(path).is_ok_and(|text| public(&text));
            if !public {
                findings.extend(private(rule.name.as_str(), path));
            }
        }
        let usable = rule
            .keys
            .iter()
            .any(|key| key.not_after.is_none_or(|end| end > now));
        if !rule.keys.is_empty() && !usable {
            findings.push(
                Finding::blocker(
                    "no_usable_key",
                    &rule.name,
                    "every key has ended: all callbacks are rejected",
                )
                .mend("put the provider's current key into `keys`"),
            );
        }
    }
}

/// A key's file that others may read, or that nobody has changed for long.
fn file(subject: &str, path: &Path, now: Timestamp) -> Option<Finding> {
    let meta = std::fs::metadata(path).ok()?;
    let public = std::fs::read(path).is_ok_and(|text| public(&text));
    if !public && meta.mode() & 0o007 != 0 {
        let detail = format!(
            "{} can be read or written by everybody (mode {:o})",
            path.display(),
            meta.mode() & 0o777
        );
        return Some(
            Finding::warning("file_mode", subject, detail)
                .mend(format!("chmod o= {}", path.display())),
        );
    }
    let written = Timestamp::default().plus(Duration::from_secs(
        u64::try_from(meta.mtime()).unwrap_or(0),
    ));
    let age = now.since(written);
    if !public && age > KEY_AGE {
        let detail = format!("its file has not changed for {}", days(age));
        return Some(
            Finding::warning("key_age", subject, detail)
                .mend("change it: docs/operations.md, \"Rotate a provider's key\""),
        );
    }
    None
}

/// What everybody may know.
fn public(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("-----BEGIN PUBLIC KEY-----")
        || text.contains("-----BEGIN RSA PUBLIC KEY-----")
        || (text.contains("-----BEGIN CERTIFICATE-----") && !text.contains("PRIVATE KEY-----"))
}

fn certificate(settings: &Settings, now: Timestamp, findings: &mut Vec<Finding>) {
    let Some(files) = &settings.listen.tls else {
        findings.push(
            Finding::warning("development_certificate", settings.listen.address, "no certificate is named: the gateway makes its own, which no provider trusts")
                .mend("`tls = { cert = …, key = … }` under [listen], unless a proxy in front terminates TLS"),
        );
        return;
    };
    if let Some(finding) = private("certificate's key", &files.key) {
        findings.push(finding);
    }
    let paths = CertificatePaths {
        cert: files.cert.clone(),
        key: files.key.clone(),
    };
    let found = Identity::load(&paths, now).map(|identity| {
        let ends = format!("{} ends at {}", identity.subject, identity.not_after);
        (ends, identity.not_after)
    });
    findings.push(expiry(&files.cert, now, found));
}

/// A certificate that is good, ends soon, or cannot be used.
fn expiry(file: &Path, now: Timestamp, found: Result<(String, Timestamp), TlsError>) -> Finding {
    let file = file.display();
    let (ends, not_after) = match found {
        Ok(found) => found,
        Err(error) => {
            return Finding::blocker("certificate", file, error)
                .mend("a gateway does not start with it, and one that runs keeps the one from before: put a good one there");
        }
    };
    let left = not_after.since(now);
    let detail = format!("{ends}, in {}", days(left));
    let mend = "renew it; a running gateway notices the new file by itself";
    if left < CERTIFICATE_BLOCKER {
        return Finding::blocker("certificate_expiry", file, detail).mend(mend);
    }
    match left < CERTIFICATE {
        true => Finding::warning("certificate_expiry", file, detail).mend(mend),
        false => Finding::fine("certificate", file, detail),
    }
}

/// Lists of revoked certificates, the first of which is to be followed by another at `due`.
fn revocations(file: &Path, due: Timestamp, now: Timestamp) -> Finding {
    let file = file.display();
    if due > now {
        let detail = format!("the next lists of revoked certificates are due at {due}");
        return Finding::fine("revocations", file, detail);
    }
    let detail = format!(
        "a list of revoked certificates should have been followed by another at {due}: it still counts, and what was revoked since gets in"
    );
    let mend =
        "put the authority's latest lists there; a running gateway notices the new file by itself";
    Finding::warning("revocations_old", file, detail).mend(mend)
}

/// Whoever can write settings or rules says where callbacks go, and whose signature counts.
fn writable(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    if mode & 0o002 == 0 {
        return None;
    }
    let detail = format!("can be written by everybody (mode {mode:o})");
    let finding = Finding::warning("file_mode", path.display(), detail);
    Some(finding.mend(format!("chmod o-w {}", path.display())))
}

fn rule_files(rules: &Path) -> Vec<Finding> {
    let folders = [rules.to_owned(), rules.join("providers")];
    let mut found = Vec::new();
    for folder in folders {
        found.extend(writable(&folder));
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
        found.extend(files.iter().filter_map(|file| writable(file)));
    }
    found
}

fn private(what: &str, path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    if mode & 0o007 == 0 {
        return None;
    }
    let detail = format!(
        "{} can be read or written by everybody (mode {mode:o})",
        path.display()
    );
    Some(Finding::warning("file_mode", what, detail).mend(format!("chmod o= {}", path.display())))
}

fn admin(settings: &Settings, now: Timestamp, findings: &mut Vec<Finding>) {
    match Tokens::named(&settings.admin) {
        Err(error) => findings.push(Finding::blocker("admin_token", "admin", error)),
        Ok(named) if named.is_empty() => {
            let file: PathBuf = token_file(&settings.inbox.store);
            findings.extend(private("admin token", &file));
        }
        Ok(_) => {
            let named = settings.admin.operator.iter().chain(&settings.admin.viewer);
            for token in named {
                if let SecretRef::File(path) = &token.from {
                    findings.extend(private("admin token", path));
                }
            }
        }
    }
    let address = &settings.admin.address;
    let near = address
        .socket()
        .is_none_or(|socket| socket.ip().is_loopback());
    findings.push(match near {
        true => Finding::fine(
            "admin_address",
            address,
            "the admin port is reached from this machine only",
        ),
        false => Finding::warning(
            "admin_public",
            address,
            "the admin port is reached from other machines",
        )
        .mend("let a firewall allow only those that need it"),
    });
    if let Some(files) = &settings.admin.tls {
        findings.extend(private("the admin port's key", &files.key));
        let material = Material::load(files, now);
        if let (Ok(Some(due)), Some(file)) = (
            material.as_ref().map(|material| material.crl_due),
            &files.client_crl,
        ) {
            findings.push(revocations(file, due, now));
        }
        let found = material.map(|material| {
            let ends = format!("the admin port's ends at {}", material.not_after);
            (ends, material.not_after)
        });
        findings.push(expiry(&files.cert, now, found));
    }
}

/// In whole days, or hours where it is less than two.
pub fn days(time: Duration) -> String {
    match time < 2 * DAY {
        true => format!("{} hours", time.as_secs() / 3600),
        false => format!("{} days", time.as_secs() / 86_400),
    }
}
