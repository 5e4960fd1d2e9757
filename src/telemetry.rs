//! Every metric name, label name and log field name of the program, and the registry behind
//! `GET /metrics`. Label values come only from configuration and from our own enums, never from a
//! request: a stranger cannot make series.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::clock::Timestamp;
use crate::message::SourceName;

mod labels;
pub mod lines;
mod log;
mod register;
pub mod series;
pub mod trace;

pub use labels::{
    DestinationLabel, DestinationReason, DestinationVerdict, KeyLabel, PortLabel, ReasonLabel,
    ResultLabel, SourceLabel, SourceReason, SourceVerdict, TraceLabel, VersionLabel,
};
pub use log::{LogFormat, log_panics, start_logging};
pub use register::Described;

use trace::{TraceId, Traces};

pub mod figures;
pub mod kept;
pub mod news;

/// Names of log fields, so that every line says the same thing with the same word.
pub mod field {
    pub const EVENT: &str = "event";
    pub const DESTINATION: &str = "destination";
    pub const SOURCE: &str = "source";
    pub const VERDICT: &str = "verdict";
    pub const REASON: &str = "reason";
    pub const PEER: &str = "peer";
    pub const STATUS: &str = "status";
    pub const TOOK_US: &str = "took_us";
    pub const BODY_BYTES: &str = "body_bytes";
    pub const ATTEMPT: &str = "attempt";
    /// Lines of the same kind that were left out before this one.
    pub const UNSAID: &str = "unsaid";
}

/// From 50 µs to some 26 s, each step twice the one before.
fn seconds() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
        0.00005, 2.0, 20,
    ))
}

/// From 1 ms to some 3 days, each step four times the one before: a delivery may have to wait for an
/// application that is down.
fn long_seconds() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
        0.001, 4.0, 15,
    ))
}

/// A histogram of seconds some of whose observations name their trace.
#[derive(Clone, Debug)]
pub struct Traced(HistogramWithExemplars<TraceLabel>);

impl Traced {
    fn new() -> Self {
        let buckets = prometheus_client::metrics::histogram::exponential_buckets(0.00005, 2.0, 20);
        Traced(HistogramWithExemplars::new(buckets))
    }

    /// `seen` is the trace that the observation belongs to, and when it was made.
    pub fn observe(&self, took: Duration, seen: Option<(TraceId, Timestamp)>) {
        let (label, at) = seen
            .map(|(trace, at)| {
                let at = UNIX_EPOCH + Duration::from_millis(at.as_millis());
                (TraceLabel { trace_id: trace }, at)
            })
            .unzip();
        self.0.observe(took.as_secs_f64(), label, at);
    }
}

type Seconds = Family<DestinationLabel, Histogram, fn() -> Histogram>;
type TracedSeconds = Family<SourceLabel, Traced, fn() -> Traced>;
/// A number that need not be whole.
pub type Real = Gauge<f64, AtomicU64>;

