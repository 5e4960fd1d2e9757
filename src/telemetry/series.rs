//! The series of one source and of one destination, found once when rules are loaded: to count then
//! is an addition, and neither a look-up nor an allocation. They are there with zero from the start,
//! since Prometheus sees no increase in a series that begins with its first count; and they go with
//! their source or destination. What an attempt counts that outlives it is lost with them.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::{
    DestinationLabel, DestinationReason, DestinationVerdict, KeyLabel, Metrics, Real, SourceLabel,
    SourceReason, SourceVerdict, Traced, TracedSeconds, unix,
};
use crate::clock::Timestamp;
use crate::telemetry::trace::TraceId;

/// What becomes of a callback.
const VERDICTS: [&str; 9] = [
    "accepted",
    "duplicate",
    "conflict",
    "conflict_dropped",
    "challenge",
    "rejected",
    "refused",
    "overloaded",
    "unheard",
];
/// Of those that belong to no source.
const NOBODYS: [&str; 2] = ["refused", "malformed"];
/// What becomes of an attempt.
const ATTEMPTS: [&str; 3] = ["delivered", "retry", "dead"];
/// What a callback is rejected for when a key was exchanged on one side only: an alert looks for an
/// increase in it.
pub const MISMATCHES: [&str; 3] = ["signature_mismatch", "key_unknown", "key_expired"];

/// Those counters of a family that belong to one owner.
#[derive(Debug)]
struct Own<L> {
    family: Family<L, Counter>,
    known: RwLock<Known<L>>,
}

#[derive(Debug)]
struct Known<L> {
    /// By what tells them apart. There are few.
    each: Vec<(String, L, Counter)>,
    /// The owner is gone: whoever still counts counts for nobody.
    gone: bool,
}

impl<L: Clone + Hash + Eq + Debug> Own<L> {
    fn new(family: &Family<L, Counter>) -> Self {
        Own {
            family: family.clone(),
            known: RwLock::new(Known {
                each: Vec::new(),
                gone: false,
            }),
        }
    }

    /// `what` comes from configuration or from a list of ours.
    fn inc(&self, what: &str, label: impl FnOnce() -> L) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, counter)) = known.each.iter().find(|(name, _, _)| name == what) {
            counter.inc();
            return;
        }
        drop(known);
        if let Some(counter) = self.add(what, label) {
            counter.inc();
        }
    }

    fn add(&self, what: &str, label: impl FnOnce() -> L) -> Option<Counter> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.gone {
            return None;
        }
        let label = label();
        // Another core may have been here first: the family knows.
        let counter = self.family.get_or_create_owned(&label);
        if known.each.iter().all(|(name, _, _)| name != what) {
            known.each.push((what.to_owned(), label, counter.clone()));
        }
        Some(counter)
    }

    /// Those that `stays` says no to take their series along.
    fn retain(&self, stays: impl Fn(&str) -> bool) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.each.retain(|(name, label, _)| {
            let stays = stays(name);
            if !stays {
                self.family.remove(label);
            }
            stays
        });
    }

    fn end(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.gone = true;
        for (_, label, _) in known.each.drain(..) {
            self.family.remove(&label);
        }
    }
}

/// What is counted of one source.
#[derive(Debug)]
pub struct SourceSeries {
    name: String,
    callbacks: Own<SourceVerdict>,
    refusals: Own<SourceReason>,
    would_refuse: Own<SourceReason>,
    undecided: Own<SourceLabel>,
    key_uses: Own<KeyLabel>,
    /// None for what belongs to no source: nothing of it is taken.
    acknowledge: Option<Traced>,
    /// There is none before the first event: how long that is ago would be nonsense.
    last_accepted: OnceLock<Real>,
    all: Families,
}

