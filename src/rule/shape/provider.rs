//! A provider file, `rules/providers/NAME.toml`.

use crate::rule::provider::{Category, Evidence, Status};
use crate::rule::shape::key::key;
use crate::rule::shape::outbound::{decrypt, query_back, visit};
use crate::rule::shape::signature::{also, condition, conditions, headers, params, signature};
use crate::rule::shape::{DURATION, Form, Kind, Shape, TEMPLATE, TEXT, list, named, words};
use crate::rule::words as known;

/// The keys of a provider file.
pub fn provider() -> Shape {
    let head = Shape::new("provider", "How a vendor signs its callbacks, and what they say.")
        .need("title", TEXT, "The provider's name, as people know it.")
        .need("docs", TEXT, "Address of the provider's own page on its callbacks.")
        .need("category", words(&Category::ALL), "Where it stands in the catalogue.")
        .need("evidence", words(&Evidence::ALL), "How sure the facts of this file are: a published `vector` computed again, an official `sdk` read or run, `documented` officially, only `third-party` code, or `unconfirmed`.")
        .may("unconfirmed", list(TEXT), "Facts that this file rests on and nobody has confirmed, one sentence each.")
        .may("notes", list(TEXT), "Remarks for the merchant.")
        .may("methods", list(words(&known::METHODS)), "Methods of its callbacks; `POST` without it. HEAD and OPTIONS are questions: `[[challenge]]`.")
        .may("verify", words(&known::VERIFY), "In place of `[signature]`: `none` needs `verify_reason`, `query_back` needs `[query_back]`.")
        .may("verify_reason", TEXT, "Why it is accepted that nothing shows who sent an event.")
        .may("config", named(TEXT), "Settings that a source must make, each with what it means.")
        .may("config_optional", named(TEXT), "Settings that a source may make, each with what it means.")
        .may("secrets", named(TEXT), "Secrets that a source must name, each with what it means.")
        .may("secrets_optional", named(TEXT), "Secrets that a source may name, each with what it means.");
    head.tables("signature", signature())
        .tables("also", also())
        .table("key", key())
        .table("params", params())
        .may(
            "parts",
            named(Kind::Table(part())),
            "Documents inside the request, at most four, by name; read with `{part:NAME/…}`.",
        )
        .table("freshness", freshness())
        .table("event", event())
        .table("payment", payment())
        .tables("assert", assert())
        .table("split", split())
        .table("decrypt", decrypt())
        .table("query_back", query_back())
        .tables("challenge", challenge())
        .table("answer", answers())
        .table("contract", contract())
        .tables("example", example())
}

fn part() -> Shape {
    Shape::new("part", "A document inside the request.")
        .need(
            "from",
            TEMPLATE,
            "Its bytes, e.g. `{form:bt_payload|from_base64}`; may read other parts.",
        )
        .need("as", words(&known::PART_FORMS), "What it is.")
}

fn freshness() -> Shape {
    Shape::new("freshness", "When the request was signed: the moment must be signed itself.")
        .need("timestamp", TEMPLATE, "Where the moment stands, e.g. `{sig:t}`.")
        .need("format", words(&known::TIME_FORMATS), "How it is written. `compact`: yyyyMMddHHmmss; `plain`: yyyy-MM-dd HH:mm:ss; both need `zone`.")
        .may("zone", Kind::Text(Form::Zone), "The provider's clock, with `compact` and `plain`, e.g. `+08:00`.")
        .need("tolerance", DURATION, "How far the clocks may be apart, both ways, e.g. `5m`.")
        .may("future", DURATION, "How far the moment may lie ahead, where that is not `tolerance`.")
}

fn event() -> Shape {
    Shape::new("event", "What an event is called.")
        .may("id", list(TEMPLATE), "The provider's id of the event; of several the first that is there.")
        .may("type", TEMPLATE, "The kind of event, e.g. `{json:/type}`.")
        .may("repeats", TEXT, "Why every delivery is an event of its own: the provider sends the same words for different events.")
        .may("content", TEMPLATE, "What the event says, without what only counts the provider's tries: its digest tells a duplicate from a conflict.")
}

fn payment() -> Shape {
    let shape = Shape::new(
        "payment",
        "What a payment's callback says, in one language for all providers. Only from what is signed; of several the first that is there.",
    );
    let keys = [
        ("order", "The merchant's order number."),
        ("transaction", "The provider's number of the payment."),
        ("amount", "The amount, in the `unit` that is said."),
        ("currency", "The currency, as the provider writes it."),
        (
            "status",
            "The provider's word for the state, which `map` translates.",
        ),
        ("confirmations", "Confirmations of the block chain."),
    ];
    keys.into_iter()
        .fold(shape, |shape, (key, about)| shape.may(key, list(TEMPLATE), about))
        .may("unit", words(&known::UNITS), "`major`: 12.50; `minor`: 1250. Needed with `amount`.")
        .may("map", named(words(&Status::ALL)), "The provider's words for states, and what they mean. A word that is not here is shown as unknown.")
}

fn assert() -> Shape {
    let about = "Something that must hold after the signature, above all that the event is meant for us: `{config:…}` on one side.";
    Shape::new("assert", about).with(condition()).may(
        "when",
        conditions(),
        "It is looked at only when all of these hold.",
    )
}

fn split() -> Shape {
    Shape::new("split", "Several items in one request.")
        .need(
            "items",
            TEXT,
            "A pointer with `*`, e.g. `/notificationItems/*/NotificationRequestItem`.",
        )
        .need(
            "verify",
            words(&known::SPLIT_VERIFY),
            "`item`: every item is signed by itself; `delivery`: the request as a whole.",
        )
        .may(
            "most",
            Kind::Integer(1, 1000),
            "No more items are taken in one request; 1000 without it.",
        )
}

