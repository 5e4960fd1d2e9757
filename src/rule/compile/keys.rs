//! Where the keys of a source lie, and what else its provider asks for.

use std::collections::BTreeMap;
use std::path::Path;

use crate::rule::compile::provider::meanings;
use crate::rule::provider::{Provider, Setting};
use crate::rule::reader::{Field, Table, optional};
use crate::rule::scheme::{Host, KeySource, MOST_COMBINATIONS, Scheme};
use crate::rule::template::Selector;
use crate::rule::text::nearest;
use crate::rule::{KeyRef, value};
use crate::secret::SecretRef;

pub(super) fn keys(
    root: &Table<'_>,
    folder: &Path,
    provider: Option<&Provider>,
) -> Option<Vec<KeyRef>> {
    let hint = "where the key lies: `keys = [\"env:NAME\"]` or `keys = [\"file:PATH\"]`";
    let open = root
        .get("verify")
        .filter(Field::is_text)
        .and_then(|f| f.text())
        == Some("none");
    let signs = !open && provider.is_none_or(Provider::takes_keys);
    let needed =
        provider.is_none_or(|provider| provider.needs_keys() || !can_fetch(root, provider));
    let field = if signs && needed {
        root.need("keys", hint)?
    } else if signs {
        // Keys are fetched; one that is named needs no fetching.
        match root.get("keys") {
            Some(field) => field,
            None => return Some(Vec::new()),
        }
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
    if keys.is_empty() && needed {
        field
            .problems
            .error_with(field.span.clone(), "missing_key", "there is no key", hint);
    }
    // L6: every combination is tried, so their number is bounded.
    let messages = provider
        .and_then(|p| p.schemes.iter().map(Scheme::variants).max())
        .unwrap_or(1);
    if keys.len() * messages > MOST_COMBINATIONS {
        let most = MOST_COMBINATIONS / messages;
        let message = format!("at most {most} keys can be tried for one request");
        field
            .problems
            .error(field.span.clone(), "too_many_keys", message);
    }
    Some(keys)
}

/// True when the source sets all that fetching its keys needs.
fn can_fetch(root: &Table<'_>, provider: &Provider) -> bool {
    let set = |table: &'static str, name: &str| {
        root.get(table)
            .and_then(|f| f.is_table().then(|| f.table()).flatten())
            .is_some_and(|table| table.entries().any(|(known, _)| known == name))
    };
    provider.schemes.iter().filter(|s| !s.opt_in).all(|scheme| {
        let KeySource::Fetch(fetch) = &scheme.key.source else {
            return true;
        };
        fetch.settings().iter().all(|selector| match selector {
            Selector::Secret(name) => set("secrets", name),
            Selector::Config(name) => set("config", name),
            _ => true,
        })
    })
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
    let id = table.get("id").map(|f| {
        let id = f.text()?;
        if id.trim().is_empty() {
            f.problems.error_with(
                f.span.clone(),
                "bad_value",
                "the `id` of a key is empty: no callback names that one",
                "as the provider calls the key; without `id` where it is a certificate, which brings its own",
            );
            return None;
        }
        Some(id)
    });
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
    let id = optional(id)?.map(str::to_owned);
    Some(KeyRef {
        from: from?,
        label: id.clone().unwrap_or_else(|| format!("keys[{index}]")),
        id,
        not_after: optional(not_after)?,
    })
}

/// A place of a secret. What stands there instead may be the secret itself, so it is hidden.
pub(super) fn secret(field: &Field<'_>, folder: &Path) -> Option<SecretRef> {
    let found = field.parsed(|text| value::secret_ref(text, folder));
    match &found {
        Some(place) => {
            let (span, key) = (field.span.clone(), field.path.clone());
            field.problems.refer(span, key, place.clone());
        }
        None => field.problems.hide(field.span.clone()),
    }
    found
}

/// What the provider file asks for, all of it and nothing else.
pub(super) fn config(
    root: &Table<'_>,
    provider: Option<&Provider>,
) -> Option<BTreeMap<String, String>> {
    let field = root.get("config");
    let config = field.as_ref().map_or(Some(BTreeMap::new()), meanings)?;
    for (name, _) in config.iter().filter(|(_, value)| value.trim().is_empty()) {
        let table = field.as_ref().and_then(Field::table);
        let entry = table.as_ref().and_then(|table| {
            let mut entries = table.entries();
            entries.find_map(|(known, f)| (known == name).then(|| f.span.clone()))
        });
        let place = entry.unwrap_or_default();
        let message = format!("`config.{name}` is empty, which equals what is missing");
        let asked = provider.and_then(|provider| provider.config.get(name));
        match asked {
            Some(asked) => root
                .problems
                .error_with(place, "bad_value", message, &asked.meaning),
            None => root.problems.error(place, "bad_value", message),
        }
    }
    if let Some(provider) = provider {
        let names = config.keys().map(String::as_str);
        agree(root, field.as_ref(), "config", names, &provider.config)?;
        environment(root, field.as_ref(), &config, provider)?;
    }
    Some(config)
}

/// Which of the provider's hosts are asked.
const ENVIRONMENT: &str = "environment";

fn environment(
    root: &Table<'_>,
    field: Option<&Field<'_>>,
    config: &BTreeMap<String, String>,
    provider: &Provider,
) -> Option<()> {
    let Some(chosen) = config.get(ENVIRONMENT) else {
        return Some(());
    };
    if provider.config.contains_key(ENVIRONMENT) {
        return Some(());
    }
    let place = field.map_or(0..0, |field| field.key.clone());
    let requests = provider
        .query_back
        .iter()
        .map(|query| &query.request)
        .chain(provider.schemes.iter().filter_map(|s| match &s.key.source {
            KeySource::Fetch(fetch) => Some(&fetch.request),
            _ => None,
        }));
    let mut any = false;
    for request in requests {
        if let Host::Pinned(hosts) = &request.host
            && hosts.len() > 1
        {
            any = true;
            if !hosts.iter().any(|(name, _)| name == chosen) {
                let names: Vec<&str> = hosts.iter().map(|(name, _)| name.as_str()).collect();
                let message = format!("there is no environment `{chosen}`");
                let hint = format!("there are: {}", names.join(", "));
                root.problems.error_with(place, "bad_value", message, hint);
                return None;
            }
        }
    }
    if !any {
        let message = "the provider has no use for `config.environment`";
        root.problems.error(place, "unknown_key", message);
        return None;
    }
    Some(())
}

pub(super) fn secrets(
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
    asked: &BTreeMap<String, Setting>,
) -> Option<()> {
    let set: Vec<&str> = set.collect();
    let place = field.map_or(0..0, |field| field.key.clone());
    let mut good = true;
    let of_hosts = |name: &str| table == "config" && name == ENVIRONMENT;
    for name in set
        .iter()
        .filter(|name| !asked.contains_key(**name) && !of_hosts(name))
    {
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
        .filter(|(name, setting)| !setting.optional && !set.contains(&name.as_str()))
    {
        good = false;
        let message = format!("`{table}.{name}` is missing");
        root.problems
            .error_with(place.clone(), "missing_key", message, &meaning.meaning);
    }
    good.then_some(())
}
