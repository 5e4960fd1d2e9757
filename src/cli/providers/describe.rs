//! One provider in words: who signs what and how, what is read, what is answered, and how sure
//! we are of it.

use std::collections::BTreeMap;

use crate::cli::providers::keys;
use crate::cli::providers::page::{Page, listed};
use crate::cli::providers::say::{self, Say, encoding, escaped};
use crate::cli::source;
use crate::message::Answer;
use crate::rule::provider::{
    Challenge, Charset, Evidence, Provider, QueryBack, Setting, Status, Unit,
};
use crate::rule::scheme::{Algorithm, Curve, Scheme, TimeFormat};
use crate::rule::template::Template;

/// The whole page, lines not wider than `width`.
pub fn describe(provider: &Provider, width: usize) -> String {
    let mut page = Page::new(width);
    page.title(&format!("{} ({})", provider.title, provider.name));
    page.say("documentation", &provider.docs);
    page.say("category", provider.category.name());
    page.heading("What is signed");
    signature(&mut page, provider);
    page.heading("The event");
    event(&mut page, provider);
    if provider.payment.is_some() {
        page.heading("The payment");
        payment(&mut page, provider);
    }
    if !provider.challenges.is_empty() {
        page.heading("Questions that are answered");
        for challenge in &provider.challenges {
            page.say(&challenge.name, &question(provider, challenge));
        }
    }
    page.heading("What it hears");
    answers(&mut page, provider);
    contract(&mut page, provider);
    if !(provider.config.is_empty() && provider.secrets.is_empty()) {
        page.heading("What a source sets");
        settings(&mut page, "config", &provider.config);
        settings(&mut page, "secrets", &provider.secrets);
    }
    page.heading("How sure this is");
    page.say("evidence", evidence(provider.evidence));
    for fact in &provider.unconfirmed {
        page.bullet(&format!("unconfirmed: {fact}"));
    }
    if !provider.notes.is_empty() {
        page.heading("Notes");
        for note in &provider.notes {
            page.bullet(note);
        }
    }
    let name = &provider.name;
    page.heading(&format!(
        "A source: rules/{name}.toml, as `callseal init {name} --forward URL` writes it"
    ));
    let path = format!("/{}", provider.name);
    let draft = source::Draft {
        name: &provider.name,
        path: &path,
        key: None,
        forward: "http://127.0.0.1:3000/webhooks",
    };
    page.block(&source::text(provider, &draft));
    page.into_text()
}

fn signature(page: &mut Page, provider: &Provider) {
    let say = Say::of(provider);
    match (&provider.unverified_reason, &provider.query_back) {
        (Some(reason), _) => page.say("nothing", reason),
        (None, Some(_)) if provider.schemes.is_empty() => {
            page.say("nothing", "what counts is what a second source answers");
        }
        (None, _) => {}
    }
    for scheme in &provider.schemes {
        let say = say.under(scheme);
        let mut text = signed(say, scheme);
        if scheme.opt_in {
            text.push_str("; only where a source lists it under `schemes`");
        }
        if !scheme.when.is_empty() {
            text.push_str(&format!("; when {}", say.conditions(&scheme.when)));
        }
        let label = if scheme.name.is_empty() {
            "signature"
        } else {
            &scheme.name
        };
        page.say(label, &text);
        if let Some(id) = &scheme.key_id {
            page.say("", &format!("{} names the key", say.template(id)));
        }
        if let Some(weak) = &scheme.weak {
            page.say("", &format!("weak: {weak}"));
        }
        if let Some(reason) = &scheme.body_unsigned_reason {
            page.say("", &format!("the body is not signed: {reason}"));
        } else if scheme.body_unsigned {
            page.say("", "the body is not signed; a second source is asked");
        }
    }
    for also in &provider.also {
        let optional = provider
            .secrets
            .get(&also.secret)
            .is_some_and(|secret| secret.optional);
        let condition = if optional { ", where that is set" } else { "" };
        let text = signed(say.under(&also.scheme), &also.scheme);
        let secret = &also.secret;
        page.say(
            "also",
            &format!("{text}; key: secret `{secret}`{condition}"),
        );
    }
    key_lines(page, provider);
    if let Some(freshness) = &provider.freshness {
        let mut text = format!(
            "{}, {}; at most {} old",
            say.template(&freshness.timestamp),
            format(freshness.format),
            keys::time(freshness.tolerance)
        );
        match freshness.future {
            Some(future) => text.push_str(&format!(" or {} ahead", keys::time(future))),
            None => text.push_str(" or ahead"),
        }
        page.say("timestamp", &text);
    } else if !provider.schemes.is_empty() {
        let replay = match (tokens(provider), &provider.event.repeats) {
            (_, Some(_)) => "none is signed; nothing tells a replay",
            (true, None) => "none is signed; only its id tells a replay",
            (false, None) => "none is signed; a replay is a duplicate",
        };
        page.say("timestamp", replay);
    }
    for assert in &provider.asserts {
        let mut text = say.condition(&assert.condition);
        if !assert.when.is_empty() {
            text.push_str(&format!(", when {}", say.conditions(&assert.when)));
        }
        page.say("must hold", &text);
    }
    if let Some(split) = &provider.split {
        let who = if split.each {
            "each is signed by itself"
        } else {
            "signed as one"
        };
        page.say("items", &format!("`{}` of the body; {who}", split.items));
    }
    if let Some(decrypt) = &provider.decrypt {
        let text = format!(
            "{} ({}), with {}; the body is forwarded as it came",
            say.template(&decrypt.data),
            decrypt.algorithm.name(),
            say.template(&decrypt.key)
        );
        page.say("decrypted", &text);
    }
    if let Some(query) = &provider.query_back {
        page.say("asked", &asked(say, query));
    }
    let mut hosts: Vec<(String, Vec<&str>)> = Vec::new();
    for (host, why) in keys::hosts(provider) {
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, reasons)) => reasons.push(why),
            None => hosts.push((host, vec![why])),
        }
    }
    let hosts: Vec<String> = hosts
        .into_iter()
        .map(|(host, reasons)| format!("{host} ({})", reasons.join(", ")))
        .collect();
    if !hosts.is_empty() {
        page.say("outbound", &listed(&hosts, "and"));
    }
}

