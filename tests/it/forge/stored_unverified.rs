//! An event for the store that nobody verified.

use callseal::inbox::store::{Claim, NewEvent, StoredEvent};

fn forge(event: StoredEvent, claim: Claim) -> NewEvent {
    NewEvent::new(event, claim)
}

fn main() {}
