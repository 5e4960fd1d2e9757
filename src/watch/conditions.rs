//! What an operator should be told of, in one table: the rules for Prometheus
//! (`deploy/prometheus/alerts.yml`) are written from it, and the gateway's own alerts are judged by
//! it.

use std::time::Duration;

use crate::settings::Thresholds;
use crate::watch::snapshot::{History, Snapshot, Source};

mod view;

use view::{A_WEEK, SILENCES, View, WEEK, gateway, quiet};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Somebody must act now.
    Critical,
    /// Somebody must act today.
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        }
    }
}

/// A condition, and how it is found.
#[derive(Clone, Copy)]
pub struct Condition {
    /// In pushed alerts.
    pub code: &'static str,
    /// What Prometheus calls it, and the heading of its section in `docs/operations.md`.
    pub alert: &'static str,
    pub severity: Severity,
    /// It must hold so long before it counts.
    pub hold: Duration,
    pub summary: &'static str,
    /// The same for Prometheus.
    pub expr: fn(&Thresholds) -> String,
    judge: fn(&View<'_>) -> Vec<Finding>,
}

/// What a condition was found on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub source: Option<String>,
    pub destination: Option<String>,
    /// A key's label, or a port.
    pub subject: Option<String>,
    /// One sentence.
    pub detail: String,
}

const MINUTE: Duration = Duration::from_secs(60);
const FIVE: Duration = Duration::from_secs(300);
const QUARTER: Duration = Duration::from_secs(15 * 60);
const HOUR: Duration = Duration::from_secs(3600);
/// So long after rules were loaded a signature that does not fit is put down to a rotation.
const ROTATION: Duration = Duration::from_secs(6 * 3600);

const BY_SOURCE: &str = "sum by (instance, source)";
const BY_DESTINATION: &str = "sum by (instance, source, destination)";
const EVENTS: &str =
    "callseal_callbacks_total{verdict=~\"accepted|duplicate|conflict|conflict_dropped\"}";

