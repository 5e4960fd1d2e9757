//! Build, run, drain, in that order. Everything is checked before the first port is bound.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::admin;
use crate::admin::auth::Door;
use crate::admin::bind::Bound;
use crate::admin::history::History;
use crate::admin::keeper::Keeper;
use crate::admin::tls::CurrentTls;
use crate::clock::Clock;
use crate::inbox::accept::Inbox;
use crate::inbox::store::embedded::{Embedded, EmbeddedConfig};
use crate::inbox::store::{Store, StoreError};
use crate::listener::serve;
use crate::listener::tls::{self, CertificatePaths, CurrentIdentity, Identity};
use crate::pipeline::{self, Loaded};
use crate::random::Random;
use crate::refusals::Refusals;
use crate::relay::Relay;
use crate::remote::{HttpsAsk, KeyCache};
use crate::rule::Destination;
use crate::rule::diagnostic::Diagnostic;
use crate::secret::SecretRef;
use crate::settings::{AdminAddress, Settings};
use crate::telemetry::Metrics;
use crate::verify::Outside;
use crate::watch::Watch;

mod core;
mod fault;
mod outlets;
mod prepare;
#[cfg(test)]
mod simulation;
mod reload;

pub use self::core::raise_file_limit;
pub use fault::Fault;
pub use prepare::{Entry, Prepared, certificate_paths, prepare};

use self::core::{Core, Part, listening};
use self::outlets::Sending;
pub use self::reload::Done;
use self::reload::Reloader;

/// What a gateway is given besides its settings.
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Called once when the store can never accept again in this process. `serve` ends the process
    /// then: a restart reads back what is really on disk.
    pub on_fatal: Arc<dyn Fn() + Send + Sync>,
}

/// A running gateway.
pub struct Gateway {
    reloader: Arc<Reloader>,
    shared: Arc<pipeline::Shared>,
    keeper: Arc<Keeper>,
    relay: Arc<Relay>,
    store: Arc<Embedded>,
    public: SocketAddr,
    admin: AdminAddress,
    door: Arc<Door>,
    token_file: Option<PathBuf>,
    draining: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
    broken: watch::Sender<Option<&'static str>>,
    cores: Vec<JoinHandle<()>>,
    admin_thread: Option<JoinHandle<()>>,
    /// Sends traces and alerts.
    outlets: Option<JoinHandle<()>>,
}

/// The embedded store as the settings want it.
pub fn store_config(settings: &Settings) -> EmbeddedConfig {
    EmbeddedConfig {
        directory: settings.inbox.store.clone(),
        segment_bytes: u32::try_from(settings.inbox.segment).unwrap_or(u32::MAX),
        ballast_bytes: settings.inbox.ballast,
        low_water_bytes: settings.inbox.low_water,
        ..EmbeddedConfig::default()
    }
}

