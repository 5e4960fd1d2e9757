//! A source: one provider bound to a path, keys and a destination.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::message::SourceName;
use crate::rule::compile::provider::{meanings, reads, signed, source_template};
use crate::rule::compile::relay::relay;
use crate::rule::compile::{Found, Shelf};
use crate::rule::document::RuleFile;
use crate::rule::provider::{MOST_COMBINATIONS, Provider};
use crate::rule::reader::{Field, Problems, Table};
use crate::rule::template::Selector;
use crate::rule::text::nearest;
use crate::rule::{GuardMode, GuardRule, InboxRule, KeyRef, Rate, RelayRule, Rule, value};
use crate::secret::SecretRef;

pub(super) use crate::rule::compile::relay::relay_default;

pub(super) const BODY_MAX_DEFAULT: usize = 256 << 10;
const BODY_MAX_LIMIT: usize = 4 << 20;
const KEEP_DEFAULT: Duration = Duration::from_secs(7 * 86_400);

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
    let provider = provider(root, shelf);
    let known = provider.as_deref();
    let keys = keys(root, folder, known);
    let forward = root
        .need(
            "forward",
            "where the events go, e.g. `http://127.0.0.1:3000/webhooks/stripe`",
        )
        .and_then(|f| f.parsed(value::destination));
    let url = url(root, known);
    let config = config(root, known);
    let secrets = secrets(root, folder, known);
    let guard = guard(root, known);
    let tolerance = tolerance(root, known);
    let relay = relay(root, folder);
    let inbox = inbox(root, known, tolerance.flatten(), relay.as_ref());
    Some(Rule {
        name: SourceName::new(&file.name),
        path: path?,
        url: url?,
        config: config?,
        keys: keys?,
        secrets: secrets?,
        forward: forward?,
        guard: guard?,
        tolerance: tolerance?,
        inbox: inbox?,
        relay: relay?,
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
        Some(field) => super::provider::choice(field, &[("none", ())]).is_some(),
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
                .is_some_and(|provider| provider.scheme.is_none())
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
                scheme: None,
                freshness: None,
                challenge: None,
                unverified_reason: Some(reason.to_owned()),
                ..Provider::clone(&provider)
            };
            Arc::new(provider)
        }),
        (true, None) | (false, _) => provider,
    }
}

fn keys(root: &Table<'_>, folder: &Path, provider: Option<&Provider>) -> Option<Vec<KeyRef>> {
    let hint = "where the key lies: `keys = [\"env:NAME\"]` or `keys = [\"file:PATH\"]`";
    let signs = provider.is_none_or(|provider| provider.scheme.is_some());
    let field = if signs {
        root.need("keys", hint)?
    } else {
        let Some(field) = root.get("keys") else {
            return Some(Vec::new());
        };
        let message = "nothing is verified here, so no key is ever used";
        field
            .problems
            .error(field.key.clone(), "useless_key", message);
        field
    };
    let keys: Vec<Option<KeyRef>> = field
        .list()
        .iter()
        .enumerate()
        .map(|(index, field)| key(field, index, folder))
        .collect();
    let keys: Vec<KeyRef> = keys.into_iter().collect::<Option<_>>()?;
    if keys.is_empty() {
        field
            .problems
            .error_with(field.span.clone(), "missing_key", "there is no key", hint);
    }
    // L6: every combination is tried, so their number is bounded.
    let messages = provider
        .and_then(|p| p.scheme.as_ref())
        .map_or(1, |s| s.messages.len());
    if keys.len() * messages > MOST_COMBINATIONS {
        let most = MOST_COMBINATIONS / messages;
        let message = format!("at most {most} keys can be tried for one request");
        field
            .problems
            .error(field.span.clone(), "too_many_keys", message);
    }
    Some(keys)
}

