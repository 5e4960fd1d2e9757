//! `callseal completions` and `callseal man`: made from the command line's own description.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

use crate::cli::{EXIT_FAILED, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  callseal completions bash > /etc/bash_completion.d/callseal
  callseal completions zsh > \"${fpath[1]}/_callseal\"
  callseal completions fish > ~/.config/fish/completions/callseal.fish")]
pub struct CompletionOptions {
    /// Whose
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  callseal man /usr/local/share/man/man1
  callseal man | man -l -")]
pub struct ManOptions {
    /// Directory for callseal.1, callseal-serve.1, …; without it callseal.1 on standard output
    directory: Option<PathBuf>,
}

pub fn completions(options: &CompletionOptions) -> Result<(), u8> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut super::command(), "callseal", &mut text);
    // A closed pipe is no reason to fail.
    let _ = std::io::stdout().lock().write_all(&text);
    Ok(())
}

pub fn pages(options: &ManOptions) -> Result<(), u8> {
    let failed = |path: &Path, error: &std::io::Error| {
        output::remark(format_args!("error: {}: {error}", path.display()));
        EXIT_FAILED
    };
    let Some(directory) = &options.directory else {
        let mut page = Vec::new();
        let out = Path::new("standard output");
        manual(super::command())
            .render(&mut page)
            .map_err(|e| failed(out, &e))?;
        let _ = std::io::stdout().lock().write_all(&page);
        return Ok(());
    };
    std::fs::create_dir_all(directory).map_err(|e| failed(directory, &e))?;
    let mut all = super::command().disable_help_subcommand(true);
    // Gives each command below its whole name.
    all.build();
    written(&all, directory).map_err(|e| failed(directory, &e))
}

/// The page of a command, and of each one below it.
fn written(command: &clap::Command, directory: &Path) -> std::io::Result<()> {
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        written(below, directory)?;
    }
    manual(command.clone()).generate_to(directory).map(drop)
}

/// With a head and a foot as manual pages have them.
fn manual(command: clap::Command) -> clap_mangen::Man {
    let name = command.get_display_name().unwrap_or("callseal");
    let title = name.to_uppercase();
    clap_mangen::Man::new(command)
        .title(title)
        .source(concat!("callseal ", env!("CARGO_PKG_VERSION")))
        .manual("Callseal")
}