fn challenge() -> Shape {
    Shape::new(
        "challenge",
        "A question that the provider asks to see who answers; the first that fits is answered.",
    )
    .may("name", TEXT, "What it is called in the log.")
    .may(
        "method",
        words(&known::CHALLENGE_METHODS),
        "Its method; any of the provider's without it.",
    )
    .may(
        "signed",
        Kind::Boolean,
        "False: answered before any signature; true without it.",
    )
    .may(
        "when",
        conditions(),
        "All must hold for a request to be this question.",
    )
    .may(
        "reply",
        TEMPLATE,
        "The body of the reply; empty without it.",
    )
    .may(
        "status",
        Kind::Integer(200, 299),
        "The status of the reply; 200 without it.",
    )
    .may(
        "content_type",
        words(&known::CONTENT_TYPES),
        "The type of the reply; `text/plain` without it.",
    )
    .may("headers", headers(), "Header fields of the reply by name.")
    .may(
        "charset",
        words(&known::CHARSETS),
        "What a value of the request may consist of to be sent back; needed with `signed = false`.",
    )
    .may(
        "longest",
        Kind::Integer(1, 4096),
        "Longest value that is sent back, in bytes; 512 without it.",
    )
    .may(
        "reply_max",
        Kind::Integer(1, 4096),
        "Another name for `longest`.",
    )
    .table("visit", visit())
}

fn answers() -> Shape {
    let reply = |about| {
        let shape = Shape::new("reply", "A status, a body and its type.")
            .need("status", Kind::Integer(200, 599), "The status.")
            .may("body", TEXT, "The body; empty without it.")
            .may(
                "content_type",
                TEXT,
                "The type of the body; `text/plain; charset=utf-8` without it.",
            );
        (Kind::Table(shape), about)
    };
    let keys = [
        (
            "accepted",
            reply("The event is on stable storage: 2xx; 200 without it."),
        ),
        (
            "duplicate",
            reply("It was already there: 2xx; as `accepted` without it."),
        ),
        (
            "rejected",
            reply("The signature, the key or the clock did not fit: 4xx or 5xx; 401 without it."),
        ),
        (
            "overloaded",
            reply("It could not be made durable: 5xx or 429; 503 without it."),
        ),
    ];
    keys.into_iter().fold(
        Shape::new("answer", "What the provider hears, in its own words."),
        |shape, (key, (kind, about))| shape.may(key, kind, about),
    )
}

fn contract() -> Shape {
    Shape::new("contract", "What the provider promises of itself.")
        .may(
            "horizon",
            DURATION,
            "How long it retries an event; the sum of `retries` without it.",
        )
        .may("deadline", DURATION, "How long it waits for an answer.")
        .may(
            "retries",
            list(Kind::Text(Form::Pause)),
            "Pauses between its tries.",
        )
        .may(
            "addresses",
            list(Kind::Text(Form::Network)),
            "Addresses and networks that it calls from.",
        )
        .may(
            "final",
            list(Kind::Text(Form::Status)),
            "Answers that end its retries: `4xx`, `5xx` or a status.",
        )
}

fn example() -> Shape {
    Shape::new("example", "The file's own proof: one request with a test key, and what must be said of it. At least two accepted and three rejected.")
        .need("name", TEXT, "What this example shows.")
        .may("like", TEXT, "Name of an example above, of which this one changes a few things.")
        .may("rejected", TEXT, "The reason code with which it must be rejected; accepted without it.")
        .may("at", Kind::Integer(0, 253_402_300_799), "The clock, in seconds since 1970.")
        .may("method", words(&known::CHALLENGE_METHODS), "Its method; `POST` without it.")
        .may("path", TEXT, "Its path; `/` without it.")
        .may("query", TEXT, "Its query, without the question mark.")
        .may("url", TEXT, "The address that the source has configured.")
        .may("headers", named(list(TEXT)), "Header fields by name; several values repeat a field.")
        .may("without", list(TEXT), "Header fields of the example that it is like, left out.")
        .may("body", TEXT, "Its body.")
        .may("body_base64", TEXT, "Its body in base64; blanks are left out.")
        .may("keys", list(Kind::Either(vec![TEXT, Kind::Table(test_key())])), "Test keys, made for this file.")
        .may("config", named(TEXT), "What the source has set under `[config]`.")
        .may("secrets", named(TEXT), "Test secrets by name.")
        .may("schemes", list(TEXT), "Alternatives that the source has chosen.")
        .may("event_id", TEXT, "What the event's id must be.")
        .may("event_type", TEXT, "What the kind of event must be.")
        .may("payment", named(TEXT), "What must be read of the payment, by name.")
        .may("reply", TEXT, "What a challenge must be answered with.")
        .may("action", words(&known::ACTIONS), "What `callseal sign` offers it as.")
        .may("remote", list(Kind::Table(recorded())), "What pinned hosts answer; any other is unreachable.")
}

fn test_key() -> Shape {
    Shape::new("test_key", "A test key with its id.")
        .may("id", TEXT, "Its id.")
        .need("key", TEXT, "The test key itself.")
}

fn recorded() -> Shape {
    Shape::new("recorded", "One recorded answer of a pinned host.")
        .need("url", TEXT, "The whole address.")
        .may(
            "status",
            Kind::Integer(100, 599),
            "The status; 200 without it.",
        )
        .may("body", TEXT, "The body; empty without it.")
}
