//! `tradewind policy apply` and `rollback`: changes of what is in force.

use std::io::Write;
use std::path::PathBuf;

use super::words::{document, short, signature};
use crate::command::operator::{Door, DoorArgs, EverywhereArgs, WordsArgs};
use crate::command::output::{self, Format, Text, counted};
use crate::command::{CommandError, Exit};
use crate::sidecar::wire::proto;

/// Arguments of `tradewind policy apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind policy apply policy.yaml --why 'more room for video' --who ada
  tradewind policy apply policy.yaml --if-revision 12 --why 'as reviewed'
  tradewind policy apply policy.yaml --everywhere --within 10m --why 'more room for video'

A signature in FILE.minisig is sent with it (tradewind sign). It holds until the sidecar's policy file changes, over
restarts too where there is a state directory. Undo: tradewind policy rollback. Exit status: 0 in force, 1 refused, 2 wrong usage or no sidecar.")]
pub struct ApplyArgs {
    /// The policy file; `-` reads the standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Only if this revision is in force
    #[arg(long, value_name = "N", env = "TRADEWIND_IF_REVISION")]
    pub if_revision: Option<u64>,
    /// Put it in force though its plan does not pass the gates (`spec.plan`), which is recorded with the reason; or though a
    /// rollout is under way, which it ends
    #[arg(long, env = "TRADEWIND_FORCE")]
    pub force: bool,
    /// Whether all members of the fleet are to have it
    #[command(flatten)]
    pub fleet: EverywhereArgs,
    /// Who asks, and why
    #[command(flatten)]
    pub words: WordsArgs,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Arguments of `tradewind policy rollback`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind policy rollback --why 'origin fetches doubled'
  tradewind policy rollback --to 9 --why 'as it was on Monday'
  tradewind policy rollback --everywhere --within 0s --why 'nobody gets video'

The policy of that revision is put in force again, with the fleet of now: drains and topologies stay as they are. It becomes
a newer revision, so this can be taken back in the same way. Exit status: 0 in force, 1 refused, 2 wrong usage or no sidecar.")]
pub struct RollbackArgs {
    /// The revision whose policy is wanted [default: the newest with another policy than that in force]
    #[arg(long, value_name = "N", env = "TRADEWIND_TO", value_parser = clap::value_parser!(u64).range(1..))]
    pub to: Option<u64>,
    /// Only if this revision is in force
    #[arg(long, value_name = "N", env = "TRADEWIND_IF_REVISION")]
    pub if_revision: Option<u64>,
    /// Do it though a rollout is under way, which it ends; `tradewind rollout abort` is what takes a rollout back
    #[arg(long, env = "TRADEWIND_FORCE")]
    pub force: bool,
    /// Whether all members of the fleet are to have it
    #[command(flatten)]
    pub fleet: EverywhereArgs,
    /// Who asks, and why
    #[command(flatten)]
    pub words: WordsArgs,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Puts a policy in force, and prints what became of it.
pub(super) fn apply(args: &ApplyArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let request = proto::ApplyPolicyRequest {
        document: document(&args.file)?,
        signature: signature(&args.file)?,
        if_revision: args.if_revision,
        who: args.words.who.clone(),
        why: args.words.why.clone(),
        force: args.force,
        everywhere: args.fleet.everywhere,
        within_ms: args.fleet.within_ms(),
    };
    let door = Door::open(&args.door)?;
    let answer = door.wait(door.policy().apply(request))?;
    print(&answer, &args.fleet, args.format, out)
}

/// Puts the policy of an earlier revision in force, and prints what became of it.
pub(super) fn rollback(args: &RollbackArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let request = proto::RollbackPolicyRequest {
        to_revision: args.to.unwrap_or_default(),
        if_revision: args.if_revision,
        who: args.words.who.clone(),
        why: args.words.why.clone(),
        force: args.force,
        everywhere: args.fleet.everywhere,
        within_ms: args.fleet.within_ms(),
    };
    let door = Door::open(&args.door)?;
    let answer = door.wait(door.policy().rollback(request))?;
    print(&answer, &args.fleet, args.format, out)
}

fn print(
    answer: &proto::ApplyPolicyResponse,
    fleet: &EverywhereArgs,
    format: Format,
    out: &mut impl Write,
) -> Result<Exit, CommandError> {
    match format {
        Format::Json => output::json(out, answer)?,
        Format::Text => {
            let published = fleet.words(answer.fleet_revision);
            let mut text = text(answer);
            text.extend(published.into_iter().map(|words| words + "\n"));
            output::text(out, &text)?;
        }
    }
    Ok(if answer.faults.is_empty() && !is_stopped(answer) {
        Exit::Good
    } else {
        Exit::Refused
    })
}

/// Whether gates kept it from coming into force.
fn is_stopped(answer: &proto::ApplyPolicyResponse) -> bool {
    !answer.breaches.is_empty() && answer.previous_revision == answer.revision
}

fn text(answer: &proto::ApplyPolicyResponse) -> String {
    let mut text = Text::default();
    for line in answer.faults.iter().chain(&answer.warnings) {
        text.line(format_args!("{line}"));
    }
    let (revision, digest) = (answer.revision, short(&answer.digest));
    if !answer.faults.is_empty() {
        let faults = counted(answer.faults.len(), "fault");
        text.line(format_args!("refused, with {faults}"));
        text.line(format_args!(
            "still in force: revision {revision}, digest {digest}"
        ));
        return text.into_string();
    }
    for breach in &answer.breaches {
        text.line(format_args!("  {}: {}", breach.gate, breach.text));
    }
    if is_stopped(answer) {
        let gates = counted(answer.breaches.len(), "gate");
        text.line(format_args!("stopped by {gates} of the policy in force"));
        text.line(format_args!(
            "still in force: revision {revision}, digest {digest}"
        ));
        text.line(format_args!(
            "try it on part of the requests: tradewind rollout start FILE; or apply it with --force"
        ));
        return text.into_string();
    }
    if answer.previous_revision == revision {
        text.line(format_args!(
            "in force already: revision {revision}, digest {digest}"
        ));
        return text.into_string();
    }
    for change in &answer.changes {
        text.line(format_args!("  {change}"));
    }
    text.line(format_args!(
        "in force: revision {revision}, digest {digest}"
    ));
    let before = answer.previous_revision;
    text.line(format_args!(
        "undo with: tradewind policy rollback --to {before} --why TEXT"
    ));
    text.line(format_args!(
        "note: it holds until the policy file changes; write it there too, or the file's next edit takes this back"
    ));
    if !answer.kept {
        text.line(format_args!(
            "note: not kept on disk, a restart of the sidecar forgets it"
        ));
    }
    text.into_string()
}