/// Every condition.
pub const CONDITIONS: [Condition; 13] = [
    Condition {
        code: "not_accepting",
        alert: "CallsealNotAccepting",
        severity: Severity::Critical,
        hold: MINUTE,
        summary: "No event is accepted: providers hear 503",
        expr: |_| "callseal_accepting == 0".to_owned(),
        judge: |view| match view.now.accepting {
            true => Vec::new(),
            false => vec![gateway(
                "no event is accepted: providers hear 503".to_owned(),
            )],
        },
    },
    Condition {
        code: "endpoint_at_risk",
        alert: "CallsealEndpointAtRisk",
        severity: Severity::Critical,
        hold: Duration::ZERO,
        summary: "For an hour no callback of this source heard success: the provider may disable the endpoint",
        expr: at_risk,
        judge: |view| {
            view.each_source(
                |before, now| {
                    let heard = now.events + now.challenges > before.events + before.challenges;
                    let looked_at = |s: &Source| s.rejected + s.overloaded;
                    let (failed, since) = match now.last_accepted {
                        Some(last) => (
                            now.failed.saturating_sub(before.failed),
                            view.now.at.since(last) > HOUR,
                        ),
                        // Strangers who find nothing but a guard are no callbacks that fail.
                        None => (
                            looked_at(now).saturating_sub(looked_at(before)),
                            looked_at(before) > 0,
                        ),
                    };
                    (failed >= view.t.at_risk && !heard && since).then(|| {
                        let ever = match now.last_accepted {
                            Some(_) => "none did",
                            None => "none ever did",
                        };
                        format!("{failed} callbacks within an hour heard no success, and {ever}: the provider may disable the endpoint")
                    })
                },
                HOUR,
            )
        },
    },
    Condition {
        code: "provider_quiet",
        alert: "CallsealProviderQuiet",
        severity: Severity::Warning,
        hold: Duration::ZERO,
        summary: "Nothing came for longer than this source is usually silent",
        expr: usually_busy,
        judge: quiet,
    },
    Condition {
        code: "rejection_burst",
        alert: "CallsealRejectionBurst",
        severity: Severity::Warning,
        hold: Duration::ZERO,
        summary: "Many callbacks of this source are rejected",
        expr: |t| {
            format!(
                "{BY_SOURCE} (increase(callseal_callbacks_total{{source!=\"\",verdict=\"rejected\"}}[5m])) > {}",
                t.rejections
            )
        },
        judge: |view| {
            view.each_source(
                |before, now| {
                    let rejected = now.rejected.saturating_sub(before.rejected);
                    (rejected > view.t.rejections)
                        .then(|| format!("{rejected} callbacks were rejected within 5 minutes"))
                },
                FIVE,
            )
        },
    },
    Condition {
        code: "signature_failures",
        alert: "CallsealSignatureFailures",
        severity: Severity::Critical,
        hold: Duration::ZERO,
        summary: "Signatures do not fit since rules and keys were loaded: the rotation of a key went wrong",
        expr: |t| {
            format!(
                "{BY_SOURCE} (increase(callseal_refusals_total{{reason=~\"signature_mismatch|key_unknown|key_expired\"}}[15m])) >= {} and on (instance) (time() - callseal_rules_loaded_timestamp_seconds < {})",
                t.signature_failures,
                ROTATION.as_secs()
            )
        },
        judge: |view| {
            let recent = view.now.at.since(view.now.rules_loaded) < ROTATION;
            view.each_source(|before, now| {
                let failed = now.mismatches.saturating_sub(before.mismatches);
                (recent && failed >= view.t.signature_failures).then(|| {
                    format!("{failed} signatures did not fit within 15 minutes, and rules and keys were loaded at {}", view.now.rules_loaded)
                })
            }, QUARTER)
        },
    },
    Condition {
        code: "failure_share",
        alert: "CallsealFailureShare",
        severity: Severity::Warning,
        hold: FIVE,
        summary: "Too many delivery attempts fail",
        expr: |t| {
            let all = format!("{BY_DESTINATION} (increase(callseal_attempts_total[15m]))");
            format!(
                "{BY_DESTINATION} (increase(callseal_attempts_total{{verdict!=\"delivered\"}}[15m])) > {} * {all} and {all} >= {}",
                t.failure_share, t.failures
            )
        },
        judge: |view| {
            view.each_lane(|before, now| {
                let failed = now.failed.saturating_sub(before.failed);
                let all = failed + now.delivered.saturating_sub(before.delivered);
                let share = failed as f64 / all.max(1) as f64;
                (all >= view.t.failures && share > view.t.failure_share)
                    .then(|| format!("{failed} of {all} attempts within 15 minutes failed"))
            })
        },
    },
    Condition {
        code: "owed_growing",
        alert: "CallsealOwedGrowing",
        severity: Severity::Warning,
        hold: QUARTER,
        summary: "What is owed to this destination grows",
        expr: |t| {
            format!(
                "callseal_owed > {} and callseal_owed > callseal_owed offset 15m",
                t.owed
            )
        },
        judge: |view| {
            view.each_lane(|before, now| {
                (now.owed > view.t.owed && now.owed > before.owed).then(|| {
                    format!(
                        "{} deliveries are owed, {} more than 15 minutes ago",
                        now.owed,
                        now.owed - before.owed
                    )
                })
            })
        },
    },
    Condition {
        code: "oldest_owed",
        alert: "CallsealOldestOwed",
        severity: Severity::Warning,
        hold: MINUTE,
        summary: "A delivery waits too long",
        expr: |t| {
            format!(
                "callseal_oldest_owed_age_seconds > {}",
                t.oldest_owed.as_secs()
            )
        },
        judge: |view| {
            view.each_lane(|_, now| {
                let oldest = now.oldest_owed?;
                (view.now.at.since(oldest) > view.t.oldest_owed)
                    .then(|| format!("the oldest delivery is owed since {oldest}"))
            })
        },
    },
    Condition {
        code: "dead_letters",
        alert: "CallsealDeadLetters",
        severity: Severity::Warning,
        hold: Duration::ZERO,
        summary: "Deliveries were given up",
        expr: |_| {
            format!(
                "{BY_DESTINATION} (increase(callseal_attempts_total{{verdict=\"dead\"}}[1h])) > 0"
            )
        },
        judge: |view| {
            view.each_lane_within(HOUR, |before, now| {
                let dead = now.dead.saturating_sub(before.dead);
                (dead > 0).then(|| format!("{dead} deliveries were given up within an hour"))
            })
        },
    },
    Condition {
        code: "disk_low",
        alert: "CallsealDiskLow",
        severity: Severity::Warning,
        hold: FIVE,
        summary: "The disk of the store is nearly full",
        expr: |t| format!("callseal_disk_free_bytes < {}", t.disk_free),
        judge: |view| {
            let free = view.now.disk_free.filter(|free| *free < view.t.disk_free);
            free.map(|free| gateway(format!("{free} bytes are free on the disk of the store")))
                .into_iter()
                .collect()
        },
    },
    Condition {
        code: "certificate_expiring",
        alert: "CallsealCertificateExpiring",
        severity: Severity::Warning,
        hold: Duration::ZERO,
        summary: "The certificate of a port ends soon",
        expr: |t| {
            format!(
                "callseal_certificate_expiry_timestamp_seconds - time() < {}",
                t.certificate.as_secs()
            )
        },
        judge: |view| {
            let ending = view
                .now
                .certificates
                .iter()
                .filter(|(_, at)| view.ends_soon(*at));
            ending
                .map(|(port, at)| Finding {
                    subject: Some((*port).to_owned()),
                    ..gateway(format!("the certificate of the {port} port ends at {at}"))
                })
                .collect()
        },
    },
    Condition {
        code: "key_expiring",
        alert: "CallsealKeyExpiring",
        severity: Severity::Warning,
        hold: Duration::ZERO,
        summary: "A key of this source ends soon",
        expr: |t| {
            let seconds = t.certificate.as_secs();
            format!(
                "callseal_key_expiry_timestamp_seconds - time() < {seconds} or callseal_fetched_keys_expiry_timestamp_seconds - time() < {seconds}"
            )
        },
        judge: |view| {
            let ending = view
                .now
                .keys
                .iter()
                .filter(|(_, _, at)| view.ends_soon(*at));
            ending
                .map(|(source, key, at)| Finding {
                    source: Some(source.clone()),
                    subject: Some(key.clone()),
                    ..gateway(format!("the key {key} ends at {at}"))
                })
                .collect()
        },
    },
    Condition {
        code: "reload_failed",
        alert: "CallsealReloadFailed",
        severity: Severity::Warning,
        hold: Duration::ZERO,
        summary: "Rules, keys or certificates could not be reloaded: the old ones are in force",
        expr: |_| "callseal_last_reload_successful == 0".to_owned(),
        judge: |view| match view.now.reload_failed {
            true => vec![gateway(format!(
                "the last reload failed: the rules, keys and certificates in force are those of {}",
                view.now.rules_loaded
            ))],
            false => Vec::new(),
        },
    },
];

