//! The commands: what a person types, turned into calls of the engine or of a running sidecar.
//!
//! Each command is one function from its arguments to an [`Exit`], writing to whatever it is given. Time, terminals and
//! the environment come in through [`Context`] and clap, so every command can be driven by a test as it is by a shell.
//! `serve` is the exception: it runs until it is told to stop, and writes to the standard streams.

mod against;
pub mod audit;
pub mod check;
mod client;
pub mod completions;
pub mod demo;
pub mod diff;
pub mod drain;
mod error;
mod file;
pub mod fleet;
pub mod fmt;
pub mod keys;
pub mod log_filter;
pub mod log_level;
mod offline;
pub mod operator;
mod output;
pub mod plan;
pub mod policy;
pub mod purge;
pub mod replay;
pub mod request;
pub mod reset_breaker;
pub mod rollout;
pub mod route;
pub mod schema;
pub mod see;
pub mod serve;
pub mod sign;
pub mod tell;
pub mod test;
pub mod topology;
pub mod trace;
pub mod verify;
pub mod world;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Parser, Subcommand};

pub use client::{Server, ServerError};
pub use error::CommandError;
pub use fmt::FormatError;
pub use output::Format;

use crate::engine::date::Date;
use crate::sidecar::observe::version;
use crate::sidecar::settings;

/// Names for every request the cache node to use, and which next if it fails.
///
/// `tradewind serve` answers proxies over gRPC. The other commands check documents, make them, and ask for decisions,
/// offline or from a running sidecar.
#[derive(Debug, Parser)]
#[command(
    name = "tradewind",
    version,
    long_version = version::LONG,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Never colour the output
    #[arg(long, global = true, env = "NO_COLOR", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new(), hide_env_values = true)]
    pub no_color: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Everything `tradewind` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve decisions to proxies
    Serve(Box<settings::Args>),
    /// Anything else
    #[command(flatten)]
    Tool(Box<Tool>),
}

/// The commands that end by themselves.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Check policy and topology files, with every fault at once
    Check(check::Args),
    /// Try the examples inside rules
    Test(test::Args),
    /// Say what changed between two policies or topologies, in an operator's words
    Diff(diff::Args),
    /// Say what a change does to requests, before it takes effect
    Plan(Box<plan::Args>),
    /// Format policy and topology files, with all their comments
    Fmt(fmt::Args),
    /// Print the JSON Schema of a document
    Schema(schema::Args),
    /// Look at, change and take back the policy of a running sidecar
    Policy(policy::Args),
    /// Try a policy on part of the requests of a running sidecar, watched, and take it back
    Rollout(rollout::Args),
    /// Make topology files, apply and show topologies
    Topology(topology::Args),
    /// Decide one request, offline or by a running sidecar, and say why
    Route(Box<route::Args>),
    /// Decide every request of an access log and report what came out
    Replay(Box<replay::Args>),
    /// Say how a running sidecar is: up, slow, failing, changed; and what needs a look
    Status(see::status::Args),
    /// Watch sites and nodes of a running sidecar, the worst first
    Top(see::top::Args),
    /// Show decisions of a running sidecar as they are made
    Tap(Box<see::tap::Args>),
    /// List the nodes of a running sidecar: how they fare, why, and what brings them back
    Nodes(see::nodes::Args),
    /// Say which node of a running sidecar an object is of, and whether it is hot or fails
    Object(see::object::Args),
    /// See it work: a fleet, a sidecar and clients on this machine, and what happens when nodes fail
    Demo(Box<demo::Args>),
    /// Take a node or site of a running sidecar out of service, or back
    Drain(Box<drain::Args>),
    /// Say how the sidecars of a fleet are, and whether all are on the same
    Fleet(fleet::Args),
    /// Let what caches hold not be served any more
    Purge(Box<purge::Args>),
    /// Tell a sidecar how attempts went, from a proxy's log
    Tell(Box<tell::Args>),
    /// Sign policy and topology files, or make a key for that
    Sign(sign::Args),
    /// Say whether policy and topology files are signed by one of some keys
    Verify(verify::Args),
    /// Show who changed what is served, and whether that log is as it was written
    Audit(audit::Args),
    /// Forget what a node's breaker holds against it
    ResetBreaker(reset_breaker::Args),
    /// Say what is written to the log of a running sidecar, and write other lines for a while
    LogLevel(log_level::Args),
    /// Print a shell's completion script
    Completions(completions::Args),
}

