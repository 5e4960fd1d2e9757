//! A source, `rules/NAME.toml`.

use crate::rule::shape::{DURATION, Form, Kind, Shape, TEMPLATE, TEXT, list, named, words};
use crate::rule::words as known;

/// The keys of a source.
pub fn source() -> Shape {
    let key = Kind::Either(vec![Kind::Text(Form::Secret), Kind::Table(key())]);
    Shape::new("source", "One provider, bound to a path, keys and a destination.")
        .need("provider", TEXT, "Who calls: name of a provider file; `callseal providers` lists them.")
        .need("path", Kind::Text(Form::Path), "The path that the provider calls, matched byte for byte; no two sources share one.")
        .may("keys", list(key), "Where the keys lie: `env:NAME`, or `file:PATH` beside this file; never the key itself. Several while rotating: any may fit.")
        .need("forward", Kind::Text(Form::Forward), "Address of the application that takes the events, or `unix:/path/of.sock:/path`; its query comes before the provider's.")
        .may("url", Kind::Text(Form::Web), "The address as the provider knows it, where it is part of what is signed.")
        .may("schemes", list(TEXT), "Which of the provider's alternatives are used; those that are not opt-in without it.")
        .may("config", named(TEXT), "What the provider file asks for under `[config]`.")
        .may("secrets", named(Kind::Text(Form::Secret)), "Where further secrets of the provider file lie: `env:NAME` or `file:PATH`.")
        .table("guard", guard())
        .table("freshness", Shape::new("source_freshness", "How far the clocks may be apart.")
            .may("tolerance", DURATION, "Both ways, e.g. `5m`; the provider's without it."))
        .table("inbox", inbox())
        .table("relay", relay())
        .table("answer", answer())
        .may("verify", words(&known::VERIFY_SOURCE), "`none`: nothing is verified, and every event says so; needs `verify_reason`.")
        .may("verify_reason", TEXT, "Why it is accepted that nothing shows who sent an event.")
}

fn key() -> Shape {
    Shape::new("source_key", "A key with its id, or its end.")
        .need("from", Kind::Text(Form::Secret), "Where it lies: `env:NAME` or `file:PATH`.")
        .may("id", TEXT, "Matched exactly with the key id that a request names.")
        .may("not_after", Kind::Date, "Not used from this moment on: a date (its beginning in UTC), or a date and time with its zone.")
}

fn guard() -> Shape {
    let rate = || Kind::Either(vec![Kind::Text(Form::Rate), Kind::Table(rate())]);
    let rates = Shape::new("rates", "How many requests are let in.")
        .may(
            "per_ip",
            rate(),
            "From one address (/24 or /64), e.g. `20/s burst 40`.",
        )
        .may(
            "total",
            rate(),
            "From all together, e.g. `500/s burst 1000`.",
        );
    Shape::new("guard", "Cheap checks before any cryptography.")
        .may("allow", list(Kind::Text(Form::Allowed)), "Addresses and networks that may call; `provider` stands for the list of the provider file. Anyone without it.")
        .may("mode", words(&known::GUARD_MODES), "`enforce` (without it), or `log`: count what would be refused, and let it pass.")
        .table("rate", rates)
        .may("body_max", Kind::Text(Form::Size), "Largest body, at most `4 MiB`; `256 KiB` without it.")
}

fn rate() -> Shape {
    let most = u64::from(u32::MAX);
    Shape::new("rate", "So many in a period, with a burst.")
        .need("count", Kind::Integer(1, most), "How many.")
        .need("per", DURATION, "In which time, e.g. `1s`.")
        .may(
            "burst",
            Kind::Integer(1, most),
            "How many at once; as `count` without it.",
        )
}

fn inbox() -> Shape {
    Shape::new("inbox", "What makes two callbacks one event, and how long that is known.")
        .may("key", TEMPLATE, "What makes two events one for you, besides the provider's event id; read from signed values.")
        .may("content", TEMPLATE, "What must be equal for two events with the same `key` to say the same; all that is signed without it.")
        .may("on_conflict", words(&known::ON_CONFLICT), "An event whose key is taken by another content: `keep-both` (without it), `first-wins` or `reject`.")
        .may("keep", DURATION, "How long keys, events and bodies are kept; at least as long as the provider retries. `7d` without it.")
}

fn answer() -> Shape {
    Shape::new("answer", "Who answers the provider.")
        .may("mode", words(&known::ANSWER_MODES), "`custody` (without it): the gateway, once the event is on disk; `destination`: the application, where it takes the event in time.")
        .may("within", DURATION, "How long the application's answer is waited for, from the beginning of the callback, shorter than the provider waits; `3s` without it, or half of the provider's time where that is less.")
}

fn supersede() -> Shape {
    Shape::new("supersede", "Later events overtake earlier ones about the same.")
        .need("by", TEMPLATE, "A number or an RFC 3339 time: the higher is the later. Signed.")
        .need("key", TEMPLATE, "What events are about. Signed.")
        .may("then", words(&known::OVERTAKEN), "What becomes of one that was overtaken: `mark` (without it): it is sent and says so; `skip`: it is not sent.")
}

