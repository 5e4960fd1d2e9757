//! Requests of our own, and what is encrypted.

use crate::rule::scheme::{Algorithm, Cipher};
use crate::rule::shape::signature::{conditions, headers};
use crate::rule::shape::{DURATION, Form, Kind, Shape, TEMPLATE, TEXT, list, named, words};
use crate::rule::words as known;

/// The keys of every request of our own.
pub(super) fn request(shape: Shape) -> Shape {
    shape
        .may("host", Kind::Text(Form::Host), "The one host that is asked: `https://api.example.com`, or `{config:NAME}` for an address that the source sets.")
        .may("hosts", named(Kind::Text(Form::Https)), "Hosts by environment; the source's `config.environment` picks one. `live` or `production` is the default.")
        .may("method", words(&known::OUR_METHODS), "`GET` without it.")
        .need("path", Kind::Text(Form::Template), "Begins with `/`. Values in it may consist of letters, digits and `._~-` only.")
        .may("headers", headers(), "Header fields by name; who asks is said under `auth`.")
        .may("body", TEMPLATE, "The body; empty without it.")
        .table("auth", auth())
        .may("timeout", DURATION, "Longest wait for the answer, at most `30s`; `5s` without it.")
        .one_of(&["host", "hosts"])
}

fn auth() -> Shape {
    Shape::new("auth", "Who asks. `bearer` takes token; `basic` user and password; `oauth2` (client credentials) path, user and password; `sign` algorithm, key, message and encoding.")
        .need("kind", words(&known::AUTH_KINDS), "How the request shows who asks.")
        .may("token", TEMPLATE, "With `bearer`: the token, e.g. `{secret:api_key}`.")
        .may("user", TEMPLATE, "With `basic` and `oauth2`: the user or client id.")
        .may("password", TEMPLATE, "With `basic` and `oauth2`: the password or client secret.")
        .may("path", TEXT, "With `oauth2`: where tokens are given out, at the same host.")
        .may("algorithm", words(&Algorithm::ALL), "With `sign`: what the request is signed with.")
        .may("key", TEMPLATE, "With `sign`: the key, e.g. `{secret:own_key}`.")
        .may("message", TEMPLATE, "With `sign`: the signed bytes.")
        .may("encoding", words(&known::ENCODINGS), "With `sign`: how `{signature}` is written.")
}

/// `hosts`, `path` and `suffix`: where an address of a request may lead.
pub(super) fn pinned(shape: Shape) -> Shape {
    shape
        .need(
            "hosts",
            list(TEXT),
            "The exact hosts that the address may name; `*` stands for one label.",
        )
        .need("path", TEXT, "What its path begins with, at least `/`.")
        .may("suffix", TEXT, "What its path ends with, e.g. `.pem`.")
}

pub(super) fn visit() -> Shape {
    let shape = Shape::new("visit", "An address of the signed request that is visited; the reply is given when the visit answered 2xx.")
        .need("url", TEMPLATE, "Where the address stands, e.g. `{json:/SubscribeURL}`.");
    pinned(shape)
}

pub(super) fn query_back() -> Shape {
    let shape = Shape::new("query_back", "A second source that is asked before the event counts. Not confirmed is rejected; not reachable is answered with 503.")
        .need("mode", words(&known::QUERY_MODES), "`authenticate`: the answer confirms the callback; `authoritative`: it replaces what the callback says.")
        .may("when", conditions(), "It is asked only when all of these hold.")
        .may("answer_as", words(&known::PART_FORMS), "What the answer is; `json` without it.")
        .may("status", Kind::Integer(200, 599), "The status that a good answer has; 200 without it.")
        .may("confirm", conditions(), "All must hold of the answer, e.g. `{ is = \"{answer:/status}\", equals = \"SUCCESS\" }`.");
    request(shape)
}

pub(super) fn decrypt() -> Shape {
    Shape::new("decrypt", "An encrypted document inside the request or answer: what `{plain:/…}` reads.")
        .need("algorithm", words(&Cipher::ALL), "The cipher. GCM: the tag of 16 bytes stands after the text; CBC and ECB: padded as PKCS#7.")
        .need("key", TEMPLATE, "The key's bytes, e.g. `{secret:apiv3}`.")
        .need("data", TEMPLATE, "The encrypted bytes, e.g. `{json:/resource/ciphertext|from_base64}`.")
        .may("nonce", TEMPLATE, "The nonce.")
        .may("iv", TEMPLATE, "The initialisation vector; another name for `nonce`.")
        .may("aad", TEMPLATE, "Associated data of GCM.")
        .may("as", words(&known::PART_FORMS), "What is inside; `json` without it.")
        .may("when", conditions(), "It is opened only when all of these hold.")
}