fn key(field: &Field<'_>, index: usize, folder: &Path) -> Option<KeyRef> {
    if field.is_text() {
        let from = secret(field, folder)?;
        return Some(KeyRef {
            from,
            id: None,
            not_after: None,
            label: format!("keys[{index}]"),
        });
    }
    let table = field.table()?;
    let from = table
        .need("from", "`env:NAME` or `file:PATH`")
        .and_then(|f| secret(&f, folder));
    let id = table.get("id").map(|f| f.text());
    let not_after = table
        .get("not_after")
        .map(|f| match value::moment(f.datetime()?) {
            Ok(moment) => Some(moment),
            Err(complaint) => {
                f.problems.complain(f.span.clone(), complaint);
                None
            }
        });
    table.finish();
    let id = id.map_or(Some(None), |id| id.map(Some))?.map(str::to_owned);
    Some(KeyRef {
        from: from?,
        label: id.clone().unwrap_or_else(|| format!("keys[{index}]")),
        id,
        not_after: not_after.map_or(Some(None), |moment| moment.map(Some))?,
    })
}

/// A place of a secret. What stands there instead may be the secret itself, so it is hidden.
pub(super) fn secret(field: &Field<'_>, folder: &Path) -> Option<SecretRef> {
    let found = field.parsed(|text| value::secret_ref(text, folder));
    if found.is_none() {
        field.problems.hide(field.span.clone());
    }
    found
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

/// What the provider file asks for, all of it and nothing else.
fn config(root: &Table<'_>, provider: Option<&Provider>) -> Option<BTreeMap<String, String>> {
    let field = root.get("config");
    let config = field.as_ref().map_or(Some(BTreeMap::new()), meanings)?;
    if let Some(provider) = provider {
        let names = config.keys().map(String::as_str);
        agree(root, field.as_ref(), "config", names, &provider.config)?;
    }
    Some(config)
}

fn secrets(
    root: &Table<'_>,
    folder: &Path,
    provider: Option<&Provider>,
) -> Option<BTreeMap<String, SecretRef>> {
    let field = root.get("secrets");
    let mut secrets = BTreeMap::new();
    if let Some(field) = &field {
        let read: Vec<Option<_>> = field
            .table()?
            .entries()
            .map(|(name, f)| Some((name.to_owned(), secret(&f, folder)?)))
            .collect();
        secrets = read.into_iter().collect::<Option<_>>()?;
    }
    if let Some(provider) = provider {
        let names = secrets.keys().map(String::as_str);
        agree(root, field.as_ref(), "secrets", names, &provider.secrets)?;
    }
    Some(secrets)
}

fn agree<'a>(
    root: &Table<'_>,
    field: Option<&Field<'_>>,
    table: &str,
    set: impl Iterator<Item = &'a str>,
    asked: &BTreeMap<String, String>,
) -> Option<()> {
    let set: Vec<&str> = set.collect();
    let place = field.map_or(0..0, |field| field.key.clone());
    let mut good = true;
    for name in set.iter().filter(|name| !asked.contains_key(**name)) {
        good = false;
        let message = format!("the provider has no use for `{table}.{name}`");
        let hint = match nearest(name, asked.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if asked.is_empty() => format!("it asks for nothing under [{table}]"),
            None => format!(
                "it asks for: {}",
                asked.keys().cloned().collect::<Vec<_>>().join(", ")
            ),
        };
        root.problems
            .error_with(place.clone(), "unknown_key", message, hint);
    }
    for (name, meaning) in asked
        .iter()
        .filter(|(name, _)| !set.contains(&name.as_str()))
    {
        good = false;
        let message = format!("`{table}.{name}` is missing");
        root.problems
            .error_with(place.clone(), "missing_key", message, meaning);
    }
    good.then_some(())
}

fn guard(root: &Table<'_>, provider: Option<&Provider>) -> Option<GuardRule> {
    let mut guard = GuardRule {
        allow: None,
        mode: GuardMode::default(),
        per_ip: None,
        total: None,
        body_max: BODY_MAX_DEFAULT,
    };
    let Some(field) = root.get("guard") else {
        return Some(guard);
    };
    let table = field.table()?;
    let allow = table.get("allow").map(|f| allow(&f, provider));
    let modes = [("enforce", GuardMode::Enforce), ("log", GuardMode::Log)];
    let mode = table
        .get("mode")
        .map_or(Some(guard.mode), |f| super::provider::choice(&f, &modes));
    let rates = table.get("rate").map_or(Some((None, None)), |f| rates(&f));
    let body_max = table.get("body_max").map_or(Some(BODY_MAX_DEFAULT), |f| {
        f.parsed(|text| match value::size(text)? {
            0 => Err(value::Complaint::new("no body fits into this")),
            size if size > BODY_MAX_LIMIT => {
                Err(value::Complaint::new("a body may have at most 4 MiB")
                    .hint("no provider is known to send more than 256 KiB"))
            }
            size => Ok(size),
        })
    });
    table.finish();
    guard.allow = allow.map_or(Some(None), |allow| allow.map(Some))?;
    guard.mode = mode?;
    (guard.per_ip, guard.total) = rates?;
    guard.body_max = body_max?;
    Some(guard)
}

