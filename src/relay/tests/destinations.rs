//! Several destinations of a source: one does not hold another, orders, rates, what was overtaken.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::inbox::store::plain::verified_event_to;
use crate::inbox::store::{
    EventVersion, Plan, PlannedDelivery, PlannedOrder, State, Store, StoredEvent,
};
use crate::message::{DestinationName, EventId};
use crate::relay::tests::stage::{Reply, START, Seen, Stage, destination, event, rule, secs};
use crate::rule::relay::{Overtaken, SupersedeRule};
use crate::rule::{OnDead, Rule, Template, value};

/// `shop`, with `main` and further destinations on ports of their own.
fn shop(more: &[&str]) -> Rule {
    let mut rule = rule("shop");
    for (port, name) in (4000..).zip(more) {
        let mut to = rule.relay.main.clone();
        to.name = DestinationName::new(name);
        to.forward = destination(port);
        rule.relay.more.push(to);
    }
    rule
}

fn plan(rule: &Rule, order: Option<&str>) -> Plan {
    let each = rule.relay.destinations().map(|to| PlannedDelivery {
        destination: to.name.clone(),
        wanted: true,
        order: order.map(|value| PlannedOrder {
            value: value.into(),
            hold: to.on_dead == OnDead::Hold,
        }),
    });
    Plan {
        deliveries: each.collect(),
        version: None,
    }
}

async fn accept(stage: &Stage, key: u32, plan: Plan) -> EventId {
    let stored = StoredEvent {
        received_at: START.plus(stage.elapsed()),
        ..event("shop")
    };
    let offer = verified_event_to(stored, &key.to_be_bytes(), plan);
    stage.store.accept(offer).await.unwrap().id()
}

