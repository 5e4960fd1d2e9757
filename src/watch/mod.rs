//! Watching: what the gateway knows of its own state, put into gauges when somebody looks, and
//! judged by the gateway itself where an operator has asked for alerts.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::inbox::store::{Filter, LaneStats, Page, Row, Stats, Store, StoreError};
use crate::message::{EventId, LaneName, SourceName};
use crate::pipeline;
use crate::telemetry::{DestinationLabel, KeyLabel, SourceLabel, unix};
use crate::verify::Outside;

pub mod alerts;
pub mod conditions;
pub mod kept;
pub mod snapshot;

use snapshot::History;

/// Pages that are looked through for the last event of a source; each goes over some 20,000 rows.
const REMEMBER_PAGES: usize = 50;
/// The same, for more of them once one was found.
const MORE_PAGES: usize = 5;
/// Events of a source that are looked at after a start.
const REMEMBERED: usize = 50;

/// Looks at one gateway.
pub struct Watch {
    pub shared: Arc<pipeline::Shared>,
    pub store: Arc<dyn Store>,
    pub outside: Outside,
    /// Where the store lies.
    pub directory: PathBuf,
    /// What alerts are judged by besides how things stand.
    past: Arc<Mutex<History>>,
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
            past: Arc::default(),
            shown: Mutex::default(),
        })
    }

    /// What the store says of each source beyond what is known already: when something last came, how
    /// far apart, and which key was used. A provider that went quiet stays quiet over a restart, also
    /// over one without an orderly end. Sources that were heard since are left alone.
    pub async fn remember(&self) {
        for (name, figures) in self.shared.metrics.figures.all() {
            if figures.heard() || !figures.first_look() {
                continue;
            }
            let known = figures.last_accepted();
            let filter = Filter {
                source: Some(name.clone()),
                ..Filter::default()
            };
            let list = async |after| self.store.list(&filter, after, REMEMBERED).await;
            let mut rows = last_rows(list).await;
            // Before anything came in since the start: a gap that is learnt goes forward.
            if figures.heard() {
                continue;
            }
            // A clock that was ahead wrote later moments.
            let now = self.shared.clock.now();
            for row in &mut rows {
                row.received_at = row.received_at.min(now);
            }
            rows.sort_by_key(|row| row.received_at);
            let later = |row: &&Row| known.is_none_or(|known| row.received_at > known);
            figures.remember(rows.iter().filter(later).map(|row| row.received_at));
            let Some(newest) = rows.last() else { continue };
            // A reload may have taken it away meanwhile.
            if let Some(figures) = self.shared.metrics.figures.of(&name) {
                figures.series().remembered(newest.received_at);
            }
            if let Ok(Some(event)) = self.store.read(newest.id).await {
                figures.sealed(&event.verified, newest.received_at);
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

/// The last events of a source, at most [`REMEMBERED`], one row each.
async fn last_rows(list: impl AsyncFn(Option<EventId>) -> Result<Page, StoreError>) -> Vec<Row> {
    let (mut rows, mut after) = (Vec::new(), None);
    // A page ends after so many rows of others: who went quiet lies behind them. Where one was
    // found, those before it are not looked for as long.
    let mut pages = REMEMBER_PAGES;
    while pages > 0 {
        let Ok(page) = list(after).await else {
            break;
        };
        let first = |row: &Row| row.id.delivery() == 0;
        rows.extend(page.rows.into_iter().filter(first));
        after = page.next;
        if after.is_none() || rows.len() >= REMEMBERED {
            break;
        }
        pages = match rows.is_empty() {
            true => pages - 1,
            false => (pages - 1).min(MORE_PAGES),
        };
    }
    rows.truncate(REMEMBERED);
    rows
}

fn whole(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::inbox::store::contract::{at, event, new_id, row};
    use crate::inbox::store::plain::PlainStore;

    /// The rows of a busy source fill the first pages.
    #[tokio::test]
    async fn a_quiet_source_is_found_behind_busy_ones() {
        let store = PlainStore::new();
        let (first, second) = ("a", "b");
        let first = new_id(&store, event(first, "1", at(0))).await;
        let second = new_id(&store, event(second, "2", at(9))).await;
        let (first, second) = (row(&store, first).await, row(&store, second).await);
        let asked = AtomicUsize::new(0);
        let found = last_rows(async |after| {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            assert_eq!(after.is_none(), number == 0);
            Ok(Page {
                rows: match number {
                    30 => vec![second.clone()],
                    32 => vec![first.clone()],
                    _ => Vec::new(),
                },
                next: Some(first.id),
            })
        });
        let found: Vec<EventId> = found.await.iter().map(|row| row.id).collect();
        assert_eq!(found, [second.id, first.id]);
        assert!(asked.load(Ordering::Relaxed) < REMEMBER_PAGES);
        let never = AtomicUsize::new(0);
        let none = last_rows(async |_| {
            never.fetch_add(1, Ordering::Relaxed);
            Ok(Page {
                rows: Vec::new(),
                next: Some(first.id),
            })
        });
        assert!(none.await.is_empty());
        assert_eq!(never.into_inner(), REMEMBER_PAGES, "and then it gives up");
    }
}
