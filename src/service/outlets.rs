//! Where traces and alerts go: read from settings and environment, and served by one thread of their
//! own, which a reload tells of what has changed. When that thread fails, callbacks and deliveries go
//! on.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::watch;

use crate::connect::Tls;
use crate::relay::client::{HttpClient, Transport};
use crate::relay::sign;
use crate::rule::Address;
use crate::rule::diagnostic::{Diagnostic, Severity};
use crate::secret::{Secret, SecretRef};
use crate::service::Fault;
use crate::settings::{AlertSettings, OtlpSettings, Settings, collector};
use crate::telemetry::Metrics;
use crate::watch::Watch;
use crate::watch::alerts::{Pusher, Wanted};

/// Traces, ready to go.
pub struct Traces {
    #[cfg_attr(not(feature = "otlp"), expect(dead_code))]
    pub endpoint: Address,
    #[cfg_attr(not(feature = "otlp"), expect(dead_code))]
    pub headers: HeaderMap,
    pub sample: f64,
}

/// What goes out besides deliveries.
#[derive(Default)]
pub struct Outlets {
    pub traces: Option<Traces>,
    pub alerts: Option<Wanted>,
    /// The environment asks for traces in a way that cannot be followed: there are none.
    pub remark: Option<Box<Diagnostic>>,
}

/// A secret below this can be guessed from one message.
const SHORTEST: usize = 16;

/// How often connections that wait for nothing are given back.
const TIDY_EVERY: Duration = Duration::from_secs(15);

impl Outlets {
    /// What settings and environment ask for. Every fault, not the first.
    pub fn load(settings: &Settings) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let environment = |name: &str| std::env::var(name).ok();
        let (traces, remark) = match &settings.otlp {
            Some(otlp) => match named(otlp) {
                Ok(traces) => (Some(traces), None),
                Err(found) => {
                    faults.extend(found);
                    (None, None)
                }
            },
            None => inherited(environment)
                .map_or_else(|remark| (None, Some(remark)), |traces| (traces, None)),
        };
        let alerts = settings
            .alerts
            .as_ref()
            .and_then(|alerts| signed(alerts).map_err(|fault| faults.push(fault)).ok());
        match faults.is_empty() {
            true => Ok(Outlets {
                traces,
                alerts,
                remark,
            }),
            false => Err(faults),
        }
    }
}

/// What the thread that sends goes by, and how it hears of something else.
pub struct Sending {
    metrics: Metrics,
    pub(super) alerts: watch::Sender<Option<Arc<Wanted>>>,
    #[cfg(feature = "otlp")]
    pub(super) collector: watch::Sender<Option<Arc<crate::otlp::Collector>>>,
}

impl Sending {
    /// Nothing goes anywhere before [`Sending::take`].
    pub fn new(metrics: Metrics) -> Self {
        Sending {
            metrics,
            alerts: watch::Sender::default(),
            #[cfg(feature = "otlp")]
            collector: watch::Sender::default(),
        }
    }

    /// From now on it is so. What did not change is not disturbed: neither a request that is under
    /// way, nor the pause after one that failed.
    pub fn take(&self, outlets: Outlets) {
        let Outlets { traces, alerts, .. } = outlets;
        exchange(&self.alerts, alerts);
        let sample = traces.as_ref().map_or(0.0, |traces| traces.sample);
        // Somebody is there to send them to before the first is made.
        #[cfg(feature = "otlp")]
        exchange(
            &self.collector,
            traces.map(|traces| crate::otlp::Collector {
                endpoint: traces.endpoint,
                headers: traces.headers,
            }),
        );
        self.metrics.traces.begin(sample);
    }

    /// Starts the thread. It does nothing until there is something to send to somebody.
    pub fn run(
        &self,
        watch: Arc<Watch>,
        stop: watch::Receiver<bool>,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let thread = std::thread::Builder::new().name("outlets".to_owned());
        let part = Part {
            alerts: self.alerts.subscribe(),
            #[cfg(feature = "otlp")]
            collector: self.collector.subscribe(),
            watch,
        };
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(part.serve(stop));
                    // A name that is still being looked up must not hold up the end.
                    runtime.shutdown_timeout(Duration::from_secs(1));
                }
                Err(error) => tracing::error!(%error, "neither traces nor alerts can be sent"),
            }
        };
        thread.spawn(work)
    }
}

