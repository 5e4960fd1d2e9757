//! A source as text: the rule file that `init` writes and that `providers NAME` shows.

use crate::rule::Provider;
use crate::rule::compile::reads_url;
use crate::rule::scheme::{Host, KeyKind, KeySource, Scheme};

/// What a person decides about a new source.
pub struct Draft<'a> {
    /// Its name, and that of its file.
    pub name: &'a str,
    pub path: &'a str,
    /// Where the key lies; none: a place after the name.
    pub key: Option<&'a str>,
    pub forward: &'a str,
}

/// The text of the file: four lines, and what the provider asks for besides. What is optional
/// stands there as a comment.
pub fn text(provider: &Provider, draft: &Draft<'_>) -> String {
    let mut text = format!(
        "provider = {}\npath     = {}\n",
        quoted(&provider.name),
        quoted(draft.path)
    );
    if provider.takes_keys() {
        text.push_str(&keys(provider, draft));
    }
    text.push_str(&format!("forward  = {}\n", quoted(draft.forward)));
    if reads_url(provider) {
        let url = format!("https://callbacks.example.com{}", draft.path);
        let remark = "the address as the provider knows it";
        text.push_str(&format!("url      = {}   # {remark}\n", quoted(&url)));
    }
    let chosen: Vec<String> = provider
        .schemes
        .iter()
        .filter(|scheme| scheme.opt_in)
        .map(|scheme| quoted(&scheme.name))
        .collect();
    if !chosen.is_empty() {
        let remark = "in place of the usual ones";
        text.push_str(&format!(
            "# schemes = [{}]   # {remark}\n",
            chosen.join(", ")
        ));
    }
    if !provider.verifies() {
        text.push_str("verify        = \"none\"\n");
        text.push_str("verify_reason = \"\"   # why you accept that anyone can send its events\n");
    }
    text.push_str(&settings(provider, draft.name));
    text
}

fn keys(provider: &Provider, draft: &Draft<'_>) -> String {
    let used = |scheme: &&Scheme| !scheme.opt_in;
    let schemes = || provider.schemes.iter().filter(used);
    let place = match draft.key {
        Some(place) => place.to_owned(),
        None if schemes().all(is_public) => format!("file:{}.pem", draft.name),
        None => format!("env:{}_SECRET", variable(draft.name)),
    };
    // Of keys that can be fetched none is named, unless what fetching needs is left open.
    let given = |scheme: &Scheme| !is_fetched(scheme) || is_asked(scheme) && !can_ask(provider);
    // A certificate brings its own id.
    let named = schemes().any(|scheme| scheme.key_id.is_some() && given(scheme));
    let key = match named {
        true => format!(
            "{{ from = {}, id = \"\" }}   # as the provider calls it; a certificate needs no id",
            quoted(&place)
        ),
        false => quoted(&place),
    };
    let line = match key.split_once("   #") {
        Some((key, remark)) => format!("keys     = [{key}]   #{remark}\n"),
        None => format!("keys     = [{key}]\n"),
    };
    if provider.needs_keys() || !schemes().all(is_fetched) {
        line
    } else if schemes().any(is_asked) && !can_ask(provider) {
        match named {
            true => format!("{}; or set what fetching needs\n", line.trim_end()),
            false => format!("{}   # or set what fetching needs\n", line.trim_end()),
        }
    } else if schemes().all(is_published) {
        "# keys are fetched\n".to_owned()
    } else {
        format!("# keys are fetched; those of your own would come first:\n# {line}")
    }
}

/// True when the source has no choice but to set what fetching needs.
fn can_ask(provider: &Provider) -> bool {
    provider.schemes.iter().all(|scheme| {
        let KeySource::Fetch(fetch) = &scheme.key.source else {
            return true;
        };
        fetch.settings().iter().all(|selector| {
            let (settings, name) = match selector {
                crate::rule::template::Selector::Secret(name) => (&provider.secrets, name),
                crate::rule::template::Selector::Config(name) => (&provider.config, name),
                _ => return true,
            };
            settings.get(name).is_some_and(|setting| !setting.optional)
        })
    })
}

fn is_fetched(scheme: &Scheme) -> bool {
    match &scheme.key.source {
        KeySource::Jwks { .. } | KeySource::Fetch(_) | KeySource::CertificateUrl { .. } => true,
        KeySource::Given
        | KeySource::X5c { .. }
        | KeySource::Certificate { .. }
        | KeySource::Signed(_) => false,
    }
}

fn is_asked(scheme: &Scheme) -> bool {
    matches!(scheme.key.source, KeySource::Fetch(_))
}

/// What the source names is not looked at, or only as a root.
fn is_published(scheme: &Scheme) -> bool {
    matches!(
        scheme.key.source,
        KeySource::CertificateUrl { .. } | KeySource::Jwks { .. }
    )
}

fn is_public(scheme: &Scheme) -> bool {
    match scheme.key.kind {
        KeyKind::Public => true,
        // One line of text, which fits into a variable.
        KeyKind::PublicHex
        | KeyKind::PublicBase64
        | KeyKind::Utf8
        | KeyKind::Hex
        | KeyKind::Base64
        | KeyKind::Base64Url => false,
    }
}

/// The tables `[config]` and `[secrets]`.
fn settings(provider: &Provider, name: &str) -> String {
    let mut text = String::new();
    let mut config: Vec<String> = provider
        .config
        .iter()
        .map(|(name, setting)| {
            let mark = if setting.optional { "# " } else { "" };
            format!(
                "{mark}{} = \"\"   # {}\n",
                bare(name),
                one_line(&setting.meaning)
            )
        })
        .collect();
    let environments = environments(provider);
    if environments.len() > 1 && !provider.config.contains_key("environment") {
        let (first, rest) = (environments.first().cloned(), environments.get(1..));
        config.push(format!(
            "# environment = {}   # or {}\n",
            quoted(&first.unwrap_or_default()),
            rest.unwrap_or_default().join(", ")
        ));
    }
    if !config.is_empty() {
        text.push_str("\n[config]\n");
        text.extend(config);
    }
    if !provider.secrets.is_empty() {
        text.push_str("\n[secrets]\n");
        for (secret, setting) in &provider.secrets {
            let mark = if setting.optional { "# " } else { "" };
            let place = format!("env:{}_{}", variable(name), variable(secret));
            let (secret, place) = (bare(secret), quoted(&place));
            let meaning = one_line(&setting.meaning);
            text.push_str(&format!("{mark}{secret} = {place}   # {meaning}\n"));
        }
    }
    text
}

/// The names under which a provider's hosts are known, where there are several.
pub fn environments(provider: &Provider) -> Vec<String> {
    let asked = provider.query_back.iter().map(|query| &query.request);
    let fetched = provider.schemes.iter().filter_map(|s| match &s.key.source {
        KeySource::Fetch(fetch) => Some(&fetch.request),
        _ => None,
    });
    let mut names: Vec<String> = Vec::new();
    for request in asked.chain(fetched) {
        if let Host::Pinned(hosts) = &request.host {
            for (name, _) in hosts {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
    }
    names
}

fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// A comment ends with its line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<&str>>().join(" ")
}

/// A key of TOML.
fn bare(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    match !name.is_empty() && name.bytes().all(plain) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
