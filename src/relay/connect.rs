//! A connection to a destination: name, TCP, TLS, within a part of the attempt's time.
//!
//! Where to is the rule file's word alone: no proxy of the environment is asked, and the name is
//! looked up anew for every connection, so that a destination that moved is found.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::relay::error::AttemptError;
use crate::rule::Destination;

/// A destination in the same network that has not answered by then will not.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// The part of an attempt's time that connecting may take: half, so that a destination that is
/// slow to connect still has time to answer.
pub fn part(within: Duration) -> Duration {
    (within / 2).min(CONNECT_MAX)
}

/// Whom we trust to say who a destination is.
#[derive(Debug)]
pub struct Tls(OnceLock<Arc<ClientConfig>>);

impl Tls {
    /// The machine's own roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), read when first
    /// needed.
    pub fn native() -> Self {
        Tls(OnceLock::new())
    }

    pub fn with_roots(roots: RootCertStore) -> Self {
        Tls(OnceLock::from(configured(roots)))
    }

    /// Reads the roots now, so that no attempt has to wait for the disk.
    pub fn prepare(&self) {
        self.config();
    }

    /// True once the roots are in memory.
    pub fn is_prepared(&self) -> bool {
        self.0.get().is_some()
    }

    fn config(&self) -> Arc<ClientConfig> {
        self.0.get_or_init(|| configured(native_roots())).clone()
    }
}

fn native_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("a root certificate of this machine cannot be read: {error}");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(
            "this machine has no root certificates: no https destination can be reached"
        );
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

/// A TCP connection to the first address that answers. The addresses share the time evenly, so
/// that one that is silent does not use up that of the next.
pub async fn tcp(destination: &Destination, within: Duration) -> Result<TcpStream, AttemptError> {
    let end = Instant::now() + within;
    let found = tokio::net::lookup_host((destination.host.as_str(), destination.port));
    let addresses: Vec<SocketAddr> = match timeout(within, found).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) => return Err(AttemptError::Dns),
        Err(_) => return Err(AttemptError::ConnectTimeout),
    };
    let mut failed = AttemptError::Dns;
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried)
            .unwrap_or(u32::MAX)
            .max(1);
        let share = end.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // An attempt is one write and one read: waiting to fill a packet only costs time.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                failed = AttemptError::ConnectRefused
            }
            Ok(Err(error)) => failed = AttemptError::ConnectFailed(error.kind()),
            Err(_) => failed = AttemptError::ConnectTimeout,
        }
    }
    Err(failed)
}

/// The TLS handshake: the certificate must be of the host that the rule names.
pub async fn tls(
    tls: &Tls,
    destination: &Destination,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, AttemptError> {
    let name = ServerName::try_from(destination.host.clone()).map_err(|_| AttemptError::Tls)?;
    TlsConnector::from(tls.config())
        .connect(name, stream)
        .await
        .map_err(|_| AttemptError::Tls)
}
