//! The spine: guard, verify, accept, answer. And the only map from what went wrong to what the
//! sender hears.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::guard::{Guards, Refusal};
use crate::inbox::accept::{Accepted, Inbox};
use crate::inbox::store::{Acceptance, Attempt, StoreError, Unavailable, Unstored};
use crate::listener::{Handler, Incoming, Malformed};
use crate::mask;
use crate::message::{Answer, EventId, SourceName};
use crate::random::Random;
use crate::refusals::{Refusals, Refused};
use crate::relay::Waker;
use crate::rule::diagnostic::Diagnostic;
use crate::rule::{AnswerMode, Rule, RuleSet};
use crate::telemetry::figures::Count;
use crate::telemetry::news::News;
use crate::telemetry::series::FETCHED;
use crate::telemetry::{Metrics, field};
use crate::verify::{Rejection, Verdict, Verified, Verifier};

#[cfg(test)]
mod measure;
mod spans;
mod told;

use spans::Marks;
pub use told::Told;

/// Everything that a reload exchanges, exchanged at once: no request sees half of it.
pub struct Loaded {
    pub rules: RuleSet,
    pub guards: Guards,
    pub verifiers: HashMap<SourceName, Verifier>,
}

/// What the pipelines of all cores share.
pub struct Shared {
    pub loaded: ArcSwap<Loaded>,
    pub inbox: Inbox,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub metrics: Metrics,
    pub refusals: Refusals,
    pub told: Told,
    pub reloaded: ArcSwap<Reloaded>,
}

/// How the rules in force came to be, and how the last reload went.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// When the rules in force were taken.
    pub at: Timestamp,
    /// Why the last reload failed; none when it did not.
    pub error: Option<String>,
    /// What was remarked on the rules in force.
    pub warnings: Vec<Diagnostic>,
}

/// The pipeline of one core.
pub struct Pipeline {
    shared: Arc<Shared>,
    waker: Waker,
}

/// What became of a callback, before it is put into an answer.
enum Outcome {
    Accepted(Accepted),
    /// Accepted, and the application has said in time what the provider hears.
    Answered(Accepted, Answer),
    Challenge(Answer),
    Refused(Refusal),
    Rejected(Rejection),
    Overloaded(StoreError),
}

/// What log and refusals say of a request; taken before the request is consumed.
struct Seen {
    peer: IpAddr,
    method: http::Method,
    path: String,
    body_bytes: usize,
    began: Instant,
    marks: Marks,
}

impl Pipeline {
    pub fn new(shared: Arc<Shared>, waker: Waker) -> Rc<Self> {
        Rc::new(Pipeline { shared, waker })
    }

