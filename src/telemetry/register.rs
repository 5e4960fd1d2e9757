//! Every metric by its name, with its unit and what it means: the text of `GET /metrics`, and the
//! table in `docs/metrics.md`.
//!
//! Counters get `_total` and units `_seconds` or `_bytes` when they are written.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::*;

const PREFIX: &str = "callseal";

pub(super) fn all(m: &Metrics) -> Registry {
    let mut names = Names(Registry::with_prefix(PREFIX));
    names.arriving(m);
    names.leaving(m);
    names.gateway(m);
    names.0
}

struct Names(Registry);

impl Names {
    fn plain(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        self.0.register(name, help, metric.clone());
    }

    fn seconds(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        let unit = Unit::Seconds;
        self.0.register_with_unit(name, help, unit, metric.clone());
    }

    fn bytes(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        let unit = Unit::Bytes;
        self.0.register_with_unit(name, help, unit, metric.clone());
    }

    /// From the callback to the answer.
    fn arriving(&mut self, m: &Metrics) {
        self.plain(
            "callbacks",
            "Callbacks by source and verdict (source empty: no source has the path)",
            &m.callbacks,
        );
        self.plain(
            "refusals",
            "Refused, rejected, malformed or overloaded callbacks by reason code",
            &m.refusals,
        );
        self.plain(
            "would_refuse",
            "Callbacks that a guard in mode log would have refused",
            &m.would_refuse,
        );
        self.seconds(
            "acknowledge",
            "Time from the head of a callback that was taken to its answer",
            &m.acknowledge,
        );
        self.seconds(
            "last_accepted_timestamp",
            "When a source last accepted an event",
            &m.last_accepted,
        );
        self.plain(
            "conditions_undecided",
            "Conditions that gave no answer, so that the event was sent",
            &m.undecided,
        );
        self.plain(
            "key_uses",
            "Verified callbacks by the key that fitted (fetched: one that came from the provider)",
            &m.key_uses,
        );
        self.seconds(
            "key_expiry_timestamp",
            "When a key of a source ends, by its not_after or its certificate",
            &m.key_expiry,
        );
        self.seconds(
            "fetched_keys_expiry_timestamp",
            "When fetched keys that cannot be fetched anew stop being used",
            &m.fetched_keys_expiry,
        );
        self.plain(
            "connections",
            "Open connections on the public port",
            &m.connections,
        );
        self.plain(
            "connections_refused",
            "Connections closed before a request, by reason",
            &m.connections_refused,
        );
        self.plain(
            "handshake_failures",
            "TLS handshakes that failed",
            &m.handshake_failures,
        );
    }

    /// From the journal to the application.
    fn leaving(&mut self, m: &Metrics) {
        self.plain(
            "attempts",
            "Delivery attempts by destination and result",
            &m.attempts,
        );
        self.plain(
            "attempt_failures",
            "Delivery attempts that failed, by reason code",
            &m.attempt_failures,
        );
        self.seconds("attempt", "Time of a delivery attempt", &m.attempt);
        self.seconds(
            "delivery",
            "Time from a callback to the 2xx of the application, retries included",
            &m.delivery,
        );
        self.plain("owed", "Deliveries owed to a destination", &m.owed);
        self.seconds(
            "oldest_owed_age",
            "Age of the oldest delivery that is owed to a destination (0: none)",
            &m.oldest_owed_age,
        );
        self.plain("dead", "Dead letters of a destination", &m.dead);
        self.plain(
            "stray",
            "Deliveries owed to destinations that no rule names any more",
            &m.stray,
        );
        self.plain(
            "destination_limit",
            "Attempts that a destination gets at once at present",
            &m.destination_limit,
        );
        self.plain(
            "destination_breaker",
            "0 closed, 1 one delivery is tried, 2 open: the destination fails, its deliveries wait",
            &m.destination_breaker,
        );
        self.plain(
            "destination_paused",
            "1 while an operator has paused the destination",
            &m.destination_paused,
        );
    }

