//! (stub)

pub mod admit;

pub use admit::Received;
