//! Every provider file against its own examples, and every example spoiled in every way that a
//! sender or a thief might spoil it.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::message::{Headers, RawRequest};
use crate::rule::catalogue::PROVIDERS;
use crate::rule::compile::compile_provider;
use crate::rule::provider::{Example, Provider};
use crate::verify::example::{recorded, request, verifier};
use crate::verify::{Judgement, Rejection, Verifier};

mod candidates;
mod catalogue;
mod fetched;
mod identity;
mod inside;
mod key_names;
mod known_answers;
mod meaning;
mod mutation;
mod params;
mod public_keys;
mod questions;
mod refresh;
mod repeated;
mod second_source;
mod stand;
mod transforms;
mod wycheproof;

fn provider(name: &str) -> Arc<Provider> {
    let text = crate::rule::catalogue::text(name).unwrap();
    Arc::new(compile_provider(name, text).unwrap().0)
}

/// Every file of the catalogue; what is wrong with one is the business of one test.
fn providers() -> impl Iterator<Item = Arc<Provider>> {
    PROVIDERS
        .iter()
        .filter_map(|(name, text)| Some(Arc::new(compile_provider(name, text).ok()?.0)))
}

/// An accepted example at work.
struct Case {
    provider: Arc<Provider>,
    example: Example,
    verifier: Verifier,
    request: RawRequest,
    /// What pinned hosts are asked, where that is not different each time.
    asked: Vec<(String, Bytes)>,
}

impl Case {
    fn new(provider: &Arc<Provider>, example: &Example) -> Option<Case> {
        let mut case = Case {
            provider: Arc::clone(provider),
            example: example.clone(),
            verifier: verifier(provider, example).ok()?,
            request: request(example),
            asked: Vec::new(),
        };
        let (once, again) = (case.questions(), case.questions());
        case.asked = once.into_iter().filter(|q| again.contains(q)).collect();
        Some(case)
    }

    fn questions(&self) -> Vec<(String, Bytes)> {
        let mut questions = Vec::new();
        let _ = self
            .verifier
            .judge_with(&self.request, self.example.now(), &mut |outbound| {
                questions.push((outbound.target.clone(), outbound.body.clone()));
                recorded(&self.example, outbound)
            });
        questions
    }

    /// Judged at another moment, by another verifier; pinned hosts answer as in the example.
    fn judge_by(
        &self,
        verifier: &Verifier,
        request: &RawRequest,
        now: Timestamp,
    ) -> Result<Judgement, Rejection> {
        verifier.judge_with(request, now, &mut |outbound| {
            let about = self
                .asked
                .iter()
                .find(|(target, _)| *target == outbound.target);
            match about {
                // Whoever is asked about something else does not say the same.
                Some((_, body)) if *body != outbound.body => None,
                Some(_) | None => recorded(&self.example, outbound),
            }
        })
    }

    fn judge(&self, request: &RawRequest) -> Result<Judgement, Rejection> {
        self.judge_by(&self.verifier, request, self.example.now())
    }

    fn code(&self, request: &RawRequest) -> &'static str {
        said(&self.judge(request))
    }

    fn code_at(&self, now: Timestamp) -> &'static str {
        said(&self.judge_by(&self.verifier, &self.request, now))
    }

    /// True for a question of the provider.
    fn is_question(&self) -> bool {
        matches!(self.judge(&self.request), Ok(Judgement::Challenge(_)))
    }

    fn place(&self) -> String {
        format!("{}, `{}`", self.provider.name, self.example.name)
    }

    fn with_body(&self, body: &[u8]) -> RawRequest {
        RawRequest {
            body: Bytes::copy_from_slice(body),
            ..self.request.clone()
        }
    }
}

/// What came of it in one word.
fn said(verdict: &Result<Judgement, Rejection>) -> &'static str {
    match verdict {
        Ok(Judgement::Event { .. }) => "accepted",
        Ok(Judgement::Challenge(_)) => "answered",
        Err(reason) => reason.code(),
    }
}

fn cases() -> impl Iterator<Item = Case> {
    providers().flat_map(|provider| {
        let examples = provider.examples.iter().filter(|e| e.rejected.is_none());
        examples
            .filter_map(|example| Case::new(&provider, example))
            .collect::<Vec<_>>()
    })
}

fn code(verifier: &Verifier, request: &RawRequest, now: Timestamp) -> &'static str {
    said(&verifier.judge(request, now))
}

/// The request with one header set to these values.
fn with_header(request: &RawRequest, name: &str, values: &[&[u8]]) -> RawRequest {
    let mut headers: Headers = request
        .headers
        .iter()
        .filter(|(other, _)| *other != name.as_bytes())
        .map(|(n, v)| (Bytes::copy_from_slice(n), Bytes::copy_from_slice(v)))
        .collect();
    for value in values {
        headers.push(name.to_owned(), Bytes::copy_from_slice(value));
    }
    RawRequest {
        headers,
        ..request.clone()
    }
}

fn header<'a>(request: &'a RawRequest, name: &str) -> &'a [u8] {
    request.headers.only(name).unwrap()
}
