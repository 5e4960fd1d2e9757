//! Why was it rejected? Experiments: something that often goes wrong is put right, and the same
//! verifier judges again. What then fits is the cause. Only for a person who asks: it costs
//! hundreds of verifications, and takes no care to hide its time.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::message::RawRequest;
use crate::rule::scheme::TimeFormat;
use crate::rule::{Provider, Rule};
use crate::secret::Secret;
use crate::verify::judge::{Step, judge};
use crate::verify::keys::Keyring;
use crate::verify::place::Draft;
use crate::verify::rejection::Rejection;
use crate::verify::want::{Known, Want};
use crate::verify::{Verifier, evaluate, freshness, variants};

mod address;
mod key;

/// A rejected request and everything that may help.
pub struct Case<'c> {
    pub verifier: &'c Verifier,
    /// The texts of the source's keys, in the order of its rule.
    pub texts: &'c [Secret],
    pub request: &'c RawRequest,
    pub now: Timestamp,
    pub known: &'c Known,
    /// The catalogue, for requests that another provider signed.
    pub catalogue: &'c [Arc<Provider>],
    /// Other sources, whose keys may have been meant.
    pub siblings: &'c [&'c Verifier],
}

/// What is probably wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cause {
    pub code: &'static str,
    pub text: String,
    /// With it put right, the signature fits.
    pub proven: bool,
}

/// The causes that an experiment proves; where none does, what is likely.
pub fn causes(case: &Case<'_>, rejection: &Rejection) -> Vec<Cause> {
    let bench = Bench {
        case,
        rule: case.verifier.rule(),
        before: stage_of(rejection),
    };
    let mut found = Vec::new();
    found.extend(bench.stamp(rejection));
    found.extend(bench.body());
    // After it: a body that was written anew has another length too.
    found.extend(bench.length());
    found.extend(bench.blanks_in_signature());
    found.extend(bench.path());
    found.extend(bench.url());
    found.extend(bench.other_key());
    found.extend(bench.key_reading());
    found.extend(bench.algorithm());
    found.extend(bench.sibling());
    found.extend(bench.other_provider());
    // Where one is proven, guesses only mislead.
    let any_proven = found.iter().any(|cause: &Cause| cause.proven);
    found.retain(|cause| cause.proven || !any_proven);
    let mut codes = Vec::new();
    found.retain(|cause| {
        let new = !codes.contains(&cause.code);
        codes.push(cause.code);
        new
    });
    found
}

/// How far a request came: the further, the better an experiment.
fn stage_of(rejection: &Rejection) -> u8 {
    match rejection {
        Rejection::MethodUnexpected => 0,
        Rejection::SignatureMissing
        | Rejection::SignatureMalformed
        | Rejection::SignatureMismatch { .. }
        | Rejection::TooManyCandidates { .. }
        | Rejection::KeyUnknown { .. }
        | Rejection::KeyExpired
        | Rejection::KeyUntrusted { .. }
        | Rejection::TimestampMissing
        | Rejection::TimestampMalformed
        | Rejection::HeaderRepeated { .. }
        | Rejection::FieldRepeated { .. }
        | Rejection::FieldMissing { .. }
        | Rejection::FieldMalformed { .. }
        | Rejection::SchemeUnknown
        | Rejection::Unready { .. }
        | Rejection::BodyMalformed { .. } => 1,
        Rejection::AlsoFailed { .. } => 2,
        Rejection::Stale { .. } | Rejection::FromTheFuture { .. } => 3,
        Rejection::WrongAddressee { .. } | Rejection::AssertionFailed { .. } => 4,
        Rejection::Undecipherable => 5,
        Rejection::NotConfirmed { .. } => 6,
    }
}

struct Bench<'c> {
    case: &'c Case<'c>,
    rule: &'c Arc<Rule>,
    before: u8,
}

fn proven(code: &'static str, text: impl Into<String>) -> Cause {
    Cause {
        code,
        text: text.into(),
        proven: true,
    }
}

fn guessed(code: &'static str, text: impl Into<String>) -> Cause {
    Cause {
        code,
        text: text.into(),
        proven: false,
    }
}

