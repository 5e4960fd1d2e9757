//! Asking a real server over TLS, and keeping what it gives.

mod asking;
mod keys;
mod limits;
mod server;
mod tokens;