/// All that one gateway says of itself in figures and traces. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Callbacks by source and verdict (accepted, duplicate, conflict, challenge, rejected, refused,
    /// malformed, overloaded, unheard).
    pub callbacks: Family<SourceVerdict, Counter>,
    /// Refusals and rejections by stable reason code.
    pub refusals: Family<SourceReason, Counter>,
    /// What a guard in mode `log` would have refused.
    pub would_refuse: Family<SourceReason, Counter>,
    /// From the head of a request that was taken to its answer, by source.
    pub acknowledge: TracedSeconds,
    pub last_accepted: Family<SourceLabel, Real>,
    /// Conditions (`when`) that gave no answer, by source.
    pub undecided: Family<SourceLabel, Counter>,
    /// Verified callbacks by the key that fitted: its label in the rule, or `fetched`.
    pub key_uses: Family<KeyLabel, Counter>,
    pub key_expiry: Family<KeyLabel, Real>,
    /// Fetched keys that cannot be fetched anew.
    pub fetched_keys_expiry: Family<SourceLabel, Real>,
    /// Attempts by source, destination and result (delivered, retry, dead).
    pub attempts: Family<DestinationVerdict, Counter>,
    /// Attempts that failed, by stable reason code.
    pub attempt_failures: Family<DestinationReason, Counter>,
    pub attempt: Family<DestinationLabel, Traced, fn() -> Traced>,
    /// From the callback to the application's 2xx.
    pub delivery: Seconds,
    /// Group commits: write and fdatasync.
    pub sync: Histogram,
    pub owed: Family<DestinationLabel, Gauge>,
    pub oldest_owed_age: Family<DestinationLabel, Real>,
    pub dead: Family<DestinationLabel, Gauge>,
    /// Owed to sources or destinations that no rule names any more.
    pub stray: Gauge,
    pub claims: Gauge,
    pub journal_bytes: Gauge,
    pub disk_free: Gauge,
    pub accepting: Gauge,
    pub connections: Gauge,
    pub connections_refused: Family<ReasonLabel, Counter>,
    pub handshake_failures: Counter,
    pub certificate_expiry: Family<PortLabel, Real>,
    pub reloads: Family<ResultLabel, Counter>,
    /// 1 while the last reload went well, and before the first.
    pub reloaded_well: Gauge,
    /// When the rules in force were loaded.
    pub rules_loaded: Real,
    pub started: Real,
    /// The gateway's own requests (answered, or the code of a remote fault).
    pub outbound_requests: Family<ResultLabel, Counter>,
    /// Fetches of keys (fetched, or the code of a remote fault).
    pub key_fetches: Family<ResultLabel, Counter>,
    /// Attempts that a destination gets at once at present.
    pub destination_limit: Family<DestinationLabel, Gauge>,
    /// 0 closed, 1 one delivery is being tried, 2 open: it fails, and its deliveries wait.
    pub destination_breaker: Family<DestinationLabel, Gauge>,
    /// For the admin port's history.
    pub figures: Arc<figures::Figures>,
    /// For whoever watches.
    pub news: Arc<news::Newsroom>,
    pub destination_paused: Family<DestinationLabel, Gauge>,
    /// Spans (exported, dropped, failed).
    pub spans: Family<ResultLabel, Counter>,
    /// Alerts that were to be sent (sent, failed).
    pub alerts: Family<ResultLabel, Counter>,
    pub traces: Traces,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut metrics = Metrics::unregistered();
        let nobody = series::SourceSeries::new(&metrics, "");
        metrics.figures = Arc::new(figures::Figures::new(nobody));
        // A counter that is there from the start shows its first increase.
        for (counters, result) in [
            (&metrics.outbound_requests, "answered"),
            (&metrics.key_fetches, "fetched"),
            (&metrics.reloads, "done"),
            (&metrics.reloads, "failed"),
            (&metrics.spans, "exported"),
            (&metrics.spans, "rejected"),
            (&metrics.spans, "dropped"),
            (&metrics.spans, "failed"),
            (&metrics.alerts, "sent"),
            (&metrics.alerts, "failed"),
        ] {
            drop(counters.get_or_create(&ResultLabel { result }));
        }
        metrics.reloaded_well.set(1);
        metrics.registry = Arc::new(register::all(&metrics));
        metrics
    }

    /// From now on these sources are watched, each with the labels of its keys. One that stays keeps
    /// its figures and series; one that goes takes them along.
    pub fn watch_over(&self, sources: impl IntoIterator<Item = (SourceName, Vec<String>)>) {
        let begin = |name: &SourceName| series::SourceSeries::new(self, name.as_str());
        self.figures.exchange(sources, begin);
    }

    fn unregistered() -> Self {
        Metrics {
            callbacks: Family::default(),
            refusals: Family::default(),
            would_refuse: Family::default(),
            acknowledge: Family::new_with_constructor(Traced::new),
            last_accepted: Family::default(),
            undecided: Family::default(),
            key_uses: Family::default(),
            key_expiry: Family::default(),
            fetched_keys_expiry: Family::default(),
            attempts: Family::default(),
            attempt_failures: Family::default(),
            attempt: Family::new_with_constructor(Traced::new),
            delivery: Family::new_with_constructor(long_seconds),
            sync: seconds(),
            owed: Family::default(),
            oldest_owed_age: Family::default(),
            dead: Family::default(),
            stray: Gauge::default(),
            claims: Gauge::default(),
            journal_bytes: Gauge::default(),
            disk_free: Gauge::default(),
            accepting: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Family::default(),
            handshake_failures: Counter::default(),
            certificate_expiry: Family::default(),
            reloads: Family::default(),
            reloaded_well: Gauge::default(),
            rules_loaded: Real::default(),
            started: Real::default(),
            outbound_requests: Family::default(),
            key_fetches: Family::default(),
            destination_limit: Family::default(),
            destination_breaker: Family::default(),
            figures: Arc::default(),
            news: Arc::default(),
            destination_paused: Family::default(),
            spans: Family::default(),
            alerts: Family::default(),
            traces: Traces::default(),
            registry: Arc::new(Registry::default()),
        }
    }

    /// An observation names its trace if that can be found: it is kept, or, while none are kept, in
    /// one of sixteen cases, since the application was told its id. So the common case costs nothing.
    pub fn exemplar(&self, trace: TraceId, now: Timestamp) -> Option<(TraceId, Timestamp)> {
        let named = match self.traces.is_on() {
            true => self.traces.keeps(trace),
            false => trace.0.is_multiple_of(16),
        };
        named.then_some((trace, now))
    }

    /// When the certificate of a port (`public`, `admin`) ends.
    pub fn certificate_ends(&self, port: &'static str, at: Timestamp) {
        self.certificate_expiry
            .get_or_create(&PortLabel { port })
            .set(unix(at));
    }

    /// The text that Prometheus reads (OpenMetrics 1.0).
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// Seconds since 1970, as metrics have it.
pub fn unix(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_described() {
        let all = Metrics::described();
        let registered = include_str!("telemetry/register.rs")
            .matches("self.plain(")
            .count()
            + include_str!("telemetry/register.rs")
                .matches("self.seconds(")
                .count()
            + include_str!("telemetry/register.rs")
                .matches("self.bytes(")
                .count();
        assert_eq!(all.len(), registered);
        for metric in &all {
            assert!(metric.name.starts_with("callseal_") && !metric.help.is_empty());
            let suffix = match metric.kind.as_str() {
                "counter" => "_total",
                "histogram" => "_seconds",
                "gauge" => "",
                other => panic!("{other}: {metric:?}"),
            };
            assert!(metric.name.ends_with(suffix), "{metric:?}");
        }
        let owed = all.iter().find(|m| m.name == "callseal_owed").unwrap();
        assert_eq!(owed.labels, ["source", "destination"]);
    }

    #[test]
    fn while_no_trace_is_kept_few_observations_name_theirs() {
        let metrics = Metrics::new();
        let now = Timestamp::from_secs(1);
        assert_eq!(metrics.exemplar(TraceId(17), now), None);
        assert_eq!(metrics.exemplar(TraceId(32), now), Some((TraceId(32), now)));
        metrics.traces.begin(1.0);
        assert!(metrics.exemplar(TraceId(17), now).is_some());
    }

    #[test]
    fn metrics_have_conventional_names() {
        let metrics = Metrics::new();
        metrics
            .callbacks
            .get_or_create(&SourceVerdict {
                source: "s".into(),
                verdict: "accepted",
            })
            .inc();
        metrics
            .acknowledge
            .get_or_create(&SourceLabel { source: "s".into() })
            .observe(
                Duration::from_millis(1),
                Some((TraceId(0xabc), Timestamp::from_millis(1_700_000_000_123))),
            );
        let text = metrics.encode();
        assert!(
            text.contains("callseal_callbacks_total{source=\"s\",verdict=\"accepted\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("callseal_acknowledge_seconds_bucket"),
            "{text}"
        );
        assert!(text.contains("callseal_journal_bytes"), "{text}");
        // OpenMetrics: trace id, value and moment of one observation.
        let exemplar = "# {trace_id=\"00000000000000000000000000000abc\"} 0.001 1700000000.123";
        assert!(text.contains(exemplar), "{text}");
    }
}