/// Each key once, though several alternatives may share it.
fn key_lines(page: &mut Page, provider: &Provider) {
    let mut known: Vec<String> = Vec::new();
    for scheme in &provider.schemes {
        let say = Say::of(provider).under(scheme);
        let mut text = match &scheme.key.meaning {
            Some(meaning) => format!(
                "{} ({})",
                meaning.trim_end_matches('.'),
                keys::codec(&scheme.key)
            ),
            None => keys::codec(&scheme.key),
        };
        if scheme.key.shared == Some(true) {
            text.push_str(". The same for all its customers");
        }
        if let Some(reason) = &scheme.key.small_rsa {
            text.push_str(&format!(". 1024 bits are taken: {reason}"));
        }
        if let Some(shortest) = scheme.key.shortest {
            text.push_str(&format!(". At least {shortest} bytes"));
        }
        let origin = keys::origin(say, scheme);
        let whole = format!("{text} {}", origin.as_deref().unwrap_or_default());
        if !known.contains(&whole) {
            page.say("key", &text);
            if let Some(origin) = origin {
                page.say("", &origin);
            }
            known.push(whole);
        }
    }
}

fn signed(say: Say<'_>, scheme: &Scheme) -> String {
    let place = match &scheme.value {
        Some(value) => format!("; {} in {}", encoding(scheme.encoding), say.value(value)),
        None => String::new(),
    };
    let messages: Vec<String> = scheme.messages.iter().map(|m| say.message(m)).collect();
    let messages = messages.join(", or over ");
    match scheme.algorithm {
        Algorithm::Hmac(digest) => format!("HMAC-{} over {messages}{place}", say::digest(digest)),
        Algorithm::Keyed(digest) => format!("{} of {messages}{place}", say::digest(digest)),
        Algorithm::Rsa(digest) => {
            format!(
                "RSA (PKCS#1 v1.5) with {} over {messages}{place}",
                say::digest(digest)
            )
        }
        Algorithm::RsaPss(digest) => {
            format!(
                "RSA-PSS with {} over {messages}{place}",
                say::digest(digest)
            )
        }
        Algorithm::Ecdsa(curve) => format!("ECDSA on {} over {messages}{place}", name(curve)),
        Algorithm::EcdsaRaw(curve) => {
            format!("ECDSA on {} (r and s) over {messages}{place}", name(curve))
        }
        Algorithm::Ed25519 => format!("Ed25519 over {messages}{place}"),
        Algorithm::Jws => {
            let value = scheme.value.as_ref().map(|v| say.value(v));
            let algorithms: Vec<String> = scheme.jws.iter().map(|n| (*n).to_owned()).collect();
            format!(
                "a JSON Web Signature ({}) in {}",
                listed(&algorithms, "or"),
                value.unwrap_or_default()
            )
        }
        Algorithm::HttpSignature => {
            let algorithms: Vec<String> = scheme.http.iter().map(|a| a.name().to_owned()).collect();
            format!(
                "HTTP Message Signatures (RFC 9421) with {}; at least over {}",
                listed(&algorithms, "or"),
                listed(&scheme.components, "and")
            )
        }
        Algorithm::Token => {
            let value = scheme.value.as_ref().map(|v| say.value(v));
            format!(
                "a token in {}, compared with the key; nothing is signed",
                value.unwrap_or_default()
            )
        }
        Algorithm::Basic => {
            "user and password of HTTP Basic, compared with the key; nothing is signed".to_owned()
        }
    }
}

