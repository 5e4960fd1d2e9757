//! Keys in words: what the merchant pastes, where other keys come from, and whom the gateway asks.

use std::time::Duration;

use crate::cli::providers::page::listed;
use crate::cli::providers::say::Say;
use crate::rule::provider::Provider;
use crate::rule::scheme::{
    Auth, Derive, Host, KeyKind, KeyRule, KeySource, RemoteRequest, Scheme, Trust,
};
use crate::rule::url::UrlPin;

/// How the text of a key becomes one.
pub fn codec(key: &KeyRule) -> String {
    let mut text = match key.kind {
        KeyKind::Utf8 => "a shared secret, the text as it is",
        KeyKind::Hex => "a shared secret in hexadecimal",
        KeyKind::Base64 => "a shared secret in base64",
        KeyKind::Base64Url => "a shared secret in base64 of the URL alphabet",
        KeyKind::Public => "a public key or certificate: PEM, or base64 of its DER",
        KeyKind::PublicHex => "a public key in hexadecimal",
        KeyKind::PublicBase64 => "a public key in base64",
    }
    .to_owned();
    if !key.strip_prefix.is_empty() {
        text.push_str(&format!(", without `{}` in front", key.strip_prefix));
    }
    match key.derive {
        None => {}
        Some(Derive::Sha1) => text.push_str("; the SHA-1 of it is the key"),
        Some(Derive::Sha256) => text.push_str("; the SHA-256 of it is the key"),
        Some(Derive::Md5Hex) => text.push_str("; the hexadecimal MD5 of it is the key"),
    }
    text
}

/// Where keys come from that the source does not name.
pub fn origin(say: Say<'_>, scheme: &Scheme) -> Option<String> {
    let named = |name: &Option<crate::rule::Template>| match name {
        Some(name) => format!(", for the name {}", say.template(name)),
        None => String::new(),
    };
    Some(match &scheme.key.source {
        KeySource::Given => return None,
        KeySource::Jwks { request, ttl } => format!(
            "fetched as a JSON Web Key Set from {}, kept for {}",
            address(request),
            time(*ttl)
        ),
        KeySource::CertificateUrl {
            url,
            pin,
            trust,
            name,
        } => format!(
            "the certificate at {}, only at {}; believed for {}{}; kept for 24h",
            say.template(url),
            pinned(pin),
            trusted(*trust),
            named(name)
        ),
        KeySource::X5c { length, trust, .. } => format!(
            "the {}certificates in the header of the signature, believed for {}",
            length.map_or(String::new(), |n| format!("{n} ")),
            trusted(*trust)
        ),
        KeySource::Certificate { from, trust, name } => format!(
            "the certificate in {}, believed for {}{}",
            say.template(from),
            trusted(*trust),
            named(name)
        ),
        KeySource::Signed(signed) => format!(
            "a key in the request, which one of the source's root keys has signed ({})",
            signed.algorithm.name()
        ),
        KeySource::Fetch(fetch) => {
            let needed = fetch.settings();
            let mut names: Vec<String> = needed.iter().map(|s| format!("`{s}`")).collect();
            names.sort();
            names.dedup();
            let condition = match names.as_slice() {
                [] => String::new(),
                names => format!(", once {} are set", listed(names, "and")),
            };
            format!(
                "fetched from {}{condition}; kept for {}",
                address(&fetch.request),
                time(fetch.ttl)
            )
        }
    })
}

fn trusted(trust: Trust) -> &'static str {
    match trust {
        Trust::Web => "a chain to the public roots",
        Trust::Keys => "a chain to the source's keys, which are root certificates",
        Trust::Host => "the TLS connection to that host",
    }
}

fn pinned(pin: &UrlPin) -> String {
    let hosts: Vec<String> = pin.hosts.iter().map(|h| h.as_str().to_owned()).collect();
    match pin.path.as_str() {
        "/" => listed(&hosts, "or"),
        path => format!("{} below {path}", listed(&hosts, "or")),
    }
}

/// Where a request of our own leads.
pub fn address(request: &RemoteRequest) -> String {
    match &request.host {
        Host::Pinned(hosts) => match hosts.as_slice() {
            [(_, host)] => format!("{host}{}", request.path),
            hosts => {
                let hosts: Vec<String> = hosts
                    .iter()
                    .map(|(name, host)| format!("{host} ({name})"))
                    .collect();
                format!("{} of {}", request.path, listed(&hosts, "or"))
            }
        },
        Host::Configured(name) => format!("{} of config `{name}`", request.path),
    }
}

pub fn auth(request: &RemoteRequest) -> &'static str {
    match &request.auth {
        None => "without authentication",
        Some(Auth::Bearer(_)) => "with a bearer token",
        Some(Auth::Basic { .. }) => "with HTTP Basic",
        Some(Auth::OAuth2 { .. }) => "with a token from its token endpoint",
        Some(Auth::Sign { .. }) => "signed with a key of yours",
    }
}

/// The hosts that the gateway asks for a provider's sake, and why.
pub fn hosts(provider: &Provider) -> Vec<(String, &'static str)> {
    let mut found: Vec<(String, &'static str)> = Vec::new();
    let mut add = |host: String, why| {
        if !found.contains(&(host.clone(), why)) {
            found.push((host, why));
        }
    };
    let of = |request: &RemoteRequest| match &request.host {
        Host::Pinned(hosts) => hosts
            .iter()
            .map(|(_, host)| host.trim_start_matches("https://").to_owned())
            .collect(),
        Host::Configured(name) => vec![format!("{{config:{name}}}")],
    };
    for scheme in &provider.schemes {
        match &scheme.key.source {
            KeySource::Jwks { request, .. } => {
                of(request).into_iter().for_each(|host| add(host, "keys"));
            }
            KeySource::Fetch(fetch) => {
                let hosts: Vec<String> = of(&fetch.request);
                hosts.into_iter().for_each(|host| add(host, "keys"));
            }
            KeySource::CertificateUrl { pin, .. } => {
                for host in &pin.hosts {
                    add(host.as_str().to_owned(), "certificates");
                }
            }
            KeySource::Given
            | KeySource::X5c { .. }
            | KeySource::Certificate { .. }
            | KeySource::Signed(_) => {}
        }
    }
    if let Some(query) = &provider.query_back {
        let hosts: Vec<String> = of(&query.request);
        hosts.into_iter().for_each(|host| add(host, "confirmation"));
    }
    for challenge in &provider.challenges {
        if let Some((_, pin)) = &challenge.visit {
            for host in &pin.hosts {
                add(host.as_str().to_owned(), "visit");
            }
        }
    }
    found
}

/// `1d 1h`: as the files write it, and never in months.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(duration.subsec_millis()), "ms"),
    ];
    let parts: Vec<String> = units
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    match parts.is_empty() {
        true => "0s".to_owned(),
        false => parts.join(" "),
    }
}
