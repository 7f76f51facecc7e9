//! `tradewind drain`: takes a node or a site out of service, and back.

use std::io::Write;

use super::operator::{Door, DoorArgs, WordsArgs};
use super::output::{self, Format, Text};
use super::{CommandError, Exit};
use crate::engine::document::DurationMs;
use crate::sidecar::wire::{admin_state, proto};

/// Arguments of `tradewind drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind drain fra-1 --why 'disk is failing' --who ada
  tradewind drain --site FRA --maintenance --until 2h --why 'power works'
  tradewind drain fra-1 --undo --why 'disk replaced'

The state is laid over the topology: the stricter of both holds. It holds at all members of the sidecar's fleet, if it has
one; while the bus of that is away it is refused, and --only-here sets it at this sidecar alone. It outlives a restart where the sidecar has a state
directory. Exit status: 0 it holds, 1 it is refused, 2 wrong usage or no sidecar.")]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Args {
    /// The node's id
    #[arg(required_unless_present = "site", conflicts_with = "site")]
    pub node: Option<String>,
    /// All nodes of this site instead, also those that come later
    #[arg(long, value_name = "SITE", env = "TRADEWIND_SITE")]
    pub site: Option<String>,
    /// No traffic at all, instead of none unless nothing else is left
    #[arg(long, env = "TRADEWIND_MAINTENANCE", conflicts_with = "undo")]
    pub maintenance: bool,
    /// End it by itself after this time, 1s to 2160h
    #[arg(
        long,
        value_name = "DURATION",
        env = "TRADEWIND_UNTIL",
        conflicts_with = "undo"
    )]
    pub until: Option<DurationMs>,
    /// Take away what was set before
    #[arg(long, env = "TRADEWIND_UNDO")]
    pub undo: bool,
    /// Only at the sidecar that is asked, not at all members of its fleet
    #[arg(long, env = "TRADEWIND_ONLY_HERE")]
    pub only_here: bool,
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

/// Sets the state, and prints what came of it.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let mut client = door.topology();
    let answer = door.wait(client.set_admin_state(args.to_message()))?;
    match args.format {
        Format::Json => output::json(out, &answer)?,
        Format::Text => output::text(out, &args.words_on(&answer))?,
    }
    Ok(Exit::Good)
}

impl Args {
    fn to_message(&self) -> proto::SetAdminStateRequest {
        use proto::set_admin_state_request::Target;
        let state = if self.undo {
            proto::AdminState::Ready
        } else if self.maintenance {
            proto::AdminState::Maintenance
        } else {
            proto::AdminState::Drain
        };
        let node = self.node.clone().map(Target::Node);
        proto::SetAdminStateRequest {
            target: self.site.clone().map(Target::Site).or(node),
            state: state.into(),
            until: self.until.map(|until| prost_types::Duration {
                seconds: i64::try_from(until.as_ms() / 1_000).unwrap_or(i64::MAX),
                nanos: i32::try_from(until.as_ms() % 1_000 * 1_000_000).unwrap_or_default(),
            }),
            who: self.words.who.clone(),
            why: self.words.why.clone(),
            only_here: self.only_here,
        }
    }

    fn words_on(&self, answer: &proto::SetAdminStateResponse) -> String {
        let name = |state| admin_state::state(state).map_or("unknown", |state| state.name());
        let (kind, id) = match (&self.site, &self.node) {
            (Some(site), _) => ("site", site.as_str()),
            (None, node) => ("node", node.as_deref().unwrap_or_default()),
        };
        let (before, now) = (name(answer.previous()), name(answer.effective()));
        let nodes = answer.nodes_changed;
        let mut text = Text::default();
        text.line(format_args!(
            "{kind} {id}: {before} -> {now}, {nodes} node{} changed",
            if nodes == 1 { "" } else { "s" }
        ));
        if self.undo && answer.effective() != proto::AdminState::Ready {
            text.line(format_args!(
                "note: it stays in {now}, because the topology or its site says so"
            ));
        }
        if answer.everywhere {
            text.line(format_args!("all members of the fleet were told"));
        }
        if !answer.kept {
            text.line(format_args!(
                "note: not kept on disk, a restart of the sidecar forgets it"
            ));
        }
        text.into_string()
    }
}