fn name(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "P-256",
        Curve::P384 => "P-384",
    }
}

fn format(format: TimeFormat) -> &'static str {
    match format {
        TimeFormat::Unix => "in seconds",
        TimeFormat::UnixMillis => "in milliseconds",
        TimeFormat::UnixAuto => "in seconds or milliseconds",
        TimeFormat::Rfc3339 => "after RFC 3339",
        TimeFormat::HttpDate => "as an HTTP date",
        TimeFormat::Compact(_) => "as yyyyMMddHHmmss",
        TimeFormat::Plain(_) => "as yyyy-MM-dd HH:mm:ss",
    }
}

fn asked(say: Say<'_>, query: &QueryBack) -> String {
    let request = &query.request;
    let mut text = format!(
        "{} {}, {}; within {}",
        request.method,
        keys::address(request),
        keys::auth(request),
        keys::time(request.timeout)
    );
    if !query.when.is_empty() {
        text.push_str(&format!("; only when {}", say.conditions(&query.when)));
    }
    text.push_str(&format!("; it must answer {}", query.status));
    if !query.confirm.is_empty() {
        text.push_str(&format!(", and {}", say.conditions(&query.confirm)));
    }
    text
}

fn event(page: &mut Page, provider: &Provider) {
    let say = Say::of(provider);
    let event = &provider.event;
    let id = match (&event.repeats, event.ids.as_slice()) {
        (Some(reason), _) => format!("every delivery is an event of its own: {reason}"),
        (None, []) => "none; the digest of what is signed takes its place".to_owned(),
        (None, ids) => {
            let believed = match (event.id_signed, tokens(provider)) {
                (true, true) => "taken as it is: whoever has the token can say anything",
                (true, false) if provider.schemes.is_empty() => {
                    "confirmed, so it is what makes two callbacks one"
                }
                (true, false) => "signed, so it is what makes two callbacks one",
                (false, _) if !provider.verifies() => {
                    "shown; nothing is verified, and the digest of the body takes its place"
                }
                (false, _) => {
                    "not signed, so it is shown and not believed: the digest of what is signed, \
                     with the type, takes its place"
                }
            };
            format!("{}; {believed}", say.first_of(ids))
        }
    };
    page.say("id", &id);
    if let Some(kind) = &event.kind {
        let covered = provider.cover().template(kind);
        let covered = match (covered, provider.schemes.is_empty()) {
            (true, false) => "signed",
            (true, true) => "confirmed",
            (false, false) => "not signed",
            (false, true) => "not confirmed",
        };
        page.say("type", &format!("{}; {covered}", say.template(kind)));
    }
    let methods: Vec<String> = provider.methods.iter().map(|m| m.to_string()).collect();
    page.say("method", &listed(&methods, "or"));
}

fn tokens(provider: &Provider) -> bool {
    let token = |s: &Scheme| matches!(s.algorithm, Algorithm::Token | Algorithm::Basic);
    !provider.schemes.is_empty() && provider.schemes.iter().all(token)
}

fn payment(page: &mut Page, provider: &Provider) {
    let Some(payment) = &provider.payment else {
        return;
    };
    let say = Say::of(provider);
    let mut line = |label: &str, templates: &[Template], more: &str| {
        if !templates.is_empty() {
            page.say(label, &format!("{}{more}", say.first_of(templates)));
        }
    };
    let unit = match payment.unit {
        Unit::Major => ", as in 12.50",
        Unit::Minor => ", in the smallest unit (1250)",
    };
    line("order", &payment.order, "");
    line("amount", &payment.amount, unit);
    line("currency", &payment.currency, "");
    line("transaction", &payment.transaction, "");
    line("confirmations", &payment.confirmations, "");
    line("status", &payment.status, "");
    for (_, status) in Status::ALL {
        let words: Vec<String> = payment
            .map
            .iter()
            .filter(|(_, meaning)| **meaning == status)
            .map(|(word, _)| word.clone())
            .collect();
        if !words.is_empty() {
            page.say("", &format!("{}: {}", status.name(), words.join(", ")));
        }
    }
}

