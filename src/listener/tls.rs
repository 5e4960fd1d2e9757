//! TLS: certificates from files, exchanged while running; a certificate of our own for development.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::clock::Timestamp;
use crate::secret::{cause_of, write_whole};

/// Where certificate and key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePaths {
    /// PEM: the server's certificate, then its intermediates.
    pub cert: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug)]
pub enum TlsError {
    Unreadable {
        path: PathBuf,
        cause: io::ErrorKind,
    },
    NoCertificate {
        path: PathBuf,
    },
    NoKey {
        path: PathBuf,
    },
    /// The key does not belong to the certificate, or neither is of a kind that rustls takes.
    Unfit {
        cert: PathBuf,
        key: PathBuf,
        cause: rustls::Error,
    },
    NotX509 {
        path: PathBuf,
    },
    Expired {
        path: PathBuf,
        at: Timestamp,
    },
    NotYetValid {
        path: PathBuf,
        from: Timestamp,
    },
    /// A development certificate could not be made.
    Make {
        cause: String,
    },
    Write {
        path: PathBuf,
        cause: io::ErrorKind,
    },
    Protocol {
        cause: rustls::Error,
    },
    /// No certificate in it, or one that cannot be an authority's.
    Authorities {
        path: PathBuf,
    },
    /// No list of revoked certificates in it.
    NoRevocations {
        path: PathBuf,
    },
    /// The list with this number, from one on, cannot be read.
    Revocations {
        path: PathBuf,
        number: usize,
        cause: String,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Unreadable { path, cause } => {
                write!(f, "{}: {}", path.display(), cause_of(*cause))
            }
            TlsError::NoCertificate { path } => {
                write!(
                    f,
                    "{}: no certificate in it (-----BEGIN CERTIFICATE-----)",
                    path.display()
                )
            }
            TlsError::NoKey { path } => {
                write!(
                    f,
                    "{}: no private key in it (-----BEGIN PRIVATE KEY-----)",
                    path.display()
                )
            }
            TlsError::Unfit { cert, key, cause } => {
                write!(
                    f,
                    "{} and {} do not fit together: {cause}",
                    cert.display(),
                    key.display()
                )
            }
            TlsError::NotX509 { path } => write!(f, "{}: not an X.509 certificate", path.display()),
            TlsError::Expired { path, at } => write!(f, "{}: expired at {at}", path.display()),
            TlsError::NotYetValid { path, from } => {
                write!(
                    f,
                    "{}: not valid before {from}; is the clock right?",
                    path.display()
                )
            }
            TlsError::Make { cause } => write!(f, "making a development certificate: {cause}"),
            TlsError::Write { path, cause } => write!(f, "writing {}: {cause}", path.display()),
            TlsError::Protocol { cause } => write!(f, "TLS settings: {cause}"),
            TlsError::Authorities { path } => write!(
                f,
                "{}: not a list of authorities (-----BEGIN CERTIFICATE-----)",
                path.display()
            ),
            TlsError::NoRevocations { path } => write!(
                f,
                "{}: no list of revoked certificates in it (-----BEGIN X509 CRL-----)",
                path.display()
            ),
            TlsError::Revocations {
                path,
                number,
                cause,
            } => write!(
                f,
                "{}: list {number} of revoked certificates: {cause}",
                path.display()
            ),
        }
    }
}

impl std::error::Error for TlsError {}

/// A certificate with its key, checked to fit together and to be valid now.
#[derive(Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    pub not_after: Timestamp,
    pub subject: String,
}

