//! The verdict on a request, step by step: signature, clock, addressee, what is inside, and what a
//! second source says. Pure: the time is an argument, the keys are parsed already, and what lies
//! elsewhere is handed in, so that examples, `explain` and the live path are the same code.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use smallvec::SmallVec;

use crate::clock::Timestamp;
use crate::message::{Answer, Headers, RawRequest};
use crate::rule::Rule;
use crate::rule::provider::{Challenge, Charset, QueryBack};
use crate::rule::template::{Piece, Template};
use crate::verify::identity::{Identity, identify};
use crate::verify::keys::Keyring;
use crate::verify::mac::same;
use crate::verify::payment::{Payment, payment};
use crate::verify::plan::{EventPlan, plan};
use crate::verify::primitive::Octets;
use crate::verify::rejection::Rejection;
use crate::verify::resolve::pinned;
use crate::verify::scope::{Frame, Scope};
use crate::verify::seal::{self, Checked};
use crate::verify::view::View;
use crate::verify::want::{Known, Want};
use crate::verify::{evaluate, freshness, outbound};

/// What is known of a request whose signature is right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every judgement is an event, and none is kept"
)]
pub enum Judgement {
    Event {
        identity: Identity,
        /// What follows from it.
        plan: EventPlan,
        /// What sealed it: algorithm and key, e.g. `hmac-sha256 keys[0]`, or `none`.
        seal: String,
        /// What it says of a payment, where it is about one.
        payment: Option<Payment>,
    },
    /// The provider asks who is there.
    Challenge(Answer),
}

/// A verdict, or what it still waits for.
#[derive(Debug)]
pub enum Step {
    Done(Box<Judgement>),
    Wanted(Want),
}

/// How long a visit may take.
const VISIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Those of a provider's schemes; nearly always one.
type Frames<'s> = SmallVec<[Frame<'s>; 1]>;

pub fn judge(
    rule: &Rule,
    keys: &Keyring,
    request: &RawRequest,
    now: Timestamp,
    known: &Known,
) -> Result<Step, Rejection> {
    let view = View::new(request, rule, &keys.secrets);
    let provider = &rule.provider;
    let plain = Scope {
        key: keys.first_secret(),
        ..Scope::of(&view)
    };
    if let Some(step) = challenged(false, &plain, known)? {
        return Ok(step);
    }
    let of_callbacks = provider.methods.contains(&request.method);
    let asks = |c: &Challenge| c.signed && c.method.as_ref() == Some(&request.method);
    if !of_callbacks && !provider.challenges.iter().any(asks) {
        return Err(Rejection::MethodUnexpected);
    }
    let frames: Frames<'_> = provider.schemes.iter().map(Frame::new).collect();
    let sealed = match sealed(&frames, &view, keys, known, now)? {
        Ok(sealed) => sealed,
        Err(want) => return Ok(Step::Wanted(want)),
    };
    also(&view, keys)?;
    let scope = Scope {
        frame: sealed.frame.and_then(|index| frames.get(index)),
        ..Scope::of(&view)
    };
    fresh(rule, &scope, now)?;
    asserted(rule, &scope)?;
    view.plain()?;
    let signed = Scope {
        key: keys.first_secret(),
        ..scope
    };
    if let Some(step) = challenged(true, &signed, known)? {
        return Ok(step);
    }
    if !of_callbacks {
        return Err(Rejection::MethodUnexpected);
    }
    let scope = match &provider.query_back {
        Some(query) if evaluate::all_hold(&query.when, &scope)? => {
            let Some(answer) = &known.answer else {
                let request = Box::new(outbound::build(&query.request, &scope, now)?);
                return Ok(Step::Wanted(Want::Confirmation { request }));
            };
            let scope = Scope {
                answer: Some(answer),
                ..scope
            };
            confirmed(query, &scope)?;
            scope
        }
        Some(_) | None => scope,
    };
    // What nobody was asked about is not shown as money, unless it is signed.
    let unasked = provider.query_back.is_some() && scope.answer.is_none();
    let payment = match unasked && !provider.covers_body() {
        true => None,
        false => payment(provider, &scope)?,
    };
    let identity = identify(rule, &scope)?;
    Ok(Step::Done(Box::new(Judgement::Event {
        plan: plan(rule, &scope, &identity),
        identity,
        seal: sealed.seal,
        payment,
    })))
}

/// The signature of a request and nothing else, for measuring what it costs.
pub fn seal_only(
    rule: &Rule,
    keys: &Keyring,
    request: &RawRequest,
    now: Timestamp,
) -> Result<String, Rejection> {
    seal_with(rule, keys, request, now, &Known::default())
}

/// The same with what was fetched already: for finding out what is wrong with a signature.
pub fn seal_with(
    rule: &Rule,
    keys: &Keyring,
    request: &RawRequest,
    now: Timestamp,
    known: &Known,
) -> Result<String, Rejection> {
    let view = View::new(request, rule, &keys.secrets);
    let frames: Frames<'_> = rule.provider.schemes.iter().map(Frame::new).collect();
    match sealed(&frames, &view, keys, known, now)? {
        Ok(sealed) => Ok(sealed.seal),
        Err(_) => Err(Rejection::Unready {
            what: "a key has to be fetched".to_owned(),
        }),
    }
}

