//! A provider file, table by table.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::rule::compile::lint::{self, Use, Words};
use crate::rule::compile::scheme::params;
use crate::rule::compile::{answer, example};
use crate::rule::provider::{
    Challenge, Contract, EventIdentity, Freshness, Provider, Scheme, TimeFormat,
};
use crate::rule::reader::{Field, Problems, Table, optional};
use crate::rule::template::Selector;
use crate::rule::text::nearest;
use crate::rule::{Template, value};

pub(super) fn compile(name: &str, problems: &Problems) -> Option<Provider> {
    let document = problems.parse(problems.text());
    let root = Table::root(problems, &document);
    let title = root
        .need("title", "the provider's name, as people know it")
        .and_then(|f| f.text());
    let docs = root
        .need("docs", "the address of its documentation")
        .and_then(|f| f.text());
    let notes = root.get("notes").map(|f| f.texts()).unwrap_or_default();
    let methods = root
        .get("methods")
        .map_or_else(|| Some(vec![Method::POST]), |f| methods(&f));
    let config = root
        .get("config")
        .and_then(|f| meanings(&f))
        .unwrap_or_default();
    let secrets = root
        .get("secrets")
        .and_then(|f| meanings(&f))
        .unwrap_or_default();
    let params = root.get("params").map(|f| params(&f));
    let key = root.get("key");
    let signature = root.get("signature");
    let grammar = signature
        .as_ref()
        .filter(|f| f.is_table())
        .and_then(Field::table);
    let words = Words {
        config: &config,
        secrets: &secrets,
        has_header: grammar.is_some_and(|table| table.get("header").is_some()),
        has_params: params.is_some(),
    };
    let reading = Reading {
        root: &root,
        words: &words,
    };
    let reason = reading.unverified(signature.as_ref());
    let scheme = signature
        .as_ref()
        .map(|f| reading.scheme(f, key.as_ref(), params));
    let known = scheme.as_ref().and_then(Option::as_ref);
    let freshness = root.get("freshness").map(|f| reading.freshness(&f, known));
    let event = reading.event(root.get("event").as_ref(), known);
    let challenge = root.get("challenge").map(|f| reading.challenge(&f, known));
    let answers = answer::answers(root.get("answer").as_ref());
    let contract = root
        .get("contract")
        .map_or(Some(Contract::default()), |f| contract(&f));
    let examples = example::examples(root.get("example").as_ref());
    root.finish();
    if problems.has_errors() {
        return None;
    }
    Some(Provider {
        name: name.to_owned(),
        title: title?.to_owned(),
        docs: docs?.to_owned(),
        notes: notes.into_iter().map(str::to_owned).collect(),
        methods: methods?,
        scheme: optional(scheme)?,
        unverified_reason: reason,
        freshness: optional(freshness)?,
        event: event?,
        challenge: optional(challenge)?,
        answers: answers?,
        contract: contract?,
        config,
        secrets,
        examples: examples?,
    })
}

fn methods(field: &Field<'_>) -> Option<Vec<Method>> {
    let method = |field: &Field<'_>| match field.text()? {
        "POST" => Some(Method::POST),
        "GET" => Some(Method::GET),
        "PUT" => Some(Method::PUT),
        other => {
            let message = format!("`{other}` is no method of callbacks: POST, GET, PUT");
            field
                .problems
                .error(field.span.clone(), "bad_value", message);
            None
        }
    };
    field.list().iter().map(method).collect()
}

/// Names and what they mean.
pub(super) fn meanings(field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let table = field.table()?;
    table
        .entries()
        .map(|(name, f)| Some((name.to_owned(), f.text()?.to_owned())))
        .collect()
}

/// One of a few words.
pub(super) fn choice<T: Copy>(field: &Field<'_>, choices: &[(&str, T)]) -> Option<T> {
    let text = field.text()?;
    let found = choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("`{}` cannot be `{text}`", field.path);
        let hint = match nearest(text, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is one of: {}", names.join(", ")),
        };
        field
            .problems
            .error_with(field.span.clone(), "bad_value", message, hint);
    }
    found
}

