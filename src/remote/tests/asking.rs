//! What goes over the wire, and which answers count.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::remote::tests::server::{HOST, Server, Way, asking, get, ok, say};
use crate::remote::{Ask, Auth, Outbound, RemoteAnswer, RemoteFault, RootsError};
use crate::secret::Secret;

async fn answer(way: Way) -> Result<RemoteAnswer, RemoteFault> {
    let server = Server::start([way]).await;
    let answered = server.ask().ask(&get("/keys")).await;
    assert_eq!(server.requests().len(), 1, "once, whatever came of it");
    answered
}

#[tokio::test]
async fn a_request_is_written_as_it_is_meant_and_its_answer_read() {
    let server =
        Server::start([say(200, "cache-control: max-age=300\r\nage: 100\r\n", "{}")]).await;
    let request = Outbound {
        method: Method::POST,
        target: "/v1/ask?a=%20b".into(),
        headers: [
            ("content-type", "application/json"),
            ("x-two", "1"),
            ("x-two", "2"),
        ]
        .into_iter()
        .collect(),
        body: Bytes::from_static(b"{\"a\":1}"),
        ..get("")
    };
    let expected = RemoteAnswer {
        status: 200,
        body: Bytes::from_static(b"{}"),
        max_age: Some(Duration::from_secs(200)),
    };
    assert_eq!(server.ask().ask(&request).await, Ok(expected));
    let sent = server.requests().concat();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /v1/ask?a=%20b HTTP/1.1");
    lines.sort_unstable();
    let agent = concat!("user-agent: callseal/", env!("CARGO_PKG_VERSION"));
    let expected = [
        "accept-encoding: identity",
        "accept: */*",
        "connection: close",
        "content-length: 7",
        "content-type: application/json",
        &format!("host: {HOST}"),
        agent,
        "x-two: 1",
        "x-two: 2",
    ];
    assert_eq!((lines.as_slice(), body), (expected.as_slice(), "{\"a\":1}"));
}

#[tokio::test]
async fn who_asks_is_proved_as_the_rule_says() {
    let server = Server::start([ok("")]).await;
    let ask = server.ask();
    let secret = |text: &str| Secret::new(text.into());
    let basic = Auth::Basic {
        user: secret("Aladdin"),
        password: secret("open sesame"),
    };
    for (auth, proof) in [
        (
            Auth::Bearer(secret("abc.def")),
            "authorization: Bearer abc.def\r\n",
        ),
        (
            basic,
            "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n",
        ),
    ] {
        ask.ask(&Outbound { auth, ..get("/") }).await.unwrap();
        let sent = server.requests().pop().unwrap();
        assert_eq!(sent.matches("authorization: ").count(), 1, "{sent}");
        assert!(sent.contains(proof), "{sent}");
    }
}

#[tokio::test]
async fn every_status_but_a_redirect_is_an_answer() {
    for status in [200, 204, 400, 401, 404, 429, 500, 503] {
        let way = Way::Say(format!("HTTP/1.1 {status} X\r\n\r\n").into_bytes());
        assert_eq!(answer(way).await.unwrap().status, status);
    }
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let way = say(status, &format!("location: https://{HOST}/else\r\n"), "");
        assert_eq!(answer(way).await, Err(RemoteFault::Redirected), "{status}");
    }
}

#[tokio::test]
async fn a_body_is_read_to_its_bound_and_not_beyond() {
    let bound = "x".repeat(256 * 1024);
    assert_eq!(answer(ok(&bound)).await.unwrap().body.len(), bound.len());
    assert_eq!(
        answer(ok(&format!("{bound}x"))).await,
        Err(RemoteFault::TooLarge)
    );
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{bound}{bound}");
    assert_eq!(
        answer(Way::Say(endless.into_bytes())).await,
        Err(RemoteFault::TooLarge)
    );
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40000\r\n";
    let chunked = format!("{chunked}{bound}\r\n1\r\nx\r\n0\r\n\r\n");
    assert_eq!(
        answer(Way::Say(chunked.into_bytes())).await,
        Err(RemoteFault::TooLarge)
    );
}

#[tokio::test]
async fn what_is_not_whole_or_not_http_is_no_answer() {
    let field = format!("x: {}\r\n", "y".repeat(40 * 1024));
    for text in [
        "",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\n{field}content-length: 0\r\n\r\n"),
        &format!(
            "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
            "a: b\r\n".repeat(101)
        ),
    ] {
        let answered = answer(Way::Say(text.into())).await;
        assert_eq!(answered, Err(RemoteFault::Protocol), "{:.80}", text);
    }
    assert_eq!(answer(Way::Slam).await, Err(RemoteFault::Protocol));
}

