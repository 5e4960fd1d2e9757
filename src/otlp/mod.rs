//! Traces to a collector, over OTLP/HTTP with protobuf.
//!
//! Not made with the `opentelemetry` crates: their tracer draws the ids, and a trace of ours takes
//! its id from an event that is named only once it is stored; their batch processor does not say how
//! much it dropped; and their exporter brings a second HTTP client or a thread to block on ours, and
//! a dozen crates. What is needed of the protocol is in `message.rs`; the tests decode it with the
//! types that OpenTelemetry generates.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use prost::Message;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Clock;
use crate::message::DestinationName;
use crate::random::Random;
use crate::relay::AttemptError;
use crate::relay::client::Transport;
use crate::relay::request::Outgoing;
use crate::relay::target::Target;
use crate::rule::{Address, Destination};
use crate::telemetry::trace::Span;
use crate::telemetry::{Metrics, ResultLabel};

mod answer;
mod message;
mod seldom;

use answer::{Taken, Verdict};
use seldom::Seldom;

/// Spans of one request.
const BATCH: usize = 512;

/// How long spans are gathered for one request.
const GATHER: Duration = Duration::from_secs(2);

/// Longest time for one request (the default of OTLP).
const TIMEOUT: Duration = Duration::from_secs(10);

/// Times that a request is sent, with a pause that doubles, each drawn from half of it to all of it.
/// Meanwhile new spans wait in their queue, and are dropped once it is full.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// After a request that was given up: what the collector does not take now it will not take at once.
const REST: Duration = Duration::from_secs(10);

/// A `Retry-After` that asks for more is heeded for so long.
const ASKED_MAX: Duration = Duration::from_secs(600);

/// The spans that the end of the process finds are sent within this time, or lost.
const LAST: Duration = Duration::from_secs(2);

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    /// With the path that requests have.
    pub endpoint: Address,
    /// Fields of every request.
    pub headers: HeaderMap,
}

/// Sends what [`crate::telemetry::trace::Traces`] gathers, to whom the settings name at present.
pub struct Exporter {
    transport: Arc<dyn Transport>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    wanted: Receiver<Option<Arc<Collector>>>,
    service: String,
    /// Taken from the queue, and not yet known to be with the collector.
    under_way: Vec<Span>,
    /// The collector asked to be left alone until then.
    asked: Option<Instant>,
    refused: Seldom,
    rejected: Seldom,
}

/// What became of a batch.
enum Outcome {
    Taken(Taken),
    Failed(&'static str),
    /// There is no collector any more.
    Nobody,
}

impl Exporter {
    /// `service` is what the traces call this gateway.
    pub fn new(
        transport: Arc<dyn Transport>,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        wanted: Receiver<Option<Arc<Collector>>>,
        service: String,
    ) -> Self {
        Exporter {
            transport,
            metrics,
            clock,
            random,
            wanted,
            service,
            under_way: Vec::new(),
            asked: None,
            refused: Seldom::default(),
            rejected: Seldom::default(),
        }
    }

    /// Sends until `stop` becomes true, and then what is left; what cannot be sent then is counted.
    pub async fn run(mut self, mut stop: Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work() => {}
        }
        let end = Instant::now() + LAST;
        // Whoever asked to be left alone beyond the end is; a collector that is new asked for nothing.
        let another = self.wanted.has_changed().unwrap_or(false);
        if another || self.asked.is_none_or(|asked| asked < end) {
            let _ = timeout(LAST, self.flush()).await;
        }
        self.drop_all("spans are lost: the collector took them too slowly");
    }

    async fn work(&mut self) {
        let mut wanted = self.wanted.clone();
        loop {
            if wanted.borrow_and_update().is_none() {
                self.drop_all("spans are lost: there is no collector any more");
            }
            // Else something was left when the collector went, and there is one again.
            if self.under_way.is_empty() {
                tokio::select! {
                    () = changed(&mut wanted) => {}
                    () = self.metrics.traces.filled() => {}
                }
            }
            // Whichever of the two it was: who was woken by a span may find a new collector, too.
            if wanted.borrow().is_some() {
                sleep(GATHER).await;
                self.flush().await;
            }
        }
    }

