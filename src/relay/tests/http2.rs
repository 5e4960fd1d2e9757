//! HTTP/2 to a destination: one connection for many, nothing lost or doubled when it goes away.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::inbox::store::{State, StoredEvent};
use crate::relay::tests::application::{Application, Gateway, OK, Way, quick};
use crate::relay::tests::stage::{event, millis, secs};
use crate::rule::{Http2, Rule};

/// Serves HTTP/2 on this connection; what it was sent is kept as text, as HTTP/1.1 would have it.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    application: Application,
) {
    serve_at_most(stream, application, 100).await;
}

async fn serve_at_most(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    application: Application,
    streams: u32,
) {
    *application.connections.lock().unwrap() += 1;
    let service = service_fn(move |request: Request<Incoming>| keep(request, application.clone()));
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(streams)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn keep(
    request: Request<Incoming>,
    application: Application,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {} {:?}\r\n", head.method, head.uri, head.version).into_bytes();
    for (name, value) in &head.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&body.collect().await?.to_bytes());
    application.requests.lock().unwrap().push(text);
    tokio::time::sleep(millis(5)).await;
    Ok(Response::new(Full::new(Bytes::from_static(b"ok"))))
}

/// Without TLS. The first connections are treated by hand.
async fn application(streams: u32, by_hand: Vec<fn(TcpStream) -> Hand>) -> Application {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let application = Application {
        port,
        ..Application::default()
    };
    let this = application.clone();
    tokio::spawn(async move {
        let mut by_hand = by_hand.into_iter();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            match by_hand.next() {
                Some(hand) => drop(tokio::spawn(hand(socket))),
                None => drop(tokio::spawn(serve_at_most(socket, this.clone(), streams))),
            }
        }
    });
    application
}

type Hand = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn known(port: u16) -> Rule {
    let mut rule = quick(port);
    rule.relay.main.http2 = Http2::PriorKnowledge;
    rule
}

async fn all_at_once(gateway: &Gateway, count: usize) -> Vec<usize> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(gateway.accept(event("shop")).await);
    }
    let mut attempts = Vec::new();
    for id in ids {
        let (row, tried) = gateway.settled(id).await;
        assert_eq!(row.state, State::Delivered, "{tried:?}");
        attempts.push(tried.len());
    }
    attempts
}

