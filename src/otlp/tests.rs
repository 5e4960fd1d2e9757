//! The exporter against a collector of our own, and what it writes against the types of OpenTelemetry.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use http::StatusCode;
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as TheirValue;
use tokio::sync::watch;

use super::*;
use crate::clock::{TimerClock, Timestamp};
use crate::inbox::store::{Pending, Response};
use crate::random::SeededRandom;
use crate::relay::client::Answered;
use crate::settings::collector;
use crate::telemetry::trace::{Kind, QUEUE_MAX, SpanId, TraceId, Value};

fn span(n: u64) -> Span {
    Span {
        trace: TraceId(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        id: SpanId::new(n),
        parent: Some(SpanId::new(7)),
        state: Some("a=1".to_owned()),
        name: "attempt",
        kind: Kind::Client,
        start: Timestamp::from_millis(1_700_000_000_123),
        from: Duration::from_micros(5),
        took: Duration::from_millis(2),
        attributes: vec![
            ("callseal.source", Value::Text("shop".to_owned())),
            ("callseal.attempt", Value::Number(2)),
            ("callseal.result", Value::Word("retry")),
        ],
        error: Some("status_5xx"),
    }
}

mod throttle;

/// What we write is what OpenTelemetry's own types read.
#[test]
fn spans_are_read_by_the_types_that_opentelemetry_generates() {
    let bytes = message::request(&[span(0xb7ad), span(9)], "shop-gateway").encode_to_vec();
    let read = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
    let resource = read.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(resource.attributes[0].key, "service.name");
    let scope = &read.resource_spans[0].scope_spans[0];
    assert_eq!(scope.spans.len(), 2);
    let first = &scope.spans[0];
    assert_eq!(
        first.trace_id,
        data_encoding::HEXLOWER
            .decode(b"0af7651916cd43dd8448eb211c80319c")
            .unwrap()
    );
    assert_eq!(first.span_id, [0, 0, 0, 0, 0, 0, 0xb7, 0xad]);
    assert_eq!(first.parent_span_id, [0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!((first.name.as_str(), first.kind), ("attempt", 3));
    assert_eq!(first.trace_state, "a=1");
    assert_eq!(first.start_time_unix_nano, 1_700_000_000_123_005_000);
    assert_eq!(first.end_time_unix_nano, 1_700_000_000_125_005_000);
    assert_eq!(first.status.as_ref().unwrap().code, 2);
    let value = |key: &str| {
        let found = first.attributes.iter().find(|a| a.key == key).unwrap();
        found.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(value("callseal.attempt"), TheirValue::IntValue(2));
    let text = |text: &str| TheirValue::StringValue(text.to_owned());
    assert_eq!(value("callseal.source"), text("shop"));
    assert_eq!(value("callseal.result"), text("retry"));
    assert_eq!(value("error.type"), text("status_5xx"));
}

/// Answers as it is told to, else with one status, and keeps what it was sent.
struct Local {
    status: AtomicU16,
    /// The next answers, before the status counts.
    answers: Mutex<VecDeque<Answered>>,
    /// How many spans came, where to and when.
    seen: Mutex<Vec<usize>>,
    came: Mutex<Vec<(String, Instant)>>,
}

impl Local {
    fn saying(status: u16) -> Arc<Self> {
        Arc::new(Local {
            status: AtomicU16::new(status),
            answers: Mutex::default(),
            seen: Mutex::default(),
            came: Mutex::default(),
        })
    }
}

fn answered(status: u16) -> Answered {
    Answered {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        response: Response::default(),
    }
}

impl Transport for Arc<Local> {
    fn send<'a>(
        &'a self,
        to: &'a Target,
        request: Outgoing,
        _within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            assert_eq!(head.uri, "/v1/traces");
            assert_eq!(head.headers["content-type"], "application/x-protobuf");
            assert_eq!(head.headers["authorization"], "Bearer x");
            let body = body.collect().await.unwrap().to_bytes();
            let read = ExportTraceServiceRequest::decode(body).unwrap();
            let spans = read.resource_spans[0].scope_spans[0].spans.len();
            self.seen.lock().unwrap().push(spans);
            let came = (to.address.authority.clone(), Instant::now());
            self.came.lock().unwrap().push(came);
            let next = self.answers.lock().unwrap().pop_front();
            Ok(next.unwrap_or_else(|| answered(self.status.load(Ordering::SeqCst))))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let collector = Local::saying(503);
    let metrics = Metrics::new();
    metrics.traces.begin(1.0);
    let named = Named::new(named("http://127.0.0.1:4318"));
    let exporter = exporter(&collector, &metrics, &named);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(exporter.run(stopped));
    let count = |result| {
        metrics
            .spans
            .get(&ResultLabel { result })
            .map_or(0, |c| c.get())
    };
    metrics.traces.add(vec![span(1), span(2)], true);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(*collector.seen.lock().unwrap(), [2; TRIES as usize]);
    assert_eq!((count("failed"), count("exported")), (2, 0));
    // A flood while nobody takes it: adding returns at once, and what does not fit is counted.
    for n in 0..=QUEUE_MAX as u64 {
        metrics.traces.add(vec![span(n)], true);
    }
    collector.status.store(200, Ordering::SeqCst);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(count("dropped"), 1);
    assert_eq!(count("exported"), QUEUE_MAX as u64);
    // A fault of ours is not tried again.
    collector.status.store(400, Ordering::SeqCst);
    collector.seen.lock().unwrap().clear();
    metrics.traces.add(vec![span(1)], true);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(*collector.seen.lock().unwrap(), [1]);
    // The end of the process sends what is there.
    collector.status.store(200, Ordering::SeqCst);
    metrics.traces.add(vec![span(1)], true);
    stop.send(true).unwrap();
    running.await.unwrap();
    assert_eq!(count("exported"), QUEUE_MAX as u64 + 1);
}

type Named = watch::Sender<Option<Arc<Collector>>>;

fn named(endpoint: &str) -> Option<Arc<Collector>> {
    let authorization = (
        http::header::AUTHORIZATION,
        HeaderValue::from_static("Bearer x"),
    );
    Some(Arc::new(Collector {
        endpoint: collector(endpoint).unwrap(),
        headers: [authorization].into_iter().collect(),
    }))
}

fn exporter(local: &Arc<Local>, metrics: &Metrics, named: &Named) -> Exporter {
    Exporter::new(
        Arc::new(local.clone()),
        metrics.clone(),
        Arc::new(TimerClock::starting_at(Timestamp::from_secs(1_700_000_000))),
        Arc::new(SeededRandom::new(1)),
        named.subscribe(),
        "callseal".to_owned(),
    )
}

/// The end comes while a request is tried again and more spans wait: all of them are counted.
#[tokio::test(start_paused = true)]
async fn no_span_is_lost_uncounted_at_the_end() {
    for back in [false, true] {
        let collector = Local::saying(503);
        let metrics = Metrics::new();
        metrics.traces.begin(1.0);
        let named = Named::new(named("http://127.0.0.1:4318"));
        let exporter = exporter(&collector, &metrics, &named);
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(exporter.run(stopped));
        metrics.traces.add(vec![span(1), span(2)], true);
        sleep(Duration::from_secs(4)).await;
        assert!(!collector.seen.lock().unwrap().is_empty());
        metrics.traces.add(vec![span(3)], true);
        for n in 0..=QUEUE_MAX as u64 {
            metrics.traces.add(vec![span(n)], true);
        }
        if back {
            collector.status.store(200, Ordering::SeqCst);
        }
        stop.send(true).unwrap();
        running.await.unwrap();
        let count = |result| {
            let label = ResultLabel { result };
            metrics.spans.get(&label).map_or(0, |c| c.get())
        };
        let all = QUEUE_MAX as u64 + 4;
        assert_eq!(count("exported") + count("dropped") + count("failed"), all);
        match back {
            // What did not fit into the queue, and nothing else.
            true => assert_eq!(count("dropped"), 2),
            false => assert_eq!(count("exported"), 0),
        }
    }
}
