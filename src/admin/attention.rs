//! What wants somebody's attention, worst first.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::admin::State;
use crate::admin::problem::Problem;
use crate::admin::sources::SourceJson;
use crate::clock::Timestamp;
use crate::inbox::store::Stats;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Blocker,
    Warning,
    Note,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Attention {
    pub severity: Severity,
    pub code: &'static str,
    pub source: Option<String>,
    pub destination: Option<String>,
    pub count: Option<u64>,
    pub since: Option<String>,
    pub until: Option<String>,
    /// One English sentence.
    pub detail: String,
    /// The same sentence as a stable code, for readers of other languages: mostly `code` itself.
    pub text: &'static str,
    /// What the sentence says: numbers and names, as text.
    pub facts: BTreeMap<&'static str, String>,
}

impl Attention {
    fn new(severity: Severity, code: &'static str, detail: impl Into<String>) -> Self {
        Attention {
            severity,
            code,
            text: code,
            facts: BTreeMap::new(),
            source: None,
            destination: None,
            count: None,
            since: None,
            until: None,
            detail: detail.into(),
        }
    }

    fn text(self, text: &'static str) -> Self {
        Attention { text, ..self }
    }

    fn fact(mut self, name: &'static str, value: impl ToString) -> Self {
        self.facts.insert(name, value.to_string());
        self
    }

    fn at(self, source: &str, destination: Option<&str>) -> Self {
        Attention {
            source: Some(source.to_owned()),
            destination: destination.map(str::to_owned),
            ..self
        }
    }

    fn count(self, count: u64) -> Self {
        Attention {
            count: Some(count),
            ..self
        }
    }

    fn since(self, since: Option<String>) -> Self {
        Attention { since, ..self }
    }

    fn until(self, until: Option<String>) -> Self {
        Attention { until, ..self }
    }
}

/// Something that is owed for longer wants a look.
const OLD: Duration = Duration::from_secs(3600);
/// The public port's certificate ends soon, or very soon.
const SOON: Duration = Duration::from_secs(21 * 86_400);
const VERY_SOON: Duration = Duration::from_secs(3 * 86_400);

pub async fn attention(state: &State) -> Result<Vec<Attention>, Problem> {
    let now = state.shared.clock.now();
    let stats = state.store.stats();
    let mut found = Vec::new();
    found.extend(store(state, &stats, now));
    found.extend(certificate(state.certificate.not_after(), now));
    if let Some(error) = &state.shared.reloaded.load().error {
        let first = error.lines().next().unwrap_or_default();
        let detail =
            format!("The last reload failed, and the rules from before stay in force: {first}");
        let failed = Attention::new(Severity::Blocker, "reload_failed", detail);
        found.push(failed.fact("error", first));
    }
    let loaded = state.shared.loaded.load_full();
    for rule in &loaded.rules.rules {
        let source = SourceJson::of(state, &loaded, rule).await?;
        let figures = state.shared.metrics.figures.of(&rule.name);
        let quiet = figures.and_then(|figures| figures.quiet_from());
        of_source(&source, quiet.is_some_and(|from| from <= now), &mut found);
    }
    found.sort_by_key(|found| found.severity);
    Ok(found)
}

fn store(state: &State, stats: &Stats, now: Timestamp) -> Vec<Attention> {
    let mut found = Vec::new();
    let free = super::overview::disk_free(state);
    let low_water = state.settings.inbox.low_water;
    if free.is_some_and(|free| free < low_water) {
        let detail =
            "The disk is below `inbox.low_water`: nothing is accepted until space returns.";
        found.push(Attention::new(Severity::Blocker, "disk_low", detail));
    } else if !stats.accepting {
        let (text, detail) = match stats.failed {
            true => (
                "store_failed",
                "The store failed and accepts nothing: the process must be restarted.",
            ),
            false => (
                "not_accepting",
                "No event can be accepted at present; the log says why.",
            ),
        };
        let stopped = Attention::new(Severity::Blocker, "not_accepting", detail);
        found.push(stopped.text(text));
    } else if free.is_some_and(|free| free < low_water.saturating_mul(2)) {
        let detail = "The disk is near `inbox.low_water`, below which nothing is accepted.";
        found.push(Attention::new(Severity::Warning, "disk_low", detail).text("disk_near"));
    }
    if stats.dead > 0 {
        let detail = format!(
            "{} dead letters wait for a word: redrive or discard.",
            stats.dead
        );
        let dead = Attention::new(Severity::Warning, "dead_letters", detail);
        found.push(dead.count(stats.dead).fact("count", stats.dead));
    }
    if let Some(oldest) = stats.oldest_owed
        && now.since(oldest) > OLD
    {
        let seconds = now.since(oldest).as_secs();
        let owed = humantime::format_duration(Duration::from_secs(seconds));
        let detail = format!("The oldest delivery has been owed for {owed}.");
        let oldest = Attention::new(Severity::Warning, "oldest_owed", detail)
            .since(Some(oldest.to_string()))
            .count(stats.owed)
            .fact("seconds", seconds);
        found.push(oldest);
    }
    found
}

