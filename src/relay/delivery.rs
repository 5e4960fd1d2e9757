//! One attempt: read, build, send, decide, settle. The body is in memory for as long as this takes.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Timestamp;
use crate::inbox::store::{Attempt, Lease, Next, Response, State, StoreError, StoredEvent};
use crate::message::{EventId, LaneName, SourceName};
use crate::relay::client::{Answered, KEPT_MAX, Transport};
use crate::relay::error::AttemptError;
use crate::relay::health::Health;
use crate::relay::lane::Permit;
use crate::relay::retry::{self, Outcome};
use crate::relay::{Active, Relay, Unwritten, request, trace};
use crate::rule::AnswerMode;
use crate::rule::relay::Overtaken;
use crate::telemetry::field;
use crate::telemetry::news::News;
use crate::telemetry::trace::{Kind, Span, SpanId, Value};

/// How much longer than its attempt a lease lasts: time to read the event and to write down what
/// came of it, also when the store is slow.
pub const LEASE_MARGIN: Duration = Duration::from_secs(30);

/// Times that the store is asked for an event before its lease is left to run out.
const READS: u32 = 5;

/// What a failing store is given before it is asked again.
pub fn backoff(failures: u32) -> Duration {
    let doubled = Duration::from_millis(100).saturating_mul(1 << failures.min(10));
    doubled.min(Duration::from_secs(5))
}

/// A leased delivery, with all that its attempt needs.
pub struct Delivery {
    pub relay: Arc<Relay>,
    pub transport: Arc<dyn Transport>,
    pub active: Arc<Active>,
    pub lease: Lease,
    /// Held until the attempt is written down: so after a crash no more deliveries are repeated
    /// than may be under way at once.
    pub permit: Permit,
}

/// What the worker must know of an attempt that ended.
pub struct Ended {
    pub lane: LaneName,
    /// When something of the lane falls due by it, if so.
    pub retry_at: Option<Timestamp>,
}

/// How an attempt went.
struct Tried {
    started_at: Timestamp,
    took: Duration,
    result: Result<Answered, AttemptError>,
    /// None when the event could not be read.
    received_at: Option<Timestamp>,
    /// What the application was told it belongs to; none when it was told nothing.
    context: Option<trace::Context>,
}

impl Delivery {
    pub async fn run(mut self) -> Ended {
        let (next, attempt) = self.attempt().await.unzip();
        self.relay.answers.tell(self.lease.id, &attempt);
        let retry_at = match next {
            Some(Next::Retry { at }) => Some(at),
            // The next in the order may go now.
            _ if self.active.route.to.order_by.is_some() => Some(self.relay.clock.now()),
            Some(Next::Delivered | Next::Dead { .. }) | None => None,
        };
        let lane = self.active.route.lane();
        drop(self.permit);
        Ended { lane, retry_at }
    }

    fn source(&self) -> &SourceName {
        &self.active.route.rule.name
    }

    /// None when nothing could be written down: the lease runs out, and the delivery is tried again.
    async fn attempt(&mut self) -> Option<(Next, Attempt)> {
        let tried = match self.read().await {
            Ok(event) => {
                let overtaken = self.overtaken().await;
                if let Some(by) = self.skips(&event, overtaken) {
                    self.supersede(by).await;
                    return None;
                }
                self.send(event, overtaken).await
            }
            Err(ReadError::Event(error)) => Tried {
                started_at: self.relay.clock.now(),
                took: Duration::ZERO,
                result: Err(error),
                received_at: None,
                context: None,
            },
            Err(ReadError::Store) => return None,
        };
        let now = self.relay.clock.now();
        let outcome = outcome(&tried.result, now);
        let policy = &self.active.route.to.retry;
        let (health, random) = (
            Health::of(&tried.result).at(self.lease.attempt),
            &*self.relay.random,
        );
        self.permit.report(self.lease.id, health, now, random);
        let spent = retry::Spent {
            lease: &self.lease,
            held: self.active.lane.held(self.lease.since, now),
        };
        let next = match retry::decide(policy, spent, now, outcome, random) {
            // With what it came to at last, so that dead letters can be told apart by their cause.
            Next::Dead { reason } if reason == retry::GAVE_UP => Next::Dead {
                reason: format!("{reason}:{}", code(outcome)),
            },
            next => next,
        };
        self.observe(&tried, outcome, &next);
        let attempt = Attempt {
            number: self.lease.attempt,
            started_at: tried.started_at,
            took: tried.took,
            status: status(&tried.result).map(|status| status.as_u16()),
            error: code(outcome).to_owned(),
            response: tried
                .result
                .ok()
                .map(|answered| self.kept(answered.response)),
        };
        let next = self.settle(attempt.clone(), next).await?;
        self.tell(&attempt, code(outcome), &next);
        Some((next, attempt))
    }

    fn tell(&self, attempt: &Attempt, error: &'static str, next: &Next) {
        self.relay.metrics.news.tell(|| News::Attempt {
            id: self.lease.id,
            source: self.source().clone(),
            destination: self.active.route.to.name.clone(),
            number: attempt.number,
            status: attempt.status,
            error,
            took_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            state: match next {
                Next::Delivered => State::Delivered.as_str(),
                Next::Retry { .. } => State::Owed.as_str(),
                Next::Dead { .. } => State::Dead.as_str(),
            },
        });
    }

