//! Every metric name, label name and log field name of the program, and the registry behind
//! `GET /metrics`. Label values come only from configuration and from our own enums, never from a
//! request: a stranger cannot make series.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::message::{DestinationName, SourceName};

pub mod figures;
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
}

/// Names of metrics, as `GET /metrics` shows them (counters get `_total`, seconds `_seconds`).
pub mod metric {
    pub const PREFIX: &str = "callseal";
    pub const CALLBACKS: &str = "callbacks";
    pub const REFUSALS: &str = "refusals";
    pub const WOULD_REFUSE: &str = "would_refuse";
    pub const ACKNOWLEDGE: &str = "acknowledge";
    pub const UNDECIDED: &str = "conditions_undecided";
    pub const ATTEMPTS: &str = "attempts";
    pub const ATTEMPT: &str = "attempt";
    pub const SYNC: &str = "sync";
    pub const OWED: &str = "owed";
    pub const OLDEST_OWED: &str = "oldest_owed_age";
    pub const DEAD: &str = "dead";
    pub const CLAIMS: &str = "claims";
    pub const JOURNAL: &str = "journal";
    pub const ACCEPTING: &str = "accepting";
    pub const CONNECTIONS: &str = "connections";
    pub const CONNECTIONS_REFUSED: &str = "connections_refused";
    pub const HANDSHAKE_FAILURES: &str = "handshake_failures";
    pub const CERTIFICATE_EXPIRY: &str = "certificate_expiry_timestamp";
    pub const RELOADS: &str = "reloads";
    pub const OUTBOUND_REQUESTS: &str = "outbound_requests";
    pub const KEY_FETCHES: &str = "key_fetches";
    pub const DESTINATION_LIMIT: &str = "destination_limit";
    pub const DESTINATION_BREAKER: &str = "destination_breaker";
}

/// A source, and what became of a callback.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceVerdict {
    pub source: String,
    pub verdict: &'static str,
}

/// A source (empty: none was matched) and a stable reason code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceReason {
    pub source: String,
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    pub source: String,
}

/// A destination of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DestinationLabel {
    pub source: String,
    pub destination: String,
}

/// A destination of a source, and what became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DestinationVerdict {
    pub source: String,
    pub destination: String,
    pub verdict: &'static str,
}

impl DestinationLabel {
    pub fn new(source: &SourceName, destination: &DestinationName) -> Self {
        DestinationLabel {
            source: source.to_string(),
            destination: destination.to_string(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    pub result: &'static str,
}

/// From 50 µs to some 26 s, each step twice the one before.
fn seconds() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
        0.00005, 2.0, 20,
    ))
}

type Seconds = Family<SourceLabel, Histogram, fn() -> Histogram>;

