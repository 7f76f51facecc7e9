//! `tradewind topology apply` and `get`: the topology of a running sidecar.

use std::io::Write;
use std::path::PathBuf;

use crate::command::operator::{Door, DoorArgs, EverywhereArgs, WordsArgs, words_on_health};
use crate::command::output::{self, Format, Text};
use crate::command::policy::words::{short, signature};
use crate::command::{CommandError, Exit};
use crate::engine::topology::removal::percent;
use crate::sidecar::wire::{admin_state, proto};
use crate::sidecar::writer::store;

/// Arguments of `tradewind topology apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind topology apply topology.yaml --why 'new site in Lyon'
  tradewind topology apply topology.yaml --confirm --why 'FRA closes for good'
  tradewind topology apply topology.yaml --everywhere --why 'new site in Lyon'
  tradewind topology apply --held 3f1c9a64d20b7e55 --confirm --why 'the file is right'

A signature in FILE.minisig is sent with it (tradewind sign). It holds until the sidecar's topology file changes or the
sidecar ends. Exit status: 0 in force, 1 refused or held, 2 wrong usage or no sidecar.")]
pub struct ApplyArgs {
    /// The topology file
    #[arg(required_unless_present = "held", conflicts_with = "held")]
    pub file: Option<PathBuf>,
    /// The update that the sidecar holds, by its digest, instead of a file
    #[arg(
        long,
        value_name = "DIGEST",
        env = "TRADEWIND_HELD",
        requires = "confirm"
    )]
    pub held: Option<String>,
    /// Take it even if it takes away much of the fleet
    #[arg(long, env = "TRADEWIND_CONFIRM")]
    pub confirm: bool,
    /// Only if this digest is in force
    #[arg(
        long,
        value_name = "DIGEST",
        default_value = "",
        env = "TRADEWIND_IF_DIGEST"
    )]
    pub if_digest: String,
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

/// Arguments of `tradewind topology get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind topology get
  tradewind topology get --format json | jq -r .document > topology.yaml")]
pub struct GetArgs {
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Puts a topology in force, and prints what became of it.
pub(super) fn apply(args: &ApplyArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let document = match &args.file {
        Some(path) => store::read_document(path).map_err(|source| CommandError::Read {
            path: path.clone(),
            source,
        })?,
        None => String::new(),
    };
    let request = proto::ApplyTopologyRequest {
        document,
        signature: args
            .file
            .as_deref()
            .map(signature)
            .transpose()?
            .unwrap_or_default(),
        if_digest: args.if_digest.clone(),
        confirm_removal: args.confirm,
        who: args.words.who.clone(),
        why: args.words.why.clone(),
        held_digest: args.held.clone().unwrap_or_default(),
        everywhere: args.fleet.everywhere,
        within_ms: args.fleet.within_ms(),
    };
    let door = Door::open(&args.door)?;
    let answer = door.wait(door.topology().apply(request))?;
    match args.format {
        Format::Json => output::json(out, &answer)?,
        Format::Text => {
            let published = args.fleet.words(answer.fleet_revision);
            let mut text = applied(&answer);
            text.extend(published.into_iter().map(|words| words + "\n"));
            output::text(out, &text)?;
        }
    }
    Ok(if answer.held || !answer.faults.is_empty() {
        Exit::Refused
    } else {
        Exit::Good
    })
}

/// Prints the fleet.
pub(super) fn get(args: &GetArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let answer = door.wait(door.topology().get(proto::GetTopologyRequest {}))?;
    match args.format {
        Format::Json => output::json(out, &answer)?,
        Format::Text => output::text(out, &in_force(&answer))?,
    }
    Ok(Exit::Good)
}

fn applied(answer: &proto::ApplyTopologyResponse) -> String {
    let mut text = Text::default();
    for line in answer.faults.iter().chain(&answer.warnings) {
        text.line(format_args!("{line}"));
    }
    let (digest, revision) = (short(&answer.digest), answer.revision);
    if answer.held {
        text.line(format_args!("held: {}", answer.held_because));
        text.line(format_args!(
            "confirm with: tradewind topology apply --held {} --confirm --why TEXT",
            short(&answer.given_digest)
        ));
    } else if answer.faults.is_empty() {
        let removed = percent(answer.removed_ratio);
        text.line(format_args!(
            "in force: digest {digest}, revision {revision}, {removed} % of the weight taken away"
        ));
        return text.into_string();
    } else {
        text.line(format_args!("refused, with {} faults", answer.faults.len()));
    }
    text.line(format_args!(
        "still in force: digest {digest}, revision {revision}"
    ));
    text.into_string()
}

fn in_force(answer: &proto::GetTopologyResponse) -> String {
    let mut text = Text::default();
    text.line(format_args!(
        "digest {}, revision {}, {} nodes",
        short(&answer.digest),
        answer.revision,
        answer.nodes.len()
    ));
    if let Some(held) = &answer.held {
        let (because, digest) = (&held.because, short(&held.digest));
        text.line(format_args!(
            "held: {because} (digest {digest}, from {})",
            held.source
        ));
    }
    let header = [
        "node", "site", "tier", "address", "state", "why", "health", "capacity",
    ];
    let mut table = output::table(&header, &[0, 1, 2, 3, 4, 5, 6]);
    for node in &answer.nodes {
        let set = node.admin_override.as_ref();
        table.add_row([
            node.id.clone(),
            node.site.clone(),
            node.tier.clone(),
            node.address.clone(),
            name(node.state()).to_owned(),
            set.map(words_on).unwrap_or_default(),
            node.health
                .as_ref()
                .and_then(words_on_health)
                .unwrap_or_default(),
            node.capacity.to_string(),
        ]);
    }
    text.lines(&output::trimmed(&table));
    for gone in answer.overrides.iter().filter(|set| !set.exists) {
        let state = name(gone.state());
        let target = match &gone.target {
            Some(proto::admin_override::Target::Node(id)) => format!("node {id}"),
            Some(proto::admin_override::Target::Site(id)) => format!("site {id}"),
            None => String::new(),
        };
        text.line(format_args!(
            "not in the fleet: {target}, {state}, {}",
            words_on(gone)
        ));
    }
    text.into_string()
}

/// Why a state was set, and by whom.
fn words_on(set: &proto::AdminOverride) -> String {
    if set.who.is_empty() {
        set.why.clone()
    } else {
        format!("{} ({})", set.why, set.who)
    }
}

fn name(state: proto::AdminState) -> &'static str {
    admin_state::state(state).map_or("unknown", |state| state.name())
}
