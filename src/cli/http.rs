//! Requests to the admin port of a gateway: over TCP, TLS, or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connect::{self, ConnectError, Tls};
use crate::settings::Settings;

/// For a connection; the gateway is near.
const CONNECT: Duration = Duration::from_secs(5);

/// Where an admin port is.
pub struct Target {
    place: Place,
}

enum Place {
    Tcp {
        host: String,
        port: u16,
        tls: Option<Tls>,
    },
    Socket(PathBuf),
}

/// Why there is no target.
#[derive(Debug)]
pub enum NoTarget {
    Address { text: String },
    Ca { path: PathBuf, why: String },
    NotNamed,
}

impl fmt::Display for NoTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoTarget::Address { text } => write!(
                f,
                "{text} is no address of an admin port: HOST:PORT, https://HOST:PORT, or unix:PATH"
            ),
            NoTarget::Ca { path, why } => write!(f, "{}: {why}", path.display()),
            NoTarget::NotNamed => f.write_str("no admin port is named"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp { host, port, tls } => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                write!(f, "{scheme}://{}:{port}", bracketed(host))
            }
            Place::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn bracketed(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Target {
            place: Place::Tcp {
                host: address.ip().to_string(),
                port: address.port(),
                tls: None,
            },
        }
    }
}

impl Target {
    /// The one that is named, else that of the settings.
    pub fn new(
        named: Option<&str>,
        ca: Option<&Path>,
        settings: Option<&Settings>,
    ) -> Result<Target, NoTarget> {
        let Some(text) = named else {
            let settings = settings.ok_or(NoTarget::NotNamed)?;
            return Ok(Target::from(reachable(settings.admin.address)));
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path.trim_start_matches("//"));
            return Ok(Target {
                place: Place::Socket(path),
            });
        }
        let (rest, https) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => (text, false),
        };
        let wrong = || NoTarget::Address {
            text: text.to_owned(),
        };
        let authority: http::uri::Authority =
            rest.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let port = authority.port_u16().ok_or_else(wrong)?;
        let tls = match https {
            false => None,
            true => Some(trust(ca)?),
        };
        let host = host.to_owned();
        Ok(Target {
            place: Place::Tcp { host, port, tls },
        })
    }
}

/// Where an address that means "all of this machine" can be reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port())
        }
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port())
        }
        std::net::IpAddr::V4(_) | std::net::IpAddr::V6(_) => address,
    }
}

fn trust(ca: Option<&Path>) -> Result<Tls, NoTarget> {
    let Some(path) = ca else {
        return Ok(Tls::native());
    };
    let wrong = |why: String| NoTarget::Ca {
        path: path.to_owned(),
        why,
    };
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(Tls::native_and(found)),
        Ok(_) | Err(_) => Err(wrong("holds no certificate".to_owned())),
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug)]
pub enum AskError {
    Connect(ConnectError),
    Http(hyper::Error),
    Request(http::Error),
    Timeout,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Connect(error) => match error {
                ConnectError::Dns => f.write_str("no such host"),
                ConnectError::Refused => f.write_str("no connection: nobody listens there"),
                ConnectError::Failed(kind) => write!(f, "no connection: {kind}"),
                ConnectError::Timeout => f.write_str("no connection in time"),
                ConnectError::Tls => f.write_str(
                    "no connection: the TLS handshake failed, or its certificate is not trusted (--ca)",
                ),
            },
            AskError::Http(error) => write!(f, "no answer: {error}"),
            AskError::Request(error) => write!(f, "no such request: {error}"),
            AskError::Timeout => f.write_str("no answer in time"),
        }
    }
}

/// Sends one request on a connection of its own, and returns the head of the answer; `token` where
/// the path wants one. The connection lives on the current runtime until the body is read.
pub async fn send(
    to: &Target,
    method: http::Method,
    target: &str,
    token: Option<&str>,
    body: Bytes,
) -> Result<http::Response<Incoming>, AskError> {
    match &to.place {
        Place::Socket(path) => {
            let stream = connect::socket(path, CONNECT)
                .await
                .map_err(AskError::Connect)?;
            on(stream, "localhost", method, target, token, body).await
        }
        Place::Tcp { host, port, tls } => {
            let stream = connect::tcp(host, *port, CONNECT)
                .await
                .map_err(AskError::Connect)?;
            let authority = format!("{}:{port}", bracketed(host));
            match tls {
                None => on(stream, &authority, method, target, token, body).await,
                Some(tls) => {
                    let shaking = tokio::time::timeout(CONNECT, connect::tls(tls, host, stream));
                    let stream = shaking.await.unwrap_or(Err(ConnectError::Timeout));
                    let stream = stream.map_err(AskError::Connect)?;
                    on(stream, &authority, method, target, token, body).await
                }
            }
        }
    }
}

async fn on<S>(
    stream: S,
    authority: &str,
    method: http::Method,
    target: &str,
    token: Option<&str>,
    body: Bytes,
) -> Result<http::Response<Incoming>, AskError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(AskError::Http)?;
    let mut request = http::Request::builder()
        .method(method)
        .uri(target)
        .header("host", authority);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::new(body)).map_err(AskError::Request)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(AskError::Http)
}

/// Asks once, and reads the whole answer.
pub async fn ask(
    to: &Target,
    method: http::Method,
    target: &str,
    token: Option<&str>,
    patience: Duration,
) -> Result<Reply, AskError> {
    let asking = async {
        let response = send(to, method, target, token, Bytes::new()).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await;
        let body = body.map_err(AskError::Http)?.to_bytes();
        Ok(Reply { status, body })
    };
    tokio::time::timeout(patience, asking)
        .await
        .unwrap_or(Err(AskError::Timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        let shown = |text: &str| Target::new(Some(text), None, None).map(|t| t.to_string());
        assert_eq!(shown("127.0.0.1:8444").unwrap(), "http://127.0.0.1:8444");
        assert_eq!(shown("[::1]:8444").unwrap(), "http://[::1]:8444");
        assert_eq!(
            shown("https://pay.example.com:8444/").unwrap(),
            "https://pay.example.com:8444"
        );
        assert_eq!(shown("unix:/run/a.sock").unwrap(), "unix:/run/a.sock");
        assert_eq!(shown("unix:///run/a.sock").unwrap(), "unix:/run/a.sock");
        assert!(shown("localhost").is_err());
        assert!(shown("").is_err());
    }

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        let settings = |address: &str| {
            let mut settings = Settings::default();
            settings.admin.address = address.parse().unwrap();
            Target::new(None, None, Some(&settings))
                .unwrap()
                .to_string()
        };
        assert_eq!(settings("0.0.0.0:8444"), "http://127.0.0.1:8444");
        assert_eq!(settings("[::]:8444"), "http://[::1]:8444");
    }
}