impl Gateway {
    /// Checks everything, opens the store, binds the ports, and serves.
    pub fn start(
        settings: Settings,
        settings_file: Option<PathBuf>,
        surroundings: Surroundings,
    ) -> Result<(Gateway, Vec<Diagnostic>), Vec<Fault>> {
        let Surroundings {
            clock,
            random,
            on_fatal,
        } = surroundings;
        let metrics = Metrics::new();
        make_directory(&settings.inbox.store).map_err(|fault| vec![fault])?;
        let mut faults = Vec::new();
        let outside = HttpsAsk::new(&settings.outbound, clock.clone(), metrics.clone())
            .map(|ask| {
                ask.prepare();
                Outside {
                    ask: Arc::new(ask),
                    cache: Arc::new(KeyCache::new(metrics.clone())),
                    clock: clock.clone(),
                }
            })
            .map_err(|error| faults.push(Fault::Roots(error)))
            .ok();
        let prepared = prepare(&settings, &metrics, None, outside.as_ref())
            .map_err(|found| faults.extend(found))
            .ok();
        let identity = certificate_paths(&settings, clock.as_ref())
            .and_then(|paths| Ok((Identity::load(&paths, clock.now())?, paths)))
            .map_err(|error| faults.push(Fault::Tls(error)))
            .ok();
        let entry = Entry::load(&settings.admin, &settings, clock.now(), random.as_ref())
            .map_err(|found| faults.extend(found))
            .ok();
        let (Some(prepared), Some((identity, certificate)), Some(entry), Some(outside)) =
            (prepared, identity, entry, outside)
        else {
            return Err(faults);
        };
        metrics.certificate_ends("public", identity.not_after);
        if let Some(material) = &entry.tls {
            metrics.certificate_ends("admin", material.not_after);
        }
        let identity = CurrentIdentity::new(identity);
        let tls = tls::server_config(identity.clone(), settings.listen.http2, None)
            .map_err(|e| vec![Fault::Tls(e)])?;

        let files = raise_file_limit();
        let store = Embedded::open(
            store_config(&settings),
            clock.clone(),
            random.clone(),
            metrics.clone(),
            on_fatal,
        )
        .map_err(|error| vec![Fault::Store(error)])?;
        // What the journal has open already is not there for connections.
        let files = files.saturating_sub(store.report().segments as usize);
        let store = Arc::new(store);
        let contract: Arc<dyn Store> = store.clone();
        let relay = Relay::new(
            contract.clone(),
            clock.clone(),
            random.clone(),
            metrics.clone(),
        );
        relay.set_routes(prepared.routes);
        let shared = Arc::new(pipeline::Shared {
            loaded: ArcSwap::from_pointee(prepared.loaded),
            inbox: Inbox::new(contract.clone()),
            clock: clock.clone(),
            random: random.clone(),
            metrics: metrics.clone(),
            refusals: Refusals::new(1000),
            told: pipeline::Told::default(),
            reloaded: ArcSwap::from_pointee(pipeline::Reloaded {
                at: clock.now(),
                error: None,
                warnings: prepared.warnings.clone(),
                waiting: Vec::new(),
            }),
        });
        reload::watch_over(&metrics, &shared.loaded.load());

        let watch = Watch::new(
            shared.clone(),
            contract,
            outside.clone(),
            settings.inbox.store.clone(),
        );

        let threads = settings
            .listen
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
        let bind_fault = |what, address: String| {
            move |cause| {
                vec![Fault::Bind {
                    what,
                    address,
                    cause,
                }]
            }
        };
        let (admin_socket, admin_address) = Bound::open(&settings.admin.address)
            .map_err(bind_fault("admin", settings.admin.address.to_string()))?;
        let listen = settings.listen.address;
        let listeners =
            serve::bind(listen, threads).map_err(bind_fault("public", listen.to_string()))?;
        let public = listeners
            .first()
            .map_or(Ok(listen), |listener| listener.local_addr())
            .map_err(bind_fault("public", listen.to_string()))?;

        let (stop, _) = watch::channel(false);
        let (stop_admin, _) = watch::channel(false);
        let (broken, _) = watch::channel(None);
        let draining = Arc::new(AtomicBool::new(false));
        let listening = Arc::new(listening(&settings, tls, metrics, files));
        let token_file = entry.tokens.made().map(PathBuf::from);
        let Entry { tokens, tls } = entry;
        let door = Arc::new(Door::new(
            &settings.admin,
            &admin_address,
            tokens,
            tls.map(CurrentTls::new),
            random,
        ));
        let sending = Sending::new(shared.metrics.clone());
        let reloader = Arc::new(Reloader {
            settings: settings.clone(),
            taken: ArcSwap::from_pointee(settings.clone()),
            sending,
            settings_file,
            shared: shared.clone(),
            relay: relay.clone(),
            identity: identity.clone(),
            certificate,
            clock: clock.clone(),
            outside,
            door: door.clone(),
            missed: std::sync::Mutex::default(),
        });
        let reload = reloader.clone();
        let history = Arc::new(History::new(clock.now()));
        let low_water = settings.inbox.low_water;
        let keeper = Arc::new(Keeper::new(watch.clone(), history.clone(), low_water));
        keeper.recall();
        if prepared.outlets.alerts.is_none() {
            watch.past().forget();
        }
        let admin_state = admin::State {
            settings: Arc::new(settings),
            reload: Arc::new(move || {
                let done = reload.reload();
                done.map(|done| done.waiting)
                    .map_err(|faults| reload::said(&faults))
            }),
            history,
            keeper: keeper.clone(),
            stream: Arc::default(),
            started_at: clock.now(),
            shared: shared.clone(),
            store: store.clone(),
            relay: relay.clone(),
            watch: watch.clone(),
            jobs: Default::default(),
            door: door.clone(),
            draining: draining.clone(),
            certificate: identity.clone(),
        };
        let mut gateway = Gateway {
            reloader,
            shared,
            keeper,
            relay,
            store,
            public,
            admin: admin_address,
            door,
            token_file,
            draining,
            stop,
            stop_admin,
            broken,
            cores: Vec::new(),
            admin_thread: None,
            outlets: None,
        };
        // Before the first callback, so that it has a trace.
        let sending = &gateway.reloader.sending;
        sending.take(prepared.outlets);
        let stop = gateway.stop_admin.subscribe();
        let thread = sending.run(watch, stop);
        gateway.outlets = Some(thread.map_err(|cause| vec![Fault::Thread { cause }])?);
        gateway
            .run(listeners, listening, admin_socket, admin_state)
            .map_err(|cause| vec![Fault::Thread { cause }])?;
        Ok((gateway, prepared.warnings))
    }

