//! `callseal health`: asks the admin port of a running gateway, for containers without curl.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::http::{self, Target};
use crate::cli::{EXIT_CONFIG, EXIT_FAILED, Place, output};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where the admin port is: `127.0.0.1:8444`, `https://HOST:PORT` or `unix:PATH` [default: from
    /// the settings]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Authorities for `https://`, in PEM [default: the machine's]
    #[arg(long, value_name = "FILE", requires = "admin")]
    ca: Option<PathBuf>,
    /// Ask whether callbacks can be accepted, not only whether the process lives
    #[arg(long)]
    ready: bool,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let settings = match options.admin {
        Some(_) => None,
        None => Some(place.settings().map_err(|found| {
            output::diagnostics(&found);
            EXIT_CONFIG
        })?),
    };
    let settings = settings.as_ref().map(|(settings, _)| settings);
    let target = Target::new(options.admin.as_deref(), options.ca.as_deref(), settings).map_err(
        |error| {
            output::remark(format_args!("error: {error}"));
            EXIT_CONFIG
        },
    )?;
    let path = if options.ready { "/readyz" } else { "/healthz" };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| EXIT_FAILED)?;
    let reply = runtime.block_on(http::ask(
        &target,
        ::http::Method::GET,
        path,
        None,
        Duration::from_secs(3),
    ));
    match reply {
        Ok(reply) => {
            output::line(String::from_utf8_lossy(&reply.body).trim_end());
            if reply.status == 200 {
                Ok(())
            } else {
                Err(EXIT_FAILED)
            }
        }
        Err(error) => {
            output::remark(format_args!("error: {target}: {error}"));
            Err(EXIT_FAILED)
        }
    }
}
