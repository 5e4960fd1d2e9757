//! The relay as a whole: in virtual time over a scripted destination, and on real sockets.

mod answers;
mod application;
mod destinations;
mod failing;
mod herd;
mod hostile;
mod http2;
mod logging;
mod operating;
mod proxies;
mod places;
mod poisoned;
mod protecting;
mod scheduling;
mod simulation;
pub(super) mod stage;
mod tls;
mod wire;