struct Sealed {
    /// The scheme that fitted.
    frame: Option<usize>,
    seal: String,
}

/// Every scheme that applies is tried, whatever the others say.
fn sealed<'s, 'r>(
    frames: &'s [Frame<'s>],
    view: &'s View<'r>,
    keys: &Keyring,
    known: &Known,
    now: Timestamp,
) -> Result<Result<Sealed, Want>, Rejection> {
    if frames.is_empty() {
        let seal = match view.rule.provider.query_back {
            Some(_) => "query-back",
            None => "none",
        };
        return Ok(Ok(Sealed {
            frame: None,
            seal: seal.to_owned(),
        }));
    }
    let mut fitted: Option<Sealed> = None;
    let mut furthest: Option<Rejection> = None;
    let mut wanted: Option<Want> = None;
    for (index, frame) in frames.iter().enumerate() {
        let scope = Scope {
            frame: Some(frame),
            ..Scope::of(view)
        };
        let outcome = match evaluate::all_hold(&frame.scheme.when, &scope) {
            // A signature that is missing fits no alternative either, and is called what it is.
            Ok(false) => seal::present(&scope).and(Err(Rejection::SchemeUnknown)),
            Ok(true) => attempt(index, &scope, keys, known, now),
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(Checked::Sealed(seal)) => {
                fitted.get_or_insert(Sealed {
                    frame: Some(index),
                    seal,
                });
            }
            Ok(Checked::Wanted(want)) => wanted = wanted.or(Some(want)),
            Err(found) => {
                let further = furthest
                    .as_ref()
                    .is_none_or(|known| seal::progress(&found) > seal::progress(known));
                if further {
                    furthest = Some(found);
                }
            }
        }
    }
    match (fitted, wanted, furthest) {
        (Some(sealed), ..) => Ok(Ok(sealed)),
        (None, Some(want), _) => Ok(Err(want)),
        (None, None, Some(rejection)) => Err(rejection),
        (None, None, None) => Err(Rejection::SchemeUnknown),
    }
}

fn attempt(
    index: usize,
    scope: &Scope<'_, '_>,
    keys: &Keyring,
    known: &Known,
    now: Timestamp,
) -> Result<Checked, Rejection> {
    // A stamp that is missing is called so, and not a signature that does not fit. Where the
    // signature fits, the stamp is read after.
    match seal::check(index, scope, keys, known, now) {
        Err(fault) => {
            if let Err(of_stamp) = stamp(scope) {
                seal::present(scope)?;
                return Err(of_stamp);
            }
            Err(fault)
        }
        checked => checked,
    }
}

/// When the request says it was signed.
fn stamp(scope: &Scope<'_, '_>) -> Result<Option<Timestamp>, Rejection> {
    let Some(freshness) = &scope.view.rule.provider.freshness else {
        return Ok(None);
    };
    let text = evaluate::short(&freshness.timestamp, scope)?;
    let text = text.ok_or(Rejection::TimestampMissing)?;
    freshness::read(freshness.format, &text).map(Some)
}

fn fresh(rule: &Rule, scope: &Scope<'_, '_>, now: Timestamp) -> Result<(), Rejection> {
    let (Some(stamp), Some(freshness)) = (stamp(scope)?, &rule.provider.freshness) else {
        return Ok(());
    };
    let tolerance = rule.tolerance.unwrap_or(freshness.tolerance);
    freshness::check(stamp, now, tolerance, freshness.future)
}

/// The checks beside the signature, each under a secret of its own.
fn also(view: &View<'_>, keys: &Keyring) -> Result<(), Rejection> {
    for (also, key) in view.rule.provider.also.iter().zip(&keys.also) {
        let Some(key) = key else { continue };
        let frame = Frame::new(&also.scheme);
        let scope = Scope {
            frame: Some(&frame),
            key: key.secret.as_ref().map(crate::secret::Secret::expose),
            ..Scope::of(view)
        };
        let failed = || Rejection::AlsoFailed {
            secret: also.secret.clone(),
        };
        let candidates = match also.scheme.algorithm {
            crate::rule::scheme::Algorithm::Basic => {
                let found = view.basic()?.ok_or_else(failed)?;
                seal::Candidates::from_iter([Octets::from_slice(found)])
            }
            _ => seal::candidates(&also.scheme, &scope).map_err(|_| failed())?,
        };
        let mut good = false;
        let messages: Vec<Option<&Template>> = match also.scheme.messages.as_slice() {
            [] => vec![None],
            messages => messages.iter().map(Some).collect(),
        };
        for message in messages {
            let mut running = key.material.begin();
            if let Some(message) = message {
                evaluate::feed(message, &scope, &mut |bytes| running.update(bytes))?;
            }
            let finished = running.finish();
            good |= candidates
                .iter()
                .fold(false, |any, c| finished.verify(c) | any);
        }
        if !good {
            return Err(failed());
        }
    }
    Ok(())
}

