//! Who gets in at the admin port and how far (threats 17, 18 and 25): tokens, roles, sessions, names,
//! TLS, the Unix socket, limits.

mod jobs;
mod limits;
mod revoked;
mod masks;
mod tokens;
mod transport;

use std::net::TcpStream;

use crate::harness::client::{Response, exchange};
use crate::harness::{Gateway, PATIENCE, Site};

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
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
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
