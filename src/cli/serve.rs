//! `callseal serve`: start, say what was started, reload when told or when files change, drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::watch::{Fingerprint, LOOK_EVERY};
use crate::cli::{
    EXIT_CONFIG, EXIT_DISK, EXIT_FAILED, EXIT_IN_USE, Place, check, disk_code, notify, output,
};
use crate::clock::{Clock, SystemClock};
use crate::inbox::store::embedded::OpenError;
use crate::random::SystemRandom;
use crate::service::{Fault, Gateway, Surroundings};
use crate::settings::AdminAddress;
use crate::telemetry;

pub fn run(place: &Place) -> Result<(), u8> {
    let (settings, file) = place.settings().map_err(|found| {
        output::faults(found.into_iter().map(Fault::from).collect());
        EXIT_CONFIG
    })?;
    telemetry::start_logging(settings.log);
    telemetry::log_panics();
    // What is written is the owner's alone, the index's files too, whatever the directory allows.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            output::remark(format_args!("error: {error}"));
            EXIT_FAILED
        })?;
    // Signals are caught before anything is open: one that comes early must not kill half a start.
    let mut signals = runtime
        .block_on(async { Signals::new() })
        .map_err(|error| {
            output::remark(format_args!("error: {error}"));
            EXIT_FAILED
        })?;
    let disk_failed = Arc::new(AtomicBool::new(false));
    let surroundings = Surroundings {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        on_fatal: leave(disk_failed.clone()),
    };
    let (gateway, warnings) = Gateway::start(settings, file, surroundings).map_err(|faults| {
        let code = exit_code(&faults);
        output::faults(faults);
        code
    })?;
    output::diagnostics(&warnings);
    banner(&gateway);
    notify::tell(notify::READY);
    let mut broken = gateway.broken();
    runtime.block_on(live(&gateway, &mut signals, &mut broken));
    notify::tell(notify::STOPPING);
    tracing::info!("stopping: finishing what is under way");
    runtime.spawn(async move {
        signals.stop().await;
        // Told twice: whoever says so does not want to wait.
        std::process::exit(i32::from(EXIT_FAILED));
    });
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || tell.send(gateway.stop()));
    let stopped = runtime.block_on(told);
    if disk_failed.load(Ordering::SeqCst) {
        return Err(EXIT_DISK);
    }
    if broken.borrow().is_some() {
        return Err(EXIT_FAILED);
    }
    match stopped {
        Ok(Ok(())) => {
            tracing::info!("stopped: everything acknowledged is on disk");
            Ok(())
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the store did not close");
            Err(EXIT_FAILED)
        }
        Err(_) => Err(EXIT_FAILED),
    }
}

/// How a start ends that failed: a store in use or a disk that fails is no mistake in the settings,
/// unless there is one besides. A warning beside the only fault changes nothing.
fn exit_code(faults: &[Fault]) -> u8 {
    let of = |fault: &Fault| match fault {
        Fault::Store(OpenError::Locked { .. }) => EXIT_IN_USE,
        Fault::Store(OpenError::Io { error, .. }) => disk_code(error),
        Fault::Store(OpenError::Thread(_)) | Fault::Thread { .. } => EXIT_FAILED,
        Fault::Store(
            OpenError::Newer { .. }
            | OpenError::Unreadable { .. }
            | OpenError::Foreign { .. }
            | OpenError::Setting(_),
        )
        | Fault::File(_)
        | Fault::Named { .. }
        | Fault::Key { .. }
        | Fault::SignWith { .. }
        | Fault::DestinationTls { .. }
        | Fault::Tls(_)
        | Fault::AdminTls(_)
        | Fault::Roots(_)
        | Fault::Token(_)
        | Fault::Outlet { .. }
        | Fault::Directory { .. }
        | Fault::Bind { .. }
        | Fault::NoSources { .. } => EXIT_CONFIG,
    };
    let mut errors = faults.iter().filter(|fault| fault.is_error());
    match (errors.next(), errors.next()) {
        (Some(only), None) => of(only),
        _ => EXIT_CONFIG,
    }
}