fn relay() -> Shape {
    Shape::new("relay", "How events go to the application.")
        .with(settings())
        .may(
            "query",
            words(&known::RELAY_QUERIES),
            "What is passed on of the query: only what is verified (without it), or all of it.",
        )
        .table("supersede", supersede())
        .tables("to", to())
}

fn to() -> Shape {
    Shape::new("to", "A further destination, at most seven: every event goes there as well. What it does not say is as in `[relay]`.")
        .need("name", TEXT, "What log, metrics and admin port call it; `main` is the destination of `forward`.")
        .need("forward", Kind::Text(Form::Forward), "Address of the application that takes the events there.")
        .with(settings())
}

/// What every destination has.
fn settings() -> Shape {
    let rate = Kind::Either(vec![Kind::Text(Form::Rate), Kind::Table(rate())]);
    let on_status = Kind::Either(vec![words(&known::ON_STATUSES), Kind::Table(on_status())]);
    let breaker = Kind::Either(vec![words(&known::BREAKERS), Kind::Table(breaker())]);
    Shape::new("settings", "How events go to a destination.")
        .may("timeout", DURATION, "One attempt, from connecting to the end of the answer; `10s` without it.")
        .may("concurrency", Kind::Integer(1, 1024), "Attempts under way at once, at most; 16 without it.")
        .may("adaptive", Kind::Boolean, "`true` (without it): begins with few attempts at once, more while they go well, fewer when it is too much; `false`: always up to `concurrency`.")
        .may("rate", rate, "Attempts begun in any such period, e.g. `100/s`; no limit but `concurrency` without it.")
        .table("retry", retry())
        .may("on_status", named(on_status), "What certain answers lead to, e.g. `{ 422 = \"dead\", 5xx = \"retry\" }`: `retry`, `dead` or a pause; a 2xx is always taken, and 410 is dead without it.")
        .may("breaker", breaker, "When a destination that fails is left alone for a while, or `off`.")
        .may("http2", words(&known::HTTP2), "`alpn` (without it): over https where both sides agree; `never`; `prior-knowledge`: at once, without TLS.")
        .may("addresses", words(&known::ADDRESSES), "Where the name may lead: `any` (without it) but link-local and metadata addresses, `private` or `public` ones.")
        .table("tls", tls())
        .may("sign_with", Kind::Text(Form::Secret), "Where the key of the Standard Webhooks signature to the application lies: `env:NAME` or `file:PATH`.")
        .may("when", TEXT, "A condition in CEL, e.g. `event.type == \"paid\"`: what does not fit is kept and acknowledged, and not sent. Everything without it.")
        .may("order_by", TEMPLATE, "Events with the same value go out one after the other, as they were accepted; in no order without it.")
        .may("on_dead", words(&known::ON_DEAD), "What is behind a dead letter in that order: `continue` (without it), or `hold` until someone redrives or discards it.")
}

fn on_status() -> Shape {
    Shape::new("on_status", "Another attempt after a pause.").need(
        "after",
        DURATION,
        "How long until then; longer where the answer itself asks for it.",
    )
}

fn breaker() -> Shape {
    Shape::new("breaker", "When a destination that fails is left alone.")
        .may("failures", Kind::Integer(1, 100), "So many in a row, of as many deliveries; 5 without it.")
        .may("first", DURATION, "How long it is left alone before one delivery is tried; `5s` without it, and twice as long each time.")
        .may("max", DURATION, "The longest such pause; `1m` without it.")
}

fn tls() -> Shape {
    let file = || Kind::Text(Form::Secret);
    Shape::new(
        "tls",
        "Trust in an https destination, and what it is shown.",
    )
    .may(
        "ca",
        file(),
        "Whom its certificate must lead to (PEM), in place of the machine's roots.",
    )
    .may(
        "cert",
        file(),
        "Our certificate with its chain (PEM), shown to the destination.",
    )
    .may("key", file(), "The key of that certificate (PEM).")
    .may(
        "server_name",
        TEXT,
        "The name that its certificate must bear, where it is not the host of `forward`.",
    )
}

fn retry() -> Shape {
    Shape::new("retry", "Pauses between attempts.")
        .may("first", DURATION, "The first pause; `5s` without it.")
        .may(
            "factor",
            Kind::Number(1.0, 100.0),
            "Each pause is so many times as long as the one before; 2.0 without it.",
        )
        .may("max", DURATION, "The longest pause; `1h` without it.")
        .may(
            "after",
            list(DURATION),
            "The pauses one by one, in place of those that grow.",
        )
        .may(
            "then",
            words(&known::THENS),
            "After the list: `repeat` (without it) its last pause, or `dead`.",
        )
        .may(
            "give_up_after",
            DURATION,
            "When to give up, counted from acceptance; `72h` without it.",
        )
        .may(
            "jitter",
            words(&known::JITTERS),
            "`full` (without it, but for a list): each pause is drawn evenly from zero to that; `none`: as it is.",
        )
}
