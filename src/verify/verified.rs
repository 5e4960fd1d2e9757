//! The proof. A [`Verified`] is made here and nowhere else, and only after the signature, the key
//! and the clock were found right; it owns the very bytes that were checked.

mod asking;
mod judging;

use std::sync::Arc;

use bytes::Bytes;

use self::asking::{Errand, asked, not_fetched, unready, visited};
pub use self::judging::Primitive;
use crate::clock::{Clock, Timestamp};
use crate::guard::Received;
use crate::message::{Answer, Headers, RawRequest};
use crate::remote::{Ask, KeyCache, Lookup};
use crate::rule::Rule;
use crate::rule::scheme::Algorithm;
use crate::rule::template::Selector;
use crate::verify::form;
use crate::verify::identity::Identity;
use crate::verify::json::Json;
use crate::verify::judge::{Judgement, Step, judge};
use crate::verify::keys::{Key, Keyring};
use crate::verify::payment::Payment;
use crate::verify::plan::EventPlan;
use crate::verify::rejection::Rejection;
use crate::verify::resolve::is_called;
use crate::verify::want::{Known, Want};

/// Verifies the requests of one source.
pub struct Verifier(Arc<Inner>);

/// Shared with the tasks that fetch keys anew.
struct Inner {
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
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every verdict is an event, and none is kept"
)]
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
    plan: EventPlan,
    seal: String,
    payment: Option<Payment>,
}

/// What [`Verified::into_parts`] gives: the request, the rule, and what was found by it.
pub type Parts = (
    RawRequest,
    Arc<Rule>,
    Identity,
    EventPlan,
    String,
    Option<Payment>,
);

/// Keys, a confirmation and a visit: no verdict waits for more.
const MOST_STEPS: usize = 6;

impl Verifier {
    /// Without a world outside: what would have to be fetched is not ready.
    pub fn new(rule: Arc<Rule>, keys: Keyring) -> Verifier {
        Verifier(Arc::new(Inner {
            rule,
            keys,
            outside: None,
        }))
    }

    pub fn with_outside(rule: Arc<Rule>, keys: Keyring, outside: Outside) -> Verifier {
        Verifier(Arc::new(Inner {
            rule,
            keys,
            outside: Some(outside),
        }))
    }

    /// The event is recorded under the rule whose keys were used, whatever `received` was routed
    /// by.
    pub async fn verify(&self, received: Received, now: Timestamp) -> Result<Verdict, Rejection> {
        let (mut request, _) = received.into_parts();
        let (judgement, answer) = self.decide(&request, now).await?;
        match judgement {
            Judgement::Event {
                identity,
                plan,
                seal,
                payment,
            } => {
                request.query = passing(&self.0.rule, request.query.take());
                if let Some(answer) = answer {
                    replaced(&mut request, answer);
                }
                let rule = Arc::clone(&self.0.rule);
                Ok(Verdict::Event(Verified {
                    request,
                    rule,
                    identity,
                    plan,
                    seal,
                    payment,
                }))
            }
            Judgement::Challenge(answer) => Ok(Verdict::Challenge(answer)),
        }
    }

    /// The verdict, and the answer of a second source where that takes the place of the callback.
    async fn decide(
        &self,
        request: &RawRequest,
        now: Timestamp,
    ) -> Result<(Judgement, Option<Bytes>), Rejection> {
        let mut known = Known::default();
        let mut answered = None;
        for _ in 0..MOST_STEPS {
            let want = match judge(&self.0.rule, &self.0.keys, request, now, &known)? {
                Step::Done(judgement) => return Ok((*judgement, answered)),
                Step::Wanted(want) => want,
            };
            let Some(outside) = &self.0.outside else {
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
                    // A list is kept whether or not this key is in it.
                    let needed = id.clone().filter(|_| !again);
                    let errand = Errand {
                        name: name.clone(),
                        scheme,
                        id: needed,
                        ttl,
                        outbound,
                    };
                    let kept = match again {
                        true => Lookup::Absent,
                        false => outside.cache.lookup(&name, now),
                    };
                    let keys = match kept {
                        Lookup::Fresh(keys) => keys,
                        // Still good, and soon no more: nobody waits for the new ones.
                        Lookup::Stale(keys) => {
                            let (inner, request) = (Arc::clone(&self.0), request.clone());
                            tokio::spawn(async move { inner.fetch(&request, &errand, now).await });
                            keys
                        }
                        Lookup::Failed(fault) => {
                            return Err(not_fetched(&fault, errand.id.as_deref()));
                        }
                        Lookup::Absent => self
                            .0
                            .fetch(request, &errand, now)
                            .await
                            .map_err(|fault| not_fetched(&fault, errand.id.as_deref()))?,
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
                    let query = self.0.rule.provider.query_back.as_ref();
                    if query.is_some_and(|query| query.authoritative) {
                        answered = Some(answer.body.clone());
                    }
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

    pub fn rule(&self) -> &Arc<Rule> {
        &self.0.rule
    }

    pub fn keys(&self) -> &Keyring {
        &self.0.keys
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("rule", &self.0.rule)
            .field("keys", &self.0.keys)
            .finish_non_exhaustive()
    }
}

/// What is passed on of a query: all of it where it is signed, or is the one that the source has
/// configured, or where nothing of a request is signed anyway; else only the parameters that are.
fn passing(rule: &Rule, query: Option<String>) -> Option<String> {
    let provider = &rule.provider;
    let query = query?;
    let unsigned = provider
        .schemes
        .iter()
        .all(|s| matches!(s.algorithm, Algorithm::Token | Algorithm::Basic))
        && provider.query_back.is_none();
    let configured = rule.url.as_deref().and_then(|url| url.split_once('?'));
    if rule.relay.query_as_received
        || unsigned
        || provider.covers(&Selector::Query)
        || configured.is_some_and(|(_, own)| own == query)
    {
        return Some(query);
    }
    let covered = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        match form::decode(name.as_bytes(), true) {
            Ok(name) => {
                let name = String::from_utf8_lossy(&name).into_owned();
                provider.covers(&Selector::QueryParam(name))
            }
            Err(_) => false,
        }
    };
    let kept: Vec<&str> = query.split('&').filter(covered).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// The answer of the second source in place of what the callback said of itself.
fn replaced(request: &mut RawRequest, answer: Bytes) {
    let gone = ["content-type", "content-digest", "digest", "content-md5"];
    let mut headers: Headers = request
        .headers
        .iter()
        .filter(|(name, _)| !gone.iter().any(|other| other.as_bytes() == *name))
        .map(|(n, v)| (Bytes::copy_from_slice(n), Bytes::copy_from_slice(v)))
        .collect();
    let kind = match Json::parse(&answer) {
        Ok(_) => "application/json",
        Err(_) => "application/octet-stream",
    };
    headers.push("content-type", kind);
    request.headers = headers;
    request.body = answer;
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

    /// What follows from it.
    pub fn plan(&self) -> &EventPlan {
        &self.plan
    }

    /// What sealed it: `hmac-sha256 keys[0]`, or `none`.
    pub fn seal(&self) -> &str {
        &self.seal
    }

    /// What it says of a payment.
    pub fn payment(&self) -> Option<&Payment> {
        self.payment.as_ref()
    }

    pub fn into_parts(self) -> Parts {
        let Verified {
            request,
            rule,
            identity,
            plan,
            seal,
            payment,
        } = self;
        (request, rule, identity, plan, seal, payment)
    }
}
