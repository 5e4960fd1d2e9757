//! The cache of fetched keys, under a clock that the test sets and a provider that the test plays.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::clock::{Clock, ManualClock};
use crate::remote::keys::{Expiring, NAMES_MAX, UNKNOWN_PER_MINUTE};
use crate::remote::tests::server::{HOST, NOW, get};
use crate::remote::{Ask, KeyCache, Life, Lookup, Outbound, Pending, RemoteAnswer, RemoteFault};
use crate::telemetry::Metrics;

const HOUR: Duration = Duration::from_secs(3600);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Answers as the test last said.
struct Provider {
    says: Mutex<Result<RemoteAnswer, RemoteFault>>,
    asked: AtomicUsize,
    /// One permit for each answer, where answers are held back.
    gate: Option<Semaphore>,
}

impl Ask for Provider {
    fn ask<'a>(&'a self, _: &'a Outbound) -> Pending<'a, Result<RemoteAnswer, RemoteFault>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                gate.acquire().await.unwrap().forget();
            }
            self.says.lock().unwrap().clone()
        })
    }
}

struct Stage {
    cache: KeyCache<String>,
    clock: ManualClock,
    provider: Provider,
    metrics: Metrics,
}

fn answer(status: u16, body: &str, max_age: Option<u64>) -> Result<RemoteAnswer, RemoteFault> {
    Ok(RemoteAnswer {
        status,
        body: Bytes::from(body.to_owned()),
        max_age: max_age.map(secs),
    })
}

fn stage() -> Stage {
    let metrics = Metrics::new();
    Stage {
        cache: KeyCache::new(metrics.clone()),
        clock: ManualClock::at(NOW),
        provider: Provider {
            says: Mutex::new(answer(200, "one", None)),
            asked: AtomicUsize::new(0),
            gate: None,
        },
        metrics,
    }
}

impl Stage {
    fn gated() -> Stage {
        let mut stage = stage();
        stage.provider.gate = Some(Semaphore::new(0));
        stage
    }

    fn says(&self, said: Result<RemoteAnswer, RemoteFault>) {
        *self.provider.says.lock().unwrap() = said;
    }

    fn fails(&self) {
        self.says(Err(RemoteFault::Timeout));
    }

    fn asked(&self) -> usize {
        self.provider.asked.load(Ordering::SeqCst)
    }

    async fn fetch_as(&self, name: &str, host: &str, life: Life) -> Result<String, RemoteFault> {
        let request = Outbound {
            host: host.into(),
            ..get("/keys")
        };
        let parse = |answer: &RemoteAnswer| match answer.body.starts_with(b"<") {
            true => Err("no keys in it".to_owned()),
            false => Ok(String::from_utf8(answer.body.to_vec()).unwrap()),
        };
        let (ask, clock) = (&self.provider, &self.clock);
        let keys = self.cache.fetch(name, ask, &request, life, clock, parse);
        keys.await.map(|keys| keys.to_string())
    }

    async fn fetch(&self, name: &str) -> Result<String, RemoteFault> {
        self.fetch_as(name, HOST, Life::of(HOUR)).await
    }

    fn look(&self, name: &str) -> String {
        match self.cache.lookup(name, self.clock.now()) {
            Lookup::Fresh(keys) => format!("fresh {keys}"),
            Lookup::Stale(keys) => format!("stale {keys}"),
            Lookup::Failed(fault) => format!("failed {}", fault.code()),
            Lookup::Absent => "absent".to_owned(),
        }
    }

    fn after(&self, seconds: u64) -> String {
        self.clock.set(NOW.plus(secs(seconds)));
        self.look("a")
    }
}

#[tokio::test]
async fn keys_are_fresh_then_stale_then_over() {
    let stage = stage();
    assert_eq!(stage.look("a"), "absent");
    assert_eq!(stage.fetch("a").await, Ok("one".into()));
    for (seconds, expected) in [
        (0, "fresh one"),
        (2879, "fresh one"),
        (2880, "stale one"),
        (3599, "stale one"),
        // Nobody tried to fetch them anew: they may have been withdrawn.
        (3600, "absent"),
    ] {
        assert_eq!(stage.after(seconds), expected, "{seconds}");
    }
    stage.says(answer(200, "two", None));
    assert_eq!(stage.fetch("a").await, Ok("two".into()));
    assert_eq!((stage.look("a").as_str(), stage.asked()), ("fresh two", 2));
    let fetched = "callseal_key_fetches_total{result=\"fetched\"} 2\n";
    assert!(stage.metrics.encode().contains(fetched));
}

#[tokio::test]
async fn a_shorter_word_of_the_answer_counts_but_not_less_than_a_minute() {
    for (max_age, over) in [
        (Some(600), 600),
        (Some(7200), 3600),
        (Some(0), 60),
        (None, 3600),
    ] {
        let stage = stage();
        stage.says(answer(200, "one", max_age));
        stage.fetch("a").await.unwrap();
        assert_eq!(stage.after(over - 1), "stale one", "{max_age:?}");
        assert_eq!(stage.after(over), "absent", "{max_age:?}");
    }
}

