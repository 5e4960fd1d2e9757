//! TLS, client certificates, the Unix socket, and what is no place for an admin port.

use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::{Fields, OPERATOR, VIEWER, bearer, bytes, code, plain, site};
use crate::harness::client::exchange;
use crate::harness::gateway::output;
use crate::harness::{Gateway, PATIENCE, eventually};

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// An authority with a name of its own, and certificates of it.
pub struct Authority {
    pub pem: String,
    pub issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        // A list of revoked certificates is found by the name of whose it is.
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let name = format!("authority {number}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Authority { pem, issuer }
    }

    /// Certificate and key, as PEM.
    pub fn sign(&self, name: &str) -> (String, String) {
        self.sign_as(name, None)
    }

    /// With a number of our choice.
    pub fn sign_as(&self, name: &str, serial: Option<u64>) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2099, 1, 1);
        params.serial_number = serial.map(Into::into);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }
}

pub type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn config(
    authority: &str,
    identity: Option<&(String, String)>,
    alpn: &[u8],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// A connection that trusts this authority, with a certificate of its own or without.
pub fn connect(
    gateway: &Gateway,
    authority: &str,
    identity: Option<&(String, String)>,
) -> std::io::Result<Tls> {
    let name = ServerName::try_from("admin.example.com").unwrap();
    let config = Arc::new(config(authority, identity, b"http/1.1"));
    let tls = rustls::ClientConnection::new(config, name).unwrap();
    let tcp = TcpStream::connect(gateway.admin)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    Ok(rustls::StreamOwned::new(tls, tcp))
}

#[test]
fn over_tls_a_certificate_comes_before_the_token() {
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let more = "tls = { cert = \"admin.pem\", key = \"admin.key\", client_ca = \"clients.pem\" }\nhosts = [\"admin.example.com\"]\n";
    // All addresses: allowed, since there are TLS and a token.
    let site = site("0.0.0.0:0", more);
    let put = |authority: &Authority| {
        let (cert, key) = authority.sign("admin.example.com");
        std::fs::write(site.path("admin.key"), key).unwrap();
        std::fs::write(site.path("admin.pem"), cert).unwrap();
    };
    put(&servers);
    std::fs::write(site.path("clients.pem"), &clients.pem).unwrap();
    assert_eq!(output(site.command(&["check", "--offline"])).0, 0);
    let gateway = site.start();
    gateway.says("https://0.0.0.0:");
    let (token, host) = (bearer(OPERATOR), ("Host", "admin.example.com"));
    let ask = |authority: &str, identity: Option<&(String, String)>, target: &str| {
        let mut stream = connect(&gateway, authority, identity)?;
        exchange(
            &mut stream,
            &bytes(
                "GET",
                target,
                &[host, ("Authorization", token.as_str())],
                "",
            ),
        )
    };
    let without = ask(&servers.pem, None, "/v1/events").unwrap();
    assert_eq!(
        (without.status, code(&without).as_str()),
        (403, "client_certificate")
    );
    assert_eq!(ask(&servers.pem, None, "/healthz").unwrap().status, 200);
    let (known, stranger) = (clients.sign("alice"), strangers.sign("mallory"));
    let inside = ask(&servers.pem, Some(&known), "/v1/events").unwrap();
    assert_eq!(inside.status, 200);
    assert_eq!(
        inside.header("strict-transport-security"),
        Some("max-age=31536000")
    );
    assert!(ask(&servers.pem, Some(&stranger), "/v1/events").is_err());
    let metrics = ask(&servers.pem, Some(&known), "/metrics").unwrap();
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let ends = "callseal_certificate_expiry_timestamp_seconds{port=\"admin\"} ";
    let ends = metrics.lines().find_map(|line| line.strip_prefix(ends));
    // The first of January 2099, from the start on.
    assert_eq!(ends.unwrap().parse(), Ok(4_070_908_800.0));
    // The command line trusts the settings' own certificate; without one of its own it hears what is
    // missing.
    std::fs::write(site.path("alice.pem"), &known.0).unwrap();
    std::fs::write(site.path("alice.key"), &known.1).unwrap();
    std::fs::write(site.path("token"), OPERATOR).unwrap();
    let settings = std::fs::read_to_string(site.path("callseal.toml")).unwrap();
    let bound = format!("0.0.0.0:{}", gateway.admin.port());
    let settings = settings.replacen("0.0.0.0:0", &bound, 1);
    std::fs::write(site.path("callseal.toml"), settings).unwrap();
    let asked = |arguments: &[&str]| {
        let base = ["sources", "--token", "file:token"];
        output(site.command(&[&base, arguments].concat()))
    };
    let (status, _, error) = asked(&["--client-cert", "alice.pem", "--client-key", "alice.key"]);
    assert_eq!(status, 0, "{error}");
    let (status, _, error) = asked(&[]);
    assert_eq!(status, 77, "{error}");
    assert!(
        error.contains("client_certificate") && error.contains("--client-cert"),
        "{error}"
    );
    let (status, _, error) = asked(&["--client-cert", "alice.pem"]);
    assert_eq!(status, 2, "{error}");
    // A certificate alone opens nothing.
    let mut stream = connect(&gateway, &servers.pem, Some(&known)).unwrap();
    assert_eq!(
        exchange(&mut stream, &bytes("GET", "/v1/events", &[host], ""))
            .unwrap()
            .status,
        401
    );
    // The cookie is for this host alone.
    let mut stream = connect(&gateway, &servers.pem, Some(&known)).unwrap();
    let body = format!("{{\"token\":\"{OPERATOR}\"}}");
    let json = ("Content-Type", "application/json");
    let signed = exchange(
        &mut stream,
        &bytes("POST", "/session", &[host, json], &body),
    )
    .unwrap();
    let cookie = signed.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-callseal_session=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    // In the clear nothing is answered.
    let mut clear = TcpStream::connect(gateway.admin).unwrap();
    clear.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(exchange(&mut clear, &bytes("GET", "/healthz", &[], "")).is_err());
    // HTTP/2, with the name in `:authority`.
    assert_eq!(
        over_http2(&gateway, &servers.pem, &known, "admin.example.com"),
        200
    );
    assert_eq!(
        over_http2(&gateway, &servers.pem, &known, "evil.example"),
        421
    );

    let health = |arguments: &[&str]| output(site.command(arguments)).0;
    let at = format!("https://localhost:{}", gateway.admin.port());
    assert_eq!(
        health(&["health", "--admin", &at]),
        1,
        "of no authority of this machine's"
    );
    // Other certificates, without a restart.
    put(&strangers);
    std::fs::write(site.path("clients.pem"), &strangers.pem).unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the new certificate", || {
        ask(&strangers.pem, Some(&stranger), "/v1/events").ok()
    });
    assert!(ask(&strangers.pem, Some(&known), "/v1/events").is_err());
}

