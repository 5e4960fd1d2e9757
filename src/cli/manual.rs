//! `callseal completions` and `callseal man`: made from the command line's own description.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

use crate::cli::{EXIT_FAILED, output};

#[derive(Debug, clap::Args)]
pub struct CompletionOptions {
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
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
        clap_mangen::Man::new(super::command())
            .render(&mut page)
            .map_err(|e| failed(out, &e))?;
        let _ = std::io::stdout().lock().write_all(&page);
        return Ok(());
    };
    std::fs::create_dir_all(directory).map_err(|e| failed(directory, &e))?;
    clap_mangen::generate_to(super::command(), directory).map_err(|e| failed(directory, &e))
}
