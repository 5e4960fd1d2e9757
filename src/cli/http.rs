//! Requests to the admin port: over TCP, TLS or a Unix socket, wherever the settings or the command
//! line say that it is.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connect::{self, ConnectError, Material, MaterialError, Tls};
use crate::secret::{self, Secret};
use crate::settings::{AdminAddress, Settings};

/// For connecting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the admin port is, and whom we take for it.
#[derive(Clone, Debug)]
pub struct Target {
    place: Place,
    trust: Trust,
}

#[derive(Clone, Debug)]
enum Place {
    Socket(PathBuf),
    /// Name or address, as Host says it, without the port.
    Host(String, u16),
}

#[derive(Clone, Debug)]
enum Trust {
    /// No TLS.
    Plain,
    /// Certificates of the machine's authorities, or of one file's.
    Authorities(Arc<Tls>),
    /// This certificate alone: that of the settings' own file.
    Exactly(Arc<ClientConfig>, PathBuf),
}

/// Why it cannot even be asked.
#[derive(Debug)]
pub enum TargetError {
    Address(String),
    Unreadable(PathBuf, std::io::ErrorKind),
    Certificate(PathBuf, MaterialError),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetError::Address(text) => write!(
                f,
                "`{text}` is no address of an admin port: `127.0.0.1:8444`, `https://admin.example.com:8444` or `unix:/run/callseal/admin.sock`"
            ),
            TargetError::Unreadable(path, cause) => {
                write!(f, "{}: {}", path.display(), secret::cause_of(*cause))
            }
            TargetError::Certificate(path, cause) => write!(f, "{}: {cause}", path.display()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.trust {
            Trust::Plain => "http",
            Trust::Authorities(_) | Trust::Exactly(..) => "https",
        };
        match &self.place {
            Place::Socket(path) => write!(f, "unix:{}", path.display()),
            Place::Host(host, port) => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl Target {
    /// `admin` as the command line says it, else as the settings do, else the default. A certificate
    /// must be of an authority in the file `ca`, or of the machine's; where the settings name the
    /// file, it must be that very certificate, whatever its names.
    pub fn new(
        admin: Option<&str>,
        ca: Option<&Path>,
        settings: Option<&Settings>,
    ) -> Result<Target, TargetError> {
        let Some(text) = admin else {
            return match settings {
                Some(settings) => Target::of(settings),
                None => Target::of(&Settings::default()),
            };
        };
        let bad = || TargetError::Address(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Target {
                place: Place::Socket(path.into()),
                trust: Trust::Plain,
            });
        }
        let (rest, secure) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            // Of a bare address the settings may know what is spoken there.
            (None, None) => match settings.map(Target::of) {
                Some(Ok(known)) if known.bare() == Some(text.to_owned()) => return Ok(known),
                _ => (text, ca.is_some()),
            },
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority: http::uri::Authority = rest.parse().map_err(|_| bad())?;
        let port = authority
            .port_u16()
            .or(secure.then_some(443))
            .ok_or_else(bad)?;
        let place = Place::Host(authority.host().to_owned(), port);
        // What the settings show on that port is known, whatever it is called.
        let own = settings.and_then(|settings| settings.admin.tls.as_ref());
        let trust = match (secure, ca, own) {
            (false, _, _) => Trust::Plain,
            (true, None, Some(own)) if settings.is_some_and(|s| is_that_of(s, rest)) => {
                Trust::Exactly(exactly(&own.cert, None)?, own.cert.clone())
            }
            (true, _, _) => Trust::Authorities(Arc::new(authorities(ca, None)?)),
        };
        Ok(Target { place, trust })
    }

    /// Shows a certificate of its own, where TLS is spoken; `ca` as for `new`.
    pub fn with_identity(
        mut self,
        ca: Option<&Path>,
        cert: &Path,
        key: &Path,
    ) -> Result<Target, TargetError> {
        let own = (Secret::new(read(cert)?), Secret::new(read(key)?));
        // Which of both is at fault is told before the authorities are read again.
        connect::identity(&own.0, &own.1).map_err(|error| {
            let file = if error == MaterialError::Key {
                key
            } else {
                cert
            };
            TargetError::Certificate(file.to_owned(), error)
        })?;
        self.trust = match self.trust {
            Trust::Plain => Trust::Plain,
            Trust::Authorities(_) => Trust::Authorities(Arc::new(authorities(ca, Some(own))?)),
            Trust::Exactly(_, path) => Trust::Exactly(exactly(&path, Some(&own))?, path),
        };
        Ok(self)
    }

    /// Without TLS.
    pub fn plain(address: &AdminAddress) -> Target {
        let place = match address {
            AdminAddress::Unix(path) => Place::Socket(path.clone()),
            AdminAddress::Tcp(address) => {
                let host = near(*address);
                let name = match host {
                    std::net::IpAddr::V4(host) => host.to_string(),
                    std::net::IpAddr::V6(host) => format!("[{host}]"),
                };
                Place::Host(name, address.port())
            }
        };
        Target {
            place,
            trust: Trust::Plain,
        }
    }

    fn of(settings: &Settings) -> Result<Target, TargetError> {
        let mut target = Target::plain(&settings.admin.address);
        if let Some(files) = &settings.admin.tls {
            target.trust = Trust::Exactly(exactly(&files.cert, None)?, files.cert.clone());
        }
        Ok(target)
    }

    /// True when everybody on the way could read what is sent: no TLS, and to another machine.
    pub fn is_overheard(&self) -> bool {
        match (&self.trust, &self.place) {
            (Trust::Plain, Place::Host(host, _)) => {
                let host = host.trim_matches(['[', ']']);
                let ip: Result<std::net::IpAddr, _> = host.parse();
                host != "localhost" && !ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
            }
            (Trust::Plain, Place::Socket(_)) | (Trust::Authorities(_) | Trust::Exactly(..), _) => {
                false
            }
        }
    }

    fn bare(&self) -> Option<String> {
        match &self.place {
            Place::Socket(_) => None,
            Place::Host(host, port) => Some(format!("{host}:{port}")),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Wire>, AskError> {
        let (host, port) = match &self.place {
            Place::Socket(path) => {
                let stream = connect::socket(path, PATIENCE).await;
                return Ok(Box::new(stream.map_err(AskError::Connect)?));
            }
            Place::Host(host, port) => (host.trim_matches(['[', ']']), *port),
        };
        let stream = connect::tcp(host, port, PATIENCE).await;
        let stream = stream.map_err(AskError::Connect)?;
        match &self.trust {
            Trust::Plain => Ok(Box::new(stream)),
            Trust::Authorities(tls) => {
                let stream = connect::tls(tls, host, stream).await;
                Ok(Box::new(stream.map_err(AskError::Connect)?))
            }
            Trust::Exactly(config, _) => {
                let connect = tokio_rustls::TlsConnector::from(config.clone());
                let name = ServerName::try_from(host.to_owned());
                let name = name.map_err(|_| AskError::Connect(ConnectError::Tls))?;
                let stream = connect.connect(name, stream).await;
                Ok(Box::new(
                    stream.map_err(|_| AskError::Connect(ConnectError::Tls))?,
                ))
            }
        }
    }

    fn host(&self) -> String {
        self.bare().unwrap_or_else(|| "localhost".to_owned())
    }
}

/// True when `authority` is the settings' own admin port, by its address or as `localhost`.
fn is_that_of(settings: &Settings, authority: &str) -> bool {
    let here = Target::plain(&settings.admin.address).bare();
    let port = match &settings.admin.address {
        AdminAddress::Tcp(address) if near(*address).is_loopback() => Some(address.port()),
        AdminAddress::Tcp(_) | AdminAddress::Unix(_) => None,
    };
    here.as_deref() == Some(authority)
        || port.is_some_and(|port| authority == format!("localhost:{port}"))
}

/// Where a port listens on all addresses, loopback is one of them.
fn near(address: SocketAddr) -> std::net::IpAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TargetError> {
    std::fs::read(path).map_err(|e| TargetError::Unreadable(path.to_owned(), e.kind()))
}

/// Certificate and key, in PEM.
type Own = (Secret, Secret);

fn authorities(ca: Option<&Path>, own: Option<Own>) -> Result<Tls, TargetError> {
    if ca.is_none() && own.is_none() {
        return Ok(Tls::native());
    }
    let material = Material {
        ca: ca.map(|path| Ok(Secret::new(read(path)?))).transpose()?,
        identity: own,
        ..Material::default()
    };
    let path = ca.map(Path::to_owned).unwrap_or_default();
    Tls::with_material(&material).map_err(|e| TargetError::Certificate(path, e))
}

fn exactly(path: &Path, own: Option<&Own>) -> Result<Arc<ClientConfig>, TargetError> {
    let certificate = CertificateDer::from_pem_slice(&read(path)?);
    let certificate = certificate
        .map_err(|_| TargetError::Certificate(path.to_owned(), MaterialError::Certificate))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let only = Only {
        certificate,
        provider: provider.clone(),
    };
    let bad = |error| TargetError::Certificate(path.to_owned(), error);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| bad(MaterialError::Identity))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(only));
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let (chain, key) = connect::identity(cert, key).map_err(bad)?;
            let built = builder.with_client_auth_cert(chain, key);
            built.map_err(|_| bad(MaterialError::Identity))?
        }
    };
    Ok(Arc::new(config))
}