/// A GET of the events; its status.
fn over_http2(gateway: &Gateway, authority: &str, identity: &(String, String), host: &str) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = Arc::new(config(authority, Some(identity), b"h2"));
        let tcp = tokio::net::TcpStream::connect(gateway.admin).await.unwrap();
        let name = ServerName::try_from("admin.example.com").unwrap();
        let tls = tokio_rustls::TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = hyper_util::rt::TokioIo::new(tls);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
            .await
            .unwrap();
        let driver = tokio::spawn(connection);
        let request = http::Request::builder()
            .uri(format!("https://{host}/v1/events"))
            .header("authorization", bearer(OPERATOR))
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let status = sender
            .send_request(request)
            .await
            .unwrap()
            .status()
            .as_u16();
        drop(sender);
        let _ = driver.await;
        status
    })
}

#[test]
fn the_command_line_asks_over_tls_by_the_settings_own_certificate() {
    let servers = Authority::new();
    let site = site(
        "127.0.0.1:0",
        "tls = { cert = \"admin.pem\", key = \"admin.key\" }\n",
    );
    // A name that nobody asks for: the very certificate counts.
    let (cert, key) = servers.sign("elsewhere.example.com");
    std::fs::write(site.path("admin.pem"), &cert).unwrap();
    std::fs::write(site.path("admin.key"), key).unwrap();
    std::fs::write(site.path("ca.pem"), &servers.pem).unwrap();
    let gateway = site.start();
    let file = site.path("callseal.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    let settings = settings.replacen("127.0.0.1:0", &gateway.admin.to_string(), 1);
    std::fs::write(site.path("known.toml"), settings).unwrap();
    let known = ["--config", "known.toml", "health", "--ready"];
    let (code, said, error) = output(site.command(&known));
    assert_eq!((code, said.trim()), (0, "ready"), "{error}");
    let at = format!("https://{}", gateway.admin);
    let (code, _, error) = output(site.command(&["health", "--admin", &at, "--ca", "ca.pem"]));
    assert_eq!(code, 1, "the certificate is of another name: {error}");
    std::fs::write(site.path("admin.pem"), &servers.pem).unwrap();
    assert_eq!(
        output(site.command(&known)).0,
        1,
        "another certificate is not taken"
    );
}

#[test]
fn a_unix_socket_is_its_owners_and_its_groups_and_wants_a_token() {
    let site = site("unix:admin.sock", "");
    let path = site.path("admin.sock");
    let gateway = site.start();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let ask = |fields: Fields<'_>| {
        let mut stream = UnixStream::connect(&path).unwrap();
        exchange(&mut stream, &bytes("GET", "/v1/events", fields, ""))
            .unwrap()
            .status
    };
    let token = bearer(VIEWER);
    assert_eq!(ask(&[]), 401);
    assert_eq!(ask(&[("Authorization", &token)]), 200);
    assert_eq!(ask(&[("Host", "anything"), ("Authorization", &token)]), 200);
    let by_settings = output(site.command(&["health"]));
    assert_eq!(
        (by_settings.0, by_settings.1.trim()),
        (0, "ok"),
        "{}",
        by_settings.2
    );
    let at = format!("unix:{}", path.display());
    assert_eq!(output(site.command(&["health", "--admin", &at])).0, 0);
    // What a process left behind that was killed is replaced.
    gateway.kill();
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
    let gateway = site.start();
    assert_eq!(ask(&[("Authorization", &token)]), 200);
    assert!(gateway.terminate().success());
    assert!(!path.exists());
    // What is no socket is nobody's to remove.
    std::fs::write(&path, "a file").unwrap();
    let log = site.try_start(site.command(&["serve"])).err().unwrap();
    assert!(log.contains("no socket"), "{log}");
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}

#[test]
fn threat_25_nothing_but_loopback_without_tls_and_a_token() {
    for (admin, hint) in [
        (
            "[admin]\naddress = \"0.0.0.0:0\"\noperator = [\"file:alice\"]\n",
            "tls = {",
        ),
        (
            "[admin]\naddress = \"[::]:0\"\ntls = { cert = \"c\", key = \"k\" }\n",
            "operator = [",
        ),
    ] {
        let site = plain();
        std::fs::write(site.path("callseal.toml"), admin).unwrap();
        for command in ["check", "serve"] {
            let (code, _, error) = output(site.command(&[command]));
            assert_eq!(code, 78, "{error}");
            assert!(
                error.contains("admin_public") && error.contains(hint),
                "{error}"
            );
            assert!(error.contains("callseal.toml:2"), "{error}");
        }
        assert!(!site.data().exists());
    }
}
