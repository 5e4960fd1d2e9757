//! One request, step by step, for people: what was read, tried and compared on the way to the
//! verdict. It walks the functions of the live path beside the judge, whose word alone counts.
//! Secrets never stand in it, nor how long they are.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::message::RawRequest;
use crate::rule::scheme::{Condition, Test};
use crate::rule::template::{Selector, Template};
use crate::rule::{GuardMode, Rule};
use crate::verify::judge::Judgement;
use crate::verify::rejection::Rejection;
use crate::verify::scope::{Frame, Scope};
use crate::verify::view::View;
use crate::verify::want::Known;
use crate::verify::{Verifier, evaluate, freshness, outbound, payment};

mod signature;
mod written;

pub use written::{SECRET, shown};
use written::{sha256, written};

/// The step that compares parts of the request with what they must be.
pub const ASSERTS: &str = "what must hold";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Passed,
    Failed,
    /// Nothing to do here, or only something to know.
    Noted,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Step {
    pub name: String,
    pub outcome: Outcome,
    pub facts: Vec<Fact>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Fact {
    pub name: String,
    pub value: String,
}

/// What is looked at, and with what.
pub struct Subject<'t> {
    pub verifier: &'t Verifier,
    pub request: &'t RawRequest,
    pub now: Timestamp,
    pub known: &'t Known,
    pub verdict: &'t Result<Judgement, Rejection>,
    /// The address of the sender is known.
    pub peer_known: bool,
    /// Long texts are shown whole.
    pub full: bool,
}

struct Notes {
    full: bool,
    facts: Vec<Fact>,
}

impl Notes {
    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.facts.push(Fact {
            name: name.into(),
            value: value.into(),
        });
    }

    fn bytes(&mut self, name: impl Into<String>, bytes: &[u8]) {
        let shown = shown(bytes, self.full);
        self.add(name, shown);
    }
}

/// Every step of the verdict.
pub fn trace(subject: &Subject<'_>) -> Vec<Step> {
    let rule = subject.verifier.rule().as_ref();
    let keys = subject.verifier.keys();
    let view = View::new(subject.request, rule, &keys.secrets);
    let walk = Walk {
        subject,
        rule,
        view: &view,
    };
    let mut steps = vec![walk.guard(), walk.challenges(), walk.body()];
    let frames: Vec<Frame<'_>> = rule.provider.schemes.iter().map(Frame::new).collect();
    let mut fitted = None;
    for (index, frame) in frames.iter().enumerate() {
        let step = walk.scheme(index, frame);
        if step.outcome == Outcome::Passed && fitted.is_none() {
            fitted = Some(index);
        }
        steps.push(step);
    }
    if frames.is_empty() {
        let why = rule.provider.unverified_reason.clone();
        steps.push(walk.step("signature", |notes| {
            notes.add("scheme", "nothing is signed");
            if let Some(why) = why {
                notes.add("why", why);
            }
            Outcome::Noted
        }));
    }
    let frame = fitted.or((!frames.is_empty()).then_some(0));
    let frame = frame.and_then(|index| frames.get(index));
    let scope = Scope {
        frame,
        ..Scope::of(&view)
    };
    steps.extend(walk.also());
    steps.extend(walk.freshness(&scope));
    steps.extend(walk.asserts(&scope));
    steps.extend(walk.decrypt());
    steps.extend(walk.query_back(&scope));
    steps.push(walk.event(&scope));
    steps.push(walk.answer());
    steps
}

struct Walk<'w> {
    subject: &'w Subject<'w>,
    rule: &'w Rule,
    view: &'w View<'w>,
}

impl<'w> Walk<'w> {
    fn step(&self, name: impl Into<String>, look: impl FnOnce(&mut Notes) -> Outcome) -> Step {
        let mut notes = Notes {
            full: self.subject.full,
            facts: Vec::new(),
        };
        let outcome = look(&mut notes);
        Step {
            name: name.into(),
            outcome,
            facts: notes.facts,
        }
    }