/// Everything that must hold of a signed request: above all, that it is meant for us.
fn asserted(rule: &Rule, scope: &Scope<'_, '_>) -> Result<(), Rejection> {
    for assert in &rule.provider.asserts {
        if !evaluate::all_hold(&assert.when, scope)? {
            continue;
        }
        if !evaluate::holds(&assert.condition, scope)? {
            let field = assert.condition.is.to_string();
            return Err(if assert.addressee {
                Rejection::WrongAddressee { field }
            } else {
                Rejection::AssertionFailed { field }
            });
        }
    }
    Ok(())
}

fn confirmed(query: &QueryBack, scope: &Scope<'_, '_>) -> Result<(), Rejection> {
    let status = scope
        .answer
        .map(|answer| answer.status.as_str())
        .unwrap_or_default();
    if !same(status.as_bytes(), query.status.to_string().as_bytes()) {
        // A host that is ill, or that does not let us ask, says nothing about the event.
        let ours = ["401", "403", "408", "429"].contains(&status);
        if status.starts_with('5') || status.starts_with('3') || ours {
            return Err(Rejection::Unready {
                what: format!("the second source answered {status}"),
            });
        }
        return Err(Rejection::NotConfirmed {
            why: format!("status {status}"),
        });
    }
    for condition in &query.confirm {
        if !evaluate::holds(condition, scope)? {
            return Err(Rejection::NotConfirmed {
                why: condition.is.to_string(),
            });
        }
    }
    Ok(())
}

/// The answer to the first challenge that fits; none when the request is none.
fn challenged(
    signed: bool,
    scope: &Scope<'_, '_>,
    known: &Known,
) -> Result<Option<Step>, Rejection> {
    let challenges = &scope.view.rule.provider.challenges;
    for challenge in challenges.iter().filter(|c| c.signed == signed) {
        let Some(answer) = respond(challenge, scope)? else {
            continue;
        };
        if let Some((url, pin)) = &challenge.visit
            && !known.visited
        {
            let text = evaluate::text(url, scope)?.unwrap_or_default();
            let pinned = pinned(&text, pin)?;
            let request = outbound::visit(&pinned, VISIT_TIMEOUT);
            return Ok(Some(Step::Wanted(Want::Visit {
                request: Box::new(request),
            })));
        }
        return Ok(Some(Step::Done(Box::new(Judgement::Challenge(answer)))));
    }
    Ok(None)
}

fn respond(challenge: &Challenge, scope: &Scope<'_, '_>) -> Result<Option<Answer>, Rejection> {
    let method = &scope.view.request.method;
    if challenge
        .method
        .as_ref()
        .is_some_and(|wanted| wanted != method)
    {
        return Ok(None);
    }
    for condition in &challenge.when {
        match evaluate::holds(condition, scope) {
            Ok(true) => {}
            // A body that cannot be read this way asks nothing; as an event it is looked at next.
            Ok(false) | Err(_) => return Ok(None),
        }
    }
    let Some(reply) = repeated(&challenge.reply, challenge, scope)? else {
        return Ok(None);
    };
    let mut headers = Headers::with_capacity(2 + challenge.headers.len());
    if !reply.is_empty() {
        headers.push("content-type", challenge.content_type.clone());
        headers.push("x-content-type-options", "nosniff");
    }
    for (name, template) in &challenge.headers {
        let Some(value) = repeated(template, challenge, scope)? else {
            return Ok(None);
        };
        if http::HeaderValue::from_bytes(&value).is_err() {
            return Ok(None);
        }
        headers.push(name.clone(), value);
    }
    Ok(Some(Answer {
        status: StatusCode::from_u16(challenge.status).unwrap_or(StatusCode::OK),
        headers,
        body: Bytes::from(reply),
    }))
}

/// L12: what is sent back is short, and of an unsigned request only harmless characters.
fn repeated(
    template: &Template,
    challenge: &Challenge,
    scope: &Scope<'_, '_>,
) -> Result<Option<Vec<u8>>, Rejection> {
    let mut bytes = Vec::new();
    for piece in template.pieces() {
        match piece {
            Piece::Literal(literal) => bytes.extend_from_slice(literal),
            Piece::Value(value) => {
                if value.selector.from_request() {
                    // What is looked at is what the sender wrote, before anything is made of it.
                    let Some(raw) = scope.select(&value.selector)? else {
                        return Ok(None);
                    };
                    let fits = challenge
                        .charset
                        .is_none_or(|charset| charset.has_all(&raw));
                    if raw.len() > challenge.longest || !fits {
                        return Ok(None);
                    }
                }
                match evaluate::one(value, scope)? {
                    Some(found) => bytes.extend_from_slice(&found),
                    None => return Ok(None),
                }
            }
            Piece::Optional(_) => return Ok(None),
        }
    }
    Ok(Some(bytes))
}

impl Charset {
    fn has_all(self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| match self {
            Charset::Token => byte.is_ascii_alphanumeric() || b"._~-".contains(byte),
            Charset::Digits => byte.is_ascii_digit(),
            Charset::Hex => byte.is_ascii_hexdigit(),
            Charset::Printable => (b' '..=b'~').contains(byte) && !b"\"'<>&\\".contains(byte),
        })
    }
}
