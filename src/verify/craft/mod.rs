//! Test callbacks: an example of a provider's file, signed anew for this moment, as the provider
//! itself would sign it. What was made is judged by the verifier before anyone sees it.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};

use crate::clock::Timestamp;
use crate::message::RawRequest;
use crate::rule::provider::{Example, Provider};
use crate::rule::scheme::{Algorithm, Digest, KeySource, Scheme};
use crate::rule::template::{Selector, Template, Value};
use crate::rule::{KeyRef, Rule};
use crate::secret::{Secret, SecretRef};
use crate::verify::digest::digest;
use crate::verify::judge::Judgement;
use crate::verify::jws::{Jws, JwsAlgorithm};
use crate::verify::keys::{Keyring, algorithms};
use crate::verify::message::Request;
use crate::verify::place::{Draft, Unplaced};
use crate::verify::rejection::Rejection;
use crate::verify::{Verifier, evaluate, example, http_signature, rewrite, seal};

mod edits;
mod hand;
mod pair;
mod unsignable;

pub use pair::{Pair, pair_algorithm};
pub use unsignable::Unsignable;

use edits::{freshen, mark, query_read, settle, stamp};
use hand::{Hand, sign_one};

/// What is wanted.
pub struct Wish<'w> {
    pub example: &'w Example,
    /// The moment of the request.
    pub now: Timestamp,
    /// The moment that its stamp names.
    pub stamp: Timestamp,
    /// Makes a new event of it, where the id can be told.
    pub fresh: bool,
    /// In place of the example's.
    pub body: Option<Bytes>,
    /// Values to write before it is signed.
    pub set: &'w [(Value, Vec<u8>)],
}

/// A callback and what the verifier says of it.
#[derive(Debug)]
pub struct Made {
    pub request: RawRequest,
    pub verdict: Result<Judgement, Rejection>,
    /// The host that the gateway will ask before it believes it.
    pub asks: Option<String>,
}

/// Everything that is needed to sign for a source, or for a provider with its test keys.
pub struct Bench {
    verifier: Verifier,
    pair: Option<Pair>,
    /// A real source: its own path, address and settings take the place of the example's.
    own: bool,
}

/// The first scheme that can be signed with, or why there is none.
pub fn possible(provider: &Provider) -> Result<(), Unsignable> {
    if provider.schemes.is_empty() && provider.query_back.is_some() {
        return Err(Unsignable::QueryBack);
    }
    let mut why = None;
    for scheme in &provider.schemes {
        match scheme_possible(scheme) {
            Ok(()) => return Ok(()),
            Err(fault) => {
                why.get_or_insert(fault);
            }
        }
    }
    why.map_or(Ok(()), Err)
}

fn scheme_possible(scheme: &Scheme) -> Result<(), Unsignable> {
    match &scheme.key.source {
        KeySource::Given | KeySource::Fetch(_) => {}
        KeySource::Jwks { .. } => return Err(Unsignable::PublishedKeys),
        KeySource::CertificateUrl { .. } => return Err(Unsignable::CertificateAddress),
        KeySource::X5c { .. } | KeySource::Certificate { .. } => {
            return Err(Unsignable::CertificateInRequest);
        }
        KeySource::Signed(_) => return Err(Unsignable::SignedKey),
    }
    match scheme.algorithm {
        Algorithm::Rsa(Digest::Md5 | Digest::Sha1) => Err(Unsignable::OldDigest {
            algorithm: scheme.algorithm.name(),
        }),
        _ => Ok(()),
    }
}

/// The example for an action, by its name, or the first that is an event.
pub fn choose<'p>(
    provider: &'p Provider,
    action: Option<crate::rule::provider::Action>,
    name: Option<&str>,
) -> Result<&'p Example, Unsignable> {
    let events = || {
        let examples = provider.examples.iter();
        examples.filter(|e| e.rejected.is_none() && e.reply.is_none())
    };
    let none = |wanted: String| Unsignable::NoExample {
        wanted,
        offered: events()
            .map(|e| match e.action {
                Some(action) => format!("`{}` ({})", e.name, action_name(action)),
                None => format!("`{}`", e.name),
            })
            .collect(),
    };
    match (name, action) {
        (Some(name), _) => events()
            .find(|e| e.name == name)
            .ok_or_else(|| none(format!("`{name}`"))),
        (None, Some(action)) => events()
            .find(|e| e.action == Some(action))
            .ok_or_else(|| none(action_name(action).to_owned())),
        (None, None) => events()
            .find(|e| e.action.is_some())
            .or_else(|| events().find(|e| e.schemes.is_empty()))
            .or_else(|| events().next())
            .ok_or_else(|| none("an event".to_owned())),
    }
}

