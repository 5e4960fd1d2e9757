//! The socket of the admin port: an address, or a file.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::settings::AdminAddress;

/// Who may connect to a Unix socket: its owner and its group.
const MODE: u32 = 0o660;

/// A socket that listens.
#[derive(Debug)]
pub enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

impl Bound {
    /// Opens it. With port 0 the address says which port it became.
    pub fn open(address: &AdminAddress) -> io::Result<(Self, AdminAddress)> {
        match address {
            AdminAddress::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                Ok((Bound::Tcp(listener), AdminAddress::Tcp(address)))
            }
            AdminAddress::Unix(path) => {
                let listener = open_file(path)?;
                listener.set_nonblocking(true)?;
                let file = SocketFile::of(path)?;
                Ok((Bound::Unix(listener, file), address.clone()))
            }
        }
    }
}

/// The file of a socket of ours; it is removed with this, unless another lies there by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(SocketFile {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = std::fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (self.device, self.inode)) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Made under another name, given its mode, and put in its place whole: nobody meets a socket that
/// is open to more than it should be. What a process left behind that is gone is replaced; a socket
/// that someone answers is not, nor is anything that is no socket.
fn open_file(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            let kind = io::ErrorKind::AlreadyExists;
            return Err(io::Error::new(
                kind,
                "something that is no socket lies there",
            ));
        }
        Ok(_) if answered(path)? => {
            let kind = io::ErrorKind::AddrInUse;
            return Err(io::Error::new(kind, "another process listens there"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut fresh = path.as_os_str().as_bytes().to_vec();
    fresh.extend_from_slice(b".new");
    let fresh = PathBuf::from(std::ffi::OsStr::from_bytes(&fresh));
    // Left over from a start that broke off.
    if std::fs::symlink_metadata(&fresh).is_ok_and(|there| there.file_type().is_socket()) {
        std::fs::remove_file(&fresh)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(MODE))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

/// True when a process listens on this socket, though it may be too busy to answer at once.
fn answered(path: &Path) -> io::Result<bool> {
    use socket2::{Domain, SockAddr, Socket, Type};
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(false),
            io::ErrorKind::WouldBlock => Ok(true),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let address = AdminAddress::Unix(path.clone());
        let open = || Bound::open(&address);
        let (first, said) = open().unwrap();
        assert_eq!(said, address);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // As kill -9 leaves it.
        let Bound::Unix(listener, file) = first else {
            panic!("a socket")
        };
        drop(listener);
        let (second, _) = open().unwrap();
        // Whoever comes after has taken the place: the file is no longer ours to remove.
        drop(file);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
        drop(second);
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        std::fs::write(&path, "a file").unwrap();
        let open = || Bound::open(&AdminAddress::Unix(path.clone()));
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"a file");
        std::fs::remove_file(&path).unwrap();
        // Not even through a link.
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(!elsewhere.exists());
    }
}
