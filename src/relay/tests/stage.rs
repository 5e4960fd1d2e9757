//! What the tests stand on: rules made by hand, a plain store, a destination that follows a script.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::clock::{Clock, Timestamp};
use crate::inbox::store::plain::{PlainStore, verified_event};
use crate::inbox::store::{Attempt, Pending, Row, Store, StoredEvent};
use crate::message::{Answer, DestinationName, EventId, Headers, SourceName};
use crate::random::SeededRandom;
use crate::relay::client::{Answered, Transport};
use crate::relay::error::AttemptError;
use crate::relay::request::Outgoing;
use crate::relay::target::Target;
use crate::relay::{Relay, Route, Waker};
use crate::rule::provider::{Category, Contract, EventIdentity, Evidence, Provider};
use crate::rule::{
    Address, Answers, Destination, GuardMode, GuardRule, InboxRule, Jitter, RelayRule, RetryPolicy,
    Rule,
};
use crate::telemetry::Metrics;

/// 2026-01-01T00:00:00Z
pub const START: Timestamp = Timestamp::from_secs(1_767_225_600);

pub fn rule(name: &str) -> Rule {
    let answer = Answer::empty(StatusCode::OK);
    let answers = Answers {
        accepted: answer.clone(),
        duplicate: answer.clone(),
        rejected: answer.clone(),
        overloaded: answer,
    };
    let provider = Provider {
        name: "stripe".into(),
        title: "Stripe".into(),
        docs: String::new(),
        category: Category::Payments,
        evidence: Evidence::Documented,
        unconfirmed: Vec::new(),
        notes: Vec::new(),
        methods: vec![Method::POST],
        schemes: Vec::new(),
        also: Vec::new(),
        unverified_reason: Some("a test of the relay".into()),
        freshness: None,
        event: EventIdentity {
            ids: Vec::new(),
            id_signed: false,
            kind: None,
            repeats: None,
            content: None,
        },
        parts: Vec::new(),
        payment: None,
        asserts: Vec::new(),
        split: None,
        decrypt: None,
        query_back: None,
        challenges: Vec::new(),
        answers,
        contract: Contract::default(),
        config: BTreeMap::new(),
        secrets: BTreeMap::new(),
        examples: Vec::new(),
    };
    Rule {
        name: SourceName::new(name),
        provider: Arc::new(provider),
        path: format!("/{name}"),
        url: None,
        config: BTreeMap::new(),
        keys: Vec::new(),
        secrets: BTreeMap::new(),
        guard: GuardRule {
            allow: None,
            mode: GuardMode::Enforce,
            per_ip: None,
            total: None,
            body_max: 1 << 20,
        },
        tolerance: None,
        inbox: InboxRule {
            keys: Vec::new(),
            key_signed: false,
            business: None,
            content: None,
            on_conflict: Default::default(),
            keep: Duration::from_secs(7 * 24 * 3600),
        },
        relay: RelayRule {
            main: Destination {
                retry: RetryPolicy {
                    jitter: Jitter::None,
                    ..RetryPolicy::default()
                },
                // Where a test is not about it, all of `concurrency` from the first moment on.
                adaptive: false,
                ..Destination::new(DestinationName::main(), destination(3000))
            },
            more: Vec::new(),
            query_as_received: false,
            supersede: None,
        },
        answer: Default::default(),
        file: None,
    }
}

pub fn destination(port: u16) -> Address {
    Address {
        https: false,
        host: "127.0.0.1".into(),
        port,
        path: "/hook".into(),
        authority: format!("127.0.0.1:{port}"),
        socket: None,
    }
}

/// The route to the first destination.
pub fn route(rule: Rule) -> Route {
    let to = Arc::new(rule.relay.main.clone());
    Route {
        rule: Arc::new(rule),
        to,
        sign_with: None,
        tls: None,
    }
}

/// Routes to all destinations.
pub fn routes(rule: Rule) -> Vec<Route> {
    let rule = Arc::new(rule);
    let each = rule.relay.destinations().map(|to| Route {
        rule: rule.clone(),
        to: Arc::new(to.clone()),
        sign_with: None,
        tls: None,
    });
    each.collect()
}

pub fn event(source: &str) -> StoredEvent {
    StoredEvent {
        source: SourceName::new(source),
        provider: "stripe".into(),
        received_at: START,
        peer: [192, 0, 2, 1].into(),
        method: "POST".into(),
        target: format!("/{source}"),
        headers: Headers::new(),
        body: Bytes::from_static(b"{}"),
        event_key: "e".into(),
        event_type: "paid".into(),
        verified: "hmac-sha256 keys[0]".into(),
        conflict_of: None,
        payment: None,
    }
}

