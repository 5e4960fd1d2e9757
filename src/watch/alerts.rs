//! Alerts that the gateway sends itself, for those without Prometheus: what holds is compared with
//! what the receiver was last told, and the difference goes out as one signed request. What cannot
//! be sent is not queued: the next request says what then holds. So a receiver that was away is told
//! how things stand, and never gets a storm.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::settings::AlertSettings;
use crate::watch::conditions::{self, CONDITIONS, Condition, Finding};
use crate::watch::snapshot::{History, Snapshot};

mod push;

pub use push::{Pusher, Wanted};

/// A condition that is gone must stay so for this long before it has ended: one that comes and goes
/// is told of once.
pub const END_AFTER: Duration = Duration::from_secs(300);

/// Alerts of one list in a request; what is more is counted only.
const LISTED: usize = 100;

/// What an alert is about: the place of its condition in the table, source, destination, subject.
type About = (usize, Option<String>, Option<String>, Option<String>);

/// A condition that holds, or did a moment ago.
#[derive(Clone, Debug)]
struct Holding {
    since: Timestamp,
    seen: Timestamp,
    detail: String,
}

/// An alert as the receiver knows it.
#[derive(Clone, Debug)]
struct Told {
    since: Timestamp,
    detail: String,
    at: Timestamp,
}

/// What holds, and what the receiver was told of it.
#[derive(Debug, Default)]
pub struct Board {
    history: Arc<Mutex<History>>,
    holding: BTreeMap<About, Holding>,
    told: BTreeMap<About, Told>,
}

/// A request that is to go out, and what the receiver then knows.
#[derive(Debug)]
pub struct Message {
    pub body: serde_json::Value,
    begun: Vec<(About, Told)>,
    ended: Vec<About>,
}

impl Board {
    /// With what was seen before.
    fn remembering(history: Arc<Mutex<History>>) -> Self {
        Board {
            history,
            ..Board::default()
        }
    }

    /// Takes note of how things stand.
    pub fn look(&mut self, settings: &AlertSettings, now: &Snapshot) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.add(now);
        let found = conditions::judge(&settings.thresholds, now, &history);
        drop(history);
        for (at, finding) in found {
            let Finding {
                source,
                destination,
                subject,
                detail,
            } = finding;
            let about = (at, source, destination, subject);
            let holding = self.holding.entry(about).or_insert_with(|| Holding {
                since: now.at,
                seen: now.at,
                detail: String::new(),
            });
            holding.seen = now.at;
            holding.detail = detail;
        }
        // One that was told of ends later than one that never counted.
        let told = &self.told;
        self.holding.retain(|about, holding| {
            // A clock that goes back keeps nothing open, or unsaid, until it is there again.
            holding.seen = holding.seen.min(now.at);
            holding.since = holding.since.min(now.at);
            let patience = match told.contains_key(about) {
                true => END_AFTER,
                false => Duration::ZERO,
            };
            now.at.since(holding.seen) <= patience
        });
        // Nor does it put off what is to be said again, or make an end come before its beginning.
        for told in self.told.values_mut() {
            told.at = told.at.min(now.at);
            told.since = told.since.min(now.at);
        }
    }

    /// The receiver is another one, and was told of nothing. What holds, and since when, stays.
    pub fn nobody_knows(&mut self) {
        self.told.clear();
    }

    /// What is to be said now; none when the receiver knows it all.
    pub fn message(&self, settings: &AlertSettings, now: Timestamp) -> Option<Message> {
        let counts = |about: &About, holding: &Holding| {
            let hold = condition(about).map_or(Duration::ZERO, |c| c.hold);
            self.told.contains_key(about) || now.since(holding.since) >= hold
        };
        let firing: Vec<(&About, &Holding)> = self
            .holding
            .iter()
            .filter(|(about, holding)| counts(about, holding))
            .collect();
        let mut begun = Vec::new();
        let mut again = false;
        for (about, holding) in &firing {
            let known = self.told.get(*about);
            again |= known.is_some_and(|told| now.since(told.at) >= settings.repeat);
            let told = Told {
                since: holding.since,
                detail: holding.detail.clone(),
                at: now,
            };
            begun.push(((*about).clone(), told, known.is_none()));
        }
        let ended: Vec<About> = self
            .told
            .keys()
            .filter(|about| !self.holding.contains_key(*about))
            .cloned()
            .collect();
        let any_new = begun.iter().any(|(_, _, new)| *new);
        if !any_new && !again && ended.is_empty() {
            return None;
        }
        let list = |all: Vec<serde_json::Value>| -> Vec<serde_json::Value> {
            all.into_iter().take(LISTED).collect()
        };
        let new = begun.iter().filter(|(_, _, new)| *new);
        let data = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "begun": list(new.map(|(about, told, _)| shown(about, told)).collect()),
            "ended": list(ended.iter().filter_map(|a| Some(shown(a, self.told.get(a)?))).collect()),
            "firing": list(begun.iter().map(|(about, told, _)| shown(about, told)).collect()),
            "firing_count": begun.len(),
        });
        let body = serde_json::json!({
            "type": "callseal.alerts",
            "timestamp": now.to_string(),
            "data": data,
        });
        let begun = begun.into_iter().map(|(about, told, _)| (about, told));
        Some(Message {
            body,
            begun: begun.collect(),
            ended,
        })
    }

    /// The receiver has it.
    pub fn told(&mut self, message: Message) {
        self.told.extend(message.begun);
        for about in message.ended {
            self.told.remove(&about);
        }
    }
}

fn condition(about: &About) -> Option<&'static Condition> {
    CONDITIONS.get(about.0)
}

fn shown(about: &About, told: &Told) -> serde_json::Value {
    let (_, source, destination, subject) = about;
    let condition = condition(about);
    let alert = condition.map_or("", |c| c.alert);
    serde_json::json!({
        "alert": condition.map_or("", |c| c.code),
        "severity": condition.map_or("", |c| c.severity.as_str()),
        "summary": condition.map_or("", |c| c.summary),
        "source": source,
        "destination": destination,
        "subject": subject,
        "since": told.since.to_string(),
        "detail": told.detail,
        "runbook": runbook(alert),
    })
}

/// Where it is written what to do.
pub fn runbook(alert: &str) -> String {
    format!("docs/operations.md#{}", alert.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