impl Identity {
    /// Reads and checks both files.
    pub fn load(paths: &CertificatePaths, now: Timestamp) -> Result<Self, TlsError> {
        let cert_pem = read(&paths.cert)?;
        let key_pem = zeroize::Zeroizing::new(read(&paths.key)?);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&cert_pem)
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        let Some(leaf) = chain.first() else {
            return Err(TlsError::NoCertificate {
                path: paths.cert.clone(),
            });
        };
        let (from, not_after, subject) = validity(leaf, &paths.cert)?;
        if now >= not_after {
            return Err(TlsError::Expired {
                path: paths.cert.clone(),
                at: not_after,
            });
        }
        if now < from {
            return Err(TlsError::NotYetValid {
                path: paths.cert.clone(),
                from,
            });
        }
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| TlsError::NoKey {
            path: paths.key.clone(),
        })?;
        let unfit = |cause| TlsError::Unfit {
            cert: paths.cert.clone(),
            key: paths.key.clone(),
            cause,
        };
        let key =
            CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider())
                .map_err(unfit)?;
        key.keys_match().map_err(unfit)?;
        Ok(Identity {
            key: Arc::new(key),
            not_after,
            subject,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|e| TlsError::Unreadable {
        path: path.to_owned(),
        cause: e.kind(),
    })
}

fn validity(der: &[u8], path: &Path) -> Result<(Timestamp, Timestamp, String), TlsError> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).map_err(|_| TlsError::NotX509 {
        path: path.to_owned(),
    })?;
    let moment = |t: x509_parser::time::ASN1Time| {
        Timestamp::from_secs(u64::try_from(t.timestamp()).unwrap_or(0))
    };
    let validity = cert.validity();
    Ok((
        moment(validity.not_before),
        moment(validity.not_after),
        cert.subject().to_string(),
    ))
}

/// The certificate in use. A reload puts another in its place; handshakes under way keep theirs.
#[derive(Debug)]
pub struct CurrentIdentity(ArcSwap<Identity>);

impl CurrentIdentity {
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(CurrentIdentity(ArcSwap::from_pointee(identity)))
    }

    pub fn replace(&self, identity: Identity) {
        self.0.store(Arc::new(identity));
    }

    pub fn not_after(&self) -> Timestamp {
        self.0.load().not_after
    }

    pub fn subject(&self) -> String {
        self.0.load().subject.clone()
    }
}

impl ResolvesServerCert for CurrentIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().key.clone())
    }
}

/// TLS 1.2 and 1.3, h2 and http/1 by ALPN, no early data (it could be replayed, RFC 8446 §8).
/// Without `clients` nobody is asked for a certificate.
pub fn server_config(
    identity: Arc<CurrentIdentity>,
    http2: bool,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let protocol = |cause| TlsError::Protocol { cause };
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(protocol)?
        .with_client_cert_verifier(clients.unwrap_or_else(|| Arc::new(NoClientAuth)))
        .with_cert_resolver(identity);
    // Some versions of libcurl that are told to speak HTTP/1.0 offer nothing else, so WordPress and
    // with it WooCommerce; RFC 7301 §3.2 has the handshake fail where nothing offered is known.
    let offered: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];
    config.alpn_protocols = offered
        .iter()
        .filter(|name| http2 || **name != b"h2")
        .map(|name| name.to_vec())
        .collect();
    // Stateless tickets: a client may resume on another core than the one it first met.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(protocol)?;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Development certificates are renewed when less than this is left of them.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A certificate for `localhost` in `directory`, made on the first call and again near its end.
/// Its authority's certificate lies beside it for clients to trust; the authority's key is
/// forgotten as soon as it has signed, so nobody can make another certificate with it.
pub fn development_certificate(
    directory: &Path,
    now: Timestamp,
) -> Result<CertificatePaths, TlsError> {
    let paths = CertificatePaths {
        cert: directory.join("dev-server.pem"),
        key: directory.join("dev-server.key"),
    };
    if let Ok(identity) = Identity::load(&paths, now)
        && identity.not_after > now.plus(RENEW_BEFORE)
    {
        return Ok(paths);
    }
    let (authority, chain, key) = make_certificate(now).map_err(|e| TlsError::Make {
        cause: e.to_string(),
    })?;
    std::fs::create_dir_all(directory).map_err(|e| TlsError::Write {
        path: directory.to_owned(),
        cause: e.kind(),
    })?;
    let files = [
        (development_authority(directory), authority, 0o644),
        (paths.key.clone(), key, 0o600),
        (paths.cert.clone(), chain, 0o644),
    ];
    for (path, pem, mode) in files {
        write_whole(&path, pem.as_bytes(), mode).map_err(|e| TlsError::Write {
            path,
            cause: e.kind(),
        })?;
    }
    Ok(paths)
}

