//! The proof. A [`Verified`] is made here and nowhere else, and only after the signature, the key
//! and the clock were found right; it owns the very bytes that were checked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::{Clock, Timestamp};
use crate::guard::Received;
use crate::message::{Answer, Headers, RawRequest};
use crate::remote::{Ask, KeyCache, Lookup, Outbound, RemoteAnswer, RemoteFault};
use crate::rule::Rule;
use crate::rule::scheme::{Algorithm, KeySource};
use crate::rule::template::Selector;
use crate::secret::Secret;
use crate::verify::document::Document;
use crate::verify::evaluate;
use crate::verify::form;
use crate::verify::identity::Identity;
use crate::verify::json::Json;
use crate::verify::judge::{Judgement, Step, judge, seal_only};
use crate::verify::keys::{Key, Keyring};
use crate::verify::outbound::place_of;
use crate::verify::payment::Payment;
use crate::verify::plan::EventPlan;
use crate::verify::primitive::KeyMaterial;
use crate::verify::rejection::Rejection;
use crate::verify::resolve::{is_called, read_keys};
use crate::verify::scope::{self, Frame, Scope};
use crate::verify::seal::candidates;
use crate::verify::view::View;
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

    fn answer(&self, answer: RemoteAnswer) -> Result<scope::Answer, Rejection> {
        let form = match &self.0.rule.provider.query_back {
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

    /// The hosts that verifying may ask, each once. Addresses that only a request will name are not
    /// among them, unless the file names their host.
    pub fn places(&self) -> Vec<Outbound> {
        let provider = &self.0.rule.provider;
        let of_keys = provider
            .schemes
            .iter()
            .filter_map(|scheme| match &scheme.key.source {
                KeySource::Jwks { request, .. } => Some(request),
                KeySource::Fetch(fetch) => Some(&fetch.request),
                _ => None,
            });
        let asked = provider.query_back.iter().map(|query| &query.request);
        let mut places: Vec<Outbound> = Vec::new();
        for request in of_keys.chain(asked) {
            if let Some(place) = place_of(request, &self.0.rule.config)
                && !places
                    .iter()
                    .any(|p| p.host == place.host && p.port == place.port)
            {
                places.push(place);
            }
        }
        places
    }

    pub fn rule(&self) -> &Arc<Rule> {
        &self.0.rule
    }

    pub fn keys(&self) -> &Keyring {
        &self.0.keys
    }
}

/// Keys to fetch.
struct Errand {
    name: String,
    scheme: usize,
    id: Option<Vec<u8>>,
    ttl: Duration,
    outbound: Box<Outbound>,
}

impl Inner {
    async fn fetch(
        &self,
        request: &RawRequest,
        errand: &Errand,
        now: Timestamp,
    ) -> Result<Arc<Vec<Key>>, RemoteFault> {
        let Some(outside) = &self.outside else {
            return Err(RemoteFault::HostNotAllowed);
        };
        let parse = |answer: &RemoteAnswer| {
            self.read(request, errand.scheme, errand.id.as_deref(), answer, now)
        };
        outside
            .cache
            .fetch(
                &errand.name,
                outside.ask.as_ref(),
                &errand.outbound,
                errand.ttl,
                outside.clock.as_ref(),
                parse,
            )
            .await
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
        // A pause after a failure, or too many unknown names: nothing is known of this key, and a
        // provider that is right must be able to try again.
        other => asked(other),
    }
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