    async fn run(&self, loaded: &Loaded, incoming: Incoming, seen: &mut Seen) -> Outcome {
        let now = self.shared.clock.now();
        // The share is the memory that the body holds; it is given back with the answer.
        let (received, _share) = match loaded.guards.admit(incoming, now).await {
            Ok(admitted) => admitted,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        seen.peer = received.request().peer;
        seen.body_bytes = received.request().body.len();
        seen.marks.admitted(&received.request().headers);
        let Some(verifier) = loaded.verifiers.get(&received.rule().name) else {
            // `Loaded` is made with a verifier for every rule.
            return Outcome::Refused(Refusal::NotFound);
        };
        let verified = match verifier.verify(received, self.shared.clock.now()).await {
            Ok(Verdict::Event(verified)) => verified,
            Ok(Verdict::Challenge(answer)) => return Outcome::Challenge(answer),
            Err(rejection) => return Outcome::Rejected(rejection),
        };
        seen.marks.verified();
        self.undecided(&verified);
        let rule = verified.rule().clone();
        let key = key(&verified, verifier);
        let figures = &self.shared.metrics.figures;
        figures.on(Some(&rule.name), |source| {
            source.sealed(verified.seal(), now);
            if let Some(key) = key {
                source.series().key_used(key);
            }
        });
        match self.shared.inbox.accept(verified).await {
            Ok(accepted) => {
                seen.marks.stored();
                self.answered(&rule, accepted, seen.began).await
            }
            Err(error) => Outcome::Overloaded(error),
        }
    }

    /// The event is durable. Where the source wants it so, the application is asked at once, and its
    /// answer waited for; whatever comes of that, the event is ours.
    async fn answered(&self, rule: &Rule, accepted: Accepted, began: Instant) -> Outcome {
        let AnswerMode::Destination { within } = rule.answer else {
            return Outcome::Accepted(accepted);
        };
        let new = match accepted.acceptance() {
            Acceptance::New(_) | Acceptance::Conflict { .. } => true,
            Acceptance::Duplicate(_) => false,
            Acceptance::Dropped { .. } | Acceptance::Refused { .. } => {
                return Outcome::Accepted(accepted);
            }
        };
        let event = (&rule.name, accepted.id());
        // From the beginning of the callback on: so does the provider count.
        let until = began + within;
        let store = self.shared.inbox.store();
        let told = self.waker.heard(&**store, event, new, until).await;
        match told.as_ref().and_then(application_answer) {
            Some(answer) => Outcome::Answered(accepted, answer),
            None => Outcome::Accepted(accepted),
        }
    }

    /// Conditions that gave no answer: each is counted, and a source is told of once a minute.
    fn undecided(&self, verified: &Verified) {
        let bound = verified.plan().destinations.iter();
        for (to, why) in bound.filter_map(|b| Some((&b.to, b.undecided.as_ref()?))) {
            let source = &verified.rule().name;
            let figures = &self.shared.metrics.figures;
            figures.on(Some(source), |figures| figures.series().undecided());
            let now = self.shared.clock.now();
            if self.shared.told.may_tell(source, now) {
                // It may quote the value that it choked on.
                let why = why.to_string();
                let why = mask::line(&why);
                tracing::warn!(
                    { field::SOURCE } = %source,
                    { field::DESTINATION } = %to,
                    "a condition gave no answer, so the event is sent: {why}"
                );
            }
        }
    }

    /// One answer, one log line, one count.
    fn conclude(&self, rule: Option<&Arc<Rule>>, outcome: Outcome, seen: &Seen) -> Answer {
        let (verdict, reason, event, detail) = match &outcome {
            Outcome::Accepted(accepted) | Outcome::Answered(accepted, _) => {
                let verdict = match accepted.acceptance() {
                    Acceptance::New(_) => "accepted",
                    Acceptance::Conflict { .. } => "conflict",
                    Acceptance::Duplicate(_) => "duplicate",
                    Acceptance::Dropped { .. } => "conflict_dropped",
                    Acceptance::Refused { .. } => "rejected",
                };
                let unstored = accepted.acceptance().unstored();
                let reason = unstored.map_or("", Unstored::code);
                (verdict, reason, Some(accepted.id()), String::new())
            }
            Outcome::Challenge(_) => ("challenge", "", None, String::new()),
            Outcome::Refused(refusal) => ("refused", refusal.code(), None, String::new()),
            Outcome::Rejected(rejection) => {
                ("rejected", rejection.code(), None, rejection.to_string())
            }
            Outcome::Overloaded(error) => ("overloaded", error.code(), None, error.to_string()),
        };
        if let (Outcome::Accepted(accepted) | Outcome::Answered(accepted, _), Some(rule)) =
            (&outcome, rule)
        {
            match accepted.acceptance() {
                Acceptance::New(id) | Acceptance::Conflict { id, .. } => {
                    self.waker.wake(&rule.name);
                    let news = &self.shared.metrics.news;
                    news.tell(|| News::Accepted { id });
                }
                Acceptance::Duplicate(_)
                | Acceptance::Dropped { .. }
                | Acceptance::Refused { .. } => {}
            }
        }
        let accepted = match &outcome {
            Outcome::Accepted(accepted) | Outcome::Answered(accepted, _) => {
                Some(accepted.acceptance())
            }
            Outcome::Challenge(_)
            | Outcome::Refused(_)
            | Outcome::Rejected(_)
            | Outcome::Overloaded(_) => None,
        };
        let count = count(&outcome);
        let answer = answer(rule, outcome);
        let took = seen.began.elapsed();
        let noted = Noted {
            verdict,
            reason,
            detail,
            count,
            took,
            at: self.shared.clock.now(),
            accepted,
        };
        self.note(rule, seen, noted);
        if let Some(rule) = rule {
            let end = spans::End {
                rule,
                verdict,
                reason,
                accepted,
                status: answer.status,
                took,
            };
            spans::add(&self.shared, seen, &end);
        }
        self.log(rule, (verdict, reason), event, Some(&answer), seen, took);
        answer
    }

    /// Into the figures, and, where it was not accepted, among the refusals.
    fn note(&self, rule: Option<&Arc<Rule>>, seen: &Seen, noted: Noted) {
        let metrics = &self.shared.metrics;
        let Noted {
            verdict,
            reason,
            detail,
            count,
            took,
            at,
            accepted,
        } = noted;
        let trace = seen.marks.trace(accepted);
        let trace = trace.and_then(|trace| metrics.exemplar(trace, at));
        metrics.figures.on(rule.map(|rule| &rule.name), |source| {
            if let Some(count) = count {
                source.callback(count, took, at);
            }
            if verdict == "conflict" || reason.starts_with("conflict_") {
                source.conflict();
            }
            let series = source.series();
            let taken = matches!(count, Some(Count::Accepted | Count::Duplicate));
            series.callback(verdict, taken, took, trace);
            if count == Some(Count::Accepted) {
                series.accepted_at(at);
            }
            if !reason.is_empty() {
                series.refused(reason);
            }
        });
        if reason.is_empty() {
            return;
        }
        let number = self.shared.refusals.push(Refused {
            number: 0,
            at,
            source: rule.map_or(String::new(), |rule| rule.name.to_string()),
            peer: seen.peer,
            method: seen.method.to_string(),
            path: seen.path.clone(),
            stage: verdict,
            reason,
            detail,
        });
        metrics.news.tell(|| News::Refused { number });
    }

    /// One line; of what is no event, of which anybody can send as much as he likes, so many a
    /// second at most.
    fn log(
        &self,
        rule: Option<&Arc<Rule>>,
        (verdict, reason): (&str, &str),
        event: Option<EventId>,
        answer: Option<&Answer>,
        seen: &Seen,
        took: Duration,
    ) {
        let name = rule.map(|rule| &rule.name);
        let unsaid = match event {
            Some(_) => 0,
            None => match self.shared.told.may_log(name, self.shared.clock.now()) {
                Some(unsaid) => unsaid,
                None => return,
            },
        };
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let source = name.map_or("", SourceName::as_str);
        let event = event.map(tracing::field::display);
        tracing::info!(
            { field::SOURCE } = source,
            { field::VERDICT } = verdict,
            { field::REASON } = reason,
            { field::EVENT } = event,
            { field::PEER } = %seen.peer,
            { field::STATUS } = answer.map(|answer| answer.status.as_u16()),
            { field::BODY_BYTES } = seen.body_bytes,
            { field::TOOK_US } = took_us,
            { field::UNSAID } = (unsaid > 0).then_some(unsaid),
            "callback"
        );
    }
}

/// What is said of a callback when it is over; the clocks are read once for all of it.
struct Noted {
    verdict: &'static str,
    /// Empty where nothing was wrong.
    reason: &'static str,
    detail: String,
    count: Option<Count>,
    took: Duration,
    at: Timestamp,
    accepted: Option<Acceptance>,
}

impl Handler for Pipeline {
    async fn handle(self: Rc<Self>, incoming: Incoming) -> Answer {
        let head = &incoming.head;
        let seen = Seen {
            peer: head.peer,
            method: head.method.clone(),
            path: head.path.clone(),
            body_bytes: 0,
            began: Instant::now(),
            marks: Marks::begin(&self.shared),
        };
        let loaded = self.shared.loaded.load_full();
        let rule = loaded.guards.route(&head.path).cloned();
        let mut waiting = Waiting {
            pipeline: &self,
            rule,
            seen,
            answered: false,
        };
        let outcome = self.run(&loaded, incoming, &mut waiting.seen).await;
        waiting.answered = true;
        self.conclude(waiting.rule.as_ref(), outcome, &waiting.seen)
    }

