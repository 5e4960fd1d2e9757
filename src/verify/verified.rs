//! The proof. A [`Verified`] is made here and nowhere else, and only after the signature, the key
//! and the clock were found right; it owns the very bytes that were checked.

use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::guard::Received;
use crate::message::{Answer, RawRequest};
use crate::remote::{Ask, KeyCache, Lookup, Outbound, RemoteAnswer, RemoteFault};
use crate::rule::Rule;
use crate::verify::document::Document;
use crate::verify::identity::Identity;
use crate::verify::judge::{Judgement, Step, judge, seal_only};
use crate::verify::keys::{Key, Keyring};
use crate::verify::payment::Payment;
use crate::verify::rejection::Rejection;
use crate::verify::resolve::{is_called, read_keys};
use crate::verify::scope::{self, Frame, Scope};
use crate::verify::view::View;
use crate::verify::want::{Known, Want};

/// Verifies the requests of one source.
pub struct Verifier {
    rule: Arc<Rule>,
    keys: Keyring,
    outside: Option<Outside>,
}

/// What a verifier needs of the world beyond the request: pinned hosts, and the keys that came
/// from them.
#[derive(Clone)]
pub struct Outside {
    pub ask: Arc<dyn Ask>,
    pub cache: Arc<KeyCache<Vec<Key>>>,
    pub clock: Arc<dyn Clock>,
}

/// A request that is what it claims to be.
#[derive(Debug)]
pub enum Verdict {
    Event(Verified),
    /// The provider asks who is there; nothing is stored.
    Challenge(Answer),
}

/// An event that its provider has signed, with the rule by which that was found. Where the rule
/// says `verify = "none"`, its seal is `none`.
#[derive(Debug)]
pub struct Verified {
    request: RawRequest,
    rule: Arc<Rule>,
    identity: Identity,
    seal: String,
    payment: Option<Payment>,
}

/// Keys, a confirmation and a visit: no verdict waits for more.
const MOST_STEPS: usize = 6;

impl Verifier {
    /// Without a world outside: what would have to be fetched is not ready.
    pub fn new(rule: Arc<Rule>, keys: Keyring) -> Verifier {
        Verifier {
            rule,
            keys,
            outside: None,
        }
    }

    pub fn with_outside(rule: Arc<Rule>, keys: Keyring, outside: Outside) -> Verifier {
        Verifier {
            rule,
            keys,
            outside: Some(outside),
        }
    }

    /// The event is recorded under the rule whose keys were used, whatever `received` was routed
    /// by.
    pub async fn verify(&self, received: Received, now: Timestamp) -> Result<Verdict, Rejection> {
        let (request, _) = received.into_parts();
        match self.decide(&request, now).await? {
            Judgement::Event {
                identity,
                seal,
                payment,
            } => {
                let rule = Arc::clone(&self.rule);
                Ok(Verdict::Event(Verified {
                    request,
                    rule,
                    identity,
                    seal,
                    payment,
                }))
            }
            Judgement::Challenge(answer) => Ok(Verdict::Challenge(answer)),
        }
    }

    async fn decide(&self, request: &RawRequest, now: Timestamp) -> Result<Judgement, Rejection> {
        let mut known = Known::default();
        for _ in 0..MOST_STEPS {
            let want = match judge(&self.rule, &self.keys, request, now, &known)? {
                Step::Done(judgement) => return Ok(*judgement),
                Step::Wanted(want) => want,
            };
            let Some(outside) = &self.outside else {
                return Err(unready("nothing can be asked here"));
            };
            match want {
                Want::Keys {
                    scheme,
                    name,
                    id,
                    again,
                    ttl,
                    request: outbound,
                } => {
                    let kept = match again {
                        true => Lookup::Absent,
                        false => outside.cache.lookup(&name, now),
                    };
                    // A list is kept whether or not this key is in it.
                    let needed = id.as_deref().filter(|_| !again);
                    let keys = match kept {
                        Lookup::Fresh(keys) => keys,
                        Lookup::Failed(fault) => return Err(not_fetched(&fault, id.as_deref())),
                        // A key that is due is fetched by the request that finds it so; the cache
                        // gives the old one when that fails.
                        Lookup::Stale(_) | Lookup::Absent => {
                            let parse = |answer: &RemoteAnswer| {
                                self.read(request, scheme, needed, answer, now)
                            };
                            let clock = outside.clock.as_ref();
                            let fetched = outside
                                .cache
                                .fetch(&name, outside.ask.as_ref(), &outbound, ttl, clock, parse)
                                .await;
                            match fetched {
                                Ok(keys) => keys,
                                Err(fault) => return Err(not_fetched(&fault, id.as_deref())),
                            }
                        }
                    };
                    if !again {
                        known.keys.push((name, keys));
                        continue;
                    }
                    // The key may be a new one that the host could not tell us of.
                    let there = |id: &[u8]| keys.iter().any(|key| is_called(key, id));
                    if !id.as_deref().is_some_and(there)
                        && let Some(fault) = outside.cache.fault(&name)
                    {
                        return Err(asked(&fault));
                    }
                    known.keys.push((Known::anew(&name), keys));
                }
                Want::Confirmation { request } => {
                    let answer = outside.ask.ask(&request).await.map_err(|f| asked(&f))?;
                    known.answer = Some(self.answer(answer)?);
                }
                Want::Visit { request } => {
                    let answer = outside.ask.ask(&request).await.map_err(|f| asked(&f))?;
                    known.visited = visited(&answer)?;
                }
            }
        }
        Err(unready("it takes too many steps"))
    }