impl Bench<'_> {
    /// True when the change brings the request further than it came.
    fn helps(&self, rule: &Rule, keys: &Keyring, request: &RawRequest) -> bool {
        let judged = judge(rule, keys, request, self.case.now, self.case.known);
        let stage = match judged {
            Ok(Step::Done(_)) => 9,
            Ok(Step::Wanted(Want::Keys { .. })) => 1,
            Ok(Step::Wanted(Want::Confirmation { .. } | Want::Visit { .. })) => 6,
            Err(rejection) => stage_of(&rejection),
        };
        stage > self.before
    }

    fn request_helps(&self, request: &RawRequest) -> bool {
        self.helps(self.rule, self.case.verifier.keys(), request)
    }

    fn with_body(&self, body: Vec<u8>) -> RawRequest {
        RawRequest {
            body: body.into(),
            ..self.case.request.clone()
        }
    }

    /// The keys as another rule reads them.
    fn keys_of(&self, rule: &Rule, texts: &[Secret]) -> Option<Keyring> {
        Keyring::trial(rule, texts, self.case.verifier.keys().secrets()).ok()
    }

    fn rule_with(&self, change: impl FnOnce(&mut Provider)) -> Rule {
        let mut provider = Provider::clone(&self.rule.provider);
        change(&mut provider);
        Rule {
            provider: Arc::new(provider),
            ..Rule::clone(self.rule)
        }
    }

    fn length(&self) -> Option<Cause> {
        let request = self.case.request;
        let stated = request.headers.only("content-length")?;
        let stated: usize = std::str::from_utf8(stated).ok()?.trim().parse().ok()?;
        let found = request.body.len();
        if stated == found {
            return None;
        }
        if found < stated {
            return Some(guessed(
                "body_truncated",
                format!(
                    "{} of {stated} bytes of the body are missing: it was cut off, or captured \
                     only in part",
                    stated - found
                ),
            ));
        }
        let cut = request.body.get(..stated).unwrap_or_default().to_vec();
        let text = format!(
            "the body has {} bytes more than Content-Length says: they were added after it was \
             signed",
            found - stated
        );
        Some(match self.request_helps(&self.with_body(cut)) {
            true => proven("body_extended", text),
            false => guessed("body_extended", text),
        })
    }

    fn stamp(&self, rejection: &Rejection) -> Option<Cause> {
        let rule = self.rule.provider.freshness.as_ref()?;
        let keys = self.case.verifier.keys();
        let draft = |scheme| Draft {
            request: self.case.request.clone(),
            rule: self.rule,
            keys,
            scheme,
            item: None,
        };
        let schemes = 0..self.rule.provider.schemes.len();
        let text = schemes.map(Some).chain([None]).find_map(|scheme| {
            draft(scheme).with_scope(|scope| evaluate::text(&rule.timestamp, scope).ok().flatten())
        })?;
        let digits = text.iter().all(u8::is_ascii_digit).then_some(text.len());
        match (rule.format, digits) {
            (TimeFormat::Unix, Some(13)) => {
                return Some(guessed(
                    "timestamp_unit",
                    "the timestamp is in milliseconds, and this provider sends seconds",
                ));
            }
            (TimeFormat::UnixMillis, Some(10)) => {
                return Some(guessed(
                    "timestamp_unit",
                    "the timestamp is in seconds, and this provider sends milliseconds",
                ));
            }
            _ => {}
        }
        let stamp = freshness::read(rule.format, &text).ok()?;
        let (millis, which) = match rejection {
            Rejection::Stale { millis } => (*millis, "behind"),
            Rejection::FromTheFuture { millis } => (*millis, "ahead of"),
            _ => return None,
        };
        let tolerance = self.rule.tolerance.unwrap_or(rule.tolerance);
        let halves = (millis + 900_000) / 1_800_000;
        let off = millis.abs_diff(halves * 1_800_000);
        if (1..=28).contains(&halves) && u128::from(off) <= tolerance.as_millis().min(120_000) {
            let text = format!(
                "the stamp {stamp} is {} h {} min {which} this clock: somebody's time zone is \
                 wrong",
                halves / 2,
                halves % 2 * 30
            );
            return Some(guessed("time_zone", text));
        }
        Some(guessed(
            "clock",
            format!(
                "the stamp {stamp} is {} s {which} this clock: it was sent again without being \
                 signed again, captured a while ago (see --at), or a clock is wrong",
                millis / 1000
            ),
        ))
    }

    fn body(&self) -> Option<Cause> {
        let rewritten = variants::of(&self.case.request.body)
            .into_iter()
            .find(|variant| self.request_helps(&self.with_body(variant.body.clone())))?;
        Some(proven(
            rewritten.code,
            format!(
                "the body was changed on its way (by a proxy, a framework or the capture): when \
                 it was signed, {}",
                rewritten.what
            ),
        ))
    }

    /// Base64 whose `+` became a blank.
    fn blanks_in_signature(&self) -> Option<Cause> {
        for (index, scheme) in self.rule.provider.schemes.iter().enumerate() {
            let mut draft = Draft {
                request: self.case.request.clone(),
                rule: self.rule,
                keys: self.case.verifier.keys(),
                scheme: Some(index),
                item: self.rule.provider.split.as_ref().map(|_| 0),
            };
            let Some(value) = &scheme.value else { continue };
            let Some(text) = draft.read(value) else {
                continue;
            };
            if !text.contains(&b' ') {
                continue;
            }
            let plus: Vec<u8> = text
                .iter()
                .map(|b| if *b == b' ' { b'+' } else { *b })
                .collect();
            if draft.put(value, &plus).is_ok() && self.request_helps(&draft.request) {
                return Some(proven(
                    "plus_as_space",
                    "a + in the signature was decoded as a blank",
                ));
            }
        }
        None
    }
}
