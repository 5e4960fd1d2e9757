//! One request to one destination, and what came of it. HTTP/1.1 on connections of our own; no
//! redirect is followed and nothing of the environment is asked.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{HeaderMap, HeaderName, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::connect::{self, Tls};
use crate::inbox::store::Pending;
use crate::relay::error::AttemptError;
use crate::relay::pool::{Connection, IDLE_MAX, Pool};
use crate::relay::request::Outgoing;
use crate::rule::Address;

/// So much of an answer's body is read, so that its connection can be used again. After more the
/// connection is closed; that the body is long says nothing against the status before it.
pub const BODY_MAX: usize = 64 * 1024;

/// Largest head of an answer.
const HEAD_MAX: usize = 32 * 1024;
const FIELDS_MAX: usize = 100;

/// How long the body of an answer that was no success is waited for: its status says all.
const REMAINS_MAX: Duration = Duration::from_secs(1);

/// What a destination answered: a whole answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub status: StatusCode,
    /// The value of `Retry-After`, unread.
    pub retry_after: Option<Bytes>,
}

/// A way to reach destinations. The caller ends an attempt that takes longer than `within` by
/// dropping it; `within` is for dividing the time.
pub trait Transport: Send + Sync + 'static {
    fn send<'a>(
        &'a self,
        destination: &'a Address,
        request: Outgoing,
        within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>>;

    /// Called about once a second: gives back what is not needed any more.
    fn tidy(&self) {}
}

/// HTTP/1.1 over TCP or TLS.
#[derive(Debug)]
pub struct HttpClient {
    tls: Arc<Tls>,
    pool: Arc<Pool>,
}

impl HttpClient {
    pub fn new(tls: Arc<Tls>) -> Self {
        HttpClient {
            tls,
            pool: Arc::default(),
        }
    }

    /// Connections that wait for their next request.
    pub fn idle(&self) -> usize {
        self.pool.len()
    }

    async fn exchange(
        &self,
        destination: &Address,
        mut request: Outgoing,
        within: Duration,
    ) -> Result<Answered, AttemptError> {
        if let Some(mut waiting) = self.pool.take(destination) {
            match waiting.sender.try_send_request(request).await {
                Ok(response) => return self.read(destination, waiting, response).await,
                Err(mut failed) => match failed.take_message() {
                    // The other side closed it before a byte of the request was written.
                    Some(unsent) => request = unsent,
                    None => return Err(broken(&failed.into_error())),
                },
            }
        }
        let part = connect::part(within);
        let opened = timeout(part, self.open(destination, part)).await;
        let mut fresh = opened.map_err(|_| AttemptError::ConnectTimeout)??;
        let response = fresh
            .sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        self.read(destination, fresh, response).await
    }

    async fn open(
        &self,
        destination: &Address,
        within: Duration,
    ) -> Result<Connection, AttemptError> {
        let stream = connect::tcp(&destination.host, destination.port, within).await?;
        if destination.https {
            let stream = connect::tls(&self.tls, &destination.host, stream).await?;
            start(TokioIo::new(stream)).await
        } else {
            start(TokioIo::new(stream)).await
        }
    }

    /// Reads the body, and keeps the connection if it came to its end.
    async fn read(
        &self,
        destination: &Address,
        mut connection: Connection,
        response: Response<Incoming>,
    ) -> Result<Answered, AttemptError> {
        let (head, body) = response.into_parts();
        let answered = Answered {
            status: head.status,
            retry_after: head
                .headers
                .get(RETRY_AFTER)
                .map(|value| Bytes::copy_from_slice(value.as_bytes())),
        };
        let ended = if head.status.is_success() {
            // A success that breaks off was not meant: an application that fails half way through
            // its answer has sent the 200 already.
            read_body(body).await?
        } else {
            matches!(timeout(REMAINS_MAX, read_body(body)).await, Ok(Ok(true)))
        };
        if ended {
            connection.idle_max = idle_max(&head.headers);
            self.pool.give(destination, connection);
        }
        Ok(answered)
    }
}

impl Transport for HttpClient {
    fn send<'a>(
        &'a self,
        destination: &'a Address,
        request: Outgoing,
        within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>> {
        Box::pin(self.exchange(destination, request, within))
    }

    fn tidy(&self) {
        self.pool.tidy();
    }
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

/// True when the body came to its end within [`BODY_MAX`].
async fn read_body(mut body: Incoming) -> Result<bool, AttemptError> {
    let mut read = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
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

fn broken(error: &hyper::Error) -> AttemptError {
    if error.is_parse() {
        return AttemptError::BadAnswer;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            // With TLS 1.3 the other side refuses a handshake only after it seemed done.
            if cause
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>())
            {
                return AttemptError::Tls;
            }
            if matches!(
                cause.kind(),
                ErrorKind::InvalidData | ErrorKind::InvalidInput
            ) {
                return AttemptError::BadAnswer;
            }
        }
        source = cause.source();
    }
    AttemptError::ClosedEarly
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn to(port: u16) -> Address {
        let host = "127.0.0.1".to_owned();
        Address {
            https: false,
            authority: format!("{host}:{port}"),
            socket: None,
            host,
            port,
            path: "/".into(),
        }
    }

    /// A connection that waits in the pool, and its other end.
    async fn waiting(client: &HttpClient, to: &Address) -> tokio::io::DuplexStream {
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
}
