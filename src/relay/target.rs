//! A destination as connections see it: where it is, whom to trust there, and what is spoken.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::connect::{Material, MaterialError, Tls};
use crate::rule::address::Addresses;
use crate::rule::{Address, Destination, Http2, TlsFiles};
use crate::secret::{SecretError, SecretRef};

/// Where the requests of one destination go. Made anew by every reload.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: Address,
    pub addresses: Addresses,
    pub http2: Http2,
    /// Trust and certificate of its own. None: what all destinations share.
    pub tls: Option<Arc<Tls>>,
    key: Arc<Key>,
}

/// What two targets must have in common to use each other's connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    place: Place,
    http2: Http2,
    addresses: Addresses,
    /// 0 for the trust that all share.
    tls: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Tcp {
        https: bool,
        host: String,
        port: u16,
    },
    Socket(PathBuf),
}

impl Target {
    pub fn new(to: &Destination, tls: Option<Arc<Tls>>) -> Self {
        let address = to.forward.clone();
        let place = match &address.socket {
            Some(socket) => Place::Socket(socket.clone()),
            None => Place::Tcp {
                https: address.https,
                host: address.host.clone(),
                port: address.port,
            },
        };
        let tls = tls.filter(|_| address.https);
        let key = Key {
            place,
            http2: to.http2,
            addresses: to.addresses,
            tls: tls.as_ref().map_or(0, |tls| tls.id()),
        };
        Target {
            addresses: to.addresses,
            http2: to.http2,
            address,
            tls,
            key: Arc::new(key),
        }
    }

    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// HTTP/2 may be what is spoken.
    pub fn may_speak_http2(&self) -> bool {
        match self.http2 {
            Http2::Alpn => self.address.https,
            Http2::Never => false,
            Http2::PriorKnowledge => true,
        }
    }

    /// The rule allows connections to this address of the host.
    pub fn allows(&self, address: IpAddr) -> bool {
        let literal = self.address.host.parse::<IpAddr>().is_ok();
        self.addresses.allows(address, literal)
    }
}

/// Why the `tls` of a destination cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub enum TlsFilesError {
    Unreadable(SecretError),
    Unusable(MaterialError),
}

impl fmt::Display for TlsFilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFilesError::Unreadable(error) => fmt::Display::fmt(error, f),
            TlsFilesError::Unusable(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for TlsFilesError {}

/// Reads what a rule names. With the error comes the place at which it is.
pub fn load_tls(files: &TlsFiles) -> Result<Tls, (Option<SecretRef>, TlsFilesError)> {
    let load = |place: &SecretRef| {
        let loaded = place.load();
        loaded.map_err(|error| (Some(place.clone()), TlsFilesError::Unreadable(error)))
    };
    let identity = match &files.identity {
        Some((cert, key)) => Some((load(cert)?, load(key)?)),
        None => None,
    };
    let material = Material {
        ca: files.ca.as_ref().map(load).transpose()?,
        identity,
        server_name: files.server_name.clone(),
    };
    Tls::with_material(&material).map_err(|error| {
        let (cert, key) = files.identity.clone().unzip();
        let place = match error {
            MaterialError::Ca => files.ca.clone(),
            MaterialError::Certificate => cert,
            MaterialError::Key | MaterialError::Identity => key,
            MaterialError::ServerName => None,
        };
        (place, TlsFilesError::Unusable(error))
    })
}
