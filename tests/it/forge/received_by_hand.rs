//! A `Received` that passed no guard.

use callseal::guard::Received;
use callseal::message::RawRequest;
use callseal::rule::Rule;
use std::sync::Arc;

fn forge(request: RawRequest, rule: Arc<Rule>) -> Received {
    Received { request, rule }
}

fn main() {}
