//! `/v1/rules` and `/v1/reload`: what is in force, and from which files.

use axum::Json;
use axum::extract::{Extension, State as Extract};
use axum::http::StatusCode;
use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::admin::State;
use crate::admin::auth::operator_only;
use crate::admin::parameter::{self, Asked};
use crate::admin::payload::Nothing;
use crate::admin::problem::Problem;
use crate::admin::token::Caller;
use crate::inbox::store::{Deed, DeedKind};
use crate::rule::diagnostic::Diagnostic;
use crate::rule::{RuleFileDigest, RuleFileKind};

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct RulesJson {
    digest: String,
    loaded_at: String,
    /// Why the last reload failed; the rules here are those from before.
    reload_error: Option<String>,
    sources: Vec<SourceFileJson>,
    providers: Vec<ProviderFileJson>,
    warnings: Vec<String>,
    /// The same, in their parts.
    remarks: Vec<RemarkJson>,
    /// Keys of `callseal.toml` that say something else than at the start and count from the next one
    /// on.
    next_start: Vec<String>,
}

/// A remark on a rule file.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct RemarkJson {
    /// Stable.
    code: &'static str,
    file: String,
    line: usize,
    /// From 1, in characters.
    column: usize,
    message: String,
    hint: Option<String>,
}

impl RemarkJson {
    fn of(remark: &Diagnostic) -> Self {
        let (line, column) = remark.position();
        RemarkJson {
            code: remark.code,
            file: remark.file.clone(),
            line,
            column,
            message: remark.message.clone(),
            hint: remark.hint.clone(),
        }
    }
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SourceFileJson {
    name: String,
    file: Option<String>,
    digest: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ProviderFileJson {
    name: String,
    /// Null when no source uses it.
    title: Option<String>,
    /// Null: built in.
    file: Option<String>,
    digest: String,
    used_by: Vec<String>,
}

fn shown(file: &RuleFileDigest) -> (Option<String>, String) {
    let path = file.path.as_ref().map(|path| path.display().to_string());
    (path, HEXLOWER.encode(&file.digest))
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

pub async fn rules(
    Extract(state): Extract<State>,
    asked: Asked<Nothing>,
) -> Result<Json<RulesJson>, Problem> {
    parameter::query(asked)?;
    let loaded = state.shared.loaded.load_full();
    let reloaded = state.shared.reloaded.load_full();
    let set = &loaded.rules;
    let of = |kind| set.files.iter().filter(move |file| file.kind == kind);
    let sources = set.rules.iter().map(|rule| {
        let file = of(RuleFileKind::Source).find(|file| file.name == rule.name.as_str());
        let (file, digest) = file.map(shown).unzip();
        SourceFileJson {
            name: rule.name.to_string(),
            file: file.flatten(),
            digest,
        }
    });
    let providers = of(RuleFileKind::Provider).map(|found| {
        let users = set.rules.iter();
        let users: Vec<_> = users
            .filter(|rule| rule.provider.name == found.name)
            .collect();
        let (file, digest) = shown(found);
        ProviderFileJson {
            name: found.name.clone(),
            title: users.first().map(|rule| rule.provider.title.clone()),
            file,
            digest,
            used_by: users.iter().map(|rule| rule.name.to_string()).collect(),
        }
    });
    Ok(Json(RulesJson {
        digest: HEXLOWER.encode(&set.digest),
        loaded_at: reloaded.at.to_string(),
        reload_error: reloaded.error.clone(),
        sources: sources.collect(),
        providers: providers.collect(),
        next_start: owned(&reloaded.waiting),
        warnings: reloaded.warnings.iter().map(ToString::to_string).collect(),
        remarks: reloaded.warnings.iter().map(RemarkJson::of).collect(),
    }))
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ReloadedJson {
    digest: String,
    /// The rules are others than before; keys and certificate were read anew either way.
    changed: bool,
    /// Keys of `callseal.toml` that say something else than at the start and cannot be taken over
    /// while running: they count from the next start on.
    next_start: Vec<String>,
}

/// The same as SIGHUP: rules, keys, certificates, and what of the settings can change, all or nothing.
pub async fn reload(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    asked: Asked<Nothing>,
) -> Result<Json<ReloadedJson>, Problem> {
    operator_only(caller.role)?;
    parameter::query(asked)?;
    let before = state.shared.loaded.load().rules.digest;
    let deed = |digest: [u8; 32], outcome: &str| Deed {
        at: state.shared.clock.now(),
        by: caller.label.clone(),
        kind: DeedKind::Reload,
        source: None,
        destination: None,
        event: None,
        detail: HEXLOWER.encode(&digest),
        count: state.shared.loaded.load().rules.rules.len() as u64,
        outcome: outcome.to_owned(),
    };
    // Written down before anything is done.
    state.store.record(deed(before, "begun")).await?;
    let reload = state.reload.clone();
    // Files are read, and all of it is compiled: not on the thread that serves.
    let done = tokio::task::spawn_blocking(move || reload()).await;
    let done = done.unwrap_or_else(|_| Err("the reload ended by itself".to_owned()));
    let digest = state.shared.loaded.load().rules.digest;
    let outcome = if done.is_ok() { "done" } else { "failed" };
    // It is done: whoever asked hears what came of it.
    if let Err(error) = state.store.record(deed(digest, outcome)).await {
        tracing::error!(%error, "the end of a reload is not in the audit");
    }
    tracing::info!(
        by = caller.label,
        done = done.is_ok(),
        "a reload by an operator"
    );
    match done {
        Ok(waiting) => Ok(Json(ReloadedJson {
            digest: HEXLOWER.encode(&digest),
            changed: digest != before,
            next_start: owned(&waiting),
        })),
        Err(said) => Err(Problem::new(StatusCode::CONFLICT, "reload_failed", said)),
    }
}
