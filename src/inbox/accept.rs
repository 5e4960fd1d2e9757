//! Verified -> Accepted: the one place where an event becomes ours.

use std::sync::Arc;

use crate::inbox::store::{
    Acceptance, BusinessClaim, Claim, EventVersion, NewEvent, OnConflict, PaymentFacts, Plan,
    PlannedDelivery, PlannedOrder, Store, StoreError, StoredEvent,
};
use crate::message::EventId;
use crate::rule;
use crate::verify::Verified;
use crate::verify::payment::Payment;

/// The inbox: verified events go in, and are durable when it says so.
#[derive(Clone)]
pub struct Inbox {
    store: Arc<dyn Store>,
}

/// An event that is on stable storage. Only [`Inbox::accept`] makes one; whoever holds one may tell
/// the provider that its event was received.
#[derive(Debug)]
pub struct Accepted {
    acceptance: Acceptance,
}

impl Accepted {
    pub fn id(&self) -> EventId {
        self.acceptance.id()
    }

    pub fn acceptance(&self) -> Acceptance {
        self.acceptance
    }
}

impl Inbox {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Inbox { store }
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Takes the event into the store, or finds that it is there already. Returns when that is
    /// durable, and not before.
    pub async fn accept(&self, verified: Verified) -> Result<Accepted, StoreError> {
        let acceptance = self.store.accept(new_event(verified)).await?;
        Ok(Accepted { acceptance })
    }
}

fn new_event(verified: Verified) -> NewEvent {
    let (request, rule, identity, plan, seal, payment) = verified.into_parts();
    let claim = Claim {
        key: identity.key,
        body: identity.content,
        keep: rule.inbox.keep,
        business: plan
            .business
            .map(|(key, content)| BusinessClaim { key, content }),
        on_conflict: match rule.inbox.on_conflict {
            rule::OnConflict::KeepBoth => OnConflict::KeepBoth,
            rule::OnConflict::FirstWins => OnConflict::FirstWins,
            rule::OnConflict::Reject => OnConflict::Reject,
        },
    };
    let deliveries = plan.destinations.into_iter().map(|bound| {
        let to = rule.relay.destination(&bound.to);
        let hold = to.is_some_and(|to| to.on_dead == rule::OnDead::Hold);
        PlannedDelivery {
            destination: bound.to,
            wanted: bound.wanted,
            order: bound.order.map(|value| PlannedOrder { value, hold }),
        }
    });
    let plan = Plan {
        deliveries: deliveries.collect(),
        version: plan.version.map(|(key, stamp)| EventVersion { key, stamp }),
    };
    let target = request.target();
    let event = StoredEvent {
        source: rule.name.clone(),
        provider: rule.provider.name.clone(),
        received_at: request.received_at,
        peer: request.peer,
        method: request.method.as_str().to_owned(),
        target,
        headers: request.headers,
        body: request.body,
        event_key: identity.text,
        event_type: identity.kind,
        verified: seal,
        conflict_of: None,
        payment: payment.and_then(facts),
    };
    NewEvent::new(event, claim, plan)
}

fn facts(payment: Payment) -> Option<PaymentFacts> {
    PaymentFacts {
        order: payment.order,
        transaction: payment.transaction,
        minor: payment.unit == Some("minor"),
        amount: payment.amount,
        currency: payment.currency,
        status: payment.status.map(|status| status.name().to_owned()),
    }
    .kept()
}
