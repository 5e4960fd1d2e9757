//! The providers of the demo: they sign as the real ones do, and call through TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// One callback, signed and ready to go.
#[derive(Clone, Debug)]
pub struct Callback {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Callback {
    pub fn new(path: &str, body: impl Into<Bytes>) -> Self {
        Callback {
            path: path.to_owned(),
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.into(),
        }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Hexadecimal or base64 HMAC-SHA256 of the parts, one after the other.
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

pub fn stripe(path: &str, secret: &str, at: u64, body: &str) -> Callback {
    let signature = HEXLOWER.encode(&hmac(
        secret.as_bytes(),
        &[at.to_string().as_bytes(), b".", body.as_bytes()],
    ));
    Callback::new(path, body.to_owned()).with("stripe-signature", format!("t={at},v1={signature}"))
}

pub fn github(path: &str, secret: &str, delivery: &str, body: &str) -> Callback {
    let signature = HEXLOWER.encode(&hmac(secret.as_bytes(), &[body.as_bytes()]));
    Callback::new(path, body.to_owned())
        .with("x-github-event", "push")
        .with("x-github-delivery", delivery)
        .with("x-hub-signature-256", format!("sha256={signature}"))
}

pub fn standard_webhooks(path: &str, key: &[u8], id: &str, at: u64, body: &str) -> Callback {
    let at = at.to_string();
    let parts = [id.as_bytes(), b".", at.as_bytes(), b".", body.as_bytes()];
    let signature = BASE64.encode(&hmac(key, &parts));
    Callback::new(path, body.to_owned())
        .with("webhook-id", id)
        .with("webhook-timestamp", at)
        .with("webhook-signature", format!("v1,{signature}"))
}

pub fn slack(path: &str, secret: &str, at: u64, body: &str) -> Callback {
    let at = at.to_string();
    let signature = HEXLOWER.encode(&hmac(
        secret.as_bytes(),
        &[b"v0:", at.as_bytes(), b":", body.as_bytes()],
    ));
    Callback::new(path, body.to_owned())
        .with("x-slack-request-timestamp", at)
        .with("x-slack-signature", format!("v0={signature}"))
}

/// `generic-hmac`: id, timestamp, method, target and body digest, a line each.
pub fn generic(path: &str, secret: &str, id: &str, at: u64, body: &str) -> Callback {
    let digest = HEXLOWER.encode(&Sha256::digest(body.as_bytes()));
    let message = format!("{id}\n{at}\nPOST\n{path}\n{digest}");
    let signature = HEXLOWER.encode(&hmac(secret.as_bytes(), &[message.as_bytes()]));
    Callback::new(path, body.to_owned())
        .with("x-event-id", id)
        .with("x-timestamp", at.to_string())
        .with("x-signature", format!("v1={signature}"))
}

/// A pair of RSA keys, made for this run.
pub struct RsaSigner(RsaKeyPair);

impl RsaSigner {
    pub fn generate() -> Option<Self> {
        RsaKeyPair::generate(KeySize::Rsa2048).ok().map(RsaSigner)
    }

    /// The public key as PEM (SubjectPublicKeyInfo).
    pub fn public_pem(&self) -> Option<String> {
        let der =
            AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(self.0.public_key()).ok()?;
        let text = BASE64.encode(der.as_ref());
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .filter_map(|line| std::str::from_utf8(line).ok())
            .collect();
        Some(format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        ))
    }

    pub fn sign(&self, message: &[u8]) -> Option<String> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.0
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
            .ok()?;
        Some(BASE64.encode(&signature))
    }
}

pub fn wechatpay(
    path: &str,
    signer: &RsaSigner,
    key_id: &str,
    at: u64,
    body: &str,
) -> Option<Callback> {
    let nonce = "EcY9CmxXyx1i6RlJQzLcCyEqDa26NBzo";
    let signature = signer.sign(format!("{at}\n{nonce}\n{body}\n").as_bytes())?;
    let callback = Callback::new(path, body.to_owned())
        .with("wechatpay-timestamp", at.to_string())
        .with("wechatpay-nonce", nonce)
        .with("wechatpay-serial", key_id)
        .with("wechatpay-signature-type", "WECHATPAY2-SHA256-RSA2048")
        .with("wechatpay-signature", signature);
    Some(callback)
}

/// Alipay signs the decoded fields, sorted; `sign` and `sign_type` do not take part.
pub fn alipay(path: &str, signer: &RsaSigner, fields: &[(&str, &str)]) -> Option<Callback> {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let message: Vec<String> = sorted
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let signature = signer.sign(message.join("&").as_bytes())?;
    let all = fields
        .iter()
        .copied()
        .chain([("sign_type", "RSA2"), ("sign", signature.as_str())]);
    let body: Vec<String> = all
        .map(|(name, value)| format!("{}={}", form(name), form(value)))
        .collect();
    Some(Callback::new(path, body.join("&")).with(
        "content-type",
        "application/x-www-form-urlencoded; charset=utf-8",
    ))
}

fn form(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What the provider heard.
#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    pub body: Bytes,
    pub took: Duration,
}

/// The providers' way to the gateway: TLS, trusting the development authority only.
pub struct Wire {
    connector: TlsConnector,
    gateway: SocketAddr,
}

/// Why a callback did not get an answer.
#[derive(Debug)]
pub enum WireError {
    Authority,
    Tls(rustls::Error),
    Io(std::io::Error),
    Http(hyper::Error),
    Request(http::Error),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireError::Authority => {
                f.write_str("the development authority's certificate cannot be read")
            }
            WireError::Tls(error) => write!(f, "TLS: {error}"),
            WireError::Io(error) => write!(f, "connection: {error}"),
            WireError::Http(error) => write!(f, "HTTP: {error}"),
            WireError::Request(error) => write!(f, "request: {error}"),
        }
    }
}

impl Wire {
    pub fn new(authority: &Path, gateway: SocketAddr) -> Result<Self, WireError> {
        let mut roots = rustls::RootCertStore::empty();
        let certificate =
            CertificateDer::from_pem_file(authority).map_err(|_| WireError::Authority)?;
        roots.add(certificate).map_err(WireError::Tls)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(WireError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Wire {
            connector: TlsConnector::from(Arc::new(config)),
            gateway,
        })
    }

    /// Sends one callback from an address of this machine, on a connection of its own.
    pub async fn send(&self, callback: &Callback, from: IpAddr) -> Result<Heard, WireError> {
        let began = tokio::time::Instant::now();
        let socket = TcpSocket::new_v4().map_err(WireError::Io)?;
        socket
            .bind(SocketAddr::new(from, 0))
            .map_err(WireError::Io)?;
        let stream = socket.connect(self.gateway).await.map_err(WireError::Io)?;
        let name = ServerName::try_from("localhost").map_err(|_| WireError::Authority)?;
        let stream = self
            .connector
            .connect(name, stream)
            .await
            .map_err(WireError::Io)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(WireError::Http)?;
        let driver = tokio::spawn(connection);
        let mut request = http::Request::builder()
            .method("POST")
            .uri(&callback.path)
            .header("host", "localhost");
        for (name, value) in &callback.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(callback.body.clone()))
            .map_err(WireError::Request)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(WireError::Http)?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(WireError::Http)?
            .to_bytes();
        driver.abort();
        Ok(Heard {
            status,
            body,
            took: began.elapsed(),
        })
    }
}