fn certificate(not_after: Timestamp, now: Timestamp) -> Option<Attention> {
    let left = not_after.since(now);
    let severity = match left {
        left if left < VERY_SOON => Severity::Blocker,
        left if left < SOON => Severity::Warning,
        _ => return None,
    };
    let days = left.as_secs() / 86_400;
    let (text, detail) = match days {
        0 => (
            "certificate_today",
            "The certificate of the public port ends within a day.".to_owned(),
        ),
        days => (
            "certificate",
            format!("The certificate of the public port ends in {days} days."),
        ),
    };
    let until = Some(not_after.to_string());
    let ends = Attention::new(severity, "certificate", detail).until(until);
    Some(ends.text(text).fact("days", days))
}

fn of_source(source: &SourceJson, quiet: bool, found: &mut Vec<Attention>) {
    let name = source.name.as_str();
    for to in &source.destinations {
        let at = |severity, code, detail: String| {
            Attention::new(severity, code, detail).at(name, Some(&to.name))
        };
        if to.paused {
            let detail = format!(
                "Nothing is sent to {} of {name} until it is resumed.",
                to.name
            );
            let paused = at(Severity::Warning, "paused", detail);
            // Of two words, that about the whole source.
            found.push(match to.pauses.first() {
                None => paused,
                Some(word) => {
                    let paused = paused.since(Some(word.since.clone()));
                    let paused = paused.fact("by", &word.by);
                    match word.reason.as_str() {
                        "" => paused.text("paused_by"),
                        reason => paused.text("paused_because").fact("reason", reason),
                    }
                }
            });
        }
        if to.breaker != "closed" {
            let detail = format!("{} of {name} fails: its deliveries wait.", to.name);
            let open = at(Severity::Warning, "breaker_open", detail);
            found.push(open.since(to.oldest_owed_at.clone()));
        }
    }
    if quiet {
        let detail = format!("{name} has been silent for much longer than usual.");
        let since = source.last_accepted_at.clone();
        let quiet = Attention::new(Severity::Warning, "quiet_source", detail);
        found.push(quiet.at(name, None).since(since));
    }
    if source.rejected_1h > 0 && source.rejected_share >= Some(0.05) {
        let share = source.rejected_share.unwrap_or_default() * 100.0;
        let detail = format!("{share:.0} % of what came to {name} in the last hour was rejected.");
        let severity = match source.health {
            "failing" => Severity::Warning,
            _ => Severity::Note,
        };
        let rejections = Attention::new(severity, "rejections", detail);
        let share = source.rejected_share.unwrap_or_default();
        let rejections = rejections.at(name, None).count(source.rejected_1h);
        found.push(rejections.fact("share", share));
    }
    if source.conflicts_1h > 0 {
        let detail = format!("{name} sent events with a known key and another content.");
        let conflicts = Attention::new(Severity::Note, "conflicts", detail);
        found.push(conflicts.at(name, None).count(source.conflicts_1h));
    }
    for key in &source.keys {
        let (severity, code, text, detail) = match key.state {
            "expired" => {
                let detail = format!("{} of {name} is past its `not_after`.", key.label);
                (Severity::Note, "key_expiry", "key_expired", detail)
            }
            "expiring" => {
                let detail = format!("{} of {name} ends soon.", key.label);
                (Severity::Warning, "key_expiry", "key_expiring", detail)
            }
            // Of several keys, after the source has been heard: a rotation that was never finished.
            "unused" if source.keys.len() > 1 && source.keys.iter().any(|k| k.state == "used") => {
                let detail = format!("{} of {name} was not used since the start.", key.label);
                (Severity::Note, "unused_key", "unused_key", detail)
            }
            _ => continue,
        };
        let until = key.not_after.clone();
        found.push(
            Attention::new(severity, code, detail)
                .at(name, None)
                .until(until)
                .text(text)
                .fact("key", &key.label),
        );
    }
}
