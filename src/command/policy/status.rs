//! `tradewind policy status`: what is in force, and how the files fare.

use std::io::Write;

use super::words::{at, origin, short, wanted};
use crate::command::operator::{Door, DoorArgs};
use crate::command::output::{self, Format, Text};
use crate::command::{CommandError, Exit};
use crate::sidecar::wire::proto;

/// Arguments of `tradewind policy status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind policy status
  tradewind policy status --watch

Exit status: 0 the files are what is served or a call has put another text in their place, 1 a file is refused, 2 wrong
usage or no sidecar.")]
pub struct StatusArgs {
    /// Go on, and say it again at every change
    #[arg(long, env = "TRADEWIND_WATCH")]
    pub watch: bool,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Prints how things are, once or at every change.
pub(super) fn run(args: &StatusArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let mut statuses = door.wait(door.policy().watch_status(proto::WatchStatusRequest {}))?;
    let mut exit = Exit::Usage;
    while let Some(status) = door.next(&mut statuses)? {
        match args.format {
            Format::Json => output::json(out, &status)?,
            Format::Text => output::text(out, &text(&status))?,
        }
        out.flush().map_err(CommandError::Output)?;
        exit = if is_refused(&status) {
            Exit::Refused
        } else {
            Exit::Good
        };
        if !args.watch {
            break;
        }
    }
    Ok(exit)
}

fn sources(status: &proto::PolicyStatus) -> impl Iterator<Item = (&str, &proto::SourceStatus)> {
    let policy = status.policy.iter().map(|it| ("policy", it));
    policy.chain(status.topology.iter().map(|it| ("topology", it)))
}

fn is_refused(status: &proto::PolicyStatus) -> bool {
    sources(status).any(|(_, source)| matches!(source.state.as_str(), "last_good" | "missing"))
}

fn text(status: &proto::PolicyStatus) -> String {
    let mut text = Text::default();
    match &status.revision {
        Some(revision) => {
            let (since, origin) = (at(revision.at_unix_ms), origin(revision));
            let (policy, topology) = (&revision.policy_digest, &revision.topology_digest);
            text.line(format_args!(
                "revision {} since {since}, by {origin}: policy {}, topology {}",
                revision.revision,
                short(policy),
                short(topology)
            ));
            let why = wanted(revision);
            if !why.is_empty() {
                text.line(format_args!("  because: {why}"));
            }
        }
        None => text.line(format_args!("nothing is in force yet")),
    }
    if !status.rollout.is_empty() {
        text.line(format_args!(
            "{}: see tradewind rollout status",
            status.rollout
        ));
    }
    for (name, source) in sources(status) {
        let state = source.state.replace('_', " ");
        text.line(format_args!("{name}: {state}, {}", source.source));
        if source.given_by_revision > 0 {
            text.line(format_args!(
                "  revision {} was given by a call and holds until the file changes",
                source.given_by_revision
            ));
        }
        if source.degraded_since_unix_ms > 0 {
            let since = at(source.degraded_since_unix_ms);
            text.line(format_args!("  not what the file says since {since}"));
        }
        for line in source.faults.iter().chain(&source.warnings) {
            text.line(format_args!("  {line}"));
        }
    }
    text.into_string()
}
