//! `callseal events`: what was accepted, and what became of it.

use serde_json::Value;

use crate::cli::Place;
use crate::cli::operate::view::text;
use crate::cli::operate::{Gateway, client};

mod follow;
mod list;
mod show;

use follow::FollowOptions;
use list::ListOptions;
use show::ShowOptions;

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    flatten_help = true,
    after_help = "\
Examples:
  callseal events --state dead --since 2h
  callseal events --order A-10017
  callseal events list --source shop --all --json | jq -r .id
  callseal events show evt_00000020009s0ajcfm6m6hn3kb --verify
  callseal events follow --source shop

With --json: `list` and `show` print one document, `list --all` and `follow` one object a line."
)]
pub struct Options {
    #[command(flatten)]
    pub gateway: Gateway,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListOptions,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The newest events that fit, one line each
    List(ListOptions),
    /// One event: what was received, how it was verified, every attempt
    Show(ShowOptions),
    /// Events as they arrive, and what becomes of them, until Ctrl-C
    Follow(FollowOptions),
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let client = client(place, &options.gateway)?;
    let as_json = options.gateway.json;
    match &options.command {
        None => list::listed(&client, &options.list, as_json),
        Some(Command::List(options)) => list::listed(&client, options, as_json),
        Some(Command::Show(options)) => show::shown(&client, options, as_json),
        Some(Command::Follow(options)) => follow::followed(&client, options, as_json),
    }
}

/// Order, amount and what it is about, as far as they are known.
fn amount(row: &Value) -> String {
    let part = |name: &str| text(row, &format!("/payment/{name}"));
    let money = [part("amount"), part("currency")].join(" ");
    let parts = [part("order"), money.trim().to_owned(), part("status")];
    let parts: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    parts.join(" ")
}
