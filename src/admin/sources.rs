//! `/v1/sources`: each source with what it is, how it does, and where its deliveries go.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State as Extract};
use serde::Serialize;

use crate::admin::State;
use crate::admin::history::{Gauges, WINDOWS};
use crate::admin::parameter::{self, Asked};
use crate::admin::payload::{Nothing, hushed};
use crate::admin::problem::Problem;
use crate::clock::Timestamp;
use crate::inbox::store::Store;
use crate::mask;
use crate::message::{LaneName, SourceName};
use crate::pipeline::{self, Loaded};
use crate::rule::provider::Contract;
use crate::rule::{AnswerMode, Destination, KeyRef, Rule, RuleFileKind, value};
use crate::telemetry::figures::{Count, SourceFigures};

/// A key is said to end soon before that.
pub const SOON: Duration = Duration::from_secs(21 * 86_400);

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SourcesPage {
    sources: Vec<SourceJson>,
    rules_digest: String,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SourceJson {
    pub name: String,
    provider: String,
    title: String,
    path: String,
    url: Option<String>,
    /// False: nothing shows who sent its events.
    pub verified: bool,
    /// `custody` or `destination`: who answers the provider.
    mode: &'static str,
    file: Option<String>,
    digest: Option<String>,
    /// `good`, `quiet`, `failing`, `paused` or `idle`.
    pub health: &'static str,
    pub last_accepted_at: Option<String>,
    last_rejected_at: Option<String>,
    /// Of the last hour; null without traffic.
    pub rejected_share: Option<f64>,
    accepted_1h: u64,
    pub rejected_1h: u64,
    duplicate_1h: u64,
    #[serde(skip)]
    pub conflicts_1h: u64,
    usual_gap_seconds: Option<u64>,
    pub keys: Vec<KeyJson>,
    contract: Option<ContractJson>,
    keep_seconds: u64,
    pub destinations: Vec<DestinationJson>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct KeyJson {
    /// What the key is called; never the key.
    pub label: String,
    /// Since the start, or as the newest event says.
    pub last_used_at: Option<String>,
    pub not_after: Option<String>,
    /// `used`, `unused`, `expiring` or `expired`.
    pub state: &'static str,
}

/// What the provider promises of itself.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ContractJson {
    /// Pauses between its tries, where published.
    retries: String,
    horizon_seconds: Option<u64>,
    deadline_ms: Option<u64>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DestinationJson {
    pub name: String,
    forward: String,
    pub paused: bool,
    /// By what: the word about the whole source first. Each is resumed by itself.
    pub pauses: Vec<PauseJson>,
    /// `closed`, `half_open` or `open`.
    pub breaker: &'static str,
    /// Attempts that it gets at once at present, and those under way.
    limit: usize,
    under_way: usize,
    owed: u64,
    pub dead: u64,
    pub oldest_owed_at: Option<String>,
    next_due: Option<String>,
    last_delivered_at: Option<String>,
    last_failed_at: Option<String>,
    last_error: &'static str,
}

/// A word of an operator that holds deliveries back.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct PauseJson {
    /// Null: the whole source is paused.
    pub destination: Option<String>,
    pub by: String,
    pub since: String,
    /// Empty where nobody gave one.
    pub reason: String,
    /// In the audit.
    number: u64,
}

fn text(moment: Option<Timestamp>) -> Option<String> {
    moment.map(|moment| moment.to_string())
}

/// What is owed and dead: of a source, or of all. Cheap.
pub fn gauges(state: &State, source: Option<&SourceName>) -> Gauges {
    owed(&state.shared, &*state.store, source)
}

/// As [`gauges`].
pub fn owed(shared: &pipeline::Shared, store: &dyn Store, source: Option<&SourceName>) -> Gauges {
    let Some(source) = source else {
        let stats = store.stats();
        return Gauges {
            owed: stats.owed,
            dead: stats.dead,
        };
    };
    let loaded = shared.loaded.load();
    let rule = loaded.rules.rules.iter().find(|rule| rule.name == *source);
    let mut gauges = Gauges::default();
    for to in rule.iter().flat_map(|rule| rule.relay.destinations()) {
        let stats = store.lane_stats(&LaneName::new(source, &to.name));
        gauges.owed += stats.owed;
        gauges.dead += stats.dead;
    }
    gauges
}

/// What a source did in the last hour.
struct Hour {
    accepted: u64,
    rejected: u64,
    duplicate: u64,
    conflicts: u64,
}

impl Hour {
    fn of(state: &State, source: &SourceName, now: Timestamp) -> Self {
        let figures = &state.shared.metrics.figures;
        let [hour, ..] = WINDOWS;
        let shown = state
            .history
            .show(hour, Some(source), now, figures, Gauges::default());
        let points = shown.map(|shown| shown.points).unwrap_or_default();
        let sum = |what| {
            let counts = points.iter().flatten();
            counts.map(|point| u64::from(point.of(what))).sum()
        };
        Hour {
            accepted: sum(Count::Accepted),
            rejected: sum(Count::Rejected),
            duplicate: sum(Count::Duplicate),
            conflicts: sum(Count::Conflict),
        }
    }

    fn rejected_share(&self) -> Option<f64> {
        let all = self.accepted + self.rejected + self.duplicate;
        (all > 0).then(|| self.rejected as f64 / all as f64)
    }
}

/// So many rejections in an hour make a source failing, when they are half of what came.
const MANY: u64 = 5;

impl SourceJson {
    pub async fn of(state: &State, loaded: &Loaded, rule: &Rule) -> Result<Self, Problem> {
        let now = state.shared.clock.now();
        let figures = state.shared.metrics.figures.of(&rule.name);
        let figures = figures.unwrap_or_default();
        let hour = Hour::of(state, &rule.name, now);
        let mut destinations = Vec::new();
        let mut words = HashMap::new();
        for to in rule.relay.destinations() {
            destinations.push(DestinationJson::of(state, rule, to, &mut words).await?);
        }
        let files = loaded.rules.files.iter();
        let file = files
            .filter(|file| file.kind == RuleFileKind::Source)
            .find(|file| file.name == rule.name.as_str());
        let source = SourceJson {
            name: rule.name.to_string(),
            provider: rule.provider.name.clone(),
            title: rule.provider.title.clone(),
            path: rule.path.clone(),
            url: rule.url.clone(),
            verified: rule.provider.unverified_reason.is_none(),
            mode: match rule.answer {
                AnswerMode::Custody => "custody",
                AnswerMode::Destination { .. } => "destination",
            },
            file: rule.file.as_ref().map(|path| path.display().to_string()),
            digest: file.map(|file| data_encoding::HEXLOWER.encode(&file.digest)),
            health: "good",
            last_accepted_at: text(figures.last_accepted()),
            last_rejected_at: text(figures.last_rejected()),
            rejected_share: hour.rejected_share(),
            accepted_1h: hour.accepted,
            rejected_1h: hour.rejected,
            duplicate_1h: hour.duplicate,
            conflicts_1h: hour.conflicts,
            usual_gap_seconds: figures.usual_gap().map(|gap| gap.as_secs()),
            keys: (rule.keys.iter())
                .map(|key| KeyJson::of(key, &figures, now))
                .collect(),
            contract: ContractJson::of(&rule.provider.contract),
            keep_seconds: rule.inbox.keep.as_secs(),
            destinations,
        };
        let health = source.health(&figures, now);
        Ok(SourceJson { health, ..source })
    }

    fn health(&self, figures: &SourceFigures, now: Timestamp) -> &'static str {
        let rejects = self.rejected_1h >= MANY && self.rejected_share >= Some(0.5);
        if self.destinations.iter().all(|to| to.paused) {
            "paused"
        } else if rejects || self.destinations.iter().any(|to| to.breaker != "closed") {
            "failing"
        } else if self.last_accepted_at.is_none() {
            "idle"
        } else if figures.quiet_from().is_some_and(|from| from <= now) {
            "quiet"
        } else {
            "good"
        }
    }
}