    fn malformed(&self, peer: IpAddr, why: Malformed) -> Answer {
        // Nothing of such a request is repeated: not even its path can be relied on.
        let seen = Seen {
            peer,
            method: http::Method::default(),
            path: String::new(),
            body_bytes: 0,
            began: Instant::now(),
            marks: Marks::begin(&self.shared),
        };
        let answer = Answer::empty(malformed_status(why));
        let took = seen.began.elapsed();
        let noted = Noted {
            verdict: "malformed",
            reason: why.code(),
            detail: String::new(),
            count: Some(Count::Refused),
            took,
            at: self.shared.clock.now(),
            accepted: None,
        };
        let said = (noted.verdict, noted.reason);
        self.note(None, &seen, noted);
        self.log(None, said, None, Some(&answer), &seen, took);
        answer
    }
}

/// A sender that waits for its answer. When its connection ends before that, the rest of the
/// pipeline is dropped with it: what had reached the store is kept all the same, and the sender
/// will come again. That it heard nothing is what then remains to be told.
struct Waiting<'p> {
    pipeline: &'p Pipeline,
    rule: Option<Arc<Rule>>,
    seen: Seen,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let took = self.seen.began.elapsed();
        let noted = Noted {
            verdict: "unheard",
            reason: "connection_ended",
            detail: String::new(),
            count: None,
            took,
            at: self.pipeline.shared.clock.now(),
            accepted: None,
        };
        let said = (noted.verdict, noted.reason);
        let rule = self.rule.as_ref();
        self.pipeline.note(rule, &self.seen, noted);
        self.pipeline.log(rule, said, None, None, &self.seen, took);
    }
}