    /// So much of an answer as is written down: all that the provider may hear, where it hears it.
    fn kept(&self, mut response: Response) -> Response {
        let route = &self.active.route;
        let heard =
            route.to.name.is_main() && matches!(route.rule.answer, AnswerMode::Destination { .. });
        let most = if heard { KEPT_MAX } else { BODY_KEPT };
        if response.body.len() > most {
            let kept = response.body.get(..most).unwrap_or_default();
            response.body = Bytes::copy_from_slice(kept);
            response.cut = true;
        }
        response
    }

    /// The event that has overtaken this one, where the source asks for it. When the store does not
    /// say, none: what is sent once too often costs less than what is not sent.
    async fn overtaken(&self) -> Option<EventId> {
        self.active.route.rule.relay.supersede.as_ref()?;
        match self.relay.store.overtaken(self.lease.id).await {
            Ok(by) => by,
            Err(error) => {
                self.store_failed("whether the event was overtaken is not known", &error);
                None
            }
        }
    }

    /// Not to be sent, since this event says it all. What an operator redrives is sent all the
    /// same.
    fn skips(&self, event: &StoredEvent, overtaken: Option<EventId>) -> Option<EventId> {
        let rule = self.active.route.rule.relay.supersede.as_ref()?;
        let redriven = self.lease.since != event.received_at;
        match rule.then {
            Overtaken::Skip if !redriven => overtaken,
            Overtaken::Skip | Overtaken::Mark => None,
        }
    }

    async fn supersede(&self, by: EventId) {
        let lease = self.lease.clone();
        match self.relay.store.supersede(lease, by).await {
            Ok(()) => {
                self.relay.metrics.news.tell(|| News::State {
                    id: self.lease.id,
                    source: self.source().clone(),
                    state: State::Superseded.as_str(),
                    reason: by.to_string(),
                    by: String::new(),
                });
                tracing::info!(
                    { field::EVENT } = %self.lease.id,
                    { field::SOURCE } = %self.source(),
                    { field::DESTINATION } = %self.active.route.to.name,
                    { field::VERDICT } = "superseded",
                    "not sent: {by} is later"
                );
            }
            // Its lease runs out, and it is looked at again.
            Err(error) => self.store_failed("that it was overtaken is not written down", &error),
        }
    }

    async fn read(&self) -> Result<StoredEvent, ReadError> {
        for failures in 0..READS {
            match self.relay.store.read(self.lease.id).await {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => return Err(ReadError::Event(AttemptError::Missing)),
                Err(StoreError::Damaged { .. }) => {
                    return Err(ReadError::Event(AttemptError::Damaged));
                }
                Err(error) => self.store_failed("the event cannot be read", &error),
            }
            sleep(backoff(failures)).await;
        }
        Err(ReadError::Store)
    }

    /// Takes the event, so that its body is gone before anyone waits for the store again.
    async fn send(&mut self, event: StoredEvent, overtaken: Option<EventId>) -> Tried {
        let route = &self.active.route;
        let started_at = self.relay.clock.now();
        let begun = Instant::now();
        let to = &self.active.target;
        let sign_with = route.sign_with.as_ref();
        let (id, random) = (self.lease.id.event(), &*self.relay.random);
        let traces = &self.relay.metrics.traces;
        let context = trace::Context::begin(traces, &event.headers, id, random);
        let request = request::build(
            &event,
            &self.lease,
            overtaken,
            &to.address,
            sign_with,
            started_at,
            &context,
        );
        let received_at = event.received_at;
        drop(event);
        let result = match request {
            Ok(request) => {
                let within = route.to.timeout;
                self.permit.begin();
                let sent = timeout(within, self.transport.send(to, request, within)).await;
                sent.unwrap_or(Err(AttemptError::Timeout))
            }
            Err(error) => Err(error),
        };
        Tried {
            started_at,
            took: begun.elapsed(),
            result,
            received_at: Some(received_at),
            context: Some(context),
        }
    }

    /// Writes the attempt down, for as long as the lease lasts; and for as long as the store writes
    /// nothing at all (a full disk, one that became read-only), since then nobody is given another
    /// lease either, and what was delivered must not be delivered anew every time it runs out.
    async fn settle(&self, attempt: Attempt, next: Next) -> Option<Next> {
        let mut failures = 0;
        let mut unwritten = None;
        loop {
            let error = match self
                .relay
                .store
                .settle(self.lease.clone(), attempt.clone(), next.clone())
                .await
            {
                Ok(()) => return Some(next),
                Err(error) => error,
            };
            self.store_failed("the attempt is not written down", &error);
            match error {
                StoreError::Unavailable(_) => {
                    unwritten.get_or_insert_with(|| Unwritten::new(&self.relay));
                }
                StoreError::Io { .. } => unwritten = None,
                // Someone else decides now, or nobody: after `Unknown` the process ends.
                StoreError::LeaseLost
                | StoreError::Unknown
                | StoreError::Damaged { .. }
                | StoreError::Closed => {
                    return None;
                }
            }
            if unwritten.is_none() && self.relay.clock.now() >= self.lease.until {
                return None;
            }
            sleep(backoff(failures)).await;
            failures += 1;
        }
    }