/// Puts another value there, if it is another one.
fn exchange<T: PartialEq>(place: &watch::Sender<Option<Arc<T>>>, value: Option<T>) {
    place.send_if_modified(|there| {
        let other = there.as_deref() != value.as_ref();
        if other {
            *there = value.map(Arc::new);
        }
        other
    });
}

/// The thread's side.
struct Part {
    alerts: watch::Receiver<Option<Arc<Wanted>>>,
    #[cfg(feature = "otlp")]
    collector: watch::Receiver<Option<Arc<crate::otlp::Collector>>>,
    watch: Arc<Watch>,
}

impl Part {
    async fn serve(mut self, mut stop: watch::Receiver<bool>) {
        // The machine's roots are read once there is somebody to be reached.
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = self.needed() => {}
        }
        let client = Arc::new(HttpClient::new(Arc::new(Tls::native())));
        let tidy = async {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                client.tidy();
            }
        };
        let push =
            Pusher::new(self.watch.clone(), client.clone(), self.alerts.clone()).run(stop.clone());
        #[cfg(feature = "otlp")]
        let export = {
            let service = std::env::var("OTEL_SERVICE_NAME").unwrap_or_default();
            let service = match service.is_empty() {
                true => "callseal".to_owned(),
                false => service,
            };
            let shared = &self.watch.shared;
            crate::otlp::Exporter::new(
                client.clone(),
                shared.metrics.clone(),
                shared.clock.clone(),
                shared.random.clone(),
                self.collector.clone(),
                service,
            )
            .run(stop)
        };
        #[cfg(not(feature = "otlp"))]
        let export = async { drop(stop) };
        tokio::select! {
            _ = async { tokio::join!(push, export) } => {}
            () = tidy => {}
        }
    }

    /// Returns once traces or alerts are to go somewhere.
    async fn needed(&mut self) {
        let alerts = needed(&mut self.alerts);
        #[cfg(feature = "otlp")]
        let traces = needed(&mut self.collector);
        #[cfg(not(feature = "otlp"))]
        let traces = std::future::pending::<()>();
        tokio::select! {
            () = alerts => {}
            () = traces => {}
        }
    }
}

