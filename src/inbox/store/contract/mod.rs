//! What every store must do, whatever is behind it. One line runs it all on a backend:
//!
//! ```ignore
//! contract_tests!(embedded, || async { (store, whatever_must_live_as_long) });
//! ```

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::clock::Timestamp;
use crate::message::{Headers, SourceName};

mod accepting;
mod claiming;
mod delivering;
mod leasing;
mod listing;
mod operating;
mod storms;

pub(crate) use accepting::*;
pub(crate) use claiming::*;
pub(crate) use delivering::*;
pub(crate) use leasing::*;
pub(crate) use listing::*;
pub(crate) use operating::*;
pub(crate) use storms::*;

/// A store to test, and what must live as long as it (a directory).
pub(crate) type Bench = (Arc<dyn Store>, Box<dyn Any + Send>);

pub(crate) const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + secs)
}

pub(crate) fn source() -> SourceName {
    SourceName::new("shop")
}

/// The lane of `shop` to its first destination.
pub(crate) fn lane() -> LaneName {
    LaneName::main(&source())
}

/// An event of `shop`: `key` is its idempotency key and event id.
pub(crate) fn event(key: &str, body: &str, received_at: Timestamp) -> NewEvent {
    event_of("shop", key, "payment", body.as_bytes(), received_at)
}

pub(crate) fn event_of(
    source: &str,
    key: &str,
    event_type: &str,
    body: &[u8],
    received_at: Timestamp,
) -> NewEvent {
    use sha2::Digest;
    let mut headers = Headers::new();
    headers.push("content-type", "application/json");
    headers.push("x-id", Bytes::copy_from_slice(key.as_bytes()));
    let stored = StoredEvent {
        source: SourceName::new(source),
        provider: "stripe".into(),
        received_at,
        peer: "192.0.2.7".parse().unwrap(),
        method: "POST".into(),
        target: "/stripe?x=1".into(),
        headers,
        body: Bytes::copy_from_slice(body),
        event_key: key.into(),
        event_type: event_type.into(),
        verified: "hmac-sha256 keys[0]".into(),
        conflict_of: None,
        payment: PaymentFacts {
            order: Some(format!("A-{key}")),
            transaction: Some(format!("ch_{}", key.to_uppercase())),
            ..PaymentFacts::default()
        }
        .kept(),
    };
    let claim = Claim {
        key: format!("{source}\0{key}").into_bytes(),
        body: sha2::Sha256::digest(body).into(),
        keep: KEEP,
        business: None,
        on_conflict: OnConflict::KeepBoth,
    };
    NewEvent::new(stored, claim, Plan::main())
}

/// The same event with other deliveries.
pub(crate) fn planned(event: NewEvent, plan: Plan) -> NewEvent {
    let (event, claim, _) = event.into_parts();
    NewEvent::new(event, claim, plan)
}

/// A delivery to a destination, wanted, in an order where a value is given.
pub(crate) fn to(destination: &str, order: Option<&str>) -> PlannedDelivery {
    PlannedDelivery {
        destination: DestinationName::new(destination),
        wanted: true,
        order: order.map(|value| PlannedOrder {
            value: value.as_bytes().to_vec(),
            hold: false,
        }),
    }
}

pub(crate) fn plan(deliveries: impl IntoIterator<Item = PlannedDelivery>) -> Plan {
    Plan {
        deliveries: deliveries.into_iter().collect(),
        version: None,
    }
}

pub(crate) fn attempt(number: u32, status: Option<u16>, error: &str) -> Attempt {
    Attempt {
        number,
        started_at: at(1000 + u64::from(number)),
        took: Duration::from_millis(12),
        status,
        error: error.into(),
        response: None,
    }
}

pub(crate) async fn new_id(store: &dyn Store, event: NewEvent) -> EventId {
    match store.accept(event).await {
        Ok(Acceptance::New(id)) => id,
        other => panic!("expected New, got {other:?}"),
    }
}

pub(crate) async fn lease_one(store: &dyn Store, now: Timestamp) -> Lease {
    let mut leases = store
        .lease(&lane(), now, now.plus(Duration::from_secs(30)), 1)
        .await
        .unwrap();
    assert_eq!(leases.len(), 1, "one delivery is due");
    leases.remove(0)
}

pub(crate) async fn row(store: &dyn Store, id: EventId) -> Row {
    store.row(id).await.unwrap().expect("the row is there")
}

/// Runs the whole contract on a backend: a name for the module, and what makes a fresh [`Bench`].
macro_rules! contract_tests {
    ($name:ident, $bench:expr) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::inbox::store::contract::contract_tests!(@each $bench;
                accepted_comes_back_byte_for_byte,
                a_duplicate_names_the_first,
                the_same_key_with_another_body_is_kept_and_flagged,
                leases_go_out_once_and_come_back,
                settling_decides_what_follows,
                a_clock_that_went_back_lets_nobody_wait_longer,
                a_lost_lease_changes_nothing_but_is_written_down,
                an_operator_has_the_last_word,
                what_does_not_stand_as_expected_is_left_alone,
                what_is_not_there_is_not_found,
                the_list_is_newest_first_and_filters,
                only_what_is_settled_and_old_expires,
                a_storm_of_one_event_is_one_event,
                a_storm_of_many_loses_none,
                after_closing_nothing_goes,
                each_destination_has_a_delivery_of_its_own,
                an_event_with_nothing_but_filtered_deliveries_is_kept,
                those_in_order_go_one_after_the_other,
                a_dead_letter_holds_those_behind_it_where_it_shall,
                lanes_and_sources_have_orders_of_their_own,
                an_answer_is_written_down,
                one_delivery_can_be_asked_for,
                what_was_never_tried_can_be_asked_for,
                a_business_key_makes_one_of_two_deliveries,
                a_conflict_goes_as_the_source_wants,
                the_latest_about_the_same_is_known,
                what_a_destination_does_not_want_overtakes_nothing_there,
                what_operators_do_is_in_the_audit,
                a_lane_that_is_paused_gives_nothing,
            );
        }
    };
    (@each $bench:expr; $($test:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let bench: $crate::inbox::store::contract::Bench = ($bench)().await;
                $crate::inbox::store::contract::$test(bench).await;
            }
        )*
    };
}
pub(crate) use contract_tests;