/// What a destination does with one request.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    /// A status after a while.
    Slow(Duration, u16),
    Fail(AttemptError),
    RetryAfter(u16, &'static str),
    /// No answer at all.
    Hang,
    Panic,
}

/// One request that a destination saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub at: Timestamp,
    /// As `at`, by a clock that never steps.
    pub since: Duration,
    /// Which process sent it: how many crashes came before.
    pub process: usize,
    pub source: String,
    pub event: String,
    pub attempt: u32,
}

/// A destination without sockets. Replies come from the source's script, then from its default.
pub struct Scripted {
    clock: Arc<dyn Clock>,
    began: Instant,
    state: Mutex<ScriptState>,
}

#[derive(Default)]
struct ScriptState {
    scripts: HashMap<String, VecDeque<Reply>>,
    defaults: HashMap<String, Reply>,
    /// By event, before all others.
    events: HashMap<String, Reply>,
    seen: Vec<Seen>,
    superseded: HashMap<String, String>,
    processes: usize,
    under_way: HashMap<String, usize>,
    most: HashMap<String, usize>,
}

/// Counts an attempt for as long as its future lives.
struct UnderWay<'a>(&'a Scripted, String);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *self
            .0
            .state
            .lock()
            .unwrap()
            .under_way
            .get_mut(&self.1)
            .unwrap() -= 1;
    }
}

impl Scripted {
    pub fn script(&self, source: &str, replies: impl IntoIterator<Item = Reply>) {
        self.state
            .lock()
            .unwrap()
            .scripts
            .entry(source.into())
            .or_default()
            .extend(replies);
    }

    pub fn always(&self, source: &str, reply: Reply) {
        self.state
            .lock()
            .unwrap()
            .defaults
            .insert(source.into(), reply);
    }

    /// What this event always gets.
    pub fn poison(&self, id: EventId, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state.events.insert(id.to_string(), reply);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Events that came with the news that they were overtaken, and by which.
    pub fn superseded(&self) -> HashMap<String, String> {
        self.state.lock().unwrap().superseded.clone()
    }

    /// Moments at which requests came, counted from the start.
    pub fn times(&self) -> Vec<Duration> {
        self.seen()
            .iter()
            .map(|seen| seen.at.since(START))
            .collect()
    }

    /// The most requests of a source that were under way at once.
    pub fn most(&self, source: &str) -> usize {
        self.state
            .lock()
            .unwrap()
            .most
            .get(source)
            .copied()
            .unwrap_or(0)
    }

    fn enter(&self, to: &Target, request: &Outgoing) -> (Reply, UnderWay<'_>) {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        let mut source = header("callseal-source");
        // Further destinations have ports of their own.
        if let Some(name) = to.address.port.checked_sub(4000) {
            source = format!("{source} to {}", ["ledger", "risk"][usize::from(name)]);
        }
        let mut state = self.state.lock().unwrap();
        if let Some(by) = request.headers().get("callseal-superseded-by") {
            let by = by.to_str().unwrap().to_owned();
            state.superseded.insert(header("callseal-event"), by);
        }
        let process = state.processes;
        state.seen.push(Seen {
            at: self.clock.now(),
            since: self.began.elapsed(),
            process,
            source: source.clone(),
            event: header("callseal-event"),
            attempt: header("callseal-attempt").parse().unwrap(),
        });
        let now = state.under_way.entry(source.clone()).or_default();
        *now += 1;
        let now = *now;
        let most = state.most.entry(source.clone()).or_default();
        *most = now.max(*most);
        let poisoned = state.events.get(&header("callseal-event")).cloned();
        let mut scripted = || state.scripts.get_mut(&source)?.pop_front();
        let reply = poisoned
            .or_else(&mut scripted)
            .or_else(|| state.defaults.get(&source).cloned())
            .unwrap_or(Reply::Status(200));
        (reply, UnderWay(self, source))
    }
}

impl Transport for Scripted {
    fn send<'a>(
        &'a self,
        to: &'a Target,
        request: Outgoing,
        _within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>> {
        Box::pin(async move {
            let (reply, _under_way) = self.enter(to, &request);
            let answered = |status: u16| Answered {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: None,
                response: crate::inbox::store::Response {
                    body: Bytes::from(vec![b'a'; 5000]),
                    ..Default::default()
                },
            };
            match reply {
                Reply::Status(status) => Ok(answered(status)),
                Reply::Slow(pause, status) => {
                    sleep(pause).await;
                    Ok(answered(status))
                }
                Reply::Fail(error) => Err(error),
                Reply::RetryAfter(status, value) => Ok(Answered {
                    retry_after: Some(Bytes::from_static(value.as_bytes())),
                    ..answered(status)
                }),
                Reply::Hang => std::future::pending().await,
                // Without the hook, which would write it down a thousand times.
                Reply::Panic => std::panic::resume_unwind(Box::new("a transport that panics")),
            }
        })
    }
}

/// A wall clock that goes with the timers and can be made to jump.
pub struct TestClock {
    timer: crate::clock::TimerClock,
    jumped: Mutex<Duration>,
    back: Mutex<Duration>,
}

impl TestClock {
    pub fn jump(&self, by: Duration) {
        *self.jumped.lock().unwrap() += by;
    }