/// Where the certificate of the development authority lies.
pub fn development_authority(directory: &Path) -> PathBuf {
    directory.join("dev-ca.pem")
}

fn make_certificate(now: Timestamp) -> Result<(String, String, String), rcgen::Error> {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyPair, KeyUsagePurpose,
    };
    let day = |moment| {
        let (year, month, day) = civil(moment);
        rcgen::date_time_ymd(year, month, day)
    };
    let from = day(now.minus(Duration::from_secs(24 * 3600)));
    let to = day(now.plus(Duration::from_secs(397 * 24 * 3600)));

    let mut authority = CertificateParams::new(Vec::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "Callseal development authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (authority.not_before, authority.not_after) = (from, to);
    let authority_key = KeyPair::generate()?;
    let authority_cert = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut server = CertificateParams::new(names)?;
    server
        .distinguished_name
        .push(DnType::CommonName, "Callseal development");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (server.not_before, server.not_after) = (from, to);
    let key = KeyPair::generate()?;
    let cert = server.signed_by(&key, &issuer)?;
    Ok((
        authority_cert.pem(),
        cert.pem() + &authority_cert.pem(),
        key.serialize_pem(),
    ))
}

/// Year, month and day (UTC) of a moment: rcgen takes no finer time without another crate.
fn civil(moment: Timestamp) -> (i32, u8, u8) {
    let text = moment.to_string();
    let mut parts = text.get(..10).unwrap_or("1970-01-01").split('-');
    let mut next = || {
        parts
            .next()
            .and_then(|p| p.parse::<u16>().ok())
            .unwrap_or(1)
    };
    let (year, month, day) = (next(), next(), next());
    (
        i32::from(year),
        u8::try_from(month).unwrap_or(1),
        u8::try_from(day).unwrap_or(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    #[test]
    fn a_development_certificate_is_made_once_and_renewed_near_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let paths = development_certificate(dir.path(), NOW).unwrap();
        let first = std::fs::read(&paths.cert).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&paths.key).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        development_certificate(dir.path(), NOW).unwrap();
        assert_eq!(std::fs::read(&paths.cert).unwrap(), first);
        let later = NOW.plus(Duration::from_secs(380 * 24 * 3600));
        development_certificate(dir.path(), later).unwrap();
        assert_ne!(std::fs::read(&paths.cert).unwrap(), first);
        assert!(Identity::load(&paths, later).unwrap().not_after > later);
    }

    #[test]
    fn threat_37_what_does_not_fit_is_refused() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = development_certificate(a.path(), NOW).unwrap();
        let two = development_certificate(b.path(), NOW).unwrap();
        let crossed = CertificatePaths {
            cert: one.cert.clone(),
            key: two.key,
        };
        assert!(matches!(
            Identity::load(&crossed, NOW),
            Err(TlsError::Unfit { .. })
        ));
        let late = NOW.plus(Duration::from_secs(400 * 24 * 3600));
        assert!(matches!(
            Identity::load(&one, late),
            Err(TlsError::Expired { .. })
        ));
        let early = NOW.minus(Duration::from_secs(400 * 24 * 3600));
        assert!(matches!(
            Identity::load(&one, early),
            Err(TlsError::NotYetValid { .. })
        ));
        let half = std::fs::read(&one.cert).unwrap();
        std::fs::write(&one.cert, &half[..100]).unwrap();
        assert!(matches!(
            Identity::load(&one, NOW),
            Err(TlsError::NoCertificate { .. })
        ));
        let swapped = CertificatePaths {
            cert: one.key.clone(),
            key: one.key,
        };
        assert!(matches!(
            Identity::load(&swapped, NOW),
            Err(TlsError::NoCertificate { .. })
        ));
    }
}
