//! `tradewind reset-breaker`: forgets what a node's breaker holds against it.

use std::io::Write;

use super::operator::{self, Door, DoorArgs};
use super::output::{self, Format};
use super::{CommandError, Exit};
use crate::sidecar::wire::proto;

/// Arguments of `tradewind reset-breaker`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tradewind reset-breaker fra-1

Exit status: 0 done, 1 the fleet has no such node, 2 wrong usage or no sidecar.")]
pub struct Args {
    /// The node's id
    pub node: String,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Resets the breaker.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let node = args.node.clone();
    let answer = door.wait(
        door.admin()
            .reset_breaker(proto::ResetBreakerRequest { node }),
    )?;
    match args.format {
        Format::Json => output::json(out, &answer)?,
        Format::Text => {
            let before = answer.before.as_ref().and_then(operator::words_on_health);
            let before = before.map_or_else(String::new, |words| format!("; it was {words}"));
            let line = format!("node {}: breaker reset{before}\n", args.node);
            output::text(out, &line)?;
        }
    }
    Ok(Exit::Good)
}
