//! The accept loop of one core: PROXY header, TLS, HTTP/1.1 or HTTP/2, drain.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::listener::address::AddressSet;
use crate::listener::caps::{ByteBudget, ConnectionCaps, ConnectionPermit};
use crate::listener::io::{Screen, ScreenedIo};
use crate::listener::screen::{FrameScreen, Framing, HeadScreen};
use crate::listener::strict::{self, HeadLimits};
use crate::listener::{Body, Handler, Incoming, Malformed, proxy};
use crate::message::Answer;
use crate::telemetry::{Metrics, ReasonLabel, field};

/// How long each part of a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub proxy_header: Duration,
    pub handshake: Duration,
    /// From the first byte of a head to its end.
    pub head: Duration,
    /// The whole body.
    pub body: Duration,
    /// Between requests.
    pub idle: Duration,
    /// A write that makes no progress.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Timeouts {
            proxy_header: secs(5),
            handshake: secs(10),
            head: secs(10),
            body: secs(10),
            idle: secs(30),
            write: secs(10),
        }
    }
}

/// Everything that the accept loops of all cores share.
pub struct Shared {
    pub tls: Arc<rustls::ServerConfig>,
    pub timeouts: Timeouts,
    pub head: HeadLimits,
    pub caps: Arc<ConnectionCaps>,
    pub bodies: Arc<ByteBudget>,
    /// Proxies of the merchant's own. They are not counted per address.
    pub trusted: AddressSet,
    /// Every connection comes from a trusted proxy and begins with a PROXY header.
    pub proxy_protocol: bool,
    pub metrics: Metrics,
}

/// Opens `count` sockets on one address, among which the kernel shares the connections
/// (SO_REUSEPORT). With port 0 all get the port that the first was given.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = |address| -> io::Result<Socket> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        Ok(socket)
    };
    // With SO_REUSEPORT the kernel would give us a share of the connections of a gateway that runs
    // there already, with another store. Without it, it says so.
    socket(address)?.bind(&address.into())?;
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        let listener: std::net::TcpListener = socket.into();
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Serves one listener until `stop` turns true, then finishes what is under way for at most
/// `drain`. Must run inside a `LocalSet` of a current-thread runtime.
pub async fn run<H: Handler>(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    handler: Rc<H>,
    mut stop: watch::Receiver<bool>,
    drain: Duration,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    let until_stop = stop.clone();
    let mut pause = Duration::ZERO;
    // A moment, not a span: connections that end meanwhile must not make the pause begin anew.
    let mut resume = Instant::now();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => note_panic(ended),
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, resume) => match accepted {
                Ok((stream, peer)) => {
                    pause = Duration::ZERO;
                    begin(stream, peer, &shared, &handler, &until_stop, &mut connections);
                }
                Err(error) => {
                    // Out of file descriptors, say: trying again at once would spin.
                    pause = (pause * 2).clamp(Duration::from_millis(10), Duration::from_secs(1));
                    resume = Instant::now() + pause;
                    tracing::warn!(%error, "a connection could not be accepted");
                }
            }
        }
    }
    // What the kernel has already taken for this socket would be reset by closing it.
    while let Ok(Ok((stream, peer))) = timeout(Duration::ZERO, listener.accept()).await {
        begin(
            stream,
            peer,
            &shared,
            &handler,
            &until_stop,
            &mut connections,
        );
    }
    drop(listener);
    let _ = timeout(drain, async {
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    })
    .await;
    connections.abort_all();
    Ok(())
}

async fn accept(listener: &TcpListener, from: Instant) -> io::Result<(TcpStream, SocketAddr)> {
    if from > Instant::now() {
        tokio::time::sleep_until(from).await;
    }
    listener.accept().await
}

/// A panic ends its own connection, and no other; but it is a bug, and must not pass in silence.
fn note_panic(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("a connection panicked");
    }
}