    fn run(
        &mut self,
        listeners: Vec<std::net::TcpListener>,
        listening: Arc<serve::Shared>,
        admin_socket: Bound,
        admin_state: admin::State,
    ) -> io::Result<()> {
        for (number, listener) in listeners.into_iter().enumerate() {
            let core = Core {
                shared: self.shared.clone(),
                relay: self.relay.clone(),
                listening: listening.clone(),
                stop: self.stop.subscribe(),
                drain: self.settings().limits.drain_timeout,
            };
            let thread = std::thread::Builder::new().name(format!("core-{number}"));
            let part = self.part("a core", &self.stop);
            self.cores.push(thread.spawn(move || {
                let _part = part;
                core.run(listener);
            })?);
        }
        let stop = self.stop_admin.subscribe();
        let thread = std::thread::Builder::new().name("admin".to_owned());
        let part = self.part("the admin port", &self.stop_admin);
        self.admin_thread = Some(thread.spawn(move || {
            let _part = part;
            admin::serve::run(admin_socket, admin_state, stop);
        })?);
        Ok(())
    }

    fn part(&self, name: &'static str, stop: &watch::Sender<bool>) -> Part {
        Part {
            name,
            stop: stop.subscribe(),
            broken: self.broken.clone(),
        }
    }

    /// Turns to the name of a part that has ended and should not have. Half a gateway is worse
    /// than none: whoever runs it then stops it, and a restart begins whole.
    pub fn broken(&self) -> watch::Receiver<Option<&'static str>> {
        self.broken.subscribe()
    }

    /// The address of the public port.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// The address of the admin port.
    pub fn admin(&self) -> &AdminAddress {
        &self.admin
    }

    pub fn settings(&self) -> &Settings {
        &self.reloader.settings
    }

    /// Where the admin token lies, when it is one that we made.
    pub fn token_file(&self) -> Option<&PathBuf> {
        self.token_file.as_ref()
    }

    pub fn store(&self) -> &Arc<Embedded> {
        &self.store
    }

    pub fn certificate(&self) -> (&CertificatePaths, crate::clock::Timestamp) {
        let reloader = &self.reloader;
        (&reloader.certificate, reloader.identity.not_after())
    }

    /// The rules in force.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.shared.loaded.load_full()
    }

    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Reads rules, keys, certificates and what of the settings can be taken while running anew, and
    /// exchanges it all at once; on any fault what was there stays. Requests under way finish with
    /// what they began with.
    pub fn reload(&self) -> Result<Done, Vec<Fault>> {
        self.reloader.reload()
    }

    /// Everything whose change asks for a reload: rule files, key files, certificate, settings.
    pub fn watched(&self) -> Vec<PathBuf> {
        let reloader = &self.reloader;
        let mut paths = vec![
            reloader.settings.rules.clone(),
            reloader.settings.rules.join("providers"),
            reloader.certificate.cert.clone(),
            reloader.certificate.key.clone(),
        ];
        paths.extend(reloader.settings_file.clone());
        paths.extend(self.door.tokens.load().files().iter().cloned());
        if let Some(files) = &reloader.settings.admin.tls {
            paths.extend([files.cert.clone(), files.key.clone()]);
            paths.extend(files.client_ca.iter().chain(&files.client_crl).cloned());
        }
        // What traces and alerts need.
        let taken = reloader.taken.load();
        let alerts = taken.alerts.iter().filter_map(|to| to.sign_with.as_ref());
        let traces = taken.otlp.iter().flat_map(|to| to.headers.values());
        paths.extend(alerts.chain(traces).filter_map(file));
        // Keys of rules that are not in force, since these files were missing or wrong.
        paths.extend(reloader.missed().iter().cloned());
        for rule in &self.loaded().rules.rules {
            let secrets = rule
                .keys
                .iter()
                .map(|key| &key.from)
                .chain(rule.secrets.values())
                .chain(rule.relay.destinations().flat_map(Destination::secrets));
            paths.extend(secrets.filter_map(file));
        }
        paths
    }

    /// Stops accepting, finishes what is under way within the drain time, syncs, and ends.
    pub fn stop(mut self) -> Result<(), StoreError> {
        self.draining.store(true, Ordering::SeqCst);
        let _ = self.stop.send(true);
        for core in self.cores.drain(..) {
            let _ = core.join();
        }
        // Nothing is counted any more, and the directory is still ours.
        self.keeper.end();
        let closed = block_on(self.store.close());
        let _ = self.stop_admin.send(true);
        for thread in [self.admin_thread.take(), self.outlets.take()] {
            let _ = thread.map(JoinHandle::join);
        }
        closed
    }
}

