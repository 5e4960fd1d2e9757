//! One request to one destination, and what came of it. HTTP/1.1 and HTTP/2 on connections of our
//! own; no redirect is followed and nothing of the environment is asked.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, RETRY_AFTER};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::connect::{self, Tls};
use crate::inbox::store::{Pending, Response as Kept};
use crate::relay::error::AttemptError;
use crate::relay::http2;
use crate::relay::mux::{Mux, Stream};
use crate::relay::pool::{Connection, IDLE_MAX, Pool};
use crate::relay::request::Outgoing;
use crate::relay::target::Target;

/// So much of an answer's body is read, so that its connection can be used again. After more the
/// connection is closed; that the body is long says nothing against the status before it.
pub const BODY_MAX: usize = 64 * 1024;

/// Largest head of an answer.
pub(super) const HEAD_MAX: usize = 32 * 1024;
const FIELDS_MAX: usize = 100;

/// How long the body of an answer that was no success is waited for: its status says all.
const REMAINS_MAX: Duration = Duration::from_secs(1);

/// Times that a request is sent again which the other side says it did not look at.
const UNPROCESSED_MAX: usize = 2;

/// What a destination answered: a whole answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub status: StatusCode,
    /// The value of `Retry-After`, unread.
    pub retry_after: Option<Bytes>,
    /// What may be kept of it.
    pub response: Kept,
}

/// So much of an answer's body may be kept.
pub const KEPT_MAX: usize = 16 << 10;

/// Fields of an answer that are kept: what it is, when it wants to be asked again, who gave it.
/// Nothing that could be a credential.
const FIELDS_KEPT: [&str; 9] = [
    "content-type",
    "content-length",
    "content-language",
    "date",
    "location",
    "request-id",
    "retry-after",
    "server",
    "x-request-id",
];

/// Longer values are not kept.
const VALUE_MAX: usize = 256;

fn kept_fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let each = FIELDS_KEPT.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        (value.len() <= VALUE_MAX).then(|| ((*name).to_owned(), value.to_owned()))
    });
    each.collect()
}

/// A way to reach destinations. The caller ends an attempt that takes longer than `within` by
/// dropping it; `within` is for dividing the time.
pub trait Transport: Send + Sync + 'static {
    fn send<'a>(
        &'a self,
        to: &'a Target,
        request: Outgoing,
        within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>>;

    /// Called about once a second: gives back what is not needed any more.
    fn tidy(&self) {}
}

/// HTTP/1.1 and HTTP/2 over TCP, TLS or a Unix socket.
#[derive(Debug)]
pub struct HttpClient {
    tls: Arc<Tls>,
    pool: Arc<Pool>,
    mux: Mux,
}

/// A connection for one request.
enum Way {
    /// HTTP/1.1; true when it was used before, and may have been closed meanwhile.
    Plain(Connection, bool),
    Shared(Stream),
}

/// What became of a request on a shared connection.
enum Shared {
    Done(Result<Answered, AttemptError>),
    /// The other side has not looked at it, and says so.
    Unprocessed,
}

impl HttpClient {
    pub fn new(tls: Arc<Tls>) -> Self {
        HttpClient {
            tls,
            pool: Arc::default(),
            mux: Mux::default(),
        }
    }

    /// Connections that wait for their next request.
    pub fn idle(&self) -> usize {
        self.pool.len()
    }

    /// Connections that carry many requests at once.
    pub fn shared(&self) -> usize {
        self.mux.len()
    }