pub fn action_name(action: crate::rule::provider::Action) -> &'static str {
    match action {
        crate::rule::provider::Action::Payment => "payment",
        crate::rule::provider::Action::Refund => "refund",
        crate::rule::provider::Action::Cancel => "cancel",
    }
}

impl Bench {
    /// With the test keys of the provider's file; where those are public, with `pair`.
    pub fn of_example(
        provider: &Arc<Provider>,
        example: &Example,
        pair: Option<Pair>,
    ) -> Result<Bench, Unsignable> {
        let mut example = example.clone();
        if let Some(pair) = &pair {
            example.keys = vec![(pair.id.clone(), pair.public.clone())];
        }
        let verifier = example::verifier(provider, &example).map_err(unreadable)?;
        Ok(Bench {
            verifier,
            pair,
            own: false,
        })
    }

    /// With the source's own keys; where those are public, with `pair` in their place.
    pub fn of_source(rule: &Rule, keys: Keyring, pair: Option<Pair>) -> Result<Bench, Unsignable> {
        let Some(pair) = pair else {
            return Ok(Bench {
                verifier: Verifier::new(Arc::new(rule.clone()), keys),
                pair: None,
                own: true,
            });
        };
        let mut rule = rule.clone();
        rule.keys = vec![KeyRef {
            from: SecretRef::File(PathBuf::from("test-key")),
            id: pair.id.clone(),
            not_after: None,
            label: "the test key".to_owned(),
        }];
        let public = Secret::new(pair.public.clone().into_bytes());
        let keys = Keyring::trial(&rule, &[public], keys.secrets()).map_err(unreadable)?;
        Ok(Bench {
            verifier: Verifier::new(Arc::new(rule), keys),
            pair: Some(pair),
            own: true,
        })
    }

    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    pub fn into_verifier(self) -> Verifier {
        self.verifier
    }

    /// Makes the callback. A fresh id that spoils it (because it stands there twice) is left out.
    pub fn make(&self, wish: &Wish<'_>) -> Result<Made, Unsignable> {
        possible(&self.verifier.rule().provider)?;
        let made = self.judged(self.signed(wish, wish.fresh)?, wish.now);
        let stale = matches!(made.verdict, Err(Rejection::Stale { .. }));
        if !wish.fresh || made.verdict.is_ok() || made.asks.is_some() || stale {
            return Ok(made);
        }
        Ok(self.judged(self.signed(wish, false)?, wish.now))
    }

    /// What the verifier says, without asking anyone.
    pub fn judged(&self, request: RawRequest, now: Timestamp) -> Made {
        let mut asks = None;
        let verdict = self.verifier.judge_with(&request, now, &mut |outbound| {
            asks.get_or_insert_with(|| outbound.host.clone());
            None
        });
        Made {
            request,
            verdict,
            asks,
        }
    }

    /// The same with one byte changed, so that it must be rejected: of the body where that is
    /// signed, else of a header or the query.
    pub fn forged(&self, request: &RawRequest, now: Timestamp) -> Option<RawRequest> {
        let mut any = None;
        let places = (0..request.body.len()).rev();
        for at in places.filter(|at| request.body.get(*at).is_some_and(u8::is_ascii_digit)) {
            let mut body = request.body.to_vec();
            if let Some(byte) = body.get_mut(at) {
                *byte = if *byte == b'7' { b'3' } else { b'7' };
            }
            let changed = RawRequest {
                body: body.into(),
                ..request.clone()
            };
            match self.judged(changed.clone(), now).verdict {
                Err(Rejection::SignatureMismatch { .. }) => return Some(changed),
                Err(Rejection::Unready { .. }) | Ok(_) => {}
                Err(_) => {
                    any.get_or_insert(changed);
                }
            }
        }
        any.or_else(|| self.forged_header(request, now))
            .or_else(|| self.forged_query(request, now))
    }