async fn needed<T>(wanted: &mut watch::Receiver<Option<Arc<T>>>) {
    if wanted.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Alerts as the settings say, with the key that they name.
fn signed(alerts: &AlertSettings) -> Result<Wanted, Fault> {
    let key = alerts.sign_with.as_ref().map(|place| {
        let fault = |why: String| Fault::Outlet {
            key: "alerts.sign_with",
            place: Some(place.clone()),
            why,
        };
        let secret = place.load().map_err(|error| fault(error.to_string()))?;
        let key = sign::key_from_secret(&secret).map_err(|e| fault(e.to_string()))?;
        match key.len() < SHORTEST {
            true => Err(fault(format!("fewer than {SHORTEST} bytes can be guessed"))),
            false => Ok(key),
        }
    });
    Ok(Wanted {
        settings: alerts.clone(),
        key: key.transpose()?,
    })
}

/// Traces as the settings say. Every fault, not the first.
fn named(otlp: &OtlpSettings) -> Result<Traces, Vec<Fault>> {
    let fault = |key, place: Option<&SecretRef>, why: String| Fault::Outlet {
        key,
        place: place.cloned(),
        why,
    };
    if cfg!(not(feature = "otlp")) {
        let why = "this binary was built without the feature `otlp`".to_owned();
        return Err(vec![fault("telemetry.otlp", None, why)]);
    }
    let (mut headers, mut faults) = (HeaderMap::new(), Vec::new());
    for (name, place) in &otlp.headers {
        let load = |place: &SecretRef| -> Result<(HeaderName, HeaderValue), String> {
            let secret: Secret = place.load().map_err(|error| error.to_string())?;
            let read = field(name.as_bytes(), secret.expose());
            read.ok_or_else(|| "not what a header field can hold".to_owned())
        };
        match load(place) {
            Ok((name, value)) => {
                headers.insert(name, value);
            }
            Err(why) => faults.push(fault("telemetry.otlp.headers", Some(place), why)),
        }
    }
    match faults.is_empty() {
        true => Ok(Traces {
            endpoint: otlp.endpoint.clone(),
            headers,
            sample: otlp.sample,
        }),
        false => Err(faults),
    }
}

/// As the environment says (OpenTelemetry, "OTLP Exporter Configuration"). Such variables are often
/// set for all programs of a machine: what cannot be followed is told, and stops nothing.
fn inherited(
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<Traces>, Box<Diagnostic>> {
    let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
    let is =
        |name: &str, word: &str| environment(name).is_some_and(|v| v.eq_ignore_ascii_case(word));
    let off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
    const OWN: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let (key, url) = match (environment(OWN), environment(BASE)) {
        _ if off || cfg!(not(feature = "otlp")) => return Ok(None),
        (Some(url), _) => (OWN, url),
        (None, Some(base)) => (BASE, format!("{}/v1/traces", base.trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    const PROTOCOLS: [&str; 2] = [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ];
    let protocol = PROTOCOLS
        .into_iter()
        .find(|name| environment(name).is_some());
    if let Some(name) = protocol.filter(|name| is(name, "grpc")) {
        return Err(unusable(
            name,
            "`grpc` is not spoken here, only OTLP over HTTP",
        ));
    }
    // The address may hold a password: it is not repeated.
    let endpoint = collector(&url).map_err(|_| {
        unusable(
            key,
            "no address of a collector, such as http://127.0.0.1:4318",
        )
    })?;
    let mut headers = HeaderMap::new();
    const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    for pair in environment(HEADERS).unwrap_or_default().split(',') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let value: Vec<u8> = percent_encoding::percent_decode_str(value.trim()).collect();
        let (name, value) = field(name.trim().as_bytes(), &value)
            .ok_or_else(|| unusable(HEADERS, "not what a header field can hold"))?;
        headers.insert(name, value);
    }
    Ok(Some(Traces {
        endpoint,
        headers,
        sample: 1.0,
    }))
}

fn unusable(variable: &'static str, why: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic {
        file: "environment".to_owned(),
        text: "".into(),
        span: 0..0,
        code: "environment",
        severity: Severity::Warning,
        message: format!("{variable}: {why}; no traces are sent"),
        hint: Some("`otlp` under [telemetry] comes before the environment".to_owned()),
    })
}

fn field(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name).ok()?;
    let mut value = HeaderValue::from_bytes(value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "otlp")]
    fn the_environment_counts_where_the_settings_say_nothing() {
        let with = |pairs: &'static [(&str, &str)]| {
            let environment = |name: &str| {
                let found = pairs.iter().find(|(n, _)| *n == name);
                found.map(|(_, v)| (*v).to_owned())
            };
            inherited(environment)
        };
        let path = |pairs| with(pairs).unwrap().map(|traces| traces.endpoint.path);
        assert_eq!(path(&[]), None);
        assert_eq!(path(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        assert_eq!(
            path(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]).as_deref(),
            Some("/v1/traces")
        );
        assert_eq!(
            path(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/otlp/")]).as_deref(),
            Some("/otlp/v1/traces")
        );
        let own = &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d:1/t"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20x,X-Scope = shop",
            ),
        ];
        let traces = with(own).unwrap().unwrap();
        assert_eq!(
            (traces.endpoint.host.as_str(), traces.endpoint.path.as_str()),
            ("d", "/t")
        );
        assert_eq!(traces.headers["authorization"], "Bearer x");
        assert_eq!(traces.headers["x-scope"], "shop");
        assert!(traces.headers["x-scope"].is_sensitive());
        let off = &[
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
        ];
        assert_eq!(path(off), None);
        let none = &[
            ("OTEL_TRACES_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
        ];
        assert_eq!(path(none), None);
    }

    #[test]
    #[cfg(feature = "otlp")]
    fn what_the_environment_says_in_vain_stops_nothing_and_is_not_repeated() {
        for (name, value, told) in [
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "canary:4318",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
            ),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "a=canary%0A",
                "OTEL_EXPORTER_OTLP_HEADERS",
            ),
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "grpc",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
            ),
        ] {
            let environment = |asked: &str| match asked {
                asked if asked == name => Some(value.to_owned()),
                "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://c:4318".to_owned()),
                _ => None,
            };
            let remark = inherited(environment).err().unwrap();
            assert!(
                remark.message.starts_with(told) && !remark.is_error(),
                "{remark}"
            );
            assert!(!remark.to_string().contains("canary"), "{remark}");
        }
    }
}