    /// One request, written at most once to a connection that took it: it goes out again only
    /// where nothing of it was sent, or where the other side says that it did nothing with it.
    async fn exchange(
        &self,
        to: &Target,
        mut request: Outgoing,
        within: Duration,
    ) -> Result<Answered, AttemptError> {
        let part = connect::part(within);
        // What waited may all have been closed at once: only the first try takes such a one.
        let mut fresh = false;
        for again in 0..=UNPROCESSED_MAX {
            let way = timeout(part, self.way(to, part, fresh));
            match way.await.map_err(|_| AttemptError::ConnectTimeout)?? {
                Way::Shared(stream) => {
                    match self
                        .over_shared(stream, http2::request(&request, &to.address)?)
                        .await
                    {
                        Shared::Unprocessed if again < UNPROCESSED_MAX => {}
                        Shared::Unprocessed => break,
                        Shared::Done(result) => return result,
                    }
                }
                Way::Plain(mut connection, used) => {
                    match connection.sender.try_send_request(request).await {
                        Ok(response) => return self.read(to, connection, response).await,
                        Err(mut failed) => match failed.take_message() {
                            // The other side closed it before a byte of the request was written.
                            Some(unsent) if used => (request, fresh) = (unsent, true),
                            Some(_) | None => return Err(broken(&failed.into_error())),
                        },
                    }
                }
            }
        }
        Err(AttemptError::ClosedEarly)
    }

    /// A place on a connection that is there, or on a new one.
    async fn way(&self, to: &Target, within: Duration, fresh: bool) -> Result<Way, AttemptError> {
        if !fresh && let Some(connection) = self.pool.take(to) {
            return Ok(Way::Plain(connection, true));
        }
        if !to.may_speak_http2() {
            return self.open(to, within).await;
        }
        if let Some(stream) = self.mux.take(to.key()) {
            return Ok(Way::Shared(stream));
        }
        // Many attempts begin at once: the first opens, and the others share what it opened.
        let opening = self.mux.opening(to.key());
        let _opening = match &opening {
            Some(opening) => Some(opening.lock().await),
            None => None,
        };
        match self.mux.take(to.key()) {
            Some(stream) => Ok(Way::Shared(stream)),
            None => self.open(to, within).await,
        }
    }

    async fn open(&self, to: &Target, within: Duration) -> Result<Way, AttemptError> {
        let http2 = to.may_speak_http2();
        if let Some(path) = &to.address.socket {
            let stream = connect::socket(path, within).await?;
            return self.begin(to, TokioIo::new(stream), http2).await;
        }
        let stream = self.dial(to, within).await?;
        if !to.address.https {
            return self.begin(to, TokioIo::new(stream), http2).await;
        }
        let (tls, host) = (to.tls.as_ref().unwrap_or(&self.tls), &to.address.host);
        let (stream, http2) = match http2 {
            true => connect::tls_http2(tls, host, stream).await?,
            false => (connect::tls(tls, host, stream).await?, false),
        };
        self.begin(to, TokioIo::new(stream), http2).await
    }

    /// The addresses are looked at after the name was looked up, and those are dialled: a name
    /// that changes its mind between the two gains nothing.
    async fn dial(&self, to: &Target, within: Duration) -> Result<TcpStream, AttemptError> {
        let end = Instant::now() + within;
        let mut found = connect::addresses(&to.address.host, to.address.port, within).await?;
        found.retain(|address| to.allows(address.ip()));
        if found.is_empty() {
            return Err(AttemptError::AddressRefused);
        }
        Ok(connect::dial(&found, end).await?)
    }

