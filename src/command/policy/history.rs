//! `tradewind policy history` and `show`: what took effect.

use std::io::Write;

use super::words::{at, changed, origin, short, wanted};
use crate::command::operator::{Door, DoorArgs};
use crate::command::output::{self, Format, Text};
use crate::command::{CommandError, Exit};
use crate::sidecar::wire::proto;

/// Arguments of `tradewind policy history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind policy history
  tradewind policy history --format json | jq '.revisions[] | select(.origin == \"rollback\")'

The sidecar remembers the last 50; with a state directory, over restarts too.")]
pub struct HistoryArgs {
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Arguments of `tradewind policy show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind policy show > policy.yaml
  tradewind policy show 11 | tradewind diff - policy.yaml")]
pub struct ShowArgs {
    /// The revision's number [default: the one in force]
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub revision: Option<u64>,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: the policy's text as it was given, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Prints what took effect.
pub(super) fn history(args: &HistoryArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let answer = door.wait(door.policy().list_revisions(proto::ListRevisionsRequest {}))?;
    match args.format {
        Format::Json => output::json(out, &answer)?,
        Format::Text => output::text(out, &table(&answer.revisions))?,
    }
    Ok(Exit::Good)
}

/// Prints the policy of a revision.
pub(super) fn show(args: &ShowArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let revision = args.revision.unwrap_or_default();
    let answer = door.wait(door.policy().get(proto::GetPolicyRequest { revision }))?;
    match args.format {
        Format::Json => output::json(out, &answer)?,
        Format::Text => output::text(out, &answer.document)?,
    }
    Ok(Exit::Good)
}

fn table(revisions: &[proto::PolicyRevision]) -> String {
    let header = [
        "revision", "since", "by", "changed", "policy", "topology", "why",
    ];
    let mut table = output::table(&header, &[1, 2, 3, 4, 5, 6]);
    for revision in revisions {
        table.add_row([
            format!(
                "{}{}",
                if revision.in_force { "* " } else { "" },
                revision.revision
            ),
            at(revision.at_unix_ms),
            origin(revision),
            changed(revision).to_owned(),
            short(&revision.policy_digest).to_owned(),
            short(&revision.topology_digest).to_owned(),
            wanted(revision),
        ]);
    }
    let mut text = Text::default();
    text.lines(&output::trimmed(&table));
    text.into_string()
}
