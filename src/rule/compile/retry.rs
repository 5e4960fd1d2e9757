//! What follows from a failed attempt: `retry`, `on_status` and `breaker` of a destination.

use crate::rule::compile::provider::choice;
use crate::rule::reader::{Field, Table, optional};
use crate::rule::{BreakerRule, Jitter, OnStatus, RetryPolicy, Then, value, words};

/// Pauses that a list may have.
const MOST_PAUSES: usize = 64;

pub(super) fn retry(field: &Field<'_>, usual: &RetryPolicy) -> Option<RetryPolicy> {
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
    let list = optional(table.get("after").map(|f| after(&f)));
    let then = optional(table.get("then").map(|f| choice(&f, &words::THENS)));
    let jitter = optional(table.get("jitter").map(|f| choice(&f, &words::JITTERS)));
    let growing = ["first", "factor", "max"];
    let grows = growing.iter().find_map(|name| table.get(name));
    let after_field = table.get("after");
    let then_field = table.get("then");
    table.finish();
    let (list, then, jitter) = (list?, then?, jitter?);
    if let (Some(_), Some(grows)) = (&after_field, &grows) {
        let message = "pauses are either a list or grow";
        let hint = "`after` alone, or `first`, `factor` and `max`";
        grows
            .problems
            .error_with(grows.key.clone(), "bad_value", message, hint);
        return None;
    }
    let listed = match (list, grows.is_some()) {
        (Some(list), _) => list,
        (None, true) => Vec::new(),
        (None, false) => usual.after.clone(),
    };
    if let (Some(then), true) = (&then_field, listed.is_empty()) {
        let message = "`then` says what comes after a list of pauses, and there is none";
        let hint = "e.g. `after = [\"5s\", \"1m\", \"10m\"]`";
        then.problems
            .error_with(then.key.clone(), "bad_value", message, hint);
        return None;
    }
    let usual_jitter = match after_field.is_some() {
        // Who writes pauses down one by one means these.
        true => Jitter::None,
        false => usual.jitter,
    };
    let policy = RetryPolicy {
        first: first?,
        factor: factor?,
        max: max?,
        then: match listed.is_empty() {
            true => Then::default(),
            false => then.unwrap_or(usual.then),
        },
        after: listed,
        give_up_after: give_up_after?,
        jitter: jitter.unwrap_or(usual_jitter),
        on_status: usual.on_status.clone(),
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

fn after(field: &Field<'_>) -> Option<Vec<std::time::Duration>> {
    let read: Vec<_> = field
        .list()
        .iter()
        .map(|f| f.parsed(value::duration))
        .collect();
    let pauses: Vec<_> = read.into_iter().collect::<Option<_>>()?;
    if pauses.is_empty() || pauses.len() > MOST_PAUSES {
        let message = format!("a list has from one to {MOST_PAUSES} pauses");
        let hint = "the last one is repeated; without a list the pauses grow by themselves";
        field
            .problems
            .error_with(field.span.clone(), "bad_value", message, hint);
        return None;
    }
    Some(pauses)
}

pub(super) fn on_status(field: &Field<'_>) -> Option<Vec<(u16, u16, OnStatus)>> {
    let read: Vec<Option<_>> = field
        .table()?
        .entries()
        .map(|(name, f)| {
            let statuses = statuses(name, &f);
            let then = one_status(&f);
            let (from, to) = statuses?;
            Some((from, to, then?))
        })
        .collect();
    read.into_iter().collect()
}

/// `409`, or `5xx` for all of a class.
fn statuses(name: &str, field: &Field<'_>) -> Option<(u16, u16)> {
    let class = name.strip_suffix("xx").and_then(|n| n.parse::<u16>().ok());
    let (from, to) = match (class, name.parse::<u16>()) {
        (Some(class), _) => (class * 100, class * 100 + 99),
        (None, Ok(status)) => (status, status),
        (None, Err(_)) => (0, 0),
    };
    let complain = |message: &str, hint: &str| {
        let place = field.key.clone();
        field.problems.error_with(place, "bad_value", message, hint);
        None
    };
    let hint = "a status from `300` to `599`, or `3xx`, `4xx`, `5xx`";
    match from {
        200..=299 => complain("a 2xx is always taken", hint),
        300..=599 if name.len() == 3 => Some((from, to)),
        _ => complain(&format!("`{name}` is no status that can fail"), hint),
    }
}

fn one_status(field: &Field<'_>) -> Option<OnStatus> {
    if field.is_text() {
        return choice(field, &words::ON_STATUSES);
    }
    let table = field.table()?;
    let after = pause(&table);
    table.finish();
    after.map(OnStatus::RetryAfter)
}

fn pause(table: &Table<'_>) -> Option<std::time::Duration> {
    table
        .need("after", "how long until the next attempt, e.g. `1m`")
        .and_then(|f| f.parsed(value::duration))
}

/// None: a fault. `Some(None)`: none at all.
pub(super) fn breaker(field: &Field<'_>) -> Option<Option<BreakerRule>> {
    if field.is_text() {
        return choice(field, &words::BREAKERS).map(|()| None);
    }
    let usual = BreakerRule::default();
    let table = field.table()?;
    let failures = table
        .get("failures")
        .map_or(Some(u64::from(usual.failures)), |f| f.integer(1..=100));
    let first = table
        .get("first")
        .map_or(Some(usual.first), |f| f.parsed(value::duration));
    let max = table
        .get("max")
        .map_or(Some(usual.max), |f| f.parsed(value::duration));
    let said = table.get("max").is_some();
    table.finish();
    let (first, max) = (first?, max?);
    if first > max && said {
        let message = "`first` is longer than `max`";
        field
            .problems
            .error(field.span.clone(), "bad_value", message);
        return None;
    }
    Some(Some(BreakerRule {
        failures: u32::try_from(failures?).ok()?,
        first,
        max: max.max(first),
    }))
}
