//! Incoming -> Received: the one place where a request is admitted to verification.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::guard::{Gate, Guards, Refusal, peer};
use crate::listener::caps::BudgetShare;
use crate::listener::{Head, Incoming};
use crate::message::RawRequest;
use crate::rule::Rule;
use crate::telemetry::field;

/// A whole request that passed the guards of its source. Only [`Guards::admit`] makes one.
#[derive(Debug)]
pub struct Received {
    request: RawRequest,
    rule: Arc<Rule>,
}

impl Received {
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

impl Guards {
    /// Checks from the cheapest to the dearest, reads the body, and hands on the request with the
    /// share of memory that its body holds.
    pub async fn admit(
        &self,
        incoming: Incoming,
        now: Timestamp,
    ) -> Result<(Received, BudgetShare), Refusal> {
        let Incoming { head, body } = incoming;
        let gate = self.gate(&head.path).ok_or(Refusal::NotFound)?;
        if !gate.rule.takes(&head.method) {
            return Err(Refusal::MethodNotAllowed);
        }
        let peer = peer::client_address(head.peer, &head.headers, &self.trusted)?;
        self.check_sender(gate, peer, now)?;
        let held = body.read(head.length, gate.rule.guard.body_max).await?;
        let Head {
            method,
            path,
            query,
            headers,
            ..
        } = head;
        let request = RawRequest {
            method,
            path,
            query,
            headers,
            body: held.bytes,
            peer,
            received_at: now,
        };
        Ok((
            Received {
                request,
                rule: gate.rule.clone(),
            },
            held.share,
        ))
    }

    /// Address and rate. A guard in mode `log` counts what it would refuse, and lets it pass.
    fn check_sender(&self, gate: &Gate, peer: IpAddr, now: Timestamp) -> Result<(), Refusal> {
        let outside = gate
            .allow
            .as_ref()
            .is_some_and(|allow| !allow.contains(peer));
        let found = if outside {
            Err(Refusal::AddressNotAllowed)
        } else {
            gate.limiter.check(peer)
        };
        match found {
            Err(refusal) if gate.enforces() => Err(refusal),
            Err(refusal) => {
                let code = refusal.code();
                let figures = &self.metrics.figures;
                figures.on(Some(&gate.rule.name), |source| {
                    source.series().would_refuse(code);
                });
                if let Some(unsaid) = gate.lines.may_write(now) {
                    tracing::info!(
                        { field::SOURCE } = %gate.rule.name,
                        { field::REASON } = code,
                        { field::PEER } = %peer,
                        { field::UNSAID } = (unsaid > 0).then_some(unsaid),
                        "would be refused (mode = \"log\")"
                    );
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

#[cfg(test)]
impl Received {
    /// For tests of the stages behind this one.
    pub(crate) fn admitted(request: RawRequest, rule: Arc<Rule>) -> Self {
        Received { request, rule }
    }
}