    /// The same verdict without the proof, for examples and for explaining; what pinned hosts
    /// answer is handed in.
    pub fn judge_with(
        &self,
        request: &RawRequest,
        now: Timestamp,
        answers: &mut dyn FnMut(&Outbound) -> Option<RemoteAnswer>,
    ) -> Result<Judgement, Rejection> {
        let mut known = Known::default();
        let nobody = || unready("the host cannot be reached");
        for _ in 0..MOST_STEPS {
            let want = match judge(&self.rule, &self.keys, request, now, &known)? {
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
                    if is_ill(&answer) {
                        return Err(unready("the host is not well"));
                    }
                    let needed = id.as_deref().filter(|_| !again);
                    let keys = self
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

    /// The verdict on a request for which nothing has to be asked.
    pub fn judge(&self, request: &RawRequest, now: Timestamp) -> Result<Judgement, Rejection> {
        self.judge_with(request, now, &mut |_| None)
    }

    /// The signature and nothing else, for measuring what it costs.
    pub fn seal(&self, request: &RawRequest, now: Timestamp) -> Result<String, Rejection> {
        seal_only(&self.rule, &self.keys, request, now)
    }

    fn read(
        &self,
        request: &RawRequest,
        scheme: usize,
        id: Option<&[u8]>,
        answer: &RemoteAnswer,
        now: Timestamp,
    ) -> Result<Vec<Key>, String> {
        let view = View::new(request, &self.rule, &self.keys.secrets);
        let frame = self.rule.provider.schemes.get(scheme).map(Frame::new);
        let scope = Scope {
            frame: frame.as_ref(),
            ..Scope::of(&view)
        };
        read_keys(&self.keys, &scope, (scheme, id), answer, now)
    }

    fn answer(&self, answer: RemoteAnswer) -> Result<scope::Answer, Rejection> {
        let form = match &self.rule.provider.query_back {
            Some(query) => query.answer,
            None => crate::rule::scheme::PartForm::Text,
        };
        let status = answer.status.to_string();
        let document = match Document::read(form, answer.body.to_vec()) {
            Ok(document) => document,
            // An error page beside an error status: the status speaks.
            Err(_) if answer.status != 200 => {
                Document::read(crate::rule::scheme::PartForm::Text, Vec::new())?
            }
            Err(fault) => {
                return Err(unready(&format!("the second source's answer: {fault}")));
            }
        };
        Ok(scope::Answer { status, document })
    }

    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    pub fn keys(&self) -> &Keyring {
        &self.keys
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("rule", &self.rule)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

fn unready(what: &str) -> Rejection {
    Rejection::Unready {
        what: what.to_owned(),
    }
}

fn asked(fault: &RemoteFault) -> Rejection {
    unready(&fault.to_string())
}

/// A host that was reached and knows no such key says that the request is wrong; one that was not
/// reached says nothing.
fn not_fetched(fault: &RemoteFault, id: Option<&[u8]>) -> Rejection {
    match fault {
        // The key is not there, or not for us.
        RemoteFault::Status {
            status: 400 | 404 | 410,
        } if id.is_some() => Rejection::KeyUnknown {
            id: id.map(crate::verify::params::shorten).unwrap_or_default(),
        },
        RemoteFault::Unusable { why } if id.is_none() => {
            Rejection::KeyUntrusted { why: why.clone() }
        }
        RemoteFault::Unusable { .. } => Rejection::KeyUnknown {
            id: id.map(crate::verify::params::shorten).unwrap_or_default(),
        },
        // Too many unknown names: whoever sends them is not helped by trying again.
        RemoteFault::RateLimited | RemoteFault::RecentlyFailed if id.is_some() => {
            Rejection::KeyUnknown {
                id: id.map(crate::verify::params::shorten).unwrap_or_default(),
            }
        }
        other => asked(other),
    }
}

fn is_ill(answer: &RemoteAnswer) -> bool {
    answer.status >= 500 || answer.status == 429
}

fn visited(answer: &RemoteAnswer) -> Result<bool, Rejection> {
    if (200..300).contains(&answer.status) {
        Ok(true)
    } else {
        Err(unready(&format!(
            "the address that was to be visited answered {}",
            answer.status
        )))
    }
}

impl Verified {
    /// The request, byte for byte as it was verified.
    pub fn request(&self) -> &RawRequest {
        &self.request
    }

    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What sealed it: `hmac-sha256 keys[0]`, or `none`.
    pub fn seal(&self) -> &str {
        &self.seal
    }

    /// What it says of a payment.
    pub fn payment(&self) -> Option<&Payment> {
        self.payment.as_ref()
    }

    pub fn into_parts(self) -> (RawRequest, Arc<Rule>, Identity, String) {
        (self.request, self.rule, self.identity, self.seal)
    }
}
