//! Keys that grow old: fetched anew in the background, while the old ones go on. The clock and the
//! provider's host are the test's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::fetched::{JWS, ONE, TWO, jwk};
use super::stand::{NOW, Stand};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::guard::Received;
use crate::remote::{Ask, KeyCache, Outbound, Pending, RemoteAnswer, RemoteFault};
use crate::telemetry::Metrics;
use crate::verify::verified::Outside;
use crate::verify::{Verdict, Verifier};

/// Publishes the keys of these names; each answer waits for a permit.
struct Host {
    kids: Mutex<Option<Vec<&'static str>>>,
    asked: AtomicUsize,
    gate: Semaphore,
}

impl Ask for Host {
    fn ask<'a>(&'a self, _: &'a Outbound) -> Pending<'a, Result<RemoteAnswer, RemoteFault>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.gate.acquire().await.unwrap().forget();
            let kids = self.kids.lock().unwrap().clone();
            let kids = kids.ok_or(RemoteFault::Timeout)?;
            let keys: Vec<_> = kids.into_iter().map(jwk).collect();
            Ok(RemoteAnswer {
                status: 200,
                body: Bytes::from(serde_json::json!({ "keys": keys }).to_string()),
                max_age: None,
            })
        })
    }
}

struct Stage {
    host: Arc<Host>,
    clock: ManualClock,
    stand: Stand,
    verifier: Verifier,
}

fn stage() -> Stage {
    let host = Arc::new(Host {
        kids: Mutex::new(Some(vec!["one"])),
        asked: AtomicUsize::new(0),
        gate: Semaphore::new(0),
    });
    let clock = ManualClock::at(Timestamp::from_secs(NOW));
    let outside = Outside {
        ask: host.clone(),
        cache: Arc::new(KeyCache::new(Metrics::new())),
        clock: Arc::new(clock.clone()),
    };
    let (stand, used) = (Stand::new(JWS, |_| {}), Stand::new(JWS, |_| {}));
    let verifier = Verifier::with_outside(Arc::new(used.rule), used.keys, outside);
    Stage {
        host,
        clock,
        stand,
        verifier,
    }
}

impl Stage {
    async fn said(&self, token: &'static str) -> &'static str {
        let received = Received::admitted(self.stand.post(token), Arc::clone(self.verifier.rule()));
        match self.verifier.verify(received, self.clock.now()).await {
            Ok(Verdict::Event(_)) => "accepted",
            Ok(Verdict::Challenge(_)) => "answered",
            Err(reason) => reason.code(),
        }
    }

    fn after(&self, seconds: u64) {
        let moment = Timestamp::from_secs(NOW).plus(Duration::from_secs(seconds));
        self.clock.set(moment);
    }

    fn publishes(&self, kids: Option<&[&'static str]>) {
        *self.host.kids.lock().unwrap() = kids.map(<[_]>::to_vec);
    }

    fn asked(&self) -> usize {
        self.host.asked.load(Ordering::SeqCst)
    }

    /// What runs beside gets as far as it comes.
    async fn meanwhile(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn old_keys_serve_while_new_ones_are_fetched() {
    let stage = stage();
    stage.host.gate.add_permits(1);
    assert_eq!(stage.said(ONE).await, "accepted");
    // The file says two hours: four fifths of that nobody asks.
    stage.after(5759);
    assert_eq!((stage.said(ONE).await, stage.asked()), ("accepted", 1));
    // Then somebody does, and nobody waits for the answer, which the host holds back.
    stage.publishes(Some(&["one", "two"]));
    stage.after(5760);
    assert_eq!(stage.said(ONE).await, "accepted");
    stage.meanwhile().await;
    assert_eq!(stage.asked(), 2);
    for _ in 0..5 {
        assert_eq!(stage.said(ONE).await, "accepted");
        stage.meanwhile().await;
    }
    assert_eq!(stage.asked(), 2, "one request at a time");
    stage.host.gate.add_permits(1);
    stage.meanwhile().await;
    // The new set is there: its other key needs no asking.
    assert_eq!(stage.said(TWO).await, "accepted");
    assert_eq!(stage.said(ONE).await, "accepted");
    assert_eq!(stage.asked(), 2);
    // And it is good for two hours from then on.
    stage.after(5760 + 5759);
    assert_eq!((stage.said(TWO).await, stage.asked()), ("accepted", 2));
}

#[tokio::test]
async fn a_key_that_is_withdrawn_is_gone_with_the_next_set() {
    let stage = stage();
    stage.host.gate.add_permits(9);
    assert_eq!(stage.said(ONE).await, "accepted");
    stage.publishes(Some(&["two"]));
    stage.after(5760);
    assert_eq!(stage.said(ONE).await, "accepted");
    stage.meanwhile().await;
    stage.after(5900);
    assert_eq!(stage.said(ONE).await, "key_unknown");
    assert_eq!(stage.said(TWO).await, "accepted");
}

#[tokio::test]
async fn while_the_host_is_away_the_old_keys_serve_for_a_day() {
    const DAY: u64 = 86_400;
    let stage = stage();
    stage.host.gate.add_permits(1000);
    assert_eq!(stage.said(ONE).await, "accepted");
    stage.publishes(None);
    for seconds in [5760, 7199, 7200, 20_000, 7200 + DAY - 1] {
        stage.after(seconds);
        assert_eq!(stage.said(ONE).await, "accepted", "{seconds}");
        stage.meanwhile().await;
    }
    assert!(stage.asked() > 1);
    stage.after(7200 + DAY);
    assert_eq!(stage.said(ONE).await, "unready");
    // It is back, and so are its keys.
    stage.publishes(Some(&["one"]));
    stage.after(7200 + DAY + 400);
    assert_eq!(stage.said(ONE).await, "accepted");
}
