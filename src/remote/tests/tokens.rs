//! Client credentials: asked for once, kept while they are good, and asked for again when not.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::ManualClock;
use crate::remote::tests::server::{NOW, Server, Way, get, ok, say};
use crate::remote::{Ask, Auth, HttpsAsk, Outbound, RemoteFault};
use crate::secret::Secret;
use crate::telemetry::Metrics;

fn token(name: &str, life: u64) -> Way {
    ok(&format!(
        "{{\"scope\":\"x\",\"access_token\":\"{name}\",\"token_type\":\"Bearer\",\"expires_in\":{life}}}"
    ))
}

fn of(user: &str) -> Outbound {
    Outbound {
        auth: Auth::OAuth2 {
            target: "/v1/oauth2/token".into(),
            user: Secret::new(user.into()),
            password: Secret::new(b"s&cret +".to_vec()),
        },
        ..get("/v1/ask")
    }
}

async fn stage(ways: Vec<Way>) -> (Server, HttpsAsk, ManualClock) {
    let server = Server::start(ways).await;
    let clock = ManualClock::at(NOW);
    let ask = HttpsAsk::new(&server.settings(), Arc::new(clock.clone()), Metrics::new());
    (server, ask.unwrap(), clock)
}

/// First lines and proofs of what was sent.
fn sent(server: &Server) -> Vec<String> {
    let proof = |request: &String| {
        let line = request
            .lines()
            .find_map(|l| l.strip_prefix("authorization: "));
        let first = request
            .lines()
            .next()
            .unwrap()
            .trim_end_matches(" HTTP/1.1");
        format!("{first} {}", line.unwrap_or("-"))
    };
    server.requests().iter().map(proof).collect()
}

// "me" and "s%26cret+%2B", as RFC 6749 §2.3.1 writes them; computed with Python's
// urllib.parse.quote_plus and base64.
const FOR_TOKEN: &str = "POST /v1/oauth2/token Basic bWU6cyUyNmNyZXQrJTJC";

#[tokio::test]
async fn a_token_is_kept_until_a_minute_before_its_end() {
    let ways = vec![
        token("one", 3600),
        ok("a"),
        ok("b"),
        token("two", 3600),
        ok("c"),
    ];
    let (server, ask, clock) = stage(ways).await;
    ask.ask(&of("me")).await.unwrap();
    let request = server.requests().remove(0);
    assert!(
        request.ends_with("\r\n\r\ngrant_type=client_credentials"),
        "{request}"
    );
    assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"));
    clock.advance(Duration::from_secs(3539));
    ask.ask(&of("me")).await.unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(ask.ask(&of("me")).await.unwrap().body, "c");
    let expected = [
        FOR_TOKEN,
        "GET /v1/ask Bearer one",
        "GET /v1/ask Bearer one",
        FOR_TOKEN,
        "GET /v1/ask Bearer two",
    ];
    assert_eq!(sent(&server), expected);
}

#[tokio::test]
async fn those_who_ask_at_once_share_one_token_and_others_have_their_own() {
    let (server, ask, _) = stage(vec![token("one", 3600)]).await;
    let (me, you) = (of("me"), of("you"));
    let (a, b, c) = tokio::join!(ask.ask(&me), ask.ask(&me), ask.ask(&me));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let asked = |server: &Server| {
        sent(server)
            .iter()
            .filter(|r| r.starts_with("POST"))
            .count()
    };
    assert_eq!((asked(&server), server.requests().len()), (1, 4));
    ask.ask(&you).await.unwrap();
    assert_eq!((asked(&server), server.requests().len()), (2, 6));
}

#[tokio::test]
async fn a_token_that_ended_early_is_replaced_once() {
    let refused = || say(401, "", "");
    let ways = vec![
        token("one", 3600),
        refused(),
        token("two", 3600),
        ok("a"),
        refused(),
        token("three", 3600),
        refused(),
    ];
    let (server, ask, _) = stage(ways).await;
    assert_eq!(ask.ask(&of("me")).await.unwrap().body, "a");
    assert_eq!(ask.ask(&of("me")).await.unwrap().status, 401);
    let tokens: Vec<String> = sent(&server)
        .iter()
        .map(|r| r.split(' ').nth(3).unwrap().to_owned())
        .collect();
    let basic = "bWU6cyUyNmNyZXQrJTJC";
    assert_eq!(tokens, [basic, "one", basic, "two", "two", basic, "three"]);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_left_alone_for_a_while() {
    let (server, ask, clock) = stage(vec![say(401, "", "{}"), token("one", 60), ok("a")]).await;
    for _ in 0..3 {
        let refused = Err(RemoteFault::TokenRefused { status: 401 });
        assert_eq!(ask.ask(&of("me")).await, refused);
    }
    assert_eq!(server.requests().len(), 1);
    clock.advance(Duration::from_secs(5));
    assert_eq!(ask.ask(&of("me")).await.unwrap().body, "a");
}

#[tokio::test]
async fn only_a_bearer_token_is_taken() {
    let token = "\"access_token\":\"t\"";
    let kind = "\"token_type\":\"bearer\"";
    for body in [
        "",
        "null",
        "{}",
        &format!("{{{token}}}"),
        &format!("{{{kind}}}"),
        &format!("{{{token},\"token_type\":\"mac\"}}"),
        &format!("{{{token},{token},{kind}}}"),
        &format!("{{{token},{kind}}}x"),
        &format!("{{{token},{kind},\"expires_in\":-1}}"),
        &format!("{{{token},{kind},\"expires_in\":\"3600\"}}"),
        &format!("{{\"access_token\":\"\",{kind}}}"),
        &format!("{{\"access_token\":\"=\",{kind}}}"),
        &format!("{{\"access_token\":\"a b\",{kind}}}"),
        &format!("{{\"access_token\":\"a\\r\\nb\",{kind}}}"),
        &format!(
            "{{\"access_token\":\"{}\",{kind}}}",
            "a".repeat(8 * 1024 + 1)
        ),
    ] {
        let (server, ask, _) = stage(vec![ok(body)]).await;
        assert_eq!(
            ask.ask(&of("me")).await,
            Err(RemoteFault::TokenMalformed),
            "{body:.99}"
        );
        assert_eq!(server.requests().len(), 1);
    }
    let (server, ask, _) = stage(vec![ok(&format!("{{{token},{kind}}}")), ok("a")]).await;
    ask.ask(&of("me")).await.unwrap();
    // It does not say how long it is good: the next request asks again.
    assert_eq!(ask.ask(&of("me")).await, Err(RemoteFault::TokenMalformed));
    assert_eq!(sent(&server)[1], "GET /v1/ask Bearer t");
}

#[tokio::test]
async fn waiting_for_a_token_is_part_of_the_time() {
    let (server, ask, _) = stage(vec![Way::Stall(Vec::new())]).await;
    assert_eq!(ask.ask(&of("me")).await, Err(RemoteFault::Timeout));
    assert_eq!(server.requests().len(), 1);
}
