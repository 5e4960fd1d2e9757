//! `callseal`: arguments and exit codes, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    callseal::cli::run()
}
