//! One request as HTTP/1.1 writes it, and one answer as it is read: bounded, or not at all.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use data_encoding::BASE64;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};

use crate::remote::{Outbound, RemoteAnswer, RemoteFault};
use crate::secret::Secret;

/// Longest body of an answer, in bytes: a set of keys is some kilobytes.
pub const BODY_MAX: usize = 256 * 1024;

/// Largest head of an answer, in bytes.
const HEAD_MAX: usize = 32 * 1024;
const FIELDS_MAX: usize = 100;

const USER_AGENT: &str = concat!("callseal/", env!("CARGO_PKG_VERSION"));

/// Fields that the client alone writes: they say how a message is framed and for whom it is.
const OWN: [HeaderName; 12] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::ACCEPT_ENCODING,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Method, target, fields and body of one message; where to stands in the [`Outbound`].
pub type Message = Request<Full<Bytes>>;

/// The request with its proof of who asks, which the caller has made (`Authorization`).
pub fn message(request: &Outbound, proof: Option<HeaderValue>) -> Result<Message, RemoteFault> {
    let mut message = start(
        request,
        request.method.clone(),
        &request.target,
        request.body.clone(),
    )?;
    let fields = message.headers_mut();
    for (name, value) in request.headers.iter() {
        let name = HeaderName::from_bytes(name).map_err(|_| RemoteFault::Unsendable)?;
        let twice = proof.is_some() && name == header::AUTHORIZATION;
        if OWN.contains(&name) || twice {
            return Err(RemoteFault::Unsendable);
        }
        let mut value = HeaderValue::from_bytes(value).map_err(|_| RemoteFault::Unsendable)?;
        value.set_sensitive(true);
        // Some hosts want to hear a name of their choice.
        match name == header::USER_AGENT {
            true => fields.insert(name, value).is_some(),
            false => fields.append(name, value),
        };
    }
    if !fields.contains_key(header::ACCEPT) {
        fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    }
    if let Some(proof) = proof {
        fields.insert(header::AUTHORIZATION, proof);
    }
    Ok(message)
}

/// A message with the fields that every one has, to the host of `request`.
pub fn start(
    request: &Outbound,
    method: Method,
    target: &str,
    body: Bytes,
) -> Result<Message, RemoteFault> {
    // The parser takes bytes that are not ASCII, and drops a fragment in silence.
    let plain = target.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !plain || !target.starts_with('/') {
        return Err(RemoteFault::Unsendable);
    }
    let target = PathAndQuery::try_from(target).map_err(|_| RemoteFault::Unsendable)?;
    let mut message = Request::new(Full::new(body));
    *message.method_mut() = method;
    *message.uri_mut() = target.into();
    let fields = message.headers_mut();
    let host = HeaderValue::try_from(authority(request)).map_err(|_| RemoteFault::Unsendable)?;
    fields.insert(header::HOST, host);
    fields.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    // What is not compressed cannot be larger than it says.
    let identity = HeaderValue::from_static("identity");
    fields.insert(header::ACCEPT_ENCODING, identity);
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(message)
}

/// A name or an address, and nothing that a header or a resolver could take for more.
pub fn is_host(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let name = !host.is_empty() && host.len() <= 253 && host.bytes().all(plain);
    name || host.parse::<IpAddr>().is_ok()
}

fn authority(request: &Outbound) -> String {
    let host = match request.host.parse::<Ipv6Addr>() {
        Ok(v6) => format!("[{v6}]"),
        Err(_) => request.host.clone(),
    };
    match (request.https, request.port) {
        (true, 443) | (false, 80) => host,
        (_, port) => format!("{host}:{port}"),
    }
}

/// `Bearer` (RFC 6750 §2.1).
pub fn bearer(token: &Secret) -> Result<HeaderValue, RemoteFault> {
    sensitive(&[b"Bearer ", token.expose()].concat())
}

/// `Basic` (RFC 7617 §2).
pub fn basic(user: &[u8], password: &[u8]) -> Result<HeaderValue, RemoteFault> {
    let control = |b: &u8| b.is_ascii_control();
    if user.contains(&b':') || user.iter().any(control) || password.iter().any(control) {
        return Err(RemoteFault::Unsendable);
    }
    let pair = Secret::new([user, b":", password].concat());
    sensitive(format!("Basic {}", BASE64.encode(pair.expose())).as_bytes())
}

