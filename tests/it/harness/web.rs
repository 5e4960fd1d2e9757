//! The providers' own hosts: TLS with certificates of an authority that only the test knows, for
//! any names, and a script that answers. One request for each connection, as the gateway asks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::Closed;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub host: String,
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, v)| v.as_str())
    }

    /// `GET api.example.com/path`.
    pub fn line(&self) -> String {
        format!("{} {}{}", self.method, self.host, self.target)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub enum Say {
    Reply(Vec<u8>),
    /// Nothing, for as long as the other end waits.
    Silence,
    /// The connection ends.
    Slam,
}

/// An answer with further header lines, each with its line end.
pub fn say_with(status: u16, lines: &str, body: impl AsRef<[u8]>) -> Say {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\n{lines}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    Say::Reply([head.as_bytes(), body].concat())
}

pub fn say(status: u16, body: impl AsRef<[u8]>) -> Say {
    say_with(status, "", body)
}

/// A part of the net that the test owns.
pub struct Web {
    folder: tempfile::TempDir,
    authority: Issuer<'static, KeyPair>,
    connect: Vec<(String, SocketAddr)>,
    asked: Arc<Mutex<Vec<Asked>>>,
    stops: Vec<(Arc<AtomicBool>, SocketAddr)>,
}

/// Names whose place is known and where nobody listens yet.
pub struct Later {
    closed: Closed,
    config: Arc<ServerConfig>,
}

impl Web {
    pub fn new() -> Web {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        std::fs::write(folder.path().join("root.pem"), root).unwrap();
        Web {
            folder,
            authority: Issuer::new(params, key),
            connect: Vec::new(),
            asked: Arc::default(),
            stops: Vec::new(),
        }
    }

    /// Hosts that answer as `reply` says.
    pub fn host(
        &mut self,
        names: &[&str],
        reply: impl Fn(&Asked) -> Say + Send + Sync + 'static,
    ) -> &mut Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = self.place(names, names, listener.local_addr().unwrap());
        self.listen(listener, config, reply);
        self
    }

    /// A host whose certificate is another's.
    pub fn impostor(
        &mut self,
        name: &str,
        certified: &str,
        reply: impl Fn(&Asked) -> Say + Send + Sync + 'static,
    ) -> &mut Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = self.place(&[name], &[certified], listener.local_addr().unwrap());
        self.listen(listener, config, reply);
        self
    }

    /// Hosts that are down until [`Web::up`].
    pub fn down(&mut self, names: &[&str]) -> Later {
        let closed = Closed::new();
        let config = self.place(names, names, closed.address);
        Later { closed, config }
    }

    pub fn up(&mut self, later: Later, reply: impl Fn(&Asked) -> Say + Send + Sync + 'static) {
        self.listen(later.closed.open(), later.config, reply);
    }

    /// The names lead to this address, where this is spoken.
    fn place(
        &mut self,
        names: &[&str],
        certified: &[&str],
        address: SocketAddr,
    ) -> Arc<ServerConfig> {
        for name in names {
            self.connect.push(((*name).to_owned(), address));
        }
        let certified: Vec<String> = certified.iter().map(|n| (*n).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(certified)
            .unwrap()
            .signed_by(&key, &self.authority)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }

    fn listen(
        &mut self,
        listener: TcpListener,
        config: Arc<ServerConfig>,
        reply: impl Fn(&Asked) -> Say + Send + Sync + 'static,
    ) {
        let stop = Arc::new(AtomicBool::new(false));
        self.stops
            .push((stop.clone(), listener.local_addr().unwrap()));
        let (asked, reply) = (self.asked.clone(), Arc::new(reply));
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(tcp) = tcp else { return };
                let (asked, reply, config) = (asked.clone(), reply.clone(), config.clone());
                std::thread::spawn(move || {
                    let _ = serve(tcp, config, &asked, reply.as_ref());
                });
            }
        });
    }

    /// `[outbound]`: its root is trusted, its names are dialled where they are.
    pub fn settings(&self) -> String {
        let connect: Vec<String> = self
            .connect
            .iter()
            .map(|(name, address)| format!("\"{name}:443\" = \"{address}\""))
            .collect();
        let root = self.folder.path().join("root.pem");
        format!(
            "[outbound]\nroots = \"{}\"\nconnect = {{ {} }}\n",
            root.display(),
            connect.join(", ")
        )
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What was asked, without fields and bodies.
    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        for (stop, address) in &self.stops {
            stop.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(address);
        }
    }
}

fn serve(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    asked: &Mutex<Vec<Asked>>,
    reply: &dyn Fn(&Asked) -> Say,
) -> std::io::Result<()> {
    tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
    let tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(tls, tcp);
    let request = read_request(&mut stream)?;
    assert_eq!(stream.conn.server_name(), Some(request.host.as_str()));
    let answer = reply(&request);
    asked.lock().unwrap().push(request);
    match answer {
        Say::Reply(bytes) => {
            stream.write_all(&bytes)?;
            stream.conn.send_close_notify();
            stream.flush()
        }
        // The other end gives up first.
        Say::Silence => stream.read(&mut [0]).map(|_| ()),
        Say::Slam => Ok(()),
    }
}

fn read_request(stream: &mut impl Read) -> std::io::Result<Asked> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, &mut read)?;
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let mut line = lines.next().unwrap().split(' ');
    let (method, target) = (line.next().unwrap(), line.next().unwrap());
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let field = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.clone())
    };
    let length: usize = field("content-length").map_or(0, |v| v.parse().unwrap());
    while read.len() < end + length {
        more(stream, &mut read)?;
    }
    Ok(Asked {
        host: field("host").unwrap_or_default(),
        method: method.to_owned(),
        target: target.to_owned(),
        body: read[end..end + length].to_vec(),
        headers,
    })
}

fn more(stream: &mut impl Read, read: &mut Vec<u8>) -> std::io::Result<()> {
    let mut part = [0; 8192];
    match stream.read(&mut part)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        n => {
            read.extend_from_slice(&part[..n]);
            Ok(())
        }
    }
}