    async fn begin<T: Read + Write + Unpin + Send + 'static>(
        &self,
        to: &Target,
        io: T,
        http2: bool,
    ) -> Result<Way, AttemptError> {
        if http2 {
            let shared = http2::start(io).await?;
            return Ok(Way::Shared(self.mux.add(to.key(), shared)));
        }
        if to.may_speak_http2() {
            self.mux.chose_plain(to.key());
        }
        Ok(Way::Plain(start(io).await?, false))
    }

    async fn over_shared(&self, stream: Stream, request: Outgoing) -> Shared {
        let response = match stream.sender().try_send_request(request).await {
            Ok(response) => response,
            Err(mut failed) => {
                let unsent = failed.take_message().is_some();
                let error = failed.into_error();
                if http2::unprocessed(&error) || (unsent && stream.proved()) {
                    return Shared::Unprocessed;
                }
                let broken = stream.failure().unwrap_or_else(|| http2::broken(&error));
                // A single request that was reset says nothing against the others.
                if http2::was_reset(&error) {
                    stream.reset();
                }
                return Shared::Done(Err(broken));
            }
        };
        let (head, body) = response.into_parts();
        let read = read_answer(&head, body).await;
        match &read {
            Ok(_) => stream.ended(),
            Err(_) => drop(stream),
        }
        Shared::Done(read.map(|(answered, _)| answered))
    }

    /// Reads the body, and keeps the connection if it came to its end.
    async fn read(
        &self,
        to: &Target,
        mut connection: Connection,
        response: Response<Incoming>,
    ) -> Result<Answered, AttemptError> {
        let (head, body) = response.into_parts();
        let (answered, ended) = read_answer(&head, body).await?;
        if ended {
            connection.idle_max = idle_max(&head.headers);
            self.pool.give(to, connection);
        }
        Ok(answered)
    }
}

impl Transport for HttpClient {
    fn send<'a>(
        &'a self,
        to: &'a Target,
        request: Outgoing,
        within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>> {
        Box::pin(self.exchange(to, request, within))
    }

    fn tidy(&self) {
        self.pool.tidy();
        self.mux.tidy();
    }
}

/// The answer, and whether its body came to its end.
async fn read_answer(head: &Parts, body: Incoming) -> Result<(Answered, bool), AttemptError> {
    let mut answered = Answered {
        status: head.status,
        retry_after: head
            .headers
            .get(RETRY_AFTER)
            .map(|value| Bytes::copy_from_slice(value.as_bytes())),
        response: Kept {
            headers: kept_fields(&head.headers),
            ..Kept::default()
        },
    };
    let mut beginning = BytesMut::new();
    let ended = if head.status.is_success() {
        // A success that breaks off was not meant: an application that fails half way through
        // its answer has sent the 200 already.
        read_body(body, &mut beginning).await?
    } else {
        let read = read_body(body, &mut beginning);
        matches!(timeout(REMAINS_MAX, read).await, Ok(Ok(true)))
    };
    // Room for one byte more tells a body that fits from one that goes on.
    answered.response.cut = !ended || beginning.len() > KEPT_MAX;
    beginning.truncate(KEPT_MAX);
    answered.response.body = beginning.freeze();
    Ok((answered, ended))
}

async fn start<T: Read + Write + Unpin + Send + 'static>(
    io: T,
) -> Result<Connection, AttemptError> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX * 2)
        .max_header_size(HEAD_MAX)
        .max_headers(FIELDS_MAX)
        .handshake::<T, Full<Bytes>>(io)
        .await
        .map_err(|error| broken(&error))?;
    let task = tokio::spawn(async move {
        // What goes wrong here is told to the request under way.
        let _ = connection.await;
    });
    Ok(Connection::new(sender, task.abort_handle()))
}