    fn guard(&self) -> Step {
        let (rule, request) = (self.rule, self.subject.request);
        self.step("guard", |notes| {
            let mut good = true;
            let mut check = |notes: &mut Notes, name: &str, fits: bool, text: String| {
                good &= fits;
                let verdict = if fits { "" } else { "  ✗" };
                notes.add(name, format!("{text}{verdict}"));
            };
            let method = request.method.clone();
            check(notes, "method", rule.takes(&method), method.to_string());
            let above = rule.path.strip_suffix('*');
            let routed = above.map_or(request.path == rule.path, |p| request.path.starts_with(p));
            check(
                notes,
                "path",
                routed,
                format!("{} (source: {})", request.path, rule.path),
            );
            let mode = match rule.guard.mode {
                GuardMode::Enforce => "enforced",
                GuardMode::Log => "only logged",
            };
            match (&rule.guard.allow, self.subject.peer_known) {
                (None, _) => notes.add("address", "anyone may call"),
                (Some(list), false) => notes.add(
                    "address",
                    format!(
                        "a list of {} networks, {mode}; say --from to check it",
                        list.len()
                    ),
                ),
                (Some(_), true) => {
                    let fits = rule.allows(request.peer) || rule.guard.mode == GuardMode::Log;
                    check(notes, "address", fits, format!("{} ({mode})", request.peer));
                }
            }
            let (size, most) = (request.body.len(), rule.guard.body_max);
            check(
                notes,
                "body",
                size <= most,
                format!("{size} of at most {most} bytes"),
            );
            if good {
                Outcome::Passed
            } else {
                Outcome::Failed
            }
        })
    }

    fn challenges(&self) -> Step {
        let scope = Scope::of(self.view);
        self.step("challenge", |notes| {
            for challenge in &self.rule.provider.challenges {
                let method = challenge.method.as_ref();
                let fits = method.is_none_or(|method| *method == self.subject.request.method)
                    && evaluate::all_hold(&challenge.when, &scope).unwrap_or(false);
                let text = if fits { "it asks this" } else { "not asked" };
                notes.add(challenge.name.clone(), text);
            }
            match self.subject.verdict {
                Ok(Judgement::Challenge(answer)) => {
                    notes.add(
                        "reply",
                        format!("{}, {} bytes", answer.status, answer.body.len()),
                    );
                    Outcome::Passed
                }
                _ => {
                    if self.rule.provider.challenges.is_empty() {
                        notes.add("questions", "this provider asks none");
                    }
                    Outcome::Noted
                }
            }
        })
    }

    /// How the body is read, by whatever the provider's file reads of it.
    fn body(&self) -> Step {
        let body = &self.subject.request.body;
        self.step("decode", |notes| {
            if let Ok(Some(kind)) = self.view.header("content-type") {
                notes.bytes("content-type", kind);
            }
            notes.add(
                "body",
                format!("{} bytes, sha256 {}", body.len(), sha256(body)),
            );
            let mut good = true;
            let mut read = |notes: &mut Notes, name: &str, found: Result<String, Rejection>| {
                let text = found.unwrap_or_else(|fault| {
                    good = false;
                    fault.to_string()
                });
                notes.add(name, text);
            };
            let selectors = self.selectors();
            let any = |is: fn(&Selector) -> bool| selectors.iter().any(&is);
            if any(|s| {
                matches!(
                    s,
                    Selector::Json(_) | Selector::JsonRaw(_) | Selector::Item(_)
                )
            }) {
                read(
                    notes,
                    "as JSON",
                    self.view.json().map(|_| "good".to_owned()),
                );
            }
            if any(|s| matches!(s, Selector::Form(_))) {
                let form = self.view.form();
                read(
                    notes,
                    "as a form",
                    form.map(|f| format!("{} fields", f.iter().count())),
                );
            }
            if any(|s| matches!(s, Selector::Xml(_))) {
                let xml = self.view.xml();
                read(
                    notes,
                    "as XML",
                    xml.map(|x| format!("{} elements", x.iter_flat().count())),
                );
            }
            for part in &self.rule.provider.parts {
                let found = self.view.part(&part.name).map(|document| match document {
                    Some(document) => shown(document.bytes(), self.subject.full),
                    None => "not there".to_owned(),
                });
                read(
                    notes,
                    &format!("part {} from {}", part.name, part.from),
                    found,
                );
            }
            if good {
                Outcome::Passed
            } else {
                Outcome::Failed
            }
        })
    }