impl KeyJson {
    fn of(key: &KeyRef, figures: &SourceFigures, now: Timestamp) -> Self {
        let used = figures.key_used(&key.label);
        let state = match key.not_after {
            Some(end) if end <= now => "expired",
            Some(end) if end.since(now) < SOON => "expiring",
            Some(_) | None if used.is_some() => "used",
            Some(_) | None => "unused",
        };
        KeyJson {
            label: key.label.clone(),
            last_used_at: text(used),
            not_after: text(key.not_after),
            state,
        }
    }
}

impl ContractJson {
    fn of(contract: &Contract) -> Option<Self> {
        if *contract == Contract::default() {
            return None;
        }
        let pauses = contract.retries.iter();
        let pauses = pauses.map(|pause| value::written(*pause));
        Some(ContractJson {
            retries: pauses.collect::<Vec<String>>().join(", "),
            horizon_seconds: contract.horizon.map(|horizon| horizon.as_secs()),
            deadline_ms: (contract.deadline)
                .map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
        })
    }
}

/// Words of operators that were looked up already, by their numbers: that on a source is one for all
/// of its destinations.
type Words = HashMap<u64, Option<PauseJson>>;

/// Who paused a lane, as the audit says it.
async fn pauses(state: &State, lane: &LaneName, words: &mut Words) -> Vec<PauseJson> {
    let mut pauses = Vec::new();
    for number in state.store.paused_by(lane) {
        let word = match words.get(&number) {
            Some(word) => word.clone(),
            None => {
                let word = pause(state, number).await;
                words.insert(number, word.clone());
                word
            }
        };
        pauses.extend(word);
    }
    pauses
}