fn allow(field: &Field<'_>, provider: Option<&Provider>) -> Option<Vec<IpNet>> {
    let mut nets = Vec::new();
    let mut good = true;
    for field in field.list() {
        if field.text()? != "provider" {
            match field.parsed(value::network) {
                Some(net) => nets.push(net),
                None => good = false,
            }
            continue;
        }
        match provider.map(|provider| provider.contract.addresses.as_slice()) {
            Some([]) => {
                good = false;
                field.problems.error_with(
                    field.span.clone(),
                    "no_addresses",
                    "no addresses are known of this provider",
                    "name the networks that it documents",
                );
            }
            Some(addresses) => nets.extend(addresses),
            None => {}
        }
    }
    if good && nets.is_empty() && provider.is_some() {
        let message = "with an empty list nobody may call";
        field
            .problems
            .error(field.span.clone(), "bad_value", message);
    }
    good.then_some(nets)
}

fn rates(field: &Field<'_>) -> Option<(Option<Rate>, Option<Rate>)> {
    if field.is_text() {
        field.problems.error_with(
            field.span.clone(),
            "wrong_type",
            "whose rate is this?",
            "`rate = { per_ip = \"20/s\", total = \"500/s\" }`",
        );
        return None;
    }
    let table = field.table()?;
    let per_ip = table.get("per_ip").map(|f| rate(&f));
    let total = table.get("total").map(|f| rate(&f));
    table.finish();
    Some((
        per_ip.map_or(Some(None), |rate| rate.map(Some))?,
        total.map_or(Some(None), |rate| rate.map(Some))?,
    ))
}

/// `"20/s burst 40"` or `{ count = 20, per = "1s", burst = 40 }`.
fn rate(field: &Field<'_>) -> Option<Rate> {
    if !field.is_table() {
        return field.parsed(value::rate);
    }
    let table = field.table()?;
    let count = table
        .need("count", "how many")
        .and_then(|f| f.integer(1..=u64::from(u32::MAX)));
    let period = table
        .need("per", "in which time, e.g. `1s`")
        .and_then(|f| f.parsed(value::duration));
    let burst = table.get("burst").map_or(Some(count), |f| {
        f.integer(1..=u64::from(u32::MAX)).map(Some)
    });
    table.finish();
    let nonzero = |n: u64| u32::try_from(n).ok().and_then(std::num::NonZeroU32::new);
    Some(Rate {
        count: nonzero(count?)?,
        period: period?,
        burst: nonzero(burst??)?,
    })
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

/// L14: an event that is forgotten while the provider still retries it is accepted twice.
fn inbox(
    root: &Table<'_>,
    provider: Option<&Provider>,
    tolerance: Option<Duration>,
    relay: Option<&RelayRule>,
) -> Option<InboxRule> {
    let window = tolerance.map(|tolerance| tolerance.saturating_mul(2));
    let horizon = provider.and_then(|p| p.contract.horizon);
    let give_up = relay.map(|relay| relay.retry.give_up_after);
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
    let own = provider.map(|p| (p.event.id.clone(), p.event.id_signed));
    let table = match root.get("inbox") {
        Some(field) => Some(field.table()?),
        None => None,
    };
    let (mut key, mut keep) = (own, Some(KEEP_DEFAULT.max(least)));
    if let Some(table) = table {
        if let Some(field) = table.get("key") {
            key = provider.and_then(|provider| {
                let template = source_template(&field, provider)?;
                let covered = signed(provider.scheme.as_ref(), &template);
                Some((template, covered))
            });
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
                        format!(
                            "{why} {}, longer than this",
                            humantime::format_duration(floor)
                        ),
                        format!("at least {}", humantime::format_duration(least)),
                    );
                }
            }
        }
        table.finish();
    }
    let (key, key_signed) = key?;
    Some(InboxRule {
        key,
        key_signed,
        keep: keep?,
    })
}
