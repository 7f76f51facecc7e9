//! `tradewind log-level`: writes other lines to the log of a running sidecar for a while.

use std::io::Write;

use super::operator::{Door, DoorArgs};
use super::output::{self, Format};
use super::{CommandError, Exit};
use crate::engine::document::DurationMs;
use crate::sidecar::view::troubles::in_words;
use crate::sidecar::wire::proto;

/// Arguments of `tradewind log-level`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tradewind log-level
  tradewind log-level debug --for 2m --why 'slow since noon'
  tradewind log-level info,tradewind_sidecar::writer=debug
  tradewind log-level --reset

Without a filter it says what is in force. A change ends by itself after its time, ten minutes unless said otherwise, and
with the process; both are in the log and in the audit log. Exit status: 0 done, 1 refused, 2 wrong usage or no sidecar.")]
pub struct Args {
    /// What `serve --log` takes: LEVEL or TARGET=LEVEL, several with commas; levels are off, error, warn, info, debug, trace
    pub filter: Option<String>,
    /// Go back to what is configured after this time, 1s to 24h [default: 10m]
    #[arg(
        long = "for",
        value_name = "DURATION",
        requires = "filter",
        env = "TRADEWIND_FOR"
    )]
    pub lasts: Option<DurationMs>,
    /// Go back to what is configured now
    #[arg(long, conflicts_with = "filter", env = "TRADEWIND_RESET")]
    pub reset: bool,
    /// Why, up to 256 characters
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        env = "TRADEWIND_WHY"
    )]
    pub why: String,
    /// Who asks, up to 256 characters
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        env = "TRADEWIND_WHO"
    )]
    pub who: String,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Says what is written to the log, or changes it.
pub fn run(args: &Args, out: &mut impl Write) -> Result<Exit, CommandError> {
    let door = Door::open(&args.door)?;
    let mut client = door.admin();
    if args.filter.is_none() && !args.reset {
        let got = door.wait(client.get_log_filter(proto::GetLogFilterRequest {}))?;
        match args.format {
            Format::Json => output::json(out, &got)?,
            Format::Text => output::text(out, &line("", &got.now.unwrap_or_default()))?,
        }
        return Ok(Exit::Good);
    }
    let set = door.wait(client.set_log_filter(args.to_message()))?;
    match args.format {
        Format::Json => output::json(out, &set)?,
        Format::Text => {
            let before = format!("{} -> ", set.previous);
            output::text(out, &line(&before, &set.now.unwrap_or_default()))?;
        }
    }
    Ok(Exit::Good)
}

impl Args {
    fn to_message(&self) -> proto::SetLogFilterRequest {
        proto::SetLogFilterRequest {
            filter: self.filter.clone().unwrap_or_default(),
            // A time of 0 would be taken for none.
            lasts_ms: self.lasts.map_or(0, |lasts| lasts.as_ms().max(1)),
            who: self.who.clone(),
            why: self.why.clone(),
        }
    }
}

/// What is in force, and until when.
fn line(before: &str, now: &proto::LogFilter) -> String {
    let proto::LogFilter {
        filter,
        configured,
        until_unix_ms,
        left_ms,
        who,
        why,
        ..
    } = now;
    if *until_unix_ms == 0 {
        return format!("log: {before}{filter}, as configured\n");
    }
    let said = match (why.as_str(), who.as_str()) {
        ("", "") => String::new(),
        ("", who) => format!("; by {who}"),
        (why, "") => format!("; {why}"),
        (why, who) => format!("; {why} ({who})"),
    };
    let left = in_words(*left_ms);
    format!("log: {before}{filter}, {left} more, then {configured} again{said}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_until_when_and_why() {
        let mut now = proto::LogFilter {
            filter: "info".to_owned(),
            configured: "info".to_owned(),
            ..proto::LogFilter::default()
        };
        assert_eq!(line("", &now), "log: info, as configured\n");
        now.filter = "debug".to_owned();
        now.until_unix_ms = 1;
        now.left_ms = 600_000;
        assert_eq!(
            line("info -> ", &now),
            "log: info -> debug, 10 min more, then info again\n"
        );
        now.who = "ada".to_owned();
        assert!(line("", &now).ends_with("again; by ada\n"));
        now.why = "slow".to_owned();
        assert!(line("", &now).ends_with("again; slow (ada)\n"));
    }
}
