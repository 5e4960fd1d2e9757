//! The gateway's own requests to providers: fetched keys, query-backs, confirmation addresses.
//!
//! A request goes to a host that a rule pins, over TLS with the certificate of that host, once,
//! and within its time. No redirect is followed, no proxy of the environment is asked, and the
//! answer is bounded. What is asked, and what an answer means, is the caller's business.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::message::Headers;
use crate::secret::Secret;

pub mod fault;
mod budget;
mod wire;
mod token;
pub mod https;
pub mod keys;
#[cfg(test)]
mod tests;

pub use crate::rule::url::{HostPattern, NotPinned, Pinned, UrlPin};
pub use fault::RemoteFault;
pub use https::{HttpsAsk, RootsError};
pub use keys::{KeyCache, Life, Lookup};

/// Work under way that can be dropped.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One request of our own, to a host that the rule pins.
#[derive(Clone)]
pub struct Outbound {
    pub method: http::Method,
    /// False only for a host that the source itself configures (a local node).
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// The source's own configuration names this host, not a provider's file: it may be in a
    /// private network, and plain HTTP is possible.
    pub own_host: bool,
    /// Path and query; begins with `/`. May hold a secret.
    pub target: String,
    /// Names in lower case. Values may be secret. `host`, `content-length` and the other fields
    /// that belong to the connection are written by the client and cannot stand here.
    pub headers: Headers,
    /// May hold a secret.
    pub body: Bytes,
    /// For everything together: token, name, connection, answer.
    pub timeout: Duration,
    pub auth: Auth,
}

/// How a request proves who asks. A signature is made before and stands in `headers`.
#[derive(Clone, Debug)]
pub enum Auth {
    None,
    Bearer(Secret),
    /// RFC 7617. The user name holds no colon.
    Basic {
        user: Secret,
        password: Secret,
    },
    /// A token for client credentials (RFC 6749 §4.4), asked for at `target` of the same host.
    OAuth2 {
        target: String,
        user: Secret,
        password: Secret,
    },
}

impl fmt::Debug for Outbound {
    /// Shows where to, and the names of the fields: target, values and body may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self
            .headers
            .iter()
            .map(|(name, _)| String::from_utf8_lossy(name))
            .collect();
        f.debug_struct("Outbound")
            .field("method", &self.method)
            .field("https", &self.https)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("own_host", &self.own_host)
            .field("headers", &names)
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// A whole answer, whatever its status (but 3xx, which is [`RemoteFault::Redirected`]).
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteAnswer {
    pub status: u16,
    pub body: Bytes,
    /// How long the answer stays good by its `Cache-Control` and `Age` (RFC 9111); zero for
    /// `no-store` and `no-cache`, none where it says nothing.
    pub max_age: Option<Duration>,
}

impl fmt::Debug for RemoteAnswer {
    /// A body may hold what no log may show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAnswer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("max_age", &self.max_age)
            .finish()
    }
}

/// A way to ask. Tests and examples answer without a network.
pub trait Ask: Send + Sync + 'static {
    /// Asks once. Dropping the future ends the request.
    fn ask<'a>(&'a self, request: &'a Outbound) -> Pending<'a, Result<RemoteAnswer, RemoteFault>>;
}