/// Where something was accepted before: nothing but failures for an hour. Where nothing ever was,
/// only what the verifier looked at counts, and there must have been some an hour ago already.
fn at_risk(t: &Thresholds) -> String {
    let increase = |verdicts: &str| {
        format!(
            "{BY_SOURCE} (increase(callseal_callbacks_total{{source!=\"\",verdict=~\"{verdicts}\"}}[1h]))"
        )
    };
    let last = "max by (instance, source) (callseal_last_accepted_timestamp_seconds)";
    let looked_at = "rejected|overloaded";
    let before = format!(
        "{BY_SOURCE} (callseal_callbacks_total{{source!=\"\",verdict=~\"{looked_at}\"}} offset 1h)"
    );
    format!(
        "({} >= {least} and on (instance, source) (time() - {last} > 3600)\n  or {} >= {least} and on (instance, source) ({before} > 0) unless on (instance, source) {last})\nunless on (instance, source) ({} > 0)",
        increase("rejected|refused|overloaded|unheard"),
        increase(looked_at),
        increase("accepted|duplicate|conflict|conflict_dropped|challenge"),
        least = t.at_risk
    )
}

fn usually_busy(t: &Thresholds) -> String {
    let silent = |secs: u64| {
        format!(
            "time() - max by (instance, source) (callseal_last_accepted_timestamp_seconds) > {secs}"
        )
    };
    let usual =
        |within: &str, ago| format!("{BY_SOURCE} (increase({EVENTS}[{within}] offset {ago}))");
    let mut each: Vec<String> = SILENCES
        .iter()
        .map(|(silence, within, _)| {
            format!(
                "{} and on (instance, source) ({} >= {quiet}) unless on (instance, source) ({} < {quiet})",
                silent(silence.as_secs()),
                usual(within, "1d"),
                usual(within, "1w"),
                quiet = t.quiet
            )
        })
        .collect();
    each.push(format!(
        "{} and on (instance, source) ({} >= {A_WEEK})",
        silent(WEEK.as_secs()),
        usual("1w", "1w"),
    ));
    each.join("\nor ")
}

/// What holds now, by the condition's place in the table.
pub fn judge(t: &Thresholds, now: &Snapshot, history: &History) -> Vec<(usize, Finding)> {
    let view = View { t, now, history };
    let each = CONDITIONS.iter().enumerate();
    each.flat_map(|(at, condition)| {
        let found = (condition.judge)(&view);
        found.into_iter().map(move |finding| (at, finding))
    })
    .collect()
}

#[cfg(test)]
pub(super) mod tests;
