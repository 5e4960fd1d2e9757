//! A `Verified` made without a verifier.

use callseal::message::RawRequest;
use callseal::rule::Rule;
use callseal::verify::{Identity, Verified};
use std::sync::Arc;

fn forge(request: RawRequest, rule: Arc<Rule>, identity: Identity) -> Verified {
    Verified { request, rule, identity, seal: "hmac-sha256 keys[0]".to_owned(), payment: None }
}

fn main() {}