/// True when the body came to its end within [`BODY_MAX`]. Its beginning, and a byte more than is
/// kept, goes into `beginning`.
async fn read_body(mut body: Incoming, beginning: &mut BytesMut) -> Result<bool, AttemptError> {
    let mut read = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        if let Some(data) = frame.data_ref() {
            let room = (KEPT_MAX + 1).saturating_sub(beginning.len());
            beginning.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        }
        read = read.saturating_add(frame.data_ref().map_or(0, Buf::remaining));
        if read > BODY_MAX {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How long the other side keeps a connection, less a second for the way: some close after five
/// seconds, and a request that meets the closing is an attempt lost.
fn idle_max(headers: &HeaderMap) -> Duration {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let value = headers
        .get(KEEP_ALIVE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let seconds = value
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout=")?.parse::<u64>().ok());
    seconds.map_or(IDLE_MAX, |seconds| {
        Duration::from_secs(seconds.saturating_sub(1)).min(IDLE_MAX)
    })
}

pub(super) fn broken(error: &hyper::Error) -> AttemptError {
    if error.is_parse() {
        return AttemptError::BadAnswer;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        let http2 = cause.downcast_ref::<h2::Error>();
        let io = http2.and_then(h2::Error::get_io);
        if let Some(error) = io.or_else(|| cause.downcast_ref::<io::Error>()) {
            return broken_io(error);
        }
        source = cause.source();
    }
    AttemptError::ClosedEarly
}

fn broken_io(error: &io::Error) -> AttemptError {
    // With TLS 1.3 the other side refuses a handshake only after it seemed done.
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
        return AttemptError::Tls;
    }
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::InvalidInput => AttemptError::BadAnswer,
        _ => AttemptError::ClosedEarly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::DestinationName;
    use crate::rule::{Address, Destination};
    use http::Request;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn to(port: u16) -> Target {
        let host = "127.0.0.1".to_owned();
        let address = Address {
            https: false,
            authority: format!("{host}:{port}"),
            socket: None,
            host,
            port,
            path: "/".into(),
        };
        Target::new(&Destination::new(DestinationName::main(), address), None)
    }

    /// A connection that waits in the pool, and its other end.
    async fn waiting(client: &HttpClient, to: &Target) -> tokio::io::DuplexStream {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let mut connection = start(TokioIo::new(ours)).await.unwrap();
        connection.sender.ready().await.unwrap();
        client.pool.give(to, connection);
        assert_eq!(client.idle(), 1);
        theirs
    }

    #[tokio::test]
    async fn a_request_that_met_the_closing_of_its_connection_unsent_goes_over_a_fresh_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = to(listener.local_addr().unwrap().port());
        let client = HttpClient::new(Arc::new(Tls::native()));
        drop(waiting(&client, &to).await);
        // Nothing runs before the first poll: the pool still takes the connection for a good one.
        let request = Request::new(Full::new(Bytes::from_static(b"once")));
        let sent = client.exchange(&to, request, Duration::from_secs(5));
        let served = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 4096];
            let read = socket.read(&mut seen).await.unwrap();
            assert!(seen[..read].starts_with(b"GET / HTTP/1.1\r\n"));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(answer).await.unwrap();
        };
        let both = async { tokio::join!(sent, served).0 };
        let answered = timeout(Duration::from_secs(10), both).await.unwrap();
        assert_eq!(answered.map(|answered| answered.status), Ok(StatusCode::OK));
    }

    #[tokio::test]
    async fn a_request_that_was_sent_is_not_sent_again_by_itself() {
        let to = to(1);
        let client = HttpClient::new(Arc::new(Tls::native()));
        let mut theirs = waiting(&client, &to).await;
        let request = Request::new(Full::new(Bytes::from_static(b"once")));
        let sent =
            tokio::spawn(
                async move { client.exchange(&to, request, Duration::from_secs(5)).await },
            );
        let mut seen = [0; 16];
        theirs.read_exact(&mut seen).await.unwrap();
        drop(theirs);
        assert_eq!(sent.await.unwrap(), Err(AttemptError::ClosedEarly));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_waited_too_long_is_closed() {
        let to = to(1);
        let client = HttpClient::new(Arc::new(Tls::native()));
        let mut theirs = waiting(&client, &to).await;
        tokio::time::sleep(IDLE_MAX - Duration::from_millis(10)).await;
        client.tidy();
        assert_eq!(client.idle(), 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(client.pool.take(&to).is_none());
        client.tidy();
        assert_eq!(
            (client.idle(), theirs.read(&mut [0; 1]).await.unwrap()),
            (0, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_used_again_and_again_is_given_up_in_the_end() {
        let to = to(1);
        let client = HttpClient::new(Arc::new(Tls::native()));
        let mut theirs = waiting(&client, &to).await;
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(14)).await;
            let connection = client.pool.take(&to).unwrap();
            client.pool.give(&to, connection);
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(client.pool.take(&to).is_none());
        client.tidy();
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
