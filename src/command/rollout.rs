//! `tradewind rollout`: a new policy on part of the requests of a running sidecar, watched, and taken back.

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;

use super::operator::{Door, DoorArgs, WordsArgs};
use super::output::{self, Format, Text, counted};
use super::policy::words::{at, document, short, signature};
use super::{CommandError, Exit};
use crate::engine::document::DurationMs;
use crate::sidecar::view::troubles::in_words;
use crate::sidecar::wire::proto;

/// Arguments of `tradewind rollout`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
  tradewind rollout start new.yaml --why TEXT     try it on 1 %, then 5, 25, 50 %, then everybody
  tradewind rollout status --watch                see it go, guard by guard
  tradewind rollout abort --why TEXT              take it back

A guard that fails takes it back by itself. What guards, and by which stages, the `rollout` section of the policy in force
says; docs/rollouts.md has it all.")]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done with a rollout.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin to try a policy on part of the requests
    Start(Box<StartArgs>),
    /// Only look at a policy: what would it answer otherwise?
    Shadow(Box<ShadowArgs>),
    /// Say how the rollout fares
    Status(StatusArgs),
    /// Stay at this stage; guards are watched all the same
    Pause(OrderArgs),
    /// Go on
    Resume(OrderArgs),
    /// Take the next stage now, whatever the guards say
    Promote(OrderArgs),
    /// Go back to an earlier stage and pause there
    Reverse(ReverseArgs),
    /// Take the policy back
    Abort(OrderArgs),
}

/// Arguments of `tradewind rollout start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind rollout start policy.yaml --why 'video at two sites more'
  tradewind rollout start policy.yaml --stage 5:10m --stage 50:1h --cohort key --why 'new key recipe'

Exit status: 0 it is under way, 1 refused, 2 wrong usage or no sidecar.")]
pub struct StartArgs {
    /// The policy file; `-` reads the standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// A stage as PERCENT:HOLD, like 5:10m; may be given several times, each with more [default: the policy's]
    #[arg(
        long = "stage",
        value_name = "PERCENT:HOLD",
        env = "TRADEWIND_STAGE",
        value_delimiter = ','
    )]
    pub stages: Vec<StageArg>,
    /// By what requests are told apart: auto, key (objects) or `client_group` [default: the policy's]
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "",
        env = "TRADEWIND_COHORT",
        hide_default_value = true
    )]
    pub cohort: String,
    /// Only if this revision is in force
    #[arg(long, value_name = "N", env = "TRADEWIND_IF_REVISION")]
    pub if_revision: Option<u64>,
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

/// Arguments of `tradewind rollout shadow`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind rollout shadow policy.yaml --why 'before the rollout'
  tradewind rollout status

One request in sixteen is decided by both policies, off the way of its answer. It ends with `rollout abort`.")]
pub struct ShadowArgs {
    /// The policy file; `-` reads the standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
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

/// Arguments of `tradewind rollout status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind rollout status
  tradewind rollout status --watch

With --watch it goes on until the rollout is over, and its exit status says how: 0 in force or none under way, 1 taken back, 2
wrong usage or no sidecar.")]
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

/// Arguments of what is done with the rollout that there is.
#[derive(Debug, clap::Args)]
pub struct OrderArgs {
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

/// Arguments of `tradewind rollout reverse`.
#[derive(Debug, clap::Args)]
pub struct ReverseArgs {
    /// The stage to go back to, from 1
    #[arg(value_name = "STAGE", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub stage: u32,
    /// Who asks, where, and how to answer
    #[command(flatten)]
    pub order: OrderArgs,
}

/// A share of the requests for a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageArg {
    percent: f64,
    hold: DurationMs,
}

/// Not a stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stage, must be PERCENT:HOLD, like 5:10m")]
pub struct NotAStage(String);

impl FromStr for StageArg {
    type Err = NotAStage;

