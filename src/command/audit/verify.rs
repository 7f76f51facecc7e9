//! `tradewind audit verify`: whether the log is as it was written.

use std::io::Write;

use super::LogArgs;
use crate::command::output::{self, Format, Text, counted};
use crate::command::{CommandError, Exit};
use crate::sidecar::audit::verify::{Verified, verify};

/// Arguments of `tradewind audit verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind audit verify --state-dir /var/lib/tradewind
  tradewind audit verify audit.log.1 audit.log

In a state directory it is seen too that the first or last entries are gone, by audit.head; not in files that are named.
Exit status: 0 as it was written, 1 it is not, 2 wrong usage or no log.")]
pub struct Args {
    /// Which log
    #[command(flatten)]
    pub log: LogArgs,
    /// How to write what was found
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Looks through the log, and prints what was found.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let log = args.log.read()?;
    let verified = verify(&log.parts, log.head.as_ref());
    match args.format {
        Format::Json => output::json(out, &verified)?,
        Format::Text => output::text(out, &words(&verified, log.head.is_some()))?,
    }
    Ok(if verified.findings.is_empty() {
        Exit::Good
    } else {
        Exit::Refused
    })
}

fn words(verified: &Verified, has_head: bool) -> String {
    let mut text = Text::default();
    for finding in &verified.findings {
        text.line(format_args!("{finding}"));
    }
    let entries = match verified.entries {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    };
    let range = verified
        .range
        .map_or_else(String::new, |(first, last)| format!(", {first} to {last},"));
    if verified.findings.is_empty() {
        text.line(format_args!("{entries}{range} as written"));
    } else {
        let findings = counted(verified.findings.len(), "finding");
        text.line(format_args!("{findings}; {entries}{range} as written"));
    }
    if verified.lost > 0 {
        let lost = verified.lost;
        text.line(format_args!(
            "{lost} more could not be written at the time, as the log itself says"
        ));
    }
    if !has_head {
        text.line(format_args!(
            "without audit.head nobody can tell whether entries are missing at either end"
        ));
    }
    text.into_string()
}
