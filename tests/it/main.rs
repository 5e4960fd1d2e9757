//! The gateway as a user meets it: the real binary, real files, real TLS, real signals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

mod harness;

mod admin;
mod admin_safety;
mod api;
mod asking;
mod authoritative;
mod beginner;
mod catalogue;
mod challenges;
mod check;
mod confirm;
mod crash;
mod deploy;
mod disk;
mod doctor;
mod explain;
mod figures;
mod flow;
mod forge;
mod guards;
mod keys;
mod mutation;
mod operate;
mod operations;
mod oracle;
mod paypal;
mod reload;
mod send;
mod settings;
mod shutdown;
mod sign;
mod store;
mod storm;
mod strictness;
mod taking;
mod tidy;
mod translation;
mod watching;
mod wechat;