/// Where the series of sources are shown.
#[derive(Debug)]
struct Families {
    callbacks: Family<SourceVerdict, Counter>,
    refusals: Family<SourceReason, Counter>,
    would_refuse: Family<SourceReason, Counter>,
    undecided: Family<SourceLabel, Counter>,
    key_uses: Family<KeyLabel, Counter>,
    acknowledge: TracedSeconds,
    last_accepted: Family<SourceLabel, Real>,
}

impl SourceSeries {
    /// `name` is empty for what belongs to no source.
    pub fn new(metrics: &Metrics, name: &str) -> Self {
        let all = Families {
            callbacks: metrics.callbacks.clone(),
            refusals: metrics.refusals.clone(),
            would_refuse: metrics.would_refuse.clone(),
            undecided: metrics.undecided.clone(),
            key_uses: metrics.key_uses.clone(),
            acknowledge: metrics.acknowledge.clone(),
            last_accepted: metrics.last_accepted.clone(),
        };
        SourceSeries::among(all, name)
    }

    fn among(all: Families, name: &str) -> Self {
        let source = name.to_owned();
        let series = SourceSeries {
            name: name.to_owned(),
            callbacks: Own::new(&all.callbacks),
            refusals: Own::new(&all.refusals),
            would_refuse: Own::new(&all.would_refuse),
            undecided: Own::new(&all.undecided),
            key_uses: Own::new(&all.key_uses),
            acknowledge: (!name.is_empty())
                .then(|| all.acknowledge.get_or_create_owned(&SourceLabel { source })),
            last_accepted: OnceLock::new(),
            all,
        };
        let verdicts = match name.is_empty() {
            true => NOBODYS.as_slice(),
            false => VERDICTS.as_slice(),
        };
        for verdict in verdicts {
            series.callbacks.add(verdict, || series.verdict(verdict));
        }
        if !name.is_empty() {
            for reason in MISMATCHES {
                series.refusals.add(reason, || series.reason(reason));
            }
        }
        series
    }

    fn verdict(&self, verdict: &'static str) -> SourceVerdict {
        let source = self.name.clone();
        SourceVerdict { source, verdict }
    }

    fn reason(&self, reason: &'static str) -> SourceReason {
        let source = self.name.clone();
        SourceReason { source, reason }
    }

    /// A callback was answered, or nobody was there any more to hear it. How long it took counts where
    /// it was taken: what is refused is quick, and a scanner would make the rest look so.
    pub fn callback(
        &self,
        verdict: &'static str,
        taken: bool,
        took: Duration,
        seen: Option<(TraceId, Timestamp)>,
    ) {
        self.callbacks.inc(verdict, || self.verdict(verdict));
        if let Some(acknowledge) = self.acknowledge.as_ref().filter(|_| taken) {
            acknowledge.observe(took, seen);
        }
    }

    pub fn refused(&self, reason: &'static str) {
        self.refusals.inc(reason, || self.reason(reason));
    }

    pub fn would_refuse(&self, reason: &'static str) {
        self.would_refuse.inc(reason, || self.reason(reason));
    }

    /// So is what was under way when its source went.
    fn is_nobodys(&self) -> bool {
        self.name.is_empty()
    }

    /// A condition gave no answer.
    pub fn undecided(&self) {
        self.undecided.inc("", || SourceLabel {
            source: self.name.clone(),
        });
    }

    /// `key` is a label of the rule, or `fetched`.
    pub fn key_used(&self, key: &str) {
        if self.is_nobodys() {
            return;
        }
        self.key_uses.inc(key, || KeyLabel {
            source: self.name.clone(),
            key: key.to_owned(),
        });
    }

    /// An event came in at this moment. By a clock that went back that may be before the last one.
    pub fn accepted_at(&self, at: Timestamp) {
        if !self.is_nobodys() {
            self.last_accepted().set(unix(at));
        }
    }

    /// An event came in at this moment, as the store says; an earlier one than is known changes
    /// nothing.
    pub fn remembered(&self, at: Timestamp) {
        if !self.is_nobodys() && unix(at) > self.last_accepted().get() {
            self.last_accepted().set(unix(at));
        }
    }