#[tokio::test]
async fn keys_that_are_over_are_used_on_while_the_provider_is_away() {
    let stage = stage();
    stage.fetch("a").await.unwrap();
    stage.fails();
    assert_eq!(stage.after(4000), "absent");
    assert_eq!(stage.fetch("a").await, Ok("one".into()));
    assert_eq!(stage.look("a"), "stale one");
    let day = 3600 + 24 * 3600;
    let expected = Expiring {
        name: "a".into(),
        host: HOST.into(),
        ends: NOW.plus(secs(day)),
        fault: RemoteFault::Timeout,
    };
    assert_eq!(stage.cache.expiring(stage.clock.now()), [expected]);
    // The pause is over: who wants them must ask again first.
    assert_eq!(stage.after(4005), "absent");
    stage.after(day - 1);
    assert_eq!(stage.fetch("a").await, Ok("one".into()));
    assert_eq!(stage.after(day), "failed timeout");
    assert_eq!(stage.fetch("a").await, Err(RemoteFault::RecentlyFailed));
    assert!(stage.cache.expiring(stage.clock.now()).is_empty());
    stage.after(day + 10);
    stage.says(answer(200, "two", None));
    assert_eq!(stage.fetch("a").await, Ok("two".into()));
    assert!(stage.cache.expiring(stage.clock.now()).is_empty());
    let failed = "callseal_key_fetches_total{result=\"timeout\"} 2\n";
    assert!(stage.metrics.encode().contains(failed));
}

#[tokio::test]
async fn without_grace_what_is_over_is_over() {
    let stage = stage();
    let life = Life::of(HOUR).without_grace();
    stage.fetch_as("a", HOST, life).await.unwrap();
    stage.fails();
    stage.after(3599);
    assert_eq!(stage.fetch_as("a", HOST, life).await, Ok("one".into()));
    stage.after(3600);
    let refused = stage.fetch_as("a", HOST, life).await;
    assert_eq!(refused, Err(RemoteFault::RecentlyFailed));
    stage.after(3604);
    assert_eq!(
        stage.fetch_as("a", HOST, life).await,
        Err(RemoteFault::Timeout)
    );
}

#[tokio::test]
async fn a_failure_is_remembered_longer_each_time() {
    let stage = stage();
    stage.fails();
    for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
        let asked = stage.asked();
        assert_eq!(stage.fetch("a").await, Err(RemoteFault::Timeout));
        stage.clock.advance(secs(pause) - Duration::from_millis(1));
        assert_eq!(stage.look("a"), "failed timeout");
        assert_eq!(stage.fetch("a").await, Err(RemoteFault::RecentlyFailed));
        stage.clock.advance(Duration::from_millis(1));
        assert_eq!(
            (stage.look("a").as_str(), stage.asked()),
            ("absent", asked + 1)
        );
    }
    stage.says(answer(200, "one", None));
    assert!(stage.fetch("a").await.is_ok());
    stage.clock.advance(secs(3590));
    stage.fails();
    stage.fetch("a").await.unwrap();
    stage.clock.advance(secs(5));
    assert!(stage.fetch("a").await.is_ok());
    assert_eq!(stage.asked(), 11, "a success ends the series");
}

#[tokio::test]
async fn only_a_whole_answer_gives_keys() {
    let stage = stage();
    stage.says(answer(404, "one", None));
    assert_eq!(
        stage.fetch("a").await,
        Err(RemoteFault::Status { status: 404 })
    );
    stage.says(answer(200, "<html>", None));
    let why = "no keys in it".to_owned();
    assert_eq!(stage.fetch("b").await, Err(RemoteFault::Unusable { why }));
}

#[tokio::test]
async fn who_misses_a_key_asks_anew_but_not_again_at_once() {
    let stage = stage();
    stage.fetch("a").await.unwrap();
    stage.says(answer(200, "two", None));
    stage.after(59);
    for _ in 0..100 {
        assert_eq!(stage.fetch("a").await, Ok("one".into()));
    }
    assert_eq!(stage.asked(), 1);
    stage.after(60);
    for _ in 0..100 {
        assert_eq!(stage.fetch("a").await, Ok("two".into()));
    }
    assert_eq!(stage.asked(), 2);
}

#[tokio::test]
async fn who_wants_the_same_at_once_shares_one_request() {
    for (said, expected) in [
        (answer(200, "one", None), Ok("one".to_owned())),
        (Err(RemoteFault::Dns), Err(RemoteFault::Dns)),
    ] {
        let stage = Stage::gated();
        stage.says(said);
        let open = async {
            tokio::task::yield_now().await;
            stage.provider.gate.as_ref().unwrap().add_permits(9);
        };
        let (a, b, c, ()) =
            tokio::join!(stage.fetch("a"), stage.fetch("a"), stage.fetch("a"), open);
        assert_eq!([a, b, c], [expected.clone(), expected.clone(), expected]);
        assert_eq!(stage.asked(), 1);
    }
}