    /// Store, certificates, rules and the gateway itself.
    fn gateway(&mut self, m: &Metrics) {
        self.plain("accepting", "1 while events can be accepted", &m.accepting);
        self.seconds("sync", "Time of a group commit to the journal", &m.sync);
        self.plain("claims", "Idempotency keys remembered", &m.claims);
        self.bytes("journal", "Size of the journal", &m.journal_bytes);
        self.bytes(
            "disk_free",
            "Free space on the disk of the store",
            &m.disk_free,
        );
        self.seconds(
            "certificate_expiry_timestamp",
            "When the certificate of a port (public, admin) ends",
            &m.certificate_expiry,
        );
        self.plain(
            "reloads",
            "Reloads of rules and certificates by result",
            &m.reloads,
        );
        self.plain(
            "last_reload_successful",
            "1 while the last reload of rules, keys and certificates went well, 0 while it failed",
            &m.reloaded_well,
        );
        self.seconds(
            "rules_loaded_timestamp",
            "When the rules in force were loaded",
            &m.rules_loaded,
        );
        self.seconds("started_timestamp", "When the gateway started", &m.started);
        self.plain(
            "outbound_requests",
            "The gateway's own requests to providers by result",
            &m.outbound_requests,
        );
        self.plain(
            "key_fetches",
            "Fetches of providers' keys by result",
            &m.key_fetches,
        );
        self.plain(
            "trace_spans",
            "Spans for the collector by result (exported, rejected, dropped, failed)",
            &m.spans,
        );
        self.plain(
            "alerts",
            "Alerts to be pushed by result (sent, failed)",
            &m.alerts,
        );
        let build = Family::<VersionLabel, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create(&VersionLabel { version }).set(1);
        self.plain("build_info", "1, with the version of the gateway", &build);
    }
}

impl TypedMetric for Traced {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Traced {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A metric as the documentation has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// As it is written, with suffix.
    pub name: String,
    pub kind: String,
    pub labels: Vec<String>,
    pub help: String,
}

impl Metrics {
    /// What every metric is called, and which labels it has. Made from what is written for
    /// Prometheus when there is one series of each.
    pub fn described() -> Vec<Described> {
        let m = Metrics::new();
        m.one_of_each();
        let text = m.encode();
        let mut found: Vec<Described> = Vec::new();
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' '))
            {
                let help = help.trim_end_matches('.').to_owned();
                let name = name.to_owned();
                found.push(Described {
                    name,
                    help,
                    kind: String::new(),
                    labels: Vec::new(),
                });
            }
            let Some(last) = found.last_mut() else {
                continue;
            };
            if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
                kind.clone_into(&mut last.kind);
                if kind == "counter" {
                    last.name.push_str("_total");
                }
            }
            let labels = line.split_once('{').filter(|_| !line.starts_with('#'));
            if let Some((_, labels)) = labels.filter(|_| last.labels.is_empty()) {
                let labels = labels.split('}').next().unwrap_or_default().split(',');
                let names = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
                last.labels = names.filter(|name| name != "le").collect();
            }
        }
        found
    }

    fn one_of_each(&self) {
        let source = String::new;
        let to = DestinationLabel {
            source: source(),
            destination: String::new(),
        };
        let verdict = SourceVerdict {
            source: source(),
            verdict: "",
        };
        drop(self.callbacks.get_or_create(&verdict));
        drop(self.attempts.get_or_create(&DestinationVerdict {
            source: source(),
            destination: String::new(),
            verdict: "",
        }));
        let reason = SourceReason {
            source: source(),
            reason: "",
        };
        for counters in [&self.refusals, &self.would_refuse] {
            drop(counters.get_or_create(&reason));
        }
        let label = SourceLabel { source: source() };
        drop(self.undecided.get_or_create(&label));
        for gauges in [&self.last_accepted, &self.fetched_keys_expiry] {
            drop(gauges.get_or_create(&label));
        }
        self.acknowledge
            .get_or_create(&label)
            .observe(Duration::ZERO, None);
        self.attempt
            .get_or_create(&to)
            .observe(Duration::ZERO, None);
        let key = KeyLabel {
            source: source(),
            key: String::new(),
        };
        drop(self.key_uses.get_or_create(&key));
        drop(self.key_expiry.get_or_create(&key));
        let failed = DestinationReason {
            source: source(),
            destination: String::new(),
            reason: "",
        };
        drop(self.attempt_failures.get_or_create(&failed));
        self.delivery.get_or_create(&to).observe(0.0);
        for gauges in [
            &self.owed,
            &self.dead,
            &self.destination_limit,
            &self.destination_breaker,
            &self.destination_paused,
        ] {
            drop(gauges.get_or_create(&to));
        }
        drop(self.oldest_owed_age.get_or_create(&to));
        drop(
            self.connections_refused
                .get_or_create(&ReasonLabel { reason: "" }),
        );
        self.certificate_ends("public", Timestamp::default());
        for counters in [&self.spans, &self.alerts] {
            drop(counters.get_or_create(&ResultLabel { result: "" }));
        }
    }
}
