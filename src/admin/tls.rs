//! TLS of the admin port: its certificate and, where the settings ask for it, those of its clients.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio::sync::watch;

use crate::admin::token::{Digest, digest};
use crate::clock::Timestamp;
use crate::listener::tls::{CertificatePaths, CurrentIdentity, Identity, TlsError, server_config};
use crate::settings::AdminTls;

/// Files that were read and fit together.
#[derive(Debug)]
pub struct Material {
    config: Arc<rustls::ServerConfig>,
    /// Of the files that say whose certificates are taken; none where nobody needs one.
    clients: Option<Digest>,
    pub not_after: Timestamp,
    pub subject: String,
    /// When the first of the lists of revoked certificates is to be followed by another.
    pub crl_due: Option<Timestamp>,
}

impl Material {
    pub fn load(files: &AdminTls, now: Timestamp) -> Result<Self, TlsError> {
        let paths = CertificatePaths {
            cert: files.cert.clone(),
            key: files.key.clone(),
        };
        let identity = Identity::load(&paths, now)?;
        let (not_after, subject) = (identity.not_after, identity.subject.clone());
        let clients = files.client_ca.as_deref();
        let clients = clients.map(|ca| Clients::load(ca, files.client_crl.as_deref()));
        let clients = clients.transpose()?;
        Ok(Material {
            clients: clients.as_ref().map(|clients| clients.digest),
            crl_due: clients.as_ref().and_then(|clients| clients.crl_due),
            config: server_config(
                CurrentIdentity::new(identity),
                true,
                clients.map(|clients| clients.verifier),
            )?,
            not_after,
            subject,
        })
    }
}

/// Whose certificates are taken.
struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    digest: Digest,
    crl_due: Option<Timestamp>,
}

impl Clients {
    /// Takes no certificate, or one of these authorities: the health paths are open to whoever has
    /// none, and `auth` shuts the others. With lists of revoked ones every certificate of a client's
    /// chain is looked up, and one whose authority has no list is refused (rustls' own choice); a
    /// list that should have been followed by another counts until it is (likewise).
    fn load(authorities: &Path, revoked: Option<&Path>) -> Result<Self, TlsError> {
        let unfit = || TlsError::Authorities {
            path: authorities.to_owned(),
        };
        let mut pem = read(authorities)?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&pem) {
            let root = root.map_err(|_| unfit())?;
            roots.add(root).map_err(|_| unfit())?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(roots);
        let verifier = |lists| {
            let (roots, provider) = (roots.clone(), provider.clone());
            WebPkiClientVerifier::builder_with_provider(roots, provider)
                .allow_unauthenticated()
                .with_crls(lists)
                .build()
        };
        let mut lists = Vec::new();
        if let Some(path) = revoked {
            let text = read(path)?;
            lists = revocations(path, &text)?;
            pem.extend(text);
            for (at, list) in lists.iter().enumerate() {
                verifier(vec![list.clone()]).map_err(|error| match error {
                    VerifierBuilderError::InvalidCrl(cause) => TlsError::Revocations {
                        path: path.to_owned(),
                        number: at + 1,
                        cause: format!("{cause:?}"),
                    },
                    _ => unfit(),
                })?;
            }
        }
        Ok(Clients {
            crl_due: lists.iter().filter_map(due).min(),
            verifier: verifier(lists).map_err(|_| unfit())?,
            digest: digest(&pem),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|e| TlsError::Unreadable {
        path: path.to_owned(),
        cause: e.kind(),
    })
}

/// The lists of a file.
fn revocations(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let mut lists = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(pem) {
        lists.push(list.map_err(|cause| TlsError::Revocations {
            path: path.to_owned(),
            number: lists.len() + 1,
            cause: cause.to_string(),
        })?);
    }
    if lists.is_empty() {
        let path = path.to_owned();
        return Err(TlsError::NoRevocations { path });
    }
    Ok(lists)
}

/// When another list is to follow this one (RFC 5280 §5.1.2.5).
fn due(list: &CertificateRevocationListDer<'_>) -> Option<Timestamp> {
    let (_, list) = x509_parser::parse_x509_crl(list).ok()?;
    let next = list.next_update()?.timestamp();
    Some(Timestamp::from_secs(u64::try_from(next).unwrap_or(0)))
}

/// The material in use. A reload puts another in its place, and with it other session tickets: who
/// was let in by an authority that is gone cannot resume.
#[derive(Debug)]
pub struct CurrentTls {
    material: ArcSwap<Material>,
    clients: watch::Sender<Option<Digest>>,
}

impl CurrentTls {
    pub fn new(material: Material) -> Self {
        CurrentTls {
            clients: watch::Sender::new(material.clients),
            material: ArcSwap::from_pointee(material),
        }
    }

    pub fn replace(&self, material: Material) {
        let clients = material.clients;
        self.material.store(Arc::new(material));
        self.clients.send_if_modified(|before| {
            let other = *before != clients;
            *before = clients;
            other
        });
    }

    pub fn config(&self) -> Arc<rustls::ServerConfig> {
        self.material.load().config.clone()
    }

    /// True when clients need a certificate.
    pub fn asks(&self) -> bool {
        self.material.load().clients.is_some()
    }

    /// Turns when other certificates are taken: who was let in before must be looked at again.
    pub fn clients(&self) -> watch::Receiver<Option<Digest>> {
        self.clients.subscribe()
    }

    pub fn not_after(&self) -> Timestamp {
        self.material.load().not_after
    }
}
