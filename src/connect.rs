//! A connection to another host: name, TCP, TLS. What the relay and the gateway's own requests share.
//!
//! Where to is the configuration's word alone: no proxy of the environment is asked, and the name
//! is looked up anew for every connection, so that a host that moved is found.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::secret::Secret;

mod listed;

/// A host that has not answered by then will not.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The part of a request's time that connecting may take: half, so that a host that is slow to
/// connect still has time to answer.
pub fn part(within: Duration) -> Duration {
    (within / 2).min(CONNECT_MAX)
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The name gave no address.
    Dns,
    /// Nobody listens there.
    Refused,
    Failed(ErrorKind),
    /// Not in time.
    Timeout,
    /// The handshake failed, or the certificate does not fit.
    Tls,
}

/// Whom we trust to say who a destination is, and who we say we are.
#[derive(Debug)]
pub struct Tls {
    id: u64,
    config: OnceLock<Arc<ClientConfig>>,
    /// The same, with HTTP/2 on offer.
    with_http2: OnceLock<Arc<ClientConfig>>,
    /// Trusted besides the machine's own roots.
    extra: Vec<CertificateDer<'static>>,
    /// The name that certificates must bear in place of the host's.
    server_name: Option<ServerName<'static>>,
}

/// What of a destination's own trust or certificate cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaterialError {
    /// No root certificate in it, or one that cannot be a root.
    Ca,
    /// No certificate in it.
    Certificate,
    /// No private key in it.
    Key,
    /// They do not belong together, or are of a kind that is not known.
    Identity,
    ServerName,
}

impl std::fmt::Display for MaterialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            MaterialError::Ca => "not a list of root certificates (-----BEGIN CERTIFICATE-----)",
            MaterialError::Certificate => "no certificate (-----BEGIN CERTIFICATE-----)",
            MaterialError::Key => "no private key (-----BEGIN PRIVATE KEY-----)",
            MaterialError::Identity => "the key is not that of the certificate",
            MaterialError::ServerName => "neither the name of a host nor an address",
        })
    }
}

impl std::error::Error for MaterialError {}

/// Trust and certificate of one destination, as PEM.
#[derive(Debug, Default)]
pub struct Material {
    /// In place of the machine's roots.
    pub ca: Option<Secret>,
    /// Certificate with its chain, and its key.
    pub identity: Option<(Secret, Secret)>,
    pub server_name: Option<String>,
}

impl Tls {
    /// The machine's own roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), read when first
    /// needed.
    pub fn native() -> Self {
        Tls::native_and(Vec::new())
    }

    /// The machine's own roots and these.
    pub fn native_and(extra: Vec<CertificateDer<'static>>) -> Self {
        Tls::of(OnceLock::new(), extra, None)
    }

    pub fn with_roots(roots: RootCertStore) -> Self {
        let config = with_alpn(builder(roots, Vec::new()).with_no_client_auth());
        Tls::of(OnceLock::from(Arc::new(config)), Vec::new(), None)
    }

    /// What one destination wants of its own. Reads the machine's roots where no others are given.
    pub fn with_material(material: &Material) -> Result<Self, MaterialError> {
        let (roots, listed) = match &material.ca {
            None => (native_roots(&[]), Vec::new()),
            Some(pem) => roots(pem.expose())?,
        };
        let config = match &material.identity {
            None => builder(roots, listed).with_no_client_auth(),
            Some((cert, key)) => {
                let (chain, key) = identity(cert, key)?;
                builder(roots, listed)
                    .with_client_auth_cert(chain, key)
                    .map_err(|_| MaterialError::Identity)?
            }
        };
        let name = material.server_name.clone().map(ServerName::try_from);
        let name = name.transpose().map_err(|_| MaterialError::ServerName)?;
        let config = OnceLock::from(Arc::new(with_alpn(config)));
        Ok(Tls::of(config, Vec::new(), name))
    }

    fn of(
        config: OnceLock<Arc<ClientConfig>>,
        extra: Vec<CertificateDer<'static>>,
        server_name: Option<ServerName<'static>>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Tls {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            config,
            with_http2: OnceLock::new(),
            extra,
            server_name,
        }
    }

    /// Tells it from every other in this process: a connection made under one must not be used
    /// under another.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Reads the roots now, so that no request has to wait for the disk.
    pub fn prepare(&self) {
        self.config();
    }

    /// True once the roots are in memory.
    pub fn is_prepared(&self) -> bool {
        self.config.get().is_some()
    }

    fn config(&self) -> &Arc<ClientConfig> {
        let read = || {
            let roots = native_roots(&self.extra);
            let listed = self.extra.clone();
            Arc::new(with_alpn(builder(roots, listed).with_no_client_auth()))
        };
        self.config.get_or_init(read)
    }

    fn with_http2(&self) -> &Arc<ClientConfig> {
        self.with_http2.get_or_init(|| {
            let mut config = ClientConfig::clone(self.config());
            config.alpn_protocols.insert(0, ALPN_HTTP2.to_vec());
            Arc::new(config)
        })
    }
}