/// Which key fitted: its label, where the source has keys.
fn key<'v>(verified: &'v Verified, verifier: &Verifier) -> Option<&'v str> {
    let (_, label) = verified.seal().split_once(' ').unwrap_or_default();
    if verified.rule().keys.is_empty() && label.is_empty() {
        return None;
    }
    let known = verifier.keys().keys();
    let known = known.iter().any(|key| key.label == label);
    Some(if known { label } else { FETCHED })
}

/// None: nothing was decided about a callback.
fn count(outcome: &Outcome) -> Option<Count> {
    match outcome {
        Outcome::Accepted(accepted) | Outcome::Answered(accepted, _) => {
            Some(match accepted.acceptance() {
                Acceptance::New(_) | Acceptance::Conflict { .. } => Count::Accepted,
                Acceptance::Duplicate(_) | Acceptance::Dropped { .. } => Count::Duplicate,
                Acceptance::Refused { .. } => Count::Rejected,
            })
        }
        Outcome::Challenge(_) => None,
        Outcome::Refused(_) | Outcome::Overloaded(_) => Some(Count::Refused),
        Outcome::Rejected(_) => Some(Count::Rejected),
    }
}

/// What the sender hears. Every rejection of a source gets the same bytes.
fn answer(rule: Option<&Arc<Rule>>, outcome: Outcome) -> Answer {
    let answers = rule.map(|rule| &rule.provider.answers);
    let own = |pick: fn(&crate::rule::Answers) -> &Answer, otherwise| {
        answers.map_or_else(|| Answer::empty(otherwise), |answers| pick(answers).clone())
    };
    match outcome {
        Outcome::Challenge(answer) | Outcome::Answered(_, answer) => answer,
        Outcome::Accepted(accepted) => match accepted.acceptance() {
            Acceptance::New(_) | Acceptance::Conflict { .. } => {
                own(|a| &a.accepted, StatusCode::OK)
            }
            // The source's own rule: the first event with a key wins.
            Acceptance::Duplicate(_) | Acceptance::Dropped { .. } => {
                own(|a| &a.duplicate, StatusCode::OK)
            }
            Acceptance::Refused { .. } => own(|a| &a.rejected, StatusCode::UNAUTHORIZED),
        },
        // Nothing is known of it yet: the provider is to try again.
        Outcome::Rejected(Rejection::Unready { .. }) => with_retry_after(
            own(|a| &a.overloaded, StatusCode::SERVICE_UNAVAILABLE),
            UNREADY_PAUSE,
        ),
        Outcome::Rejected(_) => own(|a| &a.rejected, StatusCode::UNAUTHORIZED),
        Outcome::Refused(refusal) => refusal_answer(refusal, rule),
        Outcome::Overloaded(error) => with_retry_after(
            own(|a| &a.overloaded, StatusCode::SERVICE_UNAVAILABLE),
            overload_pause(&error),
        ),
    }
}