/// What happens when the journal can no longer be trusted: the answers under way (503) get a
/// moment to go out, then the process ends. A restart reads back what is really on disk.
fn leave(disk_failed: Arc<AtomicBool>) -> Arc<dyn Fn() + Send + Sync> {
    Arc::new(move || {
        disk_failed.store(true, Ordering::SeqCst);
        tracing::error!(
            "the journal could not be synced: nothing is accepted any more, the process ends"
        );
        std::thread::spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(500));
            std::process::exit(i32::from(EXIT_DISK));
        });
    })
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn live(
    gateway: &Gateway,
    signals: &mut Signals,
    broken: &mut watch::Receiver<Option<&'static str>>,
) {
    let mut seen = Fingerprint::of(&gateway.watched());
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let changed = tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            part = broken.wait_for(Option::is_some) => {
                let part = part.ok().and_then(|part| *part).unwrap_or_default();
                tracing::error!("{part} has ended and should not have: the process stops");
                return;
            }
            _ = signals.hangup.recv() => true,
            _ = look.tick() => Fingerprint::of(&gateway.watched()) != seen,
        };
        if changed {
            // Taken before the files are read: what changes meanwhile is noticed the next time.
            let before = Fingerprint::of(&gateway.watched());
            reload(gateway);
            seen = before.completed_by(Fingerprint::of(&gateway.watched()));
        }
    }
}

fn reload(gateway: &Gateway) {
    match gateway.reload() {
        Ok(done) => {
            output::diagnostics(&done.warnings);
            let loaded = gateway.loaded();
            tracing::info!(
                sources = loaded.rules.rules.len(),
                "reloaded rules, keys, certificates, tokens, and where alerts and traces go"
            );
        }
        Err(faults) => {
            // Warnings are among them, and keep nothing from being taken.
            for fault in faults.iter().filter(|fault| fault.is_error()) {
                tracing::error!(%fault, "not reloaded");
            }
            output::faults(faults);
            tracing::error!("the rules, keys, certificates and settings from before stay in force");
        }
    }
}

/// Addresses, sources, store, certificate, token: what an operator asks first.
fn banner(gateway: &Gateway) {
    let settings = gateway.settings();
    let (paths, not_after) = gateway.certificate();
    let days = not_after.since(SystemClock.now()).as_secs() / 86_400;
    let development = if settings.listen.tls.is_none() {
        " (made for development: providers will not trust it)"
    } else {
        ""
    };
    let loaded = gateway.loaded();
    let say = |name: &str, text: String| output::remark(format_args!("  {name:<12} {text}"));
    output::remark(format_args!("callseal {}", env!("CARGO_PKG_VERSION")));
    say("public", format!("https://{}", gateway.public()));
    let admin = match (gateway.admin(), &settings.admin.tls) {
        (AdminAddress::Unix(path), _) => format!("unix:{}", path.display()),
        (AdminAddress::Tcp(address), None) => format!("http://{address}"),
        (AdminAddress::Tcp(address), Some(_)) => format!("https://{address}"),
    };
    say("admin", admin);
    if let Some(file) = gateway.token_file() {
        say("admin token", format!("in {}", file.display()));
    }
    say(
        "certificate",
        format!("{}, ends in {days} days{development}", paths.cert.display()),
    );
    say(
        "store",
        format!(
            "{} ({})",
            settings.inbox.store.display(),
            gateway.store().report()
        ),
    );
    match loaded.rules.rules.len() {
        0 => say(
            "sources",
            format!(
                "none in {}: `callseal init PROVIDER --forward URL` writes one",
                settings.rules.display()
            ),
        ),
        count => say(
            "sources",
            format!("{count} from {}", settings.rules.display()),
        ),
    }
    for rule in &loaded.rules.rules {
        let unverified = match check::is_verified(rule) {
            true => "",
            false => "  UNVERIFIED",
        };
        output::remark(format_args!(
            "    {:<20} {} -> {}{unverified}",
            rule.path,
            rule.provider.name,
            check::forward(&rule.relay.main)
        ));
    }
}