/// Takes one certificate and no other. Whoever shows it has to sign with its key as ever.
#[derive(Debug)]
struct Only {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

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
            AskError::Connect(ConnectError::Dns) => f.write_str("no connection: no such host"),
            AskError::Connect(ConnectError::Refused) => {
                f.write_str("no connection: nobody listens there")
            }
            // Of a Unix socket's path.
            AskError::Connect(ConnectError::Failed(std::io::ErrorKind::NotFound)) => {
                f.write_str("no connection: there is no such socket")
            }
            AskError::Connect(ConnectError::Failed(kind)) => write!(f, "no connection: {kind}"),
            AskError::Connect(ConnectError::Timeout) => f.write_str("no connection in time"),
            AskError::Connect(ConnectError::Tls) => {
                f.write_str("no connection: no TLS there, or not the certificate that is expected")
            }
            AskError::Http(error) if error.is_parse() => {
                f.write_str("no answer in plain HTTP: does the port speak TLS (https://)?")
            }
            AskError::Http(error) => write!(f, "no answer: {error}"),
            AskError::Request(error) => write!(f, "no such request: {error}"),
            AskError::Timeout => f.write_str("no answer in time"),
        }
    }
}

/// Sends one request on a connection of its own; `token` where the path wants one. An empty body
/// is none, any other is JSON. Must run inside a runtime: the connection goes on beside.
pub async fn send(
    target: &Target,
    method: http::Method,
    path: &str,
    token: Option<&str>,
    body: Bytes,
) -> Result<http::Response<Incoming>, AskError> {
    let stream = target.connect().await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(AskError::Http)?;
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", target.host());
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::new(body)).map_err(AskError::Request)?;
    // It ends with the body of the answer.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(AskError::Http)
}

/// Asks once and reads the whole answer.
pub async fn ask(
    target: &Target,
    method: http::Method,
    path: &str,
    token: Option<&str>,
    patience: Duration,
) -> Result<Reply, AskError> {
    let asking = async {
        let response = send(target, method, path, token, Bytes::new()).await?;
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
mod tests;
