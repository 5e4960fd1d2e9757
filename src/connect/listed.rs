//! Certificates that are trusted by themselves. A list of authorities may hold the certificate that
//! a host shows, mostly one that has signed itself; webpki takes none that may be an authority for
//! that of a host, as `openssl req -x509` makes them.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// Asks the roots first; none where nothing is listed.
#[derive(Debug)]
struct Listed {
    roots: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

/// None where nothing is listed, or the roots cannot be used.
pub(super) fn verifier(
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Option<Arc<dyn ServerCertVerifier>> {
    if certificates.is_empty() {
        return None;
    }
    let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let roots = roots.ok()?;
    Some(Arc::new(Listed {
        roots,
        certificates,
    }))
}

impl Listed {
    /// Bit for bit one of those listed, in its time, and of this host.
    fn holds(
        &self,
        shown: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if !self.certificates.iter().any(|listed| listed == shown) {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let bad = |_| Error::from(CertificateError::BadEncoding);
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (_, parsed) = X509Certificate::from_der(shown).map_err(|_| bad(()))?;
        let now = ASN1Time::from_timestamp(now).map_err(|_| bad(()))?;
        if now < parsed.validity().not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > parsed.validity().not_after {
            return Err(CertificateError::Expired.into());
        }
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)
    }
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let by_roots = self
            .roots
            .verify_server_cert(end_entity, intermediates, name, ocsp, now);
        match by_roots {
            Ok(verified) => Ok(verified),
            Err(error) => match self.holds(end_entity, name, now) {
                Ok(()) => Ok(ServerCertVerified::assertion()),
                Err(_) => Err(error),
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.roots
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// 2026-01-01 and as long as a year has.
    const BEGIN: u64 = 1_767_225_600;
    const YEAR: u64 = 365 * 86_400;

    fn of_its_own(name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn what_is_listed_is_trusted_in_its_time_and_under_its_name_alone() {
        let (known, other) = (of_its_own("pay.test"), of_its_own("pay.test"));
        let mut roots = RootCertStore::empty();
        roots.add(known.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = verifier(roots.clone(), vec![known.clone()], provider.clone()).unwrap();
        let taken = |shown: &CertificateDer<'_>, name: &'static str, at: u64| {
            let name = ServerName::try_from(name).unwrap();
            let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
            let verdict = verifier.verify_server_cert(shown, &[], &name, &[], at);
            verdict.is_ok()
        };
        assert!(taken(&known, "pay.test", BEGIN + 1));
        assert!(!taken(&known, "other.test", BEGIN + 1));
        assert!(!taken(&known, "pay.test", BEGIN - 1));
        assert!(!taken(&known, "pay.test", BEGIN + YEAR + 1));
        assert!(!taken(&other, "pay.test", BEGIN + 1));
        // The roots alone, as it was: an authority is not taken for a host.
        let alone = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let name = ServerName::try_from("pay.test").unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(BEGIN + 1));
        let verdict = alone.build().unwrap();
        let verdict = verdict.verify_server_cert(&known, &[], &name, &[], at);
        assert!(verdict.is_err());
    }
}
