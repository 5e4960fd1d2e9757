//! Tells whoever started the process how it is: a datagram to the socket that `NOTIFY_SOCKET` names, as
//! `sd_notify(3)` says. Without that variable nobody asked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Callbacks are taken from now on.
pub const READY: &str = "READY=1";
/// What is under way is finished.
pub const STOPPING: &str = "STOPPING=1";

/// For room in the socket's queue: whoever does not read must not hold us up.
const PATIENCE: Duration = Duration::from_secs(1);

pub fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = tell_to(&socket, state, PATIENCE) {
        tracing::warn!(%error, "the service manager does not hear: {state}");
    }
}

/// A path, or a name without a file that begins with `@`.
fn tell_to(socket: &OsStr, state: &str, patience: Duration) -> std::io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => nameless(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let us = UnixDatagram::unbound()?;
    us.set_write_timeout(Some(patience))?;
    us.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(target_os = "linux")]
fn nameless(name: &[u8]) -> std::io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &[u8]) -> std::io::Result<SocketAddr> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut room = [0; 64];
        let length = socket.recv(&mut room).unwrap();
        String::from_utf8_lossy(&room[..length]).into_owned()
    }

    #[test]
    fn a_socket_with_a_path_hears_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        tell_to(path.as_os_str(), READY, PATIENCE).unwrap();
        assert_eq!(heard(&socket), "READY=1");
        drop(socket);
        assert!(tell_to(path.as_os_str(), READY, PATIENCE).is_err());
    }

    #[test]
    fn who_does_not_read_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let filler = UnixDatagram::unbound().unwrap();
        filler.set_nonblocking(true).unwrap();
        while filler.send_to(b"x", &path).is_ok() {}
        let error = tell_to(path.as_os_str(), READY, Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_without_a_file_hears_it() {
        let name = format!("callseal-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&nameless(name.as_bytes()).unwrap()).unwrap();
        tell_to(OsStr::new(&format!("@{name}")), STOPPING, PATIENCE).unwrap();
        assert_eq!(heard(&socket), "STOPPING=1");
    }
}