fn contract(field: &Field<'_>) -> Option<Contract> {
    let table = field.table()?;
    let horizon = table.get("horizon").map(|f| f.parsed(value::duration));
    let deadline = table.get("deadline").map(|f| f.parsed(value::duration));
    let list = |name| table.get(name).map(|f| f.list()).unwrap_or_default();
    let retries: Option<Vec<Duration>> = list("retries")
        .iter()
        .map(|f| f.parsed(value::pause))
        .collect();
    let addresses: Option<Vec<_>> = list("addresses")
        .iter()
        .map(|f| f.parsed(value::network))
        .collect();
    table.finish();
    let (retries, addresses) = (retries?, addresses?);
    let total = retries.iter().sum::<Duration>();
    let horizon = match horizon {
        Some(horizon) => Some(horizon?),
        None if retries.is_empty() => None,
        None => Some(total),
    };
    if horizon.is_some_and(|horizon| horizon < total) {
        let message = "the pauses between retries add up to more than the horizon";
        table_error(field, message);
    }
    Some(Contract {
        horizon,
        deadline: optional(deadline)?,
        retries,
        addresses,
    })
}

pub(super) fn table_error(field: &Field<'_>, message: &str) {
    field
        .problems
        .error(field.key.clone(), "bad_value", message);
}

/// The tables that need to know about each other.
pub(super) struct Reading<'r, 'a> {
    root: &'r Table<'a>,
    words: &'r Words<'r>,
}

impl Reading<'_, '_> {
    pub(super) fn problems(&self) -> &Problems {
        self.root.problems
    }

    pub(super) fn template(&self, field: &Field<'_>, purpose: Use) -> Option<Template> {
        let template = field.template()?;
        self.words.check(field, &template, purpose);
        Some(template)
    }

    /// `verify = "none"` and its reason; a file has either that or a signature.
    fn unverified(&self, signature: Option<&Field<'_>>) -> Option<String> {
        let verify = self.root.get("verify");
        let reason = self.root.get("verify_reason");
        let none = match &verify {
            Some(field) => choice(field, &[("none", ())]).is_some(),
            None => false,
        };
        match (signature, none, &reason) {
            (Some(field), true, _) => {
                table_error(
                    field,
                    "a file says either [signature] or `verify = \"none\"`",
                );
            }
            (None, false, _) if verify.is_none() => self.problems().error_with(
                0..0,
                "no_verifier",
                "this provider has no verifier: `[signature]` is missing",
                "a provider that signs nothing says `verify = \"none\"` and `verify_reason`",
            ),
            (None, true, None) => self.problems().error(
                verify.as_ref().map_or(0..0, |f| f.span.clone()),
                "missing_key",
                "`verify = \"none\"` needs `verify_reason`",
            ),
            (Some(_), false, Some(reason)) => {
                table_error(reason, "`verify_reason` belongs to `verify = \"none\"`");
            }
            (Some(_), false, None) | (None, _, _) => {}
        }
        reason
            .filter(|_| none)
            .and_then(|field| field.text())
            .map(str::to_owned)
    }

    fn freshness(&self, field: &Field<'_>, scheme: Option<&Scheme>) -> Option<Freshness> {
        let table = field.table()?;
        let timestamp = table
            .need("timestamp", "where it stands, e.g. `{sig:t}`")
            .and_then(|f| {
                let template = self.template(&f, Use::Shown)?;
                if let Some(scheme) = scheme {
                    // L1: anyone could set a timestamp that is not signed to the time of the replay.
                    let why = "anyone can change it, so it proves nothing; leave [freshness] out";
                    lint::covered(scheme, &f, &template, "timestamp_unsigned", why);
                }
                Some(template)
            });
        let formats = [
            ("unix", TimeFormat::Unix),
            ("unix_ms", TimeFormat::UnixMillis),
            ("rfc3339", TimeFormat::Rfc3339),
        ];
        let format = table
            .need("format", "one of: unix, unix_ms, rfc3339")
            .and_then(|f| choice(&f, &formats));
        let tolerance = table
            .need(
                "tolerance",
                "how far the clocks may be apart, both ways, e.g. `5m`",
            )
            .and_then(|f| f.parsed(value::duration));
        table.finish();
        Some(Freshness {
            timestamp: timestamp?,
            format: format?,
            tolerance: tolerance?,
        })
    }

