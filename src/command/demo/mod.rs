//! `tradewind demo`: the engine at work on this machine, as a whole or in parts.

pub mod nodes;
mod print;
pub mod show;
pub mod traffic;

use std::io::Write;

use clap::Subcommand;

use super::{CommandError, Context, Exit};

/// Arguments of `tradewind demo`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  tradewind demo
  tradewind demo --quick --seed 7 --format json
  tradewind demo nodes --topology topology.yaml --control 127.0.0.1:9000
  tradewind demo traffic --through http://127.0.0.1:8080

Without a subcommand it starts nine cache nodes in three sites, a sidecar and a proxy with clients near each site, all in
this process and on free ports of 127.0.0.1. A node turns slow and heals, a site fails and heals. Each second it prints
where requests went, and between those lines what the sidecar did and why. It ends by itself in under two and a half
minutes; Ctrl-C ends it earlier.

Exit status: 0 everything went as expected, 1 it did not or was interrupted, 2 it could not run."
)]
pub struct Args {
    /// The whole story
    #[command(flatten)]
    pub show: show::Args,
    /// A part of it
    #[command(subcommand)]
    pub part: Option<Part>,
}

/// Parts of the demo, to put together with a sidecar and a proxy of your own.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Serve a small cache node at every address of a topology, until SIGINT or SIGTERM
    Nodes(nodes::Args),
    /// Send requests through a proxy and print where they went
    Traffic(traffic::Args),
}

/// Runs the story or a part.
pub fn run(args: &Args, context: &Context, out: &mut impl Write) -> Result<Exit, CommandError> {
    match &args.part {
        None => show::run(&args.show, context, out),
        Some(Part::Nodes(args)) => nodes::run(args, out),
        Some(Part::Traffic(args)) => traffic::run(args, out),
    }
}
