//! `/v1/doctor`: what the running gateway can say of itself. What only can be seen from outside, the
//! command line adds.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Extract;
use serde::Serialize;

use crate::admin::State;
use crate::admin::attention::{Attention, Severity, attention};
use crate::admin::parameter::{self, Asked};
use crate::admin::payload::Nothing;
use crate::admin::problem::Problem;
use crate::settings::Settings;

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DoctorJson {
    /// Worst first.
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// `blocker`, `warning` or `fine`.
    severity: &'static str,
    code: &'static str,
    subject: String,
    detail: String,
    mend: Option<String>,
    /// `detail` as a stable code, for readers of other languages.
    text: &'static str,
    /// What it says: numbers and names, as text.
    facts: BTreeMap<&'static str, String>,
}

impl Finding {
    fn text(self, text: &'static str) -> Self {
        Finding { text, ..self }
    }

    fn fact(mut self, name: &'static str, value: impl ToString) -> Self {
        self.facts.insert(name, value.to_string());
        self
    }
}

fn fine(code: &'static str, subject: &str, detail: impl Into<String>) -> Finding {
    Finding {
        severity: "fine",
        code,
        text: code,
        facts: BTreeMap::new(),
        subject: subject.to_owned(),
        detail: detail.into(),
        mend: None,
    }
}

fn warning(code: &'static str, subject: &str, detail: &str, mend: &str) -> Finding {
    Finding {
        severity: "warning",
        code,
        text: code,
        facts: BTreeMap::new(),
        subject: subject.to_owned(),
        detail: detail.to_owned(),
        mend: Some(mend.to_owned()),
    }
}

/// What to do about it.
fn mend(code: &str) -> Option<&'static str> {
    match code {
        "dead_letters" => {
            Some("Look at `callseal events --state dead`; redrive what may go, discard the rest.")
        }
        "oldest_owed" => Some("Look at its destination: does it answer, and with what?"),
        "paused" => Some("Resume it when the application is ready."),
        "breaker_open" => {
            Some("Look at the application; it is tried by itself, and nothing is lost.")
        }
        "quiet_source" => {
            Some("Look at the provider's own log of callbacks: does it still have this address?")
        }
        "rejections" => Some("Look at the refusals: each reason says its likely cause."),
        "certificate" => Some("Renew it; the new files are taken without a restart."),
        "disk_low" => Some("Give the disk room, or lower `keep` of large sources."),
        "not_accepting" => Some("Look at the log and at the disk."),
        "key_expiry" => Some("Finish the rotation at the provider, then take the old key out."),
        "reload_failed" => Some("`callseal check` shows every fault with its place."),
        "conflicts" => Some("Compare the two events; `conflict_of` names the first."),
        "unused_key" => Some("Take it out if the provider no longer signs with it."),
        _ => None,
    }
}

impl From<Attention> for Finding {
    fn from(found: Attention) -> Self {
        let subject = match (&found.source, &found.destination) {
            (Some(source), Some(to)) => format!("{source}/{to}"),
            (Some(source), None) => source.clone(),
            (None, _) => "gateway".to_owned(),
        };
        let mut facts = found.facts;
        let named = [("source", found.source), ("destination", found.destination)];
        let named = named.into_iter().filter_map(|(name, is)| Some((name, is?)));
        facts.extend(named);
        Finding {
            text: found.text,
            facts,
            severity: match found.severity {
                Severity::Blocker => "blocker",
                Severity::Warning | Severity::Note => "warning",
            },
            code: found.code,
            subject,
            detail: found.detail,
            mend: mend(found.code).map(str::to_owned),
        }
    }
}

pub async fn doctor(
    Extract(state): Extract<State>,
    asked: Asked<Nothing>,
) -> Result<Json<DoctorJson>, Problem> {
    parameter::query(asked)?;
    let found = attention(&state).await?;
    let has = |code: &str| found.iter().any(|found| found.code == code);
    let mut all = Vec::new();
    let stats = state.store.stats();
    if !has("not_accepting") && !has("disk_low") {
        let detail = "Events are accepted, and there is room for them.";
        all.push(fine("store", "gateway", detail));
    }
    if !has("certificate") {
        let until = state.certificate.not_after();
        let good = fine("certificate", "gateway", format!("Good until {until}."));
        all.push(good.text("certificate_good").fact("until", until));
    }
    if !has("dead_letters") {
        let none = fine("dead_letters", "gateway", "There are no dead letters.");
        all.push(none.text("no_dead_letters"));
    }
    if !has("oldest_owed") {
        let detail = format!("{} deliveries are owed, none for long.", stats.owed);
        let fresh = fine("oldest_owed", "gateway", detail);
        all.push(fresh.text("owed_fresh").fact("count", stats.owed));
    }
    let loaded = state.shared.loaded.load_full();
    let reloaded = state.shared.reloaded.load_full();
    if !has("reload_failed") {
        let count = loaded.rules.rules.len();
        let detail = format!("{count} sources, in force since {}.", reloaded.at);
        let rules = fine("rules", "gateway", detail).fact("count", count);
        all.push(rules.fact("since", reloaded.at));
    }
    if loaded.rules.rules.is_empty() {
        let mend = "`callseal init PROVIDER --forward URL` writes one.";
        all.push(warning(
            "no_sources",
            "gateway",
            "There is no source: every callback hears 404.",
            mend,
        ));
    }
    all.extend(settings(&state.settings));
    for rule in &loaded.rules.rules {
        if rule.provider.unverified_reason.is_some() {
            let detail = "Nothing shows who sent its events.";
            let mend = "Choose a provider that signs, or let only the provider's addresses in.";
            all.push(warning("unverified", rule.name.as_str(), detail, mend));
        }
    }
    if !reloaded.waiting.is_empty() {
        let keys = reloaded.waiting.join(", ");
        let detail = format!("Changed in the settings since the start, and not in force: {keys}.");
        let mend = "Restart the gateway, or take the change back.";
        all.push(warning("next_start", "gateway", &detail, mend).fact("remark", keys));
    }
    for remark in &reloaded.warnings {
        let mend = "`callseal check` shows the place.";
        let said = remark.to_string();
        let mut found = warning("rule_warning", "rules", &said, mend).fact("remark", said);
        let (line, column) = remark.position();
        found = found.fact("file", &remark.file).fact("line", line);
        found = found
            .fact("column", column)
            .fact("message", &remark.message);
        if let Some(hint) = &remark.hint {
            found = found.fact("hint", hint);
        }
        all.push(found);
    }
    all.extend(found.into_iter().map(Finding::from));
    let rank = |severity| ["blocker", "warning"].iter().position(|s| *s == severity);
    all.sort_by_key(|finding| rank(finding.severity).unwrap_or(2));
    Ok(Json(DoctorJson { findings: all }))
}

fn settings(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    if settings.listen.tls.is_none() {
        found.push(warning(
            "development_certificate",
            "gateway",
            "The certificate of the public port was made for development: providers do not trust it.",
            "Set `[listen] tls`, or put something that speaks TLS before the gateway.",
        ));
    }
    found
}
