//! `callseal schema KIND`: the JSON Schema of a kind of file, with which editors complete and check
//! it while it is written. `callseal check` knows more than a schema can say.

use std::path::PathBuf;

use crate::cli::{EXIT_FAILED, output};
use crate::rule::shape;
use crate::settings;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Which file
    #[arg(value_enum)]
    kind: Kind,
    /// Write it there instead of to standard output; a TOML file names it in its first line:
    /// `#:schema PATH`
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// rules/NAME.toml
    Source,
    /// rules/providers/NAME.toml
    Provider,
    /// callseal.toml
    Settings,
}

pub fn run(options: &Options) -> Result<(), u8> {
    let text = match options.kind {
        Kind::Source => shape::source_schema(),
        Kind::Provider => shape::provider_schema(),
        Kind::Settings => settings::schema(),
    };
    let Some(path) = &options.write else {
        output::line(text.trim_end());
        return Ok(());
    };
    // A schema is made anew by every version: an old one may be written over.
    std::fs::write(path, text).map_err(|error| {
        output::remark(format_args!("error: {}: {error}", path.display()));
        EXIT_FAILED
    })
}