fn sensitive(value: &[u8]) -> Result<HeaderValue, RemoteFault> {
    let mut value = HeaderValue::from_bytes(value).map_err(|_| RemoteFault::Unsendable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends the message over a fresh connection and reads the whole answer. Dropping the future
/// closes the connection.
pub async fn exchange<T>(io: T, message: Message) -> Result<RemoteAnswer, RemoteFault>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX * 2)
        .max_header_size(HEAD_MAX)
        .max_headers(FIELDS_MAX)
        .handshake::<T, Full<Bytes>>(io)
        .await
        .map_err(|_| RemoteFault::Protocol)?;
    let driver = tokio::spawn(async move {
        // What goes wrong here is told to the request.
        let _ = connection.await;
    });
    let _ended_with_us = AbortOnDrop(driver.abort_handle());
    let response = sender.send_request(message).await;
    answer(response.map_err(|_| RemoteFault::Protocol)?).await
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn answer(response: Response<Incoming>) -> Result<RemoteAnswer, RemoteFault> {
    let (head, mut body) = response.into_parts();
    if head.status.is_redirection() {
        return Err(RemoteFault::Redirected);
    }
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    let mut encodings = head.headers.get_all(header::CONTENT_ENCODING).iter();
    if head.status.is_informational() || !encodings.all(identity) {
        return Err(RemoteFault::Protocol);
    }
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| RemoteFault::Protocol)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.remaining() > BODY_MAX - read.len() {
            return Err(RemoteFault::TooLarge);
        }
        read.extend_from_slice(&data);
    }
    Ok(RemoteAnswer {
        status: head.status.as_u16(),
        body: read.freeze(),
        max_age: max_age(&head.headers),
    })
}

/// What is left of the time for which an answer is good (RFC 9111 §4.2 and §5.2.2). Of several
/// words the most cautious counts.
fn max_age(fields: &HeaderMap) -> Option<Duration> {
    let mut least: Option<u64> = None;
    for value in fields.get_all(header::CACHE_CONTROL) {
        // A list that cannot be read may have said that nothing is to be kept.
        for directive in value.to_str().unwrap_or("no-store").split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let found = match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => 0,
                "max-age" => argument.trim().trim_matches('"').parse().unwrap_or(0),
                _ => continue,
            };
            least = Some(least.map_or(found, |least| least.min(found)));
        }
    }
    let age = fields.get(header::AGE).and_then(|age| age.to_str().ok());
    let age = age.and_then(|age| age.parse::<u64>().ok()).unwrap_or(0);
    least.map(|seconds| Duration::from_secs(seconds.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_cautious_word_on_caching_counts() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<u64>);
        let table: [Case<'_>; 9] = [
            (&[], None),
            (&[("cache-control", "public, must-revalidate")], None),
            (&[("cache-control", "public, max-age=21600")], Some(21600)),
            (&[("cache-control", "Max-Age=\"60\"")], Some(60)),
            (
                &[
                    ("cache-control", "max-age=60"),
                    ("cache-control", "max-age=30"),
                ],
                Some(30),
            ),
            (&[("cache-control", "max-age=60, no-store")], Some(0)),
            (
                &[("cache-control", "max-age=99999999999999999999")],
                Some(0),
            ),
            (&[("cache-control", "max-age=60"), ("age", "50")], Some(10)),
            (&[("cache-control", "max-age=60"), ("age", "90")], Some(0)),
        ];
        for (fields, expected) in table {
            let fields: HeaderMap = fields
                .iter()
                .map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap()))
                .collect();
            assert_eq!(
                max_age(&fields),
                expected.map(Duration::from_secs),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn basic_is_as_in_its_rfc() {
        // RFC 7617 §2, the example of the RFC.
        let value = basic(b"Aladdin", b"open sesame").unwrap();
        assert_eq!(value.as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
        assert_eq!(basic(b"a:b", b"c"), Err(RemoteFault::Unsendable));
        assert_eq!(basic(b"a", b"c\n"), Err(RemoteFault::Unsendable));
    }
}
