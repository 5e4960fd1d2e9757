//! The listener: the public port, TLS, and HTTP as strictly as a gateway must read it. It hands
//! each request to a [`Handler`] and knows nothing of sources, signatures or events.

use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;

use crate::message::Answer;

pub mod address;
pub mod body;
pub mod caps;
pub mod io;
pub mod proxy;
pub mod screen;
pub mod serve;
pub mod strict;
pub mod tls;

pub use body::Body;
pub use strict::{Head, Malformed};

/// A request whose head is well-formed and whose body has not been read.
#[derive(Debug)]
pub struct Incoming {
    pub head: Head,
    pub body: Body,
}

/// What answers requests. One instance lives on each core.
pub trait Handler: 'static {
    fn handle(self: Rc<Self>, incoming: Incoming) -> impl Future<Output = Answer>;

    /// A request that was not even well-formed. What is said of it is the handler's word too, so
    /// that there is one map from reasons to statuses.
    fn malformed(&self, peer: IpAddr, why: Malformed) -> Answer;
}
