//! `callseal health`: asks the admin port of a running gateway, for containers without curl.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cli::{EXIT_CONFIG, EXIT_FAILED, Place, http, output};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Address of the admin port [default: from the settings]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
    /// Ask whether callbacks can be accepted, not only whether the process lives
    #[arg(long)]
    ready: bool,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let address = match options.admin {
        Some(address) => address,
        None => {
            let (settings, _) = place.settings().map_err(|found| {
                output::diagnostics(&found);
                EXIT_CONFIG
            })?;
            settings.admin.address
        }
    };
    let path = if options.ready { "/readyz" } else { "/healthz" };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| EXIT_FAILED)?;
    let reply = runtime.block_on(http::ask(
        address,
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
            output::remark(format_args!("error: {address}: {error}"));
            Err(EXIT_FAILED)
        }
    }
}