/// What the provider hears of the application's answer: its status, what kind of body it is, and the
/// body. None when the application did not take the event, or its answer was not kept whole.
fn application_answer(attempt: &Attempt) -> Option<Answer> {
    let status = StatusCode::from_u16(attempt.status?).ok()?;
    let response = attempt.response.as_ref()?;
    if !status.is_success() || !attempt.error.is_empty() || response.cut {
        return None;
    }
    let mut answer = Answer::empty(status);
    answer.body = response.body.clone();
    let safe = ["content-type", "content-language"];
    for (name, value) in response
        .headers
        .iter()
        .filter(|(n, _)| safe.contains(&n.as_str()))
    {
        answer.headers.push(name.clone(), value.clone());
    }
    Some(answer)
}

fn malformed_status(why: Malformed) -> StatusCode {
    match why {
        Malformed::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Malformed::TargetTooLong => StatusCode::URI_TOO_LONG,
        Malformed::TooManyHeaders | Malformed::HeadersTooLarge => {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        }
        Malformed::Framing(_)
        | Malformed::HostMissing
        | Malformed::HostRepeated
        | Malformed::HostDiffers
        | Malformed::TargetForm
        | Malformed::TargetCharacters
        | Malformed::UnderscoreTwin
        | Malformed::Upgrade
        | Malformed::Unreadable => StatusCode::BAD_REQUEST,
    }
}

fn refusal_answer(refusal: Refusal, rule: Option<&Arc<Rule>>) -> Answer {
    match refusal {
        Refusal::NotFound => Answer::empty(StatusCode::NOT_FOUND),
        Refusal::MethodNotAllowed => {
            let mut answer = Answer::empty(StatusCode::METHOD_NOT_ALLOWED);
            let allowed = rule.map_or_else(Vec::new, |rule| rule.methods());
            let list: Vec<&str> = allowed.iter().map(http::Method::as_str).collect();
            answer.headers.push("allow", list.join(", "));
            answer
        }
        Refusal::AddressNotAllowed => Answer::empty(StatusCode::FORBIDDEN),
        Refusal::ForwardedForMalformed | Refusal::BodyBroken => {
            Answer::empty(StatusCode::BAD_REQUEST)
        }
        Refusal::RatePerAddress { retry_after } | Refusal::RateTotal { retry_after } => {
            with_retry_after(Answer::empty(StatusCode::TOO_MANY_REQUESTS), retry_after)
        }
        Refusal::BodyTooLarge => Answer::empty(StatusCode::PAYLOAD_TOO_LARGE),
        Refusal::BodyTooSlow => Answer::empty(StatusCode::REQUEST_TIMEOUT),
        Refusal::NoRoom => {
            let answer = rule.map(|rule| rule.provider.answers.overloaded.clone());
            let answer = answer.unwrap_or_else(|| Answer::empty(StatusCode::SERVICE_UNAVAILABLE));
            with_retry_after(answer, Duration::from_secs(1))
        }
    }
}

/// A host that was not reached is not asked again at once.
const UNREADY_PAUSE: Duration = Duration::from_secs(10);

/// When it is worth asking again.
fn overload_pause(error: &StoreError) -> Duration {
    match error {
        StoreError::Unavailable(Unavailable::QueueFull) => Duration::from_secs(1),
        StoreError::Unavailable(
            Unavailable::DiskLow | Unavailable::WriteFailed | Unavailable::TooLarge,
        )
        | StoreError::Unknown
        | StoreError::LeaseLost
        | StoreError::Damaged { .. }
        | StoreError::Io { .. }
        | StoreError::Closed => Duration::from_secs(30),
    }
}

fn with_retry_after(mut answer: Answer, pause: Duration) -> Answer {
    if answer.headers.all("retry-after").next().is_none() {
        answer
            .headers
            .push("retry-after", pause.as_secs().max(1).to_string());
    }
    answer
}
