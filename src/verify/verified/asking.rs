//! What a verdict has to ask of pinned hosts, and what their answers mean for it.

use std::sync::Arc;
use std::time::Duration;

use super::{Inner, Verifier};
use crate::clock::Timestamp;
use crate::message::RawRequest;
use crate::remote::{Outbound, RemoteAnswer, RemoteFault};
use crate::rule::scheme::{KeySource, PartForm};
use crate::rule::template::Selector;
use crate::verify::document::Document;
use crate::verify::keys::Key;
use crate::verify::outbound::place_of;
use crate::verify::params::shorten;
use crate::verify::rejection::Rejection;
use crate::verify::resolve::read_keys;
use crate::verify::scope::{self, Frame, Scope};
use crate::verify::view::View;

impl Verifier {
    pub(super) fn answer(&self, answer: RemoteAnswer) -> Result<scope::Answer, Rejection> {
        let form = match &self.0.rule.provider.query_back {
            Some(query) => query.answer,
            None => PartForm::Text,
        };
        let status = answer.status.to_string();
        let document = match Document::read(form, answer.body.to_vec()) {
            Ok(document) => document,
            // An error page beside an error status: the status speaks.
            Err(_) if answer.status != 200 => Document::read(PartForm::Text, Vec::new())?,
            Err(fault) => {
                return Err(unready(&format!("the second source's answer: {fault}")));
            }
        };
        Ok(scope::Answer { status, document })
    }

    /// The hosts that verifying may ask, each once. Addresses that only a request will name are not
    /// among them, unless the file names their host.
    pub fn places(&self) -> Vec<Outbound> {
        let rule = &self.0.rule;
        let provider = &rule.provider;
        let set = |selector: &Selector| match selector {
            Selector::Secret(name) => rule.secrets.contains_key(name),
            Selector::Config(name) => rule.config.contains_key(name),
            _ => true,
        };
        let of_keys = provider
            .schemes
            .iter()
            .filter_map(|scheme| match &scheme.key.source {
                KeySource::Jwks { request, .. } => Some(request),
                // Without all that fetching needs nobody is asked: the source names its keys.
                KeySource::Fetch(fetch) => {
                    fetch.settings().iter().all(set).then_some(&fetch.request)
                }
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
}

/// Keys to fetch.
pub(super) struct Errand {
    pub name: String,
    pub scheme: usize,
    pub id: Option<Vec<u8>>,
    pub ttl: Duration,
    pub outbound: Box<Outbound>,
}

impl Inner {
    pub(super) async fn fetch(
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

    pub(super) fn read(
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

pub(super) fn unready(what: &str) -> Rejection {
    Rejection::Unready {
        what: what.to_owned(),
    }
}

pub(super) fn asked(fault: &RemoteFault) -> Rejection {
    unready(&fault.to_string())
}

/// A host that was reached and knows no such key says that the request is wrong; one that was not
/// reached says nothing.
pub(super) fn not_fetched(fault: &RemoteFault, id: Option<&[u8]>) -> Rejection {
    match fault {
        // The key is not there, or not for us.
        RemoteFault::Status {
            status: 400 | 404 | 410,
        } if id.is_some() => Rejection::KeyUnknown {
            id: id.map(shorten).unwrap_or_default(),
        },
        RemoteFault::Unusable { why } if id.is_none() => {
            Rejection::KeyUntrusted { why: why.clone() }
        }
        RemoteFault::Unusable { .. } => Rejection::KeyUnknown {
            id: id.map(shorten).unwrap_or_default(),
        },
        // A pause after a failure, or too many unknown names: nothing is known of this key, and a
        // provider that is right must be able to try again.
        other => asked(other),
    }
}

pub(super) fn visited(answer: &RemoteAnswer) -> Result<bool, Rejection> {
    if (200..300).contains(&answer.status) {
        Ok(true)
    } else {
        Err(unready(&format!(
            "the address that was to be visited answered {}",
            answer.status
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::catalogue::PROVIDERS;
    use crate::rule::compile::{compile_provider, rule_for};
    use crate::secret::SecretRef;
    use crate::verify::Keyring;

    #[test]
    fn a_host_counts_only_when_all_that_asking_it_needs_is_set() {
        let known = PROVIDERS.iter().find(|(name, _)| *name == "wechatpay-v3");
        let (name, text) = known.unwrap();
        let provider = Arc::new(compile_provider(name, text).unwrap().0);
        let mut rule = rule_for(&provider, &provider.examples[0]);
        rule.secrets.clear();
        rule.config.clear();
        let hosts = |rule: &crate::rule::Rule| {
            let verifier = Verifier::new(Arc::new(rule.clone()), Keyring::default());
            verifier.places().len()
        };
        // The source names WeChat Pay's public key, and nothing to fetch certificates with.
        assert_eq!(hosts(&rule), 0);
        let KeySource::Fetch(fetch) = &provider.schemes[0].key.source else {
            panic!("wechatpay-v3 fetches");
        };
        for selector in fetch.settings() {
            match selector {
                Selector::Secret(name) => {
                    rule.secrets.insert(name, SecretRef::Env("X".to_owned()));
                }
                Selector::Config(name) => {
                    rule.config.insert(name, "x".to_owned());
                }
                _ => {}
            }
        }
        assert_eq!(hosts(&rule), 1);
    }
}
