//! Who gets in at the admin port and how far (threats 25 and 28): tokens, roles, sessions, names, TLS,
//! the Unix socket, limits.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use callseal::admin::auth::Access;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::harness::client::{Response, exchange, read_response};
use crate::harness::gateway::output;
use crate::harness::{Gateway, Site, eventually};

const OPERATOR: &str = "operator-token-0001";
const VIEWER: &str = "viewer-token-000001";

/// A site with a source, tokens of alice (an operator) and a viewer, and more under `[admin]`.
fn site(address: &str, more: &str) -> Site {
    let site = Site::new();
    std::fs::write(site.path("alice"), format!("{OPERATOR}\n")).unwrap();
    std::fs::write(site.path("viewer"), format!("{VIEWER}\n")).unwrap();
    site.stripe("http://127.0.0.1:9/", "");
    let settings = std::fs::read_to_string(site.path("callseal.toml")).unwrap();
    let admin = format!(
        "[admin]\naddress = \"{address}\"\noperator = [{{ from = \"file:alice\", name = \"alice\" }}]\nviewer = [\"file:viewer\"]\n{more}"
    );
    let settings = settings.replace("[admin]\naddress = \"127.0.0.1:0\"\n", &admin);
    std::fs::write(site.path("callseal.toml"), settings).unwrap();
    site
}

fn plain() -> Site {
    site("127.0.0.1:0", "")
}

type Fields<'f> = &'f [(&'f str, &'f str)];