    fn forged_query(&self, request: &RawRequest, now: Timestamp) -> Option<RawRequest> {
        let query = request.query.as_deref()?;
        let places = query.char_indices().rev();
        places
            .filter(|(_, letter)| letter.is_ascii_alphanumeric())
            .map(|(at, letter)| {
                let other = if letter == 'A' { "B" } else { "A" };
                let mut query = query.to_owned();
                query.replace_range(at..=at, other);
                RawRequest {
                    query: Some(query),
                    ..request.clone()
                }
            })
            .find(|changed| {
                let verdict = self.judged(changed.clone(), now).verdict;
                verdict.is_err_and(|reason| !matches!(reason, Rejection::Unready { .. }))
            })
    }

    fn forged_header(&self, request: &RawRequest, now: Timestamp) -> Option<RawRequest> {
        for index in 0..request.headers.len() {
            let mut headers = crate::message::Headers::with_capacity(request.headers.len());
            for (at, (name, value)) in request.headers.iter().enumerate() {
                let mut value = value.to_vec();
                if at == index
                    && let Some(byte) = value.last_mut()
                {
                    *byte = if *byte == b'A' { b'B' } else { b'A' };
                }
                headers.push(Bytes::copy_from_slice(name), value);
            }
            let changed = RawRequest {
                headers,
                ..request.clone()
            };
            if let Err(reason) = self.judged(changed.clone(), now).verdict
                && !matches!(reason, Rejection::Unready { .. })
            {
                return Some(changed);
            }
        }
        None
    }

    fn signed(&self, wish: &Wish<'_>, fresh: bool) -> Result<RawRequest, Unsignable> {
        let rule = self.verifier.rule();
        let mut draft = Draft {
            request: self.begun(wish),
            rule,
            keys: self.verifier.keys(),
            scheme: (!rule.provider.schemes.is_empty()).then_some(0),
            item: rule.provider.split.as_ref().map(|_| 0),
        };
        self.reencrypt(&mut draft, wish)?;
        for (value, new) in wish.set {
            draft.put(value, new)?;
        }
        if fresh && (!freshen(&mut draft) || !rule.provider.event.id_signed) {
            // Nothing that is signed names the event, so that its bytes do.
            mark(&mut draft);
        }
        settle(&mut draft);
        stamp(&mut draft, wish.stamp);
        let scheme = self.chosen(&draft)?;
        if let Some(index) = scheme {
            draft.scheme = Some(index);
            stamp(&mut draft, wish.stamp);
            self.name_key(&mut draft, index)?;
            // What is bound to the body is bound to it as it is now.
            settle(&mut draft);
            self.sign(&mut draft, index, wish.stamp)?;
        }
        self.also(&mut draft)?;
        draft.request.received_at = wish.now;
        Ok(draft.request)
    }

    fn begun(&self, wish: &Wish<'_>) -> RawRequest {
        let mut request = example::request(wish.example);
        if let Some(body) = &wish.body {
            request.body = body.clone();
        }
        if !self.own {
            return request;
        }
        let rule = self.verifier.rule();
        request.path = match rule.path.strip_suffix('*') {
            Some(above) => {
                let last = request.path.rsplit('/').next().unwrap_or_default();
                format!("{above}{last}")
            }
            None => rule.path.clone(),
        };
        if let Some(url) = &rule.url {
            let query = url.split_once('?').map(|(_, query)| query.to_owned());
            let read = query_read(&rule.provider);
            let kept = request.query.iter().flat_map(|query| query.split('&'));
            let kept = kept.filter(|pair| {
                let name = pair.split('=').next().unwrap_or_default();
                read.iter().any(|known| known == name)
            });
            let all: Vec<String> = query.into_iter().chain(kept.map(str::to_owned)).collect();
            request.query = (!all.is_empty()).then(|| all.join("&"));
        }
        request
    }