    /// What the templates of the provider's file read.
    fn selectors(&self) -> Vec<Selector> {
        let provider = &self.rule.provider;
        let schemes = provider.schemes.iter();
        let values = schemes.clone().filter_map(|scheme| scheme.value.as_ref());
        let values = values.map(|value| value.selector.clone());
        let messages = schemes.flat_map(|scheme| &scheme.messages);
        let templates = messages
            .chain(&provider.event.ids)
            .chain(&provider.event.kind);
        let read = templates.flat_map(Template::selectors).cloned();
        values.chain(read).collect()
    }

    fn also(&self) -> Option<Step> {
        let provider = &self.rule.provider;
        let set = provider.also.iter().zip(&self.subject.verifier.keys().also);
        let set: Vec<&str> = set
            .filter(|(_, key)| key.is_some())
            .map(|(also, _)| also.secret.as_str())
            .collect();
        if set.is_empty() {
            return None;
        }
        let failed = match self.subject.verdict {
            Err(Rejection::AlsoFailed { secret }) => Some(secret.clone()),
            _ => None,
        };
        Some(self.step("beside the signature", |notes| {
            for name in set {
                let bad = failed.as_deref() == Some(name);
                notes.add(
                    format!("secrets.{name}"),
                    if bad { "does not fit" } else { "looked at" },
                );
            }
            if failed.is_some() {
                Outcome::Failed
            } else {
                Outcome::Noted
            }
        }))
    }

    fn freshness(&self, scope: &Scope<'_, '_>) -> Option<Step> {
        let rule = self.rule.provider.freshness.as_ref()?;
        Some(self.step("freshness", |notes| {
            let now = self.subject.now;
            let tolerance = self.rule.tolerance.unwrap_or(rule.tolerance);
            let text = match evaluate::text(&rule.timestamp, scope) {
                Ok(Some(text)) => text,
                Ok(None) => {
                    notes.add(format!("stamp from {}", rule.timestamp), "not there");
                    return Outcome::Failed;
                }
                Err(fault) => {
                    notes.add(format!("stamp from {}", rule.timestamp), fault.to_string());
                    return Outcome::Failed;
                }
            };
            notes.bytes(format!("stamp from {}", rule.timestamp), &text);
            notes.add("now", now.to_string());
            notes.add(
                "tolerance",
                humantime::format_duration(tolerance).to_string(),
            );
            let stamp = match freshness::read(rule.format, &text) {
                Ok(stamp) => stamp,
                Err(fault) => {
                    notes.add("read", format!("{fault} (as {:?})", rule.format));
                    return Outcome::Failed;
                }
            };
            notes.add("read", stamp.to_string());
            let which = if stamp > now { "ahead of" } else { "behind" };
            let distance = stamp.distance(now).as_secs_f64();
            notes.add("distance", format!("{distance} s {which} this clock"));
            match freshness::check(stamp, now, tolerance, rule.future) {
                Ok(()) => Outcome::Passed,
                Err(_) => Outcome::Failed,
            }
        }))
    }

    fn asserts(&self, scope: &Scope<'_, '_>) -> Option<Step> {
        let asserts = &self.rule.provider.asserts;
        if asserts.is_empty() {
            return None;
        }
        Some(self.step(ASSERTS, |notes| {
            let mut good = true;
            for assert in asserts {
                let condition = &assert.condition;
                let name = condition.is.to_string();
                if !evaluate::all_hold(&assert.when, scope).unwrap_or(true) {
                    notes.add(name, "not looked at");
                    continue;
                }
                let holds = evaluate::holds(condition, scope).unwrap_or(false);
                good &= holds;
                let mark = if holds { "holds" } else { "does NOT hold" };
                notes.add(name, format!("{mark}: {}", compared(condition, scope)));
            }
            if good {
                Outcome::Passed
            } else {
                Outcome::Failed
            }
        }))
    }

    fn decrypt(&self) -> Option<Step> {
        let rule = self.rule.provider.decrypt.as_ref()?;
        Some(self.step("decrypt", |notes| {
            notes.add("algorithm", rule.algorithm.name());
            match self.view.plain() {
                Ok(Some(plain)) => {
                    notes.bytes("plain", plain.bytes());
                    Outcome::Passed
                }
                Ok(None) => {
                    notes.add("plain", "nothing is encrypted, or no secret is set for it");
                    Outcome::Noted
                }
                Err(fault) => {
                    notes.add("plain", fault.to_string());
                    Outcome::Failed
                }
            }
        }))
    }

