//! A `Verified` made without a verifier.

use callseal::message::RawRequest;
use callseal::rule::Rule;
use callseal::verify::{EventPlan, Identity, Verified};
use std::sync::Arc;

fn forge(request: RawRequest, rule: Arc<Rule>, identity: Identity, plan: EventPlan) -> Verified {
    Verified { request, rule, identity, plan, seal: "hmac-sha256 keys[0]".to_owned(), payment: None }
}

fn main() {}
