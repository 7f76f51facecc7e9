//! `tradewind topology`: topology files from what operators have already, and the topology of a running sidecar.

mod fleet;
mod import;

use std::io::Write;

use clap::Subcommand;

use super::{CommandError, Exit};

pub use fleet::{ApplyArgs, GetArgs};
pub use import::{
    Args as ImportArgs, Assignment, AssignmentError, ImportError, Place, Point, PointError, Role,
    Separator, SiteFault, SiteFaults, Wrong,
};

/// Arguments of `tradewind topology`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with topologies.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn a list of sites with coordinates (CSV or JSON) into a topology file
    Import(Box<ImportArgs>),
    /// Put a topology in force at a running sidecar, or confirm one that it holds
    Apply(Box<ApplyArgs>),
    /// Show the fleet of a running sidecar
    Get(GetArgs),
}

/// Runs the one that was asked for. What is said beside the result goes to `notes`.
pub fn run(
    args: &Args,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<Exit, CommandError> {
    match &args.command {
        Command::Import(args) => import::run(args, out, notes),
        Command::Apply(args) => fleet::apply(args, out),
        Command::Get(args) => fleet::get(args, out),
    }
}