#[tokio::test(start_paused = true)]
async fn one_destination_that_fails_does_not_hold_another() {
    let rule = shop(&["ledger", "risk"]);
    let plan = plan(&rule, None);
    let stage = Stage::new(vec![rule]);
    stage.scripted.always("shop to ledger", Reply::Status(500));
    stage.scripted.always("shop to risk", Reply::Hang);
    let mut ids = Vec::new();
    for key in 0..40 {
        ids.push(accept(&stage, key, plan.clone()).await);
    }
    stage.wakers[0].wake(&crate::message::SourceName::new("shop"));
    sleep(secs(60)).await;
    for id in &ids {
        assert_eq!(stage.row(*id).await.state, State::Delivered);
        let ledger = stage.row(id.of_delivery(1)).await;
        assert_eq!(
            (ledger.state, ledger.destination.as_str()),
            (State::Owed, "ledger")
        );
        assert_eq!(stage.row(id.of_delivery(2)).await.state, State::Owed);
    }
    // Each has its own limit and its own breaker.
    assert_eq!(stage.scripted.most("shop to risk"), 16);
    let to_ledger = |seen: &Seen| seen.source == "shop to ledger";
    let tried = stage.scripted.seen().into_iter().filter(to_ledger).count();
    assert!((3..200).contains(&tried), "{tried}");
    let text = stage.metrics.encode();
    let counted = |to: &str, verdict: &str| {
        let line = format!(
            "callseal_attempts_total{{source=\"shop\",destination=\"{to}\",verdict=\"{verdict}\"}} "
        );
        text.lines()
            .find_map(|l| l.strip_prefix(&line)?.parse().ok())
    };
    assert_eq!(counted("main", "delivered"), Some(40));
    assert_eq!(counted("ledger", "retry"), Some(tried));
    assert_eq!(counted("main", "retry"), Some(0));
    stage.scripted.always("shop to ledger", Reply::Status(200));
    stage.scripted.always("shop to risk", Reply::Status(200));
    sleep(secs(7200)).await;
    assert_eq!(stage.store.stats().owed, 0);
    // All of them know the event by one id.
    let seen = stage.scripted.seen();
    assert!(ids.iter().all(|id| {
        let named = |to: &str| {
            seen.iter()
                .any(|s| s.event == id.to_string() && s.source == to)
        };
        named("shop") && named("shop to ledger") && named("shop to risk")
    }));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_is_gone_from_the_rules_is_owed_until_it_is_back() {
    let both = shop(&["ledger"]);
    let plan = plan(&both, None);
    let stage = Stage::new(vec![shop(&[])]);
    let id = accept(&stage, 1, plan).await;
    sleep(secs(10)).await;
    assert_eq!(stage.row(id).await.state, State::Delivered);
    assert_eq!(stage.row(id.of_delivery(1)).await.state, State::Owed);
    stage
        .relay
        .set_routes(crate::relay::tests::stage::routes(both));
    sleep(secs(10)).await;
    assert_eq!(stage.row(id.of_delivery(1)).await.state, State::Delivered);
}

#[tokio::test(start_paused = true)]
async fn an_order_holds_over_failures_and_workers_and_orders_do_not_hold_each_other() {
    let mut rule = shop(&[]);
    rule.relay.main.order_by = Template::parse("{json:/id}").ok();
    let stage = Stage::with_workers(vec![rule.clone()], 3);
    // Every third request fails.
    for n in 0..400 {
        let reply = if n % 3 == 0 { 500 } else { 200 };
        stage
            .scripted
            .script("shop", [Reply::Slow(Duration::from_millis(20), reply)]);
    }
    let mut groups: HashMap<String, Vec<String>> = HashMap::new();
    for key in 0..120u32 {
        let value = format!("v{}", key % 7);
        let id = accept(&stage, key, plan(&rule, Some(&value))).await;
        groups.entry(value).or_default().push(id.to_string());
    }
    sleep(secs(3600)).await;
    assert_eq!(stage.store.stats().owed, 0);
    let seen = stage.scripted.seen();
    for ids in groups.values() {
        let mut order: Vec<&String> = Vec::new();
        for request in seen.iter().filter(|s| ids.contains(&s.event)) {
            if order.last() != Some(&&request.event) {
                order.push(&request.event);
            }
        }
        // Each event's attempts together, and the events as they were accepted.
        assert_eq!(order, ids.iter().collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_order_goes_on_at_once_when_its_turn_comes() {
    let mut rule = shop(&[]);
    rule.relay.main.order_by = Template::parse("{json:/id}").ok();
    let stage = Stage::new(vec![rule.clone()]);
    for key in 0..50 {
        accept(&stage, key, plan(&rule, Some("one"))).await;
    }
    stage.wakers[0].wake(&crate::message::SourceName::new("shop"));
    sleep(secs(1)).await;
    assert_eq!(stage.store.stats().owed, 0, "no second of waiting for each");
}

/// An outage is over: 2000 owed events in 500 orders, three workers, and a destination that takes
/// 50 in a second.
#[tokio::test(start_paused = true)]
async fn after_an_outage_no_second_sees_more_than_the_rate() {
    let mut rule = shop(&[]);
    rule.relay.main.rate = value::rate("50/s").ok();
    rule.relay.main.concurrency = 64;
    rule.relay.main.order_by = Template::parse("{json:/id}").ok();
    let stage = Stage::with_workers(vec![rule.clone()], 3);
    for key in 0..2000u32 {
        accept(&stage, key, plan(&rule, Some(&format!("v{}", key % 500)))).await;
    }
    sleep(secs(60)).await;
    assert_eq!(stage.store.stats().owed, 0);
    let times = stage.scripted.times();
    assert_eq!(times.len(), 2000);
    for (n, first) in times.iter().enumerate() {
        let end = *first + Duration::from_secs(1);
        let inside = times[n..].iter().take_while(|at| **at < end).count();
        assert!(inside <= 50, "{inside} from {first:?}");
    }
    let took = times.last().unwrap().as_secs();
    assert!((39..=45).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn what_was_overtaken_says_so_or_is_not_sent() {
    for then in [Overtaken::Mark, Overtaken::Skip] {
        let mut rule = shop(&[]);
        let template = |text: &str| Template::parse(text).unwrap();
        rule.relay.supersede = Some(SupersedeRule {
            by: template("{json:/created}"),
            key: template("{json:/id}"),
            then,
        });
        let stage = Stage::new(vec![rule.clone()]);
        stage.scripted.script("shop", [Reply::Status(500)]);
        let about = |stamp| Plan {
            version: Some(EventVersion {
                key: b"payment 1".to_vec(),
                stamp,
            }),
            ..plan(&rule, None)
        };
        let first = accept(&stage, 1, about(1)).await;
        sleep(secs(2)).await;
        assert_eq!(stage.attempts(first).await.len(), 1);
        // It waits for its next attempt, and is overtaken meanwhile; and one comes late.
        let latest = accept(&stage, 2, about(3)).await;
        let late = accept(&stage, 3, about(2)).await;
        sleep(secs(60)).await;
        assert_eq!(stage.row(latest).await.state, State::Delivered);
        for id in [first, late] {
            let row = stage.row(id).await;
            match then {
                Overtaken::Mark => assert_eq!(row.state, State::Delivered),
                Overtaken::Skip => {
                    assert_eq!(row.state, State::Superseded);
                    assert_eq!(row.reason, latest.to_string());
                    // An operator can still have it sent.
                    stage.store.redrive(id, stage.now()).await.unwrap();
                }
            }
        }
        sleep(secs(60)).await;
        for id in [first, late] {
            assert_eq!(stage.row(id).await.state, State::Delivered);
        }
        let superseded = stage.scripted.superseded();
        assert_eq!(superseded.get(&latest.to_string()), None);
        for id in [first, late] {
            let named = superseded.get(&id.to_string());
            assert_eq!(named, Some(&latest.to_string()), "{then:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_the_application_is_in_the_history() {
    let stage = Stage::new(vec![shop(&[])]);
    let id = accept(&stage, 1, Plan::main()).await;
    sleep(secs(2)).await;
    let attempts = stage.attempts(id).await;
    let response = attempts[0].response.as_ref().unwrap();
    assert_eq!(
        (&response.body[..], response.cut),
        (&vec![b'a'; 4 << 10][..], true)
    );
    assert!(Arc::strong_count(&stage.store) > 0);
}