    fn last_accepted(&self) -> &Real {
        self.last_accepted.get_or_init(|| {
            let source = self.name.clone();
            let all = &self.all.last_accepted;
            all.get_or_create_owned(&SourceLabel { source })
        })
    }

    /// The keys that the source has from now on.
    pub(super) fn keys(&self, labels: &[String]) {
        self.key_uses
            .retain(|key| key == FETCHED || labels.iter().any(|label| label == key));
    }

    /// The source is gone, and its series with it.
    pub(super) fn end(&self) {
        self.callbacks.end();
        self.refusals.end();
        self.would_refuse.end();
        self.undecided.end();
        self.key_uses.end();
        let label = SourceLabel {
            source: self.name.clone(),
        };
        self.all.acknowledge.remove(&label);
        // Whoever comes later sets one that is shown no more.
        let _ = self.last_accepted.set(Real::default());
        self.all.last_accepted.remove(&label);
    }
}

/// What a key is called that the provider sent: its name is not ours to repeat.
pub const FETCHED: &str = "fetched";

/// Of nobody, and shown nowhere.
impl Default for SourceSeries {
    fn default() -> Self {
        let all = Families {
            callbacks: Family::default(),
            refusals: Family::default(),
            would_refuse: Family::default(),
            undecided: Family::default(),
            key_uses: Family::default(),
            acknowledge: Family::new_with_constructor(Traced::new),
            last_accepted: Family::default(),
        };
        SourceSeries::among(all, "")
    }
}

/// What is counted of one destination of a source.
#[derive(Debug)]
pub struct LaneSeries {
    label: DestinationLabel,
    attempts: Own<DestinationVerdict>,
    failures: Own<DestinationReason>,
    attempt: Traced,
    delivery: Histogram,
    pub limit: Gauge,
    pub breaker: Gauge,
}

impl LaneSeries {
    pub fn new(metrics: &Metrics, label: DestinationLabel) -> Self {
        let series = LaneSeries {
            attempts: Own::new(&metrics.attempts),
            failures: Own::new(&metrics.attempt_failures),
            attempt: metrics.attempt.get_or_create_owned(&label),
            delivery: metrics.delivery.get_or_create_owned(&label),
            limit: metrics.destination_limit.get_or_create_owned(&label),
            breaker: metrics.destination_breaker.get_or_create_owned(&label),
            label,
        };
        for verdict in ATTEMPTS {
            series.attempts.add(verdict, || series.verdict(verdict));
        }
        series
    }

    fn verdict(&self, verdict: &'static str) -> DestinationVerdict {
        DestinationVerdict {
            source: self.label.source.clone(),
            destination: self.label.destination.clone(),
            verdict,
        }
    }

    /// An attempt ended; `reason` is empty when it was taken.
    pub fn attempt(
        &self,
        verdict: &'static str,
        reason: &'static str,
        took: Duration,
        seen: Option<(TraceId, Timestamp)>,
    ) {
        self.attempts.inc(verdict, || self.verdict(verdict));
        self.attempt.observe(took, seen);
        if !reason.is_empty() {
            self.failures.inc(reason, || DestinationReason {
                source: self.label.source.clone(),
                destination: self.label.destination.clone(),
                reason,
            });
        }
    }

    /// From the callback to the application's 2xx.
    pub fn delivered(&self, after: Duration) {
        self.delivery.observe(after.as_secs_f64());
    }

    /// No rule names the destination any more.
    pub fn end(&self, metrics: &Metrics) {
        self.attempts.end();
        self.failures.end();
        metrics.attempt.remove(&self.label);
        metrics.delivery.remove(&self.label);
        metrics.destination_limit.remove(&self.label);
        metrics.destination_breaker.remove(&self.label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SourceName;

    fn of<'t>(text: &'t str, source: &str) -> Vec<&'t str> {
        let mine = format!("source=\"{source}\"");
        text.lines().filter(|line| line.contains(&mine)).collect()
    }

