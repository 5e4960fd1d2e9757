//! `callseal store`: the store of a gateway that does not run. Every command takes the store's lock.

use std::io::IsTerminal;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::{EXIT_CONFIG, EXIT_DISK, EXIT_FAILED, EXIT_IN_USE, Place, disk_code, output};
use crate::clock::SystemClock;
use crate::inbox::store::StoreError;
use crate::inbox::store::embedded::{Embedded, EmbeddedConfig, OpenError};
use crate::inbox::store::offline::Offline;
use crate::inbox::store::offline::check::Progress;
use crate::random::SystemRandom;
use crate::service::{self, Fault};
use crate::telemetry::Metrics;

mod carry;
mod owner;
mod repair;
mod stats;
mod verify;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Directory of the store, in place of the one in the settings
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Exit codes: 0 done and nothing found, 1 failed, 2 wrong usage, 65 something is damaged,
74 the disk failed, 75 the store is in use (stop the gateway first), 78 wrong settings.")]
enum Command {
    /// Check every byte of the journal; name what is damaged
    Verify,
    /// Mend headers, set damaged parts aside, make the index anew
    Repair,
    /// Count what is there
    Stats,
    /// Write all events with their claims and attempts to a file, one line each
    Export(carry::ExportOptions),
    /// Take in what was exported
    Import(carry::ImportOptions),
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let (settings, _) = place.settings().map_err(|found| {
        output::faults(found.into_iter().map(Fault::from).collect());
        EXIT_CONFIG
    })?;
    // What is written is the owner's alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    service::raise_file_limit();
    let mut config = service::store_config(&settings);
    if let Some(store) = &options.store {
        config.directory.clone_from(store);
    }
    match &options.command {
        Command::Verify => verify::run(&config, options.json),
        Command::Repair => repair::run(config, options.json),
        Command::Stats => stats::run(config, options.json),
        Command::Export(export) => carry::export(config, export, options.json),
        Command::Import(import) => carry::import(config, import, options.json),
    }
}

fn refused(error: &OpenError) -> u8 {
    output::remark(format_args!("error: {error}"));
    match error {
        OpenError::Locked { .. } => EXIT_IN_USE,
        OpenError::Io { error, .. } => disk_code(error),
        OpenError::Thread(_)
        | OpenError::Newer { .. }
        | OpenError::Unreadable { .. }
        | OpenError::Foreign { .. }
        | OpenError::Setting(_) => EXIT_FAILED,
    }
}

fn failed(error: &StoreError) -> u8 {
    output::remark(format_args!("error: {error}"));
    match error {
        StoreError::Io { .. } | StoreError::Unknown => EXIT_DISK,
        StoreError::Unavailable(_)
        | StoreError::LeaseLost
        | StoreError::Damaged { .. }
        | StoreError::Closed => EXIT_FAILED,
    }
}

/// A store in hand. When it is let go, what root has made in it becomes its owner's.
struct Held<S> {
    // Let go in this order.
    store: S,
    _given: Option<owner::Given>,
}

impl<S> Deref for Held<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

impl<S> DerefMut for Held<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.store
    }
}

/// The directory is looked at before, and nothing in it changes hands where no store was found.
fn held<S>(directory: &Path, take: impl FnOnce() -> Result<S, OpenError>) -> Result<Held<S>, u8> {
    let owner = owner::Owner::of(directory);
    let store = take().map_err(|error| refused(&error))?;
    let _given = owner.map(owner::Given);
    Ok(Held { store, _given })
}

/// The lock of a store that is there.
fn lock(directory: &Path) -> Result<Held<Offline>, u8> {
    there(directory)?;
    held(directory, || Offline::lock(directory))
}

/// As a gateway opens it; but a store must be there.
fn open(config: EmbeddedConfig) -> Result<Held<Embedded>, u8> {
    there(&config.directory)?;
    open_or_make(config)
}

/// A mistyped path is no disk that fails; what cannot be looked at is told by whoever opens it.
fn there(directory: &Path) -> Result<(), u8> {
    if directory.join("journal").try_exists().unwrap_or(true) {
        return Ok(());
    }
    output::remark(format_args!(
        "error: there is no store in {}",
        directory.display()
    ));
    Err(EXIT_FAILED)
}

fn open_or_make(config: EmbeddedConfig) -> Result<Held<Embedded>, u8> {
    let directory = config.directory.clone();
    let store = held(&directory, || {
        Embedded::open(
            config,
            Arc::new(SystemClock),
            Arc::new(SystemRandom),
            Metrics::new(),
            // Whoever waits for the store hears of it, too.
            Arc::new(|| {}),
        )
    })?;
    output::remark(format_args!("opened: {}", store.report()));
    Ok(store)
}

fn close(store: &Embedded) -> Result<(), u8> {
    use crate::inbox::store::Store;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| {
            output::remark(format_args!("error: {error}"));
            EXIT_FAILED
        })?;
    runtime
        .block_on(store.close())
        .map_err(|error| failed(&error))
}

/// Says how far it is: on a terminal in place, elsewhere every tenth, and of short work nothing.
fn progress(what: &'static str) -> impl FnMut(Progress) {
    use std::io::Write;
    let terminal = std::io::stderr().is_terminal();
    let mut said = 0;
    move |Progress { done, of }| {
        if of < 20 {
            return;
        }
        let tenth = u64::from(done) * 10 / u64::from(of);
        if terminal {
            let end = if done == of { "\n" } else { "" };
            let _ = write!(
                std::io::stderr().lock(),
                "\r{what}: {done} of {of} segments{end}"
            );
        } else if tenth > said {
            said = tenth;
            output::remark(format_args!("{what}: {done} of {of} segments"));
        }
    }
}
