//! A source: one provider bound to a path, keys and a destination.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::message::SourceName;
use crate::rule::compile::example::chosen;
use crate::rule::compile::guard::guard;
use crate::rule::compile::keys::{config, keys, secrets};
use crate::rule::compile::lint;
use crate::rule::compile::provider::{believed, reads, source_template};
use crate::rule::compile::relay::relay;
use crate::rule::compile::{Found, Shelf};
use crate::rule::document::RuleFile;
use crate::rule::provider::{EventIdentity, Provider};
use crate::rule::reader::{Field, Problems, Table};
use crate::rule::template::Selector;
use crate::rule::{AnswerMode, InboxRule, OnConflict, RelayRule, Rule, Template, value, words};

const KEEP_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
const KEEP_ASKED: Duration = Duration::from_secs(90 * 86_400);

/// What is known of a source, even when it cannot load: its path, so that two sources with the
/// same one are told so whatever else is wrong with them.
pub(super) struct Compiled {
    pub path: String,
    pub path_span: Range<usize>,
    pub rule: Option<Rule>,
}

pub(super) fn compile(file: &RuleFile, shelf: &mut Shelf, problems: &Problems) -> Option<Compiled> {
    let document = problems.parse(problems.text());
    let root = Table::root(problems, &document);
    name(&file.name, problems);
    let path = root.need("path", "the path that the provider calls, e.g. `/stripe`");
    let path_span = path.as_ref().map_or(0..0, |f| f.span.clone());
    let path = path.and_then(|f| f.parsed(value::path));
    let rule = rule(file, shelf, &root, path.clone());
    root.finish();
    let rule = rule.filter(|_| !problems.has_errors());
    Some(Compiled {
        path: path?,
        path_span,
        rule,
    })
}

/// The name goes into headers, metrics and file names.
fn name(name: &str, problems: &Problems) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        problems.error_with(
            0..0,
            "bad_name",
            "the name of this file cannot be the name of a source",
            "from one to 64 lower-case letters, digits, `-` and `_` before `.toml`",
        );
    }
}

/// Every part is read before any is missed, so that all faults are found.
fn rule(
    file: &RuleFile,
    shelf: &mut Shelf,
    root: &Table<'_>,
    path: Option<String>,
) -> Option<Rule> {
    let folder = file.folder();
    let provider = match provider(root, shelf) {
        Some(provider) => schemes(root, &provider),
        None => {
            // Whatever it says, it is a key that is known.
            let _ = root.get("schemes");
            None
        }
    };
    let known = provider.as_deref();
    let keys = keys(root, folder, known);
    let forward = root
        .need(
            "forward",
            "where the events go, e.g. `http://127.0.0.1:3000/webhooks/stripe`",
        )
        .and_then(|f| f.parsed(value::address));
    let url = url(root, known);
    let config = config(root, known);
    let secrets = secrets(root, folder, known);
    let guard = guard(root, known);
    let tolerance = tolerance(root, known);
    let relay = relay(root, folder, known, forward);
    let inbox = inbox(root, known, tolerance.flatten(), relay.as_ref());
    let answer = answer(root, known);
    Some(Rule {
        name: SourceName::new(&file.name),
        path: path?,
        url: url?,
        config: config?,
        keys: keys?,
        secrets: secrets?,
        guard: guard?,
        tolerance: tolerance?,
        inbox: inbox?,
        relay: relay?,
        answer: answer?,
        file: Some(file.path.clone()),
        provider: provider?,
    })
}

fn provider(root: &Table<'_>, shelf: &mut Shelf) -> Option<Arc<Provider>> {
    let field = root.need(
        "provider",
        "who calls, e.g. `stripe`; see `callseal providers`",
    );
    let found = field
        .as_ref()
        .and_then(|f| Some((f, shelf.find(f.text()?))));
    let provider = match found {
        Some((_, Found::Provider(provider))) => Some(provider),
        Some((field, Found::Faulty)) => {
            let message = "the file of this provider has faults of its own";
            field
                .problems
                .error(field.span.clone(), "faulty_provider", message);
            None
        }
        Some((field, Found::Unknown { near })) => {
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`callseal providers` lists those that are known; \
                         `generic-hmac` is for systems of your own"
                    .to_owned(),
            };
            let message = "there is no such provider";
            field
                .problems
                .error_with(field.span.clone(), "unknown_provider", message, hint);
            None
        }
        None => None,
    };
    unverified(root, provider)
}

