//! What is said of a callback once it is over: one answer, one log line, one count; and, where it was
//! not accepted, its place among the refusals.

use std::sync::Arc;
use std::time::Duration;

use super::answer::answer;
use super::{Outcome, Pipeline, Seen, spans};
use crate::clock::Timestamp;
use crate::inbox::store::{Acceptance, Unstored};
use crate::message::{Answer, EventId, SourceName};
use crate::refusals::Refused;
use crate::rule::Rule;
use crate::telemetry::field;
use crate::telemetry::figures::Count;
use crate::telemetry::news::News;

impl Pipeline {
    /// One answer, one log line, one count.
    pub(super) fn conclude(
        &self,
        rule: Option<&Arc<Rule>>,
        outcome: Outcome,
        seen: &Seen,
    ) -> Answer {
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
    pub(super) fn note(&self, rule: Option<&Arc<Rule>>, seen: &Seen, noted: Noted) {
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
    pub(super) fn log(
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
pub(super) struct Noted {
    pub verdict: &'static str,
    /// Empty where nothing was wrong.
    pub reason: &'static str,
    pub detail: String,
    pub count: Option<Count>,
    pub took: Duration,
    pub at: Timestamp,
    pub accepted: Option<Acceptance>,
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
