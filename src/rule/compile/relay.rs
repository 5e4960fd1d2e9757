//! `[relay]`: how events go to the application.

use std::path::Path;
use std::time::Duration;

use crate::rule::compile::keys::secret;
use crate::rule::compile::provider::choice;
use crate::rule::reader::{Field, Table, optional};
use crate::rule::{Jitter, RelayRule, RetryPolicy, value, words};

pub(super) fn relay_default() -> RelayRule {
    RelayRule {
        timeout: Duration::from_secs(10),
        concurrency: 16,
        retry: RetryPolicy {
            first: Duration::from_secs(5),
            factor: 2.0,
            max: Duration::from_secs(3600),
            give_up_after: Duration::from_secs(72 * 3600),
            jitter: Jitter::Full,
        },
        sign_with: None,
        query_as_received: false,
    }
}

pub(super) fn relay(root: &Table<'_>, folder: &Path) -> Option<RelayRule> {
    let mut relay = relay_default();
    let Some(field) = root.get("relay") else {
        return Some(relay);
    };
    let table = field.table()?;
    let timeout = table
        .get("timeout")
        .map_or(Some(relay.timeout), |f| f.parsed(value::duration));
    let concurrency = table
        .get("concurrency")
        .map_or(Some(16), |f| f.integer(1..=1024));
    let retry = table
        .get("retry")
        .map_or(Some(relay.retry.clone()), |f| retry(&f, &relay.retry));
    let sign_with = table.get("sign_with").map(|f| secret(&f, folder));
    let query = table
        .get("query")
        .map_or(Some(false), |f| choice(&f, &words::RELAY_QUERIES));
    table.finish();
    relay.query_as_received = query?;
    relay.timeout = timeout?;
    relay.concurrency = usize::try_from(concurrency?).ok()?;
    relay.retry = retry?;
    relay.sign_with = optional(sign_with)?;
    Some(relay)
}

fn retry(field: &Field<'_>, usual: &RetryPolicy) -> Option<RetryPolicy> {
    let table = field.table()?;
    let duration = |name, usual| {
        table
            .get(name)
            .map_or(Some(usual), |f| f.parsed(value::duration))
    };
    let first = duration("first", usual.first);
    let max = duration("max", usual.max);
    let give_up_after = duration("give_up_after", usual.give_up_after);
    let factor = table.get("factor").map_or(Some(usual.factor), |f| {
        let factor = f.number()?;
        if !(1.0..=100.0).contains(&factor) {
            let message = "a factor is from 1 (always the same pause) to 100";
            f.problems.error(f.span.clone(), "bad_value", message);
            return None;
        }
        Some(factor)
    });
    let jitter = table
        .get("jitter")
        .map_or(Some(usual.jitter), |f| choice(&f, &words::JITTERS));
    table.finish();
    let policy = RetryPolicy {
        first: first?,
        factor: factor?,
        max: max?,
        give_up_after: give_up_after?,
        jitter: jitter?,
    };
    if policy.first > policy.max {
        let message = "`first` is longer than `max`";
        field
            .problems
            .error(field.span.clone(), "bad_value", message);
        return None;
    }
    Some(policy)
}
