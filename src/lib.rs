//! Callseal: a TLS proxy that checks the seal on every callback, and puts its own on what it relays.
//!
//! The modules stand in the order in which a callback passes. A module names only modules
//! declared above it; `tests/it/tidy.rs` reads the `crate::` paths and enforces that.
//!
//! ```text
//!   provider ──TLS──▶ listener ──▶ guard ──▶ verify ──▶ inbox ──▶ (2xx to the provider)
//!                                                        │
//!                                                        └──▶ relay ──▶ the application
//! ```

// -- vocabulary: no I/O
pub mod clock;
pub mod random;
pub mod message;
pub mod secret;
pub mod mask;
pub mod telemetry;
pub mod rule;
pub mod settings;
// -- connections that we open ourselves
pub mod connect;
pub mod remote;
// -- the data path: each stage names only the ones before it
pub mod listener;
pub mod guard;
pub mod verify;
pub mod inbox;
pub mod relay;
#[cfg(feature = "otlp")]
pub mod otlp;
// -- around the path
pub mod refusals;
pub mod pipeline;
pub mod watch;
pub mod admin;
pub mod service;
pub mod cli;