    fn from_str(text: &str) -> Result<Self, NotAStage> {
        let fault = || NotAStage(text.to_owned());
        let (percent, hold) = text.split_once(':').ok_or_else(fault)?;
        let percent = percent.strip_suffix('%').unwrap_or(percent);
        Ok(Self {
            percent: percent.parse().map_err(|_| fault())?,
            hold: DurationMs::parse(hold).ok_or_else(fault)?,
        })
    }
}

impl From<&StageArg> for proto::RolloutStage {
    fn from(stage: &StageArg) -> Self {
        let ms = stage.hold.as_ms();
        Self {
            percent: stage.percent,
            hold: Some(prost_types::Duration {
                seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
                nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap_or_default(),
            }),
        }
    }
}

/// Runs the one that was asked for.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    use proto::RolloutOrder as Order;
    match &args.command {
        Command::Start(args) => {
            let request = proto::StartRolloutRequest {
                document: document(&args.file)?,
                signature: signature(&args.file)?,
                if_revision: args.if_revision,
                cohort: args.cohort.clone(),
                stages: args.stages.iter().map(Into::into).collect(),
                shadow: false,
                who: args.words.who.clone(),
                why: args.words.why.clone(),
            };
            start(request, (&args.door, args.format), out)
        }
        Command::Shadow(args) => {
            let request = proto::StartRolloutRequest {
                document: document(&args.file)?,
                signature: signature(&args.file)?,
                shadow: true,
                who: args.words.who.clone(),
                why: args.words.why.clone(),
                ..proto::StartRolloutRequest::default()
            };
            start(request, (&args.door, args.format), out)
        }
        Command::Status(args) => status(args, out),
        Command::Pause(args) => order(Order::Pause, 0, args, out),
        Command::Resume(args) => order(Order::Resume, 0, args, out),
        Command::Promote(args) => order(Order::Promote, 0, args, out),
        Command::Reverse(args) => order(Order::Reverse, args.stage, &args.order, out),
        Command::Abort(args) => order(Order::Abort, 0, args, out),
    }
}

fn start(
    request: proto::StartRolloutRequest,
    (door, format): (&DoorArgs, Format),
    out: &mut impl Write,
) -> Result<Exit, CommandError> {
    let door = Door::open(door)?;
    let answer = door.wait(door.rollout().start(request))?;
    print(&answer, format, out)
}

fn order(
    order: proto::RolloutOrder,
    stage: u32,
    args: &OrderArgs,
    out: &mut impl Write,
) -> Result<Exit, CommandError> {
    let request = proto::OrderRolloutRequest {
        order: order.into(),
        stage,
        who: args.words.who.clone(),
        why: args.words.why.clone(),
    };
    let door = Door::open(&args.door)?;
    let answer = door.wait(door.rollout().order(request))?;
    print(&answer, args.format, out)
}

fn print(
    answer: &proto::RolloutResponse,
    format: Format,
    out: &mut impl Write,
) -> Result<Exit, CommandError> {
    match format {
        Format::Json => output::json(out, answer)?,
        Format::Text => {
            let mut text = Text::default();
            for line in answer.faults.iter().chain(&answer.warnings) {
                text.line(format_args!("{line}"));
            }
            if !answer.faults.is_empty() {
                let faults = counted(answer.faults.len(), "fault");
                text.line(format_args!("refused, with {faults}"));
            }
            text.lines(&answer.status.as_ref().map_or_else(String::new, words));
            if answer.faults.is_empty() && !answer.kept {
                text.line(format_args!(
                    "note: not kept on disk, a restart of the sidecar does not know it"
                ));
            }
            output::text(out, &text.into_string())?;
        }
    }
    Ok(if answer.faults.is_empty() {
        Exit::Good
    } else {
        Exit::Refused
    })
}

