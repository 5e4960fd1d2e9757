//! Destinations over TLS: the certificate must be of the host that the rule names, by someone we trust.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::clock::SystemClock;
use crate::connect::{Material, MaterialError, Tls};
use crate::inbox::store::State;
use crate::relay::Route;
use crate::relay::target::{TlsFilesError, load_tls};
use crate::relay::tests::application::{Application, Gateway, OK, Way, quick};
use crate::relay::tests::stage::{Stage, event, route, rule, secs};
use crate::rule::{Http2, Rule, TlsFiles};
use crate::secret::{Secret, SecretRef};

/// Someone who makes certificates.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    cert: String,
}

/// A certificate with its key.
struct Issued {
    chain: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: (Secret, Secret),
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap().pem();
        Authority { params, key, cert }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap();
        roots.add(cert).unwrap();
        roots
    }

    fn pem(&self) -> Option<Secret> {
        Some(Secret::new(self.cert.clone().into_bytes()))
    }

    fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let cert = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let secret = |text: String| Secret::new(text.into_bytes());
        Issued {
            chain: cert.der().clone(),
            pem: (secret(cert.pem()), secret(key.serialize_pem())),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }
}

/// Serves with this certificate; with `clients`, only to whom those vouch for.
fn acceptor(issued: Issued, clients: Option<RootCertStore>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let mut config = builder
        .with_single_cert(vec![issued.chain], issued.key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// An https destination for `name`, and the roots that vouch for it.
async fn application(name: &str) -> (Application, RootCertStore) {
    let authority = Authority::new();
    let application = serve(acceptor(authority.issue(name), None)).await;
    (application, authority.roots())
}

async fn serve(acceptor: TlsAcceptor) -> Application {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let application = Application {
        port,
        ..Application::default()
    };
    let this = application.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (this, acceptor) = (this.clone(), acceptor.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(socket).await {
                    let spoken = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                    if spoken.as_deref() == Some(b"h2") {
                        return super::http2::serve(stream, this).await;
                    }
                    let way = this.next_way(&[Way::Say(OK.to_vec())]);
                    this.serve(stream, way).await;
                }
            });
        }
    });
    application
}

fn gateway(port: u16, host: &str, roots: RootCertStore) -> Gateway {
    let mut rule = quick(port);
    rule.relay.main.forward.https = true;
    rule.relay.main.forward.host = host.into();
    rule.relay.main.forward.authority = format!("{host}:{port}");
    rule.relay.main.retry.give_up_after = secs(0);
    rule.relay.main.http2 = Http2::Never;
    Gateway::with(route(rule), Tls::with_roots(roots), Arc::new(SystemClock))
}

#[tokio::test]
async fn a_trusted_destination_is_delivered_to_and_its_connection_used_again() {
    let (application, roots) = application("localhost").await;
    let gateway = gateway(application.port, "localhost", roots);
    for _ in 0..5 {
        assert_eq!(
            gateway.deliver(event("shop")).await.0.state,
            State::Delivered
        );
    }
    assert_eq!(
        (application.connections(), application.requests().len()),
        (1, 5)
    );
    assert!(
        application.requests()[0]
            .contains(&format!("\r\nhost: localhost:{}\r\n", application.port))
    );
}

#[tokio::test]
async fn neither_a_stranger_nor_another_name_is_trusted() {
    let (named_otherwise, its_roots) = application("other.example").await;
    let (trusted, _) = application("localhost").await;
    let (_, other_roots) = application("localhost").await;
    for (port, roots) in [
        (named_otherwise.port, its_roots),
        (trusted.port, other_roots),
    ] {
        let (row, attempts) = gateway(port, "localhost", roots)
            .deliver(event("shop"))
            .await;
        assert_eq!(
            (row.state, attempts[0].error.as_str()),
            (State::Dead, "tls")
        );
    }
    assert!(named_otherwise.requests().is_empty() && trusted.requests().is_empty());
}

#[tokio::test]
async fn the_machines_roots_are_read_only_where_a_destination_is_https() {
    let stage = Stage::with_workers(vec![rule("plain")], 0);
    assert!(!stage.relay.tls.is_prepared());
    let mut sealed = rule("sealed");
    sealed.relay.main.forward.https = true;
    stage
        .relay
        .set_routes(vec![route(rule("plain")), route(sealed)]);
    assert!(stage.relay.tls.is_prepared());
}

#[tokio::test]
async fn both_sides_agree_on_http2_and_one_connection_carries_all() {
    let (application, roots) = application("localhost").await;
    let mut rule = to_localhost(application.port);
    rule.relay.main.http2 = Http2::Alpn;
    let gateway = Gateway::with(route(rule), Tls::with_roots(roots), Arc::new(SystemClock));
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(gateway.accept(event("shop")).await);
    }
    for id in ids {
        assert_eq!(gateway.settled(id).await.0.state, State::Delivered);
    }
    assert_eq!(
        (application.connections(), application.requests().len()),
        (1, 20)
    );
    let first = &application.requests()[0];
    let authority = format!("POST https://localhost:{}/hook HTTP/2.0", application.port);
    assert!(first.starts_with(&authority), "{first}");
}