/// Promise 1: nothing goes unverified but where a person has written down why.
fn unverified(root: &Table<'_>, provider: Option<Arc<Provider>>) -> Option<Arc<Provider>> {
    let verify = root.get("verify");
    let reason = root.get("verify_reason");
    let none = match &verify {
        Some(field) => super::provider::choice(field, &words::VERIFY_SOURCE).is_some(),
        None => false,
    };
    let reason_text = reason
        .as_ref()
        .and_then(Field::text)
        .filter(|text| !text.trim().is_empty());
    match (none, reason_text, &verify) {
        (true, None, Some(verify)) => root.problems.error_with(
            verify.span.clone(),
            "missing_key",
            "`verify = \"none\"` needs a reason",
            "add `verify_reason = \"…\"`; every event of this source is marked unverified",
        ),
        (false, _, None) => {
            if let Some(reason) = &reason {
                let message = "`verify_reason` belongs to `verify = \"none\"`";
                root.problems
                    .error(reason.key.clone(), "bad_value", message);
            }
            if provider
                .as_ref()
                .is_some_and(|provider| !provider.verifies())
            {
                root.problems.error_with(
                    0..0,
                    "no_verifier",
                    "this provider signs nothing, so anyone can send its events",
                    "if you accept that, write `verify = \"none\"` and why: `verify_reason = \"…\"`",
                );
            }
        }
        (true, Some(_), _) | (true, None, None) | (false, _, Some(_)) => {}
    }
    match (none, reason_text) {
        (true, Some(reason)) => provider.map(|provider| {
            let provider = Provider {
                schemes: Vec::new(),
                also: Vec::new(),
                freshness: None,
                challenges: Vec::new(),
                asserts: Vec::new(),
                split: None,
                decrypt: None,
                query_back: None,
                payment: None,
                event: EventIdentity {
                    id_signed: false,
                    ..provider.event.clone()
                },
                unverified_reason: Some(reason.to_owned()),
                ..Provider::clone(&provider)
            };
            Arc::new(provider)
        }),
        (true, None) | (false, _) => provider,
    }
}

/// `schemes`: which of the provider's alternatives this source uses.
fn schemes(root: &Table<'_>, provider: &Arc<Provider>) -> Option<Arc<Provider>> {
    let Some(field) = root.get("schemes") else {
        return Some(chosen(provider, &[]));
    };
    let mut names = Vec::new();
    for field in field.list() {
        let name = field.text()?;
        let known = provider.schemes.iter().map(|scheme| scheme.name.as_str());
        if name.is_empty() || !known.clone().any(|known| known == name) {
            let known: Vec<&str> = known.filter(|name| !name.is_empty()).collect();
            let hint = match known.as_slice() {
                [] => "this provider has only one".to_owned(),
                known => format!("it has: {}", known.join(", ")),
            };
            let message = format!("the provider has no scheme `{name}`");
            field
                .problems
                .error_with(field.span.clone(), "bad_value", message, hint);
            return None;
        }
        names.push(name.to_owned());
    }
    Some(chosen(provider, &names))
}

fn url(root: &Table<'_>, provider: Option<&Provider>) -> Option<Option<String>> {
    let needed = provider.is_some_and(|provider| reads(provider, &Selector::Url));
    let hint = "the address under which the provider calls; it is part of what is signed";
    let field = if needed {
        Some(root.need("url", hint)?)
    } else {
        root.get("url")
    };
    match field {
        Some(field) => field.parsed(value::public_url).map(Some),
        None => Some(None),
    }
}

/// L11: the tolerance holds both ways; a tolerance of days is a mistake in the unit.
fn tolerance(root: &Table<'_>, provider: Option<&Provider>) -> Option<Option<Duration>> {
    let own = provider
        .and_then(|p| p.freshness.as_ref())
        .map(|freshness| freshness.tolerance);
    let Some(field) = root.get("freshness") else {
        return Some(own);
    };
    let table = field.table()?;
    let tolerance = table
        .get("tolerance")
        .map(|f| (f.parsed(value::duration), f));
    table.finish();
    let Some((tolerance, field)) = tolerance else {
        return Some(own);
    };
    if own.is_none() && provider.is_some() {
        field.problems.error_with(
            field.span.clone(),
            "no_timestamp",
            "this provider signs no timestamp, so there is nothing to compare the clock with",
            "a replay is caught by the event id and the digest of the body",
        );
        return None;
    }
    if tolerance.is_some_and(|tolerance| tolerance > Duration::from_secs(3600)) {
        field.problems.warn(
            field.span.clone(),
            "long_tolerance",
            "a captured request stays good for longer than an hour",
            "providers sign every try anew; five minutes is usual",
        );
    }
    tolerance.map(Some)
}

