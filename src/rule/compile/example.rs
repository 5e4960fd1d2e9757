//! `[[example]]`: a provider file's own proof. A rejected example may say `like = "NAME"` and
//! change a few things of an earlier one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::clock::Timestamp;
use crate::message::SourceName;
use crate::rule::compile::guard::guard_default;
use crate::rule::compile::provider::{believed, choice, meanings};
use crate::rule::compile::relay::relay_default;
use crate::rule::provider::{Example, Provider, Recorded};
use crate::rule::reader::{Field, Table, optional};
use crate::rule::scheme::Scheme;
use crate::rule::{Address, AnswerMode, InboxRule, KeyRef, OnConflict, Rule, words};
use crate::secret::SecretRef;

pub(super) fn examples(field: Option<&Field<'_>>) -> Option<Vec<Example>> {
    let mut known: Vec<Example> = Vec::new();
    let Some(field) = field else {
        return Some(known);
    };
    for field in field.list() {
        let example = example(&field, &known)?;
        if known.iter().any(|other| other.name == example.name) {
            let message = format!("there are two examples `{}`", example.name);
            field
                .problems
                .error(field.span.clone(), "bad_value", message);
        }
        known.push(example);
    }
    Some(known)
}

fn blank() -> Example {
    Example {
        name: String::new(),
        rejected: None,
        at: 0,
        method: Method::POST,
        path: "/".to_owned(),
        query: None,
        headers: Vec::new(),
        body: Bytes::new(),
        keys: Vec::new(),
        config: BTreeMap::new(),
        secrets: BTreeMap::new(),
        url: None,
        event_id: None,
        event_type: None,
        payment: BTreeMap::new(),
        reply: None,
        schemes: Vec::new(),
        action: None,
        remote: Vec::new(),
    }
}

fn example(field: &Field<'_>, known: &[Example]) -> Option<Example> {
    let table = field.table()?;
    let name = table
        .need("name", "what this example shows")?
        .text()?
        .to_owned();
    let mut example = match table.get("like") {
        Some(like) => base(&like, known)?,
        None => blank(),
    };
    example.name = name;
    // What the base is offered as is not what its changed copies are.
    example.action = None;
    example.rejected = match table.get("rejected") {
        Some(code) => Some(code.text()?.to_owned()),
        None => None,
    };
    let text = |name| table.get(name).map(|f| f.text().map(str::to_owned));
    if let Some(at) = table.get("at") {
        example.at = at.integer(0..=253_402_300_799)?;
    }
    if let Some(method) = table.get("method") {
        example.method = choice(&method, &words::CHALLENGE_METHODS)?;
    }
    if let Some(path) = text("path") {
        example.path = path?;
    }
    if let Some(query) = text("query") {
        example.query = Some(query?);
    }
    if let Some(url) = text("url") {
        example.url = Some(url?);
    }
    if let Some(body) = text("body") {
        example.body = Bytes::from(body?);
    }
    if let Some(body) = table.get("body_base64") {
        example.body = body.parsed(|text| {
            let packed: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            match data_encoding::BASE64.decode(&packed) {
                Ok(bytes) => Ok(Bytes::from(bytes)),
                Err(_) => Err(crate::rule::value::Complaint::new("this is no base64")),
            }
        })?;
    }
    if let Some(schemes) = table.get("schemes") {
        example.schemes = schemes.texts().into_iter().map(str::to_owned).collect();
    }
    if let Some(config) = table.get("config") {
        example.config = meanings(&config)?;
    }
    if let Some(secrets) = table.get("secrets") {
        example.secrets = meanings(&secrets)?;
    }
    if let Some(keys) = table.get("keys") {
        example.keys = keys.list().iter().map(key).collect::<Option<_>>()?;
    }
    for name in table.get("without").map(|f| f.texts()).unwrap_or_default() {
        let name = name.to_ascii_lowercase();
        example.headers.retain(|(other, _)| *other != name);
    }
    if let Some(headers) = table.get("headers") {
        set_headers(&headers.table()?, &mut example)?;
    }
    expectations(&table, &mut example)?;
    table.finish();
    Some(example)
}

