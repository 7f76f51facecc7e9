//! `tradewind audit show`: the log for people.

use std::io::Write;

use prost_types::Timestamp;
use serde_json::{Map, Value};

use super::LogArgs;
use crate::command::output::{self, Format, Text};
use crate::command::{CommandError, Exit};
use crate::engine::model::printable;
use crate::sidecar::audit::entry::{self, Entry, Kind, Line};

/// Longest text shown of a field, in bytes.
const MAX_SHOWN: usize = 400;

/// Arguments of `tradewind audit show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind audit show --state-dir /var/lib/tradewind
  tradewind audit show --kind policy --since 2026-11-27 --limit 20
  tradewind audit show --who ada --format json

The newest entries come last. Lines that are not as they were written are left out and counted: `tradewind audit verify` names
them. Exit status: 0 shown, 1 some lines could not be, 2 wrong usage or no log.")]
pub struct Args {
    /// Which log
    #[command(flatten)]
    pub log: LogArgs,
    /// Entries of this kind only; may be given several times
    #[arg(long, value_name = "KIND", env = "TRADEWIND_KIND", value_delimiter = ',', value_parser = kinds())]
    pub kind: Vec<String>,
    /// Entries of this one only, as given
    #[arg(long, value_name = "NAME", env = "TRADEWIND_WHO")]
    pub who: Option<String>,
    /// Entries from this day or time on, like 2026-11-27 or 2026-11-27T14:00:00Z
    #[arg(long, value_name = "TIME", env = "TRADEWIND_SINCE", value_parser = unix_ms)]
    pub since: Option<u64>,
    /// The newest of these only
    #[arg(long, value_name = "N", env = "TRADEWIND_LIMIT")]
    pub limit: Option<usize>,
    /// How to write them
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

fn kinds() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.name()))
}

/// Reads a day or a time.
fn unix_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is neither a day nor a time, must be like 2026-11-27T14:00:00Z");
    let Timestamp { seconds, nanos } = text.parse().map_err(|_| bad())?;
    let (seconds, nanos) = (u64::try_from(seconds), u64::try_from(nanos));
    let (seconds, nanos) = (seconds.map_err(|_| bad())?, nanos.map_err(|_| bad())?);
    Ok(seconds.saturating_mul(1_000) + nanos / 1_000_000)
}

/// Prints the entries that are asked for.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let log = args.log.read()?;
    let (mut entries, mut broken) = (Vec::new(), 0_usize);
    for part in &log.parts {
        let lines = part.bytes.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            match entry::open(line) {
                Line::Sound(entry) if args.wants(&entry) => entries.push(*entry),
                Line::Sound(_) => {}
                Line::Broken { .. } => broken += 1,
            }
        }
    }
    let shown = args.limit.unwrap_or(usize::MAX);
    let shown = entries.split_off(entries.len().saturating_sub(shown));
    match args.format {
        Format::Json => output::json(out, &shown)?,
        Format::Text => output::text(out, &words(&shown, broken))?,
    }
    Ok(if broken == 0 {
        Exit::Good
    } else {
        Exit::Refused
    })
}

impl Args {
    fn wants(&self, entry: &Entry) -> bool {
        (self.kind.is_empty() || self.kind.contains(&entry.kind))
            && self.who.as_ref().is_none_or(|who| *who == entry.who)
            && self.since.is_none_or(|since| entry.unix_ms >= since)
    }
}

fn words(entries: &[Entry], broken: usize) -> String {
    let mut text = Text::default();
    for entry in entries {
        describe(entry, &mut text);
    }
    if entries.is_empty() {
        text.line(format_args!("no such entries"));
    }
    if broken > 0 {
        text.line(format_args!(
            "{broken} more cannot be read as they were written: tradewind audit verify names them"
        ));
    }
    text.into_string()
}

fn describe(entry: &Entry, text: &mut Text) {
    let shown = |words: &str| printable(words, MAX_SHOWN);
    let (who, why) = (shown(&entry.who), shown(&entry.why));
    let why = if why.is_empty() {
        why
    } else {
        format!(": {why}")
    };
    let Entry {
        sequence,
        time,
        kind,
        event,
        ..
    } = entry;
    let (time, kind, event) = (shown(time), shown(kind), shown(event));
    text.line(format_args!(
        "{sequence}  {time}  {kind} {event}, by {who}{why}"
    ));
    if entry.lost > 0 {
        let lost = entry.lost;
        text.line(format_args!(
            "    {lost} entries before this one could not be written"
        ));
    }
    fields("", &entry.what, text);
    fields("did: ", &entry.did, text);
}

fn fields(word: &str, fields: &Map<String, Value>, text: &mut Text) {
    for (name, value) in fields {
        let name = printable(name, MAX_SHOWN);
        match value {
            Value::Array(values) if values.is_empty() => {}
            Value::Array(values) => {
                text.line(format_args!("    {word}{name}:"));
                for value in values {
                    text.line(format_args!("      {}", plain(value)));
                }
            }
            value => text.line(format_args!("    {word}{name} {}", plain(value))),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text, MAX_SHOWN),
        other => printable(&other.to_string(), MAX_SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read() {
        assert_eq!(unix_ms("1970-01-02"), Ok(86_400_000));
        assert_eq!(unix_ms("1970-01-01T00:00:01.5Z"), Ok(1_500));
        for bad in ["", "soon", "1969-01-01", "2026-13-01"] {
            assert!(unix_ms(bad).is_err(), "{bad}");
        }
    }
}