fn to_localhost(port: u16) -> Rule {
    let mut rule = quick(port);
    rule.relay.main.forward.https = true;
    rule.relay.main.forward.host = "localhost".into();
    rule.relay.main.forward.authority = format!("localhost:{port}");
    rule.relay.main.retry.give_up_after = secs(0);
    rule
}

fn own(rule: Rule, material: &Material) -> Route {
    Route {
        tls: Some(Arc::new(Tls::with_material(material).unwrap())),
        ..route(rule)
    }
}

#[tokio::test]
async fn a_destination_may_have_trust_a_name_and_a_certificate_of_its_own() {
    let (ours, theirs, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let acceptor = acceptor(theirs.issue("vault.internal"), Some(ours.roots()));
    let application = serve(acceptor).await;
    let material = |ca: &Authority, identity: Option<&Authority>, name: &str| Material {
        ca: ca.pem(),
        identity: identity.map(|authority| authority.issue("callseal").pem),
        server_name: Some(name.to_owned()),
    };
    let cases = [
        (material(&theirs, Some(&ours), "vault.internal"), ""),
        (material(&theirs, Some(&ours), "other.internal"), "tls"),
        (material(&theirs, Some(&stranger), "vault.internal"), "tls"),
        (material(&theirs, None, "vault.internal"), "tls"),
        (material(&stranger, Some(&ours), "vault.internal"), "tls"),
    ];
    for (number, (material, code)) in cases.into_iter().enumerate() {
        let route = own(to_localhost(application.port), &material);
        // The roots of all others do not count for a destination with its own.
        let shared = Tls::with_roots(theirs.roots());
        let gateway = Gateway::with(route, shared, Arc::new(SystemClock));
        let (_, attempts) = gateway.deliver(event("shop")).await;
        assert_eq!(attempts[0].error, code, "{number}");
    }
    assert_eq!(application.requests().len(), 1);
}

#[tokio::test]
async fn a_reload_uses_no_connection_that_was_made_under_other_trust() {
    let authority = Authority::new();
    let application = serve(acceptor(authority.issue("localhost"), None)).await;
    let trusting = |authority: &Authority| {
        let material = Material {
            ca: authority.pem(),
            ..Material::default()
        };
        own(to_localhost(application.port), &material)
    };
    let native = Tls::with_roots(RootCertStore::empty());
    let gateway = Gateway::with(trusting(&authority), native, Arc::new(SystemClock));
    gateway.deliver(event("shop")).await;
    gateway.deliver(event("shop")).await;
    assert_eq!(application.connections(), 1);
    gateway.relay.set_routes(vec![trusting(&Authority::new())]);
    let (row, attempts) = gateway.deliver(event("shop")).await;
    assert_eq!(
        (row.state, attempts[0].error.as_str()),
        (State::Dead, "tls")
    );
    gateway.relay.set_routes(vec![trusting(&authority)]);
    assert_eq!(
        gateway.deliver(event("shop")).await.0.state,
        State::Delivered
    );
    assert_eq!(application.connections(), 2);
}

#[test]
fn files_that_cannot_be_used_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (cert, key) = authority.issue("callseal").pem;
    let (_, other) = authority.issue("callseal").pem;
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        SecretRef::File(folder.path().join(name))
    };
    let ca = file("ca", authority.cert.as_bytes());
    let cert = file("cert", cert.expose());
    let key = file("key", key.expose());
    let other = file("other", other.expose());
    let junk = file("junk", b"-----BEGIN canary");
    let gone = SecretRef::File(folder.path().join("gone"));
    let load = |ca: &SecretRef, cert: &SecretRef, key: &SecretRef| {
        let files = TlsFiles {
            ca: Some(ca.clone()),
            identity: Some((cert.clone(), key.clone())),
            server_name: None,
        };
        load_tls(&files).map(drop)
    };
    assert_eq!(load(&ca, &cert, &key), Ok(()));
    for (result, place, error) in [
        (load(&junk, &cert, &key), &junk, MaterialError::Ca),
        (load(&ca, &junk, &key), &junk, MaterialError::Certificate),
        (load(&ca, &cert, &junk), &junk, MaterialError::Key),
        (load(&ca, &cert, &other), &other, MaterialError::Identity),
    ] {
        let expected = (Some(place.clone()), TlsFilesError::Unusable(error));
        assert_eq!(result, Err(expected));
    }
    let (place, error) = load(&gone, &cert, &key).unwrap_err();
    assert_eq!(place, Some(gone));
    assert!(matches!(error, TlsFilesError::Unreadable(_)));
}
