//! Verified -> Accepted: durable before anyone says 2xx, or known to be a duplicate.

pub mod store;
pub mod accept;
