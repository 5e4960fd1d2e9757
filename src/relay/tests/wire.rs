//! On real sockets: what arrives, byte for byte, and what each kind of bad answer is called.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::clock::{ManualClock, SystemClock};
use crate::connect::Tls;
use crate::inbox::store::{Attempt, State, StoredEvent};
use crate::message::Headers;
use crate::random::{Random, SeededRandom};
use crate::relay::client::BODY_MAX;
use crate::relay::tests::application::{Application, Gateway, OK, Way, quick};
use crate::relay::tests::stage::{START, event, millis, route, secs};
use crate::relay::{Route, sign};
use crate::rule::OnStatus;
use crate::secret::Secret;

fn codes(attempts: &[Attempt]) -> Vec<&str> {
    attempts
        .iter()
        .map(|attempt| attempt.error.as_str())
        .collect()
}

#[tokio::test]
async fn what_arrives_is_a_fresh_request_byte_for_byte() {
    let application = Application::start([Way::Say(OK.to_vec())]).await;
    let mut rule = quick(application.port);
    rule.relay.main.forward.path = "/webhooks/stripe?from=callseal".into();
    let sign_with = Some(Secret::new(b"a key of the hop".to_vec()));
    let route = Route {
        to: Arc::new(rule.relay.main.clone()),
        rule: Arc::new(rule),
        sign_with,
        tls: None,
    };
    let clock = Arc::new(ManualClock::at(START.plus(secs(7))));
    let gateway = Gateway::with(route, Tls::native(), clock);
    let headers: Headers = [
        ("host", "pay.example.com"),
        ("content-type", "application/json; charset=utf-8"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("x-many", "a"),
        ("x-many", "b"),
        ("transfer-encoding", "chunked"),
        ("stripe-signature", "t=1,v1=ab"),
        ("callseal-verified", "by me"),
        ("webhook-id", "mine"),
        ("content-length", "999"),
        ("x-empty", ""),
    ]
    .into_iter()
    .collect();
    let stored = StoredEvent {
        headers,
        target: "/shop?a=1&b=%2F..".into(),
        body: Bytes::from_static(b"{\"id\": \"evt\" }\r\n\0"),
        ..event("shop")
    };
    let id = gateway.accept(stored.clone()).await;
    let (row, attempts) = gateway.settled(id).await;
    assert_eq!((row.state, codes(&attempts)), (State::Delivered, vec![""]));

    let span = SeededRandom::new(9).next_u64();
    let key = Secret::new(b"a key of the hop".to_vec());
    let signature = sign::signature(&key, &id.to_string(), START.plus(secs(7)), &stored.body);
    let expected = format!(
        "POST /webhooks/stripe?from=callseal&a=1&b=%2F.. HTTP/1.1\r\n\
         host: 127.0.0.1:{port}\r\n\
         content-type: application/json; charset=utf-8\r\n\
         x-many: a\r\n\
         x-many: b\r\n\
         stripe-signature: t=1,v1=ab\r\n\
         x-empty: \r\n\
         content-length: 17\r\n\
         callseal-event: {id}\r\n\
         callseal-source: shop\r\n\
         callseal-provider: stripe\r\n\
         callseal-attempt: 1\r\n\
         callseal-received-at: 2026-01-01T00:00:00.000Z\r\n\
         callseal-verified: hmac-sha256 keys[0]\r\n\
         traceparent: 00-{:08x}{:08x}{:016x}-{span:016x}-01\r\n\
         webhook-id: {id}\r\n\
         webhook-timestamp: 1767225607\r\n\
         webhook-signature: {signature}\r\n\
         \r\n\
         {{\"id\": \"evt\" }}\r\n\0",
        id.segment,
        id.offset,
        id.tag,
        port = application.port,
    );
    assert_eq!(application.requests(), [expected]);
}

#[tokio::test]
async fn an_empty_body_says_so_and_any_byte_arrives_as_it_was() {
    let application = Application::start([Way::Say(OK.to_vec())]).await;
    let gateway = Gateway::start(quick(application.port));
    let body: Bytes = (0..600_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for (method, body) in [
        ("GET", Bytes::new()),
        ("POST", Bytes::new()),
        ("PUT", body.clone()),
    ] {
        let stored = StoredEvent {
            method: method.into(),
            body,
            ..event("shop")
        };
        assert_eq!(gateway.deliver(stored).await.0.state, State::Delivered);
    }
    let requests = application.requests.lock().unwrap();
    for (request, method) in requests.iter().zip(["GET", "POST"]) {
        let text = String::from_utf8_lossy(request);
        assert!(
            text.starts_with(&format!("{method} /hook HTTP/1.1\r\n")),
            "{text}"
        );
        assert!(
            text.contains("\r\ncontent-length: 0\r\n") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
    }
    assert!(requests[2].ends_with(&body) && requests[2].len() < body.len() + 1000);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Application::start([Way::Say(OK.to_vec())]).await;
    let mut ways = Vec::new();
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let location = format!("location: http://127.0.0.1:{}/hook", elsewhere.port);
        ways.push(Way::SayAndClose(
            format!("HTTP/1.1 {status}\r\n{location}\r\ncontent-length: 0\r\n\r\n").into(),
        ));
    }
    ways.push(Way::Say(OK.to_vec()));
    let application = Application::start(ways).await;
    let (row, attempts) = Gateway::start(quick(application.port))
        .deliver(event("shop"))
        .await;
    assert_eq!(row.state, State::Delivered);
    assert_eq!(
        codes(&attempts),
        [
            "redirect", "redirect", "redirect", "redirect", "redirect", ""
        ]
    );
    assert_eq!(attempts[3].status, Some(307));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn every_bad_answer_has_its_code_and_is_retried() {
    let long_field = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000)).into_bytes();
    let fields = "x: y\r\n".repeat(200);
    let many_fields = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n").into_bytes();
    let say = |text: &str| Way::SayAndClose(text.as_bytes().to_vec());
    let cases = [
        (Way::Slam, "closed_early"),
        (say(""), "closed_early"),
        (say("HTTP/1.1 200 O"), "closed_early"),
        (
            say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfour"),
            "closed_early",
        ),
        (
            say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            "closed_early",
        ),
        (
            say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
            "bad_answer",
        ),
        (say("SSH-2.0-OpenSSH_9.9\r\n\r\n"), "bad_answer"),
        (say("HTTP/1.1 2000 OK\r\n\r\n"), "bad_answer"),
        (say("HTTP/2.0 200 OK\r\n\r\n"), "bad_answer"),
        (
            say("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx"),
            "bad_answer",
        ),
        (Way::SayAndClose(long_field), "bad_answer"),
        (Way::SayAndClose(many_fields), "bad_answer"),
        (
            say("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            "status_4xx",
        ),
        (
            say("HTTP/1.1 500 Broken\r\ncontent-length: 50\r\n\r\nhalf"),
            "status_5xx",
        ),
        (
            say("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
            "status_other",
        ),
        (
            say("HTTP/1.1 600 What\r\ncontent-length: 0\r\n\r\n"),
            "status_other",
        ),
    ];
    let expected: Vec<&str> = cases.iter().map(|(_, code)| *code).chain([""]).collect();
    let ways = cases
        .iter()
        .map(|(way, _)| way.clone())
        .chain([Way::Say(OK.to_vec())]);
    let application = Application::start(ways).await;
    let mut rule = quick(application.port);
    // Else a machine that stands still for a moment would be taken for silence.
    rule.relay.main.timeout = secs(60);
    let (row, attempts) = Gateway::start(rule).deliver(event("shop")).await;
    assert_eq!(codes(&attempts), expected);
    assert_eq!(row.state, State::Delivered);
}

#[tokio::test]
async fn silence_and_an_answer_without_an_end_are_timeouts() {
    let endless = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n".as_slice(),
        &[b'x'; 100],
    ]
    .concat();
    let ways = [Way::Silent, Way::Say(endless), Way::Say(OK.to_vec())];
    let application = Application::start(ways).await;
    let mut rule = quick(application.port);
    rule.relay.main.timeout = millis(400);
    let (row, attempts) = Gateway::start(rule).deliver(event("shop")).await;
    // A machine that stands still for a moment may add to them.
    let (last, before) = attempts.split_last().unwrap();
    assert!(before.len() >= 2, "{attempts:?}");
    assert!(before.iter().all(|a| a.error == "timeout"), "{attempts:?}");
    assert_eq!((row.state, last.error.as_str()), (State::Delivered, ""));
}

#[tokio::test]
async fn every_2xx_is_taken_whatever_its_body() {
    let chatty = BODY_MAX * 4;
    let ways = [
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec(),
        [
            format!("HTTP/1.1 200 OK\r\ncontent-length: {chatty}\r\n\r\n").into_bytes(),
            vec![b'x'; chatty],
        ]
        .concat(),
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end".to_vec(),
    ];
    let application = Application::start(ways.into_iter().map(Way::SayAndClose)).await;
    let gateway = Gateway::start(quick(application.port));
    for status in [204, 201, 202, 200, 200] {
        let (row, attempts) = gateway.deliver(event("shop")).await;
        assert_eq!(
            (row.state, attempts.len(), attempts[0].status),
            (State::Delivered, 1, Some(status))
        );
        // So that the next one finds the connection closed.
        sleep(millis(20)).await;
    }
}

#[tokio::test]
async fn connections_that_do_not_come_about_have_their_codes() {
    // Nobody listens there, and nobody else is given it.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = nobody.local_addr().unwrap().port();
    let speaks_plain = Application::start([Way::Greet(OK.to_vec())]).await;
    // A listener whose backlog is full answers no further connection.
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(socket)) = timeout(millis(100), TcpStream::connect(address)).await {
        waiting.push(socket);
    }
    let mut cases = Vec::new();
    for (code, port, host, https) in [
        ("connect_refused", free, "127.0.0.1", false),
        ("dns", free, "no-such-host.invalid", false),
        ("tls", speaks_plain.port, "127.0.0.1", true),
        ("connect_timeout", address.port(), "127.0.0.1", false),
    ] {
        let mut rule = quick(port);
        rule.relay.main.forward.host = host.into();
        rule.relay.main.forward.https = https;
        rule.relay.main.timeout = secs(if code == "connect_timeout" { 2 } else { 60 });
        rule.relay.main.retry.give_up_after = Duration::ZERO;
        cases.push((
            code,
            Gateway::with(
                route(rule),
                Tls::with_roots(rustls::RootCertStore::empty()),
                Arc::new(SystemClock),
            ),
        ));
    }
    for (code, gateway) in cases {
        let (row, attempts) = gateway.deliver(event("shop")).await;
        assert_eq!(
            (row.state, row.reason.as_str(), codes(&attempts)),
            (State::Dead, format!("gave_up:{code}").as_str(), vec![code])
        );
    }
}

#[tokio::test]
async fn connections_are_used_again_and_one_that_was_closed_meanwhile_costs_no_attempt() {
    let close = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec();
    let application = Application::start([Way::Say(OK.to_vec())]).await;
    let gateway = Gateway::start(quick(application.port));
    for _ in 0..20 {
        gateway.deliver(event("shop")).await;
    }
    assert_eq!(
        (application.connections(), application.requests().len()),
        (1, 20)
    );

    for way in [Way::SayAndClose(OK.to_vec()), Way::Say(close)] {
        let application = Application::start([way]).await;
        let gateway = Gateway::start(quick(application.port));
        for _ in 0..20 {
            let (_, attempts) = gateway.deliver(event("shop")).await;
            assert_eq!(codes(&attempts), [""]);
            sleep(millis(2)).await;
        }
        assert_eq!(application.connections(), 20);
    }
}

#[tokio::test]
async fn an_application_that_says_how_long_it_keeps_a_connection_is_believed() {
    let brief =
        b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1, max=9\r\ncontent-length: 0\r\n\r\n".to_vec();
    let application = Application::start([Way::Say(brief)]).await;
    let gateway = Gateway::start(quick(application.port));
    for _ in 0..3 {
        gateway.deliver(event("shop")).await;
    }
    // A second less a second: never used again.
    assert_eq!(application.connections(), 3);
}

/// A second answer behind the first would be taken for that of the next event, which the application
/// never took.
#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_no_answer_to_the_next_event() {
    let refused = b"HTTP/1.1 422 No\r\ncontent-length: 0\r\n\r\n".to_vec();
    let hidden =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\n";
    for first in [OK, hidden.as_slice()] {
        let twice = [first, OK].concat();
        let ways = [Way::Say(twice), Way::Say(refused.clone())];
        let application = Application::start(ways).await;
        let mut rule = quick(application.port);
        rule.relay.main.retry.on_status = vec![(422, 422, OnStatus::Dead)];
        let gateway = Gateway::start(rule);
        let (row, _) = gateway.deliver(event("shop")).await;
        assert_eq!(row.state, State::Delivered);
        let (row, attempts) = gateway.deliver(event("shop")).await;
        assert_eq!(
            (row.state, attempts.last().and_then(|a| a.status)),
            (State::Dead, Some(422))
        );
        assert_eq!(application.connections(), 2);
    }
}
