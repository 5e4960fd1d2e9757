//! What is particular to HTTP/2: how a request looks, how a connection begins, and which of its
//! errors say that a request was not looked at.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Uri, Version};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::relay::client::{self, BODY_MAX, HEAD_MAX};
use crate::relay::error::AttemptError;
use crate::relay::mux::{Learned, Shared};
use crate::relay::request::Outgoing;
use crate::rule::Address;

/// A shared connection on which nothing came for so long is asked whether it is alive, and is
/// closed when it does not say so in time.
const PING_AFTER: Duration = Duration::from_secs(10);
const PING_MAX: Duration = Duration::from_secs(10);

/// As HTTP/2 has it: the host is part of the target, and only there (RFC 9113, section 8.3.1).
pub fn request(of: &Outgoing, to: &Address) -> Result<Outgoing, AttemptError> {
    let mut request = of.clone();
    let scheme = if to.https { "https" } else { "http" };
    let target = request.uri().path_and_query().map_or("/", |t| t.as_str());
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(to.authority.as_str())
        .path_and_query(target)
        .build()
        .map_err(|_| AttemptError::Unsendable)?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(HOST);
    Ok(request)
}

/// Begins to speak on a connection that nothing was sent on yet.
pub async fn start<T: Read + Write + Unpin + Send + 'static>(
    io: T,
) -> Result<Arc<Shared>, AttemptError> {
    let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_MAX as u32)
        .initial_stream_window_size(BODY_MAX as u32)
        .initial_connection_window_size(16 * BODY_MAX as u32)
        // While requests are under way: a path that went dead is noticed.
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_MAX)
        // The others wait until the other side has said how many it takes: what it has to refuse
        // would cost another connection.
        .initial_max_send_streams(1)
        .handshake::<T, Full<Bytes>>(io)
        .await
        .map_err(|error| broken(&error))?;
    let learned = Arc::new(Learned::default());
    let teach = learned.clone();
    let task = tokio::spawn(poll_fn(move |context| {
        let polled = Pin::new(&mut connection).poll(context);
        let most = connection.current_max_send_streams();
        if most > 1 {
            teach.allows(most);
        }
        polled.map(|ended| {
            if let Err(error) = ended {
                teach.failed(broken(&error));
            }
        })
    }));
    Ok(Shared::new(sender, task.abort_handle(), learned))
}

/// The other side did nothing with the request, and says so: it is going away and names the last
/// request that it looked at, or refuses this one (RFC 9113, sections 6.8 and 8.7). h2 tells the
/// former only to streams above the one that was named.
pub fn unprocessed(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (error.is_go_away() || refused)
    })
}

pub fn was_reset(error: &hyper::Error) -> bool {
    http2_error(error).is_some_and(|error| error.is_reset() && error.is_remote())
}

fn http2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref() {
            return Some(error);
        }
        source = cause.source();
    }
    None
}

pub fn broken(error: &hyper::Error) -> AttemptError {
    if http2_error(error).is_some_and(h2::Error::is_library) {
        return AttemptError::BadAnswer;
    }
    match client::broken(error) {
        // Of an error below it h2 keeps only the kind, and TLS is what has data to complain of.
        AttemptError::BadAnswer => AttemptError::Tls,
        other => other,
    }
}