/// Prints how things are, once or until the rollout is over.
fn status(args: &StatusArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let mut statuses = door.wait(door.rollout().watch(proto::WatchRolloutRequest {}))?;
    let (mut said, mut passed_over) = (String::new(), 0);
    let mut was_there = false;
    while let Some(status) = door.next(&mut statuses)? {
        match args.format {
            Format::Json => output::json(out, &status)?,
            Format::Text => {
                let headline = headline(&status);
                // Guards are asked twice a second, and their numbers move all the time.
                if headline != said || passed_over >= PASSED_OVER {
                    output::text(out, &words(&status))?;
                    passed_over = 0;
                } else {
                    passed_over += 1;
                }
                said = headline;
            }
        }
        out.flush().map_err(CommandError::Output)?;
        let is_over = status.rollout.is_none();
        was_there |= !is_over;
        if !args.watch || is_over {
            let fate = status.last.map(|last| last.fate);
            let is_back = was_there && is_over && fate.is_some_and(|fate| fate != "completed");
            return Ok(if is_back { Exit::Refused } else { Exit::Good });
        }
    }
    Ok(Exit::Usage)
}

/// Statuses that say nothing new are shown once in so many: every ten seconds.
const PASSED_OVER: u32 = 20;

/// What of a status is news: how far it is, and what each guard says.
fn headline(status: &proto::RolloutStatus) -> String {
    let Some(rollout) = &status.rollout else {
        return String::from("none");
    };
    let guards = rollout.guards.iter().map(|it| it.verdict.as_str());
    let verdicts = guards.collect::<Vec<_>>().join(" ");
    format!("{} {} {verdicts}", rollout.phase, rollout.stage)
}

fn words(status: &proto::RolloutStatus) -> String {
    let mut text = Text::default();
    match &status.rollout {
        Some(rollout) => on_rollout(&mut text, rollout),
        None => text.line(format_args!(
            "no rollout is under way, revision {} is in force",
            status.revision
        )),
    }
    if let Some(last) = status.last.as_ref().filter(|_| status.rollout.is_none()) {
        let (digest, when) = (short(&last.digest), at(last.at_unix_ms));
        let fate = last.fate.replace('_', " ");
        text.line(format_args!(
            "the last one, {digest}, {fate} at {when}: {}",
            last.why
        ));
    }
    text.into_string()
}

fn on_rollout(text: &mut Text, rollout: &proto::Rollout) {
    let (digest, phase) = (short(&rollout.digest), &rollout.phase);
    if phase == "shadow" {
        text.line(format_args!(
            "policy {digest} is looked at, decides nothing"
        ));
    } else {
        text.line(format_args!(
            "policy {digest} {phase}: stage {} of {}, {} % of requests by {}, at least {} each since {}",
            rollout.stage,
            rollout.stages,
            rollout.percent,
            rollout.cohort.replace('_', " "),
            in_words(rollout.hold_ms),
            at(rollout.stage_since_unix_ms)
        ));
    }
    if !rollout.paused_because.is_empty() {
        text.line(format_args!("  paused because: {}", rollout.paused_because));
    }
    for change in &rollout.changes {
        text.line(format_args!("  {change}"));
    }
    for guard in &rollout.guards {
        text.line(format_args!("  {:<12} {}", guard.verdict, guard.words));
    }
    for line in &rollout.expectations {
        text.line(format_args!("  {line}"));
    }
    if let Some(shadow) = &rollout.shadow {
        let differ: u64 = shadow.disagreements.iter().map(|it| it.requests).sum();
        text.line(format_args!(
            "  of {} requests decided by both, {differ} were answered otherwise",
            shadow.requests
        ));
        for it in &shadow.disagreements {
            text.line(format_args!(
                "    rule {}: {} with another {}",
                it.rule, it.requests, it.kind
            ));
        }
    }
    text.line(format_args!(
        "undo with: tradewind rollout abort --why TEXT"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_with_their_time() {
        let stage: StageArg = "2.5%:1h30m".parse().unwrap();
        assert_eq!((stage.percent, stage.hold.as_ms()), (2.5, 5_400_000));
        for bad in ["5", "5:", ":5m", "x:5m", "5:5"] {
            assert!(bad.parse::<StageArg>().is_err(), "{bad}");
        }
    }
}