fn question(provider: &Provider, challenge: &Challenge) -> String {
    let say = Say::of(provider);
    let method = match &challenge.method {
        Some(method) => method.to_string(),
        None => "any method".to_owned(),
    };
    let signed = if challenge.signed {
        "signed"
    } else {
        "not signed"
    };
    let mut text = format!("{method}, {signed}");
    if !challenge.when.is_empty() {
        text.push_str(&format!(", when {}", say.conditions(&challenge.when)));
    }
    if let Some((url, _)) = &challenge.visit {
        text.push_str(&format!("; {} is visited", say.template(url)));
    }
    let kind = &challenge.content_type;
    match challenge.reply.pieces().is_empty() {
        true => text.push_str(&format!("; answered with {}", challenge.status)),
        false => text.push_str(&format!(
            "; answered with {} ({kind}): {}",
            challenge.status,
            say.template(&challenge.reply)
        )),
    }
    for (name, template) in &challenge.headers {
        text.push_str(&format!("; {name}: {}", say.template(template)));
    }
    let charset = match challenge.charset {
        None => return text,
        Some(Charset::Token) => "letters, digits and ._~-",
        Some(Charset::Digits) => "digits",
        Some(Charset::Hex) => "hexadecimal digits",
        Some(Charset::Printable) => "printable characters",
    };
    text.push_str(&format!("; at most {} {charset}", challenge.longest));
    text
}

fn answers(page: &mut Page, provider: &Provider) {
    let answers = &provider.answers;
    page.say("accepted", &answer(&answers.accepted));
    if answers.duplicate != answers.accepted {
        page.say("duplicate", &answer(&answers.duplicate));
    }
    page.say("rejected", &answer(&answers.rejected));
    let overloaded = format!("{}, with Retry-After", answer(&answers.overloaded));
    page.say("overloaded", &overloaded);
}

fn answer(answer: &Answer) -> String {
    match answer.body.is_empty() {
        true => answer.status.as_u16().to_string(),
        false => format!("{} `{}`", answer.status.as_u16(), escaped(&answer.body)),
    }
}

fn contract(page: &mut Page, provider: &Provider) {
    let contract = &provider.contract;
    if let Some(deadline) = contract.deadline {
        page.say("waits", &keys::time(deadline));
    }
    let pauses: Vec<String> = contract.retries.iter().map(|d| keys::time(*d)).collect();
    let horizon = contract
        .horizon
        .map(|horizon| format!("for {}", keys::time(horizon)));
    match (horizon, pauses.is_empty()) {
        (Some(horizon), true) => page.say("tries again", &horizon),
        (Some(horizon), false) => {
            page.say(
                "tries again",
                &format!("{horizon}, after {}", pauses.join(", ")),
            );
        }
        (None, _) => page.say("tries again", "not known"),
    }
    if !contract.final_statuses.is_empty() {
        let statuses = listed(&contract.final_statuses, "or");
        page.say("stops at", &statuses);
    }
    let addresses: Vec<String> = contract
        .addresses
        .iter()
        .map(|net| match net.prefix_len() == net.max_prefix_len() {
            true => net.addr().to_string(),
            false => net.to_string(),
        })
        .collect();
    if !addresses.is_empty() {
        page.say("calls from", &addresses.join(", "));
    }
}

fn settings(page: &mut Page, table: &str, settings: &BTreeMap<String, Setting>) {
    for (name, setting) in settings {
        let optional = if setting.optional { "may" } else { "must" };
        let text = format!("[{table}], {optional} be set: {}", setting.meaning);
        page.say(name, &text);
    }
}

/// What stands behind a word of the files.
pub fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Vector => "a published known answer was computed again with this file",
        Evidence::Sdk => "an official SDK, or a library that signs or verifies, was read or run",
        Evidence::Documented => "official documentation, without a known answer to compute again",
        Evidence::ThirdParty => "only the code of others",
        Evidence::Unconfirmed => "nobody has confirmed it: try it with a real callback first",
    }
}