fn begin<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    handler: &Rc<H>,
    stop: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let peer = peer.ip().to_canonical();
    let permit = match shared.caps.enter(peer, shared.trusted.contains(peer)) {
        Ok(permit) => permit,
        Err(full) => {
            let label = ReasonLabel {
                reason: full.code(),
            };
            shared
                .metrics
                .connections_refused
                .get_or_create(&label)
                .inc();
            return;
        }
    };
    let _ = stream.set_nodelay(true);
    connections.spawn_local(connection(
        stream,
        peer,
        shared.clone(),
        handler.clone(),
        stop.clone(),
        permit,
    ));
}

async fn connection<H: Handler>(
    mut stream: TcpStream,
    mut peer: IpAddr,
    shared: Arc<Shared>,
    handler: Rc<H>,
    stop: watch::Receiver<bool>,
    _permit: ConnectionPermit,
) {
    shared.metrics.connections.inc();
    let _open = OpenGauge(&shared.metrics);
    if shared.proxy_protocol {
        let refused = |reason| {
            shared
                .metrics
                .connections_refused
                .get_or_create(&ReasonLabel { reason })
                .inc();
        };
        if !shared.trusted.contains(peer) {
            return refused("proxy_untrusted");
        }
        match timeout(
            shared.timeouts.proxy_header,
            proxy::read_header(&mut stream),
        )
        .await
        {
            Ok(Ok(Some(client))) => peer = client,
            Ok(Ok(None)) => {}
            Ok(Err(_)) | Err(_) => return refused("proxy_header"),
        }
    }
    let acceptor = TlsAcceptor::from(shared.tls.clone());
    let stream = match timeout(shared.timeouts.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            shared.metrics.handshake_failures.inc();
            tracing::debug!({ field::PEER } = %peer, %error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            shared.metrics.handshake_failures.inc();
            return;
        }
    };
    let served = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2(stream, peer, &shared, handler, stop).await,
        Some(_) | None => http1(stream, peer, &shared, handler, stop).await,
    };
    if let Err(error) = served {
        tracing::debug!({ field::PEER } = %peer, %error, "connection ended");
    }
}

struct OpenGauge<'m>(&'m Metrics);

impl Drop for OpenGauge<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// How busy a connection is: what decides whether it idles.
struct Activity {
    requests: Cell<usize>,
    since: Cell<Instant>,
}

impl Activity {
    fn new() -> Rc<Self> {
        Rc::new(Activity {
            requests: Cell::new(0),
            since: Cell::new(Instant::now()),
        })
    }

    fn begin(self: &Rc<Self>) -> Busy {
        self.requests.set(self.requests.get() + 1);
        Busy(self.clone())
    }

    /// Counts what idles from now.
    fn touch(&self) {
        self.since.set(Instant::now());
    }

    /// Resolves once nothing has been under way for `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let until = self.since.get() + limit;
            tokio::time::sleep_until(until.max(Instant::now() + Duration::from_millis(10))).await;
            if self.requests.get() == 0 && self.since.get() + limit <= Instant::now() {
                return;
            }
            if self.requests.get() > 0 {
                tokio::time::sleep(limit).await;
            }
        }
    }
}

struct Busy(Rc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get().saturating_sub(1));
        self.0.since.set(Instant::now());
    }
}

