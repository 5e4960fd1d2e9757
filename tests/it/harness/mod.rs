//! What the tests stand on: a gateway process, an application behind it, a provider in front.

pub mod app;
pub mod client;
pub mod clock;
pub mod gateway;
pub mod http2;
pub mod sign;
pub mod web;

pub use app::App;
pub use client::{Client, Response};
pub use clock::FakeClock;
pub use gateway::{Gateway, Site};
pub use web::Web;

use std::time::{Duration, Instant};

/// How long a test waits for what has to come: for a machine that is busy with other things. One
/// that passes never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Tries until `check` gives something, for as long as [`PATIENCE`].
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An address of this machine at which nobody listens, and which nobody else is given meanwhile.
pub struct Closed {
    socket: socket2::Socket,
    pub address: std::net::SocketAddr,
}

impl Closed {
    pub fn new() -> Closed {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Closed { socket, address }
    }

    pub fn open(self) -> std::net::TcpListener {
        self.socket.listen(128).unwrap();
        self.socket.into()
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
