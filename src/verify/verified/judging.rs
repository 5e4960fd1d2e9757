//! The verdict without the proof: for examples, for explaining, and for measuring. What pinned hosts
//! answer is handed in, or is what is kept of them.

use std::sync::Arc;

use super::asking::{not_fetched, unready, visited};
use super::{MOST_STEPS, Verifier};
use crate::clock::Timestamp;
use crate::message::RawRequest;
use crate::remote::{Lookup, Outbound, RemoteAnswer, RemoteFault};
use crate::secret::Secret;
use crate::verify::evaluate;
use crate::verify::judge::{Judgement, Step, judge, seal_only};
use crate::verify::primitive::KeyMaterial;
use crate::verify::rejection::Rejection;
use crate::verify::scope::{Frame, Scope};
use crate::verify::seal::candidates;
use crate::verify::view::View;
use crate::verify::want::{Known, Want};

/// One message, one signature, one key.
#[derive(Debug)]
pub struct Primitive<'k> {
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
    pub key: &'k KeyMaterial,
}

impl Primitive<'_> {
    /// Nothing but the primitive.
    pub fn verify(&self) -> bool {
        let mut running = self.key.begin();
        running.update(&self.message);
        running.finish().verify(&self.signature)
    }
}

impl Verifier {
    /// The same verdict without the proof, for examples and for explaining; what pinned hosts
    /// answer is handed in.
    pub fn judge_with(
        &self,
        request: &RawRequest,
        now: Timestamp,
        answers: &mut dyn FnMut(&Outbound) -> Option<RemoteAnswer>,
    ) -> Result<Judgement, Rejection> {
        self.judge_knowing(request, now, &mut Known::default(), answers)
    }

    /// The same; `known` then holds what was fetched on the way.
    pub fn judge_knowing(
        &self,
        request: &RawRequest,
        now: Timestamp,
        known: &mut Known,
        answers: &mut dyn FnMut(&Outbound) -> Option<RemoteAnswer>,
    ) -> Result<Judgement, Rejection> {
        let nobody = || unready("the host cannot be reached");
        for _ in 0..MOST_STEPS {
            let want = match judge(&self.0.rule, &self.0.keys, request, now, known)? {
                Step::Done(judgement) => return Ok(*judgement),
                Step::Wanted(want) => want,
            };
            match want {
                Want::Keys {
                    scheme,
                    name,
                    id,
                    again,
                    request: outbound,
                    ..
                } => {
                    let answer = answers(&outbound).ok_or_else(nobody)?;
                    let needed = id.as_deref().filter(|_| !again);
                    if answer.status != 200 {
                        let fault = RemoteFault::Status {
                            status: answer.status,
                        };
                        return Err(not_fetched(&fault, needed));
                    }
                    let keys = self
                        .0
                        .read(request, scheme, needed, &answer, now)
                        .map_err(|why| not_fetched(&RemoteFault::Unusable { why }, needed))?;
                    let name = match again {
                        true => Known::anew(&name),
                        false => name,
                    };
                    known.keys.push((name, Arc::new(keys)));
                }
                Want::Confirmation { request } => {
                    known.answer = Some(self.answer(answers(&request).ok_or_else(nobody)?)?);
                }
                Want::Visit { request } => {
                    known.visited = visited(&answers(&request).ok_or_else(nobody)?)?;
                }
            }
        }
        Err(unready("it takes too many steps"))
    }

    /// The same with the fetched keys that are there at `moment`. Nobody is asked for more.
    pub fn judge_kept(
        &self,
        request: &RawRequest,
        now: Timestamp,
        moment: Timestamp,
        known: &mut Known,
    ) -> Result<Judgement, Rejection> {
        for _ in 0..MOST_STEPS {
            let want = match judge(&self.0.rule, &self.0.keys, request, now, known)? {
                Step::Done(judgement) => return Ok(*judgement),
                Step::Wanted(want) => want,
            };
            let cache = self.0.outside.as_ref().map(|outside| &outside.cache);
            match (want, cache) {
                (
                    Want::Keys {
                        name, again: false, ..
                    },
                    Some(cache),
                ) => match cache.lookup(&name, moment) {
                    Lookup::Fresh(keys) | Lookup::Stale(keys) => known.keys.push((name, keys)),
                    Lookup::Failed(_) | Lookup::Absent => {
                        return Err(unready(
                            "its keys are not here, and are not fetched for this",
                        ));
                    }
                },
                (Want::Keys { .. }, _) => {
                    return Err(unready("its key is not among those that are here"));
                }
                (Want::Confirmation { .. } | Want::Visit { .. }, _) => {
                    return Err(unready("the provider is not asked again for this"));
                }
            }
        }
        Err(unready("it takes too many steps"))
    }

    /// The verdict on a request for which nothing has to be asked.
    pub fn judge(&self, request: &RawRequest, now: Timestamp) -> Result<Judgement, Rejection> {
        self.judge_with(request, now, &mut |_| None)
    }

    /// The signature and nothing else, for measuring what it costs.
    pub fn seal(&self, request: &RawRequest, now: Timestamp) -> Result<String, Rejection> {
        seal_only(&self.0.rule, &self.0.keys, request, now)
    }

    /// The bare primitives behind the verdict on a request: message and signature of every
    /// combination that is tried, each with its key. For measuring; none where keys come from
    /// elsewhere than the source.
    pub fn primitives(&self, request: &RawRequest) -> Result<Vec<Primitive<'_>>, Rejection> {
        let view = View::new(request, &self.0.rule, &self.0.keys.secrets);
        let mut found = Vec::new();
        for (scheme, keys) in self
            .0
            .rule
            .provider
            .schemes
            .iter()
            .zip(&self.0.keys.schemes)
        {
            let frame = Frame::new(scheme);
            let scope = Scope {
                frame: Some(&frame),
                ..Scope::of(&view)
            };
            for candidate in candidates(scheme, &scope)? {
                for template in &scheme.messages {
                    for key in &keys.keys {
                        let scope = Scope {
                            key: key.secret.as_ref().map(Secret::expose),
                            ..scope
                        };
                        let mut message = Vec::new();
                        evaluate::feed(template, &scope, &mut |piece| {
                            message.extend_from_slice(piece);
                        })?;
                        found.push(Primitive {
                            message,
                            signature: candidate.to_vec(),
                            key: &key.material,
                        });
                    }
                }
            }
        }
        Ok(found)
    }
}