#[tokio::test]
async fn a_request_has_its_time_and_no_more() {
    for said in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab",
    ] {
        assert_eq!(
            answer(Way::Stall(said.into())).await,
            Err(RemoteFault::Timeout),
            "{said}"
        );
        tokio::time::resume();
    }
}

#[tokio::test]
async fn only_the_named_host_with_a_trusted_certificate_is_asked() {
    let server = Server::of("other.provider.test", [ok("")]).await;
    assert_eq!(server.ask().ask(&get("/")).await, Err(RemoteFault::Tls));
    // Its own root is not among those of the machine.
    let stranger = Server::start([ok("")]).await;
    let mut settings = stranger.settings();
    settings.roots = server.settings().roots;
    assert_eq!(
        asking(&settings).ask(&get("/")).await,
        Err(RemoteFault::Tls)
    );
    assert!(server.requests().is_empty() && stranger.requests().is_empty());
}

#[tokio::test]
async fn nobody_at_home_is_a_fault_of_the_connection() {
    let server = Server::start([ok("")]).await;
    let mut settings = server.settings();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    settings.connect.insert((HOST.into(), 443), nobody);
    assert_eq!(
        asking(&settings).ask(&get("/")).await,
        Err(RemoteFault::Connect)
    );
}

#[tokio::test]
async fn what_cannot_be_written_as_one_request_is_not_sent() {
    let server = Server::start([ok("")]).await;
    let ask = server.ask();
    let targets = [
        "",
        "keys",
        "*",
        "http://x/",
        "/a b",
        "/a\r\nx: y",
        "/ä",
        "/a#b",
        "/\t",
    ];
    for target in targets {
        assert_eq!(
            ask.ask(&get(target)).await,
            Err(RemoteFault::Unsendable),
            "{target}"
        );
    }
    for (name, value) in [
        ("host", "elsewhere"),
        ("content-length", "0"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
        ("accept-encoding", "gzip"),
        ("a b", "x"),
        ("x", "a\r\nb: c"),
        ("x", "a\0"),
    ] {
        let headers = [(name, value)].into_iter().collect();
        let asked = ask
            .ask(&Outbound {
                headers,
                ..get("/")
            })
            .await;
        assert_eq!(asked, Err(RemoteFault::Unsendable), "{name}: {value}");
    }
    let auth = Auth::Bearer(Secret::new(b"a\nb".to_vec()));
    assert_eq!(
        ask.ask(&Outbound { auth, ..get("/") }).await,
        Err(RemoteFault::Unsendable)
    );
    let twice = Outbound {
        auth: Auth::Bearer(Secret::new(b"a".to_vec())),
        headers: [("authorization", "Bearer b")].into_iter().collect(),
        ..get("/")
    };
    assert_eq!(ask.ask(&twice).await, Err(RemoteFault::Unsendable));
    assert!(server.requests().is_empty());
}

#[test]
fn nothing_secret_is_shown() {
    let request = Outbound {
        target: "/canary?canary".into(),
        headers: [("x-key", "canary")].into_iter().collect(),
        body: Bytes::from_static(b"canary"),
        auth: Auth::Basic {
            user: Secret::new(b"canary".to_vec()),
            password: Secret::new(b"canary".to_vec()),
        },
        ..get("/")
    };
    let shown = format!("{request:?}");
    assert!(
        shown.contains("x-key") && !shown.contains("canary"),
        "{shown}"
    );
    let answer = RemoteAnswer {
        status: 200,
        body: Bytes::from_static(b"canary"),
        max_age: None,
    };
    assert!(!format!("{answer:?}").contains("canary"));
}

#[test]
fn roots_that_are_none_stop_the_start() {
    use crate::settings::OutboundSettings;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roots.pem");
    let settings = OutboundSettings {
        roots: Some(path.clone()),
        ..OutboundSettings::default()
    };
    let open = || {
        let clock = std::sync::Arc::new(crate::clock::SystemClock);
        crate::remote::HttpsAsk::new(&settings, clock, crate::telemetry::Metrics::new())
    };
    assert!(matches!(open(), Err(RootsError::Unreadable { .. })));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "no pem", broken] {
        std::fs::write(&path, text).unwrap();
        assert!(
            matches!(open(), Err(RootsError::NoCertificate { .. })),
            "{text}"
        );
    }
}