/// A request as bytes; Host is `localhost` unless it is among the fields.
fn bytes(method: &str, target: &str, fields: Fields<'_>, body: &str) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !fields.iter().any(|(name, _)| *name == "Host") {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

fn ask(gateway: &Gateway, method: &str, target: &str, fields: Fields<'_>, body: &str) -> Response {
    let mut stream = TcpStream::connect(gateway.admin).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    exchange(&mut stream, &bytes(method, target, fields, body)).unwrap()
}

fn code(response: &Response) -> String {
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Cookie and CSRF word of a new session.
fn sign_in(gateway: &Gateway, token: &str) -> (String, String) {
    let body = format!("{{\"token\":\"{token}\"}}");
    let json = [("Content-Type", "application/json")];
    let answer = ask(gateway, "POST", "/session", &json, &body);
    assert_eq!(answer.status, 200);
    let cookie = answer.header("set-cookie").unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert!(!cookie.contains("Secure"));
    let session: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let csrf = session["csrf"].as_str().unwrap().to_owned();
    (cookie.split(';').next().unwrap().to_owned(), csrf)
}

/// Every route with everyone: what the table says is what happens.
#[test]
fn threat_25_each_role_gets_what_the_table_of_routes_says() {
    let site = plain();
    let gateway = site.start();
    let (viewer, operator) = (bearer(VIEWER), bearer(OPERATOR));
    let (cookie, csrf) = sign_in(&gateway, VIEWER);
    for route in callseal::admin::routes::routes() {
        // Its own session is what it is about.
        if route.path == "/session" {
            continue;
        }
        let target = route.path.replace("{id}", "1").replace("{name}", "none");
        let status = |fields: Fields<'_>| {
            let mut all = vec![("Content-Type", "application/json")];
            all.extend(fields);
            let body = if route.body.is_some() { "{}" } else { "" };
            ask(&gateway, route.method, &target, &all, body).status
        };
        let place = format!("{} {}", route.method, route.path);
        let open = matches!(route.access, Access::Health | Access::Open);
        let let_in = |status: u16| ![401, 403, 405, 421, 429].contains(&status);
        assert_eq!(status(&[]) != 401, open, "{place} by nobody");
        assert_eq!(
            status(&[("Authorization", "Bearer wrong-token-0000001")]) != 401,
            open
        );
        let may_look = route.access != Access::Operator;
        let looked = status(&[("Authorization", &viewer)]);
        assert_eq!(
            (let_in(looked), looked == 403),
            (may_look, !may_look),
            "{place}"
        );
        let session = [
            ("Cookie", cookie.as_str()),
            ("X-Callseal-CSRF", &csrf),
            ("Origin", "http://localhost"),
        ];
        let looked = status(&session);
        assert_eq!(
            (let_in(looked), looked == 403),
            (may_look, !may_look),
            "{place}"
        );
        let acted = status(&[("Authorization", &operator)]);
        assert!(let_in(acted), "{place} by an operator: {acted}");
    }
    gateway.keeps_secret(&[OPERATOR, VIEWER, "wrong-token", &cookie[17..]]);
    assert!(gateway.log().contains("a token that is none of ours"));
}

#[test]
fn a_session_changes_things_only_from_our_own_page() {
    let site = plain();
    let gateway = site.start();
    let json = ("Content-Type", "application/json");
    for (fields, body, status) in [
        (vec![json], "{\"token\":\"wrong-token-0000001\"}", 401),
        (vec![json], "{\"token\":7}", 400),
        (
            vec![json],
            "{\"token\":\"operator-token-0001\",\"more\":1}",
            400,
        ),
        (vec![], "{\"token\":\"operator-token-0001\"}", 400),
        (
            vec![json, ("Origin", "http://evil.example")],
            "{\"token\":\"operator-token-0001\"}",
            403,
        ),
        (
            vec![json, ("Sec-Fetch-Site", "cross-site")],
            "{\"token\":\"operator-token-0001\"}",
            403,
        ),
    ] {
        let answer = ask(&gateway, "POST", "/session", &fields, body);
        assert_eq!(answer.status, status, "{fields:?} {body}");
        assert!(answer.header("set-cookie").is_none());
        assert!(!String::from_utf8_lossy(&answer.body).contains("token-0"));
    }
    let (cookie, csrf) = sign_in(&gateway, OPERATOR);
    let cookie = ("Cookie", cookie.as_str());
    let shown = ask(&gateway, "GET", "/session", &[cookie], "");
    let shown: serde_json::Value = serde_json::from_slice(&shown.body).unwrap();
    assert_eq!(
        (&shown["role"], &shown["label"], &shown["csrf"]),
        (&"operator".into(), &"alice".into(), &csrf.as_str().into())
    );
    assert_eq!(
        ask(&gateway, "GET", "/v1/events", &[cookie], "").status,
        200
    );

    let pause = |fields: Fields<'_>| {
        let mut all = vec![cookie];
        all.extend(fields);
        let answer = ask(&gateway, "POST", "/v1/sources/stripe/pause", &all, "");
        (answer.status, code(&answer))
    };
    let (word, ours) = (
        ("X-Callseal-CSRF", csrf.as_str()),
        ("Origin", "http://localhost"),
    );
    let csrf_no = (403, "csrf".to_owned());
    for fields in [
        vec![],
        vec![word],
        vec![ours],
        vec![("X-Callseal-CSRF", "0000"), ours],
        vec![("X-Callseal-CSRF", ""), ours],
        vec![word, ("Origin", "http://evil.example")],
        vec![word, ("Origin", "null")],
        vec![word, ("Origin", "http://localhost:3000")],
        vec![word, ("Sec-Fetch-Site", "same-site")],
        vec![word, ours, ours],
    ] {
        assert_eq!(pause(&fields), csrf_no, "{fields:?}");
    }
    assert_eq!(pause(&[word, ours]).0, 200);
    assert_eq!(pause(&[word, ("Sec-Fetch-Site", "same-origin")]).0, 200);
    // The name of whoever holds the token stands in the audit.
    let token = bearer(OPERATOR);
    let audit = ask(
        &gateway,
        "GET",
        "/v1/audit",
        &[("Authorization", &token)],
        "",
    );
    let audit: serde_json::Value = serde_json::from_slice(&audit.body).unwrap();
    assert_eq!(audit["audit"][0]["by"], "alice");

    assert_eq!(
        ask(&gateway, "DELETE", "/session", &[cookie], "").status,
        403
    );
    let ended = ask(&gateway, "DELETE", "/session", &[cookie, word, ours], "");
    assert_eq!(ended.status, 204);
    assert!(ended.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(
        ask(&gateway, "GET", "/v1/events", &[cookie], "").status,
        401
    );
    assert_eq!(ask(&gateway, "GET", "/session", &[cookie], "").status, 401);
    gateway.keeps_secret(&[OPERATOR, &cookie.1[17..], &csrf]);
}

#[test]
fn a_token_is_exchanged_without_a_restart_and_takes_its_sessions_with_it() {
    let site = plain();
    let gateway = site.start();
    let (cookie, _) = sign_in(&gateway, OPERATOR);
    let (viewers, _) = sign_in(&gateway, VIEWER);
    let status =
        |name: &str, value: &str| ask(&gateway, "GET", "/v1/events", &[(name, value)], "").status;
    // A second one beside it, then the first goes.
    std::fs::write(site.path("bob"), "bob-token-00000000001").unwrap();
    let file = site.path("callseal.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let both = before.replace("name = \"alice\" }", "name = \"alice\" }, \"file:bob\"");
    std::fs::write(&file, both).unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the second token", || {
        (status("Authorization", "Bearer bob-token-00000000001") == 200).then_some(())
    });
    assert_eq!(status("Cookie", &cookie), 200);
    std::fs::write(site.path("alice"), "operator-token-0002\n").unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the exchanged token", || {
        (status("Authorization", "Bearer operator-token-0002") == 200).then_some(())
    });
    assert_eq!(status("Authorization", &bearer(OPERATOR)), 401);
    assert_eq!(status("Cookie", &cookie), 401);
    assert_eq!(status("Cookie", &viewers), 200);
    // A token that is too short is no reason to lock everybody out.
    std::fs::write(site.path("alice"), "short\n").unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the word about it", || {
        gateway.log().contains("fewer than 16 bytes").then_some(())
    });
    assert_eq!(status("Authorization", "Bearer operator-token-0002"), 200);
}

