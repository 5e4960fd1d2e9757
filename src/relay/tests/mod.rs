//! The relay as a whole: in virtual time over a scripted destination, and on real sockets.

mod application;
mod failing;
mod hostile;
mod operating;
mod proxies;
mod scheduling;
mod stage;
mod tls;
mod wire;
