//! Traces to a collector, over OTLP/HTTP with protobuf.
//!
//! Not made with the `opentelemetry` crates: their tracer draws the ids, and a trace of ours takes
//! its id from an event that is named only once it is stored; their batch processor does not say how
//! much it dropped; and their exporter brings a second HTTP client or a thread to block on ours, and
//! a dozen crates. What is needed of the protocol is in `message.rs`; the tests decode it with the
//! types that OpenTelemetry generates.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use prost::Message;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, timeout};

use crate::message::DestinationName;
use crate::relay::client::Transport;
use crate::relay::request::Outgoing;
use crate::relay::target::Target;
use crate::rule::{Address, Destination};
use crate::telemetry::trace::Span;
use crate::telemetry::{Metrics, ResultLabel};

mod message;

/// Spans of one request.
const BATCH: usize = 512;

/// How long spans are gathered for one request.
const GATHER: Duration = Duration::from_secs(2);

/// Longest time for one request (the default of OTLP).
const TIMEOUT: Duration = Duration::from_secs(10);

/// Times that a request is sent, with a pause that doubles. Meanwhile new spans wait in their queue,
/// and are dropped once it is full.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// The spans that the end of the process finds are sent within this time, or lost.
const LAST: Duration = Duration::from_secs(2);

/// Sends what [`crate::telemetry::trace::Traces`] gathers.
pub struct Exporter {
    transport: Arc<dyn Transport>,
    metrics: Metrics,
    target: Target,
    headers: HeaderMap,
    service: String,
    /// Taken from the queue, and not yet known to be with the collector.
    under_way: Mutex<Vec<Span>>,
}

impl Exporter {
    /// `headers` go with every request; `service` is what the traces call this gateway.
    pub fn new(
        transport: Arc<dyn Transport>,
        metrics: Metrics,
        endpoint: Address,
        headers: HeaderMap,
        service: String,
    ) -> Self {
        let to = Destination::new(DestinationName::new("otlp"), endpoint);
        Exporter {
            transport,
            metrics,
            target: Target::new(&to, None),
            headers,
            service,
            under_way: Mutex::default(),
        }
    }

    /// Sends until `stop` becomes true, and then what is left; what cannot be sent then is counted.
    pub async fn run(self, mut stop: Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work() => {}
        }
        let _ = timeout(LAST, self.flush()).await;
        let (left, dropped) = self.metrics.traces.take(usize::MAX);
        let under_way = std::mem::take(&mut *self.under_way());
        let lost = (left.len() + under_way.len()) as u64 + dropped;
        self.count("dropped", lost);
        if lost > 0 {
            tracing::warn!(
                spans = lost,
                "spans are lost: the collector took them too slowly"
            );
        }
    }

    fn under_way(&self) -> MutexGuard<'_, Vec<Span>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn work(&self) {
        loop {
            self.metrics.traces.filled().await;
            sleep(GATHER).await;
            self.flush().await;
        }
    }

    async fn flush(&self) {
        loop {
            // A request that the end has interrupted is made again.
            if self.under_way().is_empty() {
                let (spans, dropped) = self.metrics.traces.take(BATCH);
                self.count("dropped", dropped);
                *self.under_way() = spans;
            }
            let (body, count) = {
                let spans = self.under_way();
                let body = message::request(&spans, &self.service).encode_to_vec();
                (Bytes::from(body), spans.len() as u64)
            };
            if count == 0 {
                return;
            }
            let sent = self.export(body).await;
            self.under_way().clear();
            match sent {
                Ok(()) => self.count("exported", count),
                Err(why) => {
                    self.count("failed", count);
                    tracing::warn!(
                        reason = why,
                        spans = count,
                        "the collector does not take spans"
                    );
                    // What it does not take now it will not take at once either.
                    sleep(PAUSE * 10).await;
                }
            }
        }
    }

    fn count(&self, result: &'static str, by: u64) {
        if by > 0 {
            let label = ResultLabel { result };
            self.metrics.spans.get_or_create(&label).inc_by(by);
        }
    }

    async fn export(&self, body: Bytes) -> Result<(), &'static str> {
        let mut pause = PAUSE;
        for tried in 1..=TRIES {
            let request = self.request(body.clone()).ok_or("unsendable")?;
            let begun = Instant::now();
            let sent = timeout(TIMEOUT, self.transport.send(&self.target, request, TIMEOUT));
            // Which answers are worth another try: OTLP specification, "Retryable Response Codes".
            let why = match sent.await {
                Ok(Ok(answered)) if answered.status.is_success() => return Ok(()),
                Ok(Ok(answered)) => match answered.status.as_u16() {
                    429 | 502 | 503 | 504 => "status",
                    _ => return Err("status"),
                },
                Ok(Err(error)) => error.code(),
                Err(_) => "timeout",
            };
            if tried == TRIES {
                return Err(why);
            }
            sleep(pause.saturating_sub(begun.elapsed().min(pause / 2))).await;
            pause *= 2;
        }
        Err("timeout")
    }

    fn request(&self, body: Bytes) -> Option<Outgoing> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.address.path.parse::<Uri>().ok()?;
        let fields = request.headers_mut();
        fields.extend(self.headers.clone());
        let authority = &self.target.address.authority;
        fields.insert(HOST, HeaderValue::try_from(authority).ok()?);
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        fields.insert(CONTENT_TYPE, protobuf);
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let agent = concat!("callseal/", env!("CARGO_PKG_VERSION"));
        fields.insert(USER_AGENT, HeaderValue::from_static(agent));
        Some(request)
    }
}

#[cfg(test)]
mod tests;
