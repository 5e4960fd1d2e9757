//! Destinations on real sockets that keep what they were sent, and a relay that delivers to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock::SystemClock;
use crate::connect::Tls;
use crate::inbox::store::plain::{PlainStore, verified_event};
use crate::inbox::store::{Attempt, Row, State, Store, StoredEvent};
use crate::message::EventId;
use crate::random::SeededRandom;
use crate::relay::tests::stage::{destination, millis, route, rule, secs};
use crate::relay::{Relay, Route};
use crate::rule::Rule;
use crate::telemetry::Metrics;

pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// How a destination treats one connection after another; the last way is that of all further ones.
#[derive(Clone, Debug)]
pub enum Way {
    /// These bytes for every request, and the connection stays open.
    Say(Vec<u8>),
    /// These bytes for the first request, then the end.
    SayAndClose(Vec<u8>),
    /// The request is read and never answered.
    Silent,
    /// These bytes before anything is read, then the end.
    Greet(Vec<u8>),
    /// Closed before anything is read.
    Slam,
}

/// A destination on a socket that keeps every byte it was sent.
#[derive(Clone, Default)]
pub struct Application {
    pub port: u16,
    pub requests: Arc<Mutex<Vec<Vec<u8>>>>,
    pub connections: Arc<Mutex<usize>>,
}

impl Application {
    pub async fn start(ways: impl IntoIterator<Item = Way>) -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let application = Application {
            port,
            ..Application::default()
        };
        let (this, ways) = (application.clone(), ways.into_iter().collect::<Vec<_>>());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(this.clone().serve(socket, this.next_way(&ways)));
            }
        });
        application
    }

    pub fn next_way(&self, ways: &[Way]) -> Way {
        let mut connections = self.connections.lock().unwrap();
        let way = ways.get(*connections).or(ways.last()).unwrap().clone();
        *connections += 1;
        way
    }

    pub async fn serve(self, mut socket: impl AsyncRead + AsyncWrite + Unpin, way: Way) {
        match &way {
            Way::Slam => return,
            Way::Greet(bytes) => return socket.write_all(bytes).await.unwrap(),
            Way::Say(_) | Way::SayAndClose(_) | Way::Silent => {}
        }
        while let Some(request) = read_request(&mut socket).await {
            self.requests.lock().unwrap().push(request);
            match &way {
                Way::Say(bytes) => socket.write_all(bytes).await.unwrap(),
                Way::SayAndClose(bytes) => {
                    let _ = socket.write_all(bytes).await;
                    let _ = socket.shutdown().await;
                    return;
                }
                Way::Silent => {}
                Way::Slam | Way::Greet(_) => return,
            }
        }
    }

    pub fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// One request up to the end that its Content-Length names; none at the end of the connection.
async fn read_request(socket: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let length = text
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let whole = head + length.parse::<usize>().unwrap();
    while bytes.len() < whole {
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    assert_eq!(bytes.len(), whole, "more than one request at once");
    Some(bytes)
}

/// A relay with one worker over real sockets.
pub struct Gateway {
    pub store: Arc<PlainStore>,
    pub relay: Arc<Relay>,
    waker: crate::relay::Waker,
    _stop: watch::Sender<bool>,
}

impl Gateway {
    pub fn start(rule: Rule) -> Gateway {
        Gateway::with(route(rule), Tls::native(), Arc::new(SystemClock))
    }

    pub fn with(route: Route, tls: Tls, clock: Arc<dyn crate::clock::Clock>) -> Gateway {
        let store = Arc::new(PlainStore::new());
        let random = Arc::new(SeededRandom::new(9));
        let relay = Relay::with_tls(store.clone(), clock, random, Metrics::new(), tls);
        relay.set_routes(vec![route]);
        let worker = relay.worker();
        let (stop, stopping) = watch::channel(false);
        let waker = worker.waker();
        tokio::spawn(worker.run(stopping, Duration::ZERO));
        Gateway {
            store,
            relay,
            waker,
            _stop: stop,
        }
    }

    pub async fn accept(&self, event: StoredEvent) -> EventId {
        let key = self.store.stats().claims.to_be_bytes();
        let source = event.source.clone();
        let id = self
            .store
            .accept(verified_event(event, &key))
            .await
            .unwrap()
            .id();
        self.waker.wake(&source);
        id
    }

    /// Waits until nothing more is tried.
    pub async fn settled(&self, id: EventId) -> (Row, Vec<Attempt>) {
        let settled = async {
            loop {
                let row = self.store.row(id).await.unwrap().unwrap();
                if row.state != State::Owed {
                    return (row, self.store.attempts(id).await.unwrap());
                }
                sleep(millis(1)).await;
            }
        };
        timeout(secs(120), settled).await.expect("settled in time")
    }

    pub async fn deliver(&self, event: StoredEvent) -> (Row, Vec<Attempt>) {
        let id = self.accept(event).await;
        self.settled(id).await
    }
}

/// A rule whose retries come at once, and give up late.
pub fn quick(port: u16) -> Rule {
    let mut rule = rule("shop");
    rule.relay.main.forward = destination(port);
    rule.relay.main.retry.first = millis(1);
    rule.relay.main.retry.factor = 1.0;
    rule.relay.main.retry.give_up_after = secs(u64::from(u32::MAX));
    rule
}
