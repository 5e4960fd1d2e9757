//! Providers for programs: the same facts as the page in words, under stable names. Templates
//! stand there as the files write them.

use serde_json::{Value, json};

use crate::cli::providers::describe;
use crate::cli::providers::keys;
use crate::cli::source;
use crate::message::Answer;
use crate::rule::Template;
use crate::rule::compile::reads_url;
use crate::rule::provider::{Provider, Setting, Unit};
use crate::rule::scheme::Scheme;

pub fn provider(provider: &Provider) -> Value {
    let path = format!("/{}", provider.name);
    let draft = source::Draft {
        name: &provider.name,
        path: &path,
        key: None,
        forward: "http://127.0.0.1:3000/webhooks",
    };
    let asked: Vec<Value> = keys::hosts(provider)
        .into_iter()
        .map(|(host, why)| json!({ "host": host, "for": why }))
        .collect();
    let methods: Vec<&str> = provider.methods.iter().map(|m| m.as_str()).collect();
    let schemes: Vec<Value> = provider.schemes.iter().map(scheme).collect();
    let also: Vec<Value> = provider
        .also
        .iter()
        .map(|also| json!({ "secret": also.secret, "algorithm": also.scheme.algorithm.name() }))
        .collect();
    let freshness = provider.freshness.as_ref().map(|freshness| {
        json!({
            "timestamp": freshness.timestamp.as_str(),
            "tolerance_seconds": freshness.tolerance.as_secs(),
            "future_seconds": freshness.future.unwrap_or(freshness.tolerance).as_secs(),
        })
    });
    let event = &provider.event;
    let covered = |template: &Template| provider.cover().template(template);
    let settings = |settings: &std::collections::BTreeMap<String, Setting>| -> Vec<Value> {
        let one = |(name, setting): (&String, &Setting)| json!({ "name": name, "meaning": setting.meaning, "optional": setting.optional });
        settings.iter().map(one).collect()
    };
    json!({
        "name": provider.name,
        "title": provider.title,
        "docs": provider.docs,
        "category": provider.category.name(),
        "evidence": provider.evidence.name(),
        "evidence_means": describe::evidence(provider.evidence),
        "unconfirmed": provider.unconfirmed,
        "notes": provider.notes,
        "methods": methods,
        "unverified_reason": provider.unverified_reason,
        "schemes": schemes,
        "also": also,
        "query_back": provider.query_back.is_some(),
        "outbound": asked,
        "freshness": freshness,
        "event": {
            "id": texts(&event.ids),
            "id_believed": event.id_signed,
            "type": event.kind.as_ref().map(Template::as_str),
            "type_signed": event.kind.as_ref().map(covered),
            "repeats": event.repeats,
        },
        "payment": payment(provider),
        "challenges": provider.challenges.iter().map(|challenge| json!({
            "name": challenge.name,
            "method": challenge.method.as_ref().map(http::Method::as_str),
            "signed": challenge.signed,
            "status": challenge.status,
            "content_type": challenge.content_type,
            "reply": challenge.reply.as_str(),
        })).collect::<Vec<Value>>(),
        "answers": {
            "accepted": answer(&provider.answers.accepted),
            "duplicate": answer(&provider.answers.duplicate),
            "rejected": answer(&provider.answers.rejected),
            "overloaded": answer(&provider.answers.overloaded),
        },
        "contract": {
            "horizon_seconds": provider.contract.horizon.map(|d| d.as_secs()),
            "deadline_seconds": provider.contract.deadline.map(|d| d.as_secs()),
            "retries_seconds": provider.contract.retries.iter().map(std::time::Duration::as_secs).collect::<Vec<u64>>(),
            "addresses": provider.contract.addresses.iter().map(ToString::to_string).collect::<Vec<String>>(),
            "final": provider.contract.final_statuses,
        },
        "config": settings(&provider.config),
        "secrets": settings(&provider.secrets),
        "environments": source::environments(provider),
        "needs_keys": provider.needs_keys(),
        "needs_url": reads_url(provider),
        "source": source::text(provider, &draft),
    })
}

fn scheme(scheme: &Scheme) -> Value {
    json!({
        "name": scheme.name,
        "opt_in": scheme.opt_in,
        "algorithm": scheme.algorithm.name(),
        "weak": scheme.weak,
        "messages": texts(&scheme.messages),
        "signature_in": scheme.value.as_ref().map(|value| value.selector.to_string()),
        "jws_algorithms": scheme.jws,
        "components": scheme.components,
        "body_unsigned": scheme.body_unsigned,
        "key": keys::codec(&scheme.key),
        "key_meaning": scheme.key.meaning,
        "key_shared": scheme.key.shared,
    })
}

fn payment(provider: &Provider) -> Option<Value> {
    let payment = provider.payment.as_ref()?;
    let map: serde_json::Map<String, Value> = payment
        .map
        .iter()
        .map(|(word, status)| (word.clone(), status.name().into()))
        .collect();
    Some(json!({
        "order": texts(&payment.order),
        "transaction": texts(&payment.transaction),
        "amount": texts(&payment.amount),
        "unit": match payment.unit {
            Unit::Major => "major",
            Unit::Minor => "minor",
        },
        "currency": texts(&payment.currency),
        "status": texts(&payment.status),
        "confirmations": texts(&payment.confirmations),
        "map": map,
    }))
}

fn texts(templates: &[Template]) -> Vec<&str> {
    templates.iter().map(Template::as_str).collect()
}

fn answer(answer: &Answer) -> Value {
    json!({
        "status": answer.status.as_u16(),
        "body": String::from_utf8_lossy(&answer.body),
    })
}