#[tokio::test]
async fn while_keys_are_fetched_anew_the_others_need_not() {
    let stage = Stage::gated();
    let gate = stage.provider.gate.as_ref().unwrap();
    gate.add_permits(1);
    stage.fetch("a").await.unwrap();
    assert_eq!(stage.after(3000), "stale one");
    let seen = async {
        tokio::task::yield_now().await;
        assert_eq!(stage.look("a"), "fresh one");
        gate.add_permits(1);
    };
    assert!(tokio::join!(stage.fetch("a"), seen).0.is_ok());
}

#[tokio::test]
async fn who_stops_waiting_leaves_the_others_theirs() {
    let stage = Stage::gated();
    let mut first = Box::pin(stage.fetch("a"));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx)));
    assert!(polled.await.is_pending());
    let open = async {
        tokio::task::yield_now().await;
        assert_eq!(stage.asked(), 1);
        drop(first);
        stage.provider.gate.as_ref().unwrap().add_permits(1);
    };
    let (second, ()) = tokio::join!(stage.fetch("a"), open);
    assert_eq!((second, stage.asked()), (Ok("one".into()), 2));
}

#[tokio::test]
async fn names_that_a_stranger_makes_up_are_few_in_a_minute() {
    let stage = stage();
    stage.fetch("known").await.unwrap();
    stage.fails();
    let most = UNKNOWN_PER_MINUTE as usize;
    for n in 0..500 {
        // A pattern with a star gives him hosts as well.
        let host = format!("x{n}.provider.test");
        let life = Life::of(HOUR);
        let refused = stage.fetch_as(&format!("made up {n}"), &host, life).await;
        let expected = match n < most - 1 {
            true => RemoteFault::Timeout,
            false => RemoteFault::RateLimited,
        };
        assert_eq!(refused, Err(expected), "{n}");
    }
    assert_eq!((stage.asked(), stage.cache.len()), (most, most));
    // Neither another domain nor keys that are known stand back for that.
    stage.says(answer(200, "two", None));
    let other = stage.fetch_as("b", "keys.other.test", Life::of(HOUR)).await;
    assert_eq!(other, Ok("two".into()));
    stage.after(60);
    stage.fails();
    for n in 0..500 {
        let _ = stage.fetch(&format!("made up {n}")).await;
    }
    assert_eq!(stage.asked(), most + 1 + most);
    stage.says(answer(200, "two", None));
    assert_eq!(stage.fetch("known").await, Ok("two".into()));
}

#[tokio::test]
async fn a_request_that_is_given_up_is_paid_for_all_the_same() {
    let stage = Stage::gated();
    for _ in 0..100 {
        let mut given_up = Box::pin(stage.fetch("made up"));
        std::future::poll_fn(|cx| std::task::Poll::Ready(given_up.as_mut().poll(cx).is_ready()))
            .await;
    }
    assert_eq!(stage.asked(), UNKNOWN_PER_MINUTE as usize);
}

#[tokio::test]
async fn names_are_bounded_and_those_with_keys_stay() {
    let stage = stage();
    let fill = |from: usize, to: usize| {
        let stage = &stage;
        async move {
            for n in from..to {
                stage.clock.advance(secs(3));
                let _ = stage
                    .fetch_as(&n.to_string(), HOST, Life::of(HOUR * 9999))
                    .await;
            }
        }
    };
    fill(0, 500).await;
    stage.fails();
    fill(500, 3000).await;
    assert_eq!(stage.cache.len(), NAMES_MAX);
    assert_eq!(
        (stage.look("0").as_str(), stage.look("499").as_str()),
        ("fresh one", "fresh one")
    );
    assert_eq!(
        (stage.look("500").as_str(), stage.look("2999").as_str()),
        ("absent", "failed timeout")
    );
    stage.says(answer(200, "two", None));
    stage.look("0");
    fill(3000, 4000).await;
    assert_eq!(stage.cache.len(), NAMES_MAX);
    assert_eq!(stage.look("3999"), "fresh two");
    // What was used last stays, with keys or not.
    assert_eq!(stage.look("1"), "absent");
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_nothing_alive() {
    let stage = stage();
    stage.fetch("a").await.unwrap();
    stage.clock.set(NOW.minus(secs(30)));
    assert_eq!(stage.look("a"), "fresh one");
    stage.clock.set(NOW.minus(HOUR));
    assert_eq!(stage.look("a"), "stale one");
    stage.says(answer(200, "two", None));
    assert_eq!(stage.fetch("a").await, Ok("two".into()));
    stage.fails();
    stage.clock.set(NOW.minus(HOUR * 2));
    let _ = stage.fetch("b").await;
    stage.clock.set(NOW.minus(HOUR * 3));
    assert_eq!(stage.look("b"), "absent");
}
