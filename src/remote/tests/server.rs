//! A provider on a real socket, over TLS, that treats one connection after another as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::clock::{ManualClock, Timestamp};
use crate::message::Headers;
use crate::remote::{Auth, HttpsAsk, Outbound};
use crate::settings::OutboundSettings;
use crate::telemetry::Metrics;

pub const HOST: &str = "api.provider.test";
pub const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

/// What a server does with one connection; the last way is that of all further ones.
#[derive(Clone, Debug)]
pub enum Way {
    /// Reads the request, writes this, closes.
    Say(Vec<u8>),
    /// Reads the request, writes this, and then time flies: nothing more comes.
    Stall(Vec<u8>),
    /// Closed once the request is read.
    Slam,
}

/// An answer with this status, these further header lines and this body.
pub fn say(status: u16, lines: &str, body: &str) -> Way {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\n{lines}content-length: {length}\r\n\r\n{body}");
    Way::Say(text.into_bytes())
}

pub fn ok(body: &str) -> Way {
    say(200, "", body)
}

pub struct Server {
    pub port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    /// Holds the root certificate, as `outbound.roots` names it.
    folder: TempDir,
}

impl Server {
    pub async fn start(ways: impl IntoIterator<Item = Way>) -> Server {
        Server::of(HOST, ways).await
    }

    /// With a certificate for `name`.
    pub async fn of(name: &str, ways: impl IntoIterator<Item = Way>) -> Server {
        let (acceptor, root) = certificate(name);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root.pem"), root).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server {
            port,
            requests: Arc::default(),
            folder,
        };
        let (requests, ways) = (
            server.requests.clone(),
            ways.into_iter().collect::<Vec<_>>(),
        );
        tokio::spawn(async move {
            for turn in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let way = ways.get(turn).or(ways.last()).unwrap().clone();
                let (requests, acceptor) = (requests.clone(), acceptor.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        serve(stream, way, &requests).await;
                    }
                });
            }
        });
        server
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Its root is trusted, and `HOST` is dialled here.
    pub fn settings(&self) -> OutboundSettings {
        let address = format!("127.0.0.1:{}", self.port).parse().unwrap();
        OutboundSettings {
            roots: Some(self.folder.path().join("root.pem")),
            connect: [((HOST.to_owned(), 443), address)].into(),
            ..OutboundSettings::default()
        }
    }

    pub fn ask(&self) -> HttpsAsk {
        asking(&self.settings())
    }
}

pub fn asking(settings: &OutboundSettings) -> HttpsAsk {
    let clock = Arc::new(ManualClock::at(NOW));
    HttpsAsk::new(settings, clock, Metrics::new()).unwrap()
}

/// A GET of `target` from `HOST`.
pub fn get(target: &str) -> Outbound {
    Outbound {
        method: Method::GET,
        https: true,
        host: HOST.into(),
        port: 443,
        own_host: false,
        target: target.into(),
        headers: Headers::new(),
        body: Bytes::new(),
        timeout: Duration::from_secs(5),
        auth: Auth::None,
    }
}

fn certificate(name: &str) -> (TlsAcceptor, String) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let root = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &Issuer::from_params(&ca, &ca_key))
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), root)
}

pub async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    way: Way,
    requests: &Mutex<Vec<String>>,
) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    requests.lock().unwrap().push(request);
    // A client that has read enough closes, and the rest cannot be written.
    match way {
        Way::Say(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Way::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            // From here on a timer that is waited for fires at once.
            tokio::time::pause();
            std::future::pending::<()>().await;
        }
        Way::Slam => {}
    }
}

/// Head and body of one request.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8(read.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |l| l.parse().unwrap()) {
                return Some(text);
            }
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => read.extend_from_slice(&part[..n]),
        }
    }
}
