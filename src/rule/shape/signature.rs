//! `[signature]`, `[[also]]`, `[params]`, and conditions.

use crate::rule::scheme::{Algorithm, HTTP_ALGORITHMS, JWS_ALGORITHMS};
use crate::rule::shape::key::key;
use crate::rule::shape::{Form, Kind, Shape, TEMPLATE, TEXT, list, named, words};
use crate::rule::words as known;

pub(super) fn signature() -> Shape {
    let shape = Shape::new(
        "signature",
        "What is signed, with which algorithm, and where the signature stands. Several `[[signature]]` are alternatives: each that applies is tried.",
    )
    .may("name", TEXT, "What a source calls this alternative under `schemes`; needed where there are several.")
    .may("opt_in", Kind::Boolean, "True: used only by a source that lists it under `schemes`.")
    .may("when", conditions(), "This alternative applies only to requests for which all of these hold.")
    .may("key_id", TEMPLATE, "Which key was used: matched exactly with the id of a key.")
    .may("jws_algorithms", list(Kind::Word(JWS_ALGORITHMS.to_vec())), "With `algorithm = \"jws\"`: the algorithms that a token may name.")
    .may("components", list(TEXT), "With `algorithm = \"http-signature\"` (RFC 9421): what every signature must cover, e.g. `@method`, `@target-uri`, `content-digest`.")
    .may("http_algorithms", list(words(&HTTP_ALGORITHMS)), "With `algorithm = \"http-signature\"` (RFC 9421): the algorithms of its keys.")
    .may("body_unsigned", Kind::Boolean, "True: the provider really leaves the body out of what it signs. Needs `[query_back]` or `body_unsigned_reason`.")
    .may("body_unsigned_reason", TEXT, "Why a signature without the body is accepted.")
    .table("params", params());
    signed(shape)
}

pub(super) fn also() -> Shape {
    let shape = Shape::new(
        "also",
        "A check that must hold beside the signature, under a secret of its own. Left out when that secret is optional and not set.",
    )
    .need("secret", TEXT, "Name of its key under `[secrets]` or `[secrets_optional]`.");
    signed(shape)
}

/// What `[signature]` and `[[also]]` have in common.
fn signed(shape: Shape) -> Shape {
    shape
        .need("algorithm", words(&Algorithm::ALL), "The one algorithm that this provider signs with; never taken from the request.")
        .may("weak", TEXT, "Why a scheme that is no proof by today's measure (token, basic, keyed digest, MD5, SHA-1) is accepted; needed for these.")
        .table("header", header())
        .may("value", TEMPLATE, "One value of the request that gives the signature, e.g. `{header:X-Signature}`; several found are several candidates.")
        .may("encoding", words(&known::ENCODINGS), "How the signature is written; read strictly.")
        .may("message", TEMPLATE, "The signed bytes, e.g. `{sig:t}.{body}`.")
        .may("any_of", list(TEMPLATE), "In place of `message`: from one to four variants of the signed bytes.")
        .may("side_by_side", TEXT, "Why it is no danger that two values stand side by side in the message.")
        .table("key", key())
}

fn header() -> Shape {
    Shape::new("header", "A header that is taken apart into `{sig:NAME}`; repeated names keep every value.")
        .may("name", TEXT, "The header field, e.g. `Stripe-Signature`.")
        .may("from", TEMPLATE, "In place of `name`: any other value of the request, e.g. `{form:bt_signature}`.")
        .need("items", TEXT, "What stands between the items, e.g. `,`.")
        .may("pair", TEXT, "What stands between name and value of an item, e.g. `=`. Without it items have places: `{sig:1}`.")
        .one_of(&["name", "from"])
}

pub(super) fn params() -> Shape {
    let from = Kind::Either(vec![words(&known::PARAMS_FROM), Kind::Text(Form::Part)]);
    Shape::new("params", "Names and values, sorted and joined: what `{params}` stands for.")
        .need("from", from, "Where they come from: `form`, `query`, `json` (top level), `json_leaves` (every scalar), `xml`, or `part:NAME` of `[parts]`.")
        .may("only", list(TEXT), "Only these names; all where neither this nor `only_prefix` is said.")
        .may("only_prefix", list(TEXT), "Only names that begin like this.")
        .may("except", list(TEXT), "All but these names.")
        .may("except_prefix", list(TEXT), "All but names that begin like this.")
        .may("drop_empty", Kind::Boolean, "True: names with an empty value are left out; false without it.")
        .need("order", words(&known::PARAMS_ORDERS), "`key`: by the bytes of the name; `value`; `arrival`: as they came; `listed`: as in `only`.")
        .need("render", Kind::Text(Form::Render), "What one looks like: `k=v` is name, what stands between, value, what stands after; `kv`, `v`.")
        .need("join", TEXT, "What stands between them, e.g. `&`.")
        .may("encode", words(&known::PARAMS_ENCODES), "How values are encoded; `none` without it.")
        .may("repeated", words(&known::REPEATED), "Repeated names: `reject` (without it), or `sorted`: every value once, sorted.")
        .may("number", words(&known::NUMBERS), "Numbers of JSON: as `written` (without it), or `float_trim`: 12.50 becomes 12.5.")
        .may("nested", words(&known::NESTED), "Objects and arrays of JSON: as `written` (without it), `skip` or `reject`.")
}

/// A list of conditions.
pub(super) fn conditions() -> Kind {
    list(Kind::Table(condition()))
}

pub(super) fn condition() -> Shape {
    Shape::new(
        "condition",
        "Something that must hold of the request: `is`, and exactly one test.",
    )
    .need("is", TEMPLATE, "What is looked at, e.g. `{json:/type}`.")
    .may("equals", TEMPLATE, "It is equal to this.")
    .may("one_of", list(TEMPLATE), "It is equal to one of these.")
    .may("starts_with", TEXT, "It begins with this text.")
    .may(
        "present",
        Kind::Boolean,
        "True: it is there; false: it is not.",
    )
    .may(
        "lacks",
        TEXT,
        "This text is not in it; what is missing lacks it too.",
    )
    .one_of(&["equals", "one_of", "starts_with", "present", "lacks"])
}

/// `headers` of a request or of a reply.
pub(super) fn headers() -> Kind {
    named(TEMPLATE)
}