    /// What an example holds encrypted with its own secret is encrypted with the source's.
    fn reencrypt(&self, draft: &mut Draft<'_>, wish: &Wish<'_>) -> Result<(), Unsignable> {
        let rule = self.verifier.rule();
        if !self.own || rule.provider.decrypt.is_none() || wish.body.is_some() {
            return Ok(());
        }
        // Without the secret the source's gateway does not open that part either: it stays as it is.
        let set = |selector: &Selector| match selector {
            Selector::Secret(name) => rule.secrets.contains_key(name),
            _ => true,
        };
        let key = rule.provider.decrypt.as_ref().map(|decrypt| &decrypt.key);
        if key.is_some_and(|key| !key.selectors().into_iter().all(set)) {
            return Ok(());
        }
        let verifier = example::verifier(&rule.provider, wish.example).map_err(unreadable)?;
        let theirs = Draft {
            request: example::request(wish.example),
            rule: verifier.rule(),
            keys: verifier.keys(),
            scheme: None,
            item: None,
        };
        let plain = theirs.with_scope(|scope| {
            let plain = scope.view.plain().ok().flatten();
            plain.map(|document| document.bytes().to_vec())
        });
        match plain {
            Some(plain) => draft.enclose(&plain).map_err(Unsignable::from),
            None => Ok(()),
        }
    }

    /// The scheme to sign with: of those that apply and have a key, the one whose signature the
    /// example carries.
    fn chosen(&self, draft: &Draft<'_>) -> Result<Option<usize>, Unsignable> {
        let schemes = &draft.rule.provider.schemes;
        if schemes.is_empty() {
            return Ok(None);
        }
        let mut usable: Vec<(bool, usize)> = Vec::new();
        let mut why = None;
        for (index, scheme) in schemes.iter().enumerate() {
            if let Err(fault) = scheme_possible(scheme) {
                why.get_or_insert(fault);
                continue;
            }
            let (applies, present) = Draft {
                request: draft.request.clone(),
                scheme: Some(index),
                ..*draft
            }
            .with_scope(|scope| {
                let applies = evaluate::all_hold(&scheme.when, scope).unwrap_or(false);
                (applies, seal::present(scope).is_ok())
            });
            if applies && self.has_key(index, scheme) {
                usable.push((present, index));
            }
        }
        let best = usable.iter().find(|(present, _)| *present);
        match best.or(usable.first()) {
            Some((_, index)) => Ok(Some(*index)),
            None => Err(why.unwrap_or(Unsignable::NoKey)),
        }
    }

    fn has_key(&self, index: usize, scheme: &Scheme) -> bool {
        algorithms(scheme)
            .into_iter()
            .any(|algorithm| self.hand(index, algorithm).is_some())
    }

