//! The steps of one signature scheme: candidates, keys, messages.

use crate::rule::scheme::{Algorithm, Scheme};
use crate::verify::jws::Jws;
use crate::verify::message::{self, Request};
use crate::verify::primitive::Octets;
use crate::verify::rejection::Rejection;
use crate::verify::resolve::{Held, Resolved, Resolver, token};
use crate::verify::scope::{Frame, Scope};
use crate::verify::trace::written::{SECRET, sha256, shown, written};
use crate::verify::trace::{Notes, Outcome, Step, Walk};
use crate::verify::want::Want;
use crate::verify::{evaluate, header, http_signature, primitive};

impl<'w> Walk<'w> {
    pub(super) fn scheme(&self, index: usize, frame: &'w Frame<'w>) -> Step {
        let scheme = frame.scheme;
        let name = match scheme.name.as_str() {
            "" => "signature".to_owned(),
            name => format!("signature `{name}`"),
        };
        let scope = Scope {
            frame: Some(frame),
            ..Scope::of(self.view)
        };
        self.step(name, |notes| {
            notes.add("algorithm", scheme.algorithm.name());
            match evaluate::all_hold(&scheme.when, &scope) {
                Ok(true) => {}
                Ok(false) => {
                    notes.add("when", "it does not apply to this request");
                    return Outcome::Noted;
                }
                Err(fault) => {
                    notes.add("when", fault.to_string());
                    return Outcome::Failed;
                }
            }
            items(scheme, &scope, notes);
            let split = self.rule.provider.split.as_ref().filter(|split| split.each);
            let found = match split {
                None => self.one(index, &scope, notes),
                Some(_) => scope.items().and_then(|items| {
                    let mut all = !items.is_empty();
                    for (number, item) in items.into_iter().enumerate() {
                        notes.add("item", (number + 1).to_string());
                        let scope = Scope {
                            item: Some(item),
                            ..scope
                        };
                        all &= self.one(index, &scope, notes)?;
                    }
                    Ok(all)
                }),
            };
            match found {
                Ok(true) => Outcome::Passed,
                Ok(false) => Outcome::Failed,
                Err(fault) => {
                    notes.add("broke", fault.to_string());
                    Outcome::Failed
                }
            }
        })
    }

    /// Candidates, keys and messages of one scheme; true when one of each fits together.
    fn one(
        &self,
        index: usize,
        scope: &Scope<'_, '_>,
        notes: &mut Notes,
    ) -> Result<bool, Rejection> {
        let Some(scheme) = scope.frame.map(|frame| frame.scheme) else {
            return Ok(false);
        };
        let bearer = matches!(scheme.algorithm, Algorithm::Token | Algorithm::Basic);
        let mut candidates = Vec::new();
        if let Some(value) = &scheme.value
            && scheme.algorithm != Algorithm::Jws
        {
            for text in evaluate::all(value, scope)? {
                let decoded = primitive::decode(scheme.encoding, &text);
                let name = format!("candidate from {}", value.selector);
                match (&decoded, bearer) {
                    (_, true) => notes.add(name, SECRET),
                    (Some(bytes), false) => {
                        let length = bytes.len();
                        notes.add(name, format!("{} ({length} bytes)", shown(&text, true)));
                    }
                    (None, false) => {
                        let shown = shown(&text, true);
                        notes.add(
                            name,
                            format!("{shown} (not readable as {:?})", scheme.encoding),
                        );
                    }
                }
                candidates.extend(decoded);
            }
            if candidates.is_empty() {
                notes.add("candidates", "none");
            }
        }
        if scheme.algorithm == Algorithm::Basic {
            let found = self.view.basic()?;
            notes.add(
                "authorization",
                if found.is_some() { SECRET } else { "none" },
            );
            candidates.extend(found.map(Octets::from_slice));
        }
        if let Some(template) = &scheme.key_id {
            let id = evaluate::text(template, scope)?;
            let id = id.map_or_else(|| "not there".to_owned(), |id| shown(&id, true));
            notes.add(format!("key id from {template}"), id);
        }
        let resolver = Resolver {
            ring: self.subject.verifier.keys(),
            known: self.subject.known,
            now: self.subject.now,
        };
        let keys = match resolver.keys(index, scope) {
            Ok(Resolved::Keys(keys)) => keys,
            Ok(Resolved::Wanted(want)) => {
                notes.add("keys", format!("to be fetched from {}", place(&want)));
                return Ok(false);
            }
            Err(fault) => {
                for key in self.subject.verifier.keys().keys() {
                    notes.add("key of the source", known(key.id.as_deref(), &key.label));
                }
                self.messages(scheme, scope, &[], &candidates, notes);
                return Err(fault);
            }
        };
        match scheme.algorithm {
            Algorithm::Jws => self.token(scheme, scope, &keys, notes),
            Algorithm::HttpSignature => self.signed_message(scheme, scope, &keys, notes),
            _ => Ok(self.messages(scheme, scope, &keys, &candidates, notes)),
        }
    }

