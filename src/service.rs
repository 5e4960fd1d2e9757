//! Build, run, drain, in that order. Everything is checked before the first port is bound.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::admin;
use crate::clock::Clock;
use crate::guard::Guards;
use crate::inbox::accept::Inbox;
use crate::inbox::store::embedded::{Embedded, EmbeddedConfig, OpenError};
use crate::inbox::store::{Store, StoreError};
use crate::listener::address::AddressSet;
use crate::listener::caps::{ByteBudget, ConnectionCaps};
use crate::listener::serve::{self, Timeouts};
use crate::listener::strict::HeadLimits;
use crate::listener::tls::{self, CertificatePaths, CurrentIdentity, Identity, TlsError};
use crate::pipeline::{self, Loaded, Pipeline};
use crate::random::Random;
use crate::refusals::Refusals;
use crate::relay::{self, Relay};
use crate::rule::compile;
use crate::rule::diagnostic::Diagnostic;
use crate::rule::document::RuleFiles;
use crate::secret::SecretRef;
use crate::settings::{Limits, Settings};
use crate::telemetry::{Metrics, ResultLabel};
use crate::verify::{KeyError, Keyring, Verifier};

/// What a gateway is given besides its settings.
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Called once when the store can never accept again in this process. `serve` ends the process
    /// then: a restart reads back what is really on disk.
    pub on_fatal: Arc<dyn Fn() + Send + Sync>,
}

/// Something that keeps the gateway from starting, or a reload from taking effect.
#[derive(Debug)]
pub enum Fault {
    /// In a rule or settings file, with its place.
    File(Box<Diagnostic>),
    Key {
        source: String,
        error: KeyError,
    },
    /// The secret of the signature on the hop to the application.
    SignWith {
        source: String,
        place: SecretRef,
        why: String,
    },
    Tls(TlsError),
    Store(OpenError),
    Token(admin::token::TokenError),
    Directory {
        path: PathBuf,
        cause: io::Error,
    },
    Bind {
        what: &'static str,
        address: SocketAddr,
        cause: io::Error,
    },
    Thread {
        cause: io::Error,
    },
    /// A reload would leave no source at all: a volume that is gone looks just so.
    NoSources {
        rules: PathBuf,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::File(diagnostic) => fmt::Display::fmt(diagnostic, f),
            Fault::Key { source, error } => write!(f, "source {source}: {error}"),
            Fault::SignWith { source, place, why } => {
                write!(f, "source {source}: relay.sign_with ({place}): {why}")
            }
            Fault::Tls(error) => write!(f, "certificate: {error}"),
            Fault::Store(error) => write!(f, "store: {error}"),
            Fault::Token(error) => write!(f, "admin token: {error}"),
            Fault::Directory { path, cause } => write!(f, "{}: {cause}", path.display()),
            Fault::Bind {
                what,
                address,
                cause,
            } => write!(f, "{what} port {address}: {cause}"),
            Fault::Thread { cause } => write!(f, "a thread could not be started: {cause}"),
            Fault::NoSources { rules } => write!(
                f,
                "{} holds no source any more; to run without any, restart",
                rules.display()
            ),
        }
    }
}

impl Fault {
    /// The file that someone has to mend or to put there, where it is a key.
    fn key_file(&self) -> Option<PathBuf> {
        match self {
            Fault::Key { error, .. } => error.place.strip_prefix("file:").map(PathBuf::from),
            Fault::SignWith {
                place: SecretRef::File(path),
                ..
            } => Some(path.clone()),
            Fault::SignWith {
                place: SecretRef::Env(_),
                ..
            }
            | Fault::File(_)
            | Fault::Tls(_)
            | Fault::Store(_)
            | Fault::Token(_)
            | Fault::Directory { .. }
            | Fault::Bind { .. }
            | Fault::Thread { .. }
            | Fault::NoSources { .. } => None,
        }
    }
}

impl From<Diagnostic> for Fault {
    fn from(diagnostic: Diagnostic) -> Self {
        Fault::File(Box::new(diagnostic))
    }
}

/// Rules with their keys: compiled, loaded, and ready to be put in place.
pub struct Prepared {
    pub loaded: Loaded,
    pub routes: Vec<relay::Route>,
    pub warnings: Vec<Diagnostic>,
}

