//! `tradewind policy validate`, `plan` and `test`: what a running sidecar would say of a policy.

use std::io::Write;
use std::path::PathBuf;

use super::words::{document, short};
use crate::command::operator::{Door, DoorArgs};
use crate::command::output::{self, Format, Text, counted};
use crate::command::{CommandError, Exit};
use crate::sidecar::wire::proto;

/// Arguments of `tradewind policy validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind policy validate policy.yaml
  git show HEAD:policy.yaml | tradewind policy validate -

The policy is compiled with the fleet that is in force there, and its examples are tried. Nothing changes. Exit status: 0 it
would be taken, 1 it would be refused, 2 wrong usage or no sidecar.")]
pub struct ValidateArgs {
    /// The policy file; `-` reads the standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Arguments of `tradewind policy test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind policy test
  tradewind policy test policy.yaml

Exit status: 0 all hold, 1 one does not or the policy is refused, 2 wrong usage or no sidecar.")]
pub struct TestArgs {
    /// The policy file; `-` reads the standard input [default: the policy in force]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Arguments of `tradewind policy plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind policy plan policy.yaml
  tradewind policy plan policy.yaml --format json | jq .report_json -r | jq .keys

The recent decisions of the sidecar (`decision_log.sample_ratio`) are decided once more by both policies, on the state of now.
Exit status: 0 it may go ahead, 1 a gate of the policy in force stops it or it is refused, 2 wrong usage or no sidecar.")]
pub struct PlanArgs {
    /// The policy file; `-` reads the standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Prints what a policy would do.
pub(super) fn plan(args: &PlanArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let request = proto::PlanPolicyRequest {
        document: document(&args.file)?,
    };
    let door = Door::open(&args.door)?;
    let answer = door.wait(door.policy().plan(request))?;
    match args.format {
        Format::Json => output::json(out, &answer)?,
        Format::Text => output::text(out, &planned(&answer))?,
    }
    Ok(exit(answer.faults.is_empty() && answer.breaches.is_empty()))
}

fn planned(answer: &proto::PlanPolicyResponse) -> String {
    let mut text = Text::default();
    for line in answer.faults.iter().chain(&answer.lines) {
        text.line(format_args!("{line}"));
    }
    for breach in &answer.breaches {
        text.line(format_args!("stopped by {}: {}", breach.gate, breach.text));
    }
    if !answer.faults.is_empty() {
        let faults = counted(answer.faults.len(), "fault");
        text.line(format_args!("would be refused, with {faults}"));
    } else if answer.breaches.is_empty() {
        text.line(format_args!(
            "may go ahead, from revision {}",
            answer.revision
        ));
    }
    text.into_string()
}

/// Prints whether a policy would be taken, and what it would change.
pub(super) fn validate(args: &ValidateArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let request = proto::ValidatePolicyRequest {
        document: document(&args.file)?,
    };
    let door = Door::open(&args.door)?;
    let answer = door.wait(door.policy().validate(request))?;
    match args.format {
        Format::Json => output::json(out, &answer)?,
        Format::Text => output::text(out, &validated(&answer))?,
    }
    Ok(exit(answer.faults.is_empty()))
}

/// Prints what became of examples.
pub(super) fn test(args: &TestArgs, out: &mut impl Write) -> Result<Exit, CommandError> {
    let text = args.file.as_deref().map(document).transpose()?;
    let request = proto::TestPolicyRequest {
        document: text.unwrap_or_default(),
    };
    let door = Door::open(&args.door)?;
    let answer = door.wait(door.policy().test(request))?;
    match args.format {
        Format::Json => output::json(out, &answer)?,
        Format::Text => output::text(out, &tried(&answer))?,
    }
    Ok(exit(answer.faults.is_empty() && answer.failed == 0))
}

fn exit(is_good: bool) -> Exit {
    if is_good { Exit::Good } else { Exit::Refused }
}

fn validated(answer: &proto::ValidatePolicyResponse) -> String {
    let mut text = Text::default();
    for line in answer.faults.iter().chain(&answer.warnings) {
        text.line(format_args!("{line}"));
    }
    for change in &answer.changes {
        text.line(format_args!("  {change}"));
    }
    let (digest, revision) = (short(&answer.digest), answer.revision);
    if answer.faults.is_empty() {
        let changes = counted(answer.changes.len(), "change");
        text.line(format_args!(
            "would be taken: digest {digest}, {changes} to revision {revision}"
        ));
        text.line(format_args!(
            "gates are not asked: tradewind policy plan FILE says whether one stops it"
        ));
        text.line(format_args!(
            "apply with: tradewind policy apply FILE --if-revision {revision} --why TEXT"
        ));
    } else {
        let faults = counted(answer.faults.len(), "fault");
        text.line(format_args!("would be refused, with {faults}"));
    }
    text.into_string()
}

fn tried(answer: &proto::TestPolicyResponse) -> String {
    let mut text = Text::default();
    for line in &answer.faults {
        text.line(format_args!("{line}"));
    }
    for example in answer.examples.iter().filter(|it| !it.wrong.is_empty()) {
        text.line(format_args!(
            "line {}: the example `{}` of rule `{}` gets {}",
            example.line,
            example.url,
            example.rule,
            example.wrong.join(", ")
        ));
    }
    let (all, failed) = (answer.examples.len(), answer.failed);
    if answer.faults.is_empty() {
        let examples = counted(all, "example");
        text.line(format_args!("{examples}, {failed} came out otherwise"));
    } else {
        let faults = counted(answer.faults.len(), "fault");
        text.line(format_args!("refused, with {faults}"));
    }
    text.into_string()
}
