//! A connection to another host: name, TCP, TLS. What the relay and the gateway's own requests share.
//!
//! Where to is the configuration's word alone: no proxy of the environment is asked, and the name
//! is looked up anew for every connection, so that a host that moved is found.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

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

/// Whom we trust to say who a destination is.
#[derive(Debug)]
pub struct Tls {
    config: OnceLock<Arc<ClientConfig>>,
    /// Trusted besides the machine's own roots.
    extra: Vec<CertificateDer<'static>>,
}

impl Tls {
    /// The machine's own roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), read when first
    /// needed.
    pub fn native() -> Self {
        Tls::native_and(Vec::new())
    }

    /// The machine's own roots and these.
    pub fn native_and(extra: Vec<CertificateDer<'static>>) -> Self {
        Tls {
            config: OnceLock::new(),
            extra,
        }
    }

    pub fn with_roots(roots: RootCertStore) -> Self {
        Tls {
            config: OnceLock::from(configured(roots)),
            extra: Vec::new(),
        }
    }

    /// Reads the roots now, so that no request has to wait for the disk.
    pub fn prepare(&self) {
        self.config();
    }

    /// True once the roots are in memory.
    pub fn is_prepared(&self) -> bool {
        self.config.get().is_some()
    }

    fn config(&self) -> Arc<ClientConfig> {
        let read = || configured(native_roots(&self.extra));
        self.config.get_or_init(read).clone()
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

fn configured(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[expect(
        clippy::expect_used,
        reason = "the provider has suites for the default versions; every test with TLS passes here"
    )]
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("a provider that knows the default versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
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

/// The TLS handshake: the certificate must be of this host.
pub async fn tls(
    tls: &Tls,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Tls)?;
    TlsConnector::from(tls.config())
        .connect(name, stream)
        .await
        .map_err(|_| ConnectError::Tls)
}
