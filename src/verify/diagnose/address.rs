//! Experiments on addresses: a path that a proxy rewrote, a `url` that is not the provider's.

use std::borrow::Cow;

use crate::message::RawRequest;
use crate::rule::Rule;
use crate::rule::scheme::Algorithm;
use crate::rule::template::{Selector, Template};
use crate::verify::diagnose::{Bench, Cause, proven};

impl Bench<'_> {
    pub(super) fn path(&self) -> Option<Cause> {
        let request = self.case.request;
        let url = self.rule.url.as_deref().and_then(path_and_query);
        let mut paths: Vec<(String, Option<String>)> = Vec::new();
        let queries = [
            request.query.clone(),
            None,
            url.as_ref().and_then(|(_, query)| query.clone()),
        ];
        let mut bare = vec![
            request.path.clone(),
            self.rule.path.trim_end_matches('*').to_owned(),
        ];
        bare.extend(url.map(|(path, _)| path));
        bare.push(format!("{}/", request.path));
        bare.extend(request.path.strip_suffix('/').map(str::to_owned));
        let slashes = request.path.match_indices('/').skip(1);
        bare.extend(slashes.filter_map(|(at, _)| request.path.get(at..).map(str::to_owned)));
        if let Ok(decoded) = crate::verify::form::decode(request.path.as_bytes(), false) {
            bare.extend(String::from_utf8(decoded.into_owned()));
        }
        for path in &bare {
            for query in &queries {
                paths.push((path.clone(), query.clone()));
            }
        }
        for (path, query) in paths {
            let changed = RawRequest {
                path: path.clone(),
                query: query.clone(),
                ..request.clone()
            };
            if self.request_helps(&changed) {
                return Some(proven(
                    "path_rewritten",
                    format!(
                        "it was signed for {} and arrived at {}: a proxy in front rewrites the \
                         address",
                        changed.target(),
                        request.target()
                    ),
                ));
            }
        }
        None
    }

    pub(super) fn url(&self) -> Option<Cause> {
        let keys = self.case.verifier.keys();
        let reads = self.rule.provider.schemes.iter().any(|scheme| {
            let of_messages = scheme.messages.iter().flat_map(Template::selectors);
            of_messages.into_iter().any(|s| *s == Selector::Url)
                || scheme.algorithm == Algorithm::HttpSignature
        });
        if !reads {
            return None;
        }
        for url in addresses(self.rule.url.as_deref(), self.case.request) {
            let rule = Rule {
                url: Some(url.clone()),
                ..Rule::clone(self.rule)
            };
            if self.helps(&rule, keys, self.case.request) {
                let set = self.rule.url.as_deref().unwrap_or("nothing");
                return Some(proven(
                    "url",
                    format!("it was signed for {url}, and `url` of the source says {set}"),
                ));
            }
        }
        None
    }
}

/// Addresses that the provider may know instead.
fn addresses(url: Option<&str>, request: &RawRequest) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let host = request.headers.only("host");
    let host = host.map(|host| String::from_utf8_lossy(host).into_owned());
    let mut bases: Vec<(String, String)> = Vec::new();
    if let Some((rest, target)) = url.and_then(split) {
        bases.push((rest, target));
    }
    if let Some(host) = host {
        bases.push((host, request.target()));
    }
    let mut targets: Vec<Cow<'_, str>> = bases.iter().map(|(_, t)| t.clone().into()).collect();
    targets.push(request.target().into());
    targets.push(request.path.clone().into());
    for (authority, _) in &bases {
        let name = authority.split(':').next().unwrap_or_default().to_owned();
        for scheme in ["https", "http"] {
            for authority in [
                authority.clone(),
                name.clone(),
                format!("{name}:443"),
                format!("{name}:80"),
                format!("{name}:8443"),
                format!("{name}:8080"),
            ] {
                for target in &targets {
                    let (path, query) = target.split_once('?').map_or((&**target, ""), |t| t);
                    let query = if query.is_empty() {
                        String::new()
                    } else {
                        format!("?{query}")
                    };
                    let own = request.query.as_ref().map(|q| format!("?{q}"));
                    let bare = path.trim_end_matches('/');
                    for query in [query, String::new(), own.unwrap_or_default()] {
                        for path in [path, bare, &format!("{bare}/")] {
                            let url = format!("{scheme}://{authority}{path}{query}");
                            if !found.contains(&url) {
                                found.push(url);
                            }
                        }
                    }
                }
            }
        }
    }
    found
}

fn split(url: &str) -> Option<(String, String)> {
    let (_, rest) = url.split_once("://")?;
    Some(match rest.find(['/', '?']) {
        Some(at) => (rest.get(..at)?.to_owned(), rest.get(at..)?.to_owned()),
        None => (rest.to_owned(), String::new()),
    })
}

fn path_and_query(url: &str) -> Option<(String, Option<String>)> {
    let (_, target) = split(url)?;
    Some(match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target, None),
    })
}
