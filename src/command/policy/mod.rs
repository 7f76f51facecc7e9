//! `tradewind policy`: the policy of a running sidecar, from looking at a new one to going back to an old one.

mod apply;
mod history;
mod status;
mod validate;
pub(super) mod words;

use std::io::Write;

use clap::Subcommand;

use super::{CommandError, Exit};

pub use apply::{ApplyArgs, RollbackArgs};
pub use history::{HistoryArgs, ShowArgs};
pub use status::StatusArgs;
pub use validate::{PlanArgs, TestArgs, ValidateArgs};

/// Arguments of `tradewind policy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The safe way to change a policy:
  tradewind policy validate new.yaml            what would it change, and would it be taken?
  tradewind policy plan new.yaml                what would it do to the requests of now?
  tradewind policy apply new.yaml --why TEXT    put it in force
  tradewind policy status                       is it?
  tradewind policy rollback --why TEXT          take it back

Whatever took effect is a revision with a number, whether it came by a call or as a file. The later one wins. docs/rollouts.md
has it all.")]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with the policy of a running sidecar.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask whether a policy would be taken, and what it would change
    Validate(ValidateArgs),
    /// Try the examples inside rules on the fleet that is in force
    Test(TestArgs),
    /// Say what a policy would do to the requests of now
    Plan(PlanArgs),
    /// Put a policy in force
    Apply(Box<ApplyArgs>),
    /// List what took effect, who wanted it and why
    History(HistoryArgs),
    /// Show the policy of a revision
    Show(ShowArgs),
    /// Put the policy of an earlier revision in force again
    Rollback(Box<RollbackArgs>),
    /// Say what is in force and how the files fare
    Status(StatusArgs),
}

/// Runs the one that was asked for.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    match &args.command {
        Command::Validate(args) => validate::validate(args, out),
        Command::Test(args) => validate::test(args, out),
        Command::Plan(args) => validate::plan(args, out),
        Command::Apply(args) => apply::apply(args, out),
        Command::History(args) => history::history(args, out),
        Command::Show(args) => history::show(args, out),
        Command::Rollback(args) => apply::rollback(args, out),
        Command::Status(args) => status::run(args, out),
    }
}
