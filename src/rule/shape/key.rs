//! `[key]`, and where keys come from that the source does not name.

use crate::rule::scheme::Algorithm;
use crate::rule::shape::outbound::{decrypt, pinned, request};
use crate::rule::shape::{DURATION, Form, Kind, Shape, TEMPLATE, TEXT, words};
use crate::rule::words as known;

pub(super) fn key() -> Shape {
    Shape::new("key", "How the text of a secret becomes the bytes of a key, and where keys come from.")
        .may("codec", words(&known::CODECS), "How `keys` of a source are written: `utf8` (the text as it is), `hex`, `base64`, `base64url`, `public` (PEM, or base64 of DER), or the bare bytes of a public key. Needed where keys are not fetched.")
        .may("strip_prefix", TEXT, "Taken off before decoding, e.g. `whsec_`; a key without it is taken as it is.")
        .may("derive", words(&known::DERIVES), "What is done after decoding: the raw digest, or for `md5_hex` the digest as lower-case text.")
        .may("meaning", TEXT, "What goes into `keys`, and where the merchant finds it.")
        .may("shared", Kind::Boolean, "True: the same key signs for all customers of the provider; then an `[[assert]]` must say whom an event is for.")
        .may("small_rsa", TEXT, "Why an RSA key of 1024 bits is taken.")
        .may("shortest", Kind::Integer(8, 64), "Fewest bytes of a shared secret, where the provider's own are shorter than usual.")
        .table("jwks", jwks())
        .table("certificate_url", certificate_url())
        .table("x5c", x5c())
        .table("certificate", certificate())
        .table("signed", signed_key())
        .table("fetch", fetch())
}

fn trusted(shape: Shape) -> Shape {
    shape.need("trust", words(&known::TRUSTS), "What the certificate must lead to: `web` (the public roots), `keys` (the source's keys are the roots), `host` (TLS to the pinned host is all there is).")
}

const NAME: &str = "Name that the certificate must bear (subject or alternative name ends with it): literals and `{config:…}`.";

fn jwks() -> Shape {
    Shape::new(
        "jwks",
        "Keys are published as a JWK set (RFC 7517) at a fixed address.",
    )
    .need(
        "url",
        Kind::Text(Form::Https),
        "Where the keys are published.",
    )
    .may(
        "refresh",
        DURATION,
        "How long a fetched set is good; `1h` without it.",
    )
}

fn certificate_url() -> Shape {
    let shape = Shape::new(
        "certificate_url",
        "The request names the address of a certificate; where that may lead is pinned here.",
    )
    .need(
        "url",
        TEMPLATE,
        "Where the address stands, e.g. `{header:PAYPAL-CERT-URL}`.",
    )
    .may("name", TEMPLATE, NAME);
    trusted(pinned(shape))
}

fn x5c() -> Shape {
    let shape = Shape::new(
        "x5c",
        "Certificates stand in the header of a JWS (RFC 7515 §4.1.6).",
    )
    .may(
        "length",
        Kind::Integer(1, 8),
        "How many certificates the chain has.",
    )
    .may(
        "leaf_oid",
        TEXT,
        "An extension that the signing certificate must have, as dotted numbers.",
    )
    .may(
        "intermediate_oid",
        TEXT,
        "An extension that the certificate above it must have, as dotted numbers.",
    );
    trusted(shape)
}

fn certificate() -> Shape {
    let shape = Shape::new("certificate", "A certificate stands in the request.")
        .need(
            "from",
            TEMPLATE,
            "Where it stands, e.g. `{form:signPubKeyCert}`.",
        )
        .may("name", TEMPLATE, NAME);
    trusted(shape)
}

fn signed_key() -> Shape {
    Shape::new(
        "signed_key",
        "The key comes in the request, signed by one of the source's keys.",
    )
    .need(
        "algorithm",
        words(&Algorithm::ALL),
        "What the root key signs with.",
    )
    .need("value", TEMPLATE, "Where the root key's signature stands.")
    .need(
        "encoding",
        words(&known::ENCODINGS),
        "How that signature is written.",
    )
    .need("message", TEMPLATE, "What the root key signs.")
    .need(
        "key",
        TEMPLATE,
        "Where the signed key stands, e.g. `{part:signed/keyValue}`.",
    )
    .may("expires", TEMPLATE, "Until when the signed key is good.")
    .may(
        "expires_format",
        words(&known::TIME_FORMATS),
        "How that moment is written; needed with `expires`.",
    )
}

fn fetch() -> Shape {
    let shape = Shape::new("fetch", "Keys are fetched from the provider. Active only when all config and secrets that it reads are set.")
        .may("items", TEXT, "Several keys in one answer: a pointer with `*`, e.g. `/data/*`.")
        .may("id_from", TEMPLATE, "The id of each, e.g. `{item:/serial}`.")
        .need("value", TEMPLATE, "Where the key stands: `{answer:/data/publicKey}`, or `{item:/…}` with `items`.")
        .need("as", words(&known::FETCHED_FORMS), "What it is: a JWK, or a public key or certificate (PEM, or base64 of DER).")
        .table("decrypt", decrypt())
        .may("ttl", DURATION, "How long a fetched key is good; `24h` without it.");
    request(shape)
}