/// An entry that cannot be read hides nothing but itself; and it may have gone meanwhile.
async fn pause(state: &State, number: u64) -> Option<PauseJson> {
    let page = state.store.audit(None, number.checked_add(1), 1).await;
    let mut entries = page.ok()?.entries.into_iter();
    let (_, deed) = entries.next().filter(|(found, _)| *found == number)?;
    Some(PauseJson {
        destination: deed.destination.map(|to| to.to_string()),
        by: deed.by,
        since: deed.at.to_string(),
        reason: hushed(&deed.detail),
        number,
    })
}

impl DestinationJson {
    async fn of(
        state: &State,
        rule: &Rule,
        to: &Destination,
        words: &mut Words,
    ) -> Result<Self, Problem> {
        let lane = LaneName::new(&rule.name, &to.name);
        let due = state.store.next_due(&lane).await?;
        let stats = state.store.lane_stats(&lane);
        let view = state.relay.view(&lane);
        let last = view.map(|view| view.last).unwrap_or_default();
        Ok(DestinationJson {
            name: to.name.to_string(),
            // Its query may hold a word that only the application should know.
            forward: mask::target(&to.forward.to_string()),
            paused: state.store.paused(&lane),
            pauses: pauses(state, &lane, words).await,
            breaker: match view.map(|view| view.breaker) {
                Some(2) => "open",
                Some(1) => "half_open",
                Some(_) | None => "closed",
            },
            limit: view.map_or(to.concurrency, |view| view.limit),
            under_way: view.map_or(0, |view| view.under_way),
            owed: stats.owed,
            dead: stats.dead,
            oldest_owed_at: text(stats.oldest_owed),
            next_due: text(due),
            last_delivered_at: text(last.delivered_at),
            last_failed_at: text(last.failed_at),
            last_error: last.error,
        })
    }
}

pub async fn sources(
    Extract(state): Extract<State>,
    asked: Asked<Nothing>,
) -> Result<Json<SourcesPage>, Problem> {
    parameter::query(asked)?;
    let loaded = state.shared.loaded.load_full();
    let mut sources = Vec::new();
    for rule in &loaded.rules.rules {
        sources.push(SourceJson::of(&state, &loaded, rule).await?);
    }
    Ok(Json(SourcesPage {
        sources,
        rules_digest: data_encoding::HEXLOWER.encode(&loaded.rules.digest),
    }))
}

pub async fn source(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    asked: Asked<Nothing>,
) -> Result<Json<SourceJson>, Problem> {
    parameter::query(asked)?;
    let loaded = state.shared.loaded.load_full();
    let rule = loaded.rules.rules.iter().find(|r| r.name.as_str() == name);
    let rule = rule.ok_or_else(|| Problem::no_such_source("there is no such source"))?;
    Ok(Json(SourceJson::of(&state, &loaded, rule).await?))
}