    fn event(&self, field: Option<&Field<'_>>, scheme: Option<&Scheme>) -> Option<EventIdentity> {
        let nothing = EventIdentity {
            id: Template::default(),
            id_signed: false,
            kind: None,
        };
        let Some(field) = field else {
            return Some(nothing);
        };
        let table = field.table()?;
        let id = table.get("id").map_or(Some(Template::default()), |f| {
            let id = self.template(&f, Use::Shown)?;
            lint::tells_events_apart(&f, &id);
            Some(id)
        });
        let kind = table.get("type").map(|f| self.template(&f, Use::Shown));
        table.finish();
        let id = id?;
        let id_signed = signed(scheme, &id);
        Some(EventIdentity {
            id,
            id_signed,
            kind: optional(kind)?,
        })
    }

    /// L12: only signed bytes are ever sent back, and few of them, as text.
    fn challenge(&self, field: &Field<'_>, scheme: Option<&Scheme>) -> Option<Challenge> {
        let table = field.table()?;
        let why = "only what is signed is ever sent back";
        let check = |f: &Field<'_>, template: &Template| match scheme {
            Some(scheme) => lint::covered(scheme, f, template, "challenge_unsigned", why),
            None => true,
        };
        let mut conditions = Vec::new();
        if let Some(when) = table.need(
            "when",
            "`{ is = \"{json:/type}\", equals = \"…\" }`: how a challenge is known",
        ) {
            for condition in when.list() {
                let inner = condition.table()?;
                let is = inner.need("is", "a template")?;
                let template = self.template(&is, Use::Shown)?;
                check(&is, &template);
                let equals = inner.need("equals", "the text that it must give")?.text()?;
                inner.finish();
                conditions.push((template, Bytes::copy_from_slice(equals.as_bytes())));
            }
        }
        let reply = table.need("reply", "what is sent back").and_then(|f| {
            let template = self.template(&f, Use::Shown)?;
            check(&f, &template);
            Some(template)
        });
        let reply_max = table
            .get("reply_max")
            .map_or(Some(512), |f| f.integer(1..=4096));
        let kinds = [
            ("text/plain", "text/plain"),
            ("application/json", "application/json"),
        ];
        let content_type = table
            .get("content_type")
            .map_or(Some("text/plain"), |f| choice(&f, &kinds));
        table.finish();
        Some(Challenge {
            when: conditions,
            reply: reply?,
            reply_max: usize::try_from(reply_max?).ok()?,
            content_type: content_type?.to_owned(),
        })
    }
}

/// True when all that `template` reads is covered by the signature (lint L9).
pub(super) fn signed(scheme: Option<&Scheme>, template: &Template) -> bool {
    scheme.is_some_and(|scheme| template.selectors().into_iter().all(|s| scheme.covers(s)))
}

/// Templates of a source that replace the provider's own are held to the same rules.
pub(super) fn source_template(field: &Field<'_>, provider: &Provider) -> Option<Template> {
    let template = field.template()?;
    let scheme = provider.scheme.as_ref();
    let words = Words {
        config: &provider.config,
        secrets: &provider.secrets,
        has_header: scheme.is_some_and(|scheme| scheme.header.is_some()),
        has_params: scheme.is_some_and(|scheme| scheme.params.is_some()),
    };
    words.check(field, &template, Use::Shown);
    lint::tells_events_apart(field, &template);
    Some(template)
}

/// True when any template of the provider reads `wanted`.
pub(super) fn reads(provider: &Provider, wanted: &Selector) -> bool {
    let scheme = provider
        .scheme
        .iter()
        .flat_map(|s| s.messages.iter().chain(&s.key_id));
    let freshness = provider.freshness.iter().map(|f| &f.timestamp);
    let event = std::iter::once(&provider.event.id).chain(&provider.event.kind);
    let challenge = provider
        .challenge
        .iter()
        .flat_map(|c| c.when.iter().map(|(t, _)| t).chain([&c.reply]));
    scheme
        .chain(freshness)
        .chain(event)
        .chain(challenge)
        .any(|template| template.values().any(|value| value.selector == *wanted))
}
