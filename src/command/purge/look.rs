//! `tradewind purge status` and `watch`: where purges stand, and those to come.

use std::io::Write;

use super::purges;
use crate::command::operator::{Door, DoorArgs};
use crate::command::output::{self, Format, Text};
use crate::command::{CommandError, Exit};
use crate::sidecar::clock;
use crate::sidecar::view::troubles::in_words;
use crate::sidecar::wire::proto::purge_selector::Of;
use crate::sidecar::wire::proto::{self, PurgeSelector};
use crate::sidecar::wire::purge::version_text;

/// What to say of where purges stand.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// A purge to ask about, by its version as answers have it
    #[arg(value_name = "VERSION", value_parser = sequence_of)]
    pub asked: Option<u64>,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write the answer: text, or the message as JSON
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// Which purges to tell of.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// Begin with this purge, by its version, instead of those to come
    #[arg(long, value_name = "VERSION", value_parser = sequence_of, env = "TRADEWIND_FROM_VERSION")]
    pub from_version: Option<u64>,
    /// Only those of these namespaces
    #[arg(long, value_name = "NAME", env = "TRADEWIND_NAMESPACE")]
    pub namespace: Vec<String>,
    /// Where to ask
    #[command(flatten)]
    pub door: DoorArgs,
    /// How to write them: text, or a message as JSON a line
    #[arg(long, value_enum, default_value_t, env = "TRADEWIND_FORMAT")]
    pub format: Format,
}

/// A version as headers have it, in base 36.
fn sequence_of(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 36)
        .map_err(|_| "is no version, which has letters and digits like MEX1B7Q2".to_owned())
}

impl StatusArgs {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<Exit, CommandError> {
        let door = Door::open(&self.door)?;
        let sequence = self.asked.unwrap_or(0);
        let status = door.wait(purges(&door).status(proto::PurgeStatusRequest { sequence }))?;
        let is_missing = self.asked.is_some() && status.asked.is_none();
        match self.format {
            Format::Json => output::json(out, &status)?,
            Format::Text => output::text(out, &self.text(&status))?,
        }
        Ok(if is_missing {
            Exit::Refused
        } else {
            Exit::Good
        })
    }

    fn text(&self, status: &proto::PurgeStatus) -> String {
        let now = clock::unix_ms();
        if let Some(asked) = self.asked {
            return match &status.asked {
                Some(summary) => {
                    summary_line(summary, now) + &fleet_line(status) + &tiers_text(status)
                }
                None => format!(
                    "version {} is no purge that is held in memory\n",
                    version_text(asked)
                ),
            };
        }
        if status.head == 0 {
            return "nothing was purged yet\n".to_owned();
        }
        let kept = if status.kept {
            "kept on disk"
        } else {
            "NOT kept: a restart forgets them"
        };
        let mut text = Text::default();
        text.line(format_args!(
            "head {}, {} of {} entries, {kept}",
            version_text(status.head),
            status.entries,
            status.max_entries
        ));
        text.lines(&fleet_line(status));
        if status.widened > 0 {
            let widened = status.widened;
            text.line(format_args!(
                "{widened} entries were made wider, because there were too many"
            ));
        }
        for summary in &status.recent {
            text.lines(&summary_line(summary, now));
        }
        let behind = status.nodes.iter().filter(|it| it.sequence < status.head);
        for node in behind {
            let done = version_text(node.sequence);
            text.line(format_args!("{} has done {done}", node.node));
        }
        text.lines(&tiers_text(status));
        text.into_string()
    }
}

/// Where in a fleet it is in force; nothing of a sidecar that is alone.
fn fleet_line(status: &proto::PurgeStatus) -> String {
    let (has, all) = (status.in_force_at, status.sidecars);
    match status.missing_at.as_slice() {
        _ if all == 0 => String::new(),
        [] => format!("in force at all {all} sidecars\n"),
        behind => format!(
            "in force at {has} of {all} sidecars, not at {}\n",
            behind.join(", ")
        ),
    }
}

/// How far tiers are, and who is behind.
pub(super) fn tiers_text(status: &proto::PurgeStatus) -> String {
    let mut text = Text::default();
    for tier in &status.tiers {
        let fenced = match tier.fenced {
            0 => String::new(),
            count => format!(", {count} fenced off"),
        };
        text.line(format_args!(
            "dropped by {} of {} nodes of {}{fenced}",
            tier.done, tier.nodes, tier.tier
        ));
    }
    for node in &status.behind {
        let mut words = format!(
            "{} at {} has done {}",
            node.node,
            node.site,
            version_text(node.sequence)
        );
        if !node.waits_for.is_empty() {
            words.push_str(", and waits for ");
            words.push_str(&node.waits_for);
        }
        if !node.failure.is_empty() {
            words.push_str(": ");
            words.push_str(&node.failure);
        }
        if node.fenced {
            words.push_str("; fenced off until it has");
        }
        text.line(format_args!("  {words}"));
    }
    text.into_string()
}

fn summary_line(summary: &proto::PurgeSummary, now_unix_ms: u64) -> String {
    let ago = in_words(now_unix_ms.saturating_sub(summary.submitted_unix_ms));
    let more = match summary.selectors {
        0 | 1 => String::new(),
        many => format!(" and {} more", many - 1),
    };
    let soft = if summary.soft { ", softly" } else { "" };
    let share = if summary.in_force_ratio < 1.0 {
        format!(", in force for {:.0} %", summary.in_force_ratio * 100.0)
    } else {
        String::new()
    };
    let by = if summary.who.is_empty() {
        String::new()
    } else {
        format!(", by {}", summary.who)
    };
    let why = if summary.why.is_empty() {
        String::new()
    } else {
        format!(": {}", summary.why)
    };
    let version = version_text(summary.sequence);
    format!(
        "{version}  {}{more}{soft}, {ago} ago{share}{by}{why}\n",
        summary.first
    )
}

impl WatchArgs {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<Exit, CommandError> {
        let door = Door::open(&self.door)?;
        let mut purged = door.wait(purges(&door).watch(proto::WatchPurgesRequest {
            from_sequence: self.from_version.unwrap_or(0),
            namespaces: self.namespace.clone(),
        }))?;
        while let Some(purged) = door.next(&mut purged)? {
            match self.format {
                Format::Json => output::json_line(out, &purged)?,
                Format::Text => output::text(out, &line_of(&purged))?,
            }
        }
        Ok(Exit::Good)
    }
}

fn line_of(purged: &proto::Purged) -> String {
    let summary = proto::PurgeSummary {
        sequence: purged.sequence,
        selectors: u32::try_from(purged.selectors.len()).unwrap_or(u32::MAX),
        first: purged.selectors.first().map(first_of).unwrap_or_default(),
        soft: purged.not_older_than_unix_ms > 0,
        in_force_ratio: 1.0,
        who: purged.who.clone(),
        why: purged.why.clone(),
        submitted_unix_ms: purged.submitted_unix_ms,
        ..proto::PurgeSummary::default()
    };
    summary_line(&summary, clock::unix_ms())
}

fn first_of(selector: &PurgeSelector) -> String {
    match &selector.of {
        Some(Of::Url(url)) => url.clone(),
        Some(Of::Prefix(url)) => format!("everything below {url}"),
        Some(Of::Tag(tag)) => format!("tag {tag}"),
        Some(Of::Host(host)) => format!("everything on {host}"),
        Some(Of::All(_)) => "everything".to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_is_written() {
        assert_eq!(
            sequence_of(&version_text(60_000_000_000)),
            Ok(60_000_000_000)
        );
        assert!(sequence_of("no-version").is_err());
    }
}
