//! The merchant's application: a plain HTTP/1.1 server that keeps every byte it was sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Delivery {
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_slice())
            .collect()
    }

    pub fn header(&self, name: &str) -> &str {
        match self.all(name).as_slice() {
            [one] => std::str::from_utf8(one).unwrap(),
            other => panic!("{} values of {name}", other.len()),
        }
    }

    pub fn event(&self) -> &str {
        self.header("callseal-event")
    }
}

/// How the application answers a delivery.
pub type Reply = dyn Fn(&Delivery) -> Vec<u8> + Send + Sync;

pub struct App {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Delivery>>>,
    stop: Arc<AtomicBool>,
}

pub fn status(code: u16) -> Vec<u8> {
    format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

impl App {
    /// Takes everything.
    pub fn start() -> App {
        App::replying(|_| status(200))
    }

    pub fn replying(reply: impl Fn(&Delivery) -> Vec<u8> + Send + Sync + 'static) -> App {
        App::on(TcpListener::bind("127.0.0.1:0").unwrap(), reply)
    }

    pub fn on(
        listener: TcpListener,
        reply: impl Fn(&Delivery) -> Vec<u8> + Send + Sync + 'static,
    ) -> App {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let reply: Arc<Reply> = Arc::new(reply);
        let (log, stopped) = (seen.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (log, reply) = (log.clone(), reply.clone());
                let Ok(stream) = stream else { return };
                std::thread::spawn(move || {
                    let _ = serve(stream, &log, reply.as_ref());
                });
            }
        });
        App {
            address,
            seen,
            stop,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn deliveries(&self) -> Vec<Delivery> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn wait_for(&self, count: usize) -> Vec<Delivery> {
        super::eventually(&format!("{count} deliveries"), || {
            let seen = self.deliveries();
            (seen.len() >= count).then_some(seen)
        })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Delivery>>, reply: &Reply) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        let Some(delivery) = read_request(&mut stream, &mut buffer)? else {
            return Ok(());
        };
        let answer = reply(&delivery);
        log.lock().unwrap().push(delivery);
        stream.write_all(&answer)?;
        if answer.is_empty() {
            return Ok(());
        }
    }
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Delivery>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if !fill(stream, buffer)? {
            return Ok(None);
        }
    };
    let head: Vec<u8> = buffer.drain(..end).collect();
    let mut lines = head
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = String::from_utf8_lossy(lines.next().unwrap()).into_owned();
    let headers: Vec<(String, Vec<u8>)> = lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let colon = line.iter().position(|b| *b == b':').unwrap();
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            (name, line[colon + 1..].trim_ascii().to_vec())
        })
        .collect();
    let length = headers
        .iter()
        .find(|(n, _)| n == "content-length")
        .expect("a delivery states its length");
    let length: usize = std::str::from_utf8(&length.1).unwrap().parse().unwrap();
    while buffer.len() < length {
        if !fill(stream, buffer)? {
            return Ok(None);
        }
    }
    let body = buffer.drain(..length).collect();
    Ok(Some(Delivery {
        line,
        headers,
        body,
    }))
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut chunk = [0; 16 * 1024];
    let read = stream.read(&mut chunk)?;
    buffer.extend_from_slice(&chunk[..read]);
    Ok(read > 0)
}
