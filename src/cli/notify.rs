//! Tells whoever started the process how it is: a datagram to the socket that `NOTIFY_SOCKET` names, as
//! `sd_notify(3)` says. Without that variable nobody asked.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Callbacks are taken from now on.
pub const READY: &str = "READY=1";
/// What is under way is finished.
pub const STOPPING: &str = "STOPPING=1";

pub fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = tell_to(&socket, state) {
        tracing::warn!(%error, "the service manager does not hear: {state}");
    }
}

/// A path, or a name without a file that begins with `@`.
fn tell_to(socket: &OsStr, state: &str) -> std::io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => nameless(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(state.as_bytes(), &address)
        .map(drop)
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
        tell_to(path.as_os_str(), READY).unwrap();
        assert_eq!(heard(&socket), "READY=1");
        drop(socket);
        assert!(tell_to(path.as_os_str(), READY).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_without_a_file_hears_it() {
        let name = format!("callseal-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&nameless(name.as_bytes()).unwrap()).unwrap();
        tell_to(OsStr::new(&format!("@{name}")), STOPPING).unwrap();
        assert_eq!(heard(&socket), "STOPPING=1");
    }
}
