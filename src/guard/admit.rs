//! The guard's verdict as a value: a request that may be verified.

use std::sync::Arc;

use crate::message::RawRequest;
use crate::rule::Rule;

/// A request that passed the guards of a source.
#[derive(Debug)]
pub struct Received {
    request: RawRequest,
    rule: Arc<Rule>,
}

impl Received {
    pub(crate) fn admitted(request: RawRequest, rule: Arc<Rule>) -> Self {
        Received { request, rule }
    }

    pub fn request(&self) -> &RawRequest {
        &self.request
    }

    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    pub fn into_parts(self) -> (RawRequest, Arc<Rule>) {
        (self.request, self.rule)
    }
}