/// Reads and compiles the rules and loads their keys. `check` and `serve` both come through here.
/// Gives every fault, not the first.
pub fn prepare(
    settings: &Settings,
    metrics: &Metrics,
    before: Option<&Loaded>,
) -> Result<Prepared, Vec<Fault>> {
    let files =
        |diagnostics: Vec<Diagnostic>| diagnostics.into_iter().map(Fault::from).collect::<Vec<_>>();
    // The default may be missing: then there are no sources yet. A directory that someone named
    // and that is not there is a mistake, and would answer every callback with 404.
    if settings.rules != Settings::default().rules && !settings.rules.is_dir() {
        return Err(vec![Fault::Directory {
            path: settings.rules.clone(),
            cause: io::Error::new(
                io::ErrorKind::NotFound,
                "there is no such directory of rules",
            ),
        }]);
    }
    let read = RuleFiles::read(&settings.rules).map_err(files)?;
    let (rules, warnings) = compile::compile(read).map_err(files)?;
    let mut faults = Vec::new();
    let mut verifiers = HashMap::new();
    let mut routes = Vec::new();
    for rule in &rules.rules {
        let source = rule.name.to_string();
        match Keyring::load(rule) {
            Ok(keys) => {
                verifiers.insert(rule.name.clone(), Verifier::new(rule.clone(), keys));
            }
            Err(errors) => {
                faults.extend(errors.into_iter().map(|error| Fault::Key {
                    source: source.clone(),
                    error,
                }));
            }
        }
        let sign_with = rule.relay.sign_with.as_ref().map(|secret| {
            let loaded = secret.load().map_err(|error| error.to_string());
            let key = loaded.and_then(|text| {
                relay::sign::key_from_secret(&text).map_err(|error| error.to_string())
            });
            key.map_err(|why| Fault::SignWith {
                source: source.clone(),
                place: secret.clone(),
                why,
            })
        });
        match sign_with.transpose() {
            Ok(sign_with) => routes.push(relay::Route {
                rule: rule.clone(),
                sign_with,
            }),
            Err(fault) => faults.push(fault),
        }
    }
    if rules.rules.is_empty() && before.is_some_and(|before| !before.rules.rules.is_empty()) {
        faults.push(Fault::NoSources {
            rules: settings.rules.clone(),
        });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let trusted = AddressSet::new(&settings.listen.trusted_proxies);
    let guards = Guards::new(
        &rules,
        trusted,
        metrics.clone(),
        before.map(|loaded| &loaded.guards),
    );
    Ok(Prepared {
        loaded: Loaded {
            rules,
            guards,
            verifiers,
        },
        routes,
        warnings,
    })
}

/// Where the certificate of the public port lies; a development one is made when none is named.
pub fn certificate_paths(
    settings: &Settings,
    clock: &dyn Clock,
) -> Result<CertificatePaths, TlsError> {
    match &settings.listen.tls {
        Some(files) => Ok(CertificatePaths {
            cert: files.cert.clone(),
            key: files.key.clone(),
        }),
        None => tls::development_certificate(&settings.inbox.store.join("tls"), clock.now()),
    }
}

/// A running gateway.
pub struct Gateway {
    settings: Settings,
    settings_file: Option<PathBuf>,
    shared: Arc<pipeline::Shared>,
    relay: Arc<Relay>,
    store: Arc<Embedded>,
    identity: Arc<CurrentIdentity>,
    certificate: CertificatePaths,
    clock: Arc<dyn Clock>,
    public: SocketAddr,
    admin: SocketAddr,
    token_file: Option<PathBuf>,
    draining: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
    broken: watch::Sender<Option<&'static str>>,
    cores: Vec<JoinHandle<()>>,
    admin_thread: Option<JoinHandle<()>>,
    /// One reload at a time; and the key files for which the last one failed.
    reloading: std::sync::Mutex<Vec<PathBuf>>,
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
        let prepared = prepare(&settings, &metrics, None)
            .map_err(|found| faults.extend(found))
            .ok();
        let identity = certificate_paths(&settings, clock.as_ref())
            .and_then(|paths| Ok((Identity::load(&paths, clock.now())?, paths)))
            .map_err(|error| faults.push(Fault::Tls(error)))
            .ok();
        let tokens = admin::token::Tokens::load(&settings, random.as_ref())
            .map_err(|error| faults.push(Fault::Token(error)))
            .ok();
        let (Some(prepared), Some((identity, certificate)), Some(tokens)) =
            (prepared, identity, tokens)
        else {
            return Err(faults);
        };
        metrics
            .certificate_expiry
            .set(i64::try_from(identity.not_after.as_secs()).unwrap_or(i64::MAX));
        let identity = CurrentIdentity::new(identity);
        let tls = tls::server_config(identity.clone(), settings.listen.http2)
            .map_err(|e| vec![Fault::Tls(e)])?;

        let files = raise_file_limit();
        let config = EmbeddedConfig {
            directory: settings.inbox.store.clone(),
            segment_bytes: u32::try_from(settings.inbox.segment).unwrap_or(u32::MAX),
            ballast_bytes: settings.inbox.ballast,
            low_water_bytes: settings.inbox.low_water,
            ..EmbeddedConfig::default()
        };
        let store = Embedded::open(
            config,
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
        let relay = Relay::new(contract.clone(), clock.clone(), random, metrics.clone());
        relay.set_routes(prepared.routes);
        let shared = Arc::new(pipeline::Shared {
            loaded: ArcSwap::from_pointee(prepared.loaded),
            inbox: Inbox::new(contract),
            clock: clock.clone(),
            metrics: metrics.clone(),
            refusals: Refusals::new(1000),
        });

        let threads = settings
            .listen
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
        let bind_fault = |what, address| {
            move |cause| {
                vec![Fault::Bind {
                    what,
                    address,
                    cause,
                }]
            }
        };
        let admin_listener = std::net::TcpListener::bind(settings.admin.address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(bind_fault("admin", settings.admin.address))?;
        let admin_address = admin_listener
            .local_addr()
            .map_err(bind_fault("admin", settings.admin.address))?;
        let listeners = serve::bind(settings.listen.address, threads)
            .map_err(bind_fault("public", settings.listen.address))?;
        let public = listeners
            .first()
            .map_or(Ok(settings.listen.address), |listener| {
                listener.local_addr()
            })
            .map_err(bind_fault("public", settings.listen.address))?;

        let (stop, _) = watch::channel(false);
        let (stop_admin, _) = watch::channel(false);
        let (broken, _) = watch::channel(None);
        let draining = Arc::new(AtomicBool::new(false));
        let listening = Arc::new(listening(&settings, tls, metrics, files));
        let token_file = tokens.file().map(PathBuf::from);
        let admin_state = admin::State {
            shared: shared.clone(),
            store: store.clone(),
            relay: relay.clone(),
            tokens: Arc::new(tokens),
            draining: draining.clone(),
            certificate: identity.clone(),
            address: admin_address,
        };
        let mut gateway = Gateway {
            settings,
            settings_file,
            shared,
            relay,
            store,
            identity,
            certificate,
            clock,
            public,
            admin: admin_address,
            token_file,
            draining,
            stop,
            stop_admin,
            broken,
            cores: Vec::new(),
            admin_thread: None,
            reloading: std::sync::Mutex::default(),
        };
        gateway
            .run(listeners, listening, admin_listener, admin_state)
            .map_err(|cause| vec![Fault::Thread { cause }])?;
        Ok((gateway, prepared.warnings))
    }

    fn run(
        &mut self,
        listeners: Vec<std::net::TcpListener>,
        listening: Arc<serve::Shared>,
        admin_listener: std::net::TcpListener,
        admin_state: admin::State,
    ) -> io::Result<()> {
        for (number, listener) in listeners.into_iter().enumerate() {
            let core = Core {
                shared: self.shared.clone(),
                relay: self.relay.clone(),
                listening: listening.clone(),
                stop: self.stop.subscribe(),
                drain: self.settings.limits.drain_timeout,
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
            admin::serve::run(admin_listener, admin_state, stop);
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
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the admin token lies, when it is one that we made.
    pub fn token_file(&self) -> Option<&PathBuf> {
        self.token_file.as_ref()
    }

    pub fn store(&self) -> &Arc<Embedded> {
        &self.store
    }

    pub fn certificate(&self) -> (&CertificatePaths, crate::clock::Timestamp) {
        (&self.certificate, self.identity.not_after())
    }

    /// The rules in force.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.shared.loaded.load_full()
    }

    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Reads rules, keys and certificate anew and exchanges them all at once; on any fault the old
    /// ones stay. Requests under way finish with what they began with.
    pub fn reload(&self) -> Result<Vec<Diagnostic>, Vec<Fault>> {
        let mut missed = self.reloading();
        let result = self.try_reload();
        let faults = result.as_ref().err();
        *missed = faults
            .into_iter()
            .flatten()
            .filter_map(Fault::key_file)
            .collect();
        drop(missed);
        let label = ResultLabel {
            result: if result.is_ok() { "done" } else { "failed" },
        };
        self.shared.metrics.reloads.get_or_create(&label).inc();
        result
    }

    fn reloading(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.reloading
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn try_reload(&self) -> Result<Vec<Diagnostic>, Vec<Fault>> {
        let mut faults = Vec::new();
        let before = self.shared.loaded.load();
        let prepared = prepare(&self.settings, &self.shared.metrics, Some(&before))
            .map_err(|found| faults.extend(found))
            .ok();
        let identity = Identity::load(&self.certificate, self.clock.now())
            .map_err(|error| faults.push(Fault::Tls(error)))
            .ok();
        if let Err(found) = self.check_settings() {
            faults.extend(found.into_iter().map(Fault::from));
        }
        let (Some(prepared), Some(identity), true) = (prepared, identity, faults.is_empty()) else {
            return Err(faults);
        };
        let expiry = i64::try_from(identity.not_after.as_secs()).unwrap_or(i64::MAX);
        self.shared.metrics.certificate_expiry.set(expiry);
        self.identity.replace(identity);
        self.relay.set_routes(prepared.routes);
        self.shared.loaded.store(Arc::new(prepared.loaded));
        Ok(prepared.warnings)
    }

    /// The settings themselves take effect on the next start; a change is said, not swallowed.
    fn check_settings(&self) -> Result<(), Vec<Diagnostic>> {
        let Some(file) = &self.settings_file else {
            return Ok(());
        };
        let (settings, _) = Settings::load(Some(file))?;
        if settings != self.settings {
            tracing::warn!(file = %file.display(), "the settings changed: they take effect on the next start");
        }
        Ok(())
    }

    /// Everything whose change asks for a reload: rule files, key files, certificate, settings.
    pub fn watched(&self) -> Vec<PathBuf> {
        let mut paths = vec![
            self.settings.rules.clone(),
            self.settings.rules.join("providers"),
            self.certificate.cert.clone(),
            self.certificate.key.clone(),
        ];
        paths.extend(self.settings_file.clone());
        // Keys of rules that are not in force, since these files were missing or wrong.
        paths.extend(self.reloading().iter().cloned());
        for rule in &self.loaded().rules.rules {
            let secrets = rule
                .keys
                .iter()
                .map(|key| &key.from)
                .chain(rule.secrets.values())
                .chain(&rule.relay.sign_with);
            paths.extend(secrets.filter_map(|secret| match secret {
                SecretRef::File(path) => Some(path.clone()),
                SecretRef::Env(_) => None,
            }));
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
        let closed = block_on(self.store.close());
        let _ = self.stop_admin.send(true);
        if let Some(admin) = self.admin_thread.take() {
            let _ = admin.join();
        }
        closed
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

/// Held by a thread that must run until it is told to stop.
struct Part {
    name: &'static str,
    stop: watch::Receiver<bool>,
    broken: watch::Sender<Option<&'static str>>,
}

impl Drop for Part {
    fn drop(&mut self) {
        if std::thread::panicking() || !*self.stop.borrow() {
            self.broken.send_replace(Some(self.name));
        }
    }
}

/// What one core's thread runs with.
struct Core {
    shared: Arc<pipeline::Shared>,
    relay: Arc<Relay>,
    listening: Arc<serve::Shared>,
    stop: watch::Receiver<bool>,
    drain: Duration,
}

impl Core {
    fn run(self, listener: std::net::TcpListener) {
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
    }
}

fn listening(
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
fn raise_file_limit() -> usize {
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
        settings.admin.address = SocketAddr::from(([127, 0, 0, 1], 0));
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
