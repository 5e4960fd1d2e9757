//! `[relay]`: how events go to the application, and `[[relay.to]]`: to which others.

use std::path::Path;

use crate::message::DestinationName;
use crate::rule::compile::guard::rate;
use crate::rule::compile::keys::secret;
use crate::rule::compile::provider::{choice, source_value};
use crate::rule::compile::{lint, retry, transport};
use crate::rule::provider::Provider;
use crate::rule::reader::{Field, Table};
use crate::rule::relay::{MOST_DESTINATIONS, Overtaken, SupersedeRule};
use crate::rule::when::When;
use crate::rule::{Address, Destination, RelayRule, RetryPolicy, Template, value, words};

pub(super) fn relay_default(forward: Address) -> RelayRule {
    RelayRule {
        main: Destination::new(DestinationName::main(), forward),
        more: Vec::new(),
        query_as_received: false,
        supersede: None,
    }
}

pub(super) fn relay(
    root: &Table<'_>,
    folder: &Path,
    provider: Option<&Provider>,
    forward: Option<Address>,
) -> Option<RelayRule> {
    let field = root.get("relay");
    let table = match &field {
        Some(field) => Some(field.table()?),
        None => None,
    };
    // What is wrong in here is told whether or not `forward` is there.
    let told = forward.is_some();
    let nowhere = || Address {
        https: false,
        host: String::new(),
        port: 0,
        path: String::new(),
        authority: String::new(),
        socket: None,
    };
    let mut relay = relay_default(forward.unwrap_or_else(nowhere));
    let Some(table) = table else {
        return told.then_some(relay);
    };
    let scope = Scope { folder, provider };
    let main = scope.settings(&table, &relay.main);
    if told && main.is_some() {
        transport::fits(&table, &relay.main.forward);
    }
    let query = table
        .get("query")
        .map_or(Some(false), |f| choice(&f, &words::RELAY_QUERIES));
    let supersede = match table.get("supersede") {
        Some(field) => scope.supersede(&field).map(Some),
        None => Some(None),
    };
    let usual = main.clone().unwrap_or(relay.main);
    let more = table
        .get("to")
        .map_or(Some(Vec::new()), |f| scope.more(&f, &usual));
    table.finish();
    relay.query_as_received = query?;
    relay.supersede = supersede?;
    relay.main = main?;
    relay.more = more?;
    told.then_some(relay)
}

/// What the settings of every destination are read against.
struct Scope<'a> {
    folder: &'a Path,
    provider: Option<&'a Provider>,
}

