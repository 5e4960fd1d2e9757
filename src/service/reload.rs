//! Exchanging rules, keys and certificate while callbacks arrive: all or nothing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admin::auth::Door;
use crate::clock::Clock;
use crate::listener::tls::{CertificatePaths, CurrentIdentity, Identity};
use crate::pipeline::{self, Loaded, Reloaded};
use crate::relay::Relay;
use crate::rule::Rule;
use crate::rule::diagnostic::Diagnostic;
use crate::service::{Entry, Fault, prepare};
use crate::settings::{Admin, Settings};
use crate::telemetry::{Metrics, ResultLabel, unix};
use crate::verify::Outside;

/// What a reload needs: a signal, a changed file and the admin port ask for one.
pub struct Reloader {
    pub settings: Settings,
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

impl Reloader {
    /// Reads rules, keys and certificate anew and exchanges them all at once; on any fault the old
    /// ones stay. Requests under way finish with what they began with.
    pub fn reload(&self) -> Result<Vec<Diagnostic>, Vec<Fault>> {
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
            Ok(warnings) => Reloaded {
                at: self.clock.now(),
                error: None,
                warnings: warnings.clone(),
            },
            Err(faults) => Reloaded {
                at: before.at,
                error: Some(said(faults)),
                warnings: before.warnings.clone(),
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

    fn try_reload(&self) -> Result<Vec<Diagnostic>, Vec<Fault>> {
        let mut faults = Vec::new();
        let before = self.shared.loaded.load();
        let outside = Some(&self.outside);
        let prepared = prepare(&self.settings, &self.shared.metrics, Some(&before), outside)
            .map_err(|found| faults.extend(found))
            .ok();
        let identity = Identity::load(&self.certificate, self.clock.now())
            .map_err(|error| faults.push(Fault::Tls(error)))
            .ok();
        let admin = self
            .check_settings()
            .map_err(|found| faults.extend(found.into_iter().map(Fault::from)))
            .ok();
        let entry = admin.and_then(|admin| {
            let random = self.door.random.as_ref();
            Entry::load(&admin, &self.settings, self.clock.now(), random)
                .map_err(|found| faults.extend(found))
                .ok()
        });
        let (Some(prepared), Some(identity), Some(entry), true) =
            (prepared, identity, entry, faults.is_empty())
        else {
            return Err(faults);
        };
        self.shared
            .metrics
            .certificate_ends("public", identity.not_after);
        self.identity.replace(identity);
        self.door.replace_tokens(entry.tokens);
        if let (Some(current), Some(material)) = (&self.door.tls, entry.tls) {
            self.shared
                .metrics
                .certificate_ends("admin", material.not_after);
            current.replace(material);
        }
        self.relay.set_routes(prepared.routes);
        watch_over(&self.shared.metrics, &prepared.loaded);
        self.shared.loaded.store(Arc::new(prepared.loaded));
        let loaded_at = unix(self.clock.now());
        self.shared.metrics.rules_loaded.set(loaded_at);
        Ok(prepared.warnings)
    }

    /// The settings take effect on the next start, and a change is said, not swallowed; but the
    /// tokens that they name count at once, so that one can be exchanged without a restart.
    fn check_settings(&self) -> Result<Admin, Vec<Diagnostic>> {
        let mut admin = self.settings.admin.clone();
        let Some(file) = &self.settings_file else {
            return Ok(admin);
        };
        let (mut settings, _) = Settings::load(Some(file))?;
        let read = &mut settings.admin;
        std::mem::swap(&mut admin.operator, &mut read.operator);
        std::mem::swap(&mut admin.viewer, &mut read.viewer);
        if settings != self.settings {
            tracing::warn!(file = %file.display(), "the settings changed: but for the tokens they take effect on the next start");
        }
        Ok(admin)
    }
}

/// All faults, one a line.
pub fn said(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
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
