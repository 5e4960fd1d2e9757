//! The spine: guard, verify, accept, answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};
use crate::guard::{Guards, Refusal};
use crate::inbox::accept::{Accepted, Inbox};
use crate::inbox::store::{Acceptance, StoreError};
use crate::listener::{Handler, Incoming, Malformed};
use crate::mask;
use crate::message::{Answer, SourceName};
use crate::random::Random;
use crate::refusals::Refusals;
use crate::relay::Waker;
use crate::rule::diagnostic::Diagnostic;
use crate::rule::{AnswerMode, Rule, RuleSet};
use crate::telemetry::figures::Count;
use crate::telemetry::series::FETCHED;
use crate::telemetry::{Metrics, field};
use crate::verify::{Rejection, Verdict, Verified, Verifier};

mod answer;
mod conclude;
#[cfg(test)]
mod measure;
mod spans;
mod told;

use answer::{application_answer, malformed_status};
use conclude::Noted;
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
    /// Keys of the settings file that changed since the start and count from the next one on.
    pub waiting: Vec<&'static str>,
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
