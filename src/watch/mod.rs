//! Watching: what the gateway knows of its own state, put into gauges when somebody looks, and
//! judged by the gateway itself where an operator has asked for alerts.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::inbox::store::{Filter, LaneStats, Stats, Store};
use crate::message::{LaneName, SourceName};
use crate::pipeline;
use crate::telemetry::{DestinationLabel, KeyLabel, SourceLabel, unix};
use crate::verify::Outside;

pub mod alerts;
pub mod conditions;
pub mod snapshot;

/// Pages that are looked through for the last event of a source; each goes over some 20,000 rows.
const REMEMBER_PAGES: usize = 50;

/// Looks at one gateway.
pub struct Watch {
    pub shared: Arc<pipeline::Shared>,
    pub store: Arc<dyn Store>,
    pub outside: Outside,
    /// Where the store lies.
    pub directory: PathBuf,
    /// What has a series now, so that what a reload takes away takes its series along.
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    lanes: HashSet<DestinationLabel>,
    keys: HashSet<KeyLabel>,
    failing: HashSet<SourceLabel>,
}

/// A key that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub source: SourceName,
    pub key: String,
    pub at: Timestamp,
}

/// A destination and what is open there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneState {
    pub lane: LaneName,
    pub figures: LaneStats,
    pub paused: bool,
}

impl Watch {
    pub fn new(
        shared: Arc<pipeline::Shared>,
        store: Arc<dyn Store>,
        outside: Outside,
        directory: PathBuf,
    ) -> Arc<Self> {
        let metrics = &shared.metrics;
        let now = unix(shared.clock.now());
        metrics.started.set(now);
        metrics.rules_loaded.set(now);
        Arc::new(Watch {
            shared,
            store,
            outside,
            directory,
            shown: Mutex::default(),
        })
    }

    /// When each source last accepted something, from before this process began: a provider that
    /// went quiet stays quiet over a restart.
    pub async fn remember(&self) {
        for rule in &self.shared.loaded.load_full().rules.rules {
            let filter = Filter {
                source: Some(rule.name.clone()),
                ..Filter::default()
            };
            let (mut after, mut found) = (None, None);
            // A page ends after so many rows of others: who went quiet lies behind them.
            for _ in 0..REMEMBER_PAGES {
                let Ok(page) = self.store.list(&filter, after, 1).await else {
                    break;
                };
                (found, after) = (page.rows.into_iter().next(), page.next);
                if found.is_some() || after.is_none() {
                    break;
                }
            }
            let Some(row) = found else { continue };
            // A reload may have taken it away meanwhile.
            if let Some(figures) = self.shared.metrics.figures.of(&rule.name) {
                figures.series().accepted_at(row.received_at);
            }
        }
    }

    /// Every destination that a rule names.
    pub fn lanes(&self) -> Vec<LaneState> {
        let loaded = self.shared.loaded.load();
        let lanes = loaded.rules.rules.iter().flat_map(|rule| {
            let to = rule.relay.destinations();
            to.map(|to| LaneName::new(&rule.name, &to.name))
        });
        let state = |lane: LaneName| LaneState {
            figures: self.store.lane_stats(&lane),
            paused: self.store.paused(&lane),
            lane,
        };
        lanes.map(state).collect()
    }

    /// Keys that end, by their rule or by their certificate.
    pub fn ending_keys(&self) -> Vec<Ending> {
        let loaded = self.shared.loaded.load();
        let mut found = Vec::new();
        for (source, verifier) in &loaded.verifiers {
            let keys = verifier.keys().keys().iter();
            found.extend(keys.filter_map(|key| {
                Some(Ending {
                    source: source.clone(),
                    key: key.label.clone(),
                    at: key.not_after?,
                })
            }));
        }
        found
    }

    /// Fetched keys that cannot be fetched anew, the first to end of each source. Their names begin
    /// with the source's, and go on with what a stranger may have said.
    pub fn failing_keys(&self) -> Vec<Ending> {
        let loaded = self.shared.loaded.load();
        let mut found: Vec<Ending> = Vec::new();
        for failing in self.outside.cache.expiring(self.shared.clock.now()) {
            let name = failing.name.split('/').next().unwrap_or_default();
            let source = SourceName::new(name);
            let known = loaded.verifiers.contains_key(&source);
            // They come in the order in which they end.
            if known && found.iter().all(|ending| ending.source != source) {
                found.push(Ending {
                    source,
                    key: "fetched".to_owned(),
                    at: failing.ends,
                });
            }
        }
        found
    }

    /// Free bytes on the disk of the store; none where that cannot be asked.
    pub fn disk_free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.directory).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Puts all of it into the gauges.
    pub fn refresh(&self) {
        let metrics = &self.shared.metrics;
        let Stats {
            owed,
            claims,
            journal_bytes,
            accepting,
            ..
        } = self.store.stats();
        metrics.claims.set(whole(claims));
        metrics.journal_bytes.set(whole(journal_bytes));
        metrics.accepting.set(i64::from(accepting));
        if let Some(free) = self.disk_free() {
            metrics.disk_free.set(whole(free));
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = self.lanes();
        self.show_lanes(&lanes, &mut shown.lanes);
        let named: u64 = lanes.iter().map(|state| state.figures.owed).sum();
        metrics.stray.set(whole(owed.saturating_sub(named)));

        let mut keys = HashSet::new();
        for Ending { source, key, at } in self.ending_keys() {
            let source = source.to_string();
            let label = KeyLabel { source, key };
            metrics.key_expiry.get_or_create(&label).set(unix(at));
            keys.insert(label);
        }
        for gone in shown.keys.difference(&keys) {
            metrics.key_expiry.remove(gone);
        }
        shown.keys = keys;
        let mut failing = HashSet::new();
        for Ending { source, at, .. } in self.failing_keys() {
            let source = source.to_string();
            let label = SourceLabel { source };
            let gauges = &metrics.fetched_keys_expiry;
            gauges.get_or_create(&label).set(unix(at));
            failing.insert(label);
        }
        for gone in shown.failing.difference(&failing) {
            metrics.fetched_keys_expiry.remove(gone);
        }
        shown.failing = failing;
    }

    fn show_lanes(&self, lanes: &[LaneState], shown: &mut HashSet<DestinationLabel>) {
        let metrics = &self.shared.metrics;
        let now = self.shared.clock.now();
        let mut labels = HashSet::new();
        for state in lanes {
            let LaneName {
                source,
                destination,
            } = &state.lane;
            let label = DestinationLabel::new(source, destination);
            let LaneStats {
                owed,
                dead,
                oldest_owed,
            } = state.figures;
            metrics.owed.get_or_create(&label).set(whole(owed));
            metrics.dead.get_or_create(&label).set(whole(dead));
            let age = oldest_owed.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
            metrics.oldest_owed_age.get_or_create(&label).set(age);
            let paused = i64::from(state.paused);
            metrics.destination_paused.get_or_create(&label).set(paused);
            labels.insert(label);
        }
        for gone in shown.difference(&labels) {
            metrics.owed.remove(gone);
            metrics.dead.remove(gone);
            metrics.oldest_owed_age.remove(gone);
            metrics.destination_paused.remove(gone);
        }
        *shown = labels;
    }
}

fn whole(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
