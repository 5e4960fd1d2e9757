//! TLS of the admin port: its certificate and, where the settings ask for it, those of its clients.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::clock::Timestamp;
use crate::listener::tls::{CertificatePaths, CurrentIdentity, Identity, TlsError, server_config};
use crate::settings::AdminTls;

/// Files that were read and fit together.
#[derive(Debug)]
pub struct Material {
    config: Arc<rustls::ServerConfig>,
    asks: bool,
    pub not_after: Timestamp,
    pub subject: String,
}

impl Material {
    pub fn load(files: &AdminTls, now: Timestamp) -> Result<Self, TlsError> {
        let paths = CertificatePaths {
            cert: files.cert.clone(),
            key: files.key.clone(),
        };
        let identity = Identity::load(&paths, now)?;
        let (not_after, subject) = (identity.not_after, identity.subject.clone());
        let clients = files.client_ca.as_deref().map(clients).transpose()?;
        Ok(Material {
            asks: clients.is_some(),
            config: server_config(CurrentIdentity::new(identity), true, clients)?,
            not_after,
            subject,
        })
    }
}

/// Takes no certificate, or one of these authorities: the health paths are open to whoever has
/// none, and `auth` shuts the others.
fn clients(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unfit = || TlsError::Authorities {
        path: path.to_owned(),
    };
    let pem = std::fs::read(path).map_err(|e| TlsError::Unreadable {
        path: path.to_owned(),
        cause: e.kind(),
    })?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&pem) {
        let root = root.map_err(|_| unfit())?;
        roots.add(root).map_err(|_| unfit())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier
        .allow_unauthenticated()
        .build()
        .map_err(|_| unfit())
}

/// The material in use. A reload puts another in its place, and with it other session tickets: who
/// was let in by an authority that is gone cannot resume.
#[derive(Debug)]
pub struct CurrentTls(ArcSwap<Material>);

impl CurrentTls {
    pub fn new(material: Material) -> Self {
        CurrentTls(ArcSwap::from_pointee(material))
    }

    pub fn replace(&self, material: Material) {
        self.0.store(Arc::new(material));
    }

    pub fn config(&self) -> Arc<rustls::ServerConfig> {
        self.0.load().config.clone()
    }

    /// True when clients need a certificate.
    pub fn asks(&self) -> bool {
        self.0.load().asks
    }

    pub fn not_after(&self) -> Timestamp {
        self.0.load().not_after
    }
}