    /// What signs for an algorithm.
    fn hand(&self, index: usize, algorithm: Algorithm) -> Option<Hand<'_>> {
        if algorithm.is_asymmetric() {
            let pair = self.pair.as_ref()?;
            return (pair.algorithm == algorithm).then_some(Hand::Private(pair));
        }
        let given = self.verifier.keys().schemes.get(index)?;
        given.keys.iter().find_map(|key| {
            let secret = key.secret.as_ref().filter(|_| key.algorithm == algorithm)?;
            Some(Hand::Shared(secret.expose(), key.id.as_deref()))
        })
    }

    fn any_hand(&self, index: usize, scheme: &Scheme) -> Result<(Algorithm, Hand<'_>), Unsignable> {
        algorithms(scheme)
            .into_iter()
            .find_map(|algorithm| Some((algorithm, self.hand(index, algorithm)?)))
            .ok_or(Unsignable::NoKey)
    }

    fn name_key(&self, draft: &mut Draft<'_>, index: usize) -> Result<(), Unsignable> {
        let rule = draft.rule;
        let Some(scheme) = rule.provider.schemes.get(index) else {
            return Ok(());
        };
        let (_, hand) = self.any_hand(index, scheme)?;
        let template = scheme.key_id.as_ref().and_then(Template::as_single);
        if let (Some(value), Some(id)) = (template, hand.id()) {
            draft.put(value, id.as_bytes())?;
        }
        Ok(())
    }

    fn sign(&self, draft: &mut Draft<'_>, index: usize, at: Timestamp) -> Result<(), Unsignable> {
        let rule = draft.rule;
        let scheme = rule.provider.schemes.get(index).ok_or(Unsignable::NoKey)?;
        match scheme.algorithm {
            Algorithm::Jws => self.sign_token(draft, index, scheme),
            Algorithm::HttpSignature => self.sign_message(draft, index, scheme, at),
            algorithm => {
                let hand = self.hand(index, algorithm).ok_or(Unsignable::NoKey)?;
                let each = rule.provider.split.as_ref().is_some_and(|s| s.each);
                let items = if each {
                    draft.with_scope(|scope| scope.items().map(|items| items.len()).unwrap_or(0))
                } else {
                    1
                };
                for item in 0..items {
                    draft.item = rule.provider.split.as_ref().map(|_| item);
                    sign_one(draft, scheme, &hand)?;
                }
                Ok(())
            }
        }
    }

    fn sign_token(
        &self,
        draft: &mut Draft<'_>,
        index: usize,
        scheme: &Scheme,
    ) -> Result<(), Unsignable> {
        let value = scheme.value.as_ref().ok_or(Unsignable::NoKey)?;
        let old = draft.read(value).unwrap_or_default();
        let named = Jws::parse(&old).ok().and_then(|token| token.algorithm);
        let mut offered: Vec<JwsAlgorithm> = named.into_iter().collect();
        offered.extend(scheme.jws.iter().filter_map(|n| JwsAlgorithm::named(n)));
        let chosen = offered
            .into_iter()
            .filter(|algorithm| scheme.jws.contains(&algorithm.name()))
            .find_map(|a| Some((a, self.hand(index, a.algorithm())?)));
        let (algorithm, hand) = chosen.ok_or(Unsignable::NoKey)?;
        let within = ["header".to_owned(), "alg".to_owned()];
        let bad = || {
            Unsignable::Unplaced(Unplaced {
                field: value.selector.to_string(),
            })
        };
        let token = rewrite::token_put(&old, &within, algorithm.name().as_bytes());
        let token = token.ok_or_else(bad)?;
        let end = token.iter().rposition(|byte| *byte == b'.');
        let signed = end.and_then(|end| token.get(..end)).ok_or_else(bad)?;
        let signature = hand.sign(algorithm.algorithm(), signed)?;
        let encoded = BASE64URL_NOPAD.encode(&signature);
        let token = [signed, b".", encoded.as_bytes()].concat();
        Ok(draft.put(value, &token)?)
    }

    fn sign_message(
        &self,
        draft: &mut Draft<'_>,
        index: usize,
        scheme: &Scheme,
        at: Timestamp,
    ) -> Result<(), Unsignable> {
        let (algorithm, hand) = self.any_hand(index, scheme)?;
        if scheme.components.iter().any(|c| c == "content-digest") {
            let hash = BASE64.encode(&digest(Digest::Sha256, &draft.request.body));
            draft.set_header("content-digest", format!("sha-256=:{hash}:").as_bytes());
        }
        let list: Vec<String> = scheme.components.iter().map(|c| format!("{c:?}")).collect();
        let id = hand.id().map(|id| format!(";keyid={id:?}"));
        let input = format!(
            "sig1=({});created={}{}",
            list.join(" "),
            at.as_millis() / 1000,
            id.unwrap_or_default()
        );
        draft.set_header("signature-input", input.as_bytes());
        let base = draft.with_scope(|scope| {
            let parsed = http_signature::parse(&[input.as_bytes()], &[b"sig1=:AA==:"]).ok()?;
            http_signature::base(parsed.first()?, &Request { scope }).ok()
        });
        let base = base.ok_or_else(|| {
            Unsignable::Message(Rejection::FieldMissing {
                field: "url (the source must set it)".to_owned(),
            })
        })?;
        let signature = BASE64.encode(&hand.sign(algorithm, &base)?);
        draft.set_header("signature", format!("sig1=:{signature}:").as_bytes());
        Ok(())
    }

    /// The checks beside the signature.
    fn also(&self, draft: &mut Draft<'_>) -> Result<(), Unsignable> {
        let rule = draft.rule;
        for (also, key) in rule.provider.also.iter().zip(&self.verifier.keys().also) {
            if let Some(secret) = key.as_ref().and_then(|key| key.secret.as_ref()) {
                sign_one(draft, &also.scheme, &Hand::Shared(secret.expose(), None))?;
            }
        }
        Ok(())
    }
}

fn unreadable(errors: Vec<crate::verify::KeyError>) -> Unsignable {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Unsignable::Key(texts.join("; "))
}
