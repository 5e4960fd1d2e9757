//! A provider's connection: TLS from rustls, HTTP as raw bytes, so that a test can send anything.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// Knows the gateway and trusts its development authority.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    gateway: SocketAddr,
}

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Client {
    pub fn new(authority: &Path, gateway: SocketAddr) -> Client {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(authority).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client {
            config: Arc::new(config),
            gateway,
        }
    }

    pub fn connect(&self) -> Stream {
        self.try_connect(None, &[]).unwrap()
    }

    /// Connects from an address of this machine, sending some bytes before TLS.
    pub fn try_connect(&self, from: Option<IpAddr>, before: &[u8]) -> std::io::Result<Stream> {
        let mut tcp = match from {
            None => TcpStream::connect(self.gateway)?,
            Some(from) => {
                let socket = socket2::Socket::new(
                    socket2::Domain::for_address(self.gateway),
                    socket2::Type::STREAM,
                    None,
                )?;
                socket.bind(&SocketAddr::new(from, 0).into())?;
                socket.connect(&self.gateway.into())?;
                socket.into()
            }
        };
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(super::PATIENCE))?;
        tcp.write_all(before)?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls =
            ClientConnection::new(self.config.clone(), name).map_err(std::io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(StreamOwned::new(tls, tcp))
    }

    /// A client that offers these protocols in the handshake (ALPN).
    #[must_use]
    pub fn offering(&self, protocols: &[&str]) -> Client {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Client {
            config: Arc::new(config),
            gateway: self.gateway,
        }
    }

    /// A connection on which HTTP/2 was agreed.
    pub fn connect_h2(&self) -> Stream {
        self.offering(&["h2"]).connect()
    }

    /// A POST on a connection of its own.
    pub fn post(&self, path: &str, headers: &[(String, String)], body: &[u8]) -> Response {
        self.try_post(path, headers, body).unwrap()
    }

    /// Any method, on a connection of its own.
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Response {
        exchange(&mut self.connect(), &request(method, target, headers, body)).unwrap()
    }

    pub fn try_post(
        &self,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> std::io::Result<Response> {
        let mut stream = self.try_connect(None, &[])?;
        exchange(&mut stream, &request("POST", path, headers, body))
    }

    pub fn post_from(
        &self,
        from: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Response {
        let mut stream = self.try_connect(Some(from.parse().unwrap()), &[]).unwrap();
        exchange(&mut stream, &request("POST", path, headers, body)).unwrap()
    }

    /// Raw bytes on a connection of its own; what came back, if anything did.
    pub fn raw(&self, bytes: &[u8]) -> Option<Response> {
        let mut stream = self.connect();
        stream.write_all(bytes).ok()?;
        read_response(&mut stream).ok()
    }
}

/// A well-formed request.
pub fn request(method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Who is answered before it has sent everything may find that it cannot send the rest.
pub fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> std::io::Result<Response> {
    let sent = stream.write_all(request);
    read_response(stream).or_else(|none| sent.and(Err(none)))
}

pub fn read_response(stream: &mut impl Read) -> std::io::Result<Response> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        read_more(stream, &mut bytes)?;
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(n, _)| n == "content-length")
        .map_or(0, |(_, v)| v.parse().unwrap());
    while bytes.len() < end + length {
        read_more(stream, &mut bytes)?;
    }
    let body = bytes[end..end + length].to_vec();
    // What differs from answer to answer says nothing.
    let headers = headers
        .into_iter()
        .filter(|(name, _)| name != "date")
        .collect();
    Ok(Response {
        status,
        headers,
        body,
    })
}

/// The other end ends the connection; what still came before that. A wait that runs out is no end.
pub fn closed(stream: &mut impl Read) -> Vec<u8> {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        let open = matches!(error.kind(), WouldBlock | TimedOut);
        assert!(!open, "not closed, after {bytes:?}");
    }
    bytes
}

fn read_more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        read => {
            bytes.extend_from_slice(&chunk[..read]);
            Ok(())
        }
    }
}