fn file(secret: &SecretRef) -> Option<PathBuf> {
    match secret {
        SecretRef::File(path) => Some(path.clone()),
        SecretRef::Env(_) => None,
    }
}

fn block_on<T>(future: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => Err(StoreError::Io {
            doing: "starting a runtime",
            kind: error.kind(),
        }),
    }
}
/// The data directory holds event bodies and the admin token: it is the owner's alone.
fn make_directory(path: &std::path::Path) -> Result<(), Fault> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|cause| Fault::Directory {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::inbox::store::contract;
    use crate::random::SeededRandom;

    const CHILD: &str = "service::tests::starts_with_more_segments_than_files";

    /// The limit of files is the process's: the test runs itself again in another one.
    #[test]
    fn a_long_journal_does_not_keep_the_gateway_from_starting() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--ignored"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }

    #[test]
    #[ignore = "run by a_long_journal_does_not_keep_the_gateway_from_starting, in its own process"]
    fn starts_with_more_segments_than_files() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.listen.address = SocketAddr::from(([127, 0, 0, 1], 0));
        settings.listen.threads = Some(1);
        settings.admin.address = SocketAddr::from(([127, 0, 0, 1], 0)).into();
        settings.inbox.store = directory.path().join("data");
        settings.inbox.segment = 64 << 10;
        settings.inbox.ballast = 0;
        settings.inbox.low_water = 0;
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        let store = Embedded::open(
            EmbeddedConfig {
                directory: settings.inbox.store.clone(),
                segment_bytes: 64 << 10,
                ..EmbeddedConfig::default()
            },
            Arc::new(SystemClock),
            random.clone(),
            Metrics::new(),
            Arc::new(|| {}),
        )
        .unwrap();
        for n in 0..120 {
            let body = "x".repeat(40_000);
            let event = contract::event(&format!("k{n}"), &body, SystemClock.now());
            block_on(store.accept(event)).unwrap();
        }
        block_on(store.close()).unwrap();
        drop(store);
        let maximum = getrlimit(Resource::Nofile).maximum;
        let few = Rlimit {
            current: Some(80),
            maximum,
        };
        setrlimit(Resource::Nofile, few).unwrap();
        let surroundings = Surroundings {
            clock: Arc::new(SystemClock),
            random,
            on_fatal: Arc::new(|| {}),
        };
        let (gateway, _) = Gateway::start(settings, None, surroundings)
            .unwrap_or_else(|faults| panic!("{faults:?}"));
        gateway.stop().unwrap();
    }
}
