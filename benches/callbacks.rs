//! What a callback costs: signed callbacks through the real gateway (TLS, verification, journal,
//! delivery) at several numbers of connections, beside the bare disk doing the least that the
//! promise asks for (append to a preallocated file and fdatasync), in the same run.
//!
//! ```sh
//! cargo bench --bench callbacks
//! ```
//!
//! Everything shares the machine: client, gateway and application. Read the figures as ratios.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use callseal::clock::SystemClock;
use callseal::listener::tls::development_authority;
use callseal::random::SystemRandom;
use callseal::service::{Gateway, Surroundings};
use callseal::settings::Settings;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::Sha256;

const SECRET: &str = "whsec_bench_secret_0001";
const EVENTS: usize = 4_000;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let (per_second, p50, p99) = bare(dir.path());
    println!(
        "{:<34} {per_second:>9.0}/s  p50 {p50:>7.0?}  p99 {p99:>7.0?}",
        "bare append + fdatasync, 1.5 KB"
    );
    for connections in [1, 8, 64] {
        let (per_second, mut times) = run(dir.path(), connections);
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        let name = format!("gateway, {connections} connections");
        println!(
            "{name:<34} {per_second:>9.0}/s  p50 {:>7.0?}  p99 {:>7.0?}",
            at(0.5),
            at(0.99)
        );
    }
}

/// One writer, one sync an event: what a gateway without group commit could do at the best.
fn bare(dir: &Path) -> (f64, Duration, Duration) {
    let file = std::fs::File::create(dir.join("bare")).unwrap();
    file.write_all_at(&vec![0; 16 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let body = vec![7u8; 1536];
    let began = Instant::now();
    let mut times: Vec<Duration> = (0..1000u64)
        .map(|n| {
            let one = Instant::now();
            file.write_all_at(&body, n * 1536).unwrap();
            file.sync_data().unwrap();
            one.elapsed()
        })
        .collect();
    let per_second = 1000.0 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    (per_second, times[500], times[990])
}

fn run(dir: &Path, connections: usize) -> (f64, Vec<Duration>) {
    let site = dir.join(format!("site-{connections}"));
    std::fs::create_dir_all(site.join("rules")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let app = runtime.block_on(application());
    std::fs::write(site.join("rules/key"), SECRET).unwrap();
    std::fs::write(
        site.join("rules/stripe.toml"),
        format!("provider = \"stripe\"\npath = \"/stripe\"\nkeys = [\"file:key\"]\nforward = \"http://{app}/\"\n"),
    )
    .unwrap();
    let mut settings = Settings {
        rules: site.join("rules"),
        ..Settings::default()
    };
    settings.listen.address = SocketAddr::from(([127, 0, 0, 1], 0));
    settings.admin.address = SocketAddr::from(([127, 0, 0, 1], 0)).into();
    settings.inbox.store = site.join("data");
    settings.inbox.low_water = 0;
    let surroundings = Surroundings {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        on_fatal: Arc::new(|| panic!("the disk failed")),
    };
    let (gateway, _) = Gateway::start(settings.clone(), None, surroundings)
        .map_err(|f| format!("{f:?}"))
        .unwrap();
    let public = gateway.public();
    let authority = development_authority(&settings.inbox.store.join("tls"));
    let (per_second, times) = runtime.block_on(async move {
        let connector = connector(&authority);
        let began = Instant::now();
        let senders: Vec<_> = (0..connections)
            .map(|sender| {
                tokio::spawn(send(
                    connector.clone(),
                    public,
                    sender,
                    EVENTS / connections,
                ))
            })
            .collect();
        let mut times = Vec::with_capacity(EVENTS);
        for sender in senders {
            times.extend(sender.await.unwrap());
        }
        (times.len() as f64 / began.elapsed().as_secs_f64(), times)
    });
    gateway.stop().unwrap();
    (per_second, times)
}

fn connector(authority: &Path) -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).unwrap())
        .unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(config))
}

async fn send(
    connector: tokio_rustls::TlsConnector,
    public: SocketAddr,
    sender: usize,
    count: usize,
) -> Vec<Duration> {
    let tcp = tokio::net::TcpStream::connect(public).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let tls = connector
        .connect(ServerName::try_from("localhost").unwrap(), tcp)
        .await
        .unwrap();
    let (mut wire, driver) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
        .await
        .unwrap();
    tokio::spawn(driver);
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let body = format!(
            "{{\"id\":\"evt_{sender}_{n}\",\"type\":\"bench\",\"fill\":\"{}\"}}",
            "x".repeat(1450)
        );
        let at = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{at}.{body}").as_bytes());
        let signature = HEXLOWER.encode(&mac.finalize().into_bytes());
        let request = http::Request::post("/stripe")
            .header("host", "localhost")
            .header("stripe-signature", format!("t={at},v1={signature}"))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let began = Instant::now();
        let response = wire.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
        times.push(began.elapsed());
    }
    times
}

/// Takes everything.
async fn application() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = hyper::service::service_fn(
                    |request: http::Request<hyper::body::Incoming>| async {
                        request.into_body().collect().await?;
                        Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::new())))
                    },
                );
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}
