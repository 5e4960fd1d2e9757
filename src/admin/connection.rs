//! Connections to the admin port: over TCP, TLS or a Unix socket, HTTP/1.1 or 2. Who neither asks nor
//! listens gives its place to who does.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::admin::bind::{Bound, SocketFile};
use crate::admin::{State, router};
use crate::listener::caps::{ConnectionCaps, ConnectionPermit};
use crate::listener::io::{Screen, ScreenedIo};
use crate::listener::screen::FrameScreen;

/// Connections at once; an operator and a scraper need a handful, and each open page has a stream.
const CONNECTIONS: usize = 64;
/// From one /24 or /64: the others stay for everybody else.
const CONNECTIONS_PER_ADDRESS: usize = 48;
/// For a handshake, for a head, between two requests, and for a write that makes no progress.
const PATIENCE: Duration = Duration::from_secs(10);
/// After this a connection over HTTP/2 with nothing under way is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Fields in a head.
const HEADERS: usize = 64;
/// Bytes of a head.
const HEAD_BYTES: usize = 16 * 1024;

/// What is known of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection {
    /// None at the Unix socket.
    pub peer: Option<IpAddr>,
    /// The address that it came to.
    pub local: Option<IpAddr>,
    pub tls: bool,
    /// The client showed a certificate of one of the authorities.
    pub certified: bool,
}

enum Listener {
    Tcp(TcpListener),
    /// With the file that is removed at the end.
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "held for its end")] SocketFile,
    ),
}

enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(Stream::Tcp(stream, peer))
            }
            Listener::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

/// Accepts until `stop` turns true. Must run inside a `LocalSet`.
pub async fn accept(bound: Bound, state: State, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let listener = match bound {
        Bound::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
        Bound::Unix(listener, file) => Listener::Unix(UnixListener::from_std(listener)?, file),
    };
    let caps = ConnectionCaps::new(CONNECTIONS, CONNECTIONS_PER_ADDRESS);
    let routes = router(state.clone());
    loop {
        let stream = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection to the admin port could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            }
        };
        let (peer, socket) = match &stream {
            Stream::Tcp(_, peer) => (peer.ip().to_canonical(), false),
            Stream::Unix(_) => (IpAddr::V4(Ipv4Addr::LOCALHOST), true),
        };
        match caps.enter(peer, socket) {
            Ok(permit) => {
                tokio::task::spawn_local(serve(stream, state.clone(), routes.clone(), permit));
            }
            Err(_) => turn_away(&stream, state.door.tls.is_some()),
        }
    }
}

/// Says that there is no place, without waiting for anything. Under TLS it would take a handshake.
fn turn_away(stream: &Stream, tls: bool) {
    let body = r#"{"status":503,"title":"Service Unavailable","detail":"too many connections are open","code":"too_many_connections"}"#;
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = match stream {
        _ if tls => Ok(0),
        Stream::Tcp(stream, _) => stream.try_write(text.as_bytes()),
        Stream::Unix(stream) => stream.try_write(text.as_bytes()),
    };
}

async fn serve(stream: Stream, state: State, routes: Router, _permit: ConnectionPermit) {
    match (stream, &state.door.tls) {
        (Stream::Unix(stream), _) => http1(stream, Connection::default(), routes, pending()).await,
        (Stream::Tcp(stream, peer), None) => {
            let connection = over_tcp(&stream, peer);
            http1(stream, connection, routes, pending()).await;
        }
        (Stream::Tcp(stream, peer), Some(tls)) => {
            let mut connection = over_tcp(&stream, peer);
            let mut clients = tls.clients();
            // Whoever showed a certificate may have one that is not taken any more.
            let outdated = async move {
                if clients.changed().await.is_err() {
                    pending().await
                }
            };
            let acceptor = TlsAcceptor::from(tls.config());
            let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else {
                return;
            };
            let agreed = stream.get_ref().1;
            let http2_agreed = agreed.alpn_protocol() == Some(b"h2");
            connection.tls = true;
            connection.certified = agreed.peer_certificates().is_some();
            match http2_agreed {
                true => http2(stream, connection, routes, outdated).await,
                false => http1(stream, connection, routes, outdated).await,
            }
        }
    }
}

fn over_tcp(stream: &TcpStream, peer: SocketAddr) -> Connection {
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok();
    Connection {
        peer: Some(peer.ip().to_canonical()),
        local: local.map(|local| local.ip().to_canonical()),
        ..Connection::default()
    }
}

async fn answer(
    mut request: Request<Incoming>,
    connection: Connection,
    mut routes: Router,
) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(connection);
    routes.call(request).await
}

/// Serves until `leave`; what is under way then has a moment to end.
async fn http1<T>(
    stream: T,
    connection: Connection,
    routes: Router,
    leave: impl Future<Output = ()>,
) where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request| answer(request, connection, routes.clone()));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES);
    let io = ScreenedIo::new(stream, Screen::Off, PATIENCE, PATIENCE);
    let mut served = pin!(builder.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        _ = served.as_mut() => return,
        () = leave => served.as_mut().graceful_shutdown(),
    }
    let _ = timeout(PATIENCE, served).await;
}

/// What is under way on one connection; a body that is still being sent is.
#[derive(Clone, Default)]
struct Busy(Arc<AtomicUsize>);

struct UnderWay(Busy);

impl Busy {
    fn begin(&self) -> UnderWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Resolves once nothing has been under way for some time.
    async fn idle(&self) {
        let mut quiet = false;
        loop {
            tokio::time::sleep(IDLE / 2).await;
            match (self.0.load(Ordering::Relaxed), quiet) {
                (0, true) => return,
                (0, false) => quiet = true,
                (_, _) => quiet = false,
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// As [`http1`].
async fn http2<T>(
    stream: T,
    connection: Connection,
    routes: Router,
    leave: impl Future<Output = ()>,
) where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let busy = Busy::default();
    let left = Arc::new(AtomicBool::new(false));
    let service = {
        let (busy, left) = (busy.clone(), left.clone());
        service_fn(move |request| {
            let (under_way, routes) = (busy.begin(), routes.clone());
            // Who does not heed that the connection ends may begin more on it.
            let certified = connection.certified && !left.load(Ordering::Relaxed);
            let connection = Connection {
                certified,
                ..connection
            };
            async move {
                let response = answer(request, connection, routes).await?;
                // Kept until the body has been sent to its end.
                let keep = move |frame| {
                    let _ = &under_way;
                    frame
                };
                Ok::<_, Infallible>(response.map(|body| body.map_frame(keep)))
            }
        })
    };
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(PATIENCE);
    let screen = Screen::Http2(FrameScreen::default());
    let io = ScreenedIo::new(stream, screen, PATIENCE, PATIENCE);
    let mut served = pin!(builder.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        _ = served.as_mut() => return,
        () = busy.idle() => served.as_mut().graceful_shutdown(),
        () = leave => {
            left.store(true, Ordering::Relaxed);
            served.as_mut().graceful_shutdown();
        }
    }
    let _ = timeout(PATIENCE, served).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_idles_only_when_nothing_is_under_way() {
        let busy = Busy::default();
        let under_way = busy.begin();
        let idle = timeout(IDLE * 10, busy.idle());
        assert!(idle.await.is_err());
        drop(under_way);
        assert!(timeout(IDLE * 2, busy.idle()).await.is_ok());
    }
}