    pub fn jump_back(&self, by: Duration) {
        *self.back.lock().unwrap() += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let ahead = self.timer.now().plus(*self.jumped.lock().unwrap());
        ahead.minus(*self.back.lock().unwrap())
    }
}

type Started = (watch::Sender<bool>, Vec<Waker>, Vec<JoinHandle<()>>);

fn started(relay: &Arc<Relay>, scripted: &Arc<Scripted>, count: usize) -> Started {
    let (stop, stopping) = watch::channel(false);
    let (mut wakers, mut workers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let worker = relay.worker_over(scripted.clone());
        wakers.push(worker.waker());
        let drain = Duration::from_secs(20);
        workers.push(tokio::spawn(worker.run(stopping.clone(), drain)));
    }
    (stop, wakers, workers)
}

/// A relay over a plain store and a scripted destination, in a paused runtime.
pub struct Stage {
    pub store: Arc<PlainStore>,
    pub relay: Arc<Relay>,
    pub scripted: Arc<Scripted>,
    pub clock: Arc<TestClock>,
    pub metrics: Metrics,
    pub wakers: Vec<Waker>,
    pub stop: watch::Sender<bool>,
    pub workers: Vec<JoinHandle<()>>,
    accepted: Mutex<u32>,
}

impl Stage {
    pub fn new(rules: Vec<Rule>) -> Self {
        Stage::with_workers(rules, 1)
    }

    pub fn with_workers(rules: Vec<Rule>, count: usize) -> Self {
        let timer = crate::clock::TimerClock::starting_at(START);
        let clock = Arc::new(TestClock {
            timer,
            jumped: Mutex::default(),
            back: Mutex::default(),
        });
        let (store, metrics) = (Arc::new(PlainStore::new()), Metrics::new());
        let random = Arc::new(SeededRandom::new(1));
        let relay = Relay::new(store.clone(), clock.clone(), random, metrics.clone());
        relay.set_routes(rules.into_iter().flat_map(routes).collect());
        let scripted = Arc::new(Scripted {
            clock: clock.clone(),
            began: Instant::now(),
            state: Mutex::default(),
        });
        let (stop, wakers, workers) = started(&relay, &scripted, count);
        Stage {
            store,
            relay,
            scripted,
            clock,
            metrics,
            wakers,
            stop,
            workers,
            accepted: Mutex::default(),
        }
    }

    /// The process ends without a word, and another one begins with the same store.
    pub async fn crash(&mut self, rules: Vec<Rule>, count: usize) {
        for worker in self.workers.drain(..) {
            worker.abort();
            let _ = worker.await;
        }
        self.scripted.state.lock().unwrap().processes += 1;
        let random = Arc::new(SeededRandom::new(2));
        let (store, clock) = (self.store.clone(), self.clock.clone());
        self.relay = Relay::new(store, clock, random, self.metrics.clone());
        let routes = rules.into_iter().map(route).collect();
        self.relay.set_routes(routes);
        (self.stop, self.wakers, self.workers) = started(&self.relay, &self.scripted, count);
    }

    /// Accepts one event at the present moment, without telling anyone.
    pub async fn accept(&self, source: &str) -> EventId {
        let key = {
            let mut accepted = self.accepted.lock().unwrap();
            *accepted += 1;
            accepted.to_be_bytes()
        };
        let event = StoredEvent {
            received_at: self.clock.now(),
            ..event(source)
        };
        self.store
            .accept(verified_event(event, &key))
            .await
            .unwrap()
            .id()
    }

    /// As the pipeline does it: accepts, then wakes the worker of its core.
    pub async fn accept_and_wake(&self, source: &str) -> EventId {
        let id = self.accept(source).await;
        self.wakers[0].wake(&SourceName::new(source));
        id
    }

    pub async fn row(&self, id: EventId) -> Row {
        self.store.row(id).await.unwrap().unwrap()
    }

    pub async fn attempts(&self, id: EventId) -> Vec<Attempt> {
        self.store.attempts(id).await.unwrap()
    }

    pub async fn errors(&self, id: EventId) -> Vec<String> {
        self.attempts(id)
            .await
            .into_iter()
            .map(|attempt| attempt.error)
            .collect()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn elapsed(&self) -> Duration {
        self.clock.now().since(START)
    }
}

pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