/// What ALPN calls HTTP/2 and HTTP/1.1 (RFC 7301, RFC 9113).
const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    config
}

/// A certificate with its chain, and its key, of PEM.
pub fn identity(
    cert: &Secret,
    key: &Secret,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), MaterialError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert.expose()).collect();
    let chain = chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or(MaterialError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_| MaterialError::Key)?;
    Ok((chain, key))
}

type Listed = Vec<CertificateDer<'static>>;

fn roots(pem: &[u8]) -> Result<(RootCertStore, Listed), MaterialError> {
    let found: Result<Listed, _> = CertificateDer::pem_slice_iter(pem).collect();
    let listed = found.map_err(|_| MaterialError::Ca)?;
    let mut roots = RootCertStore::empty();
    for root in &listed {
        roots.add(root.clone()).map_err(|_| MaterialError::Ca)?;
    }
    match roots.is_empty() {
        true => Err(MaterialError::Ca),
        false => Ok((roots, listed)),
    }
}

fn native_roots(extra: &[CertificateDer<'static>]) -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("a root certificate of this machine cannot be read: {error}");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots.add_parsable_certificates(extra.iter().cloned());
    if roots.is_empty() {
        tracing::warn!("this machine has no root certificates: no host can be reached over https");
    }
    roots
}

/// `listed`: certificates that are trusted by themselves, besides what the roots signed.
fn builder(roots: RootCertStore, listed: Listed) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[expect(
        clippy::expect_used,
        reason = "the provider has suites for the default versions; every test with TLS passes here"
    )]
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("a provider that knows the default versions");
    match listed::verifier(roots.clone(), listed, provider) {
        Some(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(verifier),
        None => builder.with_root_certificates(roots),
    }
}

/// The addresses of a host; at least one.
pub async fn addresses(
    host: &str,
    port: u16,
    within: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    match timeout(within, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => Some(found.collect::<Vec<_>>())
            .filter(|found| !found.is_empty())
            .ok_or(ConnectError::Dns),
        Ok(Err(_)) => Err(ConnectError::Dns),
        Err(_) => Err(ConnectError::Timeout),
    }
}

/// A TCP connection to the first address that answers before `end`. The addresses share the time
/// evenly, so that one that is silent does not use up that of the next.
pub async fn dial(addresses: &[SocketAddr], end: Instant) -> Result<TcpStream, ConnectError> {
    let mut failed = ConnectError::Dns;
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried)
            .unwrap_or(u32::MAX)
            .max(1);
        let share = end.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is one write and one read: waiting to fill a packet only costs time.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                failed = ConnectError::Refused
            }
            Ok(Err(error)) => failed = ConnectError::Failed(error.kind()),
            Err(_) => failed = ConnectError::Timeout,
        }
    }
    Err(failed)
}

/// The name, then TCP.
pub async fn tcp(host: &str, port: u16, within: Duration) -> Result<TcpStream, ConnectError> {
    let end = Instant::now() + within;
    dial(&addresses(host, port, within).await?, end).await
}

/// A connection to the Unix socket at `path`.
pub async fn socket(path: &Path, within: Duration) -> Result<UnixStream, ConnectError> {
    match timeout(within, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            Err(ConnectError::Refused)
        }
        Ok(Err(error)) => Err(ConnectError::Failed(error.kind())),
        Err(_) => Err(ConnectError::Timeout),
    }
}

/// The TLS handshake, with HTTP/1.1 on offer: the certificate must be of this host.
pub async fn tls(
    tls: &Tls,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    handshake(tls, tls.config(), host, stream).await
}

/// As `tls`, with HTTP/2 on offer too. True: that is what the other side chose.
pub async fn tls_http2(
    tls: &Tls,
    host: &str,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, bool), ConnectError> {
    let stream = handshake(tls, tls.with_http2(), host, stream).await?;
    let chosen = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
    Ok((stream, chosen))
}

async fn handshake(
    tls: &Tls,
    config: &Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = match &tls.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Tls)?,
    };
    TlsConnector::from(config.clone())
        .connect(name, stream)
        .await
        .map_err(|_| ConnectError::Tls)
}