#[test]
fn threat_25_names_tokens_in_addresses_and_what_answers_bear() {
    let site = site("127.0.0.1:0", "hosts = [\"admin.example.com\"]\n");
    let gateway = site.start();
    let token = bearer(OPERATOR);
    let by = |target: &str, host: &str| {
        let fields = [("Host", host), ("Authorization", token.as_str())];
        ask(&gateway, "GET", target, &fields, "")
    };
    let own = gateway.admin.to_string();
    for host in [
        "localhost",
        "127.0.0.1:1",
        "[::1]:8444",
        "admin.example.com",
        own.as_str(),
    ] {
        assert_eq!(by("/v1/events", host).status, 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "192.0.2.1",
        "localhost@evil.example",
    ] {
        let answer = by("/v1/events", host);
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (421, "host"),
            "{host}"
        );
        assert_eq!(by("/healthz", host).status, 421, "{host}");
    }
    assert_eq!(by("http://localhost/v1/events", "localhost").status, 200);
    assert_eq!(by("http://evil.example/v1/events", "localhost").status, 421);
    for query in ["token=x", "a=1&access_token=x", "TOKEN=x", "t%6fken=x"] {
        for path in ["/v1/events", "/healthz"] {
            let answer = by(&format!("{path}?{query}"), "localhost");
            assert_eq!(answer.status, 400, "{query}");
            assert!(String::from_utf8_lossy(&answer.body).contains("Bearer"));
        }
    }
    for target in [
        "/v1/events",
        "/healthz",
        "/nothing",
        "/v1/events?limit=0",
        "/session",
    ] {
        let answer = by(target, "localhost");
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}");
        }
        assert_eq!(answer.header("strict-transport-security"), None);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let two = [
        ("Authorization", token.as_str()),
        ("Authorization", token.as_str()),
    ];
    assert_eq!(ask(&gateway, "GET", "/v1/events", &two, "").status, 401);
}