/// A template of `[inbox]`: what it reads makes another event a duplicate, so it is signed.
fn signed_key(field: &Field<'_>, provider: Option<&Provider>) -> Option<Template> {
    let Some(provider) = provider else {
        // What the provider would say of it is not known; what the language says is.
        return field.template().and(None);
    };
    let template = source_template(field, provider)?;
    let keys = vec![template];
    if provider.verifies() && !believed(&provider.cover(), &keys) {
        let why = "whoever sends a captured callback again could change it, and so pass for new or \
                   stand in another event's way";
        lint::covered(&provider.cover(), field, keys.first()?, "key_unsigned", why);
        return None;
    }
    keys.into_iter().next()
}

/// Who answers: `[answer]`.
fn answer(root: &Table<'_>, provider: Option<&Provider>) -> Option<AnswerMode> {
    let Some(field) = root.get("answer") else {
        return Some(AnswerMode::Custody);
    };
    let table = field.table()?;
    let mode = table.get("mode").map_or(Some(false), |f| {
        super::provider::choice(&f, &words::ANSWER_MODES)
    });
    let within = table.get("within").map(|f| (f.parsed(value::duration), f));
    table.finish();
    let by_application = mode?;
    let deadline = provider.and_then(|p| p.contract.deadline);
    let time = match within {
        Some((time, field)) => {
            let time = time?;
            if !by_application {
                field.problems.error(
                    field.key.clone(),
                    "bad_value",
                    "`within` belongs to `mode = \"destination\"`",
                );
                return None;
            }
            if deadline.is_some_and(|deadline| time >= deadline) {
                field.problems.error_with(
                    field.span.clone(),
                    "late_answer",
                    format!(
                        "the provider waits no longer than {}",
                        value::written(deadline.unwrap_or_default())
                    ),
                    "leave it time for the way: half of that",
                );
                return None;
            }
            time
        }
        // A provider that waits no longer itself is left time for the way.
        None => deadline.map_or(ANSWER_WITHIN, |deadline| ANSWER_WITHIN.min(deadline / 2)),
    };
    Some(if by_application {
        AnswerMode::Destination { within: time }
    } else {
        AnswerMode::Custody
    })
}

/// Where the provider does not say that it waits less than twice as long.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// L14: an event that is forgotten while the provider still retries it is accepted twice.
fn inbox(
    root: &Table<'_>,
    provider: Option<&Provider>,
    tolerance: Option<Duration>,
    relay: Option<&RelayRule>,
) -> Option<InboxRule> {
    let window = tolerance.map(|tolerance| tolerance.saturating_mul(2));
    let horizon = provider.and_then(|p| p.contract.horizon);
    let give_up = relay.and_then(|relay| {
        let tried = relay.destinations().map(|to| to.retry.give_up_after);
        tried.max()
    });
    // Whoever knows an object that exists can have it confirmed again: it is remembered for long.
    let asked_only = provider.is_some_and(|p| p.schemes.is_empty() && p.query_back.is_some());
    let usual = if asked_only { KEEP_ASKED } else { KEEP_DEFAULT };
    let floors = [
        (horizon, "the provider retries for"),
        (give_up, "deliveries are tried for"),
        (window, "a request stays fresh for"),
    ];
    let least = floors
        .iter()
        .filter_map(|(floor, _)| *floor)
        .max()
        .unwrap_or_default();
    let own = provider.map(|p| (p.event.ids.clone(), p.event.id_signed));
    let table = match root.get("inbox") {
        Some(field) => Some(field.table()?),
        None => None,
    };
    let mut keep = Some(usual.max(least));
    let (mut business, mut content) = (Some(None), Some(None));
    let mut on_conflict = Some(OnConflict::KeepBoth);
    if let Some(table) = table {
        if let Some(field) = table.get("key") {
            business = signed_key(&field, provider).map(Some);
        }
        if let Some(field) = table.get("content") {
            if table.get("key").is_none() {
                let message =
                    "`content` says what must be equal with the same `key`: there is none";
                field
                    .problems
                    .error(field.key.clone(), "bad_value", message);
            }
            content = signed_key(&field, provider).map(Some);
        }
        if let Some(field) = table.get("on_conflict") {
            on_conflict = super::provider::choice(&field, &words::ON_CONFLICT);
        }
        if let Some(field) = table.get("keep") {
            keep = field.parsed(value::duration);
            for (floor, why) in floors {
                if let (Some(keep), Some(floor)) = (keep, floor)
                    && keep < floor
                {
                    field.problems.error_with(
                        field.span.clone(),
                        "short_memory",
                        format!("{why} {}, longer than this", value::written(floor)),
                        format!("at least {}", value::written(least)),
                    );
                }
            }
        }
        table.finish();
    }
    let (keys, key_signed) = own?;
    Some(InboxRule {
        keys,
        key_signed,
        business: business?,
        content: content?,
        on_conflict: on_conflict?,
        keep: keep?,
    })
}
