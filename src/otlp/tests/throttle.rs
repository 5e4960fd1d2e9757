//! Collectors that ask for patience, take a part, or are exchanged, in virtual time.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};

use super::*;

/// An exporter with its collector, and what came of its spans.
struct Stage {
    local: Arc<Local>,
    metrics: Metrics,
    named: Named,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
}

const FIRST: &str = "http://127.0.0.1:4318";
const OTHER: &str = "http://127.0.0.2:4318";

impl Stage {
    fn new(first: Option<Arc<Collector>>, answers: impl IntoIterator<Item = Answered>) -> Self {
        let local = Local::saying(200);
        local.answers.lock().unwrap().extend(answers);
        let metrics = Metrics::new();
        metrics.traces.begin(1.0);
        let named = Named::new(first);
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(exporter(&local, &metrics, &named).run(stopped));
        Stage {
            local,
            metrics,
            named,
            stop,
            running,
        }
    }

    fn add(&self, spans: u64) {
        let spans = (1..=spans).map(span).collect();
        self.metrics.traces.add(spans, true);
    }

    fn count(&self, result: &'static str) -> u64 {
        let label = ResultLabel { result };
        self.metrics.spans.get(&label).map_or(0, |c| c.get())
    }

    /// Seconds between the requests.
    fn gaps(&self) -> Vec<u64> {
        let came = self.local.came.lock().unwrap();
        let pairs = came.windows(2);
        pairs.map(|w| (w[1].1 - w[0].1).as_secs()).collect()
    }

    /// How long the end took.
    async fn end(self) -> Duration {
        let begun = Instant::now();
        self.stop.send(true).unwrap();
        self.running.await.unwrap();
        begun.elapsed()
    }
}

fn later(status: u16, retry_after: &'static str) -> Answered {
    Answered {
        retry_after: Some(Bytes::from_static(retry_after.as_bytes())),
        ..answered(status)
    }
}

fn partial(rejected: i64, words: &str) -> Answered {
    let answer = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: rejected,
            error_message: words.to_owned(),
        }),
    };
    let content = (
        "content-type".to_owned(),
        "application/x-protobuf".to_owned(),
    );
    Answered {
        response: Response {
            headers: vec![content],
            body: answer.encode_to_vec().into(),
            ..Response::default()
        },
        ..answered(200)
    }
}

/// Each of the four statuses that may be tried again, with both forms of the field.
#[tokio::test(start_paused = true)]
async fn a_collector_is_left_alone_for_as_long_as_it_asks() {
    // The clock of the stage starts at 2023-11-14T22:13:20Z, and the request goes out two seconds on.
    let date = "Tue, 14 Nov 2023 22:15:02 GMT";
    for (status, field, wait) in [
        (429, "37", 37),
        (503, "37", 37),
        (502, "37", 37),
        (504, "37", 37),
        (503, date, 100),
        // Never sooner than we would have come ourselves, nor as late as somebody may wish.
        (429, "0", 1),
        (503, "86400", 600),
    ] {
        let stage = Stage::new(named(FIRST), [later(status, field)]);
        stage.add(2);
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(stage.gaps(), [wait], "{status} {field}");
        assert_eq!((stage.count("exported"), stage.count("failed")), (2, 0));
    }
}