    fn query_back(&self, scope: &Scope<'_, '_>) -> Option<Step> {
        let rule = self.rule.provider.query_back.as_ref()?;
        Some(self.step("query-back", |notes| {
            if !evaluate::all_hold(&rule.when, scope).unwrap_or(true) {
                notes.add("asked", "not for this event");
                return Outcome::Noted;
            }
            match outbound::build(&rule.request, scope, self.subject.now) {
                // The target may hold a secret.
                Ok(request) => notes.add(
                    "host",
                    format!("{} https://{}", request.method, request.host),
                ),
                Err(fault) => notes.add("host", fault.to_string()),
            }
            let Some(answer) = &self.subject.known.answer else {
                notes.add("answer", "not asked (--ask asks)");
                return Outcome::Noted;
            };
            notes.add("answer", format!("status {}", answer.status));
            match self.subject.verdict {
                Err(Rejection::NotConfirmed { why }) => {
                    notes.add("confirmed", format!("no: {why}"));
                    Outcome::Failed
                }
                Err(_) => Outcome::Noted,
                Ok(_) => Outcome::Passed,
            }
        }))
    }

    fn event(&self, scope: &Scope<'_, '_>) -> Step {
        self.step("event", |notes| {
            let event = &self.rule.provider.event;
            let (identity, seal) = match self.subject.verdict {
                Ok(Judgement::Event { identity, seal, .. }) => (identity, seal),
                Ok(Judgement::Challenge(_)) => {
                    notes.add("event", "none: the provider asks who is there");
                    return Outcome::Noted;
                }
                Err(_) => {
                    notes.add("event", "none: it was rejected");
                    return Outcome::Noted;
                }
            };
            notes.add("sealed by", seal.clone());
            notes.add("id", identity.text.clone());
            notes.add("type", identity.kind.clone());
            let made = match (&event.repeats, self.rule.inbox.key_signed) {
                (Some(_), _) => "every delivery is an event of its own".to_owned(),
                (None, true) => {
                    let texts: Vec<&str> =
                        self.rule.inbox.keys.iter().map(Template::as_str).collect();
                    format!("from the signed id {}", texts.join(" or "))
                }
                (None, false) => "the digest of what is signed; its id is not signed".to_owned(),
            };
            notes.add("idempotency key", made);
            if let Ok(Some(found)) = payment::payment(&self.rule.provider, scope) {
                for name in [
                    "order",
                    "transaction",
                    "amount",
                    "currency",
                    "status",
                    "confirmations",
                ] {
                    if let Some(value) = found.get(name) {
                        notes.add(format!("payment {name}"), value);
                    }
                }
            }
            Outcome::Passed
        })
    }

    fn answer(&self) -> Step {
        let answers = &self.rule.provider.answers;
        self.step("answer", |notes| {
            let answer = match self.subject.verdict {
                Ok(Judgement::Challenge(answer)) => answer,
                Ok(Judgement::Event { .. }) => &answers.accepted,
                Err(Rejection::Unready { .. }) => &answers.overloaded,
                Err(_) => &answers.rejected,
            };
            let body = shown(&answer.body, false);
            notes.add(
                "the provider hears",
                format!("{} {body}", answer.status).trim_end(),
            );
            Outcome::Noted
        })
    }
}

/// What is compared; what the source keeps secret is not shown.
fn compared(condition: &Condition, scope: &Scope<'_, '_>) -> String {
    let text = |template: &Template| {
        let found = written(template, scope);
        found.map_or_else(|fault| fault.to_string(), |message| message.text(false))
    };
    let is = text(&condition.is);
    match &condition.test {
        Test::Equals(wanted) => {
            let wanted: Vec<String> = wanted.iter().map(text).collect();
            // What is compared with a secret is it, or nearly so.
            let secret = wanted.iter().any(|wanted| wanted.contains(SECRET));
            let is = if secret { SECRET } else { &is };
            format!("{is} against {}", wanted.join(" or "))
        }
        Test::StartsWith(prefix) => format!("{is} must begin with {prefix}"),
        Test::Lacks(text) => format!("{is} must not hold {text:?}"),
        Test::Present(true) => format!("{is} must be there"),
        Test::Present(false) => "it must not be there".to_owned(),
    }
}
