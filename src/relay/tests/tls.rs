//! Destinations over TLS: the certificate must be of the host that the rule names, by someone we trust.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::clock::SystemClock;
use crate::connect::Tls;
use crate::inbox::store::State;
use crate::relay::tests::application::{Application, Gateway, OK, Way, quick};
use crate::relay::tests::stage::{Stage, event, route, rule, secs};

/// An https destination for `name`, and the roots that vouch for it.
async fn application(name: &str) -> (Application, RootCertStore) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_params(&ca, &ca_key);
    let cert = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca_cert.der().clone()).unwrap();

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
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
                    assert_eq!(
                        stream.get_ref().1.alpn_protocol(),
                        Some(b"http/1.1".as_slice())
                    );
                    let way = this.next_way(&[Way::Say(OK.to_vec())]);
                    this.serve(stream, way).await;
                }
            });
        }
    });
    (application, roots)
}

fn gateway(port: u16, host: &str, roots: RootCertStore) -> Gateway {
    let mut rule = quick(port);
    rule.relay.main.forward.https = true;
    rule.relay.main.forward.host = host.into();
    rule.relay.main.forward.authority = format!("{host}:{port}");
    rule.relay.main.retry.give_up_after = secs(0);
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