    #[test]
    fn what_is_counted_is_there_before_it_is_counted() {
        let metrics = Metrics::new();
        let shop = SourceSeries::new(&metrics, "shop");
        let to = DestinationLabel {
            source: "shop".into(),
            destination: "main".into(),
        };
        let main = LaneSeries::new(&metrics, to);
        let text = metrics.encode();
        for line in [
            "callseal_callbacks_total{source=\"shop\",verdict=\"rejected\"} 0",
            "callseal_refusals_total{source=\"shop\",reason=\"signature_mismatch\"} 0",
            "callseal_attempts_total{source=\"shop\",destination=\"main\",verdict=\"dead\"} 0",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("last_accepted_timestamp_seconds{source=\"shop\"}"));
        shop.callback("rejected", false, Duration::from_millis(1), None);
        shop.refused("stale");
        shop.accepted_at(Timestamp::from_secs(10));
        // By a clock that went back.
        shop.accepted_at(Timestamp::from_secs(9));
        shop.remembered(Timestamp::from_secs(8));
        main.attempt("dead", "gone", Duration::from_millis(1), None);
        main.delivered(Duration::from_secs(1));
        let text = metrics.encode();
        for line in [
            "callseal_callbacks_total{source=\"shop\",verdict=\"rejected\"} 1",
            "callseal_refusals_total{source=\"shop\",reason=\"stale\"} 1",
            "callseal_acknowledge_seconds_count{source=\"shop\"} 0",
            "callseal_last_accepted_timestamp_seconds{source=\"shop\"} 9.0",
            "callseal_attempts_total{source=\"shop\",destination=\"main\",verdict=\"dead\"} 1",
            "callseal_attempt_failures_total{source=\"shop\",destination=\"main\",reason=\"gone\"} 1",
            "callseal_delivery_seconds_count{source=\"shop\",destination=\"main\"} 1",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn a_source_that_is_gone_leaves_no_series_and_makes_none() {
        let metrics = Metrics::new();
        let shop = SourceName::new("shop");
        let keys = |labels: &[&str]| labels.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
        metrics.watch_over([(shop.clone(), keys(&["keys[0]", "keys[1]"]))]);
        let kept = metrics.figures.of(&shop).unwrap();
        let count = |kept: &crate::telemetry::figures::SourceFigures| {
            let series = kept.series();
            series.callback("accepted", true, Duration::ZERO, None);
            series.refused("stale");
            series.would_refuse("rate_total");
            series.undecided();
            series.key_used("keys[1]");
            series.key_used(FETCHED);
            series.accepted_at(Timestamp::from_secs(1));
        };
        count(&kept);
        assert!(of(&metrics.encode(), "shop").len() > 20);
        // A key that goes takes its series along, and nothing else.
        metrics.watch_over([(shop.clone(), keys(&["keys[0]"]))]);
        let text = metrics.encode();
        assert!(!text.contains("key=\"keys[1]\"") && text.contains("key=\"fetched\""));
        assert!(text.contains("callseal_callbacks_total{source=\"shop\",verdict=\"accepted\"} 1"));
        metrics.watch_over([]);
        assert_eq!(of(&metrics.encode(), "shop"), [""; 0]);
        // A callback that was under way meanwhile.
        count(&kept);
        metrics.figures.on(Some(&shop), count);
        let text = metrics.encode();
        assert_eq!(of(&text, "shop"), [""; 0]);
        assert!(!text.contains("last_accepted_timestamp_seconds{") && !text.contains("key="));
        // It comes back, and counts anew.
        metrics.watch_over([(shop.clone(), keys(&[]))]);
        metrics.figures.on(Some(&shop), count);
        let text = metrics.encode();
        assert!(text.contains("callseal_callbacks_total{source=\"shop\",verdict=\"accepted\"} 1"));
    }
}
