//! `/v1/overview`: how the gateway does, on one page. And the figures of the moment, which the
//! stream repeats.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State as Extract;
use serde::Serialize;

use crate::admin::State;
use crate::admin::attention::{Attention, attention};
use crate::admin::parameter::{self, Asked};
use crate::admin::payload::Nothing;
use crate::admin::problem::Problem;
use crate::telemetry::figures::{Count, Counts};

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Overview {
    version: &'static str,
    started_at: String,
    now: String,
    ready: bool,
    accepting: bool,
    draining: bool,
    claims: u64,
    journal_bytes: u64,
    disk_free_bytes: Option<u64>,
    certificate: Option<CertificateJson>,
    rules_digest: String,
    rules_loaded_at: String,
    reload_error: Option<String>,
    #[serde(flatten)]
    moment: Moment,
    attention: Vec<Attention>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CertificateJson {
    not_after: String,
    subject: String,
}

/// The figures of the moment; rates and latencies are those of the last five minutes.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Moment {
    owed: u64,
    oldest_owed_at: Option<String>,
    dead: u64,
    rates: Rates,
    acknowledge: Latency,
    delivery: Latency,
}

/// In a second.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Rates {
    accepted: f64,
    duplicate: f64,
    rejected: f64,
    refused: f64,
    delivered: f64,
    failed: f64,
}

/// Null when there was nothing to measure.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Latency {
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// Free space of the store's file system.
pub fn disk_free(state: &State) -> Option<u64> {
    let stat = rustix::fs::statvfs(&state.settings.inbox.store).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn rounded(value: f64, digits: i32) -> f64 {
    let by = 10f64.powi(digits);
    (value * by).round() / by
}

impl Moment {
    #[cfg(test)]
    pub fn none() -> Self {
        let none = || Latency {
            p50_ms: None,
            p99_ms: None,
        };
        Moment {
            owed: 0,
            oldest_owed_at: None,
            dead: 0,
            rates: Rates {
                accepted: 0.0,
                duplicate: 0.0,
                rejected: 0.0,
                refused: 0.0,
                delivered: 0.0,
                failed: 0.0,
            },
            acknowledge: none(),
            delivery: none(),
        }
    }

    pub fn of(state: &State) -> Self {
        let now = state.shared.clock.now();
        let figures = &state.shared.metrics.figures;
        let (counts, over) = state.history.recent(now, figures);
        let rate = |what| rounded(counts.of(what) as f64 / over.as_secs_f64(), 3);
        let latency = |of: fn(&Counts, f64) -> Option<f64>| Latency {
            p50_ms: of(&counts, 0.5).map(|ms| rounded(ms, 2)),
            p99_ms: of(&counts, 0.99).map(|ms| rounded(ms, 2)),
        };
        let stats = state.store.stats();
        Moment {
            owed: stats.owed,
            oldest_owed_at: stats.oldest_owed.map(|at| at.to_string()),
            dead: stats.dead,
            rates: Rates {
                accepted: rate(Count::Accepted),
                duplicate: rate(Count::Duplicate),
                rejected: rate(Count::Rejected),
                refused: rate(Count::Refused),
                delivered: rate(Count::Delivered),
                failed: rate(Count::Failed),
            },
            acknowledge: latency(Counts::acknowledge),
            delivery: latency(Counts::delivery),
        }
    }
}

pub async fn overview(
    Extract(state): Extract<State>,
    asked: Asked<Nothing>,
) -> Result<Json<Overview>, Problem> {
    parameter::query(asked)?;
    let stats = state.store.stats();
    let draining = state.draining.load(Ordering::SeqCst);
    let loaded = state.shared.loaded.load_full();
    let reloaded = state.shared.reloaded.load_full();
    Ok(Json(Overview {
        version: env!("CARGO_PKG_VERSION"),
        started_at: state.started_at.to_string(),
        now: state.shared.clock.now().to_string(),
        ready: stats.accepting && !draining,
        accepting: stats.accepting,
        draining,
        claims: stats.claims,
        journal_bytes: stats.journal_bytes,
        disk_free_bytes: disk_free(&state),
        certificate: Some(CertificateJson {
            not_after: state.certificate.not_after().to_string(),
            subject: state.certificate.subject(),
        }),
        rules_digest: data_encoding::HEXLOWER.encode(&loaded.rules.digest),
        rules_loaded_at: reloaded.at.to_string(),
        reload_error: reloaded.error.clone(),
        moment: Moment::of(&state),
        attention: attention(&state).await?,
    }))
}