impl Scope<'_> {
    /// What may stand in `[relay]` and in each `[[relay.to]]` alike; what does not stand there is
    /// as in `usual`.
    fn settings(&self, table: &Table<'_>, usual: &Destination) -> Option<Destination> {
        let timeout = table
            .get("timeout")
            .map_or(Some(usual.timeout), |f| f.parsed(value::duration));
        let concurrency = table
            .get("concurrency")
            .map_or(u64::try_from(usual.concurrency).ok(), |f| {
                f.integer(1..=1024)
            });
        let limit = table.get("rate").map_or(Some(usual.rate), |f| {
            let rate = rate(&f)?;
            if rate.count.get() > MOST_PER_PERIOD || rate.burst != rate.count {
                f.problems.error_with(
                    f.span.clone(),
                    "bad_value",
                    "a destination takes at most 10000 in any period, and no burst beyond that",
                    "e.g. `100/s`",
                );
                return None;
            }
            Some(Some(rate))
        });
        let retry = table.get("retry").map_or(Some(usual.retry.clone()), |f| {
            retry::retry(&f, &usual.retry)
        });
        let on_status = table
            .get("on_status")
            .map_or(Some(usual.retry.on_status.clone()), |f| {
                retry::on_status(&f)
            });
        let adaptive = table
            .get("adaptive")
            .map_or(Some(usual.adaptive), |f| f.boolean());
        let breaker = table
            .get("breaker")
            .map_or(Some(usual.breaker), |f| retry::breaker(&f));
        let http2 = table
            .get("http2")
            .map_or(Some(usual.http2), |f| choice(&f, &words::HTTP2));
        let addresses = table
            .get("addresses")
            .map_or(Some(usual.addresses), |f| choice(&f, &words::ADDRESSES));
        let tls = match table.get("tls") {
            Some(field) => transport::tls(&field, self.folder).map(Some),
            None => Some(usual.tls.clone()),
        };
        let sign_with = match table.get("sign_with") {
            Some(field) => secret(&field, self.folder).map(Some),
            None => Some(usual.sign_with.clone()),
        };
        let when = match table.get("when") {
            Some(field) => condition(&field).map(Some),
            None => Some(usual.when.clone()),
        };
        let order_by = match table.get("order_by") {
            Some(field) => self.signed(&field).map(Some),
            None => Some(usual.order_by.clone()),
        };
        let on_dead = table
            .get("on_dead")
            .map_or(Some(usual.on_dead), |f| choice(&f, &words::ON_DEAD));
        Some(Destination {
            name: usual.name.clone(),
            forward: usual.forward.clone(),
            timeout: timeout?,
            concurrency: usize::try_from(concurrency?).ok()?,
            rate: limit?,
            retry: RetryPolicy {
                on_status: on_status?,
                ..retry?
            },
            adaptive: adaptive?,
            breaker: breaker?,
            http2: http2?,
            addresses: addresses?,
            tls: tls?,
            sign_with: sign_with?,
            when: when?,
            order_by: order_by?,
            on_dead: on_dead?,
        })
    }

    fn more(&self, field: &Field<'_>, usual: &Destination) -> Option<Vec<Destination>> {
        let fields = field.list();
        let mut more: Vec<Destination> = Vec::new();
        let mut good = true;
        for field in &fields {
            let Some(to) = self.to(field, usual) else {
                good = false;
                continue;
            };
            if more.iter().any(|other| other.name == to.name) {
                let message = format!("two destinations are called `{}`", to.name);
                field.problems.error(field.key.clone(), "bad_name", message);
                good = false;
            }
            more.push(to);
        }
        if more.len() >= MOST_DESTINATIONS {
            let message = format!("a source has at most {MOST_DESTINATIONS} destinations");
            field
                .problems
                .error(field.key.clone(), "bad_value", message);
            good = false;
        }
        good.then_some(more)
    }

    fn to(&self, field: &Field<'_>, usual: &Destination) -> Option<Destination> {
        let table = field.table()?;
        let name = table
            .need("name", "what log, metrics and admin port call it")
            .and_then(|f| name(&f));
        let forward = table
            .need(
                "forward",
                "where the events go, e.g. `http://127.0.0.1:3001/hook`",
            )
            .and_then(|f| f.parsed(value::address));
        let settings = self.settings(&table, usual);
        if let Some(forward) = &forward {
            transport::fits(&table, forward);
        }
        table.finish();
        Some(Destination {
            name: name?,
            forward: forward?,
            ..settings?
        })
    }

    fn supersede(&self, field: &Field<'_>) -> Option<SupersedeRule> {
        let table = field.table()?;
        let by = table
            .need(
                "by",
                "a number or a time that rises, e.g. `{json:/created}`",
            )
            .and_then(|f| {
                let template = self.signed(&f)?;
                // Between other text it would be neither a number nor a time.
                if template.as_single().is_none() {
                    let message = "one value alone: a number, or an RFC 3339 time";
                    f.problems.error(f.span.clone(), "bad_value", message);
                    return None;
                }
                Some(template)
            });
        let key = table
            .need(
                "key",
                "what events are about, e.g. `{json:/data/object/id}`",
            )
            .and_then(|f| self.signed(&f));
        let then = table
            .get("then")
            .map_or(Some(Overtaken::Mark), |f| choice(&f, &words::OVERTAKEN));
        table.finish();
        Some(SupersedeRule {
            by: by?,
            key: key?,
            then: then?,
        })
    }

    /// A template whose values decide what happens to other events: a stranger must not.
    fn signed(&self, field: &Field<'_>) -> Option<Template> {
        let Some(provider) = self.provider else {
            // What the provider would say of it is not known; what the language says is.
            return field.template().and(None);
        };
        let template = source_value(field, provider)?;
        let why = "whoever sends a captured callback again could change it: only what is signed \
                   may decide over other events";
        if !provider.verifies() {
            return Some(template);
        }
        lint::covered(&provider.cover(), field, &template, "order_unsigned", why)
            .then_some(template)
    }
}

/// The lane keeps the moment of each attempt that began within the period.
const MOST_PER_PERIOD: u32 = 10_000;

/// The name of a destination goes into headers, metrics and the journal.
fn name(field: &Field<'_>) -> Option<DestinationName> {
    let text = field.text()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(plain);
    if !fits {
        let hint = "from one to 64 lower-case letters, digits, `-` and `_`";
        let message = "this cannot be the name of a destination";
        field
            .problems
            .error_with(field.span.clone(), "bad_name", message, hint);
        return None;
    }
    let name = DestinationName::new(text);
    if name.is_main() {
        let message = "`main` is the destination of `forward`";
        field
            .problems
            .error(field.span.clone(), "bad_name", message);
        return None;
    }
    Some(name)
}

fn condition(field: &Field<'_>) -> Option<When> {
    match When::parse(field.text()?) {
        Ok(when) => Some(when),
        Err(error) => {
            let span = field.inside(error.span);
            field
                .problems
                .error_with(span, "condition", error.message, error.hint);
            None
        }
    }
}
