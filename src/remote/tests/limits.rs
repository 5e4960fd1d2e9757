//! Whom the gateway never asks, and how often it asks.

use std::sync::Arc;

use crate::clock::ManualClock;
use crate::remote::tests::server::{HOST, NOW, Server, Way, asking, get, ok, serve};
use crate::remote::{Ask, HttpsAsk, Outbound, RemoteFault};
use crate::telemetry::Metrics;

/// A server without TLS on this machine.
async fn plain() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let way = Way::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec());
            serve(socket, way, &std::sync::Mutex::default()).await;
        }
    });
    port
}

#[tokio::test]
async fn a_providers_host_does_not_lead_into_the_own_network() {
    let server = Server::of("localhost", [ok("")]).await;
    let mut settings = server.settings();
    settings.connect.clear();
    for host in [
        "localhost",
        "127.0.0.1",
        "::1",
        "0x7f.1",
        "2130706433",
        "169.254.169.254",
    ] {
        let request = Outbound {
            host: host.into(),
            port: server.port,
            ..get("/")
        };
        let refused = asking(&settings).ask(&request).await;
        assert_eq!(refused, Err(RemoteFault::AddressPrivate), "{host}");
    }
    assert!(server.requests().is_empty());
    let request = Outbound {
        host: "localhost".into(),
        port: server.port,
        ..get("/")
    };
    let own = Outbound {
        own_host: true,
        ..request.clone()
    };
    assert!(asking(&settings).ask(&own).await.is_ok());
    settings.private = true;
    assert!(asking(&settings).ask(&request).await.is_ok());
    let authority = format!("\r\nhost: localhost:{}\r\n", server.port);
    assert!(server.requests().iter().all(|r| r.contains(&authority)));
}

#[tokio::test]
async fn plain_http_is_for_hosts_that_the_source_configures() {
    let server = Server::start([ok("")]).await;
    let request = Outbound {
        https: false,
        host: "127.0.0.1".into(),
        port: plain().await,
        ..get("/")
    };
    let ask = server.ask();
    assert_eq!(ask.ask(&request).await, Err(RemoteFault::HostNotAllowed));
    let own = Outbound {
        own_host: true,
        ..request
    };
    assert_eq!(ask.ask(&own).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_name_that_is_none_is_not_looked_up() {
    let server = Server::start([ok("")]).await;
    let ask = server.ask();
    for host in [
        "", "a b", "a/b", "a@b", "a:b", "[::1]", "a\r\nb", "ä.test", "a%2eb",
    ] {
        let request = Outbound {
            host: host.into(),
            ..get("/")
        };
        assert_eq!(
            ask.ask(&request).await,
            Err(RemoteFault::HostNotAllowed),
            "{host}"
        );
    }
}

#[tokio::test]
async fn one_host_is_asked_so_often_in_a_minute() {
    let server = Server::start([ok("")]).await;
    let mut settings = server.settings();
    settings.per_minute = 2;
    let elsewhere = settings.connect[&(HOST.to_owned(), 443)];
    settings.connect.insert((HOST.into(), 8443), elsewhere);
    let clock = Arc::new(ManualClock::at(NOW));
    let metrics = Metrics::new();
    let ask = HttpsAsk::new(&settings, clock.clone(), metrics.clone()).unwrap();
    for _ in 0..2 {
        assert!(ask.ask(&get("/")).await.is_ok());
    }
    assert_eq!(ask.ask(&get("/")).await, Err(RemoteFault::RateLimited));
    let other = Outbound {
        port: 8443,
        ..get("/")
    };
    assert!(ask.ask(&other).await.is_ok());
    clock.set(NOW.plus(std::time::Duration::from_secs(30)));
    assert!(ask.ask(&get("/")).await.is_ok());
    assert_eq!(ask.ask(&get("/")).await, Err(RemoteFault::RateLimited));
    assert_eq!(server.requests().len(), 4);
    let text = metrics.encode();
    for (result, count) in [("answered", 4), ("asked_too_often", 2)] {
        let line = format!("callseal_outbound_requests_total{{result=\"{result}\"}} {count}\n");
        assert!(text.contains(&line), "{text}");
    }
}
