//! The exporter against a collector of our own, and what it writes against the types of OpenTelemetry.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use http::StatusCode;
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as TheirValue;
use tokio::sync::watch;

use super::*;
use crate::clock::Timestamp;
use crate::inbox::store::{Pending, Response};
use crate::relay::AttemptError;
use crate::relay::client::Answered;
use crate::rule::value;
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

/// Answers with one status, and keeps what it was sent.
struct Collector {
    status: AtomicU16,
    seen: Mutex<Vec<usize>>,
}

impl Transport for Arc<Collector> {
    fn send<'a>(
        &'a self,
        _to: &'a Target,
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
            let status = StatusCode::from_u16(self.status.load(Ordering::SeqCst)).unwrap();
            Ok(Answered {
                status,
                retry_after: None,
                response: Response::default(),
            })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let collector = Arc::new(Collector {
        status: AtomicU16::new(503),
        seen: Mutex::default(),
    });
    let metrics = Metrics::new();
    metrics.traces.begin(1.0);
    let endpoint = value::address("http://127.0.0.1:4318/v1/traces").unwrap();
    let headers = [(
        http::header::AUTHORIZATION,
        HeaderValue::from_static("Bearer x"),
    )];
    let exporter = Exporter::new(
        Arc::new(collector.clone()),
        metrics.clone(),
        endpoint,
        headers.into_iter().collect(),
        "callseal".to_owned(),
    );
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

fn stuck() -> Arc<Collector> {
    Arc::new(Collector {
        status: AtomicU16::new(503),
        seen: Mutex::default(),
    })
}

fn exporter(collector: &Arc<Collector>, metrics: &Metrics) -> Exporter {
    let authorization = (
        http::header::AUTHORIZATION,
        HeaderValue::from_static("Bearer x"),
    );
    Exporter::new(
        Arc::new(collector.clone()),
        metrics.clone(),
        value::address("http://127.0.0.1:4318/v1/traces").unwrap(),
        [authorization].into_iter().collect(),
        "callseal".to_owned(),
    )
}

/// The end comes while a request is tried again and more spans wait: all of them are counted.
#[tokio::test(start_paused = true)]
async fn no_span_is_lost_uncounted_at_the_end() {
    for back in [false, true] {
        let collector = stuck();
        let metrics = Metrics::new();
        metrics.traces.begin(1.0);
        let exporter = exporter(&collector, &metrics);
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
