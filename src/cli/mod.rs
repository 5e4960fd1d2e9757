//! The command line: one file per command.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub mod reach;
pub mod capture;
pub mod check;
pub mod demo;
pub mod explain;
pub mod health;
pub mod http;
pub mod init;
pub mod manual;
pub mod notify;
pub mod operate;
pub mod output;
pub mod providers;
pub mod schema;
pub mod send;
pub mod serve;
pub mod source;
pub mod sign;
pub mod store;
pub mod subject;
pub mod watch;

/// It went wrong.
pub const EXIT_FAILED: u8 = 1;
/// The arguments do not fit each other (what `clap` itself ends with).
pub const EXIT_USAGE: u8 = 2;
/// The gateway does not answer (EX_UNAVAILABLE).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// The token is unknown, or may not do that (EX_NOPERM).
pub const EXIT_DENIED: u8 = 77;
/// Something that is stored or was exported is damaged (EX_DATAERR).
pub const EXIT_DAMAGED: u8 = 65;
/// The store is in use by another process (EX_TEMPFAIL).
pub const EXIT_IN_USE: u8 = 75;
/// The journal could not be synced: what is on disk is unknown until a restart (EX_IOERR).
pub const EXIT_DISK: u8 = 74;
/// Settings, rules, keys or certificates do not fit (EX_CONFIG).
pub const EXIT_CONFIG: u8 = 78;

/// How a command ends that the store's directory kept from opening it: a wrong path or owner is a
/// mistake that someone can mend, and says nothing of the disk.
fn disk_code(error: &io::Error) -> u8 {
    use io::ErrorKind::{AlreadyExists, NotADirectory, NotFound, PermissionDenied};
    match error.kind() {
        PermissionDenied | NotFound | NotADirectory | AlreadyExists => EXIT_CONFIG,
        _ => EXIT_DISK,
    }
}

/// A TLS proxy that checks the seal on every payment callback, has it on disk before it answers,
/// and delivers it to your application until that takes it.
#[derive(Debug, Parser)]
#[command(
    name = "callseal",
    version,
    about,
    after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage, 65 something is damaged, 69 the gateway does not \
answer, 74 the disk failed (restart), 75 the store is in use, 77 the token is unknown or may not do \
that, 78 wrong settings or rules.

--json prints one document, or an object a line where a command goes on (`events follow`, `events \
list --all`, `redrive ID…`). Results go to standard output; remarks and errors, in words, to \
standard error. Colours, on terminals only, are turned off by NO_COLOR=1."
)]
struct Arguments {
    /// Settings file [default: callseal.toml, if it is there]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the rule files, in place of the one in the settings
    #[arg(long, global = true, value_name = "DIR")]
    rules: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive, verify, store, answer, deliver: the main job
    Serve,
    /// The main job on a stage, with signed, forged, stale and doubled callbacks
    Demo(demo::Options),
    /// Compile rules, keys and certificate; show every error with its place
    Check(check::Options),
    /// Write the rule file of a new source
    Init(init::Options),
    /// The providers that can be named in a rule file
    Providers(providers::Options),
    /// The JSON Schema of a kind of file, with which editors complete and check it
    Schema(schema::Options),
    /// Show what the verifier makes of a captured request, and why it is rejected
    Explain(Box<explain::Options>),
    /// Make a correctly signed test callback and print it
    Sign(Box<sign::Options>),
    /// Make a test callback and send it, to see the answer
    Send(Box<send::Options>),
    /// Check, mend, count, export or import the store of a gateway that does not run
    Store(store::Options),
    /// Events of a running gateway: list, show, follow
    Events(Box<operate::events::Options>),
    /// Deliver again: one, or all that fit a filter
    Redrive(Box<operate::many::RedriveOptions>),
    /// Give up for good what is owed or dead: one, or all that fit a filter
    Discard(Box<operate::many::DiscardOptions>),
    /// Redriving and discarding many: what runs, and how far it is
    Jobs(operate::many::JobsOptions),
    /// Stop delivering for a source; accepting goes on
    Pause(operate::sources::PauseOptions),
    /// Deliver again for a source that was paused
    Resume(operate::sources::PauseOptions),
    /// The sources of a running gateway, their health, keys and destinations
    Sources(operate::sources::Options),
    /// Callbacks that were not accepted, and why
    Refusals(operate::refusals::Options),
    /// What operators did
    Audit(operate::audit::Options),
    /// A running gateway reads its rules, keys, certificates and some settings again
    Reload(operate::rules::Options),
    /// A running gateway at a glance, kept up to date
    Top(operate::top::Options),
    /// What is wrong or soon will be, and what to do
    Doctor(operate::doctor::Options),
    /// Completions for a shell, on standard output
    Completions(manual::CompletionOptions),
    /// Manual pages, one a command, into a directory
    Man(manual::ManOptions),
    /// Ask a running gateway whether it is alive (exit code 0) or not (1)
    Health(health::Options),
}

/// The whole command line, for completions and manual pages.
fn command() -> clap::Command {
    Arguments::command()
}

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub config: Option<PathBuf>,
    pub rules: Option<PathBuf>,
}

impl Place {
    /// Settings with the command line's word over them.
    pub fn settings(
        &self,
    ) -> Result<
        (crate::settings::Settings, Option<PathBuf>),
        Vec<crate::rule::diagnostic::Diagnostic>,
    > {
        let (mut settings, file) = crate::settings::Settings::load(self.config.as_deref())?;
        if let Some(rules) = &self.rules {
            settings.rules.clone_from(rules);
            settings.rules_named = true;
            settings.rules_given = true;
        }
        let left = (file.as_deref()).map_or_else(Vec::new, |file| settings.left_behind(file));
        match left.is_empty() {
            true => Ok((settings, file)),
            false => Err(left),
        }
    }
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let Arguments {
        config,
        rules,
        command,
    } = Arguments::parse();
    let place = Place { config, rules };
    let done = match command {
        Command::Serve => serve::run(&place),
        Command::Demo(options) => demo::run(&options),
        Command::Check(options) => check::run(&place, &options),
        Command::Init(options) => init::run(&place, &options),
        Command::Providers(options) => providers::run(&place, &options),
        Command::Schema(options) => schema::run(&options),
        Command::Explain(options) => explain::run(&place, &options),
        Command::Sign(options) => sign::run(&place, &options),
        Command::Send(options) => send::run(&place, &options),
        Command::Store(options) => store::run(&place, &options),
        Command::Events(options) => operate::events::run(&place, &options),
        Command::Redrive(options) => operate::many::redrive(&place, &options),
        Command::Discard(options) => operate::many::discard(&place, &options),
        Command::Jobs(options) => operate::many::jobs(&place, &options),
        Command::Pause(options) => {
            operate::sources::say(&place, &options, operate::sources::Word::Pause)
        }
        Command::Resume(options) => {
            operate::sources::say(&place, &options, operate::sources::Word::Resume)
        }
        Command::Sources(options) => operate::sources::run(&place, &options),
        Command::Refusals(options) => operate::refusals::run(&place, &options),
        Command::Audit(options) => operate::audit::run(&place, &options),
        Command::Reload(options) => operate::rules::reload(&place, &options),
        Command::Top(options) => operate::top::run(&place, &options),
        Command::Doctor(options) => operate::doctor::run(&place, &options),
        Command::Completions(options) => manual::completions(&options),
        Command::Man(options) => manual::pages(&options),
        Command::Health(options) => health::run(&place, &options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}