#[tokio::test]
async fn any_byte_arrives_as_it_was_and_the_host_is_the_destinations() {
    let application = application(100, vec![]).await;
    let gateway = Gateway::start(known(application.port));
    let body: Bytes = (0..300_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let stored = StoredEvent {
        headers: [
            ("host", "pay.example.com"),
            ("connection", "x"),
            ("x", "1"),
            ("te", "gzip"),
        ]
        .into_iter()
        .collect(),
        target: "/shop?a=1&b=%2F..".into(),
        body: body.clone(),
        ..event("shop")
    };
    let id = gateway.accept(stored).await;
    assert_eq!(gateway.settled(id).await.0.state, State::Delivered);
    let requests = application.requests.lock().unwrap();
    let [request] = requests.as_slice() else {
        panic!("{}", requests.len())
    };
    assert!(request.ends_with(&body));
    let text = String::from_utf8_lossy(&request[..request.len() - body.len()]).into_owned();
    let target = format!("http://127.0.0.1:{}/hook?a=1&b=%2F..", application.port);
    assert!(
        text.starts_with(&format!("POST {target} HTTP/2.0\r\n")),
        "{text}"
    );
    assert!(text.contains("\r\ncontent-length: 300000\r\n"), "{text}");
    assert!(
        text.contains(&format!("\r\ncallseal-event: {id}\r\n")),
        "{text}"
    );
    for absent in [
        "\r\nhost:",
        "\r\nconnection:",
        "\r\nte:",
        "pay.example.com",
        "\r\nx: 1",
    ] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

#[tokio::test]
async fn many_requests_share_one_connection_and_concurrency_is_kept() {
    let application = application(100, vec![]).await;
    let gateway = Gateway::start(known(application.port));
    assert_eq!(all_at_once(&gateway, 50).await, vec![1; 50]);
    assert_eq!(
        (application.connections(), application.requests().len()),
        (1, 50)
    );
}

#[tokio::test]
async fn a_destination_that_allows_few_at_once_gets_no_more_on_a_connection() {
    let application = application(2, vec![]).await;
    let gateway = Gateway::start(known(application.port));
    assert_eq!(all_at_once(&gateway, 60).await, vec![1; 60]);
    assert_eq!(application.requests().len(), 60);
    assert!(
        application.connections() <= 8,
        "{}",
        application.connections()
    );
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
/// END_HEADERS and END_STREAM, and `:status: 200` from the static table.
const DONE: u8 = 4 | 1;
const STATUS_200: &[u8] = &[0x88];

/// Greets, and reads until so many requests have begun; gives their streams.
async fn requests(socket: &mut TcpStream, count: usize) -> Vec<u32> {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await.unwrap();
    socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    let mut streams = Vec::new();
    while streams.len() < count {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let [a, b, c, kind, _, s @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        socket.read_exact(&mut payload).await.unwrap();
        if kind == HEADERS {
            streams.push(u32::from_be_bytes(s));
        }
    }
    streams
}

/// Goes away after the first of three requests, which it answers.
fn goes_away(mut socket: TcpStream) -> Hand {
    Box::pin(async move {
        let streams = requests(&mut socket, 3).await;
        let last = [streams[0].to_be_bytes(), [0; 4]].concat();
        socket
            .write_all(&frame(GO_AWAY, 0, 0, &last))
            .await
            .unwrap();
        tokio::time::sleep(millis(30)).await;
        let answer = frame(HEADERS, DONE, streams[0], STATUS_200);
        socket.write_all(&answer).await.unwrap();
        tokio::time::sleep(millis(30)).await;
    })
}

/// Refuses the second of three requests, and answers the others.
fn refuses_one(mut socket: TcpStream) -> Hand {
    Box::pin(async move {
        let streams = requests(&mut socket, 3).await;
        let refused = 7u32.to_be_bytes();
        let frames = [
            frame(RST_STREAM, 0, streams[1], &refused),
            frame(HEADERS, DONE, streams[0], STATUS_200),
            frame(HEADERS, DONE, streams[2], STATUS_200),
        ];
        socket.write_all(&frames.concat()).await.unwrap();
        tokio::time::sleep(secs(5)).await;
    })
}

/// Ends while three requests are under way, of which it says nothing.
fn breaks_off(mut socket: TcpStream) -> Hand {
    Box::pin(async move {
        requests(&mut socket, 3).await;
    })
}

#[tokio::test]
async fn what_a_connection_that_goes_away_did_not_look_at_goes_over_another_at_once() {
    // Of the first connection; the others of three go over the next.
    for (hand, answered) in [(goes_away as fn(TcpStream) -> Hand, 1), (refuses_one, 2)] {
        let application = application(100, vec![hand]).await;
        let gateway = Gateway::start(known(application.port));
        assert_eq!(all_at_once(&gateway, 3).await, [1, 1, 1]);
        assert_eq!(application.requests().len(), 3 - answered);
    }
}

#[tokio::test]
async fn what_a_connection_broke_off_with_is_an_attempt_of_its_own() {
    let application = application(100, vec![breaks_off]).await;
    let gateway = Gateway::start(known(application.port));
    assert_eq!(all_at_once(&gateway, 3).await, [2, 2, 2]);
    assert_eq!(application.requests().len(), 3);
}

/// Says nothing more.
fn silent(mut socket: TcpStream) -> Hand {
    Box::pin(async move {
        requests(&mut socket, usize::MAX).await;
    })
}

#[tokio::test]
async fn a_connection_that_has_gone_silent_gets_no_further_request() {
    let application = application(100, vec![silent]).await;
    let mut rule = known(application.port);
    rule.relay.main.timeout = millis(300);
    let gateway = Gateway::start(rule);
    let id = gateway.accept(event("shop")).await;
    let (row, attempts) = gateway.settled(id).await;
    // A machine that is busy elsewhere may let a second one time out.
    let codes: Vec<&str> = attempts.iter().map(|a| a.error.as_str()).collect();
    assert_eq!((row.state, codes[0]), (State::Delivered, "timeout"));
    assert!(application.connections() >= 1);
}

/// Answers in HTTP/1.1.
fn plain(mut socket: TcpStream) -> Hand {
    Box::pin(async move {
        socket.read_exact(&mut [0; 24]).await.unwrap();
        let refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(refusal).await.unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
    })
}

#[tokio::test]
async fn whoever_does_not_speak_it_is_told_apart() {
    let application = application(100, vec![plain]).await;
    let mut rule = known(application.port);
    rule.relay.main.retry.give_up_after = secs(0);
    let (row, attempts) = Gateway::start(rule).deliver(event("shop")).await;
    assert_eq!(
        (row.state, attempts[0].error.as_str()),
        (State::Dead, "bad_answer")
    );
}

#[tokio::test]
async fn nobody_is_spoken_to_in_http2_who_was_not_asked() {
    let application = Application::start([Way::Say(OK.to_vec())]).await;
    let mut rule = quick(application.port);
    rule.relay.main.http2 = Http2::Alpn;
    let (row, _) = Gateway::start(rule).deliver(event("shop")).await;
    assert_eq!(row.state, State::Delivered);
    assert!(application.requests()[0].starts_with("POST /hook HTTP/1.1\r\n"));
}