/// What a command is told of the world it runs in.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The day, in UTC.
    pub today: Date,
    /// The monotonic clock.
    pub now: fn() -> Instant,
    /// Whether what is printed may be coloured.
    pub colour: bool,
    /// Whether somebody watches progress on the standard error stream.
    pub progress: bool,
    /// How large the terminal is that is printed to, asked each time, since it may change; `None` where it is none.
    pub size: fn() -> Option<Size>,
}

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// From left to right.
    pub columns: usize,
    /// From top to bottom.
    pub rows: usize,
}

/// How a command ended, when it could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Well: status 0.
    Good,
    /// What was asked about is refused: status 1.
    Refused,
    /// Something that was asked about is out or fails: status 1.
    NeedsALook,
    /// The command could not do its work as it was called: status 2.
    Usage,
    /// What was asked about takes no traffic: status 2.
    NotReady,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Good => Self::SUCCESS,
            Exit::Refused | Exit::NeedsALook => Self::from(1),
            Exit::Usage | Exit::NotReady => Self::from(2),
        }
    }
}

/// Runs a command; what it prints goes to `out`, and what a person should know beside that to `notes`.
pub fn run(
    tool: &Tool,
    context: &Context,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> Result<Exit, CommandError> {
    let exit = match tool {
        Tool::Check(args) => check::run(args, context, out),
        Tool::Test(args) => test::run(args, context, out),
        Tool::Diff(args) => diff::run(args, out),
        Tool::Plan(args) => plan::run(args, context, out),
        Tool::Fmt(args) => fmt::run(args, out),
        Tool::Schema(args) => schema::run(args, out),
        Tool::Policy(args) => policy::run(args, out),
        Tool::Rollout(args) => rollout::run(args, out),
        Tool::Topology(args) => topology::run(args, out, notes),
        Tool::Route(args) => {
            let by_example = args.server.is_none() && args.world.is_example();
            route::run(args, out).inspect(|_| note_example(by_example, notes))
        }
        Tool::Replay(args) => {
            let by_example = replay::is_by_example(args);
            replay::run(args, context, out).inspect(|_| note_example(by_example, notes))
        }
        Tool::Status(args) => see::status::run(args, context, out),
        Tool::Top(args) => see::top::run(args, context, out),
        Tool::Tap(args) => see::tap::run(args, context, out, notes),
        Tool::Nodes(args) => see::nodes::run(args, context, out),
        Tool::Object(args) => see::object::run(args, context, out),
        Tool::Demo(args) => demo::run(args, context, out),
        Tool::Drain(args) => drain::run(args, out),
        Tool::Tell(args) => tell::run(args, context, out),
        Tool::Sign(args) => sign::run(args, out),
        Tool::Verify(args) => verify::run(args, out),
        Tool::Audit(args) => audit::run(args, out),
        Tool::ResetBreaker(args) => reset_breaker::run(args, out),
        Tool::Fleet(args) => fleet::run(args, context, out),
        Tool::Purge(args) => purge::run(args, out),
        Tool::LogLevel(args) => log_level::run(args, out),
        Tool::Completions(args) => completions::run(args, out),
    }?;
    out.flush().map_err(CommandError::Output)?;
    Ok(exit)
}

/// Says that no fleet of anybody's decided, if so.
fn note_example(by_example: bool, notes: &mut impl Write) {
    if by_example {
        let words =
            "decided by the embedded example fleet; give --policy and --topology for yours\n";
        output::note(notes, words);
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_parser_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_can_come_from_the_environment() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                if argument.is_positional() || matches!(name, "help" | "version") {
                    continue;
                }
                let variable = argument.get_env().map(|name| name.to_string_lossy());
                let variable = variable.unwrap_or_else(|| panic!("{name} has no variable"));
                assert!(
                    variable.starts_with("TRADEWIND_")
                        || variable.starts_with("OTEL_")
                        || variable == "NO_COLOR",
                    "{variable}"
                );
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