/// Without the field, and with one that says nothing, the pauses are ours: they double, each drawn
/// from half of it to all of it.
#[tokio::test(start_paused = true)]
async fn without_a_word_of_it_the_pauses_double() {
    for answer in [answered(429), later(503, "soon")] {
        let stage = Stage::new(named(FIRST), vec![answer; TRIES as usize]);
        stage.add(2);
        sleep(Duration::from_secs(60)).await;
        let came = stage.local.came.lock().unwrap().clone();
        let gaps = came.windows(2).map(|w| w[1].1 - w[0].1);
        for (n, gap) in gaps.enumerate() {
            let step = PAUSE * (1 << n);
            assert!(
                gap >= step / 2 && gap <= step + Duration::from_millis(2),
                "{n}: {gap:?}"
            );
        }
        assert_eq!((came.len(), stage.count("failed")), (TRIES as usize, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_tried_again_is_dropped_and_counted() {
    for status in [301, 400, 401, 403, 404, 408, 413, 500, 501, 505] {
        // Also where it asks to come again: OTLP names the statuses that may be.
        let stage = Stage::new(named(FIRST), [later(status, "1")]);
        stage.add(3);
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(*stage.local.seen.lock().unwrap(), [3], "{status}");
        assert_eq!((stage.count("failed"), stage.count("exported")), (3, 0));
        // The next ones have another chance.
        stage.add(1);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(stage.count("exported"), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_rejected_is_counted_and_not_sent_again() {
    let mut json = partial(3, "x");
    json.response.headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let mut broken = partial(3, "x");
    broken.response.body = Bytes::from_static(b"\xff\xff\xff");
    for (answer, rejected) in [
        (partial(3, "too old"), 3),
        (partial(0, "a warning"), 0),
        // More than it was sent, and less than none.
        (partial(i64::MAX, ""), 5),
        (partial(-7, ""), 0),
        (json, 0),
        (broken, 0),
        (answered(200), 0),
    ] {
        let stage = Stage::new(named(FIRST), [answer]);
        stage.add(5);
        sleep(Duration::from_secs(3600)).await;
        let counts = (stage.count("rejected"), stage.count("exported"));
        assert_eq!(counts, (rejected, 5 - rejected));
        assert_eq!(*stage.local.seen.lock().unwrap(), [5], "once");
        assert_eq!(stage.count("failed") + stage.count("dropped"), 0);
    }
}

/// An hour of batches that are rejected in part: a line in the log each minute at most, and none of
/// what was rejected goes unsaid while it goes on.
#[tokio::test(start_paused = true)]
async fn what_happens_all_the_time_is_said_now_and_then() {
    let mut seldom = Seldom::default();
    let (mut lines, mut said) = (0, 0);
    for _ in 0..3600 {
        if let Some(spans) = seldom.happened(2) {
            (lines, said) = (lines + 1, said + spans);
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!((lines, said), (60, 2 * (3600 - 59)));
}

/// A stranger's words: a beginning of them, and nothing of anybody's data.
#[test]
fn the_collectors_words_are_cut_and_masked() {
    let words = format!("card 4242 4242 4242 4242 {}", "x".repeat(1000));
    let read = answer::read(Ok(partial(1, &words)), 5, Timestamp::default());
    let Verdict::Taken(taken) = read else {
        panic!("{read:?}");
    };
    let said = taken.words.unwrap();
    assert!(said.len() < 300 && !said.contains("4242 4242"), "{said}");
}

/// While it is left alone, what comes is kept up to the bound of the queue, and no further.
#[tokio::test(start_paused = true)]
async fn memory_is_bounded_while_a_collector_asks_for_patience() {
    let stage = Stage::new(named(FIRST), [later(429, "300")]);
    stage.add(2);
    sleep(Duration::from_secs(10)).await;
    for _ in 0..3 * QUEUE_MAX {
        stage.add(1);
    }
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(stage.count("dropped"), 2 * QUEUE_MAX as u64);
    assert_eq!(stage.count("exported"), QUEUE_MAX as u64 + 2);
    assert!(stage.local.seen.lock().unwrap().iter().all(|n| *n <= BATCH));
}

/// The end comes while the collector is to be left alone, hangs, or could soon be asked.
#[tokio::test(start_paused = true)]
async fn no_collector_delays_the_end() {
    for (answer, bound, exported) in [
        (later(503, "300"), Duration::ZERO, 0),
        (later(503, "5"), LAST, 2),
        (answered(503), LAST, 2),
    ] {
        let stage = Stage::new(named(FIRST), [answer]);
        stage.add(2);
        // The first request went out after two seconds.
        sleep(Duration::from_millis(6500)).await;
        if exported == 0 {
            assert_eq!(stage.count("exported"), 0);
        }
        let (metrics, spans) = (stage.metrics.clone(), |metrics: &Metrics, result| {
            let label = ResultLabel { result };
            metrics.spans.get(&label).map_or(0, |c| c.get())
        });
        assert!(stage.end().await <= bound);
        assert_eq!(spans(&metrics, "exported"), exported);
        assert_eq!(spans(&metrics, "dropped"), 2 - exported);
    }
}

/// Another collector asked for nothing: it gets what the one before put off, once.
#[tokio::test(start_paused = true)]
async fn another_collector_gets_what_waits() {
    let stage = Stage::new(named(FIRST), [later(503, "300")]);
    stage.add(2);
    sleep(Duration::from_secs(10)).await;
    stage.add(1);
    stage.named.send_replace(named(OTHER));
    sleep(Duration::from_secs(10)).await;
    let came = stage.local.came.lock().unwrap().clone();
    let to: Vec<&str> = came.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(to, ["127.0.0.1:4318", "127.0.0.2:4318", "127.0.0.2:4318"]);
    assert_eq!(*stage.local.seen.lock().unwrap(), [2, 2, 1]);
    assert_eq!(stage.count("exported"), 3);
    // What this one asks for counts.
    stage
        .local
        .answers
        .lock()
        .unwrap()
        .push_back(later(503, "60"));
    stage.add(1);
    sleep(Duration::from_secs(90)).await;
    assert_eq!(stage.gaps().last(), Some(&60));
}

/// Off: nothing is kept for anybody. On again: the next spans go out.
#[tokio::test(start_paused = true)]
async fn without_a_collector_nothing_waits() {
    let stage = Stage::new(named(FIRST), [later(503, "300")]);
    stage.add(2);
    sleep(Duration::from_secs(10)).await;
    stage.named.send_replace(None);
    stage.metrics.traces.begin(0.0);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.count("dropped"), 2);
    // Of a callback that began before.
    stage.add(1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.count("dropped"), 3);
    assert_eq!(stage.metrics.traces.take(usize::MAX).0.len(), 0);
    stage.metrics.traces.begin(1.0);
    stage.named.send_replace(named(OTHER));
    stage.add(1);
    sleep(Duration::from_secs(10)).await;
    assert_eq!((stage.count("exported"), stage.count("dropped")), (1, 3));
    assert!(stage.end().await <= LAST);
}
