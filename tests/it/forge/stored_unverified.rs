//! An event for the store that nobody verified.

use callseal::inbox::store::{Claim, NewEvent, Plan, StoredEvent};

fn forge(event: StoredEvent, claim: Claim, plan: Plan) -> NewEvent {
    NewEvent::new(event, claim, plan)
}

fn main() {}