async fn http1<H: Handler>(
    stream: TlsStream<TcpStream>,
    peer: IpAddr,
    shared: &Arc<Shared>,
    handler: Rc<H>,
    mut stop: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let limit = shared.head.bytes + shared.head.target + 1024;
    let screen = Rc::new(RefCell::new(HeadScreen::new(limit)));
    let io = ScreenedIo::new(
        stream,
        Screen::Http1(screen.clone()),
        shared.timeouts.head,
        shared.timeouts.write,
    );
    let activity = Activity::new();
    let service = {
        let (shared, activity) = (shared.clone(), activity.clone());
        let (screen, handler) = (screen.clone(), handler.clone());
        service_fn(move |request| {
            let framing = screen.borrow_mut().next_verdict();
            let (shared, handler, busy) = (shared.clone(), handler.clone(), activity.begin());
            async move {
                let _busy = busy;
                let close = framing.chunked || framing.fault.is_some();
                let answer = respond(request, framing, peer, &shared, handler).await;
                Ok::<_, Infallible>(response(answer, close))
            }
        })
    };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // hyper counts the time between requests as time for the head; the screen has the sharper
        // limit for a head that has begun.
        .header_read_timeout(shared.timeouts.idle)
        .max_headers(shared.head.fields)
        .max_buf_size(limit.max(8192))
        .half_close(false)
        .keep_alive(true);
    let mut conn = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut stopping = false;
    loop {
        tokio::select! {
            done = conn.as_mut() => return done.inspect_err(|error| unreadable(error, peer, &*handler)),
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                activity.touch();
                conn.as_mut().graceful_shutdown();
            }
            // It connected and never asked: the drain does not wait for it to the end.
            () = activity.idle(shared.timeouts.write), if stopping => {
                if !screen.borrow().in_head() {
                    return Ok(());
                }
                activity.touch();
            }
        }
    }
}

/// What hyper cannot read it answers by itself; it is counted and shown all the same.
fn unreadable<H: Handler>(error: &hyper::Error, peer: IpAddr, handler: &H) {
    if error.is_parse_too_large() {
        handler.malformed(peer, Malformed::HeadersTooLarge);
    } else if error.is_parse() {
        handler.malformed(peer, Malformed::Unreadable);
    }
}

/// Lets hyper put the streams of an HTTP/2 connection on this core.
#[derive(Clone, Copy, Debug)]
struct ThisCore;

impl<F: Future + 'static> hyper::rt::Executor<F> for ThisCore
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn http2<H: Handler>(
    stream: TlsStream<TcpStream>,
    peer: IpAddr,
    shared: &Arc<Shared>,
    handler: Rc<H>,
    mut stop: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let screen = Screen::Http2(FrameScreen::default());
    let io = ScreenedIo::new(stream, screen, shared.timeouts.head, shared.timeouts.write);
    let activity = Activity::new();
    let service = {
        let (shared, activity) = (shared.clone(), activity.clone());
        service_fn(move |request| {
            let (shared, handler, busy) = (shared.clone(), handler.clone(), activity.begin());
            async move {
                let _busy = busy;
                // Frames carry the lengths: there is nothing for the screen to find.
                let framing = Framing {
                    fault: None,
                    chunked: false,
                };
                let answer = respond(request, framing, peer, &shared, handler).await;
                Ok::<_, Infallible>(response(answer, false))
            }
        })
    };
    let mut builder = hyper::server::conn::http2::Builder::new(ThisCore);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(u32::try_from(shared.head.bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let mut conn = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut stopping = false;
    loop {
        // Once told to go it has as long as a write: a request that was on its way when it was
        // told still arrives, and is answered.
        let patience = match stopping {
            false => shared.timeouts.idle,
            true => shared.timeouts.write,
        };
        tokio::select! {
            done = conn.as_mut() => return done,
            _ = stop.wait_for(|stop| *stop), if !stopping => {}
            () = activity.idle(patience) => {
                if stopping {
                    // It was told and has not gone.
                    return Ok(());
                }
            }
        }
        stopping = true;
        activity.touch();
        conn.as_mut().graceful_shutdown();
    }
}

async fn respond<H: Handler>(
    request: http::Request<hyper::body::Incoming>,
    framing: Framing,
    peer: IpAddr,
    shared: &Shared,
    handler: Rc<H>,
) -> Answer {
    let (parts, body) = request.into_parts();
    match strict::inspect(&parts, framing, peer, shared.head) {
        Ok(head) => {
            let body = Body::from_wire(body, shared.bodies.share(), shared.timeouts.body);
            handler.handle(Incoming { head, body }).await
        }
        Err(why) => handler.malformed(peer, why),
    }
}

fn response(answer: Answer, close: bool) -> http::Response<Full<Bytes>> {
    let mut response = http::Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers.iter() {
        // Answers come from compiled rules, where both were checked.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            response.headers_mut().append(name, value);
        }
    }
    if close {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
