//! `tradewind completions`: a script that lets a shell complete the commands and flags.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, CommandError, Exit};

/// Arguments of `tradewind completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tradewind completions bash > /etc/bash_completion.d/tradewind")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    // Into memory first: the generator panics when it cannot write, as to a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tradewind", &mut script);
    out.write_all(&script).map_err(CommandError::Output)?;
    Ok(Exit::Good)
}