/// All metrics of one gateway. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Callbacks by source and verdict (accepted, duplicate, conflict, challenge, rejected, refused, overloaded).
    pub callbacks: Family<SourceVerdict, Counter>,
    /// Refusals and rejections by stable reason code.
    pub refusals: Family<SourceReason, Counter>,
    /// What a guard in mode `log` would have refused.
    pub would_refuse: Family<SourceReason, Counter>,
    /// From the head of the request to its answer, by source.
    pub acknowledge: Seconds,
    /// Conditions (`when`) that gave no answer, by source.
    pub undecided: Family<SourceLabel, Counter>,
    /// Attempts by source, destination and result (delivered, retry, dead).
    pub attempts: Family<DestinationVerdict, Counter>,
    pub attempt: Family<DestinationLabel, Histogram, fn() -> Histogram>,
    /// Group commits: write and fdatasync.
    pub sync: Histogram,
    pub owed: Family<DestinationLabel, Gauge>,
    pub oldest_owed_age: Gauge<f64, AtomicU64>,
    pub dead: Family<DestinationLabel, Gauge>,
    pub claims: Gauge,
    pub journal_bytes: Gauge,
    pub accepting: Gauge,
    pub connections: Gauge,
    pub connections_refused: Family<ReasonLabel, Counter>,
    pub handshake_failures: Counter,
    pub certificate_expiry: Gauge,
    pub reloads: Family<ResultLabel, Counter>,
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
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut metrics = Metrics {
            callbacks: Family::default(),
            refusals: Family::default(),
            would_refuse: Family::default(),
            acknowledge: Family::new_with_constructor(seconds),
            undecided: Family::default(),
            attempts: Family::default(),
            attempt: Family::new_with_constructor(seconds),
            sync: seconds(),
            owed: Family::default(),
            oldest_owed_age: Gauge::default(),
            dead: Family::default(),
            claims: Gauge::default(),
            journal_bytes: Gauge::default(),
            accepting: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Family::default(),
            handshake_failures: Counter::default(),
            certificate_expiry: Gauge::default(),
            reloads: Family::default(),
            outbound_requests: Family::default(),
            key_fetches: Family::default(),
            destination_limit: Family::default(),
            destination_breaker: Family::default(),
            figures: Arc::default(),
            news: Arc::default(),
            registry: Arc::new(Registry::default()),
        };
        // A counter that is there from the start shows its first increase.
        for (counters, result) in [
            (&metrics.outbound_requests, "answered"),
            (&metrics.key_fetches, "fetched"),
        ] {
            drop(counters.get_or_create(&ResultLabel { result }));
        }
        metrics.registry = Arc::new(metrics.register());
        metrics
    }

    fn register(&self) -> Registry {
        let mut r = Registry::with_prefix(metric::PREFIX);
        r.register(
            metric::CALLBACKS,
            "Callbacks by source and verdict",
            self.callbacks.clone(),
        );
        r.register(
            metric::REFUSALS,
            "Refused or rejected callbacks by reason code",
            self.refusals.clone(),
        );
        r.register(
            metric::WOULD_REFUSE,
            "Callbacks that a guard in mode log would have refused",
            self.would_refuse.clone(),
        );
        r.register_with_unit(
            metric::ACKNOWLEDGE,
            "Time from the head of a callback to its answer",
            Unit::Seconds,
            self.acknowledge.clone(),
        );
        r.register(
            metric::UNDECIDED,
            "Conditions that gave no answer, so that the event was sent",
            self.undecided.clone(),
        );
        r.register(
            metric::ATTEMPTS,
            "Delivery attempts by source, destination and result",
            self.attempts.clone(),
        );
        r.register_with_unit(
            metric::ATTEMPT,
            "Time of a delivery attempt",
            Unit::Seconds,
            self.attempt.clone(),
        );
        r.register_with_unit(
            metric::SYNC,
            "Time of a group commit to the journal",
            Unit::Seconds,
            self.sync.clone(),
        );
        r.register(
            metric::OWED,
            "Deliveries owed, by source and destination",
            self.owed.clone(),
        );
        r.register_with_unit(
            metric::OLDEST_OWED,
            "Age of the oldest owed delivery",
            Unit::Seconds,
            self.oldest_owed_age.clone(),
        );
        r.register(
            metric::DEAD,
            "Dead letters, by source and destination",
            self.dead.clone(),
        );
        r.register(
            metric::CLAIMS,
            "Idempotency keys remembered",
            self.claims.clone(),
        );
        r.register_with_unit(
            metric::JOURNAL,
            "Size of the journal",
            Unit::Bytes,
            self.journal_bytes.clone(),
        );
        r.register(
            metric::ACCEPTING,
            "1 while events can be accepted",
            self.accepting.clone(),
        );
        r.register(
            metric::CONNECTIONS,
            "Open connections on the public port",
            self.connections.clone(),
        );
        r.register(
            metric::CONNECTIONS_REFUSED,
            "Connections closed before a request, by reason",
            self.connections_refused.clone(),
        );
        r.register(
            metric::HANDSHAKE_FAILURES,
            "TLS handshakes that failed",
            self.handshake_failures.clone(),
        );
        r.register_with_unit(
            metric::CERTIFICATE_EXPIRY,
            "When the certificate of the public port ends",
            Unit::Seconds,
            self.certificate_expiry.clone(),
        );
        r.register(
            metric::RELOADS,
            "Reloads of rules and certificates by result",
            self.reloads.clone(),
        );
        r.register(
            metric::OUTBOUND_REQUESTS,
            "The gateway's own requests to providers by result",
            self.outbound_requests.clone(),
        );
        r.register(
            metric::KEY_FETCHES,
            "Fetches of providers' keys by result",
            self.key_fetches.clone(),
        );
        r.register(
            metric::DESTINATION_LIMIT,
            "Attempts that a destination gets at once at present",
            self.destination_limit.clone(),
        );
        r.register(
            metric::DESTINATION_BREAKER,
            "0 closed, 1 one delivery is tried, 2 open: the destination fails, its deliveries wait",
            self.destination_breaker.clone(),
        );
        r
    }

    /// The text that Prometheus reads (OpenMetrics 1.0).
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Human,
}

/// Starts logging to standard error. `CALLSEAL_LOG` (a tracing filter such as `debug` or
/// `callseal=debug,info`) overrides the level `info`. A second call changes nothing.
pub fn start_logging(format: LogFormat) {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_env("CALLSEAL_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,sled=warn"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let _ = match format {
        LogFormat::Json => fmt()
            .json()
            .flatten_event(true)
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .try_init(),
        LogFormat::Human => fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(ansi)
            .with_target(false)
            .try_init(),
    };
}

/// Says of a panic where it was, and not what it says: it may quote what it choked on, which can
/// be a body or a key.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(
            place,
            thread = thread.name().unwrap_or_default(),
            "a panic: this is a bug in callseal"
        );
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

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
            .observe(0.001);
        let text = metrics.encode();
        assert!(
            text.contains("callseal_callbacks_total{source=\"s\",verdict=\"accepted\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("callseal_acknowledge_seconds_bucket"),
            "{text}"
        );
        assert!(text.contains("callseal_oldest_owed_age_seconds"), "{text}");
        assert!(text.contains("callseal_journal_bytes"), "{text}");
    }
}