/// An authority, and certificates of it.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Authority { pem, issuer }
    }

    /// Certificate and key, as PEM.
    fn sign(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

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
fn connect(
    gateway: &Gateway,
    authority: &str,
    identity: Option<&(String, String)>,
) -> std::io::Result<Tls> {
    let name = ServerName::try_from("admin.example.com").unwrap();
    let config = Arc::new(config(authority, identity, b"http/1.1"));
    let tls = rustls::ClientConnection::new(config, name).unwrap();
    let tcp = TcpStream::connect(gateway.admin)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
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
    assert!(
        gateway.log().contains("https://0.0.0.0:"),
        "{}",
        gateway.log()
    );
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
    clear
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
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

#[test]
fn threat_17_and_18_too_much_and_too_often() {
    let site = plain();
    let gateway = site.start();
    let token = bearer(OPERATOR);
    let fields = [
        ("Authorization", token.as_str()),
        ("Content-Type", "application/json"),
    ];
    let large = format!("{{\"state\":\"{}\"}}", "x".repeat(65 * 1024));
    let answer = ask(&gateway, "POST", "/v1/redrive", &fields, &large);
    assert_eq!((answer.status, code(&answer).as_str()), (413, "too_large"));
    let many: Vec<(String, String)> = (0..80)
        .map(|n| (format!("X-{n}"), "x".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(ask(&gateway, "GET", "/healthz", &many, "").status, 431);
    let long = "x".repeat(40 * 1024);
    assert_eq!(
        ask(&gateway, "GET", "/healthz", &[("X-Long", &long)], "").status,
        431
    );

    // Who holds many places leaves some to others.
    let idle: Vec<TcpStream> = (0..48)
        .map(|_| TcpStream::connect(gateway.admin).unwrap())
        .collect();
    let from = |address: &str| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let address: std::net::SocketAddr = address.parse().unwrap();
        socket.bind(&address.into()).unwrap();
        socket.connect(&gateway.admin.into()).unwrap();
        let mut stream: TcpStream = socket.into();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let _ = stream.write_all(&bytes("GET", "/healthz", &[], ""));
        read_response(&mut stream)
    };
    let full = from("127.0.0.1:0");
    assert!(full.is_err() || full.unwrap().status == 503);
    assert_eq!(from("127.0.9.1:0").unwrap().status, 200);
    drop(idle);
    eventually("a place", || {
        from("127.0.0.1:0")
            .ok()
            .filter(|answer| answer.status == 200)
    });

    // Wrong tokens, more slowly; a right one goes on.
    let wrong = [("Authorization", "Bearer wrong-token-0000001")];
    let answers: Vec<Response> = (0..30)
        .map(|_| ask(&gateway, "GET", "/v1/events", &wrong, ""))
        .collect();
    let slowed = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(
        (code(slowed).as_str(), slowed.header("retry-after")),
        ("too_many_requests", Some("1"))
    );
    assert_eq!(ask(&gateway, "GET", "/v1/events", &fields, "").status, 200);
    let said = gateway
        .log()
        .matches("a token that is none of ours")
        .count();
    assert!((10..30).contains(&said), "{said}");

    // All of one address's requests.
    let mut stream = TcpStream::connect(gateway.admin).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (mut writer, end) = (
        stream.try_clone().unwrap(),
        bytes("GET", "/healthz", &[], ""),
    );
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(&one.repeat(3000));
        let _ = writer.write_all(&end);
    });
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    writing.join().unwrap();
    let all = String::from_utf8_lossy(&all);
    assert!(all.matches("HTTP/1.1 200").count() >= 300, "{}", all.len());
    assert!(all.contains("HTTP/1.1 429") && all.contains("retry-after: 1"));
}