    fn messages(
        &self,
        scheme: &Scheme,
        scope: &Scope<'_, '_>,
        keys: &[Held<'_>],
        candidates: &[Octets],
        notes: &mut Notes,
    ) -> bool {
        let mut any = false;
        if scheme.messages.is_empty() {
            for key in keys {
                let finished = key.material.begin().finish();
                let fits = candidates
                    .iter()
                    .any(|candidate| finished.verify(candidate));
                any |= fits;
                notes.add("key tried", tried(key, fits));
            }
        }
        for template in &scheme.messages {
            notes.add("message", template.to_string());
            let message = match written(template, scope) {
                Ok(message) => message,
                Err(fault) => {
                    notes.add("", fault.to_string());
                    continue;
                }
            };
            message.note(notes);
            for key in keys {
                let scope = Scope {
                    key: key.secret.as_ref().map(crate::secret::Secret::expose),
                    ..*scope
                };
                let mut running = key.material.begin();
                let fed = evaluate::feed(template, &scope, &mut |bytes| running.update(bytes));
                let finished = running.finish();
                let fits = fed.is_ok() && candidates.iter().any(|c| finished.verify(c));
                any |= fits;
                notes.add("key tried", tried(key, fits));
            }
        }
        any
    }

    fn token(
        &self,
        scheme: &Scheme,
        scope: &Scope<'_, '_>,
        keys: &[Held<'_>],
        notes: &mut Notes,
    ) -> Result<bool, Rejection> {
        let text = token(scope)?;
        let token = Jws::parse(&text).map_err(|_| Rejection::SignatureMalformed)?;
        notes.bytes("header", &token.header);
        notes.bytes("payload", &token.payload);
        notes.add("signature", format!("{} bytes", token.signature.len()));
        let algorithm = token.algorithm.filter(|a| scheme.jws.contains(&a.name()));
        let algorithm = algorithm.ok_or(Rejection::SchemeUnknown)?.algorithm();
        notes.add(
            "signed",
            format!(
                "{} bytes, sha256 {}",
                token.signed.len(),
                sha256(token.signed)
            ),
        );
        let mut any = false;
        for key in keys.iter().filter(|key| key.algorithm == algorithm) {
            let mut running = key.material.begin();
            running.update(token.signed);
            let fits = running.finish().verify(&token.signature);
            any |= fits;
            notes.add("key tried", tried(key, fits));
        }
        Ok(any)
    }

    fn signed_message(
        &self,
        scheme: &Scheme,
        scope: &Scope<'_, '_>,
        keys: &[Held<'_>],
        notes: &mut Notes,
    ) -> Result<bool, Rejection> {
        for input in message::inputs(scheme, scope)? {
            notes.add("signature", input.label.clone());
            match http_signature::base(&input, &Request { scope }) {
                Ok(base) => {
                    notes.bytes("signed", &base);
                    notes.add(
                        "",
                        format!("{} bytes, sha256 {}", base.len(), sha256(&base)),
                    );
                    for key in keys {
                        let mut running = key.material.begin();
                        running.update(&base);
                        let fits = running.finish().verify(&input.signature);
                        notes.add("key tried", tried(key, fits));
                    }
                }
                Err(fault) => notes.add("signed", fault.to_string()),
            }
        }
        if scheme.components.iter().any(|c| c == "content-digest") {
            let digest: Vec<&[u8]> = self.view.headers("content-digest").collect();
            let body = &self.subject.request.body;
            let found = http_signature::content_digest(&digest, body);
            let text = found.map_or_else(|f| f.to_string(), |()| "is the body's".to_owned());
            notes.add("content-digest", text);
        }
        let (made_by, _) = message::signed_by(scheme, scope, keys, self.subject.now)?;
        Ok(made_by.is_some())
    }
}

fn items(scheme: &Scheme, scope: &Scope<'_, '_>, notes: &mut Notes) {
    let Some(grammar) = &scheme.header else {
        return;
    };
    let Ok(Some(text)) = evaluate::one(&grammar.from, scope) else {
        return notes.add(grammar.from.selector.to_string(), "not there");
    };
    for (index, placed) in header::items(&text, grammar).into_iter().enumerate() {
        let name = match placed.name {
            Some(name) => shown(text.get(name).unwrap_or_default(), true),
            None => (index + 1).to_string(),
        };
        let value = text.get(placed.value).unwrap_or_default();
        notes.bytes(format!("item {name}"), value);
    }
}

fn known(id: Option<&str>, label: &str) -> String {
    match id {
        Some(id) if id != label => format!("{label}, id {id}"),
        _ => label.to_owned(),
    }
}

fn tried(key: &Held<'_>, fits: bool) -> String {
    let label = known(key.id.as_deref(), &key.label);
    format!("{label}: {}", if fits { "fits" } else { "does not fit" })
}

fn place(want: &Want) -> String {
    match want {
        Want::Keys { request, .. } | Want::Confirmation { request } | Want::Visit { request } => {
            format!("https://{}", request.host)
        }
    }
}