    fn store_failed(&self, what: &'static str, error: &StoreError) {
        tracing::warn!(
            { field::EVENT } = %self.lease.id,
            { field::SOURCE } = %self.source(),
            { field::DESTINATION } = %self.active.route.to.name,
            { field::ATTEMPT } = self.lease.attempt,
            { field::REASON } = error.code(),
            "{what}: {error}"
        );
    }

    /// The attempt as a part of its callback's trace.
    fn span(&self, tried: &Tried, reason: &'static str, verdict: &'static str) {
        let Some(context) = &tried.context else {
            return;
        };
        let Some(id) = context.span else { return };
        let (route, event) = (&self.active.route, self.lease.id.event());
        let mut attributes = vec![
            ("callseal.event", Value::Event(event)),
            ("callseal.source", Value::Source(self.source().clone())),
            (
                "callseal.destination",
                Value::Destination(route.to.name.clone()),
            ),
            ("callseal.attempt", Value::Number(self.lease.attempt.into())),
            ("callseal.result", Value::Word(verdict)),
            ("server.address", Value::Text(route.to.forward.host.clone())),
            ("server.port", Value::Number(route.to.forward.port.into())),
        ];
        if let Some(status) = status(&tried.result) {
            let status = Value::Number(status.as_u16().into());
            attributes.push(("http.response.status_code", status));
        }
        let span = Span {
            trace: context.trace,
            id,
            parent: Some(SpanId::of_acceptance(event)),
            state: context.kept_state(),
            name: "attempt",
            kind: Kind::Client,
            start: tried.started_at,
            from: Duration::ZERO,
            took: tried.took,
            attributes,
            error: (!reason.is_empty()).then_some(reason),
        };
        self.relay.metrics.traces.add(vec![span], true);
    }

    fn observe(&self, tried: &Tried, outcome: Outcome, next: &Next) {
        let verdict = match next {
            Next::Delivered => "delivered",
            Next::Retry { .. } => "retry",
            Next::Dead { .. } => "dead",
        };
        let metrics = &self.relay.metrics;
        let (error, now) = (code(outcome), self.relay.clock.now());
        metrics.figures.on(Some(self.source()), |source| {
            source.attempt(error.is_empty(), tried.took);
        });
        let lane = &self.active.lane;
        lane.ended(error, now);
        let trace = tried.context.as_ref().map(|context| context.trace);
        let series = lane.series();
        let seen = trace.and_then(|trace| metrics.exemplar(trace, now));
        series.attempt(verdict, error, tried.took, seen);
        if let (Next::Delivered, Some(received_at)) = (next, tried.received_at) {
            series.delivered(now.since(received_at));
        }
        self.span(tried, error, verdict);
        let said: &dyn Display = match &outcome {
            Outcome::Taken => &"taken",
            Outcome::Failed { error, .. } => error,
        };
        tracing::info!(
            { field::EVENT } = %self.lease.id,
            { field::SOURCE } = %self.source(),
            { field::DESTINATION } = %self.active.route.to.name,
            { field::ATTEMPT } = self.lease.attempt,
            { field::VERDICT } = verdict,
            { field::STATUS } = status(&tried.result).map(|status| status.as_u16()),
            { field::REASON } = code(outcome),
            { field::TOOK_US } = u64::try_from(tried.took.as_micros()).unwrap_or(u64::MAX),
            "attempt: {said}"
        );
    }
}

enum ReadError {
    /// The event can never be sent.
    Event(AttemptError),
    /// The store fails; the event may be all right.
    Store,
}

fn status(result: &Result<Answered, AttemptError>) -> Option<StatusCode> {
    match result {
        Ok(answered) => Some(answered.status),
        Err(error) => error.status(),
    }
}

/// Only 2xx is taken.
fn outcome(result: &Result<Answered, AttemptError>, now: Timestamp) -> Outcome {
    let answered = match result {
        Ok(answered) => answered,
        Err(error) => {
            return Outcome::Failed {
                error: *error,
                retry_after: None,
            };
        }
    };
    let status = answered.status;
    if status.is_success() {
        return Outcome::Taken;
    }
    let error = if status == StatusCode::GONE {
        AttemptError::Gone
    } else if status.is_redirection() {
        AttemptError::Redirect(status)
    } else {
        AttemptError::Status(status)
    };
    let retry_after = answered
        .retry_after
        .as_ref()
        .and_then(|value| retry::retry_after(value, now));
    Outcome::Failed { error, retry_after }
}

/// So much of an answer's body is written down.
const BODY_KEPT: usize = 4 << 10;

/// Stable code of what went wrong; empty when nothing did.
fn code(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Taken => "",
        Outcome::Failed { error, .. } => error.code(),
    }
}