fn expectations(table: &Table<'_>, example: &mut Example) -> Option<()> {
    let text = |name| table.get(name).map(|f| f.text().map(str::to_owned));
    if let Some(id) = text("event_id") {
        example.event_id = Some(id?);
    }
    if let Some(kind) = text("event_type") {
        example.event_type = Some(kind?);
    }
    if let Some(reply) = text("reply") {
        example.reply = Some(reply?);
    }
    if let Some(payment) = table.get("payment") {
        example.payment = meanings(&payment)?;
    }
    if let Some(action) = table.get("action") {
        example.action = Some(choice(&action, &words::ACTIONS)?);
    }
    if let Some(remote) = table.get("remote") {
        let list: Vec<Option<Recorded>> = remote.list().iter().map(recorded).collect();
        example.remote = list.into_iter().collect::<Option<_>>()?;
    }
    Some(())
}

/// What a pinned host answers.
fn recorded(field: &Field<'_>) -> Option<Recorded> {
    let table = field.table()?;
    let url = table
        .need("url", "the whole address")
        .and_then(|f| f.text());
    let status = table
        .get("status")
        .map_or(Some(200), |f| f.integer(100..=599));
    let body = table.get("body").map_or(Some(""), |f| f.text());
    table.finish();
    Some(Recorded {
        url: url?.to_owned(),
        status: u16::try_from(status?).ok()?,
        body: Bytes::copy_from_slice(body?.as_bytes()),
    })
}

fn base(like: &Field<'_>, known: &[Example]) -> Option<Example> {
    let name = like.text()?;
    let found = known.iter().find(|example| example.name == name).cloned();
    if found.is_none() {
        let message = format!("no example above is called `{name}`");
        like.problems.error(like.span.clone(), "bad_value", message);
    }
    found
}

/// A header that is set takes the place of those of the same name; several values repeat it.
fn set_headers(table: &Table<'_>, example: &mut Example) -> Option<()> {
    for (name, field) in table.entries() {
        let name = name.to_ascii_lowercase();
        example.headers.retain(|(other, _)| *other != name);
        for value in field.list() {
            example
                .headers
                .push((name.clone(), value.text()?.to_owned()));
        }
    }
    Some(())
}

/// `"text"` or `{ id = "…", key = "…" }`. Test keys stand in the file; they open nothing.
fn key(field: &Field<'_>) -> Option<(Option<String>, String)> {
    if !field.is_table() {
        return Some((None, field.text()?.to_owned()));
    }
    let table = field.table()?;
    let id = table.get("id").map(|f| f.text().map(str::to_owned));
    let key = table.need("key", "the test key").and_then(|f| f.text());
    table.finish();
    Some((optional(id)?, key?.to_owned()))
}

/// A rule under which an example can be judged: the provider as a source would bind it, with the
/// example's own settings. Its keys are texts in the example, so the references lead nowhere.
pub fn rule_for(provider: &Arc<Provider>, example: &Example) -> Rule {
    let key = |(index, (id, _)): (usize, &(Option<String>, String))| KeyRef {
        from: SecretRef::File(Path::new("example").join(index.to_string())),
        id: id.clone(),
        not_after: None,
        label: id.clone().unwrap_or_else(|| format!("keys[{index}]")),
    };
    let provider = chosen(provider, &example.schemes);
    Rule {
        name: SourceName::new(&provider.name),
        path: example.path.clone(),
        url: example.url.clone(),
        config: example.config.clone(),
        keys: example.keys.iter().enumerate().map(key).collect(),
        secrets: BTreeMap::new(),
        guard: guard_default(),
        tolerance: provider
            .freshness
            .as_ref()
            .map(|freshness| freshness.tolerance),
        inbox: InboxRule {
            keys: provider.event.ids.clone(),
            key_signed: provider.event.id_signed,
            business: None,
            content: None,
            on_conflict: OnConflict::KeepBoth,
            keep: Duration::from_secs(7 * 86_400),
        },
        relay: relay_default(Address {
            https: false,
            host: "127.0.0.1".to_owned(),
            port: 9,
            path: "/".to_owned(),
            authority: "127.0.0.1:9".to_owned(),
            socket: None,
        }),
        answer: AnswerMode::Custody,
        file: None,
        provider,
    }
}

/// The provider with the alternatives that a source has chosen; without a choice, with those that
/// are not opt-in.
pub(super) fn chosen(provider: &Arc<Provider>, names: &[String]) -> Arc<Provider> {
    let wanted = |scheme: &Scheme| match names {
        [] => !scheme.opt_in,
        names => names.contains(&scheme.name),
    };
    if provider.schemes.iter().all(wanted) {
        return Arc::clone(provider);
    }
    let mut chosen = Provider::clone(provider);
    chosen.schemes.retain(wanted);
    chosen.event.id_signed = believed(&chosen.cover(), &chosen.event.ids);
    Arc::new(chosen)
}

impl Example {
    /// The moment at which it is judged.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.at)
    }
}
