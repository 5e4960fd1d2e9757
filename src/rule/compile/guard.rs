//! `[guard]`: the cheap checks before any cryptography.

use std::num::NonZeroU32;

use ipnet::IpNet;

use crate::rule::compile::provider::choice;
use crate::rule::provider::Provider;
use crate::rule::reader::{Field, Table, optional};
use crate::rule::{GuardMode, GuardRule, Rate, value, words};

const BODY_MAX_DEFAULT: usize = 256 << 10;
const BODY_MAX_LIMIT: usize = 4 << 20;

pub(super) fn guard_default() -> GuardRule {
    GuardRule {
        allow: None,
        mode: GuardMode::default(),
        per_ip: None,
        total: None,
        body_max: BODY_MAX_DEFAULT,
    }
}

pub(super) fn guard(root: &Table<'_>, provider: Option<&Provider>) -> Option<GuardRule> {
    let mut guard = guard_default();
    if provider.is_some_and(|p| p.schemes.is_empty() && p.query_back.is_some()) {
        // Each request of a stranger makes one of ours.
        guard.per_ip = value::rate("120/min").ok();
    }
    let Some(field) = root.get("guard") else {
        return Some(guard);
    };
    let table = field.table()?;
    let allow = table.get("allow").map(|f| allow(&f, provider));
    let mode = table
        .get("mode")
        .map_or(Some(guard.mode), |f| choice(&f, &words::GUARD_MODES));
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
    guard.allow = optional(allow)?;
    guard.mode = mode?;
    let (per_ip, total) = rates?;
    guard.per_ip = per_ip.or(guard.per_ip);
    guard.total = total;
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
    Some((optional(per_ip)?, optional(total)?))
}

/// `"20/s burst 40"` or `{ count = 20, per = "1s", burst = 40 }`.
pub(super) fn rate(field: &Field<'_>) -> Option<Rate> {
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
    let nonzero = |n: u64| u32::try_from(n).ok().and_then(NonZeroU32::new);
    Some(Rate {
        count: nonzero(count?)?,
        period: period?,
        burst: nonzero(burst??)?,
    })
}
