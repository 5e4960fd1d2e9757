//! The same event on many connections at once: one acceptance (field.md 4: both passed elsewhere).

use std::sync::{Arc, Barrier};

use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site};

#[test]
fn a_storm_of_one_event_is_accepted_once_and_all_hear_success() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let client = gateway.client();
    const CONNECTIONS: usize = 24;
    const EVENTS: usize = 20;
    let barrier = Arc::new(Barrier::new(CONNECTIONS));
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (client, barrier) = (client.clone(), barrier.clone());
            std::thread::spawn(move || {
                let mut stream = client.connect();
                for n in 0..EVENTS {
                    let body = stripe_event(&format!("evt_storm_{n}"));
                    let request = crate::harness::client::request(
                        "POST",
                        "/stripe",
                        &sign::stripe(&body),
                        &body,
                    );
                    barrier.wait();
                    let answer = crate::harness::client::exchange(&mut stream, &request).unwrap();
                    assert_eq!(answer.status, 200);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    app.wait_for(EVENTS);
    assert_eq!(gateway.events().len(), EVENTS);
    let accepted =
        gateway.metric("callseal_callbacks_total{source=\"stripe\",verdict=\"accepted\"}");
    let duplicate =
        gateway.metric("callseal_callbacks_total{source=\"stripe\",verdict=\"duplicate\"}");
    assert_eq!(
        (accepted, duplicate),
        (EVENTS as f64, (EVENTS * (CONNECTIONS - 1)) as f64)
    );
    crate::harness::eventually("everything settled", || {
        gateway
            .events()
            .iter()
            .all(|e| e["state"] == "delivered")
            .then_some(())
    });
    assert_eq!(app.count(), EVENTS);
}