    /// Sends what is there, until there is no more, or the collector takes none.
    async fn flush(&mut self) {
        loop {
            // A request that the end, or a new collector, has interrupted is made again.
            if self.under_way.is_empty() {
                let (spans, dropped) = self.metrics.traces.take(BATCH);
                self.count("dropped", dropped);
                self.under_way = spans;
            }
            if self.under_way.is_empty() {
                return;
            }
            let spans = self.under_way.len() as u64;
            let body = message::request(&self.under_way, &self.service).encode_to_vec();
            let outcome = self.export(Bytes::from(body), spans).await;
            match outcome {
                Outcome::Nobody => return,
                Outcome::Taken(taken) => {
                    self.under_way.clear();
                    self.count("exported", spans.saturating_sub(taken.rejected));
                    self.count("rejected", taken.rejected);
                    self.say_rejected(taken);
                }
                Outcome::Failed(why) => {
                    self.under_way.clear();
                    self.count("failed", spans);
                    if let Some(spans) = self.refused.happened(spans) {
                        tracing::warn!(reason = why, spans, "the collector does not take spans");
                    }
                    self.pause(REST).await;
                }
            }
        }
    }

    fn say_rejected(&mut self, taken: Taken) {
        if taken == Taken::default() {
            return;
        }
        let Some(spans) = self.rejected.happened(taken.rejected) else {
            return;
        };
        // Quoted: these are a stranger's words.
        let said = taken.words.unwrap_or_default();
        match spans {
            0 => tracing::warn!(?said, "the collector took all spans, and warns"),
            _ => tracing::warn!(spans, ?said, "the collector rejected a part of the spans"),
        }
    }

    fn count(&self, result: &'static str, by: u64) {
        if by > 0 {
            let label = ResultLabel { result };
            self.metrics.spans.get_or_create(&label).inc_by(by);
        }
    }

    fn drop_all(&mut self, why: &str) {
        let (left, dropped) = self.metrics.traces.take(usize::MAX);
        let under_way = std::mem::take(&mut self.under_way);
        let lost = (left.len() + under_way.len()) as u64 + dropped;
        self.count("dropped", lost);
        if lost > 0 {
            tracing::warn!(spans = lost, "{why}");
        }
    }

    async fn export(&mut self, body: Bytes, spans: u64) -> Outcome {
        let mut step = PAUSE;
        let mut tried = 0;
        loop {
            self.leave_alone().await;
            let Some(collector) = self.wanted.borrow_and_update().clone() else {
                return Outcome::Nobody;
            };
            let (why, asked) = match self.send(&collector, body.clone(), spans).await {
                Verdict::Taken(taken) => return Outcome::Taken(taken),
                Verdict::Never { why } => return Outcome::Failed(why),
                Verdict::Later { why, asked } => (why, asked),
            };
            tried += 1;
            if let Some(asked) = asked {
                self.asked = Some(Instant::now() + asked.clamp(PAUSE, ASKED_MAX));
            }
            if tried == TRIES {
                return Outcome::Failed(why);
            }
            if asked.is_none() {
                let drawn = step.mul_f64(0.5 + self.random.next_unit() / 2.0);
                self.pause(drawn).await;
            }
            step *= 2;
        }
    }

    async fn send(&self, collector: &Collector, body: Bytes, spans: u64) -> Verdict {
        let to = Destination::new(DestinationName::new("otlp"), collector.endpoint.clone());
        let target = Target::new(&to, None);
        let Some(request) = request(collector, body) else {
            return Verdict::Never { why: "unsendable" };
        };
        let sent = timeout(TIMEOUT, self.transport.send(&target, request, TIMEOUT));
        let answer = sent.await.unwrap_or(Err(AttemptError::Timeout));
        answer::read(answer, spans, self.clock.now())
    }

    /// Until the time is over for which the collector asked.
    async fn leave_alone(&mut self) {
        if let Some(asked) = self.asked {
            let time = asked.saturating_duration_since(Instant::now());
            self.pause(time).await;
            self.asked = None;
        }
    }

    /// Waits so long, or until the settings name another collector than the one that was sent to
    /// last: that one asked for nothing.
    async fn pause(&mut self, time: Duration) {
        let mut wanted = self.wanted.clone();
        if timeout(time, changed(&mut wanted)).await.is_ok() {
            self.asked = None;
        }
    }
}

/// Returns when there is another collector; never where nobody is left to name one.
async fn changed(wanted: &mut Receiver<Option<Arc<Collector>>>) {
    if wanted.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn request(collector: &Collector, body: Bytes) -> Option<Outgoing> {
    let endpoint = &collector.endpoint;
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.path.parse::<Uri>().ok()?;
    let fields = request.headers_mut();
    fields.extend(collector.headers.clone());
    fields.insert(HOST, HeaderValue::try_from(&endpoint.authority).ok()?);
    let protobuf = HeaderValue::from_static("application/x-protobuf");
    fields.insert(CONTENT_TYPE, protobuf);
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let agent = concat!("callseal/", env!("CARGO_PKG_VERSION"));
    fields.insert(USER_AGENT, HeaderValue::from_static(agent));
    Some(request)
}

#[cfg(test)]
mod tests;
