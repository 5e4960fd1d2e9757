//! Exchanging rules, keys, certificates, and what of the settings can change, while callbacks arrive:
//! all or nothing. What cannot change is said by its name.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::admin::auth::Door;
use crate::clock::Clock;
use crate::listener::tls::{CertificatePaths, CurrentIdentity, Identity};
use crate::pipeline::{self, Loaded, Reloaded};
use crate::relay::Relay;
use crate::rule::Rule;
use crate::rule::diagnostic::{Diagnostic, Severity};
use crate::service::outlets::Sending;
use crate::service::{Entry, Fault, prepare};
use crate::settings::{DEFAULT_FILE, Settings, TAKEN};
use crate::telemetry::{Metrics, ResultLabel, unix};
use crate::verify::Outside;

/// What a reload needs: a signal, a changed file and the admin port ask for one.
pub struct Reloader {
    /// What the process began with.
    pub settings: Settings,
    /// The same, with what reloads have taken over since.
    pub taken: ArcSwap<Settings>,
    /// Traces and alerts.
    pub sending: Sending,
    pub settings_file: Option<PathBuf>,
    pub shared: Arc<pipeline::Shared>,
    pub relay: Arc<Relay>,
    pub identity: Arc<CurrentIdentity>,
    pub certificate: CertificatePaths,
    pub clock: Arc<dyn Clock>,
    /// Kept across reloads, with the keys that were fetched.
    pub outside: Outside,
    /// Of the admin port: its tokens and its certificate.
    pub door: Arc<Door>,
    /// One reload at a time; and the key files for which the last one failed.
    pub missed: Mutex<Vec<PathBuf>>,
}

/// A reload that went well.
#[derive(Debug)]
pub struct Done {
    pub warnings: Vec<Diagnostic>,
    /// Keys of the settings file that say something else than what the process began with, and
    /// count from the next start on.
    pub waiting: Vec<&'static str>,
}

/// The settings file as it is now.
struct Read {
    /// What a reload goes by.
    settings: Settings,
    waiting: Vec<&'static str>,
    /// There was none at the start.
    appeared: Option<Diagnostic>,
}

impl Reloader {
    /// Reads everything anew and exchanges it all at once; on any fault what was there stays.
    /// Requests under way finish with what they began with.
    pub fn reload(&self) -> Result<Done, Vec<Fault>> {
        let mut missed = self.missed();
        let result = self.try_reload();
        let faults = result.as_ref().err();
        *missed = faults
            .into_iter()
            .flatten()
            .filter_map(Fault::key_file)
            .collect();
        let label = ResultLabel {
            result: if result.is_ok() { "done" } else { "failed" },
        };
        let before = self.shared.reloaded.load();
        let reloaded = match &result {
            Ok(done) => Reloaded {
                at: self.clock.now(),
                error: None,
                warnings: done.warnings.clone(),
                waiting: done.waiting.clone(),
            },
            Err(faults) => Reloaded {
                at: before.at,
                error: Some(said(faults)),
                warnings: before.warnings.clone(),
                waiting: before.waiting.clone(),
            },
        };
        self.shared.reloaded.store(Arc::new(reloaded));
        let metrics = &self.shared.metrics;
        metrics.reloads.get_or_create(&label).inc();
        metrics.reloaded_well.set(i64::from(result.is_ok()));
        drop(missed);
        result
    }

    /// Key files for which the last reload failed.
    pub fn missed(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_reload(&self) -> Result<Done, Vec<Fault>> {
        let mut faults = Vec::new();
        let before = self.shared.loaded.load();
        let outside = Some(&self.outside);
        // Where the file cannot be read the rest is looked at all the same, for its faults.
        let read = self.read_settings().unwrap_or_else(|found| {
            faults.extend(found.into_iter().map(Fault::from));
            Read {
                settings: Settings::clone(&self.taken.load()),
                waiting: Vec::new(),
                appeared: None,
            }
        });
        let Read {
            settings,
            waiting,
            appeared,
        } = read;
        let metrics = &self.shared.metrics;
        let prepared = prepare(&settings, metrics, Some(&before), outside)
            .map_err(|found| faults.extend(found))
            .ok();
        let identity = Identity::load(&self.certificate, self.clock.now())
            .map_err(|error| faults.push(Fault::Tls(error)))
            .ok();
        let random = self.door.random.as_ref();
        let entry = Entry::load(&settings.admin, &settings, self.clock.now(), random)
            .map_err(|found| faults.extend(found))
            .ok();
        let (Some(prepared), Some(identity), Some(entry), true) =
            (prepared, identity, entry, faults.is_empty())
        else {
            return Err(faults);
        };
        metrics.certificate_ends("public", identity.not_after);
        self.identity.replace(identity);
        self.door.replace_tokens(entry.tokens);
        if let (Some(current), Some(material)) = (&self.door.tls, entry.tls) {
            metrics.certificate_ends("admin", material.not_after);
            current.replace(material);
        }
        self.relay.set_routes(prepared.routes);
        watch_over(metrics, &prepared.loaded);
        self.shared.loaded.store(Arc::new(prepared.loaded));
        self.sending.take(prepared.outlets);
        self.taken.store(Arc::new(settings));
        metrics.rules_loaded.set(unix(self.clock.now()));
        let mut warnings = prepared.warnings;
        if let Some(remark) = appeared {
            tracing::warn!("{}", remark.message);
            warnings.push(remark);
        }
        if !waiting.is_empty() {
            let (settings, taken) = (waiting.join(", "), TAKEN.join(", "));
            tracing::warn!(
                settings,
                "changed since the start, and in force from the next start on: a reload takes over {taken} only"
            );
        }
        Ok(Done { warnings, waiting })
    }

    /// Settings that count at once are taken from the file; a change of any other is said by its
    /// name, not swallowed.
    fn read_settings(&self) -> Result<Read, Vec<Diagnostic>> {
        let Some(file) = &self.settings_file else {
            return Ok(Read {
                settings: self.settings.clone(),
                waiting: Vec::new(),
                appeared: appeared(Path::new(DEFAULT_FILE)),
            });
        };
        let (read, _) = Settings::load(Some(file))?;
        Ok(Read {
            settings: self.settings.taking(&read),
            waiting: self.settings.waiting(&read),
            appeared: None,
        })
    }
}

/// The process began without a settings file.
fn appeared(file: &Path) -> Option<Diagnostic> {
    let said = "there was no settings file at the start: this one counts from the next start on";
    file.is_file().then(|| Diagnostic {
        file: file.display().to_string(),
        text: "".into(),
        span: 0..0,
        code: "next_start",
        severity: Severity::Warning,
        message: said.to_owned(),
        hint: None,
    })
}

/// All errors, one a line; a compilation that failed gives its warnings too.
pub fn said(faults: &[Fault]) -> String {
    let errors = faults.iter().filter(|fault| fault.is_error());
    let lines: Vec<String> = errors.map(ToString::to_string).collect();
    lines.join("\n")
}

/// From now on figures are kept of these sources.
pub fn watch_over(metrics: &Metrics, loaded: &Loaded) {
    let labels = |rule: &Rule| {
        let named = rule.keys.iter().map(|key| key.label.clone());
        let verifier = loaded.verifiers.get(&rule.name);
        let held = verifier.into_iter().flat_map(|v| v.keys().keys());
        named.chain(held.map(|key| key.label.clone())).collect()
    };
    let rules = loaded.rules.rules.iter();
    metrics.watch_over(rules.map(|rule| (rule.name.clone(), labels(rule))));
}

#[cfg(test)]
mod tests;
