//! The thread of one core: its listener, its pipeline, its share of the relay; and what notices
//! when such a thread ends by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::listener::address::AddressSet;
use crate::listener::caps::{ByteBudget, ConnectionCaps};
use crate::listener::serve::{self, Timeouts};
use crate::listener::strict::HeadLimits;
use crate::pipeline::{self, Pipeline};
use crate::relay::Relay;
use crate::settings::{Limits, Settings};
use crate::telemetry::Metrics;

/// Held by a thread that must run until it is told to stop.
pub struct Part {
    pub name: &'static str,
    pub stop: watch::Receiver<bool>,
    pub broken: watch::Sender<Option<&'static str>>,
}

impl Drop for Part {
    fn drop(&mut self) {
        if std::thread::panicking() || !*self.stop.borrow() {
            self.broken.send_replace(Some(self.name));
        }
    }
}

/// What one core's thread runs with.
pub struct Core {
    pub shared: Arc<pipeline::Shared>,
    pub relay: Arc<Relay>,
    pub listening: Arc<serve::Shared>,
    pub stop: watch::Receiver<bool>,
    pub drain: Duration,
}

impl Core {
    pub fn run(self, listener: std::net::TcpListener) {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a core's runtime could not be started");
                return;
            }
        };
        LocalSet::new().block_on(&runtime, async move {
            let worker = self.relay.worker();
            let waker = worker.waker();
            let (stop_relay, relay_stopped) = watch::channel(false);
            // Half of the time is the listener's and half the relay's: together they must not
            // take longer than whoever told us to stop was promised.
            let half = self.drain / 2;
            let mut relay = tokio::task::spawn_local(worker.run(relay_stopped, half));
            let pipeline = Pipeline::new(self.shared, waker);
            tokio::select! {
                served = serve::run(listener, self.listening, pipeline, self.stop, half) => {
                    if let Err(error) = served {
                        tracing::error!(%error, "the listener ended");
                    }
                }
                // A core that accepts and never delivers: its end is the end of the thread.
                _ = &mut relay => {
                    tracing::error!("the relay of a core ended");
                    return;
                }
            }
            // Only now: what the last callbacks brought may still go out at once.
            let _ = stop_relay.send(true);
            let _ = relay.await;
        });
        // A name that is still being looked up must not hold up the end: dropping would wait for it.
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// What the accept loops of all cores share.
pub fn listening(
    settings: &Settings,
    tls: Arc<rustls::ServerConfig>,
    metrics: Metrics,
    files: usize,
) -> serve::Shared {
    let limits = &settings.limits;
    serve::Shared {
        tls,
        timeouts: Timeouts {
            handshake: limits.handshake_timeout,
            head: limits.head_timeout,
            body: limits.body_timeout,
            idle: limits.idle_timeout,
            write: limits.write_timeout,
            ..Timeouts::default()
        },
        head: HeadLimits {
            fields: limits.headers,
            bytes: limits.header_bytes,
            target: limits.target_bytes,
        },
        caps: ConnectionCaps::new(connections(limits, files), limits.connections_per_address),
        bodies: ByteBudget::new(limits.bytes_in_flight),
        trusted: AddressSet::new(&settings.listen.trusted_proxies),
        proxy_protocol: settings.listen.proxy_protocol,
        metrics,
    }
}

/// As many files as this process may have at most. Usually 1024 is what one begins with, and many
/// times that is what one may have. Before the store is opened: it has a file for every segment.
pub fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let had = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: had.maximum,
        maximum: had.maximum,
    };
    let files = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => had.maximum,
        Err(_) => had.current,
    };
    files.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// As many connections as the settings say, if there are files for them; a quarter of those stays
/// for the journal and for the way to the applications, which strangers must not starve.
fn connections(limits: &Limits, files: usize) -> usize {
    let affordable = files - files / 4;
    if affordable < limits.connections {
        tracing::warn!(
            files,
            "limits.connections is {}, but there are files for {affordable} only: raise the limit (ulimit -n, LimitNOFILE=)",
            limits.connections
        );
    }
    limits.connections.min(affordable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that panics, or ends by itself, is noticed; one that was told to stop is not.
    #[test]
    fn a_part_that_ends_untold_is_told_of() {
        let ends = |told: bool, panics: bool| {
            let (broken, heard) = watch::channel(None);
            let (stop, stopped) = watch::channel(told);
            let part = Part {
                name: "a core",
                stop: stopped,
                broken,
            };
            let ended = std::thread::spawn(move || {
                let _part = part;
                assert!(!panics);
            })
            .join();
            drop(stop);
            assert_eq!(ended.is_err(), panics);
            *heard.borrow()
        };
        assert_eq!(ends(true, false), None);
        assert_eq!(ends(false, false), Some("a core"));
        assert_eq!(ends(false, true), Some("a core"));
        assert_eq!(ends(true, true), Some("a core"));
    }
}
